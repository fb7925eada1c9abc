//! When faults, flushes and interrupts came, and when memory was busy, on one axis of time.

use maud::{Markup, html};

use super::{Section, legend, nothing};
use crate::ReportError;
use crate::html::chart::{self, Caption, Timeline};
use crate::html::table::{numbers, table};
use crate::model::{OverTime, RunReport};
use crate::units::{count, sum, time};

/// Lines of the chart of faults; the rest are one more.
const MOST_KINDS: usize = 6;
/// Rows of the table.
const MOST_ROWS: usize = 64;

/// The section.
pub(in crate::html) fn over_time(report: &RunReport) -> Result<Section<'static>, ReportError> {
    let mut figures = Vec::new();
    if let Some(of) = &report.over_time {
        let faults = fault_rates(of);
        figures.extend(figure(report, ("Faults", "faults a millisecond"), of.stretch_ns, &faults)?);
        let flushes = [("flushes", rates(of, &of.flushes)), ("IPIs", rates(of, &of.ipis))];
        let flushes = flushes.map(|(name, rates)| (name.to_owned(), rates));
        figures.extend(figure(
            report,
            ("Flushes and IPIs", "events a millisecond"),
            of.stretch_ns,
            &flushes,
        )?);
    }
    for (device, memory) in &report.memory {
        let Some(activity) = &memory.activity else { continue };
        let lines = [("read", &activity.read_gb_s), ("written", &activity.write_gb_s)];
        let lines = lines.map(|(name, values)| (name.to_owned(), values.clone()));
        let title = format!("Bandwidth of {device}");
        figures.extend(figure(report, (&title, "GB/s"), activity.stretch_ns, &lines)?);
    }
    let body = html! {
        @if figures.is_empty() { (nothing("Nothing was followed over time.")) }
        @else { p.muted { "All charts have the same axis of simulated time, from the start of the run to its end." } }
        @for figure in &figures { (figure) }
        @if let Some(of) = &report.over_time { (numbers_of(of)) }
    };
    Ok(Section { id: "over-time", heading: "Over time", body })
}

/// Events a millisecond in each stretch.
fn rates(of: &OverTime, counts: &[u64]) -> Vec<f64> {
    counts.iter().map(|n| *n as f64 * 1e6 / of.stretch_ns.max(f64::MIN_POSITIVE)).collect()
}

/// The kinds with the most faults, and the others together.
fn fault_rates(of: &OverTime) -> Vec<(String, Vec<f64>)> {
    let mut kinds: Vec<_> = of.faults.iter().collect();
    // By count, then by name: the map's order, which the sort keeps.
    kinds.sort_by_key(|(_, counts)| std::cmp::Reverse(sum(counts.iter().copied())));
    let (first, rest) = kinds.split_at(kinds.len().min(MOST_KINDS));
    let mut lines: Vec<_> = first.iter().map(|(kind, counts)| ((*kind).clone(), rates(of, counts))).collect();
    if !rest.is_empty() {
        let length = rest.iter().map(|(_, counts)| counts.len()).max().unwrap_or_default();
        let all = |at: usize| sum(rest.iter().filter_map(|(_, counts)| counts.get(at).copied()));
        let sums: Vec<u64> = (0..length).map(all).collect();
        lines.push(("others".to_owned(), rates(of, &sums)));
    }
    lines
}

fn figure(
    report: &RunReport,
    (title, unit): (&str, &str),
    stretch_ns: f64,
    lines: &[(String, Vec<f64>)],
) -> Result<Option<Markup>, ReportError> {
    let series: Vec<(&str, &[f64])> =
        lines.iter().map(|(name, values)| (name.as_str(), values.as_slice())).collect();
    let names: Vec<&str> = series.iter().map(|(name, _)| *name).collect();
    let description = format!(
        "Lines over the simulated time of the run, in stretches of {}, {unit}: {}.",
        time(stretch_ns),
        names.join(", ")
    );
    let id = format!("over-time-{}", title.to_lowercase().replace(' ', "-"));
    let caption = Caption { id: &id, title, description: &description };
    let of = Timeline { stretch_ns, end_ns: report.time_ns, unit, series: &series };
    let svg = chart::timeline(&caption, &of)?;
    Ok(svg.map(|svg| {
        html! {
            figure { figcaption { b { (title) } ", in stretches of " (time(stretch_ns)) } (legend(&names)) (svg) }
        }
    }))
}

/// The counts, with neighbouring stretches put together until the table is short enough to be read.
fn numbers_of(of: &OverTime) -> Markup {
    let lists = || of.faults.values().chain([&of.flushes, &of.ipis]);
    let length = lists().map(Vec::len).max().unwrap_or_default();
    let together = length.div_ceil(MOST_ROWS).max(1);
    let mut heads = vec!["from"];
    heads.extend(of.faults.keys().map(String::as_str));
    heads.extend(["flushes", "IPIs"]);
    let rows: Vec<Vec<String>> = (0..length)
        .step_by(together)
        .map(|from| {
            let all = |list: &Vec<u64>| sum(list.iter().skip(from).take(together).copied());
            let mut row = vec![time(from as f64 * of.stretch_ns)];
            row.extend(lists().map(|list| count(all(list))));
            row
        })
        .collect();
    let caption =
        format!("Faults, flushes and IPIs in stretches of {}", time(together as f64 * of.stretch_ns));
    html! {
        details {
            summary { "The numbers" }
            (table(&caption, &numbers(&heads), &rows))
        }
    }
}
