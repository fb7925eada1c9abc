//! The blocks of the summary. Each is empty if it has nothing to say.

use super::table::aligned;
use crate::model::{Agreement, Latency, RunReport};
use crate::units::{average, bytes, count, percent, ratio, time};

/// Kinds whose parts are shown.
const TOP_KINDS: usize = 3;
/// Divergences that are shown.
const EXAMPLES: usize = 5;

pub(super) fn faults(report: &RunReport) -> String {
    let counts = report.faults.by_kind();
    let row = |kind: &str, n: u64, latency: Option<&Latency>| {
        let mut row = vec![kind.to_owned(), count(n)];
        row.extend(match latency.filter(|l| l.count > 0) {
            Some(l) => [l.p50, l.p99, l.mean, l.max].map(time),
            None => ["–"; 4].map(str::to_owned),
        });
        row
    };
    let mut rows: Vec<_> = counts
        .iter()
        .filter(|(kind, n)| *n > 0 || report.latency.get(*kind).is_some_and(|l| l.count > 0))
        .map(|(kind, n)| row(kind, *n, report.latency.get(*kind)))
        .collect();
    let others = report.latency_kinds().into_iter().filter(|(k, _)| counts.iter().all(|(c, _)| c != k));
    rows.extend(others.filter(|(_, l)| l.count > 0).map(|(k, l)| row(k, l.count, Some(l))));
    aligned("Latency by kind", &["kind", "count", "p50", "p99", "mean", "max"], rows)
}

pub(super) fn parts(report: &RunReport) -> String {
    let mut kinds: Vec<_> = report.latency_kinds();
    kinds.retain(|(_, l)| l.count > 0 && !l.parts.is_empty());
    kinds.sort_by(|a, b| b.1.total_ns().total_cmp(&a.1.total_ns()));
    let blocks: Vec<_> = kinds
        .into_iter()
        .take(TOP_KINDS)
        .map(|(kind, latency)| {
            let rows = latency
                .parts
                .iter()
                .filter(|p| p.total_ns > 0.0)
                .map(|p| vec![p.name.clone(), time(p.mean_ns), percent(p.total_ns / latency.total_ns())])
                .collect();
            aligned(
                &format!("Parts of {kind}, mean {}", time(latency.mean)),
                &["part", "mean", "share"],
                rows,
            )
        })
        .filter(|block| !block.is_empty())
        .collect();
    blocks.join("\n\n")
}

pub(super) fn shootdowns(report: &RunReport) -> String {
    let s = &report.shootdowns;
    let mut blocks = Vec::new();
    if s.requests > 0 {
        blocks.push(format!(
            "Shootdowns: {} with {} IPIs sent and {} received, {} pages and {} full flushes; cycles each: {} asking, {} asked",
            count(s.requests),
            count(s.ipis_sent),
            count(s.ipis_received),
            count(s.pages),
            count(s.full_flushes),
            average(s.initiator_cycles, s.requests),
            average(s.responder_cycles, s.requests)
        ));
    }
    let rows = report
        .flushes
        .iter()
        .map(|(n, f)| vec![format!("{n} {}", f.reason), count(f.count), count(f.pages), count(f.full)])
        .collect();
    blocks.push(aligned("TLB flushes", &["reason", "count", "pages", "full"], rows));
    blocks.retain(|b| !b.is_empty());
    blocks.join("\n\n")
}

