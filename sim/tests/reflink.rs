//! Blocks that files of XFS share: clones, faults on shared extents, copy on write, share counts.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, PAGE, per_kernel, shared_map, step, touch};
use daxsim_sim::consistency::Inconsistency;
use daxsim_sim::kernel::{
    CloneRequest, FallocMode, FileId, MapRequest, MmId, NewFile, PinKind, SyscallError,
};
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, Pfn, VirtAddr};

/// Where the clone is mapped.
const COPY: u64 = BASE + (1 << 30);

/// A written file of `pages` pages mapped at [`BASE`], and an empty one, on XFS.
fn bench(kernel: &str, pages: u64) -> (Bench, FileId, FileId) {
    let mut bench = Bench::new(kernel, FileSystem::Xfs);
    let file = bench.mapped(pages);
    let copy = bench.file(0, NewFile::Sparse);
    (bench, file, copy)
}

fn whole(from: FileId, to: FileId) -> CloneRequest {
    CloneRequest { from, from_start: 0, to, to_start: 0, len: 0 }
}

fn clone(bench: &mut Bench, request: CloneRequest) -> Option<SyscallError> {
    bench.run(0, bench.mm, Action::Clone(request)).error
}

/// The same, with the copy cloned and mapped at [`COPY`].
fn cloned(kernel: &str, pages: u64) -> (Bench, FileId, FileId) {
    let (mut bench, file, copy) = bench(kernel, pages);
    assert_eq!(clone(&mut bench, whole(file, copy)), None);
    bench.map(copy, COPY, 0, pages);
    (bench, file, copy)
}

fn block(bench: &Bench, file: FileId, page: u64) -> Pfn {
    bench.sim.with(|m| m.extent(file, page).block.unwrap().0)
}

/// Share count of a frame, and whether it has a mapping of its own instead.
fn share(bench: &Bench, pfn: Pfn) -> (u32, bool) {
    let counts = bench.sim.with(|m| m.page_counts(pfn));
    (counts.share, counts.associated)
}

fn owners(bench: &Bench, pfn: Pfn) -> u32 {
    bench.sim.with(|m| m.block_owners(pfn))
}

#[track_caller]
fn in_order(bench: &Bench) {
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
    for fault in bench.faults() {
        assert_eq!(fault.illegal_step(), None, "{:?}", common::path(&fault));
    }
}

/// The steps of all faults since the last look.
fn paths(bench: &Bench) -> String {
    let faults = bench.faults();
    for fault in &faults {
        assert_eq!(fault.illegal_step(), None, "{:?}", common::path(fault));
    }
    faults.iter().flat_map(common::path).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_clone_has_the_size_and_the_blocks_of_its_source() {
    for kernel in KERNELS {
        let (bench, file, copy) = cloned(kernel, 8);
        assert_eq!(bench.sim.with(|m| m.file_size(copy)), 8 * PAGE);
        for page in 0..8 {
            assert_eq!(block(&bench, file, page), block(&bench, copy, page));
            assert_eq!(owners(&bench, block(&bench, file, page)), 2);
        }
        in_order(&bench);
    }
}

#[test]
fn what_is_not_written_is_a_hole_in_the_copy() {
    let (mut bench, _, copy) = bench(KERNELS[0], 8);
    let file = bench.file(8, NewFile::Preallocated);
    bench.map(file, COPY, 0, 8);
    bench.store(COPY + 2 * PAGE);
    assert_eq!(clone(&mut bench, whole(file, copy)), None);
    let written = |page| bench.sim.with(|m| m.extent(copy, page).block.is_some());
    assert_eq!(
        (0..8).map(written).collect::<Vec<_>>(),
        [false, false, true, false, false, false, false, false]
    );
    in_order(&bench);
}

#[test]
fn only_xfs_shares_blocks() {
    for (fs, error) in
        [(FileSystem::Ext4, SyscallError::CannotShare), (FileSystem::Devdax, SyscallError::NoRegularFile)]
    {
        let mut bench = Bench::new(KERNELS[0], fs);
        let new = || if fs == FileSystem::Devdax { NewFile::Device } else { NewFile::Filled };
        let (one, other) = (bench.file(4, new()), bench.file(4, new()));
        assert_eq!(clone(&mut bench, whole(one, other)), Some(error));
        assert!(error.to_string().starts_with(if fs == FileSystem::Ext4 { "EOPNOTSUPP" } else { "EINVAL" }));
    }
}

#[test]
fn ranges_that_are_no_whole_blocks_or_overlap_or_leave_the_file_are_refused() {
    let (mut bench, file, copy) = bench(KERNELS[0], 8);
    let request =
        |from_start, to_start, len| CloneRequest { from: file, from_start, to: copy, to_start, len };
    for (from, to, len) in
        [(1, 0, PAGE), (0, 1, PAGE), (0, 0, 100), (0, 0, 9 * PAGE), (9 * PAGE, 0, 0), (u64::MAX, 0, 2)]
    {
        let error = clone(&mut bench, request(from, to, len));
        assert!(
            matches!(error, Some(SyscallError::BadClone { .. })),
            "{from:#x} {to:#x} {len:#x}: {error:?}"
        );
    }
    let inside = |to_start, len| CloneRequest { to: file, ..request(0, to_start, len) };
    assert!(clone(&mut bench, inside(PAGE, 2 * PAGE)).is_some());
    assert_eq!(clone(&mut bench, inside(2 * PAGE, 2 * PAGE)), None);
    assert_eq!(block(&bench, file, 3), block(&bench, file, 1));
    in_order(&bench);
}

#[test]
fn a_clone_unmaps_its_source_and_flushes_what_was_dirty_unless_the_marks_went_first() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = bench(kernel, 8);
        bench.store(BASE);
        assert_eq!(clone(&mut bench, whole(file, copy)), None);
        assert!(bench.pte(BASE).is_none());
        // 7.2 deletes the entries when it breaks the layout, and finds no mark afterwards.
        let flushed = bench.measured(|m| m.writeback_entries);
        assert_eq!(flushed, per_kernel(kernel, 1, 1, 0), "{kernel}");
        assert_eq!(bench.events().clwb_lines, per_kernel(kernel, 64, 64, 0));
        in_order(&bench);
        let lost = bench.finish().durability.unmarked.len();
        assert_eq!(
            lost,
            per_kernel(kernel, 0, 0, 1),
            "{kernel}: pages with the source's data that no sync will find"
        );
    }
}

