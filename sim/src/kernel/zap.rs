//! Unmapping: `mmu_gather`, `zap_pte_range`, freeing of page tables and `unmap_mapping_pages` (spec 3.6, 5.8).

use daxsim_types::{PageSize, Pfn, VirtAddr};

use super::anon::split_anonymous;
use super::file::FileId;
use super::flush::{Purpose, flush_tlb_for, flush_tlb_mm_range};
use super::lru::put_pages;
use super::mm::MmId;
use super::page::drop_counts;
use super::vma::{Backing, Vma};
use super::writeback::take_entry;
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::{Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

const GIB: u64 = PageSize::Size1G.bytes();

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
    pages: Batches,
    /// Pages that have to leave the LRU list once the flush is done.
    on_lru: u32,
}

/// The pages that are to be freed once the flush is done: a batch in the `mmu_gather` itself, further ones of a page each.
#[derive(Default)]
struct Batches {
    /// The batch in use; 0 is the first.
    active: u32,
    /// Pages in it.
    used: u32,
    /// Whether reverse mappings wait for the flush too.
    delayed_rmap: bool,
}

impl Batches {
    /// `MMU_GATHER_BUNDLE`: places in the first batch.
    const FIRST: u32 = 8;
    /// `MAX_GATHER_BATCH`: places in another, a page less its head.
    const MORE: u32 = 510;
    /// `MAX_GATHER_BATCH_COUNT`: other batches.
    const COUNT: u32 = 19;

    /// `__tlb_remove_folio_pages`: queues a page; true if there is no room for another, so that a flush is due. The last place of a
    /// batch stays free, as a run of pages takes two.
    fn add(&mut self, delays_rmap: bool) -> bool {
        self.delayed_rmap |= delays_rmap;
        self.used += 1;
        let places = if self.active == 0 { Self::FIRST } else { Self::MORE };
        if self.used < places - 1 {
            return false;
        }
        // tlb_next_batch: with reverse mappings pending there is but one, to bound the work under the page-table lock.
        if self.active == Self::COUNT || (self.delayed_rmap && self.active > 0) {
            return true;
        }
        self.active += 1;
        self.used = 0;
        false
    }
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
            pages: Batches::default(),
            on_lru: 0,
        }
    }

    /// `tlb_gather_mmu`.
    async fn begin(cx: &Cx<'_>, mm: MmId) -> Self {
        let line = cx.with(|m| m.mm(mm).gathers_line);
        cx.rmw(line).await;
        cx.with(|m| m.mm_mut(mm).gathers += 1);
        Self::new(mm)
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
        self.flush_for(cx, Purpose::Change).await;
    }

    async fn flush_for(&mut self, cx: &Cx<'_>, purpose: Purpose) {
        if self.end == 0 {
            return;
        }
        let how = (self.shift(), self.freed_tables);
        flush_tlb_for(cx, self.mm, (self.start, self.end), how, purpose).await;
        *self = Self { spare_copies: self.spare_copies, on_lru: self.on_lru, ..Self::new(self.mm) };
    }

    /// `tlb_finish_mmu`. Another gather of the address space may have cleared entries that this one then did not see, and
    /// may not have flushed them yet: everything is flushed (spec 5.8).
    async fn finish(mut self, cx: &Cx<'_>, purpose: Purpose) {
        let line = cx.with(|m| m.mm(self.mm).gathers_line);
        // mm_tlb_flush_nested
        cx.load(line).await;
        if cx.with(|m| m.mm(self.mm).gathers) > 1 {
            flush_tlb_mm_range(cx, self.mm, (0, u64::MAX), 12, true).await;
        } else {
            self.flush_for(cx, purpose).await;
        }
        put_pages(cx, self.on_lru).await;
        cx.rmw(line).await;
        cx.with(|m| m.mm_mut(self.mm).gathers -= 1);
    }
}

/// Whether private copies go too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvenCows {
    /// They go.
    Yes,
    /// They stay.
    No,
}

