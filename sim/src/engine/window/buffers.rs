//! Fill buffers and the store buffer of a core.

use std::collections::VecDeque;

use daxsim_types::{CacheLine, Time, VirtAddr};

/// Lines on their way to the L1D.
pub(super) struct FillBuffers {
    /// When each buffer's line is there: free from then on.
    there: Vec<Time>,
    lines: Vec<CacheLine>,
    /// The buffer that is free first, and when.
    first: usize,
    earliest: Time,
    /// When the last of them is there.
    latest: Time,
    /// A bit for each line, that others may share: most lines are seen not to be here.
    filter: u64,
}

impl FillBuffers {
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        let (there, lines) = (vec![Time::ZERO; count], vec![CacheLine(0); count]);
        Self { there, lines, first: 0, earliest: Time::ZERO, latest: Time::ZERO, filter: 0 }
    }

    pub const fn are_idle(&self, now: Time) -> bool {
        self.latest.0 <= now.0
    }

    /// When the last line is there.
    pub const fn latest(&self) -> Time {
        self.latest
    }

    /// The bit of a line in the filter.
    #[inline]
    const fn bit(line: CacheLine) -> u64 {
        1 << (line.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
    }

    /// When a line that is on its way at `now` will be there.
    #[inline]
    pub fn there(&self, line: CacheLine, now: Time) -> Option<Time> {
        if self.latest <= now || self.filter & Self::bit(line) == 0 {
            return None;
        }
        let at = self.lines.iter().zip(&self.there).filter(|(l, at)| **l == line && **at > now);
        at.map(|(_, at)| *at).max()
    }

    /// When a buffer is free.
    #[inline]
    pub const fn earliest(&self) -> Time {
        self.earliest
    }

    /// Takes the buffer that is free first.
    pub fn take(&mut self, line: CacheLine, there: Time) {
        self.there[self.first] = there;
        self.lines[self.first] = line;
        self.latest = self.latest.max(there);
        let (mut first, mut earliest, mut filter) = (0, Time::MAX, 0);
        for (at, (there, line)) in self.there.iter().zip(&self.lines).enumerate() {
            filter |= Self::bit(*line);
            if *there < earliest {
                (first, earliest) = (at, *there);
            }
        }
        (self.first, self.earliest, self.filter) = (first, earliest, filter);
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
        if self.occupied() == 1 && self.all_written() <= Some(hit) {
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

    /// Whether a load of `va` at `now` gets its data from here.
    pub fn forwards(&self, va: VirtAddr, now: Time) -> bool {
        self.stores.iter().any(|store| store.va.0 >> 3 == va.0 >> 3 && store.written > now)
    }

    /// What stores wait behind that come next, in a buffer of so many places.
    pub fn outlook(&self, places: usize) -> StoreQueue {
        StoreQueue {
            reserved: self.reserved > 0,
            written: self.all_written().unwrap_or(Time::ZERO),
            places: places.saturating_sub(self.occupied()),
        }
    }
}

/// What is known of the store buffer before stores that hit come to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreQueue {
    /// A store in the window has its place, but is not here yet.
    reserved: bool,
    /// When the last is written.
    written: Time,
    /// Places that are surely free.
    places: usize,
}

impl StoreQueue {
    /// That of a core on which stores wait for nothing.
    pub(super) const NONE: Self = Self { reserved: false, written: Time::ZERO, places: usize::MAX };
    /// No store may come.
    pub(super) const CLOSED: Self = Self { places: 0, ..Self::NONE };

    /// Whether a store at `now` is behind another one.
    #[inline]
    pub const fn is_there(&self, now: Time) -> bool {
        self.reserved || self.written.0 > now.0
    }

    /// Whether there is a place for a store.
    #[inline]
    pub const fn takes(&self) -> bool {
        self.places > 0
    }

    /// A store whose line is there at `there` comes behind the others.
    #[inline]
    pub fn put(&mut self, there: Time) {
        self.written = self.written.max(there);
        self.places = self.places.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_on_its_way_until_it_is_there(
            count in 1usize..6,
            ops in prop::collection::vec((any::<bool>(), 0u64..12, 0u64..40), 0..200),
        ) {
            let mut buffers = FillBuffers::new(count);
            let (mut model, mut latest) = (vec![(0, 0); count], 0);
            for (take, line, time) in ops {
                let first = (0..count).min_by_key(|at| model[*at].1).unwrap();
                prop_assert_eq!(buffers.earliest().0, model[first].1);
                prop_assert_eq!(buffers.latest().0, latest);
                prop_assert_eq!(buffers.are_idle(Time(time)), latest <= time);
                if take {
                    buffers.take(CacheLine(line), Time(time));
                    model[first] = (line, time);
                    latest = latest.max(time);
                } else {
                    let coming = model.iter().filter(|(l, there)| *l == line && *there > time);
                    let there = coming.map(|(_, there)| Time(*there)).max();
                    prop_assert_eq!(buffers.there(CacheLine(line), Time(time)), there);
                }
            }
        }

        #[test]
        fn what_is_known_of_the_store_buffer_comes_true(
            places in 1usize..8,
            before in prop::collection::vec(0u64..60, 0..6),
            reserved in any::<bool>(),
            steps in prop::collection::vec(0u64..20, 1..40),
        ) {
            const HIT: Time = Time(4);
            let mut buffer = StoreBuffer::default();
            before.iter().for_each(|there| buffer.put(VirtAddr(0), Time(*there)));
            if reserved {
                buffer.reserve();
            }
            let (mut queue, mut now) = (buffer.outlook(places), Time(0));
            for step in steps {
                now += Time(step);
                buffer.settle(now);
                if !queue.takes() {
                    break;
                }
                prop_assert!(buffer.occupied() < places);
                prop_assert_eq!(queue.is_there(now), buffer.occupied() > 0);
                if queue.is_there(now) {
                    queue.put(now + HIT);
                    buffer.reserve();
                    buffer.put(VirtAddr(0), now + HIT);
                }
            }
        }
    }
}
