//! A sweep as a page: for each input the front, what each key does, and the points.

use maud::{Markup, html};

use super::tables::Rows;
use super::{Analysis, Objective, Point, Sweep};
use crate::ReportError;
use crate::html::chart::{Caption, Mark, Scatter, scatter};
use crate::html::table::{Set, table};
use crate::html::{Section, page};
use crate::units::number;

/// Points of a chart at most, beside the front: more are not told apart.
const MOST_DOTS: usize = 2000;

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(sweep: &Sweep) -> Result<String, ReportError> {
    let overview = html! {
        @if !sweep.question.is_empty() { p.answer { (sweep.question) } }
        @for paragraph in &sweep.findings { p { (paragraph) } }
        p { (sweep.extent()) }
        @if !sweep.set.is_empty() { p { "Settings of all: " code { (sweep.set.join(" ")) } } }
        @if !sweep.failures.is_empty() {
            div.warnings { (crate::units::counted(sweep.space.failed, "point", "points")) " failed: the last table says why." }
        }
        @for note in &sweep.notes { p.muted { (note) } }
    };
    let ids: Vec<String> = (0..sweep.analysis.len()).map(|at| format!("input-{at}")).collect();
    let mut sections = Vec::new();
    for (id, analysis) in ids.iter().zip(&sweep.analysis) {
        sections.push(Section { id, heading: &analysis.input, body: body(sweep, id, analysis)? });
    }
    if !sweep.failures.is_empty() {
        sections.push(Section { id: "failures", heading: "Failures", body: shown(&sweep.failed()) });
    }
    Ok(page(&sweep.title, &overview, &sections))
}

fn body(sweep: &Sweep, id: &str, analysis: &Analysis) -> Result<Markup, ReportError> {
    let mut charts = Vec::new();
    if let [first, .., last] = sweep.objectives.as_slice() {
        charts.push(front_chart(
            sweep,
            &format!("{id}-front"),
            analysis,
            (0, first),
            (sweep.objectives.len() - 1, last),
        )?);
    }
    let best: Vec<String> = analysis
        .best
        .iter()
        .map(|best| format!("{}: {} at {}", best.objective, number(best.value), sweep.short_place(best.row)))
        .collect();
    let tables =
        [sweep.front(analysis), sweep.within(analysis), Sweep::effects(analysis), Sweep::pairs(analysis)];
    Ok(html! {
        @if !best.is_empty() {
            h3 { "Best by each objective" }
            ul { @for line in &best { li { (line) } } }
        }
        @for chart in charts.iter().flatten() { figure { (chart) figcaption { "Each point is a run. Those that no other beats in every objective are large, and joined." } } }
        @for rows in &tables {
            @if !rows.rows.is_empty() { (shown(rows)) }
        }
        details { summary { "Points" } (shown(&sweep.all(&analysis.input))) }
    })
}

fn shown(rows: &Rows) -> Markup {
    let set = |at: usize| if rows.numbers.contains(&at) { Set::Number } else { Set::Text };
    let columns: Vec<(&str, Set)> =
        rows.head.iter().enumerate().map(|(at, head)| (head.as_str(), set(at))).collect();
    table(&rows.title, &columns, &rows.rows)
}

/// The first objective over the last, with the front joined.
fn front_chart(
    sweep: &Sweep,
    id: &str,
    analysis: &Analysis,
    (y_at, y): (usize, &Objective),
    (x_at, x): (usize, &Objective),
) -> Result<Option<Markup>, ReportError> {
    let value = |point: &Point, at: usize| point.objectives.get(at).copied().flatten();
    let mark = |row: usize, point: &Point| -> Option<Mark> {
        let (across, up) = (value(point, x_at)?, value(point, y_at)?);
        let label =
            format!("{}: {} {}, {} {}", sweep.short_place(row), y.name, number(up), x.name, number(across));
        Some(Mark { x: across, y: up, label })
    };
    let of_input = || {
        sweep
            .points
            .iter()
            .enumerate()
            .filter(|(_, point)| point.input == analysis.input && point.error.is_none())
    };
    let is_front = |row: &usize| analysis.front.contains(row);
    let others: Vec<Mark> = of_input()
        .filter(|(row, _)| !is_front(row))
        .take(MOST_DOTS)
        .filter_map(|(row, point)| mark(row, point))
        .collect();
    let mut joined: Vec<Mark> =
        of_input().filter(|(row, _)| is_front(row)).filter_map(|(row, point)| mark(row, point)).collect();
    joined.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    let title = format!("{} over {}", y.name, x.name);
    let description = "Each point is a run; those that no other beats in every objective are joined. The tables have the numbers.";
    let name =
        |o: &Objective| if o.unit.is_empty() { o.name.clone() } else { format!("{}, {}", o.name, o.unit) };
    let (x_label, y_label) = (name(x), name(y));
    let caption = Caption { id, title: &title, description };
    scatter(&caption, &Scatter { x_label: &x_label, y_label: &y_label, others: &others, joined: &joined })
}
