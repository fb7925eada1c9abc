//! The measurements of a study's points.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use daxsim_configs::study::{PointSpec, StudyProbe, Variant};
use daxsim_configs::{load_kernel, load_machine};
use daxsim_reports::study::{Point, Wait};
use daxsim_sim::measure::Part;
use daxsim_sim::probe::{FaultScaling, FlushStorm, Shootdown};

use crate::config::parse_overrides;
use crate::{causes, output};

/// What a probe gave: by the key of the metric, and what was waited for.
struct Outcome {
    values: BTreeMap<&'static str, f64>,
    waits: Vec<Wait>,
}

impl From<BTreeMap<&'static str, f64>> for Outcome {
    fn from(values: BTreeMap<&'static str, f64>) -> Self {
        Self { values, waits: Vec::new() }
    }
}

/// Measures a point; a failure is a part of the result.
pub fn point(variant: &Variant, point: &PointSpec, metrics: &[&str]) -> Point {
    let error = |error: anyhow::Error| Point {
        x: point.x,
        error: Some(output::describe(&error)),
        ..Point::default()
    };
    match run(variant, point).and_then(|outcome| chosen(outcome, metrics)) {
        Ok((values, waits)) => Point { x: point.x, values, waits, error: None },
        Err(reason) => error(reason),
    }
}

/// The metrics that the study asks for.
fn chosen(outcome: Outcome, metrics: &[&str]) -> Result<(BTreeMap<String, f64>, Vec<Wait>)> {
    let value = |key: &&str| -> Result<(String, f64)> {
        let value = outcome.values.get(key).with_context(|| format!("the probe measures no {key}"))?;
        Ok(((*key).to_owned(), *value))
    };
    Ok((metrics.iter().map(value).collect::<Result<_>>()?, outcome.waits))
}

fn run(variant: &Variant, point: &PointSpec) -> Result<Outcome> {
    let (machine, kernel) = parse_overrides(&point.set)?;
    let (machine, kernel) =
        (load_machine(&variant.machine, &machine)?, load_kernel(&variant.kernel, &kernel)?);
    match point.probe {
        StudyProbe::Shootdown { cause, threads, pages, rounds, shared } => {
            let cause = causes::flush(cause);
            let p = Shootdown { cause, threads, pages, rounds, shared }.run(&machine, &kernel)?;
            Ok(BTreeMap::from([
                ("call_ns", p.call.mean),
                ("call_p99_ns", p.call.p99),
                ("initiator_ns", p.initiator),
                ("wait_ns", p.wait.mean),
                ("wait_median_ns", p.wait.median),
                ("wait_p99_ns", p.wait.p99),
                ("responder_ns", p.responder),
                ("disruption_ns", p.disruption.mean),
                ("disruption_p99_ns", p.disruption.p99),
                ("interrupts", p.interrupts),
                ("icr_writes", p.icr_writes),
            ])
            .into())
        }
        StudyProbe::FlushStorm { threads, rounds } => {
            let p = FlushStorm { threads, rounds }.run(&machine, &kernel)?;
            Ok(BTreeMap::from([
                ("rounds_per_second", p.per_second / 1e3),
                ("flush_percent", p.flush_share * 100.0),
                ("wait_median_ns", p.wait.median),
                ("wait_p99_ns", p.wait.p99),
                ("disruption_median_ns", p.disruption.median),
                ("disruption_p99_ns", p.disruption.p99),
            ])
            .into())
        }
        StudyProbe::FaultScaling { cause, fs, threads, pages, processes, own_files } => {
            let cause = causes::fault(cause);
            let probe = FaultScaling { cause, fs, threads, pages, processes, own_files };
            let p = probe.run(&machine, &kernel)?;
            let pages = pages * u64::from(threads);
            let values = BTreeMap::from([
                ("pages_per_second", p.per_second / 1e3),
                ("page_ns", p.ns),
                ("faults_per_page", p.faults as f64 / pages as f64),
                ("locks_percent", p.share(Part::Locks) * 100.0),
                ("memory_percent", p.share(Part::Memory) * 100.0),
            ]);
            let waits = p.waits.into_iter().map(|wait| Wait { name: wait.name, ns: wait.ns }).collect();
            Ok(Outcome { values, waits })
        }
    }
}

/// About how long a point takes.
pub fn cost(point: &PointSpec) -> u64 {
    match point.probe {
        StudyProbe::Shootdown { threads, rounds, .. } => u64::from(threads) * u64::from(rounds),
        StudyProbe::FlushStorm { threads, rounds } => 10 * u64::from(threads).pow(2) * u64::from(rounds),
        StudyProbe::FaultScaling { threads, pages, .. } => u64::from(threads) * pages,
    }
}

/// A probe with its parameters, for people.
pub fn describe(probe: &StudyProbe) -> String {
    match probe {
        StudyProbe::Shootdown { cause, pages, shared, .. } => {
            let pages = if *pages == 1 { "1 page".to_owned() } else { format!("{pages} pages") };
            let shared = if *shared { ", read by all" } else { "" };
            format!("{} of {pages}{shared}", causes::flush_name(*cause))
        }
        StudyProbe::FlushStorm { rounds, .. } => format!("{rounds} rounds"),
        StudyProbe::FaultScaling { cause, fs, pages, processes, own_files, .. } => {
            let who = match (processes, own_files) {
                (true, true) => "processes with a file each",
                (true, false) => "processes",
                (false, _) => "threads",
            };
            format!("{} on {fs}, {pages} pages each, {who}", causes::fault_name(*cause))
        }
    }
}
