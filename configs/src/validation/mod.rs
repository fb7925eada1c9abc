//! Validation points: what was measured on hardware, and how near the simulation has to come. `docs/validation.md` has the
//! format.

mod memory;
mod read;

use std::path::Path;

use daxsim_types::PageSize;

use crate::builtin;
use crate::cost::Trust;
use crate::error::ConfigError;
use crate::load::read_text;

pub(crate) use read::{FAULT_CAUSES, FLUSH_CAUSES, KERNEL, TRUSTS, threads};

pub use memory::{BandwidthBy, MemoryMetric, MemoryProbe, Operation};

/// One thing to be reproduced.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationPoint {
    /// Unique name.
    pub id: String,
    /// What it says, in a line.
    pub about: String,
    /// Machine: a builtin's name or a path.
    pub machine: String,
    /// Kernel: a builtin's name or a path.
    pub kernel: String,
    /// Settings of machine and kernel, as `--set` takes them.
    pub set: Vec<String>,
    /// The measurement.
    pub probe: ProbeSpec,
    /// What is read off it.
    pub take: Take,
    /// How near it has to be.
    pub tolerance: Tolerance,
    /// Where the number comes from.
    pub source: String,
    /// How far it can be trusted.
    pub trust: Trust,
    /// What else the reader should know.
    pub note: Option<String>,
    /// What of the machine was chosen so that this point is met, if anything was.
    pub fitted: Option<String>,
    /// File and line, for messages.
    pub place: String,
}

/// A probe with its parameters. What each measures as a function of is its *x*.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeSpec {
    /// Dependent loads over a footprint; x is KiB.
    Chase {
        /// Bytes between two loads.
        stride: u64,
        /// Whether the loads spread over the lines of their strides.
        spread: bool,
        /// Size of the pages.
        page: PageSize,
        /// Seed of the order.
        seed: u64,
        /// What of the result.
        metric: ChaseMetric,
    },
    /// Setting a bit in an entry, in cycles; x is pages.
    AdUpdate {
        /// D rather than A.
        dirty: bool,
    },
    /// Half the round trip of a line that two CPUs take from each other in turn, in ns; without x.
    CachelinePing {
        /// The two CPUs.
        cpus: [u16; 2],
    },
    /// What a flush costs a process whose other threads run; x is pages.
    Shootdown {
        /// Why translations go.
        cause: FlushCause,
        /// Threads, each on a CPU of its own.
        threads: u16,
        /// What of the result.
        metric: ShootdownMetric,
    },
    /// Rounds of a store, MADV_DONTNEED and a load that all threads of a process make together in a second; without x.
    FlushStorm {
        /// Threads, each on a CPU of its own.
        threads: u16,
        /// What of the result.
        metric: StormMetric,
    },
    /// What a page fault costs; without x.
    Fault {
        /// Which fault.
        cause: FaultCause,
        /// Faults.
        pages: u64,
        /// What of the result.
        metric: FaultMetric,
    },
    /// How many of the nine experiments of TLB;DR find what their authors found; without x.
    Tlbdr,
    /// Entries read for a TLB miss, on average over streams; without x.
    Walks {
        /// Names of streams of `daxsim gen`.
        streams: Vec<String>,
        /// Accesses of each.
        accesses: u64,
    },
    /// A probe of memory.
    Memory {
        /// Which.
        probe: MemoryProbe,
        /// What of its result.
        metric: MemoryMetric,
    },
}

impl ProbeSpec {
    /// Whether it measures something as a function of x.
    #[must_use]
    pub const fn has_x(&self) -> bool {
        !self.x_unit().is_empty()
    }

    /// Unit of x; empty without.
    #[must_use]
    pub const fn x_unit(&self) -> &'static str {
        match self {
            Self::Chase { .. } => "KiB",
            Self::AdUpdate { .. } | Self::Shootdown { .. } => "pages",
            Self::FlushStorm { .. } | Self::Fault { .. } => "",
            Self::CachelinePing { .. } | Self::Tlbdr | Self::Walks { .. } => "",
            Self::Memory { probe, .. } => probe.x_unit(),
        }
    }
}