/// Zaps the range `range.0..range.1` of a VMA and flushes.
pub(crate) async fn zap_vma_range(cx: &Cx<'_>, mm: MmId, vma: &Vma, range: (u64, u64), even_cows: EvenCows) {
    zap_vma_range_for(cx, mm, vma, range, (even_cows, Purpose::Change)).await;
}

/// The same, with what its flush is for.
pub(super) async fn zap_vma_range_for(
    cx: &Cx<'_>,
    mm: MmId,
    vma: &Vma,
    range: (u64, u64),
    (even_cows, purpose): (EvenCows, Purpose),
) {
    let before = cx.set_part(Part::Zap);
    let mut gather = Gather::begin(cx, mm).await;
    gather.spare_copies = even_cows == EvenCows::No;
    zap_range(cx, vma, range.0, range.1, &mut gather).await;
    gather.finish(cx, purpose).await;
    cx.set_part(before);
}

/// `unmap_region`: zaps VMAs that are out of the address space already, takes them off their files, and frees the tables
/// that are left without a mapping. One gather for all of them.
pub(crate) async fn unmap_region(cx: &Cx<'_>, mm: MmId, detached: &[Vma]) {
    let before = cx.set_part(Part::Zap);
    let mut gather = Gather::begin(cx, mm).await;
    for vma in detached {
        zap_range(cx, vma, vma.start, vma.end, &mut gather).await;
    }
    for vma in detached {
        unlink_from_file(cx, mm, vma).await;
    }
    for vma in detached {
        free_page_tables(cx, vma.start, vma.end, &mut gather).await;
    }
    gather.finish(cx, Purpose::Free).await;
    cx.set_part(before);
}

/// `unlink_file_vma`: waits for walks over the file's mappings, so that no table is freed under one.
async fn unlink_from_file(cx: &Cx<'_>, mm: MmId, vma: &Vma) {
    let Backing::Dax { file, .. } = vma.backing else { return };
    let lock = cx.with(|m| m.file(file).i_mmap_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.with(|m| m.unlink_mapping(mm, vma));
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// `unmap_page_range`, table by table.
async fn zap_range(cx: &Cx<'_>, vma: &Vma, start: u64, end: u64, gather: &mut Gather) {
    let huge = PageSize::Size2M.bytes();
    let mut at = start;
    while at < end {
        let mut next = ((at & !(huge - 1)) + huge).min(end);
        let va = VirtAddr(at);
        if let Some(slot) = huge_pud(cx, gather.mm, va) {
            next = ((at & !(GIB - 1)) + GIB).min(end);
            cx.load(slot.line()).await;
            if next - at == GIB {
                zap_huge(cx, vma, slot, va, PageSize::Size1G, gather).await;
            } else {
                split_huge(cx, gather.mm, vma, slot, va, PageSize::Size1G).await;
            }
            at = next;
            continue;
        }
        let pmd_table = cx.with(|m| m.tables.find(m.mm(gather.mm).pgd, va, 1));
        if pmd_table.is_none() {
            next = cx.with(|m| m.tables.next_after(m.mm(gather.mm).pgd, va)).min(end);
        }
        if let Some(pmd_table) = pmd_table {
            let slot = Slot::of(pmd_table, va, 1);
            cx.load(slot.line()).await;
            if is_huge(cx, slot, PageSize::Size2M) {
                if next - at == huge {
                    zap_huge(cx, vma, slot, va, PageSize::Size2M, gather).await;
                } else {
                    split_huge(cx, gather.mm, vma, slot, va, PageSize::Size2M).await;
                }
            }
            // Not an else: another CPU may have put a table there meanwhile.
            let pmd = cx.with(|m| m.tables.read(slot));
            if pmd.is_present() && !pmd.is_leaf_at(1) {
                zap_pte_range(cx, vma, pmd.pfn(), at, next, gather).await;
            }
        }
        at = next;
    }
}

fn is_huge(cx: &Cx<'_>, slot: Slot, size: PageSize) -> bool {
    let entry = cx.with(|m| m.tables.read(slot));
    entry.is_leaf_at(size.level()) && !entry.is_none()
}

/// The slot of the PUD that maps an address as a whole, if there is one.
fn huge_pud(cx: &Cx<'_>, mm: MmId, va: VirtAddr) -> Option<Slot> {
    let table = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 2))?;
    let slot = Slot::of(table, va, 2);
    is_huge(cx, slot, PageSize::Size1G).then_some(slot)
}

