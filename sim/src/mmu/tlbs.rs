//! The two-level data TLB hierarchy of one logical CPU.
//!
//! Behaviour measured by TLB;DR (USENIX Security 2022) on Skylake and Kaby Lake: the first level is
//! neither inclusive nor exclusive of the second; a hit in the STLB puts the entry into the first
//! level; a first-level hit or eviction does nothing to the STLB. Replacement is exact LRU here
//! (the parts have tree-PLRU and MRU variants).
//!
//! A page of a size that no first-level array holds is split: the largest size below it that one
//! holds is cached, for the address accessed. The TLBs may at times hold pages of two sizes for one
//! address, when the tables changed and nothing was invalidated; then the first array asked, and in
//! it the smaller size, answers (Intel SDM vol. 3, 4.10.2.3 leaves the choice open).

use daxsim_configs::machine::{TlbSpec, TlbsSpec};
use daxsim_types::{PageSize, Time, VirtAddr};

use super::tlb::{TlbArray, TlbEntry, TlbStats};

/// Where a lookup hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitLevel {
    /// A first-level array.
    Dtlb,
    /// The second level.
    Stlb,
}

/// An array and what its configuration says of it.
#[derive(Clone, Debug)]
struct Unit {
    name: &'static str,
    array: TlbArray,
    holds: [bool; 3],
    penalty: Time,
}

impl Unit {
    fn new(name: &'static str, spec: &TlbSpec) -> Self {
        let holds = PageSize::ALL.map(|s| spec.holds(s));
        Self { name, array: TlbArray::new(spec), holds, penalty: spec.hit_penalty }
    }

    const fn holds(&self, size: PageSize) -> bool {
        self.holds[size as usize]
    }
}

/// The data TLBs of one logical CPU.
#[derive(Clone, Debug)]
pub struct Tlbs {
    first: Vec<Unit>,
    stlb: Unit,
    hits: u64,
    misses: u64,
}

impl Tlbs {
    /// Empty TLBs of the geometry in `spec`.
    #[must_use]
    pub fn new(spec: &TlbsSpec) -> Self {
        let mut first = vec![Unit::new("dtlb_4k", &spec.dtlb_4k)];
        first.extend(spec.dtlb_2m.as_ref().map(|s| Unit::new("dtlb_2m", s)));
        first.extend(spec.dtlb_1g.as_ref().map(|s| Unit::new("dtlb_1g", s)));
        Self { first, stlb: Unit::new("stlb", &spec.stlb), hits: 0, misses: 0 }
    }

    /// The translation of `va` under `pcid`, where it was found, and what finding it added to the
    /// access.
    ///
    /// All first-level arrays are asked at once; only if none has the page, the STLB. Counts one
    /// lookup of the first level and, if that misses, one of the STLB, however many arrays and page
    /// sizes were probed.
    #[inline]
    pub fn lookup(&mut self, va: VirtAddr, pcid: u16) -> Option<(TlbEntry, HitLevel, Time)> {
        for unit in &mut self.first {
            if let Some(e) = unit.array.touch_any(va, pcid) {
                self.hits += 1;
                return Some((*e, HitLevel::Dtlb, unit.penalty));
            }
        }
        self.misses += 1;
        let found = self.stlb.array.touch_any(va, pcid).copied();
        self.stlb.array.count(found.is_some());
        let entry = found?;
        self.fill_first(va, entry);
        Some((entry, HitLevel::Stlb, self.stlb.penalty))
    }

    /// Puts `e`, or the piece of it around `va` that fits, into the first level. Returns what was put.
    fn fill_first(&mut self, va: VirtAddr, e: TlbEntry) -> Option<TlbEntry> {
        for size in PageSize::ALL.into_iter().rev().filter(|&s| s <= e.size) {
            if let Some(unit) = self.first.iter_mut().find(|u| u.holds(size)) {
                let piece = if size == e.size { e } else { e.split(va, size) };
                unit.array.insert_fragment(piece, e.size);
                return Some(piece);
            }
        }
        None
    }

    /// Caches what a walk for `va` found: in the first-level array of its size, and in the STLB if
    /// that holds the size. Where no first-level array does, the piece around `va` of the largest
    /// size that one holds is cached instead, and the STLB holds the piece if it cannot hold the
    /// page.
    pub fn fill(&mut self, va: VirtAddr, e: TlbEntry) {
        let piece = self.fill_first(va, e);
        if self.stlb.holds(e.size) {
            self.stlb.array.insert(e);
        } else if let Some(piece) = piece.filter(|p| p.size != e.size && self.stlb.holds(p.size)) {
            self.stlb.array.insert_fragment(piece, e.size);
        }
    }

    fn arrays(&mut self) -> impl Iterator<Item = &mut TlbArray> {
        self.first.iter_mut().chain([&mut self.stlb]).map(|u| &mut u.array)
    }

    /// The walker has set D in the leaf that maps `va`: the cached copies are dirty from now on.
    pub fn set_dirty(&mut self, va: VirtAddr, pcid: u16) {
        for array in self.arrays() {
            for size in PageSize::ALL {
                if let Some(e) = array.probe_mut(va.0 >> size.shift(), size, pcid) {
                    e.dirty = true;
                }
            }
        }
    }

    /// INVLPG of `va`, and what a #PF at `va` drops: the entries of any page size that hold it, of
    /// `pcid` or global (Intel SDM vol. 3, 4.10.4.1). Returns how many went.
    pub fn drop_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.arrays().map(|a| a.invalidate_page(va, pcid)).sum()
    }

    /// A CR3 write without NOFLUSH: the entries of `pcid` but those of global pages go. Returns how
    /// many went.
    pub fn flush_pcid(&mut self, pcid: u16) -> u32 {
        self.arrays().map(|a| a.invalidate_pcid(pcid)).sum()
    }

    /// INVPCID of all contexts: every entry goes, those of global pages only if `include_global` (as
    /// with a change of CR4.PGE). Returns how many went.
    pub fn flush_all(&mut self, include_global: bool) -> u32 {
        self.arrays().map(|a| a.invalidate_all(include_global)).sum()
    }

    /// Counts by structure.
    ///
    /// `dtlb` is the first level as one: a lookup an access. `dtlb_4k` and its like count fills,
    /// evictions and invalidations alone. `stlb` has a lookup a first-level miss.
    #[must_use]
    pub fn stats(&self) -> Vec<(&'static str, TlbStats)> {
        let lookups = self.hits + self.misses;
        let mut dtlb = TlbStats { lookups, hits: self.hits, misses: self.misses, ..TlbStats::default() };
        for s in self.first.iter().map(|u| u.array.stats()) {
            dtlb.fills += s.fills;
            dtlb.evictions += s.evictions;
            dtlb.invalidations += s.invalidations;
        }
        let units = self.first.iter().chain([&self.stlb]);
        [("dtlb", dtlb)].into_iter().chain(units.map(|u| (u.name, u.array.stats()))).collect()
    }
}
