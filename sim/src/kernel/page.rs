//! `struct page`: counts and cache lines of the frames of persistent memory.

use daxsim_types::{CacheLine, Pfn, PhysAddr};
use rustc_hash::FxHashMap;

/// Reference and map count of one frame (of the head page, for a large folio).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// `_refcount`, less the idle value of the variant.
    pub refs: i64,
    /// `_mapcount`.
    pub maps: i64,
    /// Whether `mapping` and `index` are set (`dax_associate_entry`).
    pub associated: bool,
}

/// The memory map: where each `struct page` lies, and the counts of those in use.
#[derive(Debug)]
pub struct PageMap {
    base: u64,
    span: u64,
    counts: FxHashMap<u64, PageCounts>,
}

impl PageMap {
    /// `struct page`s in the DRAM range of `span` bytes from `base`, 64 bytes a frame. Frames beyond the range wrap
    /// around in it: their lines are then shared, as in a cache index.
    #[must_use]
    pub fn new(base: u64, span: u64) -> Self {
        Self { base, span: span.max(64), counts: FxHashMap::default() }
    }

    /// The line of a frame's `struct page`: flags, mapping, index, `_mapcount` and `_refcount` share it (spec 1.5).
    #[must_use]
    pub fn line(&self, pfn: Pfn) -> CacheLine {
        PhysAddr(self.base + (pfn.0.wrapping_mul(64)) % self.span).line()
    }

    /// The counts of a frame.
    #[must_use]
    pub fn counts(&self, pfn: Pfn) -> PageCounts {
        self.counts.get(&pfn.0).copied().unwrap_or_default()
    }

    /// Changes the counts of a frame; frames back at rest are forgotten.
    pub fn update(&mut self, pfn: Pfn, change: impl FnOnce(&mut PageCounts)) -> PageCounts {
        let counts = self.counts.entry(pfn.0).or_default();
        change(counts);
        let now = *counts;
        if now == PageCounts::default() {
            self.counts.remove(&pfn.0);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_a_line_and_counts() {
        let mut map = PageMap::new(0x10_0000, 1 << 20);
        assert_ne!(map.line(Pfn(1)), map.line(Pfn(2)));
        map.update(Pfn(7), |c| c.refs += 1);
        assert_eq!(map.counts(Pfn(7)).refs, 1);
        map.update(Pfn(7), |c| c.refs -= 1);
        assert!(map.counts.is_empty());
    }
}
