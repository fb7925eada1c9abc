//! Holes: zero pages in place of blocks that do not exist yet, and what happens when a store makes them exist.

mod common;

use common::{BASE, Bench, HUGE, PAGE, V1, everywhere, path, per_kernel};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::kernel::dax_entry::EntryKind;
use daxsim_sim::measure::FaultKind;
use daxsim_types::{PageSize, VmFault};

#[test]
fn a_read_of_a_hole_maps_the_zero_page_which_only_the_first_posting_counts() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(8, NewFile::Sparse);
        bench.load(BASE);
        let zero = bench.sim.with(|m| m.zero_page(PageSize::Size4K));
        assert_eq!(bench.pte(BASE).pfn(), zero);
        let bits = per_kernel(kernel, 0x8000_0000_0000_0225, 0x8000_0000_0000_0025, 0x8000_0000_0000_0225);
        assert_eq!(bench.pte(BASE).without_frame(), bits, "{kernel} {fs}");
        assert_eq!(bench.counts(zero), per_kernel(kernel, (0, 0, 0), (1, 1, 1), (0, 0, 0)));
        let (_, entry) = bench.sim.with(|m| m.dax_entry(file, 0)).unwrap();
        assert_eq!((entry.kind, entry.dirty, entry.locked), (EntryKind::Zero, false, false));
        bench.unmap(BASE, 8);
        assert_eq!(bench.counts(zero), (0, 0, 0));
    });
}

#[test]
fn a_huge_hole_gets_the_huge_zero_page_which_nobody_counts() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE + 5 * PAGE);
        let zero = bench.sim.with(|m| m.zero_page(PageSize::Size2M));
        assert_eq!(bench.pmd(BASE).pfn(), zero);
        let bits = per_kernel(kernel, 0x8000_0000_0000_00a5, 0x8000_0000_0000_00a5, 0x8000_0000_0000_02a5);
        assert_eq!(bench.pmd(BASE).without_frame(), bits, "{kernel} {fs}");
        assert_eq!(bench.counts(zero), (0, 0, 0));
        bench.unmap(BASE, 512);
        assert_eq!(bench.counts(zero), (0, 0, 0), "{kernel} {fs}: after munmap");
    });
}

#[test]
fn a_store_to_a_mapped_hole_takes_it_away_everywhere_before_it_maps_the_block() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(8, NewFile::Sparse);
        let (other, third) = (BASE + HUGE, BASE + 2 * HUGE);
        bench.map(file, other, 0, 8);
        bench.map(file, third, 0, 8);
        bench.load(BASE);
        bench.load(other);
        bench.faults();
        bench.store(BASE);
        assert!(bench.pte(other).is_none(), "{kernel} {fs}");
        assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
        assert!(bench.pte(BASE).is_writable());
        assert_eq!(bench.flush_requests(), 2, "one for each VMA that mapped the hole");
        let faults = bench.faults();
        assert_eq!(faults[0].error_code.0, 0x7);
        assert_eq!(faults[0].ret, Some(VmFault::MAJOR | VmFault::NOPAGE));
        assert_eq!(bench.measured(|m| m.faults.major), 1);
        // In the first posting the fresh insert is read-only again: one more fault.
        assert_eq!(faults.len(), per_kernel(kernel, 1, 2, 1));
        let kind = per_kernel(kernel, FaultKind::Write, FaultKind::Write, FaultKind::Write);
        assert_eq!(faults[0].kind, kind);
        bench.load(other);
        assert_eq!(bench.pte(other).pfn(), bench.block(file, 0));
    });
}

#[test]
fn the_unmapping_comes_before_the_insert_in_the_path() {
    everywhere(|kernel, fs| {
        if kernel == V1 {
            return; // Never recorded.
        }
        let mut bench = Bench::tcg(kernel, fs);
        bench.mapped_as(8, NewFile::Sparse);
        bench.load(BASE);
        bench.faults();
        bench.store(BASE);
        let steps = path(&bench.faults()[0]);
        let at = |what: &str| steps.iter().position(|s| s.starts_with(what)).unwrap();
        assert!(at("iomap:MAPPED+NEW") < at("unmap_mapping_pages"));
        assert!(at("unmap_mapping_pages") < at("tlb3:1"));
        assert!(at("tlb3:1") < at("vmf_insert"), "{steps:?}");
    });
}

