//! How long one kind of operation took, and on what.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attribution::check_sum;
use super::rounding::{self, ps_to_ns, round3, share};
use crate::ReportError;
use crate::hlog::{decoded, encoded};

/// The distribution of a latency, and its attributed parts. All times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// The shortest.
    #[serde(serialize_with = "rounding::serialize")]
    pub min: f64,
    /// Mean, from the exact sum.
    #[serde(serialize_with = "rounding::serialize")]
    pub mean: f64,
    /// Median.
    #[serde(serialize_with = "rounding::serialize")]
    pub p50: f64,
    /// 90th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p90: f64,
    /// 99th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p99: f64,
    /// 99.9th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p999: f64,
    /// The longest.
    #[serde(serialize_with = "rounding::serialize")]
    pub max: f64,
    /// What the time was spent on, in the order it is spent; sums to `count * mean`.
    pub parts: Vec<Part>,
    /// Non-empty buckets, ascending; edges are preferred numbers (40 a decade).
    pub histogram: Vec<Bucket>,
    /// All samples, in picoseconds, as HdrHistogram logs have them: V2, deflated, in base 64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hdr: String,
    /// Kernel instructions that the modelled paths stand for, over all samples.
    pub instructions: u64,
    /// Loads among them.
    pub loads: u64,
    /// Stores among them.
    pub stores: u64,
}

impl Latency {
    /// All samples together, in nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> f64 {
        if self.parts.is_empty() {
            self.mean * self.count as f64
        } else {
            self.parts.iter().map(|p| p.total_ns).sum()
        }
    }

    /// Shares of the samples with the time in nanoseconds that they do not exceed, ascending, from the shortest to the longest. Of
    /// a report without [`hdr`](Self::hdr) those that it states.
    #[must_use]
    pub fn percentiles(&self) -> Vec<(f64, f64)> {
        if self.count == 0 {
            return Vec::new();
        }
        let stated = [(0.5, self.p50), (0.9, self.p90), (0.99, self.p99), (0.999, self.p999)];
        // Beyond the last, a single sample would be divided.
        let finest = 1.0 - 1.0 / self.count as f64;
        let steps = (1..=9).map(|tenth| f64::from(tenth) / 10.0).chain([0.25, 0.75]);
        let nines = (1..=6).flat_map(|n: i32| [0.5, 0.8, 0.9].map(|of| 1.0 - 10_f64.powi(-n) * (1.0 - of)));
        let mut shares: Vec<f64> = steps.chain(nines).filter(|share| *share <= finest).collect();
        shares.sort_by(f64::total_cmp);
        let inner: Vec<(f64, f64)> = match decoded(&self.hdr) {
            Some(samples) => {
                let at = |share| {
                    ps_to_ns(samples.value_at_quantile(share)).clamp(self.min, self.max.max(self.min))
                };
                shares.into_iter().map(|share| (share, at(share))).collect()
            }
            None => stated.into_iter().filter(|(share, _)| *share <= finest).collect(),
        };
        [(0.0, self.min)].into_iter().chain(inner).chain([(1.0, self.max)]).collect()
    }
}

/// A part of a latency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Part {
    /// What the time was spent on.
    pub name: String,
    /// Over all samples.
    #[serde(serialize_with = "rounding::serialize")]
    pub total_ns: f64,
    /// Per sample.
    #[serde(serialize_with = "rounding::serialize")]
    pub mean_ns: f64,
    /// Share of the whole, 0 to 1.
    #[serde(serialize_with = "rounding::serialize")]
    pub share: f64,
}

/// Samples from `from_ns` up to, not including, `to_ns`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bucket {
    /// Lower edge.
    #[serde(serialize_with = "rounding::serialize")]
    pub from_ns: f64,
    /// Upper edge.
    #[serde(serialize_with = "rounding::serialize")]
    pub to_ns: f64,
    /// Samples.
    pub count: u64,
}

/// What the values of a histogram count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramUnit {
    /// Picoseconds.
    Picoseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl HistogramUnit {
    const fn to_ps(self, value: u64) -> u64 {
        match self {
            Self::Picoseconds => value,
            Self::Nanoseconds => value.saturating_mul(1000),
        }
    }
}

