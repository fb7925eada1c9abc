//! Tree-PLRU, and three trees of four ways with the number of the one used last.

use crate::mmu::tlb::Spot;

/// A word for each row. Node `n` of a tree is bit `n`, its children are `2n` and `2n + 1`, the root is 1. A bit says on which
/// side the victim is.
#[derive(Clone, Debug)]
pub(in crate::mmu::tlb) struct Trees {
    words: Vec<u64>,
    /// For each way, the bits that a use of it sets, and to what.
    touch: Vec<(u64, u64)>,
    levels: u32,
    grouped: bool,
}

/// Where the number of the group used last stands in a word.
const LAST_GROUP: u32 = 16;
/// Ways of a group, and bits of a word for each.
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
    pub fn new(rows: usize, ways: usize, grouped: bool) -> Self {
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
    pub fn used(&mut self, spot: Spot) {
        let (mask, value) = self.touch[spot.way as usize];
        let word = &mut self.words[spot.row as usize];
        *word = (*word & !mask) | value;
    }

    pub fn victim(&self, row: usize) -> usize {
        let word = self.words[row];
        if !self.grouped {
            return pointed(word, self.levels);
        }
        let group = (((word >> LAST_GROUP) & 3) as usize + 1) % 3;
        group * GROUP + pointed(word >> (GROUP * group), self.levels)
    }
}
