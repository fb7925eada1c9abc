//! TLBs and walks, caches.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{Section, nothing};
use crate::html::table::{numbers, table};
use crate::model::{Lookups, RunReport, Walks};
use crate::units::{average, count, ratio, sum};

/// TLBs, paging-structure caches, walks and assists.
pub(in crate::html) fn translation(report: &RunReport) -> Section<'static> {
    let lookups = |caption: &str, of: &BTreeMap<String, Lookups>| {
        let rows: Vec<_> = of
            .iter()
            .map(|(name, l)| {
                let mut row = vec![name.clone(), count(l.lookups), ratio(l.hits, l.lookups)];
                row.extend([l.hits, l.misses, l.fills, l.invalidations].map(count));
                row
            })
            .collect();
        let heads = ["structure", "lookups", "hit rate", "hits", "misses", "fills", "invalidations"];
        table(caption, &numbers(&heads), &rows)
    };
    let w = &report.walks;
    let per = |n: u64| average(n, w.count);
    let mut walks = vec![
        vec!["page walks".to_owned(), count(w.count), String::new()],
        vec!["memory references".to_owned(), count(w.memory_references), per(w.memory_references)],
        vec!["cycles".to_owned(), count(w.cycles), per(w.cycles)],
        vec!["accessed bits set by hardware".to_owned(), count(report.assists.a), per(report.assists.a)],
        vec!["dirty bits set by hardware".to_owned(), count(report.assists.d), per(report.assists.d)],
    ];
    let nested = sum(w.nested_by_level.iter().copied());
    let more = [
        ("of the second stage, speculative walks' too", nested),
        ("speculative walks", w.speculative),
        ("accesses that waited for another one's walk", w.merged),
        ("walks that waited for a walker", w.queued),
        ("cycles that they waited", w.queue_cycles),
        ("exits for pages that the hypervisor had not mapped", report.exits.ept_violations),
        ("cycles of these exits", report.exits.cycles),
    ];
    walks.extend(
        more.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| vec![what.to_owned(), count(n), per(n)]),
    );
    let other = report.arch.rows().into_iter().filter(|(_, n)| *n > 0);
    walks.extend(other.map(|(what, n)| vec![what.to_owned(), count(n), per(n)]));
    let body = html! {
        @if report.tlb.is_empty() { (nothing("No TLB was simulated.")) }
        @else { (lookups("TLBs", &report.tlb)) }
        @if !report.psc.is_empty() { (lookups("Paging-structure caches", &report.psc)) }
        (table("Page walks and assists", &numbers(&["what", "count", "per walk"]), &walks))
        (levels(w))
        (walkers(w))
    };
    Section { id: "translation", heading: "TLBs and page walks", body }
}

/// Names of the entries of each level, as the processor's manual has them.
const LEVELS: [&str; 5] = ["1, PTE", "2, PDE", "3, PDPTE", "4, PML4E", "5, PML5E"];

/// What was read of each level of either stage.
fn levels(w: &Walks) -> Markup {
    let nested = w.nested_by_level.iter().any(|n| *n > 0);
    let of = |list: &[u64], level: usize| list.get(level).copied().unwrap_or_default();
    let row = |(level, name): (usize, &&str)| {
        let stages = [of(&w.by_level, level), of(&w.nested_by_level, level)];
        let shown = stages.iter().take(if nested { 2 } else { 1 });
        let mut row = vec![(*name).to_owned()];
        row.extend(shown.flat_map(|n| [count(*n), average(*n, w.count)]));
        stages.iter().any(|n| *n > 0).then_some(row)
    };
    let rows: Vec<_> = LEVELS.iter().enumerate().filter_map(row).collect();
    let mut heads = vec!["level", "entries read", "per walk"];
    heads.extend(nested.then_some(["of the second stage", "of it per walk"]).into_iter().flatten());
    html! {
        @if !rows.is_empty() {
            (table("Entries that walks read, by level, speculative walks' too", &numbers(&heads), &rows))
        }
    }
}

/// How the walks were shared out.
fn walkers(w: &Walks) -> Markup {
    let row = |(n, walks): (u64, &u64)| vec![count(n), count(*walks), ratio(*walks, w.count)];
    let rows: Vec<_> = (1..).zip(&w.by_walker).map(row).collect();
    html! {
        @if rows.len() > 1 { (table("Walks by walker of a core", &numbers(&["walker", "walks", "share"]), &rows)) }
    }
}

/// Data caches.
pub(in crate::html) fn caches(report: &RunReport) -> Section<'static> {
    let rows: Vec<_> = report
        .caches
        .iter()
        .map(|(name, c)| {
            let mut row = vec![name.clone(), count(c.lookups), ratio(c.hits, c.lookups)];
            row.extend([c.hits, c.misses, c.writebacks].map(count));
            row
        })
        .collect();
    let body = if rows.is_empty() {
        nothing("No data cache was simulated.")
    } else {
        table(
            "Data caches",
            &numbers(&["cache", "lookups", "hit rate", "hits", "misses", "writebacks"]),
            &rows,
        )
    };
    Section { id: "caches", heading: "Caches", body }
}
