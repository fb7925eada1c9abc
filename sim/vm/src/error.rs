//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// What is needed and not there: nothing was started.
    #[error("nothing is started, for what is missing:\n  {}", .0.join("\n  "))]
    Missing(Vec<String>),
    /// A file cannot be read or written.
    #[error("{}: cannot be {what}", .path.display())]
    File {
        /// `read`, `written`, ..
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: found {found}: expected {expected}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A program that was called failed.
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        /// With its arguments.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// The guest did not come up.
    #[error("the guest did not come up: {why}; the end of its console:\n{console}")]
    Boot {
        /// What was seen.
        why: String,
        /// The last lines.
        console: String,
    },
    /// Something in the guest failed.
    #[error("in the guest: {0}")]
    Guest(String),
    /// A signal asked for the end.
    #[error("stopped by a signal")]
    Stopped,
    /// The trace of a run cannot be read.
    #[error(transparent)]
    Trace(#[from] daxsim_traces::TraceError),
}

impl VmError {
    /// For `map_err`: a file that cannot be read, written, and so on.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }

    /// A file that is not what it should be.
    pub(crate) fn form(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Form { path: path.to_owned(), found: found.into(), expected: expected.into() }
    }
}
