//! Where a file's pages lie on the device: the extent map that `iomap_begin` consults.

use std::collections::BTreeMap;

use daxsim_types::Pfn;

/// State of a run of file pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Allocated and written (`IOMAP_MAPPED`).
    Written,
    /// Allocated, contents undefined: reads as zeroes (`IOMAP_UNWRITTEN`).
    Unwritten,
}

/// A lookup's answer: what lies at a page and for how many pages it goes on in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Frame and state, or `None` for a hole.
    pub block: Option<(Pfn, BlockState)>,
    /// Pages from the one asked for to the end of the extent or hole, at least one.
    pub len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    len: u64,
    pfn: u64,
    state: BlockState,
}

/// The extents of one file, by first file page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentMap(BTreeMap<u64, Extent>);

impl ExtentMap {
    /// What lies at `page`.
    #[must_use]
    pub fn lookup(&self, page: u64) -> Mapping {
        if let Some((start, extent)) = self.0.range(..=page).next_back()
            && page < start + extent.len
        {
            let into = page - start;
            return Mapping { block: Some((Pfn(extent.pfn + into), extent.state)), len: extent.len - into };
        }
        let next = self.0.range(page..).next().map_or(u64::MAX, |(start, _)| *start);
        Mapping { block: None, len: next - page }
    }

    /// Maps `len` pages from `page` to the frames from `pfn` on, replacing what was there and merging with neighbours.
    pub fn map(&mut self, page: u64, len: u64, pfn: Pfn, state: BlockState) {
        if len == 0 {
            return;
        }
        self.unmap(page, len);
        let mut start = page;
        let mut extent = Extent { len, pfn: pfn.0, state };
        if let Some((&left, &before)) = self.0.range(..page).next_back()
            && left + before.len == page
            && before.pfn + before.len == pfn.0
            && before.state == state
        {
            self.0.remove(&left);
            start = left;
            extent = Extent { len: before.len + extent.len, pfn: before.pfn, state };
        }
        let end = start + extent.len;
        if let Some(&after) = self.0.get(&end)
            && extent.pfn + extent.len == after.pfn
            && after.state == state
        {
            self.0.remove(&end);
            extent.len += after.len;
        }
        self.0.insert(start, extent);
    }

    /// Makes `len` pages from `page` a hole.
    pub fn unmap(&mut self, page: u64, len: u64) {
        let end = page.saturating_add(len);
        self.split_at(page);
        self.split_at(end);
        let inside: Vec<u64> = self.0.range(page..end).map(|(start, _)| *start).collect();
        for start in inside {
            self.0.remove(&start);
        }
    }

    /// Turns unwritten pages in the range into written ones.
    pub fn mark_written(&mut self, page: u64, len: u64) {
        let end = page.saturating_add(len);
        let mut at = page;
        while at < end {
            let mapping = self.lookup(at);
            let run = mapping.len.min(end - at);
            if let Some((pfn, BlockState::Unwritten)) = mapping.block {
                self.map(at, run, pfn, BlockState::Written);
            }
            at += run;
        }
    }

    /// Extents as (file page, pages, first frame, state), ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, Pfn, BlockState)> + '_ {
        self.0.iter().map(|(start, e)| (*start, e.len, Pfn(e.pfn), e.state))
    }

    fn split_at(&mut self, page: u64) {
        if let Some((&start, &extent)) = self.0.range(..page).next_back()
            && page < start + extent.len
        {
            let left = page - start;
            self.0.insert(start, Extent { len: left, ..extent });
            self.0.insert(page, Extent { len: extent.len - left, pfn: extent.pfn + left, ..extent });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hole_runs_to_the_next_extent() {
        let mut map = ExtentMap::default();
        map.map(10, 5, Pfn(100), BlockState::Written);
        assert_eq!(map.lookup(3), Mapping { block: None, len: 7 });
        assert_eq!(map.lookup(12), Mapping { block: Some((Pfn(102), BlockState::Written)), len: 3 });
        assert_eq!(map.lookup(15).block, None);
    }

    #[test]
    fn writing_the_middle_of_an_unwritten_extent_splits_it_and_the_rest_merges_later() {
        let mut map = ExtentMap::default();
        map.map(0, 10, Pfn(50), BlockState::Unwritten);
        map.mark_written(4, 2);
        assert_eq!(map.iter().count(), 3);
        assert_eq!(map.lookup(4), Mapping { block: Some((Pfn(54), BlockState::Written)), len: 2 });
        map.mark_written(0, 10);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(0, 10, Pfn(50), BlockState::Written)]);
    }

    proptest! {
        /// Against the obvious model: an array with one cell a page.
        #[test]
        fn behaves_like_an_array(ops in prop::collection::vec((0u64..40, 1u64..12, 0u64..4), 0..60)) {
            let mut map = ExtentMap::default();
            let mut cells: Vec<Option<(u64, BlockState)>> = vec![None; 64];
            let mut next = 1000;
            for (page, len, what) in ops {
                let range = page as usize..(page + len) as usize;
                match what {
                    0 => { map.unmap(page, len); cells[range].fill(None); }
                    1 => {
                        map.mark_written(page, len);
                        for c in cells[range].iter_mut().flatten() { c.1 = BlockState::Written; }
                    }
                    _ => {
                        let state = if what == 2 { BlockState::Written } else { BlockState::Unwritten };
                        map.map(page, len, Pfn(next), state);
                        for (i, c) in cells[range].iter_mut().enumerate() { *c = Some((next + i as u64, state)); }
                        next += len;
                    }
                }
                for (page, cell) in cells.iter().enumerate() {
                    let got = map.lookup(page as u64);
                    prop_assert_eq!(got.block, cell.map(|(pfn, s)| (Pfn(pfn), s)));
                    prop_assert!(got.len >= 1);
                }
            }
        }
    }
}
