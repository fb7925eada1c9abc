//! The kernel's ways by lines of scripts, as a report has them.

use std::ops::Range;

use daxsim_reports::units::count;
use daxsim_traces::script::{Op, Script};
use daxsim_types::Time;
use serde::Serialize;

use super::feed::Feed;
use super::lines::Line;
use super::report::{Path, median, medians, row};
use super::runs::Executed;

/// Most characters of a line in a table.
const SHOWN: usize = 44;

/// Faults of a line that are shown one by one.
const FIRST: usize = 2;

/// A script, as often as it was played, one after the other.
pub struct Played {
    /// What it is called.
    pub name: String,
    /// Its lines.
    pub script: Script,
    /// How often.
    pub passes: u32,
}

/// From the first address that scripts map to the last one.
pub fn maps(scripts: &[Played]) -> Range<u64> {
    let maps = || {
        scripts.iter().flat_map(|played| played.script.lines()).filter_map(|line| match line.op {
            Op::Map { addr, len, .. } => Some(addr..addr.saturating_add(len)),
            Op::Remap { new_len, to: Some(to), .. } => Some(to.addr..to.addr.saturating_add(new_len)),
            _ => None,
        })
    };
    maps().map(|map| map.start).min().unwrap_or(0)..maps().map(|map| map.end).max().unwrap_or(0)
}

/// What a line of a script was to the kernel.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LineWay {
    /// The script.
    pub script: String,
    /// Which time it was played, from 1.
    pub pass: u32,
    /// The number of the line, from 0.
    pub line: u32,
    /// As written.
    pub text: String,
    /// `fault` (the median of all) or `call`.
    pub what: &'static str,
    /// Which fault most were, if that was seen.
    pub kind: Option<String>,
    /// Faults, or 1.
    pub count: u64,
    /// Accesses that did not fault, but for the first.
    pub others: u64,
    /// The median way: what was executed, touched, and how long it took on the simulated machine.
    pub kernel: Path,
    /// Each of the first faults.
    pub first: Vec<Path>,
    /// The program's own from one access to the next one without a fault: medians of instructions, loads and stores.
    pub own: Option<[u64; 3]>,
}

/// All lines in which the kernel ran.
pub fn all(feed: &Feed, scripts: &[Played], cycles: &impl Fn(Time) -> u64) -> Vec<LineWay> {
    let mut ways = Vec::new();
    for (&(run, number), line) in &feed.lines.all {
        let (name, pass, text) = place(scripts, run, number);
        let base = LineWay {
            script: name,
            pass,
            line: number,
            text,
            what: "call",
            kind: None,
            count: 1,
            others: line.own.len() as u64,
            kernel: Path::default(),
            first: Vec::new(),
            own: own(&line.own),
        };
        if let Some(call) = &line.call {
            ways.push(LineWay { kernel: medians([call].into_iter(), cycles), ..base });
        } else if !line.faults.is_empty() {
            let kernel = medians(line.faults.iter(), cycles);
            let first =
                line.faults.iter().take(FIRST).map(|way| medians([way].into_iter(), cycles)).collect();
            let count = line.faults.len() as u64;
            ways.push(LineWay { what: "fault", kind: kind(line), count, kernel, first, ..base });
        } else if !line.own.is_empty() {
            ways.push(LineWay { what: "hits", count: 0, ..base });
        }
    }
    ways
}

/// The kind of most faults of a line.
fn kind(line: &Line) -> Option<String> {
    let (kind, _) = line.kinds.iter().max_by_key(|(_, count)| **count)?;
    let large = 2 * line.large > line.faults.len() as u64;
    Some(format!("{}{kind}", if large { "pmd_" } else { "" }))
}

fn own(all: &[Executed]) -> Option<[u64; 3]> {
    let of = |field: fn(&Executed) -> u64| median(all.iter().map(field).collect());
    (!all.is_empty()).then(|| [of(|one| one.instructions), of(|one| one.loads), of(|one| one.stores)])
}

/// Which script, the how manieth time, and which line of it a line of a run is.
fn place(scripts: &[Played], run: u32, number: u32) -> (String, u32, String) {
    let mut before = 0;
    for played in scripts {
        if run < before + played.passes {
            let line = played.script.lines().find(|line| line.index == number);
            let text = line.map(|line| line.text.clone()).unwrap_or_default();
            return (played.name.clone(), run - before + 1, text);
        }
        before += played.passes;
    }
    (String::new(), run + 1, String::new())
}

/// The rows of a table.
pub fn rows(lines: &[LineWay]) -> Vec<Vec<String>> {
    let head = ["line", "what", "pass", "count", "instructions", "loads", "stores", "lines", "cycles"];
    let mut rows = vec![row(head)];
    for way in lines.iter().filter(|way| way.what != "hits") {
        let mut text: String = way.text.chars().take(SHOWN).collect();
        if text.is_empty() {
            text = format!("line {}", way.line);
        }
        let what = way.kind.clone().unwrap_or_else(|| way.what.to_owned());
        let Path { instructions, loads, stores, lines, cycles, .. } = way.kernel;
        let numbers = [
            Some(u64::from(way.pass)),
            Some(way.count),
            Some(instructions),
            Some(loads),
            Some(stores),
            lines,
            Some(cycles),
        ];
        let shown = numbers.map(|number| number.map_or_else(|| "-".into(), count));
        rows.push([text, what].into_iter().chain(shown).collect());
    }
    rows
}
