//! Statements that only an injected failure shows.

use daxsim_sim::inject::{EntryLoss, Injection};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::{FaultKind, FaultRecord, KernelWarning, WarnCount};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, Pfn, VirtAddr, VmFault};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, KERNELS, NEW, OLD, PAGE, V1, access, everywhere, path, per_kernel, shared_map,
};

fn met(bench: &Bench, what: KernelWarning) -> WarnCount {
    bench.measured(|m| m.warnings.get(what))
}

fn returns(fault: &FaultRecord) -> VmFault {
    fault.ret.unwrap()
}

/// A mapping that is MAP_SYNC, of a file with uncommitted metadata.
fn synchronous(kernel: &str, fs: FileSystem, pages: u64) -> (Bench, daxsim_sim::kernel::FileId) {
    let mut bench = Bench::new(kernel, fs);
    let file = bench.file(pages, NewFile::Filled);
    // Changing the size leaves something to commit.
    bench.run(0, bench.mm, Action::Truncate { file, size: pages * PAGE });
    let mut request = shared_map(file, BASE, 0, pages);
    request.sync = true;
    bench.run(0, bench.mm, Action::Map(request));
    (bench, file)
}

/// A mapped page whose entry shows another frame than its block: the zero page, or the next frame. The entry, too.
fn mapping_another_frame(kernel: &str, zero: bool) -> (Bench, Entry) {
    let mut bench = Bench::new(kernel, FileSystem::Xfs);
    bench.mapped(4);
    bench.load(BASE);
    let frame = if zero {
        bench.sim.with(|m| m.zero_page(daxsim_types::PageSize::Size4K))
    } else {
        Pfn(bench.pte(BASE).pfn().0 + 1)
    };
    let wrong = Entry::leaf(frame, bench.pte(BASE).without_frame());
    assert!(bench.sim.with(|m| m.inject_entry(bench.mm, VirtAddr(BASE), 0, wrong)));
    (bench, wrong)
}

#[test]
fn the_mismatch_of_6_12_warns_unless_the_zero_page_is_mapped() {
    for zero in [false, true] {
        let (mut bench, wrong) = mapping_another_frame(OLD, zero);
        bench.try_run(0, bench.mm, access(BASE, AccessKind::Write)).unwrap_err();
        assert!(bench.faults().iter().all(|f| returns(f) == VmFault::NOPAGE));
        assert_eq!(bench.pte(BASE), wrong);
        let count = met(&bench, KernelWarning::Mismatch4k);
        assert_eq!((count.met > 0, count.printed), if zero { (false, 0) } else { (true, 1) });
    }
}

#[test]
fn the_mismatch_of_the_page_inserts_warns_unless_the_zero_page_is_mapped_and_kills() {
    for kernel in [V1, NEW] {
        for zero in [false, true] {
            let (mut bench, wrong) = mapping_another_frame(kernel, zero);
            assert_eq!(bench.store(BASE).signals, 1, "{kernel}");
            assert_eq!(bench.pte(BASE), wrong);
            assert_eq!(met(&bench, KernelWarning::Mismatch4k).met, u64::from(!zero), "{kernel}");
        }
    }
}

#[test]
fn statement_17_a_page_without_a_reference_is_not_inserted() {
    for fs in FSDAX {
        for (kernel, kind) in [V1, NEW].iter().flat_map(|k| [(*k, AccessKind::Read), (*k, AccessKind::Write)])
        {
            let mut bench = Bench::new(kernel, fs);
            let file = bench.mapped(4);
            let pfn = bench.block(file, 0);
            bench.sim.inject(Injection::PageRefcountZero(pfn));
            assert_eq!(bench.run(0, bench.mm, access(BASE, kind)).signals, 1, "{kernel} {fs} {kind:?}");
            assert_eq!(bench.pte(BASE), Entry::NONE);
            assert_eq!(bench.counts(pfn), (0, 0, 0));
            // The next caller holds a reference again.
            assert_eq!(bench.run(0, bench.mm, access(BASE, kind)).signals, 0);
            assert_eq!(bench.counts(pfn), (1, 1, 1));
        }
    }
}

#[test]
fn statement_25_without_a_page_table_the_fault_ends_with_oom_and_is_tried_again() {
    everywhere(|kernel, fs| {
        // PUD, PMD, the PTE page that __do_fault preallocates, and that of the insert.
        for nth in 1..=4 {
            let mut bench = Bench::new(kernel, fs);
            let file = bench.mapped(4);
            bench.sim.inject(Injection::TableAllocationFails { nth });
            let ended = bench.load(BASE);
            assert_eq!((ended.signals, ended.livelock), (0, false), "{kernel} {fs} {nth}");
            let faults = bench.faults();
            assert_eq!(faults.len(), 2, "{kernel} {fs} {nth}: one fails, one succeeds");
            assert!(returns(&faults[0]).contains(VmFault::OOM));
            assert_eq!(faults[0].kind, FaultKind::Oom);
            assert_eq!(returns(&faults[1]), VmFault::NOPAGE);
            assert_eq!(bench.measured(|m| m.faults.oom), 1);
            assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
            assert_eq!(bench.rss(), per_kernel(kernel, 0, 1, 1), "the failure counted nothing");
        }
    });
}

#[test]
fn the_insert_helper_itself_returns_oom() {
    let helper =
        |kernel: &str| per_kernel(kernel, "vmf_insert_mixed", "dax_insert_pfn", "vmf_insert_page_mkwrite");
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.sim.inject(Injection::TableAllocationFails { nth: 4 });
        bench.load(BASE);
        let failed = path(&bench.faults()[0]);
        assert!(failed.contains(&format!("{}=0x1", helper(kernel))), "{kernel} {fs}: {failed:?}");
    });
}

