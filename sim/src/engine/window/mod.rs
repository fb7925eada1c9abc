//! The window of a core: accesses in flight, in program order.
//!
//! An access enters the window when the one before it has had its issue slot (`cpu.load_interval`, `cpu.store_interval`) and
//! the window has room (`cpu.window`). It begins at once, or, if it is dependent, when the data of the access before it are
//! there; so a miss delays what depends on it and nothing else, until the window is full. It leaves in program order. Every
//! step of it is an event with a time, and events happen in the order of time, then program order: what the window does to
//! TLBs, caches and devices happens when the CPU's clock is there, as [`super`] asks for.
//!
//! - A translation that the TLBs lack needs one of `mmu.walkers`; others queue. An access to a page whose walk is under way or
//!   queued waits for that walk, and looks the page up when it ends: two misses, one walk.
//! - A line that the L1D lacks needs one of `cpu.fill_buffers`; others queue. One that is on its way already needs none.
//! - A load holds one of `cpu.load_buffer` places until it leaves the window.
//! - A store leaves the window as soon as its translation is there, for one of `cpu.store_buffer` places, which it holds until
//!   its line, and those of the stores before it, are there. It changes nothing before all older accesses are known not to
//!   fault; its walk may come earlier, as a load's.
//! - While the CPU can do nothing but wait, the time goes to what the oldest access waits for: its walk, or memory.
//!
//! An access that faults, sets A or D, or finds a translation that does not let it through is alone: the older ones end first,
//! and younger ones that have not begun with their data are made after it; with `cpu.run_ahead` their pages are walked for
//! meanwhile ([`ahead`]). Interrupts wait for the data that are on their way.
//!
//! Simplified: any number of accesses leave the window at a time. Once an access is known to fault, no younger one enters. A
//! hit in the second-level TLB does not come as a step of its own: what follows it happens with it, at its later time. Stores
//! ask for their lines before they leave the window, once no older access can fault.

mod ahead;
mod buffers;
mod core;
mod entries;
mod entry;
mod events;
mod hits;
mod outlook;
mod stages;
#[cfg(test)]
mod tests;
mod wait;
mod walkers;

use std::collections::VecDeque;

use daxsim_types::Time;

use self::ahead::Ahead;
use self::buffers::{FillBuffers, StoreBuffer};
use self::core::{Core, Lookup};
use self::entries::Entries;
use self::entry::{Entry, Phase};
use self::events::Events;
use self::walkers::Walkers;
use crate::alike::Followed;
use crate::measure::{Part, WalkQueue};
use crate::mmu::Refusal;
use crate::program::{Access, Cursor};

pub(crate) use self::buffers::StoreQueue;
pub(crate) use self::core::{Limits, OnCpu};
pub(crate) use self::outlook::Outlook;

/// Why a window gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    /// All accesses are made, and all their data are there.
    Done,
    /// Another CPU has to go first, or an interrupt is due.
    Yield,
    /// An access was refused; all before it are complete.
    Refused(Access, Refusal),
    /// An access has to be made alone, by itself; all before it are complete.
    Alone(Access),
}

/// The accesses of a CPU that are in flight.
pub(crate) struct Window {
    limits: Limits,
    /// Those that could not end within the latency of the L1D, in program order. Hits do not come here: they leave the window before it
    /// could be full of them.
    entries: Entries,
    /// Program-order number of the next access to enter.
    next: u64,
    /// Loads that entered while something was in flight; what entered an empty window and hit is not among them.
    loads: u64,
    /// What happens next to an entry, by its number. An entry has at most one event; its phase says which.
    events: Events,
    walkers: Walkers,
    buffers: FillBuffers,
    stores: StoreBuffer,
    /// Entries that need a fill buffer, first come first served. The first has an event.
    starved: VecDeque<u64>,
    /// When the data of the last access that entered are there; [`Time::MAX`] as long as nobody knows.
    last_data: Time,
    /// When the last hit is complete.
    hits_done: Time,
    /// The oldest entry that may yet be refused.
    safe: u64,
    /// An entry has to be alone: nothing enters.
    blocked: bool,
    /// Why to give way once everything is complete.
    leaving: Option<Paused>,
    /// Nothing is in flight but hits.
    quiet: bool,
    merged: u64,
    ahead: Ahead,
}

