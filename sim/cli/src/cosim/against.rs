//! The kernel's ways against those that another tool measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use daxsim_reports::units::count;
use serde::Deserialize;

use super::by_line::LineWay;
use super::report::row;

/// A file of such measurements: `traces/path-lengths/reference.toml`.
#[derive(Debug, Deserialize)]
pub struct Reference {
    /// Instructions in the row of a call that are not the kernel's, at most.
    residue: u64,
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
    /// What the triples are of.
    #[serde(default)]
    per: Per,
    /// Instructions, loads and stores, by kernel and file system.
    #[serde(flatten)]
    of: std::collections::BTreeMap<String, Vec<[u64; 3]>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    #[default]
    Pass,
    Access,
}

impl Reference {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self> {
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
                rows.extend(self.compare_line(row, triples, way, tolerance));
            }
        }
        if rows.is_empty() {
            bail!("nothing to compare for {of}: expected lines of the script that the file is of");
        }
        Ok(Comparison { rows })
    }

    fn compare_line(&self, row: &Row, triples: &[[u64; 3]], way: &LineWay, tolerance: f64) -> Vec<Compared> {
        let compared = |number: usize, ours: [u64; 3], suffix: String| {
            let theirs = *triples.get(number).or(triples.last())?;
            let residue = if row.what == "call" { self.residue } else { 0 };
            let operation = format!("{}{suffix}", row.operation);
            Some(Compared { operation, pass: way.pass, ours, theirs, residue, tolerance })
        };
        match row.per {
            Per::Pass => {
                let number = way.pass.saturating_sub(1) as usize;
                compared(number, way.kernel.executed(), String::new()).into_iter().collect()
            }
            Per::Access => {
                let each = way.first.iter().enumerate();
                each.filter_map(|(at, path)| compared(at, path.executed(), format!(", access {}", at + 1)))
                    .collect()
            }
        }
    }
}

/// One row of a comparison: instructions, loads and stores.
#[derive(Clone, Debug)]
struct Compared {
    operation: String,
    pass: u32,
    ours: [u64; 3],
    theirs: [u64; 3],
    residue: u64,
    tolerance: f64,
}

impl Compared {
    /// How far each number is from the other tool's, as a part of that.
    fn off(&self) -> [f64; 3] {
        std::array::from_fn(|at| {
            let (ours, theirs) = (self.ours[at] as f64, self.theirs[at] as f64);
            (ours - theirs) / theirs.max(1.0)
        })
    }

    /// Whether all are as near as they have to be. A residue of instructions has loads and stores in proportion.
    fn is_near(&self) -> bool {
        let instructions = self.theirs[0].max(1) as f64;
        (0..3).all(|at| {
            let theirs = self.theirs[at] as f64;
            let residue = self.residue as f64 * theirs / instructions;
            let (low, high) = (theirs * (1.0 - self.tolerance) - residue, theirs * (1.0 + self.tolerance));
            // What the other program did besides is more in its row, not less.
            (low..=high + residue).contains(&(self.ours[at] as f64))
        })
    }
}

/// All rows.
#[derive(Debug)]
pub struct Comparison {
    rows: Vec<Compared>,
}

impl Comparison {
    /// Rows beyond the tolerance.
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_near()).count()
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
            let pair = |at: usize| format!("{} ({})", count(one.ours[at]), count(one.theirs[at]));
            let mut off = String::new();
            for (at, part) in one.off().into_iter().enumerate() {
                // Writing to a string does not fail.
                let _ = write!(off, "{}{:+.1} %", if at > 0 { " " } else { "" }, 100.0 * part);
            }
            let verdict = match (one.is_near(), one.residue) {
                (true, 0) => "near",
                (true, _) => "near, with residue",
                (false, _) => "FAILS",
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

    const FILE: &str = "residue = 100\n\
        [[row]]\noperation = \"a fault\"\nline = 1\nwhat = \"fault\"\nk = [[1000, 200, 100], [2000, 400, 200]]\n\
        [[row]]\noperation = \"large\"\nline = 2\nwhat = \"fault\"\nper = \"access\"\nk = [[500, 50, 50], [300, 30, 30]]\n\
        [[row]]\noperation = \"a call\"\nline = 3\nwhat = \"call\"\nk = [[1000, 200, 100]]\n";

    fn way(instructions: u64, loads: u64, stores: u64) -> Way {
        Way { instructions, loads, stores, ..Way::default() }
    }

    fn line(number: u32, what: &'static str, pass: u32, first: &[Way]) -> LineWay {
        LineWay { line: number, what, pass, kernel: first[0], first: first.to_vec(), ..LineWay::default() }
    }

    fn failed(lines: &[LineWay]) -> usize {
        let reference: Reference = toml::from_str(FILE).unwrap();
        reference.compare("k", lines, 0.02).unwrap().failed()
    }

    #[test]
    fn each_number_has_to_be_near_in_its_own_pass() {
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1020, 196, 100)])]), 0);
        assert_eq!(failed(&[line(1, "fault", 1, &[way(1020, 195, 100)])]), 1);
        assert_eq!(failed(&[line(1, "fault", 2, &[way(1020, 196, 100)])]), 1);
        assert_eq!(failed(&[line(1, "fault", 2, &[way(2000, 400, 200)])]), 0);
    }

    #[test]
    fn large_pages_are_compared_access_by_access() {
        assert_eq!(failed(&[line(2, "fault", 1, &[way(500, 50, 50), way(300, 30, 30)])]), 0);
        assert_eq!(failed(&[line(2, "fault", 2, &[way(500, 50, 50), way(500, 50, 50)])]), 1);
    }

    #[test]
    fn a_call_may_differ_by_the_residue_and_a_fault_not() {
        assert_eq!(failed(&[line(3, "call", 1, &[way(900, 180, 90)])]), 0);
        assert_eq!(failed(&[line(3, "call", 1, &[way(800, 180, 90)])]), 1);
        assert_eq!(failed(&[line(1, "fault", 1, &[way(900, 180, 90)])]), 1);
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let reference: Reference = toml::from_str(FILE).unwrap();
        let error = reference.compare("other", &[line(1, "fault", 1, &[way(1, 1, 1)])], 0.02).unwrap_err();
        assert!(error.to_string().contains("nothing to compare for other"), "{error}");
    }
}
