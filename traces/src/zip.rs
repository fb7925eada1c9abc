//! A .zip archive as one stream: what its members hold, one after another, as `unzip -p` gives it.
//!
//! Members are read from front to back by the headers before them (PKWARE's APPNOTE.TXT, 4.3), deflated or stored; each has a checksum,
//! which is compared. The directory at the end only says that there are no more.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// The first bytes of a member, of the directory, of an archive without members, and of what may stand behind a member.
pub(crate) const MEMBER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const EMPTY: [u8; 4] = *b"PK\x05\x06";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Bytes of a member's header behind its mark, before name and extra fields.
const HEADER: usize = 26;
/// Flags: encrypted; checksum and lengths stand behind the data.
const ENCRYPTED: u16 = 1;
const BEHIND: u16 = 1 << 3;
/// Methods.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The extra field with lengths of 8 bytes.
const LONG: u16 = 1;

/// A member that is being read.
struct Member {
    data: Data,
    sum: crc32fast::Hasher,
    /// The checksum, if it stands before the data.
    expected: Option<u32>,
    /// Whether lengths behind the data have 8 bytes.
    long: bool,
}

enum Data {
    /// So many bytes are left.
    Stored(u64),
    Deflated(Box<Decompress>),
    /// All was read.
    Ended,
}

/// Reads what the members of an archive hold.
pub(crate) struct ZipReader<R> {
    source: BufReader<R>,
    member: Option<Member>,
    ended: bool,
}

impl<R: Read> ZipReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source: BufReader::new(source), member: None, ended: false }
    }

    pub(crate) fn get_ref(&self) -> &R {
        self.source.get_ref()
    }

    /// The next member; `None` behind the last one.
    fn begin(&mut self) -> io::Result<Option<Member>> {
        let source = &mut self.source;
        let mut mark = [0; 4];
        source.read_exact(&mut mark)?;
        match mark {
            MEMBER => {}
            DIRECTORY | EMPTY => return Ok(None),
            other => {
                let found = other.escape_ascii();
                return Err(invalid(format!("`{found}` where a member or the directory begins")));
            }
        }
        let mut header = [0; HEADER];
        source.read_exact(&mut header)?;
        let (flags, method) = (short(&header, 2), short(&header, 4));
        let plain = number(&header, 18, 4);
        skip(source, u64::from(short(&header, 22)))?;
        let mut extra = vec![0; usize::from(short(&header, 24))];
        source.read_exact(&mut extra)?;
        if flags & ENCRYPTED != 0 {
            return Err(invalid("a member that is encrypted".into()));
        }
        let long = long_length(&extra);
        let behind = flags & BEHIND != 0;
        let data = match method {
            // Nothing but its length says where a stored one ends.
            STORED if behind => return Err(invalid("a stored member without its length".into())),
            STORED if plain == u64::from(u32::MAX) => Data::Stored(long.unwrap_or(plain)),
            STORED => Data::Stored(plain),
            DEFLATED => Data::Deflated(Box::new(Decompress::new(false))),
            other => {
                return Err(invalid(format!(
                    "a member of method {other}, which is neither stored nor deflated"
                )));
            }
        };
        let expected = (!behind).then_some(number(&header, 10, 4) as u32);
        Ok(Some(Member { data, sum: crc32fast::Hasher::new(), expected, long: long.is_some() }))
    }

    /// Ends a member, whose checksum must be that of what came out.
    fn finish(&mut self, member: Member) -> io::Result<()> {
        let expected = match member.expected {
            Some(expected) => expected,
            None => descriptor(&mut self.source, member.long)?,
        };
        let found = member.sum.finalize();
        match found == expected {
            true => Ok(()),
            false => Err(invalid(format!(
                "a member with checksum {found:#010x}, which should be {expected:#010x}"
            ))),
        }
    }
}

impl<R: Read> Read for ZipReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while !self.ended {
            if let Some(member) = &mut self.member {
                let made = member.data.read(&mut self.source, buf)?;
                member.sum.update(buf.get(..made).unwrap_or_default());
                if made > 0 {
                    return Ok(made);
                }
            }
            if let Some(member) = self.member.take() {
                self.finish(member)?;
            }
            self.member = self.begin()?;
            self.ended = self.member.is_none();
        }
        Ok(0)
    }
}

impl Data {
    /// Reads some bytes; none at the end.
    fn read<R: BufRead>(&mut self, source: &mut R, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Ended | Self::Stored(0) => Ok(0),
            Self::Stored(left) => match source.take(*left).read(buf)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                read => {
                    *left -= read as u64;
                    Ok(read)
                }
            },
            Self::Deflated(state) => {
                let (made, ended) = inflate(state, source, buf)?;
                if ended {
                    *self = Self::Ended;
                }
                Ok(made)
            }
        }
    }
}

