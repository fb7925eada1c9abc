//! When faults, flushes and interrupts came, in stretches of simulated time.

use std::iter::Sum;

use daxsim_types::Time;

use super::FaultKind;
use crate::memory::Timeline;

/// What came in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    faults: [u32; FaultKind::ALL.len()],
    /// Calls of `flush_tlb_mm_range`.
    pub flushes: u64,
    /// Interrupts sent for them, one per target.
    pub ipis: u64,
}

impl Came {
    /// Faults of a kind.
    #[must_use]
    pub const fn faults(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize] as u64
    }
}

impl Sum for Came {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            faults: std::array::from_fn(|kind| sum.faults[kind].saturating_add(one.faults[kind])),
            flushes: sum.flushes + one.flushes,
            ipis: sum.ipis + one.ipis,
        })
    }
}

/// All that came, by when it began.
#[derive(Clone, Debug, Default)]
pub struct OverTime {
    timeline: Timeline<Came>,
}

impl OverTime {
    /// A fault, raised at `at`.
    pub(crate) fn fault(&mut self, at: Time, kind: FaultKind) {
        let faults = &mut self.timeline.at(at).faults[kind as usize];
        *faults = faults.saturating_add(1);
    }

    /// A flush that was asked for at `at`.
    pub(crate) fn flush(&mut self, at: Time) {
        self.timeline.at(at).flushes += 1;
    }

    /// Interrupts to `targets`, sent at `at`.
    pub(crate) fn interrupts(&mut self, at: Time, targets: usize) {
        self.timeline.at(at).ipis += targets as u64;
    }

    /// Length of a stretch.
    #[must_use]
    pub const fn length(&self) -> Time {
        self.timeline.length()
    }

    /// The stretches from the start of the simulation to the last that something came in.
    #[must_use]
    pub fn stretches(&self) -> &[Came] {
        self.timeline.stretches()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_become_one_lose_nothing() {
        let mut all = OverTime::default();
        let times: Vec<Time> = (0..1000).map(|n: u64| Time(n * n * 1_000_003)).collect();
        for (n, at) in times.iter().enumerate() {
            all.fault(*at, if n % 3 == 0 { FaultKind::Read } else { FaultKind::Oom });
            all.flush(*at);
            all.interrupts(*at, 3);
        }
        let sum: Came = all.stretches().iter().copied().sum();
        assert_eq!((sum.faults(FaultKind::Read), sum.faults(FaultKind::Oom)), (334, 666));
        assert_eq!((sum.flushes, sum.ipis), (1000, 3000));
        assert!(all.stretches().len() > 100 && all.stretches().len() <= 256);
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        for (n, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n, "{kind:?}");
        }
    }
}
