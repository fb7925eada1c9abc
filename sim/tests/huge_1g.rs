//! Device-dax mappings of 1 GiB: PUD faults, what they count, and how they go.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, PAGE, path, per_kernel};
use daxsim_sim::SimError;
use daxsim_sim::kernel::{FileId, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, VirtAddr};

const GIB: u64 = 512 * HUGE;
const PAGES: u64 = GIB / PAGE;

/// A device of 1 GiB alignment, of which `gib` GiB are mapped.
fn device(kernel: &str, gib: u64) -> (Bench, FileId) {
    let machine = ["cpu.count=4", "pmem.devdax_alignment=\"1G\""];
    let mut bench = Bench::with("skylake-sp-optane", kernel, FileSystem::Devdax, &machine, &[]);
    let file = bench.file(4 * PAGES, NewFile::Device);
    bench.map(file, BASE, 0, gib * PAGES);
    (bench, file)
}

fn pud(bench: &Bench, va: u64) -> Entry {
    bench.sim.with(|m| m.entry(bench.mm, VirtAddr(va), 2))
}

#[test]
fn a_store_maps_a_whole_gib_at_once() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 2);
        bench.store(BASE + GIB + 5 * HUGE + 7 * PAGE);
        let faults = bench.faults();
        assert_eq!(faults.iter().map(|f| f.kind).collect::<Vec<_>>(), [FaultKind::PudWrite], "{kernel}");
        let helper = per_kernel(kernel, "vmf_insert_pfn_pud", "dax_insert_pfn_pud", "vmf_insert_folio_pud");
        assert!(path(&faults[0]).iter().any(|step| step.starts_with(helper)), "{:?}", path(&faults[0]));
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        assert_eq!(pud(&bench, BASE + GIB).without_frame(), devmap | 0x8000_0000_0000_08e7, "{kernel}");
        let head = bench.block(file, PAGES);
        assert_eq!(pud(&bench, BASE + GIB).pfn_at(2), head);
        assert_eq!(head.0 % PAGES, 0);
        let counts = per_kernel(kernel, (0, 0, 0), (1, 1, 262_144), (1, 1, 262_144));
        assert_eq!(bench.counts(head), counts, "{kernel}");
        // The rest of the GiB needs neither a fault nor another walk.
        let walks = bench.measured(|m| m.walks);
        bench.run(0, bench.mm, common::touch(BASE + GIB, 200, AccessKind::Write));
        bench.load(BASE + 2 * GIB - PAGE);
        assert!(bench.codes().is_empty());
        assert_eq!(bench.measured(|m| m.walks), walks);
        assert_eq!(bench.measured(|m| m.update_mmu_cache_calls), 1);
        assert_eq!(bench.measured(|m| m.memtype_lookups), per_kernel(kernel, 1, 1, 0));
    }
}

#[test]
fn a_load_maps_it_clean_and_writable_and_hardware_makes_it_dirty() {
    for kernel in KERNELS {
        let (mut bench, _) = device(kernel, 1);
        bench.load(BASE + 3 * PAGE);
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        assert_eq!(pud(&bench, BASE).without_frame(), devmap | 0x8000_0000_0000_00a7, "{kernel}");
        bench.store(BASE + GIB - 64);
        assert_eq!(bench.faults().iter().map(|f| f.kind).collect::<Vec<_>>(), [FaultKind::PudRead]);
        assert!(pud(&bench, BASE).hw_dirty());
        assert_eq!(bench.measured(|m| m.dirty_assists), 1);
    }
}

#[test]
fn alignment_decides_which_size_is_mapped() {
    use PageSize::{Size1G, Size2M, Size4K};
    for kernel in KERNELS {
        for size in [Size4K, Size2M, Size1G] {
            let mut bench = Bench::new(kernel, FileSystem::Devdax);
            bench.sim.with(|m| m.set_device_alignment(size));
            let file = bench.file(PAGES, NewFile::Device);
            bench.map(file, BASE, 0, PAGES);
            bench.store(BASE + 9 * PAGE);
            let entries = [0, 1, 2]
                .map(|level| bench.sim.with(|m| m.entry(bench.mm, VirtAddr(BASE + 9 * PAGE), level)));
            let leaf = (0..3).find(|level| {
                let entry = entries[*level as usize];
                entry.is_present() && entry.is_leaf_at(*level)
            });
            assert_eq!(leaf, Some(size.level()), "{kernel} {size}");
            assert_eq!(bench.faults().len(), 1);
        }
    }
}

