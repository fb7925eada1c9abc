//! The format `.dxt`: traces in blocks of compressed columns, with a checksum for each block and an index at the end.
//!
//! `traces/FORMAT.md` describes it to the byte. [`Writer`] writes it; [`File`] finds the blocks of a file, damaged or not;
//! [`Reader`] hands out the accesses of them in order.

mod accesses;
mod columns;
mod description;
mod extras;
mod file;
mod layout;
mod lines;
mod order;
mod reader;
mod scan;
mod text;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

pub use description::Description;
pub use file::{Block, File};
pub use layout::MAGIC;
pub use reader::{BlockReader, Reader};
pub use text::TextReader;
pub use writer::Writer;

/// Most records of a block.
pub const BLOCK_RECORDS: usize = 1 << 16;
/// Most bytes of a block after its header, and of its columns when decompressed.
pub const BLOCK_BYTES: usize = 4 << 20;
/// Most bytes of text in a block.
pub const BLOCK_TEXT: usize = 1 << 20;

/// Something that is not as it should be, at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: found {found}: expected {expected}")]
pub struct Damage {
    /// Where, from the begin of the file.
    pub offset: u64,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
}

impl Damage {
    fn new(offset: u64, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { offset, found: found.into(), expected: expected.into() }
    }
}
