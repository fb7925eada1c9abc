//! Cores that want one line at about the same time.

use std::collections::BTreeMap;

use daxsim_configs::machine::L3Relation;
use proptest::prelude::*;

use super::*;
use crate::memory::{Access, Level, Memory, Mesi, Outcome};

/// A core increments a counter in `line`; when that is done.
fn increment(m: &mut Memory, core: usize, at: Time) -> Time {
    at + m.access(core, line(0), Access::Rmw, at).latency
}

#[test]
fn increments_of_one_counter_come_one_transfer_after_another() {
    let cores = 7;
    let mut m = Memory::new(&machine(cores));
    let start = increment(&mut m, 0, Time::ZERO);
    let ends: Vec<Time> = (1..usize::from(cores)).map(|core| increment(&mut m, core, start)).collect();
    let expected: Vec<Time> = (1..u64::from(cores)).map(|n| start + Time(n * TRANSFER.0)).collect();
    assert_eq!(ends, expected);
    let waited: u64 = (1..u64::from(cores) - 1).sum();
    assert_eq!((m.stats().line_waits, m.stats().line_wait_time), (5, Time(waited * TRANSFER.0)));
}

#[test]
fn two_cores_in_turn_wait_for_nothing_but_the_transfer() {
    let mut m = Memory::new(&machine(2));
    let mut now = increment(&mut m, 0, Time::ZERO);
    for round in 1..100 {
        let end = increment(&mut m, round % 2, now);
        assert_eq!(end, now + TRANSFER);
        now = end;
    }
    assert_eq!(m.stats().line_waits, 0);
}

#[test]
fn readers_are_served_side_by_side_once_the_line_is_there() {
    let mut m = Memory::new(&machine(5));
    let start = increment(&mut m, 0, Time::ZERO);
    let read = |m: &mut Memory, core| m.access(core, line(0), Access::Read, start);
    let first = read(&mut m, 1);
    assert_eq!(first, Outcome { latency: TRANSFER, level: Level::Transfer, waited: Time::ZERO });
    for core in 2..5 {
        let next = read(&mut m, core);
        assert_eq!(next, Outcome { latency: TRANSFER + L3, level: Level::L3, waited: TRANSFER });
    }
}

#[test]
fn a_line_on_its_way_from_memory_is_not_taken_before_it_is_there() {
    let mut m = Memory::new(&machine(3));
    // From the second core on.
    m.access(0, line(1), Access::Read, Time::ZERO);
    m.access(2, line(2), Access::Read, Time::ZERO);
    let fill = m.access(0, line(0), Access::Write, later(1));
    assert_eq!((fill.latency, fill.level), (L3 + DRAM, Level::Dram));
    let taken = m.access(1, line(0), Access::Write, later(1) + Time(1_000));
    assert_eq!((taken.waited, taken.latency), (L3 + DRAM - Time(1_000), L3 + DRAM - Time(1_000) + TRANSFER));
}

proptest! {
    /// Requests in the order of time: nobody is given a line before who asked earlier has it, and nothing else is slower than it
    /// would be alone.
    #[test]
    fn a_line_has_one_owner_at_a_time(
        relation in prop::sample::select(vec![L3Relation::Victim, L3Relation::Inclusive, L3Relation::NonInclusive]),
        ops in prop::collection::vec((0usize..6, 0u64..4, 0u8..4, 0u64..60_000), 1..300),
    ) {
        let mut spec = machine(6);
        spec.cache.l3_relation = relation;
        // One memory serves requests as they come, the other one when all before are over.
        let (mut busy, mut idle) = (Memory::new(&spec), Memory::new(&spec));
        for m in [&mut busy, &mut idle] {
            // With one core there is nobody to wait for.
            m.access(0, line(8), Access::Read, Time::ZERO);
            m.access(1, line(9), Access::Read, Time::ZERO);
        }
        let mut free: BTreeMap<u64, Time> = BTreeMap::new();
        let (mut now, mut far) = (later(1), later(1));
        for (core, n, op, step) in ops {
            now += Time(step);
            far += later(1);
            let access = if op == 0 { Access::Rmw } else { Access::Read };
            let shared = (0..6).any(|other| other != core && busy.state(other, line(n)) == Mesi::Shared);
            let got = busy.access(core, line(n), access, now);
            let alone = idle.access(core, line(n), access, far);
            prop_assert_eq!((got.level, alone.waited), (alone.level, Time::ZERO));
            // What queues for the device is none of this.
            if got.level != Level::Dram {
                prop_assert_eq!(got.latency.saturating_sub(got.waited), alone.latency);
            }
            if matches!(got.level, Level::L1 | Level::L2) {
                prop_assert_eq!(got.waited, Time::ZERO, "a hit waits for nobody");
                continue;
            }
            let last = free.get(&n).copied().unwrap_or_default();
            prop_assert_eq!(got.waited, last.saturating_sub(now));
            if access.is_write() || !shared {
                free.insert(n, now + got.latency);
            }
        }
        prop_assert_eq!(busy.check_balance(), Ok(()));
    }
}