/// Makes a [`Latency`] from a histogram, the exact sum and the attributed parts.
///
/// ```
/// use daxsim_reports::model::{HistogramUnit, LatencyBuilder};
///
/// let mut samples = hdrhistogram::Histogram::new(3).unwrap();
/// samples.record(2_000_000_u64).unwrap();
/// samples.record(3_000_000_u64).unwrap();
/// let latency = LatencyBuilder::new("mkwrite", &samples, HistogramUnit::Picoseconds)
///     .sum_ps(5_000_000)
///     .part("fs", 4_000_000)
///     .part("insert", 1_000_000)
///     .build()
///     .unwrap();
/// assert_eq!((latency.mean, latency.parts[0].share), (2500.0, 0.8));
/// ```
#[derive(Debug)]
#[must_use]
pub struct LatencyBuilder<'a> {
    kind: String,
    samples: &'a Histogram<u64>,
    unit: HistogramUnit,
    sum_ps: u64,
    parts: Vec<(String, u64)>,
    extremes: Option<(u64, u64)>,
    executed: [u64; 3],
}

impl<'a> LatencyBuilder<'a> {
    /// A latency of `kind` with the distribution `samples`.
    pub fn new(kind: impl Into<String>, samples: &'a Histogram<u64>, unit: HistogramUnit) -> Self {
        Self {
            kind: kind.into(),
            samples,
            unit,
            sum_ps: 0,
            parts: Vec::new(),
            extremes: None,
            executed: [0; 3],
        }
    }

    /// The exact sum of the samples, which the histogram only knows to its precision.
    pub fn sum_ps(mut self, sum: u64) -> Self {
        self.sum_ps = sum;
        self
    }

    /// Adds a part: `ps` over all samples.
    pub fn part(mut self, name: impl Into<String>, ps: u64) -> Self {
        self.parts.push((name.into(), ps));
        self
    }

    /// Adds parts, in order.
    pub fn parts(mut self, parts: impl IntoIterator<Item = (String, u64)>) -> Self {
        self.parts.extend(parts);
        self
    }

    /// Instructions, loads and stores of the kernel over all samples.
    pub fn executed(mut self, instructions: u64, loads: u64, stores: u64) -> Self {
        self.executed = [instructions, loads, stores];
        self
    }

    /// The exact shortest and longest sample, which the histogram only knows to its precision.
    pub fn extremes_ps(mut self, min: u64, max: u64) -> Self {
        self.extremes = Some((min, max));
        self
    }

    /// The latency.
    ///
    /// # Errors
    ///
    /// [`ReportError::PartsDoNotSum`] if the parts do not sum to
    /// [`sum_ps`](Self::sum_ps), [`ReportError::TimeWithoutSamples`] if there
    /// is a sum and no sample, [`ReportError::ExtremesOutOfOrder`] if the
    /// minimum given is above the maximum.
    pub fn build(self) -> Result<Latency, ReportError> {
        let Self { kind, samples, unit, sum_ps, parts, extremes, executed: [instructions, loads, stores] } =
            self;
        check_sum(&kind, parts.iter().map(|p| p.1), sum_ps)?;
        let count = samples.len();
        if count == 0 {
            if sum_ps > 0 {
                return Err(ReportError::TimeWithoutSamples { kind, sum_ps });
            }
            return Ok(Latency::default());
        }
        let (min, max) = extremes.unwrap_or_else(|| (unit.to_ps(samples.min()), unit.to_ps(samples.max())));
        if min > max {
            return Err(ReportError::ExtremesOutOfOrder { kind, min_ps: min, max_ps: max });
        }
        // A quantile is the top of its histogram slot; it is never beyond a sample that was seen.
        let quantile = |q| round3(ps_to_ns(unit.to_ps(samples.value_at_quantile(q)).clamp(min, max)));
        Ok(Latency {
            count,
            min: round3(ps_to_ns(min)),
            mean: mean_ns(sum_ps, count),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: round3(ps_to_ns(max)),
            parts: parts
                .into_iter()
                .map(|(name, ps)| Part {
                    name,
                    total_ns: round3(ps_to_ns(ps)),
                    mean_ns: mean_ns(ps, count),
                    share: share(ps, sum_ps),
                })
                .collect(),
            histogram: buckets(samples, unit),
            hdr: if unit == HistogramUnit::Picoseconds { encoded(samples)? } else { String::new() },
            instructions,
            loads,
            stores,
        })
    }
}

fn mean_ns(sum_ps: u64, count: u64) -> f64 {
    round3(sum_ps as f64 / count as f64 / 1000.0)
}

