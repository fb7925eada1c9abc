//! The command lines of `import` and `info`.

use std::path::PathBuf;

use clap::Args;

/// `daxsim import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A trace of accesses (valgrind lackey, ChampSim) or any other input; plain, .xz, .zst or .gz, told by content
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// File to write
    #[arg(long, short, value_name = "FILE.dxt")]
    pub output: PathBuf,
    /// Keep instruction fetches as records; else they are counted
    #[arg(long)]
    pub fetches: bool,
    /// Print no summary
    #[arg(long, short)]
    pub quiet: bool,
}

/// Help of `import`.
pub const IMPORT_EXAMPLES: &str = "\
traces/FORMAT.md describes the format to the byte.

Examples:
  valgrind --tool=lackey --trace-mem=yes --log-fd=9 sqlite3 my.db 9>&1 >/dev/null | zstd > my.lackey.zst
  daxsim import my.lackey.zst -o my.dxt
  daxsim import trace.txt -o trace.dxt
  daxsim import 600.perlbench_s-210B.champsimtrace.xz -o perlbench.dxt --fetches

Exit status: 0 done, 2 bad usage or bad input. Of a damaged input, what could be read is kept, with a warning.";

/// `daxsim info`
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Any input of daxsim
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Read and check all; else a .dxt says what is in it itself, and of long traces of events a part is read
    #[arg(long)]
    pub check: bool,
    /// Threads that check blocks
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// Help of `info`.
pub const INFO_EXAMPLES: &str = "\
Examples:
  daxsim info my.dxt
  daxsim info my.dxt --check --threads 2
  daxsim info traces/recorded/kernel-7.2/ext4/s10_msync_loop/trace.txt.xz --json

Exit status: 0 done, 1 the input is damaged, 2 bad usage or bad input.";
