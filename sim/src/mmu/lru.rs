//! A small set-associative LRU array of tagged words: what the paging-structure caches are made of.

use super::tlb::TlbStats;
use crate::host;

/// A tag that no entry has: every address has fewer bits.
const EMPTY: u64 = u64::MAX;

/// Slots whose marks are compared at once.
const AT_ONCE: usize = 16;

/// One array. The slots of a set are consecutive, the last used first and the empty ones last.
#[derive(Clone, Debug)]
pub(super) struct Lru {
    slots: Vec<(u64, u64)>,
    /// A byte of each tag, to find it by; behind the last one so many that the comparison may go beyond.
    marks: Vec<u8>,
    ways: usize,
    set_mask: u64,
    live: usize,
    stats: TlbStats,
}

/// The byte that a tag is found by.
#[inline]
const fn mark(tag: u64) -> u8 {
    (tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl Lru {
    /// An empty array. `ways` 0 is fully associative; no entries is no array.
    pub fn new(entries: u32, ways: u32) -> Self {
        let ways = if ways == 0 { entries } else { ways };
        let sets = entries.checked_div(ways).unwrap_or(1).max(1);
        Self {
            slots: vec![(EMPTY, 0); entries as usize],
            marks: vec![0; entries as usize + AT_ONCE],
            ways: ways as usize,
            set_mask: u64::from(sets) - 1,
            live: 0,
            stats: TlbStats::default(),
        }
    }

    /// Where the set begins that `index` chooses.
    #[inline]
    const fn base(&self, index: u64) -> usize {
        (index & self.set_mask) as usize * self.ways
    }

    /// The place of a tag in the set that begins at `base`.
    #[inline]
    fn find(&self, base: usize, tag: u64) -> Option<usize> {
        // Of a set, no more slots can be full than of all.
        let most = self.live.min(self.ways);
        let mark = mark(tag);
        for first in (0..most).step_by(AT_ONCE) {
            let marks = self.marks[base + first..].first_chunk()?;
            let mut candidates = host::equal_bytes(marks, mark);
            while candidates != 0 {
                let at = first + candidates.trailing_zeros() as usize;
                if at < most && self.slots[base + at].0 == tag {
                    return Some(at);
                }
                candidates &= candidates - 1;
            }
        }
        None
    }

    /// Puts a slot in front of a set, in place of the one that is at `at`.
    #[inline]
    fn put_first(&mut self, base: usize, at: usize, slot: (u64, u64)) {
        self.slots.copy_within(base..base + at, base + 1);
        self.marks.copy_within(base..base + at, base + 1);
        (self.slots[base], self.marks[base]) = (slot, mark(slot.0));
    }

    /// The word of `tag`, which becomes the last used of its set.
    #[inline]
    pub fn lookup(&mut self, index: u64, tag: u64) -> Option<u64> {
        if self.slots.is_empty() {
            return None;
        }
        self.stats.lookups += 1;
        let base = self.base(index);
        let Some(at) = self.find(base, tag) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        let slot = self.slots[base + at];
        if at > 0 {
            self.put_first(base, at, slot);
        }
        Some(slot.1)
    }

    /// Puts a word in as the last used of its set: in place of the one of the same tag, else in an empty slot, else in place
    /// of the least recently used.
    pub fn fill(&mut self, index: u64, tag: u64, word: u64) {
        if self.slots.is_empty() {
            return;
        }
        self.stats.fills += 1;
        let base = self.base(index);
        let at = self.find(base, tag).unwrap_or_else(|| self.room(base));
        let old = self.slots[base + at].0;
        self.put_first(base, at, (tag, word));
        self.live += usize::from(old == EMPTY);
        self.stats.replaced += u64::from(old == tag);
        self.stats.evictions += u64::from(old != tag && old != EMPTY);
    }

    /// The first empty place of a set, or the last one.
    #[inline]
    fn room(&self, base: usize) -> usize {
        let set = &self.slots[base..base + self.ways];
        let full = self.live == self.slots.len();
        let empty = if full { None } else { set.iter().position(|slot| slot.0 == EMPTY) };
        empty.unwrap_or(self.ways - 1)
    }

    /// Drops every entry whose tag `keep` says no to. Returns how many went.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) -> u32 {
        let (mut dropped, mut left, mut base) = (0, self.live, 0);
        while left > 0 && base < self.slots.len() {
            let (mut at, mut kept, end) = (base, base, base + self.ways.min(left));
            while at < end && self.slots[at].0 != EMPTY {
                if keep(self.slots[at].0) {
                    if kept < at {
                        (self.slots[kept], self.marks[kept]) = (self.slots[at], self.marks[at]);
                    }
                    kept += 1;
                }
                at += 1;
            }
            self.slots[kept..at].iter_mut().for_each(|slot| slot.0 = EMPTY);
            dropped += (at - kept) as u32;
            left -= at - base;
            base += self.ways;
        }
        self.live -= dropped as usize;
        self.stats.invalidations += u64::from(dropped);
        dropped
    }

    /// Live entries.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Counts since the array was made.
    pub const fn stats(&self) -> TlbStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sets as vectors, the last used first.
    struct Model {
        sets: Vec<Vec<(u64, u64)>>,
        ways: usize,
    }

    impl Model {
        fn set(&mut self, tag: u64) -> &mut Vec<(u64, u64)> {
            let sets = self.sets.len() as u64;
            &mut self.sets[(tag % sets) as usize]
        }
    }

    proptest! {
        #[test]
        fn an_array_does_what_vectors_do(
            (sets, ways) in (0_u32..3, prop_oneof![1_u32..5, Just(20)]),
            ops in prop::collection::vec((0_u8..16, 0_u64..48), 0..400),
        ) {
            let sets = 1 << sets;
            let mut array = Lru::new(sets * ways, if sets == 1 { 0 } else { ways });
            let mut model = Model { sets: vec![Vec::new(); sets as usize], ways: ways as usize };
            let mut word = 0;
            for (op, tag) in ops {
                let ways = model.ways;
                let set = model.set(tag);
                let at = set.iter().position(|s| s.0 == tag);
                match op {
                    0..6 => {
                        let found = at.map(|at| {
                            let slot = set.remove(at);
                            set.insert(0, slot);
                            slot.1
                        });
                        prop_assert_eq!(array.lookup(tag, tag), found);
                    }
                    6..15 => {
                        word += 1;
                        if let Some(at) = at {
                            set.remove(at);
                        }
                        set.insert(0, (tag, word));
                        set.truncate(ways);
                        array.fill(tag, tag, word);
                    }
                    _ => {
                        let before: usize = model.sets.iter().map(Vec::len).sum();
                        model.sets.iter_mut().for_each(|set| set.retain(|s| s.0 % 3 != tag % 3));
                        let after: usize = model.sets.iter().map(Vec::len).sum();
                        prop_assert_eq!(array.retain(|t| t % 3 != tag % 3) as usize, before - after);
                    }
                }
                let live: usize = model.sets.iter().map(Vec::len).sum();
                prop_assert_eq!(array.len(), live);
                prop_assert!(array.stats().balances(live));
            }
        }
    }
}
