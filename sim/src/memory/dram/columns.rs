//! The column commands of a channel in the order of their time, and the room between them.
//!
//! A command that was promised keeps its time. A later one goes into the first gap that is long enough on both sides.

use super::timing::{Column, Kind, Timings};

/// Commands that are remembered at least: those before them lie before any gap that is still looked for.
const KEPT: usize = 64;

/// The commands, the earliest first.
pub(super) struct Columns {
    placed: Vec<(u64, Column)>,
    /// Nothing is placed before: what was there is forgotten.
    floor: u64,
    /// Neighbours of different kind.
    pub switches: u64,
}

impl Columns {
    pub fn new() -> Self {
        Self { placed: Vec::with_capacity(2 * KEPT), floor: 0, switches: 0 }
    }

    /// The first time from `from` on at which `new` may be issued.
    #[inline]
    pub fn earliest(&self, t: &Timings, from: u64, new: Column) -> u64 {
        let mut at = from.max(self.floor);
        let mut next = self.near(t, at, self.placed.len());
        while let Some(&(other, column)) = self.placed.get(next) {
            if other >= at + t.reach {
                break;
            }
            let after = other + t.between(column, new);
            if other >= at + t.between(new, column) || at >= after {
                next += 1;
            } else {
                at = after;
                next = self.near(t, at, next);
            }
        }
        at
    }

    /// The first of the commands up to `end` that one at `at` could be too near to.
    #[inline]
    fn near(&self, t: &Timings, at: u64, end: usize) -> usize {
        let mut first = end;
        while first > 0 && self.placed[first - 1].0 + t.reach > at {
            first -= 1;
        }
        first
    }

    /// Puts `new` at a time that [`Self::earliest`] gave.
    pub fn insert(&mut self, t: &Timings, at: u64, new: Column) {
        if self.placed.len() == 2 * KEPT {
            self.floor = self.placed[KEPT - 1].0 + t.reach;
            self.placed.drain(..KEPT);
        }
        let mut place = self.placed.len();
        while place > 0 && self.placed[place - 1].0 > at {
            place -= 1;
        }
        let kind = |index: usize| self.placed.get(index).map(|(_, column)| column.kind);
        let before = place.checked_sub(1).and_then(kind);
        let after = kind(place);
        let differ = |a: Option<Kind>, b: Option<Kind>| u64::from(a.is_some() && b.is_some() && a != b);
        self.switches += differ(before, Some(new.kind)) + differ(Some(new.kind), after);
        self.switches -= differ(before, after);
        self.placed.insert(place, (at, new));
    }

    /// Reads whose command is later than `at`.
    pub fn reads_after(&self, at: u64) -> usize {
        let later = self.placed.iter().rev().take_while(|(placed, _)| *placed > at);
        later.filter(|(_, column)| column.kind == Kind::Read).count()
    }
}
