//! The runs: on several threads, each finished point into the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use daxsim_reports::RunReport;
use daxsim_reports::units::counted;

use super::crew::Crew;
use super::journal::{Entry, Journal, Outcome};
use super::plan::{Plan, Point};
use super::progress::Progress;
use super::store::{FOLDER, Store};
use super::{metrics, progress};
use crate::output;

/// How often the journals of others are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Points that follow a run at most: each takes some memory and, as long as it is alike, some time.
const FOLLOWERS: usize = 64;

/// Where a sweep is run, and how.
pub struct Place<'a> {
    /// The file.
    pub spec: &'a Path,
    /// Its folder.
    pub out: &'a Path,
    /// Points at the same time.
    pub threads: u16,
    /// Memory for inputs.
    pub memory: u64,
    /// Whether one run may serve several points.
    pub alike: bool,
    /// Whether nobody else runs these points: then the journals of others are read once.
    pub alone: bool,
}

/// What workers share.
struct Desk {
    journal: Journal,
    store: Store,
    looked: Instant,
    /// Runs, and the points that they served beside their own.
    runs: u64,
    served: u64,
}

/// Runs the points that no journal has; the outcome of each by its name.
pub fn run(plan: &Plan, points: &[&Point], place: &Place<'_>) -> Result<BTreeMap<String, Outcome>> {
    let mut store = Store::open(place.out)?;
    store.forget_failures();
    if store.damaged() > 0 {
        output::note(&format!(
            "daxsim: {} bytes of the journals are no whole entry: what they held is run again",
            store.damaged()
        ));
    }
    if store.foreign() > 0 {
        output::note(&format!(
            "daxsim: {} journals are of another build of the program: what they hold is run again",
            store.foreign()
        ));
    }
    let mut left: BTreeMap<&str, &Point> = BTreeMap::new();
    for point in points {
        if let Ok(what) = &point.what
            && !store.has_result(&what.id)
        {
            left.insert(&what.id, point);
        }
    }
    if !left.is_empty() {
        let suspects: BTreeSet<String> =
            store.suspects().into_iter().filter(|id| left.contains_key(id.as_str())).collect();
        // In the order of the file, which keeps an input's points together.
        let in_order = points.iter().filter(|point| {
            point.what.as_ref().is_ok_and(|what| {
                !suspects.contains(&what.id)
                    && left.get(what.id.as_str()).is_some_and(|l| std::ptr::eq(*l, **point))
            })
        });
        let in_order: Vec<&Point> = in_order.copied().collect();
        store = all(plan, place, store, in_order, &suspects)?;
    }
    outcomes(points, &store)
}

fn outcomes(points: &[&Point], store: &Store) -> Result<BTreeMap<String, Outcome>> {
    let mut outcomes = BTreeMap::new();
    for point in points {
        let Ok(what) = &point.what else { continue };
        if store.conflicts().contains(&what.id) {
            bail!(
                "two runs of point {} differ: the journals are of different programs, or of a broken machine",
                what.id
            );
        }
        let outcome = store.outcome(&what.id).with_context(|| format!("point {} was not run", what.id))?;
        outcomes.insert(what.id.clone(), outcome.clone());
    }
    Ok(outcomes)
}

fn all(
    plan: &Plan,
    place: &Place<'_>,
    store: Store,
    mut points: Vec<&Point>,
    suspects: &BTreeSet<String>,
) -> Result<Store> {
    let journal = Journal::create(&place.out.join(FOLDER), store.program())
        .with_context(|| format!("{}: no journal can be made", place.out.display()))?;
    if !place.alone && store.others(journal.path()) {
        // Where others began, they are ahead: begin elsewhere.
        let mut hasher = DefaultHasher::new();
        journal.path().hash(&mut hasher);
        let by = hasher.finish() as usize % points.len().max(1);
        points.rotate_left(by);
        output::note("daxsim: others are at work on this sweep, too: what they finish is not run twice");
    }
    let progress = Progress::new(points.len() + suspects.len());
    let desk = Mutex::new(Desk { journal, store, looked: progress::now(), runs: 0, served: 0 });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(place.threads)).build()?;
    let crew = Crew::new(pieces(&points, place.alike));
    pool.broadcast(|_| crew.work(|piece| serve(plan, place, &desk, &progress, piece)))
        .into_iter()
        .collect::<Result<()>>()?;
    for id in suspects {
        apart(&desk, place, id)?;
        progress.passed();
    }
    progress.done();
    let mut desk = desk.into_inner().map_err(|_| anyhow!("a worker broke off"))?;
    if desk.served > 0 {
        let (runs, points) = (desk.runs, desk.runs + desk.served);
        output::note(&format!("daxsim: {} served {points} points", counted(runs, "run", "runs")));
    }
    desk.journal.sync()?;
    desk.store.refresh()?;
    Ok(desk.store)
}

