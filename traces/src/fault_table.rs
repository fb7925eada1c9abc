//! The fault table (`faults.tsv`): one line for each page fault.

use std::io::{self, BufRead, Write};
use std::path::Path;

use daxsim_types::{CpuId, ErrorCode, Pfn, VirtAddr, VmFault};

use crate::TraceError;
use crate::error::quote;
use crate::lines::Lines;

/// The column names, in order.
pub const COLUMNS: [&str; 12] =
    ["op", "tid", "pid", "cpu", "ts", "addr", "error_code", "old_pte", "new_pte", "pfn", "ret", "path"];

/// One page fault. A field is `None` if the table leaves it empty: no probe showed it, or the
/// fault has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultRow {
    /// Index of the script line.
    pub op: Option<u32>,
    /// The script's thread.
    pub thread: Option<u16>,
    /// The kernel's thread id.
    pub pid: Option<u32>,
    /// The CPU.
    pub cpu: Option<CpuId>,
    /// Time of the fault in nanoseconds, a whole number of microseconds in a written table.
    pub time_ns: Option<u64>,
    /// The faulting address.
    pub addr: Option<VirtAddr>,
    /// The error code.
    pub error_code: Option<ErrorCode>,
    /// Whether the access was made in kernel mode (suffix `k` of the error code).
    pub kernel: bool,
    /// The PTE or PMD before.
    pub old_pte: Option<u64>,
    /// The PTE or PMD after.
    pub new_pte: Option<u64>,
    /// The frame.
    pub pfn: Option<Pfn>,
    /// Result of the last `handle_mm_fault`.
    pub ret: Option<VmFault>,
    /// The steps of the fault, separated by blanks.
    pub path: String,
}

/// Reads a whole table; `file` is the name for messages.
///
/// # Errors
///
/// [`TraceError::Table`] for a header with other columns, a row with another number of fields or
/// a field of another form, and what the reader raises.
pub fn read<R: BufRead>(input: R, file: &Path) -> Result<Vec<FaultRow>, TraceError> {
    let mut lines = Lines::new(input, file);
    let error = |line, found, expected| TraceError::Table { file: file.to_owned(), line, found, expected };
    match lines.next()? {
        Some((line, header)) if !header.split('\t').eq(COLUMNS) => {
            return Err(error(line, quote(header.as_bytes()), format!("the columns {}", COLUMNS.join(", "))));
        }
        Some(_) => {}
        None => {
            return Err(error(
                1,
                "the end of the file".into(),
                format!("the columns {}", COLUMNS.join(", ")),
            ));
        }
    }
    let mut rows = Vec::new();
    while let Some((line, text)) = lines.next()? {
        if text.is_empty() {
            continue;
        }
        rows.push(row(text).map_err(|(found, expected)| error(line, found, expected))?);
    }
    Ok(rows)
}

/// Opens (see [`mod@crate::open`]) and reads a table.
///
/// # Errors
///
/// As [`read`], and what [`crate::open::open`] raises.
pub fn open<P: AsRef<Path>>(path: P) -> Result<Vec<FaultRow>, TraceError> {
    let path = path.as_ref();
    read(crate::open::open(path)?, path)
}

