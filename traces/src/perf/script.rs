//! The text that `perf script` prints of events.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use daxsim_types::{CpuId, VirtAddr};

use crate::ftrace::{Comm, Event, EventReader, Record, Stats, printed};
use crate::open::Input;
use crate::{TraceError, open};

/// Longest line.
const MAX_LINE: usize = 64 << 10;

/// What stands before an event.
#[derive(Debug, PartialEq)]
struct Head<'a> {
    comm: &'a [u8],
    tid: u32,
    cpu: u16,
    time_ns: u64,
}

/// Whether a line has the form of an event's.
pub(crate) fn looks_like(line: &[u8]) -> bool {
    split(line).is_some()
}

/// Splits a line into its head, the event's name with its system, and its text.
///
/// `comm pid [cpu] time: event: text`, where `pid/tid` may stand for `pid`, the CPU may be missing, flags may stand behind it and a
/// period before the event.
fn split(line: &[u8]) -> Option<(Head<'_>, &[u8], &[u8])> {
    let (before, time_ns, behind) = at_time(line)?;
    let mut words = Words(before.trim_ascii());
    let mut cpu = 0;
    let mut word = words.last()?;
    // Flags such as `d..2.` stand between CPU and time.
    if !word.starts_with(b"[") && !word.iter().all(|b| b.is_ascii_digit() || *b == b'/') {
        word = words.last()?;
    }
    if let Some(inner) = word.strip_prefix(b"[").and_then(|w| w.strip_suffix(b"]")) {
        cpu = u16::try_from(number(inner)?).ok()?;
        word = words.last()?;
    }
    let tid = word.rsplit(|&b| b == b'/').next()?;
    let tid = u32::try_from(number(tid)?).ok()?;
    let mut text = behind.trim_ascii_start();
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 0 && text.get(digits) == Some(&b' ') {
        text = text.get(digits..)?.trim_ascii_start();
    }
    let end = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
    let (name, text) = text.split_at_checked(end)?;
    let name = name.strip_suffix(b":")?;
    if name.is_empty() {
        return None;
    }
    Some((Head { comm: words.0, tid, cpu, time_ns }, name, text.get(1..).unwrap_or_default()))
}

/// Words from the end on.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn last(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().rposition(|&b| b == b' ').map_or(0, |at| at + 1);
        let word = self.0.get(start..).filter(|w| !w.is_empty())?;
        self.0 = self.0.get(..start)?.trim_ascii_end();
        Some(word)
    }
}

