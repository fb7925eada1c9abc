//! A comparison of sweeps for the terminal.

use super::tables::per_cent;
use super::{MetricChange, SweepComparison};
use crate::compare::text::verdict;
use crate::units::counted;

/// Rows of a table that a terminal shows.
const SHOWN: usize = 12;

/// Numbers that the sentences tell of.
const TOLD: usize = 3;

/// What changed, with a newline at the end.
#[must_use]
pub fn summary(comparison: &SweepComparison) -> String {
    let c = comparison;
    let mut blocks = vec![
        format!("base  {} ({})\nnew   {} ({})", c.base.title, c.base.name, c.new.title, c.new.name),
        sentences(c).join("\n"),
    ];
    blocks.extend(c.notes.iter().map(|note| format!("note: {note}")));
    blocks.push(c.metric_rows().text());
    blocks.push(c.best_rows().text());
    blocks.push(c.key_rows().text());
    blocks.push(c.point_rows(SHOWN).text());
    blocks.push(c.left_rows(SHOWN).text());
    blocks.push(c.limit_rows().text());
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n") + "\n"
}

/// What changed, in sentences.
pub(super) fn sentences(c: &SweepComparison) -> Vec<String> {
    let mut out = vec![extent(c)];
    if !c.varied.is_empty() {
        out.push(format!("Varied between them: {}.", c.varied.join(", ")));
    }
    if c.points.is_empty() {
        out.push("All numbers of these points are equal.".to_owned());
    }
    let changed: Vec<&MetricChange> = c.metrics.iter().filter(|m| m.less + m.more > 0).collect();
    out.extend(changed.iter().take(TOLD).map(|m| sentence(m)));
    let moved = c.best.iter().filter(|best| best.base != best.new).count();
    if moved > 0 {
        out.push(format!("Another point is best in {moved} of {} cases.", c.best.len()));
    }
    let failing = c.checks.iter().filter(|check| check.failing > 0).count();
    out.extend(verdict(c.checks.len(), failing));
    out
}

fn extent(c: &SweepComparison) -> String {
    let points = |n: usize| counted(n as u64, "point", "points");
    let mut text = format!("{} compared, {} of them with a difference", points(c.matched), c.points.len());
    for (n, what) in [
        (c.only_base.len(), "only in the base"),
        (c.only_new.len(), "only in the new one"),
        (c.failed.len(), "failed"),
    ] {
        if n > 0 {
            text += &format!("; {n} {what}");
        }
    }
    text + "."
}

fn sentence(m: &MetricChange) -> String {
    let points = match (m.less, m.more) {
        (less, 0) => format!("less at {less} of {} points", m.points),
        (0, more) => format!("more at {more} of {} points", m.points),
        (less, more) => format!("less at {less} and more at {more} of {} points", m.points),
    };
    let mut text = format!("{} is {points}", m.metric);
    if let (Some(percent), Some(least), Some(most)) = (m.percent, &m.least, &m.most) {
        text += &format!(", {} in the geometric mean", per_cent(percent));
        if least.percent != most.percent {
            text += &format!(
                ": from {} ({}) to {} ({})",
                per_cent(least.percent),
                least.place,
                per_cent(most.percent),
                most.place
            );
        }
    }
    text + "."
}
