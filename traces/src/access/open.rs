//! A reader for any trace of accesses.

use std::path::Path;

use super::{AccessReader, ChampSim, Lackey};
use crate::drmemtrace::{self, DrMemTrace, Merged};
use crate::dxt;
use crate::open::{Input, InputKind};
use crate::perf::MemReader;
use crate::{TraceError, sniff};

/// What becomes of instruction fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fetches {
    /// They are counted, in the `gap` of the next access.
    #[default]
    Count,
    /// They are records of their own.
    Keep,
}

/// Opens a trace of accesses, of whatever kind it is; of a folder, the threads that drmemtrace wrote, in the order of time. Of a `.dxt`, which keeps what it was made of, `fetches` says nothing.
///
/// # Errors
///
/// [`TraceError`] if the file cannot be read or is no such trace.
pub fn open(path: &Path, fetches: Fetches) -> Result<Box<dyn AccessReader>, TraceError> {
    if path.is_dir() {
        return Ok(Box::new(Merged::open(&drmemtrace::files(path)?, fetches)?));
    }
    let mut input = crate::open(path)?;
    let kind = input.sniff()?;
    reader_of(input, kind, fetches)
}

/// A reader of an input that was found to be of a kind.
///
/// # Errors
///
/// [`TraceError::Unrecognised`] if the kind is no trace of accesses.
pub fn reader_of(
    input: Input,
    kind: InputKind,
    fetches: Fetches,
) -> Result<Box<dyn AccessReader>, TraceError> {
    let path = input.path().to_owned();
    Ok(match kind {
        InputKind::Lackey => Box::new(Lackey::new(input, path, fetches)),
        InputKind::ChampSim => Box::new(ChampSim::new(input, path, fetches)),
        InputKind::Dxt => Box::new(dxt::Reader::open(&path)?),
        InputKind::DrMemTrace => Box::new(DrMemTrace::new(input, path, fetches)),
        InputKind::PerfMem => Box::new(MemReader::open(&path)?),
        InputKind::Script
        | InputKind::Ftrace
        | InputKind::TraceDat
        | InputKind::PerfData
        | InputKind::PerfScript => {
            return Err(TraceError::Unrecognised {
                file: path,
                offset: 0,
                found: kind.to_string(),
                expected: sniff::ACCESSES.into(),
            });
        }
    })
}
