//! What others proposed in place of an interrupt that the initiator waits for.

mod common;

use common::{BASE, Bench, NEW, PAGE, delay, step};
use daxsim_sim::kernel::Advice;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, PageSize, Time, VirtAddr};

const PAGES: u64 = 16;
const TICK: u64 = 4_000_000;

/// Anonymous memory that four CPUs have written and read.
fn anonymous(of_machine: &[&str], of_kernel: &[&str]) -> Bench {
    let machine: Vec<&str> = ["cpu.count=4"].into_iter().chain(of_machine.iter().copied()).collect();
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &machine, of_kernel);
    bench.sim.with(|m| m.map_populated(bench.mm, VirtAddr(BASE), 64 * PAGE, PageSize::Size4K)).unwrap();
    for cpu in 0..4 {
        bench.touch(cpu, BASE, 64, AccessKind::Read);
    }
    bench
}

fn give_up(first: u64, pages: u64) -> Action {
    Action::Advise { start: BASE + first * PAGE, len: pages * PAGE, advice: Advice::DontNeed }
}

fn sleep(bench: &mut Bench, cpu: u16, nanoseconds: u64) {
    bench.run(cpu, bench.mm, Action::Sleep { nanoseconds });
}

#[test]
fn a_lazy_flush_interrupts_nobody_and_is_swept_at_the_next_tick() {
    let mut bench = anonymous(&[], &["tlb_flush.mechanism=lazy"]);
    let mm = bench.mm;
    bench.run(0, mm, give_up(0, PAGES));
    let counts = bench.measured(|m| m.shootdowns);
    assert_eq!((counts.lazy_states, counts.ipis_sent), (1, 0));
    assert_eq!(bench.cached(0, BASE), None, "the CPU itself flushed");
    assert!(bench.cached(1, BASE).is_some(), "the others have not");
    bench.sim.with(|m| m.check_consistency()).unwrap();
    // Beyond the tick each sweeps before it goes on.
    for cpu in 1..4 {
        bench.race(vec![vec![delay(cpu, mm, BASE + 40 * PAGE, 3_000_000)]]);
        assert_eq!(bench.cached(cpu, BASE), None, "cpu{cpu}");
        assert!(bench.cached(cpu, BASE + 41 * PAGE).is_some(), "cpu{cpu}: what was not given up stays");
    }
    assert_eq!(bench.measured(|m| m.shootdowns.ipis_received), 0);
    bench.sim.with(|m| m.check_consistency()).unwrap();
}

#[test]
fn a_running_cpu_sweeps_at_the_tick() {
    let mut bench = anonymous(&[], &["tlb_flush.mechanism=lazy"]);
    let mm = bench.mm;
    // CPU 1 works on through the tick and beyond; CPU 0 gives pages up meanwhile.
    bench.race(vec![vec![step(0, mm, give_up(0, 1))], vec![delay(1, mm, BASE + 40 * PAGE, 3_000_000)]]);
    assert!(bench.sim.now() > Time::from_ns(TICK), "{:?}", bench.sim.now());
    assert_eq!(bench.cached(1, BASE), None);
    assert!(bench.cached(2, BASE).is_some(), "CPU 2 had nothing to do");
}

#[test]
fn frames_given_up_lazily_are_not_reused_for_two_ticks() {
    let mut bench = anonymous(&[], &["tlb_flush.mechanism=lazy"]);
    let mm = bench.mm;
    let given: Vec<_> = (0..4).map(|page| bench.pte(BASE + page * PAGE).pfn()).collect();
    bench.run(0, mm, give_up(0, 4));
    let refill = |bench: &mut Bench| {
        bench.touch(0, BASE, 4, AccessKind::Write);
        (0..4).map(|page| bench.pte(BASE + page * PAGE).pfn()).collect::<Vec<_>>()
    };
    let fresh = refill(&mut bench);
    assert!(given.iter().all(|frame| !fresh.contains(frame)), "{given:?} {fresh:?}");
    sleep(&mut bench, 0, 2 * TICK + 1);
    bench.run(0, mm, give_up(0, 4));
    let reused = refill(&mut bench);
    assert!(reused.iter().all(|frame| given.contains(frame)), "{given:?} {reused:?}");
}

