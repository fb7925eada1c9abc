//! Statements 95 to 99: what the processor does.

use daxsim_sim::kernel::{MapRequest, NewFile};
use daxsim_sim::measure::FaultKind;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem};

use crate::common::{BASE, Bench, KERNELS, NEW, PAGE, access, everywhere, shared_map};

/// A page that is mapped writable and clean, and cached so.
fn clean_and_cached(kernel: &str, fs: FileSystem) -> Bench {
    let mut bench = Bench::new(kernel, fs);
    bench.mapped(4);
    bench.load(BASE);
    let writable = Entry((bench.pte(BASE).0 | Entry::RW) & !Entry::D);
    bench.inject(BASE, 0, writable);
    bench.load_on(1, BASE);
    let cached = bench.cached(1, BASE).unwrap();
    assert!(cached.writable && !cached.dirty);
    bench.faults();
    bench
}

#[test]
fn statement_95_a_store_through_a_clean_translation_sets_d_without_a_fault() {
    everywhere(|kernel, fs| {
        let mut bench = clean_and_cached(kernel, fs);
        let before = bench.pte(BASE);
        let (assists, walks) = bench.measured(|m| (m.dirty_assists, m.walks));
        bench.store_on(1, BASE);
        assert!(bench.codes().is_empty(), "{kernel} {fs}: no #PF");
        assert_eq!(bench.pte(BASE), Entry(before.0 | Entry::D), "{kernel} {fs}: D and nothing else");
        assert_eq!(bench.measured(|m| (m.dirty_assists - assists, m.walks - walks)), (1, 1));
        assert!(bench.cached(1, BASE).unwrap().dirty);
        bench.store_on(1, BASE);
        assert_eq!(bench.measured(|m| m.dirty_assists) - assists, 1, "{kernel} {fs}: once");
    });
}

#[test]
fn statement_96_a_store_through_a_clean_translation_faults_if_the_entry_has_changed() {
    everywhere(|kernel, fs| {
        for (present, code) in [(true, 0x7), (false, 0x6)] {
            let mut bench = clean_and_cached(kernel, fs);
            let entry = if present { Entry(bench.pte(BASE).0 & !Entry::RW) } else { Entry::NONE };
            bench.inject(BASE, 0, entry);
            let assists = bench.measured(|m| m.dirty_assists);
            bench.store_on(1, BASE);
            let faults = bench.faults();
            assert_eq!(faults[0].error_code.0, code, "{kernel} {fs}");
            assert_eq!(faults[0].old, Some(entry), "{kernel} {fs}: D was not set");
            // What is set by hardware later is set in the kernel's new entry.
            assert!(bench.measured(|m| m.dirty_assists) - assists <= 1);
            assert!(bench.pte(BASE).hw_dirty());
        }
    });
    // The same without a handler that repairs it: the store is refused, and D stays clear.
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Xfs);
        let file = bench.file(4, NewFile::Filled);
        bench.run(0, bench.mm, Action::Map(MapRequest { write: false, ..shared_map(file, BASE, 0, 4) }));
        bench.load(BASE);
        let read_only = bench.pte(BASE);
        bench.inject(BASE, 0, Entry(read_only.0 | Entry::RW));
        bench.load_on(1, BASE);
        bench.inject(BASE, 0, read_only);
        assert_eq!(bench.store_on(1, BASE).signals, 1, "{kernel}");
        assert_eq!(bench.pte(BASE), read_only, "{kernel}");
        assert_eq!(bench.measured(|m| m.dirty_assists), 0, "{kernel}");
    }
}

#[test]
fn statement_97_a_fault_drops_the_addresss_translations_on_its_cpu_and_in_its_pcid_only() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        let read_only = MapRequest { write: false, ..shared_map(file, BASE, 0, 4) };
        let (mine, theirs) = (bench.mm, bench.sim.with(|m| m.new_mm()));
        for mm in [theirs, mine] {
            bench.run(0, mm, Action::Map(read_only));
            bench.run(0, mm, access(BASE, AccessKind::Read));
            bench.run(0, mm, access(BASE + PAGE, AccessKind::Read));
        }
        bench.load_on(1, BASE);
        assert!(bench.cached(0, BASE).is_some() && bench.cached(1, BASE).is_some());
        bench.faults();
        // No handler runs and nothing is tried again: what is gone, the exception took.
        assert_eq!(bench.store(BASE).signals, 1);
        let faults = bench.faults();
        assert_eq!((faults.len(), faults[0].kind), (1, FaultKind::Sigsegv));
        assert_eq!(bench.flush_requests(), 0);
        assert_eq!(bench.cached(0, BASE), None, "{kernel} {fs}: gone here");
        assert!(bench.cached(0, BASE + PAGE).is_some(), "{kernel} {fs}: other addresses stay");
        assert!(bench.cached(1, BASE).is_some(), "{kernel} {fs}: other CPUs keep theirs");
        bench.mm = theirs;
        bench.sim.place(CpuId(0), theirs).unwrap();
        assert!(bench.cached(0, BASE).is_some(), "{kernel} {fs}: so does the other PCID");
    });
}

#[test]
fn statement_98_a_dirty_bit_cleared_without_a_flush_is_lost() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.store(BASE);
        bench.store_on(1, BASE);
        bench.faults();
        let clean = Entry(bench.pte(BASE).0 & !Entry::D);
        for cpu in [0, 1] {
            bench.inject(BASE, 0, clean);
            let assists = bench.measured(|m| m.dirty_assists);
            bench.store_on(cpu, BASE);
            assert!(bench.codes().is_empty());
            assert_eq!(bench.pte(BASE), clean, "{kernel} {fs}: D stays 0 after a store");
            assert_eq!(bench.measured(|m| m.dirty_assists), assists, "{kernel} {fs}");
        }
        // Writeback flushes between clearing and going on: the next store is seen.
        bench.inject(BASE, 0, Entry(clean.0 | Entry::D));
        bench.msync(BASE, 4);
        assert_eq!((bench.cached(0, BASE), bench.cached(1, BASE)), (None, None), "{kernel} {fs}");
        bench.store_on(1, BASE);
        assert_eq!(bench.codes(), [0x7]);
        assert!(bench.pte(BASE).hw_dirty(), "{kernel} {fs}");
    });
}

#[test]
fn statement_99_what_was_not_mapped_is_found_as_soon_as_it_is() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        bench.map(file, BASE, 0, 8);
        bench.load_on(1, BASE);
        let va = BASE + 5 * PAGE;
        // CPU 1 walks to an entry that is none, and gets SIGBUS: the file ends before it.
        assert_eq!(bench.load_on(1, va).signals, 1, "{kernel} {fs}");
        assert!(bench.pte(va).is_none());
        bench.run(0, bench.mm, Action::Write { file, start: 5 * PAGE, len: PAGE });
        bench.faults();
        let flushes = bench.flush_requests();
        bench.load(va);
        assert_eq!(bench.codes(), [0x4], "{kernel} {fs}: CPU 0 maps it");
        let walks = bench.measured(|m| m.walks);
        bench.load_on(1, va);
        assert!(bench.codes().is_empty(), "{kernel} {fs}: CPU 1 finds it");
        assert_eq!(bench.measured(|m| m.walks), walks + 1, "{kernel} {fs}: the absence was not cached");
        assert_eq!(bench.flush_requests(), flushes, "{kernel} {fs}: without a flush");
    });
    // On the faulting CPU the access is executed again, and hits.
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    bench.mapped(4);
    bench.load(BASE);
    bench.load(BASE);
    assert_eq!((bench.codes().len(), bench.flush_requests()), (1, 0));
}
