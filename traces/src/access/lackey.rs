//! What valgrind writes for `--tool=lackey --trace-mem=yes`: a line for each instruction and each access of it.
//!
//! ```text
//! I  0401ab70,3        an instruction of 3 bytes
//!  L 1fff000748,8      it loads 8 bytes
//!  S 1fff000740,8      it stores
//!  M 0421d2f0,4        it loads and stores
//! ```
//!
//! The lines of valgrind (`==25179== ..`) and of the program, which may share the stream, stand between.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use daxsim_types::VirtAddr;

use super::{AccessBatch, AccessOp, AccessReader, AccessRecord, BATCH, Fetches, Reading};
use crate::TraceError;
use crate::error::quote;

/// Longest line that is looked at; more of a line is skipped.
const MAX_LINE: usize = 4096;

/// Value of a hexadecimal digit, 16 or more for other bytes.
static HEX: [u8; 256] = hex_values();

const fn hex_values() -> [u8; 256] {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
}

/// A streaming reader of a lackey trace.
pub struct Lackey<R> {
    input: R,
    file: PathBuf,
    lines: Lines,
    /// The beginning of a line whose rest is to come.
    partial: Vec<u8>,
}

/// What goes from line to line.
struct Lines {
    fetches: Fetches,
    /// Lines so far.
    number: u64,
    /// Instructions since the last record.
    gap: u32,
    reading: Reading,
}

impl<R: BufRead> Lackey<R> {
    /// Reads `input`; messages name `file`.
    pub fn new(input: R, file: impl AsRef<Path>, fetches: Fetches) -> Self {
        let lines = Lines { fetches, number: 0, gap: 0, reading: Reading::default() };
        Self { input, file: file.as_ref().to_owned(), lines, partial: Vec::new() }
    }

    /// Takes records out of the next bytes; whether there were any bytes.
    fn chunk(&mut self, records: &mut Vec<AccessRecord>) -> std::io::Result<bool> {
        let chunk = self.input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let used = if self.partial.is_empty() {
            let used = self.lines.take(chunk, records);
            if records.len() < BATCH {
                // What is left is the beginning of a line.
                keep(&mut self.partial, chunk.get(used..).unwrap_or_default());
                chunk.len()
            } else {
                used
            }
        } else {
            let end = memchr::memchr(b'\n', chunk).map(|end| end + 1);
            let used = end.unwrap_or(chunk.len());
            keep(&mut self.partial, chunk.get(..used).unwrap_or_default());
            if end.is_some() {
                if self.partial.last() != Some(&b'\n') {
                    // Longer than a line may be: what was kept stands for it.
                    self.partial.push(b'\n');
                }
                self.lines.take(&self.partial, records);
                self.partial.clear();
            }
            used
        };
        self.input.consume(used);
        Ok(true)
    }

    /// The input has ended.
    fn end(&mut self) {
        let (cut, reading) = (std::mem::take(&mut self.partial), &mut self.lines.reading);
        if !cut.is_empty() {
            let number = self.lines.number + 1;
            reading.damaged += 1;
            reading.damage.push(format!(
                "{}:{number}: found {} and the end of the file: expected a whole line",
                self.file.display(),
                quote(&cut)
            ));
        }
        reading.trailing_instructions += u64::from(std::mem::take(&mut self.lines.gap));
    }
}

/// Appends what there is room for in a line.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = MAX_LINE.saturating_sub(line.len()).min(more.len());
    line.extend_from_slice(more.get(..room).unwrap_or_default());
}

impl<R: BufRead + Send> AccessReader for Lackey<R> {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        batch.thread = 0;
        batch.records.clear();
        batch.order.clear();
        while batch.records.len() < BATCH {
            match self.chunk(&mut batch.records) {
                Ok(true) => {}
                Ok(false) => {
                    self.end();
                    break;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // What failed once fails again: first what came before.
                Err(_) if !batch.records.is_empty() => break,
                Err(e) => return Err(TraceError::from_io(e, &self.file)),
            }
        }
        Ok(!batch.records.is_empty())
    }

    fn reading(&self) -> &Reading {
        &self.lines.reading
    }
}

