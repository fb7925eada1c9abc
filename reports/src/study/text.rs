//! A study for the terminal.

use super::Study;
use crate::rows::Rows;

/// The tables, with a newline at the end.
#[must_use]
pub fn summary(study: &Study) -> String {
    let mut parts = vec![format!("{}\n{}", study.title, study.question)];
    for panel in study.panels() {
        let tables = study.metrics.iter().map(|metric| study.values(panel, metric));
        let shown = |rows: Rows| rows.of(panel).text();
        parts.extend(tables.chain(study.waits(panel)).map(shown));
    }
    let failures = study.failures();
    if !failures.rows.is_empty() {
        parts.push(failures.text());
    }
    parts.join("\n\n") + "\n"
}
