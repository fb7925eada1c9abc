//! The points as columns: for CSV, JSON Lines and Parquet.

use serde_json::{Map, Value};

use super::analysis::number;
use super::{Point, Sweep};
use crate::ReportError;

/// A column.
pub(super) struct Column {
    pub name: String,
    pub cells: Cells,
}

/// What is in a column.
pub(super) enum Cells {
    Texts(Vec<Option<String>>),
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
}

/// Every column, in order.
pub(super) fn columns(sweep: &Sweep) -> Vec<Column> {
    let texts = |name: &str, of: &dyn Fn(&Point) -> Option<String>| Column {
        name: name.to_owned(),
        cells: Cells::Texts(sweep.points.iter().map(of).collect()),
    };
    let numbers = |name: String, of: &dyn Fn(&Point) -> Option<f64>| Column {
        name,
        cells: Cells::Numbers(sweep.points.iter().map(of).collect()),
    };
    let mut all = vec![
        texts("id", &|p| Some(p.id.clone())),
        texts("input", &|p| Some(p.input.clone())),
        texts("machine", &|p| Some(p.machine.clone())),
        texts("kernel", &|p| Some(p.kernel.clone()).filter(|text| !text.is_empty())),
        texts("semantics", &|p| Some(p.semantics.clone()).filter(|text| !text.is_empty())),
    ];
    let accesses = sweep.points.iter().map(|p| p.accesses.and_then(|n| i64::try_from(n).ok())).collect();
    all.push(Column { name: "accesses".to_owned(), cells: Cells::Integers(accesses) });
    for (at, key) in sweep.keys.iter().enumerate() {
        let levels = sweep.points.iter().map(|p| p.levels.get(at).cloned().unwrap_or_default()).collect();
        all.push(Column { name: key.clone(), cells: typed(levels) });
    }
    for (at, metric) in sweep.metrics.iter().enumerate() {
        all.push(numbers(metric.clone(), &|p| p.metrics.get(at).copied().flatten()));
    }
    for (at, objective) in sweep.objectives.iter().enumerate() {
        let name = format!("objective.{}", objective.name);
        all.push(numbers(name, &|p| p.objectives.get(at).copied().flatten()));
    }
    all.push(numbers("cost".to_owned(), &|p| p.cost));
    all.push(texts("error", &|p| p.error.clone()));
    all
}

/// Levels are numbers if all are.
fn typed(levels: Vec<String>) -> Cells {
    if let Some(integers) = levels.iter().map(|level| level.parse().ok().map(Some)).collect() {
        return Cells::Integers(integers);
    }
    let is_plain = |level: &String| !level.contains(' ');
    if let Some(numbers) = levels.iter().map(|l| number(l).filter(|_| is_plain(l)).map(Some)).collect() {
        return Cells::Numbers(numbers);
    }
    Cells::Texts(levels.into_iter().map(Some).collect())
}

impl Cells {
    fn json(&self, row: usize) -> Value {
        let value = match self {
            Self::Texts(cells) => cells.get(row).cloned().flatten().map(Value::from),
            Self::Integers(cells) => cells.get(row).copied().flatten().map(Value::from),
            Self::Numbers(cells) => cells.get(row).copied().flatten().map(Value::from),
        };
        value.unwrap_or(Value::Null)
    }
}

/// One object for each point and line.
///
/// # Errors
///
/// [`ReportError::Serialise`] if the serialiser refuses a value.
pub fn json_lines(sweep: &Sweep) -> Result<String, ReportError> {
    let columns = columns(sweep);
    let mut out = String::new();
    for row in 0..sweep.points.len() {
        let object: Map<String, Value> =
            columns.iter().map(|column| (column.name.clone(), column.cells.json(row))).collect();
        out += &serde_json::to_string(&object).map_err(ReportError::Serialise)?;
        out.push('\n');
    }
    Ok(out)
}

/// A line of names, then one for each point (RFC 4180 with newlines alone). What is missing is empty.
#[must_use]
pub fn csv(sweep: &Sweep) -> String {
    let columns = columns(sweep);
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut out = line(columns.iter().map(|column| quoted(&column.name)).collect());
    for row in 0..sweep.points.len() {
        let cell = |column: &Column| match column.cells.json(row) {
            Value::Null => String::new(),
            Value::String(text) => quoted(&text),
            other => other.to_string(),
        };
        out += &line(columns.iter().map(cell).collect());
    }
    out
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
