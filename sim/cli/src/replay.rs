//! `daxsim replay`: one input, one report.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_reports::model::{Agreement, Divergence, Input, Mode, Replay, Warning};
use daxsim_reports::{RunReport, json, write_atomically};
use daxsim_sim::alike::Other;
use daxsim_sim::engine::{Lookahead, useful_threads, with_threads_standing_by};
use daxsim_sim::program::replay::{Outcome, Replayer, Tally};
use daxsim_sim::program::script as driver;
use daxsim_sim::{Results, Simulation};
use daxsim_traces::InputKind;
use daxsim_traces::fault_table::{self, FaultRow};
use daxsim_traces::ftrace::{Record, Stats};
use daxsim_traces::script::Script;
use daxsim_types::{FileSystem, Time};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use crate::args::ReplayArgs;
use crate::assemble::{self, Setup};
use crate::config::{parse_overrides, with_semantics};
use crate::durability::{self, Source};
use crate::inputs::{self, Origin};
use crate::recording::Recording;
use crate::report as saved;
use crate::tables::{read_layouts, row};
use crate::timeline::{self, TimelineArgs};
use crate::{Status, accesses, output};

/// Runs `daxsim replay`.
pub fn run(args: &ReplayArgs) -> Result<Status> {
    if args.inputs.len() > 1 && args.timeline.watch().is_some() {
        bail!("--timeline and --folded are for one input");
    }
    let folders = out_folders(args)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads(args)).build()?;
    let jobs: Vec<(&PathBuf, &PathBuf)> = args.inputs.iter().zip(&folders).collect();
    let done: Vec<Result<String>> = pool.install(|| match jobs.as_slice() {
        [(input, folder)] => vec![with_threads_standing_by(|| one(args, input, folder))],
        jobs => jobs.par_iter().map(|(input, folder)| one(args, input, folder)).collect(),
    });
    let mut failures = 0;
    for (result, (input, _)) in done.into_iter().zip(&jobs) {
        match result {
            Ok(summary) if args.quiet => drop(summary),
            Ok(summary) => if args.json { output::print(&summary) } else { output::show(&summary) }?,
            Err(error) if args.inputs.len() > 1 => {
                output::note(&format!("daxsim: {}", about(input, &output::describe(&error))));
                failures += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if failures > 0 {
        bail!("{failures} of {} inputs could not be replayed", args.inputs.len());
    }
    Ok(Status::Done)
}

/// Threads of the host.
fn threads(args: &ReplayArgs) -> usize {
    let threads = usize::from(args.threads);
    if args.inputs.len() > 1 { threads } else { useful_threads(threads) }
}

/// A message that names its input, once.
fn about(input: &Path, message: &str) -> String {
    let name = input.display().to_string();
    if message.contains(&name) { message.to_owned() } else { format!("{name}: {message}") }
}

/// Where each input's results go; no two to one place.
fn out_folders(args: &ReplayArgs) -> Result<Vec<PathBuf>> {
    let names: Vec<String> = args.inputs.iter().map(|input| inputs::result_name(input)).collect();
    let folders: Vec<PathBuf> = match (&args.out, args.inputs.len()) {
        (Some(out), 1) => vec![out.clone()],
        (Some(out), _) => names.iter().map(|name| out.join(name)).collect(),
        (None, _) => names.iter().map(|name| Path::new("reports/out").join(name)).collect(),
    };
    let mut seen = BTreeMap::new();
    for (folder, input) in folders.iter().zip(&args.inputs) {
        if let Some(other) = seen.insert(folder, input) {
            let (a, b) = (input.display(), <PathBuf as AsRef<Path>>::as_ref(other).display());
            bail!("{a} and {b} would both write to {}: replay them one by one with --out", folder.display());
        }
    }
    Ok(folders)
}

/// Replays one input and writes its results; the summary for the terminal.
fn one(args: &ReplayArgs, input: &Path, folder: &Path) -> Result<String> {
    let (report, faults) = simulate(args, input)?;
    note_damage(&report);
    let report = saved::write(&report, folder)?;
    if let Some(table) = faults {
        write_atomically(&folder.join("faults.tsv"), &table)?;
    }
    Ok(if args.json { json::to_string(&report)? } else { saved::summary(&report, folder) })
}

/// Simulates one input: the report and, of a script, its fault table.
pub(crate) fn simulate(args: &ReplayArgs, input: &Path) -> Result<(RunReport, Option<Vec<u8>>)> {
    let kind = inputs::kind(input)?;
    let choice = Choice::new(args, inputs::origin(input, kind)?, inputs::origin_by_path(input))?;
    let (reports, table) = simulate_as(args, input, kind, choice)?;
    Ok((reports.own, table))
}

/// The same of a choice that was made.
pub(crate) fn simulate_as(
    args: &ReplayArgs,
    input: &Path,
    kind: InputKind,
    choice: Choice,
) -> Result<(Reports, Option<Vec<u8>>)> {
    if !kind.is_accesses() && !args.setup.accesses.is_default() {
        bail!(
            "{}: {kind}: --map, --maps, --dax, --fetches, --accesses and --slip are for traces of accesses",
            input.display()
        );
    }
    match kind {
        InputKind::Script => predict(args, input, choice),
        _ if kind.is_events() => Ok((replay(args, input, kind, choice)?, None)),
        _ => Ok((accesses::predict(args, input, kind, &choice)?, None)),
    }
}

/// Machine, kernel and file system of a run, with what was assumed about them.
pub(crate) struct Choice {
    pub machine: daxsim_configs::machine::MachineSpec,
    pub kernel: daxsim_configs::kernel::KernelSpec,
    pub fs: FileSystem,
    machine_overrides: Vec<String>,
    kernel_overrides: Vec<String>,
    assumptions: Vec<String>,
    /// Threads of the host for this one run.
    threads: usize,
    timeline: TimelineArgs,
    /// Others that one run may serve as well.
    followers: Vec<Self>,
}

/// Reports of a run.
pub(crate) struct Reports {
    /// Its own.
    pub own: RunReport,
    /// Those of the followers that it serves.
    pub followers: Vec<Option<RunReport>>,
}

impl Choice {
    /// Of arguments, and of what an input and its place tell.
    pub fn new(args: &ReplayArgs, by_content: Origin, by_path: Origin) -> Result<Self> {
        let overrides = with_semantics(&args.setup.overrides, args.semantics.as_deref());
        let (machine_set, kernel_set) = parse_overrides(&overrides)?;
        let mut assumptions = Vec::new();
        let recorded = by_content.kernel.or(by_path.kernel);
        let kernel = match (&args.setup.kernel, recorded) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => {
                assumptions.push(format!(
                    "kernel {name}: the one that recorded the input (--kernel chooses another)"
                ));
                name
            }
            (None, None) => {
                assumptions.push("kernel linux-7.2: the input does not say (--kernel)".into());
                "linux-7.2".into()
            }
        };
        let fs = match (args.setup.fs, by_content.fs.or(by_path.fs)) {
            (Some(fs), _) => fs,
            (None, Some(fs)) => {
                assumptions.push(format!("file system {fs}: the recorded one (--fs chooses another)"));
                fs
            }
            (None, None) => {
                assumptions.push("file system ext4: the input does not say (--fs)".into());
                FileSystem::Ext4
            }
        };
        let typed = |set: &[Override]| -> Vec<String> {
            let keys: Vec<&str> = set.iter().map(Override::key).collect();
            let is_one =
                |text: &&String| text.split_once('=').is_some_and(|(key, _)| keys.contains(&key.trim()));
            overrides.iter().filter(is_one).cloned().collect()
        };
        let machine = load_machine(&args.setup.machine, &machine_set)?;
        if !machine_set.is_empty() {
            assumptions.extend(followed_ways(
                &machine,
                &load_machine(&args.setup.machine, &[])?,
                &args.setup.overrides,
            ));
        }
        Ok(Self {
            machine,
            kernel: load_kernel(&kernel, &kernel_set)?,
            fs,
            machine_overrides: typed(&machine_set),
            kernel_overrides: typed(&kernel_set),
            assumptions,
            // Several inputs keep the threads busy by themselves.
            threads: if args.inputs.len() > 1 { 1 } else { threads(args) },
            timeline: args.timeline.clone(),
            followers: Vec::new(),
        })
    }

    pub fn simulation(&self, keep_faults: bool) -> Simulation {
        let other = |choice: &Self| Other { machine: choice.machine.clone(), kernel: choice.kernel.clone() };
        let others = self.followers.iter().map(other).collect();
        let (machine, kernel) = (self.machine.clone(), self.kernel.clone());
        let mut sim = Simulation::followed(machine, kernel, self.fs, keep_faults, others);
        sim.set_lookahead(Lookahead::in_threads(self.threads));
        if let Some(watch) = self.timeline.watch() {
            sim.watch(watch);
        }
        sim
    }

    /// Lets the power go in a cycle, if one was asked for.
    pub fn crash(&self, sim: &mut Simulation, cycle: Option<u64>) {
        if let Some(cycle) = cycle {
            sim.crash_at(Time(cycle.saturating_mul(self.machine.cpu.clock.period_ps())));
        }
    }

    /// Lets others follow the run, which have the same file system.
    pub fn followed_by(self, followers: Vec<Self>) -> Self {
        Self { followers, ..self }
    }

    /// The report of the run, made by `report`, and those of the followers that it serves.
    pub fn reports(
        &self,
        mut results: Results,
        report: impl Fn(&Self, &Results) -> Result<RunReport>,
    ) -> Result<Reports> {
        let own = report(self, &results)?;
        let mut followers = Vec::new();
        for (choice, found) in self.followers.iter().zip(std::mem::take(&mut results.followers)) {
            let Some(found) = found else {
                followers.push(None);
                continue;
            };
            results.become_those_of(found);
            followers.push(Some(report(choice, &results)?));
        }
        Ok(Reports { own, followers })
    }

    pub fn report(&self, mode: Mode, input: Input, results: &Results) -> Result<RunReport> {
        let setup = Setup {
            machine: &self.machine,
            machine_overrides: &self.machine_overrides,
            kernel: &self.kernel,
            kernel_overrides: &self.kernel_overrides,
            fs: self.fs,
            mode,
            input,
        };
        let mut report = assemble::report(&setup, results)?;
        if let Some(seen) = &results.seen {
            timeline::write(&self.timeline, &report, seen)?;
        }
        report.assumptions.extend(self.assumptions.iter().cloned());
        let program = match self.machine.cpu.window {
            0 | 1 => "a CPU makes one memory access at a time".to_owned(),
            window => format!(
                "accesses of the program overlap as far as the window of its core goes (cpu.window = {window}), the kernel waits \
                 for each of its own"
            ),
        };
        report.assumptions.push(format!(
            "{program}, but for the zeroing and copying of pages, whose lines overlap in the fill buffers (cpu.fill_buffers)"
        ));
        Ok(report)
    }
}

/// Says which ways of a TLB follow from an override of its entries alone.
fn followed_ways(machine: &MachineSpec, plain: &MachineSpec, overrides: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, array) in machine.tlb.arrays() {
        let given = overrides.iter().any(|text| text.trim_start().starts_with(&format!("tlb.{name}.ways")));
        let before = plain.tlb.arrays().find(|(known, _)| *known == name).map(|(_, array)| array.ways);
        if let Some(before) = before.filter(|before| *before != array.ways && !given) {
            let now = array.ways;
            notes.push(format!(
                "tlb.{name}.ways {now} instead of {before}: tlb.{name}.entries was set alone and the sets are kept"
            ));
        }
    }
    notes
}

