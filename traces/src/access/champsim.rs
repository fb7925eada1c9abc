//! Traces of ChampSim: 64 bytes for each instruction, little-endian (`inc/trace_instruction.h`, `struct input_instr`).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | address of the instruction |
//! | 8 | 1 | 1 for a branch, else 0 |
//! | 9 | 1 | 1 if it was taken, else 0 |
//! | 10 | 2 x 1 | registers written, 0 for none |
//! | 12 | 4 x 1 | registers read, 0 for none |
//! | 16 | 2 x 8 | addresses stored to, 0 for none |
//! | 32 | 4 x 8 | addresses loaded from, 0 for none |
//!
//! Sizes are not in it. Loads of an instruction come before its stores. An access is `dependent` if its instruction reads a
//! register whose value goes back, through registers, to the access before.

use std::io::Read;
use std::path::Path;

use daxsim_types::VirtAddr;

use super::{AccessBatch, AccessOp, AccessReader, AccessRecord, BATCH, Fetches, Reading};
use crate::TraceError;
use crate::fixed::FixedRecords;

/// Bytes of a record.
pub(crate) const RECORD: usize = 64;
/// Most accesses of an instruction: its fetch, four loads, two stores.
const MOST: usize = 7;
/// The instruction pointer (`REG_INSTRUCTION_POINTER`): its value is predicted, so that nothing waits for it.
const INSTRUCTION_POINTER: u8 = 26;

/// A streaming reader of a ChampSim trace.
pub struct ChampSim<R> {
    input: FixedRecords<R, RECORD>,
    fetches: Fetches,
    registers: Registers,
    /// Instructions since the last record.
    gap: u32,
    reading: Reading,
}

/// What each register's value goes back to.
struct Registers {
    /// Number of the access, from 1; 0 for none.
    from: [u64; 256],
    /// Number of the last access.
    last: u64,
}

impl<R: Read> ChampSim<R> {
    /// Reads `input`; messages name `file`.
    pub fn new(input: R, file: impl AsRef<Path>, fetches: Fetches) -> Self {
        Self {
            input: FixedRecords::new(input, file.as_ref()),
            fetches,
            registers: Registers { from: [0; 256], last: 0 },
            gap: 0,
            reading: Reading::default(),
        }
    }

    /// Takes one record; whether there was one.
    fn instruction(&mut self, records: &mut Vec<AccessRecord>) -> Result<bool, TraceError> {
        let Some(record) = self.input.peek("a record of 64 bytes")? else {
            self.reading.trailing_instructions += u64::from(std::mem::take(&mut self.gap));
            return Ok(false);
        };
        if let Some(at) = [8, 9].into_iter().find(|at| record[*at] > 1) {
            let found = format!("byte {:#04x}", record[at]);
            let what = if at == 8 { "0 or 1 (is_branch)" } else { "0 or 1 (branch_taken)" };
            return Err(self.input.malformed(at, found, what));
        }
        self.input.advance();
        self.gap = self.gap.saturating_add(1);
        let dependent = self.registers.depends(&record);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| record[at + byte]));
        if self.fetches == Fetches::Keep {
            self.push(AccessOp::Fetch, word(0), false, records);
        }
        let mut loaded = false;
        for va in [32, 40, 48, 56].map(word).into_iter().filter(|va| *va != 0) {
            // Only the first can need the access of an earlier instruction: the others follow one of this.
            self.push(AccessOp::Load, va, dependent && !loaded, records);
            loaded = true;
        }
        let mut stored = false;
        for va in [16, 24].map(word).into_iter().filter(|va| *va != 0) {
            self.push(AccessOp::Store, va, dependent && !loaded && !stored, records);
            stored = true;
        }
        self.registers.write(&record, loaded);
        Ok(true)
    }

    fn push(&mut self, op: AccessOp, va: u64, dependent: bool, records: &mut Vec<AccessRecord>) {
        let gap = std::mem::take(&mut self.gap);
        if op != AccessOp::Fetch {
            self.registers.last += 1;
        }
        records.push(AccessRecord { va: VirtAddr(va), gap, size: 0, op, dependent });
    }
}

impl Registers {
    fn sources(record: &[u8; RECORD]) -> impl Iterator<Item = u8> {
        record[12..16].iter().copied().filter(|r| *r != 0 && *r != INSTRUCTION_POINTER)
    }

    /// Whether what the instruction reads goes back to the last access.
    fn depends(&self, record: &[u8; RECORD]) -> bool {
        self.last > 0 && Self::sources(record).any(|r| self.from[usize::from(r)] == self.last)
    }

    /// What the instruction writes goes back to its own load, or to what it read.
    fn write(&mut self, record: &[u8; RECORD], loaded: bool) {
        let newest = Self::sources(record).map(|r| self.from[usize::from(r)]).max().unwrap_or(0);
        let from = if loaded { self.last } else { newest };
        for register in record[10..12].iter().filter(|r| **r != 0) {
            self.from[usize::from(*register)] = from;
        }
    }
}

