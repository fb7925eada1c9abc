//! Sweeps: inputs by machines by kernels by keys, and what is asked of the points. `docs/sweeps.md` has the format.

mod designs;
mod expr;
mod keys;
mod read;

use std::path::PathBuf;

use crate::error::ConfigError;
use crate::load::{Category, Document};

pub use designs::{Design, Designs, MAX_POINTS};
pub use expr::{Expr, ExprError, Quantity};
pub use keys::{Key, Level, Range, Values};

/// A space of configurations, the inputs that they run, and what is asked of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The file's name without its ending.
    pub name: String,
    /// What its paths are relative to.
    pub folder: PathBuf,
    /// What it is of, in a line.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// What came out, if somebody wrote it down: paragraphs.
    pub findings: Vec<String>,
    /// Inputs: paths.
    pub inputs: Vec<String>,
    /// Machines: builtins' names or paths.
    pub machines: Vec<String>,
    /// Kernels: builtins' names or paths; none is the one that recorded the input.
    pub kernels: Vec<String>,
    /// Insert semantics in place of the kernels'; none is theirs.
    pub semantics: Vec<String>,
    /// File system; `None` is the one of the recording.
    pub fs: Option<String>,
    /// Settings of every point.
    pub set: Vec<String>,
    /// Seed of everything that a run draws.
    pub seed: u64,
    /// Of a trace of accesses: no more than the first so many of each thread.
    pub accesses: Option<u64>,
    /// Of a trace of accesses: ranges that map a DAX file, as `--map` takes them.
    pub maps: Vec<String>,
    /// What is varied.
    pub keys: Vec<Key>,
    /// What must hold of a point.
    pub constraints: Vec<Expr>,
    /// Which points of the space are run.
    pub sample: Sample,
    /// What is read off each report: paths into it.
    pub metrics: Vec<String>,
    /// What is to be least or most.
    pub objectives: Vec<Objective>,
    /// What a point costs, beside the costs of the levels of its keys.
    pub cost: Option<Expr>,
    /// Costs within which the best point is asked for.
    pub budgets: Vec<f64>,
    /// A search in place of all points at full length.
    pub search: Option<Halving>,
}

/// Which points of a space are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// All.
    Grid,
    /// So many, each drawn by itself.
    Random {
        /// How many.
        count: u32,
        /// Of the generator.
        seed: u64,
    },
    /// So many, each key's values spread evenly over them.
    LatinHypercube {
        /// How many.
        count: u32,
        /// Of the generator.
        seed: u64,
    },
}

/// Something that is to be least or most.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What it is called.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Of metrics, keys and `cost`.
    pub value: Expr,
    /// Whether more is better.
    pub maximise: bool,
}

/// Successive halving: all points run a short part of the traces, the best of them a longer one.
#[derive(Clone, Debug, PartialEq)]
pub struct Halving {
    /// Accesses of each thread at first.
    pub first: u64,
    /// One of so many goes on, with so many times as many accesses.
    pub factor: u32,
    /// The objective by which points are ranked.
    pub objective: String,
}

impl Sweep {
    /// Whether points have a cost.
    #[must_use]
    pub fn has_cost(&self) -> bool {
        self.cost.is_some() || self.keys.iter().any(|key| key.has_cost)
    }

    /// Where an input is.
    #[must_use]
    pub fn input_path(&self, input: &str) -> PathBuf {
        self.folder.join(input)
    }

    /// The name of a machine or kernel, or where it is.
    #[must_use]
    pub fn config_path(&self, name: &str) -> String {
        let is_path = name.contains('/') || name.ends_with(".toml");
        if is_path { self.folder.join(name).display().to_string() } else { name.to_owned() }
    }
}

const SWEEPS: Category = Category { what: "sweep", folder: "sweeps", builtins: || &[], optional: || &[] };

/// Loads the sweep in a file. Inputs, machines and kernels that are paths are relative to the file.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub fn load_sweep(path: &str) -> Result<Sweep, ConfigError> {
    let document = Document::find(&SWEEPS, path)?;
    let mut sweep = parse_sweep(document.source(), document.text())?;
    sweep.name = document.name();
    sweep.folder = document.folder().to_owned();
    Ok(sweep)
}

/// Reads a sweep from text; `source_name` is what errors call it.
///
/// # Errors
///
/// Everything that is wrong with the text.
pub fn parse_sweep(source_name: &str, text: &str) -> Result<Sweep, ConfigError> {
    read::sweep(source_name, text)
}

#[cfg(test)]
mod tests;
