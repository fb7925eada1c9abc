//! What can be said of hits before they are made.

use daxsim_types::{CacheLine, Time, VirtAddr};

use super::Window;
use super::buffers::StoreQueue;

/// What bears on the accesses that come next, as long as all of them hit first-level TLB and L1D.
pub(crate) struct Outlook<'a> {
    /// The window, if anything is in flight.
    window: Option<&'a Window>,
    /// When something happens to what is in flight, or nothing is any more.
    pub until: Time,
    /// Accesses and loads for which there is room.
    pub room: u64,
    pub loads: u64,
    /// What stores wait behind.
    pub stores: StoreQueue,
    /// When the data of the last access are there.
    pub data: Time,
}

impl Outlook<'_> {
    /// What bears on the next accesses of a core with this window, or of one that stalls on every access, if they hit. `None`: they
    /// would not be made in a run.
    pub(crate) fn of(window: Option<&Window>) -> Option<Outlook<'_>> {
        window.map_or(Some(Outlook::STALLING), Window::outlook)
    }

    /// The outlook of a core that stalls on every access.
    const STALLING: Self = Self {
        window: None,
        until: Time::MAX,
        room: u64::MAX,
        loads: u64::MAX,
        stores: StoreQueue::NONE,
        data: Time::ZERO,
    };

    /// Whether nothing is in flight, so that hits wait for nothing but their operands.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.window.is_none()
    }

    /// Whether an access at `now` has nothing to do with what is on its way.
    #[inline]
    pub(crate) fn is_clear(&self, va: VirtAddr, line: CacheLine, now: Time) -> bool {
        self.window.is_none_or(|w| !w.walkers.serve(va, now) && w.buffers.there(line, now).is_none())
    }
}

impl Window {
    /// See [`Outlook::of`].
    fn outlook(&self) -> Option<Outlook<'_>> {
        let data = self.last_data;
        if !self.limits.hits_are_short || self.is_shut() {
            return None;
        }
        if self.quiet {
            return Some(Outlook { data, ..Outlook::STALLING });
        }
        let (last, last_load) = self.full_at();
        let stores = if self.is_safe(self.entries.end()) {
            self.stores.outlook(self.limits.store_buffer)
        } else {
            StoreQueue::CLOSED
        };
        Some(Outlook {
            window: Some(self),
            until: self.next_change(),
            room: last.saturating_sub(self.next),
            loads: last_load.saturating_sub(self.loads),
            stores,
            data,
        })
    }

    /// Takes note of hits of which it had given the outlook; `data`: when those of the last one are there.
    pub(crate) fn pass_hits(&mut self, count: u64, stores: u64, data: Time) {
        self.next += count;
        self.last_data = data;
        self.hits_done = self.hits_done.max(data);
        if !self.quiet {
            self.loads += count - stores;
        }
    }
}
