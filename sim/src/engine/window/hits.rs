//! Hits while other accesses are in flight: most of what enters a window, made without a place in it.

use daxsim_types::{CacheLine, Time, VirtAddr};

use super::Window;
use super::core::{Core, Lookup};
use super::entry::{Entry, Phase};
use crate::measure::Part;
use crate::program::{Access, Cursor};

impl Window {
    /// Makes the next accesses as long as they hit first-level TLB and L1D and nothing else happens, and lets the first that does
    /// not hit in. False if the next access is not one that can be made so.
    pub(super) fn run_hits<C: Core>(&mut self, core: &mut C, cursor: &mut Cursor, until: Time) -> bool {
        if !self.limits.hits_are_short {
            return false;
        }
        let until = until.min(self.next_change());
        let stores_are_safe = self.is_safe(self.entries.end());
        let (last, last_load) = self.full_at();
        let (mut now, mut made, mut other) = (core.now(), 0, None);
        for access in cursor.batch() {
            let Access { va, kind, dependent, .. } = *access;
            let write = kind.is_write();
            if now >= until
                || self.next >= last
                || dependent && self.last_data > now
                || self.walkers.serve(va, now)
                || !va.is_canonical_in(self.limits.levels)
            {
                break;
            }
            if write {
                self.stores.settle(now);
            }
            let full = if write {
                self.stores.occupied() >= self.limits.store_buffer
            } else {
                self.loads >= last_load
            };
            if full {
                break;
            }
            made += 1;
            let found = core.lookup(va, kind);
            if let Lookup::Hit(line, Time::ZERO) = found
                && write
                && !stores_are_safe
            {
                self.hold(*access, line, now);
                now = core.spend(Part::User, self.limits.interval(*access));
            } else if let Lookup::Hit(line, Time::ZERO) = found
                && self.buffers.there(line, now).is_none()
                && core.try_l1(line, write)
            {
                core.completed(kind);
                self.last_data = now + self.limits.l1;
                self.hits_done = self.hits_done.max(self.last_data);
                self.next += 1;
                self.loads += u64::from(!write);
                if write {
                    self.queue_store(va, now);
                }
                now = core.spend(Part::User, self.limits.interval(*access));
            } else {
                other = Some((*access, found));
                break;
            }
        }
        cursor.pass(made);
        if let Some((access, found)) = other {
            self.enter_found(core, access, now, found);
            self.look_ahead(core, cursor);
        }
        made > 0
    }

    /// Lets a store in whose translation is there, but that an older access may yet stop.
    fn hold(&mut self, access: Access, line: CacheLine, now: Time) {
        let phase = Phase::Held { released: false };
        let held = Entry { phase, line, translated: now, ..Entry::new(self.next, self.loads, access) };
        self.last_data = held.complete;
        self.entries.push(held);
        self.stores.reserve();
        self.next += 1;
    }

    /// Lets a store that hits at `now` into the store buffer, if it is behind another one there.
    pub(crate) fn queue_store(&mut self, va: VirtAddr, now: Time) {
        self.stores.settle(now);
        if self.stores.occupied() > 0 {
            self.stores.reserve();
            self.stores.put(va, now + self.limits.l1);
        }
    }

    /// How many accesses, and how many loads, will have entered when no more can.
    pub(super) fn full_at(&self) -> (u64, u64) {
        let room = |entry: &Entry| (entry.seq + self.limits.window, entry.loads + self.limits.load_buffer);
        self.entries.front().map_or((u64::MAX, u64::MAX), room)
    }

    /// The earliest time at which something may happen to what is in flight, or nothing may be in flight any more.
    pub(super) fn next_change(&self) -> Time {
        let oldest = self.entries.front().map_or(Time::ZERO, |entry| match entry.phase {
            Phase::Flight => entry.complete,
            _ => Time::MAX,
        });
        let written = self.stores.all_written().unwrap_or_default();
        let drained = oldest.max(written).max(self.buffers.latest());
        drained.min(self.events.next())
    }
}
