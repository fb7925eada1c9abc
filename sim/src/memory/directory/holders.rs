//! The holders of a line in one word, however many cores there are.
//!
//! Of up to 64 cores the word has a bit for each. Of more it has the numbers of up to seven, a byte each; of a line that more of them
//! hold it has the place of a set. Few lines have so many sharers, so what a directory takes for a line does not grow with the
//! cores (Agarwal et al., ISCA 1988, call such pointers with an overflow Dir_i).

use super::core_set::{CoreSet, MAX_CORES};

/// Cores that have a bit in a word.
const BITS: usize = 64;
/// Numbers of cores that a word holds, and how many bits each takes.
const NUMBERS: usize = 7;
const NUMBER_BITS: usize = 8;
/// Where the byte is that says how many numbers a word has.
const COUNT_SHIFT: usize = NUMBERS * NUMBER_BITS;
/// In place of a count: the word has the place of a set.
const SPILLED: u64 = 0xff;

const _: () = assert!(MAX_CORES <= 1 << NUMBER_BITS);

/// Reads and writes the words.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// There are more cores than a word has bits.
    many: bool,
    sets: Vec<CoreSet>,
    /// Places of `sets` that no word has.
    free: Vec<u32>,
}

impl Holders {
    /// Words for so many cores.
    pub const fn new(cores: usize) -> Self {
        Self { many: cores > BITS, sets: Vec::new(), free: Vec::new() }
    }

    /// The word of a line that `core` alone holds.
    #[inline]
    pub const fn alone(&self, core: usize) -> u64 {
        if self.many { 1 << COUNT_SHIFT | core as u64 } else { 1 << core }
    }

    /// The holders.
    #[inline]
    pub fn get(&self, word: u64) -> CoreSet {
        if self.many { self.get_of_many(word) } else { CoreSet::of_first(word) }
    }

    fn get_of_many(&self, word: u64) -> CoreSet {
        let count = word >> COUNT_SHIFT;
        if count == SPILLED {
            return self.sets.get(word as u32 as usize).copied().unwrap_or_default();
        }
        let number = |at: u64| (word >> (at as usize * NUMBER_BITS) & 0xff) as usize;
        (0..count).fold(CoreSet::default(), |set, at| set.with(number(at)))
    }

    /// The holders but `core`.
    #[inline]
    pub fn others(&self, word: u64, core: usize) -> CoreSet {
        if self.many { self.get_of_many(word).without(core) } else { CoreSet::of_first(word & !(1 << core)) }
    }

    /// The word of the same holders and `core`.
    #[inline]
    pub fn add(&mut self, word: u64, core: usize) -> u64 {
        if self.many {
            self.replace_of_many(word, self.get_of_many(word).with(core))
        } else {
            word | 1 << core
        }
    }

    /// The word of `cores` in place of `word`, which is nobody's from now on.
    #[inline]
    pub fn replace(&mut self, word: u64, cores: CoreSet) -> u64 {
        if self.many { self.replace_of_many(word, cores) } else { cores.first_bits() }
    }

    fn replace_of_many(&mut self, word: u64, cores: CoreSet) -> u64 {
        let count = cores.len();
        if count <= NUMBERS {
            self.give_up(word);
            let numbers = cores.iter().enumerate();
            return numbers.fold((count as u64) << COUNT_SHIFT, |word, (at, core)| {
                word | (core as u64) << (at * NUMBER_BITS)
            });
        }
        let place = match self.place(word) {
            Some(place) => place,
            None => self.free.pop().unwrap_or_else(|| {
                self.sets.push(CoreSet::default());
                (self.sets.len() - 1) as u32
            }),
        };
        self.sets[place as usize] = cores;
        SPILLED << COUNT_SHIFT | u64::from(place)
    }

    /// The place of the set of a word, if it has one.
    #[inline]
    const fn place(&self, word: u64) -> Option<u32> {
        if self.many && word >> COUNT_SHIFT == SPILLED { Some(word as u32) } else { None }
    }

    /// A word is nobody's from now on.
    #[inline]
    pub fn give_up(&mut self, word: u64) {
        if let Some(place) = self.place(word) {
            self.free.push(place);
        }
    }

    /// Bytes of the host's memory that the sets take.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.sets.capacity() * size_of::<CoreSet>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Words that come and go, several at a time, so that sets are used again.
        #[test]
        fn a_word_says_who_was_put_into_it(
            cores in prop::sample::select(vec![1usize, 64, 65, 256]),
            puts in prop::collection::vec((0usize..4, prop::collection::btree_set(0usize..256, 0..12)), 0..60),
        ) {
            let mut holders = Holders::new(cores);
            let mut words = [0; 4].map(|_| (holders.alone(cores - 1), vec![cores - 1]));
            for (at, put) in puts {
                let put: Vec<usize> = put.into_iter().filter(|core| *core < cores).collect();
                let set = put.iter().fold(CoreSet::default(), |set, core| set.with(*core));
                words[at] = (holders.replace(words[at].0, set), put);
                for (word, put) in &words {
                    prop_assert_eq!(&holders.get(*word).iter().collect::<Vec<_>>(), put);
                }
                prop_assert!(holders.sets.len() <= 4, "a set that is nobody's is used again");
            }
        }
    }
}
