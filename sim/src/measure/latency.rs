//! Fault cost by kind: a histogram and the attributed parts.

use std::collections::BTreeMap;

use daxsim_types::Time;
use hdrhistogram::Histogram;

use super::{Executed, FaultKind, Parts};

/// Significant decimal digits of the histograms.
const DIGITS: u8 = 3;

/// Longest latency that a histogram tells apart: 100 s. Longer ones are clipped, and counted.
const MAX_PS: u64 = 100_000_000_000_000;

/// Cost of the faults of one kind.
#[derive(Clone, Debug)]
pub struct KindLatency {
    /// Latencies in picoseconds.
    pub histogram: Histogram<u64>,
    /// Exact sum of the latencies.
    pub sum: Time,
    /// Attribution of that sum.
    pub parts: Parts,
    /// What the kernel executed in them.
    pub executed: Executed,
    /// Latencies above the histogram's range, recorded as its greatest value.
    pub clipped: u64,
}

impl KindLatency {
    fn record(&mut self, latency: Time, parts: &Parts, executed: Executed) {
        self.clipped += u64::from(latency.0 > MAX_PS);
        self.histogram.saturating_record(latency.0);
        self.sum += latency;
        self.parts.add(parts);
        self.executed += executed;
    }
}

/// Cost of faults, by kind.
#[derive(Clone, Debug, Default)]
pub struct Latencies(BTreeMap<FaultKind, KindLatency>);

impl Latencies {
    /// Records one fault: its latency is the sum of `parts`.
    pub fn record(&mut self, kind: FaultKind, parts: &Parts, executed: Executed) {
        let entry = match self.0.entry(kind) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => {
                // The bounds are constants that the constructor accepts; were they not, the kind would go unrecorded.
                let Ok(histogram) = Histogram::new_with_bounds(1, MAX_PS, DIGITS) else { return };
                e.insert(KindLatency {
                    histogram,
                    sum: Time::ZERO,
                    parts: Parts::default(),
                    executed: Executed::default(),
                    clipped: 0,
                })
            }
        };
        entry.record(parts.total(), parts, executed);
    }

    /// Kinds seen, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, &KindLatency)> {
        self.0.iter().map(|(kind, latency)| (*kind, latency))
    }

    /// One kind, if it was seen.
    #[must_use]
    pub fn get(&self, kind: FaultKind) -> Option<&KindLatency> {
        self.0.get(&kind)
    }

    /// Number of faults of a kind.
    #[must_use]
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.get(kind).map_or(0, |l| l.histogram.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Part;

    #[test]
    fn latency_is_the_sum_of_its_parts() {
        let mut all = Latencies::default();
        let mut parts = Parts::default();
        parts[Part::Fs] = Time(300);
        parts[Part::Insert] = Time(200);
        let executed = Executed { instructions: 42, loads: 10, stores: 7 };
        all.record(FaultKind::Read, &parts, executed);
        all.record(FaultKind::Read, &parts, executed);
        let read = all.get(FaultKind::Read).unwrap();
        assert_eq!(read.sum, Time(1000));
        assert_eq!(read.parts.total(), read.sum);
        assert_eq!((read.histogram.len(), read.clipped), (2, 0));
        assert_eq!(read.executed, Executed { instructions: 84, loads: 20, stores: 14 });
        assert_eq!(all.count(FaultKind::Mkwrite), 0);
    }

    #[test]
    fn a_latency_beyond_the_range_is_clipped_and_counted() {
        let mut all = Latencies::default();
        let mut parts = Parts::default();
        parts[Part::Locks] = Time(MAX_PS + 1);
        all.record(FaultKind::Write, &parts, Executed::default());
        assert_eq!(all.get(FaultKind::Write).unwrap().clipped, 1);
    }
}
