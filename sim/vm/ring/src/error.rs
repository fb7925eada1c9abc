//! Why a ring could not be used.

use std::io;
use std::path::PathBuf;

/// Why a ring could not be made, opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The operating system refused something.
    #[error("{}: cannot {what}", place.display())]
    Io {
        /// The file, or `memory`.
        place: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Sizes that no ring can have.
    #[error("a ring with {found}: expected {expected}")]
    Geometry {
        /// What was asked for.
        found: String,
        /// What can be.
        expected: String,
    },
    /// The file is no ring, one of another version, or damaged.
    #[error("{}: found {found}: expected {expected}", place.display())]
    Unrecognised {
        /// The file.
        place: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The reader or the writer that a ring has room for is there already.
    #[error("{}: another {who} has this ring", place.display())]
    Taken {
        /// The file.
        place: PathBuf,
        /// `reader` or `writer`.
        who: &'static str,
    },
    /// What the writer wrote is no batch.
    #[error("ring {ring}: found {found}: expected {expected}")]
    Batch {
        /// Which ring.
        ring: u32,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}
