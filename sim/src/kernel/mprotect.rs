//! mprotect: `change_protection` with its flush rule (spec 3.7, 5.6).

use daxsim_types::{PageSize, Pfn, VirtAddr};

use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::syscall::wait_for_faults;
use super::vma::{Backing, Vma};
use super::zap::{split_huge_at, zap_huge_pmd, zap_huge_pud};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// Range that a change has to flush, and at which stride.
struct Flush {
    range: Option<(u64, u64)>,
    /// log2 of the smallest page in it.
    shift: u32,
}

impl Flush {
    fn add(&mut self, start: u64, size: PageSize) {
        let end = start + size.bytes();
        self.range = Some(self.range.map_or((start, end), |(from, to)| (from.min(start), to.max(end))));
        self.shift = self.shift.min(size.shift());
    }
}

/// Changes the rights of `start..end`; the caller holds mmap_lock for writing.
pub(crate) async fn change_rights(cx: &Cx<'_>, mm: MmId, start: u64, end: u64, read: bool, write: bool) {
    split_huge_at(cx, mm, start).await;
    split_huge_at(cx, mm, end).await;
    let locks = cx.with(|m| m.change_vmas(mm, start, end, |vma| (vma.read, vma.write) = (read, write)));
    wait_for_faults(cx, &locks).await;
    let before = cx.set_part(Part::Zap);
    for vma in cx.with(|m| m.mm(mm).vmas_in(start, end)) {
        let mut flush = Flush { range: None, shift: PageSize::Size1G.shift() };
        change_protection(cx, mm, &vma, vma.start.max(start), vma.end.min(end), &mut flush).await;
        if let Some(range) = flush.range {
            flush_tlb_mm_range(cx, mm, range, flush.shift, false).await;
        }
    }
    cx.set_part(before);
}

async fn change_protection(cx: &Cx<'_>, mm: MmId, vma: &Vma, start: u64, end: u64, flush: &mut Flush) {
    let huge = PageSize::Size2M.bytes();
    let mut at = start;
    while at < end {
        let next = ((at & !(huge - 1)) + huge).min(end);
        let va = VirtAddr(at);
        if let Some(after) = change_pud(cx, mm, vma, at, end, flush).await {
            at = after;
            continue;
        }
        let Some(pmd_table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 1)) else {
            at = cx.with(|m| m.tables.next_after(m.mm(mm).pgd, va));
            continue;
        };
        let slot = Slot::of(pmd_table, va, 1);
        cx.load(slot.line()).await;
        let pmd = cx.with(|m| m.tables.read(slot));
        if pmd.is_leaf_at(1) && !pmd.is_none() {
            if next - at == huge {
                change_huge(cx, mm, vma, slot, (at, PageSize::Size2M), flush).await;
            } else {
                // A part of a huge page of a file cannot keep its entry: it goes, and its flush with it.
                zap_huge_pmd(cx, mm, vma, va).await;
            }
        } else if pmd.is_present() {
            change_pte_range(cx, vma, pmd.pfn(), at, next, flush).await;
        }
        at = next;
    }
}

/// The PUD that maps `at` as a whole, if one does: changed if the range covers it, else removed. Returns the address after it.
async fn change_pud(cx: &Cx<'_>, mm: MmId, vma: &Vma, at: u64, end: u64, flush: &mut Flush) -> Option<u64> {
    let (va, size) = (VirtAddr(at), PageSize::Size1G);
    let table = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 2))?;
    let slot = Slot::of(table, va, 2);
    let pud = cx.with(|m| m.tables.read(slot));
    if pud.is_none() || !pud.is_leaf_at(2) {
        return None;
    }
    cx.load(slot.line()).await;
    let next = (va.align_down(size).0 + size.bytes()).min(end);
    if next - at == size.bytes() {
        change_huge(cx, mm, vma, slot, (at, size), flush).await;
    } else {
        zap_huge_pud(cx, mm, vma, va).await;
    }
    Some(next)
}

/// `change_pte_range`: exchange, modify, make writable again where no fault is wanted, store.
async fn change_pte_range(cx: &Cx<'_>, vma: &Vma, table: Pfn, start: u64, end: u64, flush: &mut Flush) {
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return };
    let prot = cx.with(|m| m.vm_page_prot(vma));
    cx.lock(ptl, LockMode::Exclusive).await;
    let mut at = start;
    while at < end {
        let slot = Slot::of(table, VirtAddr(at), 0);
        if cx.with(|m| m.tables.read(slot)).is_mapped() {
            cx.rmw(slot.line()).await;
            cx.step(|p| p.zap_entry);
            let (old, new) = cx.with(|m| {
                let old = m.tables.read(slot);
                let mut new = modify(old, prot);
                let wants_write = vma.write && !new.is_writable() && new.is_present();
                let copy = m.is_private_copy(vma, new) && m.is_exclusive(new.pfn());
                if wants_write && if vma.shared { new.pte_dirty() } else { copy } {
                    new = new.mkwrite();
                }
                m.tables.write(slot, new);
                (old, new)
            });
            cx.store(slot.line()).await;
            if needs_flush(old, new) {
                flush.add(at, PageSize::Size4K);
            }
        }
        at += PageSize::Size4K.bytes();
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
}

