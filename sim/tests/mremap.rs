//! mremap: entries move with their mapping, in the largest pieces that fit, and the old addresses are flushed.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, PAGE, everywhere, per_kernel, shared_map, step, touch};
use daxsim_sim::kernel::{Advice, MapRequest, NewFile, RemapRequest, SyscallError};
use daxsim_sim::measure::FlushReason;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

/// Aligned to 1 GiB, in another part of the address space.
const TO: u64 = 0x2000_0000_0000;

fn remap(bench: &mut Bench, start: u64, pages: u64, to: u64) -> Option<SyscallError> {
    let len = pages * PAGE;
    bench
        .run(
            0,
            bench.mm,
            Action::Remap(RemapRequest { start, len, new_len: len, to: Some(to), dont_unmap: false }),
        )
        .error
}

fn resize(bench: &mut Bench, start: u64, pages: u64, new_pages: u64) -> Option<SyscallError> {
    let request =
        RemapRequest { start, len: pages * PAGE, new_len: new_pages * PAGE, to: None, dont_unmap: false };
    bench.run(0, bench.mm, Action::Remap(request)).error
}

fn local_flushes(bench: &Bench) -> (u64, u64, u64) {
    bench.measured(|m| {
        m.flushes.get(&FlushReason::LocalMmShootdown).map_or((0, 0, 0), |f| (f.count, f.full, f.pages))
    })
}

#[test]
fn entries_go_along_and_the_old_addresses_fault() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(8);
        bench.touch(0, BASE, 4, AccessKind::Write);
        bench.load(BASE + 5 * PAGE);
        let before: Vec<Entry> = (0..8).map(|page| bench.pte(BASE + page * PAGE)).collect();
        let counts = bench.counts(bench.block(file, 0));
        bench.faults();
        assert_eq!(remap(&mut bench, BASE, 8, TO), None);
        for (page, old) in (0..8).zip(before) {
            let soft_dirty = if old.is_none() { 0 } else { Entry::SOFT_DIRTY };
            assert_eq!(bench.pte(TO + page * PAGE).0, old.0 | soft_dirty, "{kernel} {fs} page {page}");
            assert!(bench.pte(BASE + page * PAGE).is_none());
        }
        assert_eq!(bench.counts(bench.block(file, 0)), counts, "{kernel} {fs}: moved, not mapped again");
        bench.touch(0, TO, 4, AccessKind::Write);
        bench.load(TO + 5 * PAGE);
        assert!(bench.codes().is_empty(), "{kernel} {fs}: nothing to fault in");
        assert_eq!(bench.store(BASE).signals, 1, "{kernel} {fs}: SIGSEGV");
        bench.load(TO + 6 * PAGE);
        assert_eq!(bench.pte(TO + 6 * PAGE).pfn(), bench.block(file, 6), "the file page of the new address");
    });
}

#[test]
fn the_old_range_is_flushed_if_something_present_moved() {
    for (touched, pages, expected) in
        [(8, 8, (1, 0, 8)), (1, 33, (1, 0, 33)), (1, 34, (1, 1, 0)), (0, 8, (0, 0, 0))]
    {
        let mut bench = Bench::new(NEW, FileSystem::Ext4);
        // The neighbours keep the tables.
        bench.mapped(128);
        bench.load(BASE);
        bench.touch(0, BASE + 8 * PAGE, touched, AccessKind::Read);
        assert_eq!(remap(&mut bench, BASE + 8 * PAGE, pages, TO), None);
        assert_eq!(local_flushes(&bench), expected, "{touched} of {pages}");
    }
}

#[test]
fn other_cpus_lose_their_copies() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(128);
        bench.store(BASE);
        bench.load_on(1, BASE);
        bench.load_on(1, BASE + 100 * PAGE);
        remap(&mut bench, BASE, 8, TO);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_received), 1, "{kernel} {fs}");
        assert_eq!(bench.load_on(1, BASE).signals, 1, "{kernel} {fs}");
        assert_eq!(bench.load_on(1, TO).signals, 0);
    });
}

#[test]
fn a_huge_page_moves_whole_where_both_addresses_allow_it() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        let file = bench.mapped(1024);
        bench.store(BASE);
        bench.load(BASE + HUGE);
        let (old, rss) = (bench.pmd(BASE), bench.rss());
        bench.faults();
        assert_eq!(remap(&mut bench, BASE, 512, TO), None);
        assert_eq!(bench.pmd(TO).0, old.0 | Entry::SOFT_DIRTY, "{kernel}");
        assert_eq!(local_flushes(&bench), (1, 1, 0), "{kernel}: 2 MiB are flushed as a whole");
        bench.store(TO + 7 * PAGE);
        assert!(bench.codes().is_empty() && bench.rss() == rss);
        // Half a page further it does not fit: the entry is removed, and 4 KiB pages are faulted in.
        assert_eq!(remap(&mut bench, TO, 512, 2 * TO + HUGE / 2), None);
        assert!(bench.pmd(TO).is_none());
        let counted = per_kernel(kernel, 0, 1, 1);
        assert_eq!(bench.rss(), counted * 512, "{kernel}: the other huge page");
        bench.store(2 * TO + HUGE / 2 + 7 * PAGE);
        assert_eq!(bench.pte(2 * TO + HUGE / 2 + 7 * PAGE).pfn(), bench.block(file, 7), "{kernel}");
    }
}

