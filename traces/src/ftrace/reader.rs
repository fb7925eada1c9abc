//! The streaming reader.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::EventReader;
use super::event::Record;
use super::kinds::Kinds;
use super::line;
use super::stats::{Example, Stats};
use crate::open::{Input, InputKind};
use crate::{TraceError, open};

/// Longest line: what is longer counts as unparsable and is skipped.
const MAX_LINE: usize = 64 << 10;

/// Streaming reader of tracefs text: a record for each event, bounded memory, no panic on any bytes.
///
/// What cannot be used is counted in [`Reader::stats`], with the first few lines as examples.
///
/// ```
/// use daxsim_traces::ftrace::{Event, Reader, Record};
/// let text = b" daxplay-34 [000] d.... 1.000001: page_fault_user: address=0x1000 ip=0x2 error_code=0x6\n";
/// let mut reader = Reader::new(&text[..], "example");
/// let mut record = Record::default();
/// assert!(reader.next_record(&mut record)?);
/// assert!(matches!(record.event, Event::PageFault { kernel: false, .. }));
/// assert!(!reader.next_record(&mut record)?);
/// # Ok::<(), daxsim_traces::TraceError>(())
/// ```
pub struct Reader<R> {
    input: R,
    file: PathBuf,
    /// The begin of a line whose end is not in the input's buffer.
    partial: Vec<u8>,
    /// Whether the rest of a too long line is being skipped.
    skipping: bool,
    kinds: &'static Kinds,
    stats: Stats,
}

impl Reader<Input> {
    /// Opens a trace (see [`mod@crate::open`]) after a look whether it is one.
    ///
    /// # Errors
    ///
    /// What [`open::open`] and [`Input::sniff`] raise, and [`TraceError::Unrecognised`] for a
    /// workload script.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        let mut input = open::open(path.as_ref())?;
        match input.sniff()? {
            InputKind::Ftrace => Ok(Self::new(input, path.as_ref())),
            other => Err(TraceError::Unrecognised {
                file: path.as_ref().to_owned(),
                offset: 0,
                found: other.to_string(),
                expected: "tracefs text".into(),
            }),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader; `file` is the name for messages.
    pub fn new<P: Into<PathBuf>>(input: R, file: P) -> Self {
        Self {
            input,
            file: file.into(),
            partial: Vec::new(),
            skipping: false,
            kinds: Kinds::get(),
            stats: Stats::default(),
        }
    }

    /// Reads the next record into `record`; `false` at the end of the input.
    ///
    /// # Errors
    ///
    /// What the input raises: [`TraceError::Truncated`] or [`TraceError::Corrupt`] after the last
    /// whole line before the damage, or [`TraceError::Io`].
    pub fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.cut();
                    return Err(TraceError::from_io(e, &self.file));
                }
            };
            if chunk.is_empty() {
                self.cut();
                return Ok(false);
            }
            let end = memchr::memchr(b'\n', chunk);
            let here = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let used = here.len() + usize::from(end.is_some());
            let too_long = self.skipping || self.partial.len() + here.len() > MAX_LINE;
            let mut found = false;
            self.stats.bytes += used as u64;
            if end.is_none() || too_long {
                // Keep the begin of a long line for its example, no more.
                let room = MAX_LINE.saturating_sub(self.partial.len());
                self.partial.extend_from_slice(here.get(..room.min(here.len())).unwrap_or_default());
                self.skipping = too_long;
                if end.is_some() {
                    self.stats.lines += 1;
                    self.stats.unparsable_line(&self.partial);
                    self.partial.clear();
                    self.skipping = false;
                }
            } else {
                self.stats.lines += 1;
                if self.partial.is_empty() {
                    found = line::parse(self.kinds, here, &mut self.stats, record);
                } else {
                    self.partial.extend_from_slice(here);
                    found = line::parse(self.kinds, &self.partial, &mut self.stats, record);
                    self.partial.clear();
                }
            }
            self.input.consume(used);
            if found {
                return Ok(true);
            }
        }
    }

    /// Counts a last line without line end. It is not delivered: a cut number still looks like one.
    fn cut(&mut self) {
        if !self.partial.is_empty() {
            self.stats.lines += 1;
            self.stats.cut_last_line = Some(Example::new(self.stats.lines, &self.partial));
            self.partial.clear();
            self.skipping = false;
        }
    }

    /// The records as an iterator; it ends after the first error.
    pub fn records(&mut self) -> impl Iterator<Item = Result<Record, TraceError>> {
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let mut record = Record::default();
            match self.next_record(&mut record) {
                Ok(true) => Some(Ok(record)),
                Ok(false) => {
                    ended = true;
                    None
                }
                Err(e) => {
                    ended = true;
                    Some(Err(e))
                }
            }
        })
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl<R: BufRead + Send> EventReader for Reader<R> {
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        Self::next_record(self, record)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}
