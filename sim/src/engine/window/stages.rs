//! The steps of an access: its operand, its translation, its data.

use daxsim_types::Time;

use super::Window;
use super::core::{Core, Lookup, Walk};
use super::entry::{Entry, NOBODY, Phase};
use crate::mmu::Refusal;
use crate::program::Access;

impl Window {
    /// The event of an entry.
    #[inline]
    pub(super) fn happen<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let entry = &self.entries[id];
        match entry.phase {
            Phase::Operand | Phase::Merged => self.begin(core, id, at),
            Phase::Queued => {
                let next = self.walkers.unqueue(at.saturating_sub(entry.translated));
                self.walk(core, id, at);
                if let Some(next) = next {
                    self.schedule(self.walkers.earliest().max(at), next);
                    let va = |id: u64| self.entries[id].access.va;
                    core.look_ahead(|n| self.walkers.in_queue(n).map(va));
                }
            }
            Phase::Walking | Phase::Held { .. } => self.use_data(core, id, at),
            Phase::Starved => {
                self.starved.pop_front();
                self.fetch(core, id, at);
                if let Some(next) = self.starved.front().copied() {
                    self.schedule(self.buffers.earliest().max(at), next);
                }
            }
            // They have no event.
            Phase::Flight | Phase::Assist(_) | Phase::Refused(_) | Phase::Alone => {}
        }
        self.follow_safe(at);
    }

    /// Its operand is there: the translation begins.
    pub(super) fn begin<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let entry = &mut self.entries[id];
        let Access { va, kind, .. } = entry.access;
        if !va.is_canonical_in(self.limits.levels) {
            return self.refuse(id, at, Refusal::GeneralProtection);
        }
        if let Some(end) = self.walkers.covering(va, at) {
            entry.phase = Phase::Merged;
            self.merged += 1;
            return self.schedule(end, id);
        }
        if let Some(leader) = self.walkers.queued(va) {
            entry.phase = Phase::Merged;
            self.merged += 1;
            let last = std::mem::replace(&mut self.entries[leader].follower, id);
            self.entries[id].follower = last;
            return;
        }
        let found = core.lookup(va, kind);
        self.looked_up(core, id, at, found);
    }

    /// The TLBs have answered.
    #[inline]
    pub(super) fn looked_up<C: Core>(&mut self, core: &mut C, id: u64, at: Time, found: Lookup) {
        let entry = &mut self.entries[id];
        entry.translated = at;
        match found {
            Lookup::Hit(line, penalty) => {
                entry.line = line;
                entry.translated = at + penalty;
                self.use_data(core, id, at + penalty);
            }
            Lookup::Denied => self.set_apart(id, Phase::Alone),
            Lookup::Miss if self.walkers.is_ready(at) => self.walk(core, id, at),
            Lookup::Miss => {
                entry.phase = Phase::Queued;
                if self.walkers.queue(id, entry.access.va) {
                    self.schedule(self.walkers.earliest(), id);
                }
            }
        }
    }

    /// A walker is free for it. A store that an older access may yet stop walks as a load does, which does not set D.
    fn walk<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let Access { va, kind, .. } = self.entries[id].access;
        let early = kind.is_write() && !self.is_safe(id);
        let kind = if early { daxsim_types::AccessKind::Read } else { kind };
        let Walk { outcome, end, assist, shift } = core.walk(va, kind, at);
        self.walkers.take(va, shift, end);
        let entry = &mut self.entries[id];
        entry.translated = end;
        let mut follower = std::mem::replace(&mut entry.follower, NOBODY);
        while follower != NOBODY {
            self.schedule(end, follower);
            follower = std::mem::replace(&mut self.entries[follower].follower, NOBODY);
        }
        match outcome {
            Ok((_, stores)) if early && !stores => self.set_apart(id, Phase::Alone),
            Err(_) if early => self.set_apart(id, Phase::Alone),
            Err(refusal) => self.refuse(id, end, refusal),
            Ok((line, _)) if assist > Time::ZERO => {
                self.entries[id].line = line;
                self.set_apart(id, Phase::Assist(assist));
            }
            Ok((line, _)) => {
                let entry = &mut self.entries[id];
                entry.line = line;
                entry.phase = Phase::Walking;
                self.schedule(end, id);
            }
        }
    }

    /// Its translation is there.
    #[inline]
    fn use_data<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let safe = self.is_safe(id);
        let entry = &mut self.entries[id];
        if entry.access.kind.is_write() && !safe {
            entry.phase = Phase::Held { released: false };
        } else {
            self.fetch(core, id, at);
        }
    }

    /// Its line: from the L1D, with one that is on its way there already, or by a fill buffer.
    fn fetch<C: Core>(&mut self, core: &mut C, id: u64, at: Time) {
        let Entry { access: Access { va, kind, .. }, line, phase, .. } = self.entries[id];
        let (write, hit) = (kind.is_write(), at + self.limits.l1);
        let there = if core.try_l1(line, write) {
            match self.buffers.there(line, at) {
                Some(there) if write || !self.stores.forwards(va, at) => there.max(hit),
                _ => hit,
            }
        } else if self.starved.is_empty() && self.buffers.earliest() <= at || phase == Phase::Starved {
            let there = at + core.fetch(line, write, at);
            if there > hit {
                self.buffers.take(line, there);
            }
            there
        } else {
            self.entries[id].phase = Phase::Starved;
            self.starved.push_back(id);
            if self.starved.len() == 1 {
                self.schedule(self.buffers.earliest(), id);
            }
            return;
        };
        core.completed(kind);
        let entry = &mut self.entries[id];
        entry.phase = Phase::Flight;
        entry.complete = if write { hit } else { there };
        let (seq, complete) = (entry.seq, entry.complete);
        if write {
            self.stores.put(va, there);
        }
        self.tell_dependent(id, seq, complete);
    }

    /// Lets what depends on an entry begin when its data are there.
    #[inline]
    fn tell_dependent(&mut self, id: u64, seq: u64, complete: Time) {
        if seq + 1 == self.next {
            self.last_data = complete;
            return;
        }
        if let Some(next) = self.entries.get(id + 1)
            && next.seq == seq + 1
            && next.phase == Phase::Operand
        {
            self.schedule(complete, id + 1);
        }
    }

    fn refuse(&mut self, id: u64, at: Time, refusal: Refusal) {
        self.entries[id].complete = at;
        self.set_apart(id, Phase::Refused(refusal));
    }

    fn set_apart(&mut self, id: u64, phase: Phase) {
        self.entries[id].phase = phase;
        self.blocked = true;
    }

    /// Whether no entry older than this one can be refused.
    #[inline]
    pub(super) fn is_safe(&self, id: u64) -> bool {
        self.safe >= id
    }

    /// Finds the oldest entry that can still be refused, and lets stores go on that nothing can stop any more.
    #[inline]
    pub(super) fn follow_safe(&mut self, at: Time) {
        while let Some(entry) = self.entries.get_mut(self.safe) {
            if !entry.is_safe() {
                if let Phase::Held { released } = &mut entry.phase
                    && !std::mem::replace(released, true)
                {
                    let id = self.safe;
                    self.schedule(at, id);
                }
                return;
            }
            self.safe += 1;
        }
    }
}
