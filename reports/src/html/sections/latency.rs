//! Distributions, parts of each kind, and where all cycles went.

use maud::{Markup, html};

use super::{Section, legend, nothing};
use crate::ReportError;
use crate::html::chart::{self, Caption, PARTS, Percentiles, Row, Segment};
use crate::html::table::{numbers, table};
use crate::model::{CycleShare, Latency, RunReport};
use crate::units::{count, counted, percent, ratio, sum, time};

/// A colour for every part name, the same in every chart.
pub(in crate::html) struct PartColors {
    /// All names; the position is the colour.
    all: Vec<String>,
    /// Those of the latencies.
    latency: Vec<String>,
}

impl PartColors {
    /// Colours in the order in which the attribution names the parts, then those that only latencies have.
    pub(in crate::html) fn of(report: &RunReport) -> Self {
        let mut latency: Vec<String> = Vec::new();
        for (_, l) in report.latency_kinds() {
            for part in l.parts.iter().filter(|p| p.total_ns > 0.0) {
                if !latency.contains(&part.name) {
                    latency.push(part.name.clone());
                }
            }
        }
        let mut all: Vec<String> = report.attribution.iter().map(|p| p.name.clone()).collect();
        all.extend(
            latency.iter().filter(|name| !report.attribution.iter().any(|p| p.name == **name)).cloned(),
        );
        Self { all, latency }
    }

    fn of_name(&self, name: &str) -> usize {
        self.all.iter().position(|n| n == name).unwrap_or(PARTS - 1).min(PARTS - 1)
    }

    fn legend(&self, names: &[String]) -> Markup {
        html! {
            ul.legend aria-label="Legend" {
                @for name in names {
                    li { span.swatch.{ "b-" (self.of_name(name)) } aria-hidden="true" {} (name) }
                }
            }
        }
    }
}

fn timed(report: &RunReport) -> Vec<(&str, &Latency)> {
    report.latency_kinds().into_iter().filter(|(_, l)| l.count > 0).collect()
}

/// A histogram for each kind.
pub(in crate::html) fn distributions(report: &RunReport) -> Result<Section<'static>, ReportError> {
    let mut figures = Vec::new();
    for (i, (kind, l)) in timed(report).into_iter().enumerate() {
        let description = format!(
            "Histogram of {} samples on a logarithmic time axis from {} to {}; median {}, p90 {}, p99 {}, p99.9 {}.",
            count(l.count),
            time(l.min),
            time(l.max),
            time(l.p50),
            time(l.p90),
            time(l.p99),
            time(l.p999)
        );
        let title = format!("Latency of {kind}");
        let caption = Caption { id: &format!("hist-{i}"), title: &title, description: &description };
        if let Some(svg) = chart::histogram(&caption, l)? {
            figures.push(html! {
                figure { figcaption { b { (kind) } ", " (count(l.count)) " samples, mean " (time(l.mean)) } (svg) }
            });
        }
    }
    let curves = curves(report)?;
    let body = if figures.is_empty() {
        nothing("Nothing was timed.")
    } else {
        html! {
            p.muted { "Samples per bucket, 40 buckets to a factor of ten. Rare buckets are drawn high enough to be seen." }
            div.charts { @for figure in &figures { (figure) } }
            (curves)
        }
    };
    Ok(Section { id: "distributions", heading: "Latency distributions", body })
}

/// The percentile curve of each kind, in one chart and a table.
fn curves(report: &RunReport) -> Result<Markup, ReportError> {
    let kinds: Vec<_> = timed(report).into_iter().map(|(kind, l)| (kind, l.percentiles())).collect();
    let series: Vec<_> = kinds.iter().map(|(name, points)| Percentiles { name, points }).collect();
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    let caption = Caption {
        id: "percentiles",
        title: "Percentile curves",
        description: "One line for each kind: the time that a percentage of its samples does not exceed. Each further nine of the \
            percentage has as much room. The table below has the numbers.",
    };
    let Some(svg) = chart::percentiles(&caption, &series)? else { return Ok(Markup::default()) };
    let rows: Vec<Vec<String>> = kinds
        .iter()
        .map(|(kind, points)| {
            let at = |share: f64| {
                points.iter().find(|p| p.0 >= share).map_or_else(|| "–".to_owned(), |p| time(p.1))
            };
            let shares = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0].map(at);
            [(*kind).to_owned()].into_iter().chain(shares).collect()
        })
        .collect();
    let heads = ["kind", "0 %", "10 %", "25 %", "50 %", "75 %", "90 %", "95 %", "99 %", "99.9 %", "100 %"];
    Ok(html! {
        figure {
            figcaption { b { "Percentile curves" } ": the time that so many of a kind's samples stay within" }
            (legend(&names))
            (svg)
        }
        (table("Times that a percentage of the samples does not exceed", &numbers(&heads), &rows))
    })
}

