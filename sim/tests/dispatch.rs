//! Which handlers a fault goes through, under which lock, and how it ends if there is nothing to map.

mod common;

use common::{BASE, Bench, FSDAX, HUGE, KERNELS, NEW, OLD, PAGE, everywhere, path, per_kernel, shared_map};
use daxsim_sim::kernel::{MapRequest, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{FileSystem, VirtAddr};

/// How often a step whose name begins like this is on a path.
fn count(path: &[String], what: &str) -> usize {
    path.iter().filter(|s| s.starts_with(what)).count()
}

#[test]
fn ext4_is_refused_under_the_vma_lock_and_xfs_is_not() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load(BASE);
        bench.faults();
        bench.load(BASE + PAGE);
        bench.store(BASE);
        let faults = bench.faults();
        for fault in &faults {
            let steps = path(fault);
            let passes: Vec<&String> = steps.iter().filter(|s| s.starts_with("handle_mm_fault")).collect();
            match fs {
                FileSystem::Ext4 => assert_eq!(passes, ["handle_mm_fault=0x400", "handle_mm_fault=0x100"]),
                _ => assert_eq!(passes, ["handle_mm_fault=0x100"]),
            }
            assert_eq!(count(&steps, "dax_pte_fault:"), 1, "{kernel} {fs}: the handler ran once");
        }
        // The write to the read-only entry meets do_wp_page in each pass.
        assert_eq!(count(&path(&faults[1]), "do_wp_page="), if fs == FileSystem::Ext4 { 2 } else { 1 });
    });
}

#[test]
fn a_huge_fault_is_done_under_the_vma_lock_everywhere() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.store(BASE);
        let steps = path(&bench.faults()[0]);
        assert_eq!(count(&steps, "handle_mm_fault="), 1, "{kernel} {fs}");
        assert_eq!(count(&steps, "dax_pmd_fault:"), 1);
        assert_eq!(count(&steps, "dax_pte_fault:"), 0);
    });
}

#[test]
fn where_2m_is_impossible_ext4_tries_it_in_both_passes() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.store(BASE);
        let steps = path(&bench.faults()[0]);
        let tries = if fs == FileSystem::Ext4 { 2 } else { 1 };
        assert_eq!(count(&steps, "dax_pmd_fault_done=FALLBACK"), tries, "{kernel} {fs}");
        assert_eq!(count(&steps, "dax_pte_fault:"), 1);
        assert_eq!(bench.measured(|m| m.faults.pmd_fallback), 1, "one fault, however many tries");
        bench.store(BASE + PAGE);
        assert_eq!(
            count(&path(&bench.faults().pop().unwrap()), "dax_pmd_fault"),
            0,
            "the slot has a table now"
        );
    });
}

#[test]
fn what_makes_2m_impossible() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let cases: [(&str, NewFile, u64, u64, u64); 4] = [
            ("colour", NewFile::Filled, 1024, BASE + PAGE, 1024),
            ("VMA too small", NewFile::Filled, 1024, BASE, 511),
            ("file too small", NewFile::Filled, 511, BASE, 512),
            ("extent not aligned", NewFile::Extents(vec![(0, 4097, 512, true)]), 512, BASE, 512),
        ];
        for (n, (why, new, pages, start, mapped)) in cases.into_iter().enumerate() {
            let file = bench.file(pages, new);
            let start = start + n as u64 * (1 << 30);
            bench.map(file, start, 0, mapped);
            bench.store(start);
            let va = VirtAddr(start);
            let pte = bench.sim.with(|m| m.entry(bench.mm, va, 0));
            assert!(pte.is_writable(), "{kernel} {fs}: {why}");
            assert!(bench.sim.with(|m| !m.entry(bench.mm, va, 1).is_leaf_at(1)), "{kernel} {fs}: {why}");
        }
    });
}

