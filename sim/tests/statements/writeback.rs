//! Statements 64 to 69: writeback.

use daxsim_sim::kernel::dax_entry::EntryKind;
use daxsim_sim::measure::FlushReason;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::{Action, Step};
use daxsim_types::{AccessKind, CpuId, VirtAddr};

use crate::common::{BASE, Bench, HUGE, PAGE, access, delay, everywhere, per_kernel, step};

#[test]
fn statement_64_fsync_cleans_each_mapping_of_a_page_with_a_flush_of_its_own() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        let mine = bench.mm;
        let theirs = bench.other_process(1, file, 16);
        bench.touch(0, BASE, 5, AccessKind::Write);
        bench.run(1, theirs, access(BASE, AccessKind::Write));
        let gens = |bench: &Bench| [mine, theirs].map(|mm| bench.sim.with(|m| m.tlb_generation(mm)));
        let before = gens(&bench);
        let written = bench.events().clwb_lines;
        bench.run(0, mine, Action::Fsync(file));
        assert_eq!(bench.flush_requests(), 6, "{kernel} {fs}: five pages here, one there");
        let after = gens(&bench);
        assert_eq!((after[0] - before[0], after[1] - before[1]), (5, 1), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown).1, 0, "none of them is full");
        assert_eq!(bench.measured(|m| m.writeback_entries), 5);
        assert_eq!(bench.events().clwb_lines - written, 5 * 64, "{kernel} {fs}: every line");
        let clean = per_kernel(kernel, 0x8200_0000_0000_0a25, 0x8000_0000_0000_0025, 0x8000_0000_0000_0825);
        assert_eq!(clean & (Entry::RW | Entry::D | Entry::SAVED_DIRTY), 0);
        assert_eq!(clean & Entry::A, Entry::A, "A is kept");
        for page in 0..5 {
            assert_eq!(bench.pte(BASE + page * PAGE).without_frame(), clean, "{kernel} {fs}");
            let (_, entry) = bench.dax_entry(file, page);
            assert!(!entry.dirty && !entry.towrite && !entry.locked);
            assert_eq!(entry.kind, EntryKind::Block);
        }
        let pte = bench.sim.with(|m| m.entry(theirs, VirtAddr(BASE), 0));
        assert_eq!(pte.without_frame(), clean, "{kernel} {fs}: theirs");
        // A second one finds nothing to do.
        bench.run(0, mine, Action::Fsync(file));
        assert_eq!((bench.flush_requests(), bench.measured(|m| m.writeback_entries)), (6, 5));
        assert_eq!(bench.events().clwb_lines - written, 5 * 64);
        // The page stays readable; the next store faults and makes it dirty again.
        bench.faults();
        bench.load(BASE);
        assert!(bench.codes().is_empty(), "the page stays readable");
        let assists = bench.measured(|m| m.dirty_assists);
        bench.store(BASE);
        assert_eq!(bench.codes(), [0x7], "{kernel} {fs}");
        assert!(bench.dax_entry(file, 0).1.dirty);
        assert_eq!(bench.measured(|m| m.dirty_assists) - assists, per_kernel(kernel, 0, 1, 1));
    });
    // The order within one page: see statements 69 and 98.
    an_entry_is_none_during_its_flush();
}

/// A load on another CPU meanwhile finds nothing mapped.
fn an_entry_is_none_during_its_flush() {
    everywhere(|kernel, fs| {
        let met = (0..4000).step_by(400).filter(|wait| {
            let (mut bench, faults) = race_with_a_sync(kernel, fs, *wait, AccessKind::Read);
            let clean = bench.pte(BASE);
            assert!(clean.is_present() && !clean.is_writable() && !clean.pte_dirty(), "{kernel} {fs}");
            assert!(bench.load(BASE).signals == 0);
            faults.contains(&0x4)
        });
        assert!(met.count() > 0, "{kernel} {fs}");
    });
}

/// CPU 0 syncs a dirty page while interrupts to CPU 1 take long, and CPU 2 comes to the page `wait` loads later. The error
/// codes of CPU 2's faults.
fn race_with_a_sync(
    kernel: &str,
    fs: daxsim_types::FileSystem,
    wait: u64,
    kind: AccessKind,
) -> (Bench, Vec<u32>) {
    let slow = ["cpu.count=4", "ipi.delivery=20 us"];
    let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
    bench.mapped(4);
    for cpu in 0..2 {
        bench.store_on(cpu, BASE);
    }
    bench.load_on(2, BASE + PAGE);
    bench.faults();
    let sync = vec![step(0, bench.mm, Action::Msync { start: BASE, len: PAGE })];
    let late: Vec<Step> = vec![delay(2, bench.mm, BASE + PAGE, wait), step(2, bench.mm, access(BASE, kind))];
    bench.race(vec![sync, late]);
    let codes = bench.faults().iter().filter(|f| f.cpu == CpuId(2)).map(|f| f.error_code.0).collect();
    (bench, codes)
}

