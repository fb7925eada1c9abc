//! A study for the terminal.

use super::Study;
use super::tables::Rows;
use crate::terminal::aligned;

/// The tables, with a newline at the end.
#[must_use]
pub fn summary(study: &Study) -> String {
    let mut parts = vec![format!("{}\n{}", study.title, study.question)];
    for panel in study.panels() {
        let tables = study.metrics.iter().map(|metric| study.values(panel, metric));
        let shown = |rows: Rows| table(&format!("{panel}: {}", rows.title), rows);
        parts.extend(tables.chain(study.waits(panel)).map(shown));
    }
    let failures = study.failures();
    if !failures.rows.is_empty() {
        parts.push(table(&failures.title.clone(), failures));
    }
    parts.join("\n\n") + "\n"
}

fn table(title: &str, rows: Rows) -> String {
    let head: Vec<&str> = rows.head.iter().map(String::as_str).collect();
    aligned(title, &head, rows.rows)
}