/// The attributed parts of each kind.
pub(in crate::html) fn parts(
    report: &RunReport,
    colors: &PartColors,
) -> Result<Section<'static>, ReportError> {
    let names = &colors.latency;
    let kinds = timed(report);
    let bars: Vec<_> = kinds
        .iter()
        .map(|(kind, l)| Row {
            label: format!("{kind}, {} samples, mean {}", count(l.count), time(l.mean)),
            segments: l
                .parts
                .iter()
                .map(|p| {
                    let value = format!("{}: {} of each, {}", p.name, time(p.mean_ns), percent(p.share));
                    Segment { color: colors.of_name(&p.name), share: p.share, value }
                })
                .collect(),
        })
        .collect();
    let caption = Caption {
        id: "parts",
        title: "Parts of each latency",
        description: "One bar for each kind, divided by the share of its parts; the table below has the numbers.",
    };
    let Some(svg) = chart::stacked(&caption, &bars)? else {
        let body = nothing("No latency was divided into parts.");
        return Ok(Section { id: "parts-of-latency", heading: "What the time was spent on", body });
    };
    let rows: Vec<_> = names
        .iter()
        .map(|name| {
            let mut row = vec![name.clone()];
            row.extend(kinds.iter().map(|(_, l)| match l.parts.iter().find(|p| p.name == *name) {
                Some(p) if p.total_ns > 0.0 => {
                    format!("{} ({})", time(p.mean_ns), percent(p.total_ns / l.total_ns()))
                }
                _ => "–".to_owned(),
            }));
            row
        })
        .collect();
    let heads: Vec<_> = std::iter::once("part").chain(kinds.iter().map(|(kind, _)| *kind)).collect();
    let body = html! {
        (colors.legend(names))
        figure { figcaption { "Shares of the total time of each kind" } (svg) }
        (table("Mean time per sample and share, by part and kind", &numbers(&heads), &rows))
    };
    Ok(Section { id: "parts-of-latency", heading: "What the time was spent on", body })
}

/// Where the cycles of all CPUs went.
pub(in crate::html) fn cycles(
    report: &RunReport,
    colors: &PartColors,
) -> Result<Section<'static>, ReportError> {
    let parts = &report.attribution;
    let names: Vec<String> = parts.iter().map(|p| p.name.clone()).collect();
    let used = match report.machine.cpus_used {
        0 => "all CPUs".to_owned(),
        n => format!("the {} that ran", counted(u64::from(n), "CPU", "CPUs")),
    };
    let total = parts.iter().fold(0_u64, |sum, p| sum.saturating_add(p.cycles));
    let bar = Row {
        label: format!("{} cycles on {used}", count(total)),
        segments: parts
            .iter()
            .map(|p| {
                let value = format!("{}: {} cycles, {}", p.name, count(p.cycles), ratio(p.cycles, total));
                Segment { color: colors.of_name(&p.name), share: p.share, value }
            })
            .collect(),
    };
    let caption = Caption {
        id: "cycles",
        title: "Where the cycles went",
        description: "One bar for the cycles of the CPUs that ran, divided by what they were spent on; the table below has the numbers.",
    };
    // Where CPUs mostly had nothing to do, the rest would be too thin to be seen.
    let idle = sum(parts.iter().filter(|p| p.name == IDLE).map(|p| p.cycles));
    let bars: Vec<Row> = std::iter::once(bar)
        .chain((idle > 0).then(|| busy(parts, total.saturating_sub(idle), colors)))
        .collect();
    let body = match chart::stacked(&caption, &bars)? {
        None => nothing("No cycle was attributed."),
        Some(svg) => {
            let rows: Vec<_> =
                parts.iter().map(|p| vec![p.name.clone(), count(p.cycles), ratio(p.cycles, total)]).collect();
            html! {
                (colors.legend(&names))
                figure { (svg) }
                (table("Cycles by what they were spent on", &numbers(&["spent on", "cycles", "share"]), &rows))
            }
        }
    };
    Ok(Section { id: "cycles-of-cpus", heading: "Where the cycles went", body })
}

/// The part of CPUs with nothing to do.
const IDLE: &str = "idle";

/// The same without it.
fn busy(parts: &[CycleShare], cycles: u64, colors: &PartColors) -> Row {
    let segments = parts.iter().filter(|p| p.name != IDLE).map(|p| Segment {
        color: colors.of_name(&p.name),
        share: p.cycles as f64 / cycles.max(1) as f64,
        value: format!(
            "{}: {} cycles, {} of those not idle",
            p.name,
            count(p.cycles),
            ratio(p.cycles, cycles)
        ),
    });
    Row { label: format!("{} of them not idle", count(cycles)), segments: segments.collect() }
}
