//! Writing a file from front to back.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::accesses::Encoder;
use super::columns::{Packer, Payload};
use super::layout::{
    self, BLOCK_HEADER, BlockHeader, INDEX_ENTRY, IndexEntry, Kind, ORDERED, TRAILER, Trailer,
};
use super::{BLOCK_BYTES, BLOCK_RECORDS, BLOCK_TEXT, Description, lines, order};
use crate::access::{
    AccessBatch, AccessCounts, AccessRecord, ExtraCounts, Extras, OrderRun, Reading, Touched,
};

/// Most accesses held back, of all threads together.
const MOST_PENDING: usize = 16 * BLOCK_RECORDS;
/// The only column of a block of the description, and of the index.
pub(super) const ONLY: u8 = 1;

/// Accesses held back.
#[derive(Default)]
struct Pending {
    records: Vec<AccessRecord>,
    /// Where they stand among those of all threads, if that is known of all.
    order: Vec<OrderRun>,
    ordered: bool,
    extras: Extras,
}

/// Writes accesses as they come; nothing is ever written twice, so that the output need not seek.
pub struct Writer<W> {
    out: W,
    /// Bytes written.
    offset: u64,
    /// Accesses of each thread that do not fill a block yet.
    pending: BTreeMap<u32, Pending>,
    /// How many those are.
    held: usize,
    /// Accesses in blocks.
    written: u64,
    /// What they are, those held back included.
    counts: AccessCounts,
    extras: ExtraCounts,
    touched: Touched,
    index: Vec<IndexEntry>,
    encoder: Encoder,
    /// Text that does not fill a block yet, and its lines.
    text: Vec<u8>,
    lines: usize,
    /// Lines in blocks.
    lines_written: u64,
    line_encoder: lines::Encoder,
    packer: Packer,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn new(mut out: W) -> io::Result<Self> {
        let header = layout::file_header();
        out.write_all(&header)?;
        Ok(Self {
            out,
            offset: header.len() as u64,
            pending: BTreeMap::new(),
            held: 0,
            written: 0,
            counts: AccessCounts::default(),
            extras: ExtraCounts::default(),
            touched: Touched::default(),
            index: Vec::new(),
            encoder: Encoder::default(),
            text: Vec::new(),
            lines: 0,
            lines_written: 0,
            line_encoder: lines::Encoder::default(),
            packer: Packer::new()?,
        })
    }

