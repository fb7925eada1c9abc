//! Statements 13 to 24: huge entries, entries in the way, the temporary reference, locks, hooks, flushes.

use daxsim_sim::SimError;
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_types::{AccessKind, FileSystem, PageSize, VirtAddr, VmFault};

use crate::common::{
    BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, V1, access, everywhere, per_kernel, shared_map, step, steps,
};
use daxsim_sim::kernel::MapRequest;
use daxsim_sim::program::Action;

#[test]
fn statement_13_a_huge_upgrade_sets_rw_a_and_d_in_every_kernel() {
    everywhere(|kernel, fs| {
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        bench.load(BASE);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_00a5);
        assert_eq!(bench.pmd(BASE).pfn(), bench.block(file, 0));
        let (generation, counts) = (bench.generation(), bench.counts(bench.block(file, 0)));
        assert_eq!(counts, per_kernel(kernel, (0, 0, 0), (1, 1, 512), (1, 1, 512)), "{kernel} {fs}");
        bench.store(BASE + PAGE);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_08e7);
        assert_eq!(bench.counts(bench.block(file, 0)), counts, "{kernel} {fs}: an upgrade counts nothing");
        bench.store(BASE + HUGE);
        assert_eq!(bench.pmd(BASE + HUGE).without_frame(), devmap | 0x8000_0000_0000_08e7);
        let faults = bench.faults();
        assert_eq!(faults.iter().map(|f| f.error_code.0).collect::<Vec<_>>(), [0x4, 0x7, 0x6]);
        assert_eq!(faults[1].kind, FaultKind::PmdMkwrite);
        assert_eq!(faults[1].new.unwrap().without_frame(), devmap | 0x8000_0000_0000_08e7, "by the kernel");
        assert_eq!(bench.measured(|m| m.dirty_assists), 0, "{kernel} {fs}");
        assert_eq!((bench.generation(), bench.flush_requests()), (generation, 0));
        bench.unmap(BASE, 1024);
        assert_eq!(bench.counts(bench.block(file, 0)), (0, 0, 0));
    });
}

/// A store to a page whose entry maps another frame: how the access ends, the entry before, the last fault.
fn store_over_another_frame(kernel: &str, fs: FileSystem, zero: bool) {
    let mut bench = Bench::new(kernel, fs);
    let file = bench.mapped(4);
    bench.load(BASE);
    let wrong = if zero {
        Entry::leaf(bench.zero_page(PageSize::Size4K), bench.pte(BASE).without_frame())
    } else {
        Entry(bench.pte(BASE).0 ^ (1 << 12))
    };
    assert_ne!(wrong.pfn(), bench.block(file, 0));
    bench.inject(BASE, 0, wrong);
    bench.faults();
    let counts = bench.counts(bench.block(file, 0));
    let ended = bench.try_run(0, bench.mm, access(BASE, AccessKind::Write));
    let faults = bench.faults();
    let last = faults.last().unwrap();
    match kernel {
        OLD => {
            assert_eq!(ended, Err(SimError::Livelock { line: 0 }), "NOPAGE, again and again");
            assert_eq!((last.ret, last.kind), (Some(VmFault::NOPAGE), FaultKind::Spurious));
        }
        _ => {
            assert_eq!(ended.unwrap().signals, 1, "{kernel} {fs}: SIGBUS");
            assert_eq!(faults.len(), 1, "{kernel} {fs}: at once");
            assert_eq!((last.ret, last.kind), (Some(VmFault::SIGBUS), FaultKind::Sigbus));
            assert_eq!(steps(last, "insert_page_into_pte_locked=-14"), 1, "-EFAULT");
        }
    }
    assert_eq!(bench.pte(BASE), wrong, "{kernel} {fs}: untouched");
    assert_eq!(bench.counts(bench.block(file, 0)), counts, "{kernel} {fs}");
}

#[test]
fn statement_14_a_write_over_another_frame_before_the_series_changes_nothing_and_is_retried() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        store_over_another_frame(OLD, fs, false);
        store_over_another_frame(OLD, fs, true);
    }
}

#[test]
fn statement_15_a_write_over_another_frame_of_a_counted_variant_is_sigbus() {
    for kernel in [V1, NEW] {
        for fs in [FileSystem::Ext4, FileSystem::Xfs] {
            store_over_another_frame(kernel, fs, false);
            store_over_another_frame(kernel, fs, true);
        }
    }
}

