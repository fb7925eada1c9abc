//! Events of parts of an input, from which all of it is estimated: what would take long to read tells in a moment what it is.

use std::fs::File;
use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::{EventReader, Reader, Record, Stats};
use crate::open::{Compression, Input};
use crate::{InputKind, TraceError, dxt, perf, tracedat};

/// Places of a text that are looked at.
const PLACES: u64 = 64;

/// What part of an input was read, and what that says of all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Bytes of events that were read.
    pub read: u64,
    /// Of so many.
    pub of: u64,
    /// Events of all, estimated.
    pub events: u64,
    /// Whether the first and the last event are among those read, so that the time between them is exact.
    pub has_ends: bool,
    /// Times of the first and last event, in ns, if the input says them.
    pub span: Option<(u64, u64)>,
}

impl Portion {
    /// So many records in `read` of `of` bytes.
    pub(crate) fn of_records(records: u64, read: u64, of: u64) -> Self {
        let events = u128::from(records) * u128::from(of) / u128::from(read.max(1));
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        Self { read, of, events, has_ends: false, span: None }
    }
}

/// Opens events to read about `most` bytes of them, spread over the file where its form allows; [`EventReader::portion`] says what that
/// is of the whole. What is not longer is read as [`super::open`] does.
///
/// # Errors
///
/// As [`super::open`].
pub fn open_portion(path: &Path, most: u64) -> Result<Box<dyn EventReader>, TraceError> {
    let mut input = crate::open(path)?;
    let kind = input.sniff()?;
    match kind {
        InputKind::TraceDat => return Ok(Box::new(tracedat::Reader::open_portion(path, most)?)),
        InputKind::PerfData => return Ok(Box::new(perf::Reader::open_portion(path, most)?)),
        _ => {}
    }
    let Some((text, read, of, has_ends)) = text_portion(input, path, most)? else {
        return super::open(path);
    };
    let text = Cursor::new(text);
    let reader: Box<dyn EventReader> = match kind {
        InputKind::Ftrace => Box::new(Reader::new(text, path)),
        InputKind::PerfScript => Box::new(perf::ScriptReader::new(text, path)),
        // It says what is wrong.
        _ => return super::open(path),
    };
    Ok(Box::new(TextPortion { reader, read, of, has_ends }))
}

/// Lines of parts of a text.
struct TextPortion {
    reader: Box<dyn EventReader>,
    read: u64,
    of: u64,
    has_ends: bool,
}

impl EventReader for TextPortion {
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        self.reader.next_record(record)
    }

    fn stats(&self) -> &Stats {
        self.reader.stats()
    }

    fn portion(&self) -> Option<Portion> {
        let portion = Portion::of_records(self.stats().records, self.read, self.of);
        Some(Portion { has_ends: self.has_ends, ..portion })
    }
}

/// Whole lines; how many bytes of how many they are; whether first and last are among them. `None`: there are no more than `most`.
type Part = Option<(Vec<u8>, u64, u64, bool)>;

fn text_portion(input: Input, path: &Path, most: u64) -> Result<Part, TraceError> {
    match input.compression() {
        Compression::None => places(path, most).map_err(|e| TraceError::from_io(e, path)),
        Compression::Dxt => blocks(path, most),
        Compression::Xz | Compression::Zstd | Compression::Gzip | Compression::Zip => {
            begin(input, path, most)
        }
    }
}

/// Lines at places that are spread over a plain file.
fn places(path: &Path, most: u64) -> std::io::Result<Part> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    if len <= most {
        return Ok(None);
    }
    let each = most / PLACES;
    let mut text = Vec::new();
    for place in 0..PLACES {
        let begin = (len - each) / (PLACES - 1) * place;
        let (begin, is_last) = if place == PLACES - 1 { (len - each, true) } else { (begin, false) };
        file.seek(SeekFrom::Start(begin))?;
        let had = text.len();
        file.by_ref().take(each).read_to_end(&mut text)?;
        let part = text.get(had..).unwrap_or_default();
        let first = if place == 0 { Some(0) } else { memchr::memchr(b'\n', part).map(|at| at + 1) };
        let end = if is_last { Some(part.len()) } else { memchr::memrchr(b'\n', part).map(|at| at + 1) };
        match first.zip(end).filter(|(first, end)| first <= end) {
            Some((first, end)) => {
                text.truncate(had + end);
                text.drain(had..had + first);
            }
            // A line as long as all of this.
            None => text.truncate(had),
        }
    }
    let read = text.len() as u64;
    Ok(Some((text, read, len, true)))
}

/// Blocks that are spread over a `.dxt` of lines.
fn blocks(path: &Path, most: u64) -> Result<Part, TraceError> {
    let file = dxt::File::open(path)?;
    let of = file.lines().iter().fold(0_u64, |sum, block| sum.saturating_add(block.instructions));
    let count = file.lines().len() as u64;
    let stride = of.div_ceil(most.max(1));
    if of <= most || file.damaged() > 0 {
        return Ok(None);
    }
    let mut reader = dxt::BlockReader::new(&file)?;
    let (mut all, mut text) = (Vec::new(), Vec::new());
    for (number, block) in (0_u64..).zip(file.lines()) {
        if number.is_multiple_of(stride) || number + 1 == count {
            reader.text(&file, block, &mut text)?;
            all.append(&mut text);
        }
    }
    let read = all.len() as u64;
    Ok(Some((all, read, of, true)))
}

/// The begin of a text that can only be decompressed from there.
fn begin(mut input: Input, path: &Path, most: u64) -> Result<Part, TraceError> {
    let io_error = |source| TraceError::Io { file: path.to_owned(), source };
    let of = std::fs::metadata(path).map_err(io_error)?.len();
    let mut text = Vec::new();
    while (text.len() as u64) < most {
        match input.fill_buf() {
            Ok(chunk) if !chunk.is_empty() => {
                text.extend_from_slice(chunk);
                let len = chunk.len();
                input.consume(len);
            }
            // The end, or damage, which whoever reads all of it reports.
            _ => return Ok(None),
        }
    }
    text.truncate(memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1));
    Ok(Some((text, input.compressed_bytes().min(of), of, false)))
}
