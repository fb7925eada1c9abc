//! The L3s: what goes in, what leaves, and what that means for the caches above.

use daxsim_configs::machine::L3Relation;
use daxsim_types::{CacheLine, Time};

use super::cache::{DIRTY, OWNED, Place, Victim};
use super::directory::CoreSet;
use super::hierarchy::Memory;

impl Memory {
    /// Other complexes than `home` whose L3s hold `line`.
    #[inline]
    pub(super) fn other_l3s(&self, line: CacheLine, home: usize) -> CoreSet {
        self.l3_holders.as_ref().map_or_else(CoreSet::default, |held| held.holders(line).without(home))
    }

    /// The complexes whose L3s hold `line`.
    pub(super) fn l3s(&self, line: CacheLine) -> CoreSet {
        match &self.l3_holders {
            Some(held) => held.holders(line),
            None if self.l3.peek(0, line).is_some() => CoreSet::of(0),
            None => CoreSet::default(),
        }
    }

    /// Takes the line out of an L3; its flags.
    pub(super) fn remove_l3(&mut self, complex: usize, line: CacheLine, place: Place) -> u64 {
        if let Some(held) = &mut self.l3_holders {
            held.release(line, complex);
        }
        self.l3.remove_at(place)
    }

    /// A victim L3 gives a line up to a core that will own it; its flags.
    pub(super) fn give_up(&mut self, complex: usize, line: CacheLine, place: Place) -> u64 {
        if let Some(known) = &mut self.refetches {
            known.gives(complex, line);
        }
        self.remove_l3(complex, line, place)
    }

    /// Takes the line out of the L3s of `complexes`, newer data with it: whoever asked has that now.
    #[inline]
    pub(super) fn drop_l3s(&mut self, line: CacheLine, complexes: CoreSet) {
        if complexes.is_empty() {
            return;
        }
        for complex in complexes.iter() {
            if let Some(place) = self.l3.peek(complex, line) {
                self.remove_l3(complex, line, place);
            }
        }
    }

    /// Where a line goes that the L2 of `core` evicted. Returns the wait for a device's write queue.
    pub(super) fn evicted_from_l2(&mut self, core: usize, line: CacheLine, flags: u64, arrive: Time) -> Time {
        let (home, dirty) = (self.topology.complex(core), flags & DIRTY);
        if self.relation != L3Relation::Victim {
            // What is clean is below already, or was when it came in.
            return match self.l3.peek(home, line) {
                _ if dirty == 0 => Time::ZERO,
                Some(place) => {
                    self.l3.add(place, DIRTY);
                    Time::ZERO
                }
                None => self.insert_l3(home, line, dirty, arrive),
            };
        }
        // A victim cache can have a copy of a shared line only.
        if flags & OWNED == 0 && self.l3.touch(home, line).is_some() {
            return Time::ZERO;
        }
        let takes = self.refetches.as_mut().is_none_or(|known| known.takes(home, line, dirty != 0));
        if takes { self.insert_l3(home, line, dirty, arrive) } else { Time::ZERO }
    }

    /// Notes a line in an L3, or puts it there.
    pub(super) fn put_l3(&mut self, complex: usize, line: CacheLine, dirty: u64, arrive: Time) -> Time {
        if self.relation != L3Relation::Victim
            && let Some(place) = self.l3.touch(complex, line)
        {
            self.l3.add(place, dirty);
            return Time::ZERO;
        }
        self.insert_l3(complex, line, dirty, arrive)
    }

    /// Puts a line that is not in the L3 there; a modified victim goes to its device. Returns the
    /// wait for the device's write queue.
    pub(super) fn insert_l3(&mut self, complex: usize, line: CacheLine, dirty: u64, arrive: Time) -> Time {
        if let Some(held) = &mut self.l3_holders {
            held.claim(line, complex, false);
        }
        let Some(Victim { line: victim, mut flags }) = self.l3.insert(complex, line, dirty) else {
            return Time::ZERO;
        };
        if let Some(held) = &mut self.l3_holders {
            held.release(victim, complex);
        }
        if self.relation == L3Relation::Inclusive {
            flags |= self.back_invalidate(complex, victim);
        }
        if flags & DIRTY == 0 {
            return Time::ZERO;
        }
        self.counts.l3.writebacks += 1;
        self.devices.post(victim, arrive.saturating_sub(self.latency.l3), arrive)
    }

    /// Takes from the cores of a complex a line that its inclusive L3 no longer holds; `DIRTY` if one had modified it.
    fn back_invalidate(&mut self, complex: usize, line: CacheLine) -> u64 {
        let mut dirty = 0;
        for core in self
            .holders(line)
            .iter()
            .filter(|core| self.topology.complex(*core) == complex)
            .collect::<Vec<_>>()
        {
            self.counts.l3_back_invalidations += 1;
            self.takes_from_l1(core, line);
            let inner = self.l1.remove(core, line).unwrap_or(0);
            dirty |= (inner | self.l2.remove(core, line).unwrap_or(0)) & DIRTY;
            if let Some(directory) = &mut self.directory {
                directory.release(line, core);
            }
        }
        dirty
    }

    /// Fetches a line into the L2 of `core` that nobody asked for, unless another cache than its L3 has it. Takes no time of
    /// the core's, but the device's. How long it takes.
    pub(super) fn prefetch(&mut self, core: usize, line: CacheLine, now: Time) -> Option<Time> {
        let (home, arrive) = (self.topology.complex(core), now + self.latency.l3);
        let taken = !self.holders(line).is_empty() || !self.other_l3s(line, home).is_empty();
        if taken {
            return None;
        }
        let (mut flags, mut latency) = (OWNED, self.latency.l3);
        match self.l3.touch(home, line) {
            Some(place) if self.relation == L3Relation::Victim => flags |= self.give_up(home, line, place),
            Some(place) => flags |= self.l3.clear(place, DIRTY) & DIRTY,
            None => {
                self.counts.memory_fills += 1;
                let farther = self.topology.remote_memory(core, line);
                latency += self.devices.read(line, arrive).0 + farther;
                if farther > Time::ZERO {
                    self.devices.give_away(line, now + latency);
                }
                if self.relation != L3Relation::Victim {
                    self.insert_l3(home, line, 0, arrive);
                }
            }
        }
        self.counts.prefetches += 1;
        if let Some(directory) = &mut self.directory {
            directory.claim(line, core, true);
        }
        self.fill_l2(core, line, flags, arrive);
        Some(latency)
    }
}
