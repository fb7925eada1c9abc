//! `daxsim replay` of a trace of accesses.

mod kept;
pub mod map;
mod queue;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use daxsim_reports::RunReport;
use daxsim_reports::model::{Input, Mode, Warning};
use daxsim_sim::Simulation;
use daxsim_sim::program::{Source, StepOutcome, trace};
use daxsim_traces::access::{self, AccessCounts, AccessReader, Fetches};
use daxsim_traces::{InputKind, dxt};
use queue::{Decoded, Decoder};

pub use kept::Kept;

use crate::args::{AccessArgs, ReplayArgs};
use crate::replay::{Choice, damage_warning};
use crate::{durability, inputs};

impl AccessArgs {
    /// What becomes of instruction fetches.
    pub fn fetches(&self) -> Fetches {
        if self.fetches { Fetches::Keep } else { Fetches::Count }
    }

    /// Whether anything was asked that only a trace of accesses has.
    pub fn is_default(&self) -> bool {
        self.maps.is_empty() && !self.fetches && self.limit.is_none()
    }
}

/// Runs the accesses of a trace.
pub fn predict(args: &ReplayArgs, input: &Path, kind: InputKind, choice: &Choice) -> Result<RunReport> {
    let asked = &args.setup.accesses;
    let name = || input.display().to_string();
    let mut sim = choice.simulation(false);
    choice.crash(&mut sim, args.crash_at);
    let (mut decoders, mut sources): (Vec<Decoder>, Vec<Box<dyn Source>>) = (Vec::new(), Vec::new());
    for reader in readers(input, kind, asked.fetches())? {
        let (decoder, source) =
            Decoder::start(reader, asked.limit.unwrap_or(u64::MAX)).context("cannot start a thread")?;
        decoders.push(decoder);
        sources.push(source);
    }
    let outcomes = trace::run(&mut sim, choice.fs, &asked.maps, sources).with_context(name)?;
    let decoded: Option<Vec<Decoded>> = decoders.into_iter().map(Decoder::finish).collect();
    let Some(decoded) = decoded else { bail!("{}: the decoder broke off", input.display()) };
    report(args, input, choice, sim, &outcomes, decoded, inputs::provenance(input, kind.name())?)
}

/// Runs accesses that were read before.
pub fn predict_kept(
    args: &ReplayArgs,
    input: &Path,
    kept: &Kept,
    provenance: Input,
    choice: &Choice,
) -> Result<RunReport> {
    let asked = &args.setup.accesses;
    let mut sim = choice.simulation(false);
    choice.crash(&mut sim, args.crash_at);
    let (sources, decoded) = kept.sources(asked.limit.unwrap_or(u64::MAX));
    let outcomes =
        trace::run(&mut sim, choice.fs, &asked.maps, sources).with_context(|| input.display().to_string())?;
    report(args, input, choice, sim, &outcomes, decoded, provenance)
}

/// The report of a run.
fn report(
    args: &ReplayArgs,
    input: &Path,
    choice: &Choice,
    sim: Simulation,
    outcomes: &[StepOutcome],
    mut decoded: Vec<Decoded>,
    mut provenance: Input,
) -> Result<RunReport> {
    let asked = &args.setup.accesses;
    let threads = decoded.len();
    let crashed = sim.crash().is_some();
    if crashed {
        // How far it got ahead of the simulation is nobody's business.
        decoded.clear();
    }
    let mut damage = Vec::new();
    for decoded in &mut decoded {
        match decoded.error.take() {
            Some(error) if error.is_damage() => damage.push(error.to_string()),
            Some(error) => return Err(error.into()),
            None => {}
        }
        // What concerns the whole file, every thread's reader says.
        for text in decoded.reading.damage.drain(..) {
            if !damage.contains(&text) {
                damage.push(text);
            }
        }
    }
    let mut counts = AccessCounts::default();
    decoded.iter().for_each(|decoded| counts.add_counts(&decoded.counts));
    if counts.records() == 0 && !crashed {
        let why = damage.first().map_or("the recorder wrote none", String::as_str);
        bail!("{}: no access in it: {why}", input.display());
    }
    provenance.events = (!crashed).then(|| counts.records());
    let results = sim.finish();
    let mut report = choice.report(Mode::Predict, provenance, &results)?;
    durability::add(
        &mut report,
        &results,
        choice.machine.cpu.clock,
        args.crash_at,
        &durability::Source::Trace,
    );
    warn(&mut report, &decoded, &damage);
    let signals = outcomes.iter().map(|outcome| outcome.signals).sum();
    add(&mut report, "accesses that got a signal", signals, "no program has memory at such addresses".into());
    assume(&mut report, asked, &counts, threads);
    Ok(report)
}

/// A reader for each thread of a trace.
fn readers(input: &Path, kind: InputKind, fetches: Fetches) -> Result<Vec<Box<dyn AccessReader>>> {
    if kind != InputKind::Dxt {
        return Ok(vec![access::open(input, fetches)?]);
    }
    let file = Arc::new(dxt::File::open(input)?);
    if file.blocks().is_empty() {
        // Its reader says what is wrong with it.
        return Ok(vec![Box::new(dxt::Reader::of(file, None)?)]);
    }
    let reader = |thread| -> Result<Box<dyn AccessReader>> {
        Ok(Box::new(dxt::Reader::of(Arc::clone(&file), Some(thread))?))
    };
    file.threads().into_iter().map(reader).collect()
}

fn add(report: &mut RunReport, what: &str, count: u64, detail: String) {
    if count > 0 {
        report.warnings.push(Warning { what: what.into(), count, detail });
    }
}

/// What the readers could not use.
fn warn(report: &mut RunReport, decoded: &[Decoded], damage: &[String]) {
    if !damage.is_empty() {
        report.warnings.push(damage_warning(damage.len() as u64, damage.join("; ")));
    }
    for reading in decoded.iter().map(|decoded| &decoded.reading) {
        let first = reading.first_other.as_ref();
        let first = first.map(|(line, text)| format!("first: line {line}: {text}")).unwrap_or_default();
        add(report, "lines that are no accesses", reading.other_lines, first);
    }
}

fn assume(report: &mut RunReport, asked: &AccessArgs, counts: &AccessCounts, threads: usize) {
    let mut assume = |text: String| report.assumptions.push(text);
    let maps: Vec<String> =
        asked.maps.iter().map(|map| format!("{}@{:#x}+{:#x}", map.file, map.start, map.len)).collect();
    if maps.is_empty() {
        assume("no range is a DAX mapping (--map FILE@ADDRESS+LENGTH): all memory is anonymous".into());
    } else {
        assume(format!(
            "DAX mappings, shared, of files whose blocks are written: {}; all other memory is anonymous",
            maps.join(", ")
        ));
    }
    assume("anonymous memory has pages of 4 KiB: where the program's mappings began and ended is not in the trace".into());
    assume(format!(
        "{} instructions between the accesses take no time; each line that an access touches is an access, and a load with a \
         store is two",
        counts.instructions
    ));
    if let Some(limit) = asked.limit {
        assume(format!("no more than the first {limit} accesses of each thread (--accesses)"));
    }
    if threads > 1 {
        assume(format!(
            "{threads} threads run freely, each on a CPU of its own: the trace does not order them"
        ));
    }
}
