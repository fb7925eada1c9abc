//! From what a simulation found durable to what a report says of it.

use daxsim_reports::model;
use daxsim_sim::durability::{Call, WrittenPage};
use daxsim_sim::kernel::FileId;
use daxsim_sim::{Crash, Results};
use daxsim_traces::script::Script;
use daxsim_types::{CpuClock, Pfn};

/// Where the lines of an input are.
pub enum Source<'a> {
    /// A workload script: numbers count its lines without comments.
    Script(&'a Script),
    /// A trace: numbers are those of its lines.
    Trace,
}

impl Source<'_> {
    /// A line as a reader finds it.
    fn place(&self, number: u64) -> String {
        let line = match self {
            Self::Script(script) => u32::try_from(number).ok().and_then(|index| script.line(index)),
            Self::Trace => return format!("line {number} of the trace"),
        };
        line.map_or_else(
            || format!("step {number}"),
            |line| format!("line {}: {}", line.source_line, line.text),
        )
    }

    fn call(&self, call: &Call) -> String {
        format!("{} ({})", call.name, self.place(call.line))
    }
}

/// Puts what is durable into the report. `asked` is the cycle of the crash.
pub fn add(
    report: &mut model::RunReport,
    results: &Results,
    clock: CpuClock,
    asked: Option<u64>,
    source: &Source<'_>,
) {
    let d = &results.durability;
    let lines = |file: FileId, page: u64, frame: Pfn, mask: u64, unmarked_by: Option<Call>| {
        let (first, last) = (u64::from(mask.trailing_zeros()), 63 - u64::from(mask.leading_zeros()));
        model::Lines {
            file: name(&d.files, file),
            page,
            first_byte: page * 4096 + first * 64,
            last_byte: page * 4096 + last * 64 + 63,
            lines: mask.count_ones(),
            physical: format!("{:#x}", frame.addr().0 + first * 64),
            mark_removed_by: unmarked_by.map(|call| source.call(&call)),
            mark_removed_at_cycle: unmarked_by.map(|call| clock.to_cycles(call.at)),
        }
    };
    let lost = d.lost.iter().map(|page| model::LostLines {
        of: lines(page.file, page.page, page.frame, page.lines, page.unmarked_by),
        promised_by: source.call(&page.promise),
        promised_at_cycle: clock.to_cycles(page.promise.at),
        in_flight: page.in_flight,
    });
    let unmarked = d.unmarked.iter().map(|page| model::UnmarkedLines {
        of: lines(page.file, page.page, page.frame, page.lines, page.unmarked_by),
        has_entry: page.has_entry,
    });
    let mut written = runs(&d.written, &d.files);
    let written_runs = written.len() as u64;
    written.truncate(MOST_RUNS);
    report.durability = Some(model::Durability {
        at_cycle: clock.to_cycles(d.at),
        crash: asked.map(|cycle| crash(cycle, results.crash.as_ref(), source)),
        caches_persistent: d.eadr,
        promises: d.promises,
        lost_pages: d.lost_pages(),
        unmarked_pages: d.unmarked.len() as u64,
        dirty_pages: d.dirty_pages,
        dirty_lines: d.dirty_lines,
        in_flight_lines: d.in_flight_lines,
        device_pages: d.device_pages,
        unowned_lines: d.unowned_lines,
        lost: lost.collect(),
        unmarked: unmarked.collect(),
        written,
        written_runs,
    });
}

/// Runs of written lines that a report lists.
const MOST_RUNS: usize = 10_000;

/// Lines one after another in the same state.
fn runs(pages: &[WrittenPage], files: &[String]) -> Vec<model::WrittenLines> {
    let mut runs: Vec<(FileId, model::WrittenLines)> = Vec::new();
    for page in pages {
        let states = [(page.durable, "durable"), (page.dirty, "in a cache"), (page.in_flight, "on its way")];
        for line in 0..64 {
            let Some((_, state)) = states.iter().find(|(lines, _)| lines >> line & 1 != 0) else { continue };
            let first_byte = page.page * 4096 + line * 64;
            if let Some((file, run)) = runs.last_mut()
                && *file == page.file
                && run.last_byte + 1 == first_byte
                && run.state == *state
            {
                run.last_byte += 64;
                run.lines += 1;
                continue;
            }
            let run = model::WrittenLines {
                file: name(files, page.file),
                first_byte,
                last_byte: first_byte + 63,
                lines: 1,
                state: (*state).to_owned(),
            };
            runs.push((page.file, run));
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

fn name(files: &[String], file: FileId) -> String {
    let known = files.get(file.0 as usize).filter(|name| !name.is_empty());
    known.cloned().unwrap_or_else(|| format!("file {}", file.0))
}

fn crash(cycle: u64, crash: Option<&Crash>, source: &Source<'_>) -> model::Crash {
    let mut places = Vec::new();
    if let Some(crash) = crash {
        let running = crash.running.iter();
        places.extend(running.map(|call| format!("in {} on {}", source.call(call), call.cpu)));
        places.extend(crash.next_line.map(|line| format!("before {}", source.place(line))));
    }
    model::Crash { cycle, reached: crash.is_some(), places }
}
