//! `get_user_pages_fast` and `pin_user_pages_fast`, as O_DIRECT I/O on a DAX buffer takes its pages (spec 1.5).

use daxsim_types::{CacheLine, PageSize, Pfn, VirtAddr};

use super::LineName;
use super::fault::{fault_in, read_entry};
use super::mm::MmId;
use super::page::{Folio, drop_counts};
use crate::engine::{Cx, LockId, LockMode};
use crate::machine::Machine;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// How a page is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// FOLL_PIN: `pin_user_pages`, which direct I/O uses.
    Pin,
    /// FOLL_GET: `get_user_pages`.
    Get,
}

/// GUP_PIN_COUNTING_BIAS (Linux `include/linux/mm.h`, the same in 6.12 and 7.2): what a pin adds to the refcount of a page that
/// has no pincount of its own.
const GUP_PIN_COUNTING_BIAS: i64 = 1024;
/// Attempts at a page that is taken away again and again before the call gives up.
const ATTEMPTS: u32 = 16;
const PAGE: u64 = PageSize::Size4K.bytes();

/// One page that is held; it stays so when its mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPage {
    va: u64,
    folio: Folio,
    kind: PinKind,
}

/// A leaf that GUP found.
#[derive(Clone, Copy)]
struct Leaf {
    slot: Slot,
    entry: Entry,
    level: u32,
}

/// Holds every page of `start..end`. On failure those taken are given back, and nothing is held.
pub(crate) async fn gup(
    cx: &Cx<'_>,
    mm: MmId,
    range: (u64, u64),
    write: bool,
    kind: PinKind,
) -> Result<(), VirtAddr> {
    let mut held = Vec::new();
    let mut at = range.0 & !(PAGE - 1);
    while at < range.1 {
        let va = VirtAddr(at);
        let fast = gup_fast_page(cx, mm, va, write, kind).await;
        let page = match fast {
            Some(page) => Some(page),
            None => gup_slow_page(cx, mm, va, write, kind).await,
        };
        let Some(page) = page else {
            for page in held {
                put_held(cx, page).await;
            }
            return Err(va);
        };
        held.push(page);
        at += PAGE;
    }
    cx.with(|m| {
        for page in held {
            m.mm_mut(mm).held.entry(page.va).or_default().push(page);
        }
    });
    Ok(())
}

/// Gives up one hold of each page of `start..end`, the latest first; false if there is a page without one.
pub(crate) async fn unpin_user_pages(cx: &Cx<'_>, mm: MmId, range: (u64, u64)) -> bool {
    let mut all = true;
    let mut at = range.0 & !(PAGE - 1);
    while at < range.1 {
        let page = cx.with(|m| {
            let held = &mut m.mm_mut(mm).held;
            let pages = held.get_mut(&at)?;
            let page = pages.pop();
            if pages.is_empty() {
                held.remove(&at);
            }
            page
        });
        match page {
            Some(page) => put_held(cx, page).await,
            None => all = false,
        }
        at += PAGE;
    }
    all
}

/// `gup_fast`: the tables are walked with interrupts off, which keeps them from being freed; the page is taken, and given back
/// if its entry has changed meanwhile. `None` where the slow path has to look.
async fn gup_fast_page(cx: &Cx<'_>, mm: MmId, va: VirtAddr, write: bool, kind: PinKind) -> Option<HeldPage> {
    let irqs = cx.set_irqs(false);
    let page = match walk(cx, mm, va).await {
        // pte_special: no page is behind the entry, or one that is not counted. A devmap entry says so with the bit.
        Some(leaf) if leaf.entry.0 & Entry::SPECIAL != 0 && leaf.entry.0 & Entry::DEVMAP == 0 => None,
        Some(leaf) if write && !leaf.entry.is_writable() => None,
        Some(leaf) => grab_unlocked(cx, mm, va, leaf, kind).await,
        None => None,
    };
    cx.set_irqs(irqs);
    page
}

async fn grab_unlocked(cx: &Cx<'_>, mm: MmId, va: VirtAddr, leaf: Leaf, kind: PinKind) -> Option<HeldPage> {
    let devmap = leaf.entry.0 & Entry::DEVMAP != 0;
    if devmap {
        count_pgmap_ref(cx).await;
    }
    let page = cx.with(|m| m.held_page(mm, va, leaf, kind));
    grab(cx, page).await;
    // gup_fast_pte_range: the entry is read again once the reference is there.
    let same = read_entry(cx, leaf.slot).await == leaf.entry;
    if !same {
        put_held(cx, page).await;
    }
    if devmap {
        count_pgmap_ref(cx).await;
    }
    same.then_some(page)
}

/// `__gup_longterm_locked` and `follow_page_mask`: faults the page in under mmap_lock and takes it under the table's lock.
async fn gup_slow_page(cx: &Cx<'_>, mm: MmId, va: VirtAddr, write: bool, kind: PinKind) -> Option<HeldPage> {
    let mmap_lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(mmap_lock, LockMode::Shared).await;
    let mut page = None;
    for _ in 0..ATTEMPTS {
        if !fault_in(cx, mm, va, write).await {
            break;
        }
        page = grab_locked(cx, mm, va, write, kind).await;
        if page.is_some() {
            break;
        }
    }
    cx.unlock(mmap_lock, LockMode::Shared).await;
    page
}

