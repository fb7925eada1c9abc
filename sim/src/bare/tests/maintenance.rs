//! Each operation drops what it must, on its CPU, and nothing else; interrupts take their time.

use daxsim_types::VirtAddr;

use super::*;
use crate::measure::Part;
use crate::mmu::invalidate::Invpcid;

const ONE: u16 = 1;
const TWO: u16 = 2;
/// A page of the first space, another one, a global one, and a page of the second space.
const PAGES: [(u64, u16); 4] = [(VA, ONE), (VA + (1 << 30), ONE), (0xffff_8880_0000_0000, ONE), (VA, TWO)];

/// Two CPUs with the same four pages cached under two PCIDs, the first one loaded.
fn cached() -> Bare {
    let mut bare = bare(&["cpu.count=2"]);
    for cpu in [0, 1] {
        for pcid in [TWO, ONE] {
            bare.mov_cr3(cpu, u64::from(pcid) << 12, pcid, true).unwrap();
            for (at, (va, _)) in PAGES.iter().enumerate().filter(|(_, (_, of))| *of == pcid) {
                let access = Access { cpu, ..Access::load(0, *va, PA + at as u64 * PAGE) };
                bare.access(&if *va >> 63 == 1 { access.global() } else { access }).unwrap();
            }
        }
    }
    assert_eq!(left(&bare, 0), [true; 4]);
    assert_eq!(left(&bare, 1), [true; 4]);
    bare
}

fn left(bare: &Bare, cpu: u16) -> [bool; 4] {
    PAGES.map(|(va, pcid)| bare.is_cached(cpu, va, pcid))
}

/// What is left after `operation` on CPU 0; that it cost time, and left the other CPU alone.
fn after(operation: impl FnOnce(&mut Bare) -> Result<Time, NoSuchCpu>) -> ([bool; 4], bool) {
    let mut bare = cached();
    let (other, tables) = (bare.structure_entries(1), bare.structure_entries(0));
    let (before, flush) = (bare.now(0), bare.parts(0)[Part::Flush]);
    let cost = operation(&mut bare).unwrap();
    assert!(cost > Time::ZERO);
    assert_eq!(bare.now(0), before + cost);
    assert_eq!(bare.parts(0)[Part::Flush], flush + cost);
    assert_eq!((left(&bare, 1), bare.structure_entries(1)), ([true; 4], other));
    check(&bare);
    (left(&bare, 0), bare.structure_entries(0) == tables)
}

#[test]
fn invlpg_drops_one_page_of_the_current_space_or_a_global_one() {
    assert_eq!(after(|b| b.invlpg(0, VA)), ([false, true, true, true], false));
    assert_eq!(after(|b| b.invlpg(0, PAGES[2].0)), ([true, true, false, true], false));
}

#[test]
fn invpcid_drops_what_its_type_says() {
    let invpcid = |what| after(move |b| b.invpcid(0, what));
    assert_eq!(invpcid(Invpcid::Address(TWO, VirtAddr(VA))), ([true, true, true, false], false));
    assert_eq!(invpcid(Invpcid::Address(ONE, VirtAddr(PAGES[2].0))).0, [true; 4], "a global page stays");
    assert_eq!(invpcid(Invpcid::Context(ONE)), ([false, false, true, true], false));
    assert_eq!(invpcid(Invpcid::Context(TWO)), ([true, true, true, false], false));
    assert_eq!(invpcid(Invpcid::All), ([false, false, true, false], false));
    assert_eq!(invpcid(Invpcid::AllWithGlobals), ([false; 4], false));
    assert_eq!(invpcid(Invpcid::Context(7)), ([true; 4], true), "nothing is cached under it");
}

#[test]
fn mov_cr3_drops_its_pcid_unless_told_not_to() {
    let mov = |pcid: u16, noflush| after(move |b| b.mov_cr3(0, u64::from(pcid) << 12, pcid, noflush));
    assert_eq!(mov(TWO, false), ([true, true, true, false], false));
    assert_eq!(mov(TWO, true), ([true; 4], true));
    assert_eq!(mov(ONE, false), ([false, false, true, true], false));
}

#[test]
fn a_full_flush_drops_everything() {
    assert_eq!(after(|b| b.flush_all(0)), ([false; 4], false));
}

#[test]
fn maintenance_is_counted_by_kind() {
    let mut bare = cached();
    bare.invlpg(1, VA).unwrap();
    bare.invpcid(1, Invpcid::All).unwrap();
    bare.invpcid(1, Invpcid::Context(ONE)).unwrap();
    bare.flush_all(1).unwrap();
    let done = bare.cpu_counts(1).maintained;
    assert_eq!((done.invlpg, done.invpcid, done.full_flushes, done.cr3_writes), (1, [0, 1, 0, 1], 1, 2));
}

#[test]
fn an_interrupt_is_taken_when_it_has_arrived() {
    let mut bare = bare(&["cpu.count=2"]);
    let spent = bare.send_ipi(0, 1).unwrap();
    let ipi = bare.spec().ipi.clone();
    assert_eq!((spent, bare.pending(1)), (ipi.icr_write, 1));
    let taken = bare.take_interrupt(1).unwrap().unwrap();
    assert_eq!((taken.from, taken.sent, taken.arrived), (0, bare.now(0), bare.now(0) + ipi.delivery));
    assert_eq!(taken.handled, taken.arrived + ipi.handler_entry);
    assert_eq!(bare.end_interrupt(1).unwrap(), ipi.handler_exit);
    assert_eq!(bare.now(1), taken.handled + ipi.handler_exit);
    assert_eq!(bare.parts(1)[Part::IpiHandler], ipi.handler_entry + ipi.handler_exit);
    assert_eq!(bare.take_interrupt(1).unwrap(), None);
    assert_eq!((bare.cpu_counts(0).maintained.sent, bare.cpu_counts(1).maintained.taken), (1, 1));
    check(&bare);
}

#[test]
fn a_busy_target_takes_an_interrupt_late_and_in_the_order_of_arrival() {
    let mut bare = bare(&["cpu.count=3"]);
    bare.send_ipi(0, 2).unwrap();
    bare.execute(1, Mode::Kernel, 500).unwrap();
    bare.send_ipi(1, 2).unwrap();
    bare.execute(2, Mode::User, 1_000_000).unwrap();
    let now = bare.now(2);
    let first = bare.take_interrupt(2).unwrap().unwrap();
    assert_eq!(first.from, 0);
    assert_eq!(first.handled, now + bare.spec().ipi.handler_entry, "no wait");
    assert_eq!(bare.take_interrupt(2).unwrap().unwrap().from, 1);
    check(&bare);
}

#[test]
fn no_operation_reaches_a_cpu_that_is_not_there() {
    let mut bare = bare(&["cpu.count=2"]);
    let none = Err(NoSuchCpu { cpu: 2, count: 2 });
    assert_eq!(bare.invlpg(2, VA), none);
    assert_eq!(bare.invpcid(2, Invpcid::All), none);
    assert_eq!(bare.mov_cr3(2, 0, 0, false), none);
    assert_eq!(bare.flush_all(2), none);
    assert_eq!(bare.send_ipi(0, 2), none);
    assert_eq!(bare.send_ipi(2, 0), none);
    assert_eq!(bare.execute(2, Mode::User, 1), none);
    assert_eq!(bare.take_interrupt(2).err(), none.err());
    assert_eq!(
        (bare.now(2), bare.pending(2), bare.counts(2, Mode::User)),
        (Time::ZERO, 0, Counts::default())
    );
}
