//! Statements 71 to 79: unmap, truncate, fork, mprotect.

use daxsim_sim::kernel::{Advice, FallocMode, FileId, MmId, NewFile};
use daxsim_sim::measure::{FlushReason, Part};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, Time, VirtAddr};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, KERNELS, NEW, OLD, PAGE, V1, access, delay, everywhere, per_kernel, step,
};

/// Flush requests of munmap of a whole mapping of 512 pages of 4 KiB in one table, after `kind` accesses to all of them.
fn flushes_of_unmap(kernel: &str, fs: FileSystem, kind: AccessKind) -> u64 {
    let mut bench = Bench::new(kernel, fs);
    // Not 2 MiB contiguous: 4 KiB entries throughout, and one table.
    let file = bench.mapped_as(512, NewFile::Extents(vec![(0, 4097, 8, true), (8, 8192, 504, true)]));
    bench.touch(0, BASE, 512, kind);
    assert!(!bench.pmd(BASE).is_leaf_at(1));
    let before = bench.flush_requests();
    bench.unmap(BASE, 512);
    assert_eq!((bench.rss(), bench.counts(bench.block(file, 300))), (0, (0, 0, 0)), "{kernel} {fs}");
    bench.flush_requests() - before
}

/// CPU 0 zaps 490 dirty pages and tells CPU 1, slowly, to flush. Meanwhile CPU 2 faults another page of the table in, and CPU
/// 3 maps a zapped frame in another address space: how long CPU 2 waited for locks, and the references that CPU 3 found.
fn zap_in_slow_motion(kernel: &str, fs: FileSystem) -> (Time, i64) {
    let slow = ["cpu.count=4", "ipi.delivery=2 ms"];
    let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
    let file = bench.mapped(500);
    bench.touch(0, BASE, 490, AccessKind::Write);
    bench.load_on(1, BASE);
    let theirs = bench.other_process(3, file, 500);
    bench.run(3, theirs, access(BASE + PAGE, AccessKind::Read));
    bench.faults();
    let locks = |bench: &Bench| bench.sim.with(|m| m.cpu_parts(daxsim_types::CpuId(2)))[Part::Locks];
    let before = locks(&bench);
    let zap = Action::Advise { start: BASE, len: 490 * PAGE, advice: Advice::DontNeed };
    let mm = bench.mm;
    let late = |cpu, mm: MmId, va, kind| {
        vec![step(cpu, mm, Action::Sleep { nanoseconds: 1_000_000 }), step(cpu, mm, access(va, kind))]
    };
    bench.race(vec![
        vec![step(0, mm, zap)],
        vec![step(2, mm, access(BASE + 495 * PAGE, AccessKind::Read))],
        late(3, theirs, BASE, AccessKind::Read),
    ]);
    let faults = bench.faults();
    let refs = faults.iter().find(|f| f.cpu.0 == 3).unwrap().refs_at_insert.unwrap();
    assert_eq!(
        bench.counts(bench.block(file, 0)).1,
        per_kernel(kernel, 0, 1, 1),
        "{kernel} {fs}: theirs is left"
    );
    (locks(&bench) - before, refs)
}

#[test]
fn statement_71_unmapping_512_dirty_pages_before_the_series_is_one_flush_at_the_end() {
    for fs in FSDAX {
        for kind in [AccessKind::Write, AccessKind::Read] {
            assert_eq!(flushes_of_unmap(OLD, fs, kind), 1, "{fs} {kind:?}");
        }
        let (waited, _) = zap_in_slow_motion(OLD, fs);
        assert!(waited < Time::from_ns(1_000_000), "{fs}: the lock was free during the flush: {waited:?}");
    }
}

