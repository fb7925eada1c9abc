//! A comparison of sweeps as a page.

use maud::{Markup, html};

use super::SweepComparison;
use super::tables::per_cent;
use super::text::sentences;
use crate::ReportError;
use crate::html::chart::{self, Caption};
use crate::html::{Section, page};
use crate::rows::Rows;

/// Rows of a table that people read; the JSON form has all.
const MOST_ROWS: usize = 500;

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(comparison: &SweepComparison) -> Result<String, ReportError> {
    let c = comparison;
    let overview = html! {
        @for sentence in &sentences(c) { p.answer { (sentence) } }
        p.muted { "Base: " (c.base.title) " (" code { (c.base.name) } "). New: " (c.new.title) " (" code { (c.new.name) } ")." }
        @for note in &c.notes { div.warnings { p { (note) } } }
    };
    let metrics = html! {
        @if let Some(drawn) = drawn(c)? { figure { (drawn) } }
        (c.metric_rows().numbers())
    };
    let mut sections = Vec::new();
    if !c.checks.is_empty() {
        sections.push(Section { id: "limits", heading: "Limits", body: c.limit_rows().numbers() });
    }
    sections.push(Section { id: "metrics", heading: "Over all points", body: metrics });
    let tables: [(&str, &str, Rows); 4] = [
        ("best", "The best points", c.best_rows()),
        ("keys", "What the changes depend on", c.key_rows()),
        ("points", "Changes at points", c.point_rows(MOST_ROWS)),
        ("left", "Points not compared", c.left_rows(MOST_ROWS)),
    ];
    for (id, heading, rows) in tables.into_iter().filter(|(_, _, rows)| !rows.rows.is_empty()) {
        let body = if id == "points" { rows.numbers() } else { rows.words() };
        sections.push(Section { id, heading, body });
    }
    let title = match c.varied.first() {
        Some(varied) => format!("{}: {varied}", c.new.title),
        None => format!("{}: {} against {}", c.new.title, c.new.name, c.base.name),
    };
    Ok(page(&title, &overview, &sections))
}

/// The changes of the geometric means as bars.
fn drawn(c: &SweepComparison) -> Result<Option<Markup>, ReportError> {
    let changed = || c.metrics.iter().filter_map(|m| Some((m, m.percent.filter(|percent| *percent != 0.0)?)));
    let most = changed().map(|(_, percent)| percent.abs()).fold(0.0, f64::max);
    let bar = |(m, percent): (&super::MetricChange, f64)| chart::Bar {
        label: m.metric.clone(),
        share: if most > 0.0 { percent / most } else { 0.0 },
        value: per_cent(percent),
    };
    let bars: Vec<chart::Bar> = changed().map(bar).collect();
    let caption = Caption {
        id: "metrics-chart",
        title: "Change of the geometric means",
        description: "Bars to the left are less than in the base, bars to the right more; the table has the numbers.",
    };
    chart::changes(&caption, &bars)
}
