//! The kernel's ways against those that another tool measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use daxsim_reports::units::count;
use serde::Deserialize;

use super::by_line::LineWay;
use super::report::{Path, row};

/// Instructions, loads and stores.
type Counts = [u64; 3];

/// The least and the most of something that is not always the same.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Spread {
    least: Counts,
    most: Counts,
}

impl Spread {
    /// Parts of it: `count` of them, divided by `by`.
    fn times(self, count: u64, by: u64) -> Self {
        let of = |counts: Counts| counts.map(|each| each * count / by);
        Self { least: of(self.least), most: of(self.most) }
    }

    /// With as much more or less, divided by `by`.
    fn and(self, more: [i64; 3], by: u64) -> Self {
        let of = |counts: Counts| {
            std::array::from_fn(|at| counts[at].saturating_add_signed(more[at] / by.max(1) as i64))
        };
        Self { least: of(self.least), most: of(self.most) }
    }
}

/// A file of such measurements: `traces/path-lengths/reference.toml`.
#[derive(Debug, Deserialize)]
pub struct Reference {
    /// What comes now and then: an interrupt, or the first store after a tick of the clock, for which a file's times are updated.
    chance: Spread,
    /// What it takes to split a full node of the tree in which the kernel keeps the mappings of a process.
    #[serde(default)]
    split: Spread,
    /// What the program that was measured did for a line of its log, by kernel and file system.
    log: BTreeMap<String, Spread>,
    row: Vec<Row>,
}

/// One row of it.
#[derive(Debug, Deserialize)]
struct Row {
    operation: String,
    /// The line of the script.
    line: u32,
    /// `fault` or `call`.
    what: String,
    /// Lines of the log that are in the row.
    #[serde(default)]
    logs: u64,
    /// What a turn of the program's loop had in this line beyond what was taken off.
    #[serde(default)]
    turn: Counts,
    /// What the program did for these lines in particular, beyond lines of the log around plain loads.
    #[serde(default)]
    program: [i64; 3],
    /// A line of the script whose call is in the row.
    also: Option<u32>,
    /// It splits a mapping, and so a node if that is full: which call finds it full depends on all mappings of the process.
    #[serde(default)]
    splits: bool,
    /// What the triples are of.
    #[serde(default)]
    per: Per,
    /// Instructions, loads and stores, by kernel and file system, of each pass or of all.
    #[serde(flatten)]
    of: BTreeMap<String, Vec<Counts>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    /// The median of many faults, or a call.
    #[default]
    Pass,
    /// The mean of the line's first two faults, before the first of which is what there was between two lines.
    Mean,
}

impl Reference {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none.
    pub fn open(path: &std::path::Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{}: expected measured path lengths", path.display()))
    }

    /// Compares the lines of a kernel, such as `kernel-6.12/ext4`, with what the file says of it.
    ///
    /// # Errors
    ///
    /// If nothing can be compared.
    pub fn compare(&self, of: &str, lines: &[LineWay], tolerance: f64) -> Result<Comparison> {
        let mut rows = Vec::new();
        for row in &self.row {
            let Some(triples) = row.of.get(of) else { continue };
            for way in lines.iter().filter(|way| way.line == row.line && way.what == row.what) {
                rows.extend(self.compare_line(of, row, triples, (way, lines), tolerance));
            }
        }
        if rows.is_empty() {
            bail!("nothing to compare for {of}: expected lines of the script that the file is of");
        }
        Ok(Comparison { rows })
    }

    fn compare_line(
        &self,
        of: &str,
        row: &Row,
        triples: &[Counts],
        (way, lines): (&LineWay, &[LineWay]),
        tolerance: f64,
    ) -> Option<Compared> {
        let theirs = *triples.get(way.pass.saturating_sub(1) as usize).or(triples.last())?;
        let call = lines.iter().find(|other| Some(other.line) == row.also && other.pass == way.pass);
        let also = call.map_or([0; 3], |call| call.kernel.executed());
        let (parts, by) = match row.per {
            Per::Pass => (vec![way.kernel.executed()], 1),
            Per::Mean => (way.first.iter().map(Path::executed).collect(), way.first.len().max(1) as u64),
        };
        let sum = |at: usize| parts.iter().map(|part| part[at]).sum::<u64>() + also[at];
        Some(Compared {
            operation: row.operation.clone(),
            pass: way.pass,
            ours: std::array::from_fn(|at| sum(at) / by + row.turn[at]),
            log: self.log.get(of).copied().unwrap_or_default().times(row.logs, by).and(row.program, by),
            chance: self.chance.times(1, by),
            splits: row.splits.then_some(self.split),
            theirs,
            tolerance,
        })
    }
}

