//! Text in a buffer of its own: making it allocates nothing.

use std::fmt;

/// Text of at most `N` bytes; what is longer is cut.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Formats.
    pub fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; N], len: 0 };
        // Writing to it does not fail.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(room) = self.bytes.get_mut(self.len..) {
            let len = room.len().min(text.len());
            if let (Some(to), Some(from)) = (room.get_mut(..len), text.as_bytes().get(..len)) {
                to.copy_from_slice(from);
            }
            self.len += len;
        }
        Ok(())
    }
}

/// The text of a script line as markers and log carry it: one of 200 bytes or less is whole.
pub fn short(text: &str) -> (&str, &'static str) {
    const MOST: usize = 200;
    if text.len() <= MOST {
        return (text, "");
    }
    let end = (0..=MOST - 3).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    (text.get(..end).unwrap_or_default(), "...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(Text::<8>::of(format_args!("{}-{}", 12, 34)).bytes(), b"12-34");
        assert_eq!(Text::<4>::of(format_args!("{}-{}", 12, 34)).bytes(), b"12-3");
        let long = "x".repeat(201);
        assert_eq!(short(&long), (&long[..197], "..."));
        assert_eq!(short(&long[..200]), (&long[..200], ""));
    }
}
