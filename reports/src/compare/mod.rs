//! Two reports side by side: every number that differs, and what explains the differences.
//!
//! The difference of a mean latency is taken apart by the attributed parts, and that of the whole time of a kind into what
//! its number and what its cost contributes. [`Limit`]s say what must not have changed.

mod limit;
mod markdown;
mod numbers;
mod page;
pub mod sweeps;
mod tables;
mod text;

use serde::{Deserialize, Serialize};

use crate::model::{Latency, RunReport, round3};
use crate::units::count;
use crate::{ReportError, headline};

pub use limit::{Check, Limit};
pub use markdown::render as markdown;
pub use page::render as html;
pub use text::summary;

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.compare/1";

/// Two reports compared. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The report that is compared with.
    pub base: Side,
    /// The report that is compared.
    pub new: Side,
    /// What was varied between the two.
    #[serde(default)]
    pub varied: Vec<Varied>,
    /// What the reader must know before using the differences.
    pub notes: Vec<String>,
    /// What must not hold, and whether it does.
    pub checks: Vec<Check>,
    /// Length of the run, in ns of simulated time.
    #[serde(default)]
    pub length: Change,
    /// Latencies by kind.
    pub latencies: Vec<LatencyChange>,
    /// Where the cycles of all CPUs went.
    pub cycles: Vec<CycleChange>,
    /// Every number that differs.
    pub changes: Vec<Change>,
    /// How many numbers the reports have together.
    pub numbers: usize,
}

/// One of the reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The file as typed.
    pub name: String,
    /// What ran on which machine and kernel.
    pub title: String,
    /// Machine config.
    pub machine: String,
    /// Kernel config.
    pub kernel: String,
    /// File system.
    pub fs: String,
    /// Settings changed for the run, as `key=value`.
    pub overrides: Vec<String>,
    /// Seed.
    pub seed: u64,
    /// SHA-256 of the inputs.
    pub inputs: Vec<String>,
}

/// Something that the two runs do not share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Varied {
    /// What it is: `kernel`, `machine`, `settings`.
    pub what: String,
    /// In the base.
    pub base: String,
    /// In the new report.
    pub new: String,
}

/// A latency in both reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyChange {
    /// The kind.
    pub kind: String,
    /// Samples in the base.
    pub base_count: u64,
    /// Samples in the new report.
    pub new_count: u64,
    /// Mean, percentiles and extremes.
    pub values: Vec<Change>,
    /// What the mean is made of: the changes of the parts sum to that of the mean.
    pub parts: Vec<Change>,
    /// Time of all samples in the base.
    pub base_total_ns: f64,
    /// Time of all samples in the new report.
    pub new_total_ns: f64,
    /// Of the change of the whole time, what comes of there being more or fewer samples, each at the cost of the base.
    pub by_count_ns: f64,
    /// The rest: what comes of a sample costing more or less.
    pub by_cost_ns: f64,
}

/// A number of both reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its path, or the name of a part.
    pub path: String,
    /// In the base; `None` if it has none.
    pub base: Option<f64>,
    /// In the new report.
    pub new: Option<f64>,
    /// New less base, what is missing taken as 0.
    pub change: f64,
    /// The change in per cent of the base; `None` if that is 0 or missing.
    pub percent: Option<f64>,
}

/// Cycles that were spent on something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleChange {
    /// What they were spent on.
    pub name: String,
    /// In the base.
    pub base: u64,
    /// In the new report.
    pub new: u64,
}

impl Change {
    fn new(path: impl Into<String>, base: Option<f64>, new: Option<f64>) -> Self {
        let (from, to) = (base.unwrap_or(0.0), new.unwrap_or(0.0));
        let percent = (from != 0.0).then(|| round3((to - from) / from.abs() * 100.0));
        Self { path: path.into(), base, new, change: round3(to - from), percent }
    }
}

