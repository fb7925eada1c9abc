//! CLWB, CLFLUSHOPT, CLFLUSH, non-temporal stores and fences: what each makes durable and when, against a model that follows
//! the manual line by line; and what they cost.

mod common;

use std::collections::BTreeMap;

use common::{BASE, Bench, NEW, PAGE, access, step};
use daxsim_sim::Results;
use daxsim_sim::program::{Action, LineWrite};
use daxsim_types::{AccessKind, FileSystem, Time};
use proptest::prelude::*;

/// Lines that programs use: four on each of two pages.
const LINES: usize = 8;

const fn address(line: usize) -> u64 {
    BASE + (line as u64 / 4) * PAGE + (line as u64 % 4) * 5 * 64
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Load(usize),
    Store(usize),
    Write(LineWrite, usize),
    /// The same for every line of a page.
    WritePage(LineWrite, usize),
    Fence,
    Msync,
}

impl Op {
    fn action(self) -> Action {
        match self {
            Self::Load(line) => access(address(line), AccessKind::Read),
            Self::Store(line) => access(address(line), AccessKind::Write),
            Self::Write(what, line) => Action::WriteLines { start: address(line) + 3, len: 8, what },
            Self::WritePage(what, page) => {
                Action::WriteLines { start: BASE + page as u64 * PAGE, len: PAGE, what }
            }
            Self::Fence => Action::Fence,
            Self::Msync => Action::Msync { start: BASE, len: 2 * PAGE },
        }
    }

    /// The lines that it may change.
    fn lines(self) -> Vec<usize> {
        match self {
            Self::Load(_) => vec![],
            Self::Store(line) | Self::Write(_, line) => vec![line],
            Self::WritePage(_, page) => (0..LINES).filter(|line| line / 4 == page).collect(),
            Self::Fence | Self::Msync => (0..LINES).collect(),
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<(u16, Op)>> {
    let line = || 0..LINES;
    let write = prop_oneof![
        Just(LineWrite::NtStore),
        Just(LineWrite::Clwb),
        Just(LineWrite::ClflushOpt),
        Just(LineWrite::Clflush)
    ];
    let flush = prop_oneof![Just(LineWrite::Clwb), Just(LineWrite::ClflushOpt), Just(LineWrite::Clflush)];
    let op = prop_oneof![
        2 => line().prop_map(Op::Load),
        6 => line().prop_map(Op::Store),
        6 => (write, line()).prop_map(|(what, line)| Op::Write(what, line)),
        1 => (flush, 0..2usize).prop_map(|(what, page)| Op::WritePage(what, page)),
        3 => Just(Op::Fence),
        1 => Just(Op::Msync),
    ];
    prop::collection::vec((0..2u16, op), 1..24)
}

/// What is known of a line that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// In a cache, modified.
    Dirty,
    /// On its way, or there already; the CPU whose fence will say so.
    Posted(u16),
    /// There.
    Durable,
}

/// The model: what the manual says after so many operations.
fn model(ops: &[(u16, Op)]) -> [Option<Known>; LINES] {
    let mut lines = [None; LINES];
    for &(cpu, op) in ops {
        for line in op.lines() {
            let before = lines[line];
            lines[line] = match (op, before) {
                (Op::Store(_), _) => Some(Known::Dirty),
                (Op::Write(LineWrite::NtStore, _), _) => Some(Known::Posted(cpu)),
                (Op::Write(what, _) | Op::WritePage(what, _), Some(Known::Dirty)) => match what {
                    LineWrite::Clflush => Some(Known::Durable),
                    _ => Some(Known::Posted(cpu)),
                },
                (Op::Fence, Some(Known::Posted(by))) if by == cpu => Some(Known::Durable),
                (Op::Msync, Some(Known::Dirty)) => Some(Known::Durable),
                _ => before,
            };
        }
    }
    lines
}

/// Runs a program until the power goes; the results, and the ends of its operations.
fn run(ops: &[(u16, Op)], machine: &[&str], crash: Option<Time>) -> (Results, Vec<Time>) {
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, machine, &[]);
    bench.mapped(8);
    if let Some(at) = crash {
        bench.sim.crash_at(at);
    }
    let mut ends = Vec::new();
    for (line, (cpu, op)) in (0..).zip(ops) {
        if bench.sim.crash().is_none() {
            let mut step = step(*cpu, bench.mm, op.action());
            step.line = line;
            bench.sim.step(step).unwrap();
            ends.push(bench.sim.now());
        }
    }
    if crash.is_some() && bench.sim.crash().is_none() {
        let mut sleep = step(0, bench.mm, Action::Sleep { nanoseconds: 1_000_000 });
        sleep.line = ops.len() as u64;
        bench.sim.step(sleep).unwrap();
    }
    (bench.finish(), ends)
}

/// The state of each line that the program wrote, as the simulation has it.
fn found(results: &Results) -> BTreeMap<usize, &'static str> {
    let mut found = BTreeMap::new();
    for line in 0..LINES {
        let (page, bit) = ((address(line) - BASE) / PAGE, 1u64 << ((address(line) % PAGE) / 64));
        let Some(of) = results.durability.written.iter().find(|of| of.page == page) else { continue };
        let states = [(of.durable, "durable"), (of.dirty, "dirty"), (of.in_flight, "in flight")];
        if let Some((_, state)) = states.iter().find(|(lines, _)| lines & bit != 0) {
            found.insert(line, *state);
        }
    }
    found
}

