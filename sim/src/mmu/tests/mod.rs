//! Tests of walks and invalidations on a whole machine.

mod invalidate;
mod model;
mod nested;
mod walks;

use daxsim_configs::{Override, load_kernel, parse_machine};
use daxsim_types::{AccessKind, CpuId, FileSystem, Pfn, VirtAddr};

use super::entry::Entry;
use super::rights::Mode;
use super::table::Slot;
use super::{Refusal, Walked};
use crate::machine::Machine;

/// The first address that the tests use.
pub(super) const START: u64 = 0x1000_0000_0000;
pub(super) const HUGE: u64 = 2 << 20;
pub(super) const USER_READ: (AccessKind, Mode) = (AccessKind::Read, Mode::User);
pub(super) const USER_WRITE: (AccessKind, Mode) = (AccessKind::Write, Mode::User);
/// Present, user, writable, young and dirty.
pub(super) const ALL: u64 = Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D;

/// A machine like Skylake, but with memory of one latency, with `set` on top, and `tables` as text beside.
pub(super) fn machine_with(tables: &str, set: &[&str]) -> Machine {
    let overrides: Vec<Override> = set.iter().map(|s| Override::parse(s).unwrap()).collect();
    let text = format!("base = \"skylake-sp-optane\"\ndram.timing = \"flat\"\n{tables}\n");
    let spec = parse_machine("test.toml", &text, &overrides).unwrap();
    Machine::new(spec, load_kernel("linux-7.2", &[]).unwrap(), FileSystem::Ext4)
}

pub(super) fn machine(set: &[&str]) -> Machine {
    machine_with("", set)
}

/// CPU 0 of the machine runs an address space with `pages` populated pages at [`START`].
pub(super) fn populated(mut m: Machine, pages: u64) -> Machine {
    let mm = m.new_mm();
    m.map_anonymous(mm, START, pages);
    m.switch_mm(CpuId(0), mm);
    m
}

/// Makes `entry` the one of `level` that translates `va` on CPU 0, with writable tables above it.
pub(super) fn put(m: &mut Machine, va: u64, level: u32, entry: Entry) -> Slot {
    let mut table = m.cpus[0].cr3;
    for at in (level + 1..=m.tables.top()).rev() {
        let slot = Slot::of(table, VirtAddr(va), at);
        if !m.tables.read(slot).is_present() {
            let new = m.new_table();
            m.tables.write(slot, Entry::table(new));
        }
        table = m.tables.read(slot).pfn();
    }
    let slot = Slot::of(table, VirtAddr(va), level);
    m.tables.write(slot, entry);
    slot
}

pub(super) fn walk(m: &mut Machine, va: u64, access: (AccessKind, Mode)) -> Walked {
    m.walk(0, VirtAddr(va), access, m.cpus[0].now, false)
}

/// Entries that a walk reads.
pub(super) fn references(m: &mut Machine, va: u64) -> u64 {
    let before = m.measure.walk_references;
    assert!(walk(m, va, USER_READ).result.is_ok());
    m.measure.walk_references - before
}

/// The error code of a #PF.
pub(super) fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> u32 {
    match result {
        Err(Refusal::PageFault(code)) => code.0,
        other => panic!("{other:?}"),
    }
}

/// Whether the TLBs of CPU 0 have the page of `va` under `pcid`.
pub(super) fn in_tlb(m: &Machine, va: u64, pcid: u16) -> bool {
    m.cpus[0].tlbs.entries().any(|e| (e.global || e.pcid == pcid) && e.page == va >> e.size.shift())
}

/// Every level's references together are all references.
pub(super) fn check_sums(m: &Machine) {
    let counts = &m.measure.walk_counts;
    assert_eq!(counts.references(), m.measure.walk_references + counts.speculative_references);
}

#[test]
fn the_helpers_do_what_they_say() {
    let mut m = populated(machine(&[]), 1);
    assert!(!in_tlb(&m, START, m.cpus[0].pcid));
    assert_eq!(references(&mut m, START), 4);
    assert!(in_tlb(&m, START, m.cpus[0].pcid));
    put(&mut m, START + HUGE, 1, Entry::leaf(Pfn(512), ALL | Entry::PS));
    assert_eq!(references(&mut m, START + HUGE), 1);
    check_sums(&m);
}