#[test]
fn a_huge_hole_is_replaced_whole_with_one_flush() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(1024, NewFile::Sparse);
        bench.load(BASE);
        bench.load(BASE + HUGE);
        bench.faults();
        bench.store(BASE + 7 * PAGE);
        assert_eq!(bench.pmd(BASE).pfn(), bench.block(file, 0), "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), 1);
        let faults = bench.faults();
        assert_eq!(faults.iter().map(|f| f.kind).collect::<Vec<_>>(), [FaultKind::PmdWrite]);
        let zero = bench.sim.with(|m| m.zero_page(PageSize::Size2M));
        assert_eq!(bench.pmd(BASE + HUGE).pfn(), zero, "the other hole stays");
    });
}

#[test]
fn a_huge_zero_entry_makes_way_for_a_small_one() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE);
        // A second mapping that cannot be huge: its addresses have another colour than the file's pages.
        let other = BASE + HUGE + PAGE;
        bench.map(file, other, 0, 16);
        bench.store(other + 3 * PAGE);
        assert!(bench.pmd(BASE).is_none(), "{kernel} {fs}: the huge zero page is unmapped");
        let (head, entry) = bench.sim.with(|m| m.dax_entry(file, 3)).unwrap();
        assert_eq!((head, entry.pmd, entry.kind, entry.dirty), (3, false, EntryKind::Block, true));
        assert!(bench.sim.with(|m| m.dax_entry(file, 0)).is_none(), "nothing is left of the PMD entry");
        assert_eq!(bench.flush_requests(), 1);
    });
}

#[test]
fn an_empty_huge_entry_goes_without_unmapping_anything() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        // Two extents that are not contiguous: the huge attempt finds less than 2 MiB after it made its entry.
        let layout = vec![(0, 4096, 8, true), (8, 8192, 504, true)];
        let file = bench.mapped_as(512, NewFile::Extents(layout));
        bench.store(BASE);
        let (head, entry) = bench.sim.with(|m| m.dax_entry(file, 0)).unwrap();
        assert_eq!((head, entry.pmd, entry.kind), (0, false, EntryKind::Block), "{kernel} {fs}");
        assert_eq!(bench.flush_requests(), 0);
        assert_eq!(bench.measured(|m| m.faults.pmd_fallback), 1);
    });
}

#[test]
fn a_huge_block_entry_serves_small_faults_and_is_dirty_as_a_whole() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(512);
        bench.load(BASE);
        let other = BASE + HUGE + PAGE;
        bench.map(file, other, 0, 16);
        bench.store(other + 3 * PAGE);
        let (head, entry) = bench.sim.with(|m| m.dax_entry(file, 3)).unwrap();
        assert_eq!((head, entry.pmd, entry.dirty), (0, true, true), "{kernel} {fs}");
        assert_eq!(bench.pte(other + 3 * PAGE).pfn(), bench.block(file, 3));
        assert!(bench.pmd(BASE).is_present(), "the huge mapping stays");
    });
}

#[test]
fn an_unwritten_extent_reads_as_a_hole_and_is_converted_by_a_store() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(16, NewFile::Preallocated);
        let before = bench.block(file, 2);
        bench.load(BASE + 2 * PAGE);
        assert_eq!(bench.pte(BASE + 2 * PAGE).pfn(), bench.sim.with(|m| m.zero_page(PageSize::Size4K)));
        bench.store(BASE + 2 * PAGE);
        assert_eq!(bench.block(file, 2), before, "{kernel} {fs}: no new block");
        assert_eq!(bench.pte(BASE + 2 * PAGE).pfn(), before);
        assert_eq!(bench.measured(|m| m.faults.major), 1);
    });
}