/// How many operations were complete when the power went, and which one was not.
fn progress(results: &Results, ops: &[(u16, Op)]) -> (usize, Option<Op>) {
    let crash = results.crash.as_ref().unwrap();
    let running = crash.running.first().map(|call| call.line as usize);
    let complete = running.or(crash.next_line.map(|line| line as usize)).unwrap_or(ops.len());
    (complete.min(ops.len()), running.and_then(|at| ops.get(at)).map(|(_, op)| *op))
}

const TWO: &str = "cpu.count=2";
/// A smaller machine is made faster.
const SMALL: &str = "cache.l3.size=1408 KiB";
/// Caches of a few lines: what is dirty may be evicted at any time.
const TINY: [&str; 6] = [
    "cache.l1d.size=128 B",
    "cache.l1d.ways=1",
    "cache.l2.size=128 B",
    "cache.l2.ways=1",
    "cache.l3.size=128 B",
    "cache.l3.ways=1",
];

/// A moment: so much of the way through a program, and some picoseconds after the operation there ended. Writes are on their way
/// for tens of nanoseconds.
fn moment(ends: &[Time], (part, later): (f64, u64)) -> Time {
    let at = ((ends.len() as f64 * part) as usize).min(ends.len() - 1);
    Time(ends[at].0 + later)
}

fn moments() -> impl Strategy<Value = (f64, u64)> {
    (0.0..1.0, 1..100_000u64)
}

