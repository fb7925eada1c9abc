//! A set-associative array of lines.

mod fill;

use daxsim_configs::machine::{CacheIndex, CacheReplacement, CacheSpec};
use daxsim_types::{CacheLine, LINE_BYTES};

mod lane;

use super::interleave::Divisor;
use super::replacement::{self, Policy};
use crate::host;

pub(crate) use lane::{HitAt, Lane};

/// The core may write the line without asking (MESI: M or E).
pub(super) const OWNED: u64 = 1;
/// The copy differs from what the level below has.
pub(super) const DIRTY: u64 = 2;
/// The bits that a caller may set.
const FLAGS: u64 = OWNED | DIRTY;

/// Words of a set: two of replacement state, which ways are valid, one unused, the low half of each way's line number (a
/// multiple of four words), its high bits and flags (`line >> 32 << 2 | flags`, two ways to a word, for as many ways), and what
/// the policy needs beside its state.
const STATE: usize = 0;
const VALID: usize = 2;
const LOWS: usize = 4;
/// Words of a line of the host's caches.
const HOST_LINE: usize = 16;
/// Most ways: those that a word of valid bits has.
const MAX_WAYS: usize = 32;

/// Equal caches side by side (one per core, or per complex), each of a number of sets.
pub(super) struct Cache {
    words: Vec<u32>,
    ways: usize,
    /// Where the high bits begin in a set, and the stamps.
    highs: usize,
    stamps: usize,
    /// Words of a set and of a unit.
    stride: usize,
    unit: usize,
    index: Index,
    policy: Policy,
    fast: Fast,
    random: u64,
    flow: Flow,
}

/// Geometries of LRU that [`Cache::hit`] knows when it is compiled.
#[derive(Clone, Copy, Debug)]
enum Fast {
    Eight,
    Twelve,
    No,
}

/// Lines that came into a cache and left it; what is between them is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Lines put in.
    pub fills: u64,
    /// Lines that left for another one.
    pub evictions: u64,
    /// Lines taken out, for whatever reason.
    pub removals: u64,
}

/// A line that had to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pub line: CacheLine,
    pub flags: u64,
}

/// Where a line is, until something else comes in or goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    set: usize,
    way: usize,
}

/// Where a set begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetAt(usize);

/// From a line number to a set.
#[derive(Clone, Copy)]
struct Index {
    /// What to keep of the line number, where that is all.
    mask: Option<u64>,
    /// The remainder by the number of sets is all.
    linear: bool,
    /// Sets of a slice.
    sets: Divisor,
    per_slice: usize,
    slices: u64,
    /// Bits to fold to, if the index is hashed.
    fold: Option<u32>,
    /// Where the bits above the set begin that are put over its lowest ones, and a mask of as many, if the index is xor.
    above: (u32, u64),
}

impl Index {
    fn new(spec: &CacheSpec, slices: u32) -> Self {
        let slices = u64::from(slices.max(1));
        let sets = (spec.size / (LINE_BYTES * u64::from(spec.ways.max(1)) * slices)).max(1);
        let bits = sets.next_power_of_two().trailing_zeros();
        let fold = (spec.index == CacheIndex::Hashed && bits > 0).then_some(bits);
        let above = match spec.index {
            CacheIndex::Xor => (bits, (1 << spec.index_bits.min(bits)) - 1),
            CacheIndex::Linear | CacheIndex::Hashed => (0, 0),
        };
        let linear = spec.index == CacheIndex::Linear && slices == 1;
        let mask = (linear && sets.is_power_of_two()).then_some(sets - 1);
        Self { mask, linear, sets: Divisor::new(sets), per_slice: sets as usize, slices, fold, above }
    }

    #[inline(always)]
    fn set(&self, line: CacheLine) -> usize {
        match self.mask {
            Some(mask) => (line.0 & mask) as usize,
            None => self.set_of_any(line),
        }
    }

    #[inline(never)]
    fn set_of_any(&self, line: CacheLine) -> usize {
        if self.linear {
            return self.sets.div_rem(line.0).1 as usize;
        }
        let (from, mask) = self.above;
        let number = self.fold.map_or(line.0, |bits| fold(line.0, bits)) ^ line.0 >> from & mask;
        let (_, set) = self.sets.div_rem(number);
        if self.slices == 1 { set as usize } else { set as usize + self.per_slice * self.slice(line) }
    }

    /// An approximation. Intel's hashes take each bit of the slice from a parity of many address bits (Maurice et al., RAID
    /// 2015), and are not published for numbers that are no power of two; this one is folded, spread and scaled.
    fn slice(&self, line: CacheLine) -> usize {
        let spread = fold(line.0, 16).wrapping_mul(0x9e3d) & 0xffff;
        ((spread * self.slices) >> 16) as usize
    }
}

