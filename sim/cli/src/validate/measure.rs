//! The measurements that points need, each made once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::validation::{
    self as config, ChaseMetric, FaultMetric, MemoryMetric, ProbeSpec, ShootdownMetric, StormMetric, Take,
    ValidationPoint,
};
use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::probe::{
    AdUpdate, CachelinePing, Chase, ChasePoint, FaultCause, FaultCost, FaultPoint, FlushCause, FlushStorm,
    LineOffset, Shootdown, ShootdownPoint, StormPoint, Walks, tlbdr,
};
use daxsim_types::FileSystem;
use rayon::prelude::*;

use super::memory::{self, MemoryJob};
use crate::config::parse_overrides;
use crate::probe::stream_named;

/// Times that a shootdown is made.
const SHOOTDOWN_ROUNDS: u32 = 20;
/// Rounds of each thread of a storm: every one maps its memory anew twice.
const STORM_ROUNDS: u32 = 512;

/// Round trips of a ping.
const PING_ROUNDS: u32 = 1000;

/// About as many accesses make the experiments of TLB;DR.
const TLBDR_ACCESSES: u64 = 1_000_000;

/// A machine and what is measured on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    machine: String,
    kernel: String,
    set: Vec<String>,
    what: Measurement,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measurement {
    /// With the footprint.
    Chase(Chase, u64),
    /// Whether of D.
    AdUpdate(AdUpdate, bool),
    /// The CPUs.
    CachelinePing(u16, u16),
    Shootdown(Shootdown),
    /// What page-table isolation adds to it.
    IsolatedShootdown(Shootdown),
    FlushStorm(FlushStorm),
    Fault(FaultCost),
    /// The experiments of TLB;DR.
    Tlbdr,
    /// The stream and the accesses.
    Walks(String, u64),
    /// A probe of memory.
    Memory(MemoryJob),
}

/// What a measurement gave.
enum Outcome {
    Chase(ChasePoint),
    /// With the cycles of a nanosecond.
    Shootdown(ShootdownPoint, f64),
    FlushStorm(StormPoint),
    Fault(FaultPoint),
    Number(f64),
    Memory(BTreeMap<MemoryMetric, f64>),
}

/// What all measurements gave.
pub struct Measured(BTreeMap<Job, Outcome>);

impl Measured {
    /// The value of a point's measurement at `x`.
    pub fn at(&self, point: &ValidationPoint, x: f64) -> Result<f64> {
        let job = job(point, x);
        match (self.0.get(&job).context("a measurement that was not made")?, &point.probe) {
            (Outcome::Chase(p), ProbeSpec::Chase { metric, .. }) => Ok(match metric {
                ChaseMetric::Cycles => p.cycles,
                ChaseMetric::Ns => p.ns,
                ChaseMetric::DtlbMisses => p.dtlb_misses,
                ChaseMetric::StlbMisses => p.stlb_misses,
                ChaseMetric::WalkReferences => p.walk_references,
            }),
            (Outcome::Shootdown(p, per_ns), ProbeSpec::Shootdown { metric, .. }) => Ok(match metric {
                ShootdownMetric::Cycles => p.call.mean * per_ns,
                // Of isolation, the difference was measured.
                ShootdownMetric::Ns | ShootdownMetric::PtiCycles => p.call.mean,
                ShootdownMetric::WaitNs => p.wait.mean,
                ShootdownMetric::DisruptionNs => p.disruption.mean,
            }),
            (Outcome::FlushStorm(p), ProbeSpec::FlushStorm { metric, .. }) => Ok(match metric {
                StormMetric::ThousandsPerSecond => p.per_second / 1e3,
                StormMetric::FlushPercent => p.flush_share * 100.0,
            }),
            (Outcome::Fault(p), ProbeSpec::Fault { metric, .. }) => Ok(match metric {
                FaultMetric::Cycles => p.cycles,
                FaultMetric::DeliveryCycles => p.delivery,
            }),
            (Outcome::Number(number), _) => Ok(*number),
            (Outcome::Memory(values), ProbeSpec::Memory { metric, .. }) => {
                values.get(metric).copied().with_context(|| format!("{}: no {}", point.id, metric.name()))
            }
            _ => Err(anyhow!("{}: another measurement than was asked for", point.id)),
        }
    }

