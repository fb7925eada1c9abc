//! One TLB array: set-associative (or fully associative), exact LRU, several page sizes and PCIDs.
//!
//! What an entry is found by: page number, page size and PCID, all exactly; an entry of a global
//! page is found under every PCID (Intel SDM vol. 3, 4.10.2.2 and 4.10.2.4). Set choice: low bits
//! of the page number of the entry's own size, or those folded with the next as many (TLB;DR,
//! USENIX Security 2022: the "XOR-7" of Skylake's 128-set STLB).
//!
//! Layout: the tags of a set are consecutive and in order of use, so position is LRU rank, a run of
//! accesses to one page ends at the first compare, and the victim is always the last. The entries
//! stay where they are; a slot number moves along with the tag. Empty slots are always at the end.

use daxsim_configs::machine::{SetIndex, TlbSpec};
use daxsim_types::{PageSize, Pfn, VirtAddr};

use super::entry::Entry;

/// A cached translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlbEntry {
    /// Page number in units of `size`: `va >> size.shift()`.
    pub page: u64,
    /// Page size.
    pub size: PageSize,
    /// Process-context identifier it was cached under.
    pub pcid: u16,
    /// Whether it serves every PCID.
    pub global: bool,
    /// Frame of the page's first 4 KiB.
    pub pfn: Pfn,
    /// Whether every entry of the walk had RW = 1.
    pub writable: bool,
    /// Whether every entry of the walk had US = 1.
    pub user: bool,
    /// Whether the leaf had D = 1: if not, a store must walk again to set it.
    pub dirty: bool,
    /// Whether any entry of the walk had NX = 1.
    pub nx: bool,
}

impl TlbEntry {
    /// What is cached of the leaf `entry` that maps `va` with a page of `size`. `writable` and `user`: RW and US of every
    /// level, and-ed.
    #[must_use]
    pub const fn of(
        va: VirtAddr,
        size: PageSize,
        pcid: u16,
        entry: Entry,
        writable: bool,
        user: bool,
    ) -> Self {
        Self {
            page: va.0 >> size.shift(),
            size,
            pcid,
            global: entry.0 & Entry::G != 0,
            pfn: entry.pfn(),
            writable,
            user,
            dirty: entry.hw_dirty(),
            nx: entry.0 & Entry::NX != 0,
        }
    }

    /// The same translation for the page of a smaller `size` that holds `va`.
    #[must_use]
    pub const fn split(self, va: VirtAddr, size: PageSize) -> Self {
        let page = va.0 >> size.shift();
        let inside = (page << (size.shift() - 12)) & (self.size.pages() - 1);
        Self { page, size, pfn: Pfn(self.pfn.0 + inside), ..self }
    }

    /// Frame of the 4 KiB that hold `va`.
    #[inline]
    #[must_use]
    pub const fn frame(&self, va: VirtAddr) -> Pfn {
        Pfn(self.pfn.0 + ((va.0 >> 12) & (self.size.pages() - 1)))
    }
}

/// What happened in a structure since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbStats {
    /// Counted lookups: `hits + misses`.
    pub lookups: u64,
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Entries put in, replacements of an entry for the same page included.
    pub fills: u64,
    /// Entries that a fill pushed out.
    pub evictions: u64,
    /// Entries that an invalidation removed.
    pub invalidations: u64,
}

/// Tag of an empty slot: [`tag`] never sets bit 19.
const EMPTY: u64 = u64::MAX;
/// Marks the tag of a global page.
const GLOBAL: u64 = 1 << 18;

/// What an entry is found by. Exact, as a canonical address (the others never reach a TLB) is
/// known by its low 48 bits: at most 44 bits of page number, 16 of PCID, 2 of size.
#[inline]
const fn tag(page: u64, size: PageSize, pcid: u16) -> u64 {
    (page << 20) | ((pcid as u64) << 2) | size as u64
}

/// [`tag`] of a global page, without a PCID.
#[inline]
const fn global_tag(page: u64, size: PageSize) -> u64 {
    tag(page, size, 0) | GLOBAL
}

