//! What the result rests on: the constants that took most of the cycles, with their trust.

use maud::{Markup, html};

use super::{Section, nothing};
use crate::ReportError;
use crate::html::chart::{self, Caption, Row, Segment};
use crate::html::table::{Set, table};
use crate::model::{Constant, RunReport, cycles_by_trust};
use crate::units::{count, percent, ratio};

/// Letters, what they mean, and the colours of their cycles.
const LETTERS: [(&str, &str, usize); 5] = [
    ("A", "measured as it stands", 4),
    ("B", "said by those who measured, or arithmetic on measurements", 3),
    ("C", "a secondary source, or assumed", 5),
    ("M", "from memory, unverified", 2),
    ("none", "no constant of its own: the program, caches, memory, walks, waits", 0),
];
/// Rows of the table.
const MOST_ROWS: usize = 30;

/// The section.
pub(in crate::html) fn constants(report: &RunReport) -> Result<Section<'static>, ReportError> {
    let busy = report.busy_cycles();
    let body = if report.constants.is_empty() || busy == 0 {
        nothing("What the constants took was not followed.")
    } else {
        followed(&report.constants, busy)?
    };
    Ok(Section { id: "rests-on", heading: "What the result rests on", body })
}

fn followed(constants: &[Constant], busy: u64) -> Result<Markup, ReportError> {
    let by_trust = cycles_by_trust(constants, busy);
    let segments = by_trust.iter().zip(LETTERS).map(|((letter, cycles), (_, what, color))| Segment {
        color,
        share: *cycles as f64 / busy as f64,
        value: format!("{letter}: {} cycles, {}\n{what}", count(*cycles), ratio(*cycles, busy)),
    });
    let bar =
        Row { label: format!("{} cycles not idle, by trust", count(busy)), segments: segments.collect() };
    let caption = Caption {
        id: "trust",
        title: "Cycles by the trust of the constant that they were spent on",
        description: "One bar for the cycles in which CPUs were not idle, divided by trust letter; the table below has the constants.",
    };
    let svg = chart::stacked(&caption, &[bar])?;
    let mut sorted: Vec<&Constant> = constants.iter().collect();
    sorted.sort_by_key(|constant| std::cmp::Reverse(constant.cycles));
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let rows: Vec<Vec<String>> = sorted
        .iter()
        .take(MOST_ROWS)
        .map(|c| {
            let key = if c.prices_others { format!("{} (all path lengths)", c.key) } else { c.key.clone() };
            vec![
                key,
                c.of.clone(),
                c.value.clone(),
                dash(&c.basis),
                dash(&c.trust),
                count(c.cycles),
                percent(c.share),
            ]
        })
        .collect();
    let left_out = sorted.len() - rows.len();
    let columns = [
        ("constant", Set::Code),
        ("of", Set::Text),
        ("value", Set::Code),
        ("basis", Set::Text),
        ("trust", Set::Text),
        ("cycles", Set::Number),
        ("share", Set::Number),
    ];
    Ok(html! {
        p.muted {
            "How it is measured: each time a CPU spends a constant as it stands, its cycles are counted under it. A share is how much of "
            "all cycles that were not idle that comes to, so an error of one percent in the constant moves the sum of cycles by that "
            "share of a percent, as long as waits stay as they are. The grey rest comes from models with many constants, whose sources "
            "stand in the machine's file and have no letter there."
        }
        @if let Some(svg) = svg {
            ul.legend aria-label="Legend" {
                @for (letter, what, color) in LETTERS {
                    li { span.swatch.{ "b-" (color) } aria-hidden="true" {} (letter) ": " (what) }
                }
            }
            figure { (svg) }
        }
        (table("Constants by the cycles that were spent on them", &columns, &rows))
        @if left_out > 0 { p.muted { "And " (count(left_out as u64)) " more with fewer cycles, in report.json." } }
    })
}
