//! Statements 54 to 63: private mappings, sync faults, split.

use daxsim_sim::kernel::dax_entry::EntryKind;
use daxsim_sim::kernel::{FileId, MapRequest, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, PageSize, VmFault};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, NEW, OLD, PAGE, V1, access, delay, everywhere, path, per_kernel, shared_map,
    step, steps,
};

/// A private, writable mapping of a file of `pages` pages at [`BASE`].
fn private(kernel: &str, fs: FileSystem, pages: u64, new: NewFile) -> (Bench, FileId) {
    let mut bench = Bench::new(kernel, fs);
    let file = bench.file(pages, new);
    bench.map_private(file, BASE, pages);
    (bench, file)
}

fn anon(bench: &Bench) -> i64 {
    bench.sim.with(|m| m.rss_anon(bench.mm))
}

/// What a private copy's entry is.
const COPY: u64 = Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D | Entry::SOFT_DIRTY | Entry::NX;

#[test]
fn statement_54_a_private_store_to_an_unmapped_page_copies_it_and_leaves_the_file_alone() {
    everywhere(|kernel, fs| {
        for (new, kind) in [(NewFile::Filled, "iomap:MAPPED"), (NewFile::Sparse, "iomap:HOLE")] {
            let (mut bench, file) = private(kernel, fs, 8, new.clone());
            bench.store(BASE);
            let faults = bench.faults();
            assert_eq!(faults.len(), 1, "{kernel} {fs} {new:?}");
            assert_eq!((faults[0].error_code.0, faults[0].kind), (0x6, FaultKind::Cow));
            assert_eq!(faults[0].ret, Some(VmFault::DONE_COW), "{kernel} {fs}");
            assert_eq!(steps(&faults[0], "dax_pte_fault_done=DONE_COW"), 1);
            assert_eq!(steps(&faults[0], kind), 1, "a lookup that allocates nothing");
            assert_eq!(bench.events().journal_starts, 0, "{kernel} {fs}: no journal handle");
            assert_eq!(bench.pte(BASE).without_frame(), COPY, "{kernel} {fs}");
            let (_, entry) = bench.dax_entry(file, 0);
            assert_eq!((entry.kind, entry.dirty, entry.locked), (EntryKind::Empty, false, false));
            assert_eq!((anon(&bench), bench.rss()), (1, 0), "{kernel} {fs}");
            if new == NewFile::Filled {
                let block = bench.block(file, 0);
                assert_ne!(bench.pte(BASE).pfn(), block);
                assert_eq!(bench.counts(block), (0, 0, 0), "{kernel} {fs}");
            }
            // An entry that is there stays as it is.
            bench.map(file, BASE + HUGE, 0, 8);
            bench.store(BASE + HUGE + PAGE);
            let before = bench.dax_entry(file, 1);
            let journal = bench.events().journal_starts;
            assert_eq!(journal > 0, fs == FileSystem::Ext4, "a shared store starts one on ext4");
            bench.store(BASE + PAGE);
            assert_eq!(bench.dax_entry(file, 1), before, "{kernel} {fs}");
            assert_eq!(bench.events().journal_starts, journal);
            bench.unmap(BASE, 8);
            assert_eq!(anon(&bench), 0, "{kernel} {fs}");
        }
    });
}

#[test]
fn statement_55_a_copy_is_mapped_after_the_old_entry_is_gone_from_every_tlb() {
    everywhere(|kernel, fs| {
        let mut met = 0;
        for wait in (0..60_000).step_by(3_000) {
            // Slow interrupts: the entry is none for long.
            let slow = ["cpu.count=4", "ipi.delivery=20 us"];
            let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
            let file = bench.file(4, NewFile::Filled);
            bench.map_private(file, BASE, 4);
            for cpu in 0..2 {
                bench.load_on(cpu, BASE);
            }
            bench.load_on(2, BASE + PAGE);
            assert!(bench.cached(1, BASE).is_some());
            bench.faults();
            let (requests, ipis) = bench.measured(|m| (m.shootdowns.requests, m.shootdowns.ipis_sent));
            let late = vec![
                delay(2, bench.mm, BASE + PAGE, wait),
                step(2, bench.mm, access(BASE, AccessKind::Read)),
            ];
            bench.race(vec![vec![step(0, bench.mm, access(BASE, AccessKind::Write))], late]);
            let after = bench.measured(|m| (m.shootdowns.requests, m.shootdowns.ipis_sent));
            assert_eq!((after.0 - requests, after.1 - ipis), (1, 2), "{kernel} {fs}: CPUs 1 and 2");
            assert_eq!(bench.cached(1, BASE), None, "{kernel} {fs}");
            let faults = bench.faults();
            let copy = faults.iter().find(|f| f.kind == FaultKind::Cow).unwrap();
            assert_eq!((copy.error_code.0, copy.ret), (0x7, Some(VmFault::default())));
            assert_eq!(steps(copy, "ptep_clear_flush"), 1);
            assert_eq!(bench.pte(BASE).without_frame(), COPY, "{kernel} {fs}");
            // A load that finds the page unmapped came between the old entry and the new one.
            met += faults.iter().filter(|f| f.cpu.0 == 2 && f.error_code.0 == 0x4).count();
        }
        assert!(met > 0, "{kernel} {fs}: nobody saw the entry gone");
    });
}