#[test]
fn a_page_table_moves_as_one_entry() {
    let moved = |to: u64| {
        let mut bench = Bench::new(NEW, FileSystem::Ext4);
        bench.mapped(1024);
        let advice = Advice::HugePage { allowed: false };
        bench.run(0, bench.mm, Action::Advise { start: BASE, len: 2 * HUGE, advice });
        bench.touch(0, BASE, 1024, AccessKind::Read);
        let before = bench.sim.with(|m| m.cpu_time(CpuId(0)));
        assert_eq!(remap(&mut bench, BASE, 512, to), None);
        let took = bench.sim.with(|m| m.cpu_time(CpuId(0))) - before;
        bench.faults();
        bench.touch(0, to, 512, AccessKind::Read);
        assert!(bench.codes().is_empty());
        assert_eq!(bench.load(BASE).signals, 1);
        (took, bench.pte(to).0 & Entry::SOFT_DIRTY != 0, local_flushes(&bench))
    };
    let (whole, singly) = (moved(TO), moved(TO + 3 * PAGE));
    assert!(whole.0 < singly.0, "{whole:?} {singly:?}");
    assert!(!whole.1 && singly.1, "single entries become soft-dirty");
    // Two pieces, 509 pages up to the border and 3 behind it; the empty old table goes in the unmapping, with a flush.
    assert_eq!(whole.2, (1, 1, 0));
    assert_eq!(singly.2.0, 3);
}

#[test]
fn a_gib_of_device_dax_moves_whole() {
    let machine = ["cpu.count=2", "pmem.devdax_alignment=\"1G\""];
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Devdax, &machine, &[]);
    let pages = 512 * 512;
    let file = bench.file(pages, NewFile::Device);
    bench.map(file, BASE, 0, pages);
    bench.store(BASE);
    bench.faults();
    assert_eq!(remap(&mut bench, BASE, pages, TO), None);
    bench.store(TO + 9 * HUGE);
    assert!(bench.codes().is_empty());
    assert_eq!(bench.rss(), 262_144);
}

#[test]
fn writeback_finds_the_page_at_its_new_place() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.store(BASE);
        remap(&mut bench, BASE, 8, TO);
        bench.store(TO);
        bench.msync(TO, 8);
        let entry = bench.pte(TO);
        assert!(entry.is_present() && !entry.is_writable() && !entry.pte_dirty(), "{kernel} {fs}");
    });
}

#[test]
fn private_copies_move_too() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(8, NewFile::Filled);
        bench.run(0, bench.mm, Action::Map(MapRequest { shared: false, ..shared_map(file, BASE, 0, 8) }));
        bench.store(BASE + PAGE);
        let copy = bench.pte(BASE + PAGE).pfn();
        assert_ne!(copy, bench.block(file, 1));
        bench.faults();
        remap(&mut bench, BASE, 8, TO);
        bench.store(TO + PAGE);
        assert!(bench.codes().is_empty(), "{kernel} {fs}");
        assert_eq!(bench.pte(TO + PAGE).pfn(), copy);
        bench.unmap(TO, 8);
        bench.run(0, bench.mm, Action::Map(MapRequest { shared: false, ..shared_map(file, BASE, 0, 8) }));
        bench.store(BASE);
        assert_eq!(bench.pte(BASE).pfn(), copy, "{kernel} {fs}: given back once, and so used again");
    });
}

#[test]
fn the_target_is_unmapped_first_and_a_longer_target_faults_its_rest_in() {
    let mut bench = Bench::new(NEW, FileSystem::Xfs);
    let other = bench.file(8, NewFile::Filled);
    let file = bench.mapped(64);
    bench.map(other, TO, 0, 8);
    bench.store(TO);
    bench.store(BASE);
    let request =
        RemapRequest { start: BASE, len: 4 * PAGE, new_len: 16 * PAGE, to: Some(TO), dont_unmap: false };
    assert_eq!(bench.run(0, bench.mm, Action::Remap(request)).error, None);
    assert_eq!(bench.counts(bench.block(other, 0)), (0, 0, 1));
    assert_eq!(bench.pte(TO).pfn(), bench.block(file, 0));
    bench.load(TO + 15 * PAGE);
    assert_eq!(bench.pte(TO + 15 * PAGE).pfn(), bench.block(file, 15));
    // To fewer pages: the rest goes.
    let request =
        RemapRequest { start: TO, len: 16 * PAGE, new_len: 2 * PAGE, to: Some(2 * TO), dont_unmap: false };
    assert_eq!(bench.run(0, bench.mm, Action::Remap(request)).error, None);
    assert_eq!(bench.load(2 * TO + PAGE).signals, 0);
    assert_eq!(bench.load(2 * TO + 2 * PAGE).signals, 1);
    assert_eq!(bench.load(TO + 15 * PAGE).signals, 1);
}

