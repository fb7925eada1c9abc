//! `daxsim replay` of a trace of accesses.

mod args;
mod kept;
pub mod map;
mod proc_maps;
mod queue;
mod sidecar;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use daxsim_reports::RunReport;
use daxsim_reports::model::{Input, Mode, Warning};
use daxsim_sim::program::trace::{self, Expander};
use daxsim_traces::access::{self, AccessCounts, AccessReader, Fetches};
use daxsim_traces::{InputKind, drmemtrace, dxt};
use queue::{Decoded, Decoder, Epochs, Job};
use sidecar::Maps;

pub use self::args::AccessArgs;
pub use self::kept::Kept;
use crate::args::ReplayArgs;
use crate::replay::{Choice, Reports, damage_warning};
use crate::{durability, inputs};

/// Accesses of all threads in an epoch, unless it is said otherwise.
const SLIP: u64 = 8192;

/// Runs the accesses of a trace.
pub fn predict(args: &ReplayArgs, input: &Path, kind: InputKind, choice: &Choice) -> Result<Reports> {
    let readers = readers(input, kind, args.setup.accesses.fetches())?;
    predict_from(args, input, readers, inputs::provenance(input, kind.name())?, choice)
}

/// Runs accesses that were read before.
pub fn predict_kept(
    args: &ReplayArgs,
    input: &Path,
    kept: &Kept,
    provenance: Input,
    choice: &Choice,
) -> Result<Reports> {
    predict_from(args, input, kept.readers(), provenance, choice)
}

/// The maps that a run of a trace has, as text: what its result depends on beside the trace.
pub fn maps_of(args: &ReplayArgs, input: &Path) -> Result<String> {
    Ok(format!("{:?}", sidecar::all(&args.setup.accesses, input, args.setup.fs)?.maps))
}

fn predict_from(
    args: &ReplayArgs,
    input: &Path,
    readers: Readers,
    mut provenance: Input,
    choice: &Choice,
) -> Result<Reports> {
    let asked = &args.setup.accesses;
    let name = || input.display().to_string();
    let mut sim = choice.simulation(false);
    choice.crash(&mut sim, args.crash_at);
    let found = sidecar::all(asked, input, args.setup.fs)?;
    let threads = readers.threads.len();
    let slip = NonZeroU64::new(asked.slip.unwrap_or(SLIP)).filter(|_| readers.ordered && threads > 1);
    let (mut decoders, mut epochs) = (Vec::new(), Epochs::default());
    for reader in readers.threads {
        let expander = Expander::new(&choice.machine);
        let job = Job { reader, expander, limit: asked.limit.unwrap_or(u64::MAX), slip };
        decoders.push(match readers.are_kept {
            // One of many runs, which have the threads of the host among them.
            true => Decoder::here(job, &mut epochs),
            false => Decoder::start(job, &mut epochs).context("cannot start a thread")?,
        });
    }
    let outcomes = trace::run(&mut sim, choice.fs, &found.maps, threads, epochs).with_context(name)?;
    let decoded: Option<Vec<Decoded>> = decoders.into_iter().map(Decoder::finish).collect();
    let Some(mut decoded) = decoded else { bail!("{}: the decoder broke off", input.display()) };
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
    let signals = outcomes.iter().map(|outcome| outcome.signals).sum();
    choice.reports(sim.finish(), |choice, results| {
        let mut report = choice.report(Mode::Predict, provenance.clone(), results)?;
        let clock = choice.machine.cpu.clock;
        durability::add(&mut report, results, clock, args.crash_at, &durability::Source::Trace);
        warn(&mut report, &decoded, &damage);
        let detail = "no program has memory at such addresses".into();
        add(&mut report, "accesses that got a signal", signals, detail);
        assume(&mut report, asked, &found, &counts);
        if let Some((mean, of)) = measured(&decoded) {
            report.assumptions.push(format!(
                "the recorder measured {of} accesses, of {mean:.1} cycles on average (their weights): simulated times do not come of that"
            ));
        }
        order(&mut report, threads, slip);
        Ok(report)
    })
}

/// The threads of a trace.
struct Readers {
    threads: Vec<Box<dyn AccessReader>>,
    /// The trace says in which order they made their accesses.
    ordered: bool,
    /// They only hand out what was decoded before.
    are_kept: bool,
}

fn readers(input: &Path, kind: InputKind, fetches: Fetches) -> Result<Readers> {
    if kind == InputKind::DrMemTrace {
        let threads = drmemtrace::threads(&drmemtrace::files(input)?, fetches)?;
        return Ok(Readers { ordered: threads.len() > 1, threads, are_kept: false });
    }
    if kind != InputKind::Dxt {
        return Ok(Readers { threads: vec![access::open(input, fetches)?], ordered: false, are_kept: false });
    }
    let file = Arc::new(dxt::File::open(input)?);
    let ordered = file.is_ordered();
    if file.blocks().is_empty() {
        // Its reader says what is wrong with it.
        return Ok(Readers {
            threads: vec![Box::new(dxt::Reader::of(file, None)?)],
            ordered,
            are_kept: false,
        });
    }
    let reader = |thread| -> Result<Box<dyn AccessReader>> {
        Ok(Box::new(dxt::Reader::of(Arc::clone(&file), Some(thread))?))
    };
    let threads = file.threads().into_iter().map(reader).collect::<Result<Vec<_>>>()?;
    Ok(Readers { threads, ordered, are_kept: false })
}

/// The mean weight of the accesses that the recorder measured, and how many those are.
fn measured(decoded: &[Decoded]) -> Option<(f64, u64)> {
    // Of threads of one file each tells of all.
    let extras = decoded.iter().map(|decoded| decoded.reading.extras).find(|extras| extras.weighed > 0)?;
    Some((extras.mean_weight()?, extras.weighed))
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

fn assume(report: &mut RunReport, asked: &AccessArgs, found: &Maps, counts: &AccessCounts) {
    let mut assume = |text: String| report.assumptions.push(text);
    let maps: Vec<String> = found.maps.iter().map(sidecar::show).collect();
    if maps.is_empty() {
        assume("no range is a DAX mapping (--map FILE@ADDRESS+LENGTH): all memory is anonymous".into());
    } else {
        assume(format!(
            "DAX mappings, shared, of files whose blocks are written: {}; all other memory is anonymous",
            maps.join(", ")
        ));
    }
    found.notes.iter().for_each(|note| assume(note.clone()));
    assume("anonymous memory has pages of 4 KiB: where the program's mappings began and ended is not in the trace".into());
    assume(format!(
        "{} instructions take the least that they can (cpu.instruction_interval), beside the slots of accesses; each line that \
         an access touches is an access, and a load with a store is two",
        counts.instructions
    ));
    if let Some(limit) = asked.limit {
        assume(format!("no more than the first {limit} accesses of each thread (--accesses)"));
    }
}

/// In which order threads run.
fn order(report: &mut RunReport, threads: usize, slip: Option<NonZeroU64>) {
    if threads < 2 {
        return;
    }
    report.assumptions.push(match slip {
        Some(slip) => format!(
            "{threads} threads, each on a CPU of its own, in the order of the trace to within {slip} accesses of all (--slip)"
        ),
        None => format!("{threads} threads run freely, each on a CPU of its own, in no order of the trace"),
    });
}
