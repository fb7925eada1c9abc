//! The TLBs of one logical CPU: first levels for loads, stores and fetches, and what is behind them.
//!
//! Behaviour measured by TLB;DR (USENIX Security 2022) on Skylake and Kaby Lake, and the default: a first level is neither
//! inclusive nor exclusive of the second; a hit in the second puts the entry into the first level; a first-level hit or
//! eviction does nothing to the second. `tlb.inclusion` has the other two.
//!
//! Stores and fetches have first levels of their own where the config says so, and those of loads else. A page of a size that
//! no array of a first level holds is split: the largest size below it that one holds is cached, for the address accessed. The
//! TLBs may at times hold pages of two sizes for one address, when the tables changed and nothing was invalidated; then the
//! first array asked, and in it the smaller size, answers (Intel SDM vol. 3, 4.10.2.3 leaves the choice open).
//!
//! A second level of two parts that both hold 4 KiB pages (Ice Lake and later) asks both at once. A new page goes into the first
//! part with an empty slot for it, else into the two by turns, for each set; a page that is there already stays in its part. So
//! as many pages fit as both have entries, as measured; how real parts choose is not published (assumed).

mod build;
mod foresee;
mod recent;
mod stats;
#[cfg(test)]
mod tests;
mod twins;

use daxsim_configs::machine::{Inclusion, TlbsSpec};
use daxsim_types::{AccessKind, PageSize, Pfn, Time, VirtAddr};

use super::tlb::{PteLine, TlbEntry};
use build::{Built, Group, Unit};
pub(crate) use foresee::PageHit;
use recent::{Known, Recent};
pub use stats::Unbalanced;
use twins::Twin;

/// Where a lookup hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitLevel {
    /// A first-level array.
    Dtlb,
    /// The second level.
    Stlb,
}

/// The TLBs of one logical CPU.
#[derive(Clone, Debug)]
pub struct Tlbs {
    recent: Recent,
    /// Hits of each first-level group.
    hits: [u64; 3],
    units: Vec<Unit>,
    first: Vec<Group>,
    second: Vec<Group>,
    /// The first-level group that each kind of access asks.
    asks: [usize; 3],
    /// The second-level group behind each first-level one.
    behind: Vec<usize>,
    inclusion: Inclusion,
    smash: bool,
    /// Widest coalesced entry of any array, as log2 of its pages.
    span: u8,
    next_page: bool,
    /// For each set of a second level of two parts: whether the second part is next to make room.
    turns: Vec<bool>,
    /// The array of the second level that those of followers are compared with: that of `tlb.stlb`.
    followed: usize,
    /// Those of followers.
    twins: Vec<Twin>,
}

/// Whether an entry allows each kind of access as it is: without a walk, and without a fault.
#[inline]
const fn allows(e: &TlbEntry, kind: AccessKind) -> bool {
    match kind {
        AccessKind::Read => true,
        AccessKind::Write => e.writable && e.dirty,
        AccessKind::Fetch => !e.nx,
    }
}

impl Tlbs {
    /// Empty TLBs of the geometry in `spec`.
    #[must_use]
    pub fn new(spec: &TlbsSpec) -> Self {
        let Built { units, first, second, asks, behind } = Built::new(spec);
        Self {
            followed: second[0].units.start,
            recent: Recent::new(first.len()),
            hits: [0; 3],
            span: units.iter().map(|u| u.array.span()).max().unwrap_or(0),
            units,
            first,
            second,
            asks,
            behind,
            inclusion: spec.inclusion,
            smash: spec.smash,
            next_page: spec.next_page_prefetch,
            twins: Vec::new(),
            turns: vec![false; if spec.stlb_1g.is_some() { spec.stlb.sets() as usize } else { 0 }],
        }
    }

    /// Whether [`Self::fill`] can make use of the entries beside the leaf.
    #[must_use]
    pub const fn coalesces(&self) -> bool {
        self.span > 0
    }