#[test]
fn readers_of_both_files_share_the_page_and_its_count_goes_up_and_down() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 8);
        let pfn = block(&bench, file, 3);
        bench.load(COPY + 3 * PAGE);
        assert_eq!(share(&bench, pfn), per_kernel(kernel, (1, false), (1, false), (0, true)));
        let path = paths(&bench);
        assert!(path.contains("iomap:MAPPED+SHARED unmap_mapping_pages"), "{path}");
        bench.load(BASE + 3 * PAGE);
        assert_eq!(share(&bench, pfn), (2, false));
        assert_eq!((bench.pte(BASE + 3 * PAGE).pfn(), bench.pte(COPY + 3 * PAGE).pfn()), (pfn, pfn));
        assert!(!bench.pte(BASE + 3 * PAGE).is_writable() && !bench.pte(COPY + 3 * PAGE).is_writable());
        in_order(&bench);
        bench.run(0, bench.mm, Action::Truncate { file: copy, size: 0 });
        assert_eq!((share(&bench, pfn), owners(&bench, pfn)), ((1, false), 1));
        bench.run(0, bench.mm, Action::Truncate { file, size: 0 });
        assert_eq!(share(&bench, pfn), (0, false));
        in_order(&bench);
    }
}

#[test]
fn an_entry_from_before_the_clone_counts_as_one() {
    // 7.2 has none left.
    for kernel in &KERNELS[..2] {
        let (mut bench, file, copy) = bench(kernel, 8);
        bench.load(BASE);
        let pfn = block(&bench, file, 0);
        assert_eq!(share(&bench, pfn), (0, true));
        clone(&mut bench, whole(file, copy));
        bench.map(copy, COPY, 0, 8);
        bench.load(COPY);
        assert_eq!(share(&bench, pfn), (2, false));
        in_order(&bench);
    }
}

#[test]
fn a_store_copies_the_block_and_leaves_the_other_file_alone() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 8);
        let old = block(&bench, file, 0);
        bench.load(BASE);
        bench.load(COPY);
        let before = bench.pte(BASE);
        bench.store(COPY);
        let new = block(&bench, copy, 0);
        assert_ne!(new, old);
        assert_eq!(
            (block(&bench, file, 0), bench.pte(BASE)),
            (old, before),
            "{kernel}: the source is untouched"
        );
        assert!(bench.pte(COPY).is_writable() && bench.pte(COPY).pfn() == new);
        assert_eq!([owners(&bench, old), owners(&bench, new)], [1, 1]);
        let (_, entry) = bench.dax_entry(copy, 0);
        assert!(entry.dirty && entry.towrite && entry.pfn == new);
        let path = paths(&bench);
        assert!(path.contains("dax_pte_fault:W iomap:MAPPED+DIRTY|SHARED unmap_mapping_pages"), "{path}");
        assert!(!path.contains("MAJOR"), "{path}: the block is not IOMAP_F_NEW");
        in_order(&bench);
        // Not shared any more: the next fault keeps the entry, and the other file's first store copies nothing.
        bench.store(BASE);
        assert_eq!(block(&bench, file, 0), old);
        assert!(bench.pte(COPY).is_writable());
        in_order(&bench);
    }
}

