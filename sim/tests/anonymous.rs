//! Faults outside DAX: anonymous memory, huge pages, stacks, and files in the page cache.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, access};
use daxsim_sim::kernel::filemap::CacheOps;
use daxsim_sim::kernel::vma::{Backing, Vma};
use daxsim_sim::measure::FaultKind::{self, *};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, VmFault};

const COMPLETED: VmFault = VmFault(0x4200);

/// A bench with `pages` pages of memory at `BASE`, writable and without huge pages but for what `change` says.
fn bench(kernel: &str, pages: u64, backing: Option<CacheOps>, change: impl FnOnce(&mut Vma)) -> Bench {
    let bench = Bench::tcg(kernel, FileSystem::Ext4);
    bench.sim.with(|m| {
        let backing = match backing {
            Some(ops) => Backing::Cached { file: m.new_cached_file(ops), pgoff: 0 },
            None => Backing::Anonymous,
        };
        m.map_ordinary(bench.mm, (BASE, BASE + pages * PAGE), backing, |vma| {
            (vma.write, vma.no_huge) = (true, true);
            change(vma);
        });
    });
    bench
}

/// Kind, error code and result of the faults since the last call.
fn seen(bench: &Bench) -> Vec<(FaultKind, u32, VmFault)> {
    bench.faults().iter().map(|f| (f.kind, f.error_code.0, f.ret.unwrap())).collect()
}

const ZERO: VmFault = VmFault(0);

#[test]
fn a_read_maps_the_zero_page_and_a_write_then_replaces_it() {
    for kernel in KERNELS {
        let mut b = bench(kernel, 4, None, |_| {});
        b.load(BASE);
        assert_eq!(seen(&b), [(AnonRead, 4, ZERO)]);
        assert!(b.pte(BASE).0 & Entry::SPECIAL != 0 && !b.pte(BASE).is_writable());
        b.store(BASE);
        assert_eq!(seen(&b), [(AnonCow, 7, ZERO)]);
        b.store(BASE + PAGE);
        assert_eq!(seen(&b), [(AnonWrite, 6, ZERO)]);
        b.load(BASE + PAGE);
        assert!(seen(&b).is_empty());
    }
}

#[test]
fn an_aligned_range_inside_the_mapping_gets_a_huge_page() {
    let mut b = bench(NEW, 1024 + 8, None, |vma| vma.no_huge = false);
    b.store(BASE + 5 * PAGE);
    assert_eq!(seen(&b), [(AnonHuge, 6, ZERO)]);
    assert!(b.pmd(BASE).is_leaf_at(1));
    b.store(BASE + 511 * PAGE);
    assert!(seen(&b).is_empty());
    b.store(BASE + 2 * HUGE);
    assert_eq!(seen(&b), [(AnonWrite, 6, ZERO)], "the rest is too short");
}

#[test]
fn a_store_to_the_huge_zero_page_splits_it_or_replaces_it() {
    for (kernel, kind, huge) in [(OLD, AnonCow, false), (NEW, AnonHuge, true)] {
        let mut b = bench(kernel, 512, None, |vma| vma.no_huge = false);
        b.load(BASE);
        assert_eq!(seen(&b), [(AnonHuge, 4, ZERO)]);
        b.store(BASE + PAGE);
        assert_eq!(seen(&b), [(kind, 7, ZERO)], "{kernel}");
        assert_eq!(b.pmd(BASE).is_leaf_at(1), huge);
    }
}

#[test]
fn unmapping_a_part_of_a_huge_page_leaves_the_rest_mapped() {
    let mut b = bench(NEW, 512, None, |vma| vma.no_huge = false);
    b.store(BASE);
    b.unmap(BASE, 8);
    b.faults();
    b.store(BASE + 8 * PAGE);
    assert!(seen(&b).is_empty());
    assert!(b.pte(BASE + 8 * PAGE).is_writable() && b.pte(BASE).is_none());
}