impl Lines {
    /// Takes records out of whole lines, until a batch is full; how many bytes they were.
    fn take(&mut self, text: &[u8], records: &mut Vec<AccessRecord>) -> usize {
        let mut at = 0;
        while let Some(rest) = text.get(at..)
            && !rest.is_empty()
            && records.len() < BATCH
        {
            if let Some(line) = parse(rest) {
                self.number += 1;
                at += line.len;
                self.record(&line, records);
            } else if let Some(end) = memchr::memchr(b'\n', rest) {
                self.other(rest.get(..end).unwrap_or_default());
                at += end + 1;
            } else {
                break;
            }
        }
        at
    }

    fn record(&mut self, line: &Line, records: &mut Vec<AccessRecord>) {
        if line.op == AccessOp::Fetch {
            self.gap = self.gap.saturating_add(1);
            if self.fetches == Fetches::Count {
                return;
            }
        }
        let gap = std::mem::take(&mut self.gap);
        let va = VirtAddr(line.va);
        records.push(AccessRecord { va, gap, size: line.size, op: line.op, dependent: false });
    }

    /// A line that is no access.
    fn other(&mut self, line: &[u8]) {
        self.number += 1;
        let text = line.trim_ascii();
        if text.is_empty() || is_valgrinds(text) {
            self.reading.tool_lines += 1;
            return;
        }
        self.reading.other_lines += 1;
        if self.reading.first_other.is_none() {
            self.reading.first_other = Some((self.number, quote(text)));
        }
    }
}

/// A line about an access.
struct Line {
    op: AccessOp,
    va: u64,
    size: u16,
    /// Bytes of the line with its end.
    len: usize,
}

/// The line that `text` begins with, if it is a whole one about an access.
#[inline]
fn parse(text: &[u8]) -> Option<Line> {
    let op = match text.get(..3)? {
        b"I  " => AccessOp::Fetch,
        b" L " => AccessOp::Load,
        b" S " => AccessOp::Store,
        b" M " => AccessOp::Modify,
        _ => return None,
    };
    let mut at = 3;
    let mut va = 0_u64;
    let mut byte = *text.get(at)?;
    while byte != b',' {
        let digit = HEX[usize::from(byte)];
        if digit > 15 || va >> 60 != 0 {
            return None;
        }
        va = va << 4 | u64::from(digit);
        at += 1;
        byte = *text.get(at)?;
    }
    let comma = at;
    let mut size = 0_u16;
    loop {
        at += 1;
        byte = *text.get(at)?;
        match byte {
            b'0'..=b'9' => size = size.checked_mul(10)?.checked_add(u16::from(byte - b'0'))?,
            b'\n' => break,
            b'\r' if text.get(at + 1) == Some(&b'\n') => {
                at += 1;
                break;
            }
            _ => return None,
        }
    }
    let complete = comma > 3 && at > comma + 1 && text.get(comma + 1).is_some_and(u8::is_ascii_digit);
    complete.then_some(Line { op, va, size, len: at + 1 })
}

/// Whether valgrind says something itself: `==PID==` or `--PID--`.
fn is_valgrinds(line: &[u8]) -> bool {
    [b"==", b"--"].into_iter().any(|mark| {
        let Some(rest) = line.strip_prefix(mark) else { return false };
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with(mark))
    })
}

