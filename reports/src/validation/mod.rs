//! Measured and simulated numbers side by side, and whether they are near enough.

mod markdown;
mod page;
mod published;
mod text;

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::model::round3;
use crate::units::number;

pub use markdown::render as markdown;
pub use page::render as html;
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.validation/1";

/// Points with what the simulation gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Points within their tolerance.
    pub passed: usize,
    /// Points beyond it.
    pub failed: usize,
    /// The points, in the order of their files.
    pub points: Vec<Point>,
}

/// One thing that was to be reproduced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Unique name.
    pub id: String,
    /// What it says.
    pub about: String,
    /// Machine config.
    pub machine: String,
    /// Settings of it.
    pub set: Vec<String>,
    /// The measurement, for people.
    pub probe: String,
    /// How the measurement differs from others on the same machine, for a legend.
    pub series: String,
    /// What of the measurement is compared: `value`, `values`, `difference`, `knee` or `peak`.
    pub take: String,
    /// Unit of the values.
    pub unit: String,
    /// Unit of `x`; empty without.
    pub x_unit: String,
    /// Where it was measured.
    pub x: Vec<f64>,
    /// What hardware gave: at each x, or the one number.
    pub expected: Vec<f64>,
    /// What the simulation gave in its place.
    pub got: Vec<f64>,
    /// What the simulation gave at each x, where that is not what is compared.
    pub behind: Vec<f64>,
    /// How far it is off, in the terms of the tolerance: the worst of several.
    pub error: f64,
    /// What it may be off at most; of a range the distance that is allowed from it, 0.
    pub allowed: f64,
    /// In what terms: `absolute`, `relative`, `mean_relative`, `factor` or `range`.
    pub tolerance: String,
    /// The least and the most of a range.
    pub range: Option<[f64; 2]>,
    /// Whether it is near enough.
    pub passed: bool,
    /// Where the number comes from.
    pub source: String,
    /// How far it can be trusted.
    pub trust: String,
    /// What else the reader should know.
    pub note: Option<String>,
    /// What was chosen so that the point is met, if anything was.
    pub fitted: Option<String>,
}

impl Validation {
    /// The document of points that are judged already.
    #[must_use]
    pub fn new(points: Vec<Point>) -> Self {
        let passed = points.iter().filter(|point| point.passed).count();
        Self { schema: SCHEMA.to_owned(), passed, failed: points.len() - passed, points }
    }

    /// The document with numbers as the JSON form has them, so that all forms can be made of that again.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        for point in &mut self.points {
            point.error = round3(point.error);
            point.got.iter_mut().chain(&mut point.behind).for_each(|value| *value = round3(*value));
        }
        self
    }

    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(&self.clone().rounded()).map_err(ReportError::Serialise)? + "\n")
    }
}

impl Point {
    /// Whether it is a curve rather than a few values.
    fn is_curve(&self) -> bool {
        self.take == "values" && self.x.len() >= 8
    }

    /// Where the simulation is farthest off, as a share of what is expected.
    fn worst(&self) -> usize {
        let share = |at: usize| {
            let pair = self.expected.get(at).zip(self.got.get(at));
            pair.map_or(0.0, |(expected, got)| (got - expected).abs() / expected.abs().max(1e-9))
        };
        (0..self.expected.len()).rev().max_by(|a, b| share(*a).total_cmp(&share(*b))).unwrap_or_default()
    }

    /// What was expected, for people: of several values the one that the simulation is farthest off from.
    fn expected_shown(&self) -> String {
        let at = self.worst();
        let value = number(self.expected.get(at).copied().unwrap_or_default());
        match self.x.get(at) {
            Some(x) if self.expected.len() > 1 => {
                format!("{value} {} at {} {}", self.unit, number(*x), self.x_unit)
            }
            _ => format!("{value} {}", self.unit),
        }
    }

    /// What the simulation gave there.
    fn got_shown(&self) -> String {
        number(self.got.get(self.worst()).copied().unwrap_or_default())
    }

    fn error_shown(&self) -> String {
        match self.tolerance.as_str() {
            "relative" | "mean_relative" => percent(self.error),
            _ => number(self.error),
        }
    }

    fn tolerance_shown(&self) -> String {
        match (self.tolerance.as_str(), self.range) {
            (_, Some([least, most])) => format!("{}..{}", number(least), number(most)),
            ("relative", _) => format!("{} each", percent(self.allowed)),
            ("mean_relative", _) => format!("{} mean", percent(self.allowed)),
            ("factor", _) => format!("factor {}", number(self.allowed)),
            _ if self.allowed == 0.0 => "exact".to_owned(),
            _ => number(self.allowed),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_decimals_that_say_something() {
        assert_eq!([14.0, 85.9921, 9.004, 1234.56, 1.5].map(number), ["14", "86.0", "9.00", "1235", "1.50"]);
        assert_eq!(percent(0.0834), "8.3 %");
    }

    #[test]
    fn of_several_values_the_worst_is_shown() {
        let point = Point {
            x: vec![256.0, 512.0, 8192.0],
            expected: vec![14.0, 23.0, 85.5],
            got: vec![14.0, 20.0, 86.0],
            unit: "cycles".into(),
            x_unit: "KiB".into(),
            ..Point::default()
        };
        assert_eq!(
            (point.expected_shown().as_str(), point.got_shown().as_str()),
            ("23 cycles at 512 KiB", "20")
        );
        let one = Point { expected: vec![9.0], got: vec![9.5], ..point };
        assert_eq!((one.expected_shown().as_str(), one.got_shown().as_str()), ("9 cycles", "9.50"));
    }

    #[test]
    fn a_document_counts_and_survives_json() {
        let point = |passed| Point { id: "a".into(), error: 1.0 / 3.0, passed, ..Point::default() };
        let document = Validation::new(vec![point(true), point(false), point(true)]);
        assert_eq!((document.passed, document.failed), (2, 1));
        let back: Validation = serde_json::from_str(&document.to_json().unwrap()).unwrap();
        assert_eq!(back.points[0].error, 0.333);
    }
}
