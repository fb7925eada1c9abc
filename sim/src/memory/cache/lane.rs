//! One of the caches side by side, apart from the others: what a thread of the host may look at and change while other threads do
//! the same with the other ones.

use daxsim_types::CacheLine;

use super::super::replacement::{self, Policy};
use super::{Cache, DIRTY, FLAGS, Index, OWNED, STATE, way_of};

/// Bits of a way in a [`HitAt`].
const WAY_BITS: u32 = 5;

/// Where a line is in its unit: the first word of its set, and the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HitAt(u32);

impl HitAt {
    #[inline]
    const fn new(set: usize, way: usize) -> Self {
        Self((set as u32) << WAY_BITS | way as u32)
    }

    #[inline]
    const fn set(self) -> usize {
        (self.0 >> WAY_BITS) as usize
    }

    #[inline]
    const fn way(self) -> usize {
        (self.0 & ((1 << WAY_BITS) - 1)) as usize
    }
}

/// How a set is laid out, and what its hits do to it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    ways: usize,
    highs: usize,
    stamps: usize,
    stride: usize,
    policy: Policy,
}

/// The state of the policy of a set.
#[inline]
pub(super) fn state(set: &[u32]) -> u64 {
    let Some([low, high]) = set[STATE..].first_chunk() else { return 0 };
    u64::from(*low) | u64::from(*high) << 32
}

#[inline]
pub(super) fn set_state(set: &mut [u32], state: u64) {
    if let Some(words) = set[STATE..].first_chunk_mut() {
        *words = [state as u32, (state >> 32) as u32];
    }
}

impl Shape {
    /// Tells the policy of a set that one of its ways was hit or, where that makes no difference, has come in.
    #[inline]
    pub fn touch(self, set: &mut [u32], way: usize) {
        let before = state(set);
        let after = match self.policy {
            Policy::Order | Policy::Bimodal(_) => replacement::promote(before, way),
            Policy::Stamps if before < u64::from(u32::MAX) => {
                set[self.stamps + way] = before as u32 + 1;
                before + 1
            }
            _ => self.touch_any(set, before, way),
        };
        set_state(set, after);
    }

    #[inline(never)]
    fn touch_any(self, set: &mut [u32], before: u64, way: usize) -> u64 {
        match self.policy {
            Policy::Random => before,
            Policy::Stamps => self.stamp(set, before, way),
            Policy::Tree => replacement::tree_touch(before, self.ways, way),
            Policy::Order | Policy::Bimodal(_) => replacement::promote(before, way),
            Policy::Qlru => replacement::qlru_used(before, self.ways, way, true),
            Policy::Srrip => replacement::srrip_set(before, way, true),
        }
    }

    /// Gives a way the next stamp of its set; before they run out, all are made small again.
    fn stamp(self, set: &mut [u32], mut state: u64, way: usize) -> u64 {
        let stamps = &mut set[self.stamps..self.stride];
        if state >= u64::from(u32::MAX) {
            let old = stamps.to_vec();
            for stamp in stamps.iter_mut() {
                *stamp = old.iter().filter(|other| **other < *stamp).count() as u32;
            }
            state = stamps.len() as u64;
        }
        state += 1;
        stamps[way] = state as u32;
        state
    }
}

/// One unit of a [`Cache`].
pub(crate) struct Lane<'a> {
    words: &'a mut [u32],
    index: Index,
    shape: Shape,
}

impl Cache {
    pub(super) const fn shape(&self) -> Shape {
        let Self { ways, highs, stamps, stride, policy, .. } = *self;
        Shape { ways, highs, stamps, stride, policy }
    }

    /// Every unit, in order.
    pub fn lanes(&mut self) -> impl Iterator<Item = Lane<'_>> {
        let (index, shape) = (self.index, self.shape());
        self.words.chunks_exact_mut(self.unit).map(move |words| Lane { words, index, shape })
    }

    /// One unit.
    pub fn lane(&mut self, unit: usize) -> Lane<'_> {
        let (index, shape) = (self.index, self.shape());
        Lane { words: &mut self.words[unit * self.unit..][..self.unit], index, shape }
    }

    /// Where `unit` has `line`.
    pub fn hit_at(&self, unit: usize, line: CacheLine) -> Option<HitAt> {
        let place = self.peek(unit, line)?;
        Some(HitAt::new(place.set - unit * self.unit, place.way))
    }
}

impl Lane<'_> {
    /// Where `line` is, if an access would hit it (modified already, if `write`).
    #[inline]
    pub fn foresee(&self, line: CacheLine, write: bool) -> Option<HitAt> {
        let needed = if write { OWNED | DIRTY } else { 0 };
        let start = self.index.set(line) * self.shape.stride;
        let set = self.words.get(start..start + self.shape.stride)?;
        let way = way_of(set, self.shape.highs, line)?;
        let flags = u64::from(set[self.shape.highs + way / 2] >> (16 * (way % 2))) & FLAGS;
        (flags & needed == needed).then_some(HitAt::new(start, way))
    }

    /// Makes the hit that was foreseen.
    #[inline]
    pub fn repeat(&mut self, at: HitAt) {
        let start = at.set();
        self.shape.touch(&mut self.words[start..start + self.shape.stride], at.way());
    }
}
