//! Numbers, strings and texts of a file, one after another.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::TraceError;
use crate::ftrace::Layout;

/// Longest text of a file: `kallsyms` of a large kernel has some 20 MiB.
const LONGEST_TEXT: u64 = 256 << 20;
/// Longest name.
const LONGEST_STRING: usize = 4096;

/// Reads from a place on.
pub(crate) struct Source<R> {
    pub input: R,
    pub layout: Layout,
    /// Where the next byte is, in the file or in what a section of it holds.
    pub offset: u64,
    file: PathBuf,
}

impl<R: Read> Source<R> {
    pub fn new(input: R, layout: Layout, offset: u64, file: &Path) -> Self {
        Self { input, layout, offset, file: file.to_owned() }
    }

    /// The next bytes.
    pub fn bytes(&mut self, count: u64, what: &str) -> Result<Vec<u8>, TraceError> {
        if count > LONGEST_TEXT {
            return Err(self.malformed(format!("{count} bytes of {what}"), format!("at most {LONGEST_TEXT}")));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(count).read_to_end(&mut bytes);
        read.map_err(|e| TraceError::from_io(e, &self.file))?;
        if (bytes.len() as u64) < count {
            let found = format!("the end after {} bytes of {what}", bytes.len());
            return Err(self.malformed(found, format!("{count} bytes")));
        }
        self.offset += count;
        Ok(bytes)
    }

    /// A number of so many bytes.
    pub fn number(&mut self, bytes: u64, what: &str) -> Result<u64, TraceError> {
        let number = self.bytes(bytes, what)?;
        Ok(self.layout.number(&number).unwrap_or_default())
    }

    /// A text behind its length, a number of so many bytes.
    pub fn text(&mut self, length_bytes: u64, what: &str) -> Result<Vec<u8>, TraceError> {
        let length = self.number(length_bytes, what)?;
        self.bytes(length, what)
    }

    /// A string up to its zero.
    pub fn string(&mut self, what: &str) -> Result<Vec<u8>, TraceError> {
        let mut string = Vec::new();
        loop {
            match self.bytes(1, what)?.first() {
                Some(0) | None => return Ok(string),
                Some(&byte) if string.len() < LONGEST_STRING => string.push(byte),
                Some(_) => {
                    let found = format!("{what} of more than {LONGEST_STRING} bytes");
                    return Err(self.malformed(found, "a zero at its end".into()));
                }
            }
        }
    }

    /// Exact bytes.
    pub fn exact(&mut self, expected: &[u8], what: &str) -> Result<(), TraceError> {
        let at = self.offset;
        let found = self.bytes(expected.len() as u64, what)?;
        if found == expected {
            return Ok(());
        }
        self.offset = at;
        Err(self.malformed(crate::error::quote(&found), crate::error::quote(expected)))
    }

    pub fn malformed(&self, found: String, expected: String) -> TraceError {
        TraceError::Malformed { file: self.file.clone(), offset: self.offset, found, expected }
    }
}