/// A load, then a store, of a private page: walks during the store's fault, changes of (FILE, ANON) RSS and (refs, maps).
fn copy_of_a_mapped_page(kernel: &str, fs: FileSystem) -> (u64, (i64, i64), (i64, i64)) {
    let (mut bench, file) = private(kernel, fs, 8, NewFile::Filled);
    bench.load(BASE);
    let block = bench.block(file, 0);
    let (refs, maps, rss) = bench.counts(block);
    let (walks, reads) = bench.measured(|m| (m.walks, m.reads));
    bench.store(BASE);
    assert_eq!(bench.pte(BASE).without_frame(), COPY, "{kernel} {fs}");
    assert_eq!(bench.measured(|m| m.reads), reads, "the kernel's reads are not the program's");
    let (refs_after, maps_after, rss_after) = bench.counts(block);
    let changed = (refs_after - refs, maps_after - maps);
    let walked = bench.measured(|m| m.walks) - walks;
    let moved = (rss_after - rss, anon(&bench));
    bench.unmap(BASE, 8);
    assert_eq!((bench.counts(block), anon(&bench)), ((0, 0, 0), 0), "{kernel} {fs}");
    (walked, moved, changed)
}

#[test]
fn statement_56_a_counted_page_that_is_copied_loses_its_mapping() {
    for kernel in [V1, NEW] {
        for fs in FSDAX {
            let (walks, rss, counts) = copy_of_a_mapped_page(kernel, fs);
            assert_eq!(
                (rss, counts),
                ((-1, 1), (-1, -1)),
                "{kernel} {fs}: FILE -1, ANON +1; refs -1, maps -1"
            );
            assert_eq!(walks, 1, "{kernel} {fs}: the store's, executed again");
        }
    }
    // The zero page too, where it is counted.
    everywhere(|kernel, fs| {
        let (mut bench, _) = private(kernel, fs, 8, NewFile::Sparse);
        bench.load(BASE);
        bench.store(BASE);
        assert_eq!(bench.counts(bench.zero_page(PageSize::Size4K)), (0, 0, 0), "{kernel} {fs}");
        assert_eq!(anon(&bench), 1);
    });
}

#[test]
fn statement_57_an_uncounted_page_is_copied_through_the_users_address() {
    for fs in FSDAX {
        let (walks, rss, counts) = copy_of_a_mapped_page(OLD, fs);
        assert_eq!((rss, counts), ((0, 1), (0, 0)), "{fs}: ANON +1 only");
        assert_eq!(walks, 2, "{fs}: the copy's own, then the store's");
    }
}

#[test]
fn statement_58_a_private_store_under_a_huge_page_zaps_it_and_copies_4k() {
    everywhere(|kernel, fs| {
        let (mut bench, file) = private(kernel, fs, 512, NewFile::Filled);
        bench.load(BASE);
        assert!(bench.pmd(BASE).is_leaf_at(1));
        bench.load_on(1, BASE + 9 * PAGE);
        bench.faults();
        let rss = bench.rss();
        let va = BASE + 7 * PAGE;
        bench.store(va);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        let fault = &faults[0];
        assert_eq!((fault.error_code.0, fault.kind), (0x7, FaultKind::Cow), "{kernel} {fs}");
        assert_eq!(fault.ret, Some(VmFault::DONE_COW));
        let order = path(fault);
        let at = |what: &str| order.iter().position(|s| s.starts_with(what)).unwrap();
        assert!(at("__split_huge_pmd") < at("dax_pte_fault:W"), "{order:?}");
        // The handler is not asked for the huge page; ext4's second pass finds the slot empty and asks.
        assert_eq!(steps(fault, "dax_pmd_fault:"), usize::from(fs == FileSystem::Ext4), "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), 1);
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 1), "{kernel} {fs}: full");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1));
        assert_eq!(bench.cached(1, BASE + 9 * PAGE), None);
        assert!(!bench.pmd(BASE).is_leaf_at(1) && bench.pte(BASE).is_none(), "nothing else is mapped");
        assert_eq!(bench.pte(va).without_frame(), COPY);
        assert_eq!(rss, per_kernel(kernel, 0, 512, 512));
        assert_eq!((bench.counts(bench.block(file, 0)), anon(&bench)), ((0, 0, 0), 1), "{kernel} {fs}");
    });
}

/// A MAP_SYNC mapping of a file of 8 pages at [`BASE`].
fn synchronous(kernel: &str, fs: FileSystem, new: NewFile, sync: bool) -> (Bench, FileId) {
    let mut bench = Bench::new(kernel, fs);
    let file = bench.file(8, new);
    bench.run(0, bench.mm, Action::Map(MapRequest { sync, ..shared_map(file, BASE, 0, 8) }));
    (bench, file)
}

