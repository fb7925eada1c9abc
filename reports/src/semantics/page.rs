//! The comparison as a page.

use maud::{Markup, html};

use super::text::{made_by, shown, whole};
use super::{Comparison, Transition};
use crate::html::table::{Set, numbers, table};
use crate::html::{Section, page};

/// The page.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let c = comparison;
    let headings: Vec<String> = c
        .transitions
        .iter()
        .map(|transition| format!("From {} to {}", transition.from, transition.to))
        .collect();
    let anchors: Vec<String> = (1..=c.transitions.len()).map(|n| format!("change-{n}")).collect();
    let mut sections = vec![measured(c)];
    for ((id, heading), transition) in anchors.iter().zip(&headings).zip(&c.transitions) {
        sections.push(Section { id, heading, body: changes(transition) });
    }
    let overview = html! {
        p { "Machine " code { (c.machine) } ", tree " code { (c.tree) } ", " (c.fs) "." }
        @if !c.overrides.is_empty() { p { "Settings: " code { (c.overrides.join(" ")) } } }
        p { "Input " code { (c.input) } ", SHA-256 " code { (c.sha256) } }
        @for note in &c.notes { p { (note) } }
    };
    page(&format!("Insert semantics on {}", c.input), &overview, &sections)
}

fn measured(c: &Comparison) -> Section<'static> {
    let mut head = vec!["Metric"];
    head.extend(c.semantics.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = c
        .rows
        .iter()
        .map(|row| {
            let values = row.values.iter().map(|value| shown(row.unit, *value));
            std::iter::once(row.label.trim().to_owned()).chain(values).collect()
        })
        .collect();
    let body = table("One run for each semantics, all else equal", &numbers(&head), &rows);
    Section { id: "measured", heading: "Measured", body }
}

fn changes(transition: &Transition) -> Markup {
    html! {
        @if transition.changes.is_empty() {
            p { "No difference on this input." }
        } @else {
            (difference_table(transition))
        }
        (knob_table(transition))
    }
}

fn difference_table(transition: &Transition) -> Markup {
    let columns = [("Metric", Set::Text), ("Change", Set::Number), ("Made by", Set::Text)];
    let rows: Vec<Vec<String>> =
        transition.changes.iter().map(|c| vec![c.label.trim().to_owned(), whole(c), made_by(c)]).collect();
    table(
        "Each difference, by the knobs that make it (*: another number if that knob alone is switched)",
        &columns,
        &rows,
    )
}

fn knob_table(transition: &Transition) -> Markup {
    let columns = [
        ("Knob", Set::Code),
        (transition.from.as_str(), Set::Code),
        (transition.to.as_str(), Set::Code),
        ("Meaning", Set::Text),
        ("Effect here", Set::Text),
    ];
    let idle = transition.without_effect();
    let rows: Vec<Vec<String>> = transition
        .steps
        .iter()
        .map(|step| {
            let effect = if idle.contains(&step.knob.as_str()) { "none" } else { "yes" };
            let effect = match &step.not_alone {
                Some(_) => format!("{effect}; not possible alone"),
                None => effect.to_owned(),
            };
            vec![step.knob.clone(), step.from.clone(), step.to.clone(), step.doc.clone(), effect]
        })
        .collect();
    table("The knobs, in the order they were switched", &columns, &rows)
}
