//! The command line of `study`.

use std::path::PathBuf;

use clap::Args;

/// `daxsim study`
#[derive(Debug, Args)]
pub struct StudyArgs {
    /// A builtin study or a TOML file; without one the builtin ones are listed
    #[arg(value_name = "NAME|FILE")]
    pub study: Option<String>,
    /// Points measured at the same time
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Folder for study.json, study.html and study.md [default: reports/out/study-NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Help of `study`.
pub const STUDY_EXAMPLES: &str = "\
A study puts variants of machine or kernel to one measurement, as a function of cores or of any key.
docs/studies.md has the format of the files. A point that cannot be measured is reported with the
reason, and the others go on. The results are the same bytes for any --threads.

Examples:
  daxsim study                              the builtin ones
  daxsim study shootdowns --threads 2
  daxsim study fault-scaling --out out/ --json
  daxsim study mine.toml

Exit status: 0 done, 1 a point could not be measured, 2 bad usage or bad input.";
