//! The operation log of a recorded run (`oplog.txt`): what each script line returned, when, and
//! the extents that `fiemap` lines saw.

use std::io::BufRead;
use std::path::Path;

use daxsim_types::CpuId;

use crate::TraceError;
use crate::error::quote;
use crate::layout::ExtentFlags;
use crate::lines::Lines;

/// One line of the script as it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpEntry {
    /// Index of the script line.
    pub line: u32,
    /// The script's thread.
    pub thread: u16,
    /// The kernel's thread id.
    pub pid: u32,
    /// The CPU at the begin.
    pub cpu: CpuId,
    /// Begin, in nanoseconds of the trace clock.
    pub t0: u64,
    /// End.
    pub t1: u64,
    /// What the system call returned.
    pub rc: i64,
    /// Its error number, 0 if none.
    pub errno: i32,
    /// Accesses made.
    pub acc: u32,
    /// Accesses that got SIGBUS or SIGSEGV.
    pub sig: u32,
    /// Sum of the bytes loaded.
    pub sum: i64,
    /// The address that `map` got.
    pub addr: Option<u64>,
    /// The status that `wait` got.
    pub status: Option<i32>,
    /// The line's text.
    pub text: String,
}

/// An extent that a `fiemap` line saw. Offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiemapExtent {
    /// Index of the script line.
    pub line: u32,
    /// The file's number in the script.
    pub file: u32,
    /// First byte in the file.
    pub logical: u64,
    /// First byte on the device.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    /// Its flags.
    pub flags: ExtentFlags,
}

/// An operation log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpLog {
    /// The lines that ran, in the order they ended.
    pub entries: Vec<OpEntry>,
    /// The extents, in the order they were logged.
    pub fiemaps: Vec<FiemapExtent>,
}

impl OpLog {
    /// The extents of a file as its last `fiemap` line saw them.
    pub fn extents(&self, file: u32) -> impl Iterator<Item = &FiemapExtent> {
        let last = self.fiemaps.iter().filter(|e| e.file == file).map(|e| e.line).max();
        self.fiemaps.iter().filter(move |e| e.file == file && Some(e.line) == last)
    }

    /// The entry of a script line.
    #[must_use]
    pub fn entry(&self, line: u32) -> Option<&OpEntry> {
        self.entries.iter().find(|e| e.line == line)
    }
}

/// Reads an operation log; `file` is the name for messages.
///
/// # Errors
///
/// [`TraceError::Table`] for a line of another form, and what the reader raises.
pub fn read<R: BufRead>(input: R, file: &Path) -> Result<OpLog, TraceError> {
    let mut lines = Lines::new(input, file);
    let mut log = OpLog::default();
    while let Some((number, line)) = lines.next()? {
        let error = |expected: &str| TraceError::Table {
            file: file.to_owned(),
            line: number,
            found: quote(line.as_bytes()),
            expected: expected.into(),
        };
        if let Some(rest) = line.strip_prefix("# fiemap ") {
            log.fiemaps.push(fiemap(rest).ok_or_else(|| {
                error("`# fiemap line=.. F.. logical=0x.. physical=0x.. len=0x.. flags=0x..`")
            })?);
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            log.entries.push(entry(line).ok_or_else(|| {
                error("`<line> t<thread> pid=.. cpu=.. t0=.. t1=.. rc=.. errno=.. acc=.. sig=.. sum=.. | <text>`")
            })?);
        }
    }
    Ok(log)
}

/// Opens (see [`mod@crate::open`]) and reads an operation log.
///
/// # Errors
///
/// As [`read`], and what [`crate::open::open`] raises.
pub fn open<P: AsRef<Path>>(path: P) -> Result<OpLog, TraceError> {
    let path = path.as_ref();
    read(crate::open::open(path)?, path)
}

