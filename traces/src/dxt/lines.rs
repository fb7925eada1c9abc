//! Text as columns: the traces of the kernel.
//!
//! A line is a template and its numbers. The template is the line with each number replaced by a mark; there is about one for
//! each event and task. The numbers in one place of a template are a column of their own, each the distance from the one before.

use std::collections::BTreeMap;

use super::columns::{Packer, Payload, Unpacker};
use super::varint;
use super::{BLOCK_RECORDS, BLOCK_TEXT};

/// Columns by id.
mod id {
    /// Each template: four bytes of length, then its bytes.
    pub const TEMPLATES: u8 = 1;
    /// Two bytes for each line: its template.
    pub const LINES: u8 = 2;
    /// The numbers, by template and place, as distances.
    pub const NUMBERS: u8 = 3;
}

/// Longest piece of text that counts as a line.
const MOST_LINE: usize = 1 << 16;

/// First byte of a template: whether it has marks.
const MARKED: u8 = 0;
const LITERAL: u8 = 1;

/// Marks in a template. The two of a fixed width have it in the byte after them.
const DECIMAL: u8 = 1;
const HEX: u8 = 2;
const FIXED_DECIMAL: u8 = 3;
const FIXED_HEX: u8 = 4;

/// The lines of a text; what is longer than a line may be is cut in pieces.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(MOST_LINE))
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

const fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

/// The mark and number that a word is, if it is one; its width if that is fixed. `fraction`: it stands after a point.
fn number_of(word: &[u8], fraction: bool) -> Option<(u8, Option<u8>, u64)> {
    let text = std::str::from_utf8(word).ok()?;
    let zeros = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let width = u8::try_from(word.len()).ok()?;
    if let Some(digits) = text.strip_prefix("0x") {
        let whole = !digits.is_empty() && digits.bytes().all(is_hex) && !zeros(digits);
        return whole.then(|| Some((HEX, None, u64::from_str_radix(digits, 16).ok()?)))?;
    }
    if word.iter().all(u8::is_ascii_digit) && word.len() <= 18 {
        let number = text.parse().ok()?;
        let fixed = fraction || zeros(text);
        return Some(if fixed { (FIXED_DECIMAL, Some(width), number) } else { (DECIMAL, None, number) });
    }
    let is_address = (8..=16).contains(&word.len()) && word.iter().copied().all(is_hex);
    is_address.then(|| Some((FIXED_HEX, Some(width), u64::from_str_radix(text, 16).ok()?)))?
}

/// Takes a line apart: its template, and its numbers.
fn take_apart(line: &[u8], template: &mut Vec<u8>, numbers: &mut Vec<u64>) {
    template.clear();
    numbers.clear();
    if line.iter().any(|byte| (DECIMAL..=FIXED_HEX).contains(byte)) {
        template.push(LITERAL);
        template.extend_from_slice(line);
        return;
    }
    template.push(MARKED);
    let mut rest = line;
    let mut before = 0;
    while let Some(first) = rest.first() {
        let is_inside = is_word(*first);
        let end = rest.iter().position(|byte| is_word(*byte) != is_inside).unwrap_or(rest.len());
        let (part, later) = rest.split_at(end);
        match number_of(part, before == b'.').filter(|_| is_inside) {
            Some((mark, width, number)) => {
                template.push(mark);
                template.extend(width);
                numbers.push(number);
            }
            None => template.extend_from_slice(part),
        }
        before = part.last().copied().unwrap_or_default();
        rest = later;
    }
}

/// The templates of a block, and what is in their places.
#[derive(Default)]
pub(super) struct Encoder {
    known: BTreeMap<Vec<u8>, u16>,
    templates: Vec<u8>,
    lines: Vec<u8>,
    /// Distances by template and place, and the last number there.
    places: Vec<Vec<(u64, Vec<u8>)>>,
}

impl Encoder {
    /// The payload of at most [`BLOCK_RECORDS`] lines with at most [`BLOCK_TEXT`] bytes; how many lines they are.
    pub(super) fn encode(&mut self, text: &[u8], packer: &mut Packer) -> std::io::Result<(Payload, u32)> {
        *self = Self::default();
        let (mut template, mut numbers) = (Vec::new(), Vec::new());
        let mut count = 0;
        for line in lines(text).take(BLOCK_RECORDS) {
            take_apart(line, &mut template, &mut numbers);
            let number = self.template(&template, numbers.len());
            self.lines.extend(number.to_le_bytes());
            let places = self.places.get_mut(usize::from(number)).map(Vec::as_mut_slice).unwrap_or_default();
            for ((last, column), number) in places.iter_mut().zip(&numbers) {
                varint::put(varint::zigzag(number.wrapping_sub(*last)), column);
                *last = *number;
            }
            count += 1;
        }
        let numbers: Vec<u8> = self.places.iter().flatten().flat_map(|(_, column)| column).copied().collect();
        let columns: [(u8, &[u8]); 3] =
            [(id::TEMPLATES, &self.templates), (id::LINES, &self.lines), (id::NUMBERS, &numbers)];
        Ok((packer.pack(&columns)?, count))
    }

