//! TLBs and walks, caches.

use std::collections::BTreeMap;

use maud::html;

use super::{Section, nothing};
use crate::html::table::{numbers, table};
use crate::model::{Lookups, RunReport};
use crate::units::{average, count, ratio};

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
    let nested: u64 = w.nested_by_level.iter().sum();
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
    };
    Section { id: "translation", heading: "TLBs and page walks", body }
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
