//! The tables of a comparison, as all forms show them.

use super::{Change, Comparison, LatencyChange};
use crate::rows::Rows;
use crate::units::{count, number, time};

/// Numbers of a device or a walk that say in detail what another says in one; tables for a terminal leave them out, with what
/// has tables of its own.
const DETAIL: [&str; 8] = [
    "latency.",
    "attribution.",
    "walks.by_",
    "walks.nested_by_",
    "cycles",
    "time_ns",
    "durability.at_cycle",
    "warnings.faults not reproduced",
];

/// Numbers that say what kernel and processor did, whatever it cost: they explain most.
const WORK: [&str; 8] = [
    "accesses.",
    "assists.",
    "faults.",
    "flushes.",
    "instructions",
    "kernel_work.",
    "shootdowns.",
    "walks.count",
];

impl Comparison {
    /// What must not hold.
    pub(super) fn checks(&self) -> Rows {
        let mut rows = Rows::new("Limits", &["fails if", "base", "new", "measured", ""]);
        for check in &self.checks {
            rows.rows.push(vec![
                check.fail_if.clone(),
                value(check.base),
                value(check.new),
                value(check.measured),
                if check.fails { "FAILS" } else { "ok" }.to_owned(),
            ]);
        }
        rows
    }

    /// Latencies by kind.
    pub(super) fn latency_rows(&self) -> Rows {
        let head = ["kind", "faults", "mean", "", "change", "p99", "", "change"];
        let mut rows = Rows::new("Latency by kind, base and new", &head);
        for l in &self.latencies {
            let mut row = vec![l.kind.clone(), both(l.base_count, l.new_count)];
            for name in ["mean", "p99"] {
                if let Some(c) = l.values.iter().find(|change| change.path == name) {
                    row.extend([maybe_time(c.base), maybe_time(c.new), by(c)]);
                }
            }
            rows.rows.push(row);
        }
        rows
    }

    /// What the whole time of each kind changed by.
    pub(super) fn totals(&self) -> Rows {
        let head = ["kind", "base", "new", "change", "by number", "by cost"];
        let mut rows = Rows::new("Time of all faults of a kind", &head);
        for l in &self.latencies {
            let change = l.new_total_ns - l.base_total_ns;
            let times = [l.base_total_ns, l.new_total_ns].map(time);
            let changes = [change, l.by_count_ns, l.by_cost_ns].map(signed_time);
            rows.rows.push([l.kind.clone()].into_iter().chain(times).chain(changes).collect());
        }
        rows
    }

    /// Where the cycles of all CPUs went.
    pub(super) fn cycle_rows(&self) -> Rows {
        let mut rows = Rows::new(
            "Cycles of all CPUs by what they were spent on",
            &["spent on", "base", "new", "change", ""],
        );
        for c in &self.cycles {
            let change = Change::new("", Some(c.base as f64), Some(c.new as f64));
            rows.rows.push(vec![
                c.name.clone(),
                count(c.base),
                count(c.new),
                signed(change.change),
                percent(&change),
            ]);
        }
        rows
    }

    /// What kernel and processor did more or less often.
    pub(super) fn work_rows(&self) -> Rows {
        self.rows_of("What was done", &|path| is_any(path, &WORK))
    }

    /// The numbers that differ; without `all`, those that no other table shows and that are no detail of another.
    pub(super) fn change_rows(&self, all: bool) -> Rows {
        let is_detail = |path: &str| {
            is_any(path, &DETAIL)
                || is_any(path, &WORK)
                || path.contains(".activity.")
                || path.ends_with(".share")
        };
        self.rows_of("Numbers that differ", &|path| all || !is_detail(path))
    }

    fn rows_of(&self, title: &str, has: &dyn Fn(&str) -> bool) -> Rows {
        let mut rows = Rows::new(title, &["number", "base", "new", "change", ""]);
        for change in self.changes.iter().filter(|change| has(&change.path)) {
            rows.rows.push(vec![
                change.path.clone(),
                value(change.base),
                value(change.new),
                signed(change.change),
                percent(change),
            ]);
        }
        rows
    }
}

fn is_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

impl LatencyChange {
    /// The parts of the mean, and that their changes make its change. Parts that did not change are one row.
    pub(super) fn part_rows(&self) -> Rows {
        let mean = self.values.iter().find(|change| change.path == "mean").cloned().unwrap_or_default();
        let title = format!("Parts of {}, mean {}", self.kind, signed_time(mean.change));
        let mut rows = Rows::new(title, &["part", "base", "new", "change", ""]);
        let (changed, same): (Vec<_>, Vec<_>) = self.parts.iter().partition(|part| part.change != 0.0);
        rows.rows.extend(changed.into_iter().map(|part| row_of_times(&part.path, part)));
        let names: Vec<&str> =
            same.iter().filter(|part| part.base != Some(0.0)).map(|part| part.path.as_str()).collect();
        if !names.is_empty() {
            let sum = Some(same.iter().filter_map(|part| part.base).sum());
            rows.rows.push(row_of_times(&names.join(", "), &Change::new("", sum, sum)));
        }
        rows.rows.push(row_of_times("all", &mean));
        rows
    }

    /// Whether the mean or a part of it changed.
    pub(super) fn changed(&self) -> bool {
        self.values.iter().chain(&self.parts).any(|change| change.change != 0.0)
    }
}

fn row_of_times(name: &str, change: &Change) -> Vec<String> {
    vec![
        name.to_owned(),
        maybe_time(change.base),
        maybe_time(change.new),
        signed_time(change.change),
        percent(change),
    ]
}

fn both(base: u64, new: u64) -> String {
    if base == new { count(base) } else { format!("{} -> {}", count(base), count(new)) }
}

fn maybe_time(ns: Option<f64>) -> String {
    ns.map_or_else(|| "–".to_owned(), time)
}

/// A number, or that there is none.
pub(super) fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), plain)
}

fn plain(value: f64) -> String {
    let is_long = value.fract() == 0.0 || value >= 1000.0;
    match value {
        v if is_long && (0.0..9.0e15).contains(&v) => count(v.round() as u64),
        // Three digits that say something, however small.
        v if v > 0.0 && v < 0.1 => format!("{v:.0$}", (2.0 - v.log10().floor()).clamp(2.0, 9.0) as usize),
        v => number(v),
    }
}

/// A change with its sign.
pub(super) fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    if value == 0.0 { "0".to_owned() } else { format!("{sign}{}", plain(value.abs())) }
}

/// A change of time with its sign.
pub(super) fn signed_time(ns: f64) -> String {
    let sign = if ns < 0.0 { "-" } else { "+" };
    if ns == 0.0 { "0".to_owned() } else { format!("{sign}{}", time(ns.abs())) }
}

/// A change in per cent; empty where there is no base.
pub(super) fn percent(change: &Change) -> String {
    match change.percent {
        Some(percent) if percent.abs() >= 0.05 => format!("{percent:+.1} %"),
        _ => String::new(),
    }
}

/// A change in per cent, or that there is nothing to compare.
pub(super) fn by(change: &Change) -> String {
    match (change.base, change.new, change.percent) {
        (None, Some(_), _) => "new".to_owned(),
        (Some(_), None, _) => "gone".to_owned(),
        (_, _, Some(percent)) if percent != 0.0 => format!("{percent:+.1} %"),
        _ => "0".to_owned(),
    }
}
