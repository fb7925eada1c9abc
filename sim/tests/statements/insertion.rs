//! Statements 1 to 12: the 4 KiB insert, its bits and counts.
//!
//! Entries are given without their frame, as `Entry::without_frame` shows them.

use daxsim_sim::kernel::FileId;
use daxsim_sim::mmu::entry::Entry;
use daxsim_types::{Pfn, VmFault};

use crate::common::{BASE, Bench, FSDAX, HUGE, NEW, OLD, PAGE, V1, everywhere, per_kernel};

/// A bench with a written file whose first page was then loaded, for each file system.
fn after_a_load(kernel: &str, check: impl Fn(Bench, FileId, Pfn)) {
    for fs in FSDAX {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        let pfn = bench.block(file, 0);
        assert_eq!(bench.counts(pfn), (0, 0, 0), "at rest");
        bench.load(BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].ret), (0x4, Some(VmFault::NOPAGE)));
        assert_eq!(bench.pte(BASE).pfn(), pfn);
        check(bench, file, pfn);
    }
}

#[test]
fn statement_01_a_read_before_the_series_maps_special_and_devmap_and_counts_nothing() {
    after_a_load(OLD, |bench, file, pfn| {
        let want = Entry::P | Entry::US | Entry::A | Entry::NX | Entry::SPECIAL | Entry::DEVMAP;
        assert_eq!(want, 0x8200_0000_0000_0225);
        assert_eq!(bench.pte(BASE).without_frame(), want);
        assert_eq!(bench.counts(pfn), (0, 0, 0), "the count stays at its idle value, RSS too");
        second_mapping(bench, file, pfn, 0);
    });
}

/// A second mapping of a page, then both go: `each` is what a mapping counts.
fn second_mapping(mut bench: Bench, file: FileId, pfn: Pfn, each: i64) {
    bench.map(file, BASE + HUGE, 0, 4);
    bench.store(BASE + HUGE);
    assert_eq!(bench.counts(pfn), (2 * each, 2 * each, 2 * each));
    bench.unmap(BASE, 4);
    assert_eq!(bench.counts(pfn), (each, each, each));
    bench.unmap(BASE + HUGE, 4);
    assert_eq!(bench.counts(pfn), (0, 0, 0));
}

#[test]
fn statement_02_a_read_after_the_merge_maps_a_plain_entry_and_counts_it() {
    after_a_load(NEW, |bench, file, pfn| {
        let want = Entry::P | Entry::US | Entry::A | Entry::NX;
        assert_eq!(bench.pte(BASE).without_frame(), want);
        assert_eq!(bench.counts(pfn), (1, 1, 1), "one reference, one map, one page of RSS");
        second_mapping(bench, file, pfn, 1);
    });
    counters_return_to_rest(NEW);
}

#[test]
fn statement_03_a_read_in_the_first_posting_is_as_after_the_merge() {
    after_a_load(V1, |bench, file, pfn| {
        assert_eq!(bench.pte(BASE).without_frame(), 0x8000_0000_0000_0025);
        assert_eq!(bench.counts(pfn), (1, 1, 1));
        second_mapping(bench, file, pfn, 1);
    });
    counters_return_to_rest(V1);
}

/// A mix of sizes and accesses, all unmapped again.
fn counters_return_to_rest(kernel: &str) {
    for fs in FSDAX {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        for page in [0, 3, 700] {
            bench.load(BASE + page * PAGE);
        }
        bench.store(BASE + HUGE);
        assert_eq!(bench.rss(), 1024, "{kernel} {fs}");
        bench.unmap(BASE, 1024);
        assert_eq!(bench.rss(), 0, "{kernel} {fs}");
        for page in [0, 512] {
            assert_eq!(bench.counts(bench.block(file, page)), (0, 0, 0));
        }
    }
}

/// A store to an entry that is none, in a kernel that needs one fault; the entry it leaves.
fn store_first_in_one_fault(kernel: &str, want: u64) {
    for fs in FSDAX {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.store(BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].ret), (0x6, Some(VmFault::NOPAGE)));
        assert_eq!(faults[0].new.unwrap().without_frame(), want, "as the kernel stored it");
        assert_eq!(bench.pte(BASE).without_frame(), want, "hardware had nothing to add");
        assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
        bench.store(BASE + 8);
        bench.store(BASE + 64);
        assert!(bench.codes().is_empty(), "no fault");
        assert_eq!(bench.measured(|m| (m.dirty_assists, m.accessed_assists)), (0, 0), "no assist");
        assert_eq!(bench.pte(BASE).without_frame(), want);
    }
}

#[test]
fn statement_04_a_first_store_before_the_series_maps_writable_and_dirty_in_one_fault() {
    let bits = Entry::RW | Entry::A | Entry::D | Entry::SOFT_DIRTY;
    assert_eq!(0x8200_0000_0000_0a67 & bits, bits);
    store_first_in_one_fault(OLD, 0x8200_0000_0000_0a67);
}

#[test]
fn statement_05_a_first_store_after_the_merge_does_so_without_special_and_devmap() {
    assert_eq!(0x8200_0000_0000_0a67 & !(Entry::SPECIAL | Entry::DEVMAP), 0x8000_0000_0000_0867);
    store_first_in_one_fault(NEW, 0x8000_0000_0000_0867);
}

