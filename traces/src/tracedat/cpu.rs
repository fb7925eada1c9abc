//! The events of one CPU, page after page.

use super::compression::Method;
use super::damage::Damage;
use super::head::{CpuData, PageHead};
use super::page::{self, Cursor, Found};
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Largest page of a ring buffer: sub-buffers may be larger than a page of memory.
const LARGEST_PAGE: usize = 1 << 20;
/// Bytes of the number of chunks, and of each of the two lengths of a chunk.
const WORD: u64 = 4;

/// One CPU's events. What is damaged is left out and noted; what comes behind it is read.
pub(super) struct Cpu {
    pub data: CpuData,
    head: PageHead,
    layout: Layout,
    /// Place in the file of what comes next, and bytes left there.
    next: u64,
    left: u64,
    /// Chunks left, of compressed data.
    chunks: u64,
    /// Of so many pages or chunks one is read, and the last.
    stride: u64,
    /// Bytes of pages, as stored, that were read.
    pub read: u64,
    /// Events that were handed out.
    pub events: u64,
    /// A page, or the pages of a chunk.
    bytes: Vec<u8>,
    /// Begin of the current page in `bytes`.
    page: usize,
    cursor: Cursor,
    /// Events lost, as the pages say, and gaps without a number.
    pub lost: u64,
    pub gaps: u64,
}

impl Cpu {
    /// Prepares to read one page of `stride`.
    pub fn new(
        data: CpuData,
        (head, layout): (PageHead, Layout),
        stride: u64,
        store: &mut Store,
        damage: &mut Damage,
    ) -> Self {
        let (next, left) = (data.offset, data.size);
        let mut cpu = Self {
            next,
            left,
            chunks: 0,
            stride: stride.max(1),
            read: 0,
            events: 0,
            data,
            head,
            layout,
            bytes: Vec::new(),
            page: 0,
            cursor: Cursor::default(),
            lost: 0,
            gaps: 0,
        };
        if left > 0 && !(head.data + 8..=LARGEST_PAGE).contains(&cpu.data.page) {
            let found = format!("pages of {} bytes", cpu.data.page);
            cpu.give_up(store.malformed(next, found, format!("at most {LARGEST_PAGE}")), damage);
        } else if cpu.data.method != Method::None && left > 0 {
            match cpu.word(store) {
                Ok(chunks) => cpu.chunks = chunks,
                Err(error) => cpu.give_up(error, damage),
            }
            // trace-cmd does not count that number among the bytes.
            cpu.left = if cpu.chunks > 0 { left } else { 0 };
        }
        cpu
    }

    /// Leaves out all that is left.
    fn give_up(&mut self, error: TraceError, damage: &mut Damage) {
        damage.note(error, self.left);
        self.left = 0;
        self.chunks = 0;
    }

    /// The next event.
    pub fn next(&mut self, store: &mut Store, damage: &mut Damage) -> Option<Found> {
        loop {
            let page = self.bytes.get(self.page..).unwrap_or_default();
            let page = page.get(..self.data.page.min(page.len())).unwrap_or_default();
            match self.cursor.next(page, self.layout) {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(at) => {
                    let found = format!("an event of CPU {} that is longer than its page", self.data.cpu);
                    let offset = self.next.saturating_sub((self.bytes.len() - self.page) as u64) + at as u64;
                    let error = store.malformed(offset, found, "events within pages".into());
                    damage.note(error, self.cursor.rest());
                    self.cursor = Cursor::default();
                }
            }
            if !self.next_page(store, damage) {
                return None;
            }
        }
    }

    /// The bytes of an event that was found in the current page.
    pub fn event(&self, found: Found) -> &[u8] {
        self.bytes.get(self.page + found.start..self.page + found.end).unwrap_or_default()
    }

    /// Goes to the next page; `false` if there is none.
    fn next_page(&mut self, store: &mut Store, damage: &mut Damage) -> bool {
        self.page += self.data.page;
        self.cursor = Cursor::default();
        if self.page >= self.bytes.len() && !self.fill(store, damage) {
            return false;
        }
        let page = self.bytes.get(self.page..).unwrap_or_default();
        let page = page.get(..self.data.page.min(page.len())).unwrap_or_default();
        let Some((cursor, missed)) = page::begin(page, self.head, self.layout) else {
            let found = format!("a page of CPU {} with more data than it is long", self.data.cpu);
            let begin = self.next.saturating_sub((self.bytes.len() - self.page) as u64);
            let error = store.malformed(begin, found, format!("pages of {} bytes", self.data.page));
            damage.note(error, page.len() as u64);
            return true;
        };
        self.cursor = cursor;
        match missed {
            Some(Some(events)) => self.lost = self.lost.saturating_add(events),
            Some(None) => self.gaps += 1,
            None => {}
        }
        true
    }

