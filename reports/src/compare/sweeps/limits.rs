//! Limits on the numbers of each matched point, and on those of the whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::SweepResults;
use super::matching::Matched;
use super::summary::{Logs, numbers};
use crate::ReportError;
use crate::compare::{Check, Limit};

/// A limit, and what the comparison showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointCheck {
    /// The limit as typed: what must not hold.
    pub fail_if: String,
    /// Points that it was held against; 1 for a number of the whole.
    pub points: usize,
    /// Points in which it holds.
    pub failing: usize,
    /// The point with the greatest change in the wrong direction; empty for a number of the whole.
    pub worst: String,
    /// What was found there.
    pub found: Check,
}

/// A point with its numbers in both.
type Numbered = (String, BTreeMap<String, f64>, BTreeMap<String, f64>);

/// Numbers of the whole in both.
type Both = (BTreeMap<String, f64>, BTreeMap<String, f64>);

/// Holds limits against all points.
pub(super) fn checks(
    limits: &[Limit],
    matched: &Matched<'_>,
    base: &SweepResults,
    new: &SweepResults,
) -> Result<Vec<PointCheck>, ReportError> {
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let one = |pair: &super::matching::Pair<'_>| {
        (pair.short.clone(), numbers(base, pair.base), numbers(new, pair.new))
    };
    let points: Vec<Numbered> = matched.pairs.iter().map(one).collect();
    let whole = whole(matched, &points);
    limits.iter().map(|limit| check(limit, &points, &whole)).collect()
}

/// `points.failed`, `points.only_base`, `points.only_new` and `geomean.METRIC`.
fn whole(matched: &Matched<'_>, points: &[Numbered]) -> Both {
    let (mut base, mut new) = Both::default();
    let failed = |points: &[(Vec<String>, &crate::sweep::Point)]| {
        points.iter().filter(|(_, point)| point.error.is_some()).count() as f64
    };
    base.insert("points.failed".to_owned(), failed(&matched.base));
    new.insert("points.failed".to_owned(), failed(&matched.new));
    base.insert("points.only_base".to_owned(), 0.0);
    new.insert("points.only_base".to_owned(), matched.only_base.len() as f64);
    base.insert("points.only_new".to_owned(), 0.0);
    new.insert("points.only_new".to_owned(), matched.only_new.len() as f64);
    let metrics: BTreeSet<&String> = points.iter().flat_map(|(_, from, _)| from.keys()).collect();
    for metric in metrics {
        let (mut before, mut after) = (Logs::default(), Logs::default());
        for (_, from, to) in points {
            if let (Some(from), Some(to)) = (from.get(metric), to.get(metric))
                && *from > 0.0
                && *to > 0.0
            {
                before.add(*from);
                after.add(*to);
            }
        }
        if let (Some(from), Some(to)) = (before.mean(), after.mean()) {
            base.insert(format!("geomean.{metric}"), from);
            new.insert(format!("geomean.{metric}"), to);
        }
    }
    (base, new)
}

fn check(limit: &Limit, points: &[Numbered], whole: &Both) -> Result<PointCheck, ReportError> {
    let has = |numbers: &BTreeMap<String, f64>| numbers.contains_key(limit.path());
    let of_points = points.iter().filter(|(_, from, to)| has(from) || has(to));
    let mut result = PointCheck { fail_if: limit.to_string(), ..PointCheck::default() };
    for (place, from, to) in of_points {
        let found = limit.check(from, to)?;
        result.points += 1;
        result.failing += usize::from(found.fails);
        if result.points == 1 || limit.is_worse(&found, &result.found) {
            (result.worst, result.found) = (place.clone(), found);
        }
    }
    if result.points == 0 {
        let found = known(limit, points, whole)?;
        return Ok(PointCheck { points: 1, failing: usize::from(found.fails), found, ..result });
    }
    Ok(result)
}

/// A number of the whole; the error offers those of points, too.
fn known(limit: &Limit, points: &[Numbered], (base, new): &Both) -> Result<Check, ReportError> {
    let mut offered = base.clone();
    if !base.contains_key(limit.path()) {
        offered.extend(points.iter().flat_map(|(_, from, _)| from.clone()));
    }
    limit.check(&offered, new)
}
