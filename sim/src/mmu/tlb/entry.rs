//! What a TLB caches, and what is counted of it.

use daxsim_types::{PageSize, Pfn, VirtAddr};

use crate::mmu::entry::Entry;

/// A cached translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlbEntry {
    /// Page number in units of `size`: `va >> size.shift()`; of the first page, if there are several.
    pub page: u64,
    /// Page size.
    pub size: PageSize,
    /// log2 of the pages, aligned and contiguous, that the entry holds: 0, but for coalesced 4 KiB pages.
    pub span: u8,
    /// Size of the page as the tables map it: larger than `size` for a piece of it. What invalidates any address of that page
    /// invalidates the piece (Intel SDM vol. 3, 4.10.4.1, on several smaller-page entries for one translation).
    pub origin: PageSize,
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
    /// What an empty slot holds.
    pub(super) const NOTHING: Self = Self {
        page: 0,
        size: PageSize::Size4K,
        span: 0,
        origin: PageSize::Size4K,
        pcid: 0,
        global: false,
        pfn: Pfn(0),
        writable: false,
        user: false,
        dirty: false,
        nx: false,
    };

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
            span: 0,
            origin: size,
            pcid,
            global: entry.0 & Entry::G != 0,
            pfn: entry.pfn(),
            writable,
            user,
            dirty: entry.hw_dirty(),
            nx: entry.0 & Entry::NX != 0,
        }
    }

    /// The same translation for the one page of `size`, at most its own, that holds `va`.
    #[must_use]
    pub const fn split(self, va: VirtAddr, size: PageSize) -> Self {
        let page = va.0 >> size.shift();
        let inside = (page << (size.shift() - 12)) & (self.pages() - 1);
        Self { page, size, span: 0, pfn: Pfn(self.pfn.0 + inside), ..self }
    }

    /// 4 KiB pages that the entry holds, a power of two, aligned.
    #[inline]
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.size.pages() << self.span
    }

    /// The entry of each of its pages alone.
    pub fn each(self) -> impl Iterator<Item = Self> {
        let step = self.size.pages();
        (0..1_u64 << self.span).map(move |i| Self {
            page: self.page + i,
            pfn: Pfn(self.pfn.0 + i * step),
            span: 0,
            ..self
        })
    }

    /// Frame of the 4 KiB that hold `va`.
    #[inline]
    #[must_use]
    pub const fn frame(&self, va: VirtAddr) -> Pfn {
        Pfn(self.pfn.0 + ((va.0 >> 12) & (self.pages() - 1)))
    }

    /// First address.
    pub(super) const fn start(&self) -> u64 {
        self.page << self.size.shift()
    }

    /// Whether all of `other` lies in it and is served under the same PCIDs.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let first = |page: u64| page / self.pages();
        first(other.start() >> 12) == first(self.start() >> 12)
            && other.pages() <= self.pages()
            && other.global == self.global
            && (self.global || other.pcid == self.pcid)
    }
}

/// The eight page-table entries of the line that a walk read last: what a TLB that coalesces looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PteLine(pub [Entry; 8]);

impl PteLine {
    /// The bits of a PTE that all pages of an entry have to share: all but the frame, A, and what hardware ignores.
    const SHARED: u64 = Entry::P
        | Entry::RW
        | Entry::US
        | Entry::PWT
        | Entry::PCD
        | Entry::D
        | Entry::PS
        | Entry::G
        | Entry::NX;

    /// `e`, a 4 KiB page, with its neighbours of the aligned `1 << span` pages around it, if all are present and accessed, with
    /// the same rights, on frames that are contiguous and aligned alike.
    #[must_use]
    pub fn coalesce(&self, e: TlbEntry, span: u8) -> Option<TlbEntry> {
        let pages = 1_u64 << span;
        let first = e.page & !(pages - 1);
        let frame = e.pfn.0.checked_sub(e.page - first)?;
        let own = self.0[(e.page & 7) as usize];
        let fits = (first..first + pages).all(|page| {
            let entry = self.0[(page & 7) as usize];
            entry.accessed()
                && (entry.0 ^ own.0) & Self::SHARED == 0
                && entry.pfn().0 == frame + (page - first)
        });
        let whole = e.size == PageSize::Size4K && e.span == 0 && own.is_present();
        (whole && fits && frame.is_multiple_of(pages)).then_some(TlbEntry {
            page: first,
            span,
            pfn: Pfn(frame),
            ..e
        })
    }
}

/// What happened in a structure since it was made.
///
/// `fills` is what is live and all that went: `live + evictions + invalidations + replaced + displaced`.
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
    /// Entries that a fill of another page pushed out.
    pub evictions: u64,
    /// Entries that an invalidation removed.
    pub invalidations: u64,
    /// Entries that a fill of the same page replaced.
    pub replaced: u64,
    /// Entries that went because of another level: moved up by an exclusive hierarchy, dropped by an inclusive one.
    pub displaced: u64,
}

impl TlbStats {
    /// Whether the counts add up in a structure of `live` entries.
    #[must_use]
    pub const fn balances(&self, live: usize) -> bool {
        let gone = self.evictions + self.invalidations + self.replaced + self.displaced;
        self.lookups == self.hits + self.misses && self.fills == live as u64 + gone
    }

    /// Adds what another structure counted.
    pub const fn add(&mut self, other: &Self) {
        self.lookups += other.lookups;
        self.hits += other.hits;
        self.misses += other.misses;
        self.fills += other.fills;
        self.evictions += other.evictions;
        self.invalidations += other.invalidations;
        self.replaced += other.replaced;
        self.displaced += other.displaced;
    }
}