/// More events of chance than this in a short row are none that explain it.
const MOST_EVENTS: i64 = 2;
/// In a long one there can be one more for so many instructions: a tick of the clock comes every 4 ms, and an emulator that counts makes some
/// 25 million in a second.
const INSTRUCTIONS_A_TICK: u64 = 100_000;

/// How near a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Near,
    /// Beside so many events of chance, and splits of a node, that were there and not here, or the other way about.
    But {
        chance: u64,
        splits: u64,
    },
    Off,
}

impl Verdict {
    fn text(self) -> String {
        match self {
            Self::Near => "near".into(),
            Self::But { chance, splits } => {
                let chance = match chance {
                    0 => None,
                    1 => Some("chance".into()),
                    times => Some(format!("{times} x chance")),
                };
                let split = (splits > 0).then(|| "a split".into());
                let parts: Vec<String> = chance.into_iter().chain(split).collect();
                format!("near, but for {}", parts.join(" and "))
            }
            Self::Off => "FAILS".into(),
        }
    }
}

/// One row of a comparison.
#[derive(Clone, Debug)]
struct Compared {
    operation: String,
    pass: u32,
    ours: Counts,
    /// What is in their row besides.
    log: Spread,
    chance: Spread,
    splits: Option<Spread>,
    theirs: Counts,
    tolerance: f64,
}

impl Compared {
    /// How far each number, with the least of the log that brings it near, is from the other tool's, as a part of that.
    fn off(&self) -> [f64; 3] {
        std::array::from_fn(|at| {
            let theirs = self.theirs[at] as f64;
            let missing = theirs - self.ours[at] as f64;
            let log = missing.clamp(self.log.least[at] as f64, self.log.most[at] as f64);
            (log - missing) / theirs.max(1.0)
        })
    }

    fn verdict(&self) -> Verdict {
        if self.off().iter().all(|off| off.abs() <= self.tolerance) {
            return Verdict::Near;
        }
        let most = MOST_EVENTS + (self.theirs[0] / INSTRUCTIONS_A_TICK) as i64;
        let most_splits = i64::from(self.splits.is_some());
        let events = |few: &(i64, i64)| few.0.abs() + few.1.abs();
        let fewest = (-most_splits..=most_splits)
            .flat_map(|splits| (-most..=most).map(move |chance| (chance, splits)))
            .filter(|few| events(few) <= most && self.is_near_but_for(*few))
            .min_by_key(events);
        fewest.map_or(Verdict::Off, |(chance, splits)| Verdict::But {
            chance: chance.unsigned_abs(),
            splits: splits.unsigned_abs(),
        })
    }

    /// Whether so many events of chance, and splits of a node, more here than there account for the difference.
    fn is_near_but_for(&self, (chance, splits): (i64, i64)) -> bool {
        let between = |times: i64, spread: &Spread, at: usize| {
            let (least, most) = (times * spread.least[at] as i64, times * spread.most[at] as i64);
            (least.min(most), least.max(most))
        };
        self.off().iter().enumerate().all(|(at, off)| {
            let theirs = self.theirs[at] as f64;
            let (least, most) = between(chance, &self.chance, at);
            let (low, high) = between(splits, &self.splits.unwrap_or_default(), at);
            let room = self.tolerance * theirs;
            ((least + low) as f64 - room..=(most + high) as f64 + room).contains(&(off * theirs))
        })
    }
}

/// All rows.
#[derive(Debug)]
pub struct Comparison {
    rows: Vec<Compared>,
}

impl Comparison {
    /// Rows beyond the tolerance, also with what comes by chance.
    pub fn failed(&self) -> usize {
        self.count(|verdict| verdict == Verdict::Off)
    }

