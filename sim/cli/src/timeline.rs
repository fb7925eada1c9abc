//! `daxsim replay --timeline` and `--folded`: what CPUs did over time.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use daxsim_reports::timeline::{Counter, Flow, Slice, Stretch, Timeline, folded, perfetto};
use daxsim_reports::{RunReport, headline, write_atomically};
use daxsim_sim::observe::{Fault, MicroOp, Operation, Seen, Watch, site};
use daxsim_types::Time;

/// Micro-operations, flushes and interrupts that are kept at most: some ten megabytes of a trace.
const MOST: usize = 300_000;

/// What is wanted of a timeline.
#[derive(Clone, Debug, Default, Args)]
pub struct TimelineArgs {
    /// Write what CPUs did over time, for the Perfetto UI (ui.perfetto.dev): faults with their parts, flushes, interrupts, devices
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Keep what begins in this stretch of simulated time, as in 1ms..2ms or 500us.. (ns, us, ms, s)
    #[arg(long, value_name = "A..B", value_parser = window)]
    timeline_window: Option<Range<u64>>,
    /// Keep one of so many faults
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    timeline_every: u64,
    /// Write the faults as folded stacks in picoseconds, for flame graphs: kind;part;kernel function
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
}

impl TimelineArgs {
    /// What an observer has to look at, if anything is wanted.
    pub fn watch(&self) -> Option<Watch> {
        if self.timeline.is_none() && self.folded.is_none() {
            return None;
        }
        let window = self.timeline_window.clone().unwrap_or(0..u64::MAX);
        Some(Watch { window: Time(window.start)..Time(window.end), every: self.timeline_every, most: MOST })
    }
}

/// Reads `A..B`, either of which may be missing.
fn window(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("expected A..B, as in 1ms..2ms")?;
    let begin = if from.trim().is_empty() { 0 } else { picoseconds(from)? };
    let end = if to.trim().is_empty() { u64::MAX } else { picoseconds(to)? };
    if begin < end { Ok(begin..end) } else { Err("the end is not after the begin".into()) }
}

/// A time with its unit; nanoseconds without.
fn picoseconds(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let units = [("ns", 1_000.0), ("us", 1e6), ("ms", 1e9), ("s", 1e12)];
    let unit = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (number, scale) = unit.unwrap_or((text, 1_000.0));
    let value = number.trim().parse::<f64>().ok().filter(|value| *value >= 0.0 && value.is_finite());
    let value =
        value.ok_or_else(|| format!("`{text}` is no time: expected a number with ns, us, ms or s"))?;
    Ok((value * scale) as u64)
}

/// Writes what is wanted of what was seen.
pub fn write(args: &TimelineArgs, report: &RunReport, seen: &Seen) -> Result<()> {
    let timeline = timeline(args, report, seen);
    if let Some(file) = &args.timeline {
        write_atomically(file, &perfetto(&timeline))?;
    }
    if let Some(file) = &args.folded {
        write_atomically(file, folded(&timeline).as_bytes())?;
    }
    Ok(())
}

fn timeline(args: &TimelineArgs, report: &RunReport, seen: &Seen) -> Timeline {
    let shootdowns = seen.shootdowns.iter().map(|flush| Slice {
        cpu: flush.cpu.0,
        aside: true,
        begin_ps: flush.begin.0,
        end_ps: flush.end.0,
        name: "TLB flush".into(),
        ..Slice::default()
    });
    let taken = seen.interrupts.iter().filter_map(|interrupt| {
        Some(Flow {
            from: interrupt.from.0,
            sent_ps: interrupt.sent.0,
            to: interrupt.to.0,
            begin_ps: interrupt.begin?.0,
            end_ps: interrupt.end.0,
        })
    });
    let window = args.timeline_window.clone().unwrap_or(0..u64::MAX);
    Timeline {
        title: headline::title(report),
        cpus: report.machine.cpus as u16,
        slices: seen.faults.iter().map(fault).chain(shootdowns).collect(),
        flows: taken.collect(),
        counters: counters(report, &window),
        not_kept: seen.not_kept,
    }
}

fn fault(fault: &Fault) -> Slice {
    Slice {
        cpu: fault.cpu.0,
        aside: false,
        begin_ps: fault.begin.0,
        end_ps: (fault.begin + fault.took()).0,
        name: fault.kind.name().to_owned(),
        notes: vec![("address".into(), fault.address.to_string())],
        stretches: functions(&fault.operations).flat_map(|(of, function)| stretches(of, function)).collect(),
    }
}

/// Each micro-operation with the kernel function that began it; what the engine began by itself is the function's before it.
pub(crate) fn functions(operations: &[Operation]) -> impl Iterator<Item = (&Operation, &'static str)> {
    operations.iter().scan("", |function, operation| {
        if operation.op == MicroOp::Again {
            return Some((operation, "user code"));
        }
        match site(operation.at) {
            Some(site) => *function = site.function,
            None if function.is_empty() => *function = "page_fault",
            None => {}
        }
        Some((operation, *function))
    })
}

fn stretches(operation: &Operation, function: &str) -> Vec<Stretch> {
    let stretch = |(part, time): &(daxsim_sim::measure::Part, Time)| Stretch {
        part: part.name().to_owned(),
        function: function.to_owned(),
        took_ps: time.0,
    };
    operation.parts.iter().map(stretch).collect()
}

/// What the devices did in the window.
fn counters(report: &RunReport, window: &Range<u64>) -> Vec<Counter> {
    let mut counters = Vec::new();
    for (device, memory) in &report.memory {
        let Some(activity) = &memory.activity else { continue };
        for (what, unit, values) in [
            ("read", "GB/s", &activity.read_gb_s),
            ("write", "GB/s", &activity.write_gb_s),
            ("reads under way", "requests", &activity.reads_under_way),
            ("writes waiting", "requests", &activity.writes_waiting),
        ] {
            let at = |n: usize| (n as f64 * activity.stretch_ns * 1000.0) as u64;
            let mut points: Vec<(u64, f64)> =
                values.iter().enumerate().map(|(n, value)| (at(n), *value)).collect();
            points.push((at(values.len()), 0.0));
            points.retain(|(time, _)| window.contains(time));
            points.dedup_by(|next, before| next.1 == before.1);
            if points.iter().any(|(_, value)| *value != 0.0) {
                let (name, unit) = (format!("{device} {what}"), unit.to_owned());
                counters.push(Counter { name, unit, values: points });
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_units_and_open_ends() {
        assert_eq!(window("1ms..2.5ms"), Ok(1_000_000_000..2_500_000_000));
        assert_eq!(window("500.."), Ok(500_000..u64::MAX));
        assert_eq!(window("..3us"), Ok(0..3_000_000));
        for wrong in ["5", "2ms..1ms", "a..b", "-1..2", "1m..2m"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }
}
