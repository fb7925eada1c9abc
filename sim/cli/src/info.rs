//! `daxsim info`: what an input is and what it holds.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use daxsim_reports::info::{AccessesInfo, ExtrasInfo, Info, RangeInfo, SCHEMA, ScriptInfo};
use daxsim_traces::access::{self, AccessBatch, AccessCounts, ExtraCounts, Fetches, Range, Touched};
use daxsim_traces::dxt::{self, Block, BlockReader};
use daxsim_traces::script::{Script, SectionKind};
use daxsim_traces::{InputKind, TraceError, drmemtrace};
use rayon::prelude::*;

use crate::import_args::InfoArgs;
use crate::{Status, inputs, output};

/// Ranges of touched pages that are shown.
const MOST_RANGES: usize = 64;
/// Memory of a replay beside that of pages: the machine and the queue of decoded accesses. Measured.
const REPLAY_BYTES: u64 = 16 << 20;
/// Memory of a replay for each page touched. Measured.
const REPLAY_BYTES_PAGE: u64 = 32;
/// Time of a replay for each access. Measured with a program's trace; where most accesses miss all caches it is twenty times that.
const REPLAY_NS_ACCESS: f64 = 30.0;

/// Runs `daxsim info`.
pub fn run(args: &InfoArgs) -> Result<Status> {
    let path = &args.input;
    let kind = inputs::kind(path)?;
    let mut bytes = 0;
    for file in drmemtrace::files(path)? {
        bytes +=
            std::fs::metadata(&file).with_context(|| format!("{}: cannot be read", file.display()))?.len();
    }
    let compression =
        if path.is_dir() { "folder".into() } else { daxsim_traces::open(path)?.compression().to_string() };
    let mut info = Info {
        schema: SCHEMA,
        input: path.display().to_string(),
        kind: kind.name().into(),
        what: kind.to_string(),
        bytes,
        compression,
        ..Info::default()
    };
    match kind {
        InputKind::Script => info.script = Some(script(path)?),
        InputKind::Dxt => info.accesses = Some(dxt(args, &mut info.damage)?),
        _ if kind.is_events() => info.events = Some(events::read(args, kind, &mut info.damage)?),
        _ => info.accesses = Some(accesses(path, &mut info.damage)?),
    }
    if let Some(accesses) = &mut info.accesses {
        accesses.bytes_per_access = bytes as f64 / accesses.records.max(1) as f64;
        accesses.replay_bytes = accesses.pages.saturating_mul(REPLAY_BYTES_PAGE).saturating_add(REPLAY_BYTES);
        accesses.replay_ns = accesses.records as f64 * REPLAY_NS_ACCESS;
    }
    output::print(&if args.json { info.to_json()? } else { info.summary() })?;
    Ok(if info.damage.is_empty() { Status::Done } else { Status::CheckFailed })
}

fn script(path: &Path) -> Result<ScriptInfo> {
    let script = Script::open(path)?;
    let mut operations = BTreeMap::new();
    for line in script.lines() {
        let name = line.text.split_whitespace().nth(1).unwrap_or_default();
        *operations.entry(name.to_owned()).or_default() += 1;
    }
    let racing = script.sections.iter().filter(|section| section.kind == SectionKind::Par).count();
    Ok(ScriptInfo {
        lines: script.line_count() as u64,
        threads: script.threads.len() as u64,
        racing_sections: racing as u64,
        operations,
    })
}

