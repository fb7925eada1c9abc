//! Which way of a full set leaves: policies over a word of state for each set.
//!
//! A state of zero is that of a set never used.

use daxsim_configs::machine::{CacheReplacement, CacheSpec};

/// Most ways whose order a word holds.
const NIBBLES: u32 = 16;
/// Way 0 first, way 15 last. Kept orders are exclusive-or this, so that zero is one, too.
const IDENTITY: u64 = 0xfedc_ba98_7654_3210;
const ONES: u64 = 0x1111_1111_1111_1111;
const HIGHS: u64 = 0x8888_8888_8888_8888;
/// The low bit of each two-bit prediction.
const PAIRS: u64 = 0x5555_5555_5555_5555;

/// A policy for sets of a number of ways.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// LRU: a permutation of up to 16 ways in nibbles, most recently used lowest.
    Order,
    /// LRU of more ways: a stamp for each way, beside the state, which counts them.
    Stamps,
    /// `Order`, but of the lines that come in only one of so many is put in front, the others behind.
    Bimodal(u32),
    /// Tree-PLRU: bit `n` of a heap-ordered tree is set if its right half is older.
    Tree,
    /// Any way.
    Random,
    /// SRRIP-HP: two bits a way.
    Srrip,
    /// QLRU of Intel's L2s: two bits a way.
    Qlru,
}

impl Policy {
    pub const fn new(spec: &CacheSpec) -> Self {
        match spec.replacement {
            CacheReplacement::Lru if spec.ways <= NIBBLES => Self::Order,
            CacheReplacement::Bip => Self::Bimodal(spec.bip_rate),
            CacheReplacement::Lru => Self::Stamps,
            CacheReplacement::TreePlru => Self::Tree,
            CacheReplacement::Random => Self::Random,
            CacheReplacement::Srrip => Self::Srrip,
            CacheReplacement::Qlru => Self::Qlru,
        }
    }

    /// Words beside the state that a set needs.
    pub const fn stamps(self, ways: usize) -> usize {
        if matches!(self, Self::Stamps) { ways } else { 0 }
    }
}

/// Moves `way` to the front of an order.
#[inline]
pub(super) const fn promote(state: u64, way: usize) -> u64 {
    let order = state ^ IDENTITY;
    let other = order ^ (way as u64).wrapping_mul(ONES);
    // The lowest zero nibble is where the way stands.
    let rank = (other.wrapping_sub(ONES) & !other & HIGHS).trailing_zeros() & !3;
    let before = (1u64 << rank).wrapping_sub(1);
    let through = before << 4 | 0xf;
    (order & !through | (order & before) << 4 | way as u64) ^ IDENTITY
}

/// Moves `way` to the back of an order of `ways`.
pub(super) const fn demote(state: u64, ways: usize, way: usize) -> u64 {
    let order = state ^ IDENTITY;
    let other = order ^ (way as u64).wrapping_mul(ONES);
    let rank = (other.wrapping_sub(ONES) & !other & HIGHS).trailing_zeros() & !3;
    let back = 4 * (ways as u32 - 1);
    let before = (1u64 << rank).wrapping_sub(1);
    let behind = (1u64 << back).wrapping_sub(1) & !before;
    let beyond = !(((1u64 << back) - 1) | (0xf << back));
    (order & (before | beyond) | order >> 4 & behind | (way as u64) << back) ^ IDENTITY
}

/// The last of an order of `ways`.
#[inline]
pub(super) const fn last(state: u64, ways: usize) -> usize {
    ((state ^ IDENTITY) >> (4 * (ways - 1)) & 0xf) as usize
}

/// Points every node above `way` away from it.
pub(super) fn tree_touch(mut state: u64, ways: usize, way: usize) -> u64 {
    let mut span = ways.next_power_of_two();
    let (mut node, mut first) = (1, 0);
    while span > 1 {
        span /= 2;
        let right = way >= first + span;
        state = if right { state & !(1 << node) } else { state | 1 << node };
        first += if right { span } else { 0 };
        node = 2 * node + usize::from(right);
    }
    state
}

/// Follows the bits down; a half without ways is never followed.
pub(super) fn tree_victim(state: u64, ways: usize) -> usize {
    let mut span = ways.next_power_of_two();
    let (mut node, mut first) = (1, 0);
    while span > 1 {
        span /= 2;
        let right = state >> node & 1 == 1 && first + span < ways;
        first += if right { span } else { 0 };
        node = 2 * node + usize::from(right);
    }
    first
}

/// A line that was hit is near, one that came in is far but not the farthest.
pub(super) const fn srrip_set(state: u64, way: usize, hit: bool) -> u64 {
    let prediction = if hit { 0 } else { 2 };
    state & !(3 << (2 * way)) | prediction << (2 * way)
}

/// The first of the farthest lines, with all made farther until there is one.
pub(super) const fn srrip_victim(mut state: u64, ways: usize) -> (u64, usize) {
    let used = PAIRS & (u64::MAX >> (64 - 2 * ways));
    loop {
        let farthest = state & state >> 1 & used;
        if farthest != 0 {
            return (state, farthest.trailing_zeros() as usize / 2);
        }
        state += used;
    }
}