impl<R: Read + Send> AccessReader for ChampSim<R> {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        batch.thread = 0;
        batch.records.clear();
        batch.order.clear();
        while batch.records.len() + MOST <= BATCH {
            match self.instruction(&mut batch.records) {
                Ok(true) => {}
                Ok(false) => break,
                // What failed once fails again: first what came before.
                Err(_) if !batch.records.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(!batch.records.is_empty())
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

/// Whether bytes could be the first of such a trace: in whole records, where flags are 0 or 1, something is addressed.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    let mut records = head.chunks_exact(RECORD).peekable();
    records.peek().is_some()
        && records.all(|r| r.get(8..10).is_some_and(|flags| flags.iter().all(|flag| *flag <= 1)))
        && head.get(..8) != Some(&[0; 8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record: instruction, registers written and read, addresses stored to and loaded from.
    fn instruction(ip: u64, write: u8, reads: [u8; 2], store: u64, loads: [u64; 2]) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&ip.to_le_bytes());
        record[10] = write;
        record[12..14].copy_from_slice(&reads);
        record[16..24].copy_from_slice(&store.to_le_bytes());
        record[32..40].copy_from_slice(&loads[0].to_le_bytes());
        record[56..64].copy_from_slice(&loads[1].to_le_bytes());
        record
    }

    fn read(bytes: &[u8], fetches: Fetches) -> (Vec<AccessRecord>, Option<String>, Reading) {
        let mut reader = ChampSim::new(bytes, "t", fetches);
        let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
        let error = loop {
            match reader.next_batch(&mut batch) {
                Ok(true) => all.append(&mut batch.records),
                Ok(false) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        (all, error, reader.reading().clone())
    }

    #[test]
    fn loads_come_before_stores_and_instructions_are_counted() {
        let bytes = [
            instruction(0x400, 0, [0; 2], 0, [0; 2]),
            instruction(0x404, 1, [0; 2], 0x30, [0x10, 0x20]),
            instruction(0x408, 0, [0; 2], 0, [0; 2]),
        ]
        .concat();
        let (records, error, reading) = read(&bytes, Fetches::Count);
        let seen: Vec<_> = records.iter().map(|r| (r.op, r.va.0, r.gap)).collect();
        use AccessOp::{Fetch, Load, Store};
        assert_eq!(seen, [(Load, 0x10, 2), (Load, 0x20, 0), (Store, 0x30, 0)]);
        assert_eq!((error, reading.trailing_instructions), (None, 1));
        let ops: Vec<_> = read(&bytes, Fetches::Keep).0.iter().map(|r| (r.op, r.gap)).collect();
        assert_eq!(ops, [(Fetch, 1), (Fetch, 1), (Load, 0), (Load, 0), (Store, 0), (Fetch, 1)]);
    }

    #[test]
    fn a_load_needs_the_one_before_if_its_address_comes_from_there() {
        let bytes = [
            instruction(1, 5, [0; 2], 0, [0x10, 0]),
            // From register 5 by way of 6, which is computed.
            instruction(2, 6, [5, 0], 0, [0; 2]),
            instruction(3, 7, [6, 0], 0, [0x20, 0]),
            // 5 is older than the access before.
            instruction(4, 8, [5, 0], 0, [0x30, 0]),
            // Nothing waits for the instruction pointer.
            instruction(5, 26, [8, 0], 0, [0; 2]),
            instruction(6, 9, [26, 0], 0, [0x40, 0]),
            // A store to where a load said.
            instruction(7, 0, [9, 0], 0x50, [0; 2]),
        ]
        .concat();
        let seen: Vec<_> = read(&bytes, Fetches::Count).0.iter().map(|r| (r.va.0, r.dependent)).collect();
        assert_eq!(seen, [(0x10, false), (0x20, true), (0x30, false), (0x40, false), (0x50, true)]);
    }

    #[test]
    fn what_is_no_record_is_placed() {
        let mut bytes = [instruction(1, 0, [0; 2], 0x10, [0; 2]); 2].concat();
        bytes.extend([1, 2, 3]);
        let (records, error, _) = read(&bytes, Fetches::Count);
        assert_eq!(records.len(), 2);
        let text = "t: at byte 128: found 3 bytes and the end of the file: expected a record of 64 bytes";
        assert_eq!(error.as_deref(), Some(text));
        bytes[64 + 9] = 7;
        let (records, error, _) = read(&bytes, Fetches::Count);
        assert_eq!(records.len(), 1);
        assert_eq!(error.as_deref(), Some("t: at byte 73: found byte 0x07: expected 0 or 1 (branch_taken)"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in prop::collection::vec(0_u8..3, 0..700)) {
            let (records, error, _) = read(&bytes, Fetches::Keep);
            prop_assert!(error.is_some() || records.len() >= bytes.len() / RECORD);
        }
    }
}
