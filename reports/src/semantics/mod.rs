//! Runs of one input under several insert semantics, side by side, and each difference between two of them taken apart
//! into the knobs that make it.

mod metrics;
mod page;
mod text;

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::model::{RunReport, round3};

pub use metrics::{Metric, Unit, metrics};
pub use page::render as html;
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.semantics/1";

/// The comparison of one input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The input as typed.
    pub input: String,
    /// SHA-256 of the input's bytes.
    pub sha256: String,
    /// Machine config.
    pub machine: String,
    /// Kernel config whose tree and path lengths every run has.
    pub tree: String,
    /// File system.
    pub fs: String,
    /// `--set` settings of every run.
    pub overrides: Vec<String>,
    /// Names of the semantics, in the order of the columns.
    pub semantics: Vec<String>,
    /// What was measured: one value for each semantics.
    pub rows: Vec<Row>,
    /// Differences between two semantics, by knob.
    pub transitions: Vec<Transition>,
    /// What the reader must know before using the numbers.
    pub notes: Vec<String>,
}

impl Comparison {
    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }
}

/// One metric over all semantics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name for scripts.
    pub key: String,
    /// Name for people.
    pub label: String,
    /// What the values count.
    pub unit: Unit,
    /// The values; `None` where nothing of the kind happened.
    pub values: Vec<Option<f64>>,
}

/// From one semantics to another, one knob after another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The semantics it starts from.
    pub from: String,
    /// The semantics it ends with.
    pub to: String,
    /// The knobs in the order they were switched.
    pub steps: Vec<Step>,
    /// Metrics that the two differ in.
    pub changes: Vec<Change>,
}

/// One knob switched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The knob.
    pub knob: String,
    /// Its value before.
    pub from: String,
    /// Its value after.
    pub to: String,
    /// What it means.
    pub doc: String,
    /// Why it cannot be switched alone, if it cannot.
    pub not_alone: Option<String>,
}

/// The change of one metric and the knobs that make it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Name for scripts.
    pub key: String,
    /// Name for people.
    pub label: String,
    /// What the values count.
    pub unit: Unit,
    /// Value in the first semantics.
    pub from: Option<f64>,
    /// Value in the second.
    pub to: Option<f64>,
    /// Knobs that moved it, in the order they were switched. Their changes sum to the whole, unless the metric is absent at
    /// some step.
    pub by: Vec<Share>,
}

/// What one knob did to a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The knob.
    pub knob: String,
    /// Value before it was switched; `None` if nothing of the kind happened.
    pub from: Option<f64>,
    /// Value after.
    pub to: Option<f64>,
    /// The change if this knob alone is switched in the first semantics: another number than `to - from` means that the
    /// effect depends on the knobs before it.
    pub alone: Option<f64>,
}

impl Share {
    /// The change, if the metric is there before and after.
    #[must_use]
    pub fn delta(&self) -> Option<f64> {
        difference(self.from, self.to)
    }

    /// Whether the effect is the same with this knob switched alone.
    #[must_use]
    pub fn holds_alone(&self) -> bool {
        self.alone.is_some() && self.alone == self.delta()
    }
}

/// A run at one point of a transition: the report after a knob was switched, and the one with that knob alone.
pub struct Switched<'r> {
    /// The knob.
    pub step: Step,
    /// After it and those before it.
    pub after: &'r RunReport,
    /// With it alone; `None` if that is no valid configuration.
    pub alone: Option<&'r RunReport>,
}

impl Transition {
    /// Takes the difference between `from` and the last of `switched` apart.
    #[must_use]
    pub fn new(from: (&str, &RunReport), to: &str, switched: Vec<Switched<'_>>) -> Self {
        let first = metrics(from.1);
        let points: Vec<Vec<Metric>> = switched.iter().map(|s| metrics(s.after)).collect();
        let alone: Vec<Option<Vec<Metric>>> = switched.iter().map(|s| s.alone.map(metrics)).collect();
        let last = points.last().unwrap_or(&first);
        let mut changes = Vec::new();
        for metric in union(&[&first, last]) {
            let (before, after) = (value(&first, &metric.key), value(last, &metric.key));
            if before != after {
                let by = shares(&metric.key, &first, &points, &alone, &switched);
                let Metric { key, label, unit, .. } = metric;
                changes.push(Change { key, label, unit, from: before, to: after, by });
            }
        }
        let steps = switched.into_iter().map(|s| s.step).collect();
        Self { from: from.0.to_owned(), to: to.to_owned(), steps, changes }
    }

    /// The knobs that moved no metric that the two semantics differ in.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&str> {
        let moved = |knob: &str| self.changes.iter().flat_map(|c| &c.by).any(|share| share.knob == knob);
        self.steps.iter().map(|s| s.knob.as_str()).filter(|knob| !moved(knob)).collect()
    }
}

/// Which knobs moved `key`, and by how much.
fn shares(
    key: &str,
    first: &[Metric],
    points: &[Vec<Metric>],
    alone: &[Option<Vec<Metric>>],
    switched: &[Switched<'_>],
) -> Vec<Share> {
    let mut before = value(first, key);
    let start = before;
    let mut shares = Vec::new();
    for ((point, alone), switched) in points.iter().zip(alone).zip(switched) {
        let after = value(point, key);
        if after != before {
            let alone = alone.as_ref().and_then(|metrics| difference(start, value(metrics, key)));
            shares.push(Share { knob: switched.step.knob.clone(), from: before, to: after, alone });
        }
        before = after;
    }
    shares
}

/// The rows of the table: every metric that any of the reports has.
#[must_use]
pub fn rows(reports: &[&RunReport]) -> Vec<Row> {
    let all: Vec<Vec<Metric>> = reports.iter().map(|report| metrics(report)).collect();
    let refs: Vec<&Vec<Metric>> = all.iter().collect();
    union(&refs)
        .into_iter()
        .map(|Metric { key, label, unit, .. }| {
            let values = all.iter().map(|metrics| value(metrics, &key)).collect();
            Row { key, label, unit, values }
        })
        .filter(|row: &Row| row.values.iter().flatten().any(|v| *v != 0.0))
        .collect()
}

/// Metrics that any list has, in the order of the lists.
fn union(lists: &[&Vec<Metric>]) -> Vec<Metric> {
    let mut all: Vec<Metric> = lists.iter().flat_map(|list| list.iter().cloned()).collect();
    all.sort_by_key(|metric| metric.rank);
    all.dedup_by(|a, b| a.key == b.key);
    all
}

fn value(metrics: &[Metric], key: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.key == key).map(|metric| metric.value)
}

fn difference(from: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(round3(to? - from?))
}
