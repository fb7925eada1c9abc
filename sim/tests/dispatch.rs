//! Which handlers a fault goes through, under which lock, and how it ends if there is nothing to map.

mod common;

use common::{BASE, Bench, FSDAX, KERNELS, PAGE, everywhere, path, per_kernel, shared_map};
use daxsim_sim::kernel::{MapRequest, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{FileSystem, VirtAddr};

/// How often a step whose name begins like this is on a path.
fn count(path: &[String], what: &str) -> usize {
    path.iter().filter(|s| s.starts_with(what)).count()
}

#[test]
fn what_makes_2m_impossible() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let cases: [(&str, NewFile, u64, u64, u64); 4] = [
            ("colour", NewFile::Filled, 1024, BASE + PAGE, 1024),
            ("VMA too small", NewFile::Filled, 1024, BASE, 511),
            ("file too small", NewFile::Filled, 511, BASE, 512),
            ("extent not aligned", NewFile::Extents(vec![(0, 4097, 512, true)]), 512, BASE, 512),
        ];
        for (n, (why, new, pages, start, mapped)) in cases.into_iter().enumerate() {
            let file = bench.file(pages, new);
            let start = start + n as u64 * (1 << 30);
            bench.map(file, start, 0, mapped);
            bench.store(start);
            let va = VirtAddr(start);
            let pte = bench.sim.with(|m| m.entry(bench.mm, va, 0));
            assert!(pte.is_writable(), "{kernel} {fs}: {why}");
            assert!(bench.sim.with(|m| !m.entry(bench.mm, va, 1).is_leaf_at(1)), "{kernel} {fs}: {why}");
        }
    });
}

#[test]
fn no_mapping_and_no_permission_get_sigsegv_without_the_mm_core() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(8, NewFile::Filled);
        let request = MapRequest { write: false, ..shared_map(file, BASE, 0, 8) };
        bench.run(0, bench.mm, Action::Map(request));
        assert_eq!(bench.load(BASE - PAGE).signals, 1);
        assert_eq!(bench.store(BASE).signals, 1);
        assert_eq!(bench.load(BASE).signals, 0);
        assert_eq!(bench.store(BASE).signals, 1);
        assert_eq!(bench.load(1 << 60).signals, 1, "not canonical");
        let faults = bench.faults();
        let codes: Vec<u32> = faults.iter().map(|f| f.error_code.0).collect();
        assert_eq!(codes, [0x4, 0x6, 0x4, 0x7], "{kernel} {fs}");
        for (n, fault) in faults.iter().enumerate() {
            assert_eq!(fault.kind == FaultKind::Sigsegv, n != 2);
            assert_eq!(fault.ret.is_none(), n != 2, "handle_mm_fault was not entered");
        }
        assert_eq!(bench.measured(|m| (m.faults.sigsegv, m.general_protections)), (3, 1), "#GP is no #PF");
    });
}

/// CPU 1 caches a read-only translation, CPU 0 makes the entry writable without a flush, CPU 1 stores.
fn store_through_a_stale_entry(bench: &mut Bench) -> (Entry, Entry) {
    bench.mapped(4);
    bench.load_on(1, BASE);
    bench.store_on(0, BASE);
    bench.faults();
    let before = bench.pte(BASE);
    bench.store_on(1, BASE);
    (before, bench.pte(BASE))
}

#[test]
fn a_spurious_fault_adds_the_soft_dirty_bit_where_the_upgrade_did_not() {
    for kernel in KERNELS {
        for fs in FSDAX {
            let mut bench = Bench::new(kernel, fs);
            let (before, after) = store_through_a_stale_entry(&mut bench);
            let faults = bench.faults();
            assert_eq!(faults.len(), 1, "{kernel} {fs}");
            assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Spurious));
            assert_eq!(faults[0].ret.unwrap().0, 0);
            // Where the upgrade set no D in software, pte_mkdirty has its soft-dirty bit to add.
            let added = per_kernel(kernel, 0, Entry::SOFT_DIRTY, Entry::SOFT_DIRTY);
            assert_eq!(after, Entry(before.0 | added));
            assert_eq!(bench.flush_requests(), 0, "and no flush");
            assert_eq!(bench.flush_events(FlushReason::RemoteShootdown).0, 0);
            assert_eq!(count(&path(&faults[0]), "do_wp_page"), 0, "no hook");
            bench.store_on(1, BASE);
            assert!(bench.faults().is_empty());
        }
    }
}

#[test]
fn an_emulator_that_walks_again_takes_no_spurious_fault() {
    for kernel in KERNELS {
        let mut bench = Bench::tcg(kernel, FileSystem::Ext4);
        let (before, after) = store_through_a_stale_entry(&mut bench);
        assert!(bench.faults().is_empty(), "{kernel}");
        assert_eq!(before, after);
    }
}
