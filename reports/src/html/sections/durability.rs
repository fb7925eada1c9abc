//! What is durable at the end or at the crash.

use maud::{Markup, html};

use super::{Section, nothing};
use crate::headline;
use crate::html::table::{Set, numbers, table};
use crate::model::{Durability, Lines, RunReport};
use crate::units::count;

/// Rows of a table; report.json has all.
const MOST_ROWS: usize = 1000;

/// Promised and lost, dirty without a mark, and how much is dirty at all.
pub(in crate::html) fn durability(report: &RunReport) -> Section<'static> {
    let body = match &report.durability {
        None => nothing("It was not followed."),
        Some(d) => followed(d),
    };
    Section { id: "durability", heading: "Durability", body }
}

fn followed(d: &Durability) -> Markup {
    let rows = [
        ("sync calls that returned with success", d.promises),
        ("file pages promised and lost", d.lost_pages),
        ("file pages dirty in a cache", d.dirty_pages),
        ("of them without a mark", d.unmarked_pages),
        ("their modified lines", d.dirty_lines),
        ("lines on their way to the device", d.in_flight_lines),
        ("dirty pages of device-dax", d.device_pages),
        ("lines of blocks that no file has any more", d.unowned_lines),
    ]
    .map(|(what, n)| vec![what.to_owned(), count(n)]);
    let lost: Vec<_> = d
        .lost
        .iter()
        .take(MOST_ROWS)
        .map(|page| {
            let way = if page.in_flight { ", still on its way" } else { "" };
            row(&page.of, format!("{} at cycle {}{way}", page.promised_by, count(page.promised_at_cycle)))
        })
        .collect();
    let entry = |has: bool| if has { "a clean entry" } else { "no entry" };
    let unmarked: Vec<_> = d
        .unmarked
        .iter()
        .take(MOST_ROWS)
        .map(|page| row(&page.of, entry(page.has_entry).to_owned()))
        .collect();
    html! {
        p { "At cycle " (count(d.at_cycle)) ": " (headline::durability(d)) "." }
        @if let Some(crash) = &d.crash { p { (headline::crash(crash, d.at_cycle)) } }
        (table("What a loss of power would find", &numbers(&["what", "count"]), &rows))
        (list("Promised and lost", "promised by", &lost, d.lost.len()))
        (list("Dirty without a mark", "found", &unmarked, d.unmarked.len()))
        (written(d))
    }
}

/// What the crash leaves of the lines that were written.
fn written(d: &Durability) -> Markup {
    let columns =
        [("file", Set::Text), ("bytes of the file", Set::Number), ("lines", Set::Number), ("", Set::Text)];
    let rows: Vec<Vec<String>> = d
        .written
        .iter()
        .take(MOST_ROWS)
        .map(|run| {
            let bytes = format!("{}..={}", run.first_byte, run.last_byte);
            vec![run.file.clone(), bytes, count(run.lines), run.state.clone()]
        })
        .collect();
    html! {
        @if !rows.is_empty() { (table("Written lines", &columns, &rows)) }
        @if d.written_runs > rows.len() as u64 {
            p.muted { "And " (count(d.written_runs - rows.len() as u64)) " more runs of " (count(d.written_runs)) "." }
        }
    }
}

fn list(caption: &str, why: &str, rows: &[Vec<String>], all: usize) -> Markup {
    let columns = [
        ("file", Set::Text),
        ("page", Set::Number),
        ("bytes of the file", Set::Number),
        ("lines", Set::Number),
        ("physical address", Set::Code),
        (why, Set::Text),
        ("mark", Set::Text),
    ];
    html! {
        @if !rows.is_empty() { (table(caption, &columns, rows)) }
        @if all > rows.len() {
            p.muted { "And " (count((all - rows.len()) as u64)) " more of " (count(all as u64)) ", in report.json." }
        }
    }
}

fn row(of: &Lines, why: String) -> Vec<String> {
    let bytes = format!("{}..={}", of.first_byte, of.last_byte);
    let mark = of.mark_in_words().unwrap_or_else(|| "–".to_owned());
    vec![of.file.clone(), of.page.to_string(), bytes, of.lines.to_string(), of.physical.clone(), why, mark]
}