/// A line was hit, and has age 0, or came in, and has age 1. Then the other lines become older together, until one has age 3. The
/// state has 3 less the age.
pub(super) const fn qlru_used(state: u64, ways: usize, way: usize, hit: bool) -> u64 {
    let own = 3 << (2 * way);
    let youth: u64 = if hit { 3 } else { 2 };
    let (mut state, others) = (state & !own, PAIRS & (u64::MAX >> (64 - 2 * ways)) & !own);
    while others != 0 && (state | state >> 1) & others == others {
        state -= others;
    }
    state | youth << (2 * way)
}

/// The first line of age 3.
pub(super) const fn qlru_victim(state: u64, ways: usize) -> usize {
    let oldest = !(state | state >> 1) & PAIRS & (u64::MAX >> (64 - 2 * ways));
    if oldest == 0 { 0 } else { oldest.trailing_zeros() as usize / 2 }
}

/// The next number of a xorshift generator, whose state is never zero.
pub(super) const fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_order_is_a_list_with_the_last_used_in_front(
            ways in 1usize..=16,
            touched in prop::collection::vec(0usize..16, 0..100),
        ) {
            let (mut state, mut list) = (0, (0..ways).collect::<Vec<_>>());
            for way in touched {
                let way = way % ways;
                state = promote(state, way);
                list.retain(|&w| w != way);
                list.insert(0, way);
                prop_assert_eq!(last(state, ways), list[ways - 1]);
            }
        }

        #[test]
        fn what_is_demoted_goes_to_the_back_of_the_list(
            ways in 1usize..=16,
            moves in prop::collection::vec((0usize..16, any::<bool>()), 0..100),
        ) {
            let (mut state, mut list) = (0, (0..ways).collect::<Vec<_>>());
            for (way, front) in moves {
                let way = way % ways;
                state = if front { promote(state, way) } else { demote(state, ways, way) };
                list.retain(|&w| w != way);
                list.insert(if front { 0 } else { ways - 1 }, way);
                prop_assert_eq!(last(state, ways), list[ways - 1]);
            }
            for &way in &list {
                state = demote(state, ways, way);
                prop_assert_eq!(last(state, ways), way);
            }
        }

        #[test]
        fn a_tree_never_picks_what_was_just_used_nor_what_is_not_there(
            ways in 2usize..=32,
            touched in prop::collection::vec(0usize..32, 1..100),
        ) {
            let mut state = 0;
            for way in touched {
                state = tree_touch(state, ways, way % ways);
                let victim = tree_victim(state, ways);
                prop_assert!(victim < ways);
                prop_assert_ne!(victim, way % ways);
            }
        }
    }

    /// QLRU_H00_M1_R0_U1, as its names say: H00, a hit makes any age 0; M1, a line comes in with age 1; R0, the first line of age 3
    /// leaves; U1, after each access the others get as much older as the oldest of them lacks to 3.
    struct Ages(Vec<u64>);

    impl Ages {
        fn used(&mut self, way: usize, hit: bool) {
            self.0[way] = u64::from(!hit);
            let others: Vec<usize> = (0..self.0.len()).filter(|&other| other != way).collect();
            let oldest = others.iter().map(|&other| self.0[other]).max().unwrap_or(3);
            others.iter().for_each(|&other| self.0[other] += 3 - oldest);
        }

        fn victim(&self) -> usize {
            self.0.iter().position(|&age| age == 3).unwrap_or(0)
        }
    }

    proptest! {
        #[test]
        fn qlru_is_its_ages(
            ways in 1usize..=32,
            uses in prop::collection::vec((0usize..32, any::<bool>()), 0..300),
        ) {
            let (mut state, mut ages) = (0, Ages(vec![3; ways]));
            for (way, hit) in uses {
                let way = if hit { way % ways } else { ages.victim() };
                state = qlru_used(state, ways, way, hit);
                ages.used(way, hit);
                prop_assert_eq!(qlru_victim(state, ways), ages.victim());
            }
        }
    }

    #[test]
    fn a_tree_of_four_is_the_textbook_one() {
        let state = [0, 1, 2, 3].iter().fold(0, |state, &way| tree_touch(state, 4, way));
        assert_eq!(tree_victim(state, 4), 0);
        let state = tree_touch(state, 4, 0);
        assert_eq!(tree_victim(state, 4), 2, "not 1, the least recently used");
        assert_eq!(tree_victim(tree_touch(state, 4, 2), 4), 1);
    }

    #[test]
    fn srrip_spares_what_was_hit() {
        let mut state = (0..4).fold(0, |state, way| srrip_set(state, way, false));
        state = srrip_set(state, 0, true);
        let (state, victim) = srrip_victim(state, 4);
        assert_eq!(victim, 1);
        let (state, victim) = srrip_victim(srrip_set(state, 1, false), 4);
        assert_eq!(victim, 2, "a line that came in is not the farthest");
        assert_eq!(srrip_victim(srrip_set(state, 2, false), 4).1, 3);
    }
}