/// `change_huge_pmd` and `change_huge_pud`: `pmdp_invalidate_ad`, modify, store.
async fn change_huge(
    cx: &Cx<'_>,
    mm: MmId,
    vma: &Vma,
    slot: Slot,
    (start, size): (u64, PageSize),
    flush: &mut Flush,
) {
    let prot = cx.with(|m| m.vm_page_prot(vma));
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    if !cx.with(|m| m.tables.read(slot)).is_leaf_at(size.level()) {
        // Another CPU took it away before the lock was had; the next access faults with the new rights.
        cx.unlock(lock, LockMode::Exclusive).await;
        return;
    }
    cx.rmw(slot.line()).await;
    cx.step(|p| p.zap_entry);
    let (old, new) = cx.with(|m| {
        let old = m.tables.read(slot);
        let mut new = modify(old, prot | Entry::PS);
        if vma.write && vma.shared && !new.is_writable() && new.is_present() && new.pte_dirty() {
            new = new.mkwrite();
        }
        m.tables.write(slot, new);
        (old, new)
    });
    cx.store(slot.line()).await;
    if needs_flush(old, new) {
        flush.add(start, size);
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

impl Machine {
    /// `vma->vm_page_prot`; PROT_NONE is a non-present entry with the protnone bit (`PAGE_NONE`).
    pub(crate) fn vm_page_prot(&self, vma: &Vma) -> u64 {
        let accessed = self.kernel.ask(|k| k.arch.prot_accessed);
        if !vma.read && !vma.write {
            return if accessed { Entry::G | Entry::A } else { Entry::G };
        }
        let notify = match vma.backing {
            Backing::Dax { file, .. } => self.file(file).fs != daxsim_types::FileSystem::Devdax,
            Backing::Anonymous | Backing::Cached { .. } => false,
        };
        vma.page_prot(notify, accessed)
    }
}

/// `pte_modify`: protection bits from `prot`, the rest kept; D is parked in SAVED_DIRTY where RW goes.
fn modify(old: Entry, prot: u64) -> Entry {
    const PROTECTION: u64 = Entry::P | Entry::RW | Entry::US | Entry::G | Entry::NX | Entry::PS;
    let new = Entry((old.0 & !PROTECTION) | (prot & (PROTECTION | Entry::A)));
    if new.is_writable() { new.mkwrite() } else { new.wrprotect() }
}

/// `pte_flags_need_flush`: what was present lost P or D, or changed a bit that hardware checks. A and software bits do not count.
fn needs_flush(old: Entry, new: Entry) -> bool {
    const CHECKED: u64 = Entry::RW | Entry::US | Entry::PWT | Entry::PCD | Entry::G | Entry::NX;
    let lost = old.0 & !new.0 & (Entry::P | Entry::D);
    old.is_present() && (lost != 0 || (old.0 ^ new.0) & CHECKED != 0 || old.pfn() != new.pfn())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: u64 = Entry::P | Entry::US | Entry::A | Entry::NX;

    #[test]
    fn taking_write_away_parks_the_dirty_bit_and_flushes() {
        let old = Entry(RO | Entry::RW | Entry::D | Entry::SOFT_DIRTY | (0x123 << 12));
        let new = modify(old, RO);
        assert_eq!(new.0, RO | Entry::SAVED_DIRTY | Entry::SOFT_DIRTY | (0x123 << 12));
        assert!(needs_flush(old, new));
        assert!(!needs_flush(new, new.mkold()));
    }

    #[test]
    fn giving_write_back_restores_it_and_flushes_too() {
        let old = Entry(RO | Entry::SAVED_DIRTY | (0x123 << 12));
        let new = modify(old, RO | Entry::RW);
        assert_eq!(new.0, RO | Entry::RW | Entry::D | (0x123 << 12));
        assert!(needs_flush(old, new));
    }

    #[test]
    fn no_access_is_not_present_but_still_mapped() {
        let new = modify(Entry(RO | (0x123 << 12)), Entry::G | Entry::A);
        assert!(!new.is_present() && new.is_mapped());
        assert!(!needs_flush(new, Entry(RO)));
    }
}