#[test]
fn the_copied_data_stays_in_the_caches_until_fsync() {
    for kernel in KERNELS {
        let (mut bench, _, copy) = cloned(kernel, 8);
        bench.store(COPY);
        let new = bench.block(copy, 0);
        let lines = |bench: &Bench| bench.sim.with(|m| m.modified_lines(new));
        assert_eq!(lines(&bench), u64::MAX, "{kernel}: the whole block was copied by ordinary stores");
        assert_eq!(bench.run(0, bench.mm, Action::Fsync(copy)).error, None);
        assert_eq!(lines(&bench), 0);
        let (_, entry) = bench.dax_entry(copy, 0);
        assert!(!entry.dirty && !entry.towrite);
        assert!(!bench.pte(COPY).is_writable());
        in_order(&bench);
        let d = bench.finish().durability;
        assert_eq!((d.lost_pages(), d.dirty_lines), (0, 0));
    }
}

#[test]
fn every_mapping_of_the_file_loses_the_old_block() {
    for kernel in KERNELS {
        let (mut bench, _, copy) = cloned(kernel, 8);
        let other = bench.sim.with(|m| m.new_mm());
        bench.run(1, other, Action::Map(shared_map(copy, COPY, 0, 8)));
        bench.run(1, other, touch(COPY, 1, AccessKind::Read));
        let old = bench.sim.with(|m| m.entry(other, VirtAddr(COPY), 0)).pfn();
        bench.store(COPY);
        assert!(
            bench.sim.with(|m| m.entry(other, VirtAddr(COPY), 0)).is_none(),
            "{kernel}: unmapped before the copy could be seen"
        );
        bench.run(1, other, touch(COPY, 1, AccessKind::Read));
        assert_eq!(bench.sim.with(|m| m.entry(other, VirtAddr(COPY), 0)).pfn(), bench.pte(COPY).pfn());
        assert_ne!(bench.pte(COPY).pfn(), old);
        in_order(&bench);
    }
}

#[test]
fn readers_of_a_shared_block_unmap_each_other() {
    for kernel in KERNELS {
        let (mut bench, _, copy) = cloned(kernel, 8);
        bench.map(copy, COPY + HUGE, 0, 8);
        bench.load(COPY);
        bench.load(COPY + HUGE);
        assert!(
            bench.pte(COPY).is_none(),
            "{kernel}: dax_insert_entry of a shared block unmaps the page each time"
        );
        bench.load(COPY);
        assert!(bench.pte(COPY + HUGE).is_none());
        in_order(&bench);
    }
}

#[test]
fn a_private_copy_leaves_the_sharing_as_it_is() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 8);
        bench.map_private(copy, COPY + HUGE, 8);
        bench.store(COPY + HUGE);
        assert_eq!(owners(&bench, block(&bench, file, 0)), 2);
        in_order(&bench);
    }
}

#[test]
fn a_full_device_ends_a_store_to_a_shared_block_with_sigbus() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 8);
        fill_device(&bench);
        assert_eq!(bench.store(COPY).signals, 1);
        assert_eq!(block(&bench, file, 0), block(&bench, copy, 0));
        assert_eq!(owners(&bench, block(&bench, file, 0)), 2);
        assert_eq!(bench.load(COPY).signals, 0);
        in_order(&bench);
        let write = Action::Write { file: copy, start: 0, len: PAGE };
        assert_eq!(bench.run(0, bench.mm, write).error, None);
        assert_eq!(block(&bench, file, 0), block(&bench, copy, 0), "a short write");
        in_order(&bench);
    }
}

#[test]
fn a_huge_shared_extent_is_mapped_and_copied_whole() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 1024);
        bench.load(COPY);
        let pfn = block(&bench, file, 0);
        assert!(bench.pmd(COPY).is_leaf_at(1) && bench.pmd(COPY).pfn_at(1) == pfn);
        bench.load(BASE);
        assert_eq!(share(&bench, Pfn(pfn.0 + 511)), (2, false));
        bench.store(COPY + 5 * PAGE);
        assert!(bench.pmd(COPY).is_leaf_at(1) && bench.pmd(COPY).is_writable());
        assert_eq!(bench.pmd(COPY).pfn_at(1), block(&bench, copy, 0));
        assert_ne!(block(&bench, copy, 0), pfn);
        assert_eq!(bench.pmd(BASE).pfn_at(1), pfn);
        assert_eq!(owners(&bench, Pfn(pfn.0 + 511)), 1);
        assert_eq!(owners(&bench, block(&bench, file, 512)), 2, "the second 2 MiB are still shared");
        in_order(&bench);
    }
}

