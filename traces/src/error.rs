//! The one error type of the crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::open::Compression;

/// Why an input could not be used.
///
/// Every message names the file and the place in it, what was found there and
/// what was expected, for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The operating system refused to open or read the file.
    #[error("{}: cannot read", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file has no bytes, or none after decompression.
    #[error("{}: the file is empty: expected a workload script or tracefs text", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The content is neither a workload script nor tracefs text.
    #[error("{}: at byte {offset}: found {found}: expected {expected}", file.display())]
    Unrecognised {
        /// The file.
        file: PathBuf,
        /// Offset of the first offending byte, after decompression.
        offset: u64,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The compressed file ends in the middle of its stream.
    #[error(
        "{}: the {compression} stream stops at compressed byte {offset}, before its end: the file is cut short \
         ({decoded} bytes of text before the cut were read)", file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
        /// How it is compressed.
        compression: Compression,
        /// Compressed bytes that were there.
        offset: u64,
        /// Decompressed bytes delivered before the cut.
        decoded: u64,
    },
    /// The compressed data is damaged or needs more memory than the limit.
    #[error(
        "{}: the {compression} stream is damaged before compressed byte {offset}: {reason} \
         ({decoded} bytes of text before the damage were read)", file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// How it is compressed.
        compression: Compression,
        /// Compressed bytes consumed when the damage was noticed.
        offset: u64,
        /// Decompressed bytes delivered before the damage.
        decoded: u64,
        /// What the decoder said.
        reason: String,
    },
    /// A line of a workload script breaks a rule of the language.
    #[error("{}:{line}{}: found {found}: expected {expected}", file.display(), Column(*column))]
    Script {
        /// The script.
        file: PathBuf,
        /// Line in the file, from 1.
        line: u32,
        /// Byte column in the line, from 1.
        column: Option<u32>,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A record of a binary trace is wrong, or the file ends in the middle of one.
    #[error("{}: at byte {offset}: found {found}: expected {expected}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Offset of the first offending byte, after decompression.
        offset: u64,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A line of a table or log (fault table, extent list, operation log) has the wrong form.
    #[error("{}:{line}: found {found}: expected {expected}", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// Line in the file, from 1.
        line: u64,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}

impl TraceError {
    /// The error behind an `io::Error` that came out of a reader: the crate's own error if
    /// [`crate::open::Input`] raised it, else [`TraceError::Io`] for `file`.
    #[must_use]
    pub fn from_io(error: io::Error, file: &std::path::Path) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Io { file: file.to_owned(), source },
        }
    }

    /// Whether the input is damaged: what came before was handed out, and is of use.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Corrupt { .. } | Self::Malformed { .. })
    }

    /// The file the error speaks of.
    #[must_use]
    pub fn file(&self) -> &std::path::Path {
        match self {
            Self::Io { file, .. }
            | Self::Empty { file }
            | Self::Unrecognised { file, .. }
            | Self::Truncated { file, .. }
            | Self::Corrupt { file, .. }
            | Self::Malformed { file, .. }
            | Self::Script { file, .. }
            | Self::Table { file, .. } => file,
        }
    }
}

struct Column(Option<u32>);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// Bytes as text for a message: quoted, control characters escaped, cut at 60 bytes.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const KEEP: usize = 60;
    let cut = bytes.len() > KEEP;
    let shown = String::from_utf8_lossy(bytes.get(..KEEP).unwrap_or(bytes));
    let mut out = String::with_capacity(shown.len() + 8);
    out.push('`');
    for c in shown.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('`');
    if cut {
        out.push_str(" ..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_file_place_found_and_expected() {
        let e = TraceError::Script {
            file: "a.script".into(),
            line: 3,
            column: Some(7),
            found: "`x`".into(),
            expected: "a number".into(),
        };
        assert_eq!(e.to_string(), "a.script:3:7: found `x`: expected a number");
        let e =
            TraceError::Table { file: "f.tsv".into(), line: 1, found: "`y`".into(), expected: "z".into() };
        assert_eq!(e.to_string(), "f.tsv:1: found `y`: expected z");
        assert_eq!(e.file(), std::path::Path::new("f.tsv"));
    }

    #[test]
    fn an_io_error_keeps_the_error_it_carries() {
        let own = io::Error::other(TraceError::Empty { file: "x".into() });
        assert!(matches!(TraceError::from_io(own, "y".as_ref()), TraceError::Empty { .. }));
        let os = io::Error::from(io::ErrorKind::NotFound);
        let error = TraceError::from_io(os, "y".as_ref());
        assert!(matches!(error, TraceError::Io { .. }));
        // The cause follows in the chain: named here too, it would be printed twice.
        assert_eq!(error.to_string(), "y: cannot read");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn quoting_escapes_and_cuts() {
        assert_eq!(quote(b"a\x00b\n"), "`a\\u{0}b\\n`");
        assert!(quote(&[b'x'; 100]).ends_with(".."));
    }
}
