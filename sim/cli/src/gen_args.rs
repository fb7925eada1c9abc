//! The command line of `gen`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::probe_args::SEED;
use crate::size;

/// What `daxsim gen` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GenName {
    /// Say what there is to generate, and with which options
    List,
    /// Accesses: line after line of --bytes (default 1G), round and round
    #[value(alias = "sequential")]
    Seq,
    /// Accesses: --stride bytes apart (default 4K), round and round in --bytes (default 1G)
    Stride,
    /// Accesses: any line of --bytes (default 1G)
    Uniform,
    /// Accesses: any line of pages of --bytes (default 4G), a few of them often (Zipf, --theta)
    Zipf,
    /// Accesses: loads along one random cycle through all lines of --bytes (default 1G), each of which needs the one before
    Chase,
    /// Accesses: runs in a page, 30 % stores; half of the runs in 8,192 hot pages, the others anywhere in 1 GiB or in the next page
    Mixed,
    /// Accesses: --threads that take turns in loads and stores of any line of --bytes (default 4K)
    Shared,
    /// Script: pages that are loaded, and in each round stored to by all threads and written back
    MkwriteStorm,
    /// Script: in each round stores to --dirty pages, and msync
    MsyncLoop,
    /// Script: all threads store to the same pages at once, in each round, and msync
    Contention,
    /// Script: in each round a fork, whose child stores to every page
    Fork,
    /// Script: loads and stores while another thread cuts the file off
    TruncateRace,
}

/// `daxsim gen`
#[derive(Debug, Args)]
pub struct GenArgs {
    /// What to generate; `list` says what there is
    #[arg(value_name = "NAME", hide_possible_values = true)]
    pub name: GenName,
    /// Accesses, of all threads
    #[arg(long, default_value_t = 1_000_000, value_name = "N", allow_negative_numbers = true)]
    pub count: u64,
    /// Seed
    #[arg(long, default_value_t = SEED, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
    /// First address of the range of accesses, a multiple of 64
    #[arg(long, default_value_t = daxsim_traces::generate::BASE, value_name = "ADDRESS", value_parser = address)]
    pub base: u64,
    /// Length of the range of accesses
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub bytes: Option<u64>,
    /// Distance of two accesses of stride [default: 4K]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub stride: Option<u64>,
    /// Stores of 100 accesses of seq, stride, uniform, zipf [default: 0] and shared [default: 50]
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub writes: Option<u64>,
    /// Exponent of zipf in thousandths [default: 990]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub theta: Option<u32>,
    /// Threads of shared and of scripts [default: 4; of fork and msync-loop 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Accesses that a thread of shared makes in its turn [default: 16]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub turn: Option<u64>,
    /// Pages of 4 KiB of a script's file [default: 256]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(2..=65_536))]
    pub pages: Option<u64>,
    /// Rounds of a script [default: 16]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub rounds: Option<u64>,
    /// Pages that a round of msync-loop stores to [default: a quarter]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub dirty: Option<u64>,
    /// File to write: of accesses NAME.dxt or NAME.raw, of a script NAME.txt or NAME.dxt; - for the raw format, or the script, on
    /// standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// An address in decimal or, with 0x, in hexadecimal.
fn address(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let expected = || format!("`{text}`: expected a multiple of 64 such as 0x1000000000");
    parsed.ok().filter(|address| address.is_multiple_of(64)).ok_or_else(expected)
}

/// Help of `gen`.
pub const GEN_EXAMPLES: &str = "\
Accesses go to a .dxt, the format of `daxsim import`, which `daxsim replay` runs: each has 8 bytes and is an instruction of its own.
The raw format is a 64-bit little-endian number for each access: the address, a multiple of 64, with bit 0 set for a store. Scripts are
text; their first line says how many faults they take, where no race decides. Equal arguments give equal bytes on any host.

Examples:
  daxsim gen list
  daxsim gen zipf --count 10000000 -o zipf.dxt
  daxsim gen uniform --bytes 64M --writes 25 -o - | sha256sum
  daxsim gen chase --bytes 256M -o chase.dxt && daxsim replay chase.dxt --map f@0x1000000000+256M
  daxsim gen shared --threads 8 --bytes 64K -o shared.dxt && daxsim replay shared.dxt --map f@0x1000000000+64K
  daxsim gen mkwrite-storm --threads 8 --pages 1024 -o storm.txt && daxsim replay storm.txt
  daxsim gen truncate-race --seed 7 -o race.txt && daxsim replay race.txt --seed 3

Exit status: 0 done, 2 bad usage.";
