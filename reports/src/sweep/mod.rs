//! A sweep: its points, which of them are best, and what each key does. As CSV, JSON Lines, Parquet, JSON, a page and text.

mod analysis;
mod columns;
mod front;
mod page;
mod parquet;
mod tables;
mod text;

use serde::{Deserialize, Serialize};

use crate::ReportError;

pub use self::parquet::parquet;
pub use analysis::{Analysis, Best, Effect, Pair, Ranked};
pub use columns::{csv, json_lines};
pub use page::render as html;
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.sweep/1";

/// A sweep with what came out of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// Its name.
    pub name: String,
    /// What it is of.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// What came out, if somebody wrote it down: paragraphs.
    pub findings: Vec<String>,
    /// Settings of every point.
    pub set: Vec<String>,
    /// What is varied.
    pub keys: Vec<String>,
    /// Paths into the reports of the points.
    pub metrics: Vec<String>,
    /// What is to be least or most.
    pub objectives: Vec<Objective>,
    /// How many points there are, and how many were run.
    pub space: Space,
    /// For each input, which points are best and what the keys do.
    pub analysis: Vec<Analysis>,
    /// Points that failed, with the reason.
    pub failures: Vec<Failure>,
    /// What else the reader must know.
    pub notes: Vec<String>,
    /// The points, in the order of the file; the JSON form has them in `results.jsonl`.
    #[serde(skip)]
    pub points: Vec<Point>,
}

/// Something that is to be least or most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// What it is called.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// What it is.
    pub expression: String,
    /// Whether more is better.
    pub maximise: bool,
}

/// The size of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// How a point of the space is chosen: all, or drawn.
    pub sample: String,
    /// Configurations of the full grid, before the constraints; `None` if a range has no end of values.
    pub grid: Option<u64>,
    /// Configurations that were drawn and that the constraints left out.
    pub left_out: u64,
    /// Configurations that were looked at.
    pub designs: u64,
    /// Inputs, each of which runs on each.
    pub inputs: u64,
    /// Points that ran to their end.
    pub run: u64,
    /// Points that failed.
    pub failed: u64,
    /// Share of the full grid that ran to the end on all its input, 0 to 1; `None` if it has no size.
    pub share: Option<f64>,
    /// Of a search: its rounds.
    pub rounds: Vec<Round>,
}

/// A round of successive halving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Accesses of each thread; `None` is all.
    pub accesses: Option<u64>,
    /// Configurations that took part.
    pub designs: u64,
}

/// A point that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its row, from 0.
    pub row: usize,
    /// Where it is in the space.
    pub what: String,
    /// Why.
    pub why: String,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// SHA-256 of what it is: input, configuration, version.
    pub id: String,
    /// The input as the file names it.
    pub input: String,
    /// The machine.
    pub machine: String,
    /// The kernel; empty if that is not known, since the point failed.
    pub kernel: String,
    /// The insert semantics, if others than the kernel's.
    pub semantics: String,
    /// Accesses of each thread that were run; `None` is all.
    pub accesses: Option<u64>,
    /// The levels of the keys, in the order of [`Sweep::keys`].
    pub levels: Vec<String>,
    /// In the order of [`Sweep::metrics`]; `None` if the report has no such number.
    pub metrics: Vec<Option<f64>>,
    /// In the order of [`Sweep::objectives`]; `None` if one of its metrics is missing.
    pub objectives: Vec<Option<f64>>,
    /// What it costs.
    pub cost: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Sweep {
    /// Counts, finds the best and the effects: all that follows from the points.
    #[must_use]
    pub fn analysed(mut self, budgets: &[f64]) -> Self {
        let failed = self.points.iter().enumerate().filter_map(|(row, point)| {
            let why = point.error.clone()?;
            Some(Failure { row, what: self.place(point), why })
        });
        self.failures = failed.collect();
        self.space.failed = self.failures.len() as u64;
        self.space.run = self.points.len() as u64 - self.space.failed;
        self.space.share = self.space.grid.filter(|grid| *grid > 0).map(|grid| {
            let whole = self.points.iter().filter(|p| p.error.is_none() && p.accesses == self.longest());
            whole.count() as f64 / (grid * self.space.inputs.max(1)) as f64
        });
        self.analysis = analysis::of(&self, budgets);
        self
    }

    /// The length of the runs that went furthest.
    fn longest(&self) -> Option<u64> {
        if self.points.iter().any(|point| point.accesses.is_none()) {
            return None;
        }
        self.points.iter().filter_map(|point| point.accesses).max()
    }

    /// Where a point is in the space, for people.
    fn place(&self, point: &Point) -> String {
        let keys = self.keys.iter().zip(&point.levels).map(|(key, level)| format!("{key}={level}"));
        let named = [&point.input, &point.machine, &point.kernel, &point.semantics];
        let named = named.into_iter().filter(|name| !name.is_empty()).cloned();
        named.chain(keys).collect::<Vec<_>>().join(" ")
    }

    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }
}

#[cfg(test)]
mod tests;
