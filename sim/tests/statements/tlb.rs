//! Statements 80 to 94: TLB maintenance.

use daxsim_sim::kernel::{MmId, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason, Part};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, Time};

use crate::common::{BASE, Bench, HUGE, NEW, OLD, PAGE, V1, access, everywhere, step};

/// `tlb_flush` events of a reason: how many, how many of them full, and the pages of the others.
fn events(bench: &Bench, reason: FlushReason) -> (u64, u64, u64) {
    bench.measured(|m| m.flushes.get(&reason).map_or((0, 0, 0), |f| (f.count, f.full, f.pages)))
}

#[test]
fn statement_80_up_to_33_pages_are_flushed_one_by_one() {
    everywhere(|kernel, fs| {
        // Out of the middle of a mapping whose tables stay: a flush of exactly that range.
        let flush_of = |pages| {
            let mut bench = Bench::new(kernel, fs);
            bench.mapped(128);
            bench.touch(0, BASE, 128, AccessKind::Read);
            bench.unmap(BASE + 4 * PAGE, pages);
            let shootdowns = bench.measured(|m| m.shootdowns);
            (events(&bench, FlushReason::LocalMmShootdown), shootdowns.pages, shootdowns.full_flushes)
        };
        assert_eq!(flush_of(33), ((1, 0, 33), 33, 0), "{kernel} {fs}");
        assert_eq!(flush_of(34), ((1, 1, 0), 0, 1), "{kernel} {fs}");
    });
}

/// Both generations are requested before either interrupt arrives: the first to arrive flushes up to the second, which then
/// finds nothing to do and is not traced.
#[test]
fn statement_81_of_two_flushes_in_flight_the_first_does_the_work_of_both() {
    everywhere(|kernel, fs| {
        let machine = ["cpu.count=4", "ipi.delivery=50 us"];
        let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &machine, &[]);
        let (one, two) = (bench.file(8, NewFile::Filled), bench.file(8, NewFile::Filled));
        bench.map(one, BASE, 0, 8);
        bench.map(two, BASE + HUGE, 0, 8);
        for (cpu, va) in [(0, BASE), (1, BASE + HUGE), (2, BASE)] {
            bench.store_on(cpu, va);
        }
        let generation = bench.generation();
        let msync = |cpu, start| vec![step(cpu, bench.mm, Action::Msync { start, len: PAGE })];
        bench.race(vec![msync(0, BASE), msync(1, BASE + HUGE)]);
        assert_eq!(bench.generation(), generation + 2);
        // Both call CPU 2, and whoever is second leaves it to the interrupt of the first.
        let shootdowns = bench.measured(|m| m.shootdowns);
        assert_eq!((shootdowns.ipis_received, shootdowns.ipis_saved), (3, 1), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (2, 0), "both asked for one page");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (2, 2), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1), "CPU 2, once");
    });
}

#[test]
fn statement_82_a_lazy_cpu_is_left_alone_and_catches_up_when_it_comes_back() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.store(BASE);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi).0, 1, "traced before anyone is looked at");
        let switches = bench.flush_events(FlushReason::TaskSwitch);
        bench.load_on(1, BASE);
        let after = bench.flush_events(FlushReason::TaskSwitch);
        assert_eq!((after.0 - switches.0, after.1 - switches.1), (1, 1), "a full flush on the way back");
        bench.sim.sleep(CpuId(1));
        bench.load_on(1, BASE);
        assert_eq!(bench.flush_events(FlushReason::TaskSwitch), after, "nothing was flushed meanwhile");
    });
}

#[test]
fn statement_83_freed_page_tables_interrupt_lazy_cpus_too_and_send_them_off_the_address_space() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.load(BASE);
        bench.unmap(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 1, "{kernel} {fs}");
        assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm)), [CpuId(0)], "on init_mm now");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown).0, 0, "it left before it came to flush");
        let switches = bench.flush_events(FlushReason::TaskSwitch).1;
        bench.sim.place(CpuId(1), bench.mm).unwrap();
        assert_eq!(
            bench.flush_events(FlushReason::TaskSwitch).1 - switches,
            1,
            "what it had cached is flushed"
        );
    });
}

#[test]
fn statement_84_an_address_space_on_one_cpu_interrupts_nobody() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        let other = bench.sim.with(|m| m.new_mm());
        bench.sim.place(CpuId(1), other).unwrap();
        bench.touch(0, BASE, 8, AccessKind::Write);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi).0, 0);
        assert_eq!(events(&bench, FlushReason::LocalMmShootdown), (8, 0, 8), "one page each, here");
        assert_eq!(bench.sim.with(|m| m.cpu_parts(CpuId(1)))[Part::IpiHandler], Time::ZERO);
        assert_eq!(bench.sim.with(|m| m.cpu_parts(CpuId(0)))[Part::IpiWait], Time::ZERO);
    });
}

