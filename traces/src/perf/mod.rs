//! Streaming readers of perf's binary files (`perf.data`) and of the text of `perf script`.
//!
//! A file holds attributes of its events, records of the kernel in rounds that are to be put in order of time, and for tracepoints the
//! tracefs descriptions of their fields (Linux `tools/perf/Documentation/perf.data-file-format.txt`,
//! `include/uapi/linux/perf_event.h`). It may be a file or what a pipe carried, and its records compressed.

mod attr;
mod data;
mod events;
mod mem;
mod order;
mod records;
mod sample;
mod script;
#[cfg(test)]
mod tests;
mod tracing;

use crate::InputKind;
use crate::ftrace::Layout;

pub use events::Reader;
pub use mem::MemReader;
pub use script::ScriptReader;

pub(crate) use script::looks_like as looks_like_script;

/// The first bytes of a file, by the order of bytes.
const MAGIC_LITTLE: [u8; 8] = *b"PERFILE2";
const MAGIC_BIG: [u8; 8] = *b"2ELIFREP";

/// How numbers are written, by the first bytes.
fn layout_of(magic: &[u8]) -> Option<Layout> {
    match *magic.first_chunk()? {
        MAGIC_LITTLE => Some(Layout { big_endian: false, long: 8 }),
        MAGIC_BIG => Some(Layout { big_endian: true, long: 8 }),
        _ => None,
    }
}

/// What a file holds, by its first bytes: sampled accesses if an event of it has them.
pub(crate) fn kind_of(head: &[u8]) -> Option<InputKind> {
    let layout = layout_of(head)?;
    let is_mem = attr::of_head(head, layout).iter().any(attr::Attr::has_accesses);
    Some(if is_mem { InputKind::PerfMem } else { InputKind::PerfData })
}
