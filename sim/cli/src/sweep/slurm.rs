//! `--engine slurm`: shards as the tasks of a job array, submitted again until every point has an outcome.
//!
//! A shard is every so-manieth point. It is an ordinary `daxsim sweep` on the same folder, which runs these points alone, into a journal
//! of its own, and writes no results. What a lost shard had finished stays finished; the next attempt runs the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_reports::write_atomically;

use super::args::SweepArgs;
use super::halving::Heat;
use super::journal::Outcome;
use super::plan::{Plan, Point};
use super::store::Store;
use super::work::Place;
use crate::output;

/// In place of a limit, where there is none.
const ALL: &str = "all";
/// How often the queue and the journals are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Questions to the queue without an answer after which it is given up.
const PATIENCE: u32 = 30;

/// One shard of several: `3/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub at: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// As typed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((at, of)) if at < of => Ok(Self { at, of }),
            _ => Err(format!("`{text}`: expected a shard of several, such as 3/16, counted from 0")),
        }
    }

    /// Whether a point is in it.
    pub const fn has(self, index: usize) -> bool {
        index % self.of == self.at
    }
}

/// Runs the points on a cluster; the outcome of each by its name.
pub fn run(
    args: &SweepArgs,
    points: &[Point],
    place: &Place<'_>,
    heat: Option<&Heat<'_>>,
) -> Result<BTreeMap<String, Outcome>> {
    if let Some(heat) = heat {
        write_round(heat, place)?;
    }
    let round = heat.map(|heat| heat.round);
    let mut store = Store::open(place.out)?;
    store.forget_failures();
    for attempt in 1..=args.attempts {
        let left = unfinished(points, &store);
        if left == 0 {
            break;
        }
        let shards = left.min(usize::from(args.shards));
        let job = submit(args, place, (round, attempt), shards)?;
        let of = round.map(|round| format!("round {}, ", round + 1)).unwrap_or_default();
        output::note(&format!("daxsim: {of}attempt {attempt}: {left} points in {shards} shards, job {job}"));
        follow(&job, points, &mut store)?;
    }
    let mut outcomes = BTreeMap::new();
    for what in points.iter().filter_map(|point| point.what.as_ref().ok()) {
        let missing = || Err(format!("no shard finished it in {} attempts", args.attempts));
        if store.conflicts().contains(&what.id) {
            bail!("two runs of point {} differ: the nodes have different programs", what.id);
        }
        outcomes.insert(what.id.clone(), store.outcome(&what.id).cloned().unwrap_or_else(missing));
    }
    Ok(outcomes)
}

/// Points without an outcome.
fn unfinished(points: &[Point], store: &Store) -> usize {
    let known = points.iter().filter_map(|point| point.what.as_ref().ok());
    known.filter(|what| store.outcome(&what.id).is_none()).count()
}

/// Where the points of a round are.
fn round_file(out: &Path, round: usize) -> PathBuf {
    out.join("slurm").join(format!("round-{round}.txt"))
}

/// Says which points a round has: the accesses of each thread, if they are limited, and the configurations by their places.
fn write_round(heat: &Heat<'_>, place: &Place<'_>) -> Result<()> {
    let limit = heat.accesses.map_or_else(|| ALL.to_owned(), |limit| limit.to_string());
    let designs: Vec<String> = heat.designs.iter().map(usize::to_string).collect();
    let text = format!("{limit}\n{}\n", designs.join(" "));
    Ok(write_atomically(&round_file(place.out, heat.round), text.as_bytes())?)
}

/// The points that the shards of a job are of: all, or those of a round.
pub fn points(plan: &Plan, designs: &[usize], out: &Path, round: Option<usize>) -> Result<Vec<Point>> {
    let Some(round) = round else {
        if plan.sweep.search.is_some() {
            bail!("{}: which round of its search is not said (--round)", plan.sweep.name);
        }
        return plan.points(designs, None);
    };
    let path = round_file(out, round);
    let text = fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let parsed = round_of(&text).filter(|(_, of_round)| of_round.iter().all(|at| *at < designs.len()));
    let (limit, of_round) = parsed.with_context(|| {
        format!("{}: expected the accesses of a round, and places of its configurations", path.display())
    })?;
    plan.points(&of_round, limit)
}

fn round_of(text: &str) -> Option<(Option<u64>, Vec<usize>)> {
    let (limit, designs) = text.split_once('\n')?;
    let limit = if limit == ALL { None } else { Some(limit.parse().ok()?) };
    let designs = designs.split_whitespace().map(|at| at.parse().ok()).collect::<Option<Vec<usize>>>()?;
    Some((limit, designs))
}

