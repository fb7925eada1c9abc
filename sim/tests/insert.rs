//! What a fault leaves in the page table: the three insert semantics, entry by entry.
//!
//! Entries are given without their frame, as `Entry::without_frame` shows them.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, V1, everywhere, per_kernel};
use daxsim_sim::SimError;
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::FlushReason;
use daxsim_sim::mmu::entry::Entry;
use daxsim_types::{FileSystem, PageSize, Pfn, VirtAddr};

#[test]
fn a_read_maps_the_block_read_only_and_young() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE);
        let want = per_kernel(kernel, 0x8200_0000_0000_0225, 0x8000_0000_0000_0025, 0x8000_0000_0000_0025);
        assert_eq!(bench.pte(BASE).without_frame(), want, "{kernel} {fs}");
        assert_eq!(bench.pte(BASE).pfn(), bench.block(file, 0));
        assert_eq!(bench.codes(), [0x4]);
    });
}

#[test]
fn a_first_store_maps_the_block_writable_and_dirty_but_needs_two_faults_in_the_first_posting() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.store(BASE);
        let faults = bench.faults();
        let codes: Vec<u32> = faults.iter().map(|f| f.error_code.0).collect();
        let new: Vec<u64> = faults.iter().map(|f| f.new.unwrap().without_frame()).collect();
        match kernel {
            V1 => {
                // insert_page_into_pte_locked computes the writable entry and stores the other one.
                assert_eq!(codes, [0x6, 0x7]);
                assert_eq!(new, [0x8000_0000_0000_0025, 0x8000_0000_0000_0027]);
            }
            _ => {
                assert_eq!(codes, [0x6]);
                assert_eq!(new, [per_kernel(kernel, 0x8200_0000_0000_0a67, 0, 0x8000_0000_0000_0867)]);
            }
        }
        // Where the kernel left D clear, the retried store makes the hardware set it.
        let want = per_kernel(kernel, 0x8200_0000_0000_0a67, 0x8000_0000_0000_0067, 0x8000_0000_0000_0867);
        assert_eq!(bench.pte(BASE).without_frame(), want, "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.dirty_assists), per_kernel(kernel, 0, 1, 0));
        assert_eq!(bench.measured(|m| m.accessed_assists), 0);
        bench.store(BASE + 8);
        assert!(bench.faults().is_empty());
        assert_eq!(bench.measured(|m| m.dirty_assists), per_kernel(kernel, 0, 1, 0));
    });
}

#[test]
fn a_store_after_a_load_upgrades_and_only_6_12_sets_d_in_software() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE);
        bench.faults();
        let counts = bench.counts(bench.block(file, 0));
        bench.store(BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].error_code.0, 0x7);
        let upgraded =
            per_kernel(kernel, 0x8200_0000_0000_0a67, 0x8000_0000_0000_0027, 0x8000_0000_0000_0027);
        assert_eq!(faults[0].new.unwrap().without_frame(), upgraded, "{kernel} {fs}");
        let after = per_kernel(kernel, upgraded, upgraded | Entry::D, upgraded | Entry::D);
        assert_eq!(bench.pte(BASE).without_frame(), after);
        assert_eq!(bench.measured(|m| m.dirty_assists), per_kernel(kernel, 0, 1, 1));
        assert_eq!(bench.counts(bench.block(file, 0)), counts, "an upgrade counts nothing");
    });
}

#[test]
fn huge_entries_are_dirty_from_the_start_and_after_the_upgrade_in_every_kernel() {
    everywhere(|kernel, fs| {
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        bench.load(BASE);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_00a5);
        assert_eq!(bench.pmd(BASE).pfn(), bench.block(file, 0));
        bench.store(BASE + PAGE);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_08e7);
        bench.store(BASE + HUGE);
        assert_eq!(bench.pmd(BASE + HUGE).without_frame(), devmap | 0x8000_0000_0000_08e7);
        assert_eq!(bench.codes(), [0x4, 0x7, 0x6]);
        assert_eq!(bench.measured(|m| m.dirty_assists), 0, "{kernel} {fs}");
    });
}

#[test]
fn only_the_counted_variants_count_mappings() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        let other = BASE + HUGE;
        bench.map(file, other, 0, 4);
        let pfn = bench.block(file, 0);
        assert_eq!(bench.counts(pfn), (0, 0, 0));
        bench.load(BASE);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (1, 1, 1), (1, 1, 1)));
        bench.store(other);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (2, 2, 2), (2, 2, 2)));
        bench.unmap(BASE, 4);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (1, 1, 1), (1, 1, 1)));
        bench.unmap(other, 4);
        assert_eq!(bench.counts(pfn), (0, 0, 0), "{kernel} {fs}");
    });
}

#[test]
fn a_huge_mapping_is_one_reference_and_512_pages_of_rss() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(512);
        bench.store(BASE);
        let pfn = bench.block(file, 0);
        assert_eq!(bench.counts(pfn), per_kernel(kernel, (0, 0, 0), (1, 1, 512), (1, 1, 512)));
        bench.unmap(BASE, 512);
        assert_eq!(bench.counts(pfn), (0, 0, 0), "{kernel} {fs}");
    });
}