#[test]
fn after_a_fork_the_first_writer_copies_and_the_last_keeps_the_page() {
    for kernel in KERNELS {
        let mut b = bench(kernel, 1, None, |_| {});
        b.store(BASE);
        let child = b.sim.with(|m| m.new_mm());
        b.run(0, b.mm, Action::Fork(child));
        b.faults();
        b.store(BASE);
        assert_eq!(seen(&b), [(AnonCow, 7, ZERO)]);
        b.run(1, child, access(BASE, AccessKind::Write));
        assert_eq!(seen(&b), [(AnonReuse, 7, ZERO)]);
    }
}

#[test]
fn the_end_of_the_child_leaves_the_page_to_the_parent() {
    let mut b = bench(NEW, 512, None, |vma| vma.no_huge = false);
    b.store(BASE);
    let child = b.sim.with(|m| m.new_mm());
    b.run(0, b.mm, Action::Fork(child));
    b.run(1, child, Action::Exit);
    b.faults();
    b.store(BASE);
    assert_eq!(seen(&b), [(AnonReuse, 7, ZERO)]);
    assert!(b.pmd(BASE).is_leaf_at(1) && b.pmd(BASE).is_writable());
}

#[test]
fn a_read_of_a_file_maps_the_aligned_window_around_it() {
    let mut b = bench(NEW, 40, Some(CacheOps::Filemap), |_| {});
    b.load(BASE + 20 * PAGE);
    assert_eq!(seen(&b), [(FileRead, 4, VmFault::NOPAGE)]);
    for page in 0..40 {
        assert_eq!(b.pte(BASE + page * PAGE).is_present(), (16..32).contains(&page), "{page}");
    }
    b.load(BASE + 39 * PAGE);
    assert!(b.pte(BASE + 32 * PAGE).is_present());
    b.faults();
    b.store(BASE + 16 * PAGE);
    assert_eq!(seen(&b), [(AnonCow, 7, ZERO)], "a private copy of a mapped page");
    b.store(BASE);
    assert_eq!(seen(&b), [(FileCow, 6, VmFault::LOCKED)], "and of one that is not");
    b.store(BASE);
    assert!(seen(&b).is_empty());
}

#[test]
fn the_first_store_to_a_page_of_shared_memory_dirties_it() {
    for (ops, retries) in [(CacheOps::Shmem, 0), (CacheOps::SysvShm, 1)] {
        let mut b = bench(OLD, 4, Some(ops), |vma| vma.shared = true);
        b.store(BASE);
        let faults = b.faults();
        assert_eq!((faults[0].kind, faults[0].ret), (FileWrite, Some(COMPLETED)));
        let path: Vec<String> = faults[0].path.iter().map(ToString::to_string).collect();
        assert_eq!(path.iter().filter(|step| *step == "handle_mm_fault=0x400").count(), retries);
        let child = b.sim.with(|m| m.new_mm());
        b.run(0, b.mm, Action::Fork(child));
        b.faults();
        b.run(1, child, access(BASE, AccessKind::Write));
        assert_eq!(seen(&b), [(FileWrite, 6, VmFault::LOCKED)], "dirty already");
    }
}

#[test]
fn a_stack_grows_down_and_other_memory_does_not() {
    let mut b = bench(NEW, 1, None, |vma| vma.grows_down = true);
    b.store(BASE - 3 * PAGE);
    assert_eq!(seen(&b), [(AnonWrite, 6, ZERO)]);
    assert_eq!(b.store(BASE - (9 << 20)).signals, 1, "beyond the limit");
    let mut b = bench(NEW, 1, None, |_| {});
    assert_eq!(b.store(BASE - PAGE).signals, 1);
}

#[test]
fn instructions_are_fetched_from_executable_memory_only() {
    let mut b = bench(NEW, 16, Some(CacheOps::Filemap), |vma| vma.exec = true);
    b.run(0, b.mm, access(BASE, AccessKind::Fetch));
    assert_eq!(seen(&b), [(FileRead, 0x14, VmFault::NOPAGE)]);
    let mut b = bench(NEW, 1, None, |_| {});
    b.store(BASE);
    b.faults();
    assert_eq!(b.run(0, b.mm, access(BASE, AccessKind::Fetch)).signals, 1);
    assert_eq!(b.codes(), [0x15]);
}
