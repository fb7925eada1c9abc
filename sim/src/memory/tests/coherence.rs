//! MESI transitions between cores.

use super::*;
use crate::memory::{Access, Level, Memory, Mesi};

fn states(m: &Memory, cores: usize) -> String {
    let name = |core| match m.state(core, line(0)) {
        Mesi::Modified => 'M',
        Mesi::Exclusive => 'E',
        Mesi::Shared => 'S',
        Mesi::Invalid => 'I',
    };
    (0..cores).map(name).collect()
}

/// Accesses line 0 and returns level and latency.
fn go(m: &mut Memory, core: usize, access: Access, at: u64) -> (Level, Time) {
    let o = m.access(core, line(0), access, later(at));
    (o.level, o.latency)
}

#[test]
fn a_line_passes_through_the_states() {
    let mut m = Memory::new(&machine(3));
    assert_eq!(go(&mut m, 0, Access::Read, 0), (Level::Dram, L3 + DRAM));
    assert_eq!(states(&m, 3), "EII");
    assert_eq!(go(&mut m, 0, Access::Write, 1), (Level::L1, L1));
    assert_eq!(states(&m, 3), "MII");
    // Read of a modified line: both share it, the dirty data is in the L3.
    assert_eq!(go(&mut m, 1, Access::Read, 2), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 3), "SSI");
    assert_eq!(m.l3_state(line(0)), Some(true));
    // A third reader finds it there, and it stays.
    assert_eq!(go(&mut m, 2, Access::Read, 3), (Level::L3, L3));
    assert_eq!(states(&m, 3), "SSS");
    assert_eq!(m.l3_state(line(0)), Some(true));
    // A shared copy cannot be written on the fast path; the write invalidates the others.
    assert!(!m.try_l1(1, line(0), true));
    assert!(m.try_l1(1, line(0), false));
    assert_eq!(go(&mut m, 1, Access::Rmw, 4), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 3), "IMI");
    assert_eq!(m.l3_state(line(0)), None, "the L3's copy is stale");
    assert_eq!(m.stats().invalidations, 2);
    // A write miss takes it from its owner.
    assert_eq!(go(&mut m, 2, Access::Write, 5), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 3), "IIM");
    assert_eq!((m.stats().transfers, m.stats().upgrades), (3, 1));
    assert_eq!(m.stats().dram.writes, 0);
}

#[test]
fn a_store_to_the_whole_of_a_line_takes_it_without_its_data() {
    let mut m = Memory::new(&machine(2));
    assert_eq!(go(&mut m, 0, Access::WriteLine, 0), (Level::L3, L3));
    assert_eq!((states(&m, 2).as_str(), m.stats().dram.reads), ("MI", 0));
    // Whoever has it must give it up, as for any store.
    assert_eq!(go(&mut m, 1, Access::WriteLine, 1), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 2), "IM");
    assert_eq!(go(&mut m, 1, Access::WriteLine, 2), (Level::L1, L1));
    // Persistent memory has a modified line then, and is not read either.
    m.access(0, line(PMEM), Access::WriteLine, later(3));
    assert_eq!((m.modified_lines(Pfn(PMEM / 64)), m.stats().pmem.reads), (1, 0));
    assert_eq!(m.check_balance(), Ok(()));
}

#[test]
fn a_clean_line_of_another_core_is_forwarded_and_put_into_the_l3() {
    let mut m = Memory::new(&machine(2));
    go(&mut m, 0, Access::Read, 0);
    assert_eq!(go(&mut m, 1, Access::Read, 1), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 2), "SS");
    assert_eq!(m.l3_state(line(0)), Some(false));
}

#[test]
fn the_last_sharer_asks_the_directory_before_it_writes() {
    let mut m = Memory::new(&machine(2));
    go(&mut m, 0, Access::Read, 0);
    go(&mut m, 1, Access::Read, 1);
    for n in [2, 4, 6, 8] {
        m.access(0, line(n), Access::Read, later(n));
    }
    assert_eq!(states(&m, 2), "IS");
    assert_eq!(go(&mut m, 1, Access::Write, 20), (Level::L3, L3));
    assert_eq!(states(&m, 2), "IM");
    assert_eq!(m.stats().transfers, 1);
}

#[test]
fn a_line_that_everyone_dropped_leaves_the_directory() {
    let mut m = Memory::new(&machine(2));
    for n in 0..10_000 {
        m.access((n % 2) as usize, line(n / 2), Access::Read, Time::ZERO);
    }
    let held = m.directory.as_ref().map(crate::memory::directory::Directory::len);
    assert_eq!(held, Some(8), "each L2 holds the same eight lines");
}

#[test]
fn an_upgrade_in_the_l2_invalidates_like_one_in_the_l1d() {
    let mut m = Memory::new(&machine(2));
    go(&mut m, 1, Access::Read, 0);
    go(&mut m, 0, Access::Read, 1);
    m.access(0, line(2), Access::Read, later(2));
    m.access(0, line(4), Access::Read, later(3));
    assert!(!m.try_l1(0, line(0), false), "only the L2 has it");
    assert_eq!(go(&mut m, 0, Access::Write, 4), (Level::Transfer, TRANSFER));
    assert_eq!(states(&m, 2), "MI");
    assert!(m.try_l1(0, line(0), true));
}
