//! The points as a page, with a chart of the curves of each machine.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{Point, Validation};
use crate::ReportError;
use crate::html::chart::{self, Caption, Curve, Curves};
use crate::html::table::{Set, numbers, table};
use crate::html::{Section, page};
use crate::units::number;

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(validation: &Validation) -> Result<String, ReportError> {
    let overview = html! {
        p.answer { (validation.passed) " of " (validation.points.len()) " points hold." }
        p { "Each point is a number or a curve that was measured on hardware. The simulated machine is put to the same measurement." }
    };
    let charts = charts(validation)?;
    let ids: Vec<String> = (0..charts.len()).map(|n| format!("curves-{n}")).collect();
    let mut sections = Vec::new();
    for (id, (heading, body)) in ids.iter().zip(charts.iter()) {
        sections.push(Section { id, heading, body: body.clone() });
    }
    sections.push(Section { id: "points", heading: "Points", body: points(&validation.points) });
    sections.push(Section { id: "sources", heading: "Sources", body: sources(&validation.points) });
    Ok(page("Validation of the simulated machines", &overview, &sections))
}

fn points(points: &[Point]) -> Markup {
    let columns = [
        ("Point", Set::Code),
        ("What", Set::Text),
        ("Expected", Set::Number),
        ("Simulated", Set::Number),
        ("Error", Set::Number),
        ("Tolerance", Set::Number),
        ("", Set::Text),
    ];
    let rows: Vec<Vec<String>> = points
        .iter()
        .map(|p| {
            vec![
                p.id.clone(),
                p.about.clone(),
                p.expected_shown(),
                p.got_shown(),
                p.error_shown(),
                p.tolerance_shown(),
                if p.passed { "pass" } else { "FAIL" }.to_owned(),
            ]
        })
        .collect();
    table(
        "Measured and simulated. Of several values the one that is farthest off is shown; the error is the worst, or the mean where the tolerance says so",
        &columns,
        &rows,
    )
}

/// What a chart is of: points of one machine with one kind of measurement, x and y.
fn chart_of(point: &Point) -> (&str, &[String], &str, &str, Vec<&str>) {
    let kind = point.probe.split(' ').take(2).collect();
    (&point.machine, &point.set, &point.x_unit, &point.unit, kind)
}

/// A heading, a chart and its numbers for each machine with curves.
fn charts(validation: &Validation) -> Result<Vec<(String, Markup)>, ReportError> {
    let curves: Vec<&Point> = validation.points.iter().filter(|point| point.is_curve()).collect();
    let mut charts = Vec::new();
    for (at, first) in curves.iter().enumerate() {
        if curves.iter().take(at).any(|before| chart_of(before) == chart_of(first)) {
            continue;
        }
        let of_chart: Vec<&Point> =
            curves.iter().filter(|other| chart_of(other) == chart_of(first)).copied().collect();
        let before = charts
            .iter()
            .filter(|(heading, _): &&(String, Markup)| heading.starts_with(&first.machine))
            .count();
        let heading = match before {
            0 => first.machine.clone(),
            n => format!("{} ({})", first.machine, n + 1),
        };
        charts.push((heading, chart(charts.len(), first, &of_chart)?));
    }
    Ok(charts)
}

fn chart(number_of: usize, first: &Point, points: &[&Point]) -> Result<Markup, ReportError> {
    let series: Vec<Curve<'_>> = points
        .iter()
        .map(|point| Curve { x: &point.x, measured: &point.expected, simulated: &point.got })
        .collect();
    let title = format!("Measured and simulated {} on {}", first.unit, first.machine);
    let description = format!(
        "{} curves over {}, both axes logarithmic; circles are measured, lines simulated. The table below has the numbers.",
        points.len(),
        first.x_unit
    );
    let caption = Caption { id: &format!("curve-{number_of}"), title: &title, description: &description };
    let drawn =
        chart::curves(&caption, &Curves { x_unit: &first.x_unit, y_unit: &first.unit, series: &series })?;
    Ok(html! {
        @if !first.set.is_empty() { p { "Settings: " code { (first.set.join(" ")) } } }
        ul.legend aria-label="Legend" {
            @for (n, point) in points.iter().enumerate() {
                li {
                    span.swatch.{ "b-" (chart::curve_color(n)) } aria-hidden="true" {}
                    (point.series) ": " (point.error_shown()) " off" @if !point.passed { " (FAIL)" }
                }
            }
            li.muted { "○ measured" }
            li.muted { "— simulated" }
        }
        figure { (drawn) }
        (numbers_of(first, points))
    })
}

fn numbers_of(first: &Point, points: &[&Point]) -> Markup {
    let mut heads = vec![first.x_unit.clone()];
    for point in points {
        heads.extend([format!("{} measured", point.series), "simulated".to_owned()]);
    }
    let all: BTreeSet<u64> = points.iter().flat_map(|point| &point.x).map(|x| *x as u64).collect();
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|x| {
            let cells = points.iter().flat_map(|point| {
                let at = point.x.iter().position(|other| *other as u64 == x);
                [&point.expected, &point.got].map(|values| {
                    at.and_then(|at| values.get(at)).map_or_else(|| "–".to_owned(), |y| number(*y))
                })
            });
            std::iter::once(x.to_string()).chain(cells).collect()
        })
        .collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    table(&format!("{}, measured and simulated", first.unit), &numbers(&heads), &rows)
}

fn sources(points: &[Point]) -> Markup {
    let columns = [
        ("Point", Set::Code),
        ("Measurement", Set::Text),
        ("Machine", Set::Code),
        ("Source", Set::Text),
        ("Trust", Set::Text),
        ("Fitted to it", Set::Text),
        ("Note", Set::Text),
    ];
    let rows: Vec<Vec<String>> = points
        .iter()
        .map(|p| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            vec![
                p.id.clone(),
                p.probe.clone(),
                p.machine.clone(),
                p.source.clone(),
                p.trust.clone(),
                text(&p.fitted),
                text(&p.note),
            ]
        })
        .collect();
    table("Where each number comes from", &columns, &rows)
}