#[test]
fn statement_72_unmapping_512_dirty_counted_pages_flushes_under_the_lock_of_their_table() {
    for kernel in [V1, NEW] {
        for fs in FSDAX {
            assert_eq!(flushes_of_unmap(kernel, fs, AccessKind::Write), 2, "{kernel} {fs}: one more");
            assert_eq!(flushes_of_unmap(kernel, fs, AccessKind::Read), 1, "{kernel} {fs}: none is forced");
            let (waited, refs) = zap_in_slow_motion(kernel, fs);
            assert!(
                waited >= Time::from_ns(1_500_000),
                "{kernel} {fs}: the lock is held over it: {waited:?}"
            );
            // Its own and that of the mapping that is being flushed.
            assert_eq!(refs, 2, "{kernel} {fs}: the reverse mapping goes after the flush");
        }
    }
}

/// Two processes map a file of `pages` dirty pages, the first of them twice; then `change`. Both address spaces afterwards.
fn after(
    kernel: &str,
    fs: FileSystem,
    pages: u64,
    change: impl Fn(FileId) -> Action,
) -> (Bench, FileId, MmId) {
    let mut bench = Bench::new(kernel, fs);
    let file = bench.mapped(pages);
    let theirs = bench.other_process(1, file, pages);
    bench.touch(0, BASE, pages, AccessKind::Write);
    bench.run(1, theirs, crate::common::touch(BASE, pages, AccessKind::Read));
    assert_eq!(
        bench.sim.with(|m| m.nrpages(file)),
        pages.next_multiple_of(if pages > 511 { 512 } else { 1 })
    );
    let generations = [bench.mm, theirs].map(|mm| bench.sim.with(|m| m.tlb_generation(mm)));
    let action = change(file);
    bench.run(2, bench.mm, action);
    for (mm, before) in [bench.mm, theirs].into_iter().zip(generations) {
        for page in 0..pages {
            let va = VirtAddr(BASE + page * PAGE);
            let (pte, pmd) = bench.sim.with(|m| (m.entry(mm, va, 0), m.entry(mm, va, 1)));
            assert!(pte.is_none() && !(pmd.is_present() && pmd.is_leaf_at(1)), "{kernel} {fs} page {page}");
        }
        assert!(bench.sim.with(|m| m.tlb_generation(mm)) > before, "{kernel} {fs}: flushed");
        assert_eq!(bench.sim.with(|m| m.rss_file(mm)), 0, "{kernel} {fs}");
    }
    assert_eq!((bench.cached(0, BASE), bench.counts(bench.block(file, 0))), (None, (0, 0, 0)));
    (bench, file, theirs)
}

const PUNCH: fn(FileId) -> Action =
    |file| Action::Fallocate { file, mode: FallocMode::Punch, start: 3 * PAGE, len: PAGE };

#[test]
fn statement_75_truncate_or_punch_of_any_range_zaps_the_whole_file_everywhere() {
    everywhere(|kernel, fs| {
        after(kernel, fs, 16, |file| Action::Truncate { file, size: 16 * PAGE });
        after(kernel, fs, 16, |file| Action::Truncate { file, size: 12 * PAGE });
        after(kernel, fs, 16, PUNCH);
        let zero = |file| Action::Fallocate { file, mode: FallocMode::Zero, start: PAGE, len: PAGE };
        after(kernel, fs, 16, zero);
        // Huge mappings too, and those outside of the range.
        let far = |file| Action::Fallocate { file, mode: FallocMode::Punch, start: 600 * PAGE, len: PAGE };
        after(kernel, fs, 1024, far);
    });
    // Private copies survive: the layout is broken with even_cows = false.
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(16, NewFile::Filled);
        bench.map_private(file, BASE, 16);
        bench.load(BASE + PAGE);
        bench.store(BASE);
        let copy = bench.pte(BASE);
        bench.run(0, bench.mm, PUNCH(file));
        assert_eq!((bench.pte(BASE), bench.pte(BASE + PAGE)), (copy, Entry::NONE), "{kernel} {fs}");
    });
}

