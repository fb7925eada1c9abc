//! From outcomes to the document of a sweep, and its files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use daxsim_configs::sweep::{self as config, Design, Quantity, Sample};
use daxsim_reports::sweep::{self as report, Round, Space};
use daxsim_reports::units::counted;
use daxsim_reports::write_atomically;

use super::journal::Outcome;
use super::plan::{Plan, Point};

/// The document; `rounds` are those of a search.
pub fn assembled(
    plan: &Plan,
    points: &[Point],
    outcomes: &BTreeMap<String, Outcome>,
    rounds: Vec<Round>,
) -> report::Sweep {
    let sweep = &plan.sweep;
    let objectives = objectives(sweep);
    let rows: Vec<report::Point> = points.iter().map(|point| row(plan, point, outcomes)).collect();
    let notes = notes(sweep, &rows);
    report::Sweep {
        schema: report::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: sweep.name.clone(),
        title: sweep.title.clone(),
        question: sweep.question.clone(),
        findings: sweep.findings.clone(),
        set: sweep.set.clone(),
        keys: sweep.keys.iter().map(|key| key.name.clone()).collect(),
        metrics: sweep.metrics.clone(),
        objectives,
        space: Space {
            sample: sample(sweep),
            grid: plan.grid,
            left_out: plan.left_out,
            designs: plan.designs.len() as u64,
            inputs: plan.inputs.len() as u64,
            rounds,
            ..Space::default()
        },
        notes,
        points: rows,
        ..report::Sweep::default()
    }
    .analysed(&sweep.budgets)
}

fn sample(sweep: &config::Sweep) -> String {
    match sweep.sample {
        Sample::Grid => "full grid".to_owned(),
        Sample::Random { count, seed } => format!("random sample of {count}, seed {seed}"),
        Sample::LatinHypercube { count, seed } => format!("Latin hypercube of {count}, seed {seed}"),
    }
}

/// Those of the file; and that the cost is to be least, if there is one and none of them says so.
fn objectives(sweep: &config::Sweep) -> Vec<report::Objective> {
    let objective = |o: &config::Objective| report::Objective {
        name: o.name.clone(),
        unit: o.unit.clone(),
        expression: o.value.to_string(),
        maximise: o.maximise,
    };
    let mut all: Vec<report::Objective> = sweep.objectives.iter().map(objective).collect();
    if adds_cost(sweep) {
        let name = "cost".to_owned();
        all.push(report::Objective { expression: name.clone(), name, ..report::Objective::default() });
    }
    all
}

fn adds_cost(sweep: &config::Sweep) -> bool {
    let names_it = |o: &config::Objective| o.name == "cost" || o.value.to_string() == "cost";
    sweep.has_cost() && !sweep.objectives.is_empty() && !sweep.objectives.iter().any(names_it)
}

fn row(plan: &Plan, point: &Point, outcomes: &BTreeMap<String, Outcome>) -> report::Point {
    let sweep = &plan.sweep;
    let id = point.id();
    let design = plan.designs.get(point.design);
    let outcome = match &point.what {
        Ok(what) => outcomes.get(&what.id).cloned().unwrap_or_else(|| Err("not run".to_owned())),
        Err(error) => Err(error.clone()),
    };
    let what = point.what.as_ref().ok();
    let cost = what.and_then(|what| what.cost);
    let none = vec![None; sweep.metrics.len()];
    let metrics = outcome.as_ref().unwrap_or(&none).clone();
    let mut objectives: Vec<Option<f64>> = sweep
        .objectives
        .iter()
        .map(|o| {
            outcome.as_ref().ok()?;
            let value = |name: &str| value(plan, design?, point, &metrics, cost, name);
            o.value.number(&value).ok()
        })
        .collect();
    if adds_cost(sweep) {
        objectives.push(cost.filter(|_| outcome.is_ok()));
    }
    let semantics = design.and_then(|design| design.semantics.clone());
    report::Point {
        id,
        input: sweep.inputs.get(point.input).cloned().unwrap_or_default(),
        machine: design.map(|design| design.machine.clone()).unwrap_or_default(),
        kernel: what.map(|what| what.kernel.clone()).unwrap_or_default(),
        semantics: semantics.unwrap_or_default(),
        accesses: point.accesses.or(sweep.accesses),
        levels: design.map(|d| d.levels.iter().map(|level| level.text.clone()).collect()).unwrap_or_default(),
        metrics,
        objectives,
        cost,
        error: outcome.err(),
    }
}

/// The value of a name in an objective.
fn value(
    plan: &Plan,
    design: &Design,
    point: &Point,
    metrics: &[Option<f64>],
    cost: Option<f64>,
    name: &str,
) -> Option<Quantity> {
    if let Some(at) = plan.sweep.metrics.iter().position(|metric| metric == name) {
        return metrics.get(at).copied().flatten().map(Quantity::Number);
    }
    if name == "cost" {
        return cost.map(Quantity::Number);
    }
    let settings = || point.what.as_ref().ok()?.settings.get(name).cloned();
    plan.sweep.value_in(design, name).or_else(settings)
}

/// The value of an objective of a point that ran.
pub fn objective(plan: &Plan, point: &Point, metrics: &[Option<f64>], name: &str) -> Option<f64> {
    let objective = plan.sweep.objectives.iter().find(|objective| objective.name == name)?;
    let (design, cost) = (plan.designs.get(point.design)?, point.what.as_ref().ok()?.cost);
    let value = objective.value.number(&|name| value(plan, design, point, metrics, cost, name)).ok()?;
    Some(if objective.maximise { -value } else { value })
}

fn notes(sweep: &config::Sweep, rows: &[report::Point]) -> Vec<String> {
    let mut notes = Vec::new();
    if rows.iter().all(|row| row.error.is_some()) {
        return notes;
    }
    for (at, metric) in sweep.metrics.iter().enumerate() {
        if rows.iter().all(|row| row.metrics.get(at).copied().flatten().is_none()) {
            notes.push(format!(
                "no report has a number at {metric}: there was nothing of it, or the path is wrong"
            ));
        }
    }
    for (at, objective) in sweep.objectives.iter().enumerate() {
        let missing = rows.iter().filter(|row| row.error.is_none());
        let missing = missing.filter(|row| row.objectives.get(at).copied().flatten().is_none()).count();
        if missing > 0 {
            let points = counted(missing as u64, "point has", "points have");
            notes.push(format!(
                "{points} no value of the objective {}: a metric of it is missing, or it is not finite",
                objective.name
            ));
        }
    }
    notes
}

/// Writes the files of a sweep, each as a whole.
pub fn write(sweep: &report::Sweep, out: &Path) -> Result<()> {
    write_atomically(&out.join("results.csv"), report::csv(sweep).as_bytes())?;
    write_atomically(&out.join("results.jsonl"), report::json_lines(sweep)?.as_bytes())?;
    write_atomically(&out.join("results.parquet"), &report::parquet(sweep)?)?;
    write_atomically(&out.join("sweep.json"), sweep.to_json()?.as_bytes())?;
    write_atomically(&out.join("sweep.html"), report::html(sweep)?.as_bytes())?;
    Ok(())
}
