//! `daxsim report`: the forms of a saved report, without simulating again.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use daxsim_reports::{RunReport, hlog, html, json, schema, terminal, write_atomically};

use crate::compare::saved;
use crate::{Status, output};

/// `daxsim report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A report.json, or the folder of one
    #[arg(value_name = "DIR|FILE", required_unless_present = "schema")]
    report: Option<PathBuf>,
    /// Folder for report.html and latency.hlog [default: that of the report]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the JSON Schema of report.json instead
    #[arg(long, conflicts_with_all = ["report", "out", "quiet"])]
    schema: bool,
    /// Print no summary
    #[arg(long, short)]
    quiet: bool,
}

/// Help of `report`.
pub const REPORT_EXAMPLES: &str = "\
The forms are, to the byte, those that the run wrote, if the same version of daxsim made it.
latency.hlog is a log of HdrHistogram, which its plotters read.

Examples:
  daxsim report reports/out/kernel-7.2.ext4.s10_msync_loop.trace
  daxsim report run/report.json --out page/
  daxsim report --schema > report.schema.json

Exit status: 0 done, 2 bad usage or bad input.";

/// Runs `daxsim report`.
pub fn run(args: &ReportArgs) -> Result<Status> {
    let Some(path) = &args.report else {
        output::print(&schema::report()?)?;
        return Ok(Status::Done);
    };
    let file = saved(path);
    let report = json::read(&file)?;
    let folder = match (&args.out, file.parent()) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.to_path_buf(),
        (None, None) => bail!("{}: has no folder; name one with --out", file.display()),
    };
    write_forms(&report, &folder)?;
    if !args.quiet {
        output::show(&summary(&report, &folder))?;
    }
    Ok(Status::Done)
}

/// Writes a report in all forms; what was written, as it will be read back: numbers rounded.
pub(crate) fn write(report: &RunReport, folder: &Path) -> Result<RunReport> {
    let text = json::to_string(report)?;
    let file = folder.join("report.json");
    write_atomically(&file, text.as_bytes())?;
    // The other forms are made of what was saved, so that they can be made of it again.
    let report = json::parse(&file.display().to_string(), &text)?;
    write_forms(&report, folder)?;
    Ok(report)
}

fn write_forms(report: &RunReport, folder: &Path) -> Result<()> {
    html::write(report, &folder.join("report.html"))?;
    write_atomically(&folder.join("latency.hlog"), hlog::log(report).as_bytes())?;
    Ok(())
}

/// The end of a run on the terminal.
pub(crate) fn summary(report: &RunReport, folder: &Path) -> String {
    terminal::summary(report) + &format!("\nreport: {}\n", folder.join("report.html").display())
}
