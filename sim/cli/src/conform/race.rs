//! Racing scenarios: the recording is one interleaving of many, and the simulation tries as many as it has seeds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_sim::measure::FaultRecord;
use daxsim_sim::mmu::entry::Entry;
use daxsim_traces::fault_table::FaultRow;
use daxsim_traces::script::Script;
use daxsim_types::{ErrorCode, VirtAddr, VmFault};

use super::compare::{compared_tokens, show_row};
use super::scenario::{Scenario, Verdict};

/// How many times as many interleavings are tried for what the first ones do not show.
const PATIENCE: u32 = 16;

/// What all the interleavings together hold.
#[derive(Default)]
struct Explored {
    /// Least and most faults of each error code.
    counts: BTreeMap<u32, (usize, usize)>,
    /// Every kind of fault that occurred, by what a recording shows of it.
    shapes: BTreeSet<Shape>,
    /// The entry that the last fault at an address left.
    last: BTreeMap<VirtAddr, BTreeSet<u64>>,
    /// Faults of the last interleaving.
    faults: usize,
}

/// A fault without its place in the program: which way it went, and between which entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    code: ErrorCode,
    ret: Option<VmFault>,
    path: String,
    entries: [Option<u64>; 2],
}

impl Shape {
    fn of(fault: &FaultRecord) -> Self {
        let path: Vec<String> = fault.path.iter().map(ToString::to_string).collect();
        let entries = [fault.old, fault.new].map(|e| e.map(settled));
        let path = compared_tokens(path.iter().map(String::as_str));
        Self { code: fault.error_code, ret: fault.ret, path, entries }
    }

    /// Whether a recorded fault can be one of these, as far as its row shows.
    fn fits(&self, row: &FaultRow) -> bool {
        let recorded = [row.old_pte, row.new_pte].map(|e| e.map(|e| settled(Entry(e))));
        let entries = recorded.iter().zip(self.entries);
        row.error_code == Some(self.code)
            && row.ret == self.ret
            && entries.into_iter().all(|(want, have)| want.is_none() || *want == have)
            && compared_tokens(row.path.split_whitespace()) == self.path
    }
}

impl Explored {
    fn add(&mut self, first: bool, faults: &[FaultRecord]) {
        self.faults = faults.len();
        let counts = count_by(faults.iter().map(|f| f.error_code.0));
        if first {
            self.counts = counts.iter().map(|(code, n)| (*code, (*n, *n))).collect();
        }
        let codes: BTreeSet<u32> = counts.keys().chain(self.counts.keys()).copied().collect();
        for code in codes {
            let n = counts.get(&code).copied().unwrap_or(0);
            let range = self.counts.entry(code).or_insert((0, 0));
            *range = (range.0.min(n), range.1.max(n));
        }
        self.shapes.extend(faults.iter().map(Shape::of));
        for (address, entry) in last_entries(faults.iter().map(|f| (f.address, f.new))) {
            self.last.entry(address).or_default().insert(entry);
        }
    }
}

/// An entry without its frame and without A and D: between the kernel's store and the probe that reads the entry again, another
/// CPU's access may have set them.
fn settled(entry: Entry) -> u64 {
    entry.without_frame() & !(Entry::A | Entry::D)
}

/// The entry that the last fault at each address left.
fn last_entries(faults: impl Iterator<Item = (VirtAddr, Option<Entry>)>) -> BTreeMap<VirtAddr, u64> {
    faults.filter_map(|(address, new)| Some((address, settled(new?)))).collect()
}

