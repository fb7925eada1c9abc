//! A comparison as a page.

use maud::{Markup, html};

use super::Comparison;
use super::text::{new_title, sentences};
use crate::ReportError;
use crate::html::chart::{self, Caption};
use crate::html::{Section, page};

/// Share of a bar's panel that the greatest change takes.
const WIDEST: f64 = 1.0;

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(comparison: &Comparison) -> Result<String, ReportError> {
    let c = comparison;
    let overview = html! {
        @for sentence in &sentences(c) { p.answer { (sentence) } }
        p.muted { "Base: " (c.base.title) " (" code { (c.base.name) } "). New: " (new_title(c)) " (" code { (c.new.name) } ")." }
        @for note in &c.notes { div.warnings { p { (note) } } }
    };
    let mut sections = Vec::new();
    if !c.checks.is_empty() {
        sections.push(Section { id: "limits", heading: "Limits", body: c.checks().numbers() });
    }
    sections.push(Section { id: "latency", heading: "Latency by kind", body: latency(c) });
    sections.push(Section { id: "parts", heading: "What explains it", body: parts(c)? });
    sections.push(Section { id: "cycles", heading: "Where the cycles went", body: c.cycle_rows().numbers() });
    let work = c.work_rows();
    if !work.rows.is_empty() {
        sections.push(Section { id: "work", heading: "What was done", body: work.numbers() });
    }
    let body = if c.changes.is_empty() {
        html! { p.muted { "None." } }
    } else {
        c.change_rows(true).numbers()
    };
    sections.push(Section { id: "numbers", heading: "Every number that differs", body });
    let title = format!("{} against {}", what(c).1, what(c).0);
    Ok(page(&title, &overview, &sections))
}

/// What the reports are called, by what tells them apart.
fn what(c: &Comparison) -> (&str, &str) {
    let (base, new) = (&c.base, &c.new);
    if base.kernel != new.kernel {
        (&base.kernel, &new.kernel)
    } else if base.machine != new.machine {
        (&base.machine, &new.machine)
    } else {
        (&base.name, &new.name)
    }
}

fn latency(c: &Comparison) -> Markup {
    html! {
        (c.latency_rows().numbers())
        (c.totals().numbers())
    }
}

/// For each kind the parts of its mean, drawn and as a table.
fn parts(c: &Comparison) -> Result<Markup, ReportError> {
    let mut blocks = Vec::new();
    for (at, latency) in c.latencies.iter().filter(|l| l.changed()).enumerate() {
        let most = latency.parts.iter().map(|part| part.change.abs()).fold(0.0, f64::max);
        let bars: Vec<chart::Bar> = latency
            .parts
            .iter()
            .filter(|part| part.change != 0.0)
            .map(|part| chart::Bar {
                label: part.path.clone(),
                share: if most > 0.0 { part.change / most * WIDEST } else { 0.0 },
                value: super::tables::signed_time(part.change),
            })
            .collect();
        let id = format!("change-{at}");
        let title = format!("Change of the parts of {}", latency.kind);
        let description = "Bars to the left are less time than in the base, bars to the right more; the table has the numbers.";
        let caption = Caption { id: &id, title: &title, description };
        let drawn = chart::changes(&caption, &bars)?;
        let rows = latency.part_rows();
        blocks.push(html! {
            h3 { (rows.title) }
            @if let Some(drawn) = drawn { figure { (drawn) } }
            (rows.numbers())
        });
    }
    Ok(html! {
        @if blocks.is_empty() { p.muted { "No latency changed." } }
        @for block in &blocks { (block) }
    })
}
