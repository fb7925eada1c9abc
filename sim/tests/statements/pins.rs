//! Statements 73 and 74: pinned pages. With them 70 and 91, and what else changes a mapping beside its program.

use daxsim_sim::kernel::{FallocMode, FileId, NewFile, PinKind};
use daxsim_sim::measure::{FlushReason, KernelWarning, Part};
use daxsim_sim::program::{Action, Step};
use daxsim_sim::{SimError, Simulation};
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Pfn, Time, VirtAddr};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, KERNELS, NEW, OLD, PAGE, access, everywhere, per_kernel, shared_map, step,
};

fn pin(start: u64, pages: u64, write: bool) -> Action {
    Action::Pin { start, len: pages * PAGE, write, kind: PinKind::Pin }
}

fn get(start: u64, pages: u64) -> Action {
    Action::Pin { start, len: pages * PAGE, write: false, kind: PinKind::Get }
}

fn unpin(start: u64, pages: u64) -> Action {
    Action::Unpin { start, len: pages * PAGE }
}

fn sleep(microseconds: u64) -> Action {
    Action::Sleep { nanoseconds: microseconds * 1000 }
}

fn truncate(file: FileId) -> Action {
    Action::Truncate { file, size: PAGE }
}

fn refs(bench: &Bench, pfn: Pfn) -> i64 {
    bench.counts(pfn).0
}

/// CPU 1 changes the file while CPU 0 holds what it has pinned for another 500 microseconds. When CPU 1 was done.
fn raced(bench: &mut Bench, change: Action, held: (u64, u64)) -> Time {
    let mm = bench.mm;
    let waiter = vec![step(1, mm, change)];
    let holder = vec![step(0, mm, sleep(500)), step(0, mm, unpin(held.0, held.1))];
    bench.sim.parallel(vec![holder, waiter]).unwrap();
    bench.sim.with(|m| m.cpu_time(CpuId(1)))
}

fn locked_wait(sim: &Simulation) -> Time {
    sim.with(|m| m.cpu_parts(CpuId(1)))[Part::Locks]
}

const MOST: Time = Time(450_000_000);

#[test]
fn statement_73_a_truncation_of_6_12_waits_until_the_refcount_is_1_again() {
    for fs in FSDAX {
        for action in [pin(BASE, 1, true), get(BASE, 1)] {
            let mut bench = Bench::new(OLD, fs);
            let file = bench.mapped(4);
            let pfn = bench.block(file, 0);
            let more = if matches!(action, Action::Pin { kind: PinKind::Pin, .. }) { 1024 } else { 1 };
            bench.run(0, bench.mm, action);
            assert_eq!(bench.counts(pfn), (more, 0, 0), "{fs}: above the idle value, not mapped");
            let done = raced(&mut bench, truncate(file), (BASE, 1));
            assert!(locked_wait(&bench.sim) > MOST, "{fs}: {:?}", locked_wait(&bench.sim));
            assert!(done > MOST);
            assert_eq!(refs(&bench, pfn), 0);
            assert_eq!(bench.measured(|m| m.warnings.get(KernelWarning::BusyPageFreed).met), 0);
            assert!(bench.sim.with(|m| m.extent(file, 1)).block.is_none(), "{fs}: it was cut in the end");
        }
    }
}

#[test]
fn statement_74_a_truncation_of_7_2_waits_until_the_refcount_is_0() {
    for fs in FSDAX {
        let mut bench = Bench::new(NEW, fs);
        let file = bench.mapped(4);
        let pfn = bench.block(file, 0);
        bench.run(0, bench.mm, pin(BASE, 1, false));
        assert_eq!(bench.counts(pfn), (1025, 1, 1), "{fs}: a mapping and a pin");
        bench.unmap(BASE, 4);
        assert_eq!(bench.counts(pfn), (1024, 0, 0), "{fs}: refcount - mapcount is the pin");
        raced(&mut bench, truncate(file), (BASE, 1));
        assert!(locked_wait(&bench.sim) > MOST, "{fs}");
        assert_eq!(bench.counts(pfn), (0, 0, 0));
        assert!(bench.sim.with(|m| m.extent(file, 1)).block.is_none(), "{fs}");
    }
}

#[test]
fn a_mapping_alone_is_not_busy() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.store(BASE);
        bench.run(1, bench.mm, truncate(file));
        assert_eq!(locked_wait(&bench.sim), Time::ZERO, "{kernel} {fs}");
        assert!(bench.pte(BASE).is_none());
    });
}

