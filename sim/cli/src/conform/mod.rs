//! `daxsim conform`: prediction against recording, scenario by scenario.

mod compare;
mod race;
mod scenario;

use std::path::Path;

use anyhow::{Context, Result, bail};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{Override, load_kernel, load_machine};

use crate::args::ConformArgs;
use crate::config::{parse_overrides, with_semantics};
use crate::{Status, output};
use scenario::{Scenario, Verdict};

/// Runs `daxsim conform`.
pub fn run(args: &ConformArgs) -> Result<Status> {
    let (machine_set, kernel_set) =
        parse_overrides(&with_semantics(&args.overrides, args.semantics.as_deref()))?;
    let machine = load_machine(&args.machine, &machine_set)?;
    let chosen = args.kernel.as_deref().map(|name| load_kernel(name, &kernel_set)).transpose()?;
    let mut total = Total::default();
    for dir in &args.dirs {
        match one(dir, &machine, chosen.as_ref(), &kernel_set, args.seeds) {
            Ok((scenario, verdict)) => {
                output::print(&line(&scenario, &verdict))?;
                total.add(&verdict);
            }
            Err(error) if args.dirs.len() > 1 => {
                output::note(&format!("daxsim: not compared: {}", output::describe(&error)));
                total.not_compared += 1;
            }
            Err(error) => return Err(error),
        }
    }
    output::print(&total.text())?;
    if total.not_compared > 0 {
        bail!("{} of {} scenarios could not be compared", total.not_compared, args.dirs.len());
    }
    Ok(if total.differing == 0 { Status::Done } else { Status::CheckFailed })
}

/// Compares the scenario in one folder, under the kernel that was chosen, or else under the one that recorded it.
fn one(
    dir: &Path,
    machine: &MachineSpec,
    chosen: Option<&KernelSpec>,
    kernel_set: &[Override],
    seeds: u32,
) -> Result<(Scenario, Verdict)> {
    let scenario = Scenario::find(dir)?;
    let verdict = match chosen {
        Some(kernel) => scenario.check(machine, kernel, seeds)?,
        None => {
            let kernel =
                load_kernel(&scenario.kernel, kernel_set).with_context(|| dir.display().to_string())?;
            scenario.check(machine, &kernel, seeds)?
        }
    };
    Ok((scenario, verdict))
}

/// Sums over scenarios.
#[derive(Default)]
struct Total {
    scenarios: usize,
    not_compared: usize,
    differing: usize,
    recorded: usize,
    level1: usize,
    level2: usize,
    level3: usize,
    lines: usize,
    lines_with_background: usize,
    lines_recorded: usize,
    racing: usize,
}

impl Total {
    fn add(&mut self, verdict: &Verdict) {
        self.scenarios += 1;
        self.differing += usize::from(verdict.first_difference.is_some());
        if verdict.racing.is_some() {
            self.racing += 1;
            return;
        }
        self.recorded += verdict.recorded;
        self.level1 += verdict.level1;
        self.level2 += verdict.level2;
        self.level3 += verdict.level3;
        self.lines += verdict.lines;
        self.lines_with_background += verdict.lines_with_background;
        self.lines_recorded += verdict.lines_recorded;
    }

    fn text(&self) -> String {
        let what = if self.scenarios == 1 { "scenario" } else { "scenarios" };
        let not_compared = match self.not_compared {
            0 => String::new(),
            n => format!(", {n} not compared"),
        };
        format!(
            "{} {what} ({} racing), {} differ{not_compared}; {} faults recorded, {} equal at level 1, {} at level 2, {} at level 3; \
             flushes of {} of {} script lines equal, {} of them but for other tasks on the recorded machine\n",
            self.scenarios,
            self.racing,
            self.differing,
            self.recorded,
            self.level1,
            self.level2,
            self.level3,
            self.lines,
            self.lines_recorded,
            self.lines_with_background
        )
    }
}

fn line(scenario: &Scenario, verdict: &Verdict) -> String {
    let name = format!("{}/{}/{}", scenario.kernel, scenario.fs, scenario.name);
    let mark = if verdict.first_difference.is_some() { "DIFFERS" } else { "equal" };
    let mut text = match &verdict.racing {
        None => format!(
            "{name:<46} {mark:<8} {:>6} faults recorded {:>6} predicted; level 1 {:>6}, 2 {:>6}, 3 {:>6}; lines {:>4} of {}\n",
            verdict.recorded,
            verdict.predicted,
            verdict.level1,
            verdict.level2,
            verdict.level3,
            verdict.lines,
            verdict.lines_recorded
        ),
        Some(ranges) => {
            let spans: Vec<String> =
                ranges.iter().map(|(code, (a, b))| format!("{code:#x}: {a} to {b}")).collect();
            let more = verdict.rare.map_or_else(String::new, |tried| format!(" in {tried} interleavings"));
            format!(
                "{name:<46} {mark:<8} {:>6} faults recorded, racing; predicted {}; {} ways{more}\n",
                verdict.recorded,
                spans.join(", "),
                verdict.racing_paths
            )
        }
    };
    if let Some(difference) = &verdict.first_difference {
        text.push_str(&format!("  first difference, {difference}\n"));
    }
    text
}
