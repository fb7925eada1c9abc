//! Memory devices: what they were asked, what their media did, how long requests took, and when they came.

use maud::{Markup, html};

use super::{Section, legend, nothing};
use crate::ReportError;
use crate::html::chart::{self, Caption, Timeline};
use crate::html::table::{numbers, table};
use crate::model::{Activity, Latency, RunReport};
use crate::units::{bytes, count, time};

/// The section.
pub(in crate::html) fn memory(report: &RunReport) -> Result<Section<'static>, ReportError> {
    let rows: Vec<_> = report
        .memory
        .iter()
        .map(|(name, m)| {
            let ratio = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |a| format!("{a:.2}"));
            let mut row = vec![name.clone(), count(m.reads), count(m.writes)];
            row.extend([m.bytes_read, m.bytes_written, m.media_bytes_read, m.media_bytes_written].map(bytes));
            row.extend([ratio(m.write_amplification), count(m.stalls), time(m.stalls_ns)]);
            row
        })
        .collect();
    let body = if rows.is_empty() {
        nothing("No memory device was simulated.")
    } else {
        let heads = [
            "device",
            "reads",
            "writes",
            "read",
            "written",
            "media read",
            "media written",
            "write amplification",
            "stalls",
            "stalled",
        ];
        table("Requests, bytes at the controller and at the medium, and waits", &numbers(&heads), &rows)
    };
    let inside = inside(report);
    let mut more = Vec::new();
    for (name, memory) in &report.memory {
        if let Some(activity) = &memory.activity {
            more.push(device(name, activity, report.time_ns)?);
        }
    }
    let body = html! {
        (body)
        (inside)
        @if !more.is_empty() { p.muted { "Bandwidth is under " a href="#over-time" { "Over time" } "." } }
        @for device in &more { (device) }
    };
    Ok(Section { id: "memory", heading: "Memory devices", body })
}

/// What was counted inside the devices.
fn inside(report: &RunReport) -> Markup {
    let mut counts = Vec::new();
    let mut queues = Vec::new();
    for (name, memory) in &report.memory {
        let counted = memory.counts.iter().filter(|(_, n)| **n > 0);
        counts.extend(counted.map(|(what, n)| vec![format!("{name}: {what}"), count(*n)]));
        let filled = memory.queues.iter().filter(|(_, depth)| depth.most > 0);
        queues.extend(filled.map(|(queue, depth)| {
            vec![format!("{name}: {queue}"), format!("{:.2}", depth.mean), count(depth.most)]
        }));
    }
    html! {
        @if !counts.is_empty() { (table("Inside the devices", &numbers(&["what", "count"]), &counts)) }
        @if !queues.is_empty() {
            (table("Entries of a queue", &numbers(&["queue", "mean", "most"]), &queues))
        }
    }
}

fn device(name: &str, activity: &Activity, end_ns: f64) -> Result<Markup, ReportError> {
    let mut figures = Vec::new();
    for (what, latency) in [("read", &activity.read_latency), ("write", &activity.write_latency)] {
        figures.extend(distribution(name, what, latency)?);
    }
    let queues = [
        ("reads under way", activity.reads_under_way.as_slice()),
        ("writes that wait for a full queue", &activity.writes_waiting),
    ];
    let queues = over_time((name, end_ns), activity.stretch_ns, &queues)?;
    Ok(html! {
        @if !figures.is_empty() || queues.is_some() { h3 { (name) } }
        @if !figures.is_empty() { div.charts { @for figure in &figures { (figure) } } }
        @if let Some(queues) = &queues { (queues) }
    })
}

fn distribution(name: &str, what: &str, latency: &Latency) -> Result<Option<Markup>, ReportError> {
    let title = format!("Latency of a {what}, {name}");
    let description = format!(
        "Histogram of {} samples on a logarithmic time axis; median {}, p99 {}, longest {}.",
        count(latency.count),
        time(latency.p50),
        time(latency.p99),
        time(latency.max)
    );
    let id = format!("device-{name}-{what}");
    let caption = Caption { id: &id, title: &title, description: &description };
    let svg = chart::histogram(&caption, latency)?;
    Ok(svg.map(|svg| {
        let head = format!("{} samples, mean {}", count(latency.count), time(latency.mean));
        html! { figure { figcaption { b { (what) } ", " (head) } (svg) } }
    }))
}

fn over_time(
    (name, end_ns): (&str, f64),
    stretch_ns: f64,
    series: &[(&str, &[f64])],
) -> Result<Option<Markup>, ReportError> {
    let title = format!("{name}: queues over time");
    let names: Vec<&str> = series.iter().map(|(of, _)| *of).collect();
    let description =
        format!("Lines over simulated time, in stretches of {}: {}.", time(stretch_ns), names.join(", "));
    let id = format!("device-{name}-queues");
    let caption = Caption { id: &id, title: &title, description: &description };
    let svg = chart::timeline(&caption, &Timeline { stretch_ns, end_ns, unit: "requests", series })?;
    Ok(svg.map(|svg| {
        html! {
            figure { figcaption { b { "queues" } ", in stretches of " (time(stretch_ns)) } (legend(&names)) (svg) }
        }
    }))
}
