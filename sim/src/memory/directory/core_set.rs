//! A set of cores.

/// Cores that a set can name.
pub(in crate::memory) const MAX_CORES: usize = 256;
const WORD_BITS: usize = 64;
const WORDS: usize = MAX_CORES / WORD_BITS;

/// A set of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::memory) struct CoreSet([u64; WORDS]);

impl CoreSet {
    /// Just `core`.
    #[inline]
    pub fn of(core: usize) -> Self {
        Self::default().with(core)
    }

    /// Those of the first 64 cores whose bits are set.
    #[inline]
    pub const fn of_first(bits: u64) -> Self {
        let mut words = [0; WORDS];
        words[0] = bits;
        Self(words)
    }

    /// A bit for each of the first 64 cores.
    #[inline]
    pub const fn first_bits(self) -> u64 {
        self.0[0]
    }

    /// The set with `core` in it.
    #[inline]
    pub fn with(mut self, core: usize) -> Self {
        for (at, word) in self.0.iter_mut().enumerate() {
            *word |= bit_of_word(core, at);
        }
        self
    }

    /// The set with `core` taken out.
    #[inline]
    pub fn without(mut self, core: usize) -> Self {
        for (at, word) in self.0.iter_mut().enumerate() {
            *word &= !bit_of_word(core, at);
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

    /// How many there are.
    #[inline]
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
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
    if core / WORD_BITS == at { 1 << (core % WORD_BITS) } else { 0 }
}