    /// The value of a point whose measurement has no x.
    pub fn value(&self, point: &ValidationPoint) -> Result<f64> {
        let ProbeSpec::Walks { streams, .. } = &point.probe else { return self.at(point, 0.0) };
        let values: Vec<f64> = (0..streams.len()).map(|n| self.at(point, n as f64)).collect::<Result<_>>()?;
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// Makes every measurement that the points need, `threads` at a time.
pub fn measure(points: &[ValidationPoint], threads: u16) -> Result<Measured> {
    let jobs: BTreeSet<Job> =
        points.iter().flat_map(|point| places(point).into_iter().map(|x| job(point, x))).collect();
    let mut specs: BTreeMap<(&str, &str, &[String]), (MachineSpec, KernelSpec)> = BTreeMap::new();
    for point in points {
        if let Entry::Vacant(entry) = specs.entry((&point.machine, &point.kernel, &point.set)) {
            entry.insert(specs_of(point).with_context(|| format!("{}: point {}", point.place, point.id))?);
        }
    }
    let mut queue: Vec<&Job> = jobs.iter().collect();
    // The longest first, so that no thread is left with one at the end.
    queue.sort_by_key(|job| std::cmp::Reverse(cost(&job.what)));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build()?;
    let one = |job: &Job| -> Result<Outcome> {
        let (machine, kernel) = specs
            .get(&(job.machine.as_str(), job.kernel.as_str(), job.set.as_slice()))
            .context("a machine that was not loaded")?;
        run(&job.what, machine, kernel).with_context(|| format!("{} on {}", describe(&job.what), job.machine))
    };
    let outcomes: Vec<Result<Outcome>> =
        pool.install(|| queue.par_iter().with_max_len(1).map(|job| one(job)).collect());
    let mut measured = BTreeMap::new();
    for (job, outcome) in queue.into_iter().zip(outcomes) {
        measured.insert(job.clone(), outcome?);
    }
    Ok(Measured(measured))
}

fn specs_of(point: &ValidationPoint) -> Result<(MachineSpec, KernelSpec)> {
    let (machine, kernel) = parse_overrides(&point.set)?;
    Ok((load_machine(&point.machine, &machine)?, load_kernel(&point.kernel, &kernel)?))
}

/// Where a point is measured. The streams of a point of walks are numbered.
fn places(point: &ValidationPoint) -> Vec<f64> {
    match (&point.probe, &point.take) {
        (ProbeSpec::Walks { streams, .. }, _) => (0..streams.len()).map(|n| n as f64).collect(),
        (_, Take::Value { .. }) => vec![0.0],
        (_, Take::Values { x, .. } | Take::Knee { x, .. } | Take::Peak { x, .. }) => x.clone(),
        (_, Take::Difference { x, .. }) => x.to_vec(),
    }
}

fn job(point: &ValidationPoint, x: f64) -> Job {
    let what = match &point.probe {
        ProbeSpec::Chase { stride, spread, page, seed, .. } => {
            let offset = if *spread { LineOffset::Spread } else { LineOffset::Zero };
            Measurement::Chase(Chase { stride: *stride, offset, page: *page, seed: *seed }, (x as u64) << 10)
        }
        ProbeSpec::AdUpdate { dirty } => Measurement::AdUpdate(AdUpdate { pages: x as u64 }, *dirty),
        ProbeSpec::CachelinePing { cpus: [first, second] } => Measurement::CachelinePing(*first, *second),
        ProbeSpec::Shootdown { cause, threads, metric } => {
            let shootdown = Shootdown {
                cause: flush_cause(*cause),
                threads: *threads,
                pages: x as u64,
                rounds: SHOOTDOWN_ROUNDS,
                shared: false,
            };
            match metric {
                ShootdownMetric::PtiCycles => Measurement::IsolatedShootdown(shootdown),
                _ => Measurement::Shootdown(shootdown),
            }
        }
        ProbeSpec::FlushStorm { threads, .. } => {
            Measurement::FlushStorm(FlushStorm { threads: *threads, rounds: STORM_ROUNDS })
        }
        ProbeSpec::Fault { cause, pages, .. } => {
            let cause = match cause {
                config::FaultCause::ZeroPage => FaultCause::ZeroPage,
                config::FaultCause::Anonymous => FaultCause::Anonymous,
            };
            Measurement::Fault(FaultCost { cause, fs: FileSystem::Ext4, pages: *pages })
        }
        ProbeSpec::Tlbdr => Measurement::Tlbdr,
        ProbeSpec::Walks { streams, accesses } => {
            Measurement::Walks(streams.get(x as usize).cloned().unwrap_or_default(), *accesses)
        }
        ProbeSpec::Memory { probe, .. } => Measurement::Memory(memory::job(probe, x)),
    };
    Job { machine: point.machine.clone(), kernel: point.kernel.clone(), set: point.set.clone(), what }
}

const fn flush_cause(cause: config::FlushCause) -> FlushCause {
    match cause {
        config::FlushCause::Munmap => FlushCause::Munmap,
        config::FlushCause::Mprotect => FlushCause::Mprotect,
        config::FlushCause::DontNeed => FlushCause::DontNeed,
        config::FlushCause::DontNeedTouch => FlushCause::DontNeedTouch,
        config::FlushCause::DontNeedRead => FlushCause::DontNeedRead,
    }
}

/// About how long a measurement takes.
fn cost(what: &Measurement) -> u64 {
    match what {
        Measurement::Chase(chase, footprint) => *footprint / chase.stride,
        Measurement::AdUpdate(update, _) => update.pages,
        Measurement::CachelinePing(..) => PING_ROUNDS as u64,
        Measurement::Shootdown(s) | Measurement::IsolatedShootdown(s) => {
            s.rounds as u64 * s.pages * s.threads as u64
        }
        Measurement::FlushStorm(s) => 10 * s.rounds as u64 * (s.threads as u64).pow(2),
        Measurement::Fault(f) => f.pages,
        Measurement::Tlbdr => TLBDR_ACCESSES,
        Measurement::Walks(_, accesses) => *accesses,
        Measurement::Memory(job) => job.cost(),
    }
}

fn describe(what: &Measurement) -> String {
    match what {
        Measurement::Chase(_, footprint) => format!("a chase over {} KiB", footprint >> 10),
        Measurement::AdUpdate(update, _) => format!("the update of a bit in {} entries", update.pages),
        Measurement::CachelinePing(first, second) => format!("the ping of CPUs {first} and {second}"),
        Measurement::Shootdown(s) | Measurement::IsolatedShootdown(s) => {
            format!("the shootdown of {} pages by {} threads", s.pages, s.threads)
        }
        Measurement::FlushStorm(s) => format!("the flush storm of {} threads", s.threads),
        Measurement::Fault(f) => format!("{} page faults", f.pages),
        Measurement::Tlbdr => "the experiments of TLB;DR".to_owned(),
        Measurement::Walks(stream, _) => format!("the walks of stream {stream}"),
        Measurement::Memory(job) => job.describe(),
    }
}

fn run(what: &Measurement, machine: &MachineSpec, kernel: &KernelSpec) -> Result<Outcome> {
    Ok(match what {
        Measurement::Memory(job) => Outcome::Memory(job.run(machine, kernel)?),
        Measurement::Chase(chase, footprint) => Outcome::Chase(chase.run(machine, kernel, *footprint)?),
        Measurement::AdUpdate(update, true) => Outcome::Number(update.dirty(machine, kernel)?.update),
        Measurement::AdUpdate(update, false) => Outcome::Number(update.accessed(machine, kernel)?.update),
        Measurement::CachelinePing(first, second) => {
            let ping = CachelinePing { first: *first, second: *second, rounds: PING_ROUNDS };
            Outcome::Number(ping.run(machine)?.one_way.as_ns())
        }
        Measurement::Shootdown(shootdown) => {
            let per_ns = 1e3 / machine.cpu.clock.period_ps() as f64;
            Outcome::Shootdown(shootdown.run(machine, kernel)?, per_ns)
        }
        Measurement::IsolatedShootdown(shootdown) => {
            let cycles = |pti| -> Result<f64> {
                let mut kernel = kernel.clone();
                kernel.tree.pti = pti;
                let ns = shootdown.run(machine, &kernel)?.call.mean;
                Ok(ns * 1e3 / machine.cpu.clock.period_ps() as f64)
            };
            Outcome::Number(cycles(true)? - cycles(false)?)
        }
        Measurement::FlushStorm(storm) => Outcome::FlushStorm(storm.run(machine, kernel)?),
        Measurement::Fault(fault) => Outcome::Fault(fault.run(machine, kernel)?),
        Measurement::Tlbdr => {
            let found = tlbdr(&machine.tlb).iter().filter(|finding| finding.found).count();
            Outcome::Number(found as f64)
        }
        Measurement::Walks(name, accesses) => {
            let (pattern, bytes) = stream_named(name).with_context(|| format!("no stream {name}"))?;
            let walks = Walks {
                pattern,
                bytes,
                warm_up: accesses / 2,
                accesses: *accesses,
                seed: crate::probe_args::SEED,
            };
            Outcome::Number(walks.run(machine, kernel)?.references_per_walk)
        }
    })
}
