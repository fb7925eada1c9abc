//! The descriptions of tracepoints in a file: what trace-cmd's files begin with, in a version of its own.

use std::path::Path;

use crate::TraceError;
use crate::ftrace::{Decoder, Layout};
use crate::tracedat::{Head, MAGIC, Source};

/// Reads the section.
pub(super) fn decoder(bytes: &[u8], file: &Path) -> Result<Decoder, TraceError> {
    let layout = Layout { big_endian: false, long: 8 };
    let mut source = Source::new(bytes, layout, 0, file);
    source.exact(&MAGIC, "the mark of the descriptions")?;
    source.string("the version of the descriptions")?;
    let head = source.bytes(6, "the order of bytes")?;
    source.layout.big_endian = head.first() != Some(&0);
    let mut parts = Head::default();
    parts.read_header_info(&mut source)?;
    parts.read_ftrace_formats(&mut source)?;
    parts.read_event_formats(&mut source)?;
    // Of an old perf, or one that may not read them, there are no symbols.
    if !source.input.is_empty() {
        parts.read_symbols(&mut source)?;
    }
    let layout = Layout { long: parts.page.long, ..source.layout };
    Ok(Decoder::new(parts.formats, parts.symbols, layout))
}