#[test]
fn rights_are_taken_away_at_once_and_states_run_out() {
    let mut bench = anonymous(&[], &["tlb_flush.mechanism=lazy", "tlb_flush.lazy_states=2"]);
    let mm = bench.mm;
    bench.touch(0, BASE, 1, AccessKind::Write);
    bench.run(0, mm, Action::Protect { start: BASE, len: PAGE, read: true, write: false });
    let counts = bench.measured(|m| m.shootdowns);
    assert_eq!((counts.lazy_states, counts.ipis_sent), (0, 3));
    for page in 10..13 {
        bench.run(0, mm, give_up(page, 1));
    }
    let counts = bench.measured(|m| m.shootdowns);
    assert_eq!((counts.lazy_states, counts.ipis_sent), (2, 6), "the third finds no state");
    bench.sim.with(|m| m.check_consistency()).unwrap();
}

#[test]
fn a_remote_action_request_runs_no_handler_and_reaches_masked_cpus() {
    let rar = ["ipi.rar_entries=64"];
    let mut bench = anonymous(&rar, &["tlb_flush.rar=true"]);
    let mm = bench.mm;
    // The first flush interrupts, and then finds the address space on enough CPUs for a global ASID.
    bench.run(0, mm, give_up(60, 1));
    let before = bench.measured(|m| m.shootdowns);
    assert_eq!((before.ipis_sent, before.remote_actions), (3, 0));
    // Those that still run under an ASID of their own are interrupted once more.
    bench.run(0, mm, give_up(61, 1));
    for cpu in 0..4 {
        bench.touch(cpu, BASE, 32, AccessKind::Read);
    }
    let before = bench.measured(|m| m.shootdowns);
    bench.run(0, mm, give_up(0, PAGES));
    let after = bench.measured(|m| m.shootdowns);
    assert_eq!((after.ipis_sent, after.remote_actions - before.remote_actions), (before.ipis_sent, 3));
    for cpu in 0..4 {
        assert_eq!(bench.cached(cpu, BASE), None, "cpu{cpu}");
        assert!(bench.cached(cpu, BASE + 20 * PAGE).is_some(), "cpu{cpu}: what was not asked for stays");
    }
    bench.sim.with(|m| m.check_consistency()).unwrap();
}

#[test]
fn without_remote_action_requests_in_the_cpu_the_knob_does_nothing() {
    let count = |of_kernel: &[&str]| {
        let mut bench = anonymous(&[], of_kernel);
        let mm = bench.mm;
        for page in 0..4 {
            bench.run(0, mm, give_up(page, 1));
        }
        bench.measured(|m| m.shootdowns)
    };
    assert_eq!(count(&["tlb_flush.rar=true"]), count(&[]));
}

/// Two requests and one entry: the second waits for the first.
#[test]
fn requests_wait_for_an_entry_of_the_table() {
    let time = |entries: &str| {
        let slow = [entries, "ipi.rar_action=20 us"];
        let mut bench = anonymous(&slow, &["tlb_flush.rar=true"]);
        let mm = bench.mm;
        for page in 60..62 {
            bench.run(0, mm, give_up(page, 1));
        }
        for cpu in 0..4 {
            bench.touch(cpu, BASE, 32, AccessKind::Read);
        }
        let before = bench.sim.now();
        bench.race(vec![vec![step(0, mm, give_up(0, 1))], vec![step(1, mm, give_up(8, 1))]]);
        bench.sim.with(|m| m.check_consistency()).unwrap();
        bench.sim.now().saturating_sub(before)
    };
    assert!(time("ipi.rar_entries=1") > time("ipi.rar_entries=64"));
}

/// A private page of a file is loaded, then stored to: the copy replaces the translation.
#[test]
fn a_copy_on_write_can_spare_its_flush() {
    let copy = |of_kernel: &[&str]| {
        let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &["cpu.count=4"], of_kernel);
        let file = bench.file(8, daxsim_sim::kernel::NewFile::Filled);
        bench.map_private(file, BASE + PAGE, 8);
        bench.load(BASE + PAGE);
        bench.store(BASE + PAGE);
        let cached = bench.cached(0, BASE + PAGE);
        assert!(cached.is_some_and(|entry| entry.writable), "{cached:?}");
        bench.sim.with(|m| m.check_consistency()).unwrap();
        bench.measured(|m| (m.shootdowns.spared_flushes, m.shootdowns.pages))
    };
    assert_eq!(copy(&[]), (0, 1));
    assert_eq!(copy(&["tlb_flush.cow_avoids_flush=true"]), (1, 0));
}