/// One array.
#[derive(Clone, Debug)]
pub struct TlbArray {
    /// `ways` tags a set, last used first, then [`EMPTY`].
    tags: Vec<u64>,
    /// Parallel to `tags`: which of the set's entries the tag belongs to.
    slots: Vec<u16>,
    /// `ways` entries a set, in no order.
    entries: Vec<TlbEntry>,
    /// Parallel to `entries`: size of the page as the tables map it (larger for a fragment).
    origins: Vec<PageSize>,
    ways: usize,
    set_mask: u64,
    /// The page number is exclusive-ored with itself shifted by this; 63 for a linear index.
    fold: u32,
    /// Live entries by page size.
    live: [u32; 3],
    /// Live entries of global pages.
    globals: u32,
    /// Live fragments.
    fragments: u32,
    /// The PCID of every entry since the array was last empty, if they had one and none was global.
    owner: Option<u16>,
    stats: TlbStats,
}

impl TlbArray {
    /// An empty array of the geometry in `spec`.
    #[must_use]
    pub fn new(spec: &TlbSpec) -> Self {
        let (entries, ways, sets) = (spec.entries as usize, spec.ways as usize, spec.sets());
        let nothing = TlbEntry {
            page: 0,
            size: PageSize::Size4K,
            pcid: 0,
            global: false,
            pfn: Pfn(0),
            writable: false,
            user: false,
            dirty: false,
            nx: false,
        };
        Self {
            tags: vec![EMPTY; entries],
            slots: (0..entries).map(|i| (i % ways) as u16).collect(),
            entries: vec![nothing; entries],
            origins: vec![PageSize::Size4K; entries],
            ways,
            set_mask: u64::from(sets) - 1,
            fold: match spec.index {
                SetIndex::Linear => 63,
                SetIndex::Xor => sets.trailing_zeros(),
            },
            live: [0; 3],
            globals: 0,
            fragments: 0,
            owner: None,
            stats: TlbStats::default(),
        }
    }

    /// Index of the first tag of the set that `page` is in.
    #[inline]
    const fn base(&self, page: u64) -> usize {
        ((page ^ (page >> self.fold)) & self.set_mask) as usize * self.ways
    }

    /// Rank in the set at `base` of the entry with `tag`.
    #[inline]
    fn rank(&self, base: usize, tag: u64) -> Option<usize> {
        self.tags[base..base + self.ways].iter().position(|&t| t == tag)
    }

    /// Set and rank of the entry that serves `page` under `pcid`.
    #[inline]
    fn find(&self, page: u64, size: PageSize, pcid: u16) -> Option<(usize, usize)> {
        if self.live[size as usize] == 0 {
            return None;
        }
        let base = self.base(page);
        let mut at = self.rank(base, tag(page, size, pcid));
        if at.is_none() && self.globals > 0 {
            at = self.rank(base, global_tag(page, size));
        }
        Some((base, at?))
    }

    /// Index into `entries` of the entry at `rank`.
    #[inline]
    fn entry_index(&self, base: usize, rank: usize) -> usize {
        base + usize::from(self.slots[base + rank])
    }

    /// Makes the entry at `rank` the last used of its set.
    #[inline]
    fn promote(&mut self, base: usize, rank: usize) {
        if rank < 16 {
            let (mut tag, mut slot) = (self.tags[base + rank], self.slots[base + rank]);
            let (tags, slots) = (&mut self.tags[base..=base + rank], &mut self.slots[base..=base + rank]);
            for (t, s) in tags.iter_mut().zip(slots) {
                std::mem::swap(t, &mut tag);
                std::mem::swap(s, &mut slot);
            }
        } else {
            self.tags[base..=base + rank].rotate_right(1);
            self.slots[base..=base + rank].rotate_right(1);
        }
    }

    /// [`Self::lookup`] without counting.
    #[inline]
    pub fn touch(&mut self, page: u64, size: PageSize, pcid: u16) -> Option<&mut TlbEntry> {
        let (base, rank) = self.find(page, size, pcid)?;
        Some(self.used(base, rank))
    }

