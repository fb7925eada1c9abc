//! Whether what was simulated is near enough to what was measured.

use anyhow::Result;
use daxsim_configs::validation::{
    ChaseMetric, FaultMetric, ProbeSpec, ShootdownMetric, StormMetric, Take, Tolerance, ValidationPoint,
};
use daxsim_reports::validation::Point;
use daxsim_types::PageSize;

use super::measure::Measured;
use super::memory;
use crate::{causes, size};

/// Reads a point off the measurements and compares it.
pub fn judge(point: &ValidationPoint, measured: &Measured) -> Result<Point> {
    let at = |xs: &[f64]| xs.iter().map(|x| measured.at(point, *x)).collect::<Result<Vec<f64>>>();
    let (take, x, expected, got, behind) = match &point.take {
        Take::Value { expect } => ("value", vec![], vec![*expect], vec![measured.value(point)?], vec![]),
        Take::Values { x, expect } => ("values", x.clone(), expect.clone(), at(x)?, vec![]),
        Take::Difference { x, expect } => {
            let behind = at(x)?;
            let got = behind.iter().copied().reduce(|a, b| a - b).unwrap_or_default();
            ("difference", x.to_vec(), vec![*expect], vec![got], behind)
        }
        Take::Knee { x, rise, expect } => {
            let behind = at(x)?;
            ("knee", x.clone(), vec![*expect], vec![knee(x, &behind, *rise)], behind)
        }
        Take::Peak { x, expect } => {
            let behind = at(x)?;
            ("peak", x.clone(), vec![*expect], vec![peak(x, &behind)], behind)
        }
    };
    let verdict = Verdict::of(point.tolerance, &expected, &got);
    let (probe, series) = describe(&point.probe);
    let x_unit = point.probe.x_unit();
    Ok(Point {
        id: point.id.clone(),
        about: point.about.clone(),
        machine: point.machine.clone(),
        set: point.set.clone(),
        probe,
        series,
        take: take.to_owned(),
        unit: if matches!(take, "knee" | "peak") { x_unit } else { unit(&point.probe) }.to_owned(),
        x_unit: x_unit.to_owned(),
        x,
        expected,
        got,
        behind,
        error: verdict.error,
        allowed: verdict.allowed,
        tolerance: verdict.kind.to_owned(),
        range: verdict.range,
        passed: verdict.passed(),
        source: point.source.clone(),
        trust: format!("{:?}", point.trust),
        note: point.note.clone(),
        fitted: point.fitted.clone(),
    })
}

/// The last x before the first rise, or the last of all.
fn knee(x: &[f64], y: &[f64], rise: f64) -> f64 {
    let at = y.iter().zip(y.iter().skip(1)).position(|(here, next)| next - here >= rise);
    at.and_then(|at| x.get(at)).or(x.last()).copied().unwrap_or_default()
}

/// The first x whose value is at least 99 % of the largest.
fn peak(x: &[f64], y: &[f64]) -> f64 {
    let most = y.iter().copied().fold(0.0, f64::max);
    let at = y.iter().position(|value| *value >= 0.99 * most);
    at.and_then(|at| x.get(at)).copied().unwrap_or_default()
}

/// How far off, and how far it may be.
struct Verdict {
    kind: &'static str,
    error: f64,
    allowed: f64,
    range: Option<[f64; 2]>,
}

/// The factor by which nothing is off something.
const MOST_FACTOR: f64 = 1e6;

/// What floating-point arithmetic may be off by.
const EPSILON: f64 = 1e-9;

impl Verdict {
    fn of(tolerance: Tolerance, expected: &[f64], got: &[f64]) -> Self {
        let pairs = || expected.iter().zip(got);
        let off = || pairs().map(|(expected, got)| (got - expected).abs());
        let share = || pairs().map(|(expected, got)| ((got - expected) / expected).abs());
        let worst = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, f64::max);
        let (kind, error, allowed, range) = match tolerance {
            Tolerance::Absolute(allowed) => ("absolute", worst(&mut off()), allowed, None),
            Tolerance::Relative(allowed) => ("relative", worst(&mut share()), allowed, None),
            Tolerance::MeanRelative(allowed) => {
                ("mean_relative", share().sum::<f64>() / expected.len().max(1) as f64, allowed, None)
            }
            Tolerance::Factor(allowed) => {
                let factors = pairs().map(|(expected, got)| {
                    let factor = (got / expected).max(expected / got);
                    if factor.is_finite() { factor } else { MOST_FACTOR }
                });
                ("factor", worst(&mut factors.into_iter()), allowed, None)
            }
            Tolerance::Range(least, most) => {
                let outside = got.iter().map(|got| (least - got).max(got - most).max(0.0));
                ("range", worst(&mut outside.into_iter()), 0.0, Some([least, most]))
            }
        };
        Self { kind, error, allowed, range }
    }

    fn passed(&self) -> bool {
        self.error <= self.allowed + EPSILON
    }
}