#[test]
fn until_7_2_a_file_that_nobody_maps_is_not_looked_at() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.run(0, bench.mm, pin(BASE + 2 * PAGE, 1, false));
        bench.unmap(BASE, 4);
        raced(&mut bench, truncate(file), (BASE + 2 * PAGE, 1));
        assert_eq!(locked_wait(&bench.sim) > MOST, kernel == NEW, "{kernel} {fs}");
        // Then the page leaves the file while the I/O still writes to it, which the kernel notices.
        let noticed = bench.measured(|m| m.warnings.get(KernelWarning::BusyPageFreed).met);
        assert_eq!(noticed, u64::from(kernel != NEW), "{kernel} {fs}");
    });
}

#[test]
fn every_change_of_blocks_waits_and_faults_go_on_meanwhile() {
    everywhere(|kernel, fs| {
        for mode in [FallocMode::Punch, FallocMode::Zero, FallocMode::Collapse] {
            let mut bench = Bench::new(kernel, fs);
            let file = bench.mapped(8);
            bench.run(0, bench.mm, pin(BASE, 1, false));
            let mm = bench.mm;
            let change = Action::Fallocate { file, mode, start: PAGE, len: PAGE };
            let threads = vec![
                vec![step(0, mm, sleep(500)), step(0, mm, unpin(BASE, 1))],
                vec![step(1, mm, change)],
                // The invalidate lock is not held by who waits.
                vec![step(2, mm, sleep(100)), step(2, mm, access(BASE + 5 * PAGE, AccessKind::Read))],
            ];
            bench.faults();
            bench.sim.parallel(threads).unwrap();
            assert!(locked_wait(&bench.sim) > MOST, "{kernel} {fs} {mode:?}");
            let faulted = bench.sim.with(|m| m.cpu_parts(CpuId(2)));
            assert!(faulted[Part::Locks] < Time(100_000_000), "{kernel} {fs}: {:?}", faulted[Part::Locks]);
            assert_eq!(bench.faults().len(), 1);
            assert!(bench.pte(BASE + 5 * PAGE).is_none(), "and is unmapped by the next look");
        }
    });
}

#[test]
fn a_huge_page_is_pinned_by_its_pincount() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(512);
        let head = bench.block(file, 0);
        let counts = |bench: &Bench, page: u64| {
            let c = bench.sim.with(|m| m.page_counts(Pfn(head.0 + page)));
            (c.refs, c.maps, c.pins)
        };
        bench.run(0, bench.mm, pin(BASE + 7 * PAGE, 2, true));
        assert!(bench.pmd(BASE).is_leaf_at(1));
        // Before the series each page is for itself; since, the folio has one count.
        assert_eq!(
            counts(&bench, 7),
            per_kernel(kernel, (1024, 0, 0), (0, 0, 0), (0, 0, 0)),
            "{kernel} {fs}"
        );
        assert_eq!(counts(&bench, 0), per_kernel(kernel, (0, 0, 0), (3, 1, 2), (3, 1, 2)), "{kernel} {fs}");
        raced(&mut bench, truncate(file), (BASE + 7 * PAGE, 2));
        assert!(locked_wait(&bench.sim) > MOST, "{kernel} {fs}");
        assert_eq!(counts(&bench, 0), (0, 0, 0));
    });
}

#[test]
fn a_page_that_is_never_unpinned_deadlocks_the_truncation_with_a_message() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        let file = bench.mapped(4);
        bench.run(0, bench.mm, pin(BASE, 1, false));
        let error = bench.try_run(1, bench.mm, truncate(file)).unwrap_err();
        let frame = format!("{:#x}", bench.block(file, 0).0);
        assert!(matches!(error, SimError::Deadlock(_)), "{kernel}: {error}");
        assert!(error.to_string().contains(&frame) && error.to_string().contains("pinned"), "{error}");
    }
}

#[test]
fn pinning_faults_pages_in_without_an_exception_and_fails_where_nothing_is_mapped() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE);
        bench.faults();
        assert_eq!(bench.run(0, bench.mm, pin(BASE, 4, true)).error, None, "{kernel} {fs}");
        assert!(bench.faults().is_empty());
        for page in 0..4 {
            assert!(bench.pte(BASE + page * PAGE).is_writable(), "{kernel} {fs} {page}");
            assert_eq!(refs(&bench, bench.block(file, page)) & !1, 1024);
        }
        assert!(bench.run(0, bench.mm, pin(BASE + 2 * PAGE, 4, false)).error.is_some());
        assert_eq!(refs(&bench, bench.block(file, 2)) & !1, 1024, "what was taken is given back");
        assert_eq!(bench.run(0, bench.mm, unpin(BASE, 4)).error, None);
        assert!(bench.run(0, bench.mm, unpin(BASE, 4)).error.is_some());
    });
}

