//! A comparison in Markdown, for the mail of a patch or a pull request: what matters on top, the rest folded.

use super::Comparison;
use super::text::sentences;

/// The tables, with a newline at the end.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let c = comparison;
    let mut out =
        format!("**base** {}\n**new** {}\n\n{}\n", c.base.title, c.new.title, sentences(c).join("\n"));
    for note in &c.notes {
        out += &format!("\n> note: {note}\n");
    }
    if !c.checks.is_empty() {
        out += &c.checks().markdown(1);
    }
    out += &c.latency_rows().markdown(1);
    for latency in c.latencies.iter().filter(|l| l.changed()) {
        out += &latency.part_rows().markdown(1);
    }
    out += &c.totals().markdown(1);
    out += &c.cycle_rows().markdown(1);
    let changes = c.change_rows(false);
    if !changes.rows.is_empty() {
        let summary = format!("{} more numbers that differ", changes.rows.len());
        out += &format!("\n<details><summary>{summary}</summary>\n{}\n</details>\n", changes.markdown(1));
    }
    out
}
