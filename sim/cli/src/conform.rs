//! `daxsim conform`: prediction against recording, scenario by scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::measure::FaultRecord;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::script::{self as driver, ScriptOutcome};
use daxsim_traces::fault_table::{self, FaultRow};
use daxsim_traces::ops_table::{self, OpRow};
use daxsim_traces::script::{Op, Script, SectionKind};
use daxsim_types::FileSystem;

use crate::args::ConformArgs;
use crate::config::{parse_overrides, with_semantics};
use crate::{Status, output};

/// Runs `daxsim conform`.
pub fn run(args: &ConformArgs) -> Result<Status> {
    let (machine_set, kernel_set) =
        parse_overrides(&with_semantics(&args.overrides, args.semantics.as_deref()))?;
    let machine = load_machine(&args.machine, &machine_set)?;
    let chosen = args.kernel.as_deref().map(|name| load_kernel(name, &kernel_set)).transpose()?;
    let mut total = Total::default();
    for dir in &args.dirs {
        match one(dir, &machine, chosen.as_ref(), &kernel_set, args.seeds) {
            Ok((scenario, verdict)) => {
                output::print(&line(&scenario, &verdict))?;
                total.add(&verdict);
            }
            Err(error) if args.dirs.len() > 1 => {
                output::note(&format!("daxsim: not compared: {}", output::describe(&error)));
                total.not_compared += 1;
            }
            Err(error) => return Err(error),
        }
    }
    output::print(&total.text())?;
    if total.not_compared > 0 {
        bail!("{} of {} scenarios could not be compared", total.not_compared, args.dirs.len());
    }
    Ok(if total.differing == 0 { Status::Done } else { Status::CheckFailed })
}

/// Compares the scenario in one folder, under the kernel that was chosen, or else under the one that recorded it.
fn one(
    dir: &Path,
    machine: &MachineSpec,
    chosen: Option<&KernelSpec>,
    kernel_set: &[Override],
    seeds: u32,
) -> Result<(Scenario, Verdict)> {
    let scenario = Scenario::find(dir)?;
    let verdict = match chosen {
        Some(kernel) => scenario.check(machine, kernel, seeds)?,
        None => {
            let kernel =
                load_kernel(&scenario.kernel, kernel_set).with_context(|| dir.display().to_string())?;
            scenario.check(machine, &kernel, seeds)?
        }
    };
    Ok((scenario, verdict))
}

/// Sums over scenarios.
#[derive(Default)]
struct Total {
    scenarios: usize,
    not_compared: usize,
    differing: usize,
    recorded: usize,
    level1: usize,
    level2: usize,
    level3: usize,
    lines: usize,
    lines_with_background: usize,
    lines_recorded: usize,
    racing: usize,
}

impl Total {
    fn add(&mut self, verdict: &Verdict) {
        self.scenarios += 1;
        self.differing += usize::from(verdict.first_difference.is_some());
        if verdict.racing.is_some() {
            self.racing += 1;
            return;
        }
        self.recorded += verdict.recorded;
        self.level1 += verdict.level1;
        self.level2 += verdict.level2;
        self.level3 += verdict.level3;
        self.lines += verdict.lines;
        self.lines_with_background += verdict.lines_with_background;
        self.lines_recorded += verdict.lines_recorded;
    }

    fn text(&self) -> String {
        let what = if self.scenarios == 1 { "scenario" } else { "scenarios" };
        let not_compared = match self.not_compared {
            0 => String::new(),
            n => format!(", {n} not compared"),
        };
        format!(
            "{} {what} ({} racing), {} differ{not_compared}; {} faults recorded, {} equal at level 1, {} at level 2, {} at level 3; \
             flushes of {} of {} script lines equal, {} of them but for other tasks on the recorded machine\n",
            self.scenarios,
            self.racing,
            self.differing,
            self.recorded,
            self.level1,
            self.level2,
            self.level3,
            self.lines,
            self.lines_recorded,
            self.lines_with_background
        )
    }
}

