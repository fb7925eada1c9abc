//! The document: everything a run reports, and nothing about how it came to be.

mod activity;
mod attribution;
mod constants;
mod counters;
mod durability;
mod latency;
mod origin;
mod over_time;
mod replay;
mod rounding;

use std::collections::BTreeMap;

use daxsim_types::FileSystem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::sum;

pub use activity::Activity;
pub use attribution::{CycleShare, attribute};
pub use constants::{Constant, cycles_by_trust};
pub use counters::{
    Accesses, Arch, Assists, Cache, Exits, FAULT_KINDS, Faults, Flush, KernelWork, LineUse, LockUse, Lookups,
    Memory, QueueDepth, Shootdowns, Spread, Walks, flush_reason_text,
};
pub use durability::{Crash, Durability, Lines, LostLines, UnmarkedLines, WrittenLines};
pub use latency::{Bucket, HistogramUnit, Latency, LatencyBuilder, Part};
pub use origin::{Input, Kernel, Machine, Mode, Override, Tool};
pub use over_time::{OverTime, ShootdownMatrix, ShootdownPair};
pub use replay::{Agreement, Divergence, Replay, Warning};
pub use rounding::{ps_to_ns, round3};

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.report/1";

/// What one run measured.
///
/// Maps are keyed by the names that the machine and kernel configs use, and
/// ordered by them. Times are nanoseconds of simulated time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunReport {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The program that made the report.
    pub tool: Tool,
    /// What was run, in the order it was given.
    pub inputs: Vec<Input>,
    /// Whether faults were predicted from accesses or replayed from a recording.
    pub mode: Mode,
    /// The file system whose fault handlers were modelled; `None` if nothing was mapped from one.
    #[schemars(with = "Option<String>")]
    pub fs: Option<FileSystem>,
    /// The simulated machine.
    pub machine: Machine,
    /// The simulated kernel.
    pub kernel: Kernel,
    /// Seed of every random choice.
    pub seed: u64,
    /// Simulated program accesses.
    pub accesses: Accesses,
    /// Simulated wall time in cycles: the latest CPU's.
    pub cycles: u64,
    /// The same in nanoseconds.
    #[serde(serialize_with = "rounding::serialize")]
    pub time_ns: f64,
    /// Kernel instructions that the modelled paths stand for.
    pub instructions: u64,
    /// Page faults by kind.
    pub faults: Faults,
    /// TLB structures by name.
    pub tlb: BTreeMap<String, Lookups>,
    /// Paging-structure caches by name.
    pub psc: BTreeMap<String, Lookups>,
    /// Page walks.
    pub walks: Walks,
    /// Accessed and dirty bits that the hardware set.
    pub assists: Assists,
    /// Work of the kernel that the insert semantics decide.
    pub kernel_work: KernelWork,
    /// What the kernel or the machine does about TLBs and access flags that x86 does not.
    #[serde(skip_serializing_if = "Arch::is_empty")]
    pub arch: Arch,
    /// Exits to the hypervisor.
    #[serde(skip_serializing_if = "Exits::is_empty")]
    pub exits: Exits,
    /// TLB shootdowns.
    pub shootdowns: Shootdowns,
    /// TLB flushes by the reason number of the tracepoint `tlb:tlb_flush`.
    pub flushes: BTreeMap<u32, Flush>,
    /// Locks by the kernel's name for them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub locks: BTreeMap<String, LockUse>,
    /// Cache lines that the kernel took from other cores, by what they hold; the word of a lock by the lock's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, LineUse>,
    /// Data caches by name.
    pub caches: BTreeMap<String, Cache>,
    /// Memory devices by name.
    pub memory: BTreeMap<String, Memory>,
    /// Latencies by kind: those of [`FAULT_KINDS`], and any other operation that was timed.
    pub latency: BTreeMap<String, Latency>,
    /// Where the cycles of all CPUs went.
    pub attribution: Vec<CycleShare>,
    /// The constants that cycles were spent on, those with the most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<Constant>,
    /// What is durable at the end or at the crash; `None` in reports made before that was followed.
    pub durability: Option<Durability>,
    /// When faults, flushes and interrupts came; left out of reports made before that was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// How far the simulation agrees with the recording.
    pub replay: Replay,
    /// What the reader must know before using the numbers.
    pub warnings: Vec<Warning>,
    /// What was assumed, inferred, or is not backed by a measurement.
    pub assumptions: Vec<String>,
}

impl Default for RunReport {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tool: Tool::default(),
            inputs: Vec::new(),
            mode: Mode::default(),
            fs: None,
            machine: Machine::default(),
            kernel: Kernel::default(),
            seed: 0,
            accesses: Accesses::default(),
            cycles: 0,
            time_ns: 0.0,
            instructions: 0,
            faults: Faults::default(),
            tlb: BTreeMap::new(),
            psc: BTreeMap::new(),
            walks: Walks::default(),
            assists: Assists::default(),
            kernel_work: KernelWork::default(),
            arch: Arch::default(),
            exits: Exits::default(),
            shootdowns: Shootdowns::default(),
            flushes: BTreeMap::new(),
            locks: BTreeMap::new(),
            lines: BTreeMap::new(),
            caches: BTreeMap::new(),
            memory: BTreeMap::new(),
            latency: BTreeMap::new(),
            attribution: Vec::new(),
            constants: Vec::new(),
            durability: None,
            over_time: None,
            replay: Replay::default(),
            warnings: Vec::new(),
            assumptions: Vec::new(),
        }
    }
}

impl RunReport {
    /// Cycles in which CPUs were not idle.
    #[must_use]
    pub fn busy_cycles(&self) -> u64 {
        sum(self.attribution.iter().filter(|part| part.name != "idle").map(|part| part.cycles))
    }

    /// The latency kinds in reading order: fault kinds as [`FAULT_KINDS`] has them, then the others by name.
    #[must_use]
    pub fn latency_kinds(&self) -> Vec<(&str, &Latency)> {
        let known = FAULT_KINDS.iter().filter_map(|k| self.latency.get_key_value(*k));
        let others = self.latency.iter().filter(|(k, _)| !FAULT_KINDS.contains(&k.as_str()));
        known.chain(others).map(|(k, v)| (k.as_str(), v)).collect()
    }

    /// The fault kind that cost the most time in all, if any fault was timed; without faults, the costliest
    /// operation.
    #[must_use]
    pub fn dominant_kind(&self) -> Option<(&str, &Latency)> {
        let timed: Vec<_> = self.latency_kinds().into_iter().filter(|(_, l)| l.count > 0).collect();
        let is_fault = |kind: &str| FAULT_KINDS.contains(&kind);
        let any_fault = timed.iter().any(|(k, _)| is_fault(k));
        let mut best: Option<(&str, &Latency)> = None;
        for (kind, latency) in timed {
            if any_fault && !is_fault(kind) {
                continue;
            }
            if best.is_none_or(|(_, b)| latency.total_ns() > b.total_ns()) {
                best = Some((kind, latency));
            }
        }
        best
    }
}
