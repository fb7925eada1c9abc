//! The records of a trace, from its file or kept for several replays.

use std::path::Path;

use anyhow::Result;
use daxsim_traces::ftrace::{self, EventReader, Record, Stats};

/// Where records come from: a reader, or what was read before.
pub enum Recording<'a> {
    /// A reader, and its last record.
    Read(Box<dyn EventReader>, Box<Record>),
    /// What was read, and how much of it was given.
    Kept(&'a Kept, usize),
}

impl Recording<'_> {
    /// Of a file.
    pub fn open(input: &Path) -> Result<Self> {
        Ok(Self::Read(ftrace::open(input)?, Box::default()))
    }

    /// The next record; at the end none, and what is damaged there.
    pub fn next_record(&mut self) -> Result<Result<&Record, Option<String>>> {
        match self {
            Self::Read(reader, record) => match reader.next_record(record) {
                Ok(true) => Ok(Ok(record)),
                Ok(false) => Ok(Err(None)),
                Err(error) if error.is_damage() => Ok(Err(Some(error.to_string()))),
                Err(error) => Err(error.into()),
            },
            Self::Kept(kept, at) => {
                *at += 1;
                Ok(kept.records.get(*at - 1).ok_or_else(|| kept.damage.clone()))
            }
        }
    }

    /// What was read, and what could not be.
    pub fn stats(&self) -> &Stats {
        match self {
            Self::Read(reader, _) => reader.stats(),
            Self::Kept(kept, _) => &kept.stats,
        }
    }
}

/// A recording that was read.
pub struct Kept {
    records: Vec<Record>,
    stats: Stats,
    damage: Option<String>,
}

impl Kept {
    /// Reads a recording, unless it takes more than so many bytes.
    pub fn read(input: &Path, limit: u64) -> Result<Option<Self>> {
        let mut recording = Recording::open(input)?;
        let most = limit / size_of::<Record>() as u64;
        let mut records = Vec::new();
        let damage = loop {
            match recording.next_record()? {
                Ok(_) if records.len() as u64 >= most => return Ok(None),
                Ok(record) => records.push(record.clone()),
                Err(damage) => break damage,
            }
        };
        Ok(Some(Self { records, stats: recording.stats().clone(), damage }))
    }

    /// Bytes of memory.
    pub const fn bytes(&self) -> u64 {
        (self.records.capacity() * size_of::<Record>()) as u64
    }
}
