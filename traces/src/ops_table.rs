//! The `ops.tsv` table of a recorded scenario: one row for each script line, with what the kernel did during it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};
use std::path::Path;

use crate::TraceError;
use crate::error::quote;
use crate::lines::Lines;

/// One script line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpRow {
    /// Number of the line, from 0.
    pub op: u32,
    /// The script's thread.
    pub thread: Option<u16>,
    /// How it ended: result, error number, accesses, signals.
    pub end: String,
    /// The line.
    pub text: String,
    /// Counts by column name, such as `tlb3` (flushes of reason 3), `ipi_tx` (shootdown interrupts sent) or `uf0x7` (faults
    /// by error code). A column that the table lacks counted nothing anywhere.
    pub counts: BTreeMap<String, u64>,
}

impl OpRow {
    /// A column's count.
    #[must_use]
    pub fn count(&self, column: &str) -> u64 {
        self.counts.get(column).copied().unwrap_or(0)
    }
}

/// Reads a table.
///
/// # Errors
///
/// [`TraceError::Table`] for a header without an `op` column or a row of another form, and what the reader raises.
pub fn read<R: BufRead>(input: R, file: &Path) -> Result<Vec<OpRow>, TraceError> {
    let mut lines = Lines::new(input, file);
    let error = |line, found, expected: &str| TraceError::Table {
        file: file.to_owned(),
        line,
        found,
        expected: expected.to_owned(),
    };
    let Some((line, header)) = lines.next()? else {
        return Err(error(1, "the end of the file".into(), "a header that begins with op"));
    };
    let columns: Vec<String> = header.split('\t').map(str::to_owned).collect();
    if columns.first().is_none_or(|c| c != "op") {
        return Err(error(line, quote(header.as_bytes()), "a header that begins with op"));
    }
    let mut rows = Vec::new();
    while let Some((line, text)) = lines.next()? {
        if text.is_empty() {
            continue;
        }
        let mut row = OpRow::default();
        for (column, field) in columns.iter().zip(text.split('\t')) {
            match column.as_str() {
                "op" => {
                    row.op =
                        field.parse().map_err(|_| error(line, quote(field.as_bytes()), "a line number"))?;
                }
                "tid" => row.thread = field.strip_prefix('t').and_then(|thread| thread.parse().ok()),
                "end" => field.clone_into(&mut row.end),
                "text" => field.clone_into(&mut row.text),
                _ => {
                    let count = field.parse().map_err(|_| error(line, quote(field.as_bytes()), "a count"))?;
                    row.counts.insert(column.clone(), count);
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Opens (see [`mod@crate::open`]) and reads a table.
///
/// # Errors
///
/// As [`read`], and what [`crate::open::open`] raises.
pub fn open<P: AsRef<Path>>(path: P) -> Result<Vec<OpRow>, TraceError> {
    let path = path.as_ref();
    read(crate::open::open(path)?, path)
}

/// Writes a table in the form that [`read`] reads: a column for each name that counted anywhere.
///
/// # Errors
///
/// What the writer raises.
pub fn write<W: Write>(mut out: W, rows: &[OpRow]) -> io::Result<()> {
    let columns: BTreeSet<&String> = rows.iter().flat_map(|row| row.counts.keys()).collect();
    let names: Vec<&str> = columns.iter().map(|name| name.as_str()).collect();
    let header = [&["op", "tid"][..], &names, &["end", "text"]].concat();
    writeln!(out, "{}", header.join("\t"))?;
    for row in rows {
        write!(out, "{}\t{}", row.op, row.thread.map(|thread| format!("t{thread}")).unwrap_or_default())?;
        for column in &columns {
            write!(out, "\t{}", row.count(column))?;
        }
        // A tab or line end would make another field or row of the rest.
        writeln!(out, "\t{}\t{}", row.end, row.text.replace(['\t', '\n', '\r'], " "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_column() {
        let text = "op\ttid\ttlb3\tuf0x7\tend\ttext\n0\tt0\t0\t0\trc=0\t0 nop\n4\tt1\t2\t64\trc=0\t0 str\n";
        let rows = read(text.as_bytes(), Path::new("ops.tsv")).unwrap();
        assert_eq!(
            (rows[1].op, rows[1].count("tlb3"), rows[1].count("uf0x7"), rows[1].count("tlb9")),
            (4, 2, 64, 0)
        );
    }

    #[test]
    fn another_table_is_refused_with_its_place() {
        for (text, place) in [("", "ops.tsv:1"), ("a\tb\n", "ops.tsv:1"), ("op\ttlb3\n1\tx\n", "ops.tsv:2")] {
            let error = read(text.as_bytes(), Path::new("ops.tsv")).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
