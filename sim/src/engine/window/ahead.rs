//! Running ahead of an access that has to be alone.
//!
//! Until an access that will fault, or sets A or D, is the oldest, a core goes on with those behind it, only to throw them away
//! then. What stays is what they did to TLBs and page tables: their walks fill, and set A but never D (Intel SDM vol. 3, 4.8 and
//! 4.10.2.3). The lines of their data are not fetched here: only translations run ahead.

use daxsim_types::Time;

use super::Window;
use super::core::{Core, Lookup};
use crate::program::{Access, Cursor};

/// How far the accesses behind the window were looked at.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// How many of them.
    seen: usize,
    /// When the next has its issue slot.
    slot: Time,
}

impl Window {
    /// The access that runs ahead next, if there is one and room for it.
    pub(super) fn next_ahead(&self, cursor: &mut Cursor) -> Option<Access> {
        if !self.limits.run_ahead || !self.blocked || self.leaving.is_some() {
            return None;
        }
        let oldest = self.entries.front().map_or(self.next, |entry| entry.seq);
        let room = self.next + self.ahead.seen as u64 - oldest < self.limits.window;
        cursor.batch().get(self.ahead.seen).copied().filter(|_| room)
    }

    /// Translates an access that will be thrown away, and waits until the next one's slot. One whose address is not known yet, or
    /// that finds every walker busy, is passed over.
    pub(super) fn run_ahead<C: Core>(&mut self, core: &mut C, access: Access, now: Time, due: Time) {
        if now >= self.ahead.slot {
            let Access { va, kind, dependent, .. } = access;
            self.ahead.seen += 1;
            self.ahead.slot = now + self.limits.interval(access);
            let free = self.walkers.is_ready(now) && self.walkers.covering(va, now).is_none();
            if !dependent
                && free
                && va.is_canonical_in(self.limits.levels)
                && core.lookup(va, kind) == Lookup::Miss
            {
                let (end, shift) = core.walk_ahead(va, now);
                self.walkers.take_ahead(va, shift, end);
            }
        }
        self.wait(core, now, due.min(self.ahead.slot), true);
    }
}
