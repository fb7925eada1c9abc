//! Short strings held in place, so that a record owns no heap memory.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A string of at most `N` bytes, held in place. Longer text is cut; bytes need not be UTF-8.
#[derive(Clone, Copy)]
pub struct ShortStr<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

/// A task's name (`comm`; the kernel keeps at most 15 bytes).
pub type Comm = ShortStr<16>;

/// An event, system call or symbol name (cut at 47 bytes).
pub type Name = ShortStr<47>;

impl<const N: usize> ShortStr<N> {
    /// The first `N` (at most 255) bytes of `text`.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let len = text.len().min(N).min(255);
        let mut bytes = [0; N];
        if let (Some(to), Some(from)) = (bytes.get_mut(..len), text.get(..len)) {
            to.copy_from_slice(from);
        }
        Self { len: len as u8, bytes }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

impl<const N: usize> Default for ShortStr<N> {
    fn default() -> Self {
        Self { len: 0, bytes: [0; N] }
    }
}

impl<const N: usize> PartialEq for ShortStr<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for ShortStr<N> {}

impl<const N: usize> PartialEq<str> for ShortStr<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for ShortStr<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Hash for ShortStr<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<const N: usize> fmt::Display for ShortStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl<const N: usize> fmt::Debug for ShortStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_and_cut() {
        let c = Comm::new(b"daxplay");
        assert_eq!(c, "daxplay");
        assert_eq!(format!("{c:>9}|{c:?}"), "  daxplay|\"daxplay\"");
        assert_eq!(Comm::new(&[b'x'; 40]).as_bytes().len(), 16);
        assert_eq!(ShortStr::<300>::new(&[b'x'; 300]).as_bytes().len(), 255);
        assert_eq!(Comm::new(b"\xff").as_str(), None);
    }
}