#[test]
fn a_vma_that_does_not_hold_the_gib_gets_sigbus() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 1);
        bench.map(file, BASE + GIB, PAGES, 512);
        assert_eq!(bench.store(BASE + GIB).signals, 1, "{kernel}: too short");
        bench.map(file, BASE + 4 * GIB + HUGE, PAGES, PAGES);
        assert_eq!(bench.load(BASE + 4 * GIB + HUGE).signals, 1, "{kernel}: begins inside one");
        // Huge pages were refused, and smaller ones the device does not have.
        bench.run(0, bench.mm, Action::Advise { start: BASE, len: GIB, advice: no_huge() });
        assert_eq!(bench.load(BASE).signals, 1, "{kernel}");
    }
}

fn no_huge() -> daxsim_sim::kernel::Advice {
    daxsim_sim::kernel::Advice::HugePage { allowed: false }
}

#[test]
fn unmapping_one_gib_invalidates_one_entry_on_every_cpu() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 2);
        bench.store(BASE + GIB);
        for cpu in [0, 1] {
            bench.load_on(cpu, BASE + PAGE);
        }
        bench.unmap(BASE, PAGES);
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 0), "{kernel}");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 0), "{kernel}");
        assert_eq!(bench.measured(|m| m.shootdowns.pages), 2, "one on each CPU");
        for cpu in [0, 1] {
            assert_eq!(
                bench.sim.with(|m| m.cached_translation(CpuId(cpu), bench.mm, VirtAddr(BASE + PAGE))),
                None
            );
        }
        assert!(pud(&bench, BASE).is_none() && !pud(&bench, BASE + GIB).is_none());
        assert_eq!(bench.counts(bench.block(file, 0)).0, 0);
        assert_eq!(bench.rss(), per_kernel(kernel, 0, 262_144, 262_144), "{kernel}: the other GiB");
        assert_eq!(bench.load(BASE).signals, 1);
        bench.unmap(BASE + GIB, PAGES);
        assert_eq!((bench.rss(), bench.counts(bench.block(file, PAGES))), (0, (0, 0, 0)));
    }
}

#[test]
fn unmapping_a_part_takes_the_whole_entry_with_a_full_flush() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 1);
        bench.store(BASE);
        bench.faults();
        bench.unmap(BASE + 3 * HUGE, 512);
        assert!(pud(&bench, BASE).is_none(), "{kernel}");
        assert_eq!(bench.counts(bench.block(file, 0)), (0, 0, 0));
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 1), "{kernel}");
        assert_eq!(bench.load(BASE).signals, 1, "{kernel}: what is left is no GiB");
    }
}

#[test]
fn dontneed_zaps_it_and_the_next_access_faults_again() {
    for kernel in KERNELS {
        let (mut bench, _) = device(kernel, 1);
        bench.store(BASE);
        let advice = daxsim_sim::kernel::Advice::DontNeed;
        bench.run(0, bench.mm, Action::Advise { start: BASE, len: GIB, advice });
        assert!(pud(&bench, BASE).is_none());
        bench.faults();
        bench.load(BASE + HUGE);
        assert_eq!(
            bench.faults().iter().map(|f| f.kind).collect::<Vec<_>>(),
            [FaultKind::PudRead],
            "{kernel}"
        );
        bench.run(0, bench.mm, Action::Advise { start: BASE, len: HUGE, advice });
        assert!(pud(&bench, BASE).is_none(), "{kernel}: a part takes all of it");
    }
}