/// Submits the shards of a round; the number of the job.
fn submit(
    args: &SweepArgs,
    place: &Place<'_>,
    (round, attempt): (Option<usize>, u16),
    shards: usize,
) -> Result<String> {
    let folder = place.out.join("slurm");
    fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    let name =
        round.map(|round| format!("round-{round}-")).unwrap_or_default() + &format!("attempt-{attempt}");
    let script = folder.join(format!("{name}.sh"));
    fs::write(&script, text(place, round, shards)?)
        .with_context(|| format!("{}: cannot be written", script.display()))?;
    let log = folder.join(format!("{name}-%a.log"));
    let output = Command::new("sbatch")
        .arg("--parsable")
        .arg(format!("--array=0-{}", shards.saturating_sub(1)))
        .arg(format!("--cpus-per-task={}", place.threads))
        .arg(format!("--output={}", log.display()))
        // The next attempt runs what is missing; Slurm would hold a task of a lost node back for two minutes first.
        .arg("--no-requeue")
        .args(&args.sbatch)
        .arg(&script)
        .output()
        .context("sbatch cannot be run: --engine slurm needs the commands of Slurm")?;
    if !output.status.success() {
        bail!("sbatch refused the job: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    // The number, then perhaps the cluster's name.
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let job = text.split(';').next().unwrap_or_default().to_owned();
    if job.is_empty() || !job.chars().all(|c| c.is_ascii_digit()) {
        bail!("sbatch answered {text:?}: expected the number of a job");
    }
    Ok(job)
}

/// What a task of the array runs.
fn text(place: &Place<'_>, round: Option<usize>, shards: usize) -> Result<String> {
    let whole = |path: &Path| -> Result<PathBuf> { Ok(std::path::absolute(path)?) };
    let quoted = |path: PathBuf| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    Ok(format!(
        "#!/bin/sh\ncd {} || exit 1\nexec {} sweep {} --out {} --threads {} --memory {} {}{}--quiet --shard \"$SLURM_ARRAY_TASK_ID/{shards}\"\n",
        quoted(std::env::current_dir()?),
        quoted(std::env::current_exe()?),
        // As typed: errors name the inputs by it, and results have errors.
        quoted(place.spec.to_owned()),
        quoted(whole(place.out)?),
        place.threads,
        place.memory,
        if place.alike { "" } else { "--each-alone " },
        round.map(|round| format!("--round {round} ")).unwrap_or_default(),
    ))
}

/// Waits until no task of the job is left.
fn follow(job: &str, points: &[Point], store: &mut Store) -> Result<()> {
    let mut silent = 0;
    let mut before = usize::MAX;
    loop {
        std::thread::sleep(LOOK);
        let output = Command::new("squeue")
            .args(["-h", "-j", job, "-o", "%T"])
            .output()
            .context("squeue cannot be run")?;
        let states = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // A job that ended long enough ago is not known any more.
        let is_gone = output.status.success() && states.is_empty() || error.contains("Invalid job id");
        store.refresh()?;
        let left = unfinished(points, store);
        if left != before {
            let tasks = states.lines().count();
            output::note(&format!(
                "daxsim: {} of {} points, {tasks} groups of tasks in the queue",
                points.len() - left,
                points.len()
            ));
            before = left;
        }
        if is_gone {
            store.refresh()?;
            return Ok(());
        }
        silent = if output.status.success() { 0 } else { silent + 1 };
        if silent >= PATIENCE {
            bail!(
                "squeue does not answer: {error}; run the same command again when it does: finished points are kept"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_a_limit_and_places() {
        assert_eq!(round_of("2000\n0 3 17\n"), Some((Some(2000), vec![0, 3, 17])));
        assert_eq!(round_of("all\n5\n"), Some((None, vec![5])));
        for bad in ["", "all", "x\n1", "7\n1 -2"] {
            assert_eq!(round_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn shards_are_all_points_once() {
        let shards: Vec<Shard> = (0..4).map(|n| Shard::parse(&format!("{n}/4")).unwrap()).collect();
        for index in 0..100 {
            assert_eq!(shards.iter().filter(|shard| shard.has(index)).count(), 1);
        }
        for bad in ["", "4/4", "1", "-1/4", "a/b", "0/0"] {
            assert!(Shard::parse(bad).unwrap_err().contains("expected a shard"), "{bad}");
        }
    }
}
