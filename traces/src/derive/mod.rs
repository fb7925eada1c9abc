//! Tables derived from a trace of a played script: one line for each fault (`faults.tsv`), one for each script line (`ops.tsv`).
//!
//! A fault begins with its `page_fault` event and ends where its task does something else: another fault, a system call, the begin or
//! end of a script line. What the task does meanwhile, interrupts aside, are the steps of its path.

mod faults;
mod lines;
mod steps;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;
use std::path::Path;

use crate::TraceError;
use crate::fault_table::FaultRow;
use crate::ftrace::{Event, Marker, Reader, Record, Stats};
use crate::ops_table::OpRow;
use crate::script::{Op, Script};

use self::faults::Faults;
use self::lines::Lines;
use self::steps::Printed;

/// What a trace holds of a run.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Its faults, in the order in which they ended.
    pub faults: Vec<FaultRow>,
    /// Its script lines, with the text behind their numbers.
    pub lines: Vec<OpRow>,
    /// What was read, and what could not be.
    pub stats: Stats,
}

/// Which addresses are of interest.
#[derive(Clone, Debug)]
pub enum Of {
    /// Only these: those that a script maps.
    Maps(Vec<Range<u64>>),
    /// All: those of a program.
    All,
}

impl Of {
    /// The addresses that a script maps.
    #[must_use]
    pub fn script(script: &Script) -> Self {
        let ranges = script.lines().filter_map(|line| match line.op {
            Op::Map { addr, len, .. } => Some(addr..addr + len),
            Op::Remap { new_len, to: Some(to), .. } => Some(to.addr..to.addr + new_len),
            _ => None,
        });
        Self::Maps(ranges.collect())
    }

    fn has(&self, address: u64) -> bool {
        match self {
            Self::Maps(ranges) => ranges.iter().any(|range| range.contains(&address)),
            Self::All => true,
        }
    }
}

/// Which script lines run.
#[derive(Debug, Default)]
struct Running {
    /// By task: the line, and its thread.
    of_task: BTreeMap<u32, u32>,
    thread_of_task: BTreeMap<u32, u16>,
    all: Vec<u32>,
}

impl Running {
    fn begin(&mut self, task: u32, line: u32, thread: u16) {
        self.of_task.insert(task, line);
        self.thread_of_task.insert(task, thread);
        self.all.push(line);
    }

    fn end(&mut self, task: u32, line: u32) {
        self.of_task.remove(&task);
        if let Some(at) = self.all.iter().position(|&running| running == line) {
            self.all.remove(at);
        }
    }

    /// The line of a task.
    fn own(&self, task: u32) -> Option<u32> {
        self.of_task.get(&task).copied()
    }

    /// The only line that runs.
    fn only(&self) -> Option<u32> {
        if let [line] = self.all[..] { Some(line) } else { None }
    }
}

/// Derives the tables of a trace as tracefs prints it; `file` is the name for messages.
///
/// # Errors
///
/// What the reader raises.
pub fn derive<R: BufRead + Send>(mut text: R, of: &Of, file: &Path) -> Result<Tables, TraceError> {
    let mut whole = Vec::new();
    let error = |source| TraceError::Io { file: file.to_owned(), source };
    text.read_to_end(&mut whole).map_err(error)?;
    let mut printed = Printed::new(&whole);
    let mut reader = Reader::new(&whole[..], file);
    let (mut running, mut faults, mut lines) = (Running::default(), Faults::default(), Lines::default());
    let mut record = Record::default();
    while reader.next_record(&mut record)? {
        let shown = printed.of(&record);
        match &record.event {
            Event::Marker(Marker::Begin { line, thread, text }) => {
                faults.close(record.pid);
                running.begin(record.pid, *line, *thread);
                lines.begin(*line, *thread, text);
            }
            Event::Marker(Marker::End { line, rc, errno, acc, sig, .. }) => {
                faults.close(record.pid);
                running.end(record.pid, *line);
                lines.end(*line, &format!("rc={rc} errno={errno} acc={acc} sig={sig}"));
            }
            _ => {
                faults.take(&record, &shown, &running, of);
                lines.take(&record, &shown, &running, of);
            }
        }
    }
    Ok(Tables { faults: faults.finish(), lines: lines.finish(), stats: reader.stats().clone() })
}

#[cfg(test)]
mod tests;
