//! `daxsim compare`: two reports or the results of two sweeps, and what explains their differences.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use daxsim_reports::compare::sweeps::{self, SweepComparison, SweepResults};
use daxsim_reports::compare::{Comparison, Limit, html, markdown, summary};
use daxsim_reports::{RunReport, json, write_atomically};

use crate::{Status, output};

/// `daxsim compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What is compared with: a report.json, or the folder of one; the folder of a sweep, or its sweep.json
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

Points of sweeps are matched by input, machine, kernel, semantics and all keys; what has one value in each
sweep is what was varied. A limit holds for each point of a metric of both; geomean.METRIC is its geometric
mean over them, and points.failed, points.only_base and points.only_new count points.

Examples:
  daxsim compare base/ new/
  daxsim compare base/report.json new/report.json --markdown
  daxsim compare base/ new/ --fail-if 'latency.mkwrite.p99 > +5%' --fail-if 'shootdowns.ipis_sent > +0'
  daxsim compare base/ new/ --out out/
  daxsim compare sweep-old/ sweep-new/ --fail-if 'cycles > +5%' --fail-if 'geomean.cycles > +1%'

Exit status: 0 done, 1 a limit is passed, 2 bad usage or bad input.";

/// Runs `daxsim compare`.
pub fn run(args: &CompareArgs) -> Result<Status> {
    let forms = match (sweep_folder(&args.base)?, sweep_folder(&args.new)?) {
        (None, None) => reports(args)?,
        (Some(base), Some(new)) => of_sweeps(&base, &new, &args.fail_if)?,
        (base, _) => {
            let (sweep, report) =
                if base.is_some() { (&args.base, &args.new) } else { (&args.new, &args.base) };
            let (sweep, report) = (sweep.display(), report.display());
            bail!("`{sweep}` is a sweep and `{report}` is not: two reports are compared, or two sweeps");
        }
    };
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("compare.json"), forms.json.as_bytes())?;
        write_atomically(&folder.join("compare.html"), forms.html.as_bytes())?;
        write_atomically(&folder.join("compare.md"), forms.markdown.as_bytes())?;
    }
    if args.json {
        output::print(&forms.json)?;
    } else if args.markdown {
        output::print(&forms.markdown)?;
    } else if !args.quiet {
        output::show(&forms.summary)?;
        if let Some(folder) = &args.out {
            output::print(&format!("\nreport: {}\n", folder.join("compare.html").display()))?;
        }
    }
    Ok(if forms.fails { Status::CheckFailed } else { Status::Done })
}

/// A comparison in all its forms.
struct Forms {
    json: String,
    html: String,
    markdown: String,
    summary: String,
    fails: bool,
}

fn reports(args: &CompareArgs) -> Result<Forms> {
    let (base, new) = (read(&args.base)?, read(&args.new)?);
    let comparison = Comparison::new((&base.0, &base.1), (&new.0, &new.1), &args.fail_if)?;
    Ok(Forms {
        json: comparison.to_json()?,
        html: html(&comparison)?,
        markdown: markdown(&comparison),
        summary: summary(&comparison),
        fails: comparison.fails(),
    })
}

fn of_sweeps(base: &Path, new: &Path, limits: &[Limit]) -> Result<Forms> {
    let comparison = SweepComparison::new(&SweepResults::read(base)?, &SweepResults::read(new)?, limits)?;
    Ok(Forms {
        json: comparison.to_json()?,
        html: sweeps::html(&comparison)?,
        markdown: sweeps::markdown(&comparison),
        summary: sweeps::summary(&comparison),
        fails: comparison.fails(),
    })
}

/// The folder of a sweep, if a path means one: a folder with a `sweep.json`, or such a file.
fn sweep_folder(path: &Path) -> Result<Option<PathBuf>> {
    const NAME: &str = "sweep.json";
    if path.is_dir() {
        let (sweep, report) = (path.join(NAME).is_file(), path.join("report.json").is_file());
        if sweep && report {
            bail!("`{}` holds a report.json and a sweep.json: name the file", path.display());
        }
        return Ok(sweep.then(|| path.to_path_buf()));
    }
    let is_named = path.file_name().is_some_and(|name| name == NAME);
    let folder = || path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(is_named.then(|| folder().to_path_buf()))
}

/// A saved report with its name as typed.
fn read(path: &Path) -> Result<(String, RunReport)> {
    Ok((path.display().to_string(), json::read(&saved(path))?))
}

/// The report.json that a path means: itself, or the one in a folder.
pub(crate) fn saved(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("report.json") } else { path.to_path_buf() }
}