/// `zap_huge_pmd` and `zap_huge_pud`: does nothing if another CPU was faster.
async fn zap_huge(cx: &Cx<'_>, vma: &Vma, slot: Slot, va: VirtAddr, size: PageSize, gather: &mut Gather) {
    let lock = cx.with(|m| m.mm(gather.mm).pmd_lock);
    let mut full = false;
    cx.lock(lock, LockMode::Exclusive).await;
    if is_huge(cx, slot, size) {
        let counted = clear_huge(cx, gather.mm, vma, slot, size).await;
        gather.add(va.align_down(size).0, size.bytes());
        gather.cleared_pmd |= size == PageSize::Size2M;
        full = counted && gather.pages.add(false);
        cx.note(PathStep::Value(if size == PageSize::Size2M { "zap_huge_pmd" } else { "zap_huge_pud" }, 1));
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    if full {
        gather.flush(cx).await;
    }
}

/// `__split_huge_pmd` and `__split_huge_pud`: of a file mapping they remove the entry, cleared and flushed as a range (spec 2.5,
/// 5.3); of anonymous memory a page table is left.
pub(super) async fn split_huge(cx: &Cx<'_>, mm: MmId, vma: &Vma, slot: Slot, va: VirtAddr, size: PageSize) {
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    if is_huge(cx, slot, size) {
        let pud = size == PageSize::Size1G;
        cx.note(PathStep::Event(if pud { "__split_huge_pud" } else { "__split_huge_pmd" }));
        if vma.backing == Backing::Anonymous {
            split_anonymous(cx, mm, slot, va).await;
            cx.unlock(lock, LockMode::Exclusive).await;
            return;
        }
        clear_huge(cx, mm, vma, slot, size).await;
        let start = va.align_down(size).0;
        flush_tlb_mm_range(cx, mm, (start, start + size.bytes()), 12, true).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// Exchanges the entry for none (`ptep_get_and_clear`, `pmdp_huge_get_and_clear`) with its costs; the lock is held.
async fn clear_entry(cx: &Cx<'_>, slot: Slot) -> Entry {
    cx.rmw(slot.line()).await;
    let old = take_entry(cx, slot);
    cx.step(|p| p.zap_entry);
    old
}

/// Clears a huge entry and drops its counts, if it has any; the lock is held. Returns whether it had.
async fn clear_huge(cx: &Cx<'_>, mm: MmId, vma: &Vma, slot: Slot, size: PageSize) -> bool {
    let old = clear_entry(cx, slot).await;
    let counted = is_counted(cx, vma, old);
    if counted {
        cx.step(|p| p.zap_counted);
        uncount(cx, mm, old, size).await;
    }
    cx.with(|m| {
        if m.is_private_copy(vma, old) {
            m.release_huge_frame(old.pfn());
        }
    });
    counted
}

/// `zap_pte_range` until the whole part of a table is done: it comes back early where the gather is full.
async fn zap_pte_range(cx: &Cx<'_>, vma: &Vma, table: Pfn, start: u64, end: u64, gather: &mut Gather) {
    let mut at = start;
    while at < end {
        at = zap_ptes(cx, vma, table, at, end, gather).await;
    }
}

/// The entries of one table, as far as the gather takes their pages. Where mappings are counted, a dirty page forces the flush
/// before the lock is dropped, and its reverse mapping goes after that flush (`tlb_delay_rmap`). Returns where it got to.
async fn zap_ptes(cx: &Cx<'_>, vma: &Vma, table: Pfn, start: u64, end: u64, gather: &mut Gather) -> u64 {
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return end };
    let forces = cx.with(|m| m.kernel.ask(|k| k.dax.zap_forces_flush_if_dirty));
    cx.lock(ptl, LockMode::Exclusive).await;
    // flush_tlb_batched_pending: mm->tlb_flush_batched, beside tlb_flush_pending.
    let pending = cx.with(|m| m.mm(gather.mm).gathers_line);
    cx.load(pending).await;
    let mut counted = Vec::new();
    let (mut force_flush, mut full) = (false, false);
    let mut at = start;
    while at < end && !full {
        let slot = Slot::of(table, VirtAddr(at), 0);
        let seen = cx.with(|m| m.tables.read(slot));
        let copy = cx.with(|m| m.is_private_copy(vma, seen));
        if seen.is_mapped() && !(gather.spare_copies && copy) {
            let old = clear_entry(cx, slot).await;
            gather.add(at, PageSize::Size4K.bytes());
            gather.cleared_pte = true;
            cx.with(|m| {
                let copy = m.is_private_copy(vma, old);
                m.mm_mut(gather.mm).rss_anon -= i64::from(copy);
                gather.on_lru += u32::from(copy && m.leaves_lru(old.pfn()));
                m.free_private_copy(vma, old);
            });
            if is_counted(cx, vma, old) {
                cx.step(|p| p.zap_counted);
                let delays = forces && vma.shared && old.pte_dirty();
                force_flush |= delays;
                full = gather.pages.add(delays);
                counted.push(old);
            } else if copy {
                full = gather.pages.add(false);
            }
        }
        at += PageSize::Size4K.bytes();
    }
    if force_flush || full {
        gather.flush(cx).await;
    }
    for old in counted {
        uncount(cx, gather.mm, old, PageSize::Size4K).await;
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
    at
}

/// Whether the entry maps a page whose mappings this variant counts: `vm_normal_page` finds one (spec 1.5). Nobody counts
/// the huge zero page.
pub(super) fn is_counted(cx: &Cx<'_>, vma: &Vma, old: Entry) -> bool {
    cx.with(|m| m.is_counted(vma, old))
}

/// Drops the reference, reverse mapping and RSS of one mapping.
pub(super) async fn uncount(cx: &Cx<'_>, mm: MmId, old: Entry, size: PageSize) {
    let pfn = old.pfn();
    let (line, second) = cx.with(|m| (m.pages.line(pfn), m.pages.line(Pfn(pfn.0 + 1))));
    if size == PageSize::Size4K {
        cx.rmw_struct_page(line).await;
    } else {
        // The map counts of a folio are in its second struct page, as when it was mapped.
        for _ in 0..3 {
            cx.rmw_struct_page(second).await;
        }
    }
    cx.rmw_struct_page(line).await;
    let refs = cx.with(|m| {
        m.mm_mut(mm).rss_file -= size.pages() as i64;
        i64::from(m.kernel.ask(|k| k.dax.refcount_per_map))
    });
    drop_counts(cx, pfn, |c| {
        c.refs -= refs;
        c.maps -= 1;
    });
}

/// `free_pgtables`: tables whose span no mapping reaches any more. Freeing one stretches the gather's range down to the
/// start of the table's span, which is why small whole unmaps are full flushes.
async fn free_page_tables(cx: &Cx<'_>, start: u64, end: u64, gather: &mut Gather) {
    for level in 1..=cx.with(|m| m.tables.top()) {
        // The table that an entry of `level` points to spans this much.
        let span = 1u64 << (12 + 9 * level);
        let mut at = start & !(span - 1);
        while at < end {
            let va = VirtAddr(at);
            if cx.with(|m| m.tables.find(m.mm(gather.mm).pgd, va, level)).is_none() {
                at = cx.with(|m| m.tables.next_after(m.mm(gather.mm).pgd, va));
                continue;
            }
            free_table_at(cx, va, level, span, gather).await;
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
        m.free_table(entry.pfn());
    });
    gather.add(va.0, PageSize::Size4K.bytes());
    gather.freed_tables = true;
    gather.cleared_pmd |= level == 1;
}

impl Machine {
    /// See [`is_counted`].
    pub(crate) fn is_counted(&self, vma: &Vma, old: Entry) -> bool {
        let pfn = old.pfn();
        let dax = matches!(vma.backing, super::vma::Backing::Dax { .. }) && !self.is_private_copy(vma, old);
        let counted = if pfn == self.globals.huge_zero_page {
            false
        } else {
            pfn != self.globals.zero_page || self.kernel.ask(|k| k.dax.zero_page_refcounted_4k)
        };
        dax && counted && self.kernel.ask(|k| k.dax.refcount_per_map > 0)
    }

    /// Gives a page table back to the page allocator.
    pub(crate) fn free_table(&mut self, table: Pfn) {
        self.measure.kernel.tables_freed += 1;
        self.tables.release(table);
    }
}

/// `vma_adjust_trans_huge`: a VMA that is about to end or begin at `border` cannot have a huge page across it.
pub(crate) async fn split_huge_at(cx: &Cx<'_>, mm: MmId, border: u64) {
    let va = VirtAddr(border);
    let inside = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|vma| vma.start < border);
    let Some(vma) = inside else { return };
    if !border.is_multiple_of(GIB) {
        zap_huge_pud(cx, mm, &vma, va).await;
    }
    if !border.is_multiple_of(PageSize::Size2M.bytes()) {
        zap_huge_pmd(cx, mm, &vma, va).await;
    }
}

/// Removes the PMD that maps an address as a whole, if there is one.
pub(crate) async fn zap_huge_pmd(cx: &Cx<'_>, mm: MmId, vma: &Vma, va: VirtAddr) {
    let before = cx.set_part(Part::Zap);
    if let Some(table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 1)) {
        let slot = Slot::of(table, va, 1);
        if is_huge(cx, slot, PageSize::Size2M) {
            split_huge(cx, mm, vma, slot, va, PageSize::Size2M).await;
        }
    }
    cx.set_part(before);
}

/// The same for a PUD.
pub(crate) async fn zap_huge_pud(cx: &Cx<'_>, mm: MmId, vma: &Vma, va: VirtAddr) {
    if let Some(slot) = huge_pud(cx, mm, va) {
        let before = cx.set_part(Part::Zap);
        split_huge(cx, mm, vma, slot, va, PageSize::Size1G).await;
        cx.set_part(before);
    }
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
            cx.note(PathStep::Event("zap_vma_range_batched"));
            zap_vma_range(cx, mm, &vma, (start, end), even_cows).await;
        }
    }
    cx.unlock(lock, LockMode::Shared).await;
    cx.set_part(before);
}

/// The addresses of a VMA at which file pages `first..first + pages` appear.
pub(crate) fn overlap(vma: &Vma, first: u64, pages: u64) -> Option<(u64, u64)> {
    let Backing::Dax { pgoff, .. } = vma.backing else { return None };
    let vma_pages = (vma.end - vma.start) >> 12;
    let from = first.max(pgoff);
    let to = first.saturating_add(pages).min(pgoff + vma_pages);
    (from < to).then(|| (vma.start + ((from - pgoff) << 12), vma.start + ((to - pgoff) << 12)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages that fit before a flush is due.
    fn room(delays_rmap: impl Fn(u32) -> bool) -> u32 {
        let mut batches = Batches::default();
        (1..).find(|page| batches.add(delays_rmap(*page))).unwrap_or_default()
    }

    #[test]
    fn twenty_batches_fit_and_two_while_reverse_mappings_wait() {
        assert_eq!(room(|_| false), 7 + 19 * 509);
        assert_eq!(room(|_| true), 7 + 509);
        assert_eq!(room(|page| page == 600), 7 + 2 * 509, "those that are there already stay");
    }
}