    /// Reads the next page or chunk that can be used; `false` if there is none.
    fn fill(&mut self, store: &mut Store, damage: &mut Damage) -> bool {
        self.page = 0;
        self.bytes.clear();
        if self.data.method == Method::None {
            return self.fill_page(store, damage);
        }
        while self.chunks > 0 {
            self.chunks -= 1;
            if let Err(error) = self.fill_chunk(store, damage) {
                self.give_up(error, damage);
            }
            if !self.bytes.is_empty() {
                return true;
            }
        }
        false
    }

    fn fill_page(&mut self, store: &mut Store, damage: &mut Damage) -> bool {
        let page = self.data.page as u64;
        if self.stride > 1 && self.read > 0 && self.left > page {
            let skipped = (self.stride - 1).min((self.left - 1) / page);
            self.advance(skipped * page);
        }
        let size = self.left.min(page);
        if size == 0 {
            return false;
        }
        if self.next.saturating_add(size) > store.len() {
            self.give_up(self.end_of_file(store, "a page"), damage);
            return false;
        }
        self.bytes.resize(size as usize, 0);
        if let Err(error) = store.read_at(self.next, &mut self.bytes) {
            self.bytes.clear();
            self.give_up(error, damage);
            return false;
        }
        self.read += size;
        self.advance(size);
        true
    }

    /// Reads a chunk, or leaves it out if it is damaged; an error is one that nothing can be read behind.
    fn fill_chunk(&mut self, store: &mut Store, damage: &mut Damage) -> Result<(), TraceError> {
        if self.left < 2 * WORD {
            let found =
                format!("{} bytes left for {} chunks of CPU {}", self.left, self.chunks + 1, self.data.cpu);
            return Err(store.malformed(self.next, found, "chunks within the CPU's data".into()));
        }
        let (packed, plain) = (self.word(store)?, self.word(store)?);
        let place = self.next;
        if packed > self.left {
            let found = format!("a chunk of {packed} bytes of CPU {}", self.data.cpu);
            return Err(store.malformed(place, found, format!("at most the {} of its data", self.left)));
        }
        if place.saturating_add(packed) > store.len() {
            return Err(self.end_of_file(store, "a chunk"));
        }
        if self.stride > 1 && self.read > 0 && self.chunks > 0 && !self.chunks.is_multiple_of(self.stride) {
            self.advance(packed);
            return Ok(());
        }
        let mut bytes = vec![0; packed as usize];
        store.read_at(place, &mut bytes)?;
        self.advance(packed);
        match self.data.method.decompress(&bytes, plain) {
            Ok(bytes) => self.bytes = bytes,
            Err(found) => damage.note(self.data.method.damaged(store.path(), place, found), packed),
        }
        self.read += packed;
        Ok(())
    }

    /// The file is cut in the middle of this CPU's data.
    fn end_of_file(&self, store: &Store, what: &str) -> TraceError {
        let found = format!(
            "the end of the file in {what} of CPU {}, {} bytes behind its begin",
            self.data.cpu,
            store.len().saturating_sub(self.next)
        );
        store.malformed(store.len(), found, format!("{} bytes of that CPU's data", self.left))
    }

    /// A number of 4 bytes.
    fn word(&mut self, store: &mut Store) -> Result<u64, TraceError> {
        let mut bytes = [0; WORD as usize];
        if self.next.saturating_add(WORD) > store.len() {
            return Err(self.end_of_file(store, "the chunks"));
        }
        store.read_at(self.next, &mut bytes)?;
        self.advance(WORD);
        Ok(self.layout.number(&bytes).unwrap_or_default())
    }

    const fn advance(&mut self, bytes: u64) {
        self.next = self.next.saturating_add(bytes);
        self.left = self.left.saturating_sub(bytes);
    }
}