#[test]
fn mprotect_changes_a_whole_gib_and_removes_one_that_it_would_split() {
    for kernel in KERNELS {
        let (mut bench, _) = device(kernel, 2);
        bench.store(BASE);
        bench.store(BASE + GIB);
        bench.faults();
        let protect = |start, len, write| Action::Protect { start, len, read: true, write };
        bench.run(0, bench.mm, protect(BASE, GIB, false));
        let entry = pud(&bench, BASE);
        assert!(!entry.is_writable() && entry.pte_dirty() && !entry.hw_dirty(), "{kernel}: D is parked");
        bench.load(BASE + PAGE);
        assert_eq!(bench.store(BASE).signals, 1, "{kernel}");
        bench.faults();
        bench.run(0, bench.mm, protect(BASE, GIB, true));
        bench.store(BASE + PAGE);
        assert!(bench.codes().is_empty(), "{kernel}: writable again");
        assert!(pud(&bench, BASE).hw_dirty());
        bench.run(0, bench.mm, protect(BASE + GIB + HUGE, HUGE, false));
        assert!(pud(&bench, BASE + GIB).is_none() && !pud(&bench, BASE).is_none(), "{kernel}");
        assert_eq!(bench.rss(), per_kernel(kernel, 0, 262_144, 262_144));
    }
}

#[test]
fn a_forked_child_faults_its_own_entry_in() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 1);
        bench.store(BASE);
        bench.faults();
        let child = bench.sim.with(|m| m.new_mm());
        bench.run(0, bench.mm, Action::Fork(child));
        let of_child = |b: &Bench| b.sim.with(|m| m.entry(child, VirtAddr(BASE), 2));
        assert!(of_child(&bench).is_none(), "{kernel}");
        bench.run(1, child, common::access(BASE + HUGE, AccessKind::Read));
        assert_eq!(
            bench.faults().iter().map(|f| f.kind).collect::<Vec<_>>(),
            [FaultKind::PudRead],
            "{kernel}"
        );
        assert_eq!(of_child(&bench).pfn_at(2), pud(&bench, BASE).pfn_at(2));
        assert_eq!(bench.counts(bench.block(file, 0)).1, per_kernel(kernel, 0, 2, 2));
        bench.run(1, child, Action::Exit);
        assert_eq!(bench.counts(bench.block(file, 0)).1, per_kernel(kernel, 0, 1, 1));
        bench.load(BASE);
        assert!(bench.codes().is_empty(), "{kernel}: the parent keeps its own");
    }
}

#[test]
fn two_cpus_that_race_for_one_gib_map_it_once() {
    for kernel in KERNELS {
        let (mut bench, file) = device(kernel, 1);
        let store = |cpu, at| vec![common::step(cpu, bench.mm, common::access(BASE + at, AccessKind::Write))];
        bench.sim.parallel(vec![store(0, 0), store(1, HUGE), store(2, 5 * PAGE)]).unwrap();
        let mapped = bench.faults().iter().filter(|f| f.kind == FaultKind::PudWrite).count();
        assert_eq!(mapped, 1, "{kernel}");
        assert_eq!(
            bench.counts(bench.block(file, 0)),
            per_kernel(kernel, (0, 0, 0), (1, 1, 262_144), (1, 1, 262_144))
        );
    }
}

#[test]
fn what_alignment_cuts_off_a_device_is_lost() {
    let (bench, _) = device(NEW, 1);
    assert_eq!(bench.sim.with(|m| m.device_size()), 16 * GIB);
    // 1 GiB less 2 MiB, from 5 GiB and 2 MiB on.
    let bench = Bench::with(
        "qemu-tcg",
        NEW,
        FileSystem::Devdax,
        &["pmem.devdax_alignment=\"1G\"", "pmem.capacity=\"4 GiB\""],
        &[],
    );
    assert_eq!(bench.sim.with(|m| m.device_size()), 3 * GIB);
    let file = bench.file(3 * PAGES, NewFile::Device);
    assert_eq!(bench.block(file, 0).0, 6 * PAGES);
    let small = Bench::with("qemu-tcg", NEW, FileSystem::Devdax, &["pmem.devdax_alignment=\"1G\""], &[]);
    assert!(matches!(small.sim.new_file(small.fs, GIB, &NewFile::Device), Err(SimError::NoSpace { .. })));
}
