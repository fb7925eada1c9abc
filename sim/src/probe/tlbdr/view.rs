//! TLBs seen from outside: where an access hit.

use daxsim_configs::machine::TlbsSpec;
use daxsim_types::AccessKind::{self, Fetch, Read};
use daxsim_types::{PageSize, Pfn, VirtAddr};

use crate::mmu::entry::Entry;
use crate::mmu::tlb::TlbEntry;
use crate::mmu::tlbs::{HitLevel, Tlbs};

/// The PCID of all pages.
const PCID: u16 = 1;

/// Where an access found its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    First,
    Second,
    Walk,
}

/// The kind that shares the STLB alone with this one.
pub(super) const fn other(kind: AccessKind) -> AccessKind {
    if matches!(kind, Fetch) { Read } else { Fetch }
}

/// The TLBs of one CPU, of which only the outcome of accesses to 4 KiB pages can be seen.
#[derive(Clone)]
pub(super) struct View(Tlbs);

impl View {
    pub(super) fn new(spec: &TlbsSpec) -> Self {
        Self(Tlbs::new(spec))
    }

    pub(super) fn access(&mut self, page: u64, kind: AccessKind) -> Seen {
        let va = VirtAddr(page << 12);
        match self.0.lookup(va, PCID, kind) {
            Some((_, HitLevel::Dtlb, _)) => Seen::First,
            Some((_, HitLevel::Stlb, _)) => Seen::Second,
            None => {
                let leaf = Entry::leaf(Pfn(page), Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D);
                self.0.fill(va, TlbEntry::of(va, PageSize::Size4K, PCID, leaf, true, true), kind, None);
                Seen::Walk
            }
        }
    }

    pub(super) fn run(&mut self, pages: impl IntoIterator<Item = u64>, kind: AccessKind) {
        for page in pages {
            self.access(page, kind);
        }
    }

    /// What an access would see, with nothing disturbed.
    pub(super) fn would_see(&self, page: u64, kind: AccessKind) -> Seen {
        self.clone().access(page, kind)
    }

    /// How many of the pages a level still has after all were accessed three times.
    pub(super) fn kept(&self, pages: &[u64], kind: AccessKind, level: Seen) -> usize {
        let mut view = self.clone();
        for _ in 0..3 {
            view.run(pages.iter().copied(), kind);
        }
        let asked = if level == Seen::First { kind } else { other(kind) };
        pages.iter().filter(|page| view.would_see(**page, asked) == level).count()
    }
}
