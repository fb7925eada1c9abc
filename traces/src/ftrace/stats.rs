//! What a reader counted on its way.

use std::collections::BTreeMap;

use super::kinds::Kinds;
use super::syscall::SysCall;
use crate::error::quote;

/// What the header of a trace says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Events that were still in the buffer.
    pub in_buffer: u64,
    /// Events that were written. More than `in_buffer`: the rest was overwritten.
    pub written: u64,
    /// CPUs.
    pub cpus: u32,
}

impl Header {
    /// Events overwritten before the buffer was read.
    #[must_use]
    pub const fn overwritten(&self) -> u64 {
        self.written.saturating_sub(self.in_buffer)
    }
}

/// A line the reader could not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Line in the file, from 1.
    pub line: u64,
    /// Its text, quoted and cut.
    pub text: String,
}

impl Example {
    pub(super) fn new(line: u64, text: &[u8]) -> Self {
        Self { line, text: quote(text) }
    }
}

/// What a reader counted on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The header's counts, once its line was read.
    pub header: Option<Header>,
    /// Lines read, the header included.
    pub lines: u64,
    /// Bytes of text read.
    pub bytes: u64,
    /// Records delivered.
    pub records: u64,
    /// `CPU:n [LOST k EVENTS]` lines.
    pub lost_lines: u64,
    /// Sum of k over these lines (a line may not say how many).
    pub lost_events: u64,
    /// Lines that are not a comment and have no known form.
    pub unparsable: u64,
    /// The first few of them.
    pub unparsable_examples: Vec<Example>,
    /// Records of events without a type that are neither system calls nor kernel probes
    /// ([`super::Event::Unknown`]).
    pub unknown: u64,
    /// The first few of them.
    pub unknown_examples: Vec<Example>,
    /// The last line, if it has no line end: it is cut, and not delivered.
    pub cut_last_line: Option<Example>,
    /// Per number of a kind.
    pub(super) known: Vec<u64>,
    /// Returns of system calls, per number of a kind.
    pub(super) exits: Vec<u64>,
    /// Events without a kind, by name.
    pub(super) others: BTreeMap<Box<str>, u64>,
}

impl Default for Stats {
    fn default() -> Self {
        let kinds = Kinds::get().len();
        Self {
            header: None,
            lines: 0,
            bytes: 0,
            records: 0,
            lost_lines: 0,
            lost_events: 0,
            unparsable: 0,
            unparsable_examples: Vec::new(),
            unknown: 0,
            unknown_examples: Vec::new(),
            cut_last_line: None,
            known: vec![0; kinds],
            exits: vec![0; kinds],
            others: BTreeMap::new(),
        }
    }
}

impl Stats {
    /// How many examples are kept of each kind.
    pub const EXAMPLES: usize = 5;
    /// How many names of events without a type are counted apart; the rest count as `(others)`.
    pub const OTHER_NAMES: usize = 1000;

    /// Records per event name, names without records left out. A system call counts under its
    /// name (`sys_mmap`) at its entry; [`Self::exits`] has its returns.
    #[must_use]
    pub fn by_event(&self) -> BTreeMap<&str, u64> {
        let known = Kinds::get().iter().zip(&self.known).map(|(kind, &n)| (kind.name, n));
        let others = self.others.iter().map(|(name, &n)| (&**name, n));
        known.chain(others).filter(|&(_, n)| n > 0).collect()
    }

    /// Records of one event name.
    #[must_use]
    pub fn count(&self, event: &str) -> u64 {
        match Kinds::get().find(event.as_bytes()) {
            Some((i, _)) => self.known.get(i).copied().unwrap_or(0),
            None => self.others.get(event).copied().unwrap_or(0),
        }
    }

    /// Returns of a system call.
    #[must_use]
    pub fn exits(&self, call: SysCall) -> u64 {
        let kind = Kinds::get().find(call.event_name().as_bytes());
        kind.and_then(|(i, _)| self.exits.get(i).copied()).unwrap_or(0)
    }

    /// Whether the trace is whole: no event lost or overwritten, no line unparsable or cut.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost_lines == 0
            && self.unparsable == 0
            && self.cut_last_line.is_none()
            && self.header.is_none_or(|h| h.overwritten() == 0)
    }

    pub(super) fn count_known(&mut self, number: usize) {
        if let Some(n) = self.known.get_mut(number) {
            *n += 1;
        }
    }

    pub(super) fn count_exit(&mut self, number: usize) {
        if let Some(n) = self.exits.get_mut(number) {
            *n += 1;
        }
    }

    pub(crate) fn count_other(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        if let Some(n) = self.others.get_mut(&*name) {
            *n += 1;
        } else if self.others.len() < Self::OTHER_NAMES {
            self.others.insert(name.into(), 1);
        } else {
            *self.others.entry("(others)".into()).or_default() += 1;
        }
    }

    /// Counts a record of an event without a type.
    pub(crate) fn unknown_record(&mut self, number: u64, what: &[u8]) {
        self.unknown += 1;
        if self.unknown_examples.len() < Self::EXAMPLES {
            self.unknown_examples.push(Example::new(number, what));
        }
    }

    /// Counts a record that its description does not fit.
    pub(crate) fn unparsable_record(&mut self, number: u64, what: &[u8]) {
        self.unparsable += 1;
        if self.unparsable_examples.len() < Self::EXAMPLES {
            self.unparsable_examples.push(Example::new(number, what));
        }
    }

    pub(super) fn unknown_line(&mut self, line: &[u8]) {
        self.unknown_record(self.lines, line);
    }

    pub(super) fn unparsable_line(&mut self, line: &[u8]) {
        self.unparsable_record(self.lines, line);
    }
}
