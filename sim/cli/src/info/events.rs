//! What a trace of events holds: by reading all of it, or of a long one enough for an estimate.

use std::collections::BTreeSet;

use anyhow::Result;
use daxsim_reports::info::{EstimateInfo, EventsInfo};
use daxsim_traces::InputKind;
use daxsim_traces::ftrace::{self, EventReader, Portion, Record, Stats};

use super::{REPLAY_BYTES, read_whole_part};
use crate::import_args::InfoArgs;
use crate::inputs::Origin;

/// Bytes of events that are read to tell of a longer input. Reading them takes half a second at most.
const MOST: u64 = 24 << 20;
/// Memory of a replay for each event, of the faults that it keeps. Measured.
const REPLAY_BYTES_EVENT: u64 = 128;
/// The same of what a binary file says of its kernel, and of its decompressed begin. Measured.
const REPLAY_BYTES_BINARY: u64 = 48 << 20;
/// Time of a replay for each event. Measured with recorded runs on both kernels.
const REPLAY_NS_EVENT: f64 = 3500.0;

/// What was seen of the events that were read.
#[derive(Default)]
struct Seen {
    threads: BTreeSet<u32>,
    cpus: BTreeSet<u16>,
    span: Option<(u64, u64)>,
    origin: Origin,
}

impl Seen {
    fn add(&mut self, record: &Record) {
        self.threads.insert(record.pid);
        self.cpus.insert(record.cpu.0);
        let (first, last) = self.span.unwrap_or((record.time_ns, record.time_ns));
        self.span = Some((first.min(record.time_ns), last.max(record.time_ns)));
        self.origin.note(&record.event);
    }
}

/// Reads an input of events, or part of it.
pub fn read(args: &InfoArgs, kind: InputKind, damage: &mut Vec<String>) -> Result<EventsInfo> {
    let path = &args.input;
    let mut reader = if args.check { ftrace::open(path)? } else { ftrace::open_portion(path, MOST)? };
    let (mut record, mut seen) = (Record::default(), Seen::default());
    read_whole_part(damage, || {
        let more = reader.next_record(&mut record)?;
        if more {
            seen.add(&record);
        }
        Ok(more)
    })?;
    if let Some(cut) = &reader.stats().cut_last_line {
        damage.push(format!("{}:{}: the last line is cut: {}", path.display(), cut.line, cut.text));
    }
    seen.origin.note_release(reader.release())?;
    Ok(info(reader.as_ref(), kind, &seen))
}

fn info(reader: &dyn EventReader, kind: InputKind, seen: &Seen) -> EventsInfo {
    let (stats, portion) = (reader.stats(), reader.portion());
    let events = portion.map_or(stats.records, |portion| portion.events);
    // What a count of the part that was read is of all.
    let all = |n: u64| match portion {
        Some(_) => (n as f64 * events as f64 / stats.records.max(1) as f64).round() as u64,
        None => n,
    };
    let (first_ns, last_ns) = portion.and_then(|portion| portion.span).or(seen.span).unwrap_or_default();
    let binary = matches!(kind, InputKind::TraceDat | InputKind::PerfData);
    let base = REPLAY_BYTES + if binary { REPLAY_BYTES_BINARY } else { 0 };
    EventsInfo {
        lines: all(stats.lines),
        events,
        by_event: stats.by_event().into_iter().map(|(name, n)| (name.to_owned(), all(n))).collect(),
        // Idle tasks are of no program.
        threads: seen.threads.iter().filter(|pid| **pid != 0).count() as u64,
        cpus: seen.cpus.len() as u64,
        first_ns,
        last_ns,
        lost: lost(stats),
        unparsable: all(stats.unparsable),
        kernel: seen.origin.kernel.clone(),
        fs: seen.origin.fs.map(|fs| fs.name().to_owned()),
        replay_bytes: events.saturating_mul(REPLAY_BYTES_EVENT).saturating_add(base),
        replay_ns: events as f64 * REPLAY_NS_EVENT,
        estimate: portion.map(|portion| estimate(&portion)),
    }
}

/// Events lost in the trace, and before it begins.
fn lost(stats: &Stats) -> u64 {
    stats.lost_events + stats.header.map_or(0, |header| header.overwritten())
}

fn estimate(portion: &Portion) -> EstimateInfo {
    let exact_span = portion.has_ends || portion.span.is_some();
    EstimateInfo { read_bytes: portion.read, of_bytes: portion.of, exact_span }
}
