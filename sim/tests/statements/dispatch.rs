//! Statements 38 to 53: dispatch, locks, retries.

use daxsim_sim::kernel::{Advice, MapRequest, NewFile};
use daxsim_sim::measure::{Callback, FaultFlags, FaultKind, FaultRecord, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::{Accesses, Action};
use daxsim_types::{AccessKind, FileSystem, PageSize, VirtAddr, VmFault};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, KERNELS, NEW, OLD, PAGE, V1, access, calls, delay, everywhere, path,
    per_kernel, shared_map, step, steps,
};

const SMALL: PageSize = PageSize::Size4K;
const LARGE: PageSize = PageSize::Size2M;

/// A load of a fresh page and a store to a page that is mapped read-only, where the tables exist.
fn two_small_faults(kernel: &str, fs: FileSystem) -> Vec<FaultRecord> {
    let mut bench = Bench::new(kernel, fs);
    bench.mapped(8);
    bench.load(BASE);
    bench.faults();
    let tries = bench.events().vma_lock_tries;
    bench.load(BASE + PAGE);
    bench.store(BASE);
    assert_eq!(bench.events().vma_lock_tries - tries, 2, "{kernel} {fs}: one for each fault");
    let faults = bench.faults();
    assert_eq!(faults.len(), 2);
    faults
}

fn passes(fault: &FaultRecord) -> Vec<String> {
    path(fault).into_iter().filter(|s| s.starts_with("handle_mm_fault")).collect()
}

#[test]
fn statement_38_ext4_is_refused_under_the_vma_lock_and_comes_again_under_mmap_lock() {
    for kernel in KERNELS {
        let faults = two_small_faults(kernel, FileSystem::Ext4);
        for fault in &faults {
            assert_eq!(passes(fault), ["handle_mm_fault=0x400", "handle_mm_fault=0x100"], "{kernel}");
            assert_eq!(steps(fault, "dax_pte_fault:"), 1, "{kernel}: the handler ran once");
            let calls = calls(fault);
            assert_eq!((calls.len(), calls[0].2), (1, false), "{kernel}: in the second pass");
            assert!(!fault.handlers[0].flags.contains(FaultFlags::TRIED), "{kernel}");
        }
        // The write to the read-only entry meets do_wp_page in each pass.
        assert_eq!(steps(&faults[1], "do_wp_page="), 2);
        assert_eq!(faults[0].handlers[0].flags.to_string(), "ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE|0x800");
    }
}

#[test]
fn statement_39_xfs_runs_under_the_vma_lock() {
    for kernel in KERNELS {
        let faults = two_small_faults(kernel, FileSystem::Xfs);
        for fault in &faults {
            assert_eq!(passes(fault), ["handle_mm_fault=0x100"], "{kernel}: one pass");
            assert_eq!(fault.handlers.len(), 1);
        }
        assert_eq!(calls(&faults[0]), [(Callback::Fault, SMALL, true)], "{kernel}");
        assert_eq!(steps(&faults[1], "do_wp_page="), 1);
        let flags = faults[0].handlers[0].flags.to_string();
        assert_eq!(flags, "ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE|VMA_LOCK|0x800", "as recorded");
    }
}

#[test]
fn statement_40_a_huge_fault_is_done_under_the_vma_lock_everywhere() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.store(BASE);
        let fault = &bench.faults()[0];
        assert_eq!(passes(fault).len(), 1, "{kernel} {fs}");
        let huge = Callback::HugeFault;
        assert_eq!(calls(fault), [(huge, PageSize::Size1G, true), (huge, LARGE, true)], "{kernel} {fs}");
        assert_eq!((steps(fault, "dax_pmd_fault:"), steps(fault, "dax_pte_fault:")), (1, 0));
        assert!(bench.pmd(BASE).is_leaf_at(1));
    });
}

#[test]
fn statement_41_where_2m_is_impossible_ext4_tries_it_in_both_passes() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        // The neighbour's table keeps the 1 GiB slot taken.
        let near = bench.file(8, NewFile::Filled);
        bench.map(near, BASE + HUGE, 0, 8);
        bench.load(BASE + HUGE);
        bench.faults();
        bench.load(BASE);
        let fault = &bench.faults()[0];
        let tried = (Callback::HugeFault, LARGE, true);
        match fs {
            FileSystem::Ext4 => {
                let again = (Callback::HugeFault, LARGE, false);
                assert_eq!(calls(fault), [tried, again, (Callback::Fault, SMALL, false)], "{kernel}");
            }
            _ => assert_eq!(calls(fault), [tried, (Callback::Fault, SMALL, true)], "{kernel}"),
        }
        let tries = if fs == FileSystem::Ext4 { 2 } else { 1 };
        assert_eq!(steps(fault, "dax_pmd_fault_done=FALLBACK"), tries, "{kernel} {fs}");
        assert_eq!(steps(fault, "dax_pte_fault:"), 1);
        assert_eq!(bench.measured(|m| m.faults.pmd_fallback), 2, "one for each fault, however many tries");
        bench.store(BASE + PAGE);
        assert_eq!(steps(&bench.faults()[0], "dax_pmd_fault"), 0, "the slot has a table now");
    });
}

