//! What CPUs waited for each other on: locks, and cache lines that they took from one another.

use maud::html;

use super::{Section, nothing};
use crate::html::table::{numbers, table};
use crate::model::RunReport;
use crate::units::{average, count, ratio};

/// The section.
pub(in crate::html) fn contention(report: &RunReport) -> Section<'static> {
    let all = report.busy_cycles();
    // The longest waits on top; the maps' order, by name, among equals.
    let mut locks: Vec<_> = report.locks.iter().collect();
    locks.sort_by_key(|(_, of)| std::cmp::Reverse((of.wait_cycles, of.contended)));
    let locks: Vec<_> = locks
        .into_iter()
        .map(|(name, of)| {
            let waits =
                [count(of.wait_cycles), average(of.wait_cycles, of.contended), ratio(of.wait_cycles, all)];
            let mut row = vec![name.clone(), count(of.acquisitions), count(of.contended)];
            row.push(ratio(of.contended, of.acquisitions));
            row.extend(waits);
            row
        })
        .collect();
    let mut lines: Vec<_> = report.lines.iter().collect();
    lines.sort_by_key(|(_, of)| std::cmp::Reverse((of.wait_cycles, of.transfers)));
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(name, of)| {
            let mut row = vec![name.clone(), count(of.transfers), count(of.contended)];
            row.extend([
                count(of.wait_cycles),
                average(of.wait_cycles, of.contended),
                ratio(of.wait_cycles, all),
            ]);
            row
        })
        .collect();
    let tail = ["cycles waited", "per wait", "of the busy cycles"];
    let body = html! {
        p.muted {
            "Waits are summed over CPUs. A lock's waits are for whoever holds it; the way of its cache line from core to core is "
            "that line's. Shares are of all cycles in which CPUs were not idle."
        }
        @if locks.is_empty() { (nothing("No lock was taken.")) } @else {
            (table(
                "Locks, by the kernel's name for them",
                &numbers(&[&["lock", "taken", "waited for", "of those taken"], tail.as_slice()].concat()),
                &locks,
            ))
        }
        @if lines.is_empty() { (nothing("No CPU took a line of the kernel from another.")) } @else {
            (table(
                "Cache lines taken from other cores, by what they hold",
                &numbers(&[&["line", "transfers", "under way elsewhere"], tail.as_slice()].concat()),
                &lines,
            ))
        }
    };
    Section { id: "contention", heading: "Contention by lock and line", body }
}
