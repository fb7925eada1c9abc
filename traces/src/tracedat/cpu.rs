//! The events of one CPU, page after page.

use super::compression::Method;
use super::head::{CpuData, PageHead};
use super::page::{self, Cursor, Found};
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Largest page of a ring buffer: sub-buffers may be larger than a page of memory.
const LARGEST_PAGE: usize = 1 << 20;

/// One CPU's events.
pub(super) struct Cpu {
    pub data: CpuData,
    head: PageHead,
    layout: Layout,
    /// Place in the file of what comes next, and bytes left there.
    next: u64,
    left: u64,
    /// Chunks left, of compressed data.
    chunks: u64,
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
    pub fn new(data: CpuData, head: PageHead, layout: Layout, store: &mut Store) -> Result<Self, TraceError> {
        if data.size > 0 && !(head.data + 8..=LARGEST_PAGE).contains(&data.page) {
            let found = format!("pages of {} bytes", data.page);
            return Err(store.malformed(data.offset, found, format!("at most {LARGEST_PAGE}")));
        }
        let mut cpu = Self {
            next: data.offset,
            left: data.size,
            chunks: 0,
            data,
            head,
            layout,
            bytes: Vec::new(),
            page: 0,
            cursor: Cursor::default(),
            lost: 0,
            gaps: 0,
        };
        if cpu.data.method != Method::None && cpu.left > 0 {
            cpu.chunks = cpu.word(store)?;
        }
        Ok(cpu)
    }

    /// The next event.
    pub fn next(&mut self, store: &mut Store) -> Result<Option<Found>, TraceError> {
        loop {
            let page = self.bytes.get(self.page..).unwrap_or_default();
            let page = page.get(..self.data.page.min(page.len())).unwrap_or_default();
            match self.cursor.next(page, self.layout) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(at) => {
                    let found = format!("an event of CPU {} that is longer than its page", self.data.cpu);
                    let offset = self.next.saturating_sub((self.bytes.len() - self.page) as u64) + at as u64;
                    return Err(store.malformed(offset, found, "events within pages".into()));
                }
            }
            if !self.next_page(store)? {
                return Ok(None);
            }
        }
    }

    /// The bytes of an event that was found in the current page.
    pub fn event(&self, found: Found) -> &[u8] {
        self.bytes.get(self.page + found.start..self.page + found.end).unwrap_or_default()
    }

    /// Goes to the next page; `false` if there is none.
    fn next_page(&mut self, store: &mut Store) -> Result<bool, TraceError> {
        self.page += self.data.page;
        self.cursor = Cursor::default();
        if self.page >= self.bytes.len() && !self.fill(store)? {
            return Ok(false);
        }
        let page = self.bytes.get(self.page..).unwrap_or_default();
        let page = page.get(..self.data.page.min(page.len())).unwrap_or_default();
        let Some((cursor, missed)) = page::begin(page, self.head, self.layout) else {
            let found = format!("a page of CPU {} with more data than it is long", self.data.cpu);
            return Err(store.malformed(self.next, found, format!("pages of {} bytes", self.data.page)));
        };
        self.cursor = cursor;
        match missed {
            Some(Some(events)) => self.lost = self.lost.saturating_add(events),
            Some(None) => self.gaps += 1,
            None => {}
        }
        Ok(true)
    }

    /// Reads the next page or chunk; `false` if there is none.
    fn fill(&mut self, store: &mut Store) -> Result<bool, TraceError> {
        self.page = 0;
        if self.data.method == Method::None {
            let size = self.left.min(self.data.page as u64);
            self.bytes.clear();
            self.bytes.resize(size as usize, 0);
            store.read_at(self.next, &mut self.bytes)?;
            self.advance(size);
            return Ok(size > 0);
        }
        if self.chunks == 0 {
            self.bytes.clear();
            return Ok(false);
        }
        self.chunks -= 1;
        let (packed, plain) = (self.word(store)?, self.word(store)?);
        let place = self.next;
        let rest = store.len().saturating_sub(place);
        if packed > rest {
            let found = format!("a chunk of {packed} bytes of CPU {}", self.data.cpu);
            return Err(store.malformed(place, found, format!("at most the {rest} to the end of the file")));
        }
        let mut bytes = vec![0; packed as usize];
        store.read_at(place, &mut bytes)?;
        self.advance(packed);
        let method = self.data.method;
        self.bytes =
            method.decompress(&bytes, plain).map_err(|found| method.damaged(store.path(), place, found))?;
        Ok(true)
    }

    /// A number of 4 bytes.
    fn word(&mut self, store: &mut Store) -> Result<u64, TraceError> {
        let mut bytes = [0; 4];
        store.read_at(self.next, &mut bytes)?;
        self.advance(4);
        Ok(self.layout.number(&bytes).unwrap_or_default())
    }

    const fn advance(&mut self, bytes: u64) {
        self.next = self.next.saturating_add(bytes);
        self.left = self.left.saturating_sub(bytes);
    }
}
