//! What shootdowns cost each side, as histograms.

use daxsim_types::{CpuId, Time};
use hdrhistogram::Histogram;

/// Significant decimal digits.
const DIGITS: u8 = 3;

/// Longest time that is told apart: 100 s. Longer ones count as that.
const MAX_PS: u64 = 100_000_000_000_000;

/// How often something took how long. It takes no memory before the first time.
#[derive(Clone, Debug, Default)]
pub struct Times {
    histogram: Option<Histogram<u64>>,
    /// Exact sum.
    sum: Time,
}

impl Times {
    /// Records one.
    pub(crate) fn record(&mut self, time: Time) {
        if self.histogram.is_none() {
            // The bounds are constants that the constructor accepts.
            self.histogram = Histogram::new_with_bounds(1, MAX_PS, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(time.0);
            self.sum += time;
        }
    }

    /// The histogram, in picoseconds, if anything was recorded.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_ref()
    }

    /// The sum of all.
    #[must_use]
    pub fn sum(&self) -> Time {
        self.sum
    }
}

/// Both sides of the shootdowns that interrupted somebody.
#[derive(Clone, Debug, Default)]
pub struct ShootdownTimes {
    /// The initiator: from the end of its own flush until it has read the last answer.
    pub wait: Times,
    /// A target: an interrupt from its entry to its exit.
    pub disruption: Times,
    /// How long an interrupt was there before the target began with it: it had interrupts off, or handled another.
    pub masked: Times,
}

/// What one CPU asked of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Calls: flushes that the other was asked for.
    pub calls: u64,
    /// Pages that it invalidated one by one for them.
    pub pages: u64,
    /// Full flushes that it made for them. A call whose generation another one had brought makes neither.
    pub full_flushes: u64,
    /// From each call until its answer, summed.
    pub response: Time,
    /// The longest of these.
    pub longest: Time,
}

impl Asked {
    /// Notes the answer to a call.
    pub(crate) fn answered(&mut self, response: Time) {
        self.calls += 1;
        self.response += response;
        self.longest = self.longest.max(response);
    }
}

/// Who asked whom for flushes, by interrupt or by remote action. It has room for the CPUs that took part.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<Vec<Asked>>);

impl Pairs {
    /// What `initiator` asked of `responder`.
    pub(crate) fn between(&mut self, initiator: CpuId, responder: CpuId) -> &mut Asked {
        let (from, to) = (initiator.index(), responder.index());
        if from >= self.0.len() {
            self.0.resize_with(from + 1, Vec::new);
        }
        let row = &mut self.0[from];
        if to >= row.len() {
            row.resize(to + 1, Asked::default());
        }
        &mut row[to]
    }

    /// Initiator, responder, and what was asked, of those that were asked for anything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, &Asked)> {
        let rows = self.0.iter().enumerate();
        let all =
            rows.flat_map(|(from, row)| row.iter().enumerate().map(move |(to, asked)| (from, to, asked)));
        all.filter(|(_, _, asked)| asked.calls > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_told_apart_and_come_in_order() {
        let mut pairs = Pairs::default();
        pairs.between(CpuId(3), CpuId(0)).answered(Time(5));
        pairs.between(CpuId(0), CpuId(3)).answered(Time(7));
        pairs.between(CpuId(0), CpuId(3)).answered(Time(4));
        pairs.between(CpuId(0), CpuId(2)).pages = 1;
        let found: Vec<_> =
            pairs.iter().map(|(from, to, of)| (from, to, of.calls, of.response, of.longest)).collect();
        assert_eq!(found, [(0, 3, 2, Time(11), Time(7)), (3, 0, 1, Time(5), Time(5))]);
    }

    #[test]
    fn times_are_counted_and_summed_exactly() {
        let mut times = Times::default();
        assert!(times.histogram().is_none());
        for ns in [100, 100, 250] {
            times.record(Time::from_ns(ns));
        }
        let histogram = times.histogram().unwrap();
        assert_eq!((histogram.len(), times.sum()), (3, Time::from_ns(450)));
        assert!((histogram.value_at_quantile(0.5) as f64 / 100_000.0 - 1.0).abs() < 0.002);
    }
}
