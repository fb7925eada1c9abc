//! Each invalidation drops its own and keeps the rest, in every structure.

use daxsim_types::{Pfn, Time, VirtAddr};

use super::*;
use crate::mmu::invalidate::Invpcid;
use crate::mmu::rights::Control;

const OTHER: u64 = START + (1 << 30);
const GLOBAL: u64 = START + (2 << 30);

/// PCIDs that the tests cache under.
const A: u16 = 3;
const B: u16 = 4;

/// What is cached: [`START`], [`OTHER`] and [`GLOBAL`] walked for under A, then START under B. The structure caches then
/// have a PDE and PDPTE of each address under A, and those of one address under B, beside a PML4E of each PCID.
fn cached() -> Machine {
    let mut m = populated(machine(&["psc.pdpte=8", "cpu.count=1"]), 1);
    put(&mut m, OTHER, 0, Entry::leaf(Pfn(9), ALL));
    put(&mut m, GLOBAL, 0, Entry::leaf(Pfn(10), ALL | Entry::G));
    for (pcid, vas) in [(A, &[START, OTHER, GLOBAL][..]), (B, &[START])] {
        m.cpus[0].pcid = pcid;
        for va in vas {
            assert!(walk(&mut m, *va, USER_READ).result.is_ok());
        }
    }
    m.cpus[0].pcid = A;
    m
}

/// What the TLBs have, in the order of [`cached`], and how many references walks for the first three and the last would
/// take: 4 from the root, 3 from the PDPT, 2 from the PD, 1 from the page table.
fn left(m: &Machine) -> ([bool; 4], [u32; 4]) {
    let all = [(START, A), (OTHER, A), (GLOBAL, A), (START, B)];
    let tlb = [(START, A), (OTHER, A), (GLOBAL, 9), (START, B)].map(|(va, pcid)| in_tlb(m, va, pcid));
    let mut psc = m.cpus[0].psc.clone();
    (tlb, all.map(|(va, pcid)| psc.deepest(VirtAddr(va), pcid).map_or(4, |(level, _)| level + 1)))
}

const KEPT: ([bool; 4], [u32; 4]) = ([true; 4], [1; 4]);

#[test]
fn everything_is_cached_to_begin_with() {
    let m = cached();
    assert_eq!(left(&m), KEPT);
    assert_eq!(m.cpus[0].psc.len(), 3 + 3 + 1 + 3);
}

#[test]
fn invlpg_drops_the_page_and_all_tables_of_the_pcid() {
    let mut m = cached();
    m.invlpg(0, VirtAddr(START));
    assert_eq!(left(&m), ([false, true, true, true], [4, 4, 4, 1]));
    let mut m = cached();
    m.cpus[0].pcid = B;
    m.invlpg(0, VirtAddr(GLOBAL));
    assert_eq!(left(&m), ([true, true, false, true], [1, 1, 1, 4]), "a global page under any PCID");
}

#[test]
fn invpcid_of_an_address_drops_it_and_the_tables_to_it() {
    let mut m = cached();
    m.invpcid(0, Invpcid::Address(A, VirtAddr(START)));
    // The PML4E serves the others too, but their deeper entries are still there.
    assert_eq!(left(&m), ([false, true, true, true], [4, 1, 1, 1]));
    let mut m = cached();
    m.invpcid(0, Invpcid::Address(A, VirtAddr(GLOBAL)));
    assert_eq!(left(&m), ([true; 4], [1, 1, 4, 1]), "a global page stays");
    let mut m = cached();
    m.invpcid(0, Invpcid::Address(B, VirtAddr(OTHER)));
    assert_eq!(left(&m), KEPT, "nothing is cached of it under B but the PML4E, which nothing needs");
}

#[test]
fn invpcid_of_a_context_drops_its_pages_but_global_ones() {
    let mut m = cached();
    m.invpcid(0, Invpcid::Context(A));
    assert_eq!(left(&m), ([false, false, true, true], [4, 4, 4, 1]));
    let mut m = cached();
    m.invpcid(0, Invpcid::Context(B));
    assert_eq!(left(&m), ([true, true, true, false], [1, 1, 1, 4]));
}

#[test]
fn invpcid_of_all_drops_everything_with_or_without_globals() {
    let mut m = cached();
    m.invpcid(0, Invpcid::AllWithGlobals);
    assert_eq!(left(&m), ([false; 4], [4; 4]));
    let mut m = cached();
    m.invpcid(0, Invpcid::All);
    assert_eq!(left(&m), ([false, false, true, false], [4; 4]));
}

