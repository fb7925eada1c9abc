//! Statements 29 to 37: holes.

use daxsim_sim::kernel::NewFile;
use daxsim_sim::kernel::dax_entry::EntryKind;
use daxsim_sim::measure::{FaultKind, FaultRecord};
use daxsim_types::{AccessKind, FileSystem, PageSize, VirtAddr, VmFault};

use crate::common::{
    BASE, Bench, FSDAX, HUGE, NEW, OLD, PAGE, V1, access, delay, everywhere, path, per_kernel, step, steps,
};

/// A load of a hole: the bits of the entry, and the counts of the zero page meanwhile.
fn load_a_hole(kernel: &str, bits: u64, counts: (i64, i64, i64)) {
    for fs in FSDAX {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(8, NewFile::Sparse);
        bench.load(BASE);
        let zero = bench.zero_page(PageSize::Size4K);
        assert_eq!(bench.pte(BASE).pfn(), zero, "{kernel} {fs}");
        assert_eq!(bench.pte(BASE).without_frame(), bits, "{kernel} {fs}");
        assert!(!bench.pte(BASE).is_writable());
        assert_eq!(bench.counts(zero), counts, "{kernel} {fs}");
        let (head, entry) = bench.dax_entry(file, 0);
        assert_eq!((head, entry.kind, entry.pmd), (0, EntryKind::Zero, false));
        assert!(!entry.dirty && !entry.locked);
        let faults = bench.faults();
        assert_eq!((faults.len(), faults[0].ret), (1, Some(VmFault::NOPAGE)));
        assert_eq!(bench.measured(|m| m.faults.major), 0, "no block is new");
        bench.unmap(BASE, 8);
        assert_eq!(bench.counts(zero), (0, 0, 0), "{kernel} {fs}: after munmap");
    }
}

#[test]
fn statement_29_a_hole_is_the_zero_page_special_and_uncounted() {
    for kernel in [OLD, NEW] {
        load_a_hole(kernel, 0x8000_0000_0000_0225, (0, 0, 0));
    }
    huge_hole();
}

/// A huge hole gets the huge zero page, which nobody counts.
fn huge_hole() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE + 5 * PAGE);
        let zero = bench.zero_page(PageSize::Size2M);
        assert_eq!(bench.pmd(BASE).pfn(), zero);
        let bits = per_kernel(kernel, 0x8000_0000_0000_00a5, 0x8000_0000_0000_00a5, 0x8000_0000_0000_02a5);
        assert_eq!(bench.pmd(BASE).without_frame(), bits, "{kernel} {fs}");
        assert_eq!(bench.counts(zero), (0, 0, 0));
        bench.unmap(BASE, 512);
        assert_eq!(bench.counts(zero), (0, 0, 0), "{kernel} {fs}: after munmap");
    });
}

#[test]
fn statement_30_a_hole_in_the_first_posting_is_a_counted_plain_page() {
    load_a_hole(V1, 0x8000_0000_0000_0025, (1, 1, 1));
}

#[test]
fn statement_31_a_store_takes_a_mapped_hole_away_everywhere_before_it_maps_the_block() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(8, NewFile::Sparse);
        let (other, third) = (BASE + HUGE, BASE + 2 * HUGE);
        bench.map(file, other, 0, 8);
        bench.map(file, third, 0, 8);
        let theirs = bench.other_process(1, file, 8);
        bench.load(BASE);
        bench.load(other);
        bench.run(1, theirs, access(BASE, AccessKind::Read));
        bench.faults();
        let mine = bench.generation();
        let their_generation = bench.sim.with(|m| m.tlb_generation(theirs));
        bench.store(BASE);
        assert!(bench.pte(other).is_none(), "{kernel} {fs}");
        assert!(bench.sim.with(|m| m.entry(theirs, VirtAddr(BASE), 0)).is_none(), "{kernel} {fs}");
        assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
        assert!(bench.pte(BASE).is_writable());
        assert_eq!(bench.flush_requests(), 3, "{kernel} {fs}: one for each VMA that mapped the hole");
        assert_eq!(bench.generation() - mine, 2, "two VMAs here");
        assert_eq!(bench.sim.with(|m| m.tlb_generation(theirs)) - their_generation, 1, "one there");
        let faults = bench.faults();
        // In the first posting the fresh insert is read-only again: one more fault.
        assert_eq!(faults.len(), per_kernel(kernel, 1, 2, 1), "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Write), "a fresh insert");
        let fresh = per_kernel(kernel, 0x8200_0000_0000_0a67, 0x8000_0000_0000_0025, 0x8000_0000_0000_0867);
        assert_eq!(faults[0].new.unwrap().without_frame(), fresh, "{kernel} {fs}");
        bench.load(other);
        assert_eq!(bench.pte(other).pfn(), bench.block(file, 0));
        unmapping_comes_first(kernel, fs);
    });
}