/// Runs a script; the report and its fault table.
fn predict(args: &ReplayArgs, input: &Path, choice: Choice) -> Result<(Reports, Option<Vec<u8>>)> {
    let script = Script::open(input)?;
    predict_script(args, input, &script, inputs::provenance(input, "script")?, choice)
}

/// The same of a script that was read before.
pub(crate) fn predict_script(
    args: &ReplayArgs,
    input: &Path,
    script: &Script,
    mut provenance: Input,
    choice: Choice,
) -> Result<(Reports, Option<Vec<u8>>)> {
    let layouts = match &args.setup.layout {
        Some(path) => read_layouts(path)?,
        None => BTreeMap::new(),
    };
    let mut sim = choice.simulation(true);
    sim.set_seed(args.setup.seed);
    choice.crash(&mut sim, args.crash_at);
    let outcome =
        driver::run(&mut sim, script, choice.fs, &layouts).with_context(|| input.display().to_string())?;
    let results = sim.finish();
    provenance.lines = Some(script.line_count() as u64);
    let mut table = Vec::new();
    let rows: Vec<FaultRow> = results.measurements.fault_log.iter().map(row).collect();
    fault_table::write(&mut table, &rows).context("writing the fault table")?;
    let reports = choice.reports(results, |choice, results| {
        script_report(args, script, choice, results, &provenance, &outcome, layouts.len())
    })?;
    Ok((reports, Some(table)))
}