#[test]
fn a_cr3_write_drops_what_is_cached_under_the_new_pcid_unless_told_not_to() {
    for pcid in [A, B, 7] {
        let mut m = cached();
        m.mov_cr3(0, Pfn(77), pcid, true);
        assert_eq!(left(&m), KEPT);
        assert_eq!((m.cpus[0].cr3, m.cpus[0].pcid), (Pfn(77), pcid));
    }
    let after = [
        (A, ([false, false, true, true], [4, 4, 4, 1])),
        (B, ([true, true, true, false], [1, 1, 1, 4])),
        (7, KEPT),
    ];
    for (pcid, expected) in after {
        let mut m = cached();
        m.mov_cr3(0, Pfn(77), pcid, false);
        assert_eq!(left(&m), expected);
    }
}

#[test]
fn without_pcids_every_cr3_write_drops_all_but_globals() {
    for noflush in [false, true] {
        let mut m = populated(machine(&["mmu.pcid=false", "cpu.count=1"]), 1);
        put(&mut m, GLOBAL, 0, Entry::leaf(Pfn(10), ALL | Entry::G));
        for va in [START, GLOBAL] {
            assert!(walk(&mut m, va, USER_READ).result.is_ok());
        }
        m.mov_cr3(0, Pfn(77), 5, noflush);
        assert_eq!((m.cpus[0].pcid, in_tlb(&m, START, 0), in_tlb(&m, GLOBAL, 0)), (0, false, true));
        assert!(m.cpus[0].psc.is_empty());
    }
}

#[test]
fn a_cr4_write_drops_what_the_changed_bit_says() {
    let on = cached().cpus[0].control;
    let nothing = ([false; 4], [4; 4]);
    let context = ([false, false, true, true], [4, 4, 4, 1]);
    let no_smep = Control { smep: false, ..on };
    for (old, new, expected) in [
        (on, on, KEPT),
        (on, Control { pge: false, ..on }, nothing),
        (Control { pge: false, ..on }, on, nothing),
        (on, Control { pcide: false, ..on }, nothing),
        (Control { pcide: false, ..on }, on, KEPT),
        (on, no_smep, KEPT),
        (no_smep, on, context),
        (on, Control { smap: false, ..on }, KEPT),
        (on, Control { wp: false, ..on }, KEPT),
    ] {
        let mut m = cached();
        m.cpus[0].control = old;
        m.mov_cr4(0, new);
        assert_eq!(left(&m), expected, "{old:?} to {new:?}");
        assert_eq!(m.cpus[0].control, Control { wp: true, ..new });
        assert_eq!(m.cpus[0].pcid, if new.pcide { A } else { 0 });
    }
}

#[test]
fn g_means_nothing_without_pge() {
    let mut m = populated(machine(&["cpu.count=1"]), 1);
    m.cpus[0].control.pge = false;
    put(&mut m, GLOBAL, 0, Entry::leaf(Pfn(10), ALL | Entry::G));
    assert!(walk(&mut m, GLOBAL, USER_READ).result.is_ok());
    let pcid = m.cpus[0].pcid;
    assert!(in_tlb(&m, GLOBAL, pcid) && !in_tlb(&m, GLOBAL, pcid + 1));
}

#[test]
fn each_instruction_takes_the_time_of_its_config() {
    let mut m = cached();
    let cost = m.spec.cost.clone();
    let mut taken = |act: &dyn Fn(&mut Machine)| {
        let before = m.cpus[0].now;
        act(&mut m);
        m.cpus[0].now - before
    };
    assert_eq!(taken(&|m| m.invlpg(0, VirtAddr(START))), cost.invlpg);
    assert_eq!(taken(&|m| m.invpcid(0, Invpcid::Address(A, VirtAddr(START)))), cost.invpcid);
    for what in [Invpcid::Context(A), Invpcid::All, Invpcid::AllWithGlobals] {
        assert_eq!(taken(&|m| m.invpcid(0, what)), cost.invpcid_context);
    }
    assert_eq!(taken(&|m| m.mov_cr3(0, Pfn(1), A, true)), cost.cr3_write);
    assert_eq!(taken(&|m| m.mov_cr4(0, m.cpus[0].control)), cost.cr4_write);
    assert!([cost.cr4_write, cost.invpcid_context].iter().all(|t| *t > Time::ZERO));
}
