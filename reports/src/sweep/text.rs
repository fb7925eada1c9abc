//! A sweep for the terminal.

use super::Sweep;
use super::tables::Rows;
use crate::terminal::aligned;

/// Rows of a table that a terminal shows.
const SHOWN: usize = 12;

/// What came out, with a newline at the end.
#[must_use]
pub fn summary(sweep: &Sweep) -> String {
    let mut parts = vec![format!("{}\n{}", sweep.title, sweep.extent())];
    for analysis in &sweep.analysis {
        let tables =
            [sweep.front(analysis), sweep.within(analysis), Sweep::effects(analysis), Sweep::pairs(analysis)];
        let tables: Vec<Rows> = tables.into_iter().filter(|rows| !rows.rows.is_empty()).collect();
        if !tables.is_empty() {
            parts.push(analysis.input.clone());
        }
        parts.extend(tables.into_iter().map(table));
    }
    if !sweep.failures.is_empty() {
        parts.push(table(sweep.failed()));
    }
    parts.extend(sweep.notes.iter().map(|note| format!("note: {note}")));
    parts.join("\n\n") + "\n"
}

fn table(mut rows: Rows) -> String {
    let head: Vec<&str> = rows.head.iter().map(String::as_str).collect();
    let more = rows.rows.len().saturating_sub(SHOWN);
    rows.rows.truncate(SHOWN);
    let more = if more > 0 { format!("\n ... and {more} more") } else { String::new() };
    aligned(&rows.title, &head, rows.rows) + &more
}
