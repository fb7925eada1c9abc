//! How the numbers of all matched points changed together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::matching::{Matched, Pair};
use super::{PointChange, SweepResults};
use crate::compare::Change;
use crate::model::round3;
use crate::sweep::Point;

/// Values of a key by which a change is told; of more, as of a key that was drawn, nothing is seen.
const MOST_LEVELS: usize = 12;

/// A number over all matched points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricChange {
    /// The path of the metric, `objective.NAME` or `cost`.
    pub metric: String,
    /// Matched points that have it in either sweep.
    pub points: usize,
    /// Points in which it became less.
    pub less: usize,
    /// Points in which it became more.
    pub more: usize,
    /// Points in which it is above 0 in both: those of the geometric means.
    pub positive: usize,
    /// Geometric mean of the base over these; `None` if there is none.
    pub base: Option<f64>,
    /// Geometric mean of the new sweep.
    pub new: Option<f64>,
    /// The change of the geometric mean in per cent: that of the ratios of the points.
    pub percent: Option<f64>,
    /// The point with the least change.
    pub least: Option<PlacedPercent>,
    /// The point with the greatest.
    pub most: Option<PlacedPercent>,
}

/// A change at a point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacedPercent {
    /// The point.
    pub place: String,
    /// The change in per cent.
    pub percent: f64,
}

/// How the change of a number depends on a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The number.
    pub metric: String,
    /// The key.
    pub key: String,
    /// For each value of the key, the change of the geometric mean in per cent.
    pub percents: Vec<(String, f64)>,
    /// The greatest of these less the least.
    pub span: f64,
}

/// A number that both sweeps have: its name, and where it is in each.
pub(super) struct Name {
    pub name: String,
    base: Place,
    new: Place,
}

/// Where a point has a number.
#[derive(Clone, Copy)]
enum Place {
    Metric(usize),
    Objective(usize),
    Cost,
}

impl Place {
    fn of(self, point: &Point) -> Option<f64> {
        match self {
            Self::Metric(at) => point.metrics.get(at).copied().flatten(),
            Self::Objective(at) => point.objectives.get(at).copied().flatten(),
            Self::Cost => point.cost,
        }
    }
}

impl Name {
    /// The number in both points.
    pub fn values(&self, pair: &Pair<'_>) -> (Option<f64>, Option<f64>) {
        (self.base.of(pair.base), self.new.of(pair.new))
    }
}

/// The numbers of both. An objective that is a metric by another name is that metric.
pub(super) fn names(base: &SweepResults, new: &SweepResults) -> Vec<Name> {
    let metric = |sweep: &SweepResults, name: &str| sweep.head.metrics.iter().position(|m| m == name);
    let both = |name: &String| {
        let (from, to) = (metric(base, name)?, metric(new, name)?);
        Some(Name { name: name.clone(), base: Place::Metric(from), new: Place::Metric(to) })
    };
    let mut names: Vec<Name> = base.head.metrics.iter().filter_map(both).collect();
    for (at, objective) in base.head.objectives.iter().enumerate() {
        let is_metric = names.iter().any(|name| name.name == objective.expression);
        let other = new.head.objectives.iter().position(|o| o.name == objective.name);
        let Some(other) = other.filter(|_| !is_metric && objective.name != "cost") else { continue };
        let name = format!("objective.{}", objective.name);
        names.push(Name { name, base: Place::Objective(at), new: Place::Objective(other) });
    }
    let costs = |sweep: &SweepResults| sweep.points.iter().any(|point| point.cost.is_some());
    if costs(base) && costs(new) {
        names.push(Name { name: "cost".to_owned(), base: Place::Cost, new: Place::Cost });
    }
    names
}

/// What one of the sweeps measured and the other did not.
pub(super) fn unshared(base: &SweepResults, new: &SweepResults) -> Vec<String> {
    let mut notes = Vec::new();
    for (one, other, side) in [(base, new, "the base"), (new, base, "the new one")] {
        let lacks = |metric: &&String| !other.head.metrics.contains(metric);
        let only: Vec<&str> = one.head.metrics.iter().filter(lacks).map(String::as_str).collect();
        if !only.is_empty() {
            notes.push(format!("only {side} has {}", only.join(", ")));
        }
    }
    if base.head.set != new.head.set {
        let words = |set: &[String]| if set.is_empty() { "none".to_owned() } else { set.join(" ") };
        notes.push(format!("settings {} against {}", words(&base.head.set), words(&new.head.set)));
    }
    notes
}

