//! The records of a file, decompressed and in the order of time.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::attr::Attr;
use super::order::{Order, Pending};
use super::{data, sample};
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Bytes of the header of what a pipe carries; it tells one from a file.
pub(super) const PIPE_HEADER: u64 = 16;
/// Kinds of records of the kernel.
pub(super) const LOST: u32 = 2;
pub(super) const COMM: u32 = 3;
pub(super) const FORK: u32 = 7;
pub(super) const SAMPLE: u32 = 9;
pub(super) const LOST_SAMPLES: u32 = 13;
/// Kinds of records of perf itself, from 64 on.
const PERF_ITSELF: u32 = 64;
pub(super) const HEADER_ATTR: u64 = 64;
const HEADER_TRACING_DATA: u32 = 66;
const FINISHED_ROUND: u32 = 68;
const AUXTRACE: u32 = 71;
const EVENT_UPDATE: u32 = 78;
const HEADER_FEATURE: u32 = 80;
const COMPRESSED: u32 = 81;
const COMPRESSED2: u32 = 83;
/// `PERF_EVENT_UPDATE__NAME`.
const UPDATE_NAME: u64 = 2;
/// Bytes of a record's head.
const HEAD: usize = 8;
/// Bytes that are decompressed at a time.
const SOME: usize = 256 << 10;
/// Largest descriptions of events.
const LARGEST_TRACING: u64 = 256 << 20;
/// Most attributes of a pipe.
const MOST_ATTRS: usize = 1 << 16;

/// Compressed bytes, and what came out of them that is no whole record yet.
struct Packed {
    decoder: Decoder<'static>,
    input: Vec<u8>,
    at: usize,
    carry: Vec<u8>,
}

/// Reads records one after another.
pub(super) struct Records {
    input: BufReader<Store>,
    pub layout: Layout,
    place: u64,
    end: Option<u64>,
    pub attrs: Vec<Attr>,
    by_id: HashMap<u64, usize>,
    /// Descriptions of tracepoints.
    pub tracing: Option<Vec<u8>>,
    /// Release of the kernel.
    pub release: Option<String>,
    /// Times of the first and last sample, in ns, as the file says.
    pub span: Option<(u64, u64)>,
    /// Where the records begin, and where the reading stops, if not at their end.
    begin: u64,
    stop: Option<u64>,
    order: Order,
    packed: Option<Packed>,
    number: u64,
    started: bool,
    damage: Option<TraceError>,
    unfinished: bool,
}

impl Records {
    pub fn new(store: Store, layout: Layout, place: u64, end: Option<u64>) -> Self {
        Self {
            input: BufReader::with_capacity(256 << 10, store),
            layout,
            place,
            end,
            attrs: Vec::new(),
            by_id: HashMap::new(),
            tracing: None,
            release: None,
            span: None,
            begin: place,
            stop: None,
            order: Order::default(),
            packed: None,
            number: 0,
            started: false,
            damage: None,
            unfinished: false,
        }
    }

    pub fn path(&self) -> &Path {
        self.input.get_ref().path()
    }

    pub fn set_attrs(&mut self, attrs: Vec<Attr>) {
        self.attrs.clear();
        for attr in attrs {
            self.add_attr(attr);
        }
    }

    fn add_attr(&mut self, attr: Attr) {
        if self.attrs.len() < MOST_ATTRS {
            self.by_id.extend(attr.ids.iter().map(|&id| (id, self.attrs.len())));
            self.attrs.push(attr);
        }
    }

    /// Reads about `most` bytes from the begin on.
    pub fn stop_after(&mut self, most: u64) {
        if self.all() > most {
            self.stop = Some(self.begin.saturating_add(most));
        }
    }

    /// Bytes of all records.
    fn all(&self) -> u64 {
        let len = self.input.get_ref().len();
        self.end.unwrap_or(len).min(len).saturating_sub(self.begin)
    }

    /// How many bytes of records were read, of how many, if not all are to be.
    pub fn part(&self) -> Option<(u64, u64)> {
        self.stop.map(|_| (self.place.saturating_sub(self.begin), self.all()))
    }

    /// The file was not closed by perf.
    pub const fn note_unfinished(&mut self) {
        self.unfinished = true;
    }

    /// Raises an error again at the next record.
    pub fn keep(&mut self, error: TraceError) {
        self.damage = Some(error);
    }

