//! Reading blocks.

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use super::columns::Unpacker;
use super::file::payload;
use super::layout::Kind;
use super::{Block, Damage, File, accesses, extras, lines};
use crate::TraceError;
use crate::access::{AccessBatch, AccessReader, Reading};

/// Damaged places that are told; the others are counted.
const MOST_DAMAGE: usize = 16;

/// Reads blocks of a file, in any order. Several can read the same file at the same time.
pub struct BlockReader<R = fs::File> {
    file: R,
    payload: Vec<u8>,
    columns: Unpacker,
    /// Whether weights, physical addresses and sides are decoded.
    extras: bool,
}

impl BlockReader {
    /// A reader of the blocks of a file.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] if the file cannot be opened.
    pub fn new(file: &File) -> Result<Self, TraceError> {
        let cannot = |source| TraceError::Io { file: file.path().to_owned(), source };
        fs::File::open(file.path()).and_then(Self::of).map_err(cannot)
    }
}

impl<R: Read + Seek> BlockReader<R> {
    /// A reader of blocks in bytes that are open already.
    ///
    /// # Errors
    ///
    /// If zstd has no memory.
    pub fn of(file: R) -> std::io::Result<Self> {
        Ok(Self { file, payload: Vec::new(), columns: Unpacker::new()?, extras: false })
    }

    /// Decodes what else a file may say of each access, too: [`crate::access::Extras`].
    #[must_use]
    pub const fn with_extras(mut self) -> Self {
        self.extras = true;
        self
    }

    /// Replaces `batch` by the accesses of a block.
    ///
    /// # Errors
    ///
    /// [`TraceError::Malformed`] if the block is damaged, [`TraceError::Io`] if it cannot be read.
    pub fn read(&mut self, file: &File, block: &Block, batch: &mut AccessBatch) -> Result<(), TraceError> {
        batch.thread = block.thread;
        batch.records.clear();
        batch.extras.clear();
        self.unpack(file, block, Kind::Accesses)?;
        batch.order.clear();
        let count = block.records as usize;
        if block.ordered { accesses::decode_order(&self.columns, count, &mut batch.order) } else { Ok(()) }
            .and_then(|()| accesses::decode(&self.columns, count, &mut batch.records))
            .and_then(|()| match self.extras {
                true => extras::decode(&self.columns, &batch.records, &mut batch.extras),
                false => Ok(()),
            })
            .map_err(|found| file.malformed(Damage::new(block.offset, found, "columns that agree")))
    }

    /// Replaces `text` by the text of a block of lines.
    ///
    /// # Errors
    ///
    /// As [`BlockReader::read`].
    pub fn text(&mut self, file: &File, block: &Block, text: &mut Vec<u8>) -> Result<(), TraceError> {
        text.clear();
        self.unpack(file, block, Kind::Lines)?;
        lines::decode(&self.columns, block.records as usize, block.instructions, text)
            .map_err(|found| file.malformed(Damage::new(block.offset, found, "columns that agree")))
    }

    /// Unpacks the columns of a block, which has to be what the index says.
    fn unpack(&mut self, file: &File, block: &Block, kind: Kind) -> Result<(), TraceError> {
        let header = payload(&mut self.file, block.offset, &mut self.payload)
            .map_err(|source| TraceError::Io { file: file.path().to_owned(), source })?
            .map_err(|damage| file.malformed(damage))?;
        let told = (header.kind, header.thread, header.records, header.instructions);
        if told != (kind as u8, block.thread, block.records, block.instructions) {
            let found = format!("a block of kind {}, thread {} and {} records", told.0, told.1, told.2);
            let expected = format!("{} records of thread {}, as the index says", block.records, block.thread);
            return Err(file.malformed(Damage::new(block.offset, found, expected)));
        }
        let most = if self.extras { u8::MAX } else { extras::id::FIRST - 1 };
        self.columns
            .unpack(&self.payload, header.columns, header.raw, block.offset, most)
            .map_err(|damage| file.malformed(damage))
    }
}

/// All accesses of a file, or of one of its threads, in the order of the file.
pub struct Reader<R = fs::File> {
    file: Arc<File>,
    blocks: BlockReader<R>,
    /// The next block.
    at: usize,
    thread: Option<u32>,
    reading: Reading,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// As [`File::open`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::of(Arc::new(File::open(path)?), None)
    }

    /// Reads a file whose blocks are known; of one thread, if it is given.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] if the file cannot be opened.
    pub fn of(file: Arc<File>, thread: Option<u32>) -> Result<Self, TraceError> {
        let blocks = BlockReader::new(&file)?;
        Ok(Self::with(file, blocks, thread))
    }
}

impl<R: Read + Seek> Reader<R> {
    /// The same with a reader of its blocks.
    #[must_use]
    pub fn with(file: Arc<File>, blocks: BlockReader<R>, thread: Option<u32>) -> Self {
        let reading = Reading {
            damage: file
                .damage()
                .iter()
                .map(|damage| format!("{}: {damage}", file.path().display()))
                .collect(),
            damaged: file.damaged(),
            extras: file.description().map(|told| told.extras).unwrap_or_default(),
            ..Reading::default()
        };
        Self { file, blocks, at: 0, thread, reading }
    }

    /// Decodes what else the file says of each access, too.
    #[must_use]
    pub fn with_extras(mut self) -> Self {
        self.blocks = self.blocks.with_extras();
        self
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Notes a block that is left out.
    fn leave_out(&mut self, number: usize, block: &Block, error: &TraceError) {
        self.reading.damaged += 1;
        if self.reading.damage.len() < MOST_DAMAGE {
            let records = block.records;
            self.reading.damage.push(format!("{error}; block {number} with {records} accesses is left out"));
        }
    }
}

impl<R: Read + Seek + Send> AccessReader for Reader<R> {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        while let Some(block) = self.file.blocks().get(self.at).copied() {
            let number = self.at;
            self.at += 1;
            if self.thread.is_some_and(|thread| thread != block.thread) || block.records == 0 {
                continue;
            }
            match self.blocks.read(&self.file, &block, batch) {
                Ok(()) => return Ok(true),
                Err(error) if error.is_damage() => self.leave_out(number, &block, &error),
                Err(error) => return Err(error),
            }
        }
        batch.records.clear();
        batch.order.clear();
        Ok(false)
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}
