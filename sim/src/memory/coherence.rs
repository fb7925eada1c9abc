//! What a core's request does to the copies of other cores, and the MESI state that results.

use daxsim_types::CacheLine;

use super::cache::{DIRTY, OWNED};
use super::directory::CoreSet;
use super::hierarchy::Memory;

/// State of a line in a core's private caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mesi {
    /// The only copy, and newer than memory.
    Modified,
    /// The only copy, equal to memory.
    Exclusive,
    /// One of several copies, or the last one left of several; cannot be written without asking.
    Shared,
    /// Not here.
    Invalid,
}

impl Memory {
    /// The state of `line` in the private caches of `core`.
    #[must_use]
    pub fn state(&self, core: usize, line: CacheLine) -> Mesi {
        let Some(l2) = self.l2.flags(core, line) else { return Mesi::Invalid };
        let flags = l2 | self.l1.flags(core, line).unwrap_or(0);
        match (flags & OWNED != 0, flags & DIRTY != 0) {
            (false, _) => Mesi::Shared,
            (true, false) => Mesi::Exclusive,
            (true, true) => Mesi::Modified,
        }
    }

    /// Whether the L3 of a core complex holds `line`, and if so, whether modified.
    #[must_use]
    pub fn l3_state_in(&self, complex: usize, line: CacheLine) -> Option<bool> {
        self.l3.flags(complex, line).map(|flags| flags & DIRTY != 0)
    }

    /// The same of the first complex.
    #[must_use]
    pub fn l3_state(&self, line: CacheLine) -> Option<bool> {
        self.l3_state_in(0, line)
    }

    /// Takes the line from a core.
    pub(super) fn invalidate(&mut self, core: usize, line: CacheLine) {
        self.counts.invalidations += 1;
        self.takes_from_l1(core, line);
        self.l1.remove(core, line);
        self.l2.remove(core, line);
    }

    /// Makes a core's copy shared and clean; returns `DIRTY` if it was modified.
    pub(super) fn downgrade(&mut self, core: usize, line: CacheLine) -> u64 {
        self.clear(core, line, OWNED | DIRTY)
    }

    /// Makes a core's copy clean; returns `DIRTY` if it was modified.
    pub(super) fn clean(&mut self, core: usize, line: CacheLine) -> u64 {
        self.clear(core, line, DIRTY)
    }

    fn clear(&mut self, core: usize, line: CacheLine, flags: u64) -> u64 {
        let mut dirty = 0;
        self.takes_from_l1(core, line);
        for cache in [&mut self.l1, &mut self.l2] {
            if let Some(place) = cache.peek(core, line) {
                dirty |= cache.clear(place, flags) & DIRTY;
            }
        }
        dirty
    }

    /// The cores that may hold `line`.
    pub(super) fn holders(&self, line: CacheLine) -> CoreSet {
        match (&self.directory, self.sole) {
            (Some(directory), _) => directory.holders(line),
            (None, Some(sole)) if self.l2.flags(sole, line).is_some() => CoreSet::of(sole),
            (None, _) => CoreSet::default(),
        }
    }
}
