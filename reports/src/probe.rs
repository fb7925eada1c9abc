//! What a probe of the simulated machine measured, as a table and as JSON.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::ReportError;
use crate::model::round3;
use crate::terminal::aligned;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.probe/1";

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// Name of the probe.
    pub probe: &'static str,
    /// Machine config.
    pub machine: String,
    /// Kernel config.
    pub kernel: String,
    /// `--set` settings.
    pub overrides: Vec<String>,
    /// What was asked of the probe.
    pub settings: Settings,
    /// What was measured.
    pub points: Vec<Point>,
}

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(pub Vec<(&'static str, String)>);

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// One line of the table. All points of a probe have the same keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point(pub Vec<Cell>);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for cell in &self.0 {
            match &cell.value {
                Value::Text(text) => map.serialize_entry(cell.key, text)?,
                Value::Count(count) => map.serialize_entry(cell.key, count)?,
                Value::Number(number, _) => map.serialize_entry(cell.key, &round3(*number))?,
            }
        }
        map.end()
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Name for scripts.
    pub key: &'static str,
    /// Name for people: the head of its column.
    pub head: &'static str,
    /// The value.
    pub value: Value,
    /// How people read it, if not as it is.
    pub shown: Option<String>,
}

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A word.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number, and the decimals that people are shown.
    Number(f64, usize),
}

impl Cell {
    /// A cell that people see as it is.
    #[must_use]
    pub const fn new(key: &'static str, head: &'static str, value: Value) -> Self {
        Self { key, head, value, shown: None }
    }

    fn text(&self) -> String {
        match (&self.shown, &self.value) {
            (Some(shown), _) => shown.clone(),
            (None, Value::Text(text)) => text.clone(),
            (None, Value::Count(count)) => count.to_string(),
            (None, Value::Number(number, decimals)) => format!("{:.decimals$}", round3(*number)),
        }
    }

    /// A number, of which people see so many decimals.
    #[must_use]
    pub const fn number(key: &'static str, head: &'static str, value: f64, decimals: usize) -> Self {
        Self::new(key, head, Value::Number(value, decimals))
    }
}

impl ProbeReport {
    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }

    /// The table, with a newline at the end.
    #[must_use]
    pub fn summary(&self) -> String {
        let set = self.overrides.iter().map(|set| format!(", {set}")).collect::<String>();
        let settings = self.settings.0.iter().map(|(key, value)| format!(", {key} {value}"));
        let title = format!("{} on {}{set}{}\n", self.probe, self.machine, settings.collect::<String>());
        let head: Vec<&str> =
            self.points.first().map_or_else(Vec::new, |p| p.0.iter().map(|c| c.head).collect());
        let rows = self.points.iter().map(|point| point.0.iter().map(Cell::text).collect()).collect();
        aligned(&title, &head, rows) + "\n"
    }
}