/// Two CPUs load a page of theirs at once: the second finds the first one's entry when it comes to the slot.
#[test]
fn statement_16_a_read_that_finds_an_entry_changes_and_counts_nothing() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE + PAGE);
        bench.faults();
        let calls = bench.measured(|m| m.update_mmu_cache_calls);
        let load = |cpu| vec![step(cpu, bench.mm, access(BASE, AccessKind::Read))];
        bench.race(vec![load(0), load(1)]);
        let faults = bench.faults();
        let mut kinds: Vec<FaultKind> = faults.iter().map(|f| f.kind).collect();
        kinds.sort();
        assert_eq!(kinds, [FaultKind::Read, FaultKind::Spurious], "{kernel} {fs}");
        let busy = faults.iter().find(|f| f.kind == FaultKind::Spurious).unwrap();
        assert_eq!(busy.ret, Some(VmFault::NOPAGE));
        let found = busy.old.unwrap();
        assert_eq!((found, found.pfn()), (bench.pte(BASE), bench.block(file, 0)));
        assert_eq!(busy.new, busy.old, "nothing was stored");
        let inner = per_kernel(kernel, "insert_pfn=0x100", "", "");
        let inner = if inner.is_empty() { "insert_page_into_pte_locked=-16" } else { inner };
        assert_eq!(steps(busy, inner), 1, "{kernel} {fs}");
        let pfn = bench.block(file, 0);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (1, 1, 2), (1, 1, 2)), "{kernel} {fs}");
        let hooks = bench.measured(|m| m.update_mmu_cache_calls) - calls;
        assert_eq!(hooks, per_kernel(kernel, 1, 0, 0), "{kernel} {fs}: the first one's at most");
    });
}

#[test]
fn statement_18_the_handler_holds_a_reference_of_its_own_during_the_insert() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        let pfn = bench.block(file, 0);
        let (second, held) = (BASE + HUGE, per_kernel(kernel, 0, 1, 1));
        bench.map(file, second, 0, 4);
        bench.store(BASE);
        let first = bench.faults();
        assert_eq!(first[0].refs_at_insert, Some(held), "{kernel} {fs}: nothing is mapped yet");
        assert_eq!(bench.counts(pfn).0, held, "{kernel} {fs}: references are mappings again");
        bench.store(second);
        let mapped = per_kernel(kernel, 0, 1, 1);
        assert_eq!(
            bench.faults()[0].refs_at_insert,
            Some(mapped + held),
            "{kernel} {fs}: one mapping, one held"
        );
        let (refs, maps, _) = bench.counts(pfn);
        assert_eq!((refs, maps), per_kernel(kernel, (0, 0), (2, 2), (2, 2)), "{kernel} {fs}");
        // The same for a huge page.
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(512);
        bench.store(BASE);
        assert_eq!(bench.faults()[0].refs_at_insert, Some(held), "{kernel} {fs}: 2 MiB");
        let (refs, maps, _) = bench.counts(bench.block(file, 0));
        assert_eq!(refs, maps);
    });
    // Device-dax pages are never idle: nothing is held.
    for kernel in KERNELS {
        let (mut bench, _) = Bench::device(kernel, 4);
        bench.store(BASE);
        assert_eq!(bench.faults()[0].refs_at_insert, Some(0), "{kernel}");
    }
}

/// Acquisitions of memtype_lock by a load, the upgrade, a first store, a huge load and its upgrade, in this order.
fn memtype_lookups(kernel: &str, fs: FileSystem) -> Vec<u64> {
    let lookups = |bench: &Bench| bench.measured(|m| m.memtype_lookups);
    let mut counts = Vec::new();
    let mut bench = Bench::new(kernel, fs);
    bench.mapped(4);
    let mut before = 0;
    let mut note = |bench: &Bench, before: &mut u64| {
        counts.push(lookups(bench) - *before);
        *before = lookups(bench);
    };
    bench.load(BASE);
    note(&bench, &mut before);
    bench.store(BASE);
    note(&bench, &mut before);
    bench.store(BASE + PAGE);
    note(&bench, &mut before);
    let mut bench = Bench::new(kernel, fs);
    bench.mapped(512);
    before = 0;
    bench.load(BASE);
    note(&bench, &mut before);
    bench.store(BASE);
    note(&bench, &mut before);
    counts
}

