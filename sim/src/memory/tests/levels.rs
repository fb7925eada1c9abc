//! Latency of each level, replacement, inclusion.

use super::*;
use crate::memory::{Access, Level, Memory, Mesi, Outcome};

fn read(m: &mut Memory, n: u64, at: u64) -> Outcome {
    m.access(0, line(n), Access::Read, later(at))
}

const fn outcome(latency: Time, level: Level) -> Outcome {
    Outcome { latency, level, waited: Time::ZERO }
}

#[test]
fn every_level_costs_what_the_machine_says() {
    for cores in [1, 2] {
        let mut m = Memory::new(&machine(cores));
        assert_eq!(read(&mut m, 0, 0), outcome(L3 + DRAM, Level::Dram));
        assert_eq!(read(&mut m, 0, 1), outcome(L1, Level::L1));
        // Two more lines of set 0 push it out of the L1D, four more out of the L2.
        read(&mut m, 2, 2);
        read(&mut m, 4, 3);
        assert_eq!(read(&mut m, 0, 4), outcome(L2, Level::L2));
        for n in [2, 4, 6, 8] {
            read(&mut m, n, 4 + n);
        }
        assert_eq!(m.state(0, line(0)), Mesi::Invalid);
        assert_eq!(read(&mut m, 0, 20), outcome(L3, Level::L3));
        assert_eq!(m.l3_state(line(0)), None, "a victim cache gives its line up");
        assert_eq!(read(&mut m, PMEM, 21), outcome(L3 + MEDIA, Level::Pmem));
        assert_eq!(read(&mut m, PMEM + 1, 22), outcome(L3 + BUFFERED, Level::Pmem));
    }
}

#[test]
fn persistent_memory_ends_where_the_machine_says() {
    let mut m = Memory::new(&machine(1));
    assert_eq!(read(&mut m, PMEM - 1, 0).level, Level::Dram);
    assert_eq!(read(&mut m, 2 * PMEM - 1, 1).level, Level::Pmem);
    assert_eq!(read(&mut m, 2 * PMEM, 2).level, Level::Dram);
}

#[test]
fn the_l2_includes_the_l1d_and_evicts_from_both() {
    let mut m = Memory::new(&machine(1));
    // Line 0 stays the most recently used of the L1D while the L2 sees it once only.
    m.access(0, line(0), Access::Write, later(0));
    for n in [2, 4, 6] {
        read(&mut m, n, n);
        assert!(m.try_l1(0, line(0), false));
    }
    read(&mut m, 8, 8);
    assert!(!m.try_l1(0, line(0), false));
    assert_eq!(m.l3_state(line(0)), Some(true), "the modified L1D copy went along");
    assert_eq!(m.stats().back_invalidations, 1);
    assert_eq!(m.stats().l2.writebacks, 1);
    // And it comes back modified.
    read(&mut m, 0, 9);
    assert_eq!(m.state(0, line(0)), Mesi::Modified);
}

#[test]
fn a_modified_victim_of_the_l3_is_written_to_its_device() {
    let mut m = Memory::new(&machine(1));
    // Even lines that are multiples of 3 share L2 set 0 and L3 set 0: 4 + 4 fit.
    for k in 0..9 {
        m.access(0, line(PMEM - 4 + 6 * k), Access::Write, later(k));
    }
    let first_is_dram = PMEM - 4;
    assert_eq!(m.l3_state(line(first_is_dram)), None);
    assert_eq!((m.stats().l3.writebacks, m.stats().dram.writes, m.stats().pmem.writes), (1, 1, 0));
    m.access(0, line(PMEM - 4 + 6 * 9), Access::Write, later(9));
    assert_eq!((m.stats().l3.writebacks, m.stats().dram.writes, m.stats().pmem.writes), (2, 1, 1));
}

#[test]
fn the_fast_path_counts_hits_and_leaves_misses_alone() {
    let mut m = Memory::new(&machine(1));
    assert!(!m.try_l1(0, line(5), false));
    assert_eq!(m.stats(), crate::memory::MemoryStats::default());
    m.access(0, line(5), Access::Read, Time::ZERO);
    assert_eq!(m.state(0, line(5)), Mesi::Exclusive, "the only core owns what it reads");
    assert!(!m.try_l1(0, line(5), true), "the first store to a clean line is noted");
    assert_eq!(m.access(0, line(5), Access::Write, Time::ZERO).latency, L1);
    assert!(m.try_l1(0, line(5), true));
    assert_eq!(m.state(0, line(5)), Mesi::Modified);
    let l1 = m.stats().l1d;
    assert_eq!((l1.lookups, l1.hits, l1.misses), (3, 2, 1));
}

#[test]
fn overlapping_misses_queue_at_the_channel() {
    let mut m = Memory::new(&machine(2));
    let now = Time(1_000);
    let first = m.access(0, line(0), Access::Read, now);
    let second = m.access(1, line(2), Access::Read, now);
    assert_eq!(second.latency, first.latency + Time(3_000));
    assert_eq!(m.access(1, line(3), Access::Read, now).latency, first.latency);
}

#[test]
fn a_stream_of_dirty_evictions_pays_for_reads_and_writes() {
    // Two channels, 3 ns a line, each line read and written; two DIMMs, 39 and 116 ns four lines.
    for (base, ns_per_line) in [(0, 2.0 * 3.0 / 2.0), (PMEM, (39.0 + 116.0) / 4.0 / 2.0)] {
        let mut m = Memory::new(&machine(1));
        let lines = 40_000;
        let mut end = Time::ZERO;
        for n in base..base + lines {
            end = end.max(m.access(0, line(n), Access::Write, Time::ZERO).latency);
        }
        let floor = lines as f64 * ns_per_line;
        // The last writes are in queues, and nobody waits for them.
        assert!((end.as_ns() / floor - 1.0).abs() < 0.03, "{end} against {floor} ns");
    }
}

#[test]
fn sharers_beyond_the_first_64_cores_are_found() {
    let mut m = Memory::new(&machine(256));
    for core in 0..256 {
        m.access(core, line(7), Access::Read, later(core as u64));
    }
    m.access(200, line(7), Access::Write, later(300));
    assert_eq!(m.stats().invalidations, 255);
    for core in 0..256 {
        assert_eq!(m.state(core, line(7)) == Mesi::Invalid, core != 200);
    }
}