#[test]
fn statement_76_after_the_merge_no_entries_and_no_dirty_marks_are_left() {
    for fs in FSDAX {
        for size in [16, 12] {
            let (bench, file, _) = after(NEW, fs, 16, |file| Action::Truncate { file, size: size * PAGE });
            assert_eq!(bench.sim.with(|m| m.nrpages(file)), 0, "{fs}");
        }
        let (mut bench, file, _) = after(NEW, fs, 16, PUNCH);
        assert_eq!(bench.sim.with(|m| m.nrpages(file)), 0, "{fs}");
        assert!((0..16).all(|page| bench.sim.with(|m| m.dax_entry(file, page)).is_none()));
        // The marks are gone with them: an fsync finds nothing to write back.
        bench.run(0, bench.mm, Action::Fsync(file));
        assert_eq!(bench.measured(|m| m.writeback_entries), 0, "{fs}");
    }
}

#[test]
fn statement_77_before_the_series_only_entries_of_the_range_go() {
    for kernel in [OLD, V1] {
        for fs in FSDAX {
            let left = |bench: &Bench, file| -> Vec<u64> {
                (0..16).filter(|page| bench.sim.with(|m| m.dax_entry(file, *page)).is_some()).collect()
            };
            let (mut bench, file, _) = after(kernel, fs, 16, PUNCH);
            let want: Vec<u64> = (0..16).filter(|page| *page != 3).collect();
            assert_eq!(left(&bench, file), want, "{kernel} {fs}");
            assert!(want.iter().all(|page| bench.dax_entry(file, *page).1.dirty), "{kernel} {fs}: marks too");
            // XFS has written the punched page back before it dropped it.
            let before = bench.measured(|m| m.writeback_entries);
            assert_eq!(before, u64::from(fs == FileSystem::Xfs), "{kernel} {fs}");
            bench.run(0, bench.mm, Action::Fsync(file));
            assert_eq!(bench.measured(|m| m.writeback_entries) - before, 15, "{kernel} {fs}");
            let (bench, file, _) = after(kernel, fs, 16, |file| Action::Truncate { file, size: 12 * PAGE });
            assert_eq!(left(&bench, file), (0..12).collect::<Vec<_>>(), "{kernel} {fs}");
            let (bench, file, _) = after(kernel, fs, 16, |file| Action::Truncate { file, size: 16 * PAGE });
            assert_eq!(left(&bench, file).len(), 16, "{kernel} {fs}: nothing lies beyond");
        }
    }
}

#[test]
fn statement_78_a_child_inherits_no_entries_of_shared_mappings() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(8);
        bench.touch(0, BASE, 8, AccessKind::Write);
        let private = BASE + HUGE;
        bench.map_private(file, private, 8);
        bench.store(private);
        bench.load(private + PAGE);
        let copy = bench.pte(private);
        let (generation, counts) = (bench.generation(), bench.counts(bench.block(file, 0)));
        let child = bench.sim.with(|m| m.new_mm());
        bench.run(0, bench.mm, Action::Fork(child));
        let of_child = |bench: &Bench, va| bench.sim.with(|m| m.entry(child, VirtAddr(va), 0));
        for page in 0..8 {
            assert!(of_child(&bench, BASE + page * PAGE).is_none(), "{kernel} {fs}");
            assert!(bench.pte(BASE + page * PAGE).is_writable(), "the parent keeps its own");
        }
        assert_eq!(bench.counts(bench.block(file, 0)), counts, "{kernel} {fs}");
        assert_eq!(bench.generation(), generation + 1, "every fork flushes the parent");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown).1, 1, "wholly");
        bench.faults();
        bench.run(1, child, access(BASE, AccessKind::Read));
        assert_eq!(bench.codes(), [0x4], "{kernel} {fs}: the child's first access");
        assert_eq!(of_child(&bench, BASE).pfn(), bench.block(file, 0));
        // Private copies are inherited, read-only on both sides, and counted where pages are.
        assert_eq!(of_child(&bench, private).pfn(), copy.pfn());
        assert!(!of_child(&bench, private).is_writable() && !bench.pte(private).is_writable());
        assert_eq!(bench.sim.with(|m| m.rss_anon(child)), 1, "{kernel} {fs}");
        let maps = bench.counts(bench.block(file, 1)).1;
        assert_eq!(maps, per_kernel(kernel, 0, 3, 3), "{kernel} {fs}: shared, private, the child's private");
        bench.run(1, child, Action::Exit);
        assert_eq!(bench.counts(bench.block(file, 1)).1, per_kernel(kernel, 0, 2, 2), "{kernel} {fs}");
    });
    a_fork_shares_copies_read_only_or_not_at_all();
    a_fork_holds_faults_off_to_its_end();
}

