//! The command line of `record`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// tracefs if it can be written to, else perf
    #[default]
    Auto,
    /// An instance of its own under tracefs
    Tracefs,
    /// `perf record`
    Perf,
}

/// `daxsim record`
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Folder for the raw trace and the .dxt
    #[arg(long, default_value = "recording", value_name = "DIR")]
    pub out: PathBuf,
    /// What records
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub with: With,
    /// Record all tasks of the machine, not only the command and what it starts: then interrupts of other CPUs are there, too
    #[arg(long)]
    pub all_tasks: bool,
    /// Size of the kernel's buffer for each CPU, in KiB
    #[arg(long, default_value_t = 16_384, value_name = "KIB", value_parser = clap::value_parser!(u64).range(64..=4_194_304))]
    pub buffer: u64,
    /// Record on a machine without DAX, too
    #[arg(long)]
    pub without_dax: bool,
    /// Remove what recordings that were killed left behind, and record nothing
    #[arg(long)]
    pub clean: bool,
    /// Where /proc, /dev and /sys are looked for
    #[arg(long, hide = true, default_value = "/", value_name = "DIR")]
    pub root: PathBuf,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "clean", value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Help of `record`.
pub const RECORD_EXAMPLES: &str = "\
What is missing (tracefs, rights, events, DAX) is said before anything starts. tracefs is used through an instance of its own,
so that nothing else on the machine is disturbed; it is removed in any case, and what a killed recording left by the next one.
docs/recording.md has the same by hand, for trace-cmd, perf and plain tracefs.

Examples:
  daxsim record -- my-program /mnt/pmem/db
  daxsim record --out db-run --all-tasks -- sh -c 'my-program /mnt/pmem/db'
  daxsim replay recording/trace.dxt
  daxsim record --clean

Exit status: 0 recorded, 1 events were lost or the command failed, 2 bad usage, or something is missing.";