#[test]
fn statement_59_a_synchronous_store_is_mapped_after_the_metadata_is_durable() {
    everywhere(|kernel, fs| {
        let (mut bench, file) = synchronous(kernel, fs, NewFile::Preallocated, true);
        bench.store(BASE);
        let faults = bench.faults();
        let order = path(&faults[0]);
        let at = |what: &str| order.iter().position(|s| s.starts_with(what)).unwrap();
        assert!(order[at("dax_pte_fault_done")].ends_with("NEEDDSYNC"), "{order:?}");
        let insert =
            per_kernel(kernel, "vmf_insert_mixed_mkwrite", "dax_insert_pfn=", "vmf_insert_page_mkwrite");
        assert!(at("dax_pte_fault_done") < at(insert), "{kernel} {fs}: the insert comes after");
        assert!(at(insert) < at("dax_finish_sync_fault=0x100"), "{order:?}");
        assert_eq!(bench.events().commits, 1, "{kernel} {fs}: one fsync");
        assert_eq!(faults[0].ret, Some(VmFault::NOPAGE));
        assert!(bench.pte(BASE).is_writable());
        // Had the entry been dirty before, the fsync would have written it back and cleaned it.
        assert_eq!(bench.measured(|m| m.writeback_entries), 0, "{kernel} {fs}");
        let (_, entry) = bench.dax_entry(file, 0);
        assert_eq!((entry.kind, entry.dirty), (EntryKind::Block, true), "{kernel} {fs}: in the final step");
        assert!(nothing_is_mapped_meanwhile(kernel, fs), "{kernel} {fs}");
    });
}

/// Whether a load during the fsync mapped the page itself, so that the store's fault found an entry in the end.
fn nothing_is_mapped_meanwhile(kernel: &str, fs: FileSystem) -> bool {
    (0..40_000).step_by(2_000).any(|wait| {
        let (mut bench, file) = synchronous(kernel, fs, NewFile::Preallocated, true);
        let other = bench.file(1, NewFile::Filled);
        bench.map(other, BASE + HUGE, 0, 1);
        bench.load_on(1, BASE + HUGE);
        bench.faults();
        let late =
            vec![delay(1, bench.mm, BASE + HUGE, wait), step(1, bench.mm, access(BASE, AccessKind::Read))];
        bench.race(vec![vec![step(0, bench.mm, access(BASE, AccessKind::Write))], late]);
        let faults = bench.faults();
        assert!(bench.pte(BASE).is_writable() && bench.dax_entry(file, 0).1.dirty, "{kernel} {fs}");
        let store = faults.iter().find(|f| f.error_code.0 == 0x6).unwrap();
        let load = faults.iter().find(|f| f.error_code.0 == 0x4);
        load.is_some_and(|f| f.kind == FaultKind::Read) && store.kind == FaultKind::Mkwrite
    })
}

#[test]
fn statement_60_a_synchronous_store_with_clean_metadata_is_like_any_other() {
    everywhere(|kernel, fs| {
        let faults = [true, false].map(|sync| {
            let (mut bench, file) = synchronous(kernel, fs, NewFile::Filled, sync);
            bench.store(BASE);
            assert_eq!(bench.events().commits, 0, "{kernel} {fs}: no fsync");
            assert!(bench.dax_entry(file, 0).1.dirty);
            (bench.faults(), bench.pte(BASE))
        });
        let [(sync, sync_pte), (plain, plain_pte)] = faults;
        assert_eq!(sync.len(), plain.len(), "{kernel} {fs}");
        for (sync, plain) in sync.iter().zip(&plain) {
            assert_eq!(path(sync), path(plain), "{kernel} {fs}");
            assert_eq!((sync.new, sync.ret), (plain.new, plain.ret));
        }
        assert_eq!(sync_pte, plain_pte);
    });
}

#[test]
fn statement_63_a_synchronous_read_never_syncs() {
    everywhere(|kernel, fs| {
        let (mut bench, file) = synchronous(kernel, fs, NewFile::Preallocated, false);
        // An ordinary store leaves the metadata dirty, and the block written.
        bench.store(BASE);
        let sync = BASE + HUGE;
        bench.run(0, bench.mm, Action::Map(MapRequest { sync: true, ..shared_map(file, sync, 0, 8) }));
        bench.faults();
        bench.load(sync);
        bench.load(sync + PAGE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 2);
        for fault in &faults {
            assert_eq!(fault.ret, Some(VmFault::NOPAGE), "{kernel} {fs}");
            assert!(path(fault).iter().all(|s| !s.contains("NEEDDSYNC") && !s.contains("sync_fault")));
        }
        assert_eq!(bench.events().commits, 0, "{kernel} {fs}");
        // The store to the same page has to.
        bench.store(sync);
        assert_eq!(bench.events().commits, 1, "{kernel} {fs}");
    });
}
