//! The probes that measure the kernel: shootdowns and page faults.

use anyhow::{Context, Result};
use daxsim_reports::probe::{Cell, Point, Value};
use daxsim_sim::measure::Part;
use daxsim_sim::probe::{Contention, FaultCost, FlushStorm, Shootdown, Spread};

use crate::probe::On;
use crate::probe_kernel_args::{FaultArgs, ShootdownArgs, StormArgs};

/// `daxsim probe shootdown`
pub fn shootdown(args: &ShootdownArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let mut all = Vec::new();
    for cause in &args.cause {
        for cpus in &args.cpus {
            all.extend(args.pages.iter().map(|pages| (*cause, *cpus, *pages)));
        }
    }
    let per_ns = 1e3 / on.machine.cpu.clock.period_ps() as f64;
    let points = on.measure(&all, |(cause, cpus, pages)| {
        let (cause, name) = cause.of();
        let probe =
            Shootdown { cause, threads: *cpus, pages: *pages, rounds: args.rounds, shared: args.shared };
        let p = probe
            .run(&on.machine, &on.kernel)
            .with_context(|| format!("--cause {name} --cpus {cpus} --pages {pages}"))?;
        Ok(vec![Point(vec![
            Cell::new("cause", "cause", Value::Text(name.to_owned())),
            Cell::new("cpus", "CPUs", Value::Count((*cpus).into())),
            Cell::new("pages", "pages", Value::Count(*pages)),
            Cell::number("call_cycles", "call, cycles", p.call.mean * per_ns, 0),
            Cell::number("call_ns", "call, ns", p.call.mean, 0),
            Cell::number("wait_ns", "wait", p.wait.mean, 0),
            Cell::number("wait_p99_ns", "p99", p.wait.p99, 0),
            Cell::number("disruption_ns", "disruption", p.disruption.mean, 0),
            Cell::number("disruption_p99_ns", "p99", p.disruption.p99, 0),
            Cell::number("interrupts", "interrupts", p.interrupts, 1),
            Cell::number("icr_writes", "ICR writes", p.icr_writes, 1),
        ])])
    })?;
    let settings = vec![("rounds", args.rounds.to_string()), ("shared", args.shared.to_string())];
    on.print("shootdown", settings, points)
}

/// `daxsim probe flush-storm`
pub fn flush_storm(args: &StormArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let points = on.measure(&args.cpus, |cpus| {
        let probe = FlushStorm { threads: *cpus, rounds: args.rounds };
        let p = probe.run(&on.machine, &on.kernel).with_context(|| format!("--cpus {cpus}"))?;
        let spread = |spread: &Spread| [spread.mean, spread.p99];
        let ([wait, wait_p99], [disruption, disruption_p99]) = (spread(&p.wait), spread(&p.disruption));
        Ok(vec![Point(vec![
            Cell::new("cpus", "CPUs", Value::Count((*cpus).into())),
            Cell::number("per_second", "rounds/s", p.per_second, 0),
            Cell::number("flush_percent", "in flushes, %", p.flush_share * 100.0, 1),
            Cell::number("wait_ns", "wait, ns", wait, 0),
            Cell::number("wait_p99_ns", "p99", wait_p99, 0),
            Cell::number("disruption_ns", "disruption, ns", disruption, 0),
            Cell::number("disruption_p99_ns", "p99", disruption_p99, 0),
            Cell::new("contention", "contended, ns a round", Value::Text(contention(&p.contention))),
        ])])
    })?;
    let settings = vec![("rounds", args.rounds.to_string())];
    on.print("flush-storm", settings, points)
}

/// The longest waits for locks that others hold, and for lines that are under way to others.
fn contention(waits: &[Contention]) -> String {
    const SHOWN: usize = 5;
    let name = |wait: &Contention| {
        let what = if wait.held { "" } else { " (line)" };
        format!("{}{what} {:.0}", wait.name, wait.mean)
    };
    waits.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ")
}

/// The parts that a fault has a column for; the others are together in the last.
const PARTS: [(Part, &str); 10] = [
    (Part::Entry, "entry"),
    (Part::Walk, "walk"),
    (Part::Assist, "assist"),
    (Part::Memory, "memory"),
    (Part::Dispatch, "dispatch"),
    (Part::Fs, "fs"),
    (Part::Dax, "dax"),
    (Part::Insert, "insert"),
    (Part::Locks, "locks"),
    (Part::Flush, "flush"),
];

/// `daxsim probe fault`
pub fn fault(args: &FaultArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let (fs, fs_name) = args.fs.of();
    let points = on.measure(&args.cause, |cause| {
        let (cause, name) = cause.of();
        let probe = FaultCost { cause, fs, pages: args.pages };
        let p = probe.run(&on.machine, &on.kernel).with_context(|| format!("--cause {name}"))?;
        let mut cells = vec![
            Cell::new("cause", "fault", Value::Text(name.to_owned())),
            Cell::new("faults", "faults", Value::Count(p.faults)),
            Cell::number("cycles", "cycles", p.cycles, 0),
            Cell::number("ns", "ns", p.ns, 0),
            Cell::number("delivery_cycles", "delivery", p.delivery, 0),
        ];
        cells.extend(PARTS.map(|(part, name)| Cell::number(name, name, p.part(part), 0)));
        let named: f64 = PARTS.iter().map(|(part, _)| p.part(*part)).sum();
        cells.push(Cell::number("other", "other", (p.cycles - named).max(0.0), 0));
        Ok(vec![Point(cells)])
    })?;
    on.print("fault", vec![("fs", fs_name.to_owned()), ("pages", args.pages.to_string())], points)
}