#[test]
fn statement_65_a_writable_page_without_d_is_write_protected_all_the_same() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.store(BASE);
        bench.inject(BASE, 0, Entry(bench.pte(BASE).0 & !Entry::D));
        bench.msync(BASE, 4);
        assert_eq!(bench.flush_requests(), 1, "{kernel} {fs}");
        let pte = bench.pte(BASE);
        assert!(pte.is_present() && !pte.is_writable() && !pte.pte_dirty());
        bench.faults();
        bench.store(BASE);
        assert_eq!(bench.codes(), [0x7]);
    });
}

#[test]
fn statement_66_a_read_only_clean_page_is_left_alone() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.load(BASE);
        let other = BASE + HUGE;
        bench.map(file, other, 0, 4);
        bench.store(other);
        let before = bench.pte(BASE);
        bench.msync(BASE, 4);
        assert_eq!(bench.flush_requests(), 1, "{kernel} {fs}: only the writable mapping");
        assert_eq!(bench.pte(BASE), before);
        assert!(!bench.pte(other).is_writable(), "msync through one mapping cleans all of them");
        assert!(bench.cached(0, BASE).is_some(), "{kernel} {fs}: not even from the TLB");
    });
}

#[test]
fn statement_67_a_huge_page_is_written_back_whole_even_from_its_middle() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(1024);
        bench.store(BASE);
        bench.store(BASE + HUGE);
        bench.msync(BASE + 100 * PAGE, 1);
        assert_eq!(bench.measured(|m| m.writeback_entries), 1, "{kernel} {fs}");
        assert_eq!(bench.events().clwb_lines, 512 * 64, "{kernel} {fs}: 2 MiB of lines");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 1), "one full flush");
        assert!(!bench.pmd(BASE).is_writable() && !bench.pmd(BASE).pte_dirty());
        assert!(bench.pmd(BASE).is_leaf_at(1) && bench.pmd(BASE).is_present());
        assert!(!bench.dax_entry(file, 0).1.dirty);
        assert!(bench.pmd(BASE + HUGE).is_writable(), "the neighbour is out of the range");
        assert!(bench.dax_entry(file, 512).1.dirty);
        bench.faults();
        bench.store(BASE + 200 * PAGE);
        assert_eq!(bench.codes(), [0x7]);
    });
}

#[test]
fn statement_68_background_writeback_does_nothing() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        bench.touch(0, BASE, 5, AccessKind::Write);
        let entry = bench.dax_entry(file, 0);
        let (pte, flushes, events) = (bench.pte(BASE), bench.flush_requests(), bench.events());
        // The flusher is a kernel thread: it has no address space.
        let action = Action::BackgroundWriteback(file);
        bench.sim.step(Step { line: 0, thread: 1, cpu: CpuId(1), mm: None, action }).unwrap();
        assert_eq!(bench.measured(|m| m.writeback_entries), 0, "{kernel} {fs}");
        assert_eq!((bench.pte(BASE), bench.flush_requests(), bench.events()), (pte, flushes, events));
        assert_eq!(bench.dax_entry(file, 0), entry, "{kernel} {fs}: dirty still, and not tagged");
        assert!(entry.1.dirty && !entry.1.towrite);
        bench.run(0, bench.mm, Action::Fsync(file));
        assert_eq!(bench.measured(|m| m.writeback_entries), 5, "{kernel} {fs}: fsync does");
    });
}

#[test]
fn statement_69_a_store_that_races_with_fsync_waits_for_the_entry_and_dirties_it_again() {
    everywhere(|kernel, fs| {
        let mut waited = 0;
        for wait in (0..4000).step_by(200) {
            let (bench, _) = race_with_a_sync(kernel, fs, wait, AccessKind::Write);
            let (_, entry) = bench.sim.with(|m| m.dax_entry(daxsim_sim::kernel::FileId(0), 0)).unwrap();
            let pte = bench.pte(BASE);
            // Whoever came last: a page that can be written to is marked.
            assert_eq!(pte.is_writable(), entry.dirty, "{kernel} {fs} {wait}: {pte} {entry:?}");
            assert!(!entry.locked && !entry.towrite);
            if bench.events().entry_waits > 0 {
                waited += 1;
                assert!(entry.dirty, "{kernel} {fs} {wait}: marked again after the sync cleared the mark");
                assert_eq!(bench.measured(|m| m.writeback_entries), 1);
            }
        }
        assert!(waited > 0, "{kernel} {fs}: the store never met the sync");
    });
}
