//! `daxsim study`: one measurement as a function of something, for several variants.

mod args;
mod measure;

use std::path::PathBuf;

use anyhow::Result;
use daxsim_configs::study::{self as config, PointSpec, Variant, builtin_studies, load_study};
use daxsim_reports::study::{self as report, Study, html, markdown, summary};
use daxsim_reports::write_atomically;

use crate::in_order::in_order;
use crate::{Status, output};

pub use args::{STUDY_EXAMPLES, StudyArgs};

/// Runs `daxsim study`.
pub fn run(args: &StudyArgs) -> Result<Status> {
    let Some(name) = &args.study else {
        list()?;
        return Ok(Status::Done);
    };
    let spec = load_study(name)?;
    let points = measured(&spec, args.threads)?;
    let study = assembled(&spec, points);
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => PathBuf::from("reports/out").join(format!("study-{}", spec.name)),
    };
    write_atomically(&folder.join("study.json"), study.to_json()?.as_bytes())?;
    write_atomically(&folder.join("study.html"), html(&study)?.as_bytes())?;
    write_atomically(&folder.join("study.md"), markdown(&study).as_bytes())?;
    output::print(&if args.json { study.to_json()? } else { summary(&study) })?;
    if !args.json {
        output::print(&format!("\nreport: {}\n", folder.join("study.html").display()))?;
    }
    Ok(if study.failed == 0 { Status::Done } else { Status::CheckFailed })
}

fn list() -> Result<()> {
    let line = |info: &config::StudyInfo| format!("  {:<20} {}\n", info.name, info.title);
    let lines: String = builtin_studies()?.iter().map(line).collect();
    output::print(&format!("studies:\n{lines}"))?;
    Ok(())
}

/// The points of all variants, one after another.
fn measured(spec: &config::Study, threads: u16) -> Result<Vec<report::Point>> {
    let metrics: Vec<&str> = spec.metrics.iter().map(|metric| metric.key).collect();
    let jobs: Vec<(&Variant, &PointSpec)> =
        spec.variants.iter().flat_map(|variant| variant.points.iter().map(move |at| (variant, at))).collect();
    in_order(
        &jobs,
        threads,
        |(_, point)| measure::cost(point),
        |(variant, point)| measure::point(variant, point, &metrics),
    )
}

fn assembled(spec: &config::Study, points: Vec<report::Point>) -> Study {
    let mut points = points.into_iter();
    let mut variant = |v: &Variant| report::Variant {
        name: v.name.clone(),
        panel: v.panel.clone(),
        machine: v.machine.clone(),
        kernel: v.kernel.clone(),
        set: v.set.clone(),
        probe: v.points.first().map(|point| measure::describe(&point.probe)).unwrap_or_default(),
        source: v.source.clone(),
        trust: v.trust.map(|trust| format!("{trust:?}")),
        note: v.note.clone(),
        points: points.by_ref().take(v.points.len()).collect(),
    };
    let metric = |m: &config::Metric| report::Metric {
        key: m.key.to_owned(),
        unit: m.unit.to_owned(),
        about: m.about.to_owned(),
    };
    Study {
        schema: report::SCHEMA.to_owned(),
        name: spec.name.clone(),
        title: spec.title.clone(),
        question: spec.question.clone(),
        findings: spec.findings.clone(),
        probe: spec.probe.to_owned(),
        set: spec.set.clone(),
        x: report::Axis {
            name: spec.x.name.clone(),
            unit: spec.x.unit.clone(),
            values: spec.x.values.clone(),
        },
        metrics: spec.metrics.iter().map(metric).collect(),
        variants: spec.variants.iter().map(&mut variant).collect(),
        failed: 0,
    }
    .counted()
}
