//! What shootdowns cost each side, as histograms.

use daxsim_types::Time;
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

#[cfg(test)]
mod tests {
    use super::*;

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
