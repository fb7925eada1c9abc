//! A recorded scenario: its folder, its files, and how it came out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_sim::Simulation;
use daxsim_sim::measure::FaultRecord;
use daxsim_sim::program::script::{self as driver, ScriptOutcome};
use daxsim_traces::fault_table::{self, FaultRow};
use daxsim_traces::ops_table::{self, OpRow};
use daxsim_traces::script::{Script, SectionKind};
use daxsim_types::FileSystem;

use super::compare::{compare, compare_lines, show_record};
use super::race::race;

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

/// What a script is predicted to do.
pub struct Prediction {
    /// Its faults.
    pub faults: Vec<FaultRecord>,
    /// How its lines ended.
    pub outcome: ScriptOutcome,
    /// What is wrong with the machine at the end, or with the way of a fault, if anything is.
    pub defect: Option<String>,
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
    /// For a racing scenario, how many different ways its faults went over all interleavings.
    pub racing_paths: usize,
    /// Interleavings tried of a racing scenario, if more than were asked for.
    pub rare: Option<u32>,
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

    /// Predicts the scenario's faults, and the outcome of each line, from its script; with a seed, in another interleaving. Then
    /// looks whether the machine is in order and whether each fault went a way that there is.
    pub fn predict(
        &self,
        script: &Script,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        seed: Option<u64>,
    ) -> Result<Prediction> {
        let mut sim = Simulation::new(machine.clone(), kernel.clone(), self.fs, true);
        if let Some(seed) = seed {
            sim.explore(seed);
        }
        let outcome = driver::run(&mut sim, script, self.fs, &BTreeMap::new())
            .with_context(|| self.dir.join("script.txt").display().to_string())?;
        let disorder = sim.with(|m| m.check_consistency()).err().map(|found| found.to_string());
        let faults = sim.finish().measurements.fault_log;
        let strange = faults.iter().find_map(|fault| Some((fault, fault.illegal_step()?)));
        let defect =
            disorder.or(strange.map(|(fault, step)| format!("step {} of {}", step + 1, show_record(fault))));
        Ok(Prediction { faults, outcome, defect })
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
            return race(self, &script, &recorded, machine, kernel, seeds);
        }
        let predicted = self.predict(&script, machine, kernel, None)?;
        let mut verdict = compare(&recorded, &predicted.faults);
        compare_lines(&self.recorded_lines()?, &script, &predicted.outcome, &mut verdict);
        let defect = predicted.defect.map(|defect| format!("a state that must not be:\n    {defect}"));
        verdict.first_difference = verdict.first_difference.or(defect);
        Ok(verdict)
    }
}

fn layout_hint(dir: &Path) -> String {
    format!(
        "{}: expected a folder laid out as kernel-<version>/<ext4|xfs|devdax>/<scenario> with script.txt and faults.tsv",
        dir.display()
    )
}
