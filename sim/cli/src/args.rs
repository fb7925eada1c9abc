//! The command line, as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use daxsim_types::FileSystem;

use crate::accesses::AccessArgs;
use crate::compare::{COMPARE_EXAMPLES, CompareArgs};
use crate::explain::{EXPLAIN_EXAMPLES, ExplainArgs};
use crate::gen_args::{GEN_EXAMPLES, GenArgs};
use crate::import_args::{IMPORT_EXAMPLES, INFO_EXAMPLES, ImportArgs, InfoArgs};
use crate::probe_args::{ProbeArgs, VALIDATE_EXAMPLES, ValidateArgs};
use crate::record::{RECORD_EXAMPLES, RecordArgs};
use crate::report::{REPORT_EXAMPLES, ReportArgs};
use crate::shell::{COMPLETIONS_EXAMPLES, CompletionsArgs, MAN_EXAMPLES, ManArgs};
use crate::study::{STUDY_EXAMPLES, StudyArgs};
use crate::sweep::{SWEEP_EXAMPLES, SweepArgs};
use crate::timeline::TimelineArgs;
use crate::vm::VmArgs;

/// Simulates the Linux DAX fault path on an x86 machine.
///
/// Predicts the faults of a workload script, or replays what a kernel recorded, and reports what each fault cost
/// and where the time went.
#[derive(Debug, Parser)]
#[command(name = "daxsim", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run workload scripts or recorded traces and report what their faults cost
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Compare predicted faults with recorded ones, fault by fault
    #[command(after_help = CONFORM_EXAMPLES)]
    Conform(ConformArgs),
    /// Compare two reports or two sweeps: what differs, and which parts explain it
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Show a fault as its micro-operations, with the cost of each
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Make the forms of a saved report again, without simulating
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Run one input under several insert semantics and trace each difference to the knob that makes it
    #[command(after_help = SEMANTICS_EXAMPLES)]
    Semantics(SemanticsArgs),
    /// Put the simulated machine to a measurement that hardware was put to
    #[command(after_help = PROBE_EXAMPLES)]
    Probe(ProbeArgs),
    /// Compare the simulated machines with what was measured on hardware
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate(ValidateArgs),
    /// Measure variants of machine or kernel as a function of cores or of any key, and compare them
    #[command(after_help = STUDY_EXAMPLES)]
    Study(StudyArgs),
    /// Run inputs on many configurations and find the best ones, by all keys of machine and kernel
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(SweepArgs),
    /// Make a .dxt of a trace
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Say what an input is and what it holds
    #[command(after_help = INFO_EXAMPLES)]
    Info(InfoArgs),
    /// Write a generated trace of accesses or a workload script
    #[command(after_help = GEN_EXAMPLES)]
    Gen(GenArgs),
    /// Run a command and record what the kernel does for it
    #[command(after_help = RECORD_EXAMPLES)]
    Record(RecordArgs),
    /// Record on a real kernel in a virtual machine
    #[command(after_help = VM_EXAMPLES)]
    Vm(VmArgs),
    /// List and show machines, kernels and insert semantics
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(ConfigArgs),
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write the manual pages
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  daxsim replay traces/recorded/kernel-7.2/ext4/s10_msync_loop/trace.txt.xz
  daxsim explain fault mkwrite --kernel linux-6.12
  daxsim compare base/ new/ --fail-if 'latency.mkwrite.p99 > +5%'
  daxsim config list";

const REPLAY_EXAMPLES: &str = "\
Examples:
  daxsim replay traces/recorded/kernel-7.2/ext4/s10_msync_loop/trace.txt.xz
  daxsim replay my-trace.txt.zst --machine skylake-sp-optane --kernel linux-6.12 --fs xfs --out out/
  daxsim replay traces/recorded/kernel-7.2/ext4/s01_read_then_write/script.txt --kernel dax-patch-v1
  daxsim replay script.txt --semantics patch-v1
  daxsim replay script.txt --semantics merged+upgrade_sets_d_4k@pre-series
  daxsim replay script.txt --crash-at 250000
  daxsim replay script.txt --timeline run.pftrace --timeline-window 1ms..2ms --folded run.folded
  daxsim replay program.lackey.zst --map db@0x4a00000+64M --fs xfs
  daxsim replay program.dxt --maps program.proc-maps --dax '/mnt/pmem/*'
  daxsim replay script.txt --set tlb.stlb.entries=3072 --set tree.flush_ceiling_pages=64

Exit status: 0 done, 2 bad usage or bad input.";

const CONFORM_EXAMPLES: &str = "\
Folders are laid out as kernel-<version>/<ext4|xfs|devdax>/<scenario> and hold script.txt and
faults.tsv.

