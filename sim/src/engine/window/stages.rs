//! The steps of an access: its operand, its translation, its data.

use daxsim_types::Time;

use super::Window;
use super::core::{Core, Lookup, Walk};
use super::entry::{Entry, Phase};
use crate::mmu::Refusal;
use crate::program::Access;

impl Window {
    /// The event of an entry.
    pub(super) fn happen<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let mut entry = *self.entry(id);
        match entry.phase {
            Phase::Operand | Phase::Merged => self.begin(core, &mut entry, id, at),
            Phase::Queued => {
                let next = self.walkers.unqueue(entry.access.va, at.saturating_sub(entry.translated));
                self.walk(core, &mut entry, id, at);
                if let Some(next) = next {
                    self.schedule(self.walkers.earliest().max(at), next);
                    let va = |id: u64| self.entries[(id - self.first) as usize].access.va;
                    core.look_ahead(|n| self.walkers.in_queue(n).map(va));
                }
            }
            Phase::Walking | Phase::Held => self.use_data(core, &mut entry, id, at),
            Phase::Starved => {
                self.starved.pop_front();
                self.fetch(core, &mut entry, id, at);
                if let Some(next) = self.starved.front().copied() {
                    self.schedule(self.buffers.earliest().max(at), next);
                }
            }
            // They have no event.
            Phase::Flight | Phase::Assist(_) | Phase::Refused(_) | Phase::Alone => {}
        }
        *self.entry(id) = entry;
        self.follow_safe(at);
    }

    /// Its operand is there: the translation begins.
    pub(super) fn begin<C: Core>(&mut self, core: &mut C, entry: &mut Entry, id: u64, at: Time) {
        let Access { va, kind, .. } = entry.access;
        if !va.is_canonical_in(self.limits.levels) {
            return self.refuse(entry, at, Refusal::GeneralProtection);
        }
        if let Some(end) = self.walkers.covering(va, at) {
            entry.phase = Phase::Merged;
            self.merged += 1;
            return self.schedule(end, id);
        }
        if let Some(leader) = self.walkers.queued(va) {
            entry.phase = Phase::Merged;
            self.merged += 1;
            entry.follower = self.entry(leader).follower.replace(id);
            return;
        }
        let found = core.lookup(va, kind);
        self.looked_up(core, entry, id, at, found);
    }

    /// The TLBs have answered.
    pub(super) fn looked_up<C: Core>(
        &mut self,
        core: &mut C,
        entry: &mut Entry,
        id: u64,
        at: Time,
        found: Lookup,
    ) {
        entry.translated = at;
        match found {
            Lookup::Hit(line, penalty) => {
                entry.line = line;
                entry.translated = at + penalty;
                self.use_data(core, entry, id, at + penalty);
            }
            Lookup::Denied => self.set_apart(entry, Phase::Alone),
            Lookup::Miss if self.walkers.is_ready(at) => self.walk(core, entry, id, at),
            Lookup::Miss => {
                entry.phase = Phase::Queued;
                if self.walkers.queue(id, entry.access.va) {
                    self.schedule(self.walkers.earliest(), id);
                }
            }
        }
    }

    /// A walker is free for it. A store that an older access may yet stop walks as a load does, which does not set D.
    fn walk<C: Core>(&mut self, core: &mut C, entry: &mut Entry, id: u64, at: Time) {
        let Access { va, kind, .. } = entry.access;
        let early = kind.is_write() && !self.is_safe(id);
        let kind = if early { daxsim_types::AccessKind::Read } else { kind };
        let Walk { outcome, end, assist, shift } = core.walk(va, kind, at);
        self.walkers.take(va, shift, end);
        entry.translated = end;
        let mut follower = entry.follower.take();
        while let Some(id) = follower {
            self.schedule(end, id);
            follower = self.entry(id).follower.take();
        }
        match outcome {
            Ok((_, stores)) if early && !stores => self.set_apart(entry, Phase::Alone),
            Err(_) if early => self.set_apart(entry, Phase::Alone),
            Err(refusal) => self.refuse(entry, end, refusal),
            Ok((line, _)) if assist > Time::ZERO => {
                entry.line = line;
                self.set_apart(entry, Phase::Assist(assist));
            }
            Ok((line, _)) => {
                entry.line = line;
                entry.phase = Phase::Walking;
                self.schedule(end, id);
            }
        }
    }

    /// Its translation is there.
    fn use_data<C: Core>(&mut self, core: &mut C, entry: &mut Entry, id: u64, at: Time) {
        if entry.access.kind.is_write() && !self.is_safe(id) {
            entry.phase = Phase::Held;
        } else {
            self.fetch(core, entry, id, at);
        }
    }

    /// Its line: from the L1D, with one that is on its way there already, or by a fill buffer.
    fn fetch<C: Core>(&mut self, core: &mut C, entry: &mut Entry, id: u64, at: Time) {
        let Access { va, kind, .. } = entry.access;
        let (write, line, hit) = (kind.is_write(), entry.line, at + self.limits.l1);
        let there = if core.try_l1(line, write) {
            match self.buffers.there(line, at) {
                Some(there) if write || !self.stores.forwards(va) => there.max(hit),
                _ => hit,
            }
        } else if self.starved.is_empty() && self.buffers.earliest() <= at || entry.phase == Phase::Starved {
            let there = at + core.fetch(line, write, at);
            if there > hit {
                self.buffers.take(line, there);
            }
            there
        } else {
            entry.phase = Phase::Starved;
            self.starved.push_back(id);
            if self.starved.len() == 1 {
                self.schedule(self.buffers.earliest(), id);
            }
            return;
        };
        core.completed(kind);
        entry.phase = Phase::Flight;
        entry.complete = if write { hit } else { there };
        if write {
            self.stores.put(va, there);
        }
        self.tell_dependent(id, entry);
    }

    /// Lets what depends on an entry begin when its data are there.
    fn tell_dependent(&mut self, id: u64, entry: &Entry) {
        if entry.seq + 1 == self.next {
            self.last_data = entry.complete;
            return;
        }
        let place = (id + 1 - self.first) as usize;
        if let Some(next) = self.entries.get_mut(place)
            && next.seq == entry.seq + 1
            && next.phase == Phase::Operand
        {
            next.ready = entry.complete;
            self.schedule(entry.complete, id + 1);
        }
    }

    fn refuse(&mut self, entry: &mut Entry, at: Time, refusal: Refusal) {
        entry.complete = at;
        self.set_apart(entry, Phase::Refused(refusal));
    }

    fn set_apart(&mut self, entry: &mut Entry, phase: Phase) {
        entry.phase = phase;
        self.blocked = true;
    }

    /// Whether no entry older than this one can be refused.
    pub(super) fn is_safe(&self, id: u64) -> bool {
        self.safe >= id
    }

    /// Finds the oldest entry that can still be refused, and lets stores go on that nothing can stop any more.
    pub(super) fn follow_safe(&mut self, at: Time) {
        while let Some(entry) = self.entries.get_mut((self.safe - self.first) as usize) {
            if !entry.is_safe() {
                if entry.phase == Phase::Held && !std::mem::replace(&mut entry.released, true) {
                    let id = self.safe;
                    self.schedule(at, id);
                }
                return;
            }
            self.safe += 1;
        }
    }
}