    /// Whether a walk should be followed by one for the next page, see `Machine::prefetch_translation`.
    #[must_use]
    pub const fn prefetches(&self) -> bool {
        self.next_page
    }

    /// [`Self::lookup`] of a page that it found in the first level not long ago, and that allows the access as it is: the frame
    /// of the 4 KiB page, and what finding it added. `None`, without any change, if [`Self::lookup`] has to be asked: always so
    /// for a store that has to set D or is not allowed, and for a fetch that is not.
    #[inline(always)]
    pub fn hit(&mut self, va: VirtAddr, pcid: u16, kind: AccessKind) -> Option<(Pfn, Time)> {
        let at = self.asks[kind as usize];
        let found = self.recent.again(at, va.0 >> 12, pcid, kind);
        if found.is_some() {
            self.hits[at] += 1;
            return found;
        }
        let known = *self.recent.find(at, va.0 >> 12, pcid, kind)?;
        let unit = &mut self.units[usize::from(known.unit)];
        unit.array.used_at(known.spot, known.index as usize);
        self.hits[at] += 1;
        Some(self.recent.found(known, unit.penalty))
    }

    /// The translation of `va` under `pcid` for an access of this kind, where it was found, and what finding it added.
    ///
    /// All first-level arrays are asked at once; only if none has the page, the second level. Counts one lookup of the first
    /// level and, if that misses, one of the second, however many arrays and page sizes were probed.
    #[inline]
    pub fn lookup(
        &mut self,
        va: VirtAddr,
        pcid: u16,
        kind: AccessKind,
    ) -> Option<(TlbEntry, HitLevel, Time)> {
        let at = self.asks[kind as usize];
        let group = &mut self.first[at];
        let start = group.units.start;
        for (number, unit) in (start..).zip(&mut self.units[group.units.clone()]) {
            if let Some(spot) = unit.array.find_any(va, pcid) {
                self.hits[at] += 1;
                unit.array.used(spot);
                let e = *unit.array.at(spot);
                let allows = [AccessKind::Read, AccessKind::Write, AccessKind::Fetch]
                    .into_iter()
                    .map(|kind| u8::from(allows(&e, kind)) << kind as u8)
                    .sum();
                let found = Known::new(number, spot, unit.array.index(spot), e.frame(va), allows);
                self.recent.learn(at, va.0 >> 12, pcid, found);
                self.recent.lost();
                return Some((e, HitLevel::Dtlb, unit.penalty));
            }
        }
        group.misses += 1;
        self.lookup_second(va, pcid, kind)
    }

    /// The rest of [`Self::lookup`], where the first level has missed.
    fn lookup_second(
        &mut self,
        va: VirtAddr,
        pcid: u16,
        kind: AccessKind,
    ) -> Option<(TlbEntry, HitLevel, Time)> {
        let first = self.asks[kind as usize];
        let group = self.behind[first];
        for at in self.second[group].units.clone() {
            let unit = &mut self.units[at];
            let (found, penalty) = (unit.array.touch_any(va, pcid), unit.penalty);
            if at == self.followed && !self.twins.is_empty() {
                self.compare(va, pcid, found.as_ref());
            }
            if let Some(e) = found {
                self.second[group].hits += 1;
                if self.inclusion == Inclusion::Exclusive && self.fits_whole(first, &e).is_some() {
                    // First, so that there is room for what the first level evicts.
                    self.units[at].array.give_up(&e);
                }
                self.fill_first(first, va, &e);
                return Some((e, HitLevel::Stlb, penalty));
            }
        }
        self.second[group].misses += 1;
        None
    }

    /// The array of a first level that can hold all of `e` in one entry.
    #[inline]
    fn fits_whole(&self, first: usize, e: &TlbEntry) -> Option<usize> {
        let (at, size) = self.first[first].fits[e.size as usize]?;
        (size == e.size && (e.span == 0 || e.span == self.units[at].array.span())).then_some(at)
    }