    /// The next record of the kernel, in the order of time.
    pub fn next(&mut self) -> Result<Option<Pending>, TraceError> {
        loop {
            if let Some(record) = self.order.pop() {
                return Ok(Some(record));
            }
            if self.damage.is_none() && !self.order.has_ended() {
                match self.step() {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => self.damage = Some(error),
                }
                // What was read before damage is handed out.
                self.order.end();
                continue;
            }
            let cut = self.input.get_mut().take_damage();
            return match cut.or_else(|| self.damage.take()) {
                Some(damage) => Err(damage),
                None => Ok(None),
            };
        }
    }

    /// Reads one record, or some of what a compressed one holds; `false` at the end.
    fn step(&mut self) -> Result<bool, TraceError> {
        if !self.started {
            self.started = true;
            let seek = self.input.seek(SeekFrom::Start(self.place));
            seek.map_err(|e| TraceError::from_io(e, self.path()))?;
        }
        if self.packed.as_ref().is_some_and(|packed| packed.at < packed.input.len()) {
            return self.unpack().map(|()| true);
        }
        if self.stop.is_some_and(|stop| self.place >= stop) {
            return Ok(false);
        }
        let end = self.end.unwrap_or(u64::MAX).min(self.input.get_ref().len());
        if self.place >= end {
            return self.at_end(end);
        }
        let mut head = [0; HEAD];
        self.fill(&mut head, end)?;
        let (kind, size) = self.head(&head);
        if size < HEAD {
            return Err(self.malformed(format!("a record of {size} bytes"), format!("at least {HEAD}")));
        }
        let mut bytes = vec![0; size - HEAD];
        self.fill(&mut bytes, end)?;
        self.take(kind, bytes, end)?;
        Ok(true)
    }

    /// The end of the data: that of the file where it should be.
    fn at_end(&self, end: u64) -> Result<bool, TraceError> {
        if self.unfinished {
            let expected =
                "a file that perf record could close (its length and what follows the data are missing)";
            return Err(self.malformed("the end of an unfinished file".into(), expected.into()));
        }
        match self.end {
            Some(said) if said > end => {
                let found = format!("the end of the file {} bytes early", said - end);
                Err(self.malformed(found, format!("data up to byte {said}")))
            }
            _ => Ok(false),
        }
    }

    /// A record's kind and its length.
    fn head(&self, head: &[u8]) -> (u32, usize) {
        let word = |from, to| self.layout.number(head.get(from..to).unwrap_or_default()).unwrap_or_default();
        (word(0, 4) as u32, word(6, 8) as usize)
    }

    fn fill(&mut self, bytes: &mut [u8], end: u64) -> Result<(), TraceError> {
        let left = end.saturating_sub(self.place);
        if bytes.len() as u64 > left {
            let found = format!("{left} bytes to the end of the data");
            return Err(self.malformed(found, format!("{}, the rest of a record", bytes.len())));
        }
        let read = self.input.read_exact(bytes);
        read.map_err(|e| TraceError::from_io(e, self.path()))?;
        self.place += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, count: u64, end: u64) -> Result<(), TraceError> {
        let left = end.saturating_sub(self.place);
        if count > left {
            return Err(self.malformed(format!("{count} bytes behind a record"), format!("at most {left}")));
        }
        let skip = self.input.seek_relative(count.min(i64::MAX as u64) as i64);
        skip.map_err(|e| TraceError::from_io(e, self.path()))?;
        self.place += count;
        Ok(())
    }

    /// Uses a record of the file.
    fn take(&mut self, kind: u32, bytes: Vec<u8>, end: u64) -> Result<(), TraceError> {
        let first =
            |size: usize| self.layout.number(bytes.get(..size).unwrap_or_default()).unwrap_or_default();
        match kind {
            HEADER_TRACING_DATA => {
                let size = first(4);
                if size > LARGEST_TRACING || size > end.saturating_sub(self.place) {
                    let found = format!("descriptions of {size} bytes");
                    return Err(self.malformed(found, format!("at most {LARGEST_TRACING}, in the file")));
                }
                let mut tracing = vec![0; size as usize];
                self.fill(&mut tracing, end)?;
                self.tracing = Some(tracing);
                Ok(())
            }
            AUXTRACE => {
                let size = first(8);
                self.skip(size, end)
            }
            COMPRESSED => self.begin_unpack(&bytes),
            COMPRESSED2 => {
                let size = first(8);
                let packed = usize::try_from(size).ok().and_then(|size| bytes.get(8..)?.get(..size));
                let Some(packed) = packed else {
                    let found = format!("{size} compressed bytes in a record of {}", bytes.len());
                    return Err(self.malformed(found, "no more than it has".into()));
                };
                self.begin_unpack(packed)
            }
            _ => {
                self.enqueue(kind, bytes);
                Ok(())
            }
        }
    }

