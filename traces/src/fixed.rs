//! Records of a fixed size, one after another, of an input that is read in chunks.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::TraceError;

/// Bytes read at once, about.
const CHUNK: usize = 64 << 10;

/// Reads records of `N` bytes.
pub(crate) struct FixedRecords<R, const N: usize> {
    input: R,
    file: PathBuf,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are used up, and that are there.
    at: usize,
    end: usize,
    /// Decompressed bytes before the buffer's.
    offset: u64,
}

impl<R: Read, const N: usize> FixedRecords<R, N> {
    /// Reads `input`; messages name `file`.
    pub fn new(input: R, file: &Path) -> Self {
        let buffer = vec![0; N * (CHUNK / N).max(1)];
        Self { input, file: file.to_owned(), buffer, at: 0, end: 0, offset: 0 }
    }

    /// The next record, which stays until it is used; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if the input cannot be read, or ends within a record, where `expected` is missing.
    pub fn peek(&mut self, expected: &str) -> Result<Option<[u8; N]>, TraceError> {
        if self.end - self.at < N && !self.refill()? {
            if self.end == 0 {
                return Ok(None);
            }
            return Err(self.malformed(0, format!("{} bytes and the end of the file", self.end), expected));
        }
        let mut record = [0; N];
        record.copy_from_slice(self.buffer.get(self.at..self.at + N).unwrap_or(&[0; N]));
        Ok(Some(record))
    }

    /// Reads until there is a whole record; whether there is one.
    fn refill(&mut self) -> Result<bool, TraceError> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.offset += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        while self.end < N {
            match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(TraceError::from_io(e, &self.file)),
            }
        }
        Ok(true)
    }

    /// Uses the record that was looked at.
    pub const fn advance(&mut self) {
        self.at += N;
    }

    /// What is wrong at a byte of the next record.
    pub fn malformed(&self, at: usize, found: String, expected: &str) -> TraceError {
        let offset = self.offset + (self.at + at) as u64;
        TraceError::Malformed { file: self.file.clone(), offset, found, expected: expected.into() }
    }
}
