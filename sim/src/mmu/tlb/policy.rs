//! Which entry of a full set makes room.

use daxsim_configs::machine::{Replacement, TlbSpec};

use super::place::Spot;

/// Replacement state of an array.
#[derive(Clone, Debug)]
pub(super) enum Policy {
    /// When each slot was last used (LRU) or filled (FIFO); 0 if it is empty, so that an empty one is always the oldest.
    Age { stamps: Vec<u64>, clock: u64, hits: bool },
    /// Trees over the ways, a word for each row.
    Tree(Trees),
    /// The state of the generator.
    Random(u64),
}

/// Tree-PLRU, or three trees of four ways and the number of the one used last.
///
/// Node `n` of a tree is bit `n`, its children are `2n` and `2n + 1`, the root is 1. A bit says on which side the victim is.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    words: Vec<u64>,
    /// For each way, the bits that a use of it sets, and to what.
    touch: Vec<(u64, u64)>,
    levels: u32,
    grouped: bool,
}

/// Where the number of the group used last stands in a word.
const LAST_GROUP: u32 = 16;
/// Bits of a word for each group of four.
const GROUP: usize = 4;

/// What a use of way `way` of a tree of `levels` does: the bits on its path, each pointing to the other side.
fn path(way: usize, levels: u32) -> (u64, u64) {
    let (mut mask, mut value, mut node) = (0, 0, 1_usize);
    for level in (0..levels).rev() {
        let side = (way >> level) & 1;
        mask |= 1 << node;
        value |= ((1 - side) as u64) << node;
        node = 2 * node + side;
    }
    (mask, value)
}

/// The way that a tree points to.
fn pointed(word: u64, levels: u32) -> usize {
    let mut node = 1_usize;
    for _ in 0..levels {
        node = 2 * node + ((word >> node) & 1) as usize;
    }
    node - (1 << levels)
}

impl Trees {
    fn new(rows: usize, ways: usize, grouped: bool) -> Self {
        let levels = if grouped { 2 } else { ways.trailing_zeros() };
        let touch = (0..ways).map(|way| {
            if !grouped {
                return path(way, levels);
            }
            let (mask, value) = path(way % GROUP, levels);
            let group = way / GROUP;
            (
                mask << (GROUP * group) | 3 << LAST_GROUP,
                value << (GROUP * group) | (group as u64) << LAST_GROUP,
            )
        });
        Self { words: vec![0; rows], touch: touch.collect(), levels, grouped }
    }

    #[inline]
    fn used(&mut self, spot: Spot) {
        let (mask, value) = self.touch[spot.way];
        let word = &mut self.words[spot.row];
        *word = (*word & !mask) | value;
    }

    fn victim(&self, row: usize) -> usize {
        let word = self.words[row];
        if !self.grouped {
            return pointed(word, self.levels);
        }
        let group = (((word >> LAST_GROUP) & 3) as usize + 1) % 3;
        group * GROUP + pointed(word >> (GROUP * group), self.levels)
    }
}

impl Policy {
    /// The state of an empty array; `seed` is for a random choice alone.
    pub fn new(spec: &TlbSpec, seed: u64) -> Self {
        let (entries, ways, rows) = (spec.entries as usize, spec.ways as usize, spec.sets() as usize);
        match spec.replacement {
            Replacement::Lru => Self::Age { stamps: vec![0; entries], clock: 0, hits: true },
            Replacement::Fifo => Self::Age { stamps: vec![0; entries], clock: 0, hits: false },
            Replacement::Plru => Self::Tree(Trees::new(rows, ways, false)),
            Replacement::Mru3Plru4 => Self::Tree(Trees::new(rows, ways, true)),
            Replacement::Random => Self::Random(seed),
        }
    }

    /// A hit in the slot with index `i`.
    #[inline]
    pub fn used(&mut self, spot: Spot, i: usize) {
        match self {
            Self::Age { stamps, clock, hits: true } => {
                *clock += 1;
                stamps[i] = *clock;
            }
            Self::Age { .. } | Self::Random(_) => {}
            Self::Tree(trees) => trees.used(spot),
        }
    }

    /// A fill of the slot with index `i`.
    #[inline]
    pub fn filled(&mut self, spot: Spot, i: usize) {
        match self {
            Self::Age { stamps, clock, .. } => {
                *clock += 1;
                stamps[i] = *clock;
            }
            Self::Random(_) => {}
            Self::Tree(trees) => trees.used(spot),
        }
    }

    /// The slot with index `i` is empty from now on.
    pub fn emptied(&mut self, i: usize) {
        if let Self::Age { stamps, .. } = self {
            stamps[i] = 0;
        }
    }

    /// All slots are. Trees stay as they are: only valid bits are cleared.
    pub fn all_emptied(&mut self) {
        if let Self::Age { stamps, .. } = self {
            stamps.fill(0);
        }
    }

    /// The oldest of the slots `from..from + ways`, if ages are kept: the first empty one, if there is any.
    #[inline]
    pub fn oldest(&self, from: usize, ways: usize) -> Option<usize> {
        let Self::Age { stamps, .. } = self else { return None };
        // Ways are below 2^16 and stamps below 2^48, so one comparison does for both.
        let keys = stamps[from..from + ways].iter().enumerate().map(|(way, stamp)| stamp << 16 | way as u64);
        keys.min().map(|key| (key & 0xffff) as usize)
    }

    /// The victim's way in a full row, where no ages are kept.
    pub fn victim(&mut self, row: usize, ways: usize) -> usize {
        match self {
            Self::Age { .. } => 0,
            Self::Random(state) => draw(state, ways),
            Self::Tree(trees) => trees.victim(row),
        }
    }

    /// The position of the victim among some slots, all of them live, by their indices.
    pub fn victim_among(&mut self, indices: impl Iterator<Item = usize>, count: usize) -> usize {
        match self {
            Self::Age { stamps, .. } => {
                let oldest = indices.enumerate().min_by_key(|(_, i)| stamps[*i]);
                oldest.map_or(0, |(position, _)| position)
            }
            Self::Random(state) => draw(state, count),
            // Refused by the checks of the config: a tree stands on the ways of one row.
            Self::Tree(_) => 0,
        }
    }
}

/// A number below `n` (SplitMix64, S. Vigna).
fn draw(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * n as u128) >> 64) as usize
}