#[test]
fn statement_42_a_fault_from_kernel_mode_does_not_try_the_vma_lock() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load(BASE);
        bench.faults();
        let tries = bench.events().vma_lock_tries;
        let list = vec![(VirtAddr(BASE + PAGE), AccessKind::Read), (VirtAddr(BASE), AccessKind::Write)];
        bench.run(0, bench.mm, Action::KernelAccess(Accesses::List(list)));
        assert_eq!(bench.events().vma_lock_tries, tries, "{kernel} {fs}");
        let faults = bench.faults();
        assert_eq!(faults.iter().map(|f| f.error_code.0).collect::<Vec<_>>(), [0x0, 0x3], "{kernel} {fs}");
        for fault in &faults {
            assert_eq!(passes(fault), ["handle_mm_fault=0x100"], "{kernel} {fs}: one pass, ext4 too");
            let flags = fault.handlers[0].flags;
            assert!(!flags.contains(FaultFlags::VMA_LOCK) && !flags.contains(FaultFlags::USER));
        }
        bench.load(BASE + 2 * PAGE);
        assert_eq!(bench.events().vma_lock_tries, tries + 1, "a fault from user mode does");
    });
}

#[test]
fn statement_43_a_small_fault_without_a_table_allocates_two_and_frees_one() {
    everywhere(|kernel, fs| {
        for kind in [AccessKind::Read, AccessKind::Write] {
            let mut bench = Bench::new(kernel, fs);
            bench.mapped(8);
            // The upper tables exist already.
            let near = bench.file(8, NewFile::Filled);
            bench.map(near, BASE + HUGE, 0, 8);
            bench.load(BASE + HUGE);
            let tables = |bench: &Bench| (bench.events().tables_allocated, bench.events().tables_freed);
            let before = tables(&bench);
            bench.touch(0, BASE, 1, kind);
            let after = tables(&bench);
            assert_eq!((after.0 - before.0, after.1 - before.1), (2, 1), "{kernel} {fs} {kind:?}");
            bench.touch(0, BASE + PAGE, 1, kind);
            assert_eq!(tables(&bench), after, "{kernel} {fs}: the table is there");
        }
        // A private copy is mapped through the table allocated in advance.
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(8);
        bench.load(BASE);
        bench.map_private(file, BASE + HUGE, 8);
        let before = bench.events();
        bench.store(BASE + HUGE);
        let after = bench.events();
        assert_eq!(after.tables_allocated - before.tables_allocated, 1, "{kernel} {fs}");
        assert_eq!(after.tables_freed, before.tables_freed, "{kernel} {fs}");
    });
}

/// The last handler call of the store to a page that is mapped read-only.
fn write_protect_fault(kernel: &str, fs: FileSystem) -> (Callback, FaultFlags) {
    let fault = &two_small_faults(kernel, fs)[1];
    assert_eq!((fault.error_code.0, fault.kind), (0x7, FaultKind::Mkwrite), "{kernel} {fs}");
    assert_eq!(fault.handlers.len(), 1, "{kernel} {fs}: one call");
    (fault.handlers[0].callback, fault.handlers[0].flags)
}

#[test]
fn statement_44_a_write_protect_fault_calls_pfn_mkwrite() {
    for kernel in [OLD, NEW] {
        for fs in FSDAX {
            let (callback, flags) = write_protect_fault(kernel, fs);
            assert_eq!(callback, Callback::PfnMkwrite, "{kernel} {fs}");
            let lock = if fs == FileSystem::Xfs { "VMA_LOCK|" } else { "" };
            // As s01 of the recordings has it.
            let recorded = format!("WRITE|MKWRITE|ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE|{lock}0x800");
            assert_eq!(flags.to_string(), recorded, "{kernel} {fs}");
        }
    }
}

#[test]
fn statement_45_in_the_first_posting_it_calls_page_mkwrite_with_flags_of_its_own() {
    for fs in FSDAX {
        let (callback, flags) = write_protect_fault(V1, fs);
        assert_eq!(callback, Callback::PageMkwrite, "{fs}");
        assert_eq!(flags, FaultFlags::WRITE | FaultFlags::MKWRITE, "{fs}: exactly");
    }
}

