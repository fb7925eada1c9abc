//! Streaming reader of tracefs text (`trace`, `trace_pipe`) of Linux 6.12 and 7.2.

mod event;
mod flags;
mod head;
mod kinds;
mod line;
mod parse_dax;
mod parse_event;
mod parse_probe;
mod parse_sys;
mod probe;
mod reader;
mod scan;
mod stats;
mod syscall;
#[cfg(test)]
mod tests;
mod text;

pub use event::{DaxPmd, DaxPmdHole, DaxPte, DaxWritebackRange, Event, IpiTarget, Marker, Record};
pub use flags::{CpuMask, Dev, FaultFlags, IomapFlags, IomapType};
pub use probe::{FlushInfo, Probe};
pub use reader::Reader;
pub use stats::{Example, Header, Stats};
pub use syscall::{SysCall, SysEnter};
pub use text::{Comm, Name, ShortStr};

pub(crate) use line::looks_like_trace;
