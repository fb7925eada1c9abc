//! Lines that come into a cache, and what they push out.

use super::lane::{set_state, state};
use super::{Cache, FLAGS, Fast, LOWS, Place, Policy, STATE, VALID, Victim};
use crate::host;
use crate::memory::replacement;
use daxsim_types::CacheLine;

/// Puts a line into a way; what was there.
#[inline(always)]
fn replace(set: &mut [u32], highs: usize, way: usize, line: CacheLine, flags: u64) -> Option<Victim> {
    let (word, shift) = (highs + way / 2, 16 * (way % 2));
    let (low, high) = (set[LOWS + way], set[word] >> shift & 0xffff);
    let taken = set[VALID] >> way & 1 != 0;
    set[VALID] |= 1 << way;
    set[LOWS + way] = line.0 as u32;
    set[word] ^= (high ^ (line.0 >> 32 << 2 | flags) as u32 & 0xffff) << shift;
    taken.then(|| Victim {
        line: CacheLine(u64::from(high >> 2) << 32 | u64::from(low)),
        flags: u64::from(high) & FLAGS,
    })
}

/// [`Cache::insert`] in a set of `WAYS` stamped ways, whose `WORDS` words are known when this is compiled. `None` if the stamps
/// have run out.
#[inline(always)]
fn insert_in<const WAYS: usize, const WORDS: usize>(
    set: &mut [u32; WORDS],
    line: CacheLine,
    flags: u64,
) -> Option<Option<Victim>> {
    let (highs, stamps) = (LOWS + WAYS, LOWS + WAYS + WAYS / 2);
    let stamp = set[STATE].checked_add(1)?;
    let free = (!set[VALID]).trailing_zeros() as usize;
    let way = if free < WAYS {
        free
    } else {
        let stamps = set[stamps..].first_chunk::<WAYS>()?;
        let oldest = stamps.iter().fold(u32::MAX, |oldest, stamp| oldest.min(*stamp));
        host::equal_words(stamps, oldest).trailing_zeros() as usize
    };
    set[STATE] = stamp;
    set[stamps + way] = stamp;
    Some(replace(set, highs, way, line, flags))
}

/// Puts a line into a set of `ways` that is kept in order, into the first empty way or the last in order: to the front, or to the
/// back.
#[inline(always)]
fn insert_in_order(
    set: &mut [u32],
    (highs, ways): (usize, usize),
    line: CacheLine,
    flags: u64,
    to_front: bool,
) -> Option<Victim> {
    let order = state(set);
    let free = (!set[VALID]).trailing_zeros() as usize;
    let is_full = free >= ways;
    let way = if is_full { replacement::last(order, ways) } else { free };
    let victim = replace(set, highs, way, line, flags);
    if to_front {
        set_state(set, replacement::promote(order, way));
    } else if !is_full {
        // What takes the place of the last in order is the last.
        set_state(set, replacement::demote(order, ways, way));
    }
    victim
}

impl Cache {
    /// Puts `line`, which must not be here, into its set.
    #[inline]
    pub fn insert(&mut self, unit: usize, line: CacheLine, flags: u64) -> Option<Victim> {
        let set = self.start(unit, line);
        debug_assert!(self.way(set, line).is_none(), "{line:?} is here already");
        let victim = match self.policy {
            Policy::Order => self.insert_in_order(set, line, flags, true),
            Policy::Bimodal(rate) => {
                let to_front = self.chance(rate);
                self.insert_in_order(set, line, flags, to_front)
            }
            _ => self.insert_in_any(set, line, flags),
        };
        self.flow.fills += 1;
        self.flow.evictions += u64::from(victim.is_some());
        victim
    }

    /// [`Self::insert`] in a set that is kept in order: one look at its state. The sizes of most are known when this is compiled.
    #[inline(always)]
    fn insert_in_order(&mut self, set: usize, line: CacheLine, flags: u64, front: bool) -> Option<Victim> {
        let (highs, ways) = (self.highs, self.ways);
        let words = &mut self.words[set..set + self.stride];
        if highs == LOWS + 16
            && let Some(set) = words.first_chunk_mut::<28>()
        {
            return insert_in_order(set, (LOWS + 16, ways), line, flags, front);
        }
        if highs == LOWS + 12
            && let Some(set) = words.first_chunk_mut::<22>()
        {
            return insert_in_order(set, (LOWS + 12, ways), line, flags, front);
        }
        insert_in_order(words, (highs, ways), line, flags, front)
    }

    #[inline]
    fn insert_in_any(&mut self, set: usize, line: CacheLine, flags: u64) -> Option<Victim> {
        let words = &mut self.words[set..];
        let known = match self.fast {
            Fast::Eight => words.first_chunk_mut().and_then(|set| insert_in::<8, 24>(set, line, flags)),
            Fast::Twelve => words.first_chunk_mut().and_then(|set| insert_in::<12, 34>(set, line, flags)),
            Fast::No => None,
        };
        if let Some(victim) = known {
            return victim;
        }
        let place = Place { set, way: self.room(set) };
        let words = &mut self.words[set..set + self.stride];
        let victim = replace(words, self.highs, place.way, line, flags);
        self.used(place, false);
        victim
    }

    /// The way for a line that comes in.
    #[inline]
    fn room(&mut self, set: usize) -> usize {
        let free = (!self.words[set + VALID]).trailing_zeros() as usize;
        if free < self.ways {
            return free;
        }
        match self.policy {
            Policy::Order | Policy::Bimodal(_) => replacement::last(self.state(set), self.ways),
            _ => self.room_in_any(set),
        }
    }

    #[inline(never)]
    fn room_in_any(&mut self, set: usize) -> usize {
        let state = self.state(set);
        match self.policy {
            Policy::Order | Policy::Bimodal(_) => replacement::last(state, self.ways),
            Policy::Stamps => {
                let stamps = &self.words[set + self.stamps..set + self.stride];
                let oldest = stamps.iter().enumerate().min_by_key(|(_, stamp)| **stamp);
                oldest.map_or(0, |(way, _)| way)
            }
            Policy::Tree => replacement::tree_victim(state, self.ways),
            Policy::Random => (replacement::draw(&mut self.random) >> 32) as usize % self.ways,
            Policy::Qlru => replacement::qlru_victim(state, self.ways),
            Policy::Srrip => {
                let (state, way) = replacement::srrip_victim(state, self.ways);
                self.set_state(set, state);
                way
            }
        }
    }
}
