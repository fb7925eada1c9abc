//! What other CPUs take from an L1D whose next hits are foreseen.

use daxsim_types::{CacheLine, Time};

use super::Memory;
use super::cache::{HitAt, Lane};
use crate::engine::Moment;

/// A line that an L1D lost, or lost the right to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub core: usize,
    pub at: HitAt,
    /// The action that took it.
    pub by: Moment,
}

/// Who acts, whose hits are foreseen, and what of them will not be.
#[derive(Debug)]
pub(super) struct Watch {
    /// The action under way.
    acting: Moment,
    foreseen: Vec<bool>,
    lost: Vec<Lost>,
    /// Something was lost, or hits were given up, since somebody asked.
    has_lost: bool,
}

impl Watch {
    pub fn new(cores: usize) -> Self {
        Self {
            acting: Moment { time: Time::ZERO, cpu: 0 },
            foreseen: vec![false; cores],
            lost: Vec::new(),
            has_lost: false,
        }
    }
}

impl Memory {
    /// Says whose action is under way, and since when.
    #[inline]
    pub(crate) fn begin_action(&mut self, moment: Moment) {
        self.watch.acting = moment;
    }

    /// The action under way, or the last one.
    pub(crate) const fn acting(&self) -> Moment {
        self.watch.acting
    }

    /// Says whether hits of a core's L1D are foreseen.
    pub(crate) fn watch_l1(&mut self, core: usize, foreseen: bool) {
        self.watch.foreseen[core] = foreseen;
    }

    /// Notes that hits were given up, for another reason than a lost line.
    pub(crate) fn note_given_up(&mut self) {
        self.watch.has_lost = true;
    }

    /// Whether anything was lost or given up since [`Self::take_lost`].
    #[inline]
    pub(crate) const fn has_lost(&self) -> bool {
        self.watch.has_lost
    }

    /// What was taken from L1Ds whose hits are foreseen.
    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        self.watch.has_lost = false;
        std::mem::take(&mut self.watch.lost)
    }

    /// The L1D of a core.
    pub(crate) fn l1_lane(&mut self, core: usize) -> Lane<'_> {
        self.l1.lane(core)
    }

    /// The L1Ds of all cores.
    pub(crate) fn l1_lanes(&mut self) -> impl Iterator<Item = Lane<'_>> {
        self.l1.lanes()
    }

    /// Counts hits of L1Ds that were made without it.
    pub(crate) fn count_l1_hits(&mut self, hits: u64) {
        self.counts.l1d.hits += hits;
    }

    /// To be called before the L1D of a core loses a line, or what it may do with it, for another core's sake.
    #[inline]
    pub(super) fn takes_from_l1(&mut self, core: usize, line: CacheLine) {
        if self.watch.foreseen[core]
            && let Some(at) = self.l1.hit_at(core, line)
        {
            self.watch.lost.push(Lost { core, at, by: self.watch.acting });
            self.watch.has_lost = true;
        }
    }
}
