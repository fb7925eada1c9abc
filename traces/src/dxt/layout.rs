//! The fixed parts of a file: its header, the headers of its blocks, the entries of its index, its last bytes.

use super::{BLOCK_BYTES, BLOCK_RECORDS, Damage};

/// The first bytes of a file. As those of PNG, they do not survive a transfer as text.
pub const MAGIC: [u8; 8] = *b"\x89DXT\r\n\x1a\n";
/// The first bytes of a block.
pub(super) const BLOCK_MAGIC: [u8; 4] = *b"DXTB";
/// The last bytes of a file.
const END_MAGIC: [u8; 8] = *b"DXTEND\r\n";
/// Version of the format. A reader refuses another one.
const VERSION: u16 = 1;

/// Bytes of a file's header.
pub(super) const FILE_HEADER: usize = 32;
/// Bytes of a block's header.
pub(super) const BLOCK_HEADER: usize = 48;
/// Bytes of an entry of the index.
pub(super) const INDEX_ENTRY: usize = 40;
/// Bytes at the end.
pub(super) const TRAILER: usize = 32;

/// Flag of a block of accesses that says where they stand among those of all threads.
pub(super) const ORDERED: u8 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Accesses of one thread.
    Accesses = 1,
    /// Lines of text.
    Lines = 2,
    /// Lines of text about the file.
    Description = 3,
    /// A part of the index.
    Index = 4,
}

impl Kind {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Accesses),
            2 => Some(Self::Lines),
            3 => Some(Self::Description),
            4 => Some(Self::Index),
            _ => None,
        }
    }
}

/// Numbers in a row, little-endian.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next bytes; zeros beyond the end, which callers with fixed sizes never reach.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.bytes.split_at(N.min(self.bytes.len()));
        self.bytes = rest;
        head.try_into().unwrap_or([0; N])
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// The header of a file of this version.
pub(super) fn file_header() -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Whether bytes are the header of a file, and what is wrong if not.
pub(super) fn check_file_header(bytes: &[u8]) -> Result<(), Damage> {
    let Some(header) = bytes.get(..FILE_HEADER) else {
        return Err(Damage::new(
            0,
            format!("{} bytes and the end of the file", bytes.len()),
            "a header of 32 bytes",
        ));
    };
    if !header.starts_with(&MAGIC) {
        return Err(Damage::new(0, "other bytes", "the mark of a .dxt file"));
    }
    check_seal(header, 0, "the file's header")?;
    let version = Fields::new(&header[8..]).u16();
    if version != VERSION {
        return Err(Damage::new(8, format!("version {version}"), format!("version {VERSION}")));
    }
    Ok(())
}

/// Puts the checksum of what precedes into the last four bytes.
fn seal(bytes: &mut [u8]) {
    let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() else { return };
    *sum = crc32fast::hash(body).to_le_bytes();
}

/// Compares the last four bytes with the checksum of what precedes.
fn check_seal(bytes: &[u8], offset: u64, of: &str) -> Result<(), Damage> {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(Damage::new(offset, "nothing", of));
    };
    check_sum(body, u32::from_le_bytes(*sum), offset, of)
}

/// Compares a checksum with that of bytes.
pub(super) fn check_sum(bytes: &[u8], sum: u32, offset: u64, of: &str) -> Result<(), Damage> {
    let is = crc32fast::hash(bytes);
    if is == sum {
        return Ok(());
    }
    Err(Damage::new(
        offset,
        format!("bytes with checksum {is:#010x}"),
        format!("{sum:#010x}, as stored for {of}"),
    ))
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub kind: u8,
    /// [`ORDERED`], or 0.
    pub flags: u8,
    /// Columns in it.
    pub columns: u16,
    /// Bytes after the header.
    pub stored: u32,
    /// Bytes of all columns when decompressed.
    pub raw: u32,
    pub records: u32,
    pub thread: u32,
    /// Records of the file before it, in blocks of its kind.
    pub first: u64,
    /// Instructions begun in it; of lines, the bytes of their text.
    pub instructions: u64,
    /// Checksum of the bytes after the header.
    pub sum: u32,
}

