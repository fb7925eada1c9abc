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
}

/// A file of such measurements: `traces/path-lengths/reference.toml`.
#[derive(Debug, Deserialize)]
pub struct Reference {
    /// What comes now and then: an interrupt, or the first store after a tick of the clock, for which a file's times are updated.
    chance: Spread,
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
    /// A line of the script whose call is in the row.
    also: Option<u32>,
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
            log: self.log.get(of).copied().unwrap_or_default().times(row.logs, by),
            chance: self.chance.times(1, by),
            theirs,
            tolerance,
        })
    }
}

/// How near a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Near,
    /// What comes by chance came there, and not here, or the other way about.
    Chance,
    Off,
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
        let is_one = |sign: f64| {
            self.off().iter().zip(0..).all(|(off, at): (_, usize)| {
                let theirs = self.theirs[at] as f64;
                let (more, room) = (sign * off * theirs, self.tolerance * theirs);
                (self.chance.least[at] as f64 - room..=self.chance.most[at] as f64 + room).contains(&more)
            })
        };
        if is_one(1.0) || is_one(-1.0) { Verdict::Chance } else { Verdict::Off }
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
        self.count(Verdict::Off)
    }

    /// Rows that are within it but for that.
    pub fn by_chance(&self) -> usize {
        self.count(Verdict::Chance)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict() == verdict).count()
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
            let verdict = match one.verdict() {
                Verdict::Near => "near",
                Verdict::Chance => "near, but for chance",
                Verdict::Off => "FAILS",
            };
            let operation: String = one.operation.chars().take(60).collect();
            let cells = [operation, verdict.into(), one.pass.to_string(), pair(0), pair(1), pair(2), off];
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
        log.k = { least = [100, 20, 10], most = [120, 22, 10] }\n\
        [[row]]\noperation = \"a fault\"\nline = 1\nwhat = \"fault\"\nk = [[1000, 200, 100], [2000, 400, 200]]\n\
        [[row]]\noperation = \"longer bounds\"\nline = 5\nwhat = \"fault\"\nturn = [50, 10, 5]\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"large\"\nline = 2\nwhat = \"fault\"\nper = \"mean\"\nlogs = 2\nalso = 4\nk = [[1000, 200, 100]]\n\
        [[row]]\noperation = \"a call\"\nline = 3\nwhat = \"call\"\nlogs = 1\nk = [[1000, 200, 100]]\n";

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
    }

    #[test]
    fn a_call_has_a_line_of_the_log_beside_it() {
        assert_eq!(failed(&[line(3, "call", 1, &[way(900, 180, 90)])]), (0, 0));
        assert_eq!(failed(&[line(3, "call", 1, &[way(880, 178, 90)])]), (0, 0));
        assert_eq!(failed(&[line(3, "call", 1, &[way(1000, 200, 100)])]), (1, 0));
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