#[test]
fn a_huge_extent_shared_in_part_is_mapped_by_small_pages() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = bench(kernel, 512);
        bench.store(BASE);
        let part = CloneRequest { from_start: 7 * PAGE, len: PAGE, ..whole(file, copy) };
        assert_eq!(clone(&mut bench, part), None);
        bench.store(BASE + 8 * PAGE);
        assert!(!bench.pmd(BASE).is_leaf_at(1), "{kernel}: the extent ends at the shared block");
        let old = block(&bench, file, 7);
        bench.store(BASE + 7 * PAGE);
        assert_ne!(block(&bench, file, 7), old);
        assert_eq!((owners(&bench, old), block(&bench, copy, 0)), (1, old));
        let (head, entry) = bench.dax_entry(file, 7);
        assert_eq!((head, entry.pmd), (7, false));
        in_order(&bench);
    }
}

#[test]
fn a_synchronous_copy_waits_for_its_block_and_is_tagged_before_it_is_marked() {
    for kernel in KERNELS {
        let (mut bench, _, copy) = cloned(kernel, 8);
        bench.run(0, bench.mm, Action::Fsync(copy));
        bench.run(0, bench.mm, Action::Map(MapRequest { sync: true, ..shared_map(copy, COPY, 0, 8) }));
        bench.store(COPY);
        let path = paths(&bench);
        assert!(path.contains("dax_pte_fault_done=NEEDDSYNC"), "{path}");
        assert!(!path.contains("dax_writeback_one"), "no mark, no writeback: {path}");
        let (_, entry) = bench.dax_entry(copy, 0);
        assert!(entry.dirty && entry.towrite, "the tag is left, the mark came late");
        assert!(bench.pte(COPY).is_writable());
        in_order(&bench);
    }
}

#[test]
fn pwrite_copies_shared_blocks_and_drops_their_entries() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 8);
        bench.load(COPY);
        bench.load(COPY + PAGE);
        bench.load(COPY + 4 * PAGE);
        let old = block(&bench, file, 0);
        bench.run(0, bench.mm, Action::Write { file: copy, start: 100, len: 2 * PAGE });
        assert!((0..3).all(|page| block(&bench, copy, page) != block(&bench, file, page)));
        assert_eq!(block(&bench, copy, 3), block(&bench, file, 3));
        assert!(bench.pte(COPY).is_none() && bench.pte(COPY + PAGE).is_none());
        assert!(!bench.pte(COPY + 4 * PAGE).is_none());
        assert_eq!((share(&bench, old).0, owners(&bench, old)), (0, 1));
        bench.load(COPY);
        assert_eq!(bench.pte(COPY).pfn(), block(&bench, copy, 0));
        in_order(&bench);
        // The edges of the write were copied by ordinary stores, and no entry tells of them.
        let unmarked: Vec<u64> = bench.finish().durability.unmarked.iter().map(|p| p.page).collect();
        assert_eq!(unmarked, [0, 2], "{kernel}");
    }
}

/// pwrite drops the entries of the old blocks, and lets the new ones be seen when it is done. It holds no lock that a read fault takes.
#[test]
fn a_read_fault_in_the_midst_of_a_pwrite_maps_the_old_block_for_good() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = cloned(kernel, 16);
        let mm = bench.mm;
        let write = vec![step(0, mm, Action::Write { file: copy, start: 0, len: 16 * PAGE })];
        let read = (0..40).map(|_| step(1, mm, touch(COPY, 16, AccessKind::Read))).collect();
        bench.race(vec![write, read]);
        assert!((0..16).all(|page| block(&bench, copy, page) != block(&bench, file, page)));
        let stale = (0..16).filter(|page| bench.pte(COPY + page * PAGE).pfn() == block(&bench, file, *page));
        assert!(stale.count() > 0, "{kernel}");
        let found = bench.sim.with(|m| m.check_consistency());
        assert!(matches!(found, Err(Inconsistency::EntryFrame { .. })), "{kernel}: {found:?}");
    }
}

