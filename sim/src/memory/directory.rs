//! Which private caches hold a line: the L3's snoop filter.

use daxsim_types::CacheLine;

use crate::host;

/// Cores that a directory can name.
pub(super) const MAX_CORES: usize = 256;
const WORD_BITS: usize = 64;
const MAX_WORDS: usize = MAX_CORES / WORD_BITS;
/// Words of an entry of a directory for so many cores as one word names: most machines have no more.
const ONE_WORD: usize = 2;

/// One core holds the line as M or E.
const OWNED: u64 = 1;
const VALID: u64 = 2;
const SHIFT: u32 = 2;
/// Lines whose entries lie together: those that a line of the host's has room for, up to 64 cores.
const NEIGHBOURS: u64 = 4;

/// A set of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CoreSet([u64; MAX_WORDS]);

impl CoreSet {
    /// Just `core`.
    #[inline]
    pub fn of(core: usize) -> Self {
        Self::default().with(core)
    }

    /// The set with `core` in it.
    #[inline]
    pub fn with(mut self, core: usize) -> Self {
        for (at, word) in self.0.iter_mut().enumerate() {
            *word |= bit_of_word(core, at);
        }
        self
    }

    /// The cores, ascending.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let (mut words, mut at) = (self.0, 0);
        std::iter::from_fn(move || {
            while let Some(word) = words.get_mut(at) {
                if *word != 0 {
                    let lowest = word.trailing_zeros() as usize;
                    *word &= *word - 1;
                    return Some(at * WORD_BITS + lowest);
                }
                at += 1;
            }
            None
        })
    }

    /// The set with `core` taken out.
    #[inline]
    pub fn without(mut self, core: usize) -> Self {
        for (at, word) in self.0.iter_mut().enumerate() {
            *word &= !bit_of_word(core, at);
        }
        self
    }

    /// Whether nobody is in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// The lowest core.
    #[inline]
    pub fn first(self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(at * WORD_BITS + word.trailing_zeros() as usize)
    }
}

/// The bit of `core` if it is in the word `at`. Indexing the words by the core instead would keep the set in memory, and reading
/// all of it just after one word was written stalls the host.
const fn bit_of_word(core: usize, at: usize) -> u64 {
    if core / WORD_BITS == at { bit(core) } else { 0 }
}