    /// [`Self::touch`] for the page of any size that holds `va`, smallest first.
    #[inline]
    pub fn touch_any(&mut self, va: VirtAddr, pcid: u16) -> Option<&mut TlbEntry> {
        let (base, rank) = PageSize::ALL.into_iter().find_map(|s| self.find(va.0 >> s.shift(), s, pcid))?;
        Some(self.used(base, rank))
    }

    /// The entry at `rank`, after making it the last used of its set.
    #[inline]
    fn used(&mut self, base: usize, rank: usize) -> &mut TlbEntry {
        if rank > 0 {
            self.promote(base, rank);
        }
        let i = self.entry_index(base, 0);
        &mut self.entries[i]
    }

    /// The entry that serves `page` of `size` under `pcid`, which becomes the last used of its set.
    /// Counts one lookup.
    #[inline]
    pub fn lookup(&mut self, page: u64, size: PageSize, pcid: u16) -> Option<&mut TlbEntry> {
        let found = self.find(page, size, pcid);
        self.count(found.is_some());
        let (base, rank) = found?;
        Some(self.used(base, rank))
    }

    /// Counts a lookup made by [`Self::touch`] or [`Self::touch_any`].
    #[inline]
    pub const fn count(&mut self, hit: bool) {
        self.stats.lookups += 1;
        self.stats.hits += hit as u64;
        self.stats.misses += !hit as u64;
    }

    /// The entry that [`Self::lookup`] would find, neither counted nor touched.
    #[must_use]
    pub fn probe(&self, page: u64, size: PageSize, pcid: u16) -> Option<&TlbEntry> {
        let (base, rank) = self.find(page, size, pcid)?;
        Some(&self.entries[self.entry_index(base, rank)])
    }

    /// [`Self::probe`], to change the entry. Page, size, PCID and globality must stay.
    pub fn probe_mut(&mut self, page: u64, size: PageSize, pcid: u16) -> Option<&mut TlbEntry> {
        let (base, rank) = self.find(page, size, pcid)?;
        let i = self.entry_index(base, rank);
        Some(&mut self.entries[i])
    }

    /// Puts `entry` in as the last used of its set, in place of the entry for the same page if
    /// there is one, else in an empty slot, else in place of the least recently used, which is
    /// returned.
    pub fn insert(&mut self, entry: TlbEntry) -> Option<TlbEntry> {
        self.insert_fragment(entry, entry.size)
    }

    /// [`Self::insert`] of a piece of a page that the tables map with the size `origin`: what
    /// invalidates any address of that page invalidates the piece (Intel SDM vol. 3, 4.10.4.1, on
    /// several smaller-page entries for one translation).
    #[inline]
    pub fn insert_fragment(&mut self, entry: TlbEntry, origin: PageSize) -> Option<TlbEntry> {
        let base = self.base(entry.page);
        let tag = match entry.global {
            true => global_tag(entry.page, entry.size),
            false => tag(entry.page, entry.size, entry.pcid),
        };
        self.stats.fills += 1;
        let found = if self.live[entry.size as usize] > 0 { self.rank(base, tag) } else { None };
        let rank = found.unwrap_or(self.ways - 1);
        let i = self.entry_index(base, rank);
        let old = (self.tags[base + rank] != EMPTY).then(|| {
            self.forget(i);
            self.entries[i]
        });
        let victim = if found.is_none() { old } else { None };
        self.stats.evictions += u64::from(victim.is_some());

        if self.is_empty() {
            self.owner = (!entry.global).then_some(entry.pcid);
        } else if entry.global || self.owner != Some(entry.pcid) {
            self.owner = None;
        }
        self.live[entry.size as usize] += 1;
        self.globals += u32::from(entry.global);
        self.fragments += u32::from(origin != entry.size);
        self.tags[base + rank] = tag;
        self.entries[i] = entry;
        self.origins[i] = origin;
        self.promote(base, rank);
        victim
    }

    /// Takes `entries[i]` out of the counts of live entries.
    fn forget(&mut self, i: usize) {
        let e = &self.entries[i];
        self.live[e.size as usize] -= 1;
        self.globals -= u32::from(e.global);
        self.fragments -= u32::from(self.origins[i] != e.size);
    }

