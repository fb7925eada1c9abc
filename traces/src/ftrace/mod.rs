//! Streaming reader of tracefs text (`trace`, `trace_pipe`) of Linux 6.12 and 7.2.

mod decode;
mod event;
mod fields;
mod flags;
mod format;
mod head;
mod kinds;
mod line;
mod meaning;
mod parse_dax;
mod parse_event;
mod parse_probe;
mod parse_sys;
mod portion;
mod printed;
mod probe;
mod raw;
mod reader;
mod scan;
mod scan_fields;
mod stats;
mod symbols;
mod syscall;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use crate::{InputKind, TraceError, perf, sniff, tracedat};

pub use event::{DaxPmd, DaxPmdHole, DaxPte, DaxWritebackRange, Event, IpiTarget, Marker, Record};
pub use flags::{CpuMask, Dev, FaultFlags, IomapFlags, IomapType};
pub use portion::{Portion, open_portion};
pub use probe::{FlushInfo, Probe};
pub use reader::Reader;
pub use stats::{Example, Header, Stats};
pub use syscall::{SysCall, SysEnter};
pub use text::{Comm, Name, ShortStr};

pub(crate) use decode::Decoder;
pub(crate) use format::Format;
pub(crate) use line::looks_like_trace;
pub(crate) use printed::printed;
pub(crate) use raw::Layout;
pub(crate) use symbols::Symbols;

/// A reader of the events that a kernel recorded, in the order of time.
pub trait EventReader: Send {
    /// Reads the next record into `record`; `false` at the end of the input.
    ///
    /// # Errors
    ///
    /// [`TraceError`] where the input cannot be read on. All records before that place have been handed out.
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError>;

    /// What was counted so far.
    fn stats(&self) -> &Stats;

    /// The release of the kernel that wrote the events (`uname -r`), if the file says.
    fn release(&self) -> Option<&str> {
        None
    }

    /// What part of the input is read, if it is not all of it. To ask at the end.
    fn portion(&self) -> Option<Portion> {
        None
    }
}

/// Opens events of whatever kind they are.
///
/// # Errors
///
/// [`TraceError`] if the file cannot be read or holds no events.
pub fn open(path: &Path) -> Result<Box<dyn EventReader>, TraceError> {
    let mut input = crate::open(path)?;
    Ok(match input.sniff()? {
        InputKind::Ftrace => Box::new(Reader::new(input, path)),
        InputKind::TraceDat => Box::new(tracedat::Reader::open(path)?),
        InputKind::PerfData => Box::new(perf::Reader::open(path)?),
        InputKind::PerfScript => Box::new(perf::ScriptReader::new(input, path)),
        other => {
            return Err(TraceError::Unrecognised {
                file: path.to_owned(),
                offset: 0,
                found: other.to_string(),
                expected: sniff::EVENTS.into(),
            });
        }
    })
}
