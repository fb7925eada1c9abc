//! Which private caches hold a line: the L3's snoop filter.

mod core_set;
mod holders;

use daxsim_types::CacheLine;

use crate::host;

pub(super) use core_set::CoreSet;
use core_set::MAX_CORES;
use holders::Holders;

/// Words of an entry: its key, and its holders.
const STRIDE: usize = 2;
/// One core holds the line as M or E.
const OWNED: u64 = 1;
const VALID: u64 = 2;
const SHIFT: u32 = 2;
/// Lines whose entries lie together: those that a line of the host's has room for.
const NEIGHBOURS: u64 = 4;

/// Who held a line before a request changed that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// No private cache but, perhaps, the asking core's.
    Nowhere,
    /// One other core as M or E.
    Owned(usize),
    /// These other cores as S.
    Shared(CoreSet),
}

impl Held {
    /// Whether a read takes the line from where it was: from its owner, or, where no core has it, to the first that will.
    pub const fn is_taken_by_read(self) -> bool {
        !matches!(self, Self::Shared(_))
    }
}

/// An open-addressed table of the lines that private caches hold.
///
/// An entry is a key word (`line << 2 | VALID | OWNED`) and the word of its holders, side by
/// side. Linear probing, deletion by shifting back, at most half full; it doubles when it must,
/// so it is never larger than four times the lines of all private caches. The order of entries
/// never shows: there is no iteration but for growing.
pub(super) struct Directory {
    table: Vec<u64>,
    /// Entries of the table, a power of two.
    capacity: usize,
    used: usize,
    holders: Holders,
}

const fn key(line: CacheLine) -> u64 {
    line.0 << SHIFT | VALID
}

const fn matches(word: u64, key: u64) -> bool {
    word ^ key < VALID
}

impl Directory {
    /// An empty directory for `cores` cores with room for about `lines` lines before it grows.
    pub fn new(cores: usize, lines: usize) -> Self {
        let capacity = (2 * lines).next_power_of_two().max(16);
        let holders = Holders::new(cores.min(MAX_CORES));
        Self { table: vec![0; capacity * STRIDE], capacity, used: 0, holders }
    }

