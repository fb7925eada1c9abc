//! Sampled accesses of a file (`perf mem record`).

use std::path::Path;

use daxsim_types::VirtAddr;

use super::data;
use super::order::Pending;
use super::records::{Records, SAMPLE};
use super::sample::Sample;
use crate::TraceError;
use crate::access::{AccessBatch, AccessOp, AccessReader, AccessRecord, BATCH, Reading};

/// `PERF_MEM_OP_*`: the operation, in the lowest bits of `data_src`.
const OP_LOAD: u64 = 0x2;
const OP_STORE: u64 = 0x4;
const OP_EXEC: u64 = 0x10;

/// An access, its thread and its weight.
type Access = (u32, AccessRecord, Option<u32>);

/// Reader of the accesses that a processor sampled. Each is one access of an instruction: what ran between two samples is not
/// in the file. Accesses of the kernel are left out.
pub struct MemReader {
    records: Records,
    reading: Reading,
    /// An access of another thread, which begins the next batch.
    next: Option<Access>,
    samples: u64,
}

impl MemReader {
    /// Opens a file, compressed or not, or what a pipe carried.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be read or its head is damaged.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        data::open(path.as_ref()).map(Self::of)
    }

    /// Reads a file's bytes, which are not compressed; `file` is the name for messages.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if the head is damaged.
    pub fn of_bytes(bytes: Vec<u8>, file: &Path) -> Result<Self, TraceError> {
        data::of_bytes(bytes, file).map(Self::of)
    }

    fn of(records: Records) -> Self {
        Self { records, reading: Reading::default(), next: None, samples: 0 }
    }

    /// The next access.
    fn access(&mut self) -> Result<Option<Access>, TraceError> {
        while let Some(pending) = self.records.next()? {
            if pending.kind != SAMPLE {
                continue;
            }
            self.samples += 1;
            match self.access_of(&pending) {
                Some(access) => return Ok(Some(access)),
                None => {
                    self.reading.other_lines += 1;
                    let what = format!("sample {}: no access of a program", self.samples);
                    self.reading.first_other.get_or_insert((self.samples, what));
                }
            }
        }
        Ok(None)
    }

    fn access_of(&self, pending: &Pending) -> Option<Access> {
        let attr = self.records.attrs.get(pending.attr).filter(|attr| attr.has_accesses())?;
        let sample = Sample::parse(attr, &pending.bytes, self.records.layout)?;
        let op = match sample.data_src & (OP_LOAD | OP_STORE | OP_EXEC) {
            OP_LOAD => AccessOp::Load,
            OP_STORE => AccessOp::Store,
            OP_EXEC => AccessOp::Fetch,
            both if both == OP_LOAD | OP_STORE => AccessOp::Modify,
            _ => return None,
        };
        let is_user = sample.addr != 0 && sample.addr >> 63 == 0;
        let record = AccessRecord { va: VirtAddr(sample.addr), gap: 1, size: 0, op, dependent: false };
        is_user.then_some((sample.tid, record, sample.weight))
    }
}

impl AccessReader for MemReader {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        batch.records.clear();
        batch.order.clear();
        batch.extras.clear();
        let first = match self.next.take() {
            Some(first) => Some(first),
            None => self.access()?,
        };
        let Some((thread, record, weight)) = first else { return Ok(false) };
        batch.thread = thread;
        batch.records.push(record);
        batch.extras.weights.extend(weight);
        while batch.records.len() < BATCH {
            match self.access() {
                Ok(Some((of, record, weight))) if of == thread => {
                    batch.records.push(record);
                    batch.extras.weights.extend(weight);
                }
                Ok(other) => {
                    self.next = other;
                    break;
                }
                // It is met again, once this batch is used.
                Err(error) => {
                    self.records.keep(error);
                    break;
                }
            }
        }
        if batch.extras.weights.len() != batch.records.len() {
            batch.extras.clear();
        }
        self.reading.extras.add(&batch.extras);
        Ok(true)
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}
