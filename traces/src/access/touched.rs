//! Which pages a trace touches.

use std::collections::BTreeMap;

use super::AccessRecord;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages of a granule: those of a page table.
const GRANULE: u64 = 512;
/// Most granules that are told apart: enough for 256 GiB of pages in full, and about 12 MiB of memory.
const MOST_GRANULES: usize = 1 << 17;
/// Pages between two that still belong to one range.
const HOLE: u64 = 256;

/// The set of touched pages, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// A bit for each page, by granule.
    granules: BTreeMap<u64, [u64; 8]>,
    /// The last page, which is mostly the next one too.
    last: Option<u64>,
    pages: u64,
    /// Whether pages are missing because there was no room.
    full: bool,
}

/// Touched pages with no more than small holes between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
    /// Pages of it that are touched.
    pub pages: u64,
}

impl Touched {
    /// Adds the pages of some accesses.
    pub fn add(&mut self, records: &[AccessRecord]) {
        for record in records {
            let first = record.va.0 / PAGE;
            if self.last != Some(first) {
                self.add_page(first);
            }
            let end = record.va.0.saturating_add(u64::from(record.size.max(1)) - 1) / PAGE;
            (first + 1..=end).for_each(|page| self.add_page(page));
            self.last = Some(end);
        }
    }

    /// Adds the pages of another set.
    pub fn merge(&mut self, other: &Self) {
        other.each_page().for_each(|page| self.add_page(page));
        self.full |= other.full;
    }

    fn add_page(&mut self, page: u64) {
        let (granule, bit) = (page / GRANULE, page % GRANULE);
        if self.granules.len() >= MOST_GRANULES && !self.granules.contains_key(&granule) {
            self.full = true;
            return;
        }
        let words = self.granules.entry(granule).or_default();
        let word = &mut words[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        self.pages += u64::from(*word & mask == 0);
        *word |= mask;
    }

    /// How many pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether there are more pages than are told.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    fn each_page(&self) -> impl Iterator<Item = u64> {
        self.granules.iter().flat_map(|(granule, words)| {
            let touched = |bit: &u64| words[(bit / 64) as usize] >> (bit % 64) & 1 != 0;
            (0..GRANULE).filter(touched).map(move |bit| granule * GRANULE + bit)
        })
    }

    /// At most `most` ranges (but at least one), in order: the smallest holes are closed.
    #[must_use]
    pub fn ranges(&self, most: usize) -> Vec<Range> {
        let mut hole = HOLE;
        loop {
            let ranges = self.ranges_over(hole);
            if ranges.len() <= most.max(1) || hole > u64::MAX / 4 {
                return ranges;
            }
            hole *= 2;
        }
    }

    fn ranges_over(&self, hole: u64) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for page in self.each_page() {
            let (start, end) = (page * PAGE, (page * PAGE).saturating_add(PAGE));
            match ranges.last_mut() {
                Some(last) if start - last.end <= hole.saturating_mul(PAGE) => {
                    last.end = end;
                    last.pages += 1;
                }
                _ => ranges.push(Range { start, end, pages: 1 }),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use daxsim_types::VirtAddr;
    use proptest::prelude::*;

    use super::*;

    fn touched(accesses: &[(u64, u16)]) -> Touched {
        let mut touched = Touched::default();
        let of = |(va, size): &(u64, u16)| AccessRecord {
            va: VirtAddr(*va),
            size: *size,
            ..AccessRecord::default()
        };
        touched.add(&accesses.iter().map(of).collect::<Vec<_>>());
        touched
    }

    #[test]
    fn small_holes_are_closed_and_large_ones_are_not() {
        let t = touched(&[(0x1000, 8), (0x5000, 8), (0x10_0000_0000, 8), (0x10_0000_0fff, 2), (u64::MAX, 9)]);
        assert_eq!(t.pages(), 5);
        let ranges = t.ranges(8);
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges[0], Range { start: 0x1000, end: 0x6000, pages: 2 });
        assert_eq!(ranges[1], Range { start: 0x10_0000_0000, end: 0x10_0000_2000, pages: 2 });
        assert_eq!(t.ranges(1).len(), 1);
        assert!(!t.is_full());
    }

    proptest! {
        #[test]
        fn pages_are_those_of_a_set(accesses in prop::collection::vec((0_u64..1 << 24, 0_u16..9000), 0..100)) {
            let model: BTreeSet<u64> = accesses
                .iter()
                .flat_map(|(va, size)| va / PAGE..=(va + u64::from((*size).max(1)) - 1) / PAGE)
                .collect();
            let mut t = touched(&accesses[..accesses.len() / 2]);
            t.merge(&touched(&accesses[accesses.len() / 2..]));
            prop_assert_eq!(t.pages(), model.len() as u64);
            prop_assert_eq!(t.each_page().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(t.ranges(1000).iter().map(|r| r.pages).sum::<u64>(), t.pages());
        }
    }
}