#[test]
fn statement_46_a_first_store_calls_the_handler_once_and_page_mkwrite_never() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load(BASE);
        bench.faults();
        bench.store(BASE + PAGE);
        let faults = bench.faults();
        let first = &faults[0];
        assert_eq!(first.error_code.0, 0x6);
        assert_eq!(first.handlers.len(), 1, "{kernel} {fs}");
        let call = first.handlers[0];
        assert_eq!((call.callback, call.size, call.ret), (Callback::Fault, SMALL, VmFault::NOPAGE));
        assert!(call.flags.contains(FaultFlags::WRITE) && !call.flags.contains(FaultFlags::MKWRITE));
        // The first posting's second fault is one of its own.
        assert_eq!(faults.len(), per_kernel(kernel, 1, 2, 1), "{kernel} {fs}");
    });
}

/// CPU 1 caches a read-only translation, CPU 0 makes the entry writable without a flush, CPU 1 stores.
fn store_through_a_stale_entry(bench: &mut Bench) -> (Entry, Entry) {
    bench.mapped(4);
    bench.load_on(1, BASE);
    bench.store_on(0, BASE);
    // Where the upgrade set no D in software, pte_mkdirty would have its soft-dirty bit to add.
    bench.inject(BASE, 0, Entry(bench.pte(BASE).0 | Entry::SOFT_DIRTY));
    bench.faults();
    let before = bench.pte(BASE);
    bench.store_on(1, BASE);
    (before, bench.pte(BASE))
}

#[test]
fn statement_47_a_stale_read_only_translation_costs_one_spurious_fault() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let (before, after) = store_through_a_stale_entry(&mut bench);
        assert!(before.is_writable() && before.hw_dirty() && before.accessed());
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Spurious));
        assert_eq!(faults[0].ret, Some(VmFault::default()));
        assert_eq!(after, before, "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), 0, "and no flush");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown).0, 0);
        assert!(faults[0].handlers.is_empty(), "no hook");
        assert_eq!(steps(&faults[0], "do_wp_page"), 0);
        bench.store_on(1, BASE);
        assert!(bench.faults().is_empty());
    });
    a_stale_huge_translation_is_spurious_too();
}

fn a_stale_huge_translation_is_spurious_too() {
    for kernel in [OLD, NEW] {
        let mut bench = Bench::new(kernel, FileSystem::Xfs);
        bench.mapped(512);
        bench.load_on(1, BASE);
        bench.store_on(0, BASE);
        bench.faults();
        let before = bench.pmd(BASE);
        bench.store_on(1, BASE + PAGE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel}");
        assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Spurious));
        assert_eq!(bench.pmd(BASE), before);
    }
}

/// CPU 0 zaps a range under the lock of its table; CPU 1 reads an entry near the range's end before that and comes to the
/// lock after it.
#[test]
fn statement_48_an_entry_that_changed_before_the_lock_was_had_is_left_to_the_next_fault() {
    everywhere(|kernel, fs| {
        let mut seen = 0;
        for wait in (0..4000).step_by(250) {
            let mut bench = Bench::new(kernel, fs);
            let pages = 500;
            bench.mapped(pages);
            bench.touch(0, BASE, pages, AccessKind::Read);
            let last = BASE + (pages - 1) * PAGE;
            bench.load_on(1, BASE);
            bench.faults();
            let zap =
                Action::Advise { start: BASE + PAGE, len: (pages - 1) * PAGE, advice: Advice::DontNeed };
            let late =
                vec![delay(1, bench.mm, BASE, wait), step(1, bench.mm, access(last, AccessKind::Write))];
            bench.race(vec![vec![step(0, bench.mm, zap)], late]);
            let faults = bench.faults();
            let Some(at) = faults.iter().position(|f| f.ret == Some(VmFault::default())) else { continue };
            seen += 1;
            let fault = &faults[at];
            assert_eq!((fault.error_code.0, fault.kind), (0x7, FaultKind::Spurious), "{kernel} {fs}");
            assert!(fault.handlers.is_empty() && fault.new.is_none(), "{kernel} {fs}: no change");
            let again = &faults[at + 1];
            assert_eq!(
                (again.address, again.error_code.0),
                (fault.address, 0x6),
                "{kernel} {fs}: executed again"
            );
            assert!(bench.pte(last).is_writable(), "{kernel} {fs}");
        }
        assert!(seen > 0, "{kernel} {fs}: the race never happened");
    });
}

#[test]
fn statement_49_a_read_that_protection_refuses_is_sigsegv_without_the_mm_core() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load(BASE);
        // Read-only, but for the kernel alone: no other way gives a read this code without protection keys.
        let entry = Entry(bench.pte(BASE).0 & !Entry::US);
        bench.inject(BASE, 0, entry);
        bench.faults();
        let mm = bench.mm;
        assert_eq!(bench.run(1, mm, access(BASE, AccessKind::Read)).signals, 1);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].kind), (0x5, FaultKind::Sigsegv));
        assert_eq!(faults[0].ret, None, "handle_mm_fault was not entered");
        assert!(faults[0].path.is_empty() && faults[0].handlers.is_empty());
        assert_eq!(bench.pte(BASE), entry);
    });
}