    /// Lines that are held somewhere.
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Where a key would go. Neighbouring lines go side by side, into one line of the host's: pages are stored, moved and
    /// flushed line after line.
    #[inline]
    fn home(&self, word: u64) -> usize {
        let line = word >> SHIFT;
        // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
        let hash = (line / NEIGHBOURS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let group = hash >> (64 - self.capacity.trailing_zeros());
        (group & !(NEIGHBOURS - 1) | (line % NEIGHBOURS)) as usize
    }

    /// The slot of the key, or the empty slot where it would go.
    #[inline]
    fn slot(&self, key: u64) -> (usize, bool) {
        let mut slot = self.home(key);
        loop {
            let word = self.table[slot * STRIDE];
            if word == 0 {
                return (slot, false);
            }
            if matches(word, key) {
                return (slot, true);
            }
            slot = (slot + 1) & (self.capacity - 1);
        }
    }

    #[inline]
    fn cores(&self, slot: usize) -> CoreSet {
        self.holders.get(self.table[slot * STRIDE + 1])
    }

    #[inline]
    fn set_cores(&mut self, slot: usize, cores: CoreSet) {
        let word = &mut self.table[slot * STRIDE + 1];
        *word = self.holders.replace(*word, cores);
    }

    /// Makes `core` the only holder.
    #[inline]
    fn set_alone(&mut self, slot: usize, core: usize) {
        let word = &mut self.table[slot * STRIDE + 1];
        self.holders.give_up(*word);
        *word = self.holders.alone(core);
    }

    /// Asks the host for the entry of `line`, so that it is near when it is looked at.
    pub fn warm(&self, line: CacheLine) {
        if let Some(word) = self.table.get(self.home(key(line)) * STRIDE) {
            host::prefetch(word);
        }
    }

    /// Records that `core` now holds `line`: alone and as owner if it writes or nobody else has
    /// it, otherwise as one sharer. Returns who else held it.
    #[inline]
    pub fn claim(&mut self, line: CacheLine, core: usize, write: bool) -> Held {
        let key = key(line);
        let (slot, found) = self.slot(key);
        let at = slot * STRIDE;
        if !found {
            self.table[at] = key | OWNED;
            self.table[at + 1] = self.holders.alone(core);
            self.used += 1;
            if 2 * self.used > self.capacity {
                self.grow();
            }
            return Held::Nowhere;
        }
        let others = self.holders.others(self.table[at + 1], core);
        let owned = self.table[at] & OWNED != 0;
        if write {
            self.table[at] = key | OWNED;
            self.set_alone(slot, core);
        } else if !others.is_empty() {
            self.table[at] = key;
            self.table[at + 1] = self.holders.add(self.table[at + 1], core);
        }
        match others.first() {
            None => Held::Nowhere,
            Some(owner) if owned => Held::Owned(owner),
            Some(_) => Held::Shared(others),
        }
    }

    /// Records that nobody owns `line`, which somebody holds.
    pub fn share(&mut self, line: CacheLine) {
        let (slot, found) = self.slot(key(line));
        if found {
            self.table[slot * STRIDE] = key(line);
        }
    }

    /// Records that `core` no longer holds `line`.
    #[inline]
    pub fn release(&mut self, line: CacheLine, core: usize) {
        let (slot, found) = self.slot(key(line));
        if !found {
            return;
        }
        let rest = self.holders.others(self.table[slot * STRIDE + 1], core);
        if rest.is_empty() {
            self.vacate(slot);
        } else {
            self.set_cores(slot, rest);
        }
    }

    /// Everyone who holds `line`.
    #[inline]
    pub fn holders(&self, line: CacheLine) -> CoreSet {
        let (slot, found) = self.slot(key(line));
        if found { self.cores(slot) } else { CoreSet::default() }
    }

    /// Forgets `line` and returns everyone who held it.
    pub fn take(&mut self, line: CacheLine) -> CoreSet {
        let (slot, found) = self.slot(key(line));
        if !found {
            return CoreSet::default();
        }
        let cores = self.cores(slot);
        self.vacate(slot);
        cores
    }

    /// Empties a slot and moves later entries of its run back, so that probes still find them.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.capacity - 1;
        self.holders.give_up(self.table[hole * STRIDE + 1]);
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let word = self.table[next * STRIDE];
            if word == 0 {
                break;
            }
            // The entry may move back if that does not take it before its home.
            if next.wrapping_sub(self.home(word)) & mask >= next.wrapping_sub(hole) & mask {
                self.table.copy_within(next * STRIDE..(next + 1) * STRIDE, hole * STRIDE);
                hole = next;
            }
        }
        self.table[hole * STRIDE] = 0;
        self.used -= 1;
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = self.capacity * 2;
        let old = std::mem::replace(&mut self.table, vec![0; capacity * STRIDE]);
        self.capacity = capacity;
        for entry in old.chunks_exact(STRIDE).filter(|entry| entry[0] != 0) {
            let (slot, _) = self.slot(entry[0] & !OWNED);
            self.table[slot * STRIDE..(slot + 1) * STRIDE].copy_from_slice(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn set(cores: &[usize]) -> CoreSet {
        cores.iter().fold(CoreSet::default(), |set, core| set.with(*core))
    }

    #[test]
    fn cores_of_all_words_come_out_ascending() {
        let mut d = Directory::new(256, 1);
        for core in [200, 3, 64] {
            d.claim(CacheLine(7), core, false);
        }
        assert_eq!(d.holders(CacheLine(7)).iter().collect::<Vec<_>>(), [3, 64, 200]);
        assert_eq!(d.claim(CacheLine(7), 64, true), Held::Shared(set(&[3, 200])));
        assert_eq!(d.claim(CacheLine(7), 3, false), Held::Owned(64));
    }

    impl Directory {
        /// Bytes of the host's memory.
        fn bytes(&self) -> usize {
            self.table.capacity() * size_of::<u64>() + self.holders.bytes()
        }
    }

    #[test]
    fn what_it_takes_for_a_core_does_not_grow_with_the_cores() {
        const LINES: u64 = 1000;
        const SHARED: u64 = 100;
        let bytes = |cores: usize| {
            let mut d = Directory::new(cores, 1);
            for core in 0..cores {
                // Its own, those of a neighbour, and some that all share.
                for line in 0..LINES {
                    d.claim(CacheLine(core as u64 * LINES + line), core, false);
                    d.claim(CacheLine((core ^ 1) as u64 * LINES + line), core, false);
                }
                for line in 0..SHARED {
                    d.claim(CacheLine(1 << 40 | line), core, false);
                }
            }
            d.bytes() / cores
        };
        let few = bytes(16);
        // Two words for each entry, of which at least a quarter are used.
        assert!(few <= 4 * 16 * (LINES + SHARED) as usize, "{few}");
        for cores in [32, 64, 128, 256] {
            let many = bytes(cores);
            assert!(many <= few + few / 100, "{cores} cores: {many} bytes each, {few} of 16");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_from_lines_to_holders(
            cores in prop::sample::select(vec![2usize, 64, 65, 256]),
            ops in prop::collection::vec((0u64..40, 0usize..256, 0u8..12), 0..400),
            lines in prop::sample::select(vec![4u64, 40]),
        ) {
            let mut d = Directory::new(cores, 1);
            let mut map: BTreeMap<u64, (Vec<usize>, bool)> = BTreeMap::new();
            for (line, core, op) in ops {
                let (line, core) = (line % lines, core % cores);
                let (held, owned) = map.entry(line).or_default();
                match op {
                    0..=8 => {
                        let others: Vec<usize> = held.iter().copied().filter(|held| *held != core).collect();
                        let expected = match others[..] {
                            [] => Held::Nowhere,
                            [owner] if *owned => Held::Owned(owner),
                            _ => Held::Shared(set(&others)),
                        };
                        let write = op == 8;
                        prop_assert_eq!(d.claim(CacheLine(line), core, write), expected);
                        *owned = if write || held.is_empty() { true } else { *owned && others.is_empty() };
                        if write {
                            held.clear();
                        }
                        if !held.contains(&core) {
                            held.push(core);
                        }
                    }
                    9 => {
                        prop_assert_eq!(d.take(CacheLine(line)), set(held));
                        held.clear();
                    }
                    _ => {
                        d.release(CacheLine(line), core);
                        held.retain(|&c| c != core);
                    }
                }
                held.sort_unstable();
                prop_assert_eq!(d.len(), map.values().filter(|(held, _)| !held.is_empty()).count());
                for (&line, (held, _)) in &map {
                    prop_assert_eq!(&d.holders(CacheLine(line)).iter().collect::<Vec<_>>(), held);
                }
            }
        }
    }
}
