//! Shootdowns and flushes.

use maud::{Markup, html};

use super::{Section, nothing};
use crate::ReportError;
use crate::html::chart::{self, Caption, Cell, Matrix};
use crate::html::table::{Set, numbers, table};
use crate::model::{RunReport, ShootdownMatrix, ShootdownPair, Shootdowns, Spread};
use crate::units::{average, count, counted, short_count, time};

/// Pairs in the table.
const MOST_ROWS: usize = 500;

/// Shootdowns, and flushes by the reason that the kernel's tracepoint gives.
pub(in crate::html) fn shootdowns(report: &RunReport) -> Result<Section<'static>, ReportError> {
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
    let spreads = spreads(s);
    let matrix = s.matrix.as_ref().map(who_asked_whom).transpose()?;
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
        @if !spreads.is_empty() {
            (table(
                "How long a shootdown took its two sides",
                &numbers(&["what", "count", "mean", "p50", "p90", "p99", "p99.9", "max"]),
                &spreads,
            ))
        }
        @if let Some(matrix) = &matrix { (matrix) }
    };
    Ok(Section { id: "shootdowns", heading: "Shootdowns and flushes", body })
}

fn spreads(s: &Shootdowns) -> Vec<Vec<String>> {
    let all = [
        ("waits of the asking CPU, after its own flush", s.wait),
        ("interrupts, from entry to exit", s.disruption),
        ("interrupts, until the CPU took them", s.masked),
    ];
    let row = |what: &str, of: Spread| {
        let times = [of.mean_ns, of.p50_ns, of.p90_ns, of.p99_ns, of.p999_ns, of.max_ns].map(time);
        [what.to_owned(), count(of.count)].into_iter().chain(times).collect()
    };
    all.into_iter().filter_map(|(what, of)| Some(row(what, of?))).collect()
}

/// The matrix as a chart and as a table.
fn who_asked_whom(matrix: &ShootdownMatrix) -> Result<Markup, ReportError> {
    let together = matrix.cpus_together.max(1);
    let last = matrix.pairs.iter().map(|pair| pair.initiator.max(pair.responder)).max().unwrap_or_default();
    let names: Vec<String> = (0..=last / together).map(|n| (n * together).to_string()).collect();
    let cells: Vec<Cell> = matrix.pairs.iter().map(|pair| cell(matrix, pair)).collect();
    let caption = Caption {
        id: "shootdown-matrix",
        title: "Who asked whom for flushes",
        description: "A square with a row for each CPU that asked and a column for each that was asked, shaded by the time \
            waited for answers; the table below has the numbers.",
    };
    let of = Matrix { names: &names, sides: ["asks", "is asked"], cells: &cells };
    let svg = chart::matrix(&caption, &of)?;
    let mean = |pair: &ShootdownPair| time(pair.wait_ns / pair.calls.max(1) as f64);
    let mut pairs: Vec<_> = matrix.pairs.iter().collect();
    pairs.sort_by(|a, b| b.wait_ns.total_cmp(&a.wait_ns));
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .take(MOST_ROWS)
        .map(|pair| {
            let mut row = vec![matrix.name(pair.initiator), matrix.name(pair.responder)];
            row.extend([pair.calls, pair.pages, pair.full_flushes].map(count));
            row.extend([mean(pair), time(pair.longest_wait_ns), time(pair.wait_ns)]);
            row
        })
        .collect();
    let mut columns = vec![("asks", Set::Text), ("is asked", Set::Text)];
    let heads = ["calls", "pages", "full flushes", "mean wait", "longest wait", "waited in all"];
    columns.extend(heads.map(|head| (head, Set::Number)));
    let left_out = matrix.pairs.len().saturating_sub(rows.len());
    Ok(html! {
        @if let Some(svg) = svg {
            figure {
                figcaption {
                    b { "Who asked whom" } ", CPUs by number, shaded by the time from each call until its answer, summed"
                    @if together > 1 { "; " (together) " neighbours share a row" }
                }
                (svg)
            }
        }
        (table("Shootdowns by who asked and who was asked", &columns, &rows))
        @if left_out > 0 { p.muted { "And " (count(left_out as u64)) " more pairs with shorter waits, in report.json." } }
    })
}

fn cell(matrix: &ShootdownMatrix, pair: &ShootdownPair) -> Cell {
    let together = matrix.cpus_together.max(1);
    let place = |cpu: u32| (cpu / together) as usize;
    let value = format!(
        "{} asked {}: {}\n{}, {}\nwaited {}, at most {}",
        matrix.name(pair.initiator),
        matrix.name(pair.responder),
        counted(pair.calls, "call", "calls"),
        counted(pair.pages, "page", "pages"),
        counted(pair.full_flushes, "full flush", "full flushes"),
        time(pair.wait_ns),
        time(pair.longest_wait_ns),
    );
    Cell {
        row: place(pair.initiator),
        column: place(pair.responder),
        amount: pair.wait_ns,
        label: short_count(pair.calls),
        value,
    }
}