/// The steps in their order, on the machine of the recordings.
fn unmapping_comes_first(kernel: &str, fs: FileSystem) {
    let mut bench = Bench::tcg(kernel, fs);
    bench.mapped_as(8, NewFile::Sparse);
    bench.load(BASE);
    bench.faults();
    bench.store(BASE);
    let steps = path(&bench.faults()[0]);
    let at = |what: &str| steps.iter().position(|s| s.starts_with(what)).unwrap();
    assert!(at("iomap:MAPPED+NEW") < at("unmap_mapping_pages"));
    assert!(at("unmap_mapping_pages") < at("tlb3:1"));
    let insert = per_kernel(kernel, "vmf_insert", "dax_insert_pfn", "vmf_insert");
    assert!(at("tlb3:1") < at(insert), "{steps:?}");
}

#[test]
fn statement_32_a_store_that_allocates_is_a_major_fault() {
    everywhere(|kernel, fs| {
        for huge in [false, true] {
            let mut bench = Bench::new(kernel, fs);
            bench.mapped_as(if huge { 512 } else { 8 }, NewFile::Sparse);
            bench.load(BASE);
            bench.faults();
            assert_eq!(bench.measured(|m| m.faults.major), 0);
            bench.store(BASE);
            let faults = bench.faults();
            // dax_iomap_pte_fault adds MAJOR; dax_iomap_pmd_fault does not.
            let want = if huge { VmFault::NOPAGE } else { VmFault::MAJOR | VmFault::NOPAGE };
            assert_eq!(faults[0].ret, Some(want), "{kernel} {fs}");
            assert_eq!(bench.measured(|m| m.faults.major), u64::from(!huge), "{kernel} {fs}: PGMAJFAULT");
            bench.store(BASE);
            assert!(bench.faults().is_empty());
        }
        // The conversion of an unwritten block is one too, though no block is new.
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(16, NewFile::Preallocated);
        let before = bench.block(file, 2);
        bench.load(BASE + 2 * PAGE);
        assert_eq!(bench.pte(BASE + 2 * PAGE).pfn(), bench.zero_page(PageSize::Size4K));
        bench.store(BASE + 2 * PAGE);
        assert_eq!(bench.block(file, 2), before, "{kernel} {fs}: no new block");
        assert_eq!(bench.pte(BASE + 2 * PAGE).pfn(), before);
        assert_eq!(bench.measured(|m| m.faults.major), 1);
    });
}

