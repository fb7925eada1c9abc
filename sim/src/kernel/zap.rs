//! Unmapping: `mmu_gather`, `zap_pte_range`, freeing of page tables and `unmap_mapping_pages` (spec 3.6, 5.8).

use daxsim_types::{PageSize, VirtAddr};

use super::file::FileId;
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::vma::Vma;
use crate::engine::{Cx, LockMode};
use crate::measure::{Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// `struct mmu_gather`: the range that still has to be flushed.
struct Gather {
    mm: MmId,
    start: u64,
    end: u64,
    cleared_pte: bool,
    cleared_pmd: bool,
    freed_tables: bool,
    /// Private copies are left alone.
    spare_copies: bool,
}

impl Gather {
    fn new(mm: MmId) -> Self {
        Self {
            mm,
            start: u64::MAX,
            end: 0,
            cleared_pte: false,
            cleared_pmd: false,
            freed_tables: false,
            spare_copies: false,
        }
    }

    fn add(&mut self, start: u64, len: u64) {
        self.start = self.start.min(start);
        self.end = self.end.max(start + len);
    }

    /// `tlb_get_unmap_shift`: the smallest level that was cleared; a freed page table counts as a cleared PMD.
    fn shift(&self) -> u32 {
        if self.cleared_pte {
            12
        } else if self.cleared_pmd {
            21
        } else {
            30
        }
    }

    /// `tlb_flush_mmu_tlbonly`.
    async fn flush(&mut self, cx: &Cx<'_>) {
        if self.end == 0 {
            return;
        }
        flush_tlb_mm_range(cx, self.mm, (self.start, self.end), self.shift(), self.freed_tables).await;
        *self = Self { spare_copies: self.spare_copies, ..Self::new(self.mm) };
    }
}

/// What a zap takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zap {
    /// The pages, private copies included.
    Pages,
    /// The pages of the file; private copies stay (`even_cows` = 0).
    FilePages,
}

/// Whether private copies go too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvenCows {
    /// They go.
    Yes,
    /// They stay.
    No,
}

/// Zaps `start..end` of a VMA and flushes.
pub(crate) async fn zap_vma_range(cx: &Cx<'_>, mm: MmId, vma: &Vma, start: u64, end: u64, what: Zap) {
    let before = cx.set_part(Part::Zap);
    let mut gather = Gather::new(mm);
    gather.spare_copies = what == Zap::FilePages;
    zap_range(cx, vma, start, end, &mut gather).await;
    gather.flush(cx).await;
    cx.set_part(before);
}

/// `unmap_page_range`, table by table.
async fn zap_range(cx: &Cx<'_>, vma: &Vma, start: u64, end: u64, gather: &mut Gather) {
    let huge = PageSize::Size2M.bytes();
    let mut at = start;
    while at < end {
        let next = ((at & !(huge - 1)) + huge).min(end);
        let va = VirtAddr(at);
        let pmd_table = cx.with(|m| m.tables.find(m.mm(gather.mm).pgd, va, 1));
        if let Some(pmd_table) = pmd_table {
            let slot = Slot::of(pmd_table, va, 1);
            cx.load(slot.line()).await;
            let pmd = cx.with(|m| m.tables.read(slot));
            if pmd.is_leaf_at(1) && !pmd.is_none() && next - at < huge {
                // A part of a huge page of a file cannot keep its entry: it is split, that is removed, with a flush of its own.
                zap_huge_pmd(cx, gather.mm, va).await;
            } else if pmd.is_leaf_at(1) && !pmd.is_none() {
                zap_pmd(cx, vma, slot, va.align_down(PageSize::Size2M), gather).await;
            } else if pmd.is_present() {
                zap_pte_range(cx, vma, pmd.pfn(), at, next, gather).await;
            }
        }
        at = next;
    }
}

