//! One fault as the sequence of its micro-operations, with the cost of each: for a terminal and as JSON.

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::units::{count, counted, percent};

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.explain/1";

/// A fault taken apart. Times are picoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Its kind.
    pub kind: String,
    /// Machine config.
    pub machine: String,
    /// Kernel config.
    pub kernel: String,
    /// File system.
    pub fs: String,
    /// `--set` settings.
    pub overrides: Vec<String>,
    /// Core clock.
    pub frequency_hz: u64,
    /// Which one it was of the faults of its kind in the run, from 1.
    pub nth: u64,
    /// How many those were.
    pub of: u64,
    /// The workload that took it.
    pub script: String,
    /// Its latency: the sum of the steps.
    pub took_ps: u64,
    /// What it was made of, in order.
    pub steps: Vec<Step>,
}

/// A micro-operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From the fault's begin until this began.
    pub at_ps: u64,
    /// What it took.
    pub took_ps: u64,
    /// The kernel function, as the model has it.
    pub function: String,
    /// What was done: `block`, `load`, `store`, `locked`, `lock`, `unlock`, and others.
    pub op: String,
    /// On what: a line, a lock, the key of a path length.
    pub on: String,
    /// What the time was attributed to.
    pub parts: Vec<(String, u64)>,
    /// Instructions that the path length stands for.
    pub instructions: u64,
    /// Loads among them.
    pub loads: u64,
    /// Stores among them.
    pub stores: u64,
}

impl Explained {
    /// The JSON form, with a newline at the end.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self).map_err(ReportError::Serialise)? + "\n")
    }

    /// Sums of the steps by a name, the greatest first.
    fn sums(&self, of: impl Fn(&Step) -> Vec<(String, u64)>) -> Vec<(String, u64)> {
        let mut sums: Vec<(String, u64)> = Vec::new();
        for (name, ps) in self.steps.iter().flat_map(of) {
            match sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += ps,
                None => sums.push((name, ps)),
            }
        }
        sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        sums.retain(|(_, ps)| *ps > 0);
        sums
    }
}

/// The sequence for a terminal, with a newline at the end.
#[must_use]
pub fn summary(fault: &Explained) -> String {
    let f = fault;
    let set = if f.overrides.is_empty() { String::new() } else { format!(", {}", f.overrides.join(", ")) };
    let cycles = u128::from(f.took_ps) * u128::from(f.frequency_hz) / 1_000_000_000_000;
    let mut out = format!(
        "A {} fault on {} under {} with {}{set}: {} ns, {} cycles, {}\n\
         fault {} of {} of its kind, in this workload:\n",
        f.kind,
        f.machine,
        f.kernel,
        f.fs,
        nanoseconds(f.took_ps),
        count(cycles as u64),
        counted(f.steps.iter().map(|s| s.instructions).sum(), "instruction", "instructions"),
        f.nth,
        f.of,
    );
    f.script.lines().for_each(|line| out += &format!("  {line}\n"));
    let rows: Vec<[String; 5]> = f.steps.iter().map(row).collect();
    let head = ["at ns", "ns", "kernel function", "micro-operation", "attributed to"].map(str::to_owned);
    let mut widths = [0; 5];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    out += "\nMicro-operations\n";
    for row in [&head].into_iter().chain(&rows) {
        let [at, took, function, what, parts] = row;
        let [a, b, c, d, _] = widths;
        let line = format!("  {at:>a$}  {took:>b$}  {function:<c$}  {what:<d$}  {parts}");
        out += line.trim_end();
        out.push('\n');
    }
    out += &format!("  {:>a$}  {:>b$}  all\n", "", nanoseconds(f.took_ps), a = widths[0], b = widths[1]);
    out += &sums("By part", f, |step| step.parts.clone());
    out += &sums("By function", f, |step| vec![(step.function.clone(), step.took_ps)]);
    out
}

fn sums(title: &str, fault: &Explained, of: impl Fn(&Step) -> Vec<(String, u64)>) -> String {
    let share = |ps: u64| percent(ps as f64 / fault.took_ps.max(1) as f64);
    let rows = fault.sums(of).into_iter().map(|(name, ps)| vec![name, nanoseconds(ps), share(ps)]).collect();
    let table = crate::terminal::aligned(title, &["", "ns", "share"], rows);
    if table.is_empty() { table } else { format!("\n{table}\n") }
}

fn row(step: &Step) -> [String; 5] {
    let mut what = if step.on.is_empty() { step.op.clone() } else { format!("{} {}", step.op, step.on) };
    if step.instructions > 0 {
        what +=
            &format!(" ({} instr., {} loads, {} stores)", count(step.instructions), step.loads, step.stores);
    }
    let parts: Vec<String> = match step.parts.as_slice() {
        [(name, _)] => vec![name.clone()],
        parts => parts.iter().map(|(name, ps)| format!("{name} {}", nanoseconds(*ps))).collect(),
    };
    [nanoseconds(step.at_ps), nanoseconds(step.took_ps), step.function.clone(), what, parts.join(", ")]
}

/// Picoseconds as nanoseconds, exactly.
fn nanoseconds(ps: u64) -> String {
    format!("{}.{:03}", count(ps / 1000), ps % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_sums_are_those_of_the_steps() {
        let step = |at_ps, took_ps, function: &str, parts: &[(&str, u64)]| Step {
            at_ps,
            took_ps,
            function: function.into(),
            op: "load".into(),
            on: "j_state_lock".into(),
            parts: parts.iter().map(|(name, ps)| ((*name).to_owned(), *ps)).collect(),
            ..Step::default()
        };
        let fault = Explained {
            kind: "mkwrite".into(),
            frequency_hz: 2_000_000_000,
            took_ps: 1_500_007,
            steps: vec![
                step(0, 1_000_000, "ext4_dax_huge_fault", &[("fs", 1_000_000)]),
                step(1_000_000, 500_007, "page_fault", &[("fs", 7), ("memory", 500_000)]),
            ],
            ..Explained::default()
        };
        let text = summary(&fault);
        for part in [
            "1,500.007 ns, 3,000 cycles",
            "1,000.000    500.007  page_fault           load j_state_lock  fs 0.007, memory 500.000",
            "1,000.007  66.7 %",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
