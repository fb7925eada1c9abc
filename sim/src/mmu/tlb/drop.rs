//! How entries leave an array other than by a fill.

use daxsim_types::VirtAddr;

use super::{COALESCED, EMPTY, Spot, TlbArray, TlbEntry};

impl TlbArray {
    /// Empties a slot.
    fn empty(&mut self, spot: Spot) {
        let i = self.index(spot);
        self.forget(i);
        self.tags[i] = EMPTY;
        self.policy.emptied(spot, i);
    }

    /// Empties every slot whose entry `drop` says yes to; how many.
    fn empty_if(&mut self, drop: impl Fn(&TlbEntry) -> bool) -> u32 {
        let mut dropped = 0;
        for i in 0..self.tags.len() {
            if self.tags[i] != EMPTY && drop(&self.entries[i]) {
                let (row, way) = (i / self.place.ways, i % self.place.ways);
                self.empty(Spot { row: row as u32, way: way as u32 });
                dropped += 1;
            }
        }
        dropped
    }

    /// Drops every entry that `drop` says yes to.
    fn drop_if(&mut self, drop: impl Fn(&TlbEntry) -> bool) -> u32 {
        let dropped = self.empty_if(drop);
        self.stats.invalidations += u64::from(dropped);
        dropped
    }

    /// Drops everything at once.
    fn clear(&mut self) -> u32 {
        let dropped = self.len() as u32;
        if dropped > 0 {
            self.tags.fill(EMPTY);
            (self.live, self.globals, self.fragments) = ([0; 4], 0, 0);
            self.stats.invalidations += u64::from(dropped);
        }
        dropped
    }

    /// Drops the entries of any page size that hold `va` under `pcid`, and those of global pages: a coalesced entry whole, the
    /// pieces of a larger page all together. Returns how many went.
    pub fn invalidate_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        let mut dropped = 0;
        for kind in 0..self.live.len() {
            while let Some(spot) = self.find(kind, va.0 >> self.shifts[kind], pcid) {
                self.empty(spot);
                dropped += 1;
            }
        }
        self.stats.invalidations += u64::from(dropped);
        if self.fragments > 0 {
            dropped += self.drop_if(|e| {
                let origin_page = e.page >> (e.origin.shift() - e.size.shift());
                (e.global || e.pcid == pcid) && origin_page == va.0 >> e.origin.shift() && e.origin != e.size
            });
        }
        dropped
    }

    /// [`Self::invalidate_page`], but entries of global pages stay.
    pub fn invalidate_page_of(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.drop_if(|e| {
            let shift = e.origin.shift().max(e.size.shift() + u32::from(e.span));
            !e.global && e.pcid == pcid && e.start() >> shift == va.0 >> shift
        })
    }

    /// Drops the entries of `pcid` but those of global pages. Returns how many went.
    pub fn invalidate_pcid(&mut self, pcid: u16) -> u32 {
        match self.owner {
            _ if self.is_empty() => 0,
            Some(owner) if owner == pcid => self.clear(),
            Some(_) => 0,
            None => self.drop_if(|e| !e.global && e.pcid == pcid),
        }
    }

    /// Drops every entry; those of global pages only if `include_global`. Returns how many went.
    pub fn invalidate_all(&mut self, include_global: bool) -> u32 {
        if include_global || self.globals == 0 { self.clear() } else { self.drop_if(|e| !e.global) }
    }

    /// Takes the entry for exactly what `e` holds out, because another level has it now.
    pub(in crate::mmu) fn give_up(&mut self, e: &TlbEntry) {
        if let Some(spot) = self.slot_of(e) {
            self.empty(spot);
            self.stats.displaced += 1;
        }
    }

    /// Takes out whatever has a page of `other`, because the level that has to hold it too no longer does.
    pub(in crate::mmu) fn give_up_pages_of(&mut self, other: &TlbEntry) {
        if other.pages() == 1 && self.live[COALESCED] == 0 {
            return self.give_up(other);
        }
        let gone = self.empty_if(|e| other.covers(e) || e.covers(other));
        self.stats.displaced += u64::from(gone);
    }
}
