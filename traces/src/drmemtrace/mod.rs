//! Traces of DynamoRIO's drmemtrace: entries of 12 bytes, little-endian, of a 64-bit program (`trace_entry_t` in
//! `clients/drcachesim/common/trace_entry.h`).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | kind |
//! | 2 | 2 | bytes accessed, or of the instruction |
//! | 4 | 8 | address, or thread, process, version |
//!
//! The first entry is a header with the version. An instruction comes before its accesses; a thread's entry says whose all
//! after it are. A marker (kind 28) has its own kind instead of a size; that of kind 2 says the time in microseconds. Entries of kinds that
//! are not needed have the same length and are skipped.

mod merge;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use daxsim_types::VirtAddr;

use crate::TraceError;
use crate::access::{AccessBatch, AccessOp, AccessReader, AccessRecord, BATCH, Fetches, Reading};
use crate::fixed::FixedRecords;

pub use merge::{Merged, files, threads};

/// Bytes of an entry.
const ENTRY: usize = 12;
/// What an entry that cannot be one is not.
const EXPECTED: &str = "entries of 12 bytes, of known kinds";
/// Most records of an entry: a bundle of instructions has up to 8.
const MOST: usize = 8;
/// Most threads whose instructions are kept apart.
const MOST_THREADS: usize = 1 << 16;
/// Versions of the format: those with and without instruction bytes, and what may follow.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=32;

/// Kinds of entries.
mod kind {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const BUNDLE: u16 = 17;
    pub const THREAD: u16 = 22;
    pub const PID: u16 = 24;
    pub const HEADER: u16 = 25;
    pub const MARKER: u16 = 28;
    /// Another turn of a string instruction.
    pub const NO_FETCH: u16 = 29;
    pub const MAYBE_FETCH: u16 = 30;
    /// Behind the last kind, with room for some that may come.
    pub const END: u16 = 128;
}

/// The marker that says the time (`TRACE_MARKER_TYPE_TIMESTAMP`).
const TIMESTAMP: u16 = 2;

/// Whether a kind is an instruction that is fetched.
const fn is_instruction(kind: u16) -> bool {
    matches!(kind, 10..=16 | kind::MAYBE_FETCH | 31 | 48 | 49)
}

/// Whether bytes are the first of such a trace.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    let entries: Vec<_> = head.chunks_exact(ENTRY).take(3).map(entry).collect();
    match entries[..] {
        [(kind::HEADER, 0, version), (second, ..), ..] => {
            VERSIONS.contains(&version) && matches!(second, kind::MARKER | kind::THREAD | kind::PID)
        }
        _ => false,
    }
}

/// Kind, size and address.
fn entry(bytes: &[u8]) -> (u16, u16, u64) {
    let word = |from: usize, to: usize| {
        let bytes = bytes.get(from..to).unwrap_or_default();
        bytes.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte))
    };
    (word(0, 2) as u16, word(2, 4) as u16, word(4, 12))
}

/// A streaming reader of such a trace.
pub struct DrMemTrace<R> {
    input: FixedRecords<R, ENTRY>,
    fetches: Fetches,
    thread: u32,
    /// Instructions of each thread since its last record.
    gaps: BTreeMap<u32, u32>,
    /// Where the instruction behind the last one begins.
    next_pc: u64,
    /// Microseconds, as the last marker said.
    time: u64,
    /// Most records of a batch.
    most: usize,
    /// Whether a batch ends where the time changes.
    by_time: bool,
    reading: Reading,
}

impl<R: Read> DrMemTrace<R> {
    /// Reads `input`; messages name `file`.
    pub fn new(input: R, file: impl AsRef<Path>, fetches: Fetches) -> Self {
        Self {
            input: FixedRecords::new(input, file.as_ref()),
            fetches,
            thread: 0,
            gaps: BTreeMap::new(),
            next_pc: 0,
            time: 0,
            most: BATCH,
            by_time: false,
            reading: Reading::default(),
        }
    }