fn line(scenario: &Scenario, verdict: &Verdict) -> String {
    let name = format!("{}/{}/{}", scenario.kernel, scenario.fs, scenario.name);
    let mark = if verdict.first_difference.is_some() { "DIFFERS" } else { "equal" };
    let mut text = match &verdict.racing {
        None => format!(
            "{name:<46} {mark:<8} {:>6} faults recorded {:>6} predicted; level 1 {:>6}, 2 {:>6}, 3 {:>6}; lines {:>4} of {}\n",
            verdict.recorded,
            verdict.predicted,
            verdict.level1,
            verdict.level2,
            verdict.level3,
            verdict.lines,
            verdict.lines_recorded
        ),
        Some(ranges) => {
            let spans: Vec<String> =
                ranges.iter().map(|(code, (a, b))| format!("{code:#x}: {a} to {b}")).collect();
            format!(
                "{name:<46} {mark:<8} {:>6} faults recorded, racing; predicted {}\n",
                verdict.recorded,
                spans.join(", ")
            )
        }
    };
    if let Some(difference) = &verdict.first_difference {
        text.push_str(&format!("  first difference, {difference}\n"));
    }
    text
}

/// One recorded scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its folder.
    pub dir: PathBuf,
    /// Name of the folder.
    pub name: String,
    /// Kernel config that matches the recording.
    pub kernel: String,
    /// File system.
    pub fs: FileSystem,
}

/// How a scenario came out.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Faults recorded.
    pub recorded: usize,
    /// Faults predicted.
    pub predicted: usize,
    /// Faults equal in thread, line, address, error code and return value, in order.
    pub level1: usize,
    /// Of those, equal in old and new entry too, where the recording shows them.
    pub level2: usize,
    /// Of those, equal in the steps of the path too.
    pub level3: usize,
    /// Script lines whose flushes by reason and shootdown interrupts are as recorded.
    pub lines: usize,
    /// Of those, lines in which other tasks of the recorded machine show: fewer targets, or an interrupted zap.
    pub lines_with_background: usize,
    /// Script lines compared.
    pub lines_recorded: usize,
    /// The first difference, both sides.
    pub first_difference: Option<String>,
    /// For a racing scenario, the least and most faults of each error code that were predicted.
    pub racing: Option<BTreeMap<u32, (usize, usize)>>,
}

impl Scenario {
    /// The scenario in `dir`, which is laid out as `kernel-<version>/<fs>/<scenario>`.
    pub fn find(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("{}: cannot be opened", dir.display()))?;
        let part = |n: usize| {
            let name = dir.ancestors().nth(n).and_then(Path::file_name);
            name.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let fs = part(1).parse().with_context(|| layout_hint(&dir))?;
        let Some(version) = part(2).strip_prefix("kernel-").map(str::to_owned) else {
            bail!(layout_hint(&dir))
        };
        Ok(Self { name: part(0), kernel: format!("linux-{version}"), fs, dir })
    }

    /// The scenario's fault table, plain or compressed.
    pub fn recorded(&self) -> Result<Vec<FaultRow>> {
        for name in ["faults.tsv", "faults.tsv.xz", "faults.tsv.zst"] {
            let path = self.dir.join(name);
            if path.exists() {
                return Ok(fault_table::open(path)?);
            }
        }
        bail!("{}: has no faults.tsv, faults.tsv.xz or faults.tsv.zst", self.dir.display())
    }

    /// The scenario's table of script lines, if it has one.
    pub fn recorded_lines(&self) -> Result<Vec<OpRow>> {
        for name in ["ops.tsv", "ops.tsv.xz", "ops.tsv.zst"] {
            let path = self.dir.join(name);
            if path.exists() {
                return Ok(ops_table::open(path)?);
            }
        }
        Ok(Vec::new())
    }

    /// Predicts the scenario's faults, and the outcome of each line, from its script.
    pub fn predict(
        &self,
        script: &Script,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        seed: u64,
    ) -> Result<(Vec<FaultRecord>, ScriptOutcome)> {
        let mut sim = Simulation::new(machine.clone(), kernel.clone(), self.fs, true);
        sim.set_seed(seed);
        let outcome = driver::run(&mut sim, script, self.fs, &BTreeMap::new())
            .with_context(|| self.dir.join("script.txt").display().to_string())?;
        Ok((sim.finish().measurements.fault_log, outcome))
    }

    /// Predicts and compares.
    pub fn check(&self, machine: &MachineSpec, kernel: &KernelSpec, seeds: u32) -> Result<Verdict> {
        let path = self.dir.join("script.txt");
        if !path.exists() {
            bail!(
                "{}: has no script.txt: only recordings of workload scripts can be compared (`daxsim replay` takes their traces)",
                self.dir.display()
            );
        }
        let script = Script::open(path)?;
        let recorded = self.recorded()?;
        let deterministic = script.sections.iter().all(|s| s.kind == SectionKind::Seq);
        if !deterministic {
            return self.race(&script, &recorded, machine, kernel, seeds);
        }
        let (predicted, outcome) = self.predict(&script, machine, kernel, 0)?;
        let mut verdict = compare(&recorded, &predicted);
        compare_lines(&self.recorded_lines()?, &script, &outcome, &mut verdict);
        Ok(verdict)
    }

