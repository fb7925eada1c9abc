//! An input that is read at many places: the file itself, or what a compressed one holds, in a temporary file.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

use crate::open::Compression;
use crate::{TraceError, open};

/// Decompressed bytes that are held in memory; more go to a temporary file without a name.
const MOST_IN_MEMORY: usize = 16 << 20;
/// Most decompressed bytes.
const MOST_BYTES: u64 = 16 << 30;

/// Where the bytes are.
enum Bytes {
    File(File),
    Spooled(SpooledTempFile),
    Memory(io::Cursor<Vec<u8>>),
}

/// The bytes of an input, at any place.
pub(crate) struct Store {
    path: PathBuf,
    bytes: Bytes,
    len: u64,
    /// Why there are no more bytes than these, if the compressed file is damaged.
    damage: Option<TraceError>,
}

impl Store {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let io_error = |source| TraceError::Io { file: path.to_owned(), source };
        let mut input = open::open(path)?;
        if input.compression() == Compression::None {
            let file = File::open(path).map_err(io_error)?;
            let len = file.metadata().map_err(io_error)?.len();
            return Ok(Self { path: path.to_owned(), bytes: Bytes::File(file), len, damage: None });
        }
        let mut spooled = SpooledTempFile::new(MOST_IN_MEMORY);
        let mut len = 0;
        let damage = loop {
            let chunk = match input.fill_buf() {
                Ok([]) => break None,
                Ok(chunk) => chunk,
                Err(e) => break Some(TraceError::from_io(e, path)),
            };
            spooled.write_all(chunk).map_err(io_error)?;
            let read = chunk.len();
            input.consume(read);
            len += read as u64;
            if len > MOST_BYTES {
                return Err(TraceError::Malformed {
                    file: path.to_owned(),
                    offset: len,
                    found: format!("more than {} GiB behind the compression", MOST_BYTES >> 30),
                    expected: "less, or a file that is not compressed".into(),
                });
            }
        };
        Ok(Self { path: path.to_owned(), bytes: Bytes::Spooled(spooled), len, damage })
    }

    /// Bytes that are in memory; `file` is the name for messages.
    pub fn of_bytes(bytes: Vec<u8>, file: &Path) -> Self {
        let len = bytes.len() as u64;
        Self { path: file.to_owned(), bytes: Bytes::Memory(io::Cursor::new(bytes)), len, damage: None }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes there are.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Why bytes are missing at the end, once.
    pub const fn take_damage(&mut self) -> Option<TraceError> {
        self.damage.take()
    }

    /// Fills `buffer` with the bytes at a place.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), TraceError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(self.malformed(
                offset,
                format!("{} bytes to the end of the file", self.len.saturating_sub(offset)),
                format!("{} bytes", buffer.len()),
            ));
        }
        let read = self.seek(SeekFrom::Start(offset)).and_then(|_| self.read_exact(buffer));
        read.map_err(|source| TraceError::Io { file: self.path.clone(), source })
    }

    /// An error at a place of this file.
    pub fn malformed(&self, offset: u64, found: String, expected: String) -> TraceError {
        TraceError::Malformed { file: self.path.clone(), offset, found, expected }
    }
}

impl Read for Store {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::File(file) => file.read(buffer),
            Bytes::Spooled(file) => file.read(buffer),
            Bytes::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Store {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.bytes {
            Bytes::File(file) => file.seek(to),
            Bytes::Spooled(file) => file.seek(to),
            Bytes::Memory(bytes) => bytes.seek(to),
        }
    }
}
