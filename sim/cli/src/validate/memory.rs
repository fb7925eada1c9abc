//! The probes of memory as measurements of points.

use std::collections::BTreeMap;

use anyhow::Result;
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::validation::{self as points, BandwidthBy, MemoryMetric, MemoryProbe};
use daxsim_sim::probe::{
    Bandwidth, Medium, Operation, Order, Overwrite, PersistLatency, Places, Store, WriteChase,
};
use daxsim_types::{LINE_BYTES, Time};

use crate::size;

/// Writes that are long stalls, and short ones: between the classes that were measured on Optane, 9 to 15 and 50 to 68 us.
const LONG: Time = Time(30_000_000);
const SHORT: Time = Time(4_000_000);
/// Time of a bandwidth.
const STRETCH: Time = Time(400_000_000);
/// Lines of a latency.
const LATENCY_LINES: u32 = 4096;

/// A probe of memory at one x.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryJob {
    /// With the region.
    WriteChase(WriteChase, u64),
    /// With the region.
    Overwrite(Overwrite, u64),
    /// The best of them.
    Bandwidth(Vec<Bandwidth>),
    /// As it is.
    PersistLatency(PersistLatency),
}

const fn medium(dram: bool) -> Medium {
    if dram { Medium::Dram } else { Medium::Pmem }
}

const fn store(clwb: bool) -> Store {
    if clwb { Store::Clwb } else { Store::NonTemporal }
}

const fn places(random: bool) -> Places {
    if random { Places::Random } else { Places::Sequential }
}

/// The measurement of a point at `x`.
pub fn job(probe: &MemoryProbe, x: f64) -> MemoryJob {
    let bytes = x as u64;
    match probe {
        MemoryProbe::WriteChase { block, clwb, dram, seed } => {
            let chase = WriteChase { block: *block, store: store(*clwb), medium: medium(*dram), seed: *seed };
            MemoryJob::WriteChase(chase, bytes)
        }
        MemoryProbe::Overwrite { block, halves, clwb, dram, writes } => {
            let overwrite = Overwrite {
                block: *block,
                order: if *halves { Order::Halves } else { Order::Sequential },
                store: store(*clwb),
                medium: medium(*dram),
                writes: *writes,
                long: LONG,
                short: SHORT,
            };
            MemoryJob::Overwrite(overwrite, bytes)
        }
        MemoryProbe::Bandwidth { operation, random, dram, remote, by, seed } => {
            let one = |threads, access| Bandwidth {
                threads,
                operation: operation_of(*operation),
                access,
                places: places(*random),
                medium: medium(*dram),
                remote: *remote,
                time: STRETCH,
                seed: *seed,
            };
            MemoryJob::Bandwidth(match by {
                BandwidthBy::Threads { access } => vec![one(x as u16, *access)],
                BandwidthBy::Access { threads } => threads.iter().map(|n| one(*n, bytes)).collect(),
            })
        }
        MemoryProbe::PersistLatency { operation, random, dram } => {
            let store = match operation_of(*operation) {
                Operation::Store(store) => Some(store),
                Operation::Load | Operation::Mixed(_) => None,
            };
            let (places, medium) = (places(*random), medium(*dram));
            let seed = crate::probe_args::SEED;
            MemoryJob::PersistLatency(PersistLatency { store, places, medium, lines: LATENCY_LINES, seed })
        }
    }
}

const fn operation_of(operation: points::Operation) -> Operation {
    match operation {
        points::Operation::Load => Operation::Load,
        points::Operation::NtStore => Operation::Store(Store::NonTemporal),
        points::Operation::Clwb => Operation::Store(Store::Clwb),
        points::Operation::Mixed(loads) => Operation::Mixed(loads),
    }
}

