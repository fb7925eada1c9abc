//! The blocks of a file: by its index, or by looking for them if that is damaged.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::columns::Unpacker;
use super::layout::{
    self, BLOCK_HEADER, BlockHeader, FILE_HEADER, INDEX_ENTRY, IndexEntry, Kind, ORDERED, TRAILER, Trailer,
};
use super::scan;
use super::writer::ONLY;
use super::{BLOCK_BYTES, Damage, Description};
use crate::TraceError;
use crate::open::Compression;

/// Damaged places of a file that are described; the others are counted.
const MOST_DAMAGE: usize = 16;

/// A block of accesses or of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub offset: u64,
    /// Whose accesses.
    pub thread: u32,
    /// How many.
    pub records: u32,
    /// Bytes in the file, its header aside.
    pub stored: u32,
    /// Instructions begun in it; of lines, the bytes of their text.
    pub instructions: u64,
    /// Accesses or lines of the file before it.
    pub first: u64,
    /// Of accesses: it says where they stand among those of all threads.
    pub ordered: bool,
}

impl Block {
    const fn of(entry: &IndexEntry) -> Self {
        Self {
            offset: entry.offset,
            thread: entry.thread,
            records: entry.records,
            stored: entry.stored,
            instructions: entry.instructions,
            first: entry.first,
            ordered: entry.flags & ORDERED != 0,
        }
    }
}

/// A file whose blocks are known.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    blocks: Vec<Block>,
    lines: Vec<Block>,
    description: Option<Description>,
    damage: Vec<Damage>,
    damaged: u64,
}

impl File {
    /// Finds the blocks of a file. What is damaged is noted; the blocks that are whole can be read all the same.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if the file cannot be read, is no `.dxt`, or of another version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let mut file =
            fs::File::open(path).map_err(|source| TraceError::Io { file: path.to_owned(), source })?;
        Self::find(&mut file, path)
    }

    /// The same of bytes that are open already; messages name `path`.
    ///
    /// # Errors
    ///
    /// As [`File::open`].
    pub fn find<R: Read + Seek>(file: &mut R, path: &Path) -> Result<Self, TraceError> {
        let cannot = |source| TraceError::Io { file: path.to_owned(), source };
        let mut found = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            lines: Vec::new(),
            description: None,
            damage: Vec::new(),
            damaged: 0,
        };
        let mut header = Vec::with_capacity(FILE_HEADER);
        file.by_ref().take(FILE_HEADER as u64).read_to_end(&mut header).map_err(cannot)?;
        if header.is_empty() {
            return Err(TraceError::Empty { file: path.to_owned() });
        }
        if let Err(damage) = layout::check_file_header(&header) {
            let compression = Compression::of(&header);
            if compression != Compression::None {
                let what = format!("a file compressed with {compression}");
                let expected = "the .dxt itself, which is compressed already";
                return Err(found.malformed(Damage::new(0, what, expected)));
            }
            // Without its mark, or with another version, it is something else.
            if damage.offset == 8 || !header.starts_with(&layout::MAGIC) {
                return Err(found.malformed(damage));
            }
            found.note(damage);
        }
        let len = file.seek(SeekFrom::End(0)).map_err(cannot)?;
        match indexed(file, len).map_err(cannot)? {
            Ok(entries) => found.take(file, &entries).map_err(cannot)?,
            Err(damage) => {
                found.note(damage);
                let (entries, damage, damaged) = scan::blocks(file, len).map_err(cannot)?;
                damage.into_iter().for_each(|damage| found.keep(damage));
                found.damaged += damaged;
                found.take(file, &entries).map_err(cannot)?;
            }
        }
        Ok(found)
    }

    /// Notes a damaged place.
    fn note(&mut self, damage: Damage) {
        self.damaged += 1;
        self.keep(damage);
    }

    fn keep(&mut self, damage: Damage) {
        if self.damage.len() < MOST_DAMAGE {
            self.damage.push(damage);
        }
    }

    fn take<R: Read + Seek>(&mut self, file: &mut R, entries: &[IndexEntry]) -> io::Result<()> {
        for entry in entries {
            match Kind::from_number(entry.kind) {
                Some(Kind::Accesses) => self.blocks.push(Block::of(entry)),
                Some(Kind::Lines) => self.lines.push(Block::of(entry)),
                Some(Kind::Description) => match only_column(file, entry.offset)? {
                    Ok((_, text)) => {
                        self.description = Some(Description::from_text(&String::from_utf8_lossy(&text)));
                    }
                    Err(damage) => self.note(damage),
                },
                // Kinds of minor versions to come say nothing that is needed.
                Some(Kind::Index) | None => {}
            }
        }
        Ok(())
    }

    pub(super) fn malformed(&self, damage: Damage) -> TraceError {
        let Damage { offset, found, expected } = damage;
        TraceError::Malformed { file: self.path.clone(), offset, found, expected }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its blocks of accesses, in order.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Its blocks of text, in order: `instructions` are the bytes of each.
    #[must_use]
    pub fn lines(&self) -> &[Block] {
        &self.lines
    }

    /// What it says of itself.
    #[must_use]
    pub const fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Its threads, in order.
    #[must_use]
    pub fn threads(&self) -> Vec<u32> {
        let threads: std::collections::BTreeSet<u32> = self.blocks.iter().map(|block| block.thread).collect();
        threads.into_iter().collect()
    }

    /// Whether it says in which order its threads made their accesses.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.blocks.iter().all(|block| block.ordered)
    }

    /// Damaged places found so far, the first ones. Blocks are checked when they are read.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// How many damaged places were found.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// The entries of the index, if all of it is as it should be.
