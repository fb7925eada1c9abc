//! The kernel's ways by lines of a script, whose player marks them by stores.
//!
//! From mark to mark a CPU is in a line. An access of the program to persistent memory is one of the line's; if the kernel ran since
//! the one before, it faulted, and the way is that of the kernel with the repeated access. A line without such accesses is a
//! call of the system: its way is all that the kernel did from mark to mark. Instructions of the program before the
//! kernel's first access are in it: a handful.

use std::collections::BTreeMap;

use daxsim_sim::bare::Access;
use daxsim_traces::script::marks::Mark;

use super::runs::{Executed, Way};

/// What a line did.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The ways of its faults, in order.
    pub faults: Vec<Way>,
    /// What kinds they were, where that is seen.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Accesses to large pages that faulted.
    pub large: u64,
    /// From one access that did not fault to the next one: the program's own.
    pub own: Vec<Executed>,
    /// The way of its call, if it made no accesses.
    pub call: Option<Way>,
}

/// Where a CPU is.
#[derive(Clone, Copy, Debug, Default)]
struct Under {
    line: Option<u32>,
    accesses: u64,
    /// The program's own since the last access or mark.
    own: Executed,
}

/// All lines, by the number of the run and their own.
#[derive(Debug)]
pub struct Lines {
    cpus: Vec<Under>,
    /// Runs of scripts that have begun.
    runs: u32,
    /// What came of each line.
    pub all: BTreeMap<(u32, u32), Line>,
}

impl Lines {
    /// For a machine with so many CPUs.
    pub fn new(cpus: usize) -> Self {
        Self { cpus: vec![Under::default(); cpus], runs: 0, all: BTreeMap::new() }
    }

    /// Whether a CPU is in a line.
    #[inline]
    pub fn is_in(&self, cpu: u16) -> bool {
        self.cpus[usize::from(cpu)].line.is_some()
    }

    /// The program stored to a mark; `way` is what the kernel did since its last access or mark.
    pub fn mark(&mut self, cpu: u16, mark: Mark, way: Option<Way>) {
        let under = &mut self.cpus[usize::from(cpu)];
        match mark {
            Mark::Begin(line) => {
                self.runs += u32::from(line == 0);
                *under = Under { line: Some(line), ..Under::default() };
            }
            Mark::End(line) => {
                let alone = under.accesses == 0 && under.line == Some(line);
                *under = Under::default();
                if alone {
                    self.line(line).call = way;
                }
            }
        }
    }

    /// Another access of the program's that is not to persistent memory. Whether its line is one of accesses to that.
    #[inline]
    pub fn own(&mut self, cpu: u16, access: &Access) -> bool {
        let under = &mut self.cpus[usize::from(cpu)];
        under.own.add(access);
        under.accesses > 0
    }

    /// An access of the program to persistent memory. With `way` it faulted; then `kind` is which fault it was, if that was seen.
    pub fn access(&mut self, cpu: u16, access: &Access, way: Option<(Way, Option<&'static str>, bool)>) {
        let under = &mut self.cpus[usize::from(cpu)];
        let Some(number) = under.line else { return };
        under.own.add(access);
        let own = std::mem::take(&mut under.own);
        let first = under.accesses == 0;
        under.accesses += 1;
        let line = self.line(number);
        match way {
            Some((way, kind, large)) => {
                line.faults.push(way);
                line.large += u64::from(large);
                kind.into_iter().for_each(|kind| *line.kinds.entry(kind).or_default() += 1);
            }
            // What is before the first one is of the line, not of its loop.
            None if !first => line.own.push(own),
            None => {}
        }
    }

    fn line(&mut self, line: u32) -> &mut Line {
        self.all.entry((self.runs.saturating_sub(1), line)).or_default()
    }
}
