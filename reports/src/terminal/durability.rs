//! What is durable: one line if all is well.

use crate::headline;
use crate::model::{Lines, RunReport};
use crate::units::count;

/// Pages of a list that are shown.
const SHOWN: usize = 5;

pub(super) fn durability(report: &RunReport) -> String {
    let Some(d) = &report.durability else { return String::new() };
    let mut text = format!("Durability: {}", headline::durability(d));
    if let Some(crash) = &d.crash {
        text += &format!("\n  {}", headline::crash(crash, d.at_cycle));
    }
    let lost = d.lost.iter().map(|page| {
        let way = if page.in_flight { ", still on its way to the device" } else { "" };
        let promise =
            format!("promised by {} at cycle {}{way}", page.promised_by, count(page.promised_at_cycle));
        line(&page.of, &promise)
    });
    text += &list("Promised and lost", lost);
    let unmarked = d
        .unmarked
        .iter()
        .map(|page| line(&page.of, if page.has_entry { "its entry is clean" } else { "it has no entry" }));
    text += &list("Dirty without a mark", unmarked);
    let written = d.written.iter().map(|run| {
        format!(
            "{} bytes {}..={} ({} x 64 B): {}",
            run.file, run.first_byte, run.last_byte, run.lines, run.state
        )
    });
    text + &list("Written", written)
}

fn line(of: &Lines, why: &str) -> String {
    let mark = of.mark_in_words().map(|words| format!("; {words}")).unwrap_or_default();
    format!(
        "{} page {}, bytes {}..={} ({} x 64 B) at {}: {why}{mark}",
        of.file, of.page, of.first_byte, of.last_byte, of.lines, of.physical
    )
}

fn list(head: &str, lines: impl ExactSizeIterator<Item = String>) -> String {
    let all = lines.len();
    if all == 0 {
        return String::new();
    }
    let mut text = format!("\n  {head}:");
    for line in lines.take(SHOWN) {
        text += &format!("\n    {line}");
    }
    if all > SHOWN {
        text += &format!(
            "\n    and {} more of {} in report.json",
            count((all - SHOWN) as u64),
            count(all as u64)
        );
    }
    text
}