    /// A racing scenario: the recording is one interleaving of many. Its counts of faults by error code must lie in the
    /// range that the simulation's interleavings span.
    fn race(
        &self,
        script: &Script,
        recorded: &[FaultRow],
        machine: &MachineSpec,
        kernel: &KernelSpec,
        seeds: u32,
    ) -> Result<Verdict> {
        let mut ranges: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        let mut predicted = 0;
        for seed in 0..seeds {
            let (faults, _) = self.predict(script, machine, kernel, u64::from(seed))?;
            predicted = faults.len();
            let counts = count_by(faults.iter().map(|f| f.error_code.0));
            if seed == 0 {
                ranges = counts.iter().map(|(code, n)| (*code, (*n, *n))).collect();
            }
            for code in counts.keys().chain(ranges.clone().keys()) {
                let n = counts.get(code).copied().unwrap_or(0);
                let range = ranges.entry(*code).or_insert((0, 0));
                *range = (range.0.min(n), range.1.max(n));
            }
        }
        let counts = count_by(recorded.iter().filter_map(|row| row.error_code).map(|e| e.0));
        let mut verdict = Verdict {
            recorded: recorded.len(),
            predicted,
            racing: Some(ranges.clone()),
            ..Verdict::default()
        };
        for code in counts.keys().chain(ranges.keys()) {
            let n = counts.get(code).copied().unwrap_or(0);
            let (least, most) = ranges.get(code).copied().unwrap_or((0, 0));
            if !(least..=most).contains(&n) && verdict.first_difference.is_none() {
                verdict.first_difference = Some(format!(
                    "faults of error code {code:#x}:\n    recorded   {n}\n    predicted  {least} to {most} over {seeds} interleavings"
                ));
            }
        }
        Ok(verdict)
    }
}

fn layout_hint(dir: &Path) -> String {
    format!(
        "{}: expected a folder laid out as kernel-<version>/<ext4|xfs|devdax>/<scenario> with script.txt and faults.tsv",
        dir.display()
    )
}

fn count_by(codes: impl Iterator<Item = u32>) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_default() += 1;
    }
    counts
}

/// Compares fault by fault, in order.
pub fn compare(recorded: &[FaultRow], predicted: &[FaultRecord]) -> Verdict {
    let mut verdict = Verdict { recorded: recorded.len(), predicted: predicted.len(), ..Verdict::default() };
    for index in 0..recorded.len().max(predicted.len()) {
        let (want, got) = (recorded.get(index), predicted.get(index));
        let same = match (want, got) {
            (Some(want), Some(got)) => {
                let one = same_fault(want, got);
                let two = one && same_entries(want, got);
                let three = two && same_path(want, got);
                verdict.level1 += usize::from(one);
                verdict.level2 += usize::from(two);
                verdict.level3 += usize::from(three);
                three
            }
            _ => false,
        };
        if !same && verdict.first_difference.is_none() {
            verdict.first_difference = Some(format!(
                "fault {}:\n    recorded   {}\n    predicted  {}",
                index + 1,
                want.map_or_else(|| "(none)".to_owned(), show_row),
                got.map_or_else(|| "(none)".to_owned(), show_record),
            ));
        }
    }
    verdict
}

