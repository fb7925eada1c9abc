//! A comparison for the terminal.

use super::Comparison;
use super::tables::{by, signed_time};
use crate::units::{count, time};

/// Kinds whose parts are shown.
const TOP_KINDS: usize = 4;

/// Parts that a sentence names.
const PARTS_NAMED: usize = 3;

/// The tables, with a newline at the end.
#[must_use]
pub fn summary(comparison: &Comparison) -> String {
    let c = comparison;
    let mut blocks = vec![format!("base  {}\nnew   {}", c.base.title, c.new.title), sentences(c).join("\n")];
    blocks.extend(c.notes.iter().map(|note| format!("note: {note}")));
    blocks.push(c.latency_rows().text());
    let changed = c.latencies.iter().filter(|l| l.changed()).take(TOP_KINDS);
    blocks.extend(changed.map(|l| l.part_rows().text()));
    blocks.push(c.totals().text());
    blocks.push(c.cycle_rows().text());
    blocks.push(c.change_rows(false).text());
    blocks.push(c.checks().text());
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n") + "\n"
}

/// What changed, in sentences.
pub(super) fn sentences(c: &Comparison) -> Vec<String> {
    if c.changes.is_empty() {
        return vec![format!("All {} numbers are equal.", count(c.numbers as u64))];
    }
    let numbers = format!("{} of {} numbers differ.", count(c.changes.len() as u64), count(c.numbers as u64));
    let mut out = vec![numbers];
    for l in c.latencies.iter().filter(|l| l.base_count > 0 && l.new_count > 0).take(2) {
        let Some(mean) = l.values.iter().find(|change| change.path == "mean") else { continue };
        let (Some(base), Some(new)) = (mean.base, mean.new) else { continue };
        if mean.change == 0.0 {
            out.push(format!("A {} costs what it did, {} in the mean.", l.kind, time(base)));
            continue;
        }
        let mut parts: Vec<_> = l.parts.iter().filter(|part| part.change != 0.0).collect();
        parts.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        let named: Vec<String> = parts
            .iter()
            .take(PARTS_NAMED)
            .map(|part| format!("{} {}", part.path, signed_time(part.change)))
            .collect();
        let rest: f64 = parts.iter().skip(PARTS_NAMED).map(|part| part.change).sum();
        let rest = if parts.len() > PARTS_NAMED {
            format!(", all else {}", signed_time(rest))
        } else {
            String::new()
        };
        let (before, after) = (time(base), time(new));
        out.push(format!(
            "The mean {} went from {before} to {after} ({}): {}{rest}.",
            l.kind,
            by(mean),
            named.join(", ")
        ));
    }
    let failing = c.checks.iter().filter(|check| check.fails).count();
    if !c.checks.is_empty() {
        out.push(match failing {
            0 => format!("No limit of {} is passed.", c.checks.len()),
            n => format!("{n} of {} limits passed: FAILS.", c.checks.len()),
        });
    }
    out
}