/// Preferred numbers, forty a decade (ISO 3, R40).
const R40: [u64; 40] = [
    100, 106, 112, 118, 125, 132, 140, 150, 160, 170, 180, 190, 200, 212, 224, 236, 250, 265, 280, 300, 315,
    335, 355, 375, 400, 425, 450, 475, 500, 530, 560, 600, 630, 670, 710, 750, 800, 850, 900, 950,
];

/// The bucket that holds `ps`: [lower edge, upper edge).
fn edges(ps: u64) -> (u64, u64) {
    if ps < R40[0] {
        return (0, R40[0]);
    }
    let scale = 10_u128.pow(ps.ilog10() - 2);
    let index = R40.partition_point(|m| u128::from(*m) * scale <= u128::from(ps)) - 1;
    let edge = |i: usize| {
        let mantissa = R40.get(i).copied().unwrap_or(1000);
        u64::try_from(u128::from(mantissa) * scale).unwrap_or(u64::MAX)
    };
    (edge(index), edge(index + 1))
}

fn buckets(samples: &Histogram<u64>, unit: HistogramUnit) -> Vec<Bucket> {
    let mut buckets: Vec<((u64, u64), u64)> = Vec::new();
    for slot in samples.iter_recorded() {
        let edges = edges(unit.to_ps(samples.lowest_equivalent(slot.value_iterated_to())));
        match buckets.last_mut() {
            Some((last, count)) if *last == edges => *count += slot.count_at_value(),
            _ => buckets.push((edges, slot.count_at_value())),
        }
    }
    buckets
        .into_iter()
        .map(|((from, to), count)| Bucket {
            from_ns: round3(ps_to_ns(from)),
            to_ns: round3(ps_to_ns(to)),
            count,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut h = Histogram::new(3).unwrap();
        for v in values {
            h.record(*v).unwrap();
        }
        h
    }

    #[test]
    fn parts_that_do_not_sum_are_refused() {
        let h = histogram(&[1000]);
        let error = LatencyBuilder::new("read", &h, HistogramUnit::Picoseconds)
            .sum_ps(1000)
            .part("fs", 999)
            .build()
            .unwrap_err();
        assert_eq!(error.to_string(), "the parts of `read` sum to 999 and the whole is 1000");
    }

    #[test]
    fn quantiles_stay_between_the_exact_extremes() {
        let h = histogram(&[1_234_567]);
        let l = LatencyBuilder::new("read", &h, HistogramUnit::Picoseconds)
            .sum_ps(1_234_567)
            .part("all", 1_234_567)
            .extremes_ps(1_234_567, 1_234_567)
            .build()
            .unwrap();
        assert_eq!((l.min, l.p50, l.p999, l.max, l.mean), (1234.567, 1234.567, 1234.567, 1234.567, 1234.567));
    }

    #[test]
    fn nanosecond_histograms_scale() {
        let h = histogram(&[5, 7]);
        let l = LatencyBuilder::new("x", &h, HistogramUnit::Nanoseconds).sum_ps(12_000).part("a", 12_000);
        let l = l.build().unwrap();
        assert_eq!((l.min, l.max, l.mean), (5.0, 7.0, 6.0));
        assert_eq!(
            l.histogram.iter().map(|b| (b.from_ns, b.to_ns)).collect::<Vec<_>>(),
            [(5.0, 5.3), (6.7, 7.1)]
        );
    }

    #[test]
    fn time_without_samples_and_crossed_extremes_are_refused() {
        let empty = histogram(&[]);
        let one = histogram(&[5]);
        let unit = HistogramUnit::Picoseconds;
        assert!(LatencyBuilder::new("x", &empty, unit).sum_ps(1).part("a", 1).build().is_err());
        assert_eq!(LatencyBuilder::new("x", &empty, unit).build().unwrap(), Latency::default());
        assert!(
            LatencyBuilder::new("x", &one, unit).sum_ps(5).part("a", 5).extremes_ps(6, 5).build().is_err()
        );
    }

    #[test]
    fn edges_cover_every_value_once() {
        for ps in (0..3000).chain([u64::MAX - 1, u64::MAX, 10_u64.pow(19)]) {
            let (from, to) = edges(ps);
            assert!(from <= ps && (ps < to || to == u64::MAX), "{ps}: {from}..{to}");
            assert!(from == 0 || edges(from - 1).1 == from, "{ps}");
        }
    }
}