/// Whether a line could be the first of such a trace.
pub(crate) fn looks_like(line: &[u8]) -> bool {
    let mut whole = line.to_vec();
    whole.truncate(MAX_LINE);
    while whole.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        whole.pop();
    }
    whole.push(b'\n');
    parse(&whole).is_some() || is_valgrinds(line)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "==12== Lackey, an example Valgrind tool\n==12== \nI  0401ab70,3\n S 1fff000748,8\nhello\n\
                        I  0401b770,1\nI  0401b771,7\n L 04000000,4\n M 04000010,16\n--12-- warning\nI  0401b772,2\n";

    /// Everything of a text, read in pieces of `piece` bytes.
    fn read(text: &[u8], piece: usize, fetches: Fetches) -> (Vec<AccessRecord>, Reading) {
        let mut reader = Lackey::new(BufReader::with_capacity(piece, text), "t", fetches);
        let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
        while reader.next_batch(&mut batch).unwrap() {
            all.append(&mut batch.records);
        }
        (all, reader.reading().clone())
    }

    fn record(op: AccessOp, va: u64, size: u16, gap: u32) -> AccessRecord {
        AccessRecord { va: VirtAddr(va), gap, size, op, dependent: false }
    }

    #[test]
    fn data_accesses_carry_the_instructions_before_them() {
        let (records, reading) = read(TEXT.as_bytes(), 4096, Fetches::Count);
        let expected = [
            record(AccessOp::Store, 0x1f_ff00_0748, 8, 1),
            record(AccessOp::Load, 0x400_0000, 4, 2),
            record(AccessOp::Modify, 0x400_0010, 16, 0),
        ];
        assert_eq!(records, expected);
        assert_eq!(reading.tool_lines, 3);
        assert_eq!((reading.other_lines, reading.first_other), (1, Some((5, "`hello`".into()))));
        assert_eq!(reading.trailing_instructions, 1);
        assert_eq!(reading.damaged, 0);
    }

    #[test]
    fn fetches_are_records_if_asked_for() {
        let (records, reading) = read(TEXT.as_bytes(), 4096, Fetches::Keep);
        let ops: Vec<AccessOp> = records.iter().map(|r| r.op).collect();
        use AccessOp::{Fetch, Load, Modify, Store};
        assert_eq!(ops, [Fetch, Store, Fetch, Fetch, Load, Modify, Fetch]);
        assert_eq!(records.iter().map(|r| r.gap).collect::<Vec<_>>(), [1, 0, 1, 1, 0, 0, 1]);
        assert_eq!(reading.trailing_instructions, 0);
    }

    #[test]
    fn however_the_bytes_come_the_records_are_the_same() {
        let whole = read(TEXT.as_bytes(), 4096, Fetches::Keep);
        for piece in 1..60 {
            assert_eq!(read(TEXT.as_bytes(), piece, Fetches::Keep), whole, "{piece}");
        }
        let crlf = TEXT.replace('\n', "\r\n");
        assert_eq!(read(crlf.as_bytes(), 7, Fetches::Keep).0, whole.0);
    }

    #[test]
    fn a_cut_last_line_is_reported_and_not_used() {
        let (records, reading) = read(b" L 1000,8\n S 20", 4096, Fetches::Count);
        assert_eq!(records, [record(AccessOp::Load, 0x1000, 8, 0)]);
        assert_eq!(
            reading.damage,
            ["t:2: found ` S 20` and the end of the file: expected a whole line".to_owned()]
        );
    }

    #[test]
    fn lines_that_are_nearly_accesses_are_counted() {
        let text = " L ,8\n L 10,\n L 10\n L 1g,8\n L 11112222333344445,8\n L 10,70000\n X 10,8\n L 10,8x\n L 10,8\n";
        let (records, reading) = read(text.as_bytes(), 4096, Fetches::Count);
        assert_eq!(records, [record(AccessOp::Load, 0x10, 8, 0)]);
        assert_eq!(reading.other_lines, 8);
        let long = [vec![b'x'; 3 * MAX_LINE], b"\n L 10,8\n".to_vec()].concat();
        assert_eq!(
            read(&long, 100, Fetches::Count),
            (records, Reading { other_lines: 1, first_other: Some((1, quote(&long))), ..Reading::default() })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
            read(&bytes, piece, Fetches::Keep);
        }

        #[test]
        fn what_is_written_is_read(
            accesses in prop::collection::vec((0_usize..4, any::<u64>(), any::<u16>()), 0..200), piece in 1_usize..90
        ) {
            let marks = [" L ", " S ", " M ", "I  "];
            let text: String = accesses.iter().map(|(op, va, size)| format!("{}{va:08x},{size}\n", marks[*op])).collect();
            let (records, _) = read(text.as_bytes(), piece, Fetches::Keep);
            let seen: Vec<_> = records.iter().map(|r| (r.op as usize, r.va.0, r.size)).collect();
            prop_assert_eq!(seen, accesses);
        }
    }
}
