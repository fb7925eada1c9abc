//! The results of a sweep, read from its folder: `sweep.json` and `results.csv`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::SweepSide;
use crate::ReportError;
use crate::sweep::{Objective, Point, SCHEMA};

/// A finished sweep, as its files say.
#[derive(Clone, Debug, Default)]
pub struct SweepResults {
    /// The folder as typed.
    pub name: String,
    pub(super) head: Head,
    pub(super) points: Vec<Point>,
}

/// What of `sweep.json` bears on a comparison.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    schema: String,
    pub version: String,
    pub title: String,
    pub set: Vec<String>,
    pub keys: Vec<String>,
    pub metrics: Vec<String>,
    pub objectives: Vec<Objective>,
}

impl SweepResults {
    /// Reads `sweep.json` and `results.csv` of a folder.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if one cannot be read, [`ReportError::Malformed`] or [`ReportError::Schema`] if the first is no sweep,
    /// [`ReportError::Table`] with the place if the second does not hold its points.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let (json, csv) = (folder.join("sweep.json"), folder.join("results.csv"));
        let head = head(&json.display().to_string(), &text(&json)?)?;
        let points = points(&head, &csv.display().to_string(), &text(&csv)?)?;
        Ok(Self { name: folder.display().to_string(), head, points })
    }

    /// The same of texts.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], but for [`ReportError::Io`].
    pub fn parse(name: &str, json: &str, csv: &str) -> Result<Self, ReportError> {
        let head = head(name, json)?;
        let points = points(&head, name, csv)?;
        Ok(Self { name: name.to_owned(), head, points })
    }

    pub(super) fn side(&self) -> SweepSide {
        SweepSide {
            name: self.name.clone(),
            title: self.head.title.clone(),
            version: self.head.version.clone(),
            points: self.points.len(),
            failed: self.points.iter().filter(|point| point.error.is_some()).count(),
        }
    }
}

fn text(path: &Path) -> Result<String, ReportError> {
    let failed = |source| ReportError::Io { action: "read", path: path.to_path_buf(), source };
    fs::read_to_string(path).map_err(failed)
}

fn head(name: &str, text: &str) -> Result<Head, ReportError> {
    let malformed = |source| ReportError::Malformed { name: name.to_owned(), source };
    let head: Head = serde_json::from_str(text).map_err(malformed)?;
    if head.schema != SCHEMA {
        return Err(ReportError::Schema { name: name.to_owned(), found: head.schema, expected: SCHEMA });
    }
    Ok(head)
}

/// A row with the names of its columns.
struct Row<'a> {
    name: &'a str,
    number: usize,
    places: &'a BTreeMap<String, usize>,
    cells: &'a csv::StringRecord,
}

fn points(head: &Head, name: &str, text: &str) -> Result<Vec<Point>, ReportError> {
    let wrong = |error: csv::Error| ReportError::Table { name: name.to_owned(), why: error.to_string() };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let places = reader.headers().map_err(wrong)?.iter().enumerate().map(|(at, name)| (name.to_owned(), at));
    let places: BTreeMap<String, usize> = places.collect();
    let mut points = Vec::new();
    for (at, cells) in reader.records().enumerate() {
        let cells = cells.map_err(wrong)?;
        points.push(Row { name, number: at + 1, places: &places, cells: &cells }.point(head)?);
    }
    Ok(points)
}

impl Row<'_> {
    fn point(&self, head: &Head) -> Result<Point, ReportError> {
        let text = |column: &str| self.text(column).map(str::to_owned);
        let objectives = head.objectives.iter().map(|o| self.number(&format!("objective.{}", o.name)));
        Ok(Point {
            id: text("id")?,
            input: text("input")?,
            machine: text("machine")?,
            kernel: text("kernel")?,
            semantics: text("semantics")?,
            accesses: self.number("accesses")?,
            levels: head.keys.iter().map(|key| text(key)).collect::<Result<_, _>>()?,
            metrics: head.metrics.iter().map(|metric| self.number(metric)).collect::<Result<_, _>>()?,
            objectives: objectives.collect::<Result<_, _>>()?,
            cost: self.number("cost")?,
            error: Some(text("error")?).filter(|error| !error.is_empty()),
        })
    }

    fn text(&self, column: &str) -> Result<&str, ReportError> {
        let cell = self.places.get(column).and_then(|at| self.cells.get(*at));
        cell.ok_or_else(|| self.wrong(format!("has no column `{column}`, which sweep.json names")))
    }

    /// The number of a column; `None` if the cell is empty.
    fn number<N: std::str::FromStr>(&self, column: &str) -> Result<Option<N>, ReportError> {
        let text = self.text(column)?;
        let wrong = || self.wrong(format!("column `{column}` holds `{text}`, expected a number"));
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong()) }
    }

    fn wrong(&self, why: String) -> ReportError {
        ReportError::Table { name: self.name.to_owned(), why: format!("row {} {why}", self.number) }
    }
}
