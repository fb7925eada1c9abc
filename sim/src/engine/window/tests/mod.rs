//! The window on a core of paper, whose latencies are small numbers.

mod model;
mod paper;

use std::collections::{BTreeMap, BTreeSet};

use daxsim_types::{AccessKind, CacheLine, ErrorCode, Time, VirtAddr};

use super::core::{Core, Limits, Lookup, Walk};
use super::{Paused, Window};
use crate::measure::{Part, Parts, WalkQueue};
use crate::mmu::Refusal;
use crate::program::{Access, Accesses, Cursor};

/// What an L1D hit takes.
const L1: u64 = 4;
/// What a walk takes.
const WALK: u64 = 30;
/// What a line takes that the L1D lacks.
const MEMORY: u64 = 100;
/// What a fault takes.
const FAULT: u64 = 1000;

/// A core with TLBs and an L1D of any size, empty at first.
#[derive(Clone, Default)]
struct Paper {
    now: Time,
    parts: Parts,
    tlb: BTreeSet<u64>,
    l1: BTreeSet<u64>,
    /// Pages whose accesses are refused, and how often still.
    absent: BTreeMap<u64, u32>,
    /// Pages that the walker sets A of.
    unused: BTreeSet<u64>,
    /// What happened: when, what, to which page or line.
    log: Vec<(u64, &'static str, u64)>,
    /// Accesses that began with their data.
    made: u64,
}

const fn va(page: u64, line: u64) -> VirtAddr {
    VirtAddr(page << 12 | line << 6)
}

fn load(page: u64, line: u64) -> Access {
    Access::new(va(page, line), AccessKind::Read)
}

fn store(page: u64, line: u64) -> Access {
    Access::new(va(page, line), AccessKind::Write)
}

fn chased(page: u64, line: u64) -> Access {
    Access::chased(va(page, line))
}

impl Core for Paper {
    fn now(&self) -> Time {
        self.now
    }

    fn spend(&mut self, part: Part, dt: Time) -> Time {
        self.now += dt;
        self.parts[part] += dt;
        self.now
    }

    fn lookup(&mut self, va: VirtAddr, _: AccessKind) -> Lookup {
        if self.tlb.contains(&(va.0 >> 12)) {
            Lookup::Hit(CacheLine(va.0 >> 6), Time::ZERO)
        } else {
            Lookup::Miss
        }
    }

    fn walk(&mut self, va: VirtAddr, kind: AccessKind, start: Time) -> Walk {
        let page = va.0 >> 12;
        self.log.push((start.0, "walk", page));
        let end = start + Time(WALK);
        if self.absent.contains_key(&page) {
            let refusal = Refusal::PageFault(ErrorCode::new(kind, true, false));
            return Walk { outcome: Err(refusal), end, assist: Time::ZERO, shift: 12 };
        }
        self.tlb.insert(page);
        let assist = if self.unused.remove(&page) { Time(FAULT) } else { Time::ZERO };
        Walk { outcome: Ok((CacheLine(va.0 >> 6), true)), end, assist, shift: 12 }
    }

    fn walk_ahead(&mut self, va: VirtAddr, start: Time) -> (Time, u32) {
        let page = va.0 >> 12;
        self.log.push((start.0, "ahead", page));
        if !self.absent.contains_key(&page) {
            self.tlb.insert(page);
            self.unused.remove(&page);
        }
        (start + Time(WALK), 12)
    }

    fn try_l1(&mut self, line: CacheLine, _: bool) -> bool {
        self.l1.contains(&line.0)
    }

    fn fetch(&mut self, line: CacheLine, _: bool, at: Time) -> Time {
        self.log.push((at.0, "fetch", line.0));
        self.l1.insert(line.0);
        Time(MEMORY)
    }

    fn completed(&mut self, _: AccessKind) {
        self.made += 1;
    }
}

impl Paper {
    /// With the pages in the TLBs already.
    fn knowing(pages: impl IntoIterator<Item = u64>) -> Self {
        Self { tlb: pages.into_iter().collect(), ..Self::default() }
    }

    /// An access made alone, as the fault path does it.
    fn alone(&mut self, access: Access) {
        self.spend(Part::Memory, Time(MEMORY));
        self.l1.insert(access.va.0 >> 6);
        self.tlb.insert(access.va.0 >> 12);
        self.made += 1;
    }

    /// Makes accesses, faults included, and returns what was refused, in order.
    fn run(&mut self, limits: Limits, accesses: &[Access]) -> Vec<Access> {
        let mut window = Window::new(limits);
        let owned = accesses.to_vec();
        let mut cursor = Cursor::new(Accesses::Stream(Box::new(owned.into_iter())));
        let mut refused = Vec::new();
        loop {
            match window.run(self, &mut cursor, Time::MAX, Time::MAX) {
                Paused::Done => break,
                Paused::Yield => unreachable!("nobody else is there"),
                Paused::Alone(access) => self.alone(access),
                Paused::Refused(access, _) => {
                    assert!(window.is_drained(self.now));
                    refused.push(access);
                    self.spend(Part::Entry, Time(FAULT));
                    let page = access.va.0 >> 12;
                    if let Some(times) = self.absent.get_mut(&page) {
                        *times -= 1;
                        if *times == 0 {
                            self.absent.remove(&page);
                        }
                    }
                    self.alone(access);
                }
            }
        }
        assert!(window.is_drained(self.now));
        assert_eq!(self.parts.total(), self.now, "every advance names a part");
        assert_eq!(self.made, accesses.len() as u64, "every access is made once");
        refused
    }

    fn count(&self, what: &str) -> usize {
        self.log.iter().filter(|(_, happened, _)| *happened == what).count()
    }
}

/// Wide enough for everything here: an access a unit of time, ten fill buffers, two walkers.
fn limits() -> Limits {
    Limits {
        window: 64,
        load_interval: Time(1),
        store_interval: Time(1),
        load_buffer: 16,
        store_buffer: 16,
        fill_buffers: 10,
        walkers: 2,
        l1: Time(L1),
        hits_are_short: true,
        levels: 4,
        run_ahead: false,
    }
}
