//! The activates of a rank in the order of their time: tRRD and tFAW, with gaps.

use super::timing::Timings;

/// Activates that are remembered at least.
const KEPT: usize = 16;

/// The activates, the earliest first, each with its bank group.
pub(super) struct Activates {
    placed: Vec<(u64, u8)>,
    /// Nothing is placed before: what was there is forgotten.
    floor: u64,
}

impl Activates {
    pub fn new() -> Self {
        Self { placed: Vec::with_capacity(2 * KEPT), floor: 0 }
    }

    /// The first time from `from` on at which a bank of `group` may be activated.
    #[inline]
    pub fn earliest(&self, t: &Timings, from: u64, group: u8) -> u64 {
        let mut at = from.max(self.floor);
        if self.placed.last().is_none_or(|last| last.0 + t.faw.max(t.rrd_l) <= at) {
            return at;
        }
        loop {
            let place = self.place(at);
            match self.obstacle(t, at, place, group) {
                None => return at,
                Some(later) => at = later,
            }
        }
    }

    /// How many activates are at `at` or before.
    #[inline]
    fn place(&self, at: u64) -> usize {
        let mut place = self.placed.len();
        while place > 0 && self.placed[place - 1].0 > at {
            place -= 1;
        }
        place
    }

    /// A later time to try if an activate at `at`, which would be number `place`, is too near to another one.
    fn obstacle(&self, t: &Timings, at: u64, place: usize, group: u8) -> Option<u64> {
        let apart = |other: u8| if other == group { t.rrd_l } else { t.rrd_s };
        let (before, after) = self.placed.split_at(place);
        let mut earlier = before.iter().rev().take_while(|(other, _)| other + t.rrd_l > at);
        if let Some((other, group)) = earlier.find(|(other, group)| other + apart(*group) > at) {
            return Some(other + apart(*group));
        }
        // The fourth one back.
        if let Some((fourth, _)) = place.checked_sub(4).and_then(|n| before.get(n))
            && fourth + t.faw > at
        {
            return Some(fourth + t.faw);
        }
        let &(next, next_group) = after.first()?;
        let mut later = after.iter().take_while(|(other, _)| *other < at + t.rrd_l);
        let crowded = later.any(|(other, group)| at + apart(*group) > *other) || self.five(t, at, place);
        crowded.then(|| next + apart(next_group))
    }

    /// Whether five activates, of which one at `at` is neither the last nor needed to be alone, are within tFAW.
    fn five(&self, t: &Timings, at: u64, place: usize) -> bool {
        (1..=4).any(|later: usize| {
            let last = self.placed.get(place + later - 1);
            let first =
                if later == 4 { Some(at) } else { place.checked_sub(4 - later).map(|n| self.placed[n].0) };
            last.zip(first).is_some_and(|((last, _), first)| first + t.faw > *last)
        })
    }

    /// Puts an activate at a time that [`Self::earliest`] gave.
    pub fn insert(&mut self, t: &Timings, at: u64, group: u8) {
        if self.placed.len() == 2 * KEPT {
            self.floor = self.placed[KEPT - 1].0 + t.faw.max(t.rrd_l);
            self.placed.drain(..KEPT);
        }
        let place = self.place(at);
        self.placed.insert(place, (at, group));
    }
}