/// Decompresses some bytes; how many, and whether that were all.
fn inflate<R: BufRead>(state: &mut Decompress, source: &mut R, buf: &mut [u8]) -> io::Result<(usize, bool)> {
    loop {
        let input = source.fill_buf()?;
        let at_end = input.is_empty();
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let status = state.decompress(input, buf, FlushDecompress::None)?;
        let used = (state.total_in() - before_in) as usize;
        let made = (state.total_out() - before_out) as usize;
        source.consume(used);
        match status {
            Status::StreamEnd => return Ok((made, true)),
            _ if made > 0 => return Ok((made, false)),
            _ if at_end => return Err(ErrorKind::UnexpectedEof.into()),
            _ if used == 0 => return Err(invalid("deflated data that do not end".into())),
            _ => {}
        }
    }
}

/// The checksum behind a member, with a mark or without.
fn descriptor<R: Read>(source: &mut R, long: bool) -> io::Result<u32> {
    let mut sum = [0; 4];
    source.read_exact(&mut sum)?;
    if sum == DESCRIPTOR {
        source.read_exact(&mut sum)?;
    }
    skip(source, if long { 16 } else { 8 })?;
    Ok(u32::from_le_bytes(sum))
}

/// The decompressed length among the extra fields.
fn long_length(mut extra: &[u8]) -> Option<u64> {
    while extra.len() >= 4 {
        let (id, length) = (short(extra, 0), usize::from(short(extra, 2)));
        let field = extra.get(4..4 + length)?;
        if id == LONG {
            return Some(number(field, 0, 8));
        }
        extra = extra.get(4 + length..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let bytes = bytes.get(at..at + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn short(bytes: &[u8], at: usize) -> u16 {
    number(bytes, at, 2) as u16
}

fn skip<R: Read>(source: &mut R, bytes: u64) -> io::Result<()> {
    match io::copy(&mut source.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(found: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A member; `behind` with the checksum behind its data.
    fn member(bytes: &[u8], method: u16, behind: bool, extra: &[u8]) -> Vec<u8> {
        let data = if method == DEFLATED { deflated(bytes) } else { bytes.to_vec() };
        let sum = crc32fast::hash(bytes).to_le_bytes();
        let lengths = [(data.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        let mut to = [&MEMBER[..], &20_u16.to_le_bytes()].concat();
        to.extend((if behind { BEHIND } else { 0 }).to_le_bytes());
        to.extend([method.to_le_bytes(), [0; 2], [0; 2]].concat());
        to.extend(if behind { vec![0; 12] } else { [&sum[..], &lengths].concat() });
        to.extend([1_u16.to_le_bytes(), (extra.len() as u16).to_le_bytes()].concat());
        to.push(b'n');
        to.extend(extra);
        to.extend(&data);
        if behind {
            to.extend([&DESCRIPTOR[..], &sum, &lengths].concat());
        }
        to
    }

    fn archive() -> Vec<u8> {
        let other = [7, 0, 2, 0, 1, 2];
        let members = [
            member(b"one ", DEFLATED, false, &other),
            member(b"two ", STORED, false, &[]),
            member(b"", STORED, false, &[]),
            member(b"three", DEFLATED, true, &[]),
        ];
        [&members.concat()[..], &DIRECTORY, &[0; 60]].concat()
    }

    fn read(bytes: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
        let (mut reader, mut all) = (ZipReader::new(bytes), Vec::new());
        let error = reader.read_to_end(&mut all).err().map(|error| error.kind());
        (all, error)
    }

    #[test]
    fn members_follow_one_another() {
        assert_eq!(read(&archive()), (b"one two three".to_vec(), None));
        assert_eq!(read(&[&EMPTY[..], &[0; 18]].concat()), (vec![], None));
    }

    #[test]
    fn a_cut_archive_gives_what_came_before_the_cut() {
        let all = archive();
        for cut in 0..all.len() - 60 {
            let (found, error) = read(&all[..cut]);
            assert!(b"one two three".starts_with(&found[..]), "{cut}");
            assert_eq!(error, Some(ErrorKind::UnexpectedEof), "{cut}");
        }
    }

    #[test]
    fn what_is_damaged_or_not_read_is_refused() {
        let mut flipped = member(b"two ", STORED, false, &[]);
        let end = flipped.len() - 1;
        flipped[end] ^= 1;
        flipped.extend(DIRECTORY);
        assert_eq!(read(&flipped).1, Some(ErrorKind::InvalidData));
        let mut encrypted = archive();
        encrypted[6] |= 1;
        let mut method = archive();
        method[8] = 12;
        for bytes in [encrypted, method, member(b"x", STORED, true, &[]), b"PK\x03\x05".to_vec()] {
            assert_eq!(read(&bytes).1, Some(ErrorKind::InvalidData));
        }
    }

    #[test]
    fn a_long_length_is_found_among_other_fields() {
        let fields = [&[7, 0, 1, 0, 9][..], &[1, 0, 8, 0], &77_u64.to_le_bytes()].concat();
        assert_eq!(long_length(&fields), Some(77));
        assert_eq!(long_length(&fields[..8]), None);
    }
}
