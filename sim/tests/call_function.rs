//! Calls between CPUs and the interrupts that carry them: who is sent one, by how many writes, and what each side pays.

mod common;

use common::{BASE, Bench, NEW, PAGE, delay, step};
use daxsim_sim::measure::{Part, Shootdowns};
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, Time};

const PAGES: u64 = 16;

/// A mapping that `cpus` CPUs have read.
fn shared(cpus: u16, of_machine: &[&str], of_kernel: &[&str]) -> Bench {
    let count = format!("cpu.count={cpus}");
    let machine: Vec<&str> = [count.as_str()].into_iter().chain(of_machine.iter().copied()).collect();
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &machine, of_kernel);
    bench.mapped(2 * PAGES);
    for cpu in 0..cpus {
        bench.touch(cpu, BASE, 2 * PAGES, AccessKind::Read);
    }
    bench
}

/// CPU 0 gives the first pages up; what all CPUs did for it, and how long CPU 0 waited.
fn dontneed(bench: &mut Bench) -> (Shootdowns, Time) {
    let before = bench.sim.with(|m| m.cpu_parts(CpuId(0)));
    let advice = daxsim_sim::kernel::Advice::DontNeed;
    bench.run(0, bench.mm, Action::Advise { start: BASE, len: PAGES * PAGE, advice });
    let waited = bench.sim.with(|m| m.cpu_parts(CpuId(0))).since(&before)[Part::IpiWait];
    bench.sim.with(|m| m.check_consistency()).unwrap();
    (bench.measured(|m| m.shootdowns), waited)
}

fn with(cpus: u16, of_machine: &[&str], of_kernel: &[&str]) -> (Shootdowns, Time) {
    dontneed(&mut shared(cpus, of_machine, of_kernel))
}

#[test]
fn all_but_the_sender_are_reached_by_one_write_and_some_by_one_for_each_cluster() {
    let writes = |of_kernel: &[&str]| with(24, &[], of_kernel).0.icr_writes;
    assert_eq!(writes(&[]), 1);
    assert_eq!(writes(&["tlb_flush.shorthand=false"]), 2);
    assert_eq!(writes(&["tlb_flush.shorthand=false", "tlb_flush.destination=unicast"]), 23);
    // One CPU that does not run the address space, and the shorthand would reach too many.
    let mut bench = shared(24, &[], &[]);
    let other = bench.sim.with(|m| m.new_mm());
    bench.sim.place(CpuId(5), other).unwrap();
    assert_eq!(dontneed(&mut bench).0.icr_writes, 2);
}

#[test]
fn the_writes_go_one_after_another() {
    let slow = ["ipi.icr_write=10 us"];
    let time = |of_kernel: &[&str]| with(4, &slow, of_kernel).0.initiator_time;
    let (one, three) = (time(&[]), time(&["tlb_flush.shorthand=false", "tlb_flush.destination=unicast"]));
    let more = three.saturating_sub(one);
    assert!(more > Time::from_ns(19_000) && more < Time::from_ns(21_000), "{more:?}");
}

#[test]
fn an_exit_of_a_virtual_machine_is_paid_for_each_write() {
    let bare = with(4, &[], &[]).0.initiator_time;
    let guest = with(4, &["ipi.icr_exit=20 us"], &[]).0.initiator_time;
    let posted = with(4, &["ipi.injection=20 us"], &[]).0.initiator_time;
    for more in [guest.saturating_sub(bare), posted.saturating_sub(bare)] {
        assert!(more > Time::from_ns(17_000) && more < Time::from_ns(21_000), "{more:?}");
    }
}

/// Two CPUs flush at the same time: whoever finds a call in a queue leaves it to the interrupt of the other.
#[test]
fn a_cpu_that_has_a_call_in_its_queue_is_not_interrupted_again() {
    let mut bench = shared(4, &["ipi.delivery=20 us"], &[]);
    let advice = daxsim_sim::kernel::Advice::DontNeed;
    let flush = |first: u64| Action::Advise { start: BASE + first * PAGE, len: PAGE, advice };
    let mm = bench.mm;
    let threads =
        vec![vec![step(0, mm, flush(0))], vec![delay(1, mm, BASE + 20 * PAGE, 300), step(1, mm, flush(9))]];
    bench.race(threads);
    let shootdowns = bench.measured(|m| m.shootdowns);
    assert_eq!(shootdowns.broadcasts, 2);
    assert_eq!(shootdowns.ipis_sent + shootdowns.ipis_saved, 6, "three targets each");
    assert_eq!(shootdowns.ipis_saved, 2, "those that both have in common");
    assert_eq!(shootdowns.ipis_received, shootdowns.ipis_sent);
    bench.sim.with(|m| m.check_consistency()).unwrap();
}