    /// Puts `e`, or the piece of it around `va` that fits, into a first level.
    #[inline]
    fn fill_first(&mut self, first: usize, va: VirtAddr, e: &TlbEntry) {
        if let Some(at) = self.fits_whole(first, e) {
            self.put_first(first, at, e);
        } else if let Some((at, size)) = self.first[first].fits[e.size as usize] {
            self.put_first(first, at, &e.split(va, size));
        }
    }

    /// Puts `e` into an array of a first level.
    #[inline]
    fn put_first(&mut self, first: usize, at: usize, e: &TlbEntry) {
        self.recent.forget(first, (e.pages() == 1).then_some(e.page));
        let array = &mut self.units[at].array;
        let room = array.room_for(e);
        let old = (self.inclusion == Inclusion::Exclusive).then(|| *array.at(room.spot()));
        if let Some(gone) = array.put(room, e) {
            self.recent.forget(first, gone.small_page());
            if let Some(old) = old {
                self.put_second(self.behind[first], &old);
            }
        }
    }

    /// Caches what a walk for an access of this kind to `va` found: in the first-level array of its size, and in the second
    /// level if that holds the size. Where no first-level array does, the piece around `va` of the largest size that one holds
    /// is cached instead, and the second level holds that piece if it cannot hold the page (with `tlb.smash`, the largest that
    /// it can hold). `line` has the entry and its neighbours, for arrays that coalesce.
    pub fn fill(&mut self, va: VirtAddr, e: TlbEntry, kind: AccessKind, line: Option<&PteLine>) {
        let first = self.asks[kind as usize];
        let above = self.first[first].fits[e.size as usize];
        match above.and_then(|(at, _)| self.wide(at, &e, line)) {
            Some(wide) => self.fill_first(first, va, &wide),
            None => self.fill_first(first, va, &e),
        }
        if self.inclusion == Inclusion::Exclusive && above.is_some() {
            return;
        }
        let second = self.behind[first];
        let Some((at, size)) = self.second[second].fits[e.size as usize] else { return };
        if size == e.size {
            match self.wide(at, &e, line) {
                Some(wide) => self.put_second(second, &wide),
                None => self.put_second(second, &e),
            };
        } else if self.smash {
            self.put_second(second, &e.split(va, size));
        } else if let Some((_, above)) = above.filter(|(_, above)| *above < e.size) {
            self.put_second(second, &e.split(va, above));
        }
    }

    /// `e` with its neighbours, if the array can hold them in one entry.
    #[inline]
    fn wide(&self, at: usize, e: &TlbEntry, line: Option<&PteLine>) -> Option<TlbEntry> {
        let span = self.units[at].array.span();
        line.filter(|_| span > 0)?.coalesce(*e, span)
    }

    /// Puts `e` into the second level of data alone; false if that does not hold pages of its size.
    pub fn fill_second(&mut self, e: TlbEntry) -> bool {
        self.put_second(0, &e)
    }

    /// Puts `e` into the part of a second level that is to have it; false if none holds its size.
    fn put_second(&mut self, group: usize, e: &TlbEntry) -> bool {
        let parts = &self.second[group];
        let at = match (parts.fits[e.size as usize], parts.shared) {
            (Some((_, size)), _) if size != e.size => return false,
            (Some((_, PageSize::Size4K)), Some([one, other])) => self.part_for(one, other, e),
            (Some((at, _)), _) => at,
            (None, _) => return false,
        };
        if at == self.followed && !self.twins.is_empty() {
            self.insert_in_twins(e);
        }
        let array = &mut self.units[at].array;
        if e.span > 0 && e.span != array.span() {
            // An entry of a first level that coalesces otherwise: its pages one by one.
            for page in e.each() {
                array.insert(page);
            }
            return true;
        }
        let room = array.room_for(e);
        let old = (self.inclusion == Inclusion::Inclusive).then(|| *array.at(room.spot()));
        if let Some(old) = array.put(room, e).and(old) {
            self.drop_above(group, &old);
        }
        true
    }