impl Window {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            entries: Entries::new(),
            next: 0,
            loads: 0,
            events: Events::default(),
            walkers: Walkers::new(limits.walkers),
            buffers: FillBuffers::new(limits.fill_buffers),
            stores: StoreBuffer::default(),
            starved: VecDeque::new(),
            last_data: Time::ZERO,
            hits_done: Time::ZERO,
            safe: 0,
            blocked: false,
            leaving: None,
            quiet: true,
            merged: 0,
            ahead: Ahead::default(),
            limits,
        }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_drained(&self, now: Time) -> bool {
        self.entries.is_empty() && self.stores.is_empty() && self.hits_done <= now
    }

    /// Adds what walks waited for since the last call.
    pub(crate) fn count_walks(&mut self, counts: &mut WalkQueue) {
        counts.merged += std::mem::take(&mut self.merged);
        self.walkers.count(counts);
    }

    /// Has the walkers of followers beside its own.
    pub(crate) fn follow(&mut self, followed: &[Followed]) {
        for one in followed {
            self.walkers.follow(one.follower.clone(), one.walkers as usize);
        }
    }

    /// Adds what the walkers of followers did since the last call.
    #[inline]
    pub(crate) fn count_followed(&mut self, followed: &mut [Followed]) {
        if !followed.is_empty() {
            self.walkers.count_twins(followed);
        }
    }

    /// Makes accesses until the clock reaches `horizon` or, with nothing in flight, `due`; until one is refused; or to the end.
    pub(crate) fn run<C: Core>(
        &mut self,
        core: &mut C,
        cursor: &mut Cursor,
        horizon: Time,
        due: Time,
    ) -> Paused {
        let until = horizon.min(due);
        loop {
            let was_quiet = self.quiet;
            if was_quiet {
                self.run_quiet(core, cursor, until);
            }
            let now = core.now();
            if now >= horizon || core.gave_way() {
                return Paused::Yield;
            }
            self.settle(core, now);
            if self.quiet && !was_quiet && now < until {
                continue;
            }
            if now >= due {
                if self.is_drained(now) {
                    self.leaving = self.leaving.filter(|why| *why != Paused::Yield);
                    return Paused::Yield;
                }
                self.leaving.get_or_insert(Paused::Yield);
                self.give_back(cursor);
            }
            if let Some(why) = self.leaving
                && self.is_drained(now)
            {
                self.leaving = None;
                self.unblock();
                return why;
            }
            if self.look_at_oldest(core, cursor, now) {
                continue;
            }
            let next = if self.is_shut() { None } else { cursor.batch().first().copied() };
            match next {
                Some(access) if self.has_room(access) => {
                    if !self.run_hits(core, cursor, until) {
                        cursor.pass(1);
                        self.enter(core, access, now);
                        self.look_ahead(core, cursor);
                    }
                }
                Some(_) => self.wait(core, now, due, false),
                None if !self.is_drained(now) => match self.next_ahead(cursor) {
                    Some(access) => self.run_ahead(core, access, now, due),
                    None => self.wait(core, now, due, true),
                },
                None if self.is_shut() => {}
                None => return Paused::Done,
            }
        }
    }

    /// The accesses of a window in which nothing is in flight, as long as they hit.
    #[inline]
    fn run_quiet<C: Core>(&mut self, core: &mut C, cursor: &mut Cursor, until: Time) {
        let mut now = core.now();
        while now < until {
            let batch = cursor.batch();
            let mut made = 0;
            let mut other = None;
            for access in batch {
                let Access { va, kind, dependent, .. } = *access;
                let waits = dependent && self.last_data > now;
                if now >= until
                    || waits
                    || !va.is_canonical_in(self.limits.levels)
                    || !self.limits.hits_are_short
                {
                    // Whoever only gives way to others comes back here.
                    self.quiet = now >= until;
                    break;
                }
                made += 1;
                let found = core.lookup(va, kind);
                if let Lookup::Hit(line, Time::ZERO) = found
                    && core.try_l1(line, kind.is_write())
                {
                    core.completed(kind);
                    self.last_data = now + self.limits.l1;
                    now = core.spend(Part::User, self.limits.interval(*access));
                } else {
                    other = Some((*access, found));
                    break;
                }
            }
            let hits = made - usize::from(other.is_some());
            let ended = hits < batch.len() || batch.is_empty();
            self.next += hits as u64;
            if hits > 0 {
                self.hits_done = self.last_data;
            }
            cursor.pass(made);
            if let Some((access, found)) = other {
                self.safe = self.entries.first();
                self.enter_found(core, access, now, found);
            }
            if ended {
                return;
            }
        }
    }

    /// Nothing may enter.
    fn is_shut(&self) -> bool {
        self.blocked || self.leaving.is_some()
    }

    /// Whether an access may enter: into the window and into the load or the store buffer.
    fn has_room(&self, access: Access) -> bool {
        let oldest = self.entries.front();
        let (seq, loads) = oldest.map_or((self.next, self.loads), |entry| (entry.seq, entry.loads));
        self.next - seq < self.limits.window
            && if access.kind.is_write() {
                self.stores.occupied() < self.limits.store_buffer
            } else {
                self.loads - loads < self.limits.load_buffer
            }
    }

    /// Lets an access in.
    fn enter<C: Core>(&mut self, core: &mut C, access: Access, now: Time) {
        self.quiet = false;
        let id = self.entries.end();
        self.entries.push(Entry::new(self.next, self.loads, access));
        let ready = if access.dependent { self.last_data } else { now };
        if access.kind.is_write() {
            self.stores.reserve();
        }
        if ready <= now {
            self.begin(core, id, now);
        } else if ready < Time::MAX {
            self.schedule(ready, id);
        }
        self.entered(core, id, now);
    }

    /// Lets an access in whose translation was looked up already.
    fn enter_found<C: Core>(&mut self, core: &mut C, access: Access, now: Time, found: Lookup) {
        self.quiet = false;
        let id = self.entries.end();
        self.entries.push(Entry::new(self.next, self.loads, access));
        if access.kind.is_write() {
            self.stores.reserve();
        }
        self.looked_up(core, id, now, found);
        self.entered(core, id, now);
    }

    /// An access has entered: what will be translated next? If none waits for a walker, what enters next.
    fn look_ahead<C: Core>(&self, core: &mut C, cursor: &mut Cursor) {
        if !self.walkers.have_queue() {
            let batch = cursor.batch();
            core.look_ahead(|n| batch.get(n).map(|access| access.va));
        }
    }

    fn entered<C: Core>(&mut self, core: &mut C, id: u64, now: Time) {
        let Entry { phase, complete, access, .. } = self.entries[id];
        let kind = access.kind;
        self.next += 1;
        self.last_data = complete;
        self.loads += u64::from(!kind.is_write());
        if phase == Phase::Flight && self.limits.hits_are_short && complete <= now + self.limits.l1 {
            self.hits_done = self.hits_done.max(complete);
            if kind.is_write() {
                self.stores.forget_sole(complete);
            }
            self.entries.pop_last();
        }
        self.follow_safe(now);
        core.spend(Part::User, self.limits.interval(access));
    }

    /// Lets everything happen that is due, and lets go of what is complete.
    fn settle<C: Core>(&mut self, core: &mut C, now: Time) {
        while let Some((at, id)) = self.events.pop(now) {
            self.happen(core, id, at);
        }
        while self.entries.front().is_some_and(|entry| entry.phase == Phase::Flight && entry.complete <= now)
        {
            self.entries.pop_first();
        }
        self.safe = self.safe.max(self.entries.first());
        self.stores.settle(now);
        self.quiet = self.entries.is_empty()
            && self.stores.is_empty()
            && self.leaving.is_none()
            && self.buffers.are_idle(now);
    }

    fn schedule(&mut self, at: Time, id: u64) {
        self.events.push(at, id);
    }

    /// Takes the accesses that have not begun with their data out of the window, to be made later.
    fn give_back(&mut self, cursor: &mut Cursor) {
        let begun = |entry: &Entry| entry.phase == Phase::Flight;
        let later: Vec<Access> = self.entries.iter().filter(|e| !begun(e)).map(|e| e.access).collect();
        self.entries.retain(begun);
        cursor.give_back(&later);
        self.events.clear();
        self.starved.clear();
        self.walkers.forget_queue();
        self.stores.forget_reserved();
        self.safe = self.entries.end();
        self.unblock();
        self.last_data = Time::ZERO;
    }

    /// Accesses may enter again.
    fn unblock(&mut self) {
        self.blocked = false;
        self.ahead = Ahead::default();
    }
}