/// Points that are tried with one run, in order of the first of each; every one by itself if they are not to be.
pub fn pieces<'a>(points: &[&'a Point], alike: bool) -> Vec<Vec<&'a Point>> {
    let mut pieces: Vec<Vec<&Point>> = Vec::new();
    let mut at = BTreeMap::new();
    for point in points {
        let family = point.what.as_ref().ok().filter(|_| alike).map(|what| (what.family, point.input));
        match family.and_then(|family| Some((family, *at.get(&family)?))) {
            Some((_, piece)) => {
                let piece: &mut Vec<&Point> = &mut pieces[piece];
                piece.push(point);
            }
            None => {
                if let Some(family) = family {
                    at.insert(family, pieces.len());
                }
                pieces.push(vec![point]);
            }
        }
    }
    pieces
}

/// Runs the first of some points; which others it did not serve.
fn serve<'a>(
    plan: &Plan,
    place: &Place<'_>,
    desk: &Mutex<Desk>,
    progress: &Progress,
    mut piece: Vec<&'a Point>,
) -> Result<Vec<&'a Point>> {
    if piece.is_empty() {
        return Ok(piece);
    }
    let first = piece.remove(0);
    if !begin(desk, first, place.alone)? {
        progress.passed();
        return Ok(piece);
    }
    let rest = piece.split_off(piece.len().min(FOLLOWERS));
    let (outcome, followers) = one(plan, first, &piece);
    finish(desk, first, outcome, progress, true)?;
    let mut left = Vec::new();
    for (point, outcome) in piece.into_iter().zip(followers) {
        match outcome {
            Some(metrics) => finish(desk, point, Ok(metrics), progress, false)?,
            None => left.push(point),
        }
    }
    left.extend(rest);
    Ok(left)
}

/// Writes down that a point is begun, unless somebody has finished it.
fn begin(desk: &Mutex<Desk>, point: &Point, alone: bool) -> Result<bool> {
    let mut desk = desk.lock().map_err(|_| anyhow!("a worker broke off"))?;
    if !alone && desk.looked.elapsed() >= LOOK {
        desk.store.refresh()?;
        desk.looked = progress::now();
    }
    let id = point.id();
    if desk.store.has_result(&id) {
        return Ok(false);
    }
    desk.journal.append(&Entry::Begun(id)).context("the journal cannot be written")?;
    Ok(true)
}

fn finish(desk: &Mutex<Desk>, point: &Point, outcome: Outcome, progress: &Progress, ran: bool) -> Result<()> {
    if let Err(error) = &outcome {
        progress.say(&format!("daxsim: a point failed: {error}"));
    }
    let mut desk = desk.lock().map_err(|_| anyhow!("a worker broke off"))?;
    desk.journal.append(&Entry::Finished(point.id(), outcome)).context("the journal cannot be written")?;
    (desk.runs, desk.served) = (desk.runs + u64::from(ran), desk.served + u64::from(!ran));
    progress.ran();
    Ok(())
}

/// Runs a point; with its outcome the metrics of those that follow it and that its run serves, too.
pub fn one(plan: &Plan, point: &Point, following: &[&Point]) -> (Outcome, Vec<Option<Vec<Option<f64>>>>) {
    let metrics = |report: &RunReport| -> Result<Vec<Option<f64>>> {
        if let Some(damage) = crate::replay::damage(report) {
            bail!("the input is damaged: {}", damage.detail);
        }
        metrics::numbers(report, &plan.sweep.metrics)
    };
    let run = || -> Result<_> {
        let args = |point: &Point| plan.args(point.design, point.accesses);
        let followers = following.iter().map(|point| args(point)).collect::<Result<Vec<_>>>()?;
        let reports = plan.input(point.input)?.simulate(&args(point)?, &followers, &plan.room)?;
        // What fails of a follower fails again when it is run by itself, and says why.
        let found = reports.followers.iter().map(|report| metrics(report.as_ref()?).ok());
        Ok((metrics(&reports.own)?, found.collect()))
    };
    let none = || following.iter().map(|_| None).collect();
    // A fault of the simulator is that of one point.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok((outcome, found))) => (Ok(outcome), found),
        Ok(Err(error)) => (Err(output::describe(&error)), none()),
        Err(_) => (Err("the simulator broke off; standard error says where".to_owned()), none()),
    }
}

/// Runs a point that a worker died in, in a process of its own.
fn apart(desk: &Mutex<Desk>, place: &Place<'_>, id: &str) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .arg("sweep")
        .arg(place.spec)
        .arg("--out")
        .arg(place.out)
        .args(["--memory", &place.memory.to_string(), "--quiet", "--only", id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("a process for a point cannot be started")?;
    let mut desk = desk.lock().map_err(|_| anyhow!("a worker broke off"))?;
    desk.store.refresh()?;
    if desk.store.outcome(id).is_none() {
        let reason = format!(
            "the process that ran it alone ended with {}: it may need more memory than there is",
            progress::status(status)
        );
        output::note(&format!("daxsim: a point failed: {reason}"));
        desk.journal.append(&Entry::Finished(id.to_owned(), Err(reason)))?;
        desk.store.refresh()?;
    }
    Ok(())
}

/// Runs one point into a journal of its own.
pub fn only(plan: &Plan, point: &Point, place: &Place<'_>) -> Result<()> {
    let store = Store::open(place.out)?;
    let mut journal = Journal::create(&place.out.join(FOLDER), store.program())?;
    journal.append(&Entry::Begun(point.id()))?;
    journal.append(&Entry::Finished(point.id(), one(plan, point, &[]).0))?;
    Ok(journal.sync()?)
}