/// The exclusive or of all groups of `bits` bits.
const fn fold(mut number: u64, bits: u32) -> u64 {
    let mut folded = 0;
    while number != 0 {
        folded ^= number;
        number >>= bits;
    }
    folded & ((1 << bits) - 1)
}

/// Which of four words are `low`, as a mask.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal_of_four([a, b, c, d]: [u32; 4], low: u32) -> u32 {
    use std::arch::x86_64::{
        _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi32, _mm_set1_epi32,
    };
    // SAFETY: SSE and SSE2 are part of x86_64, and none of these touches memory.
    unsafe {
        let words = _mm_set_epi32(d as i32, c as i32, b as i32, a as i32);
        let equal = _mm_cmpeq_epi32(words, _mm_set1_epi32(low as i32));
        _mm_movemask_ps(_mm_castsi128_ps(equal)) as u32
    }
}

/// Which of four words are `low`, as a mask.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn equal_of_four(words: [u32; 4], low: u32) -> u32 {
    words.iter().rev().fold(0, |mask, word| mask << 1 | u32::from(*word == low))
}

/// Which of some words, in fours, are `low`, as a mask.
#[inline(always)]
fn equal(words: &[u32], low: u32) -> u32 {
    let fours = words.as_chunks::<4>().0.iter().enumerate();
    fours.fold(0, |mask, (at, four)| mask | equal_of_four(*four, low) << (4 * at))
}

/// Of the ways that the low half of a line is in, the one that the high bits are of, too.
#[inline(always)]
fn first_of(mut candidates: u32, highs: &[u32], line: CacheLine) -> Option<usize> {
    while candidates != 0 {
        let way = candidates.trailing_zeros() as usize;
        let high = highs.get(way / 2)? >> (16 * (way % 2)) & 0xffff;
        if u64::from(high >> 2) == line.0 >> 32 {
            return Some(way);
        }
        candidates &= candidates - 1;
    }
    None
}

/// The way of a line in a set with room for `WAYS` low halves, whose words, `WORDS` with the high bits, are known when this is
/// compiled.
#[inline(always)]
fn way_in<const WAYS: usize, const WORDS: usize>(set: &[u32; WORDS], line: CacheLine) -> Option<usize> {
    let lows = set[LOWS..].first_chunk::<WAYS>()?;
    let candidates = set[VALID] & host::equal_words(lows, line.0 as u32);
    first_of(candidates, &set[LOWS + WAYS..], line)
}

/// [`Cache::hit`] in a set of `WAYS` stamped ways, whose `WORDS` words are known when this is compiled. `None` if it takes a
/// longer look.
#[inline(always)]
fn hit_in<const WAYS: usize, const WORDS: usize>(
    set: &mut [u32; WORDS],
    line: CacheLine,
    needed: u64,
) -> Option<bool> {
    let candidates = equal(&set[LOWS..LOWS + WAYS], line.0 as u32) & set[VALID];
    if candidates == 0 {
        return Some(false);
    }
    let way = candidates.trailing_zeros() as usize;
    if way >= WAYS {
        return None;
    }
    let high = u64::from(set[LOWS + WAYS + way / 2] >> (16 * (way % 2)) & 0xffff);
    let wanted = line.0 >> 32 << 2 | FLAGS;
    // Flags that are not needed count as there.
    if high | FLAGS & !needed != wanted || set[STATE] == u32::MAX {
        // Of a line that is here without them, there is no other copy.
        let lacking = high | FLAGS == wanted && high & needed != needed;
        return lacking.then_some(false);
    }
    set[STATE] += 1;
    set[LOWS + WAYS + WAYS / 2 + way] = set[STATE];
    Some(true)
}

/// The way of the set that `words` begin with that holds `line`, the high bits beginning at `highs`.
#[inline]
fn way_of(words: &[u32], highs: usize, line: CacheLine) -> Option<usize> {
    match highs - LOWS {
        8 => way_in::<8, 16>(words.first_chunk()?, line),
        12 => way_in::<12, 22>(words.first_chunk()?, line),
        16 => way_in::<16, 28>(words.first_chunk()?, line),
        20 => way_in::<20, 34>(words.first_chunk()?, line),
        _ => way_of_any(words, highs, line),
    }
}

#[inline(never)]
fn way_of_any(words: &[u32], highs: usize, line: CacheLine) -> Option<usize> {
    let candidates = words[VALID] & equal(&words[LOWS..highs], line.0 as u32);
    first_of(candidates, &words[highs..], line)
}

impl Cache {
    /// `units` caches as `spec` says, made to be hit: stamps are faster to write than an order, and take more room.
    pub fn first_level(spec: &CacheSpec, units: usize, seed: u64) -> Self {
        let stamped = spec.replacement == CacheReplacement::Lru;
        let policy = if stamped { Policy::Stamps } else { Policy::new(spec) };
        Self::with_policy(spec, units, 1, seed, policy)
    }

