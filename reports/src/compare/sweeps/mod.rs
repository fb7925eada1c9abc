//! Two sweeps side by side: points matched by where they are in the space, and how each number changed.
//!
//! Points are matched by input, machine, kernel, semantics, length and the levels of all keys. What has one value in each sweep and
//! not the same, as the kernel of two sweeps of one file, is what was varied between them, and tells no points apart.

mod best;
mod limits;
mod markdown;
mod matching;
mod page;
mod read;
mod summary;
mod tables;
mod text;

use serde::{Deserialize, Serialize};

use super::{Change, Limit};
use crate::ReportError;

pub use best::BestChange;
pub use limits::PointCheck;
pub use markdown::render as markdown;
pub use page::render as html;
pub use read::SweepResults;
pub use summary::{KeyChange, MetricChange, PlacedPercent};
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.compare-sweeps/1";

/// Two sweeps compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepComparison {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The sweep that is compared with.
    pub base: SweepSide,
    /// The sweep that is compared.
    pub new: SweepSide,
    /// What was varied between the two, as `kernel linux-6.12 against linux-7.2`.
    pub varied: Vec<String>,
    /// What the reader must know before using the differences.
    pub notes: Vec<String>,
    /// What points are matched by.
    pub keys: Vec<String>,
    /// Points of both that ran to their end.
    pub matched: usize,
    /// Places of points that only the base has.
    pub only_base: Vec<String>,
    /// Places of points that only the new sweep has.
    pub only_new: Vec<String>,
    /// Places of points of both that failed in one or both, with the side.
    pub failed: Vec<String>,
    /// What must not hold, and whether it does.
    pub checks: Vec<PointCheck>,
    /// Each number over all matched points.
    pub metrics: Vec<MetricChange>,
    /// How the change of each number depends on each key, the strongest first.
    pub by_key: Vec<KeyChange>,
    /// The best points of each input by each objective that both have.
    pub best: Vec<BestChange>,
    /// The matched points in which a number differs, in the order of the base.
    pub points: Vec<PointChange>,
}

/// One of the sweeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepSide {
    /// The folder as typed.
    pub name: String,
    /// What the sweep is called.
    pub title: String,
    /// Version of the program.
    pub version: String,
    /// Points, failed ones included.
    pub points: usize,
    /// Points that failed.
    pub failed: usize,
}

/// A matched point in which a number differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointChange {
    /// The values of [`SweepComparison::keys`].
    pub place: Vec<String>,
    /// The place in a few words: what has one value in all matched points is left out, and of inputs what all names share.
    pub short: String,
    /// The numbers that differ.
    pub changes: Vec<Change>,
}

impl SweepComparison {
    /// Compares `new` with `base` and holds `limits` against each matched point.
    ///
    /// # Errors
    ///
    /// [`ReportError::NoMatch`] if the points cannot be matched or none is in both, [`ReportError::UnknownPath`] if a limit is about
    /// a number that no point has.
    pub fn new(base: &SweepResults, new: &SweepResults, limits: &[Limit]) -> Result<Self, ReportError> {
        let matched = matching::matched(base, new)?;
        let names = summary::names(base, new);
        let points = summary::points(&matched, &names);
        let metrics = summary::metrics(&matched, &names);
        let checks = limits::checks(limits, &matched, base, new)?;
        let mut notes = matched.notes.clone();
        notes.extend(summary::unshared(base, new));
        if base.head.version != new.head.version {
            notes.push(format!("made by versions {} and {}", base.head.version, new.head.version));
        }
        Ok(Self {
            schema: SCHEMA.to_owned(),
            base: base.side(),
            new: new.side(),
            varied: matched.varied.clone(),
            notes,
            keys: matched.keys.clone(),
            matched: matched.pairs.len(),
            only_base: matched.only_base.clone(),
            only_new: matched.only_new.clone(),
            failed: matched.failed.clone(),
            checks,
            by_key: summary::by_key(&matched, &names),
            metrics,
            best: best::best(base, new, &matched),
            points,
        })
    }

    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }

    /// Whether something holds that must not.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.failing > 0)
    }
}

#[cfg(test)]
mod tests;