/// The first word of the form `12.345678:`: what is before, its time, what is behind.
fn at_time(line: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    memchr::memchr_iter(b':', line).find_map(|colon| {
        let before = line.get(..colon)?;
        let behind = line.get(colon + 1..)?;
        let start = before.iter().rposition(|&b| b == b' ').map_or(0, |at| at + 1);
        let word = before.get(start..)?;
        let point = memchr::memchr(b'.', word)?;
        let (seconds, fraction) = (number(word.get(..point)?)?, word.get(point + 1..)?);
        let scale = 10_u64.checked_pow(u32::try_from(9_usize.checked_sub(fraction.len())?).ok()?)?;
        let time = seconds.checked_mul(1_000_000_000)?.checked_add(number(fraction)?.checked_mul(scale)?)?;
        behind.starts_with(b" ").then_some((before.get(..start)?, time, behind))
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Streaming reader of that text: the records that the `perf.data` gives, with times as printed.
pub struct ScriptReader<R = Input> {
    input: R,
    file: PathBuf,
    line: Vec<u8>,
    stats: Stats,
}

impl ScriptReader {
    /// Opens a file, compressed or not.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be read.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        Ok(Self::new(open::open(path.as_ref())?, path.as_ref()))
    }
}

impl<R: BufRead> ScriptReader<R> {
    /// A reader; `file` is the name for messages.
    pub fn new<P: Into<PathBuf>>(input: R, file: P) -> Self {
        Self { input, file: file.into(), line: Vec::new(), stats: Stats::default() }
    }

    /// Reads a line; whether there is one.
    fn read_line(&mut self) -> Result<bool, TraceError> {
        self.line.clear();
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(TraceError::from_io(e, &self.file)),
            };
            if chunk.is_empty() {
                return Ok(!self.line.is_empty());
            }
            let end = memchr::memchr(b'\n', chunk);
            let here = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            // The rest of a line that is too long is skipped.
            let room = MAX_LINE.saturating_sub(self.line.len()).min(here.len());
            self.line.extend_from_slice(here.get(..room).unwrap_or_default());
            let used = here.len() + usize::from(end.is_some());
            self.stats.bytes += used as u64;
            self.input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// The record of the line, if it is an event's.
    fn parse(&mut self) -> Option<Record> {
        let (head, name, text) = split(&self.line)?;
        let tracepoint = memchr::memchr(b':', name).and_then(|colon| name.get(colon + 1..));
        let event = match tracepoint {
            Some(short) => printed(short, text, &mut self.stats)?,
            None => {
                self.stats.count_other(name);
                software(name, text)
            }
        };
        let line = self.stats.lines;
        let record = Record {
            task: Comm::new(head.comm),
            pid: head.tid,
            cpu: CpuId(head.cpu),
            time_ns: head.time_ns,
            line,
            event,
        };
        if record.event == Event::Unknown {
            self.stats.unknown_record(line, &self.line);
        }
        Some(record)
    }
}

/// `page-faults: <address> <ip> symbol (object)`; without `-F addr` the first number is the instruction.
fn software(name: &[u8], text: &[u8]) -> Event {
    let is_fault = [&b"page-faults"[..], b"minor-faults", b"major-faults", b"faults"]
        .iter()
        .any(|known| name.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":")));
    if !is_fault {
        return Event::Unknown;
    }
    let mut numbers = text.split(|&b| b == b' ').filter(|w| !w.is_empty()).map_while(|word| {
        let word = std::str::from_utf8(word).ok()?;
        u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()
    });
    match (numbers.next(), numbers.next()) {
        (Some(address), Some(ip)) => Event::SoftwareFault { address: VirtAddr(address), ip },
        (Some(ip), None) => Event::SoftwareFault { address: VirtAddr(0), ip },
        _ => Event::SoftwareFault { address: VirtAddr(0), ip: 0 },
    }
}

impl<R: BufRead + Send> EventReader for ScriptReader<R> {
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        while self.read_line()? {
            self.stats.lines += 1;
            let text = self.line.trim_ascii();
            // Comments, empty lines, and the callers of an event, which are indented by a tab.
            if text.is_empty() || text.starts_with(b"#") || self.line.starts_with(b"\t") {
                continue;
            }
            match self.parse() {
                Some(found) => {
                    self.stats.records += 1;
                    *record = found;
                    return Ok(true);
                }
                None => self.stats.unparsable_record(self.stats.lines, &self.line),
            }
        }
        Ok(false)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_every_form() {
        let head = |comm, tid, cpu| Head { comm, tid, cpu, time_ns: 12_000_034_000 };
        for (line, expected) in [
            ("         daxplay  4814 [001]    12.000034:    tlb:x: text", head(b"daxplay", 4814, 1)),
            ("my task -1 4814/4815 [001] d..2. 12.000034: tlb:x: text", head(b"my task -1", 4815, 1)),
            ("swapper     0 12.000034:          1  tlb:x: text", head(b"swapper", 0, 0)),
            (":77 77 [003] 12.000034000:  tlb:x: text", head(b":77", 77, 3)),
        ] {
            let (found, name, text) = split(line.as_bytes()).unwrap();
            assert_eq!((found, name, text), (expected, &b"tlb:x"[..], &b"text"[..]), "{line}");
        }
        for line in
            ["", "a 1 [0] 12.5 x:y: z", "a [0] 12.5: x:y: z", "a 1 [0] 12.5: x", "a 1 [x] 12.5: x:y: z"]
        {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn lines_that_are_no_events_are_counted_or_skipped() {
        let text = b"# ========\n\na 1 [000] 1.5: page-faults:  7f00 4010 main (/bin/a)\n\t 4010 main (/bin/a)\n\ngarbage\n";
        let mut reader = ScriptReader::new(&text[..], "t");
        let mut record = Record::default();
        assert!(reader.next_record(&mut record).unwrap());
        assert_eq!(record.event, Event::SoftwareFault { address: VirtAddr(0x7f00), ip: 0x4010 });
        assert!(!reader.next_record(&mut record).unwrap());
        assert_eq!((reader.stats.unparsable, reader.stats.records, reader.stats.lines), (1, 1, 6));
    }
}