    /// Uses a record that may be compressed.
    fn enqueue(&mut self, kind: u32, bytes: Vec<u8>) {
        self.number += 1;
        match kind {
            FINISHED_ROUND => self.order.end_round(),
            _ if u64::from(kind) == HEADER_ATTR => self.attr(&bytes),
            EVENT_UPDATE => self.update(&bytes),
            HEADER_FEATURE => {
                let feature = self.layout.number(bytes.get(..8).unwrap_or_default());
                if feature == Some(u64::from(data::OSRELEASE)) {
                    self.release = data::string(bytes.get(8..).unwrap_or_default(), self.layout);
                }
            }
            _ if kind >= PERF_ITSELF => {}
            _ => {
                let is_sample = kind == SAMPLE;
                let id = self.attrs.first().and_then(|a| sample::id_of(a, is_sample, &bytes, self.layout));
                let attr = id.and_then(|id| self.by_id.get(&id).copied()).unwrap_or(0);
                let time =
                    self.attrs.get(attr).and_then(|a| sample::time_of(a, is_sample, &bytes, self.layout));
                self.order.push(Pending { time: 0, number: self.number, kind, attr, bytes }, time);
            }
        }
    }

    /// An attribute in a stream, with its ids.
    fn attr(&mut self, bytes: &[u8]) {
        let Some(size) = Attr::size(bytes, self.layout).filter(|&size| size <= bytes.len()) else { return };
        let (attr, ids) = bytes.split_at(size);
        if let Some(mut attr) = Attr::parse(attr, self.layout) {
            attr.ids = ids.chunks_exact(8).filter_map(|id| self.layout.number(id)).collect();
            self.add_attr(attr);
        }
    }

    /// The name of an event in a stream.
    fn update(&mut self, bytes: &[u8]) {
        let word = |at: usize| self.layout.number(bytes.get(at..at + 8)?);
        let (Some(UPDATE_NAME), Some(id), Some(name)) = (word(0), word(8), bytes.get(16..)) else { return };
        let end = memchr::memchr(0, name).unwrap_or(name.len());
        if let Some(attr) = self.by_id.get(&id).and_then(|&at| self.attrs.get_mut(at)) {
            attr.name = String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned();
        }
    }

    fn begin_unpack(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        if self.packed.is_none() {
            let decoder = Decoder::new().map_err(|e| TraceError::from_io(e, self.path()))?;
            self.packed = Some(Packed { decoder, input: Vec::new(), at: 0, carry: Vec::new() });
        }
        if let Some(packed) = &mut self.packed {
            packed.input.clear();
            packed.input.extend_from_slice(bytes);
            packed.at = 0;
        }
        Ok(())
    }

    /// Decompresses some bytes and takes the whole records in them.
    fn unpack(&mut self) -> Result<(), TraceError> {
        let Some(mut packed) = self.packed.take() else { return Ok(()) };
        let had = packed.carry.len();
        packed.carry.resize(had + SOME, 0);
        let (used, made) = {
            let mut input = InBuffer::around(packed.input.get(packed.at..).unwrap_or_default());
            let mut output = OutBuffer::around(packed.carry.get_mut(had..).unwrap_or_default());
            if let Err(error) = packed.decoder.run(&mut input, &mut output) {
                return Err(
                    self.malformed(format!("damaged compressed records ({error})"), "zstd data".into())
                );
            }
            (input.pos(), output.pos())
        };
        packed.carry.truncate(had + made);
        packed.at += used;
        if used == 0 && made == 0 {
            return Err(self.malformed("compressed records that do not end".into(), "zstd data".into()));
        }
        let mut at = 0;
        while let Some(head) = packed.carry.get(at..at + HEAD) {
            let (kind, size) = self.head(head);
            if size < HEAD {
                return Err(self.malformed(format!("a record of {size} bytes"), format!("at least {HEAD}")));
            }
            let Some(bytes) = packed.carry.get(at + HEAD..at + size) else { break };
            self.enqueue(kind, bytes.to_vec());
            at += size;
        }
        packed.carry.drain(..at);
        self.packed = Some(packed);
        Ok(())
    }

    fn malformed(&self, found: String, expected: String) -> TraceError {
        self.input.get_ref().malformed(self.place, found, expected)
    }
}
