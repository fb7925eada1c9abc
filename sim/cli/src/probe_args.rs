//! The command lines of `probe`, `validate` and `gen`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::probe_kernel_args::{
    FAULT_EXAMPLES, FaultArgs, SCALING_EXAMPLES, SHOOTDOWN_EXAMPLES, STORM_EXAMPLES, ScalingArgs,
    ShootdownArgs, StormArgs,
};
use crate::probe_memory_args::{
    BANDWIDTH_EXAMPLES, BandwidthArgs, OVERWRITE_EXAMPLES, OverwriteArgs, PERSIST_LATENCY_EXAMPLES,
    PersistLatencyArgs, WRITE_CHASE_EXAMPLES, WriteChaseArgs,
};
use crate::size;

/// Seed unless told otherwise: that of the published streams.
pub const SEED: u64 = 42;

/// `daxsim probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: ProbeCommand,
}

/// The probes.
#[derive(Debug, Subcommand)]
pub enum ProbeCommand {
    /// Time dependent loads in random order over growing footprints
    #[command(after_help = CHASE_EXAMPLES)]
    Chase(ChaseArgs),
    /// Time the setting of D and A: the first store or load through an entry without the bit against the same with it
    #[command(after_help = AD_UPDATE_EXAMPLES)]
    AdUpdate(AdUpdateArgs),
    /// Let two CPUs take a line from each other in turn
    #[command(after_help = PING_EXAMPLES)]
    CachelinePing(PingArgs),
    /// Time a flush that other CPUs have to make, and what it takes of them
    #[command(after_help = SHOOTDOWN_EXAMPLES)]
    Shootdown(ShootdownArgs),
    /// Let all threads of a process flush at the same time
    #[command(after_help = STORM_EXAMPLES)]
    FlushStorm(StormArgs),
    /// Time page faults, and show where the time goes
    #[command(after_help = FAULT_EXAMPLES)]
    Fault(FaultArgs),
    /// Let many threads fault in one DAX file at the same time, and show what they wait for
    #[command(after_help = SCALING_EXAMPLES)]
    FaultScaling(ScalingArgs),
    /// Find out from outside what the TLBs are, as TLB;DR did on Kaby Lake
    #[command(after_help = TLBDR_EXAMPLES)]
    Tlbdr(OnArgs),
    /// Count the paging-structure entries that a TLB miss reads, on generated streams
    #[command(after_help = WALKS_EXAMPLES)]
    Walks(WalksArgs),
    /// Write blocks of growing regions in random order, then read them
    #[command(after_help = WRITE_CHASE_EXAMPLES)]
    WriteChase(WriteChaseArgs),
    /// Write the same bytes again and again: percentiles, and the stalls among the writes
    #[command(after_help = OVERWRITE_EXAMPLES)]
    Overwrite(OverwriteArgs),
    /// Let cores read or write as fast as they can: GB/s and effective write ratio
    #[command(after_help = BANDWIDTH_EXAMPLES)]
    Bandwidth(BandwidthArgs),
    /// Time one line on an idle machine, loaded or made durable
    #[command(after_help = PERSIST_LATENCY_EXAMPLES)]
    PersistLatency(PersistLatencyArgs),
}

const CHASE_EXAMPLES: &str = "\
Each load waits for the one before. There is one load every --stride bytes, in the order of one
random cycle through all. The footprint is gone through three times before the time is taken, twice
from 2 million loads on, and never by more loads than twice the lines of the caches and 262,144;
64 times if it has few. The time is that of whole passes of at least 65,536 loads, or of 524,288
loads of a longer footprint. Every footprint has a machine of its own. Where frames are random, a
small footprint is measured in 16 or 4 allocations, and the mean is shown.

Examples:
  daxsim probe chase
  daxsim probe chase --machine zen3-milan --stride 64 --threads 2
  daxsim probe chase --page 2M --offset spread --footprints 1M,64M,1G
  daxsim probe chase --set tlb.stlb.entries=3072 --footprints 6M,8M,12M --json

Exit status: 0 done, 2 bad usage or bad input.";

const AD_UPDATE_EXAMPLES: &str = "\
The TLBs are flushed before both passes, so that the walk itself cancels out.

Examples:
  daxsim probe ad-update
  daxsim probe ad-update --pages 64,4096,16384 --set \"mmu.dirty_assist=400 cycles\"

Exit status: 0 done, 2 bad usage or bad input.";

const PING_EXAMPLES: &str = "\
Each CPU changes the line as soon as the other one has. One way is half of a round trip.

Examples:
  daxsim probe cacheline-ping
  daxsim probe cacheline-ping --cpus 0,16 --set cpu.count=32 --set topology.sockets=2

Exit status: 0 done, 2 bad usage or bad input.";

