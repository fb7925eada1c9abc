//! Several complexes and sockets, inclusion, prefetching.

use daxsim_configs::machine::{L3Relation, Prefetch};

use super::*;
use crate::memory::{Access, Level, Memory, Mesi, Outcome};

const FAR: Time = Time(90_000);
const REMOTE: Time = Time(140_000);

/// Two sockets of two complexes of two cores.
fn eight(relation: L3Relation) -> MachineSpec {
    let mut spec = machine(8);
    (spec.topology.sockets, spec.topology.cores_per_complex) = (2, 2);
    (spec.cache.transfer_socket, spec.cache.transfer_remote) = (FAR, REMOTE);
    spec.cache.l3_relation = relation;
    spec
}

fn go(m: &mut Memory, core: usize, n: u64, access: Access, at: u64) -> (Level, Time) {
    let Outcome { level, latency, .. } = m.access(core, line(n), access, later(at));
    (level, latency)
}

#[test]
fn a_line_takes_longer_the_farther_it_comes_from() {
    let mut m = Memory::new(&eight(L3Relation::Victim));
    go(&mut m, 0, 0, Access::Write, 0);
    assert_eq!(go(&mut m, 1, 0, Access::Write, 1), (Level::Transfer, TRANSFER));
    assert_eq!(go(&mut m, 2, 0, Access::Write, 2), (Level::Transfer, FAR));
    assert_eq!(go(&mut m, 7, 0, Access::Write, 3), (Level::Transfer, REMOTE));
    assert_eq!(go(&mut m, 0, 0, Access::Read, 4), (Level::Transfer, REMOTE));
    // The nearest of several forwards it, the farthest must give it up.
    assert_eq!(go(&mut m, 1, 0, Access::Read, 5), (Level::Transfer, TRANSFER));
    assert_eq!(go(&mut m, 0, 0, Access::Write, 6), (Level::Transfer, REMOTE));
    assert_eq!(m.state(7, line(0)), Mesi::Invalid);
}

#[test]
fn each_complex_has_an_l3_of_its_own() {
    let mut m = Memory::new(&eight(L3Relation::Victim));
    for n in 0..5 {
        go(&mut m, 0, 2 * n, Access::Write, n);
    }
    assert_eq!((m.l3_state_in(0, line(0)), m.l3_state_in(1, line(0))), (Some(true), None));
    assert_eq!(go(&mut m, 2, 0, Access::Read, 10), (Level::Transfer, FAR), "from the L3 next door");
    assert_eq!(m.state(2, line(0)), Mesi::Shared);
    assert_eq!(go(&mut m, 2, 0, Access::Write, 11), (Level::Transfer, FAR));
    assert_eq!(m.l3_state_in(0, line(0)), None);
    assert_eq!(m.clwb(0, line(0), later(12)), FAR + DRAM);
}

#[test]
fn an_inclusive_l3_takes_its_victims_from_the_cores() {
    for (relation, state, lost) in
        [(L3Relation::Inclusive, Mesi::Invalid, 1), (L3Relation::NonInclusive, Mesi::Modified, 0)]
    {
        let mut spec = machine(1);
        spec.cache.l3_relation = relation;
        let mut m = Memory::new(&spec);
        go(&mut m, 0, 0, Access::Write, 0);
        // Multiples of 3 share a set of the L3, odd ones none of the L2's with line 0.
        for n in 0..4 {
            go(&mut m, 0, 3 + 6 * n, Access::Read, 1 + n);
        }
        assert_eq!(m.l3_state(line(0)), None, "four ways took four others");
        assert_eq!(m.state(0, line(0)), state, "{relation:?}");
        assert_eq!((m.stats().l3_back_invalidations, m.stats().dram.writes), (lost, lost));
    }
}

#[test]
fn an_l3_that_is_filled_too_keeps_what_a_core_reads() {
    for relation in [L3Relation::Inclusive, L3Relation::NonInclusive] {
        let mut spec = machine(2);
        spec.cache.l3_relation = relation;
        let mut m = Memory::new(&spec);
        go(&mut m, 0, 0, Access::Read, 0);
        assert_eq!((m.l3_state(line(0)), m.state(0, line(0))), (Some(false), Mesi::Exclusive));
        go(&mut m, 0, 0, Access::Write, 1);
        assert_eq!(go(&mut m, 1, 0, Access::Read, 2), (Level::Transfer, TRANSFER), "the copy is stale");
        assert_eq!(m.l3_state(line(0)), Some(true));
    }
}

#[test]
fn memory_of_another_socket_is_farther() {
    let mut spec = eight(L3Relation::Victim);
    spec.topology.remote_memory = Time(50_000);
    let mut m = Memory::new(&spec);
    assert_eq!(go(&mut m, 0, 0, Access::Read, 0), (Level::Dram, L3 + DRAM));
    assert_eq!(go(&mut m, 4, 1, Access::Read, 1), (Level::Dram, L3 + DRAM + Time(50_000)));
    assert_eq!(go(&mut m, 4, PMEM - 1, Access::Read, 2), (Level::Dram, L3 + DRAM));
}