const fn bit(core: usize) -> u64 {
    1 << (core % WORD_BITS)
}

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
/// An entry is a key word (`line << 2 | VALID | OWNED`) followed by one bit per core, side by
/// side. Linear probing, deletion by shifting back, at most half full; it doubles when it must,
/// so it is never larger than four times the lines of all private caches. The order of entries
/// never shows: there is no iteration but for growing.
pub(super) struct Directory {
    table: Vec<u64>,
    /// Words of an entry: the key and the core bits.
    stride: usize,
    /// Entries of the table, a power of two.
    capacity: usize,
    used: usize,
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
        let stride = 1 + cores.clamp(1, MAX_CORES).div_ceil(WORD_BITS);
        let capacity = (2 * lines).next_power_of_two().max(16);
        Self { table: vec![0; capacity * stride], stride, capacity, used: 0 }
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
            let word = self.table[slot * self.stride];
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
        let mut set = CoreSet::default();
        if self.stride == ONE_WORD {
            set.0[0] = self.table[slot * ONE_WORD + 1];
            return set;
        }
        let words = &self.table[slot * self.stride + 1..(slot + 1) * self.stride];
        for (at, word) in set.0.iter_mut().enumerate() {
            *word = words.get(at).copied().unwrap_or(0);
        }
        set
    }

    #[inline]
    fn set_cores(&mut self, slot: usize, cores: CoreSet) {
        if self.stride == ONE_WORD {
            self.table[slot * ONE_WORD + 1] = cores.0[0];
            return;
        }
        let words = &mut self.table[slot * self.stride + 1..(slot + 1) * self.stride];
        words.iter_mut().zip(cores.0).for_each(|(word, cores)| *word = cores);
    }

    /// Asks the host for the entry of `line`, so that it is near when it is looked at.
    pub fn warm(&self, line: CacheLine) {
        if let Some(word) = self.table.get(self.home(key(line)) * self.stride) {
            host::prefetch(word);
        }
    }

    /// Records that `core` now holds `line`: alone and as owner if it writes or nobody else has
    /// it, otherwise as one sharer. Returns who else held it.
    #[inline]
    pub fn claim(&mut self, line: CacheLine, core: usize, write: bool) -> Held {
        let key = key(line);
        let (slot, found) = self.slot(key);
        let at = slot * self.stride;
        if !found {
            self.table[at] = key | OWNED;
            self.set_cores(slot, CoreSet::of(core));
            self.used += 1;
            if 2 * self.used > self.capacity {
                self.grow();
            }
            return Held::Nowhere;
        }
        let others = self.cores(slot).without(core);
        let owned = self.table[at] & OWNED != 0;
        if write {
            self.table[at] = key | OWNED;
            self.set_cores(slot, CoreSet::of(core));
        } else if !others.is_empty() {
            self.table[at] = key;
            self.table[at + 1 + core / WORD_BITS] |= bit(core);
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
            self.table[slot * self.stride] = key(line);
        }
    }

    /// Records that `core` no longer holds `line`.
    #[inline]
    pub fn release(&mut self, line: CacheLine, core: usize) {
        let (slot, found) = self.slot(key(line));
        if !found {
            return;
        }
        let rest = self.cores(slot).without(core);
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
        let (mask, stride) = (self.capacity - 1, self.stride);
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let word = self.table[next * stride];
            if word == 0 {
                break;
            }
            // The entry may move back if that does not take it before its home.
            if next.wrapping_sub(self.home(word)) & mask >= next.wrapping_sub(hole) & mask {
                self.table.copy_within(next * stride..(next + 1) * stride, hole * stride);
                hole = next;
            }
        }
        self.table[hole * stride] = 0;
        self.used -= 1;
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = self.capacity * 2;
        let old = std::mem::replace(&mut self.table, vec![0; capacity * self.stride]);
        self.capacity = capacity;
        for entry in old.chunks_exact(self.stride).filter(|entry| entry[0] != 0) {
            let (slot, _) = self.slot(entry[0] & !OWNED);
            self.table[slot * self.stride..(slot + 1) * self.stride].copy_from_slice(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn cores_of_all_words_come_out_ascending() {
        let mut d = Directory::new(256, 1);
        for core in [200, 3, 64] {
            d.claim(CacheLine(7), core, false);
        }
        assert_eq!(d.holders(CacheLine(7)).iter().collect::<Vec<_>>(), [3, 64, 200]);
        assert_eq!(d.claim(CacheLine(7), 64, true), Held::Shared(CoreSet::of(3).without(3).union(&[3, 200])));
        assert_eq!(d.claim(CacheLine(7), 3, false), Held::Owned(64));
    }

    impl CoreSet {
        fn union(mut self, cores: &[usize]) -> Self {
            for &core in cores {
                self.0[core / WORD_BITS] |= bit(core);
            }
            self
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_from_lines_to_holders(
            cores in prop::sample::select(vec![2usize, 64, 65, 256]),
            ops in prop::collection::vec((0u64..40, 0usize..256, 0u8..6), 0..400),
        ) {
            let mut d = Directory::new(cores, 1);
            let mut map: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for (line, core, op) in ops {
                let core = core % cores;
                let held = map.entry(line).or_default();
                match op {
                    0..=2 => {
                        d.claim(CacheLine(line), core, op == 2);
                        if op == 2 {
                            held.clear();
                        }
                        if !held.contains(&core) {
                            held.push(core);
                        }
                    }
                    5 => {
                        d.take(CacheLine(line));
                        held.clear();
                    }
                    _ => {
                        d.release(CacheLine(line), core);
                        held.retain(|&c| c != core);
                    }
                }
                held.sort_unstable();
                prop_assert_eq!(d.len(), map.values().filter(|h| !h.is_empty()).count());
                for (&line, held) in &map {
                    prop_assert_eq!(&d.holders(CacheLine(line)).iter().collect::<Vec<_>>(), held);
                }
            }
        }
    }
}
