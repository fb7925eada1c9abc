//! Writeback of DAX entries: `dax_writeback_mapping_range`, `pfn_mkclean_range` and `dax_flush` (spec 4.9).

use daxsim_types::{CacheLine, LINE_BYTES, PageSize, Pfn, Time, VirtAddr};

use super::dax_entry::{DaxEntry, EntryKind, PMD_PAGES};
use super::dax_fault::{lock_xa, pass_wake_up_on, unlock_entry_as, unlock_xa};
use super::file::FileId;
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::vma::Vma;
use crate::engine::{Cx, LockMode};
use crate::measure::{Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// `writeback_control::sync_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncMode {
    /// WB_SYNC_NONE: background writeback.
    None,
    /// WB_SYNC_ALL: a call waits for it.
    All,
}

/// Background writeback of a file, which a kernel thread does.
pub(crate) async fn background_writeback(cx: &Cx<'_>, file: FileId) {
    dax_writeback_mapping_range(cx, file, 0, u64::MAX >> 12, SyncMode::None).await;
}

/// Writes back the dirty entries that cover file pages `first..=last`, then waits until the lines are in the persistence
/// domain, as the block layer's flush does (`pmem_wmb`). In the background it does nothing: only a call that waits for
/// durability makes DAX pages clean (spec 4.9).
pub(crate) async fn dax_writeback_mapping_range(
    cx: &Cx<'_>,
    file: FileId,
    first: u64,
    last: u64,
    mode: SyncMode,
) {
    if mode == SyncMode::None {
        return;
    }
    // filemap_fdatawrite_wbc does not even call it for a file with nothing dirty.
    let tagged = cx.with(|m| m.file(file).entries.any_dirty());
    if tagged {
        cx.note(PathStep::Event("dax_writeback_range"));
    }
    let before = cx.set_part(Part::Writeback);
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    lock_xa(cx, xa_lock).await;
    let any = cx.with(|m| {
        let entries = &mut m.file_mut(file).entries;
        entries.tag_dirty_for_writeback(first, last);
        entries.any_dirty()
    });
    unlock_xa(cx, xa_lock).await;
    let mut at = first;
    let mut durable = Time::ZERO;
    // An entry that a copy on write tagged, but no store has marked yet, waits for a call that finds a mark.
    while let Some(head) = cx.with(|m| m.file(file).entries.next_towrite(at, last)).filter(|_| any) {
        let end = dax_writeback_one(cx, file, head, &mut durable).await;
        if end > last {
            break;
        }
        at = end;
    }
    cx.on_cpu(|c| c.wait_until(durable, Part::Writeback));
    cx.set_part(before);
    if tagged {
        cx.note(PathStep::Event("dax_writeback_range_done"));
        cx.note(PathStep::Value("dax_writeback_mapping_range", 0));
    }
}

/// `dax_writeback_one`: returns the page after the entry.
async fn dax_writeback_one(cx: &Cx<'_>, file: FileId, head: u64, durable: &mut Time) -> u64 {
    cx.step(|p| p.writeback_entry);
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    let Some(entry) = lock_entry_for_writeback(cx, file, head, xa_lock).await else { return head + 1 };
    let pages = if entry.pmd { PMD_PAGES } else { 1 };
    let i_mmap = cx.with(|m| m.file(file).i_mmap_lock);
    cx.lock(i_mmap, LockMode::Shared).await;
    for (mm, vma) in cx.with(|m| m.mappings_of(file)) {
        pfn_mkclean_range(cx, mm, &vma, (head, pages), entry.pfn).await;
    }
    cx.unlock(i_mmap, LockMode::Shared).await;
    dax_flush(cx, entry.pfn, pages, durable).await;
    cx.with(|m| m.measure.writeback_entries += 1);
    unlock_entry_as(cx, file, head, |entry| entry.dirty = false).await;
    head + pages
}

/// Waits for the entry's lock, checks that it still wants writing, locks it and clears TOWRITE.
async fn lock_entry_for_writeback(
    cx: &Cx<'_>,
    file: FileId,
    head: u64,
    xa_lock: crate::engine::LockId,
) -> Option<DaxEntry> {
    loop {
        lock_xa(cx, xa_lock).await;
        let entry = cx.with(|m| m.file(file).entries.find(head).map(|(_, e)| e.clone()));
        match entry {
            Some(e) if e.locked => super::dax_fault::wait_for_entry(cx, file, head, xa_lock).await,
            Some(e) if e.towrite && e.kind == EntryKind::Block => {
                cx.with(|m| {
                    if let Some(e) = m.file_mut(file).entries.get_mut(head) {
                        e.locked = true;
                        e.towrite = false;
                    }
                });
                unlock_xa(cx, xa_lock).await;
                return Some(e);
            }
            _ => {
                cx.with(|m| {
                    if let Some(e) = m.file_mut(file).entries.get_mut(head) {
                        e.towrite = false;
                    }
                });
                pass_wake_up_on(cx, file, head);
                unlock_xa(cx, xa_lock).await;
                return None;
            }
        }
    }
}

