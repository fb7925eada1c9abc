//! The command lines of the probes of memory: `write-chase`, `overwrite`, `bandwidth`, `persist-latency`.

use clap::{Args, ValueEnum};

use crate::probe_args::{OnArgs, SEED};
use crate::size;

/// Examples of `write-chase`.
pub const WRITE_CHASE_EXAMPLES: &str = "\
The protocol of LENS (Wang et al., MICRO 2020). A region is written block by block in random order,
with an MFENCE at its end, then the next one behind it, 65,536 lines in all. Then all are read in the
same order: the lines of a block together, the next block when the last line is there. Of a larger
region as many random places are taken. The first quarter of each phase is not timed.

Examples:
  daxsim probe write-chase --machine cascadelake-optane-1dimm
  daxsim probe write-chase --block 256 --regions 4K,16K,1M,64M --threads 2
  daxsim probe write-chase --store clwb --regions 64,512,16K --json

Exit status: 0 done, 2 bad usage or bad input.";

/// Examples of `overwrite`.
pub const OVERWRITE_EXAMPLES: &str = "\
The same region again and again, a block at a time with an MFENCE after each. With --order halves the
first half of every block is written, then the second half of every block: a region that the buffer of
the DIMM does not hold costs two writes of the media for each block (LATTester's test of that buffer).

Examples:
  daxsim probe overwrite --machine cascadelake-optane-1dimm
  daxsim probe overwrite --regions 4K,32K,64K,128K --writes 1000000
  daxsim probe overwrite --order halves --regions 16K,18K,20K,24K,32K,64K --writes 65536

Exit status: 0 done, 2 bad usage or bad input.";

/// Examples of `bandwidth`.
pub const BANDWIDTH_EXAMPLES: &str = "\
Each thread has a core and up to 2 GiB of its own, and makes accesses one after another without a
fence: as many lines are under way as the core has fill buffers. Counted are the lines of --time, after
a quarter of that. The write ratio is what the controllers were sent for each byte that the media wrote.
Points are all of --cores with all of --access.

Examples:
  daxsim probe bandwidth --machine cascadelake-optane-1dimm --operation nt --cores 1,2,4,8,16,24
  daxsim probe bandwidth --places random --access 64,128,256,4K --cores 1 --operation nt
  daxsim probe bandwidth --machine xeon-6242 --remote --cores 4
  daxsim probe bandwidth --memory dram --cores 1,8 --json

Exit status: 0 done, 2 bad usage or bad input.";

/// Examples of `persist-latency`.
pub const PERSIST_LATENCY_EXAMPLES: &str = "\
One line at a time on an idle machine: a load, a non-temporal store with its fence, a store with CLWB
and fence. A line that is stored was loaded before, outside the time.

Examples:
  daxsim probe persist-latency --machine cascadelake-optane-1dimm
  daxsim probe persist-latency --memory dram --lines 10000 --json

Exit status: 0 done, 2 bad usage or bad input.";

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MemoryArg {
    /// Persistent memory
    Pmem,
    /// Main memory
    Dram,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreArg {
    /// Non-temporal stores
    Nt,
    /// Stores, each with a CLWB
    Clwb,
}

/// In which order a region is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// Block after block
    Sequential,
    /// The first half of every block, then the second half of every block
    Halves,
}

/// What accesses do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OperationArg {
    /// Loads
    Load,
    /// Non-temporal stores
    Nt,
    /// Stores, each with a CLWB
    Clwb,
    /// Three lines read to one written, by loads and ordinary stores
    #[value(name = "3:1")]
    ThreeToOne,
    /// One line read to one written, by ordinary stores
    #[value(name = "1:1")]
    OneToOne,
}

/// Where accesses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlacesArg {
    /// One after another
    Sequential,
    /// Anywhere, at multiples of their size
    Random,
}

/// `daxsim probe write-chase`
#[derive(Debug, Args)]
pub struct WriteChaseArgs {
    /// Bytes of a block
    #[arg(long, default_value = "64", value_name = "SIZE", value_parser = size::parse)]
    pub block: u64,
    /// Regions, separated by commas [default: 18 from 64 to 1G, from the size of a block on]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,..", value_parser = size::parse)]
    pub regions: Vec<u64>,
    /// How the blocks are written
    #[arg(long, default_value = "nt", value_name = "HOW")]
    pub store: StoreArg,
    /// What memory
    #[arg(long, default_value = "pmem", value_name = "KIND")]
    pub memory: MemoryArg,
    /// Seed of the order
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe overwrite`
#[derive(Debug, Args)]
pub struct OverwriteArgs {
    /// Bytes of a write
    #[arg(long, default_value = "256", value_name = "SIZE", value_parser = size::parse)]
    pub block: u64,
    /// Regions that are written over and over, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "256", value_name = "SIZE,..", value_parser = size::parse)]
    pub regions: Vec<u64>,
    /// Writes that count, after a quarter as many that do not
    #[arg(long, default_value_t = 262_144, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub writes: u64,
    /// How a block is written
    #[arg(long, default_value = "nt", value_name = "HOW")]
    pub store: StoreArg,
    /// In which order
    #[arg(long, default_value = "sequential", value_name = "ORDER")]
    pub order: OrderArg,
    /// A write that takes so many microseconds is a long stall
    #[arg(long, default_value_t = 30, value_name = "US", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub long: u64,
    /// A write that takes so many microseconds, but is no long stall, is a short one
    #[arg(long, default_value_t = 4, value_name = "US", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub short: u64,
    /// What memory
    #[arg(long, default_value = "pmem", value_name = "KIND")]
    pub memory: MemoryArg,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe bandwidth`
#[derive(Debug, Args)]
pub struct BandwidthArgs {
    /// What the accesses do
    #[arg(long, default_value = "load", value_name = "WHAT")]
    pub operation: OperationArg,
    /// Threads of the program, each on a core; numbers separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Vec<u16>,
    /// Bytes of an access, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "256", value_name = "SIZE,..", value_parser = size::parse)]
    pub access: Vec<u64>,
    /// Where they go
    #[arg(long, default_value = "sequential", value_name = "WHERE")]
    pub places: PlacesArg,
    /// What memory
    #[arg(long, default_value = "pmem", value_name = "KIND")]
    pub memory: MemoryArg,
    /// The memory of the last socket, from cores of the first
    #[arg(long)]
    pub remote: bool,
    /// Simulated microseconds that count
    #[arg(long, default_value_t = 400, value_name = "US", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub time: u64,
    /// Seed of random places
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe persist-latency`
#[derive(Debug, Args)]
pub struct PersistLatencyArgs {
    /// Kinds of memory, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "dram,pmem", value_name = "KIND,..")]
    pub memory: Vec<MemoryArg>,
    /// Lines that count, after a quarter as many that do not
    #[arg(long, default_value_t = 4096, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lines: u32,
    /// Seed of random places
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}
