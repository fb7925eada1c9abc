//! Faults by kind; shootdowns and flushes.

use maud::html;

use super::{Section, nothing};
use crate::html::table::{numbers, table};
use crate::model::{FAULT_KINDS, Latency, RunReport};
use crate::units::{average, count, ratio, time};

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

/// Shootdowns, and flushes by the reason that the kernel's tracepoint gives.
pub(in crate::html) fn shootdowns(report: &RunReport) -> Section<'static> {
    let s = &report.shootdowns;
    let row = |what: &str, n: u64| vec![what.to_owned(), count(n), average(n, s.requests)];
    let mut rows = vec![
        row("shootdowns", s.requests),
        row("IPIs sent", s.ipis_sent),
        row("IPIs received", s.ipis_received),
        row("pages invalidated one by one", s.pages),
        row("full flushes", s.full_flushes),
    ];
    if s.invlpgb > 0 {
        rows.extend([row("INVLPGBs", s.invlpgb), row("TLBSYNCs", s.tlbsync)]);
    }
    rows.extend([
        row("cycles on the asking CPUs", s.initiator_cycles),
        row("cycles on the asked CPUs", s.responder_cycles),
    ]);
    let flushes: Vec<_> = report
        .flushes
        .iter()
        .map(|(n, f)| vec![format!("{n} {}", f.reason), count(f.count), count(f.pages), count(f.full)])
        .collect();
    let body = html! {
        div.pair {
            div {
                @if s.requests == 0 && s.ipis_sent == 0 && s.ipis_received == 0 {
                    (nothing("No flush had to reach another CPU."))
                } @else {
                    (table("TLB shootdowns", &numbers(&["what", "count", "per shootdown"]), &rows))
                }
            }
            div {
                @if flushes.is_empty() {
                    (nothing("No TLB flush happened."))
                } @else {
                    (table(
                        "TLB flushes by tlb:tlb_flush reason",
                        &numbers(&["reason", "events", "pages", "full flushes"]),
                        &flushes,
                    ))
                }
            }
        }
    };
    Section { id: "shootdowns", heading: "Shootdowns and flushes", body }
}