#[test]
fn statement_26_before_the_series_a_frame_that_is_not_devmap_is_refused() {
    for kernel in KERNELS {
        for fs in FSDAX {
            let mut bench = Bench::new(kernel, fs);
            let file = bench.mapped(4);
            bench.sim.inject(Injection::PfnNotDevmap(bench.block(file, 1)));
            let refused = per_kernel(kernel, 1, 0, 0);
            assert_eq!(bench.load(BASE + PAGE).signals, refused, "{kernel} {fs}");
            assert_eq!(bench.store(BASE + PAGE).signals, refused, "{kernel} {fs}");
            assert_eq!(bench.pte(BASE + PAGE).is_none(), refused == 1);
            assert_eq!(bench.load(BASE).signals, 0, "the neighbour is devmap");
        }
    }
}

#[test]
fn at_2m_a_frame_that_is_not_devmap_falls_back() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        let file = bench.mapped(512);
        bench.sim.inject(Injection::PfnNotDevmap(bench.block(file, 0)));
        bench.load(BASE + PAGE);
        assert_eq!(bench.pmd(BASE).is_leaf_at(1), kernel != OLD, "{kernel}");
    }
}

#[test]
fn statement_27_the_zero_page_for_writing_is_a_warning_and_sigbus_in_the_first_posting() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped_as(4, NewFile::Sparse);
        for times in 1..=2 {
            bench.sim.inject(Injection::ZeroPfnWrite);
            let ended = bench.load(BASE);
            let warned = met(&bench, KernelWarning::ZeroPageWrite);
            match kernel {
                V1 => {
                    assert_eq!((ended.signals, warned.met, warned.printed), (1, times, times), "{fs}");
                    assert!(bench.pte(BASE).is_none());
                }
                // vm_mixed_ok refuses it without a word.
                OLD => assert_eq!((ended.signals, warned.met), (1, 0), "{fs}"),
                // The merged helper ignores the flag for the zero page.
                _ => {
                    assert_eq!((ended.signals, warned.met), (0, 0), "{fs}");
                    assert_eq!(bench.pte(BASE).without_frame(), 0x8000_0000_0000_0225);
                }
            }
        }
    });
}

#[test]
fn statement_28_a_folio_that_is_not_of_2m_is_not_mapped_by_a_pmd() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        for page in [0, 512] {
            bench.sim.inject(Injection::FolioOrder { pfn: bench.block(file, page), order: 0 });
        }
        let refused = per_kernel(kernel, 0, 0, 1);
        for at in [BASE, BASE + HUGE] {
            assert_eq!(bench.load(at).signals, refused, "{kernel} {fs}");
            assert_eq!(bench.pmd(at).is_none(), refused == 1);
        }
        let warned = met(&bench, KernelWarning::FolioOrder);
        assert_eq!((warned.met, warned.printed), per_kernel(kernel, (0, 0), (0, 0), (2, 1)), "{kernel} {fs}");
    });
}

#[test]
fn statement_61_a_synchronous_fault_whose_fsync_fails_maps_nothing() {
    everywhere(|kernel, fs| {
        let (mut bench, file) = synchronous(kernel, fs, 4);
        bench.sim.inject(Injection::FsyncFails { nth: 1 });
        assert_eq!(bench.store(BASE).signals, 1, "{kernel} {fs}");
        let fault = bench.faults().remove(0);
        assert_eq!(fault.kind, FaultKind::Sigbus);
        assert!(path(&fault).iter().any(|step| step == "dax_finish_sync_fault=0x2"), "{:?}", path(&fault));
        assert_eq!(bench.pte(BASE), Entry::NONE);
        assert!(!bench.sim.with(|m| m.dax_entry(file, 0)).unwrap().1.dirty);
        // What was not committed still is to be: the next store syncs again, and maps.
        assert_eq!(bench.store(BASE).signals, 0);
        let faults = bench.faults();
        assert!(faults.iter().any(|f| path(f).iter().any(|s| s.starts_with("dax_finish_sync_fault"))));
        assert!(bench.pte(BASE).is_writable());
    });
}

#[test]
fn statement_62_a_synchronous_fault_that_lost_its_entry_maps_nothing_and_faults_again() {
    everywhere(|kernel, fs| {
        for loss in [EntryLoss::Gone, EntryLoss::Huge] {
            // 4 KiB faults in a file whose blocks would do for a 2 MiB entry.
            let (mut bench, file) = synchronous(kernel, fs, 512);
            bench.run(
                0,
                bench.mm,
                Action::Advise {
                    start: BASE,
                    len: HUGE,
                    advice: daxsim_sim::kernel::Advice::HugePage { allowed: false },
                },
            );
            bench.sim.inject(Injection::EntryBeforeFinish(loss));
            assert_eq!(bench.store(BASE).signals, 0, "{kernel} {fs} {loss:?}");
            let faults = bench.faults();
            assert_eq!(returns(&faults[0]), VmFault::NOPAGE);
            let steps = path(&faults[0]);
            assert!(steps.iter().any(|s| s == "dax_insert_pfn_mkwrite_no_entry"), "{steps:?}");
            assert!(!steps.iter().any(|s| s == "dax_insert_pfn_mkwrite"), "{steps:?}");
            assert_eq!(faults[0].new, None, "nothing was stored");
            assert!(faults.len() > 1, "{kernel} {fs}: the store faults again");
            assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
            let entry = bench.sim.with(|m| m.dax_entry(file, 0)).unwrap().1;
            assert_eq!(entry.pmd, loss == EntryLoss::Huge);
            assert!(entry.dirty);
        }
    });
}
