//! What an input is, by its first bytes of text.

use std::fmt;
use std::path::Path;

use crate::error::quote;
use crate::{TraceError, access, drmemtrace, dxt, ftrace, perf, tracedat};

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// A workload script.
    Script,
    /// Text of a tracefs `trace` or `trace_pipe` file.
    Ftrace,
    /// trace-cmd's binary file.
    TraceDat,
    /// perf's binary file, with events.
    PerfData,
    /// What `perf script` prints of events.
    PerfScript,
    /// perf's binary file, with sampled accesses (`perf mem`).
    PerfMem,
    /// Accesses, as valgrind's lackey prints them.
    Lackey,
    /// Instructions with their accesses, in ChampSim's records.
    ChampSim,
    /// Accesses, as DynamoRIO's drmemtrace writes them.
    DrMemTrace,
    /// The format of `traces/FORMAT.md`.
    Dxt,
}

impl InputKind {
    /// Whether it holds a program's accesses.
    #[must_use]
    pub const fn is_accesses(self) -> bool {
        matches!(self, Self::Lackey | Self::ChampSim | Self::DrMemTrace | Self::Dxt | Self::PerfMem)
    }

    /// Whether it holds events of a kernel, which [`crate::ftrace::open`] reads.
    #[must_use]
    pub const fn is_events(self) -> bool {
        matches!(self, Self::Ftrace | Self::TraceDat | Self::PerfData | Self::PerfScript)
    }

    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Ftrace => "ftrace",
            Self::TraceDat => "trace.dat",
            Self::PerfData => "perf.data",
            Self::PerfScript => "perf-script",
            Self::PerfMem => "perf-mem",
            Self::Lackey => "lackey",
            Self::ChampSim => "champsim",
            Self::DrMemTrace => "drmemtrace",
            Self::Dxt => "dxt",
        }
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Script => "a workload script",
            Self::Ftrace => "tracefs text",
            Self::TraceDat => "a trace-cmd file",
            Self::PerfData => "a perf.data file",
            Self::PerfScript => "text of perf script",
            Self::PerfMem => "a perf.data file of sampled accesses",
            Self::Lackey => "a valgrind lackey trace",
            Self::ChampSim => "a ChampSim trace",
            Self::DrMemTrace => "a drmemtrace trace",
            Self::Dxt => "a .dxt trace",
        })
    }
}

const EXPECTED: &str = "a workload script (`@threads ..`, `0 map ..`), events (tracefs text, trace.dat, perf.data, text of `perf \
                        script`) or a trace of accesses (.dxt, valgrind lackey, ChampSim, drmemtrace, `perf mem`)";

/// What holds accesses.
pub(crate) const ACCESSES: &str = "a trace of accesses: .dxt, valgrind lackey (`--tool=lackey --trace-mem=yes`), ChampSim, \
                                   drmemtrace or `perf mem record`";
/// What holds events.
pub(crate) const EVENTS: &str =
    "events of a kernel: tracefs text, trace.dat, perf.data or text of `perf script`";

/// Binary files that a person might well hand over, and what to do with them.
const BINARY: [(&[u8], &str); 3] = [
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "an ELF file"),
    (b"BZh", "a bzip2 file (xz, zstd, gzip and zip are decompressed)"),
];

