//! Hits that are known before it is their CPU's turn.
//!
//! An access that hits the first-level TLB and the L1D of its core changes nothing that another CPU could see: the order in which
//! two arrays replace, a clock, and counters. So a run of such hits need not be made in turns with what other CPUs do. It is
//! *foreseen*: the accesses are looked up, without any change, up to the first that is not such a hit. When that would begin is when
//! the CPU acts next ([`crate::cpu::Cpu::acts_at`]). The hits are made later: those before an action that bears on them, or before the CPU's
//! own next action.
//!
//! Stores that hit behind others which wait for their lines in the store buffer are foreseen with their places there ([`StoreQueue`]).
//!
//! Foreseen hits that do not come true are given up, and looked up again later. That is so
//! - for those that begin after an interrupt arrives (`Foresight::end_at`);
//! - if another CPU takes a line from the L1D, or the right to write it, for those after that from the first that uses this line
//!   (`Foresight::lose`); hits of other lines do not depend on it;
//! - for all, if the TLBs of a CPU change by another one's doing ([`crate::machine::Machine::recall`]).
//!
//! So nothing that is simulated depends on what is foreseen, how far, or in which thread of the host.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::Time;

use super::{Limits, Moment, Outlook, StoreQueue};
use crate::cpu::Cpu;
use crate::measure::Part;
use crate::memory::{HitAt, Lane};
use crate::mmu::inside;
use crate::mmu::tlbs::PageHit;
use crate::program::{Access, Runner};

/// Fewer hits than these were not worth looking ahead for.
const WORTH: usize = 8;
/// If others go before so many loads could be made, it is soon.
const SOON: u64 = 32;
/// Most turns of a CPU without looking ahead.
const MOST_PAUSE: u32 = 64;

/// One hit.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// When it begins.
    at: Time,
    line: HitAt,
    page: PageHit,
    write: bool,
    /// A store that waits its turn in the store buffer.
    queues: bool,
}

/// The hits that come next on a CPU.
#[derive(Debug)]
pub(crate) struct Foresight {
    hits: Vec<Hit>,
    /// How many of them are made.
    made: usize,
    /// Some of them are stores that wait their turn in the store buffer.
    queues: bool,
    /// What comes after them was not such a hit: it is the CPU's turn.
    ended: bool,
    /// How many more the last look ahead found.
    found: usize,
    /// Turns to wait before looking ahead again, and how many it were last time.
    pause: u32,
    pauses: u32,
}

/// What is counted for all CPUs together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub reads: u64,
    pub writes: u64,
}

impl std::ops::AddAssign for Made {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

/// What accesses of a core cost that hit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HitCosts {
    load: Time,
    store: Time,
    /// When its data are there.
    l1: Time,
    levels: u32,
}

impl HitCosts {
    /// The costs on a core of these limits, or one that stalls on every access.
    pub(crate) fn new(spec: &MachineSpec, limits: Option<&Limits>) -> Self {
        let (l1, levels) = (spec.cache.l1d.latency, spec.mmu.levels);
        let (load, store) = limits.map_or((l1, l1), |limits| (limits.load_interval, limits.store_interval));
        Self { load, store, l1, levels }
    }

    /// The time in which so many loads hit that whoever goes before they are made goes soon.
    pub(crate) fn soon(&self) -> Time {
        Time(self.load.0.saturating_mul(SOON))
    }
}

impl Default for Foresight {
    fn default() -> Self {
        Self {
            hits: Vec::new(),
            made: 0,
            queues: false,
            ended: false,
            found: usize::MAX,
            pause: 0,
            pauses: 0,
        }
    }
}

impl Foresight {
    /// Hits that are not made.
    pub(crate) fn len(&self) -> usize {
        self.hits.len() - self.made
    }

    /// Hits of CPU `index` that do not come before an action.
    pub(crate) fn after(&self, index: usize, action: Moment) -> usize {
        self.hits.len() - self.hits.partition_point(|hit| hit.is_before(index, action))
    }

    /// Whether looking ahead may find more.
    pub(crate) fn may_go_on(&self) -> bool {
        !self.ended && self.pause == 0
    }

    /// What a round will have to do, in hits, if it is as the last one; at most `most` hits are new.
    pub(crate) fn work(&self, most: usize) -> usize {
        self.len() + self.found.min(most)
    }

    /// The turn of its CPU has come.
    pub(crate) fn begin_turn(&mut self) {
        self.ended = false;
        self.pause = self.pause.saturating_sub(1);
    }

    /// Gives up the hits from the `from`-th on that are not made; when the first of them would have begun.
    fn give_up(&mut self, from: usize) -> Option<Time> {
        let from = from.max(self.made);
        let at = self.hits.get(from)?.at;
        self.hits.truncate(from);
        self.ended = true;
        Some(at)
    }

    /// Gives up all hits that are not made.
    pub(crate) fn end(&mut self) -> Option<Time> {
        self.give_up(self.made)
    }

    /// Gives up the hits that begin at `at` or later.
    pub(crate) fn end_at(&mut self, at: Time) -> Option<Time> {
        self.give_up(self.hits.partition_point(|hit| hit.at < at))
    }

    /// Gives up the hits of CPU `index` from the first on that uses `line` after the action `by`.
    pub(crate) fn lose(&mut self, index: usize, line: HitAt, by: Moment) -> Option<Time> {
        let after = self.hits.partition_point(|hit| hit.is_before(index, by));
        let first = self.hits[after..].iter().position(|hit| hit.line == line)?;
        self.give_up(after + first)
    }