#[test]
fn mappings_shrink_and_grow_in_place() {
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    let file = bench.file(64, NewFile::Filled);
    bench.map(file, BASE, 0, 8);
    bench.touch(0, BASE, 8, AccessKind::Read);
    assert_eq!(resize(&mut bench, BASE, 8, 4), None);
    assert_eq!((bench.load(BASE + 3 * PAGE).signals, bench.load(BASE + 4 * PAGE).signals), (0, 1));
    assert_eq!(resize(&mut bench, BASE, 4, 10), None);
    assert_eq!((bench.load(BASE + 9 * PAGE).signals, bench.load(BASE + 10 * PAGE).signals), (0, 1));
    assert_eq!(bench.pte(BASE + 9 * PAGE).pfn(), bench.block(file, 9));
    bench.map(file, BASE + 12 * PAGE, 0, 1);
    assert_eq!(resize(&mut bench, BASE, 10, 12), None);
    let (start, end) = (BASE + 12 * PAGE, BASE + 13 * PAGE);
    assert_eq!(resize(&mut bench, BASE, 12, 13), Some(SyscallError::NoRoom { start, end }));
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    bench.mapped(8);
    bench.store(BASE);
    let before = bench.pte(BASE);
    let invalid = Some(SyscallError::Invalid { start: BASE, len: 8 * PAGE });
    assert_eq!(remap(&mut bench, BASE, 8, BASE + 4 * PAGE), invalid, "they overlap");
    assert!(remap(&mut bench, BASE, 8, TO + 1).is_some(), "unaligned");
    assert!(remap(&mut bench, BASE, 0, TO).is_some(), "empty");
    let (start, end) = (BASE, BASE + 9 * PAGE);
    assert_eq!(remap(&mut bench, BASE, 9, TO), Some(SyscallError::NoMapping { start, end }), "not mapped");
    assert_eq!(bench.pte(BASE), before);
    assert_eq!(bench.load(TO).signals, 1);
}

#[test]
fn accesses_that_race_with_a_move_leave_no_stale_copy() {
    for seed in 0..24 {
        let mut bench = Bench::new(NEW, FileSystem::Ext4);
        bench.mapped(128);
        for cpu in 0..4 {
            bench.touch(cpu, BASE, 16, AccessKind::Write);
        }
        bench.sim.set_seed(seed);
        let mm = bench.mm;
        let access =
            |cpu| (0..30).map(move |n| step(cpu, mm, touch(BASE + n % 16 * PAGE, 1, AccessKind::Write)));
        let mut threads: Vec<Vec<_>> = (1..4).map(|cpu| access(cpu).collect()).collect();
        let request =
            RemapRequest { start: BASE, len: 16 * PAGE, new_len: 16 * PAGE, to: Some(TO), dont_unmap: false };
        threads.push(vec![step(0, mm, Action::Remap(request))]);
        bench.sim.parallel(threads).unwrap();
        for (cpu, page) in (0..4).flat_map(|cpu| (0..16).map(move |page| (cpu, page))) {
            let cached =
                bench.sim.with(|m| m.cached_translation(CpuId(cpu), mm, VirtAddr(BASE + page * PAGE)));
            assert_eq!(cached, None, "seed {seed}, CPU {cpu}, page {page}");
            assert!(bench.pte(BASE + page * PAGE).is_none() && bench.pte(TO + page * PAGE).is_present());
        }
        assert_eq!(bench.rss(), 16);
    }
}

#[test]
fn with_dontunmap_the_old_place_stays_mapped_and_is_faulted_in_anew() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        bench.store(BASE);
        let before = bench.pte(BASE).pfn();
        let (len, new_len) = (16 * PAGE, 16 * PAGE);
        let request = RemapRequest { start: BASE, len, new_len, to: Some(TO), dont_unmap: true };
        assert_eq!(bench.run(0, bench.mm, Action::Remap(request)).error, None);
        assert!(bench.pte(BASE).is_none() && bench.pte(TO).pfn() == before);
        bench.faults();
        assert_eq!((bench.load(BASE).signals, bench.load(TO).signals), (0, 0));
        assert_eq!(bench.faults().len(), 1, "{kernel} {fs}: at the old place alone");
        assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
        assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
        for bad in [
            RemapRequest { to: None, ..request },
            RemapRequest { start: TO, to: Some(2 * TO), new_len: PAGE, ..request },
        ] {
            let error = bench.run(0, bench.mm, Action::Remap(bad)).error;
            assert!(matches!(error, Some(SyscallError::Invalid { .. })), "{error:?}");
        }
    });
}