#[test]
fn each_side_has_a_histogram() {
    let mut bench = shared(4, &[], &[]);
    let (shootdowns, waited) = dontneed(&mut bench);
    let (wait, disruption, masked) = bench.measured(|m| {
        let times = &m.shootdown_times;
        let len = |times: &daxsim_sim::measure::Times| times.histogram().map_or(0, |h| h.len());
        assert_eq!(times.disruption.sum(), shootdowns.responder_time);
        assert!(times.wait.sum() >= waited && waited > Time::ZERO);
        (len(&times.wait), len(&times.disruption), len(&times.masked))
    });
    assert_eq!((wait, disruption, masked), (1, 3, 3));
}

#[test]
fn an_early_answer_shortens_the_wait_and_not_the_interruption() {
    // A full flush of the target is slow.
    let slow = ["cost.invlpg=2 us"];
    let (late, late_wait) = with(4, &slow, &[]);
    let (early, early_wait) = with(4, &slow, &["tlb_flush.early_ack=true"]);
    assert_eq!((late.ipis_received, late.pages), (early.ipis_received, early.pages));
    let share = early.responder_time.as_ns() / late.responder_time.as_ns();
    assert!((0.98..1.02).contains(&share), "{share}");
    assert!(early_wait < late_wait, "{early_wait:?} {late_wait:?}");
}

/// Munmap of everything frees tables, which a target could still walk.
#[test]
fn freed_tables_are_not_answered_early() {
    let time = |early: &str| {
        let mut bench = shared(4, &["cost.cr3_write=50 us"], &[early]);
        bench.unmap(BASE, 2 * PAGES);
        bench.measured(|m| m.shootdowns.initiator_time)
    };
    assert_eq!(time("tlb_flush.early_ack=true"), time("tlb_flush.early_ack=false"));
}

#[test]
fn flushing_first_and_telling_then_takes_as_much_longer_as_the_local_flush() {
    let slow = ["cost.invlpg=2 us"];
    let at_once = with(4, &slow, &[]).0.initiator_time;
    let first = with(4, &slow, &["tlb_flush.concurrent=false"]).0.initiator_time;
    let more = first.saturating_sub(at_once);
    assert!(more > Time::from_ns(PAGES * 1900) && more < Time::from_ns(PAGES * 2100), "{more:?}");
}

#[test]
fn fewer_lines_are_fewer_misses() {
    let many = with(8, &[], &[]).0;
    let few = with(8, &[], &["tlb_flush.consolidated_lines=true"]).0;
    assert!(few.responder_time < many.responder_time);
    assert!(few.initiator_time < many.initiator_time);
}

#[test]
fn an_ideal_shootdown_interrupts_nobody_and_leaves_nothing_behind() {
    let mut bench = shared(4, &[], &["tlb_flush.mechanism=ideal"]);
    let (shootdowns, waited) = dontneed(&mut bench);
    assert_eq!((shootdowns.requests, shootdowns.ipis_sent, waited), (1, 0, Time::ZERO));
    assert_eq!(shootdowns.initiator_time, Time::ZERO);
    for cpu in 0..4 {
        assert_eq!(bench.cached(cpu, BASE), None, "cpu{cpu}");
        assert!(bench.cached(cpu, BASE + PAGES * PAGE).is_some(), "cpu{cpu}: what was not asked for stays");
    }
}

/// Under PTI the user half of a page costs an INVPCID at once, or an INVLPG on the way out.
#[test]
fn the_user_half_can_wait_for_the_way_to_user_mode() {
    let time = |of_kernel: &[&str]| {
        let mut bench = shared(2, &["cost.invpcid=3 us", "cost.invlpg=1 us"], of_kernel);
        let before = bench.sim.with(|m| m.cpu_parts(CpuId(0)).total());
        let (shootdowns, _) = dontneed(&mut bench);
        (shootdowns.responder_time, bench.sim.with(|m| m.cpu_parts(CpuId(0)).total()).saturating_sub(before))
    };
    let at_once = time(&["tree.pti=true"]);
    let later = time(&["tree.pti=true", "tlb_flush.in_context_user_flush=true"]);
    for (at_once, later) in [(at_once.0, later.0), (at_once.1, later.1)] {
        let less = at_once.saturating_sub(later);
        assert!(less > Time::from_ns(PAGES * 1900) && less < Time::from_ns(PAGES * 2100), "{less:?}");
    }
    assert!(time(&["tree.pti=false"]).0 < later.0, "without isolation there is no user half");
}