fn check(
    ops: &[(u16, Op)],
    machine: &[&str],
    when: (f64, u64),
    evictions: bool,
) -> Result<(), TestCaseError> {
    let at = moment(&run(ops, machine, None).1, when);
    let (results, _) = run(ops, machine, Some(at));
    let (complete, running) = progress(&results, ops);
    let (known, found) = (model(&ops[..complete]), found(&results));
    for line in (0..LINES).filter(|line| !running.is_some_and(|op| op.lines().contains(line))) {
        let state = found.get(&line).copied();
        let fits = match known[line] {
            None => state.is_none(),
            Some(Known::Durable) => state == Some("durable"),
            Some(Known::Posted(_)) => matches!(state, Some("durable" | "in flight")),
            Some(Known::Dirty) => state == Some("dirty") || evictions && state.is_some(),
        };
        prop_assert!(fits, "line {line} is {state:?}, the model says {:?}, after {complete}", known[line]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_lose_what_the_manual_says(ops in ops(), when in moments()) {
        check(&ops, &[TWO, SMALL], when, false)?;
    }

    #[test]
    fn evictions_make_nothing_less_durable(ops in ops(), when in moments()) {
        let machine: Vec<&str> = [TWO].into_iter().chain(TINY).collect();
        check(&ops, &machine, when, true)?;
    }

    #[test]
    fn with_eadr_every_store_is_durable_at_once(ops in ops(), when in moments()) {
        let at = moment(&run(&ops, &[TWO, SMALL], None).1, when);
        let (results, _) = run(&ops, &[TWO, SMALL, "pmem.eadr=true"], Some(at));
        prop_assert!(found(&results).values().all(|state| *state == "durable"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn without_adr_a_line_is_durable_later_but_is(ops in ops(), when in moments()) {
        // Queues of which the media is far behind.
        let slow = ["pmem.dimms=1", "pmem.buffer_lines=1", "pmem.media_write_bandwidth=0.1 GB/s"];
        let at = |adr: &str, at: Time| {
            let machine: Vec<&str> = [TWO, SMALL, adr].into_iter().chain(slow).collect();
            found(&run(&ops, &machine, Some(at)).0)
        };
        let machine: Vec<&str> = [TWO, SMALL].into_iter().chain(slow).collect();
        let ends = run(&ops, &machine, None).1;
        let when = moment(&ends, when);
        let (with, without) = (at("pmem.adr=true", when), at("pmem.adr=false", when));
        for (line, state) in &without {
            prop_assert!(*state != "durable" || with.get(line) == Some(&"durable"));
            prop_assert_eq!(*state == "dirty", with.get(line) == Some(&"dirty"));
        }
        let later = Time(ends.last().unwrap().0 + 500_000_000);
        prop_assert_eq!(at("pmem.adr=true", later), at("pmem.adr=false", later));
    }
}

#[test]
fn without_adr_a_fence_promises_nothing() {
    let ops: Vec<(u16, Op)> =
        (0..LINES).map(|line| (0, Op::Write(LineWrite::NtStore, line))).chain([(0, Op::Fence)]).collect();
    let machine = |adr| {
        [TWO, SMALL, "pmem.dimms=1", "pmem.buffer_lines=1", "pmem.media_write_bandwidth=0.01 GB/s", adr]
    };
    let end = *run(&ops, &machine("pmem.adr=true"), None).1.last().unwrap();
    let states = |adr, at| found(&run(&ops, &machine(adr), Some(at)).0).into_values().collect::<Vec<_>>();
    let after = Time(end.0 + 1);
    assert_eq!(states("pmem.adr=true", after), ["durable"; LINES]);
    assert!(states("pmem.adr=false", after).contains(&"in flight"));
    assert_eq!(states("pmem.adr=false", Time(end.0 + 900_000_000)), ["durable"; LINES]);
}

/// What one step costs, after others.
fn cost(before: &[Op], op: Op) -> f64 {
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &[TWO], &[]);
    bench.mapped(8);
    for op in [Op::Store(0), Op::Store(4)].iter().chain(before) {
        bench.run(0, bench.mm, op.action());
    }
    let start = bench.sim.now();
    bench.run(0, bench.mm, op.action());
    bench.sim.now().saturating_sub(start).as_ns()
}

#[test]
fn clwb_is_posted_and_the_fence_waits_for_it() {
    let clwb = cost(&[], Op::Write(LineWrite::Clwb, 0));
    assert!(clwb < 10.0, "{clwb} ns: it is only issued");
    let fence = cost(&[Op::Write(LineWrite::Clwb, 0)], Op::Fence);
    assert!((fence + clwb - 62.3).abs() < 6.0, "{fence} + {clwb} ns: measured 62.3 together");
    assert_eq!(cost(&[Op::Write(LineWrite::Clwb, 0), Op::Fence], Op::Fence), 0.0, "nothing to wait for");
}

#[test]
fn clflush_waits_and_clflushopt_does_not() {
    let [clflush, opt] =
        [LineWrite::Clflush, LineWrite::ClflushOpt].map(|what| cost(&[], Op::Write(what, 0)));
    assert!(clflush > 50.0 && opt < 10.0, "{clflush} {opt}");
    // Sixty-four of them, one after another or together.
    let fill: Vec<Op> = (0..4).map(Op::Store).collect();
    let [one_by_one, together] =
        [LineWrite::Clflush, LineWrite::ClflushOpt].map(|what| cost(&fill, Op::WritePage(what, 0)));
    assert!(one_by_one > together + 120.0, "{one_by_one} {together}: four of the lines are dirty");
}

#[test]
fn clwb_keeps_the_line_and_clflushopt_drops_it() {
    let load = |what| cost(&[Op::Write(what, 0), Op::Fence], Op::Load(0));
    assert!(load(LineWrite::Clwb) < 3.0);
    assert!(load(LineWrite::ClflushOpt) > 100.0 && load(LineWrite::NtStore) > 100.0);
}

#[test]
fn a_flush_is_a_load_to_translation_and_a_non_temporal_store_a_store() {
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &[TWO], &[]);
    bench.mapped(8);
    let flush = Op::Write(LineWrite::Clwb, 0).action();
    let outcome = bench.run(0, bench.mm, flush);
    assert_eq!(
        (outcome.signals, bench.codes()),
        (0, vec![4]),
        "a user-mode read of a page that is not there"
    );
    assert!(!bench.pte(address(0)).is_writable(), "so the page is mapped read-only");
    bench.run(0, bench.mm, Op::Write(LineWrite::NtStore, 0).action());
    assert_eq!(bench.codes(), vec![7], "a user-mode write to a read-only page");
    assert!(bench.pte(address(0)).hw_dirty());
    let beyond = Action::WriteLines { start: BASE + 64 * PAGE, len: 128, what: LineWrite::Clflush };
    let outcome = bench.run(0, bench.mm, beyond);
    assert_eq!((outcome.accesses, outcome.signals), (2, 2), "nothing is mapped there");
}
