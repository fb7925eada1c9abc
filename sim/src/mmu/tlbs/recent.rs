//! The way to the entry of a page that was found in a first level before, without a search.
//!
//! Exact: what is here is in the array, in that slot, and is what a search would find. So it goes when the page is filled again or
//! evicted, and all of it whenever more than one 4 KiB page changes.

use daxsim_types::{AccessKind, Pfn};

use crate::mmu::tlb::Spot;

/// Known pages of each first level: four times what the largest first levels hold, so that few of their pages collide.
const PAGES: usize = 256;

/// A page, and where its entry is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    key: u64,
    /// Frame of the 4 KiB page.
    pub frame: Pfn,
    /// Row, way and index of the slot in its array.
    pub spot: Spot,
    pub index: u32,
    epoch: u32,
    /// Number of the array.
    pub unit: u8,
    /// A bit for each kind of access that the entry allows as it is.
    allows: u8,
}

/// All that is known.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    known: Vec<Known>,
    epoch: u32,
    /// The page found last, and its group: noting one more hit of it would change nothing.
    last: (Known, usize),
}

#[inline]
const fn key(page: u64, pcid: u16) -> u64 {
    page << 16 | pcid as u64
}

#[inline]
const fn place(group: usize, page: u64) -> usize {
    group * PAGES + ((page ^ (page >> 8)) as usize & (PAGES - 1))
}

impl Recent {
    pub fn new(groups: usize) -> Self {
        // The current epoch is never 0.
        let nothing =
            Known { key: 0, frame: Pfn(0), spot: Spot::FIRST, index: 0, epoch: 0, unit: 0, allows: 0 };
        Self { known: vec![nothing; groups * PAGES], epoch: 1, last: (nothing, 0) }
    }

    /// What is known of `page`, if it is the page found last, and the entry allows the access.
    #[inline]
    pub fn again(&self, group: usize, page: u64, pcid: u16, kind: AccessKind) -> Option<&Known> {
        let (known, of) = &self.last;
        let is_it = known.key == key(page, pcid) && known.epoch == self.epoch && *of == group;
        (is_it && known.allows & (1 << kind as u8) != 0).then_some(known)
    }

    /// Where a group has `page`, if the entry allows the access. It is the page found last from now on.
    #[inline]
    pub fn find(&mut self, group: usize, page: u64, pcid: u16, kind: AccessKind) -> Option<&Known> {
        let known = self.known.get(place(group, page))?;
        let is_it = known.key == key(page, pcid) && known.epoch == self.epoch;
        if !is_it || known.allows & (1 << kind as u8) == 0 {
            return None;
        }
        self.last = (*known, group);
        Some(known)
    }

    /// A search in `group` has found `page` under `pcid`.
    pub fn learn(&mut self, group: usize, page: u64, pcid: u16, found: Known) {
        if let Some(known) = self.known.get_mut(place(group, page)) {
            *known = Known { key: key(page, pcid), epoch: self.epoch, ..found };
            self.last = (*known, group);
        }
    }

    /// The entry of a page, a single one of 4 KiB or another, comes to a first level or leaves it for another.
    #[inline]
    pub fn forget(&mut self, group: usize, small_page: Option<u64>) {
        let Some(page) = small_page else { return self.forget_all() };
        if let Some(known) = self.known.get_mut(place(group, page)) {
            known.epoch = 0;
            self.last.0.epoch = 0;
        }
    }

    /// Anything may have changed.
    pub fn forget_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.last.0.epoch = 0;
            self.known.iter_mut().for_each(|known| known.epoch = 0);
            self.epoch = 1;
        }
    }
}

impl Known {
    /// What is found in a slot.
    pub fn new(unit: usize, spot: Spot, index: usize, frame: Pfn, allows: u8) -> Self {
        Self { key: 0, frame, spot, index: index as u32, epoch: 0, unit: unit as u8, allows }
    }
}