impl MemoryJob {
    /// About how many lines it takes.
    pub fn cost(&self) -> u64 {
        match self {
            Self::WriteChase(..) => 160_000,
            Self::Overwrite(overwrite, _) => overwrite.writes * overwrite.block / LINE_BYTES,
            Self::Bandwidth(all) => all.len() as u64 * 50_000,
            Self::PersistLatency(latency) => u64::from(latency.lines),
        }
    }

    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            Self::WriteChase(_, region) => format!("a write chase over {}", size::show(*region)),
            Self::Overwrite(_, region) => format!("the overwriting of {}", size::show(*region)),
            Self::Bandwidth(_) => "a bandwidth".to_owned(),
            Self::PersistLatency(_) => "the latency of a line".to_owned(),
        }
    }

    /// Makes it.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<BTreeMap<MemoryMetric, f64>> {
        let us = |time: Time| time.as_ns() / 1000.0;
        Ok(match self {
            Self::WriteChase(chase, region) => {
                let p = chase.run(machine, kernel, *region)?;
                [(MemoryMetric::WriteNs, p.write_ns), (MemoryMetric::ReadNs, p.read_ns)].into()
            }
            Self::Overwrite(overwrite, region) => {
                let p = overwrite.run(machine, kernel, *region)?;
                [
                    (MemoryMetric::MedianNs, p.percentile(500_000).as_ns()),
                    (MemoryMetric::P10Ns, p.percentile(100_000).as_ns()),
                    (MemoryMetric::P90Ns, p.percentile(900_000).as_ns()),
                    (MemoryMetric::P9999Us, us(p.percentile(999_900))),
                    (MemoryMetric::P99999Us, us(p.percentile(999_990))),
                    (MemoryMetric::MaxUs, us(p.max())),
                    (MemoryMetric::LongUs, us(p.long.median)),
                    (MemoryMetric::LongSpacing, p.long.spacing as f64),
                    (MemoryMetric::LongSpacingLeast, p.long.spacing_range[0] as f64),
                    (MemoryMetric::LongSpacingMost, p.long.spacing_range[1] as f64),
                    (MemoryMetric::ShortUs, us(p.short.median)),
                    (MemoryMetric::ShortCount, p.short.count as f64),
                    (MemoryMetric::WriteAmplification, p.write_amplification),
                ]
                .into()
            }
            Self::Bandwidth(all) => {
                let mut best = BTreeMap::from([(MemoryMetric::GbS, 0.0), (MemoryMetric::WriteRatio, 0.0)]);
                for bandwidth in all {
                    let p = bandwidth.run(machine, kernel)?;
                    if best.get(&MemoryMetric::GbS).is_none_or(|gb_s| p.gb_s > *gb_s) {
                        best.insert(MemoryMetric::GbS, p.gb_s);
                        best.insert(MemoryMetric::WriteRatio, p.effective_write_ratio);
                    }
                }
                best
            }
            Self::PersistLatency(latency) => {
                [(MemoryMetric::MeanNs, latency.run(machine, kernel)?.mean_ns)].into()
            }
        })
    }
}

/// The measurement in words, and what tells it from others on the machine.
pub fn describe(probe: &MemoryProbe, metric: MemoryMetric) -> (String, String) {
    let of = |dram: bool| if dram { " of DRAM" } else { "" };
    let by = |clwb: bool| if clwb { ", store and CLWB" } else { "" };
    let at = |random: bool| if random { "random" } else { "sequential" };
    match probe {
        MemoryProbe::WriteChase { block, clwb, dram, .. } => {
            let what = format!("{} {} blocks{}{}", metric.name(), size::show(*block), of(*dram), by(*clwb));
            (format!("write-chase, {what}"), what)
        }
        MemoryProbe::Overwrite { block, halves, clwb, dram, .. } => {
            let order = if *halves { " in halves" } else { "" };
            let what =
                format!("{} {} writes{order}{}{}", metric.name(), size::show(*block), of(*dram), by(*clwb));
            (format!("overwrite, {what}"), what)
        }
        MemoryProbe::Bandwidth { operation, random, dram, remote, by, .. } => {
            let accesses = match by {
                BandwidthBy::Threads { access } => format!(" of {}", size::show(*access)),
                BandwidthBy::Access { .. } => String::new(),
            };
            let remote = if *remote { ", remote" } else { "" };
            let operation = operation_name(*operation);
            let what =
                format!("{}, {} {operation}{accesses}{}{remote}", metric.name(), at(*random), of(*dram));
            (format!("bandwidth, {what}"), what)
        }
        MemoryProbe::PersistLatency { operation, random, dram } => {
            let what = format!("{} {}{}", at(*random), operation_name(*operation), of(*dram));
            (format!("persist-latency, {what}"), what)
        }
    }
}

const fn operation_name(operation: points::Operation) -> &'static str {
    match operation {
        points::Operation::Load => "load",
        points::Operation::NtStore => "ntstore",
        points::Operation::Clwb => "store and CLWB",
        points::Operation::Mixed(3) => "3 loads and a store",
        points::Operation::Mixed(_) => "loads and stores",
    }
}