/// Sorts the first bytes of an input.
pub(crate) fn sniff(head: &[u8], file: &Path) -> Result<InputKind, TraceError> {
    if head.is_empty() {
        return Err(TraceError::Empty { file: file.to_owned() });
    }
    let unrecognised = |offset: usize, found: String| TraceError::Unrecognised {
        file: file.to_owned(),
        offset: offset as u64,
        found,
        expected: EXPECTED.into(),
    };
    if head.starts_with(&dxt::MAGIC) {
        return Ok(InputKind::Dxt);
    }
    if head.starts_with(&tracedat::MAGIC) {
        return Ok(InputKind::TraceDat);
    }
    if let Some(kind) = perf::kind_of(head) {
        return Ok(kind);
    }
    if drmemtrace::looks_like(head) {
        return Ok(InputKind::DrMemTrace);
    }
    if let Some((_, name)) = BINARY.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(unrecognised(0, (*name).into()));
    }
    if let Some(at) =
        head.iter().position(|&b| (b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t')) || b == 0x7f)
    {
        let byte = head.get(at).copied().unwrap_or_default();
        // Task names and markers may hold odd bytes: a tracefs header decides first.
        if !head.starts_with(b"# tracer:") {
            if access::looks_like_champsim(head) {
                return Ok(InputKind::ChampSim);
            }
            if access::looks_like_lackey(first_line(head)) {
                return Ok(InputKind::Lackey);
            }
            return Err(unrecognised(at, format!("byte {byte:#04x}, which is not text")));
        }
    }
    if head.starts_with(b"# tracer:") {
        return Ok(InputKind::Ftrace);
    }
    let mut offset = 0;
    let mut comments = false;
    for line in head.split_inclusive(|&b| b == b'\n') {
        let text = line.trim_ascii();
        if text.starts_with(b"#") {
            comments = true;
        } else if !text.is_empty() {
            if access::looks_like_lackey(line) {
                return Ok(InputKind::Lackey);
            }
            return kind_of(text).ok_or_else(|| {
                let blanks = line.len() - line.trim_ascii_start().len();
                unrecognised(offset + blanks, quote(text))
            });
        }
        offset += line.len();
    }
    if comments {
        // Only comments: the script parser says that there is no work in it.
        return Ok(InputKind::Script);
    }
    Err(unrecognised(0, "only blanks".into()))
}

fn first_line(head: &[u8]) -> &[u8] {
    head.split_inclusive(|&b| b == b'\n').next().unwrap_or_default()
}

fn kind_of(line: &[u8]) -> Option<InputKind> {
    if ftrace::looks_like_trace(line) {
        return Some(InputKind::Ftrace);
    }
    if perf::looks_like_script(line) {
        return Some(InputKind::PerfScript);
    }
    if line.starts_with(b"@") {
        return Some(InputKind::Script);
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let number = words.next()?;
    let op = words.next()?;
    let is_script = number.iter().all(u8::is_ascii_digit) && op.first().is_some_and(u8::is_ascii_alphabetic);
    is_script.then_some(InputKind::Script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(head: &[u8]) -> Result<InputKind, String> {
        sniff(head, "f".as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn scripts_and_traces_are_told_apart() {
        assert_eq!(kind(b"# a test\n@threads 1 0\n"), Ok(InputKind::Script));
        assert_eq!(kind(b"0 nop\n"), Ok(InputKind::Script));
        assert_eq!(kind(b"0 misspelt 1 2\n"), Ok(InputKind::Script));
        assert_eq!(kind(b"# only a comment\n"), Ok(InputKind::Script));
        assert_eq!(kind(b"# tracer: nop\n#\n"), Ok(InputKind::Ftrace));
        let line =
            b"  daxplay-34  [000] d....   1.000001: page_fault_user: address=0x1 ip=0x2 error_code=0x4\n";
        assert_eq!(kind(line), Ok(InputKind::Ftrace));
        assert_eq!(kind(b"CPU:1 [LOST 5 EVENTS]\n"), Ok(InputKind::Ftrace));
    }

    #[test]
    fn traces_of_accesses_are_told_apart() {
        for text in [
            "==1== Lackey, an example\n",
            "I  0401ab70,3\n",
            " L 10,8\r\n",
            "\n S 10,8\n I",
            "I  10,3\n\x01\x02",
        ] {
            assert_eq!(kind(text.as_bytes()), Ok(InputKind::Lackey), "{text:?}");
        }
        let mut record = [0; 64];
        record[0] = 1;
        assert_eq!(kind(&record), Ok(InputKind::ChampSim));
        assert_eq!(kind(&[&record[..], &record[..30]].concat()), Ok(InputKind::ChampSim));
        record[9] = 2;
        assert!(kind(&record).is_err());
        assert!(kind(&[0; 640]).is_err());
        assert_eq!(kind(b"\x89DXT\r\n\x1a\n\x01\0"), Ok(InputKind::Dxt));
    }

    #[test]
    fn anything_else_is_placed_and_named() {
        assert_eq!(
            kind(b"").unwrap_err(),
            "f: the file is empty: expected a workload script or tracefs text"
        );
        assert!(
            kind(b"abc\x00\x01").unwrap_err().starts_with("f: at byte 3: found byte 0x00, which is not text")
        );
        assert!(kind(b"# c\n  hello world\n").unwrap_err().starts_with("f: at byte 6: found `hello world`"));
        assert!(kind(b"\n \n").unwrap_err().contains("only blanks"));
    }
}