    fn template(&mut self, template: &[u8], places: usize) -> u16 {
        if let Some(known) = self.known.get(template) {
            return *known;
        }
        // As many as lines at most, so that the number fits.
        let number = self.places.len() as u16;
        self.known.insert(template.to_vec(), number);
        self.templates.extend((template.len() as u32).to_le_bytes());
        self.templates.extend_from_slice(template);
        self.places.push(vec![(0, Vec::new()); places]);
        number
    }
}

/// A part of a template.
enum Part<'a> {
    Text(&'a [u8]),
    Number { mark: u8, width: u8 },
}

/// The parts of a template, one after the other, so that none takes memory.
struct Parts<'a> {
    marked: bool,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Those of a template; `None` if it is of no kind.
    fn of(template: &'a [u8]) -> Option<Self> {
        let (kind, rest) = template.split_first()?;
        matches!(*kind, MARKED | LITERAL).then_some(Self { marked: *kind == MARKED, rest })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (mark, later) = self.rest.split_first()?;
        if !self.marked || !(DECIMAL..=FIXED_HEX).contains(mark) {
            let is_mark = |byte: &u8| self.marked && (DECIMAL..=FIXED_HEX).contains(byte);
            let end = self.rest.iter().position(is_mark).unwrap_or(self.rest.len());
            let (text, later) = self.rest.split_at(end);
            self.rest = later;
            return Some(Part::Text(text));
        }
        self.rest = later;
        let mut width = 0;
        if matches!(*mark, FIXED_DECIMAL | FIXED_HEX) {
            // A mark at the end without its width is one of no width.
            (width, self.rest) = later.split_first().map_or((0, later), |(width, rest)| (*width, rest));
        }
        Some(Part::Number { mark: *mark, width })
    }
}

/// A template of a block.
struct Template<'a> {
    bytes: &'a [u8],
    /// Numbers in it.
    places: usize,
    /// Lines of it.
    uses: usize,
    /// Those that were put together.
    used: usize,
    /// Where its numbers begin: those of its first place, line by line.
    numbers: usize,
}

/// Appends the text of unpacked columns, `bytes` long. What is wrong, if anything is: nothing is appended then.
pub(super) fn decode(columns: &Unpacker, count: usize, bytes: u64, text: &mut Vec<u8>) -> Result<(), String> {
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= BLOCK_TEXT);
    let Some(bytes) = bytes else { return Err(format!("more than {BLOCK_TEXT} bytes of text")) };
    let lines = columns.get(id::LINES);
    if lines.len() != 2 * count {
        return Err(format!("{} bytes for the templates of {count} lines", lines.len()));
    }
    let lines = || lines.chunks_exact(2).map(|number| usize::from(number[0]) | usize::from(number[1]) << 8);
    let mut templates = templates(columns.get(id::TEMPLATES), count)?;
    for line in lines() {
        templates.get_mut(line).ok_or("a line of a template that is not in the block")?.uses += 1;
    }
    let numbers = numbers(&mut templates, columns.get(id::NUMBERS))?;
    let begin = text.len();
    for line in lines() {
        let Some(template) = templates.get_mut(line) else { break };
        put_together(template, &numbers, text);
        template.used += 1;
        if text.len() - begin > bytes {
            break;
        }
    }
    if text.len() - begin != bytes {
        text.truncate(begin);
        return Err(format!("text of another length than {bytes} bytes"));
    }
    Ok(())
}

/// The templates: no more than lines.
fn templates(mut column: &[u8], lines: usize) -> Result<Vec<Template<'_>>, String> {
    let mut templates = Vec::new();
    while let Some((len, rest)) = column.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let taken = rest.split_at_checked(len).filter(|_| len <= 2 * MOST_LINE + 1);
        let (bytes, rest) = taken.ok_or_else(|| format!("a template of {len} bytes"))?;
        let parts = Parts::of(bytes).ok_or("a template of no kind")?;
        let places = parts.filter(|part| matches!(part, Part::Number { .. })).count();
        if templates.len() == lines {
            return Err(format!("more templates than {lines} lines"));
        }
        templates.push(Template { bytes, places, uses: 0, used: 0, numbers: 0 });
        column = rest;
    }
    if column.is_empty() { Ok(templates) } else { Err("the begin of a template".into()) }
}

