//! Opening an input: compression by its first bytes, kind by its text.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::sniff;
use crate::xz::XzReader;
use crate::zip::{self, ZipReader};
use crate::{TraceError, dxt};

pub use crate::sniff::InputKind;

/// log2 of the largest .zst window: 128 MiB, what `zstd -d` allows without `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes read ahead to tell what the text is.
const HEAD: usize = 16 << 10;

/// How a file is compressed, found by its first bytes (its name does not matter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// .xz
    Xz,
    /// .zst
    Zstd,
    /// .gz
    Gzip,
    /// .zip: what its members hold, one after another
    Zip,
    /// Lines in a .dxt
    Dxt,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "plain",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Zip => "zip",
            Self::Dxt => "dxt",
        })
    }
}

impl Compression {
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A zstd skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Gzip,
            _ if head.starts_with(&zip::MEMBER) => Self::Zip,
            _ => Self::None,
        }
    }
}

/// A reader that counts its bytes.
struct Counting<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

/// The first bytes again, then the rest of the file.
type Source = Counting<io::Chain<io::Cursor<Vec<u8>>, File>>;

enum Decoder {
    Plain(Source),
    Xz(Box<XzReader<Source>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Source>>>),
    Gzip(Box<flate2::read::MultiGzDecoder<Source>>),
    Zip(Box<ZipReader<Source>>),
    Dxt(Box<dxt::TextReader>),
}

impl Decoder {
    fn compressed_bytes(&self) -> u64 {
        match self {
            Self::Plain(r) => r.bytes,
            Self::Xz(r) => r.get_ref().bytes,
            Self::Zstd(r) => r.get_ref().get_ref().bytes,
            Self::Gzip(r) => r.get_ref().bytes,
            Self::Zip(r) => r.get_ref().bytes,
            Self::Dxt(r) => r.offset(),
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(r) => r.read(buf),
            Self::Xz(r) => r.read(buf),
            Self::Zstd(r) => r.read(buf),
            Self::Gzip(r) => r.read(buf),
            Self::Zip(r) => r.read(buf),
            Self::Dxt(r) => r.read(buf),
        }
    }
}

/// An open input: a buffered reader of its decompressed bytes.
///
/// Bytes decoded before a cut or damage are delivered; then every read fails with an
/// [`io::Error`] that carries [`TraceError::Truncated`] or [`TraceError::Corrupt`]
/// ([`TraceError::from_io`] takes it out).
pub struct Input {
    path: PathBuf,
    compression: Compression,
    decoder: Decoder,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Decompressed bytes that came out of the decoder.
    decoded: u64,
    /// Set once: the next read that finds no bytes reports it.
    failure: Option<Failure>,
}

#[derive(Clone)]
enum Failure {
    Truncated,
    Corrupt(String),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("path", &self.path).field("compression", &self.compression).finish()
    }
}

/// Opens a file for reading, decompressing .xz, .zst, .gz and .zip by content, not by name.
///
/// Nothing is read beyond the first bytes; a damaged stream shows when the reading gets there.
///
/// # Errors
///
/// [`TraceError::Io`] if the file cannot be opened or read.
pub fn open<P: AsRef<Path>>(path: P) -> Result<Input, TraceError> {
    let path = path.as_ref();
    let io_error = |source| TraceError::Io { file: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let mut head = Vec::with_capacity(8);
    (&mut file).take(8).read_to_end(&mut head).map_err(io_error)?;
    if head == dxt::MAGIC
        && let Some(text) = text_of_dxt(path)?
    {
        return Ok(Input::new(path, Compression::Dxt, Decoder::Dxt(text)));
    }
    let compression = Compression::of(&head);
    let source = Counting { inner: io::Cursor::new(head).chain(file), bytes: 0 };
    let decoder = match compression {
        Compression::Dxt | Compression::None => Decoder::Plain(source),
        Compression::Xz => Decoder::Xz(Box::new(XzReader::new(source).map_err(io_error)?)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(source).map_err(io_error)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(io_error)?;
            Decoder::Zstd(Box::new(decoder))
        }
        Compression::Zip => Decoder::Zip(Box::new(ZipReader::new(source))),
        Compression::Gzip => Decoder::Gzip(Box::new(flate2::read::MultiGzDecoder::new(source))),
    };
    Ok(Input::new(path, compression, decoder))
}

/// The text in a .dxt, if there is any. A .dxt of accesses, or one that cannot be used, is told as what it is by whoever wants it.
fn text_of_dxt(path: &Path) -> Result<Option<Box<dxt::TextReader>>, TraceError> {
    match dxt::File::open(path) {
        Ok(file) if !file.lines().is_empty() => {
            let blocks = dxt::BlockReader::new(&file)?;
            Ok(Some(Box::new(dxt::TextReader::new(file, blocks))))
        }
        _ => Ok(None),
    }
}

impl Input {
    fn new(path: &Path, compression: Compression, decoder: Decoder) -> Self {
        Self {
            path: path.to_owned(),
            compression,
            decoder,
            buffer: vec![0; 256 << 10],
            start: 0,
            end: 0,
            decoded: 0,
            failure: None,
        }
    }

    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file is compressed.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes of the file that were read so far.
    pub(crate) fn compressed_bytes(&self) -> u64 {
        self.decoder.compressed_bytes()
    }

    /// Tells a workload script from tracefs text by content. Reads ahead, consumes nothing;
    /// call it before the first read.
    ///
    /// # Errors
    ///
    /// [`TraceError::Empty`] for no bytes, [`TraceError::Unrecognised`] for anything else that is
    /// neither, and what reading raises if the stream breaks before its first bytes of text.
    pub fn sniff(&mut self) -> Result<InputKind, TraceError> {
        while self.end - self.start < HEAD && self.end < self.buffer.len() {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if self.end > self.start => break,
                Err(e) => return Err(TraceError::from_io(e, &self.path)),
            }
        }
        let head = self.buffer.get(self.start..self.end).unwrap_or_default();
        sniff::sniff(head, &self.path)
    }

    /// Decodes more bytes behind those buffered.
    fn more(&mut self) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(self.failure_error(failure));
        }
        let Some(space) = self.buffer.get_mut(self.end..) else { return Ok(0) };
        loop {
            match self.decoder.read(space) {
                Ok(n) => {
                    self.end += n;
                    self.decoded += n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // An error of the operating system stays what it is.
                    if self.compression == Compression::None || e.raw_os_error().is_some() {
                        return Err(e);
                    }
                    let failure = match e.kind() {
                        io::ErrorKind::UnexpectedEof => Failure::Truncated,
                        _ => Failure::Corrupt(e.to_string()),
                    };
                    let error = self.failure_error(&failure);
                    self.failure = Some(failure);
                    return Err(error);
                }
            }
        }
    }

    fn failure_error(&self, failure: &Failure) -> io::Error {
        let (file, compression) = (self.path.clone(), self.compression);
        let (offset, decoded) = (self.decoder.compressed_bytes(), self.decoded);
        match failure {
            Failure::Truncated => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                TraceError::Truncated { file, compression, offset, decoded },
            ),
            Failure::Corrupt(reason) => io::Error::new(
                io::ErrorKind::InvalidData,
                TraceError::Corrupt { file, compression, offset, decoded, reason: reason.clone() },
            ),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let n = available.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start >= self.end {
            self.start = 0;
            self.end = 0;
            self.more()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}
