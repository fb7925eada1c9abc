//! The directory that memory has beside its lines: which of them another socket may have modified.
//!
//! Intel's home agents keep two bits with each line, in memory itself. When a line goes to another socket that may modify it, and
//! the bits do not say so yet, they have to be written; the line's next write-back clears them, for it is a write anyway. Main memory
//! hides such writes. A DIMM whose media lines are longer than 64 bytes pays for each as for any other. (J. McCalpin, "Memory
//! directories in Intel processors", 2023-08-28; Intel's optimisation manual, 2.1.31.)
//!
//! A socket that writes a whole line past its caches asks for it, too, though not for its data: the home agent notes that the line
//! is away and lets the write come, which clears the note. That this is what a remote non-temporal store does is inferred from its
//! time and its bandwidth (`docs/memory.md`).

use daxsim_types::CacheLine;
use rustc_hash::FxHashSet;

/// The lines that may be modified elsewhere. Only looked up, never gone through.
#[derive(Default)]
pub(super) struct HomeDirectory {
    away: FxHashSet<CacheLine>,
}

impl HomeDirectory {
    /// Another socket gets `line`: whether memory has to be told.
    pub fn give(&mut self, line: CacheLine) -> bool {
        self.away.insert(line)
    }

    /// `line` is written back.
    pub fn come_back(&mut self, line: CacheLine) {
        self.away.remove(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_once_until_the_line_comes_back() {
        let mut home = HomeDirectory::default();
        let line = CacheLine(7);
        assert!(home.give(line));
        assert!(!home.give(line));
        home.come_back(line);
        assert!(home.give(line));
    }
}
