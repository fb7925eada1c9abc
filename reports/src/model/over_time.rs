//! What came when, and who asked whom for flushes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rounding;

/// Faults, flushes and interrupts in stretches of simulated time, from the start of the run on. Where a list ends, nothing came
/// any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OverTime {
    /// Length of a stretch.
    #[serde(serialize_with = "rounding::serialize")]
    pub stretch_ns: f64,
    /// Faults raised in each stretch, by kind.
    pub faults: BTreeMap<String, Vec<u64>>,
    /// Flushes of ranges of an address space that were asked for.
    pub flushes: Vec<u64>,
    /// Interrupts sent for them, one per target.
    pub ipis: Vec<u64>,
}

impl OverTime {
    /// Without the zeros behind the last that is none.
    #[must_use]
    pub fn trimmed(mut values: Vec<u64>) -> Vec<u64> {
        let end = values.iter().rposition(|n| *n > 0).map_or(0, |last| last + 1);
        values.truncate(end);
        values
    }
}

/// Flushes by who asked and who was asked, by interrupt or remote action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShootdownMatrix {
    /// CPUs that are counted together, neighbours by number: 1 unless very many took part.
    pub cpus_together: u32,
    /// Pairs that had to do with each other, by initiator, then responder.
    pub pairs: Vec<ShootdownPair>,
}

/// What one CPU, or one group of neighbours, asked of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShootdownPair {
    /// Number of the CPU that asked, or of the first of its group.
    pub initiator: u32,
    /// Number of the CPU that was asked, likewise.
    pub responder: u32,
    /// Flushes that it was asked for.
    pub calls: u64,
    /// Pages that it invalidated one by one for them.
    pub pages: u64,
    /// Full flushes that it made for them.
    pub full_flushes: u64,
    /// From each call until its answer, summed.
    #[serde(serialize_with = "rounding::serialize")]
    pub wait_ns: f64,
    /// The longest of these.
    #[serde(serialize_with = "rounding::serialize")]
    pub longest_wait_ns: f64,
}

/// CPUs on a side of a matrix at most.
const MOST: u32 = 32;

impl ShootdownMatrix {
    /// The matrix of pairs of single CPUs; neighbours are put together until a side has 32 rows at most. `None` without pairs.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = ShootdownPair>) -> Option<Self> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let last = pairs.iter().map(|pair| pair.initiator.max(pair.responder)).max()?;
        let together = (last / MOST + 1).next_power_of_two();
        let mut sums: BTreeMap<(u32, u32), ShootdownPair> = BTreeMap::new();
        for pair in pairs {
            let place = [pair.initiator, pair.responder].map(|cpu| cpu / together * together);
            let sum = sums.entry((place[0], place[1])).or_default();
            *sum = ShootdownPair {
                initiator: place[0],
                responder: place[1],
                calls: sum.calls + pair.calls,
                pages: sum.pages + pair.pages,
                full_flushes: sum.full_flushes + pair.full_flushes,
                wait_ns: sum.wait_ns + pair.wait_ns,
                longest_wait_ns: sum.longest_wait_ns.max(pair.longest_wait_ns),
            };
        }
        Some(Self { cpus_together: together, pairs: sums.into_values().collect() })
    }

    /// What a row or column is of: `CPU 3`, or `CPUs 4-7`.
    #[must_use]
    pub fn name(&self, first: u32) -> String {
        match self.cpus_together {
            0 | 1 => format!("CPU {first}"),
            n => format!("CPUs {first}-{}", first.saturating_add(n - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(initiator: u32, responder: u32, calls: u64) -> ShootdownPair {
        let wait_ns = calls as f64 * 10.0;
        ShootdownPair { initiator, responder, calls, wait_ns, longest_wait_ns: wait_ns, ..Default::default() }
    }

    #[test]
    fn few_cpus_have_a_row_each_and_many_share_one() {
        assert_eq!(ShootdownMatrix::of([]), None);
        let few = ShootdownMatrix::of([pair(0, 1, 2), pair(31, 0, 1)]).unwrap();
        assert_eq!((few.cpus_together, few.pairs.len(), few.name(3)), (1, 2, "CPU 3".to_owned()));
        let all =
            (0..200).flat_map(|from| (0..200).filter(move |to| *to != from).map(move |to| pair(from, to, 1)));
        let many = ShootdownMatrix::of(all).unwrap();
        assert_eq!((many.cpus_together, many.pairs.len(), many.name(0)), (8, 625, "CPUs 0-7".to_owned()));
        assert_eq!(many.pairs.iter().map(|p| p.calls).sum::<u64>(), 200 * 199);
        // A group asks its own members too, each the other seven.
        assert_eq!((many.pairs[0].calls, many.pairs[1].calls, many.pairs[1].longest_wait_ns), (56, 64, 10.0));
    }

    #[test]
    fn zeros_behind_the_last_are_dropped() {
        assert_eq!(OverTime::trimmed(vec![0, 3, 0, 1, 0, 0]), [0, 3, 0, 1]);
        assert!(OverTime::trimmed(vec![0, 0]).is_empty());
    }
}
