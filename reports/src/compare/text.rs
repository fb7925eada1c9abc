//! A comparison for the terminal.

use super::tables::{by, signed, signed_time};
use super::{Comparison, LatencyChange};
use crate::units::{count, counted, time};

/// Kinds whose parts are shown.
const TOP_KINDS: usize = 4;

/// Kinds that have a sentence: those whose whole time changed most.
const KINDS_NAMED: usize = 2;

/// Parts that a sentence names.
const PARTS_NAMED: usize = 3;

/// The tables, with a newline at the end.
#[must_use]
pub fn summary(comparison: &Comparison) -> String {
    let c = comparison;
    let mut blocks = vec![format!("base  {}\nnew   {}", c.base.title, new_title(c)), sentences(c).join("\n")];
    blocks.extend(c.notes.iter().map(|note| format!("note: {note}")));
    blocks.push(c.latency_rows().text());
    let changed = c.latencies.iter().filter(|l| l.changed()).take(TOP_KINDS);
    blocks.extend(changed.map(|l| l.part_rows().text()));
    blocks.push(c.totals().text());
    blocks.push(c.cycle_rows().text());
    blocks.push(c.work_rows().text());
    blocks.push(c.change_rows(false).text());
    blocks.push(c.checks().text());
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n") + "\n"
}

/// What the new run is of, by what it does not share with the base.
pub(super) fn new_title(c: &Comparison) -> String {
    if c.varied.is_empty() || c.base.inputs != c.new.inputs {
        return c.new.title.clone();
    }
    let each: Vec<String> = c.varied.iter().map(|v| format!("{} {}", v.what, v.new)).collect();
    format!("the same with {}", each.join(", "))
}

/// What changed, in sentences.
pub(super) fn sentences(c: &Comparison) -> Vec<String> {
    if c.changes.is_empty() {
        return vec![format!("All {} numbers are equal.", count(c.numbers as u64))];
    }
    let mut out = vec![length(c)];
    let mut kinds: Vec<&LatencyChange> =
        c.latencies.iter().filter(|l| l.base_count > 0 && l.new_count > 0 && l.changed()).collect();
    let moved = |l: &LatencyChange| (l.new_total_ns - l.base_total_ns).abs();
    kinds.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
    out.extend(kinds.into_iter().take(KINDS_NAMED).filter_map(kind));
    let numbers = format!("{} of {} numbers differ.", count(c.changes.len() as u64), count(c.numbers as u64));
    out.push(numbers);
    let failing = c.checks.iter().filter(|check| check.fails).count();
    out.extend(verdict(c.checks.len(), failing));
    out
}

/// How many limits are crossed; `None` if none was set.
pub(super) fn verdict(limits: usize, crossed: usize) -> Option<String> {
    match (limits, crossed) {
        (0, _) => None,
        (1, 0) => Some("The limit is not crossed.".to_owned()),
        (n, 0) => Some(format!("None of {n} limits is crossed.")),
        (n, crossed) => {
            Some(format!("FAILS: {crossed} of {} crossed.", counted(n as u64, "limit", "limits")))
        }
    }
}

/// How long the run took, and what its cycles were spent on.
fn length(c: &Comparison) -> String {
    let (base, new) = (c.length.base.unwrap_or(0.0), c.length.new.unwrap_or(0.0));
    let mut text = if base == new {
        format!("The run takes {} as before", time(new))
    } else {
        format!("The run went from {} to {} ({})", time(base), time(new), by(&c.length))
    };
    let spent = c.cycles.iter().filter(|part| part.name != "idle");
    let changes: Vec<(&str, f64)> =
        spent.map(|part| (part.name.as_str(), part.new as f64 - part.base as f64)).collect();
    let all: f64 = changes.iter().map(|(_, change)| change).sum();
    let named = named(&changes, &signed);
    if !named.is_empty() {
        text += &format!("; its CPUs spent {} cycles: {named}", more_or_less(all));
    }
    text + "."
}

fn more_or_less(change: f64) -> String {
    match count(change.abs() as u64) {
        _ if change == 0.0 => "as many".to_owned(),
        n if change < 0.0 => format!("{n} fewer"),
        n => format!("{n} more"),
    }
}

/// How the mean of a kind changed, and by which parts.
fn kind(l: &LatencyChange) -> Option<String> {
    let mean = l.values.iter().find(|change| change.path == "mean")?;
    let (before, after) = (time(mean.base?), time(mean.new?));
    if mean.change == 0.0 {
        return Some(format!("A {} costs what it did, {before} in the mean.", l.kind));
    }
    let parts: Vec<(&str, f64)> = l.parts.iter().map(|part| (part.path.as_str(), part.change)).collect();
    Some(format!(
        "The mean {} went from {before} to {after} ({}): {}.",
        l.kind,
        by(mean),
        named(&parts, &signed_time)
    ))
}

/// The greatest changes by name, then the rest together.
fn named(changes: &[(&str, f64)], shown: &dyn Fn(f64) -> String) -> String {
    let mut changed: Vec<&(&str, f64)> = changes.iter().filter(|(_, change)| *change != 0.0).collect();
    changed.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let word = |(name, change): &&(&str, f64)| format!("{name} {}", shown(*change));
    let mut words: Vec<String> = changed.iter().take(PARTS_NAMED).map(word).collect();
    if changed.len() > PARTS_NAMED {
        let rest: f64 = changed.iter().skip(PARTS_NAMED).map(|(_, change)| change).sum();
        words.push(format!("all else {}", shown(rest)));
    }
    words.join(", ")
}