    /// Batches of one time each, of at most so many records.
    pub(crate) const fn by_time(mut self, most: usize) -> Self {
        self.by_time = true;
        self.most = most;
        self
    }

    /// The time of the last batch, in microseconds.
    pub(crate) const fn time(&self) -> u64 {
        self.time
    }

    /// The next entry, which stays until it is used.
    fn peek(&mut self) -> Result<Option<(u16, u16, u64)>, TraceError> {
        let Some(bytes) = self.input.peek(EXPECTED)? else { return Ok(None) };
        let found = entry(&bytes);
        if found.0 >= kind::END {
            return Err(self.input.malformed(0, format!("an entry of kind {}", found.0), EXPECTED));
        }
        Ok(Some(found))
    }

    /// Uses an entry.
    fn take(&mut self, (what, size, value): (u16, u16, u64), records: &mut Vec<AccessRecord>) {
        match what {
            kind::READ => self.push(AccessOp::Load, value, size, records),
            kind::WRITE => self.push(AccessOp::Store, value, size, records),
            kind::BUNDLE => {
                for length in value.to_le_bytes().into_iter().take(usize::from(size)) {
                    self.instruction(self.next_pc, u16::from(length), records);
                }
            }
            _ if is_instruction(what) => self.instruction(value, size, records),
            kind::NO_FETCH => self.next_pc = value.wrapping_add(u64::from(size)),
            kind::THREAD => self.thread = value as u32,
            _ => self.reading.tool_lines += 1,
        }
    }

    fn instruction(&mut self, pc: u64, size: u16, records: &mut Vec<AccessRecord>) {
        self.next_pc = pc.wrapping_add(u64::from(size));
        if self.gaps.len() < MOST_THREADS || self.gaps.contains_key(&self.thread) {
            let gap = self.gaps.entry(self.thread).or_default();
            *gap = gap.saturating_add(1);
        }
        if self.fetches == Fetches::Keep {
            self.push(AccessOp::Fetch, pc, size, records);
        }
    }

    fn push(&mut self, op: AccessOp, va: u64, size: u16, records: &mut Vec<AccessRecord>) {
        let gap = self.gaps.get_mut(&self.thread).map(std::mem::take).unwrap_or_default();
        records.push(AccessRecord { va: VirtAddr(va), gap, size, op, dependent: false });
    }
}