#[test]
fn a_prefetched_line_is_in_the_l2_and_paid_by_nobody() {
    let mut spec = machine(2);
    spec.cache.prefetch = Prefetch::NextLine;
    let mut m = Memory::new(&spec);
    assert_eq!(go(&mut m, 0, 0, Access::Read, 0), (Level::Dram, L3 + DRAM));
    assert_eq!(go(&mut m, 0, 1, Access::Read, 1), (Level::L2, L2));
    assert_eq!((m.stats().prefetches, m.stats().dram.reads), (1, 2));
    // What another core has is left alone.
    go(&mut m, 1, 11, Access::Write, 2);
    go(&mut m, 0, 10, Access::Read, 3);
    assert_eq!((m.state(0, line(11)), m.state(1, line(11))), (Mesi::Invalid, Mesi::Modified));
    assert_eq!(m.check_balance(), Ok(()));
}

#[test]
fn a_line_of_a_stream_takes_what_is_left_of_its_way() {
    let mut spec = machine(1);
    (spec.cache.prefetch, spec.cache.superqueue) = (Prefetch::Streamer, 16);
    let mut m = Memory::new(&spec);
    let mut read = |n, at| {
        let Outcome { level, latency, .. } = m.access(0, line(n), Access::Read, Time(at));
        (level, latency)
    };
    // Even lines share a channel, which is busy for 3 ns with each.
    assert_eq!(read(0, 0), (Level::Dram, L3 + DRAM));
    assert_eq!(read(1, 0), (Level::Dram, L3 + DRAM));
    assert_eq!(read(2, 10_000), (Level::L2, L3 + DRAM - Time(7_000)));
    assert_eq!(read(3, 500_000), (Level::L2, L2));
    assert!(m.stats().prefetches >= 2);
}

#[test]
fn memory_notes_once_that_another_socket_has_a_line_and_forgets_when_it_is_written_back() {
    for (directory, notes) in [(false, 0), (true, 3)] {
        let mut spec = eight(L3Relation::Victim);
        (spec.topology.remote_memory, spec.topology.memory_directory) = (Time(65_000), directory);
        spec.pmem.buffer_lines = 1;
        let mut m = Memory::new(&spec);
        // Core 7 is in the other socket. Each line is of another media line, so that every note but the last is on the media.
        for n in 0..4 {
            go(&mut m, 7, PMEM + 4 * n, Access::Write, n);
        }
        go(&mut m, 0, PMEM + 100, Access::Write, 4);
        let stats = m.stats().pmem;
        assert_eq!(
            (stats.writes, stats.media_bytes_written),
            (0, notes * 256),
            "the lines are still in caches"
        );
        assert_eq!(m.modified_lines(Pfn(PMEM / 64)).count_ones(), 4, "and no more durable");
    }
}

#[test]
fn a_socket_asks_for_a_line_that_it_writes_past_its_caches() {
    for (directory, ways, notes) in [(false, 1, 0), (true, 2, 4)] {
        let mut spec = eight(L3Relation::Victim);
        (spec.topology.remote_memory, spec.topology.memory_directory) = (Time(65_000), directory);
        let mut m = Memory::new(&spec);
        for n in 0..4 {
            let at = later(n);
            assert_eq!(m.nt_store(7, line(PMEM + n), at), Time(65_000 * ways) + PMEM_WRITE);
            assert_eq!(m.nt_store(0, line(PMEM + 100 + n), at), PMEM_WRITE, "memory of its own");
        }
        let [_, pmem] = m.profiles();
        let sent: u64 = pmem.timeline.stretches().iter().map(|stretch| stretch.writes).sum();
        assert_eq!((m.stats().pmem.writes, sent), (8, 8 + notes));
    }
}

#[test]
fn lines_given_away_before_are_not_noted_again() {
    let mut spec = eight(L3Relation::Victim);
    (spec.topology.remote_memory, spec.topology.memory_directory) = (Time(65_000), true);
    let mut m = Memory::new(&spec);
    m.given_before((0..4).map(|n| line(PMEM + n)));
    for n in 0..8 {
        go(&mut m, 7, PMEM + n, Access::Read, n);
    }
    assert_eq!(m.stats().pmem.media_bytes_written, 256, "only the second four");
}

#[test]
fn prefetching_keeps_the_balance_in_every_relation() {
    for relation in [L3Relation::Victim, L3Relation::Inclusive, L3Relation::NonInclusive] {
        for prefetch in [Prefetch::NextLine, Prefetch::Stride, Prefetch::Streamer] {
            let mut spec = eight(relation);
            spec.cache.prefetch = prefetch;
            let mut m = Memory::new(&spec);
            for n in 0..4000 {
                let access = if n % 3 == 0 { Access::Write } else { Access::Read };
                m.access((n / 7 % 8) as usize, line(n * 2 % 150), access, later(n));
            }
            assert!(m.stats().prefetches > 100);
            assert_eq!(m.check_balance(), Ok(()), "{relation:?} {prefetch:?}");
        }
    }
}
