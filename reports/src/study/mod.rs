//! One measurement as a function of something, for several variants: as JSON, a page, Markdown and a table.

mod markdown;
mod page;
mod tables;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::model::round3;

pub use markdown::render as markdown;
pub use page::render as html;
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.study/1";

/// Waits that tables show of a point; the JSON form has all.
const WAITS_SHOWN: usize = 4;

/// A study with what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is of.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// What came out, if somebody wrote it down: paragraphs.
    pub findings: Vec<String>,
    /// The probe.
    pub probe: String,
    /// Settings of every point.
    pub set: Vec<String>,
    /// What the measurements are a function of.
    pub x: Axis,
    /// What was read off each.
    pub metrics: Vec<Metric>,
    /// The variants, in the order of the file.
    pub variants: Vec<Variant>,
    /// Points that could not be measured.
    pub failed: usize,
}

/// What a study measures as a function of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What it is called.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Where it was measured.
    pub values: Vec<f64>,
}

/// Something that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name in [`Point::values`].
    pub key: String,
    /// Its unit.
    pub unit: String,
    /// What it says.
    pub about: String,
}

/// One line of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The panel whose variants it is compared with.
    pub panel: String,
    /// Machine config.
    pub machine: String,
    /// Kernel config.
    pub kernel: String,
    /// Its own settings.
    pub set: Vec<String>,
    /// The probe with its parameters at the first x.
    pub probe: String,
    /// Where its mechanism or its numbers come from.
    pub source: Option<String>,
    /// How far its numbers can be trusted.
    pub trust: Option<String>,
    /// What else the reader should know.
    pub note: Option<String>,
    /// What was measured, one for each x.
    pub points: Vec<Point>,
}

/// A measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// What was measured, by the key of the metric; empty if it could not be.
    pub values: BTreeMap<String, f64>,
    /// What was waited for, the longest first, if the probe says so.
    pub waits: Vec<Wait>,
    /// Why it could not be measured.
    pub error: Option<String>,
}

/// A wait by its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// The lock or the line.
    pub name: String,
    /// Nanoseconds, for each of what the probe counts.
    pub ns: f64,
}

impl Study {
    /// Counts the points that could not be measured.
    #[must_use]
    pub fn counted(mut self) -> Self {
        let points = self.variants.iter().flat_map(|variant| &variant.points);
        self.failed = points.filter(|point| point.error.is_some()).count();
        self
    }

    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let mut rounded = self.clone();
        for point in rounded.variants.iter_mut().flat_map(|variant| &mut variant.points) {
            point.values.values_mut().for_each(|value| *value = round3(*value));
            point.waits.iter_mut().for_each(|wait| wait.ns = round3(wait.ns));
        }
        Ok(serde_json::to_string_pretty(&rounded).map_err(ReportError::Serialise)? + "\n")
    }

    /// The panels, in the order in which they come first.
    fn panels(&self) -> Vec<&str> {
        let mut panels: Vec<&str> = Vec::new();
        for variant in &self.variants {
            if !panels.contains(&variant.panel.as_str()) {
                panels.push(&variant.panel);
            }
        }
        panels
    }

    fn variants_of<'a>(&'a self, panel: &str) -> Vec<&'a Variant> {
        self.variants.iter().filter(|variant| variant.panel == panel).collect()
    }
}

#[cfg(test)]
mod tests;
