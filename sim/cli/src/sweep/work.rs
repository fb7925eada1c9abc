//! The runs: on several threads, each finished point into the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rayon::prelude::*;

use super::journal::{Entry, Journal, Outcome};
use super::plan::{Plan, Point};
use super::progress::Progress;
use super::store::{FOLDER, Store};
use super::{metrics, progress};
use crate::output;

/// How often the journals of others are looked at.
const LOOK: Duration = Duration::from_secs(2);

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
    /// Whether nobody else runs these points: then the journals of others are read once.
    pub alone: bool,
}

/// What workers share.
struct Desk {
    journal: Journal,
    store: Store,
    looked: Instant,
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
    let desk = Mutex::new(Desk { journal, store, looked: progress::now() });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(place.threads)).build()?;
    pool.install(|| {
        points.par_iter().with_max_len(1).try_for_each(|point| {
            if begin(&desk, point, place.alone)? {
                let outcome = one(plan, point);
                finish(&desk, point, outcome, &progress)?;
            } else {
                progress.passed();
            }
            Ok::<(), anyhow::Error>(())
        })
    })?;
    for id in suspects {
        apart(&desk, place, id)?;
        progress.passed();
    }
    progress.done();
    let mut desk = desk.into_inner().map_err(|_| anyhow!("a worker broke off"))?;
    desk.journal.sync()?;
    desk.store.refresh()?;
    Ok(desk.store)
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

fn finish(desk: &Mutex<Desk>, point: &Point, outcome: Outcome, progress: &Progress) -> Result<()> {
    if let Err(error) = &outcome {
        progress.say(&format!("daxsim: a point failed: {error}"));
    }
    let mut desk = desk.lock().map_err(|_| anyhow!("a worker broke off"))?;
    desk.journal.append(&Entry::Finished(point.id(), outcome)).context("the journal cannot be written")?;
    progress.ran();
    Ok(())
}

/// Runs a point.
pub fn one(plan: &Plan, point: &Point) -> Outcome {
    let run = || -> Result<Vec<Option<f64>>> {
        let args = plan.args(point.design, point.accesses)?;
        let report = plan.input(point.input)?.simulate(&args, &plan.room)?;
        if let Some(damage) = crate::replay::damage(&report) {
            bail!("the input is damaged: {}", damage.detail);
        }
        metrics::numbers(&report, &plan.sweep.metrics)
    };
    // A fault of the simulator is that of one point.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.map_err(|error| output::describe(&error)),
        Err(_) => Err("the simulator broke off; standard error says where".to_owned()),
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
    journal.append(&Entry::Finished(point.id(), one(plan, point)))?;
    Ok(journal.sync()?)
}
