//! Accesses that are decoded once and run by several simulations.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use daxsim_traces::access::{AccessBatch, AccessReader, AccessRecord, OrderRun, Reading};
use daxsim_traces::{InputKind, TraceError};

use super::{AccessArgs, Readers, readers};

/// The accesses of a trace.
pub struct Kept {
    threads: Vec<Arc<Thread>>,
    ordered: bool,
}

/// Those of one of its threads.
struct Thread {
    batches: Vec<AccessBatch>,
    /// What else the reader met.
    reading: Reading,
    /// Damage that ended the reading.
    damage: Option<String>,
}

impl Kept {
    /// Decodes a trace, unless its accesses take more than so many bytes.
    pub fn read(input: &Path, kind: InputKind, asked: &AccessArgs, limit: u64) -> Result<Option<Self>> {
        let readers = readers(input, kind, asked.fetches())?;
        let (mut left, mut threads) = (limit, Vec::new());
        for reader in readers.threads {
            let Some(thread) = Thread::read(reader, left)? else { return Ok(None) };
            left = left.saturating_sub(thread.bytes());
            threads.push(Arc::new(thread));
        }
        Ok(Some(Self { threads, ordered: readers.ordered }))
    }

    /// Records of the longest thread.
    pub fn longest(&self) -> u64 {
        let records =
            |thread: &Arc<Thread>| thread.batches.iter().map(|batch| batch.records.len() as u64).sum();
        self.threads.iter().map(records).max().unwrap_or(0)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        self.threads.iter().map(|thread| thread.bytes()).sum()
    }

    /// Readers that hand out the same as those of the file.
    pub(super) fn readers(&self) -> Readers {
        let one = |thread: &Arc<Thread>| -> Box<dyn AccessReader> {
            Box::new(Again { thread: Arc::clone(thread), at: 0, reading: thread.reading.clone() })
        };
        Readers { threads: self.threads.iter().map(one).collect(), ordered: self.ordered, are_kept: true }
    }
}

fn bytes_of(batch: &AccessBatch) -> u64 {
    (batch.records.len() * size_of::<AccessRecord>() + batch.order.len() * size_of::<OrderRun>()) as u64
}

impl Thread {
    fn bytes(&self) -> u64 {
        self.batches.iter().map(bytes_of).sum()
    }

    fn read(mut reader: Box<dyn AccessReader>, most: u64) -> Result<Option<Self>> {
        let (mut batches, mut bytes, mut damage) = (Vec::new(), 0, None);
        loop {
            let mut batch = AccessBatch::default();
            match reader.next_batch(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is_damage() => {
                    damage = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            bytes += bytes_of(&batch);
            if bytes > most {
                return Ok(None);
            }
            batches.extend(cut(batch));
        }
        Ok(Some(Self { batches, reading: reader.reading().clone(), damage }))
    }
}

/// Records handed out at once, if they have no order: who decodes them here has no more of them at a time than fit its L2.
const AT_ONCE: usize = 8192;

/// A batch as several, unless it is told where its records stand among those of other threads.
fn cut(batch: AccessBatch) -> Vec<AccessBatch> {
    if batch.records.len() <= AT_ONCE || !batch.order.is_empty() {
        return vec![batch];
    }
    let part = |records: &[AccessRecord]| AccessBatch {
        thread: batch.thread,
        records: records.to_vec(),
        ..AccessBatch::default()
    };
    batch.records.chunks(AT_ONCE).map(part).collect()
}

/// Reads what was kept.
struct Again {
    thread: Arc<Thread>,
    at: usize,
    reading: Reading,
}

impl AccessReader for Again {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        let next = self.thread.batches.get(self.at);
        match next {
            Some(next) => batch.clone_from(next),
            // What a shorter run does not reach is none of its business.
            None if self.at == self.thread.batches.len() => {
                self.reading.damage.splice(0..0, self.thread.damage.clone());
            }
            None => {}
        }
        self.at += 1;
        Ok(next.is_some())
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}
