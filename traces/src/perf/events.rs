//! Events of a file.

use std::collections::HashMap;
use std::path::Path;

use daxsim_types::{CpuId, VirtAddr};

use super::attr::{Attr, TRACEPOINT};
use super::data;
use super::order::Pending;
use super::records::{COMM, FORK, LOST, LOST_SAMPLES, Records, SAMPLE};
use super::sample::Sample;
use super::tracing;
use crate::TraceError;
use crate::ftrace::{Comm, Decoder, Event, EventReader, Portion, Record, Stats};

/// Most threads whose names are kept.
const MOST_TASKS: usize = 1 << 20;

/// Streaming reader of a `perf.data`: tracepoints as the text of tracefs gives them, and perf's software event of page faults.
/// Times have all digits; numbers count samples.
pub struct Reader {
    records: Records,
    decoder: Option<Decoder>,
    tasks: HashMap<u32, Comm>,
    stats: Stats,
    /// Samples met.
    samples: u64,
}

impl Reader {
    /// Opens a file, compressed or not, or what a pipe carried.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be read or its head is damaged.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        data::open(path.as_ref()).map(Self::of)
    }

    /// Opens a file to read about `most` bytes of its records, from the begin: where one begins, only those before it tell.
    pub(crate) fn open_portion(path: &Path, most: u64) -> Result<Self, TraceError> {
        let mut records = data::open(path)?;
        records.stop_after(most);
        Ok(Self::of(records))
    }

    /// Reads a file's bytes, which are not compressed; `file` is the name for messages.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if the head is damaged.
    pub fn of_bytes(bytes: Vec<u8>, file: &Path) -> Result<Self, TraceError> {
        data::of_bytes(bytes, file).map(Self::of)
    }

    fn of(records: Records) -> Self {
        Self { records, decoder: None, tasks: HashMap::new(), stats: Stats::default(), samples: 0 }
    }

    /// The decoder of tracepoints, once their descriptions were met.
    fn prepare(&mut self) -> Result<(), TraceError> {
        if let Some(bytes) = self.records.tracing.take() {
            self.decoder = Some(tracing::decoder(&bytes, self.records.path())?);
        }
        Ok(())
    }

    /// A record other than a sample.
    fn note(&mut self, record: &Pending) {
        let layout = self.records.layout;
        let word = |at: usize, size: usize| layout.number(record.bytes.get(at..at + size)?);
        match record.kind {
            COMM => {
                let name = record.bytes.get(8..).unwrap_or_default();
                let end = memchr::memchr(0, name).unwrap_or(name.len());
                if let Some(tid) = word(4, 4) {
                    self.name(tid as u32, Comm::new(name.get(..end).unwrap_or_default()));
                }
            }
            FORK => {
                if let (Some(tid), Some(parent)) = (word(8, 4), word(12, 4))
                    && let Some(&comm) = self.tasks.get(&(parent as u32))
                {
                    self.name(tid as u32, comm);
                }
            }
            LOST => self.lose(word(8, 8)),
            LOST_SAMPLES => self.lose(word(0, 8)),
            _ => {}
        }
    }

    fn name(&mut self, tid: u32, comm: Comm) {
        if self.tasks.len() < MOST_TASKS || self.tasks.contains_key(&tid) {
            self.tasks.insert(tid, comm);
        }
    }

    fn lose(&mut self, events: Option<u64>) {
        self.stats.lost_lines += 1;
        self.stats.lost_events = self.stats.lost_events.saturating_add(events.unwrap_or_default());
    }

    /// The name of a thread, as perf prints it.
    fn task(&self, tid: u32) -> Comm {
        match self.tasks.get(&tid) {
            Some(&comm) => comm,
            None if tid == 0 => Comm::new(b"swapper"),
            None => Comm::new(format!(":{tid}").as_bytes()),
        }
    }

    /// The event of a sample; `None` if it cannot be read.
    fn event(&mut self, attr: usize, sample: &Sample<'_>) -> Option<Event> {
        let attr = self.records.attrs.get(attr)?;
        if attr.kind == TRACEPOINT {
            let decoder = self.decoder.as_ref()?;
            let event = decoder.decode(sample.raw, &mut self.stats)?;
            if event == Event::Unknown {
                self.stats.unknown_record(self.samples, decoder.name(sample.raw));
            }
            return Some(event);
        }
        let name = name_of(attr);
        self.stats.count_other(name.as_bytes());
        if attr.is_page_fault() {
            return Some(Event::SoftwareFault { address: VirtAddr(sample.addr), ip: sample.ip });
        }
        self.stats.unknown_record(self.samples, name.as_bytes());
        Some(Event::Unknown)
    }
}

/// The name of an event that is no tracepoint.
fn name_of(attr: &Attr) -> String {
    match (&attr.name, attr.is_page_fault()) {
        (name, _) if !name.is_empty() => name.clone(),
        (_, true) => "page-faults".into(),
        _ => format!("event of type {}, config {:#x}", attr.kind, attr.config),
    }
}

impl EventReader for Reader {
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        while let Some(pending) = self.records.next()? {
            self.prepare()?;
            if pending.kind != SAMPLE {
                self.note(&pending);
                continue;
            }
            self.samples += 1;
            self.stats.bytes += pending.bytes.len() as u64;
            let layout = self.records.layout;
            let attr = self.records.attrs.get(pending.attr);
            let sample = attr.and_then(|attr| Sample::parse(attr, &pending.bytes, layout));
            let found = sample.and_then(|sample| Some((sample, self.event(pending.attr, &sample)?)));
            let Some((sample, event)) = found else {
                let what = format!("a sample of {} bytes", pending.bytes.len());
                self.stats.unparsable_record(self.samples, what.as_bytes());
                continue;
            };
            self.stats.records += 1;
            *record = Record {
                task: self.task(sample.tid),
                pid: sample.tid,
                cpu: CpuId(sample.cpu as u16),
                time_ns: pending.time,
                line: self.samples,
                event,
            };
            return Ok(true);
        }
        Ok(false)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn release(&self) -> Option<&str> {
        self.records.release.as_deref()
    }

    fn portion(&self) -> Option<Portion> {
        let (read, of) = self.records.part()?;
        let span = self.records.span;
        Some(Portion { span, ..Portion::of_records(self.stats.records, read, of) })
    }
}
