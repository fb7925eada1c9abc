//! The command line of `sweep`.

use std::path::PathBuf;

use clap::Args;

use super::slurm::Shard;
use crate::size;

/// `daxsim sweep`
#[derive(Clone, Debug, Args)]
pub struct SweepArgs {
    /// Sweeps: TOML files
    #[arg(required = true, value_name = "SPEC")]
    pub specs: Vec<PathBuf>,
    /// Folder for the journals and the results; of several sweeps, a folder for each in it [default: reports/out/sweep-NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Points run at the same time
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Memory for decoded inputs, which all points share; what does not fit is read by each point
    #[arg(long, default_value = "1G", value_name = "SIZE", value_parser = size::parse)]
    pub memory: u64,
    /// Run every point by itself, also where one run would serve several
    #[arg(long)]
    pub each_alone: bool,
    /// Print the points, and the time and memory that they will take, and run none
    #[arg(long)]
    pub dry_run: bool,
    /// Who runs the points: this process, or the tasks of a Slurm job array
    #[arg(long, value_enum, default_value = "local", value_name = "NAME")]
    pub engine: Engine,
    /// With slurm: tasks of the job array at most
    #[arg(long, default_value_t = 16, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub shards: u16,
    /// With slurm: how often points that no shard finished are submitted
    #[arg(long, default_value_t = 3, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub attempts: u16,
    /// With slurm: an option for sbatch, as in --sbatch=--partition=long (repeatable)
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Print no results
    #[arg(long, short)]
    pub quiet: bool,
    /// Run one point alone: what a sweep does with those that earlier runs died in
    #[arg(long, value_name = "ID", hide = true)]
    pub only: Option<String>,
    /// The round of a search that a task of a job array runs
    #[arg(long, value_name = "N", hide = true, requires = "shard")]
    pub round: Option<usize>,
    /// Run every so-manieth point, and write no results: what a task of a job array does
    #[arg(long, value_name = "I/N", hide = true, value_parser = Shard::parse)]
    pub shard: Option<Shard>,
}

/// Who runs the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Threads of this process.
    Local,
    /// The tasks of a Slurm job array, on a shared file system.
    Slurm,
}

/// Help of `sweep`.
pub const SWEEP_EXAMPLES: &str = "\
docs/sweeps.md has the format of the files. Finished points are kept in journals: run the same
command again after an interruption. The results are the same bytes for any --threads, and however
often the sweep was interrupted. A point that fails is reported with the reason, and the others go on.

Examples:
  daxsim sweep configs/sweeps/stlb.toml --dry-run
  daxsim sweep configs/sweeps/stlb.toml --out out/ --threads 2
  daxsim sweep configs/sweeps/*.toml --out out/
  daxsim sweep mine.toml --out /shared/out --engine slurm --shards 64 --threads 8

Exit status: 0 done, 1 a point failed, 2 bad usage or bad input.";
