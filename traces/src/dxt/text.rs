//! The text of a file as a stream of bytes.

use std::fs;
use std::io::{self, Read, Seek};

use super::{BlockReader, File};
use crate::TraceError;

/// Reads the text of all whole blocks; then, if any was damaged, says so.
pub struct TextReader<R = fs::File> {
    file: File,
    blocks: BlockReader<R>,
    /// The next block.
    next: usize,
    text: Vec<u8>,
    /// Bytes of the text that were read.
    at: usize,
    /// What was left out.
    left_out: Option<String>,
}

impl<R: Read + Seek> TextReader<R> {
    /// Reads the text of a file whose blocks are known.
    #[must_use]
    pub fn new(file: File, blocks: BlockReader<R>) -> Self {
        let left_out =
            file.damage().first().map(|damage| format!("{} places, the first {damage}", file.damaged()));
        Self { file, blocks, next: 0, text: Vec::new(), at: 0, left_out }
    }

    /// Bytes of the file up to the block that was read last.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.file.lines().get(self.next.saturating_sub(1)).map_or(0, |block| block.offset)
    }

    /// Takes the next block that is whole; whether there is one.
    fn refill(&mut self) -> io::Result<bool> {
        self.at = 0;
        while let Some(block) = self.file.lines().get(self.next) {
            self.next += 1;
            match self.blocks.text(&self.file, block, &mut self.text) {
                Ok(()) if self.text.is_empty() => {}
                Ok(()) => return Ok(true),
                Err(TraceError::Io { source, .. }) => return Err(source),
                Err(error) => {
                    let text = format!("a block of {} lines: {error}", block.records);
                    self.left_out.get_or_insert(text);
                }
            }
        }
        self.text.clear();
        Ok(false)
    }
}

impl<R: Read + Seek> Read for TextReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() && !self.refill()? {
            return match &self.left_out {
                Some(what) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("left out: {what}"))),
                None => Ok(0),
            };
        }
        let mut rest = self.text.get(self.at..).unwrap_or_default();
        let read = rest.read(buf)?;
        self.at += read;
        Ok(read)
    }
}
