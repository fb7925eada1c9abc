//! Agreement with the recording, and what to be wary of.

use maud::html;

use super::{Section, nothing};
use crate::html::table::{Set, numbers, table};
use crate::model::{Divergence, RunReport};
use crate::units::{count, ratio, time};

/// Recorded outcomes against simulated ones.
pub(in crate::html) fn replay(report: &RunReport) -> Section<'static> {
    let r = &report.replay;
    let row = |what: &str, n: u64, of: Option<u64>| {
        vec![what.to_owned(), count(n), of.map_or_else(String::new, |whole| ratio(n, whole))]
    };
    let rows = [
        row("recorded outcomes", r.recorded, None),
        row("reproduced", r.reproduced, Some(r.recorded)),
        row("diverged", r.diverged, Some(r.recorded)),
        row("facts inferred", r.inferred, None),
        row("events ignored", r.ignored, None),
    ];
    let columns = [
        ("where", Set::Text),
        ("address", Set::Code),
        ("recorded", Set::Text),
        ("simulated", Set::Text),
        ("why", Set::Text),
    ];
    let examples: Vec<_> = r.divergences.iter().map(example).collect();
    let body = html! {
        @if r.recorded == 0 && r.inferred == 0 && r.ignored == 0 && r.diverged == 0 {
            (nothing("There was no recording to compare with."))
        } @else {
            (table("Agreement with the recording", &numbers(&["what", "count", "of recorded"]), &rows))
            @if !examples.is_empty() {
                (table("Divergences", &columns, &examples))
            }
            @if r.divergences_omitted() > 0 {
                p.muted { "And " (count(r.divergences_omitted())) " more that are counted and not listed." }
            }
        }
    };
    Section { id: "replay", heading: "Replay agreement", body }
}

fn example(d: &Divergence) -> Vec<String> {
    let mut place = d.input.clone();
    if let Some(line) = d.line {
        place += &format!(":{line}");
    }
    if let Some(ns) = d.time_ns {
        place += &format!(" at {}", time(ns));
    }
    vec![place, d.address.clone(), d.recorded.clone(), d.simulated.clone(), d.why.clone()]
}

/// Warnings and assumptions.
pub(in crate::html) fn caveats(report: &RunReport) -> Section<'static> {
    let body = html! {
        @if report.warnings.is_empty() {
            (nothing("No warnings."))
        } @else {
            div.warnings {
                ul {
                    @for w in &report.warnings {
                        li {
                            strong { (w.what) } ", " (count(w.count)) " x"
                            @if !w.detail.is_empty() { ": " (w.detail) }
                        }
                    }
                }
            }
        }
        h3 { "Assumed, inferred, or not measured" }
        @if report.assumptions.is_empty() {
            (nothing("Nothing was noted."))
        } @else {
            ul.assumptions { @for a in &report.assumptions { li { (a) } } }
        }
    };
    Section { id: "caveats", heading: "Warnings and assumptions", body }
}