/// Explores interleavings and compares. In the recording's place could be any of them, so of the recording must hold:
///
/// - its faults of each error code are as many as in some of the first `seeds` interleavings, at least and at most;
/// - the path of each of its faults, with its result and entries, is one that some interleaving takes;
/// - the entry that its last fault at an address leaves is one that some interleaving leaves there.
///
/// A way or an entry may be rare: if the first interleavings do not show it, [`PATIENCE`] times as many are tried.
///
/// Of every interleaving must hold that it leaves the machine in order ([`daxsim_sim::consistency`]), and that its faults go ways
/// which the kernel has. A lost wake-up would leave threads waiting for ever: the simulation then ends in an error.
pub(super) fn race(
    scenario: &Scenario,
    script: &Script,
    recorded: &[FaultRow],
    machine: &MachineSpec,
    kernel: &KernelSpec,
    seeds: u32,
) -> Result<Verdict> {
    let mut explored = Explored::default();
    let explore = |explored: &mut Explored, seed: u32| -> Result<Option<String>> {
        let predicted = scenario.predict(script, machine, kernel, Some(u64::from(seed)))?;
        explored.add(seed == 0, &predicted.faults);
        let found = |what| format!("a state that no interleaving may leave, with seed {seed}:\n    {what}");
        Ok(predicted.defect.map(found))
    };
    let lacking = |explored: &Explored, tried: u32| {
        path_differs(recorded, &explored.shapes, tried)
            .or_else(|| last_entry_differs(recorded, &explored.last, tried))
    };
    let mut first_difference = None;
    for seed in 0..seeds {
        first_difference = first_difference.or(explore(&mut explored, seed)?);
    }
    first_difference = first_difference.or_else(|| counts_differ(recorded, &explored.counts, seeds));
    let mut tried = seeds;
    let mut rare = lacking(&explored, tried);
    while rare.is_some() && first_difference.is_none() && tried < seeds.saturating_mul(PATIENCE) {
        first_difference = explore(&mut explored, tried)?;
        tried += 1;
        rare = lacking(&explored, tried);
    }
    let first_difference = first_difference.or(rare);
    Ok(Verdict {
        recorded: recorded.len(),
        predicted: explored.faults,
        first_difference,
        racing: Some(explored.counts),
        racing_paths: explored.shapes.len(),
        rare: (tried > seeds).then_some(tried),
        ..Verdict::default()
    })
}

fn counts_differ(
    recorded: &[FaultRow],
    ranges: &BTreeMap<u32, (usize, usize)>,
    seeds: u32,
) -> Option<String> {
    let counts = count_by(recorded.iter().filter_map(|row| row.error_code).map(|e| e.0));
    counts.keys().chain(ranges.keys()).find_map(|code| {
        let n = counts.get(code).copied().unwrap_or(0);
        let (least, most) = ranges.get(code).copied().unwrap_or((0, 0));
        (!(least..=most).contains(&n)).then(|| {
            format!(
                "faults of error code {code:#x}:\n    recorded   {n}\n    predicted  {least} to {most} over {seeds} interleavings"
            )
        })
    })
}

fn path_differs(recorded: &[FaultRow], shapes: &BTreeSet<Shape>, seeds: u32) -> Option<String> {
    let strange = recorded.iter().find(|row| !shapes.iter().any(|shape| shape.fits(row)))?;
    let number = shapes.len();
    Some(format!(
        "a fault's way:\n    recorded   {}\n    predicted  {number} other ways over {seeds} interleavings",
        show_row(strange)
    ))
}

fn last_entry_differs(
    recorded: &[FaultRow],
    explored: &BTreeMap<VirtAddr, BTreeSet<u64>>,
    seeds: u32,
) -> Option<String> {
    let faults = recorded.iter().filter_map(|row| Some((row.addr?, row.new_pte.map(Entry))));
    let strange = last_entries(faults)
        .into_iter()
        .find(|(address, entry)| !explored.get(address).is_some_and(|entries| entries.contains(entry)));
    let (address, entry) = strange?;
    let entries = explored.get(&address).into_iter().flatten().map(|entry| format!("{entry:#x}"));
    Some(format!(
        "the entry left at {address}:\n    recorded   {entry:#x}\n    predicted  {} over {seeds} interleavings",
        entries.collect::<Vec<_>>().join(" or ")
    ))
}

fn count_by(codes: impl Iterator<Item = u32>) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_default() += 1;
    }
    counts
}
