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
use daxsim_types::{PageSize, Pfn, Time, VirtAddr};

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

/// The page of the last first-level hit. Until the arrays change or another page is looked up, a lookup of it finds
/// the same entry at the front of its set: all that changes is a count.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// 4 KiB page.
    page: u64,
    pcid: u16,
    /// The entry allows stores and is dirty.
    stores: bool,
    /// Its frame.
    frame: Pfn,
    penalty: Time,
}

impl Last {
    /// No page has this number.
    const NONE: Self = Self { page: u64::MAX, pcid: 0, stores: false, frame: Pfn(0), penalty: Time::ZERO };
}

/// The data TLBs of one logical CPU.
#[derive(Clone, Debug)]
pub struct Tlbs {
    last: Last,
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
        Self { last: Last::NONE, first, stlb: Unit::new("stlb", &spec.stlb), hits: 0, misses: 0 }
    }

    /// [`Self::lookup`] of the page looked up last, if that hit the first level and nothing changed since: the frame
    /// of the 4 KiB page, and what finding it added. `None`, without any change, if [`Self::lookup`] has to be asked:
    /// always so for a store that has to set D or is not allowed.
    #[inline]
    pub fn repeat(&mut self, va: VirtAddr, pcid: u16, store: bool) -> Option<(Pfn, Time)> {
        let last = &self.last;
        if last.page != va.0 >> 12 || last.pcid != pcid || (store && !last.stores) {
            return None;
        }
        self.hits += 1;
        Some((last.frame, last.penalty))
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
                self.last = Last {
                    page: va.0 >> 12,
                    pcid,
                    stores: e.writable && e.dirty,
                    frame: e.frame(va),
                    penalty: unit.penalty,
                };
                return Some((*e, HitLevel::Dtlb, unit.penalty));
            }
        }
        self.misses += 1;
        let found = self.stlb.array.touch_any(va, pcid).copied();
        self.stlb.array.count(found.is_some());
        let entry = found?;
        let origin = self.stlb.array.origin(&entry);
        self.fill_first_of(va, entry, origin);
        Some((entry, HitLevel::Stlb, self.stlb.penalty))
    }

    /// Puts `e`, or the piece of it around `va` that fits, into the first level. Returns what was put.
    fn fill_first(&mut self, va: VirtAddr, e: TlbEntry) -> Option<TlbEntry> {
        self.fill_first_of(va, e, e.size)
    }

    /// [`Self::fill_first`] of a page that is itself a piece of one that the tables map with the size `origin`.
    fn fill_first_of(&mut self, va: VirtAddr, e: TlbEntry, origin: PageSize) -> Option<TlbEntry> {
        self.last = Last::NONE;
        for size in PageSize::ALL.into_iter().rev().filter(|&s| s <= e.size) {
            if let Some(unit) = self.first.iter_mut().find(|u| u.holds(size)) {
                let piece = if size == e.size { e } else { e.split(va, size) };
                unit.array.insert_fragment(piece, origin);
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

    /// [`Self::fill`] of a piece of a page that the tables map with the larger size `origin`, where the host's pages are smaller:
    /// what invalidates any address of that page invalidates the piece.
    pub fn fill_piece(&mut self, va: VirtAddr, e: TlbEntry, origin: PageSize) {
        if origin == e.size {
            self.fill(va, e);
            return;
        }
        self.fill_first_of(va, e, origin);
        if self.stlb.holds(e.size) {
            self.stlb.array.insert_fragment(e, origin);
        }
    }

    /// Puts `e` into the STLB alone; false if that does not hold pages of its size.
    pub fn fill_second(&mut self, e: TlbEntry) -> bool {
        let holds = self.stlb.holds(e.size);
        if holds {
            self.last = Last::NONE;
            self.stlb.array.insert(e);
        }
        holds
    }

    /// All arrays, to be changed.
    fn arrays(&mut self) -> impl Iterator<Item = &mut TlbArray> {
        self.last = Last::NONE;
        self.first.iter_mut().chain([&mut self.stlb]).map(|u| &mut u.array)
    }

    /// Every entry of every array.
    pub fn entries(&self) -> impl Iterator<Item = &TlbEntry> {
        self.first.iter().chain([&self.stlb]).flat_map(|unit| unit.array.iter())
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

    /// INVPCID of `va` under `pcid`: as [`Self::drop_page`], but global pages stay.
    pub fn drop_page_of(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.arrays().map(|a| a.invalidate_page_of(va, pcid)).sum()
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

#[cfg(test)]
mod tests {
    use PageSize::{Size1G, Size2M, Size4K};
    use daxsim_configs::machine::{Replacement, SetIndex};
    use daxsim_types::Pfn;

    use super::*;

    fn array(entries: u32, ways: u32, sizes: &[PageSize], cycles: u64) -> TlbSpec {
        TlbSpec {
            entries,
            ways,
            replacement: Replacement::Lru,
            index: SetIndex::Linear,
            page_sizes: sizes.to_vec(),
            hit_penalty: Time(cycles),
        }
    }

    /// Two 4 KiB and two 2 MiB entries at the first level, eight of both sizes at the second.
    fn tlbs() -> Tlbs {
        Tlbs::new(&TlbsSpec {
            dtlb_4k: array(2, 2, &[Size4K], 0),
            dtlb_2m: Some(array(2, 2, &[Size2M], 1)),
            dtlb_1g: None,
            stlb: array(8, 8, &[Size4K, Size2M], 9),
        })
    }

    fn at(page: u64) -> VirtAddr {
        VirtAddr(page << 12 | 0x123)
    }

    fn entry(va: VirtAddr, size: PageSize, pcid: u16) -> TlbEntry {
        TlbEntry {
            page: va.0 >> size.shift(),
            size,
            pcid,
            global: false,
            pfn: Pfn(0x100_0000),
            writable: true,
            user: true,
            dirty: false,
            nx: true,
        }
    }

    fn fill(t: &mut Tlbs, va: VirtAddr, size: PageSize, pcid: u16) {
        t.fill(va, entry(va, size, pcid));
    }

    fn level(t: &mut Tlbs, va: VirtAddr, pcid: u16) -> Option<HitLevel> {
        t.lookup(va, pcid).map(|h| h.1)
    }

    fn stat(t: &Tlbs, name: &str) -> TlbStats {
        t.stats().into_iter().find(|s| s.0 == name).map(|s| s.1).unwrap_or_default()
    }

    #[test]
    fn an_stlb_hit_goes_into_the_first_level_and_an_eviction_nowhere() {
        let mut t = tlbs();
        for page in 0..3 {
            assert_eq!(t.lookup(at(page), 1), None);
            fill(&mut t, at(page), Size4K, 1);
        }
        // Page 0 was pushed out of the first level only.
        assert_eq!(t.lookup(at(0), 1), Some((entry(at(0), Size4K, 1), HitLevel::Stlb, Time(9))));
        assert_eq!(t.lookup(at(0), 1), Some((entry(at(0), Size4K, 1), HitLevel::Dtlb, Time(0))));
        assert_eq!(level(&mut t, at(1), 1), Some(HitLevel::Stlb), "it made room for 0");
        let counts = |s: TlbStats| [s.lookups, s.hits, s.misses, s.fills, s.evictions, s.invalidations];
        assert_eq!(counts(stat(&t, "dtlb")), [6, 1, 5, 5, 3, 0]);
        assert_eq!(counts(stat(&t, "dtlb_4k")), [0, 0, 0, 5, 3, 0]);
        assert_eq!(counts(stat(&t, "dtlb_2m")), [0; 6]);
        assert_eq!(counts(stat(&t, "stlb")), [5, 2, 3, 3, 0, 0]);
    }

    #[test]
    fn an_stlb_eviction_leaves_the_first_level_alone() {
        let mut t = tlbs();
        for page in [0, 1, 512, 1024, 1536, 2048, 2560, 3072, 3584] {
            let size = if page < 2 { Size4K } else { Size2M };
            fill(&mut t, at(page), size, 1);
        }
        assert!(t.stlb.array.probe(0, Size4K, 1).is_none());
        assert_eq!(level(&mut t, at(0), 1), Some(HitLevel::Dtlb));
    }

    #[test]
    fn a_large_page_answers_for_all_of_itself_from_its_own_array() {
        let mut t = tlbs();
        fill(&mut t, at(512), Size2M, 1);
        assert_eq!(t.lookup(at(1023), 1), Some((entry(at(512), Size2M, 1), HitLevel::Dtlb, Time(1))));
        assert_eq!(t.lookup(at(1024), 1), None);
        assert_eq!((stat(&t, "dtlb_4k").fills, stat(&t, "dtlb_2m").fills), (0, 1));
    }

    #[test]
    fn a_page_of_a_size_nobody_holds_is_split_and_its_pieces_go_together() {
        let mut t = tlbs();
        fill(&mut t, at(512 * 3 + 5), Size1G, 1);
        let piece = TlbEntry { pfn: Pfn(0x100_0000 + 3 * 512), ..entry(at(512 * 3), Size2M, 1) };
        assert_eq!(t.lookup(at(512 * 3), 1).map(|h| h.0), Some(piece));
        assert_eq!(t.lookup(at(512 * 4), 1), None, "the rest of the page was not cached");
        fill(&mut t, at(512 * 4), Size1G, 1);
        assert_eq!(t.drop_page(at(0), 1), 4, "two pieces at two levels");

        let only_4k = array(4, 4, &[Size4K], 0);
        let spec = TlbsSpec { dtlb_4k: only_4k.clone(), dtlb_2m: None, dtlb_1g: None, stlb: only_4k };
        let mut t = Tlbs::new(&spec);
        fill(&mut t, at(512 + 7), Size2M, 1);
        let piece = TlbEntry { pfn: Pfn(0x100_0007), ..entry(at(512 + 7), Size4K, 1) };
        assert_eq!(t.lookup(at(512 + 7), 1).map(|h| h.0), Some(piece));
        assert_eq!(t.drop_page(at(512), 1), 2);
    }

    #[test]
    fn a_page_that_only_the_stlb_holds_is_split_on_the_way_up() {
        let mut spec = TlbsSpec {
            dtlb_4k: array(1, 1, &[Size4K], 0),
            dtlb_2m: None,
            dtlb_1g: None,
            stlb: array(4, 4, &[Size4K, Size2M], 9),
        };
        let mut t = Tlbs::new(&spec);
        fill(&mut t, at(512), Size2M, 1);
        assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Stlb), "found whole");
        assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Dtlb), "left as a piece");
        // Where only the first level holds the size, the STLB stays empty.
        spec.dtlb_2m = Some(array(1, 1, &[Size2M], 0));
        spec.stlb.page_sizes = vec![Size4K];
        let mut t = Tlbs::new(&spec);
        fill(&mut t, at(512), Size2M, 1);
        assert!(t.stlb.array.is_empty());
        assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Dtlb));
    }

    #[test]
    fn a_repeat_counts_as_the_hit_that_it_is_until_something_changes() {
        let mut t = tlbs();
        fill(&mut t, at(512 + 3), Size2M, 1);
        fill(&mut t, at(7), Size4K, 1);
        assert_eq!(t.repeat(at(7), 1, false), None, "not looked up yet");
        assert!(t.lookup(at(512 + 3), 1).is_some());
        assert_eq!(t.repeat(at(512 + 3), 1, false), Some((Pfn(0x100_0003), Time(1))));
        assert_eq!(t.repeat(at(512 + 4), 1, false), None, "another page of the large one");
        assert_eq!(t.repeat(at(512 + 3), 2, false), None, "another PCID");
        assert_eq!(t.repeat(at(512 + 3), 1, true), None, "D is not set");
        assert_eq!(stat(&t, "dtlb").hits, 2);
        let changes: [fn(&mut Tlbs); 5] = [
            |t| fill(t, at(7), Size4K, 1),
            |t| t.set_dirty(at(512), 1),
            |t| assert!(t.drop_page(at(7), 1) > 0),
            |t| assert_eq!(t.flush_pcid(9), 0),
            |t| assert!(t.flush_all(false) > 0),
        ];
        for change in changes {
            let mut t = t.clone();
            change(&mut t);
            assert_eq!(t.repeat(at(512 + 3), 1, false), None);
        }
        t.set_dirty(at(512), 1);
        assert!(t.lookup(at(512 + 3), 1).is_some());
        assert_eq!(t.repeat(at(512 + 3), 1, true), Some((Pfn(0x100_0003), Time(1))));
        assert!(t.lookup(at(7), 1).is_some());
        assert_eq!(t.repeat(at(512 + 3), 1, false), None, "no longer the last");
    }

    #[test]
    fn the_second_level_can_be_filled_alone() {
        let mut t = tlbs();
        assert!(t.fill_second(entry(at(7), Size4K, 1)));
        assert_eq!(level(&mut t, at(7), 1), Some(HitLevel::Stlb));
        assert_eq!(level(&mut t, at(7), 1), Some(HitLevel::Dtlb), "brought up by the hit");
        assert!(!t.fill_second(entry(at(0), Size1G, 1)), "a size that it does not hold");
    }

    #[test]
    fn set_dirty_reaches_every_copy_and_nothing_else() {
        let mut t = tlbs();
        for (page, pcid) in [(0, 1), (1, 1), (0, 2)] {
            fill(&mut t, at(page), Size4K, pcid);
        }
        t.set_dirty(at(0), 1);
        // Page 0 of PCID 1 is in the STLB alone by now; the hit brings the dirty copy up.
        assert_eq!(
            [(0, 1), (1, 1), (0, 2)].map(|(p, c)| t.lookup(at(p), c).map(|h| h.0.dirty)),
            [Some(true), Some(false), Some(false)]
        );
        assert_eq!(t.lookup(at(0), 1).map(|h| h.0.dirty), Some(true));
        t.set_dirty(at(0), 2);
        assert_eq!(t.lookup(at(0), 2).map(|h| h.0.dirty), Some(true), "both copies");
    }

    #[test]
    fn each_invalidation_drops_its_own_at_both_levels() {
        let fresh = || {
            let mut t = tlbs();
            t.fill(at(1), TlbEntry { global: true, ..entry(at(1), Size4K, 1) });
            for (page, size, pcid) in [(0, Size4K, 1), (0, Size2M, 1), (0, Size4K, 2), (512, Size2M, 1)] {
                fill(&mut t, at(page), size, pcid);
            }
            t
        };
        let left =
            |t: &mut Tlbs| [(0, 1), (0, 2), (512, 1), (1, 3)].map(|(p, c)| t.lookup(at(p), c).is_some());
        assert_eq!(left(&mut fresh()), [true; 4]);

        let mut t = fresh();
        // Two sizes in the STLB, and both in the first level.
        assert_eq!(t.drop_page(at(0), 1), 4);
        assert_eq!(left(&mut t), [false, true, true, true]);
        let mut t = fresh();
        assert_eq!(t.drop_page(at(1), 9), 1, "a global page goes under any PCID");
        assert_eq!(left(&mut t), [true, true, true, false]);
        let mut t = fresh();
        assert_eq!(t.flush_pcid(1), 6);
        assert_eq!(left(&mut t), [false, true, false, true]);
        let mut t = fresh();
        assert_eq!(t.flush_all(false), 8);
        assert_eq!(left(&mut t), [false, false, false, true]);
        let mut t = fresh();
        assert_eq!(t.flush_all(true), 9);
        assert_eq!(left(&mut t), [false; 4]);
    }
}