    /// Which of two parts gets `e`.
    fn part_for(&mut self, one: usize, other: usize, e: &TlbEntry) -> usize {
        let has = |at: &usize| self.units[*at].array.has(e);
        let has_room = |at: &usize| self.units[*at].array.has_room(e);
        if let Some(at) = [one, other].into_iter().find(has) {
            return at;
        }
        if let Some(at) = [one, other].into_iter().find(has_room) {
            return at;
        }
        let set = self.units[one].array.row_of(e);
        let turn = self.turns.get_mut(set);
        let second = turn.as_deref().copied().unwrap_or(false);
        if let Some(turn) = turn {
            *turn = !second;
        }
        if second { other } else { one }
    }

    /// Drops from the first levels before a second one what this evicted.
    fn drop_above(&mut self, group: usize, victim: &TlbEntry) {
        self.recent.forget_all();
        for first in 0..self.first.len() {
            if self.behind[first] == group {
                let units = self.first[first].units.clone();
                self.units[units].iter_mut().for_each(|u| u.array.give_up_pages_of(victim));
            }
        }
    }

    /// Asks the host for where the second level of data has 4 KiB pages.
    #[inline]
    pub fn warm(&self, va: VirtAddr) {
        if let Some((at, PageSize::Size4K)) = self.second[0].fits[PageSize::Size4K as usize] {
            self.units[at].array.warm(va);
        }
    }

    /// Every array, to be changed.
    fn arrays(&mut self) -> impl Iterator<Item = &mut super::tlb::TlbArray> {
        self.recent.forget_all();
        self.units.iter_mut().map(|u| &mut u.array)
    }

    /// Every entry of every array.
    pub fn entries(&self) -> impl Iterator<Item = &TlbEntry> {
        self.units.iter().flat_map(|unit| unit.array.iter())
    }

    /// What the array with this name (`dtlb_4k`, `stlb`, ...) holds for `va` under `pcid`; neither counted nor noted.
    #[must_use]
    pub fn probe(&self, name: &str, va: VirtAddr, pcid: u16) -> Option<&TlbEntry> {
        let unit = self.units.iter().find(|u| u.name == name)?;
        unit.array.find_any(va, pcid).map(|spot| unit.array.at(spot))
    }

    /// Whether the second level of data holds `va`; neither counted nor noted.
    #[must_use]
    pub fn second_holds(&self, va: VirtAddr, pcid: u16) -> bool {
        self.units[self.second[0].units.clone()].iter().any(|u| u.array.find_any(va, pcid).is_some())
    }

    /// INVLPG of `va`, and what a #PF at `va` drops: the entries of any page size that hold it, of
    /// `pcid` or global (Intel SDM vol. 3, 4.10.4.1). Returns how many went.
    pub fn drop_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.each_twin(|a| a.invalidate_page(va, pcid));
        self.arrays().map(|a| a.invalidate_page(va, pcid)).sum()
    }

    /// INVPCID of `va` under `pcid`: as [`Self::drop_page`], but global pages stay.
    pub fn drop_page_of(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.each_twin(|a| a.invalidate_page_of(va, pcid));
        self.arrays().map(|a| a.invalidate_page_of(va, pcid)).sum()
    }

    /// A CR3 write without NOFLUSH: the entries of `pcid` but those of global pages go. Returns how
    /// many went.
    pub fn flush_pcid(&mut self, pcid: u16) -> u32 {
        self.each_twin(|a| a.invalidate_pcid(pcid));
        self.arrays().map(|a| a.invalidate_pcid(pcid)).sum()
    }

    /// INVPCID of all contexts: every entry goes, those of global pages only if `include_global` (as
    /// with a change of CR4.PGE). Returns how many went.
    pub fn flush_all(&mut self, include_global: bool) -> u32 {
        self.each_twin(|a| a.invalidate_all(include_global));
        self.arrays().map(|a| a.invalidate_all(include_global)).sum()
    }
}