/// Writes a table in the form that [`read`] reads.
///
/// # Errors
///
/// What the writer raises.
pub fn write<'a, W, I>(mut out: W, rows: I) -> io::Result<()>
where
    W: Write,
    I: IntoIterator<Item = &'a FaultRow>,
{
    writeln!(out, "{}", COLUMNS.join("\t"))?;
    for row in rows {
        optional(&mut out, row.op, |o, v| write!(o, "{v}"))?;
        optional(&mut out, row.thread, |o, v| write!(o, "t{v}"))?;
        optional(&mut out, row.pid, |o, v| write!(o, "{v}"))?;
        optional(&mut out, row.cpu, |o, v| write!(o, "{}", v.0))?;
        optional(&mut out, row.time_ns, |o, ns| {
            write!(o, "{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
        })?;
        optional(&mut out, row.addr, |o, v| write!(o, "{v}"))?;
        optional(&mut out, row.error_code, |o, v| write!(o, "{v}{}", if row.kernel { "k" } else { "" }))?;
        optional(&mut out, row.old_pte, |o, v| write!(o, "{v:#x}"))?;
        optional(&mut out, row.new_pte, |o, v| write!(o, "{v:#x}"))?;
        optional(&mut out, row.pfn, |o, v| write!(o, "{v}"))?;
        optional(&mut out, row.ret, |o, v| write!(o, "{v}"))?;
        // A tab or line end would make another field or row of the rest.
        writeln!(out, "{}", row.path.replace(['\t', '\n', '\r'], " "))?;
    }
    Ok(())
}

fn optional<W: Write, T>(
    out: &mut W,
    value: Option<T>,
    show: impl Fn(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(value) = value {
        show(out, value)?;
    }
    out.write_all(b"\t")
}

type Mismatch = (String, String);

fn row(text: &str) -> Result<FaultRow, Mismatch> {
    let mut fields = text.split('\t');
    let mut column = 0;
    let mut next = || {
        let name = COLUMNS.get(column).copied().unwrap_or_default();
        column += 1;
        match fields.next() {
            Some(value) => Ok(Field { name, value }),
            None => {
                Err((format!("{} fields", column - 1), format!("{} fields separated by tabs", COLUMNS.len())))
            }
        }
    };
    let op = next()?.decimal()?;
    let thread = next()?.get("a thread like t0", |v| v.strip_prefix('t')?.parse().ok())?;
    let pid = next()?.decimal()?;
    let cpu = next()?.decimal()?.map(CpuId);
    let time_ns = next()?.get("seconds like 1358.947940", seconds)?;
    let addr = next()?.hex()?.map(VirtAddr);
    let code = next()?;
    let user_code = Field { name: code.name, value: code.value.strip_suffix('k').unwrap_or(code.value) };
    let error_code = user_code.hex32()?.map(ErrorCode);
    let row = FaultRow {
        op,
        thread,
        pid,
        cpu,
        time_ns,
        addr,
        error_code,
        kernel: code.value.ends_with('k'),
        old_pte: next()?.hex()?,
        new_pte: next()?.hex()?,
        pfn: next()?.hex()?.map(Pfn),
        ret: next()?.hex32()?.map(VmFault),
        path: next()?.value.to_owned(),
    };
    match fields.count() {
        0 => Ok(row),
        more => Err((
            format!("{} fields", COLUMNS.len() + more),
            format!("{} fields separated by tabs", COLUMNS.len()),
        )),
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = fraction.len();
    if !(1..=9).contains(&digits) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u64.pow(9 - digits as u32);
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.parse::<u64>().ok()? * scale)
}

struct Field<'a> {
    name: &'static str,
    value: &'a str,
}

impl Field<'_> {
    fn get<T>(&self, form: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Mismatch> {
        if self.value.is_empty() {
            return Ok(None);
        }
        match parse(self.value) {
            Some(value) => Ok(Some(value)),
            None => Err((
                format!("{} in column {}", quote(self.value.as_bytes()), self.name),
                format!("{form}, or nothing"),
            )),
        }
    }

    fn decimal<T: std::str::FromStr>(&self) -> Result<Option<T>, Mismatch> {
        self.get("a decimal number", |v| v.parse().ok())
    }

    fn hex(&self) -> Result<Option<u64>, Mismatch> {
        self.get("a number like 0x1f", |v| u64::from_str_radix(v.strip_prefix("0x")?, 16).ok())
    }

    fn hex32(&self) -> Result<Option<u32>, Mismatch> {
        self.get("a 32-bit number like 0x1f", |v| u32::from_str_radix(v.strip_prefix("0x")?, 16).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "op\ttid\tpid\tcpu\tts\taddr\terror_code\told_pte\tnew_pte\tpfn\tret\tpath\n";

    fn table(rows: &str) -> Result<Vec<FaultRow>, String> {
        read(format!("{HEADER}{rows}").as_bytes(), "f.tsv".as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_table_survives_reading_and_writing() {
        let text = "8\tt0\t3634\t0\t1358.947940\t0x100000000000\t0x6\t0x0\t0x867\t0x1482a0\t0x100\ta b=0x1\n\
                    \t\t4354\t1\t1827.255309\t0x7fffada398d8\t0x3k\t\t\t\t0x0\tdo_wp_page\n";
        let rows = table(text).unwrap();
        assert_eq!(rows[0].time_ns, Some(1_358_947_940_000));
        assert_eq!((rows[1].op, rows[1].kernel, rows[1].old_pte), (None, true, None));
        let mut out = Vec::new();
        write(&mut out, &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{HEADER}{text}"));
    }

    #[test]
    fn another_header_is_refused() {
        let e = read(&b"op\ttid\n"[..], "f.tsv".as_ref()).unwrap_err().to_string();
        assert!(e.starts_with("f.tsv:1: found `op\\ttid`: expected the columns op, tid, pid"), "{e}");
        let e = read(&b""[..], "f.tsv".as_ref()).unwrap_err().to_string();
        assert!(e.starts_with("f.tsv:1: found the end of the file"), "{e}");
    }

    #[test]
    fn bad_fields_are_placed() {
        let row = |field: usize, value: &str| {
            let mut fields = [""; 12];
            fields[field] = value;
            table(&fields.join("\t")).unwrap_err()
        };
        assert_eq!(row(0, "x"), "f.tsv:2: found `x` in column op: expected a decimal number, or nothing");
        assert!(row(1, "0").contains("a thread like t0"));
        assert!(row(4, "12").contains("seconds"));
        assert!(row(4, "99999999999999.0").contains("seconds"));
        assert!(row(5, "12").contains("0x1f"));
        assert!(row(6, "0x100000000").contains("32-bit"));
        assert!(table("1\t2").unwrap_err().contains("found `2` in column tid"));
        assert_eq!(table("1").unwrap_err(), "f.tsv:2: found 1 fields: expected 12 fields separated by tabs");
        assert!(table(&"\t".repeat(12)).unwrap_err().contains("found 13 fields"));
    }

    #[test]
    fn a_path_cannot_break_the_table() {
        let rows = [FaultRow { path: "a\tb\nc".into(), ..FaultRow::default() }];
        let mut out = Vec::new();
        write(&mut out, &rows).unwrap();
        assert_eq!(read(&out[..], "f".as_ref()).unwrap()[0].path, "a b c");
    }
}