#[test]
fn statement_06_a_first_store_in_the_first_posting_maps_read_only_and_faults_again() {
    for fs in FSDAX {
        let mut bench = Bench::new(V1, fs);
        bench.mapped(4);
        bench.store(BASE);
        let faults = bench.faults();
        let first = &faults[0];
        assert_eq!((first.error_code.0, first.ret), (0x6, Some(VmFault::NOPAGE)), "{fs}");
        assert!(first.old.unwrap().is_none());
        // insert_page_into_pte_locked computes the writable entry and stores the other one.
        assert_eq!(first.new.unwrap().without_frame(), 0x8000_0000_0000_0025);
        assert_eq!(faults[1].error_code.0, 0x7, "the store, executed again");
        assert_eq!(faults[1].old, first.new);
    }
}

#[test]
fn statement_07_the_second_fault_makes_it_writable_and_hardware_sets_d() {
    for fs in FSDAX {
        let mut bench = Bench::new(V1, fs);
        let file = bench.mapped(4);
        bench.store(BASE);
        let faults = bench.faults();
        assert_eq!(faults.iter().map(|f| f.error_code.0).collect::<Vec<_>>(), [0x6, 0x7], "{fs}: two faults");
        let second = faults[1].new.unwrap();
        assert_eq!(second.without_frame(), 0x8000_0000_0000_0027, "RW and A, no D");
        assert_eq!(
            bench.pte(BASE).without_frame(),
            0x8000_0000_0000_0067,
            "D by hardware, SOFT_DIRTY by nobody"
        );
        assert_eq!(bench.measured(|m| (m.dirty_assists, m.accessed_assists)), (1, 0));
        assert_eq!(bench.counts(bench.block(file, 0)), (1, 1, 1), "one mapping, not two");
        bench.store(BASE + 8);
        assert!(bench.codes().is_empty());
        assert_eq!(bench.measured(|m| m.dirty_assists), 1, "once");
    }
}

/// A store to a device of 4 KiB alignment: what the one fault stores, and the D bits that hardware adds.
fn device_store(kernel: &str, want: u64, assists: u64) {
    let (mut bench, file) = Bench::device(kernel, 4);
    bench.store(BASE + PAGE);
    let faults = bench.faults();
    assert_eq!(faults.len(), 1, "{kernel}");
    assert_eq!((faults[0].error_code.0, faults[0].ret), (0x6, Some(VmFault::NOPAGE)));
    // The VMA asks for no write notification, so the entry is writable whatever the flag said.
    assert_eq!(faults[0].new.unwrap().without_frame(), want, "{kernel}");
    assert_eq!(bench.pte(BASE + PAGE).pfn(), Pfn(bench.block(file, 0).0 + 1));
    assert!(bench.pte(BASE + PAGE).hw_dirty(), "{kernel}: in the end it is dirty");
    assert_eq!(bench.measured(|m| m.dirty_assists), assists, "{kernel}");
}

#[test]
fn statement_08_device_dax_in_the_first_posting_leaves_d_to_hardware() {
    device_store(V1, 0x8000_0000_0000_0027, 1);
}

#[test]
fn statement_09_device_dax_before_the_series_ignores_the_write_flag_at_4k() {
    device_store(OLD, 0x8200_0000_0000_0227, 1);
}

#[test]
fn statement_10_device_dax_after_the_merge_presets_d() {
    device_store(NEW, 0x8000_0000_0000_0867, 0);
}

/// A load, then a store of the same page: the upgrade.
fn upgrade(kernel: &str, want: u64, assists: u64) {
    after_a_load(kernel, |mut bench, _, pfn| {
        let (counts, generation) = (bench.counts(pfn), bench.generation());
        bench.store(BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel}");
        assert_eq!((faults[0].error_code.0, faults[0].ret), (0x7, Some(VmFault::NOPAGE)));
        assert_eq!(faults[0].new.unwrap().without_frame(), want, "{kernel}");
        assert_eq!(bench.pte(BASE).without_frame(), want | Entry::D, "{kernel}: in the end it is dirty");
        assert_eq!(bench.measured(|m| m.dirty_assists), assists, "{kernel}");
        assert_eq!(bench.counts(pfn), counts, "{kernel}: an upgrade counts nothing");
        assert_eq!((bench.generation(), bench.flush_requests()), (generation, 0), "{kernel}: no flush");
    });
}

#[test]
fn statement_11_an_upgrade_before_the_series_sets_d_without_counts_or_flush() {
    let bits = Entry::RW | Entry::A | Entry::D | Entry::SOFT_DIRTY;
    assert_eq!(0x8200_0000_0000_0a67 & bits, bits);
    upgrade(OLD, 0x8200_0000_0000_0a67, 0);
}

#[test]
fn statement_12_an_upgrade_of_a_counted_page_leaves_d_to_hardware() {
    for kernel in [V1, NEW] {
        upgrade(kernel, 0x8000_0000_0000_0027, 1);
    }
    // Each kernel's counts once more, against those of the others.
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE);
        bench.store(BASE);
        let pfn = bench.block(file, 0);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (1, 1, 1), (1, 1, 1)), "{kernel} {fs}");
    });
}