/// The report of a script that ran.
fn script_report(
    args: &ReplayArgs,
    script: &Script,
    choice: &Choice,
    results: &Results,
    provenance: &Input,
    outcome: &driver::ScriptOutcome,
    layouts: usize,
) -> Result<RunReport> {
    let mut report = choice.report(Mode::Predict, provenance.clone(), results)?;
    report.seed = args.setup.seed;
    durability::add(&mut report, results, choice.machine.cpu.clock, args.crash_at, &Source::Script(script));
    report.assumptions.push("making the files (file lines) is set-up and takes no simulated time".into());
    if outcome.laid_out < layouts as u32 {
        report.warnings.push(Warning {
            what: "files of the layout that the script does not make".into(),
            count: layouts as u64 - u64::from(outcome.laid_out),
            detail: "their extents were not used; names are compared without their folders".into(),
        });
    }
    let source_line =
        |index: u64| u32::try_from(index).ok().and_then(|i| script.line(i)).map(|l| l.source_line);
    let failed: Vec<String> = outcome
        .lines
        .iter()
        .filter_map(|(index, o)| Some(format!("line {}: {}", source_line(*index)?, o.error?)))
        .collect();
    if let Some(first) = failed.first() {
        report.warnings.push(Warning {
            what: "system calls that failed".into(),
            count: failed.len() as u64,
            detail: first.clone(),
        });
    }
    if results.measurements.faults_not_kept > 0 {
        report.warnings.push(Warning {
            what: "faults missing from faults.tsv".into(),
            count: results.measurements.faults_not_kept,
            detail: "they are counted and costed all the same; the table holds the first ones".into(),
        });
    }
    Ok(report)
}

