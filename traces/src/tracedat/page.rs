//! The events of one page of a ring buffer.

use super::head::PageHead;
use crate::ftrace::Layout;

/// Bits of a time stamp or difference in an event's first word.
const TIME_BITS: u32 = 27;
/// Bits of an absolute time stamp; those above are of the page's.
const STAMP_BITS: u32 = TIME_BITS + 32;
/// Kinds of entries that are not events.
const PADDING: u64 = 29;
const TIME_EXTEND: u64 = 30;
const TIME_STAMP: u64 = 31;
/// Flags of a page's length.
const MISSED_EVENTS: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

/// Where in a page the reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    at: usize,
    end: usize,
    time: u64,
}

/// An event: its time and its place in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub time: u64,
    pub start: usize,
    pub end: usize,
}

/// Events lost before a page: not said, or so many.
pub(super) type Missed = Option<Option<u64>>;

/// Begins a page; `None` if its length is wrong.
pub(super) fn begin(page: &[u8], head: PageHead, layout: Layout) -> Option<(Cursor, Missed)> {
    let word = |at: usize, bytes: usize| layout.number(page.get(at..at.checked_add(bytes)?)?);
    let time = word(0, 8)?;
    let commit = word(head.commit, head.long)?;
    let length = (commit & (MISSED_STORED - 1)) as usize;
    let end = head.data.checked_add(length).filter(|&end| end <= page.len())?;
    let missed = (commit & MISSED_EVENTS != 0)
        .then(|| if commit & MISSED_STORED != 0 { word(end, head.long) } else { None });
    Some((Cursor { at: head.data, end, time }, missed))
}

impl Cursor {
    /// Bytes of the page's data that are left.
    pub const fn rest(&self) -> u64 {
        self.end.saturating_sub(self.at) as u64
    }

    /// The next event; `Err` if the page is damaged there.
    pub fn next(&mut self, page: &[u8], layout: Layout) -> Result<Option<Found>, usize> {
        while self.at < self.end {
            let damaged = self.at;
            let end = self.end;
            let word = |at: usize| {
                let bytes = page.get(at..at.saturating_add(4)).filter(|_| at + 4 <= end);
                bytes.and_then(|bytes| layout.number(bytes)).ok_or(damaged)
            };
            let first = word(self.at)?;
            let (kind, delta) = if layout.big_endian {
                (first >> TIME_BITS, first & ((1 << TIME_BITS) - 1))
            } else {
                (first & 31, first >> 5)
            };
            let body = self.at + 4;
            match kind {
                PADDING if delta == 0 => return Ok(None),
                PADDING => {
                    self.at = body + word(body)? as usize;
                    self.time = self.time.wrapping_add(delta);
                }
                TIME_EXTEND => {
                    self.time = self.time.wrapping_add(word(body)? << TIME_BITS).wrapping_add(delta);
                    self.at = body + 4;
                }
                TIME_STAMP => {
                    let stamp = word(body)? << TIME_BITS | delta;
                    self.time = whole_stamp(stamp, self.time);
                    self.at = body + 4;
                }
                _ => {
                    let (start, size) = match kind {
                        0 => (body + 4, (word(body)? as usize).checked_sub(4).ok_or(damaged)?),
                        words => (body, words as usize * 4),
                    };
                    let end = start + size;
                    if end > self.end {
                        return Err(damaged);
                    }
                    self.time = self.time.wrapping_add(delta);
                    self.at = start + size.next_multiple_of(4);
                    return Ok(Some(Found { time: self.time, start, end }));
                }
            }
        }
        Ok(None)
    }
}

/// An absolute stamp with the bits above it, which are those of the time before.
fn whole_stamp(stamp: u64, before: u64) -> u64 {
    let above = before >> STAMP_BITS << STAMP_BITS;
    if above == 0 {
        return stamp;
    }
    let stamp = above | stamp;
    if stamp < before { stamp.wrapping_add(1 << STAMP_BITS) } else { stamp }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: PageHead = PageHead { commit: 8, long: 8, data: 16 };
    const LITTLE: Layout = Layout { big_endian: false, long: 8 };

    /// A page with these words, and its length with flags.
    fn page(words: &[u32], flags: u64) -> Vec<u8> {
        let mut page = 1000_u64.to_le_bytes().to_vec();
        page.extend(((words.len() as u64 * 4) | flags).to_le_bytes());
        page.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        page
    }

    fn all(page: &[u8]) -> Vec<(u64, usize)> {
        let (mut cursor, _) = begin(page, HEAD, LITTLE).unwrap();
        let mut found = Vec::new();
        while let Some(f) = cursor.next(page, LITTLE).unwrap() {
            found.push((f.time, f.end - f.start));
        }
        found
    }

    #[test]
    fn entries_of_every_kind_move_time_and_place() {
        let words = [
            5 << 5 | 2, // two words, 5 later
            7,
            8,
            1 << 5 | 30, // time extended
            2,
            3 << 5, // a length of its own: 6 bytes and its word
            10,
            1,
            2,
            4 << 5 | 29, // a discarded event of 4 bytes
            8,
            0,
            1 << 5 | 31, // an absolute stamp
            3,
            1,
            9,
            29,
            77,
        ];
        let times = [(1005, 8), (1009 + (2 << 27), 6), ((3 << 27) + 1, 4)];
        assert_eq!(all(&page(&words, 0)), times);
    }

    #[test]
    fn lost_events_are_said_with_or_without_their_number() {
        let mut bytes = page(&[1, 1], MISSED_EVENTS | MISSED_STORED);
        bytes.extend(33_u64.to_le_bytes());
        assert_eq!(begin(&bytes, HEAD, LITTLE).unwrap().1, Some(Some(33)));
        assert_eq!(begin(&page(&[1, 1], MISSED_EVENTS), HEAD, LITTLE).unwrap().1, Some(None));
        assert_eq!(begin(&page(&[1, 1], 0), HEAD, LITTLE).unwrap().1, None);
    }

    #[test]
    fn events_beyond_the_page_are_damage() {
        for words in [&[5_u32, 1][..], &[0, 3, 0], &[0, 100, 0], &[30], &[1 << 5 | 29]] {
            let bytes = page(words, 0);
            let (mut cursor, _) = begin(&bytes, HEAD, LITTLE).unwrap();
            assert_eq!(cursor.next(&bytes, LITTLE), Err(16), "{words:?}");
        }
        let mut bytes = page(&[1, 1], 0);
        bytes[8] = 200;
        assert_eq!(begin(&bytes, HEAD, LITTLE), None);
    }

    #[test]
    fn the_upper_bits_of_a_stamp_are_those_of_the_time_before() {
        let before = 3 << STAMP_BITS | 77;
        assert_eq!(whole_stamp(80, before), 3 << STAMP_BITS | 80);
        assert_eq!(whole_stamp(70, before), 4 << STAMP_BITS | 70);
        assert_eq!(whole_stamp(70, 50), 70);
    }
}