impl BlockHeader {
    pub(super) fn to_bytes(self) -> [u8; BLOCK_HEADER] {
        let mut bytes = [0; BLOCK_HEADER];
        bytes[..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.columns.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.thread.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.instructions.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.sum.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The header in `bytes`, which begin at `offset` of the file.
    pub(super) fn from_bytes(bytes: &[u8], offset: u64) -> Result<Self, Damage> {
        let Some(header) = bytes.get(..BLOCK_HEADER) else {
            let found = format!("{} bytes and the end of the file", bytes.len());
            return Err(Damage::new(offset, found, "the header of a block, 48 bytes"));
        };
        if !header.starts_with(&BLOCK_MAGIC) {
            return Err(Damage::new(offset, "other bytes", "the mark of a block, DXTB"));
        }
        check_seal(header, offset, "the block's header")?;
        let mut fields = Fields::new(&header[4..]);
        let header = Self {
            kind: fields.u8(),
            flags: fields.u8(),
            columns: fields.u16(),
            stored: fields.u32(),
            raw: fields.u32(),
            records: fields.u32(),
            thread: fields.u32(),
            first: fields.u64(),
            instructions: fields.u64(),
            sum: fields.u32(),
        };
        header.check_bounds(offset)?;
        Ok(header)
    }

    /// No reader takes more memory than these bounds say, whatever a file says.
    fn check_bounds(&self, offset: u64) -> Result<(), Damage> {
        let bounds = [
            ("stored bytes", self.stored as usize, BLOCK_BYTES),
            ("decompressed bytes", self.raw as usize, BLOCK_BYTES),
            ("records", self.records as usize, BLOCK_RECORDS),
        ];
        match bounds.into_iter().find(|(_, is, most)| is > most) {
            Some((what, is, most)) => {
                Err(Damage::new(offset, format!("a block of {is} {what}"), format!("at most {most}")))
            }
            None => Ok(()),
        }
    }
}

/// An entry of the index: where a block is, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub offset: u64,
    pub kind: u8,
    pub flags: u8,
    pub thread: u32,
    pub records: u32,
    pub stored: u32,
    pub instructions: u64,
    pub first: u64,
}

impl IndexEntry {
    pub(super) const fn of(header: &BlockHeader, offset: u64) -> Self {
        Self {
            offset,
            kind: header.kind,
            flags: header.flags,
            thread: header.thread,
            records: header.records,
            stored: header.stored,
            instructions: header.instructions,
            first: header.first,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; INDEX_ENTRY] {
        let mut bytes = [0; INDEX_ENTRY];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8] = self.kind;
        bytes[9] = self.flags;
        bytes[12..16].copy_from_slice(&self.thread.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.stored.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.instructions.to_le_bytes());
        bytes[32..].copy_from_slice(&self.first.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut fields = Fields::new(bytes);
        let (offset, kind, flags, _) = (fields.u64(), fields.u8(), fields.u8(), fields.u16());
        Self {
            offset,
            kind,
            flags,
            thread: fields.u32(),
            records: fields.u32(),
            stored: fields.u32(),
            instructions: fields.u64(),
            first: fields.u64(),
        }
    }
}

/// The last bytes of a file: where its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the first block of the index begins.
    pub index: u64,
    /// Blocks before the index.
    pub blocks: u64,
    /// Blocks of the index.
    pub index_blocks: u32,
}

impl Trailer {
    pub(super) fn to_bytes(self) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.index_blocks.to_le_bytes());
        seal(&mut bytes[..24]);
        bytes[24..].copy_from_slice(&END_MAGIC);
        bytes
    }

    /// The trailer in the last bytes of a file, which begin at `offset`.
    pub(super) fn from_bytes(bytes: &[u8], offset: u64) -> Result<Self, Damage> {
        let whole = bytes.get(..TRAILER).filter(|bytes| bytes.ends_with(&END_MAGIC));
        let Some(bytes) = whole else {
            return Err(Damage::new(offset, "other bytes", "the mark of a file's end, DXTEND"));
        };
        check_seal(&bytes[..24], offset, "the file's last bytes")?;
        let mut fields = Fields::new(bytes);
        Ok(Self { index: fields.u64(), blocks: fields.u64(), index_blocks: fields.u32() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: BlockHeader = BlockHeader {
        kind: 1,
        flags: ORDERED,
        columns: 4,
        stored: 1000,
        raw: 2000,
        records: 300,
        thread: 7,
        first: 1 << 40,
        instructions: 1 << 41,
        sum: 0x1234_5678,
    };

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(BlockHeader::from_bytes(&HEADER.to_bytes(), 0), Ok(HEADER));
        let entry = IndexEntry::of(&HEADER, 1 << 50);
        assert_eq!(IndexEntry::from_bytes(&entry.to_bytes()), entry);
        let trailer = Trailer { index: 1 << 42, blocks: 1 << 20, index_blocks: 3 };
        assert_eq!(Trailer::from_bytes(&trailer.to_bytes(), 0), Ok(trailer));
        assert_eq!(check_file_header(&file_header()), Ok(()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..BLOCK_HEADER * 8 {
            let mut bytes = HEADER.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(BlockHeader::from_bytes(&bytes, 0).is_err(), "{bit}");
        }
        for bit in 0..FILE_HEADER * 8 {
            let mut bytes = file_header();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(check_file_header(&bytes).is_err(), "{bit}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_bound() {
        let large = BlockHeader { raw: u32::MAX, ..HEADER };
        let damage = BlockHeader::from_bytes(&large.to_bytes(), 96).unwrap_err();
        assert_eq!(
            damage.to_string(),
            "at byte 96: found a block of 4294967295 decompressed bytes: expected at most 4194304"
        );
    }

    #[test]
    fn a_version_to_come_is_refused() {
        let mut bytes = file_header();
        bytes[8] = 2;
        seal(&mut bytes);
        assert_eq!(
            check_file_header(&bytes).unwrap_err().to_string(),
            "at byte 8: found version 2: expected version 1"
        );
    }
}