const fn unit(probe: &ProbeSpec) -> &'static str {
    match probe {
        ProbeSpec::Chase { metric, .. } => match metric {
            ChaseMetric::Cycles => "cycles",
            ChaseMetric::Ns => "ns",
            ChaseMetric::DtlbMisses | ChaseMetric::StlbMisses => "misses",
            ChaseMetric::WalkReferences => "reads",
        },
        ProbeSpec::AdUpdate { .. } => "cycles",
        ProbeSpec::CachelinePing { .. } => "ns",
        ProbeSpec::Shootdown { metric: ShootdownMetric::Cycles | ShootdownMetric::PtiCycles, .. }
        | ProbeSpec::Fault { .. } => "cycles",
        ProbeSpec::Shootdown { .. } => "ns",
        ProbeSpec::FlushStorm { metric: StormMetric::ThousandsPerSecond, .. } => "k/s",
        ProbeSpec::FlushStorm { metric: StormMetric::FlushPercent, .. } => "%",
        ProbeSpec::Tlbdr => "found",
        ProbeSpec::Walks { .. } => "reads",
        ProbeSpec::Memory { metric, .. } => metric.unit(),
    }
}

/// The measurement in words, and what tells it from others on the machine.
fn describe(probe: &ProbeSpec) -> (String, String) {
    match probe {
        ProbeSpec::Chase { stride, spread, page, .. } => {
            let stride = size::show(*stride);
            let spread = if *spread { ", spread over lines" } else { "" };
            let pages = if *page == PageSize::Size4K { String::new() } else { format!(", {page} pages") };
            let whole = format!("chase, a load every {stride}{spread}, {page} pages");
            (whole, format!("every {stride}{spread}{pages}"))
        }
        ProbeSpec::AdUpdate { dirty } => {
            let bit = if *dirty { "D" } else { "A" };
            (format!("ad-update of {bit}"), format!("{bit} update"))
        }
        ProbeSpec::CachelinePing { cpus: [first, second] } => {
            let series = format!("CPUs {first} and {second}");
            (format!("cacheline-ping, {series}"), series)
        }
        ProbeSpec::Shootdown { cause, threads, .. } => {
            let series = format!("{}, {threads} threads", causes::flush_name(*cause));
            (format!("shootdown by {series}"), series)
        }
        ProbeSpec::FlushStorm { threads, .. } => {
            let series = format!("{threads} threads");
            (format!("flush-storm, {series}"), series)
        }
        ProbeSpec::Fault { cause, pages, metric } => {
            let cause = causes::fault_name(*cause);
            let what = if *metric == FaultMetric::DeliveryCycles { ", delivery" } else { "" };
            (format!("fault, {cause}, {pages} times"), format!("{cause}{what}"))
        }
        ProbeSpec::Tlbdr => ("tlbdr, nine experiments".to_owned(), "experiments".to_owned()),
        ProbeSpec::Walks { streams, accesses } => {
            (format!("walks, {} accesses of {}", accesses, streams.join(", ")), streams.join(", "))
        }
        ProbeSpec::Memory { probe, metric } => memory::describe(probe, *metric),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_the_last_place_before_the_first_rise() {
        let x = [192.0, 256.0, 384.0, 512.0];
        assert_eq!(knee(&x, &[14.0, 14.0, 23.0, 60.0], 5.0), 256.0);
        assert_eq!(knee(&x, &[14.0, 18.9, 23.0, 60.0], 5.0), 384.0, "rises of less are none");
        assert_eq!(knee(&x, &[14.0; 4], 5.0), 512.0, "no rise: the last");
        assert_eq!(knee(&x, &[14.0, 19.0, 20.0, 21.0], 5.0), 192.0, "a rise of just so much is one");
    }

    #[test]
    fn the_peak_is_the_first_place_that_is_about_as_high_as_any() {
        let x = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(peak(&x, &[2.9, 5.7, 6.5, 6.52]), 4.0);
        assert_eq!(peak(&x, &[2.2, 2.2, 2.1, 1.5]), 1.0);
        assert_eq!(peak(&x, &[0.0; 4]), 1.0);
    }

    #[test]
    fn errors_are_in_the_terms_of_the_tolerance() {
        let of = |tolerance, expected: &[f64], got: &[f64]| {
            let verdict = Verdict::of(tolerance, expected, got);
            (verdict.error, verdict.passed())
        };
        assert_eq!(of(Tolerance::Absolute(1.0), &[14.0, 23.0], &[14.5, 22.0]), (1.0, true));
        assert_eq!(of(Tolerance::Absolute(0.0), &[256.0], &[384.0]), (128.0, false));
        assert_eq!(of(Tolerance::Relative(0.1), &[10.0, 100.0], &[12.0, 100.0]), (0.2, false));
        assert_eq!(of(Tolerance::MeanRelative(0.1), &[10.0, 100.0], &[12.0, 100.0]), (0.1, true));
        assert_eq!(of(Tolerance::Range(1.1, 2.5), &[1.5], &[2.0]), (0.0, true));
        assert_eq!(of(Tolerance::Factor(1.5), &[10.0, 10.0], &[14.0, 8.0]), (1.4, true));
        assert_eq!(of(Tolerance::Factor(1.5), &[10.0], &[5.0]), (2.0, false));
        assert_eq!(of(Tolerance::Factor(1.5), &[10.0], &[0.0]), (MOST_FACTOR, false));
        let (error, passed) = of(Tolerance::Range(1.1, 2.5), &[1.5], &[3.0]);
        assert!((error - 0.5).abs() < EPSILON && !passed);
    }
}