/// All numbers, by template, place and line: no more than the column has bytes.
fn numbers(templates: &mut [Template<'_>], mut column: &[u8]) -> Result<Vec<u64>, String> {
    let mut numbers = Vec::new();
    for template in templates {
        template.numbers = numbers.len();
        if template.places.saturating_mul(template.uses) > column.len() {
            let wanted = template.places.saturating_mul(template.uses);
            return Err(format!("{} bytes of numbers, where {wanted} more are told", column.len()));
        }
        for _ in 0..if template.uses == 0 { 0 } else { template.places } {
            let mut last = 0_u64;
            for _ in 0..template.uses {
                let distance = varint::take(&mut column).ok_or("a number without an end")?;
                let distance = varint::unzigzag(distance);
                last = last.wrapping_add(distance);
                numbers.push(last);
            }
        }
    }
    if column.is_empty() { Ok(numbers) } else { Err(format!("{} bytes after the numbers", column.len())) }
}

/// Appends the next line of a template.
fn put_together(template: &Template<'_>, numbers: &[u64], text: &mut Vec<u8>) {
    use std::io::Write;
    let mut at = template.numbers + template.used;
    for part in Parts::of(template.bytes).into_iter().flatten() {
        let (mark, width) = match part {
            Part::Text(bytes) => {
                text.extend_from_slice(bytes);
                continue;
            }
            Part::Number { mark, width } => (mark, usize::from(width)),
        };
        let number = numbers.get(at).copied().unwrap_or_default();
        at += template.uses;
        // A Vec takes all that is written.
        let _ = match mark {
            DECIMAL => write!(text, "{number}"),
            HEX => write!(text, "{number:#x}"),
            FIXED_DECIMAL => write!(text, "{number:0width$}"),
            _ => write!(text, "{number:0width$x}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(text: &[u8]) -> (Vec<u8>, usize) {
        let mut packer = Packer::new().unwrap();
        let (payload, count) = Encoder::default().encode(text, &mut packer).unwrap();
        let mut columns = Unpacker::new().unwrap();
        columns.unpack(&payload.bytes, payload.columns, payload.raw, 0, u8::MAX).unwrap();
        let mut decoded = Vec::new();
        decode(&columns, count as usize, text.len() as u64, &mut decoded).unwrap();
        (decoded, columns.get(id::TEMPLATES).len())
    }

    #[test]
    fn lines_of_an_event_share_a_template() {
        let line = |n: u64| {
            format!(
                "  daxplay-34  [00{}] d..1.  12.{:06}: page_fault_user: address={:#x} ip=ffffffff8{:07x} code={n}\n",
                n % 4,
                n * 37,
                n << 12,
                n * 99
            )
        };
        let text: String = (0..500).map(line).collect();
        let (decoded, templates) = round_trip(text.as_bytes());
        assert_eq!(decoded, text.as_bytes());
        assert!(templates < 100, "{templates}");
    }

    #[test]
    fn numbers_that_would_come_out_otherwise_stay_text() {
        for text in [
            "007 0x00f 0xAB 18446744073709551616 1e5 a1 0x ffffffff 1.050 99999999999999999999\n",
            "\x01\x02 5\n",
            "no end 5",
            "",
        ] {
            assert_eq!(round_trip(text.as_bytes()).0, text.as_bytes());
        }
        let long = [b"7 ".repeat(MOST_LINE), b"\n1\n".to_vec()].concat();
        assert_eq!(round_trip(&long).0, long);
        // Marks that are longer than their numbers.
        let marks = b".1".repeat(MOST_LINE);
        assert_eq!(round_trip(&marks).0, marks);
    }

    #[test]
    fn columns_that_do_not_agree_are_refused() {
        let refused = |columns: &[(u8, &[u8])], count, bytes| {
            let payload = Packer::new().unwrap().pack(columns).unwrap();
            let mut unpacked = Unpacker::new().unwrap();
            unpacked.unpack(&payload.bytes, payload.columns, payload.raw, 0, u8::MAX).unwrap();
            let mut text = Vec::new();
            let error = decode(&unpacked, count, bytes, &mut text).unwrap_err();
            assert!(text.is_empty());
            error
        };
        let template: &[u8] = &[3, 0, 0, 0, MARKED, DECIMAL, b'\n'];
        let line: &[u8] = &[0, 0];
        assert_eq!(
            refused(&[(1, template), (2, line), (3, &[2])], 1, 3),
            "text of another length than 3 bytes"
        );
        assert_eq!(refused(&[(1, template), (2, line)], 1, 2), "0 bytes of numbers, where 1 more are told");
        assert_eq!(refused(&[(1, template), (2, line), (3, &[2, 2])], 1, 2), "1 bytes after the numbers");
        assert_eq!(refused(&[(1, template), (2, line), (3, &[0x80])], 1, 2), "a number without an end");
        assert_eq!(
            refused(&[(1, template), (2, &[1, 0]), (3, &[2])], 1, 2),
            "a line of a template that is not in the block"
        );
        assert_eq!(refused(&[(1, &[9, 0, 0, 0, 0]), (2, line)], 1, 2), "a template of 9 bytes");
        assert_eq!(refused(&[(1, &[1, 0, 0, 0, 7]), (2, line)], 1, 2), "a template of no kind");
        assert_eq!(refused(&[(1, template), (2, line)], 2, 2), "2 bytes for the templates of 2 lines");
        assert_eq!(refused(&[(2, line)], 1, u64::MAX), "more than 1048576 bytes of text");
        let two = [template, template].concat();
        assert_eq!(refused(&[(1, &two), (2, line), (3, &[2])], 1, 2), "more templates than 1 lines");
    }

    proptest! {
        #[test]
        fn any_text_comes_out_as_it_was(text in prop::collection::vec(
            prop_oneof![5 => prop::sample::select(b"0123456789abcdefx. \n=-_".to_vec()), 1 => any::<u8>()], 0..600
        )) {
            prop_assert_eq!(round_trip(&text).0, text);
        }
    }
}
