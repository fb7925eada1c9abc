//! Fill buffers and the store buffer of a core.

use std::collections::VecDeque;

use daxsim_types::{CacheLine, Time, VirtAddr};

/// Lines on their way to the L1D.
pub(super) struct FillBuffers {
    /// When each buffer's line is there: free from then on.
    there: Vec<Time>,
    lines: Vec<CacheLine>,
    /// When the last of them is there.
    latest: Time,
}

impl FillBuffers {
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { there: vec![Time::ZERO; count], lines: vec![CacheLine(0); count], latest: Time::ZERO }
    }

    pub fn are_idle(&self, now: Time) -> bool {
        self.latest <= now
    }

    /// When the last line is there.
    pub const fn latest(&self) -> Time {
        self.latest
    }

    /// When a line that is on its way at `now` will be there.
    #[inline]
    pub fn there(&self, line: CacheLine, now: Time) -> Option<Time> {
        if self.latest <= now || !self.lines.contains(&line) {
            return None;
        }
        let at = self.lines.iter().zip(&self.there).filter(|(l, at)| **l == line && **at > now);
        at.map(|(_, at)| *at).max()
    }

    /// When a buffer is free.
    pub fn earliest(&self) -> Time {
        self.there.iter().copied().min().unwrap_or_default()
    }

    /// Takes the buffer that is free first.
    pub fn take(&mut self, line: CacheLine, there: Time) {
        if let Some(at) = (0..self.there.len()).min_by_key(|at| self.there[*at]) {
            self.there[at] = there;
            self.lines[at] = line;
        }
        self.latest = self.latest.max(there);
    }
}

/// A store that has left the window, or could.
struct Stored {
    va: VirtAddr,
    /// When it is in the L1D.
    written: Time,
}

/// Stores whose lines are on their way, oldest first: they are written in program order.
#[derive(Default)]
pub(super) struct StoreBuffer {
    stores: VecDeque<Stored>,
    /// Stores in the window that are not here yet, but have their place.
    reserved: usize,
}

impl StoreBuffer {
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// Places taken.
    pub fn occupied(&self) -> usize {
        self.stores.len() + self.reserved
    }

    /// A store entered the window.
    pub fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Its line will be there at `there`.
    pub fn put(&mut self, va: VirtAddr, there: Time) {
        self.reserved = self.reserved.saturating_sub(1);
        let written = self.stores.back().map_or(there, |last| last.written.max(there));
        self.stores.push_back(Stored { va, written });
    }

    /// Lets go of a store that entered just now, and nothing is before it, if it is written by `hit`.
    pub fn forget_sole(&mut self, hit: Time) {
        if self.stores.len() == 1 && self.all_written() <= Some(hit) {
            self.stores.clear();
        }
    }

    pub fn forget_reserved(&mut self) {
        self.reserved = 0;
    }

    /// Lets go of what is written.
    pub fn settle(&mut self, now: Time) {
        while self.stores.front().is_some_and(|store| store.written <= now) {
            self.stores.pop_front();
        }
    }

    /// When the oldest is written.
    pub fn first_written(&self) -> Option<Time> {
        self.stores.front().map(|store| store.written)
    }

    /// When all are written.
    pub fn all_written(&self) -> Option<Time> {
        self.stores.back().map(|store| store.written)
    }

    /// Whether a load of `va` gets its data from here.
    pub fn forwards(&self, va: VirtAddr) -> bool {
        self.stores.iter().any(|store| store.va.0 >> 3 == va.0 >> 3)
    }
}
