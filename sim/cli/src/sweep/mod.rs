//! `daxsim sweep`: many configurations of one question.

mod args;
mod crew;
mod document;
mod dry;
mod family;
mod halving;
mod journal;
mod metrics;
mod plan;
mod progress;
mod shared;
mod slurm;
mod store;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use daxsim_configs::sweep::load_sweep;
use daxsim_reports::sweep as report;

use crate::{Status, output};
use halving::{Heat, Search};
use plan::{Plan, Point};
use store::Store;
use work::Place;

pub use args::{SWEEP_EXAMPLES, SweepArgs};

use args::Engine;

/// Runs `daxsim sweep`.
pub fn run(args: &SweepArgs) -> Result<Status> {
    let mut status = Status::Done;
    for spec in &args.specs {
        if let Status::CheckFailed = one(args, spec)? {
            status = Status::CheckFailed;
        }
    }
    Ok(status)
}

/// Where the files of a sweep go.
fn folder(args: &SweepArgs, name: &str) -> PathBuf {
    match &args.out {
        Some(out) if args.specs.len() == 1 => out.clone(),
        Some(out) => out.join(name),
        None => Path::new("reports/out").join(format!("sweep-{name}")),
    }
}

fn one(args: &SweepArgs, spec: &Path) -> Result<Status> {
    // A name without a folder is a file all the same.
    let plan = Plan::new(load_sweep(&spec.display().to_string())?, args.memory)?;
    let out = folder(args, &plan.sweep.name);
    let designs: Vec<usize> = (0..plan.designs.len()).collect();
    let place = Place {
        spec,
        out: &out,
        threads: args.threads,
        memory: args.memory,
        alike: !args.each_alone,
        alone: args.shard.is_some(),
    };
    if let Some(id) = &args.only {
        only(&plan, &designs, id, &place)?;
        return Ok(Status::Done);
    }
    if args.dry_run {
        let store = Store::open(&out)?;
        let points = plan.points(&designs, None)?;
        output::print(&dry::describe(&plan, &points, &store, args.threads, place.alike)?)?;
        return Ok(Status::Done);
    }
    if let Some(shard) = args.shard {
        let points = slurm::points(&plan, &designs, &out, args.round)?;
        let has = |(index, _): &(usize, &Point)| shard.has(*index);
        let asked: Vec<&Point> = points.iter().enumerate().filter(has).map(|(_, point)| point).collect();
        work::run(&plan, &asked, &place)?;
        return Ok(Status::Done);
    }
    let run = |points: &[Point], heat: Option<&Heat<'_>>| match args.engine {
        Engine::Local => work::run(&plan, &points.iter().collect::<Vec<_>>(), &place),
        Engine::Slurm => slurm::run(args, points, &place, heat),
    };
    let search = match &plan.sweep.search {
        Some(halving) => halving::run(&plan, halving, |heat| run(heat.points, Some(heat)))?,
        None => {
            let points = plan.points(&designs, None)?;
            Search { outcomes: run(&points, None)?, points, rounds: Vec::new() }
        }
    };
    let sweep = document::assembled(&plan, &search.points, &search.outcomes, search.rounds);
    document::write(&sweep, &out)?;
    finish(args, &sweep, &out)
}

/// Runs one point, of whatever length.
fn only(plan: &Plan, designs: &[usize], id: &str, place: &Place<'_>) -> Result<()> {
    let lengths = match &plan.sweep.search {
        Some(halving) => halving::lengths(plan, halving)?,
        None => vec![None],
    };
    for length in lengths {
        let points = plan.points(designs, length)?;
        if let Some(point) = points.iter().find(|point| point.id() == id) {
            return work::only(plan, point, place);
        }
    }
    bail!("the sweep has no point {id}")
}

/// Prints what came out.
fn finish(args: &SweepArgs, sweep: &report::Sweep, out: &Path) -> Result<Status> {
    if sweep.space.run + sweep.space.failed != sweep.points.len() as u64 {
        bail!("{}: not every point has an outcome", sweep.name);
    }
    if !args.quiet {
        let page = out.join("sweep.html");
        output::print(&format!("{}\nreport: {}\n", report::summary(sweep), page.display()))?;
    }
    if sweep.failures.is_empty() {
        return Ok(Status::Done);
    }
    output::note(&format!(
        "daxsim: {}: {} of {} points failed",
        sweep.name,
        sweep.space.failed,
        sweep.points.len()
    ));
    for failure in &sweep.failures {
        output::note(&format!("  {}: {}", failure.what, failure.why));
    }
    Ok(Status::CheckFailed)
}