pub(super) fn translation(report: &RunReport) -> String {
    let rows = report
        .tlb
        .iter()
        .chain(&report.psc)
        .filter(|(_, t)| t.lookups > 0)
        .map(|(name, t)| vec![name.clone(), count(t.lookups), count(t.misses), ratio(t.hits, t.lookups)])
        .collect();
    let table =
        aligned("TLBs and paging-structure caches", &["structure", "lookups", "misses", "hit rate"], rows);
    let (w, a) = (&report.walks, &report.assists);
    if w.count == 0 && a.a == 0 && a.d == 0 && report.arch.is_empty() && report.exits.is_empty() {
        return table;
    }
    let mut walks = format!(
        "Page walks: {}, {} memory references and {} cycles each; accessed bits set: {}, dirty bits set: {}",
        count(w.count),
        average(w.memory_references, w.count),
        average(w.cycles, w.count),
        count(a.a),
        count(a.d)
    );
    if w.merged > 0 || w.queued > 0 {
        walks.push_str(&format!(
            "; {} accesses waited for another one's walk, {} walks for a walker, {} cycles each",
            count(w.merged),
            count(w.queued),
            average(w.queue_cycles, w.queued)
        ));
    }
    if !report.exits.is_empty() {
        let (n, cycles) = (report.exits.ept_violations, report.exits.cycles);
        walks.push_str(&format!(
            "; {} exits to the hypervisor, {} cycles each",
            count(n),
            average(cycles, n)
        ));
    }
    for (what, n) in report.arch.rows().into_iter().filter(|(_, n)| *n > 0) {
        walks.push_str(&format!("; {what}: {}", count(n)));
    }
    if table.is_empty() { walks } else { format!("{table}\n\n{walks}") }
}

pub(super) fn memory(report: &RunReport) -> String {
    let ratio = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    let rows = report
        .memory
        .iter()
        .filter(|(_, m)| m.reads + m.writes > 0)
        .map(|(name, m)| {
            let read = m.activity.as_ref().map(|activity| &activity.read_latency).filter(|l| l.count > 0);
            let [p50, p99] = read.map_or(["–"; 2].map(str::to_owned), |l| [l.p50, l.p99].map(time));
            let mut row = vec![name.clone(), count(m.reads), p50, p99, count(m.writes), count(m.stalls)];
            row.extend([
                bytes(m.media_bytes_read),
                bytes(m.media_bytes_written),
                ratio(m.effective_write_ratio),
            ]);
            row
        })
        .collect();
    let heads = [
        "device",
        "reads",
        "read p50",
        "read p99",
        "writes",
        "stalled",
        "media read",
        "media written",
        "write ratio",
    ];
    aligned("Memory devices", &heads, rows)
}

pub(super) fn replay(report: &RunReport) -> String {
    let r = &report.replay;
    if r.recorded == 0 && r.inferred == 0 && r.ignored == 0 {
        return String::new();
    }
    let mut text = format!(
        "Replay: {} recorded, {} reproduced ({}), {} diverged, {} inferred, {} ignored",
        count(r.recorded),
        count(r.reproduced),
        ratio(r.reproduced, r.recorded),
        count(r.diverged),
        count(r.inferred),
        count(r.ignored)
    );
    if r.other.recorded > 0 {
        let of = |a: &Agreement| format!("{} of {}", count(a.reproduced), count(a.recorded));
        text += &format!("\n  in DAX mappings {}, outside {} reproduced", of(&r.dax), of(&r.other));
    }
    for d in r.divergences.iter().take(EXAMPLES) {
        let place = match (d.line, d.time_ns) {
            (Some(line), _) => format!("{}:{line}", d.input),
            (None, Some(ns)) => format!("{} at {}", d.input, time(ns)),
            (None, None) => d.input.clone(),
        };
        text += &format!("\n  {place}: {}: recorded {}, simulated {}", d.address, d.recorded, d.simulated);
        if !d.why.is_empty() {
            text += &format!(" ({})", d.why);
        }
    }
    let more = r.diverged.saturating_sub(r.divergences.len().min(EXAMPLES) as u64);
    if more > 0 {
        text += &format!("\n  and {} more", count(more));
    }
    text
}

pub(super) fn warnings(report: &RunReport) -> String {
    let lines: Vec<_> = report
        .warnings
        .iter()
        .map(|w| {
            let detail = if w.detail.is_empty() { String::new() } else { format!(": {}", w.detail) };
            format!("WARNING: {} ({} x){detail}", w.what, count(w.count))
        })
        .collect();
    lines.join("\n")
}