    /// Adds the next accesses of a thread. Of where they stand among those of all threads, nothing is known.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn push(&mut self, thread: u32, records: &[AccessRecord]) -> io::Result<()> {
        self.push_runs(thread, records, &[], &Extras::default())
    }

    /// Adds the next accesses of a thread, with their order, and what else is known of them.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn push_batch(&mut self, batch: &AccessBatch) -> io::Result<()> {
        self.push_runs(batch.thread, &batch.records, &batch.order, &batch.extras)
    }

    fn push_runs(
        &mut self,
        thread: u32,
        mut records: &[AccessRecord],
        runs: &[OrderRun],
        extras: &Extras,
    ) -> io::Result<()> {
        self.counts.add(records);
        self.extras.add(extras);
        self.touched.add(records);
        let ordered = runs.iter().map(|run| run.count).sum::<u64>() == records.len() as u64;
        let mut done = 0;
        while !records.is_empty() {
            let pending = self.pending.entry(thread).or_default();
            let (now, later) = records.split_at(records.len().min(BLOCK_RECORDS - pending.records.len()));
            pending.ordered = ordered && (pending.ordered || pending.records.is_empty());
            pending.extras.append(pending.records.len(), extras, done as usize, now.len());
            pending.records.extend_from_slice(now);
            order::part(runs, done, now.len() as u64).for_each(|run| order::append(&mut pending.order, run));
            done += now.len() as u64;
            self.held += now.len();
            records = later;
            if pending.records.len() == BLOCK_RECORDS {
                self.flush(thread)?;
            }
        }
        while self.held > MOST_PENDING
            && let Some(thread) = self.fullest()
        {
            self.flush(thread)?;
        }
        Ok(())
    }

    /// Adds text: whole lines, or the last one of a file.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn push_text(&mut self, text: &[u8]) -> io::Result<()> {
        for line in lines::lines(text) {
            if self.lines == BLOCK_RECORDS || self.text.len() + line.len() > BLOCK_TEXT {
                self.flush_text()?;
            }
            self.text.extend_from_slice(line);
            self.lines += 1;
        }
        Ok(())
    }

    fn flush_text(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let (payload, records) = self.line_encoder.encode(&self.text, &mut self.packer)?;
        let (first, instructions) = (self.lines_written, self.text.len() as u64);
        let header = BlockHeader { records, first, instructions, ..header_of(Kind::Lines, &payload) };
        self.lines_written += u64::from(records);
        self.lines = 0;
        self.text.clear();
        self.block(header, &payload)
    }

    /// The thread with the most accesses held back, the first of those.
    fn fullest(&self) -> Option<u32> {
        let fullest = self
            .pending
            .iter()
            .max_by_key(|(thread, held)| (held.records.len(), std::cmp::Reverse(**thread)));
        fullest.map(|(thread, _)| *thread)
    }

    /// Writes what is held back of a thread.
    fn flush(&mut self, thread: u32) -> io::Result<()> {
        let Some(Pending { records, order, ordered, extras }) = self.pending.remove(&thread) else {
            return Ok(());
        };
        self.held -= records.len();
        if records.is_empty() {
            return Ok(());
        }
        let runs = if ordered { order.as_slice() } else { &[] };
        let payload = self.encoder.encode(&records, runs, &extras, &mut self.packer)?;
        let instructions = records.iter().map(|record| u64::from(record.gap)).sum();
        let header = BlockHeader {
            flags: if ordered { ORDERED } else { 0 },
            records: records.len() as u32,
            thread,
            first: self.written,
            instructions,
            ..header_of(Kind::Accesses, &payload)
        };
        self.written += records.len() as u64;
        self.block(header, &payload)
    }

    fn block(&mut self, header: BlockHeader, payload: &Payload) -> io::Result<()> {
        self.index.push(IndexEntry::of(&header, self.offset));
        self.out.write_all(&header.to_bytes())?;
        self.out.write_all(&payload.bytes)?;
        self.offset += (BLOCK_HEADER + payload.bytes.len()) as u64;
        Ok(())
    }

    /// Ends the file: what is held back, the description, the index. Returns the description and the length of the file.
    /// `source` and `name` say what it was made of, `reading` what its reader met.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn finish(mut self, source: &str, name: &str, reading: &Reading) -> io::Result<(Description, u64)> {
        while let Some((thread, _)) = self.pending.first_key_value() {
            self.flush(*thread)?;
        }
        self.flush_text()?;
        let description = Description::new(source, name, self.counts, &self.touched, reading);
        let description = Description { extras: self.extras, ..description };
        let text = description.to_text();
        let payload = self.packer.pack(&[(ONLY, text.as_bytes())])?;
        self.block(header_of(Kind::Description, &payload), &payload)?;
        let entries = std::mem::take(&mut self.index);
        let index = self.offset;
        let mut index_blocks = 0;
        for part in entries.chunks(BLOCK_BYTES / INDEX_ENTRY) {
            let bytes: Vec<u8> = part.iter().flat_map(|entry| entry.to_bytes()).collect();
            let payload = self.packer.pack(&[(ONLY, &bytes)])?;
            self.block(header_of(Kind::Index, &payload), &payload)?;
            index_blocks += 1;
        }
        let trailer = Trailer { index, blocks: entries.len() as u64, index_blocks };
        self.out.write_all(&trailer.to_bytes())?;
        self.out.flush()?;
        Ok((description, self.offset + TRAILER as u64))
    }
}

fn header_of(kind: Kind, payload: &Payload) -> BlockHeader {
    BlockHeader {
        kind: kind as u8,
        flags: 0,
        columns: payload.columns,
        stored: payload.bytes.len() as u32,
        raw: payload.raw,
        records: 0,
        thread: 0,
        first: 0,
        instructions: 0,
        sum: crc32fast::hash(&payload.bytes),
    }
}