    /// `units` caches as `spec` says, each in `slices` slices.
    pub fn new(spec: &CacheSpec, units: usize, slices: u32, seed: u64) -> Self {
        Self::with_policy(spec, units, slices, seed, Policy::new(spec))
    }

    fn with_policy(spec: &CacheSpec, units: usize, slices: u32, seed: u64, policy: Policy) -> Self {
        let ways = (spec.ways.max(1) as usize).min(MAX_WAYS);
        let index = Index::new(spec, slices);
        let room = ways.next_multiple_of(4);
        let (highs, stamps) = (LOWS + room, LOWS + room + room / 2);
        let stride = stamps + policy.stamps(ways);
        let unit = stride * index.per_slice * index.slices as usize;
        Self {
            words: vec![0; units * unit],
            ways,
            highs,
            stamps,
            stride,
            unit,
            index,
            policy,
            fast: match (policy, ways) {
                (Policy::Stamps, 8) => Fast::Eight,
                (Policy::Stamps, 12) => Fast::Twelve,
                _ => Fast::No,
            },
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            flow: Flow::default(),
        }
    }

    /// Lines that one unit holds.
    pub const fn lines(&self) -> usize {
        self.unit / self.stride * self.ways
    }

    /// What came in and left, all units together.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// Lines that are here now, all units together.
    pub fn resident(&self) -> u64 {
        self.words.chunks_exact(self.stride).map(|set| u64::from(set[VALID].count_ones())).sum()
    }

    #[inline(always)]
    fn start(&self, unit: usize, line: CacheLine) -> usize {
        unit * self.unit + self.index.set(line) * self.stride
    }

    /// The way of the set at `start` that holds `line`.
    #[inline]
    fn way(&self, start: usize, line: CacheLine) -> Option<usize> {
        way_of(self.words.get(start..)?, self.highs, line)
    }

    /// The set of `line`, for those that look into it more than once.
    #[inline]
    pub fn set_of(&self, unit: usize, line: CacheLine) -> SetAt {
        SetAt(self.start(unit, line))
    }

    /// Asks the host for the set of `line`, so that it is near when it is looked into.
    #[inline]
    pub fn warm(&self, unit: usize, line: CacheLine) {
        self.warm_set(self.set_of(unit, line));
    }

    /// Asks the host for a set.
    #[inline]
    pub fn warm_set(&self, SetAt(start): SetAt) {
        if let Some(set) = self.words.get(start..start + self.stride) {
            for word in [0, HOST_LINE, 2 * HOST_LINE, set.len() - 1] {
                if let Some(word) = set.get(word) {
                    host::prefetch(word);
                }
            }
        }
    }

    /// The line that would leave for `line`, if the set is full and kept in order.
    #[inline]
    pub fn next_victim(&self, unit: usize, line: CacheLine) -> Option<CacheLine> {
        let set = self.start(unit, line);
        if !matches!(self.policy, Policy::Order) || self.words[set + VALID] != u32::MAX >> (32 - self.ways) {
            return None;
        }
        Some(self.line_at(Place { set, way: replacement::last(self.state(set), self.ways) }))
    }

    /// The place of `line`, its rank left as it is.
    #[inline]
    pub fn peek(&self, unit: usize, line: CacheLine) -> Option<Place> {
        let set = self.start(unit, line);
        Some(Place { set, way: self.way(set, line)? })
    }

    /// The flags of a line.
    #[inline]
    pub fn flags_at(&self, place: Place) -> u64 {
        u64::from(self.words[place.set + self.highs + place.way / 2] >> (16 * (place.way % 2))) & FLAGS
    }

    /// Adds flags to a line.
    #[inline]
    pub fn add(&mut self, place: Place, flags: u64) {
        self.words[place.set + self.highs + place.way / 2] |= (flags as u32) << (16 * (place.way % 2));
    }

    /// Takes flags from a line; returns those that it had.
    #[inline]
    pub fn clear(&mut self, place: Place, flags: u64) -> u64 {
        let had = self.flags_at(place);
        self.words[place.set + self.highs + place.way / 2] &= !((flags as u32) << (16 * (place.way % 2)));
        had
    }

    #[inline]
    fn line_at(&self, place: Place) -> CacheLine {
        let high = self.words[place.set + self.highs + place.way / 2] >> (16 * (place.way % 2)) & 0xffff;
        CacheLine(u64::from(high >> 2) << 32 | u64::from(self.words[place.set + LOWS + place.way]))
    }

    #[inline]
    fn state(&self, set: usize) -> u64 {
        lane::state(&self.words[set..])
    }