/// Flushes by reason and shootdown interrupts of each script line.
///
/// What the initiator does must be equal: its flushes (reason 3) and its sends (reason 4). What the targets do may be less
/// than predicted, and is counted apart: a CPU that a kernel thread had for a moment is lazy and left out, or says so with
/// reason 5, and a CPU whose call queue was not empty needs no interrupt. A zap that has to give way to another task in the
/// midst of a table flushes once more where dirty pages force a flush: one such flush more is background too. Lines that make, end or await a process are left
/// out: most of their flushes are of the program's own memory.
fn compare_lines(recorded: &[OpRow], script: &Script, outcome: &ScriptOutcome, verdict: &mut Verdict) {
    for row in recorded {
        let op = script.line(row.op).map(|l| &l.op);
        if matches!(op, Some(Op::Fork { .. } | Op::Wait { .. } | Op::Exit)) {
            continue;
        }
        let zaps = matches!(
            op,
            Some(Op::Unmap { .. } | Op::Advise { .. } | Op::Truncate { .. } | Op::Fallocate { .. })
        );
        let got = outcome.lines.get(&u64::from(row.op)).copied().unwrap_or_default();
        let want = [
            row.count("tlb1") + row.count("tlb5"),
            row.count("tlb3"),
            row.count("tlb4"),
            row.count("ipi_tx"),
        ];
        let have = [got.flushes[1], got.flushes[3], got.flushes[4], got.broadcasts];
        verdict.lines_recorded += 1;
        let fewer = want[0] <= have[0] && want[3] <= have[3] && want[1..3] == have[1..3];
        let interrupted = zaps && want[1] == have[1] + 1 && want[2] <= have[2] + 1;
        if fewer || interrupted {
            verdict.lines += 1;
            verdict.lines_with_background += usize::from(want != have);
        } else if verdict.first_difference.is_none() {
            let show = |c: [u64; 4]| format!("tlb1+5 {} tlb3 {} tlb4 {} ipi_tx {}", c[0], c[1], c[2], c[3]);
            verdict.first_difference = Some(format!(
                "flushes of line {}:\n    recorded   {}\n    predicted  {}",
                row.op,
                show(want),
                show(have)
            ));
        }
    }
}

/// Thread, script line, address, error code and return value.
fn same_fault(want: &FaultRow, got: &FaultRecord) -> bool {
    want.op.map(u64::from) == Some(got.line)
        && want.thread == Some(got.thread)
        && want.addr == Some(got.address)
        && want.error_code == Some(got.error_code)
        && want.ret == got.ret
}

/// Old and new entry, frame number aside, where the recording shows them.
fn same_entries(want: &FaultRow, got: &FaultRecord) -> bool {
    let same = |want: Option<u64>, got: Option<Entry>| match want {
        None => true,
        Some(want) => got.is_some_and(|got| got.without_frame() == Entry(want).without_frame()),
    };
    same(want.old_pte, got.old) && same(want.new_pte, got.new)
}

/// Whether a token of a path is one that prediction and recording share. Left out are probes on functions that the
/// model does not have (zap and unmap internals, writeback inside a synchronous fault, folio freeing), iomap's flags, and
/// flushes by task switches, which the scheduler throws in.
fn is_compared(token: &str) -> bool {
    const COMPARED: [&str; 17] = [
        "dax_pmd_fault",
        "dax_pte_fault",
        "dax_load_hole",
        "dax_pmd_load_hole",
        "insert_pfn",
        "insert_page_into_pte_locked",
        "vmf_insert_",
        "ptep_set_access_flags",
        "pmdp_set_access_flags",
        "do_wp_page",
        "ptep_clear_flush",
        "dax_finish_sync_fault",
        "dax_insert_pfn_mkwrite",
        "handle_mm_fault",
        "finish_fault",
        "dev_dax_huge_fault",
        "__split_huge_pmd",
    ];
    let flush = ["tlb1:", "tlb2:", "tlb3:", "tlb4:"].iter().any(|reason| token.starts_with(reason));
    flush || COMPARED.iter().any(|name| token.starts_with(name))
}

fn same_path(want: &FaultRow, got: &FaultRecord) -> bool {
    let predicted: Vec<String> =
        got.path.iter().map(ToString::to_string).filter(|t| is_compared(t)).collect();
    want.path.split_whitespace().filter(|t| is_compared(t)).eq(predicted.iter().map(String::as_str))
}

fn show_row(row: &FaultRow) -> String {
    let hex = |v: Option<u64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:#x}"));
    format!(
        "op {} t{} {} {} {} -> {} ret {}\n               {}",
        row.op.map_or_else(|| "-".to_owned(), |v| v.to_string()),
        row.thread.map_or_else(|| "-".to_owned(), |v| v.to_string()),
        hex(row.addr.map(|a| a.0)),
        row.error_code.map_or_else(|| "-".to_owned(), |e| e.to_string()),
        hex(row.old_pte),
        hex(row.new_pte),
        row.ret.map_or_else(|| "-".to_owned(), |r| r.to_string()),
        row.path,
    )
}

fn show_record(fault: &FaultRecord) -> String {
    let entry = |e: Option<Entry>| e.map_or_else(|| "-".to_owned(), |e| e.to_string());
    format!(
        "op {} t{} {} {} {} -> {} ret {}\n               {}",
        fault.line,
        fault.thread,
        fault.address,
        fault.error_code,
        entry(fault.old),
        entry(fault.new),
        fault.ret.map_or_else(|| "-".to_owned(), |r| r.to_string()),
        fault.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    )
}