#[test]
fn an_offset_beyond_the_file_gets_sigbus() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        bench.map(file, BASE, 0, 8);
        assert_eq!(bench.load(BASE + 3 * PAGE).signals, 0);
        assert_eq!(bench.load(BASE + 4 * PAGE).signals, 1, "{kernel} {fs}");
        let faults = bench.faults();
        assert_eq!(faults[1].kind, FaultKind::Sigbus);
        assert_eq!(faults[1].ret.unwrap().0, 0x2);
        assert_eq!(bench.measured(|m| m.faults.sigbus), 1);
        assert!(bench.pte(BASE + 4 * PAGE).is_none());
        // Beyond the last 2 MiB of the file the huge handler already says so.
        bench.map(file, BASE + HUGE, 512, 512);
        assert_eq!(bench.store(BASE + HUGE).signals, 1);
        assert_eq!(count(&path(&bench.faults()[0]), "dax_pte_fault"), 0);
    });
}

#[test]
fn no_mapping_and_no_permission_get_sigsegv_without_the_mm_core() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(8, NewFile::Filled);
        let request = MapRequest { write: false, ..shared_map(file, BASE, 0, 8) };
        bench.run(0, bench.mm, Action::Map(request));
        assert_eq!(bench.load(BASE - PAGE).signals, 1);
        assert_eq!(bench.store(BASE).signals, 1);
        assert_eq!(bench.load(BASE).signals, 0);
        assert_eq!(bench.store(BASE).signals, 1);
        assert_eq!(bench.load(1 << 60).signals, 1, "not canonical");
        let faults = bench.faults();
        let codes: Vec<u32> = faults.iter().map(|f| f.error_code.0).collect();
        assert_eq!(codes, [0x4, 0x6, 0x4, 0x7, 0x4], "{kernel} {fs}");
        for (n, fault) in faults.iter().enumerate() {
            assert_eq!(fault.kind == FaultKind::Sigsegv, n != 2);
            assert_eq!(fault.ret.is_none(), n != 2, "handle_mm_fault was not entered");
        }
        assert_eq!(bench.measured(|m| m.faults.sigsegv), 4);
    });
}

/// CPU 1 caches a read-only translation, CPU 0 makes the entry writable without a flush, CPU 1 stores.
fn store_through_a_stale_entry(bench: &mut Bench) -> (Entry, Entry) {
    bench.mapped(4);
    bench.load_on(1, BASE);
    bench.store_on(0, BASE);
    bench.faults();
    let before = bench.pte(BASE);
    bench.store_on(1, BASE);
    (before, bench.pte(BASE))
}

#[test]
fn a_stale_read_only_translation_costs_one_spurious_fault_on_hardware() {
    for kernel in KERNELS {
        for fs in FSDAX {
            let mut bench = Bench::new(kernel, fs);
            let (before, after) = store_through_a_stale_entry(&mut bench);
            let faults = bench.faults();
            assert_eq!(faults.len(), 1, "{kernel} {fs}");
            assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Spurious));
            assert_eq!(faults[0].ret.unwrap().0, 0);
            // Where the upgrade set no D in software, pte_mkdirty has its soft-dirty bit to add.
            let added = per_kernel(kernel, 0, Entry::SOFT_DIRTY, Entry::SOFT_DIRTY);
            assert_eq!(after, Entry(before.0 | added));
            assert_eq!(bench.flush_requests(), 0, "and no flush");
            assert_eq!(bench.flush_events(FlushReason::RemoteShootdown).0, 0);
            assert_eq!(count(&path(&faults[0]), "do_wp_page"), 0, "no hook");
            bench.store_on(1, BASE);
            assert!(bench.faults().is_empty());
        }
    }
}

#[test]
fn an_emulator_that_walks_again_takes_no_spurious_fault() {
    for kernel in KERNELS {
        let mut bench = Bench::tcg(kernel, FileSystem::Ext4);
        let (before, after) = store_through_a_stale_entry(&mut bench);
        assert!(bench.faults().is_empty(), "{kernel}");
        assert_eq!(before, after);
    }
}

#[test]
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