    #[inline]
    fn set_state(&mut self, set: usize, state: u64) {
        lane::set_state(&mut self.words[set..], state);
    }

    /// Tells the policy of a use.
    #[inline(always)]
    fn used(&mut self, place: Place, hit: bool) {
        let (policy, state) = (self.policy, self.state(place.set));
        match policy {
            Policy::Bimodal(rate) if !hit && !self.chance(rate) => {
                self.set_state(place.set, replacement::demote(state, self.ways, place.way));
            }
            Policy::Qlru if !hit => {
                self.set_state(place.set, replacement::qlru_used(state, self.ways, place.way, false));
            }
            Policy::Srrip if !hit => {
                self.set_state(place.set, replacement::srrip_set(state, place.way, false));
            }
            _ => {
                let shape = self.shape();
                shape.touch(&mut self.words[place.set..place.set + self.stride], place.way);
            }
        }
    }

    /// Whether the one of `rate` cases has come.
    fn chance(&mut self, rate: u32) -> bool {
        (replacement::draw(&mut self.random) >> 32).is_multiple_of(u64::from(rate.max(1)))
    }

    /// The fast path: if `unit` holds `line` with every flag of `needed`, tells the policy and returns true; otherwise changes
    /// nothing.
    #[inline(always)]
    pub fn hit(&mut self, unit: usize, line: CacheLine, needed: u64) -> bool {
        let start = self.start(unit, line);
        let known = match self.fast {
            Fast::Eight => {
                self.words[start..].first_chunk_mut().and_then(|set| hit_in::<8, 24>(set, line, needed))
            }
            Fast::Twelve => {
                self.words[start..].first_chunk_mut().and_then(|set| hit_in::<12, 34>(set, line, needed))
            }
            Fast::No => None,
        };
        known.unwrap_or_else(|| self.hit_any(unit, line, needed))
    }

    /// [`Self::hit`] where that calls nothing: in a cache indexed by the low bits of the line, of a geometry known when this is
    /// compiled. `None` is no answer.
    #[inline(always)]
    pub fn hit_at_once(&mut self, unit: usize, line: CacheLine, needed: u64) -> Option<bool> {
        let mask = self.index.mask?;
        let start = unit * self.unit + (line.0 & mask) as usize * self.stride;
        let words = self.words.get_mut(start..)?;
        match self.fast {
            Fast::Eight => words.first_chunk_mut().and_then(|set| hit_in::<8, 24>(set, line, needed)),
            Fast::Twelve => words.first_chunk_mut().and_then(|set| hit_in::<12, 34>(set, line, needed)),
            Fast::No => None,
        }
    }

    #[inline(never)]
    fn hit_any(&mut self, unit: usize, line: CacheLine, needed: u64) -> bool {
        let Some(place) = self.peek(unit, line) else { return false };
        if self.flags_at(place) & needed != needed {
            return false;
        }
        self.used(place, true);
        true
    }

    /// Notes a use of `line` and returns its place.
    #[inline]
    pub fn touch(&mut self, unit: usize, line: CacheLine) -> Option<Place> {
        let place = self.peek(unit, line)?;
        self.used(place, true);
        Some(place)
    }

    /// [`Self::touch`] of a line whose set is known.
    #[inline]
    pub fn touch_in(&mut self, SetAt(set): SetAt, line: CacheLine) -> Option<Place> {
        let place = Place { set, way: self.way(set, line)? };
        self.used(place, true);
        Some(place)
    }

    /// The flags of `line` if it is here.
    pub fn flags(&self, unit: usize, line: CacheLine) -> Option<u64> {
        self.peek(unit, line).map(|place| self.flags_at(place))
    }

    /// Takes `line` out and returns its flags.
    #[inline]
    pub fn remove(&mut self, unit: usize, line: CacheLine) -> Option<u64> {
        let place = self.peek(unit, line)?;
        Some(self.remove_at(place))
    }

    /// Takes a line out and returns its flags.
    #[inline]
    pub fn remove_at(&mut self, place: Place) -> u64 {
        self.words[place.set + VALID] &= !(1 << place.way);
        self.flow.removals += 1;
        self.flags_at(place)
    }

    /// The lines of a unit with their flags, set by set.
    pub fn contents(&self, unit: usize) -> impl Iterator<Item = (CacheLine, u64)> + '_ {
        let sets = (unit * self.unit..(unit + 1) * self.unit).step_by(self.stride);
        sets.flat_map(move |set| (0..self.ways).map(move |way| Place { set, way }))
            .filter(|place| self.words[place.set + VALID] >> place.way & 1 != 0)
            .map(|place| (self.line_at(place), self.flags_at(place)))
    }
}

#[cfg(test)]
#[path = "tests/cache.rs"]
mod tests;
