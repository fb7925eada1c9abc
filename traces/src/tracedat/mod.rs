//! Streaming reader of trace-cmd's binary files (`trace.dat`), versions 6 and 7.
//!
//! A file holds the tracefs descriptions of its events, the kernel's symbols, names of tasks, and for each CPU the pages of its
//! ring buffer (`trace-cmd.dat.v6(5)`, `trace-cmd.dat.v7(5)`; the pages: Linux `Documentation/trace/ring-buffer-design.rst`,
//! `include/linux/ring_buffer.h`). The CPUs are merged by time, a page or chunk of each in memory. Of a damaged file all whole pages are
//! read, and what was left out is counted.

mod compression;
mod cpu;
mod damage;
mod file;
mod head;
mod page;
mod reader;
mod recover;
mod source;
#[cfg(test)]
mod tests;
mod v6;
mod v7;

pub(crate) use head::Head;
pub use reader::Reader;
pub(crate) use source::Source;

/// The first bytes of such a file.
pub(crate) const MAGIC: [u8; 10] = *b"\x17\x08\x44tracing";
