//! The columns of a block: each compressed by itself, with a table of their lengths before them.

use super::layout::Fields;
use super::{BLOCK_BYTES, Damage};

/// Bytes of an entry of the table.
const ENTRY: usize = 12;
/// Most columns of a block.
const MOST: usize = 16;
/// zstd's level: that of its own command. Higher ones gain a twentieth and take twice as long.
const LEVEL: i32 = 3;
/// Columns shorter than this are stored as they are.
const WORTH: usize = 64;

/// How a column is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Codec {
    Stored = 0,
    Zstd = 1,
}

/// Puts columns into the payload of a block.
pub(super) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
}

/// The payload of a block.
pub(super) struct Payload {
    pub bytes: Vec<u8>,
    pub columns: u16,
    /// Bytes of all columns before compression.
    pub raw: u32,
}

impl Packer {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL)? })
    }

    /// The payload of columns, by their ids. Empty ones are left out.
    pub(super) fn pack(&mut self, columns: &[(u8, &[u8])]) -> std::io::Result<Payload> {
        let mut table = Vec::with_capacity(MOST * ENTRY);
        let mut body = Vec::new();
        let mut raw = 0;
        let mut count = 0;
        for (id, column) in columns.iter().filter(|(_, column)| !column.is_empty()) {
            let packed = if column.len() < WORTH { None } else { Some(self.zstd.compress(column)?) };
            let packed = packed.filter(|packed| packed.len() < column.len());
            let codec = if packed.is_some() { Codec::Zstd } else { Codec::Stored };
            let stored = packed.as_deref().unwrap_or(column);
            table.extend([*id, codec as u8, 0, 0]);
            table.extend((column.len() as u32).to_le_bytes());
            table.extend((stored.len() as u32).to_le_bytes());
            body.extend_from_slice(stored);
            raw += column.len() as u32;
            count += 1;
        }
        table.append(&mut body);
        Ok(Payload { bytes: table, columns: count, raw })
    }
}

/// Takes columns out of payloads, into buffers that are used again.
pub(super) struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    columns: Vec<(u8, Vec<u8>)>,
    /// How many of them the last payload had.
    count: usize,
}

impl Unpacker {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, columns: Vec::new(), count: 0 })
    }

    /// Takes the columns up to the id `most` out of a payload that begins at `offset` of the file; the others are passed over. All of them
    /// together have `raw` bytes.
    pub(super) fn unpack(
        &mut self,
        payload: &[u8],
        count: u16,
        raw: u32,
        offset: u64,
        most: u8,
    ) -> Result<(), Damage> {
        self.count = 0;
        if self.columns.iter().map(|(_, column)| column.capacity()).sum::<usize>() > 2 * BLOCK_BYTES {
            self.columns.clear();
        }
        let count = usize::from(count);
        let wrong = |found: String, expected: &str| Damage::new(offset, found, expected);
        if count > MOST {
            return Err(wrong(format!("a block of {count} columns"), "at most 16"));
        }
        let Some((table, mut body)) = payload.split_at_checked(count * ENTRY) else {
            return Err(wrong(format!("{} bytes", payload.len()), "a table of the block's columns"));
        };
        let mut left = (raw as usize).min(BLOCK_BYTES);
        for entry in table.chunks_exact(ENTRY) {
            let mut fields = Fields::new(entry);
            let (id, codec, _) = (fields.u8(), fields.u8(), fields.u16());
            let (len, stored) = (fields.u32() as usize, fields.u32() as usize);
            if len > left {
                return Err(wrong(
                    format!("column {id} of {len} bytes"),
                    "no more than the block's header says",
                ));
            }
            left -= len;
            let Some((bytes, rest)) = body.split_at_checked(stored) else {
                return Err(wrong(format!("column {id} stored in {stored} bytes"), "no more than there are"));
            };
            body = rest;
            if id > most {
                continue;
            }
            self.column(id, codec, bytes, len)
                .map_err(|found| wrong(found, "a column of the length in its table"))?;
        }
        if !body.is_empty() || left > 0 {
            return Err(wrong(
                format!("{} bytes after the columns, {left} too few in them", body.len()),
                "none",
            ));
        }
        Ok(())
    }

    fn column(&mut self, id: u8, codec: u8, bytes: &[u8], len: usize) -> Result<(), String> {
        if self.columns.len() == self.count {
            self.columns.push((id, Vec::new()));
        }
        let Some((slot, column)) = self.columns.get_mut(self.count) else { return Err("no room".into()) };
        *slot = id;
        column.clear();
        match codec {
            c if c == Codec::Stored as u8 => column.extend_from_slice(bytes),
            c if c == Codec::Zstd as u8 => {
                // No more is decompressed than there is room for.
                column.reserve_exact(len);
                self.zstd
                    .decompress_to_buffer(bytes, column)
                    .map_err(|e| format!("column {id}, which zstd does not decompress: {e}"))?;
            }
            other => return Err(format!("column {id} with codec {other}")),
        }
        if column.len() != len {
            return Err(format!("column {id} of {} bytes, not {len}", column.len()));
        }
        self.count += 1;
        Ok(())
    }

    /// The column with an id; empty if there is none.
    pub(super) fn get(&self, id: u8) -> &[u8] {
        let mut columns = self.columns.iter().take(self.count);
        columns.find(|(known, _)| *known == id).map_or(&[], |(_, column)| column)
    }
}