/// A full flush takes 100 us here, an interrupt 50 us to arrive: 150 us in all if both CPUs flush at once, 250 if one after
/// the other.
#[test]
fn statement_85_the_initiator_flushes_itself_while_the_others_do_and_then_waits() {
    everywhere(|kernel, fs| {
        let slow = ["cpu.count=4", "ipi.delivery=50 us", "cost.cr3_write=100 us"];
        let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
        bench.mapped(40);
        bench.load_on(1, BASE);
        bench.touch(0, BASE, 40, AccessKind::Read);
        let parts = |bench: &Bench| bench.sim.with(|m| m.cpu_parts(CpuId(0)));
        let before = parts(&bench);
        // Freeing the tables makes it a full flush.
        bench.unmap(BASE, 40);
        let spent = parts(&bench).since(&before);
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 1));
        let waited = spent[Part::IpiWait];
        assert!(spent[Part::Flush] >= Time::from_ns(100_000), "{kernel} {fs}: its own flush");
        assert!(waited >= Time::from_ns(50_000), "{kernel} {fs}: {waited:?}");
        assert!(waited < Time::from_ns(100_000), "{kernel} {fs}: the flushes overlap: {waited:?}");
        // Everyone who runs the address space is told and waited for.
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        for cpu in [1, 2] {
            bench.load_on(cpu, BASE);
        }
        bench.store(BASE);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| (m.shootdowns.ipis_sent, m.shootdowns.ipis_received)), (2, 2));
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (1, 0), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (2, 0));
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 0));
        // The others' copies are gone: their next loads walk, and find the clean entry.
        bench.faults();
        let walks = bench.measured(|m| m.walks);
        bench.load_on(1, BASE);
        assert_eq!(bench.measured(|m| m.walks), walks + 1);
        assert!(bench.codes().is_empty());
    });
}

/// A task of CPU 1 moves on to another address space, then CPU 0 flushes a page and frees the tables of the first.
fn switch_away(kernel: &str) -> (bool, u64, Bench) {
    let mut bench = Bench::new(kernel, FileSystem::Ext4);
    bench.mapped(8);
    bench.load_on(1, BASE);
    let other = bench.sim.with(|m| m.new_mm());
    bench.sim.place(CpuId(1), other).unwrap();
    let stays = bench.sim.with(|m| m.cpumask(bench.mm).contains(&CpuId(1)));
    bench.store(BASE);
    bench.msync(BASE, 8);
    assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel}: no tables are freed");
    bench.unmap(BASE, 8);
    assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm)), [CpuId(0)]);
    (stays, bench.measured(|m| m.shootdowns.ipis_sent), bench)
}

#[test]
fn statement_86_in_6_12_a_switch_takes_the_cpu_out_of_the_mask() {
    for kernel in [OLD, V1] {
        let (stays, interrupts, bench) = switch_away(kernel);
        assert_eq!((stays, interrupts), (false, 0), "{kernel}");
        assert_eq!(bench.flush_events(FlushReason::RemoteWrongCpu).0, 0, "{kernel}");
    }
}

#[test]
fn statement_87_in_7_2_the_cpu_stays_in_the_mask_until_an_interrupt_finds_it_elsewhere() {
    let (stays, interrupts, mut bench) = switch_away(NEW);
    assert_eq!((stays, interrupts), (true, 1));
    assert_eq!(events(&bench, FlushReason::RemoteWrongCpu), (1, 0, 0), "reason 5, no pages");
    // Out of the mask, it is not interrupted again.
    let file = bench.file(8, NewFile::Filled);
    bench.map(file, BASE, 0, 8);
    bench.load(BASE);
    bench.unmap(BASE, 8);
    assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 1);
    assert_eq!(FlushReason::RemoteWrongCpu as u8, 5);
}

#[test]
fn statement_88_the_seventh_address_space_of_a_cpu_recycles_an_asid() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(8, NewFile::Filled);
        let mms: Vec<MmId> = (0..7).map(|_| bench.other_process(0, file, 8)).collect();
        // On CPU 1, which has run none of them so far.
        let switch = |bench: &mut Bench, mm: MmId| {
            let before = events(bench, FlushReason::TaskSwitch);
            bench.run(1, mm, access(BASE, AccessKind::Read));
            let after = events(bench, FlushReason::TaskSwitch);
            assert_eq!(after.0 - before.0, 1, "{kernel} {fs}");
            after.1 - before.1
        };
        for mm in &mms[..6] {
            assert_eq!(switch(&mut bench, *mm), 1, "{kernel} {fs}: a fresh ASID is flushed");
        }
        for mm in &mms[..6] {
            let walks = bench.measured(|m| m.walks);
            assert_eq!(switch(&mut bench, *mm), 0, "{kernel} {fs}: six have one each");
            assert_eq!(bench.measured(|m| m.walks), walks, "and keep their translations");
        }
        assert_eq!(switch(&mut bench, mms[6]), 1, "{kernel} {fs}: the seventh takes one");
        let walks = bench.measured(|m| m.walks);
        assert_eq!(switch(&mut bench, mms[1]), 0, "{kernel} {fs}: one only");
        assert_eq!(bench.measured(|m| m.walks), walks);
        assert_eq!(switch(&mut bench, mms[0]), 1, "{kernel} {fs}: the first's");
        assert_eq!(bench.measured(|m| m.walks), walks + 1, "{kernel} {fs}: flushed on load");
    });
    // Without PCIDs, as on the recorded machine, every load flushes.
    let bench = Bench::tcg(NEW, FileSystem::Ext4);
    let mms: [MmId; 2] = [bench.mm, bench.sim.with(|m| m.new_mm())];
    for mm in [mms[0], mms[1], mms[0], mms[1]] {
        bench.sim.place(CpuId(0), mm).unwrap();
    }
    assert_eq!(events(&bench, FlushReason::TaskSwitch), (4, 4, 0));
}