#[test]
fn statement_33_a_huge_zero_entry_makes_way_for_a_small_one() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE);
        assert_eq!(bench.sim.with(|m| m.nrpages(file)), 512);
        // A second mapping that cannot be huge: its addresses have another colour than the file's pages.
        let other = BASE + HUGE + PAGE;
        bench.map(file, other, 0, 16);
        bench.faults();
        bench.store(other + 3 * PAGE);
        assert!(bench.pmd(BASE).is_none(), "{kernel} {fs}: all 512 pages are unmapped");
        let (head, entry) = bench.dax_entry(file, 3);
        assert_eq!((head, entry.pmd, entry.kind, entry.dirty), (3, false, EntryKind::Block, true));
        assert!(bench.sim.with(|m| m.dax_entry(file, 0)).is_none(), "nothing is left of the PMD entry");
        assert_eq!(bench.sim.with(|m| m.nrpages(file)), 1, "{kernel} {fs}: 512 less, then one more");
        assert_eq!(bench.flush_requests(), 1);
        assert_eq!(steps(&bench.faults()[0], "unmap_mapping_pages"), 1, "{kernel} {fs}");
    });
    a_huge_hole_is_replaced_whole();
}

/// A store where 2 MiB are possible keeps the entry huge.
fn a_huge_hole_is_replaced_whole() {
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
        let zero = bench.zero_page(PageSize::Size2M);
        assert_eq!(bench.pmd(BASE + HUGE).pfn(), zero, "the other hole stays");
    });
}

/// A bench whose tables above the PTE pages of [`BASE`] exist, so that racing faults come to the slot together.
fn with_upper_tables(kernel: &str, fs: FileSystem) -> Bench {
    // A slow lookup holds the locked entry for long.
    let slow = format!("path_length.{fs}.iomap=20000");
    let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &["cpu.count=4"], &[&slow]);
    let near = bench.file(8, NewFile::Filled);
    bench.map(near, BASE + 4 * HUGE, 0, 8);
    for cpu in 0..4 {
        bench.load_on(cpu, BASE + 4 * HUGE);
    }
    bench.faults();
    bench
}

/// Two extents that are not contiguous: a huge attempt makes its entry before it finds less than 2 MiB.
fn split_layout() -> NewFile {
    NewFile::Extents(vec![(0, 4096, 8, true), (8, 8192, 504, true)])
}

#[test]
fn statement_34_an_empty_huge_entry_goes_without_unmapping_and_wakes_all_that_wait() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped_as(512, split_layout());
        bench.store(BASE);
        let (head, entry) = bench.dax_entry(file, 0);
        assert_eq!((head, entry.pmd, entry.kind), (0, false, EntryKind::Block), "{kernel} {fs}");
        assert_eq!(bench.sim.with(|m| m.nrpages(file)), 1);
        assert_eq!(bench.flush_requests(), 0);
        assert_eq!(bench.measured(|m| m.faults.pmd_fallback), 1);
        assert!(bench.faults().iter().all(|f| steps(f, "unmap_mapping_pages") == 0), "{kernel} {fs}");

        // Those that wait for the huge entry when it goes are woken together.
        let most = (0..8_000).step_by(500).map(|wait| race_for_an_empty_entry(kernel, fs, wait)).max();
        assert!(most >= Some(2), "{kernel} {fs}: {most:?}");
    });
}

/// CPU 0 tries 2 MiB in vain, `wait` loads from the start. The others, whose mapping cannot be huge, come to its entry
/// meanwhile: the first of them to get the lock removes it. Waiters that the removal woke.
fn race_for_an_empty_entry(kernel: &str, fs: FileSystem, wait: u64) -> u64 {
    let near = BASE + 4 * HUGE;
    let mut bench = with_upper_tables(kernel, fs);
    let file = bench.mapped_as(512, split_layout());
    let small = BASE + HUGE + PAGE;
    bench.map(file, small, 0, 16);
    let load = |cpu: u16| {
        let start = if cpu == 0 { BASE } else { small };
        let wait = delay(cpu, bench.mm, near, if cpu == 0 { wait } else { 2_000 });
        vec![wait, step(cpu, bench.mm, access(start + u64::from(cpu) * PAGE, AccessKind::Read))]
    };
    bench.race((0..4).map(load).collect());
    assert_eq!(bench.flush_requests(), 0);
    for page in 0..4 {
        let (head, entry) = bench.dax_entry(file, page);
        assert_eq!((head, entry.pmd, entry.locked), (page, false, false), "{kernel} {fs}");
        let start = if page == 0 { BASE } else { small };
        assert_eq!(bench.pte(start + page * PAGE).pfn(), bench.block(file, page));
    }
    bench.events().woken_by_removal
}