#[test]
fn pinning_costs_locked_operations_on_the_struct_page_alone() {
    // With the entry mapped already, a second pin is a walk and one locked operation; so is its end.
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Xfs);
        bench.mapped(4);
        for _ in 0..2 {
            bench.run(0, bench.mm, pin(BASE, 1, false));
        }
        let instructions = |bench: &Bench| bench.sim.with(|m| m.cpu_parts(CpuId(0)))[Part::Insert];
        let before = instructions(&bench);
        bench.run(0, bench.mm, pin(BASE, 1, false));
        assert_eq!(instructions(&bench), before, "{kernel}: nothing was inserted");
        assert_eq!(bench.measured(|m| m.faults.total), 0);
    }
}

/// An fsync of a stored page: CLWBs that found something, entries, flush requests, time.
fn synced(kernel: &str, fs: FileSystem, write_cache: bool) -> (u64, u64, u64, Time) {
    let knob = format!("pmem.write_cache={write_cache}");
    let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &["cpu.count=4", &knob], &[]);
    let file = bench.mapped(4);
    bench.store(BASE);
    bench.run(0, bench.mm, Action::Fsync(file));
    assert!(!bench.pte(BASE).is_writable() && !bench.pte(BASE).pte_dirty());
    assert!(!bench.sim.with(|m| m.dax_entry(file, 0)).unwrap().1.dirty);
    let counts = bench.measured(|m| (m.writeback_entries, m.shootdowns.requests));
    let results = bench.finish();
    (results.memory.clwb_writebacks, counts.0, counts.1, results.cpus[0][Part::Writeback])
}

#[test]
fn statement_70_without_a_write_cache_an_fsync_writes_no_line_back() {
    everywhere(|kernel, fs| {
        let with = synced(kernel, fs, true);
        let without = synced(kernel, fs, false);
        assert!(with.0 > 0, "{kernel} {fs}");
        assert_eq!(without.0, 0, "{kernel} {fs}");
        assert_eq!((with.1, with.2), (without.1, without.2), "{kernel} {fs}: entry and flush all the same");
        assert!(with.3 > without.3, "{kernel} {fs}: the CLWBs took time");
    });
}

/// The sweep of a kernel thread on CPU 3, which has the address space not loaded.
fn make_old(bench: &mut Bench, start: u64, pages: u64) {
    let action = Action::ClearYoung { mm: bench.mm, start, len: pages * PAGE };
    let step = Step { line: 0, thread: 3, cpu: CpuId(3), mm: None, action };
    assert_eq!(bench.sim.step(step).unwrap().error, None);
}

#[test]
fn statement_91_clearing_a_of_a_4k_entry_flushes_nothing() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.load(BASE);
        assert!(bench.pte(BASE).accessed());
        let requests = bench.flush_requests();
        make_old(&mut bench, BASE, 4);
        assert!(!bench.pte(BASE).accessed(), "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), requests);
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (0, 0));
        // The translation is still cached: a hit does not set A again, a walk does.
        assert!(bench.sim.with(|m| m.cached_translation(CpuId(0), bench.mm, VirtAddr(BASE))).is_some());
        bench.load(BASE);
        assert!(!bench.pte(BASE).accessed(), "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.accessed_assists), 0);
        bench.load_on(1, BASE);
        assert!(bench.pte(BASE).accessed(), "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.accessed_assists), 1);
    });
}

#[test]
fn clearing_a_of_a_pmd_flushes_all_if_it_was_set() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.load(BASE);
        assert!(bench.pmd(BASE).is_leaf_at(1) && bench.pmd(BASE).accessed());
        let requests = bench.flush_requests();
        make_old(&mut bench, BASE, 512);
        assert!(!bench.pmd(BASE).accessed(), "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), requests + 1);
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1), "{kernel} {fs}");
        assert!(bench.sim.with(|m| m.cached_translation(CpuId(0), bench.mm, VirtAddr(BASE))).is_none());
        make_old(&mut bench, BASE, 512);
        assert_eq!(bench.flush_requests(), requests + 1, "{kernel} {fs}: it was clear");
        bench.load(BASE + PageSize::Size4K.bytes());
        assert!(bench.pmd(BASE).accessed(), "the walk set it again");
    });
}

