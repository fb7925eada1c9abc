//! Sections and chunks that are compressed.

use std::io::Read;

use crate::TraceError;

/// How a file is compressed inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    None,
    Zstd,
    Zlib,
}

/// Largest chunk or section, decompressed.
const LARGEST: u64 = 256 << 20;

impl Method {
    /// By its name in the file.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"none" | b"" => Some(Self::None),
            b"zstd" => Some(Self::Zstd),
            b"zlib" => Some(Self::Zlib),
            _ => None,
        }
    }

    /// Decompresses what is said to be so many bytes. Memory grows with what comes out, not with what is said.
    pub fn decompress(self, packed: &[u8], size: u64) -> Result<Vec<u8>, String> {
        if size > LARGEST {
            return Err(format!("{size} bytes decompressed, more than {LARGEST}"));
        }
        let mut bytes = Vec::new();
        let read = match self {
            Self::None => packed.take(size + 1).read_to_end(&mut bytes),
            Self::Zlib => flate2::read::ZlibDecoder::new(packed).take(size + 1).read_to_end(&mut bytes),
            Self::Zstd => zstd::stream::read::Decoder::new(packed)
                .and_then(|decoder| decoder.take(size + 1).read_to_end(&mut bytes)),
        };
        match read {
            Ok(n) if n as u64 == size => Ok(bytes),
            Ok(n) => Err(format!("{} bytes decompressed, said to be {size}", n)),
            Err(e) => Err(format!("damaged data ({e})")),
        }
    }

    /// An error for the place of a section or chunk.
    pub fn damaged(self, file: &std::path::Path, offset: u64, found: String) -> TraceError {
        let expected = match self {
            Self::None => "plain data",
            Self::Zstd => "zstd data",
            Self::Zlib => "zlib data",
        };
        TraceError::Malformed { file: file.to_owned(), offset, found, expected: expected.into() }
    }
}