const TLBDR_EXAMPLES: &str = "\
Each line is an experiment: whether it finds here what its authors found on Kaby Lake (Tatar et al.,
USENIX Security 2022). The machine needs first levels for loads and for fetches.

Examples:
  daxsim probe tlbdr --machine i7-7800x
  daxsim probe tlbdr --machine i7-7800x --set tlb.stlb.replacement=lru

Exit status: 0 done, whatever was found; 2 bad usage or bad input.";

const WALKS_EXAMPLES: &str = "\
The streams are those of `daxsim gen`.

Examples:
  daxsim probe walks
  daxsim probe walks --streams zipf --set psc.pde=24

Exit status: 0 done, 2 bad usage or bad input.";

/// What a probe runs on.
#[derive(Clone, Debug, Args)]
pub struct OnArgs {
    /// Machine: a builtin's name or a TOML file
    #[arg(long, default_value = "skylake-sp-optane", value_name = "NAME|FILE")]
    pub machine: String,
    /// Kernel: a builtin's name or a TOML file
    #[arg(long, default_value = "linux-7.2", value_name = "NAME|FILE")]
    pub kernel: String,
    /// Override a configuration key, as in tlb.stlb.entries=2048 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Points measured at the same time
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Where in its stride a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OffsetArg {
    /// To its first byte: with whole pages as the stride all loads share a set of the L1D
    #[value(name = "0")]
    Zero,
    /// To a line that changes from load to load: they spread over all sets
    Spread,
}

/// Size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageArg {
    /// 4 KiB
    #[value(name = "4K")]
    Small,
    /// 2 MiB
    #[value(name = "2M")]
    Large,
    /// 1 GiB
    #[value(name = "1G")]
    Huge,
}

/// `daxsim probe chase`
#[derive(Debug, Args)]
pub struct ChaseArgs {
    /// Bytes between two loads
    #[arg(long, default_value = "4K", value_name = "SIZE", value_parser = size::parse)]
    pub stride: u64,
    /// Where in its stride a load goes
    #[arg(long, default_value = "0", value_name = "WHERE")]
    pub offset: OffsetArg,
    /// Size of the pages
    #[arg(long, default_value = "4K", value_name = "SIZE")]
    pub page: PageArg,
    /// Footprints, separated by commas [default: 29 from 32K to 512M]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,..", value_parser = size::parse)]
    pub footprints: Vec<u64>,
    /// Seed of the order
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe ad-update`
#[derive(Debug, Args)]
pub struct AdUpdateArgs {
    /// Pages of a pass, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024,2048,4096,8192,16384", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub pages: Vec<u64>,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe cacheline-ping`
#[derive(Debug, Args)]
pub struct PingArgs {
    /// The CPU that begins and the one that answers
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 1,
        default_value = "0,1",
        value_name = "A,B",
        allow_negative_numbers = true
    )]
    pub cpus: Vec<u16>,
    /// Round trips
    #[arg(long, default_value_t = 1000, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rounds: u32,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe walks`
#[derive(Debug, Args)]
pub struct WalksArgs {
    /// Streams, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "zipf,mixed", value_name = "NAME,..")]
    pub streams: Vec<StreamArg>,
    /// Accesses counted, after half as many uncounted
    #[arg(long, default_value_t = 2_000_000, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub accesses: u64,
    /// Seed of the streams
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// A stream of accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StreamArg {
    /// Loads along one random cycle through all lines of 1 GiB
    Chase,
    /// Loads from random lines of pages of 4 GiB, a few of them often (Zipf, 0.99)
    Zipf,
    /// Loads from line after line of 1 GiB
    Seq,
    /// Runs in a page, 30 % stores; half of the runs in 8,192 hot pages, the others anywhere in 1 GiB or in the next page
    Mixed,
    /// Accesses to any line of 1 GiB
    Uniform,
    /// Accesses 4 KiB apart, round and round in 1 GiB
    Stride,
}

/// `daxsim validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Points to check, by their id or what stands before a dot in it [default: all]
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Points of this file instead of the builtin ones (repeatable)
    #[arg(long, value_name = "FILE")]
    pub points: Vec<PathBuf>,
    /// Measurements made at the same time
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Folder for validation.json, validation.html and validation.md
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Help of `validate`.
pub const VALIDATE_EXAMPLES: &str = "\
A point is a number or a curve that was measured on hardware, with the simulated machine that has to
reproduce it and how near it has to come. docs/validation.md has the format of the files.

Examples:
  daxsim validate --threads 2
  daxsim validate R01 R02 skx.curve-4kb
  daxsim validate --points mine.toml --out out/

Exit status: 0 all points hold, 1 a point does not, 2 bad usage or bad input.";
