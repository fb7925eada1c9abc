//! Looking for the blocks of a file whose index is damaged or missing.

use std::io::{self, Read, Seek};

use super::Damage;
use super::file::{payload, read_at};
use super::layout::{
    self, BLOCK_HEADER, BLOCK_MAGIC, BlockHeader, FILE_HEADER, IndexEntry, TRAILER, Trailer,
};

/// Bytes looked through at once.
const STRIDE: usize = 1 << 16;
/// Damaged places that are described.
const MOST_DAMAGE: usize = 16;

/// The whole blocks of a file of `len` bytes; damaged places, the first ones; and how many those are.
pub(super) fn blocks<R: Read + Seek>(
    file: &mut R,
    len: u64,
) -> io::Result<(Vec<IndexEntry>, Vec<Damage>, u64)> {
    let mut scan =
        Scan { file, len, entries: Vec::new(), damage: Vec::new(), damaged: 0, buffer: Vec::new() };
    let mut at = FILE_HEADER as u64;
    while at < len {
        at = scan.step(at)?;
    }
    Ok((scan.entries, scan.damage, scan.damaged))
}

struct Scan<'a, R> {
    file: &'a mut R,
    len: u64,
    entries: Vec<IndexEntry>,
    damage: Vec<Damage>,
    damaged: u64,
    buffer: Vec<u8>,
}

impl<R: Read + Seek> Scan<'_, R> {
    /// Takes what is at a place; where the next thing may be.
    fn step(&mut self, at: u64) -> io::Result<u64> {
        let damage = match payload(self.file, at, &mut self.buffer)? {
            Ok(header) => {
                self.entries.push(IndexEntry::of(&header, at));
                return Ok(at + BLOCK_HEADER as u64 + u64::from(header.stored));
            }
            Err(damage) => damage,
        };
        let bytes = read_at(self.file, at, FILE_HEADER.max(TRAILER))?;
        if Trailer::from_bytes(&bytes, at).is_ok() {
            return Ok(at + TRAILER as u64);
        }
        if layout::check_file_header(&bytes).is_ok() {
            self.note(Damage::new(at, "the header of another .dxt file", "a block"));
            return Ok(at + FILE_HEADER as u64);
        }
        let next = self.next_block(at + 1)?;
        let expected = format!("{}; {} bytes are left out", damage.expected, next - at);
        self.note(Damage { expected, ..damage });
        Ok(next)
    }

    fn note(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damage.len() < MOST_DAMAGE {
            self.damage.push(damage);
        }
    }

    /// Where the next header of a block is, or of another file; the end of the file if there is none.
    fn next_block(&mut self, mut at: u64) -> io::Result<u64> {
        while at < self.len {
            let bytes = read_at(self.file, at, STRIDE + BLOCK_HEADER)?;
            let window = bytes.get(..bytes.len().min(STRIDE + BLOCK_MAGIC.len() - 1)).unwrap_or_default();
            for found in memchr::memmem::find_iter(window, &BLOCK_MAGIC) {
                let place = at + found as u64;
                if BlockHeader::from_bytes(bytes.get(found..).unwrap_or_default(), place).is_ok() {
                    return Ok(place);
                }
            }
            at += STRIDE as u64;
        }
        Ok(self.len)
    }
}