/// `pfn_mkclean_range` for one VMA: write-protects and cleans what maps the frames of an entry, one flush for each
/// mapping. `range`: the entry's first page and number of pages.
async fn pfn_mkclean_range(cx: &Cx<'_>, mm: MmId, vma: &Vma, range: (u64, u64), pfn: Pfn) {
    if !vma.shared {
        return;
    }
    let Some((start, end)) = super::zap::overlap(vma, range.0, range.1) else { return };
    cx.step(|p| p.writeback_vma);
    let mut at = start;
    while at < end {
        let va = VirtAddr(at);
        let Some(pmd_table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 1)) else { return };
        let slot = Slot::of(pmd_table, va, 1);
        cx.load(slot.line()).await;
        let pmd = cx.with(|m| m.tables.read(slot));
        if pmd.is_mapped() && pmd.is_leaf_at(1) {
            clean_pmd(cx, mm, slot, va.align_down(PageSize::Size2M), pfn).await;
            at = va.align_down(PageSize::Size2M).0 + PageSize::Size2M.bytes();
        } else {
            if let Some(page) = vma.file_page(va).map(|(_, page)| page)
                && pmd.is_present()
            {
                clean_pte(cx, mm, pmd.pfn(), va, Pfn(pfn.0 + page - range.0)).await;
            }
            at += PageSize::Size4K.bytes();
        }
    }
}

/// `page_vma_mkclean_one` leaves entries alone that map something else by now, or are read-only and clean. One that allows no
/// access is present all the same (`pte_present`), and may be dirty from before.
fn wants_cleaning(entry: Entry, pfn: Pfn) -> bool {
    entry.is_mapped() && entry.pfn() == pfn && (entry.pte_dirty() || entry.is_writable())
}

/// One PTE: exchange with none, flush everywhere, store it back read-only and clean.
async fn clean_pte(cx: &Cx<'_>, mm: MmId, table: Pfn, va: VirtAddr, pfn: Pfn) {
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return };
    let slot = Slot::of(table, va, 0);
    cx.lock(ptl, LockMode::Exclusive).await;
    let seen = cx.with(|m| m.tables.read(slot));
    if wants_cleaning(seen, pfn) {
        cx.rmw(slot.line()).await;
        let old = take_entry(cx, slot);
        let page = PageSize::Size4K.bytes();
        // pte_accessible: what allowed no access is in no TLB, once an unmapping under way has flushed.
        if old.is_present() || cx.with(|m| m.mm(mm).gathers > 0) {
            flush_tlb_mm_range(cx, mm, (va.0, va.0 + page), 12, false).await;
        }
        cx.store(slot.line()).await;
        cx.with(|m| m.tables.write(slot, old.wrprotect().mkclean()));
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
}

/// One PMD: `pmdp_invalidate` makes it non-present and flushes 2 MiB of 4 KiB strides, that is everything.
async fn clean_pmd(cx: &Cx<'_>, mm: MmId, slot: Slot, va: VirtAddr, pfn: Pfn) {
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let seen = cx.with(|m| m.tables.read(slot));
    if seen.is_leaf_at(1) && wants_cleaning(seen, pfn) {
        cx.rmw(slot.line()).await;
        let old = cx.with(|m| {
            let old = m.tables.read(slot);
            m.tables.write(slot, Entry(old.0 & !Entry::P));
            old
        });
        flush_tlb_mm_range(cx, mm, (va.0, va.0 + PageSize::Size2M.bytes()), 12, true).await;
        cx.store(slot.line()).await;
        cx.with(|m| m.tables.write(slot, old.wrprotect().mkclean()));
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// The exchange of `ptep_get_and_clear`: takes what is there now, for hardware may have set D since the entry was read.
pub(super) fn take_entry(cx: &Cx<'_>, slot: Slot) -> Entry {
    cx.with(|m| {
        let old = m.tables.read(slot);
        m.tables.write(slot, Entry::NONE);
        old
    })
}

/// `dax_flush`: CLWB of every line; no fence here. `durable` becomes the time at which the last one is accepted. A device without
/// a write cache needs none, and where the caches are persistent there is none to flush (`nvdimm_has_cache`).
async fn dax_flush(cx: &Cx<'_>, pfn: Pfn, pages: u64, durable: &mut Time) {
    if cx.with(|m| m.spec.pmem.eadr || !m.spec.pmem.write_cache) {
        return;
    }
    let first = pfn.addr().line().0;
    for line in 0..pages * (PageSize::Size4K.bytes() / LINE_BYTES) {
        cx.sync().await;
        cx.with(|m| m.measure.kernel.clwb_lines += 1);
        cx.map_on_host(CacheLine(first + line).addr().pfn()).await;
        let accepted = cx.with(|m| m.kernel_clwb(cx.cpu().index(), CacheLine(first + line)));
        *durable = (*durable).max(accepted);
    }
}