async fn grab_locked(cx: &Cx<'_>, mm: MmId, va: VirtAddr, write: bool, kind: PinKind) -> Option<HeldPage> {
    let seen = walk(cx, mm, va).await?;
    let lock = cx.with(|m| m.lock_of(mm, seen))?;
    cx.lock(lock, LockMode::Exclusive).await;
    let entry = read_entry(cx, seen.slot).await;
    let fits = entry.is_mapped() && entry.is_leaf_at(seen.level) && (!write || entry.is_writable());
    let page = fits.then(|| cx.with(|m| m.held_page(mm, va, Leaf { entry, ..seen }, kind)));
    if let Some(page) = page {
        grab(cx, page).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    page
}

/// Reads the entries down to the leaf.
async fn walk(cx: &Cx<'_>, mm: MmId, va: VirtAddr) -> Option<Leaf> {
    let (mut table, top) = cx.with(|m| (m.mm(mm).pgd, m.tables.top()));
    for level in (0..=top).rev() {
        let slot = Slot::of(table, va, level);
        let entry = read_entry(cx, slot).await;
        if !entry.is_mapped() || !entry.is_present() {
            return None;
        }
        if entry.is_leaf_at(level) {
            return Some(Leaf { slot, entry, level });
        }
        table = entry.pfn();
    }
    None
}

/// `get_dev_pagemap` and `put_dev_pagemap`: a per-CPU count, which stays in the CPU's own cache.
async fn count_pgmap_ref(cx: &Cx<'_>) {
    let line = cx.with(|m| m.pgmap_ref_line(cx.cpu().index()));
    cx.store(line).await;
}

/// `try_grab_folio`. Nobody pins the zero page.
async fn grab(cx: &Cx<'_>, page: HeldPage) {
    touch_counts(cx, page).await;
    let (refs, pins) = bias(page);
    cx.with(|m| {
        if m.is_held_by_count(page) {
            m.pages.update(page.folio.head, |c| {
                c.refs += refs;
                c.pins += pins;
            });
        }
    });
}

/// `gup_put_folio`.
async fn put_held(cx: &Cx<'_>, page: HeldPage) {
    touch_counts(cx, page).await;
    let (refs, pins) = bias(page);
    if cx.with(|m| m.is_held_by_count(page)) {
        drop_counts(cx, page.folio.head, |c| {
            c.refs -= refs;
            c.pins -= pins;
        });
    }
}

/// What a hold adds to refcount and pincount.
fn bias(page: HeldPage) -> (i64, i64) {
    match (page.kind, page.folio.order) {
        (PinKind::Get, _) => (1, 0),
        (PinKind::Pin, 0) => (GUP_PIN_COUNTING_BIAS, 0),
        (PinKind::Pin, _) => (1, 1),
    }
}

/// The locked operations on a folio's counts: the pincount of a large one is in its second struct page.
async fn touch_counts(cx: &Cx<'_>, page: HeldPage) {
    let (counted, head, second) = cx.with(|m| {
        let head = page.folio.head;
        (m.is_held_by_count(page), m.pages.line(head), m.pages.line(Pfn(head.0 + 1)))
    });
    if !counted {
        return;
    }
    cx.rmw(head).await;
    if bias(page).1 > 0 {
        cx.rmw(second).await;
    }
}

impl Machine {
    fn held_page(&self, mm: MmId, va: VirtAddr, leaf: Leaf, kind: PinKind) -> HeldPage {
        let pages = 1u64 << (9 * leaf.level);
        let pfn = Pfn(leaf.entry.pfn_at(leaf.level).0 + ((va.0 >> 12) & (pages - 1)));
        let backing = self.mm(mm).find_vma(va).and_then(|vma| vma.file_page(va));
        let folio = match backing {
            Some((file, page)) if self.is_device_frame(pfn) => self.folio_of(file, page, pfn),
            _ if leaf.level > 0 => {
                Folio { head: leaf.entry.pfn_at(leaf.level), order: super::page::PMD_ORDER }
            }
            _ => Folio { head: pfn, order: 0 },
        };
        HeldPage { va: va.0, folio, kind }
    }

    /// FOLL_PIN leaves the 4 KiB zero page alone.
    fn is_held_by_count(&self, page: HeldPage) -> bool {
        page.kind == PinKind::Get || page.folio.head != self.globals.zero_page
    }

    /// What the holds of an address space add to the counts of frames: references and pins.
    pub(crate) fn held_counts(&self, mm: MmId) -> impl Iterator<Item = (Pfn, i64, i64)> {
        let held = self.mm(mm).held.values().flatten();
        held.filter(|page| self.is_held_by_count(**page)).map(|page| {
            let (refs, pins) = bias(*page);
            (page.folio.head, refs, pins)
        })
    }

    fn lock_of(&self, mm: MmId, leaf: Leaf) -> Option<LockId> {
        if leaf.level == 0 { self.tables.lock(leaf.slot.table) } else { Some(self.mm(mm).pmd_lock) }
    }

    /// The line of a CPU's part of the device's reference count.
    fn pgmap_ref_line(&mut self, cpu: usize) -> CacheLine {
        while self.globals.pgmap_ref_lines.len() <= cpu {
            let line = self.lines.fresh(LineName::PagemapRef);
            self.globals.pgmap_ref_lines.push(line);
        }
        self.globals.pgmap_ref_lines[cpu]
    }
}
