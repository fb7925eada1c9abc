//! Faults by kind.

use maud::html;

use super::{Section, nothing};
use crate::html::table::{numbers, table};
use crate::model::{FAULT_KINDS, Latency, RunReport};
use crate::units::{count, ratio, time};

/// Heads of the columns that [`spread`] fills.
const SPREAD: [&str; 8] = ["min", "p50", "p90", "p99", "p99.9", "max", "mean", "total"];

fn spread(latency: Option<&Latency>) -> [String; 8] {
    match latency.filter(|l| l.count > 0) {
        Some(l) => [l.min, l.p50, l.p90, l.p99, l.p999, l.max, l.mean, l.total_ns()].map(time),
        None => ["–"; 8].map(str::to_owned),
    }
}

/// Counts and latencies of faults, and of the other operations that were timed.
pub(in crate::html) fn faults(report: &RunReport) -> Section<'static> {
    let mut faults = Vec::new();
    for (kind, n) in report.faults.by_kind() {
        let latency = report.latency.get(kind);
        if n > 0 || latency.is_some_and(|l| l.count > 0) {
            let mut row = vec![kind.to_owned(), count(n), ratio(n, report.faults.total)];
            row.extend(spread(latency));
            faults.push(row);
        }
    }
    let others = report.latency_kinds().into_iter().filter(|(k, l)| !FAULT_KINDS.contains(k) && l.count > 0);
    let others: Vec<_> = others
        .map(|(kind, l)| {
            let mut row = vec![kind.to_owned(), count(l.count)];
            row.extend(spread(Some(l)));
            row
        })
        .collect();
    let heads = |first: &[&'static str]| numbers(&[first, &SPREAD].concat());
    let body = html! {
        @if faults.is_empty() {
            (nothing("No fault happened."))
        } @else {
            (table("Page faults by kind, and what each cost", &heads(&["kind", "faults", "share"]), &faults))
        }
        @if !others.is_empty() {
            (table("Other operations that were timed", &heads(&["operation", "count"]), &others))
        }
    };
    Section { id: "faults", heading: "Faults by kind", body }
}