    /// Drops the entry at `rank`.
    fn remove(&mut self, base: usize, rank: usize) {
        self.forget(self.entry_index(base, rank));
        self.tags[base + rank] = EMPTY;
        self.tags[base + rank..base + self.ways].rotate_left(1);
        self.slots[base + rank..base + self.ways].rotate_left(1);
        self.stats.invalidations += 1;
    }

    /// Drops every entry that `drop` says yes to, given also the size of the page it came from.
    fn drop_if(&mut self, drop: impl Fn(&TlbEntry, PageSize) -> bool) -> u32 {
        let mut dropped = 0;
        for base in (0..self.tags.len()).step_by(self.ways) {
            let mut rank = 0;
            while rank < self.ways && self.tags[base + rank] != EMPTY {
                let i = self.entry_index(base, rank);
                if drop(&self.entries[i], self.origins[i]) {
                    self.remove(base, rank);
                    dropped += 1;
                } else {
                    rank += 1;
                }
            }
        }
        dropped
    }

    /// Drops everything at once.
    fn clear(&mut self) -> u32 {
        let dropped = self.len() as u32;
        if dropped > 0 {
            self.tags.fill(EMPTY);
            (self.live, self.globals, self.fragments) = ([0; 3], 0, 0);
            self.stats.invalidations += u64::from(dropped);
        }
        dropped
    }

    /// Drops the entries of any page size that hold `va` under `pcid`, and those of global pages.
    /// Fragments of a large page go together. Returns how many went.
    pub fn invalidate_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        let mut dropped = 0;
        for size in PageSize::ALL {
            while let Some((base, rank)) = self.find(va.0 >> size.shift(), size, pcid) {
                self.remove(base, rank);
                dropped += 1;
            }
        }
        if self.fragments > 0 {
            dropped += self.drop_if(|e, origin| {
                let origin_page = e.page >> (origin.shift() - e.size.shift());
                (e.global || e.pcid == pcid) && origin_page == va.0 >> origin.shift() && origin != e.size
            });
        }
        dropped
    }

    /// [`Self::invalidate_page`], but entries of global pages stay.
    pub fn invalidate_page_of(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.drop_if(|e, origin| {
            let page = e.page >> (origin.shift() - e.size.shift());
            !e.global && e.pcid == pcid && page == va.0 >> origin.shift()
        })
    }

    /// Size of the page, as the tables map it, that a live entry is a piece of; its own for others.
    #[must_use]
    pub fn origin(&self, entry: &TlbEntry) -> PageSize {
        if self.fragments == 0 {
            return entry.size;
        }
        let found = self.find(entry.page, entry.size, entry.pcid);
        found.map_or(entry.size, |(base, rank)| self.origins[self.entry_index(base, rank)])
    }

    /// Drops the entries of `pcid` but those of global pages. Returns how many went.
    pub fn invalidate_pcid(&mut self, pcid: u16) -> u32 {
        match self.owner {
            _ if self.is_empty() => 0,
            Some(owner) if owner == pcid => self.clear(),
            Some(_) => 0,
            None => self.drop_if(|e, _| !e.global && e.pcid == pcid),
        }
    }

    /// Drops every entry; those of global pages only if `include_global`. Returns how many went.
    pub fn invalidate_all(&mut self, include_global: bool) -> u32 {
        if include_global || self.globals == 0 { self.clear() } else { self.drop_if(|e, _| !e.global) }
    }

    /// Every live entry, set by set, last used first.
    pub fn iter(&self) -> impl Iterator<Item = &TlbEntry> {
        let live = (0..self.tags.len()).filter(|at| self.tags[*at] != EMPTY);
        live.map(|at| &self.entries[self.entry_index(at - at % self.ways, at % self.ways)])
    }

    /// Live entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.live[0] + self.live[1] + self.live[2]) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts since the array was made.
    #[must_use]
    pub const fn stats(&self) -> TlbStats {
        self.stats
    }
}