    /// Rows that are within it but for that, or for a split of a node.
    pub fn by_chance(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::But { .. }))
    }

    fn count(&self, which: impl Fn(Verdict) -> bool) -> usize {
        self.rows.iter().filter(|row| which(row.verdict())).count()
    }

    /// Rows.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// A line for each row.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut rows =
            vec![row(["operation", "verdict", "pass", "instructions", "loads", "stores", "off by"])];
        for one in &self.rows {
            let log = |at: usize| {
                if one.log.most[at] > 0 { format!(" + {}", count(one.log.least[at])) } else { String::new() }
            };
            let pair = |at: usize| format!("{}{} ({})", count(one.ours[at]), log(at), count(one.theirs[at]));
            let mut off = String::new();
            for (at, part) in one.off().into_iter().enumerate() {
                // Writing to a string does not fail.
                let _ = write!(off, "{}{:+.1} %", if at > 0 { " " } else { "" }, 100.0 * part);
            }
            let operation: String = one.operation.chars().take(60).collect();
            let cells =
                [operation, one.verdict().text(), one.pass.to_string(), pair(0), pair(1), pair(2), off];
            rows.push(cells.to_vec());
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Path as Way;
    use super::*;

    const FILE: &str = "chance = { least = [300, 60, 30], most = [400, 80, 40] }\n\
        split = { least = [180, 60, 20], most = [200, 70, 24] }\n\
        log.k = { least = [100, 20, 10], most = [120, 22, 10] }\n\
        [[row]]\noperation = \"a fault\"\nline = 1\nwhat = \"fault\"\nk = [[1000, 200, 100], [2000, 400, 200]]\n\
        [[row]]\noperation = \"longer bounds\"\nline = 5\nwhat = \"fault\"\nturn = [50, 10, 5]\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"large\"\nline = 2\nwhat = \"fault\"\nper = \"mean\"\nlogs = 2\nalso = 4\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"a call\"\nline = 3\nwhat = \"call\"\nlogs = 1\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"a split\"\nline = 7\nwhat = \"call\"\nsplits = true\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"a long line\"\nline = 6\nwhat = \"call\"\nlogs = 1\nprogram = [50, 10, -5]\nk = [[1000, 200, 100]]\n";

    fn way(instructions: u64, loads: u64, stores: u64) -> Way {
        Way { instructions, loads, stores, ..Way::default() }
    }

    fn line(number: u32, what: &'static str, pass: u32, first: &[Way]) -> LineWay {
        LineWay { line: number, what, pass, kernel: first[0], first: first.to_vec(), ..LineWay::default() }
    }

    /// Rows that fail, and those that chance tells apart.
    fn failed(lines: &[LineWay]) -> (usize, usize) {
        let reference: Reference = toml::from_str(FILE).unwrap();
        let comparison = reference.compare("k", lines, 0.02).unwrap();
        (comparison.failed(), comparison.by_chance())
    }

    #[test]
    fn each_number_has_to_be_near_in_its_own_pass() {
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1020, 196, 100)])]), (0, 0));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1020, 195, 100)])]), (1, 0));
        assert_eq!(failed(&[line(1, "fault", 2, &[way(1020, 196, 100)])]), (1, 0));
        assert_eq!(failed(&[line(1, "fault", 2, &[way(2000, 400, 200)])]), (0, 0));
        assert_eq!(failed(&[line(5, "fault", 1, &[way(950, 190, 95)])]), (0, 0));
    }

    #[test]
    fn what_comes_by_chance_is_told_apart() {
        assert_eq!(failed(&[line(1, "fault", 1, &[way(650, 130, 65)])]), (0, 1));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1350, 270, 135)])]), (0, 1));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(650, 130, 40)])]), (1, 0));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(850, 170, 85)])]), (1, 0));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(300, 60, 40)])]), (0, 1));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(100, 20, 10)])]), (1, 0));
    }

    #[test]
    fn a_call_has_a_line_of_the_log_beside_it() {
        assert_eq!(failed(&[line(3, "call", 1, &[way(900, 180, 90)])]), (0, 0));
        assert_eq!(failed(&[line(3, "call", 1, &[way(880, 178, 90)])]), (0, 0));
        assert_eq!(failed(&[line(3, "call", 1, &[way(1000, 200, 100)])]), (1, 0));
    }

    #[test]
    fn a_node_is_split_by_some_calls_alone() {
        assert_eq!(failed(&[line(7, "call", 1, &[way(1190, 265, 122)])]), (0, 1));
        assert_eq!(failed(&[line(7, "call", 1, &[way(810, 135, 78)])]), (0, 1));
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1190, 265, 122)])]), (1, 0));
        // A split there, and an event of chance here.
        assert_eq!(failed(&[line(7, "call", 1, &[way(1160, 205, 113)])]), (0, 1));
        assert_eq!(failed(&[line(7, "call", 1, &[way(1160, 265, 113)])]), (1, 0));
    }

    #[test]
    fn what_a_line_takes_of_the_program_is_beside_it_too() {
        assert_eq!(failed(&[line(6, "call", 1, &[way(850, 170, 95)])]), (0, 0));
        assert_eq!(failed(&[line(6, "call", 1, &[way(900, 180, 90)])]), (1, 0));
    }

    #[test]
    fn two_large_pages_are_a_mean_with_what_was_before_the_first() {
        // (1100 + 500 + 200 + 2 x 100) / 2 and so on.
        let call = line(4, "call", 1, &[way(200, 40, 20)]);
        let faults = line(2, "fault", 1, &[way(1100, 220, 110), way(500, 100, 50)]);
        assert_eq!(failed(&[call, faults.clone()]), (0, 0));
        assert_eq!(failed(&[faults]), (1, 0));
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let reference: Reference = toml::from_str(FILE).unwrap();
        let error = reference.compare("other", &[line(1, "fault", 1, &[way(1, 1, 1)])], 0.02).unwrap_err();
        assert!(error.to_string().contains("nothing to compare for other"), "{error}");
    }
}
