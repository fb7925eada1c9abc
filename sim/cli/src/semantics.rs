//! `daxsim semantics`: one input under several insert semantics, and the knobs between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::{KnobDifference, describe_kernel, knob_differences, load_kernel};
use daxsim_reports::semantics::{self as comparison, Comparison, Step, Switched, Transition};
use daxsim_reports::{RunReport, write_atomically};
use rayon::prelude::*;

use crate::args::{ReplayArgs, SemanticsArgs, SetupArgs};
use crate::config::{parse_overrides, with_semantics};
use crate::{Status, inputs, output, replay};

/// Runs `daxsim semantics`.
pub fn run(args: &SemanticsArgs) -> Result<Status> {
    if args.of.len() < 2 {
        bail!("--of {}: expected two semantics or more, separated by commas", args.of.join(","));
    }
    for (at, name) in args.of.iter().enumerate() {
        if name.is_empty() {
            bail!("--of {}: an empty name between commas", args.of.join(","));
        }
        if args.of.iter().take(at).any(|before| before == name) {
            bail!("--of {}: {name} is named twice", args.of.join(","));
        }
    }
    let tree = Tree::new(args)?;
    let plans = plans(&tree, &args.of)?;
    let reports = Runs::of(args, &tree, &plans)?;
    let transitions = plans.iter().map(|plan| plan.transition(&tree, &reports)).collect::<Result<_>>()?;
    let ends: Vec<&RunReport> =
        args.of.iter().map(|name| reports.get(&tree.spec(name)?)).collect::<Result<_>>()?;
    let comparison = document(args, &tree, &ends, transitions)?;
    if let Some(report) = ends.first() {
        replay::note_damage(report);
    }
    let folder = out_folder(args);
    write_atomically(&folder.join("semantics.json"), comparison.to_json()?.as_bytes())?;
    write_atomically(&folder.join("semantics.html"), comparison::html(&comparison).as_bytes())?;
    let where_to = format!("\nreport: {}\n", folder.join("semantics.html").display());
    if args.json {
        output::print(&comparison.to_json()?)?;
    } else if !args.quiet {
        output::show(&(comparison::summary(&comparison) + &where_to))?;
    }
    Ok(Status::Done)
}

fn out_folder(args: &SemanticsArgs) -> PathBuf {
    let default = || Path::new("reports/out").join(inputs::result_name(&args.input) + ".semantics");
    args.out.clone().unwrap_or_else(default)
}

/// The kernel whose tree every run has.
struct Tree<'a> {
    args: &'a SemanticsArgs,
    name: String,
}

impl<'a> Tree<'a> {
    fn new(args: &'a SemanticsArgs) -> Result<Self> {
        let recorded = || -> Result<Option<String>> {
            let kind = inputs::kind(&args.input)?;
            let by_content = inputs::origin(&args.input, kind)?;
            Ok(by_content.kernel.or(inputs::origin_by_path(&args.input).kernel))
        };
        let name = match &args.setup.kernel {
            Some(name) => name.clone(),
            None => recorded()?.unwrap_or_else(|| "linux-7.2".to_owned()),
        };
        Ok(Self { args, name })
    }

    /// The tree with a semantics.
    fn spec(&self, semantics: &str) -> Result<KernelSpec> {
        let set = with_semantics(&self.args.setup.overrides, Some(semantics));
        Ok(load_kernel(&self.name, &parse_overrides(&set)?.1)?)
    }
}

/// How to get from one semantics to another.
struct Plan {
    from: String,
    to: String,
    steps: Vec<Planned>,
}

/// One knob of a plan, with the semantics that the runs need.
struct Planned {
    difference: KnobDifference,
    /// This knob and those before it.
    after: String,
    /// This knob alone, or why that cannot be.
    alone: Result<String, String>,
}

/// From the first semantics to each other, and between those in turn.
fn plans(tree: &Tree<'_>, names: &[String]) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for (at, from) in names.iter().enumerate() {
        for to in names.iter().skip(at + 1) {
            plans.push(Plan::new(tree, from, to)?);
        }
    }
    Ok(plans)
}