#[test]
fn memtype_lock_is_taken_once_for_each_insert_or_upgrade_until_the_merge() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.load(BASE);
        bench.store(BASE);
        assert_eq!(bench.measured(|m| m.memtype_lookups), per_kernel(kernel, 2, 2, 0));
        bench.store(BASE + PAGE);
        // One insert, or an insert and an upgrade.
        assert_eq!(bench.measured(|m| m.memtype_lookups), per_kernel(kernel, 3, 4, 0), "{kernel} {fs}");
    });
}

#[test]
fn update_mmu_cache_is_called_for_a_fresh_4k_entry_by_6_12_only() {
    everywhere(|kernel, fs| {
        let calls = |bench: &Bench| bench.measured(|m| m.update_mmu_cache_calls);
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.load(BASE);
        assert_eq!(calls(&bench), per_kernel(kernel, 1, 0, 0), "{kernel} {fs}: fresh");
        bench.store(BASE);
        assert_eq!(calls(&bench), per_kernel(kernel, 2, 1, 1), "{kernel} {fs}: upgrade");

        let mut bench = Bench::new(kernel, fs);
        bench.mapped(1024);
        bench.load(BASE);
        bench.store(BASE);
        assert_eq!(calls(&bench), 2, "{kernel} {fs}: a fresh PMD and its upgrade");

        let mut bench = Bench::new(kernel, fs);
        bench.mapped_as(512, NewFile::Sparse);
        bench.load(BASE);
        assert_eq!(calls(&bench), per_kernel(kernel, 0, 0, 1), "{kernel} {fs}: a huge hole");
    });
}

#[test]
fn no_insert_and_no_upgrade_flushes() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(1024);
        let generation = bench.sim.with(|m| m.tlb_generation(bench.mm));
        for va in [BASE, BASE + HUGE] {
            bench.load(va);
            bench.load_on(1, va);
            bench.store(va);
        }
        assert_eq!(bench.flush_requests(), 0);
        assert_eq!(bench.sim.with(|m| m.tlb_generation(bench.mm)), generation);
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (0, 0), "{kernel} {fs}");
    });
}

#[test]
fn writing_over_another_frame_is_retried_by_6_12_and_kills_the_task_later() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        let file = bench.mapped(4);
        bench.load(BASE);
        let wrong = Entry(bench.pte(BASE).0 ^ (1 << 12));
        assert_ne!(wrong.pfn(), bench.block(file, 0));
        assert!(bench.sim.with(|m| m.inject_entry(bench.mm, VirtAddr(BASE), 0, wrong)));
        let ended = bench.try_run(0, bench.mm, common::access(BASE, daxsim_types::AccessKind::Write));
        match kernel {
            OLD => assert_eq!(ended, Err(SimError::Livelock { line: 0 }), "NOPAGE, again and again"),
            _ => assert_eq!(ended.unwrap().signals, 1, "{kernel}: SIGBUS"),
        }
        assert_eq!(bench.pte(BASE), wrong);
    }
}

#[test]
fn device_dax_writes_4k_as_reads_before_the_series() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Devdax);
        bench.sim.with(|m| m.set_device_alignment(PageSize::Size4K));
        let file = bench.file(1024, NewFile::Device);
        bench.map(file, BASE, 0, 4);
        bench.store(BASE + PAGE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel}");
        // The VMA asks for no write notification, so the entry is writable whatever the flag said.
        let new = per_kernel(kernel, 0x8200_0000_0000_0227, 0x8000_0000_0000_0027, 0x8000_0000_0000_0867);
        assert_eq!(faults[0].new.unwrap().without_frame(), new, "{kernel}");
        assert_eq!(bench.pte(BASE + PAGE).pfn(), Pfn(bench.block(file, 0).0 + 1));
        assert_eq!(bench.measured(|m| m.dirty_assists), per_kernel(kernel, 1, 1, 0), "{kernel}");
    }
}

#[test]
fn device_dax_maps_2m_whole_or_not_at_all() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Devdax);
        let file = bench.file(1024, NewFile::Device);
        bench.map(file, BASE, 0, 512);
        bench.store(BASE + PAGE);
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_08e7, "{kernel}");
        bench.map(file, BASE + HUGE, 512, 4);
        assert_eq!(bench.store(BASE + HUGE).signals, 1, "{kernel}: SIGBUS, the VMA is too small");
    }
}

#[test]
fn counters_of_7_2_return_to_rest_after_any_mix() {
    let mut bench = Bench::new(NEW, FileSystem::Xfs);
    let file = bench.mapped(1024);
    for page in [0, 3, 700] {
        bench.load(BASE + page * PAGE);
    }
    bench.store(BASE + HUGE);
    bench.unmap(BASE, 1024);
    assert_eq!(bench.rss(), 0);
    for page in [0, 512] {
        assert_eq!(bench.counts(bench.block(file, page)), (0, 0, 0));
    }
}
