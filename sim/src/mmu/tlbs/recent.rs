//! The way to the entry of a page that was found in a first level before, without a search.
//!
//! Exact: what is here is in the array, in that slot, and is what a search would find. So it goes when the page is filled again or
//! evicted, and all of it whenever more than one 4 KiB page changes.

use daxsim_types::{AccessKind, Pfn, Time};

use crate::mmu::tlb::Spot;

/// Known pages of each first level: more than the largest first levels hold, so that few of their pages collide.
const PAGES: usize = 256;

/// A page, and where its entry is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    key: u64,
    /// Frame of the 4 KiB page.
    frame: Pfn,
    /// Row and way of the slot in its array, and its index.
    pub spot: Spot,
    pub index: u32,
    epoch: u32,
    /// Number of the array.
    pub unit: u8,
    /// A bit for each kind of access that the entry allows as it is.
    allows: u8,
}

/// The page found last: noting one more hit of it would change nothing.
#[derive(Clone, Copy, Debug)]
struct Last {
    key: u64,
    allows: u8,
    frame: Pfn,
    penalty: Time,
}

/// All that is known.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    last: Last,
    known: Vec<Known>,
    epoch: u32,
}

/// No page has this key: there are three groups.
const NO_KEY: u64 = u64::MAX;

/// A page under a PCID in a group. Exact: 45 bits of page number are those of a canonical address.
#[inline]
const fn key(group: usize, page: u64, pcid: u16) -> u64 {
    page << 18 | (pcid as u64) << 2 | group as u64
}

#[inline]
const fn place(group: usize, page: u64) -> usize {
    group * PAGES + ((page ^ (page >> 8)) as usize & (PAGES - 1))
}

impl Recent {
    pub fn new(groups: usize) -> Self {
        let last = Last { key: NO_KEY, allows: 0, frame: Pfn(0), penalty: Time::ZERO };
        // The current epoch is never 0.
        let nothing = Known::new(0, Spot::FIRST, 0, Pfn(0), 0);
        Self { last, known: vec![nothing; groups * PAGES], epoch: 1 }
    }

    /// Frame and penalty of `page`, if it is the page found last and the entry allows the access.
    #[inline]
    pub fn again(&self, group: usize, page: u64, pcid: u16, kind: AccessKind) -> Option<(Pfn, Time)> {
        let last = &self.last;
        let is_it = last.key == key(group, page, pcid) && last.allows & (1 << kind as u8) != 0;
        is_it.then_some((last.frame, last.penalty))
    }

    /// Where a group has `page`, if the entry allows the access.
    #[inline]
    pub fn find(&self, group: usize, page: u64, pcid: u16, kind: AccessKind) -> Option<&Known> {
        self.place_of(group, page, pcid, kind).map(|(_, known)| known)
    }

    /// The same, and the number under which [`Self::at`] has it.
    #[inline]
    pub fn place_of(&self, group: usize, page: u64, pcid: u16, kind: AccessKind) -> Option<(usize, &Known)> {
        let number = place(group, page);
        let known = self.known.get(number)?;
        let is_it = known.key == key(group, page, pcid) && known.epoch == self.epoch;
        (is_it && known.allows & (1 << kind as u8) != 0).then_some((number, known))
    }

    /// A known page by number: its group, where it is, and whether it is the page found last.
    #[inline]
    pub fn at(&self, number: usize) -> Option<(usize, Known, bool)> {
        let known = *self.known.get(number)?;
        Some((number / PAGES, known, known.key == self.last.key))
    }

    /// A search in `group` has found `page` under `pcid`.
    pub fn learn(&mut self, group: usize, page: u64, pcid: u16, found: Known) {
        if let Some(known) = self.known.get_mut(place(group, page)) {
            *known = Known { key: key(group, page, pcid), epoch: self.epoch, ..found };
        }
    }

    /// The page of `known` is the one found last; its frame and `penalty`.
    #[inline]
    pub fn found(&mut self, known: Known, penalty: Time) -> (Pfn, Time) {
        let Known { key, frame, allows, .. } = known;
        self.last = Last { key, allows, frame, penalty };
        (frame, penalty)
    }

    /// No page was found last: another one was used since.
    #[inline]
    pub const fn lost(&mut self) {
        self.last.key = NO_KEY;
    }

    /// The entry of a page, a single one of 4 KiB or another, comes to a first level or leaves it for another.
    #[inline]
    pub fn forget(&mut self, group: usize, small_page: Option<u64>) {
        let Some(page) = small_page else { return self.forget_all() };
        self.lost();
        if let Some(known) = self.known.get_mut(place(group, page)) {
            known.epoch = 0;
        }
    }

    /// Anything may have changed.
    pub fn forget_all(&mut self) {
        self.lost();
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.known.iter_mut().for_each(|known| known.epoch = 0);
            self.epoch = 1;
        }
    }
}

impl Known {
    /// Frame of the 4 KiB page.
    pub const fn frame(&self) -> Pfn {
        self.frame
    }

    /// What is found in a slot.
    pub const fn new(unit: usize, spot: Spot, index: usize, frame: Pfn, allows: u8) -> Self {
        Self { key: NO_KEY, frame, spot, index: index as u32, epoch: 0, unit: unit as u8, allows }
    }
}