impl Plan {
    /// Switches the knobs in the order of their documentation. One that is refused for now comes after the next that is not: a
    /// dirty entry must be writable, so those two knobs have an order.
    fn new(tree: &Tree<'_>, from: &str, to: &str) -> Result<Self> {
        let mut left = knob_differences(&tree.spec(from)?, &tree.spec(to)?);
        let (mut steps, mut current) = (Vec::new(), from.to_owned());
        while !left.is_empty() {
            let switched = |base: &str, d: &KnobDifference| format!("{base}+{}@{to}", d.knob);
            let Some(at) = left.iter().position(|d| tree.spec(&switched(&current, d)).is_ok()) else {
                let knobs: Vec<&str> = left.iter().map(|d| d.knob).collect();
                bail!("from {from} to {to}: no order of the knobs {} is valid", knobs.join(", "));
            };
            let difference = left.remove(at);
            current = switched(&current, &difference);
            let alone = switched(from, &difference);
            let alone = tree.spec(&alone).map(|_| alone).map_err(|error| error.to_string());
            steps.push(Planned { difference, after: current.clone(), alone });
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned(), steps })
    }

    /// Every semantics that it needs a run of.
    fn semantics(&self) -> impl Iterator<Item = &str> {
        let steps = self.steps.iter();
        let of_steps = steps.flat_map(|s| std::iter::once(&s.after).chain(s.alone.as_ref().ok()));
        [&self.from, &self.to].into_iter().chain(of_steps).map(String::as_str)
    }

    fn transition(&self, tree: &Tree<'_>, runs: &Runs) -> Result<Transition> {
        let switched = self.steps.iter().map(|planned| {
            let d = &planned.difference;
            let step = Step {
                knob: d.knob.to_owned(),
                from: d.from.clone(),
                to: d.to.clone(),
                doc: d.doc.to_owned(),
                not_alone: planned.alone.as_ref().err().cloned(),
            };
            let alone = match &planned.alone {
                Ok(semantics) => Some(runs.get(&tree.spec(semantics)?)?),
                Err(_) => None,
            };
            Ok(Switched { step, after: runs.get(&tree.spec(&planned.after)?)?, alone })
        });
        let switched = switched.collect::<Result<Vec<_>>>()?;
        Ok(Transition::new((&self.from, runs.get(&tree.spec(&self.from)?)?), &self.to, switched))
    }
}

/// One report for each table of knobs.
struct Runs(BTreeMap<String, RunReport>);

impl Runs {
    fn of(args: &SemanticsArgs, tree: &Tree<'_>, plans: &[Plan]) -> Result<Self> {
        let mut needed: BTreeMap<String, &str> = BTreeMap::new();
        for semantics in plans.iter().flat_map(Plan::semantics) {
            needed.entry(knobs(&tree.spec(semantics)?)).or_insert(semantics);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(args.threads)).build()?;
        let run = |(knobs, semantics): (String, &str)| {
            let report = replay::simulate(&one(args, tree, semantics), &args.input)?.0;
            Ok((knobs, report))
        };
        let needed: Vec<(String, &str)> = needed.into_iter().collect();
        Ok(Self(pool.install(|| needed.into_par_iter().map(run).collect::<Result<_>>())?))
    }

    fn get(&self, spec: &KernelSpec) -> Result<&RunReport> {
        self.0.get(&knobs(spec)).context("a semantics that was not planned")
    }
}

/// What tells the runs apart.
fn knobs(spec: &KernelSpec) -> String {
    let values = describe_kernel(spec).into_iter().filter(|v| v.key.starts_with("dax."));
    values.map(|v| v.value).collect::<Vec<_>>().join(" ")
}

/// The arguments of one run.
fn one(args: &SemanticsArgs, tree: &Tree<'_>, semantics: &str) -> ReplayArgs {
    let setup = SetupArgs { kernel: Some(tree.name.clone()), ..args.setup.clone() };
    ReplayArgs::of_one(args.input.clone(), setup, Some(semantics.to_owned()))
}

fn document(
    args: &SemanticsArgs,
    tree: &Tree<'_>,
    ends: &[&RunReport],
    transitions: Vec<Transition>,
) -> Result<Comparison> {
    let first = ends.first();
    let fs = first.and_then(|report| report.fs).map(|fs| fs.to_string());
    let sha256 = first.and_then(|report| report.inputs.first()).map(|input| input.sha256.clone());
    let mut notes = Vec::new();
    if inputs::races(&args.input)? {
        notes.push(
            "threads race in @par sections: a knob also moves who meets whom, so part of a difference can come from another \
             interleaving; --seed tries others"
                .to_owned(),
        );
    }
    notes
        .extend(first.and_then(|report| replay::damage(report)).map(|w| format!("{}: {}", w.what, w.detail)));
    for (name, report) in args.of.iter().zip(ends) {
        if report.replay.diverged > 0 {
            notes.push(format!(
                "{name}: {} of {} recorded outcomes are not reproduced, as the recording is of another semantics",
                report.replay.diverged, report.replay.recorded
            ));
        }
    }
    Ok(Comparison {
        schema: comparison::SCHEMA.to_owned(),
        input: args.input.display().to_string(),
        sha256: sha256.unwrap_or_default(),
        machine: args.setup.machine.clone(),
        tree: tree.name.clone(),
        fs: fs.unwrap_or_default(),
        overrides: args.setup.overrides.clone(),
        semantics: args.of.clone(),
        rows: comparison::rows(ends),
        transitions,
        notes,
    })
}