/// `zap_huge_pmd`.
async fn zap_pmd(cx: &Cx<'_>, vma: &Vma, slot: Slot, va: VirtAddr, gather: &mut Gather) {
    let lock = cx.with(|m| m.mm(gather.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.rmw(slot.line()).await;
    let old = cx.with(|m| {
        let old = m.tables.read(slot);
        m.tables.write(slot, Entry::NONE);
        old
    });
    cx.step(|p| p.zap_entry);
    gather.add(va.0, PageSize::Size2M.bytes());
    gather.cleared_pmd = true;
    if is_counted(cx, vma, old) {
        uncount(cx, gather.mm, old, PageSize::Size2M).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// `zap_pte_range`: the entries of one table. Where mappings are counted, a dirty page forces the flush before the lock is
/// dropped, and its reverse mapping goes after that flush (`tlb_delay_rmap`).
async fn zap_pte_range(
    cx: &Cx<'_>,
    vma: &Vma,
    table: daxsim_types::Pfn,
    start: u64,
    end: u64,
    gather: &mut Gather,
) {
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return };
    let forces = cx.with(|m| m.kernel.dax.zap_forces_flush_if_dirty);
    cx.lock(ptl, LockMode::Exclusive).await;
    let mut counted = Vec::new();
    let mut force_flush = false;
    let mut at = start;
    while at < end {
        let slot = Slot::of(table, VirtAddr(at), 0);
        let seen = cx.with(|m| m.tables.read(slot));
        let spared = gather.spare_copies && cx.with(|m| m.is_private_copy(vma, seen));
        if seen.is_mapped() && !spared {
            cx.rmw(slot.line()).await;
            let old = cx.with(|m| {
                // The exchange takes what is there now: hardware may have set D since.
                let old = m.tables.read(slot);
                m.tables.write(slot, Entry::NONE);
                old
            });
            cx.step(|p| p.zap_entry);
            gather.add(at, PageSize::Size4K.bytes());
            gather.cleared_pte = true;
            cx.with(|m| m.free_private_copy(vma, old));
            if is_counted(cx, vma, old) {
                cx.step(|p| p.zap_counted);
                force_flush |= forces && vma.shared && old.pte_dirty();
                counted.push(old);
            }
        }
        at += PageSize::Size4K.bytes();
    }
    if force_flush {
        gather.flush(cx).await;
    }
    for old in counted {
        uncount(cx, gather.mm, old, PageSize::Size4K).await;
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
}

/// Whether the entry maps a page whose mappings this variant counts: `vm_normal_page` finds one (spec 1.5). Nobody counts
/// the huge zero page.
fn is_counted(cx: &Cx<'_>, vma: &Vma, old: Entry) -> bool {
    cx.with(|m| {
        let (knobs, pfn) = (&m.kernel.dax, old.pfn());
        let dax = matches!(vma.backing, super::vma::Backing::Dax { .. }) && !m.is_private_copy(vma, old);
        let counted = if pfn == m.globals.huge_zero_page {
            false
        } else {
            pfn != m.globals.zero_page || knobs.zero_page_refcounted_4k
        };
        dax && counted && knobs.refcount_per_map > 0
    })
}

/// Drops the reference, reverse mapping and RSS of one mapping.
pub(super) async fn uncount(cx: &Cx<'_>, mm: MmId, old: Entry, size: PageSize) {
    let pfn = old.pfn();
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw(line).await;
    cx.rmw(line).await;
    cx.with(|m| {
        let refs = i64::from(m.kernel.dax.refcount_per_map);
        m.pages.update(pfn, |c| {
            c.refs -= refs;
            c.maps -= 1;
        });
        m.mm_mut(mm).rss_file -= size.pages() as i64;
    });
}

/// `free_pgtables`: tables whose span no mapping reaches any more. Freeing one stretches the gather's range down to the
/// start of the table's span, which is why small whole unmaps are full flushes.
async fn free_page_tables(cx: &Cx<'_>, start: u64, end: u64, gather: &mut Gather) {
    for level in 1..=3u32 {
        // The table that an entry of `level` points to spans this much.
        let span = 1u64 << (12 + 9 * level);
        let mut at = start & !(span - 1);
        while at < end {
            free_table_at(cx, VirtAddr(at), level, span, gather).await;
            at += span;
        }
    }
}

async fn free_table_at(cx: &Cx<'_>, va: VirtAddr, level: u32, span: u64, gather: &mut Gather) {
    let freed = cx.with(|m| {
        let space = m.mm(gather.mm);
        if space.intersects(va.0, va.0.saturating_add(span)) {
            return None;
        }
        let parent = m.tables.find(space.pgd, va, level)?;
        let slot = Slot::of(parent, va, level);
        let entry = m.tables.read(slot);
        (entry.is_present() && !entry.is_leaf_at(level) && m.tables.used(entry.pfn()) == 0)
            .then_some((slot, entry))
    });
    let Some((slot, entry)) = freed else { return };
    cx.step(|p| p.table_free);
    cx.store(slot.line()).await;
    cx.with(|m| {
        m.tables.write(slot, Entry::NONE);
        m.tables.release(entry.pfn());
    });
    gather.add(va.0, PageSize::Size4K.bytes());
    gather.freed_tables = true;
    gather.cleared_pmd |= level == 1;
}

/// munmap of detached VMAs, ascending: one gather over all of them, then the tables that no mapping needs any more.
pub(crate) async fn unmap_region(cx: &Cx<'_>, mm: MmId, vmas: &[Vma]) {
    let before = cx.set_part(Part::Zap);
    let mut gather = Gather::new(mm);
    for vma in vmas {
        zap_range(cx, vma, vma.start, vma.end, &mut gather).await;
    }
    for vma in vmas {
        free_page_tables(cx, vma.start, vma.end, &mut gather).await;
    }
    gather.flush(cx).await;
    cx.set_part(before);
}

/// `vma_adjust_trans_huge`: a VMA that is about to end or begin at `border` cannot have a huge page across it.
pub(crate) async fn split_huge_at(cx: &Cx<'_>, mm: MmId, border: u64) {
    let va = VirtAddr(border);
    let inside = cx.with(|m| m.mm(mm).find_vma(va).is_some_and(|vma| vma.start < border));
    if !inside || border.is_multiple_of(PageSize::Size2M.bytes()) {
        return;
    }
    let huge = cx.with(|m| {
        let table = m.tables.find(m.mm(mm).pgd, va, 1);
        table.is_some_and(|t| {
            let pmd = m.tables.read(Slot::of(t, va, 1));
            pmd.is_leaf_at(1) && !pmd.is_none()
        })
    });
    if huge {
        zap_huge_pmd(cx, mm, va).await;
    }
}

/// Removes a huge PMD, as splitting one of a file does: cleared, flushed as a range of 2 MiB (spec 2.5, 5.3).
pub(crate) async fn zap_huge_pmd(cx: &Cx<'_>, mm: MmId, va: VirtAddr) {
    let before = cx.set_part(Part::Zap);
    let start = va.align_down(PageSize::Size2M);
    let found = cx.with(|m| {
        let vma = *m.mm(mm).find_vma(va)?;
        let table = m.tables.find(m.mm(mm).pgd, va, 1)?;
        Some((vma, Slot::of(table, va, 1)))
    });
    if let Some((vma, slot)) = found {
        cx.note(PathStep::Event("__split_huge_pmd"));
        let mut gather = Gather::new(mm);
        zap_pmd(cx, &vma, slot, start, &mut gather).await;
        flush_tlb_mm_range(cx, mm, (start.0, start.0 + PageSize::Size2M.bytes()), 12, true).await;
    }
    cx.set_part(before);
}

/// `unmap_mapping_pages`: zaps `pages` file pages from `first` in every mapping of the file.
pub(crate) async fn unmap_mapping_pages(
    cx: &Cx<'_>,
    file: FileId,
    first: u64,
    pages: u64,
    even_cows: EvenCows,
) {
    let before = cx.set_part(Part::Zap);
    cx.note(PathStep::Event("unmap_mapping_pages"));
    cx.step(|p| p.unmap_mapping);
    let lock = cx.with(|m| m.file(file).i_mmap_lock);
    cx.lock(lock, LockMode::Shared).await;
    for (mm, vma) in cx.with(|m| m.mappings_of(file)) {
        if let Some((start, end)) = overlap(&vma, first, pages) {
            let what = if even_cows == EvenCows::Yes { Zap::Pages } else { Zap::FilePages };
            zap_vma_range(cx, mm, &vma, start, end, what).await;
        }
    }
    cx.unlock(lock, LockMode::Shared).await;
    cx.set_part(before);
}

/// The addresses of a VMA at which file pages `first..first + pages` appear.
pub(crate) fn overlap(vma: &Vma, first: u64, pages: u64) -> Option<(u64, u64)> {
    let super::vma::Backing::Dax { pgoff, .. } = vma.backing else { return None };
    let vma_pages = (vma.end - vma.start) >> 12;
    let from = first.max(pgoff);
    let to = first.saturating_add(pages).min(pgoff + vma_pages);
    (from < to).then(|| (vma.start + ((from - pgoff) << 12), vma.start + ((to - pgoff) << 12)))
}