/// Reads on until `next` says that there is no more, or what there is is damaged, which is noted.
fn read_whole_part(
    damage: &mut Vec<String>,
    mut next: impl FnMut() -> Result<bool, TraceError>,
) -> Result<()> {
    loop {
        match next() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if error.is_damage() => {
                damage.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What accesses are, by reading all of them.
fn accesses(path: &Path, damage: &mut Vec<String>) -> Result<AccessesInfo> {
    let mut reader = access::open(path, Fetches::Count)?;
    let mut batch = AccessBatch::default();
    let mut seen = Seen::default();
    read_whole_part(damage, || {
        let more = reader.next_batch(&mut batch)?;
        if more {
            seen.add(&batch);
        }
        Ok(more)
    })?;
    let reading = reader.reading();
    damage.extend(reading.damage.iter().cloned());
    seen.counts.instructions += reading.trailing_instructions;
    let extras = extras(&reading.extras);
    Ok(AccessesInfo { other_lines: reading.other_lines, extras, ..seen.info() })
}

/// What accesses a `.dxt` has: as it says itself, or by reading all blocks.
fn dxt(args: &InfoArgs, damage: &mut Vec<String>) -> Result<AccessesInfo> {
    let file = dxt::File::open(&args.input)?;
    let place = |text: &dyn std::fmt::Display| format!("{}: {text}", args.input.display());
    damage.extend(file.damage().iter().map(|damage| place(damage)));
    let told = file.description().filter(|_| file.damaged() == 0);
    let mut info = match told {
        Some(told) => AccessesInfo {
            source: format!("{} {}", told.source, told.name),
            other_lines: told.other_lines,
            extras: extras(&told.extras),
            ..info_of(&told.counts, (told.pages, told.pages_at_least), &told.ranges)
        },
        None => AccessesInfo::default(),
    };
    if args.check || told.is_none() {
        let seen = read_all(args, &file, damage)?.info();
        if told.is_some() && damage.is_empty() && (seen.records, seen.pages) != (info.records, info.pages) {
            let says = format!("{} accesses of {} pages", info.records, info.pages);
            let has = format!("{} accesses of {} pages", seen.records, seen.pages);
            damage.push(place(&format!("found {has}: expected {says}, as it says itself")));
        }
        let instructions = info.instructions.max(seen.instructions);
        info = AccessesInfo {
            source: info.source,
            other_lines: info.other_lines,
            extras: info.extras,
            instructions,
            ..seen
        };
    }
    info.threads = file.threads().len() as u64;
    info.blocks = Some(file.blocks().len() as u64);
    Ok(info)
}

/// Reads all blocks, some at a time.
fn read_all(args: &InfoArgs, file: &dxt::File, damage: &mut Vec<String>) -> Result<Seen> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(args.threads)).build()?;
    let some = file.blocks().len().div_ceil(usize::from(args.threads)).max(1);
    let parts: Vec<Result<(Seen, Vec<String>), TraceError>> =
        pool.install(|| file.blocks().par_chunks(some).map(|blocks| read(file, blocks)).collect());
    let mut all = Seen::default();
    for part in parts {
        let (seen, found) = part?;
        all.merge(&seen);
        damage.extend(found);
    }
    Ok(all)
}

fn read(file: &dxt::File, blocks: &[Block]) -> Result<(Seen, Vec<String>), TraceError> {
    let mut reader = BlockReader::new(file)?;
    let (mut seen, mut damage) = (Seen::default(), Vec::new());
    let mut batch = AccessBatch::default();
    for block in blocks {
        match reader.read(file, block, &mut batch) {
            Ok(()) => seen.add(&batch),
            Err(error) if error.is_damage() => damage.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok((seen, damage))
}

/// What was read.
#[derive(Default)]
struct Seen {
    counts: AccessCounts,
    touched: Touched,
    threads: BTreeSet<u32>,
}

impl Seen {
    fn add(&mut self, batch: &AccessBatch) {
        self.counts.add(&batch.records);
        self.touched.add(&batch.records);
        self.threads.insert(batch.thread);
    }

    fn merge(&mut self, other: &Self) {
        self.counts.add_counts(&other.counts);
        self.touched.merge(&other.touched);
        self.threads.extend(&other.threads);
    }

    fn info(&self) -> AccessesInfo {
        let pages = (self.touched.pages(), self.touched.is_full());
        let threads = self.threads.len() as u64;
        AccessesInfo { threads, ..info_of(&self.counts, pages, &self.touched.ranges(MOST_RANGES)) }
    }
}

/// What is known beside accesses, if anything is.
fn extras(counts: &ExtraCounts) -> Option<ExtrasInfo> {
    (*counts != ExtraCounts::default()).then(|| ExtrasInfo {
        weighed: counts.weighed,
        mean_weight: counts.mean_weight(),
        physical: counts.physical,
        sided: counts.sided,
        kernel: counts.kernel,
    })
}

fn info_of(counts: &AccessCounts, (pages, at_least): (u64, bool), ranges: &[Range]) -> AccessesInfo {
    let hex = |address: u64| format!("{address:#x}");
    let range = |r: &Range| RangeInfo { start: hex(r.start), end: hex(r.end), pages: r.pages };
    AccessesInfo {
        records: counts.records(),
        loads: counts.loads,
        stores: counts.stores,
        modifies: counts.modifies,
        fetches: counts.fetches,
        dependent: counts.dependent,
        instructions: counts.instructions,
        pages,
        pages_at_least: at_least,
        ranges: ranges.iter().map(range).collect(),
        ..AccessesInfo::default()
    }
}
