//! Where the player stores to mark the lines of a script: who sees all its stores sees the lines.

use std::ops::Range;

/// The first mark. No script maps anything there, nor does Linux by itself.
pub const BASE: u64 = 0x0dac_0000_0000;
/// Bytes of a line's two marks.
const EACH: u64 = 16;
/// Most lines that have marks.
pub const MOST_LINES: u64 = 1 << 20;
/// All addresses of marks.
pub const ALL: Range<u64> = BASE..BASE + EACH * MOST_LINES;

/// Whole pages for the marks of so many lines.
#[must_use]
pub const fn bytes(lines: usize) -> u64 {
    (EACH * lines as u64).next_multiple_of(4096)
}

/// The mark that a line begins.
#[must_use]
pub const fn begin(line: u32) -> u64 {
    BASE + EACH * line as u64
}

/// The mark that it has ended.
#[must_use]
pub const fn end(line: u32) -> u64 {
    begin(line) + EACH / 2
}

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line begins.
    Begin(u32),
    /// It has ended.
    End(u32),
}

/// The mark that an address is, if it is one.
#[must_use]
pub fn of(address: u64) -> Option<Mark> {
    let at = ALL.contains(&address).then(|| address - BASE)?;
    let line = u32::try_from(at / EACH).ok()?;
    match at % EACH {
        0 => Some(Mark::Begin(line)),
        8 => Some(Mark::End(line)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_its_line_and_which_end() {
        for line in [0, 1, 254, MOST_LINES as u32 - 1] {
            assert_eq!(of(begin(line)), Some(Mark::Begin(line)));
            assert_eq!(of(end(line)), Some(Mark::End(line)));
        }
        assert_eq!([BASE - 8, BASE + 4, ALL.end].map(of), [None; 3]);
        assert_eq!([0, 1, 256, 257].map(bytes), [0, 4096, 4096, 8192]);
    }
}
