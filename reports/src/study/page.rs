//! A study as a page: for each panel a chart of each metric, and the tables.

use maud::{Markup, html};

use super::{Metric, Study, Variant};
use crate::ReportError;
use crate::html::chart::{self, Caption, Line, LineChart, Mark};
use crate::html::{Section, page};
use crate::units::number;

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(study: &Study) -> Result<String, ReportError> {
    let points: usize = study.variants.iter().map(|variant| variant.points.len()).sum();
    let overview = html! {
        p.answer { (study.question) }
        @for paragraph in &study.findings { p { (paragraph) } }
        p { "Probe " code { (study.probe) } ", " (points) " points against " (study.x.name) "; both axes of the charts are logarithmic. "
            "A point shows its numbers when the pointer rests on it, and the tables have them all." }
        @if !study.set.is_empty() { p { "Settings of all: " code { (study.set.join(" ")) } } }
        @if study.failed > 0 { div.warnings { (study.failed) " points could not be measured: the last table says why." } }
    };
    let panels = study.panels();
    let ids: Vec<String> = (0..panels.len()).map(|at| format!("panel-{at}")).collect();
    let mut sections = Vec::new();
    for (id, panel) in ids.iter().zip(&panels) {
        sections.push(Section { id, heading: panel, body: body(study, id, panel)? });
    }
    let what = study.what().words();
    sections.push(Section { id: "variants", heading: "Variants", body: what });
    if study.failed > 0 {
        let body = study.failures().words();
        sections.push(Section { id: "failures", heading: "Failures", body });
    }
    Ok(page(&study.title, &overview, &sections))
}

fn body(study: &Study, id: &str, panel: &str) -> Result<Markup, ReportError> {
    let variants = study.variants_of(panel);
    let mut parts = Vec::new();
    for (at, metric) in study.metrics.iter().enumerate() {
        let chart = chart_of(study, &format!("{id}-{at}"), metric, &variants)?;
        let rows = study.values(panel, metric);
        parts.push(html! {
            h3 { (rows.title) }
            @match chart {
                Some(drawn) => figure { (drawn) },
                None => p.muted { "Every value is 0." },
            }
            (rows.numbers())
        });
    }
    Ok(html! {
        ul.legend aria-label="Legend" {
            @for (n, variant) in variants.iter().enumerate() {
                li { span.swatch.{ "b-" (chart::curve_color(n)) } aria-hidden="true" {} (variant.name) }
            }
        }
        @for part in &parts { (part) }
        @if let Some(waits) = study.waits(panel) { (waits.words()) }
    })
}

fn chart_of(
    study: &Study,
    id: &str,
    metric: &Metric,
    variants: &[&Variant],
) -> Result<Option<Markup>, ReportError> {
    let marks = |variant: &Variant| -> Vec<Mark> {
        let point = |point: &super::Point| {
            let y = *point.values.get(&metric.key)?;
            let (x, value) = (study.x_shown(point.x), number(y));
            let label = format!("{}: {value} {} at {x} {}", variant.name, metric.unit, study.x.name);
            Some(Mark { x: point.x, y, label })
        };
        variant.points.iter().filter_map(point).collect()
    };
    let lines: Vec<Line> = variants.iter().map(|variant| Line { marks: marks(variant) }).collect();
    let description = format!(
        "{} lines over {}, both axes logarithmic; values of 0 are not drawn. The table below has the numbers.",
        variants.len(),
        study.x.name
    );
    let title = metric.heading();
    let caption = Caption { id, title: &title, description: &description };
    let x_label = if study.x.unit.is_empty() {
        study.x.name.clone()
    } else {
        format!("{}, {}", study.x.name, study.x.unit)
    };
    chart::lines(&caption, &LineChart { x_label: &x_label, y_unit: &metric.unit, lines: &lines })
}