impl<R: Read + Send> AccessReader for DrMemTrace<R> {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        batch.records.clear();
        batch.order.clear();
        batch.thread = self.thread;
        while batch.records.len() + MOST <= self.most {
            let entry = match self.peek() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    let rest = std::mem::take(&mut self.gaps).into_values().map(u64::from);
                    self.reading.trailing_instructions += rest.sum::<u64>();
                    break;
                }
                // What failed once fails again: first what came before.
                Err(_) if !batch.records.is_empty() => break,
                Err(error) => return Err(error),
            };
            // A batch is of one thread.
            if entry.0 == kind::THREAD && entry.2 as u32 != batch.thread {
                if !batch.records.is_empty() {
                    break;
                }
                batch.thread = entry.2 as u32;
            }
            if let (kind::MARKER, TIMESTAMP, time) = entry {
                if self.by_time && !batch.records.is_empty() {
                    break;
                }
                self.time = time;
            }
            self.input.advance();
            self.take(entry, &mut batch.records);
        }
        Ok(!batch.records.is_empty())
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(entries: &[(u16, u16, u64)]) -> Vec<u8> {
        let bytes = |&(kind, size, value): &(u16, u16, u64)| {
            [&kind.to_le_bytes()[..], &size.to_le_bytes(), &value.to_le_bytes()].concat()
        };
        entries.iter().flat_map(bytes).collect()
    }

    /// The begin of a file: version, type, thread, process.
    const BEGIN: [(u16, u16, u64); 4] =
        [(kind::HEADER, 0, 4), (kind::MARKER, 12, 4), (kind::THREAD, 0, 7), (kind::PID, 0, 7)];

    fn read(bytes: &[u8], fetches: Fetches) -> (Vec<AccessBatch>, Option<String>, Reading) {
        let mut reader = DrMemTrace::new(bytes, "t", fetches);
        let (mut batches, mut batch) = (Vec::new(), AccessBatch::default());
        loop {
            match reader.next_batch(&mut batch) {
                Ok(true) => batches.push(batch.clone()),
                Ok(false) => return (batches, None, reader.reading().clone()),
                Err(error) => return (batches, Some(error.to_string()), reader.reading().clone()),
            }
        }
    }

    fn access(op: AccessOp, va: u64, gap: u32, size: u16) -> AccessRecord {
        AccessRecord { va: VirtAddr(va), gap, size, op, dependent: false }
    }

    #[test]
    fn accesses_have_their_thread_and_the_instructions_before() {
        let rest = [
            (10, 3, 0x401000),
            (10, 4, 0x401003),
            (kind::READ, 8, 0x7000),
            (kind::WRITE, 8, 0x7000),
            (48, 2, 0x401007),
            (kind::THREAD, 0, 9),
            (47, 4, 0x1234),
            (10, 4, 0x402000),
            (kind::WRITE, 4, 0x9000),
            (kind::THREAD, 0, 7),
            (11, 5, 0x401009),
            (kind::READ, 1, 0x7008),
            (26, 0, 0),
        ];
        let bytes = trace(&[&BEGIN[..], &rest].concat());
        assert!(looks_like(&bytes));
        let (batches, error, reading) = read(&bytes, Fetches::Count);
        let expected = [
            (7, vec![access(AccessOp::Load, 0x7000, 2, 8), access(AccessOp::Store, 0x7000, 0, 8)]),
            (9, vec![access(AccessOp::Store, 0x9000, 1, 4)]),
            (7, vec![access(AccessOp::Load, 0x7008, 2, 1)]),
        ];
        let found: Vec<_> = batches.into_iter().map(|b| (b.thread, b.records)).collect();
        assert_eq!((found, error), (expected.to_vec(), None));
        assert_eq!((reading.tool_lines, reading.trailing_instructions), (5, 0));
    }

    #[test]
    fn fetches_of_a_bundle_follow_one_another() {
        let lengths = u64::from_le_bytes([2, 5, 0, 0, 0, 0, 0, 0]);
        let rest = [(10, 3, 0x401000), (kind::BUNDLE, 2, lengths), (kind::NO_FETCH, 3, 0x401000)];
        let (batches, ..) = read(&trace(&[&BEGIN[..], &rest].concat()), Fetches::Keep);
        let fetch = |va, size| access(AccessOp::Fetch, va, 1, size);
        assert_eq!(batches[0].records, [fetch(0x401000, 3), fetch(0x401003, 2), fetch(0x401005, 5)]);
    }

    #[test]
    fn a_cut_or_foreign_entry_is_placed_after_what_came_before() {
        let mut bytes = trace(&[&BEGIN[..], &[(kind::READ, 8, 0x7000), (kind::READ, 8, 0x7008)]].concat());
        bytes.truncate(bytes.len() - 5);
        let (batches, error, _) = read(&bytes, Fetches::Count);
        assert_eq!(batches[0].records.len(), 1);
        assert!(error.unwrap().contains("at byte 60: found 7 bytes and the end of the file"));
        let (_, error, _) = read(&trace(&[&BEGIN[..], &[(999, 0, 0)]].concat()), Fetches::Count);
        assert!(error.unwrap().contains("at byte 48: found an entry of kind 999"));
    }

    #[test]
    fn other_bytes_are_not_taken_for_one() {
        for entries in
            [&[(kind::HEADER, 0, 4)][..], &[(10, 0, 4), BEGIN[1]], &[(kind::HEADER, 0, 99), BEGIN[1]]]
        {
            assert!(!looks_like(&trace(entries)));
        }
        assert!(!looks_like(b"") && !looks_like(&[0; 64]));
    }
}