/// Why translations go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushCause {
    /// munmap of a part of a mapping.
    Munmap,
    /// mprotect to read-only.
    Mprotect,
    /// MADV_DONTNEED.
    DontNeed,
    /// The same, and a store to each page after it.
    DontNeedTouch,
    /// The same, and a load of each page after it.
    DontNeedRead,
}

/// What of a shootdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShootdownMetric {
    /// Cycles of the call.
    Cycles,
    /// Nanoseconds of the call.
    Ns,
    /// Cycles that kernel page-table isolation adds to the call.
    PtiCycles,
    /// Nanoseconds that the caller waits for answers.
    WaitNs,
    /// Nanoseconds that an interrupt takes of a target.
    DisruptionNs,
}

/// What of a flush storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StormMetric {
    /// Thousands of rounds of all threads in a second.
    ThousandsPerSecond,
    /// Percent of the time that goes into flushes, waits for answers and handlers.
    FlushPercent,
}

/// Which page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCause {
    /// A load of anonymous memory.
    ZeroPage,
    /// A store to anonymous memory.
    Anonymous,
    /// A load of a DAX file.
    DaxRead,
    /// A store to a DAX file.
    DaxWrite,
    /// A store to a page of a DAX file that was loaded before.
    DaxMkwrite,
    /// A load of a DAX file without blocks.
    DaxHole,
}

/// What of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMetric {
    /// Cycles from the access to its completion.
    Cycles,
    /// What of them is the delivery of the #PF and the IRET.
    DeliveryCycles,
}

/// What of a chase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChaseMetric {
    /// Cycles for a load.
    Cycles,
    /// Nanoseconds for a load.
    Ns,
    /// First-level TLB misses for a load.
    DtlbMisses,
    /// Walks for a load.
    StlbMisses,
    /// Entries that walks read, for a load.
    WalkReferences,
}

/// What is read off a measurement and compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Take {
    /// The one value of a probe without x.
    Value {
        /// What was measured.
        expect: f64,
    },
    /// The values at some x.
    Values {
        /// The x.
        x: Vec<f64>,
        /// What was measured there.
        expect: Vec<f64>,
    },
    /// The value at one x less that at another.
    Difference {
        /// The two x.
        x: [f64; 2],
        /// What was measured.
        expect: f64,
    },
    /// The last x before the first rise.
    Knee {
        /// The x, ascending.
        x: Vec<f64>,
        /// How much more the next value has to be for a rise.
        rise: f64,
        /// What was measured: one of the x.
        expect: f64,
    },
    /// The first x whose value is at least 99 % of the largest.
    Peak {
        /// The x, ascending.
        x: Vec<f64>,
        /// What was measured: one of the x.
        expect: f64,
    },
}

/// How far the simulation may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Each value by so much.
    Absolute(f64),
    /// Each value by such a share of the expected one.
    Relative(f64),
    /// The mean over all values of the share by which they are off.
    MeanRelative(f64),
    /// Each value at most so many times the expected one, and at least such a part of it.
    Factor(f64),
    /// Each value inside.
    Range(f64, f64),
}

/// The points that the program carries with it.
///
/// # Errors
///
/// None, as long as the builtins are valid.
pub fn builtin_points() -> Result<Vec<ValidationPoint>, ConfigError> {
    let files = builtin::validation_files().iter();
    read::points(files.map(|file| (format!("validation/{}.toml", file.name), file.text.to_owned())))
}

/// The points of a file. A machine that is a path is relative to the file.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub fn load_points(path: &Path) -> Result<Vec<ValidationPoint>, ConfigError> {
    let text = read_text(path).map_err(|problem| *problem)?;
    let mut points = read::points([(path.display().to_string(), text)])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for point in &mut points {
        if point.machine.contains('/') || point.machine.ends_with(".toml") {
            point.machine = folder.join(&point.machine).display().to_string();
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests;