/// Whatever the interleaving with stores of the parent: a private copy is shared read-only, or made after the fork.
fn a_fork_shares_copies_read_only_or_not_at_all() {
    for kernel in KERNELS {
        for wait in (0..40_000).step_by(4_000) {
            let mut bench = Bench::new(kernel, FileSystem::Xfs);
            let file = bench.file(64, NewFile::Filled);
            bench.map_private(file, BASE, 64);
            bench.touch(0, BASE, 32, AccessKind::Write);
            bench.load_on(1, BASE);
            let child = bench.sim.with(|m| m.new_mm());
            let mm = bench.mm;
            let stores = vec![
                step(1, mm, Action::Sleep { nanoseconds: wait }),
                step(1, mm, crate::common::touch(BASE, 64, AccessKind::Write)),
            ];
            bench.race(vec![vec![step(0, mm, Action::Fork(child))], stores]);
            for page in 0..64 {
                let va = VirtAddr(BASE + page * PAGE);
                let (mine, theirs) = bench.sim.with(|m| (m.entry(mm, va, 0), m.entry(child, va, 0)));
                let shared = !theirs.is_none() && mine.pfn() == theirs.pfn();
                assert!(!shared || (!mine.is_writable() && !theirs.is_writable()), "{kernel} {wait} {page}");
            }
        }
    }
}

/// The parent's flush takes 2 ms here. A fault of another thread waits for it, for the fork holds the locks of the VMAs.
fn a_fork_holds_faults_off_to_its_end() {
    everywhere(|kernel, fs| {
        let slow = ["cpu.count=4", "ipi.delivery=2 ms"];
        let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.load_on(2, BASE);
        let child = bench.sim.with(|m| m.new_mm());
        let locks = |bench: &Bench| bench.sim.with(|m| m.cpu_parts(daxsim_types::CpuId(1)))[Part::Locks];
        let before = locks(&bench);
        let late =
            vec![delay(1, bench.mm, BASE, 100_000), step(1, bench.mm, access(BASE + PAGE, AccessKind::Read))];
        bench.race(vec![vec![step(0, bench.mm, Action::Fork(child))], late]);
        let waited = locks(&bench) - before;
        assert!(waited > Time::from_ns(1_500_000), "{kernel} {fs}: {waited:?}");
        assert!(bench.pte(BASE + PAGE).is_present());
    });
}

#[test]
fn statement_79_a_clean_page_stays_read_only_when_mprotect_gives_write_back() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.store(BASE);
        bench.msync(BASE, 8);
        bench.store(BASE + PAGE);
        assert!(!bench.pte(BASE).is_writable() && !bench.pte(BASE).pte_dirty(), "clean after the sync");
        let clean = bench.pte(BASE);
        let protect = |read, write| Action::Protect { start: BASE, len: 8 * PAGE, read, write };
        bench.run(0, bench.mm, protect(false, false));
        assert!(!bench.pte(BASE).is_present());
        bench.run(0, bench.mm, protect(true, true));
        assert_eq!(bench.pte(BASE), clean, "{kernel} {fs}: as it was, read-only");
        assert!(bench.pte(BASE + PAGE).is_writable(), "{kernel} {fs}: a dirty page is writable at once");
        bench.faults();
        bench.load(BASE);
        assert!(bench.codes().is_empty());
        bench.store(BASE);
        assert_eq!(bench.codes(), [0x7], "{kernel} {fs}");
    });
}