/// Replays a trace.
fn replay(args: &ReplayArgs, input: &Path, kind: InputKind, choice: Choice) -> Result<Reports> {
    replay_recording(args, input, Recording::open(input)?, inputs::provenance(input, kind.name())?, choice)
}

/// Replays records.
pub(crate) fn replay_recording(
    args: &ReplayArgs,
    input: &Path,
    mut recording: Recording<'_>,
    mut provenance: Input,
    choice: Choice,
) -> Result<Reports> {
    let mut sim = choice.simulation(true);
    choice.crash(&mut sim, args.crash_at);
    let mut replayer = Replayer::new(choice.fs, choice.machine.cpu.count);
    let bar = if matches!(recording, Recording::Read(..)) { progress() } else { ProgressBar::hidden() };
    let mut damage = None;
    let mut backwards = Backwards::default();
    loop {
        match recording.next_record()? {
            Ok(record) => {
                backwards.see(record);
                replayer.push(&mut sim, record).with_context(|| input.display().to_string())?;
            }
            Err(damaged) => {
                damage = damaged;
                break;
            }
        }
        if sim.crash().is_some() {
            break;
        }
        if recording.stats().records.is_multiple_of(65_536) {
            bar.set_position(recording.stats().records);
        }
    }
    let outcome = replayer.finish(&mut sim).with_context(|| input.display().to_string())?;
    bar.finish_and_clear();
    let stats = recording.stats();
    if outcome.dax.recorded == 0 && sim.crash().is_none() {
        let hint = if choice.fs == FileSystem::Devdax {
            "faults of device-dax raise no fs_dax events and cannot be replayed from a trace; run the workload script"
        } else {
            "were fs_dax:* and exceptions:page_fault_* recorded?"
        };
        let why = damage.unwrap_or_else(|| hint.into());
        let lines = if stats.lines > 0 { format!(" of {} lines", stats.lines) } else { String::new() };
        bail!("{}: no DAX fault in {} records{lines}: {why}", input.display(), stats.records);
    }
    (provenance.lines, provenance.events) =
        (Some(stats.lines).filter(|&lines| lines > 0), Some(stats.records));
    let results = sim.finish();
    choice.reports(results, |choice, results| {
        let mut report = choice.report(Mode::Replay, provenance.clone(), results)?;
        durability::add(&mut report, results, choice.machine.cpu.clock, args.crash_at, &Source::Trace);
        report.warnings.extend(reading_warnings(stats, damage.clone()));
        report.warnings.extend(backwards.warning());
        add_outcome(&mut report, input, &outcome);
        report.assumptions.push(
            "steps run one after another in recorded order, as fast as the machine can; hits between faults are not in a trace"
                .into(),
        );
        Ok(report)
    })
}

