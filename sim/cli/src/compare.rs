//! `daxsim compare`: two reports, and what explains their differences.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use daxsim_reports::compare::{Comparison, Limit, html, markdown, summary};
use daxsim_reports::{RunReport, json, write_atomically};

use crate::{Status, output};

/// `daxsim compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What is compared with: a report.json, or the folder of one
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// What is compared
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Fail if this holds: PATH > +5% (the change in per cent), PATH > +120 (the change), PATH > 4000 (the new value); also
    /// >=, < and <=, and units ns, us, ms and s of times, which are else nanoseconds (repeatable)
    #[arg(long, value_name = "LIMIT")]
    fail_if: Vec<Limit>,
    /// Print JSON instead of tables
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown, for the mail of a patch or a pull request
    #[arg(long)]
    markdown: bool,
    /// Folder for compare.json, compare.html and compare.md [default: none are written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print nothing: the exit status says whether a limit is passed
    #[arg(long, short, conflicts_with_all = ["json", "markdown"])]
    quiet: bool,
}

/// Help of `compare`.
pub const COMPARE_EXAMPLES: &str = "\
The change of a mean latency is taken apart by its parts, whose changes sum to it. The numbers have the
paths of report.json, as in faults.mkwrite, shootdowns.ipis_sent or latency.read.parts.fs.mean_ns; what
a report lacks is 0 in it.

Examples:
  daxsim compare base/ new/
  daxsim compare base/report.json new/report.json --markdown
  daxsim compare base/ new/ --fail-if 'latency.mkwrite.p99 > +5%' --fail-if 'shootdowns.ipis_sent > +0'
  daxsim compare base/ new/ --out out/

Exit status: 0 done, 1 a limit is passed, 2 bad usage or bad input.";

/// Runs `daxsim compare`.
pub fn run(args: &CompareArgs) -> Result<Status> {
    let (base, new) = (read(&args.base)?, read(&args.new)?);
    let comparison = Comparison::new((&base.0, &base.1), (&new.0, &new.1), &args.fail_if)?;
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("compare.json"), comparison.to_json()?.as_bytes())?;
        write_atomically(&folder.join("compare.html"), html(&comparison)?.as_bytes())?;
        write_atomically(&folder.join("compare.md"), markdown(&comparison).as_bytes())?;
    }
    if args.json {
        output::print(&comparison.to_json()?)?;
    } else if args.markdown {
        output::print(&markdown(&comparison))?;
    } else if !args.quiet {
        output::show(&summary(&comparison))?;
        if let Some(folder) = &args.out {
            output::print(&format!("\nreport: {}\n", folder.join("compare.html").display()))?;
        }
    }
    Ok(if comparison.fails() { Status::CheckFailed } else { Status::Done })
}

/// A saved report with its name as typed.
fn read(path: &Path) -> Result<(String, RunReport)> {
    Ok((path.display().to_string(), json::read(&saved(path))?))
}

/// The report.json that a path means: itself, or the one in a folder.
pub(crate) fn saved(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("report.json") } else { path.to_path_buf() }
}
