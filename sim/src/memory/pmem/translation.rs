//! The address indirection table (AIT) of a DIMM: the part of it that the DIMM's DRAM holds, and the wear of what it maps.

use daxsim_configs::machine::PmemSpec;
use daxsim_traces::generate::SplitMix;
use daxsim_types::Time;

use crate::memory::replacement::{last, promote};

/// Most ways: an order of them fills a word, their tags one line of a host's cache.
const WAYS: usize = 16;
/// No block.
const NONE: u32 = u32::MAX;

/// A set-associative LRU cache of blocks, by the low bits of their number.
pub(super) struct Translation {
    sets: Vec<Set>,
    orders: Vec<u64>,
    /// Writes to the media, of each cached block, until it is moved.
    left: Vec<u32>,
    /// When each cached block has come.
    there: Vec<Time>,
    /// How long that takes.
    miss: Time,
    mask: u64,
    ways: usize,
    wear: [u32; 2],
    random: SplitMix,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set([u32; WAYS]);

impl Translation {
    /// An empty cache; none if the machine has no such table.
    pub fn new(spec: &PmemSpec, seed: u64) -> Option<Self> {
        let ways = spec.ait_ways.clamp(1, WAYS as u32);
        let sets = (spec.ait_entries / ways).next_power_of_two() as usize;
        (spec.ait_entries > 0).then(|| Self {
            sets: vec![Set([NONE; WAYS]); sets],
            orders: vec![0; sets],
            left: vec![0; sets * WAYS],
            there: vec![Time::ZERO; sets * WAYS],
            miss: spec.ait_miss_latency,
            mask: sets as u64 - 1,
            ways: ways as usize,
            wear: [spec.wear_writes_least, spec.wear_writes_most.max(spec.wear_writes_least)],
            random: SplitMix::new(seed),
        })
    }

    /// Whether `block` was cached; it is now, as the most recently used of its set. With its place.
    #[inline]
    pub fn find(&mut self, block: u64) -> (bool, usize) {
        let (set, tag) = ((block & self.mask) as usize, block as u32);
        let order = &mut self.orders[set];
        let tags = &mut self.sets[set].0;
        let found = tags.iter().position(|t| *t == tag);
        let way = found.unwrap_or_else(|| last(*order, self.ways));
        *order = promote(*order, way);
        let place = set * WAYS + way;
        if found.is_none() {
            tags[way] = tag;
            self.left[place] = 0;
            self.there[place] = Time::ZERO;
        }
        (found.is_some(), place)
    }

    /// How long a read at `at` waits for the block at `place`, which was found, or is fetched now.
    #[inline]
    pub fn wait(&mut self, found: bool, place: usize, at: Time) -> Time {
        if found {
            return self.there[place].saturating_sub(at);
        }
        self.there[place] = at + self.miss;
        self.miss
    }

    /// Counts a write to the media in the block at `place`; whether it is worn enough to be moved. How many writes that takes
    /// is drawn anew each time, and when a block comes into the cache.
    #[inline]
    pub fn wear(&mut self, place: usize) -> bool {
        let [least, most] = self.wear;
        if least == 0 {
            return false;
        }
        let left = &mut self.left[place];
        if *left == 0 {
            *left = least + self.random.below(u64::from(most - least) + 1) as u32;
        }
        *left -= 1;
        *left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_are_lists_in_order_of_use_and_wear_counts_down(
            ways in 1u32..=16,
            blocks in prop::collection::vec(0u64..80, 0..400),
        ) {
            let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
            let wear = PmemSpec { wear_writes_least: 3, wear_writes_most: 3, ..spec };
            let mut table = Translation::new(&PmemSpec { ait_entries: 4 * ways, ait_ways: ways, ..wear }, 1).unwrap();
            // Block, and writes since it came or was moved.
            let mut sets: [Vec<(u64, u32)>; 4] = Default::default();
            for block in blocks {
                let set = &mut sets[block as usize % 4];
                let place = set.iter().position(|(at, _)| *at == block);
                let (found, at) = table.find(block);
                prop_assert_eq!(found, place.is_some());
                let (_, writes) = place.map_or((block, 0), |place| set.remove(place));
                set.truncate(ways as usize - 1);
                set.insert(0, (block, (writes + 1) % 3));
                prop_assert_eq!(table.wear(at), writes == 2);
            }
        }
    }

    #[test]
    fn who_finds_a_block_on_its_way_waits_for_the_rest() {
        let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
        let mut table = Translation::new(&PmemSpec { ait_miss_latency: Time(67), ..spec }, 1).unwrap();
        let mut wait = |block, at| {
            let (found, place) = table.find(block);
            table.wait(found, place, Time(at)).0
        };
        assert_eq!([wait(5, 100), wait(5, 110), wait(6, 110), wait(5, 200)], [67, 57, 67, 0]);
    }
}