impl Comparison {
    /// Compares `new` with `base`, each with the name of its file, and holds `limits` against them.
    ///
    /// # Errors
    ///
    /// [`ReportError::UnknownPath`] if a limit is about a number that neither report has, [`ReportError::Serialise`] if a report
    /// has no JSON form.
    pub fn new(
        base: (&str, &RunReport),
        new: (&str, &RunReport),
        limits: &[Limit],
    ) -> Result<Self, ReportError> {
        let document = |report: &RunReport| {
            serde_json::to_value(report).map(|v| numbers::numbers(&v)).map_err(ReportError::Serialise)
        };
        let (before, after) = (document(base.1)?, document(new.1)?);
        let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changes = paths
            .iter()
            .filter(|path| before.get(**path) != after.get(**path))
            .map(|path| Change::new((*path).clone(), before.get(*path).copied(), after.get(*path).copied()));
        let checks = limits.iter().map(|limit| limit.check(&before, &after));
        let (base, new) = ((side(base.0, base.1), base.1), (side(new.0, new.1), new.1));
        let varied = varied(&base.0, &new.0);
        Ok(Self {
            schema: SCHEMA.to_owned(),
            notes: notes((&base.0, base.1), (&new.0, new.1), &varied),
            varied,
            checks: checks.collect::<Result<_, _>>()?,
            length: Change::new("time_ns", Some(base.1.time_ns), Some(new.1.time_ns)),
            latencies: latencies(base.1, new.1),
            cycles: cycles(base.1, new.1),
            changes: changes.collect(),
            numbers: paths.len(),
            base: base.0,
            new: new.0,
        })
    }

    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }

    /// Whether something holds that must not.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.fails)
    }
}

fn side(name: &str, report: &RunReport) -> Side {
    let set = report.machine.overrides.iter().chain(&report.kernel.overrides);
    Side {
        name: name.to_owned(),
        title: headline::title(report),
        machine: report.machine.name.clone(),
        kernel: report.kernel.name.clone(),
        fs: report.fs.map(|fs| fs.to_string()).unwrap_or_default(),
        overrides: set.map(|o| format!("{}={}", o.key, o.value)).collect(),
        seed: report.seed,
        inputs: report.inputs.iter().map(|input| input.sha256.clone()).collect(),
    }
}

fn varied(base: &Side, new: &Side) -> Vec<Varied> {
    let words = |set: &[String]| if set.is_empty() { "none".to_owned() } else { set.join(" ") };
    let all = [
        ("machine", base.machine.clone(), new.machine.clone()),
        ("kernel", base.kernel.clone(), new.kernel.clone()),
        ("file system", base.fs.clone(), new.fs.clone()),
        ("settings", words(&base.overrides), words(&new.overrides)),
        ("seed", base.seed.to_string(), new.seed.to_string()),
    ];
    let differ = all.into_iter().filter(|(_, base, new)| base != new);
    differ.map(|(what, base, new)| Varied { what: what.to_owned(), base, new }).collect()
}

/// What makes the differences others than of what the reader meant to vary.
fn notes(base: (&Side, &RunReport), new: (&Side, &RunReport), varied: &[Varied]) -> Vec<String> {
    let mut notes = Vec::new();
    if base.0.inputs != new.0.inputs {
        notes.push("the inputs are not the same bytes".to_owned());
    }
    let (before, after) = (base.1, new.1);
    if before.mode != after.mode {
        let modes = (before.mode.name(), after.mode.name());
        notes.push(format!("the base was made by {}, the other by {}", modes.0, modes.1));
    }
    if varied.len() > 1 {
        let each = varied.iter().map(|v| format!("{} {} against {}", v.what, v.base, v.new));
        notes.push(format!("more than one thing was varied: {}", each.collect::<Vec<_>>().join(", ")));
    }
    if before.tool != after.tool {
        let tool = |r: &RunReport| format!("{} {}", r.tool.name, r.tool.version);
        notes.push(format!("made by {} and {}", tool(before), tool(after)));
    }
    notes.extend(agreement(before, after));
    notes
}

