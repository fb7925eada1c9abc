//! `--dry-run`: the points, and what they will take.

use anyhow::Result;
use daxsim_reports::units::{count, counted};

use super::plan::{Plan, Point};
use super::progress::{duration, now};
use super::store::Store;
use super::work;
use crate::size;

/// Points that are shown.
const SHOWN: usize = 20;
/// Accesses of each thread that a pilot runs of a trace.
const PILOT: u64 = 200_000;

/// What a sweep is and will take.
pub fn describe(plan: &Plan, points: &[Point], store: &Store, threads: u16, alike: bool) -> Result<String> {
    let sweep = &plan.sweep;
    let mut text = format!(
        "{}\n{} of {} on {}",
        sweep.title,
        counted(points.len() as u64, "point", "points"),
        counted(plan.designs.len() as u64, "configuration", "configurations"),
        counted(plan.inputs.len() as u64, "input", "inputs"),
    );
    if plan.left_out > 0 {
        text += &format!(", {} left out by constraints", count(plan.left_out));
    }
    if let Some(grid) = plan.grid {
        text += &format!(", of a full grid of {}", count(grid));
    }
    let finished = points.iter().filter(|point| store.has_result(&point.id())).count();
    if finished > 0 {
        text += &format!("; {} are finished", count(finished as u64));
    }
    text += "\n";
    if alike {
        text += &shared(points);
    }
    text += "\n";
    for point in points.iter().take(SHOWN) {
        text += &line(plan, point);
    }
    if points.len() > SHOWN {
        text += &format!("  ... and {} more\n", count((points.len() - SHOWN) as u64));
    }
    Ok(text + "\n" + &estimate(plan, points, threads)?)
}

/// Points of which one run may serve several.
fn shared(points: &[Point]) -> String {
    let all: Vec<&Point> = points.iter().filter(|point| point.what.is_ok()).collect();
    let (families, points) = (work::pieces(&all, true).len() as u64, all.len() as u64);
    if families == points {
        return String::new();
    }
    let families = counted(families, "family differs", "families differ");
    format!(
        "one run may serve several points: {families} in more than knobs of the kernel, sizes of STLB and paging-structure caches, and \
         walkers\n"
    )
}

fn line(plan: &Plan, point: &Point) -> String {
    let design = plan.designs.get(point.design);
    let input = plan.sweep.inputs.get(point.input).cloned().unwrap_or_default();
    let mut parts = vec![input];
    if let Some(design) = design {
        parts.push(design.machine.clone());
        parts.extend(design.kernel.iter().chain(&design.semantics).cloned());
        let keys = plan.sweep.keys.iter().zip(&design.levels);
        parts.extend(keys.map(|(key, level)| format!("{}={}", key.name, level.text)));
    }
    let end = match &point.what {
        Ok(what) => what.cost.map(|cost| format!(" (cost {cost})")).unwrap_or_default(),
        Err(error) => format!(": cannot be: {error}"),
    };
    format!("  {}{end}\n", parts.join(" "))
}

/// Time and memory, from a short run of the first point of each input.
fn estimate(plan: &Plan, points: &[Point], threads: u16) -> Result<String> {
    let (mut seconds, mut text) = (0.0, String::new());
    let before = resident();
    for (at, name) in plan.sweep.inputs.iter().enumerate() {
        let of_input = || points.iter().filter(|point| point.input == at && point.what.is_ok());
        let Some(first) = of_input().next() else { continue };
        let length = plan.length(at)?;
        let short = length.map(|length| length.min(PILOT));
        let pilot = Point { accesses: short, ..first.clone() };
        let start = now();
        if let Err(error) = work::one(plan, &pilot, &[]).0 {
            text += &format!("{name}: the first point fails: {error}\n");
            continue;
        }
        let whole = match (length, short) {
            (Some(length), Some(short)) => length as f64 / short.max(1) as f64,
            _ => 1.0,
        };
        let each = start.elapsed().as_secs_f64() * whole;
        text += &format!("{name}: about {each:.2} s a point\n");
        seconds += each * of_input().count() as f64;
    }
    let whole = seconds / f64::from(threads);
    text +=
        &format!("expected: {} on {}", duration(whole.ceil()), counted(threads.into(), "thread", "threads"));
    if let (Some((now, _)), Some((_, peak))) = (before, resident()) {
        // The inputs are there once, what a run takes once for each thread.
        let run = peak.saturating_sub(now);
        text += &format!(", {} of memory", size_shown(now + run * u64::from(threads)));
    }
    Ok(text + "\n")
}

fn size_shown(bytes: u64) -> String {
    size::show(bytes.div_ceil(1 << 20) << 20)
}

/// Bytes of this process in memory, and the most there were.
fn resident() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    Some((kib("VmRSS:")?, kib("VmHWM:")?))
}