    /// For how many loads there is room behind the hits that are known, and what stores wait behind.
    fn pass_known(&self, outlook: &Outlook<'_>, costs: &HitCosts) -> (u64, StoreQueue) {
        let stores = self.hits.iter().filter(|hit| hit.write).count();
        let mut queue = outlook.stores;
        if self.queues {
            let queued = self.hits.iter().filter(|hit| hit.queues);
            queued.for_each(|hit| queue.put(hit.at + costs.l1));
        }
        (outlook.loads.saturating_sub((self.hits.len() - stores) as u64), queue)
    }

    /// Takes away what is made.
    fn settle(&mut self) {
        self.hits.drain(..self.made);
        self.made = 0;
        self.queues &= !self.hits.is_empty();
    }

    /// Notes how many hits a look ahead found, and whether it came to their end.
    fn judge(&mut self, found: usize) {
        self.found = found;
        if !self.ended {
            return;
        }
        self.pauses = if found < WORTH { (2 * self.pauses).clamp(1, MOST_PAUSE) } else { 0 };
        self.pause = self.pauses;
    }
}

impl Hit {
    /// Whether it comes before an action, on CPU `index`.
    fn is_before(&self, index: usize, action: Moment) -> bool {
        Moment { time: self.at, cpu: index } < action
    }
}

/// A CPU with what no other one has a part in.
pub(crate) struct Private<'m> {
    pub index: usize,
    pub cpu: &'m mut Cpu,
    pub l1: Lane<'m>,
    pub made: Made,
}

impl Private<'_> {
    /// Makes the foreseen hits that come before an action.
    pub(crate) fn make_before(&mut self, action: Moment) {
        let Cpu { runner: Some(runner), tlbs, .. } = &mut *self.cpu else { return };
        let Runner { cursor, window, costs, foresight, .. } = &mut **runner;
        let made = foresight.made;
        let rest = &foresight.hits[made..];
        let count = rest.partition_point(|hit| hit.is_before(self.index, action));
        let (now, due) = rest.split_at(count);
        let Some(last) = now.last() else { return };
        let mut writes = 0;
        for hit in now {
            tlbs.repeat(hit.page);
            self.l1.repeat(hit.line);
            writes += u64::from(hit.write);
        }
        let end = due.first().map(|hit| hit.at);
        if let Some(window) = window {
            if foresight.queues {
                let accesses = cursor.batch();
                let stores = now.iter().zip(accesses).filter(|(hit, _)| hit.write);
                stores.for_each(|(hit, store)| window.queue_store(store.va, hit.at));
            }
            window.pass_hits(count as u64, writes, last.at + costs.l1);
        }
        cursor.pass(count);
        foresight.made += count;
        self.made += Made { writes, reads: count as u64 - writes };
        let until = end.unwrap_or(self.cpu.ahead);
        let dt = until.saturating_sub(self.cpu.now);
        self.cpu.spend_as(Part::User, dt);
    }

    /// Looks ahead until so many hits are known.
    pub(crate) fn look_ahead(&mut self, most: usize) {
        let Some(runner) = &mut self.cpu.runner else { return };
        match Outlook::of(runner.window.as_ref()).map(|outlook| outlook.is_quiet()) {
            Some(true) => self.find_hits::<true>(most),
            Some(false) => self.find_hits::<false>(most),
            None => {}
        }
    }

    /// The same, where nothing is in flight (`QUIET`), or something is.
    fn find_hits<const QUIET: bool>(&mut self, most: usize) {
        let mut now = self.cpu.acts_at();
        let due = self.cpu.next_interrupt().unwrap_or(Time::MAX);
        let Cpu { runner: Some(runner), tlbs, pcid, .. } = &mut *self.cpu else { return };
        let Runner { cursor, window, costs, foresight, .. } = &mut **runner;
        let Some(outlook) = Outlook::of(window.as_ref()) else { return };
        foresight.settle();
        let before = foresight.hits.len();
        let (mut loads, mut queue) = foresight.pass_known(&outlook, costs);
        let most = most.min(usize::try_from(outlook.room).unwrap_or(usize::MAX));
        let until = due.min(outlook.until);
        let mut data = foresight.hits.last().map_or(outlook.data, |last| last.at + costs.l1);
        while !foresight.ended && foresight.hits.len() < most {
            let accesses = cursor.beyond(foresight.hits.len());
            foresight.ended = accesses.is_empty();
            for access in accesses.iter().take(most - foresight.hits.len()) {
                let Access { va, kind, dependent, work } = *access;
                let write = kind.is_write();
                let full = !QUIET && if write { !queue.takes() } else { loads == 0 };
                let waits = dependent && data > now;
                let found = if now >= until || full || waits || !va.is_canonical_in(costs.levels) {
                    None
                } else {
                    tlbs.foresee(va, *pcid, kind).and_then(|(page, frame)| {
                        let line = inside(frame, va).line();
                        let clear = |_: &HitAt| QUIET || outlook.is_clear(va, line, now);
                        let at = self.l1.foresee(line, write).filter(clear)?;
                        let queues = !QUIET && write && queue.is_there(now);
                        Some(Hit { at: now, line: at, page, write, queues })
                    })
                };
                let Some(hit) = found else {
                    foresight.ended = true;
                    break;
                };
                if !QUIET {
                    foresight.queues |= hit.queues;
                    loads = loads.saturating_sub(u64::from(!write));
                    if hit.queues {
                        queue.put(now + costs.l1);
                    }
                }
                foresight.hits.push(hit);
                data = now + costs.l1;
                now += if write { costs.store } else { costs.load } + Time(u64::from(work));
            }
        }
        foresight.ended |= foresight.hits.len() as u64 >= outlook.room;
        foresight.judge(foresight.hits.len() - before);
        self.cpu.ahead = now;
    }
}
