//! Studies: one measurement as a function of something, for several variants of machine or kernel. `docs/studies.md` has the format.

mod probe;
mod read;

use serde::Serialize;

use crate::builtin;
use crate::cost::Trust;
use crate::error::ConfigError;
use crate::load::{Category, Document};

pub use probe::{Metric, StudyProbe};
pub(crate) use read::{problem_of, settings, settings_in};

/// A question, and the measurements that answer it.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The file's name without its ending.
    pub name: String,
    /// What it is of, in a line.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// What came out, if somebody wrote it down: paragraphs.
    pub findings: Vec<String>,
    /// Name of the probe.
    pub probe: &'static str,
    /// Settings of every point.
    pub set: Vec<String>,
    /// What the measurements are a function of.
    pub x: Axis,
    /// What is read off each.
    pub metrics: Vec<Metric>,
    /// What is compared.
    pub variants: Vec<Variant>,
}

/// What a study measures as a function of.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it is called.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Where it is measured, ascending.
    pub values: Vec<f64>,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name; no other of its panel has it.
    pub name: String,
    /// The chart that it is in: variants of one panel are compared.
    pub panel: String,
    /// Machine: a builtin's name or a path.
    pub machine: String,
    /// Kernel: a builtin's name or a path.
    pub kernel: String,
    /// Its own settings.
    pub set: Vec<String>,
    /// Where its mechanism or its numbers come from.
    pub source: Option<String>,
    /// How far its numbers can be trusted.
    pub trust: Option<Trust>,
    /// What else the reader should know.
    pub note: Option<String>,
    /// What is measured, one for each x.
    pub points: Vec<PointSpec>,
}

/// A measurement of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct PointSpec {
    /// Where.
    pub x: f64,
    /// Every setting, in the order in which they are applied: of the study, of this x, of the variant.
    pub set: Vec<String>,
    /// The probe with its parameters.
    pub probe: StudyProbe,
}

/// A builtin study, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StudyInfo {
    /// What `daxsim study` takes.
    pub name: &'static str,
    /// One line.
    pub title: String,
}

const STUDIES: Category =
    Category { what: "study", folder: "studies", builtins: builtin::study_files, optional: || &[] };

/// Loads a builtin study by its name, or the study in a file by its path. Machines and kernels that are paths are relative to the
/// file.
///
/// # Errors
///
/// Everything that is wrong with the name or the file.
pub fn load_study(name_or_path: &str) -> Result<Study, ConfigError> {
    let document = Document::find(&STUDIES, name_or_path)?;
    let mut study = read::study(document.source(), document.text())?;
    study.name = document.name();
    for variant in &mut study.variants {
        for file in [&mut variant.machine, &mut variant.kernel] {
            if file.contains('/') || file.ends_with(".toml") {
                *file = document.folder().join(&*file).display().to_string();
            }
        }
    }
    Ok(study)
}

/// Every builtin study.
///
/// # Errors
///
/// None, as long as the builtins are valid.
pub fn builtin_studies() -> Result<Vec<StudyInfo>, ConfigError> {
    builtin::study_files()
        .iter()
        .map(|file| Ok(StudyInfo { name: file.name, title: load_study(file.name)?.title }))
        .collect()
}

#[cfg(test)]
mod tests;
