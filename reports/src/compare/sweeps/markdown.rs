//! A comparison of sweeps in Markdown, for the mail of a patch or a pull request: what matters on top, the rest folded.

use super::SweepComparison;
use super::text::sentences;
use crate::compare::markdown::folded;

/// Changes at points that are listed.
const MOST_CHANGES: usize = 60;

/// Points not compared that are listed.
const MOST_LEFT: usize = 20;

/// The tables, with a newline at the end.
#[must_use]
pub fn render(comparison: &SweepComparison) -> String {
    let c = comparison;
    let side = |side: &super::SweepSide| format!("{} (`{}`)", side.title, side.name);
    let list: Vec<String> = sentences(c).iter().map(|sentence| format!("- {sentence}")).collect();
    let mut out = format!("base: {}  \nnew: {}\n\n{}\n", side(&c.base), side(&c.new), list.join("\n"));
    for note in &c.notes {
        out += &format!("\n> note: {note}\n");
    }
    for (rows, words) in [(c.limit_rows(), 1), (c.metric_rows(), 1), (c.best_rows(), 2)] {
        if !rows.rows.is_empty() {
            out += &rows.markdown(words);
        }
    }
    let others = [
        ("What the changes depend on", c.key_rows(), 4),
        ("Changes at points", c.point_rows(MOST_CHANGES), 2),
        ("Points not compared", c.left_rows(MOST_LEFT), 2),
    ];
    for (summary, rows, words) in others {
        if !rows.rows.is_empty() {
            out += &folded(summary, &rows.markdown(words));
        }
    }
    out
}
