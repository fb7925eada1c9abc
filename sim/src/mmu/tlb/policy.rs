//! Which entry of a full set makes room.

mod age;
mod tree;

use daxsim_configs::machine::{Replacement, TlbSpec};

use super::place::Spot;
use age::{List, Order, Stamps};
use tree::Trees;

/// Replacement state of an array.
#[derive(Clone, Debug)]
pub(super) enum Policy {
    /// LRU or FIFO of up to 16 ways.
    Order(Order),
    /// LRU or FIFO of more.
    List(List),
    /// LRU or FIFO where a page's slots are in several rows.
    Stamps(Stamps),
    /// Tree-PLRU, or three such groups.
    Tree(Trees),
    /// The state of the generator.
    Random(u64),
}

impl Policy {
    /// The state of an empty array; `seed` is for a random choice alone. In a `plain` array a page's slots are one row.
    pub fn new(spec: &TlbSpec, plain: bool, seed: u64) -> Self {
        let (ways, rows) = (spec.ways as usize, spec.sets() as usize);
        match spec.replacement {
            Replacement::Lru | Replacement::Fifo => {
                let by_use = spec.replacement == Replacement::Lru;
                match ways {
                    _ if !plain => Self::Stamps(Stamps::new(spec.entries as usize, by_use)),
                    1..=Order::MOST_WAYS => Self::Order(Order::new(rows, ways, by_use)),
                    _ => Self::List(List::new(rows, ways, by_use)),
                }
            }
            Replacement::Plru => Self::Tree(Trees::new(rows, ways, false)),
            Replacement::Mru3Plru4 => Self::Tree(Trees::new(rows, ways, true)),
            Replacement::Random => Self::Random(seed),
        }
    }

    /// A hit in the slot with index `i`.
    #[inline(always)]
    pub fn used(&mut self, spot: Spot, i: usize) {
        match self {
            Self::Tree(trees) => trees.used(spot),
            Self::Order(order) if order.by_use => order.newest(spot),
            _ => self.used_in_any(spot, i),
        }
    }

    /// The same, where neither a tree nor an order in a word is kept.
    #[inline(never)]
    fn used_in_any(&mut self, spot: Spot, i: usize) {
        match self {
            Self::List(list) if list.by_use => list.newest(spot),
            Self::Stamps(stamps) if stamps.by_use => stamps.newest(i),
            _ => {}
        }
    }

    /// A fill of the slot with index `i`.
    #[inline]
    pub fn filled(&mut self, spot: Spot, i: usize) {
        match self {
            Self::Order(order) => order.newest(spot),
            Self::Tree(trees) => trees.used(spot),
            Self::List(list) => list.newest(spot),
            Self::Stamps(stamps) => stamps.newest(i),
            Self::Random(_) => {}
        }
    }

    /// The slot with index `i` is empty from now on: the next to be filled, where there is an order. Trees stay as they are.
    pub fn emptied(&mut self, spot: Spot, i: usize) {
        match self {
            Self::Order(order) => order.oldest(spot),
            Self::List(list) => list.oldest(spot),
            Self::Stamps(stamps) => stamps.oldest(i),
            Self::Tree(_) | Self::Random(_) => {}
        }
    }

    /// The way of `row` that makes room next, if that is also an empty one where there is one.
    #[inline]
    pub fn last(&self, row: usize) -> Option<usize> {
        match self {
            Self::Order(order) => Some(order.last(row)),
            Self::List(list) => Some(list.last(row)),
            Self::Stamps(_) | Self::Tree(_) | Self::Random(_) => None,
        }
    }

    /// The victim's way in a full row, where [`Self::last`] does not say.
    pub fn victim(&mut self, row: usize, ways: usize) -> usize {
        match self {
            Self::Tree(trees) => trees.victim(row),
            Self::Random(state) => draw(state, ways),
            Self::Order(_) | Self::List(_) | Self::Stamps(_) => 0,
        }
    }

    /// The position of the victim among some slots, all of them live, by their indices.
    pub fn victim_among(&mut self, indices: impl Iterator<Item = usize>, count: usize) -> usize {
        match self {
            Self::Stamps(stamps) => stamps.oldest_among(indices),
            Self::Random(state) => draw(state, count),
            // The others stand on the ways of one row: the checks of the config refuse them here.
            Self::Order(_) | Self::List(_) | Self::Tree(_) => 0,
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