#[test]
fn fallocate_leaves_blocks_of_the_other_file_to_it() {
    for kernel in KERNELS {
        for mode in [FallocMode::Punch, FallocMode::Zero, FallocMode::Collapse, FallocMode::Allocate] {
            let (mut bench, file, copy) = cloned(kernel, 8);
            bench.load(BASE + 2 * PAGE);
            bench.load(COPY + 2 * PAGE);
            let old: Vec<Pfn> = (0..8).map(|page| block(&bench, file, page)).collect();
            bench.run(0, bench.mm, Action::Fallocate { file: copy, mode, start: 2 * PAGE, len: 2 * PAGE });
            assert_eq!((0..8).map(|page| block(&bench, file, page)).collect::<Vec<_>>(), old);
            let left = if mode == FallocMode::Allocate { 2 } else { 1 };
            assert_eq!((owners(&bench, old[2]), owners(&bench, old[4])), (left, 2), "{mode:?}");
            in_order(&bench);
        }
    }
}

#[test]
fn a_clone_over_a_mapped_range_replaces_it() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = bench(kernel, 8);
        let third = bench.file(8, NewFile::Filled);
        bench.map(third, COPY, 0, 8);
        bench.store(COPY);
        bench.store(COPY + 4 * PAGE);
        let request = CloneRequest { to_start: 0, len: 4 * PAGE, ..whole(file, third) };
        assert_eq!(clone(&mut bench, request), None);
        assert!(bench.pte(COPY).is_none());
        bench.load(COPY);
        assert_eq!(bench.pte(COPY).pfn(), block(&bench, file, 0));
        in_order(&bench);
        // A chain of clones: three owners.
        assert_eq!(clone(&mut bench, whole(third, copy)), None);
        assert_eq!(owners(&bench, block(&bench, file, 0)), 3);
        in_order(&bench);
    }
}

#[test]
fn a_clone_waits_for_pages_that_io_holds() {
    for kernel in KERNELS {
        let (mut bench, file, copy) = bench(kernel, 8);
        let mm = bench.mm;
        let (start, len, kind) = (BASE, PAGE, PinKind::Pin);
        bench.run(0, mm, Action::Pin { start, len, write: true, kind });
        let alone = bench.try_run(1, mm, Action::Clone(whole(file, copy)));
        assert!(alone.is_err(), "{kernel}: nobody would let go of the page");
        let (mut bench, file, copy) = self::bench(kernel, 8);
        let mm = bench.mm;
        bench.run(0, mm, Action::Pin { start, len, write: true, kind });
        let unpin = vec![
            step(0, mm, Action::Sleep { nanoseconds: 5_000_000 }),
            step(0, mm, Action::Unpin { start, len }),
        ];
        bench.race(vec![unpin, vec![step(1, mm, Action::Clone(whole(file, copy)))]]);
        assert!(bench.sim.now().as_ns() >= 5_000_000.0);
        in_order(&bench);
    }
}

/// Takes every block that a small request could get.
fn fill_device(bench: &Bench) {
    for pages in [511, 1] {
        while bench.sim.new_file(bench.fs, pages * PAGE, &NewFile::Filled).is_ok() {}
    }
}

/// Faults of both files by two processes while one is cloned over and over, whichever way they interleave.
#[test]
fn racing_faults_clones_and_truncations_leave_everything_in_order() {
    for kernel in KERNELS {
        for seed in 0..24 {
            let pages = if seed % 2 == 0 { 16 } else { 1024 };
            let (mut bench, file, copy) = cloned(kernel, pages);
            bench.sim.explore(seed);
            let mm = bench.mm;
            let other: MmId = bench.sim.with(|m| m.new_mm());
            bench.run(1, other, Action::Map(shared_map(file, BASE, 0, pages)));
            bench.run(1, other, Action::Map(shared_map(copy, COPY, 0, pages)));
            let part =
                |from, to| CloneRequest { from, from_start: 4 * PAGE, to, to_start: 4 * PAGE, len: 4 * PAGE };
            let threads = vec![
                vec![
                    step(0, mm, touch(COPY, 12, AccessKind::Write)),
                    step(0, mm, touch(BASE, 12, AccessKind::Read)),
                    step(0, mm, Action::Fsync(copy)),
                ],
                vec![
                    step(1, other, touch(COPY, 12, AccessKind::Read)),
                    step(1, other, touch(BASE, 12, AccessKind::Write)),
                    step(1, other, Action::Clone(part(copy, file))),
                ],
                vec![
                    step(2, mm, Action::Clone(part(file, copy))),
                    step(2, mm, touch(COPY + 6 * PAGE, 4, AccessKind::Write)),
                    step(2, mm, Action::Truncate { file: copy, size: 10 * PAGE }),
                ],
            ];
            bench.race(threads);
            in_order(&bench);
        }
    }
}