fn entry(line: &str) -> Option<OpEntry> {
    let (fields, text) = line.split_once(" | ")?;
    let mut words = fields.split_ascii_whitespace();
    let mut entry = OpEntry {
        line: words.next()?.parse().ok()?,
        thread: words.next()?.strip_prefix('t')?.parse().ok()?,
        text: text.to_owned(),
        ..OpEntry::default()
    };
    // The nine that are always there.
    let mut seen = 0;
    for word in words {
        let (key, value) = word.split_once('=')?;
        seen += 1;
        match key {
            "pid" => entry.pid = value.parse().ok()?,
            "cpu" => entry.cpu = CpuId(value.parse().ok()?),
            "t0" => entry.t0 = value.parse().ok()?,
            "t1" => entry.t1 = value.parse().ok()?,
            "rc" => entry.rc = value.parse().ok()?,
            "errno" => entry.errno = value.parse().ok()?,
            "acc" => entry.acc = value.parse().ok()?,
            "sig" => entry.sig = value.parse().ok()?,
            "sum" => entry.sum = value.parse().ok()?,
            "addr" => entry.addr = Some(address(value)?),
            "status" => entry.status = Some(value.parse().ok()?),
            _ => {}
        }
        seen -=
            u32::from(!matches!(key, "pid" | "cpu" | "t0" | "t1" | "rc" | "errno" | "acc" | "sig" | "sum"));
    }
    (seen == 9).then_some(entry)
}

/// An address as `%p` prints it: `(nil)` for 0.
fn address(text: &str) -> Option<u64> {
    if text == "(nil)" { Some(0) } else { hex(text) }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn fiemap(text: &str) -> Option<FiemapExtent> {
    let mut words = text.split_ascii_whitespace();
    Some(FiemapExtent {
        line: words.next()?.strip_prefix("line=")?.parse().ok()?,
        file: words.next()?.strip_prefix('F')?.parse().ok()?,
        logical: hex(words.next()?.strip_prefix("logical=")?)?,
        physical: hex(words.next()?.strip_prefix("physical=")?)?,
        length: hex(words.next()?.strip_prefix("len=")?)?,
        flags: ExtentFlags(u32::try_from(hex(words.next()?.strip_prefix("flags=")?)?).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# daxplay oplog: line tid ..
1 t0 pid=36 cpu=0 t0=10 t1=20 rc=-1 errno=5 acc=0 sig=0 sum=0 addr=0x100000000000 | 0 map 0 0 0 4k rw shared 0x1
# fiemap line=2 F0 logical=0x0 physical=0x80c0000 len=0x40000 flags=0x1
# fiemap line=5 F0 logical=0x0 physical=0x80d0000 len=0x1000 flags=0x800
# fiemap line=5 F0 logical=0x1000 physical=0x80e0000 len=0x1000 flags=0x1
5 t3 pid=36 cpu=2 t0=20 t1=30 rc=1 errno=0 acc=1 sig=1 sum=90 status=0 | 3 wait 5
";

    fn parse(text: &str) -> Result<OpLog, String> {
        read(text.as_bytes(), "oplog".as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn entries_and_extents_are_read() {
        let log = parse(TEXT).unwrap();
        assert_eq!(log.entries.len(), 2);
        let map = log.entry(1).unwrap();
        assert_eq!((map.rc, map.errno, map.addr, map.t1), (-1, 5, Some(0x1000_0000_0000), 20));
        let wait = log.entry(5).unwrap();
        assert_eq!((wait.thread, wait.cpu, wait.status, wait.sum), (3, CpuId(2), Some(0), 90));
        assert_eq!(wait.text, "3 wait 5");
        let extents: Vec<_> = log.extents(0).map(|e| (e.physical, e.flags.is_unwritten())).collect();
        assert_eq!(extents, [(0x80d_0000, true), (0x80e_0000, false)]);
        assert_eq!(log.extents(1).count(), 0);
    }

    #[test]
    fn lines_of_another_form_are_placed() {
        assert!(parse("x\n").unwrap_err().starts_with("oplog:1: found `x`: expected `<line> t<thread>"));
        assert!(parse("# fiemap line=2 F0\n").unwrap_err().contains("`# fiemap line=.."));
        assert!(parse("1 t0 pid=1 cpu=0 | 0 nop\n").is_err());
        assert!(parse(&TEXT.replace("rc=1", "rc=x")).unwrap_err().starts_with("oplog:6:"));
    }
}
