//! Clearing of accessed bits, by which idle-page tracking and reclaim find out what is used (spec 5.6).

use daxsim_types::{PageSize, Pfn, VirtAddr};

use super::fault::read_entry;
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use crate::engine::{Cx, LockMode};
use crate::measure::Part;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

const HUGE: u64 = PageSize::Size2M.bytes();

/// Makes every page of `start..end` old, as the sweep of a kernel thread over an address space does. Returns how many were young.
pub(crate) async fn clear_young(cx: &Cx<'_>, mm: MmId, start: u64, end: u64) -> u64 {
    let before = cx.set_part(Part::Dispatch);
    let mmap_lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(mmap_lock, LockMode::Shared).await;
    let mut young = 0;
    let mut at = start;
    while at < end {
        let va = VirtAddr(at);
        let next = ((at & !(HUGE - 1)) + HUGE).min(end);
        let Some(table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 1)) else {
            at = cx.with(|m| m.tables.next_after(m.mm(mm).pgd, va));
            continue;
        };
        let slot = Slot::of(table, va, 1);
        let pmd = read_entry(cx, slot).await;
        if pmd.is_present() && pmd.is_leaf_at(1) {
            young += u64::from(pmdp_clear_flush_young(cx, mm, slot, va).await);
        } else if pmd.is_present() {
            young += clear_young_ptes(cx, pmd.pfn(), at, next).await;
        }
        at = next;
    }
    cx.unlock(mmap_lock, LockMode::Shared).await;
    cx.set_part(before);
    young
}

/// The entries of one table.
async fn clear_young_ptes(cx: &Cx<'_>, table: Pfn, start: u64, end: u64) -> u64 {
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return 0 };
    let mut young = 0;
    cx.lock(ptl, LockMode::Exclusive).await;
    let mut at = start;
    while at < end {
        young += u64::from(ptep_clear_flush_young(cx, Slot::of(table, VirtAddr(at), 0)).await);
        at += PageSize::Size4K.bytes();
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
    young
}

/// `ptep_clear_flush_young`, which on x86 flushes nothing: a translation that stays cached hides uses of the page for a while.
async fn ptep_clear_flush_young(cx: &Cx<'_>, slot: Slot) -> bool {
    let entry = read_entry(cx, slot).await;
    let young = entry.is_present() && entry.accessed() && test_and_clear_young(cx, slot).await;
    if entry.is_present() && !cx.with(|m| m.is_device_frame(entry.pfn())) {
        folio_clear_referenced(cx, entry.pfn()).await;
    }
    young
}

/// `folio_clear_referenced`: the page's own bit goes with that of its entry (`clear_refs_pte_range`, `folio_referenced_one`). Pages of
/// persistent memory are on no list of reclaim.
async fn folio_clear_referenced(cx: &Cx<'_>, pfn: Pfn) {
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw(line).await;
}

/// `pmdp_clear_flush_young`: flushes 2 MiB in strides of 4 KiB, that is everything, if the bit was set.
async fn pmdp_clear_flush_young(cx: &Cx<'_>, mm: MmId, slot: Slot, va: VirtAddr) -> bool {
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let entry = read_entry(cx, slot).await;
    let leaf = entry.is_present() && entry.is_leaf_at(1);
    let young = leaf && entry.accessed() && test_and_clear_young(cx, slot).await;
    if young {
        let start = va.align_down(PageSize::Size2M).0;
        flush_tlb_mm_range(cx, mm, (start, start + HUGE), 12, true).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    young
}

/// The locked clearing of one bit.
async fn test_and_clear_young(cx: &Cx<'_>, slot: Slot) -> bool {
    cx.rmw(slot.line()).await;
    cx.with(|m| {
        let entry = m.tables.read(slot);
        m.tables.write(slot, Entry(entry.0 & !Entry::A));
        entry.accessed()
    })
}