#[test]
fn statement_19_memtype_lock_is_taken_once_for_each_insert_or_upgrade_until_the_merge() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        assert_eq!(memtype_lookups(OLD, fs), [1, 1, 1, 1, 1], "{fs}");
        // The first store of the first posting is an insert and an upgrade.
        assert_eq!(memtype_lookups(V1, fs), [1, 1, 2, 1, 1], "{fs}");
    }
}

#[test]
fn statement_20_memtype_lock_is_not_taken_after_the_merge() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        assert_eq!(memtype_lookups(NEW, fs), [0, 0, 0, 0, 0], "{fs}");
    }
}

/// `update_mmu_cache` calls of a fresh 4 KiB insert and of its upgrade.
fn hooks_of_4k(kernel: &str, fs: FileSystem) -> (u64, u64) {
    let calls = |bench: &Bench| bench.measured(|m| m.update_mmu_cache_calls);
    let mut bench = Bench::new(kernel, fs);
    bench.mapped(4);
    bench.load(BASE);
    let fresh = calls(&bench);
    bench.store(BASE);
    (fresh, calls(&bench) - fresh)
}

#[test]
fn statement_21_update_mmu_cache_is_called_for_a_fresh_4k_entry_before_the_series() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        assert_eq!(hooks_of_4k(OLD, fs), (1, 1), "{fs}");
    }
}

#[test]
fn statement_22_update_mmu_cache_is_not_called_for_a_fresh_4k_entry_of_a_counted_variant() {
    for kernel in [V1, NEW] {
        for fs in [FileSystem::Ext4, FileSystem::Xfs] {
            assert_eq!(hooks_of_4k(kernel, fs), (0, 1), "{kernel} {fs}: for the upgrade it is");
        }
    }
}

#[test]
fn statement_23_update_mmu_cache_pmd_is_called_once_for_a_fresh_huge_entry() {
    everywhere(|kernel, fs| {
        let calls = |bench: &Bench| bench.measured(|m| m.update_mmu_cache_calls);
        for kind in [AccessKind::Read, AccessKind::Write] {
            let mut bench = Bench::new(kernel, fs);
            bench.mapped(1024);
            bench.touch(0, BASE, 1, kind);
            assert_eq!(calls(&bench), 1, "{kernel} {fs} {kind:?}: a fresh PMD");
            bench.store(BASE);
            let upgrades = u64::from(kind == AccessKind::Read);
            assert_eq!(calls(&bench), 1 + upgrades, "{kernel} {fs} {kind:?}: and its upgrade");
        }
        let mut bench = Bench::new(kernel, fs);
        bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE);
        assert_eq!(calls(&bench), per_kernel(kernel, 0, 0, 1), "{kernel} {fs}: a huge hole");
    });
}

#[test]
fn statement_24_no_insert_invalidates_a_translation() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        let small = BASE + 8 * HUGE + PAGE;
        bench.map(file, small, 0, 16);
        let holes = bench.file(8, NewFile::Sparse);
        let hole = BASE + 16 * HUGE;
        bench.map(holes, hole, 0, 8);
        let generation = bench.generation();
        for va in [BASE, BASE + HUGE, small, hole] {
            bench.load(va);
            bench.load_on(1, va);
            if va != hole {
                bench.store(va);
            }
        }
        bench.store(hole + PAGE);
        assert_eq!((bench.flush_requests(), bench.generation()), (0, generation), "{kernel} {fs}");
        for reason in
            [FlushReason::LocalMmShootdown, FlushReason::RemoteSendIpi, FlushReason::RemoteShootdown]
        {
            assert_eq!(bench.flush_events(reason), (0, 0), "{kernel} {fs}");
        }
        assert_eq!(bench.measured(|m| (m.shootdowns.full_flushes, m.shootdowns.pages)), (0, 0));
    });
}

/// A read through a private mapping over a copy: the fault that finds an entry of another frame.
#[test]
fn a_read_of_a_private_copy_finds_another_frame_and_leaves_it() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        bench.run(0, bench.mm, Action::Map(MapRequest { shared: false, ..shared_map(file, BASE, 0, 4) }));
        bench.store(BASE);
        let copy = bench.pte(BASE);
        assert_ne!(copy.pfn(), bench.block(file, 0));
        bench.load_on(1, BASE);
        assert_eq!(bench.pte(BASE), copy, "{kernel} {fs}");
        assert_eq!(bench.sim.with(|m| m.entry(bench.mm, VirtAddr(BASE), 0)), copy);
    });
}