/// Events that are earlier than one before them.
#[derive(Default)]
struct Backwards {
    latest: u64,
    count: u64,
    /// The most by which one is too late.
    most: u64,
}

impl Backwards {
    fn see(&mut self, record: &Record) {
        let late = self.latest.saturating_sub(record.time_ns);
        self.count += u64::from(late > 0);
        self.most = self.most.max(late);
        self.latest = self.latest.max(record.time_ns);
    }

    fn warning(&self) -> Option<Warning> {
        (self.count > 0).then(|| Warning {
            what: "events out of order".into(),
            count: self.count,
            detail: format!(
                "up to {} ns earlier than one before; replayed in the order of the file",
                self.most
            ),
        })
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} records, {per_sec}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What a report's warning of a damaged input is called.
const DAMAGED: &str = "the input is damaged";

/// The warning that the input is damaged, if it is.
pub(crate) fn damage(report: &RunReport) -> Option<&Warning> {
    report.warnings.iter().find(|warning| warning.what == DAMAGED)
}

/// Says at once, on standard error, that the input is damaged.
pub(crate) fn note_damage(report: &RunReport) {
    if let Some(warning) = damage(report) {
        output::note(&format!("daxsim: warning: {}", warning.detail));
    }
}

/// That warning.
pub(crate) fn damage_warning(count: u64, detail: String) -> Warning {
    Warning { what: DAMAGED.into(), count, detail }
}

/// What the reader could not use.
fn reading_warnings(stats: &Stats, damage: Option<String>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(damage) = damage {
        let detail = format!("{damage}; the {} records before it were replayed", stats.records);
        warnings.push(damage_warning(1, detail));
    }
    let mut warn = |what: &str, count: u64, detail: String| {
        if count > 0 {
            warnings.push(Warning { what: what.into(), count, detail });
        }
    };
    if let Some(header) = &stats.header {
        let detail = "the ring buffer was overwritten: enlarge buffer_size_kb".into();
        warn("events lost before the trace's begin", header.overwritten(), detail);
    }
    warn("events lost in the trace", stats.lost_events, format!("{} LOST EVENTS lines", stats.lost_lines));
    let first = |examples: &[daxsim_traces::ftrace::Example]| {
        examples.first().map(|e| format!("first: line {}: {}", e.line, e.text)).unwrap_or_default()
    };
    warn("lines that are no events", stats.unparsable, first(&stats.unparsable_examples));
    warn("events of unknown kinds", stats.unknown, first(&stats.unknown_examples));
    if let Some(cut) = &stats.cut_last_line {
        warn("last line cut off", 1, format!("line {}: {}", cut.line, cut.text));
    }
    warnings
}

fn agreement(tally: Tally) -> Agreement {
    Agreement { recorded: tally.recorded, reproduced: tally.reproduced, diverged: tally.diverged }
}

fn add_outcome(report: &mut RunReport, input: &Path, outcome: &Outcome) {
    let name = input.display().to_string();
    let all = outcome.all();
    report.replay = Replay {
        recorded: all.recorded,
        reproduced: all.reproduced,
        diverged: all.diverged,
        dax: agreement(outcome.dax),
        other: agreement(outcome.other),
        causes: outcome.causes.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        inferred: outcome.inferred.values().sum(),
        ignored: outcome.ignored.values().sum(),
        divergences: outcome
            .divergences
            .iter()
            .map(|d| Divergence {
                input: name.clone(),
                line: Some(d.line),
                time_ns: Some(d.time_ns as f64),
                address: d.address.to_string(),
                recorded: d.recorded.clone(),
                simulated: d.simulated.clone(),
                why: d.why.into(),
            })
            .collect(),
    };
    for (what, count) in &outcome.ignored {
        report.warnings.push(Warning {
            what: what.clone(),
            count: *count,
            detail: "left out of the replay".into(),
        });
    }
    for (why, count) in &outcome.causes {
        report.warnings.push(Warning {
            what: format!("faults not reproduced: {why}"),
            count: *count,
            detail: "listed under replay agreement".into(),
        });
    }
    for (what, count) in &outcome.inferred {
        report.assumptions.push(format!("inferred {count}: {what}"));
    }
}
