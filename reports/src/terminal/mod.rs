//! The short summary at the end of a run: aligned text, no colour, warnings last.

mod durability;
mod sections;
mod table;

pub(crate) use table::aligned;

use crate::headline;
use crate::model::RunReport;

/// The summary, a few dozen lines with a newline at the end.
#[must_use]
pub fn summary(report: &RunReport) -> String {
    let mut out = headline::title(report);
    out.push('\n');
    let blocks = [
        headline::sentences(report).join("\n"),
        sections::faults(report),
        sections::parts(report),
        sections::shootdowns(report),
        sections::translation(report),
        sections::memory(report),
        durability::durability(report),
        sections::replay(report),
        sections::warnings(report),
    ];
    for block in blocks.iter().filter(|b| !b.is_empty()) {
        out.push('\n');
        out.push_str(block);
        out.push('\n');
    }
    out
}
