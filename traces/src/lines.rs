//! Lines of a reader, one at a time, with a bound on their length.

use std::io::BufRead;
use std::path::Path;

use crate::TraceError;

/// Longest line of a script, table or log.
const MAX_LINE: usize = 1 << 20;

/// Reads lines into one buffer and counts them from 1.
pub(crate) struct Lines<'a, R> {
    input: R,
    file: &'a Path,
    buffer: Vec<u8>,
    number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(crate) fn new(input: R, file: &'a Path) -> Self {
        Self { input, file, buffer: Vec::new(), number: 0 }
    }

    /// The next line without its end, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &str)>, TraceError> {
        self.buffer.clear();
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(TraceError::from_io(e, self.file)),
            };
            if chunk.is_empty() {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let take = end.unwrap_or(chunk.len());
            if self.buffer.len() + take > MAX_LINE {
                let found = format!("a line of more than {MAX_LINE} bytes");
                return Err(self.error(self.number + 1, found, "shorter lines of text".into()));
            }
            self.buffer.extend_from_slice(chunk.get(..take).unwrap_or_default());
            self.input.consume(take + usize::from(end.is_some()));
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some((self.number, text))),
            Err(e) => {
                let at = e.valid_up_to();
                let byte = self.buffer.get(at).copied().unwrap_or_default();
                let found = format!("byte {byte:#04x} at column {}, which is not UTF-8", at + 1);
                Err(self.error(self.number, found, "text".into()))
            }
        }
    }

    fn error(&self, line: u64, found: String, expected: String) -> TraceError {
        TraceError::Table { file: self.file.to_owned(), line, found, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_lf_crlf_or_the_file() {
        let mut lines = Lines::new(&b"a\r\n\nb"[..], "x".as_ref());
        assert_eq!(lines.next().unwrap(), Some((1, "a")));
        assert_eq!(lines.next().unwrap(), Some((2, "")));
        assert_eq!(lines.next().unwrap(), Some((3, "b")));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn bytes_that_are_not_text_are_placed() {
        let e = Lines::new(&b"ab\xff"[..], "x".as_ref()).next().unwrap_err();
        assert_eq!(e.to_string(), "x:1: found byte 0xff at column 3, which is not UTF-8: expected text");
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let long = vec![b'x'; MAX_LINE + 1];
        let e = Lines::new(&long[..], "x".as_ref()).next().unwrap_err();
        assert!(e.to_string().starts_with("x:1: found a line of more than"), "{e}");
    }
}