#[test]
fn statement_35_a_huge_block_entry_serves_small_faults_and_is_dirty_as_a_whole() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(512);
        bench.load(BASE);
        let other = BASE + HUGE + PAGE;
        bench.map(file, other, 0, 16);
        bench.load(other + 2 * PAGE);
        let (head, entry) = bench.dax_entry(file, 2);
        assert_eq!((head, entry.pmd, entry.dirty), (0, true, false), "{kernel} {fs}: a read dirties nothing");
        bench.store(other + 3 * PAGE);
        let (head, entry) = bench.dax_entry(file, 3);
        assert_eq!(
            (head, entry.pmd, entry.kind, entry.dirty),
            (0, true, EntryKind::Block, true),
            "{kernel} {fs}"
        );
        assert_eq!(bench.sim.with(|m| m.nrpages(file)), 512);
        assert_eq!(bench.pte(other + 3 * PAGE).pfn(), bench.block(file, 3));
        assert!(bench.pmd(BASE).is_present(), "the huge mapping stays");
        assert_eq!(bench.flush_requests(), 0);
    });
}

/// Two CPUs load the same huge hole at once: the second finds the slot filled. Returns the bench and the second's fault,
/// the one that has no entry of its own to show.
fn race_for_a_huge_hole(kernel: &str, fs: FileSystem) -> (Bench, Vec<VmFault>) {
    let mut bench = with_upper_tables(kernel, fs);
    let file = bench.mapped_as(512, NewFile::Sparse);
    let load = |cpu| vec![step(cpu, bench.mm, access(BASE, AccessKind::Read))];
    let outcomes = bench.race(vec![load(0), load(1)]);
    assert!(outcomes.iter().flatten().all(|o| o.signals == 0));
    let faults = bench.faults();
    let fell_back = |f: &&FaultRecord| steps(f, "dax_pmd_load_hole_fallback") == 1;
    let second = faults.iter().find(|f| fell_back(f) || f.kind != FaultKind::PmdRead);
    let rets = second.map_or(Vec::new(), |f| {
        f.handlers.iter().filter(|c| c.size == PageSize::Size2M).map(|c| c.ret).collect()
    });
    assert!(!rets.is_empty(), "{kernel} {fs}: nobody met a filled slot: {faults:?}");
    assert!(bench.sim.with(|m| m.dax_entry(file, 0)).is_some_and(|(_, e)| !e.locked));
    (bench, rets)
}

#[test]
fn statement_36_a_huge_hole_whose_slot_was_filled_meanwhile_falls_back_until_the_merge() {
    for kernel in [OLD, V1] {
        for fs in FSDAX {
            let (bench, rets) = race_for_a_huge_hole(kernel, fs);
            assert_eq!(rets[0], VmFault::FALLBACK, "{kernel} {fs}");
            // The fallback takes the huge entry of the first away again. XFS goes on to map the page small; ext4 begins
            // anew under mmap_lock, and finds the slot empty.
            assert!(bench.flush_requests() >= 1, "{kernel} {fs}");
            match fs {
                FileSystem::Ext4 => assert_eq!(rets[1..], [VmFault::NOPAGE], "{kernel}"),
                _ => assert_eq!(bench.pte(BASE).pfn(), bench.zero_page(PageSize::Size4K), "{kernel}"),
            }
        }
    }
}

#[test]
fn statement_37_after_the_merge_it_is_done() {
    for fs in FSDAX {
        let (bench, rets) = race_for_a_huge_hole(NEW, fs);
        assert_eq!(rets, [VmFault::NOPAGE], "{fs}");
        assert_eq!(bench.pmd(BASE).pfn(), bench.zero_page(PageSize::Size2M), "{fs}: the first one's stays");
        assert_eq!(bench.flush_requests(), 0);
    }
}