/// The points in which something differs.
pub(super) fn points(matched: &Matched<'_>, names: &[Name]) -> Vec<PointChange> {
    let one = |pair: &Pair<'_>| {
        let changes = names.iter().filter_map(|name| {
            let (from, to) = name.values(pair);
            (from != to).then(|| Change::new(name.name.clone(), from, to))
        });
        let changes: Vec<Change> = changes.collect();
        let (place, short) = (pair.place.clone(), pair.short.clone());
        (!changes.is_empty()).then_some(PointChange { place, short, changes })
    };
    matched.pairs.iter().filter_map(one).collect()
}

/// Each number over all points.
pub(super) fn metrics(matched: &Matched<'_>, names: &[Name]) -> Vec<MetricChange> {
    names.iter().map(|name| metric(matched, name)).collect()
}

fn metric(matched: &Matched<'_>, name: &Name) -> MetricChange {
    let mut change = MetricChange { metric: name.name.clone(), ..MetricChange::default() };
    let (mut base, mut new) = (Logs::default(), Logs::default());
    for pair in &matched.pairs {
        let (from, to) = name.values(pair);
        if from.is_none() && to.is_none() {
            continue;
        }
        let (from, to) = (from.unwrap_or(0.0), to.unwrap_or(0.0));
        change.points += 1;
        change.less += usize::from(to < from);
        change.more += usize::from(to > from);
        if from <= 0.0 || to <= 0.0 {
            continue;
        }
        base.add(from);
        new.add(to);
        let here = || PlacedPercent { place: pair.short.clone(), percent: ratio(from, to) };
        if change.least.as_ref().is_none_or(|least| ratio(from, to) < least.percent) {
            change.least = Some(here());
        }
        if change.most.as_ref().is_none_or(|most| ratio(from, to) > most.percent) {
            change.most = Some(here());
        }
    }
    change.positive = base.count;
    (change.base, change.new) = (base.mean(), new.mean());
    change.percent = change.base.zip(change.new).map(|(from, to)| ratio(from, to));
    change
}

/// The change in per cent.
fn ratio(from: f64, to: f64) -> f64 {
    round3((to / from - 1.0) * 100.0)
}

/// A geometric mean.
#[derive(Clone, Copy, Default)]
pub(super) struct Logs {
    sum: f64,
    pub count: usize,
}

impl Logs {
    pub fn add(&mut self, value: f64) {
        self.sum += value.ln();
        self.count += 1;
    }

    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| round3((self.sum / self.count as f64).exp()))
    }
}

/// How the change of each number that differs depends on each key with several values.
pub(super) fn by_key(matched: &Matched<'_>, names: &[Name]) -> Vec<KeyChange> {
    let mut all = Vec::new();
    for name in names {
        let mut of_metric: Vec<KeyChange> =
            (0..matched.keys.len()).filter_map(|at| by_one_key(matched, name, at)).collect();
        of_metric.sort_by(|a, b| b.span.total_cmp(&a.span));
        all.extend(of_metric);
    }
    all
}

/// `None` if the key has one value, or too many, or the change is the same at each.
fn by_one_key(matched: &Matched<'_>, name: &Name, at: usize) -> Option<KeyChange> {
    let mut levels: Vec<(&String, Logs)> = Vec::new();
    for pair in &matched.pairs {
        let (Some(from), Some(to)) = name.values(pair) else { continue };
        if from <= 0.0 || to <= 0.0 {
            continue;
        }
        let level = pair.place.get(at)?;
        let place = levels.iter().position(|(known, _)| *known == level).unwrap_or(levels.len());
        if place == levels.len() {
            levels.push((level, Logs::default()));
        }
        if let Some((_, logs)) = levels.get_mut(place) {
            logs.add(to / from);
        }
        if levels.len() > MOST_LEVELS {
            return None;
        }
    }
    let percent = |(level, logs): &(&String, Logs)| {
        let mean = (logs.sum / logs.count as f64).exp();
        (matched.level(at, level), round3((mean - 1.0) * 100.0))
    };
    let percents: Vec<(String, f64)> = levels.iter().map(percent).collect();
    let greatest = percents.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let least = percents.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let span = round3(greatest - least);
    (levels.len() > 1 && span > 0.0).then(|| KeyChange {
        metric: name.name.clone(),
        key: matched.keys.get(at).cloned().unwrap_or_default(),
        percents,
        span,
    })
}

/// Every number of a point of one sweep, those that are the same under two names under both.
pub(super) fn numbers(sweep: &SweepResults, point: &Point) -> BTreeMap<String, f64> {
    let metrics = sweep.head.metrics.iter().cloned().zip(&point.metrics);
    let objectives = sweep.head.objectives.iter().map(|o| format!("objective.{}", o.name));
    let named = metrics.chain(objectives.zip(&point.objectives));
    let mut found: BTreeMap<String, f64> =
        named.filter_map(|(name, value)| Some((name, (*value)?))).collect();
    found.extend(point.cost.map(|cost| ("cost".to_owned(), cost)));
    found
}