#[test]
fn statement_89_mprotect_that_makes_a_dirty_page_writable_again_flushes() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.store(BASE);
        let dirty = bench.pte(BASE);
        let protect = |write| Action::Protect { start: BASE, len: 8 * PAGE, read: true, write };
        bench.run(0, bench.mm, protect(false));
        let parked = bench.pte(BASE);
        assert!(!parked.is_writable() && !parked.hw_dirty() && parked.pte_dirty(), "D is parked");
        assert_eq!(bench.flush_requests(), 1, "{kernel} {fs}: RW went");
        bench.load(BASE);
        bench.run(0, bench.mm, protect(true));
        assert_eq!(bench.pte(BASE), dirty, "{kernel} {fs}: RW and D are back");
        assert_eq!(bench.flush_requests(), 2, "{kernel} {fs}: 0 to 1 flushes too");
        bench.faults();
        bench.store(BASE);
        assert!(bench.codes().is_empty(), "{kernel} {fs}: no stale translation");
        // Where no entry changes what hardware checks, nothing is flushed: a clean page stays read-only.
        bench.msync(BASE, 8);
        bench.run(0, bench.mm, protect(false));
        let before = bench.flush_requests();
        bench.run(0, bench.mm, protect(true));
        assert_eq!(bench.flush_requests(), before, "{kernel} {fs}");
    });
}

#[test]
fn statement_90_a_fault_that_makes_an_entry_writable_flushes_nothing() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        let generation = bench.generation();
        bench.load(BASE);
        bench.store(BASE);
        assert!(bench.pte(BASE).is_writable());
        assert_eq!((bench.flush_requests(), bench.generation()), (0, generation), "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0);
        let stale = bench.cached(1, BASE).unwrap();
        assert!(!stale.writable, "{kernel} {fs}: CPU 1 still has the old one");
        bench.faults();
        bench.store_on(1, BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1, "{kernel} {fs}");
        assert_eq!((faults[0].error_code.0, faults[0].kind), (0x7, FaultKind::Spurious));
        assert_eq!(bench.flush_requests(), 0);
    });
    // An emulator that walks again before it faults takes no spurious fault (sim/tests/dispatch.rs).
}

#[test]
fn statement_93_zapping_one_huge_page_invalidates_one_entry() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        // The neighbour keeps the tables alive.
        bench.mapped(1024);
        bench.load(BASE);
        bench.load(BASE + HUGE);
        bench.load_on(1, BASE);
        let invalidated = bench.measured(|m| m.shootdowns.pages);
        bench.unmap(BASE, 512);
        assert_eq!(
            events(&bench, FlushReason::LocalMmShootdown),
            (1, 0, 1),
            "{kernel} {fs}: K=3, one stride"
        );
        assert_eq!(events(&bench, FlushReason::RemoteShootdown), (1, 0, 1), "{kernel} {fs}: K=1");
        assert_eq!(events(&bench, FlushReason::RemoteSendIpi), (1, 0, 512), "{kernel} {fs}: K=4, pages");
        assert_eq!(bench.measured(|m| m.shootdowns.pages) - invalidated, 2, "one INVLPG on each CPU");
        assert_eq!(bench.cached(1, BASE + 5 * PAGE), None);
        assert!(bench.cached(0, BASE + HUGE).is_some(), "{kernel} {fs}: the neighbour's is kept");
    });
}

#[test]
fn statement_94_cleaning_a_huge_page_is_a_full_flush_of_all_cpus_lazy_or_not() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.load_on(2, BASE);
        bench.store(BASE);
        bench.msync(BASE, 512);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 2, "{kernel} {fs}: freed_tables is set");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (1, 1));
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1));
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 1));
        let pmd: Entry = bench.pmd(BASE);
        assert!(pmd.is_present() && pmd.is_leaf_at(1) && !pmd.is_writable());
    });
}
