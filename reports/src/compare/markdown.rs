//! A comparison in Markdown, for the mail of a patch or a pull request: what matters on top, the rest folded.

use super::Comparison;
use super::text::{new_title, sentences};

/// Kinds whose parts are shown at once.
const KINDS_SHOWN: usize = 2;

/// The tables, with a newline at the end.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let c = comparison;
    let list: Vec<String> = sentences(c).iter().map(|sentence| format!("- {sentence}")).collect();
    let mut out = format!("base: {}  \nnew: {}\n\n{}\n", c.base.title, new_title(c), list.join("\n"));
    for note in &c.notes {
        out += &format!("\n> note: {note}\n");
    }
    if !c.checks.is_empty() {
        out += &c.checks().markdown(1);
    }
    out += &c.latency_rows().markdown(1);
    let changed: Vec<_> = c.latencies.iter().filter(|l| l.changed()).collect();
    let (first, others) = changed.split_at(changed.len().min(KINDS_SHOWN));
    out.extend(first.iter().map(|latency| latency.part_rows().markdown(1)));
    for rows in [c.cycle_rows(), c.work_rows()] {
        if !rows.rows.is_empty() {
            out += &rows.markdown(1);
        }
    }
    let parts: String = others.iter().map(|latency| latency.part_rows().markdown(1)).collect();
    out += &folded("Parts of the other kinds", &parts);
    out += &folded("Time of all faults of a kind", &c.totals().markdown(1));
    let changes = c.change_rows(false);
    let title = format!("{} more numbers that differ", changes.rows.len());
    if changes.rows.is_empty() { out } else { out + &folded(&title, &changes.markdown(1)) }
}

/// Something that is opened by a click where Markdown is shown; nothing if there is nothing.
pub(super) fn folded(summary: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("\n<details><summary>{summary}</summary>\n{text}\n</details>\n")
}