#[test]
fn fork_waits_for_the_faults_of_the_parent_and_holds_them_back() {
    // Private copies made while fork runs would not be write-protected in both.
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(64, NewFile::Filled);
        let mut request = shared_map(file, BASE, 0, 64);
        request.shared = false;
        bench.run(0, bench.mm, Action::Map(request));
        bench.touch(0, BASE, 32, AccessKind::Write);
        let child = bench.sim.with(|m| m.new_mm());
        let mm = bench.mm;
        let stores = crate::common::touch(BASE + 32 * PAGE, 32, AccessKind::Write);
        bench.sim.parallel(vec![vec![step(0, mm, Action::Fork(child))], vec![step(1, mm, stores)]]).unwrap();
        for page in 0..64 {
            let va = VirtAddr(BASE + page * PAGE);
            let (of_parent, of_child) = bench.sim.with(|m| (m.entry(mm, va, 0), m.entry(child, va, 0)));
            let shared = !of_child.is_none();
            assert!(!shared || of_child.pfn() != of_parent.pfn() || !of_parent.is_writable(), "{page}");
            assert!(!of_child.is_writable(), "{kernel} {fs} {page}");
        }
        assert!(bench.sim.with(|m| m.cpu_parts(CpuId(1)))[Part::Locks] > Time::ZERO, "{kernel} {fs}");
    });
}

#[test]
fn a_huge_range_is_swept_over_gaps() {
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    bench.mapped(4);
    bench.load(BASE);
    make_old(&mut bench, BASE - HUGE, 4096);
    assert!(!bench.pte(BASE).accessed());
}

#[test]
fn a_script_can_pin() {
    let script = |last: &str| {
        let text = format!(
            "@threads 2 0 1\n@seq\n0 file 0 f 64k fill\n0 map 0 0 0 64k rw shared {BASE:#x}\n0 pin 0 0 8k w\n@par\n\
             0 usleep 500\n0 {last}\n1 trunc 0 0\n"
        );
        daxsim_traces::script::Script::read(text.as_bytes(), "pins".as_ref()).unwrap()
    };
    for kernel in KERNELS {
        let run = |last: &str| {
            let mut bench = Bench::new(kernel, FileSystem::Ext4);
            let none = std::collections::BTreeMap::new();
            let ended = daxsim_sim::program::script::run(&mut bench.sim, &script(last), bench.fs, &none);
            (ended.err().map(|e| e.to_string()), locked_wait(&bench.sim))
        };
        let (error, waited) = run("unpin 0 0 8k");
        assert_eq!(error, None, "{kernel}");
        assert!(waited > MOST, "{kernel}");
        assert!(run("nop").0.unwrap().contains("pinned"), "{kernel}");
    }
}

#[test]
fn a_write_protect_fault_that_waits_for_a_truncation_does_not_stop_it_for_ever() {
    // In the first posting such a fault holds a reference while it waits for the invalidate lock.
    everywhere(|kernel, fs| {
        let mut fault_waits = 0;
        for delay in (0..60).step_by(4) {
            let mut bench = Bench::new(kernel, fs);
            // Off the 2 MiB colour: small pages under two tables, of which the first takes long to zap.
            let file = bench.file(600, NewFile::Filled);
            bench.map(file, BASE + PAGE, 0, 600);
            bench.touch(0, BASE + PAGE, 600, AccessKind::Read);
            let mm = bench.mm;
            let last = access(BASE + 600 * PAGE, AccessKind::Write);
            let stores = vec![step(0, mm, sleep(delay)), step(0, mm, last)];
            let sized = vec![step(1, mm, Action::Truncate { file, size: 600 * PAGE })];
            bench.sim.parallel(vec![stores, sized]).unwrap();
            assert_eq!(locked_wait(&bench.sim), Time::ZERO, "{kernel} {fs} {delay}: nothing is pinned");
            let waited = bench.sim.with(|m| m.cpu_parts(CpuId(0)))[Part::Locks];
            fault_waits += u64::from(waited > Time::ZERO);
            let block = bench.block(file, 599);
            let held = bench.sim.with(|m| m.page_counts(block));
            assert_eq!(held.refs, held.maps, "{kernel} {fs} {delay}");
        }
        assert!(fault_waits > 0, "{kernel} {fs}");
    });
}