#[test]
fn statement_50_beyond_the_end_of_the_file_is_sigbus() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        // Four pages and a bit, mapped for twice as long.
        let file = bench.sim.new_file(fs, 4 * PAGE + 100, &NewFile::Filled).unwrap();
        bench.map(file, BASE, 0, 8);
        assert_eq!(bench.load(BASE + 4 * PAGE).signals, 0, "{kernel} {fs}: the last page is there in part");
        for kind in [AccessKind::Read, AccessKind::Write] {
            bench.faults();
            assert_eq!(bench.touch(0, BASE + 5 * PAGE, 1, kind).signals, 1, "{kernel} {fs}");
            let fault = &bench.faults()[0];
            assert_eq!((fault.ret, fault.kind), (Some(VmFault::SIGBUS), FaultKind::Sigbus));
            assert_eq!(fault.handlers.last().unwrap().ret, VmFault::SIGBUS);
            assert!(bench.pte(BASE + 5 * PAGE).is_none());
        }
        assert_eq!(bench.measured(|m| m.faults.sigbus), 2, "{kernel} {fs}");
        // A huge attempt wholly beyond the end says so itself: the 4 KiB handler is not called.
        let large = bench.file(512, NewFile::Filled);
        bench.map(large, BASE + 2 * HUGE, 0, 1024);
        assert_eq!(bench.store(BASE + 3 * HUGE).signals, 1);
        let fault = &bench.faults()[0];
        assert_eq!((steps(fault, "dax_pmd_fault_done=SIGBUS"), steps(fault, "dax_pte_fault")), (1, 0));
    });
}

/// The kernels have no knob for the sysfs setting: the attempt depends on nothing but what the VMA says, and no VMA here asks
/// for huge pages (`madvise`), which is what `never` and `madvise` would look at.
#[test]
fn statement_51_a_huge_attempt_is_made_whatever_the_thp_setting() {
    everywhere(|kernel, fs| {
        for kind in [AccessKind::Read, AccessKind::Write] {
            let mut bench = Bench::new(kernel, fs);
            bench.mapped(512);
            bench.touch(0, BASE, 1, kind);
            let fault = &bench.faults()[0];
            assert_eq!(calls(fault).iter().filter(|call| call.1 == LARGE).count(), 1, "{kernel} {fs}");
            assert!(bench.pmd(BASE).is_leaf_at(1));
        }
    });
}

#[test]
fn statement_52_vm_nohugepage_allows_no_huge_attempt() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        let advise =
            |allowed| Action::Advise { start: BASE, len: HUGE, advice: Advice::HugePage { allowed } };
        bench.run(0, bench.mm, advise(false));
        bench.store(BASE);
        let fault = &bench.faults()[0];
        let sizes: Vec<PageSize> = fault.handlers.iter().map(|call| call.size).collect();
        assert_eq!(sizes, [SMALL], "{kernel} {fs}");
        assert_eq!((steps(fault, "dax_pmd_fault"), bench.measured(|m| m.faults.pmd_fallback)), (0, 0));
        assert!(bench.pte(BASE).is_present() && !bench.pmd(BASE).is_leaf_at(1));
        bench.unmap(BASE, 512);
        // The same file in a new mapping is huge again.
        let file = bench.file(512, NewFile::Filled);
        bench.map(file, BASE, 0, 512);
        bench.store(BASE);
        assert!(bench.pmd(BASE).is_leaf_at(1), "{kernel} {fs}");
    });
}

#[test]
fn statement_53_fsdax_falls_back_from_1g_without_a_trace() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.load(BASE);
        let fault = &bench.faults()[0];
        let first = fault.handlers[0];
        assert_eq!((first.callback, first.size, first.ret), {
            (Callback::HugeFault, PageSize::Size1G, VmFault::FALLBACK)
        });
        assert_eq!(steps(fault, "dax_pmd_fault:"), 1, "{kernel} {fs}: the next attempt's");
        assert_eq!(path(fault)[0], "dax_pmd_fault:R", "{kernel} {fs}: nothing before it");
        // With the slot taken it is not tried again.
        let request = MapRequest { ..shared_map(bench.file(512, NewFile::Filled), BASE + HUGE, 0, 512) };
        bench.run(0, bench.mm, Action::Map(request));
        bench.load(BASE + HUGE);
        assert_eq!(calls(&bench.faults()[0]), [(Callback::HugeFault, LARGE, true)], "{kernel} {fs}");
    });
}
