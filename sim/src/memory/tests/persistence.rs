//! CLWB, non-temporal stores, write amplification and bandwidth of persistent memory.

use super::*;
use crate::memory::{Access, Memory, Mesi};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

#[test]
fn clwb_writes_a_modified_line_once_and_leaves_it_clean() {
    let mut m = Memory::new(&machine(1));
    let l = line(PMEM + 3);
    assert_eq!(m.clwb(0, l, later(0)), Time::ZERO, "absent");
    m.access(0, l, Access::Read, later(1));
    assert_eq!(m.clwb(0, l, later(2)), Time::ZERO, "clean");
    m.access(0, l, Access::Write, later(3));
    assert_eq!(m.clwb(0, l, later(4)), PMEM_WRITE);
    assert_eq!(m.state(0, l), Mesi::Exclusive);
    assert_eq!(m.clwb(0, l, later(5)), Time::ZERO, "clean again");
    assert_eq!(m.access(0, l, Access::Write, later(5)).latency, L1, "still owned");
    assert_eq!(m.clwb(0, l, later(6)), PMEM_WRITE);
    assert_eq!((m.stats().clwb_writebacks, m.stats().pmem.writes), (2, 2));
    assert_eq!(m.clwb(0, line(0), later(7)), Time::ZERO);
    m.access(0, line(0), Access::Write, later(8));
    assert_eq!(m.clwb(0, line(0), later(9)), DRAM, "accepted by the DRAM controller");
}

#[test]
fn clwb_finds_the_line_in_another_core_and_in_the_l3() {
    let mut m = Memory::new(&machine(2));
    let l = line(PMEM);
    m.access(1, l, Access::Write, later(0));
    assert_eq!(m.clwb(0, l, later(1)), TRANSFER + PMEM_WRITE);
    assert_eq!((m.state(1, l), m.state(0, l)), (Mesi::Exclusive, Mesi::Invalid));
    m.access(1, l, Access::Write, later(2));
    m.access(0, l, Access::Read, later(3));
    assert_eq!(m.l3_state(l), Some(true));
    assert_eq!(m.clwb(0, l, later(4)), PMEM_WRITE);
    assert_eq!(m.l3_state(l), Some(false));
    assert_eq!((m.state(0, l), m.state(1, l)), (Mesi::Shared, Mesi::Shared));
}

#[test]
fn write_backs_of_a_core_leave_one_after_the_other() {
    let mut spec = machine(2);
    spec.cpu.flush_interval = Time(40_000);
    let mut m = Memory::new(&spec);
    let n_of = |n: u64| line(PMEM + 100 * n);
    for n in 0..4 {
        m.access(usize::from(n == 3), n_of(n), Access::Write, later(n));
    }
    let now = later(5);
    assert_eq!(m.clwb(0, n_of(9), now), Time::ZERO, "nothing leaves: absent");
    assert_eq!(m.clwb(0, n_of(0), now), PMEM_WRITE);
    assert_eq!(m.clflush(0, n_of(1), now), Time(40_000) + PMEM_WRITE);
    assert_eq!(m.clwb(1, n_of(3), now), PMEM_WRITE, "another core has a turn of its own");
    assert_eq!(m.clwb(0, n_of(2), now + Time(70_000)), Time(10_000) + PMEM_WRITE);
}

#[test]
fn an_ntstore_leaves_no_copy_behind() {
    let mut m = Memory::new(&machine(3));
    let l = line(PMEM);
    assert_eq!(m.nt_store(0, l, later(0)), PMEM_WRITE);
    m.access(0, l, Access::Read, later(1));
    m.access(1, l, Access::Write, later(2));
    m.access(2, l, Access::Read, later(3));
    assert_eq!(m.nt_store(0, l, later(4)), TRANSFER + PMEM_WRITE);
    assert!((0..3).all(|core| m.state(core, l) == Mesi::Invalid));
    assert_eq!(m.l3_state(l), None);
    assert_eq!(m.directory.as_ref().map(crate::memory::directory::Directory::len), Some(0));
    assert_eq!(m.stats().pmem.writes, 2, "the modified copy was dropped, not written");
}

#[test]
fn random_lines_amplify_by_four_and_full_media_lines_by_one() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut random = Memory::new(&machine(1));
    let mut full = Memory::new(&machine(1));
    for n in 0..100_000 {
        random.nt_store(0, line(PMEM + rng.next_u64() % PMEM), Time::ZERO);
        full.nt_store(0, line(PMEM + n), Time::ZERO);
    }
    let amplification = |m: &Memory| m.stats().pmem.write_amplification().unwrap();
    // Some of the lines sent still wait.
    assert!((amplification(&random) - 4.0).abs() < 0.05, "{}", amplification(&random));
    assert!((amplification(&full) - 1.0).abs() < 0.02, "{}", amplification(&full));
    assert_eq!(full.stats().pmem.media_bytes_read, 0);
    assert_eq!(random.stats().pmem.media_bytes_read, random.stats().pmem.media_bytes_written);
}

#[test]
fn streams_run_at_the_bandwidth_of_the_media() {
    let lines = 100_000;
    let bytes = (lines * LINE_BYTES) as f64;
    let mut m = Memory::new(&machine(1));
    let latencies = (0..lines).map(|n| m.nt_store(0, line(PMEM + n), Time::ZERO));
    let written = bytes / latencies.max().unwrap().as_ns();
    let peak = 2.0 * 256.0 / 116.0;
    assert!((written / peak - 1.0).abs() < 0.02, "{written} against {peak} GB/s");
    let stats = m.stats().pmem;
    assert!(stats.stalls > lines / 8 && stats.stall_time > Time::ZERO);

    let mut m = Memory::new(&machine(1));
    let latencies = (0..lines).map(|n| m.access(0, line(PMEM + n), Access::Read, Time::ZERO).latency);
    let read = bytes / latencies.max().unwrap().as_ns();
    let peak = 2.0 * 256.0 / 39.0;
    assert!((read / peak - 1.0).abs() < 0.02, "{read} against {peak} GB/s");
}

#[test]
fn random_lines_write_at_a_quarter_of_the_bandwidth() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut m = Memory::new(&machine(1));
    let lines = 100_000;
    let latencies = (0..lines).map(|_| m.nt_store(0, line(PMEM + rng.next_u64() % PMEM), Time::ZERO));
    let written = (lines * LINE_BYTES) as f64 / latencies.max().unwrap().as_ns();
    let peak = 2.0 * 64.0 / 116.0;
    assert!((written / peak - 1.0).abs() < 0.02, "{written} against {peak} GB/s");
}