Examples:
  daxsim conform traces/recorded/kernel-*/*/s01_read_then_write
  daxsim conform traces/recorded/kernel-7.2/ext4/s19_unmap_1thread

Exit status: 0 all equal, 1 a difference, 2 bad usage or bad input.";

const SEMANTICS_EXAMPLES: &str = "\
Every run has the same machine and the same kernel tree; only the [dax] knobs differ. Between two
semantics the knobs are switched one after another, and each change of a number is put down to the
knob that made it.

Examples:
  daxsim semantics traces/recorded/kernel-7.2/ext4/s10_msync_loop/script.txt
  daxsim semantics script.txt --kernel linux-6.12 --fs xfs
  daxsim semantics script.txt --of patch-v1,v1-intent

Exit status: 0 done, 2 bad usage or bad input.";

const PROBE_EXAMPLES: &str = "\
Examples:
  daxsim probe chase --machine skylake-sp-optane
  daxsim probe fault --help";

const VM_EXAMPLES: &str = "\
Examples:
  daxsim vm record script.txt --kernel linux-image-6.12.117+deb12-amd64
  daxsim vm record --help";

const CONFIG_EXAMPLES: &str = "\
Examples:
  daxsim config list
  daxsim config show skylake-sp-optane
  daxsim config show linux-7.2 --set tree.pti=true
  daxsim config show merged";

/// What an input runs on.
#[derive(Clone, Debug, Args)]
pub struct SetupArgs {
    /// Machine: a builtin's name or a TOML file
    #[arg(long, default_value = "skylake-sp-optane", value_name = "NAME|FILE")]
    pub machine: String,
    /// Kernel: a builtin's name or a TOML file [default: the one that recorded the input, else linux-7.2]
    #[arg(long, value_name = "NAME|FILE")]
    pub kernel: Option<String>,
    /// File system of the DAX files: ext4, xfs or devdax [default: the recorded one, else ext4]
    #[arg(long, value_name = "FS")]
    pub fs: Option<FileSystem>,
    /// Override a configuration key, as in tlb.stlb.entries=2048 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Extents of a script's files, as `filefrag -v` prints them
    #[arg(long, value_name = "FILE")]
    pub layout: Option<PathBuf>,
    /// How a trace of accesses is run.
    #[command(flatten)]
    pub accesses: AccessArgs,
    /// Seed of everything that is drawn: how late the threads of a racing section start
    #[arg(long, default_value_t = 0, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
}

/// `daxsim replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Workload scripts, tracefs text or traces of accesses (.dxt, lackey, ChampSim); plain, .xz, .zst or .gz, told by content
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// What the run is of.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Insert semantics in place of the kernel's: pre-series, patch-v1, v1-intent, merged or a TOML file, then any +KNOB@NAME
    #[arg(long, value_name = "NAME|FILE")]
    pub semantics: Option<String>,
    /// Let the power go in this cycle of simulated time: the run ends there, and the report lists what is not durable
    #[arg(long, value_name = "CYCLE", allow_negative_numbers = true)]
    pub crash_at: Option<u64>,
    /// Threads of the host: inputs simulated at the same time or, of a single input, CPUs that look ahead at the same time. No result
    /// depends on it
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Folder for report.json, report.html, latency.hlog and (scripts) faults.tsv [default: reports/out/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What CPUs did over time.
    #[command(flatten)]
    pub timeline: TimelineArgs,
    /// Print no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the reports as JSON instead of summaries
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
}

/// `daxsim conform`
#[derive(Debug, Args)]
pub struct ConformArgs {
    /// Folders of recorded scenarios
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Machine: a builtin's name or a TOML file
    #[arg(long, default_value = "qemu-tcg", value_name = "NAME|FILE")]
    pub machine: String,
    /// Kernel: a builtin's name or a TOML file [default: the one that recorded the scenario]
    #[arg(long, value_name = "NAME|FILE")]
    pub kernel: Option<String>,
    /// Insert semantics in place of the kernel's: pre-series, patch-v1, v1-intent, merged or a TOML file, then any +KNOB@NAME
    #[arg(long, value_name = "NAME|FILE")]
    pub semantics: Option<String>,
    /// Override a configuration key (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Interleavings tried of a racing scenario; up to 16 times as many for a fault's way that they do not show
    #[arg(long, default_value_t = 64, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub seeds: u32,
}

/// `daxsim semantics`
#[derive(Debug, Args)]
pub struct SemanticsArgs {
    /// A workload script or tracefs text
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// Semantics to compare, from the first to each other: builtins or TOML files, with any +KNOB@NAME
    #[arg(long, value_delimiter = ',', default_value = "pre-series,patch-v1,merged", value_name = "NAME,..")]
    pub of: Vec<String>,
    /// What every run is of; the kernel gives the tree.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Runs at the same time
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Print no tables
    #[arg(long, short)]
    pub quiet: bool,
    /// Print JSON instead of tables
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Folder for semantics.json and semantics.html [default: reports/out/NAME.semantics]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `daxsim config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The `config` commands.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List the builtin machines, kernels and insert semantics
    #[command(after_help = CONFIG_EXAMPLES)]
    List,
    /// Print every key of a machine, a kernel or an insert semantics with its value and meaning
    #[command(after_help = CONFIG_EXAMPLES)]
    Show {
        /// A builtin's name or a TOML file; of a semantics also with any +KNOB@NAME
        name: String,
        /// Override a key first (repeatable)
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
}
