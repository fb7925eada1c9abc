//! The kernel's trace of a run.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::text::Text;

/// Most bytes of a marker.
const MOST: usize = 400;

/// tracefs, open; or nothing, if the run is not traced.
pub struct Tracing {
    files: Option<(File, File)>,
}

impl Tracing {
    /// Opens what will be written to.
    pub fn open(tracefs: Option<&Path>) -> io::Result<Self> {
        let open = |path: std::path::PathBuf| {
            let file = OpenOptions::new().write(true).open(&path);
            file.map_err(|e| io::Error::new(e.kind(), format!("{}: cannot be opened: {e}", path.display())))
        };
        let files = match tracefs {
            Some(dir) => Some((open(dir.join("tracing_on"))?, open(dir.join("trace_marker"))?)),
            None => None,
        };
        Ok(Self { files })
    }

    /// Switches recording on or off.
    pub fn switch(&self, on: bool) -> io::Result<()> {
        match &self.files {
            Some((file, _)) => { file }.write_all(if on { b"1" } else { b"0" }),
            None => Ok(()),
        }
    }

    /// Writes a marker. One that fails is missing in the trace, where its reader says so.
    pub fn mark(&self, arguments: fmt::Arguments<'_>) {
        if let Some((_, file)) = &self.files {
            let _ = { file }.write(Text::<MOST>::of(arguments).bytes());
        }
    }
}
