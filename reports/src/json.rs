//! `report.json`: the form that scripts read.

use std::path::Path;

use serde::Deserialize;

use crate::model::{RunReport, SCHEMA};
use crate::{ReportError, write_atomically};

/// The report as pretty-printed JSON with a trailing newline.
///
/// # Errors
///
/// [`ReportError::Serialise`] if the serialiser refuses a value.
pub fn to_string(report: &RunReport) -> Result<String, ReportError> {
    let mut text = serde_json::to_string_pretty(report).map_err(ReportError::Serialise)?;
    text.push('\n');
    Ok(text)
}

/// Writes the report to `path`, atomically.
///
/// # Errors
///
/// As [`to_string`] and [`write_atomically`].
pub fn write(report: &RunReport, path: &Path) -> Result<(), ReportError> {
    write_atomically(path, to_string(report)?.as_bytes())
}

/// Reads a report from JSON text; `name` is how errors call the input.
///
/// Fields that this version does not know are ignored and fields that are
/// missing are zero or empty, so that reports of the same schema written by
/// earlier and later versions can be read.
///
/// # Errors
///
/// [`ReportError::Malformed`] if the text is not JSON or a field has the wrong
/// type, [`ReportError::Schema`] if it is another document.
pub fn parse(name: &str, text: &str) -> Result<RunReport, ReportError> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default)]
        schema: String,
    }
    let malformed = |source| ReportError::Malformed { name: name.to_owned(), source };
    let header: Header = serde_json::from_str(text).map_err(malformed)?;
    if header.schema != SCHEMA {
        return Err(ReportError::Schema { name: name.to_owned(), found: header.schema, expected: SCHEMA });
    }
    serde_json::from_str(text).map_err(malformed)
}

/// Reads the report at `path`.
///
/// # Errors
///
/// [`ReportError::Io`] naming the path if it cannot be read, else as [`parse`].
pub fn read(path: &Path) -> Result<RunReport, ReportError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReportError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    parse(&path.display().to_string(), &text)
}