fn indexed<R: Read + Seek>(file: &mut R, len: u64) -> io::Result<Result<Vec<IndexEntry>, Damage>> {
    let end = len.saturating_sub(TRAILER as u64);
    let bytes = read_at(file, end, TRAILER)?;
    let trailer = match Trailer::from_bytes(&bytes, end) {
        Ok(trailer) => trailer,
        Err(damage) => return Ok(Err(damage)),
    };
    // An index is no longer than the file that it is of.
    if trailer.index > end || trailer.blocks > len / BLOCK_HEADER as u64 {
        let found = format!("an index of {} blocks at byte {}", trailer.blocks, trailer.index);
        return Ok(Err(Damage::new(end, found, "one within the file")));
    }
    let mut entries = Vec::new();
    let mut at = trailer.index;
    for _ in 0..trailer.index_blocks {
        match only_column(file, at)? {
            Ok((header, bytes)) if header.kind == Kind::Index as u8 => {
                entries.extend(bytes.chunks_exact(INDEX_ENTRY).map(IndexEntry::from_bytes));
                at += (BLOCK_HEADER + header.stored as usize) as u64;
            }
            Ok((header, _)) => {
                return Ok(Err(Damage::new(
                    at,
                    format!("a block of kind {}", header.kind),
                    "one of the index",
                )));
            }
            Err(damage) => return Ok(Err(damage)),
        }
        if at > end || entries.len() as u64 > trailer.blocks {
            break;
        }
    }
    Ok(check_index(&entries, &trailer, at, end).map(|()| entries))
}

/// Whether the index fills the place up to the file's last bytes, and its blocks that before it.
fn check_index(entries: &[IndexEntry], trailer: &Trailer, at: u64, end: u64) -> Result<(), Damage> {
    if at != end || entries.len() as u64 != trailer.blocks {
        let found = format!("an index of {} blocks that ends at byte {at}", entries.len());
        return Err(Damage::new(
            trailer.index,
            found,
            format!("{} blocks, ending at byte {end}", trailer.blocks),
        ));
    }
    let mut next = FILE_HEADER as u64;
    for (number, entry) in entries.iter().enumerate() {
        if entry.offset != next || entry.stored as usize > BLOCK_BYTES {
            let found = format!("block {number} at byte {} with {} bytes", entry.offset, entry.stored);
            return Err(Damage::new(
                trailer.index,
                found,
                format!("one at byte {next} of at most {BLOCK_BYTES}"),
            ));
        }
        next += BLOCK_HEADER as u64 + u64::from(entry.stored);
    }
    if next != trailer.index {
        return Err(Damage::new(
            trailer.index,
            format!("blocks up to byte {next}"),
            "blocks up to the index",
        ));
    }
    Ok(())
}

/// The header at a place and the bytes after it, checked.
pub(super) fn payload<R: Read + Seek>(
    file: &mut R,
    offset: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<BlockHeader, Damage>> {
    let bytes = read_at(file, offset, BLOCK_HEADER)?;
    let header = match BlockHeader::from_bytes(&bytes, offset) {
        Ok(header) => header,
        Err(damage) => return Ok(Err(damage)),
    };
    let len = header.stored as usize;
    buffer.clear();
    file.by_ref().take(len as u64).read_to_end(buffer)?;
    if buffer.len() < len {
        let found = format!("{} bytes of the block and the end of the file", buffer.len());
        return Ok(Err(Damage::new(offset, found, format!("{len} bytes"))));
    }
    Ok(layout::check_sum(buffer, header.sum, offset, "the block").map(|()| header))
}

/// The column of a block that has only one.
fn only_column<R: Read + Seek>(
    file: &mut R,
    offset: u64,
) -> io::Result<Result<(BlockHeader, Vec<u8>), Damage>> {
    let mut buffer = Vec::new();
    let header = match payload(file, offset, &mut buffer)? {
        Ok(header) => header,
        Err(damage) => return Ok(Err(damage)),
    };
    let mut columns = Unpacker::new()?;
    let unpacked = columns.unpack(&buffer, header.columns, header.raw, offset, u8::MAX);
    Ok(unpacked.map(|()| (header, columns.get(ONLY).to_vec())))
}

/// Bytes at a place; fewer at the end of the file.
pub(super) fn read_at<R: Read + Seek>(file: &mut R, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(len);
    file.by_ref().take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