/// How much of a recording each reproduced, if that differs: a kernel that takes other ways than the recorded one diverges.
fn agreement(base: &RunReport, new: &RunReport) -> Option<String> {
    let (before, after) = (&base.replay, &new.replay);
    if before.recorded != after.recorded || before.reproduced == after.reproduced {
        return None;
    }
    let [recorded, before, after] = [before.recorded, before.reproduced, after.reproduced].map(count);
    Some(format!("of {recorded} recorded outcomes the base reproduced {before}, the new run {after}"))
}

/// The kinds that either report has, those that cost most first.
fn latencies(base: &RunReport, new: &RunReport) -> Vec<LatencyChange> {
    let mut kinds: Vec<&str> = base.latency.keys().chain(new.latency.keys()).map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let none = Latency::default();
    let of = |report: &'_ RunReport, kind: &str| report.latency.get(kind).cloned().unwrap_or(none.clone());
    let mut all: Vec<LatencyChange> =
        kinds.iter().map(|kind| latency(kind, &of(base, kind), &of(new, kind))).collect();
    all.retain(|l| l.base_count + l.new_count > 0);
    let cost = |l: &LatencyChange| l.base_total_ns.max(l.new_total_ns);
    all.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.kind.cmp(&b.kind)));
    all
}

fn latency(kind: &str, base: &Latency, new: &Latency) -> LatencyChange {
    let value = |name: &str, of: fn(&Latency) -> f64| {
        let there = |l: &Latency| (l.count > 0).then(|| of(l));
        Change::new(name, there(base), there(new))
    };
    let (before, after) = (base.total_ns(), new.total_ns());
    let by_count = (new.count as f64 - base.count as f64) * mean(base);
    // With no sample on a side there is no cost to compare: all comes of the number.
    let by_count = if base.count == 0 || new.count == 0 { after - before } else { by_count };
    LatencyChange {
        kind: kind.to_owned(),
        base_count: base.count,
        new_count: new.count,
        values: vec![
            value("mean", mean),
            value("p50", |l| l.p50),
            value("p90", |l| l.p90),
            value("p99", |l| l.p99),
            value("p999", |l| l.p999),
            value("max", |l| l.max),
        ],
        parts: parts(base, new),
        base_total_ns: round3(before),
        new_total_ns: round3(after),
        by_count_ns: round3(by_count),
        by_cost_ns: round3(after - before - by_count),
    }
}

fn mean(latency: &Latency) -> f64 {
    if latency.count == 0 { 0.0 } else { latency.total_ns() / latency.count as f64 }
}

/// The parts that either latency has, in the order in which they are spent.
fn parts(base: &Latency, new: &Latency) -> Vec<Change> {
    let mut names: Vec<&str> = base.parts.iter().map(|p| p.name.as_str()).collect();
    for (at, part) in new.parts.iter().enumerate() {
        if !names.contains(&part.name.as_str()) {
            // After the part that precedes it in its own report.
            let before = at.checked_sub(1).map(|before| new.parts[before].name.as_str());
            let place = names.iter().position(|name| Some(*name) == before).map_or(0, |place| place + 1);
            names.insert(place, &part.name);
        }
    }
    let of = |l: &Latency, name: &str| {
        let part = l.parts.iter().find(|part| part.name == name)?;
        Some(part.total_ns / l.count.max(1) as f64)
    };
    names.into_iter().map(|name| Change::new(name, of(base, name), of(new, name))).collect()
}

fn cycles(base: &RunReport, new: &RunReport) -> Vec<CycleChange> {
    let mut names: Vec<&str> = base.attribution.iter().map(|p| p.name.as_str()).collect();
    for part in &new.attribution {
        if !names.contains(&part.name.as_str()) {
            names.push(&part.name);
        }
    }
    let of = |report: &RunReport, name: &str| {
        report.attribution.iter().find(|part| part.name == name).map_or(0, |part| part.cycles)
    };
    names
        .into_iter()
        .map(|name| CycleChange { name: name.to_owned(), base: of(base, name), new: of(new, name) })
        .collect()
}

#[cfg(test)]
mod tests;
