//! Accesses that are decoded once and run by several simulations.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use daxsim_sim::program::trace::expand;
use daxsim_sim::program::{Access, Source};
use daxsim_traces::InputKind;
use daxsim_traces::access::{AccessBatch, AccessReader, AccessRecord};

use super::queue::Decoded;
use super::readers;
use crate::args::AccessArgs;

/// The accesses of a trace.
pub struct Kept {
    threads: Vec<Thread>,
}

/// Those of one of its threads.
struct Thread {
    records: Arc<Vec<AccessRecord>>,
    /// What else the reader met.
    reading: daxsim_traces::access::Reading,
    /// Damage that ended the reading.
    damage: Option<String>,
}

impl Kept {
    /// Decodes a trace, unless its accesses take more than so many bytes.
    pub fn read(input: &Path, kind: InputKind, asked: &AccessArgs, limit: u64) -> Result<Option<Self>> {
        let mut left = limit / size_of::<AccessRecord>() as u64;
        let mut threads = Vec::new();
        for reader in readers(input, kind, asked.fetches())? {
            let Some(thread) = Thread::read(reader, asked.limit.unwrap_or(u64::MAX), left)? else {
                return Ok(None);
            };
            left = left.saturating_sub(thread.records.len() as u64);
            threads.push(thread);
        }
        Ok(Some(Self { threads }))
    }

    /// Records of the longest thread.
    pub fn longest(&self) -> u64 {
        self.threads.iter().map(|thread| thread.records.len() as u64).max().unwrap_or(0)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        let records: usize = self.threads.iter().map(|thread| thread.records.capacity()).sum();
        (records * size_of::<AccessRecord>()) as u64
    }

    /// A source for each thread, with what a decoder would say of the first `limit` records of each.
    pub fn sources(&self, limit: u64) -> (Vec<Box<dyn Source>>, Vec<Decoded>) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let one = |thread: &Thread| -> (Box<dyn Source>, Decoded) {
            let end = thread.records.len().min(limit);
            let cursor =
                Cursor { records: Arc::clone(&thread.records), at: 0, end, expanded: Vec::new(), given: 0 };
            (Box::new(cursor), thread.decoded(end))
        };
        self.threads.iter().map(one).unzip()
    }
}

impl Thread {
    fn read(mut reader: Box<dyn AccessReader>, limit: u64, most: u64) -> Result<Option<Self>> {
        let (mut records, mut batch) = (Vec::new(), AccessBatch::default());
        let mut damage = None;
        while (records.len() as u64) < limit {
            match reader.next_batch(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is_damage() => {
                    damage = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            let room = usize::try_from(limit - records.len() as u64).unwrap_or(usize::MAX);
            records.extend(batch.records.iter().take(room));
            if records.len() as u64 > most {
                return Ok(None);
            }
        }
        records.shrink_to_fit();
        Ok(Some(Self { records: Arc::new(records), reading: reader.reading().clone(), damage }))
    }

    fn decoded(&self, end: usize) -> Decoded {
        let mut decoded = Decoded { reading: self.reading.clone(), ..Decoded::default() };
        decoded.counts.add(self.records.get(..end).unwrap_or_default());
        // Damage past the end of a shorter run is none of its own.
        if end == self.records.len()
            && let Some(damage) = &self.damage
        {
            decoded.reading.damage.insert(0, damage.clone());
        }
        decoded
    }
}

/// Goes through the records of a thread.
struct Cursor {
    records: Arc<Vec<AccessRecord>>,
    at: usize,
    end: usize,
    /// Accesses of the last record, and how many of them were given.
    expanded: Vec<Access>,
    given: usize,
}

impl Source for Cursor {
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize) {
        let full = batch.len() + count;
        while batch.len() < full {
            let rest = self.expanded.get(self.given..).unwrap_or_default();
            let now = rest.len().min(full - batch.len());
            batch.extend_from_slice(rest.get(..now).unwrap_or_default());
            self.given += now;
            if self.given < self.expanded.len() {
                return;
            }
            let Some(record) = self.records.get(self.at).filter(|_| self.at < self.end) else { return };
            self.expanded.clear();
            (self.given, self.at) = (0, self.at + 1);
            expand(record, &mut self.expanded);
        }
    }
}
