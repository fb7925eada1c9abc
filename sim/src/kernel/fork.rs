//! fork and exit of a process: `dup_mmap`, `copy_page_range`, `exit_mmap` (spec 3.7).

use daxsim_types::{PageSize, VirtAddr};

use super::fault::ensure_table;
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::syscall::unmap_locked;
use super::vma::{Backing, Vma};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::table::Slot;

/// Fills the address space `child` with the parent's mappings. Tables of shared mappings are not copied: the child faults
/// its own in. Private mappings that hold copies are copied with both sides write-protected.
pub(crate) async fn dup_mmap(cx: &Cx<'_>, parent: MmId, child: MmId) {
    let lock = cx.with(|m| m.mm(parent).mmap_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    for vma in cx.with(|m| m.mm(parent).vmas.values().copied().collect::<Vec<Vma>>()) {
        cx.step(|p| p.mmap);
        cx.with(|m| {
            let lock = m.new_vma_lock();
            m.insert_vma(child, Vma { lock, ..vma });
        });
        if vma.has_copies {
            copy_page_range(cx, parent, child, &vma).await;
        }
    }
    // flush_tlb_mm: every fork flushes the parent wholly.
    flush_tlb_mm_range(cx, parent, (0, u64::MAX), 12, true).await;
    cx.unlock(lock, LockMode::Exclusive).await;
}

async fn copy_page_range(cx: &Cx<'_>, parent: MmId, child: MmId, vma: &Vma) {
    let before = cx.set_part(Part::Insert);
    let mut at = vma.start;
    while at < vma.end {
        let va = VirtAddr(at);
        at = cx.with(|m| m.tables.next_after(m.mm(parent).pgd, va));
        if vma.backing == Backing::Anonymous && copy_huge_pmd(cx, parent, child, vma, va).await {
            at = va.align_down(PageSize::Size2M).0 + PageSize::Size2M.bytes();
            continue;
        }
        let Some(table) = cx.with(|m| m.tables.find(m.mm(parent).pgd, va, 0)) else { continue };
        let from = Slot::of(table, va, 0);
        cx.load(from.line()).await;
        if cx.with(|m| m.tables.read(from)).is_none() {
            continue;
        }
        let to = Slot::of(ensure_table(cx, child, va, 0).await, va, 0);
        cx.rmw(from.line()).await;
        let counted = cx.with(|m| m.copy_entry(vma, child, from, to));
        cx.store(to.line()).await;
        if let Some(line) = counted {
            cx.rmw(line).await;
            cx.rmw(line).await;
        }
        cx.step(|p| p.zap_entry);
    }
    cx.set_part(before);
}

/// `copy_huge_pmd` of anonymous memory: both sides are write-protected. False if there is no huge page.
async fn copy_huge_pmd(cx: &Cx<'_>, parent: MmId, child: MmId, vma: &Vma, va: VirtAddr) -> bool {
    let Some(table) = cx.with(|m| m.tables.find(m.mm(parent).pgd, va, 1)) else { return false };
    let from = Slot::of(table, va, 1);
    let pmd = cx.with(|m| m.tables.read(from));
    if pmd.is_none() || !pmd.is_leaf_at(1) {
        return false;
    }
    let to = Slot::of(ensure_table(cx, child, va, 1).await, va, 1);
    cx.rmw(from.line()).await;
    cx.with(|m| m.copy_entry(vma, child, from, to));
    cx.store(to.line()).await;
    cx.step(|p| p.zap_entry);
    true
}

/// `exit_mmap`: the whole address space goes.
pub(crate) async fn exit_mmap(cx: &Cx<'_>, mm: MmId) {
    let lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    unmap_locked(cx, mm, 0, super::syscall::USER_END).await;
    cx.unlock(lock, LockMode::Exclusive).await;
}

impl Machine {
    /// `copy_present_pte`: write-protects the parent's entry and gives the child an old copy. Returns the struct page's line
    /// if the mapping is counted.
    fn copy_entry(
        &mut self,
        vma: &Vma,
        child: MmId,
        from: Slot,
        to: Slot,
    ) -> Option<daxsim_types::CacheLine> {
        let old = self.tables.read(from);
        let parent = if old.is_writable() { old.wrprotect() } else { old };
        self.tables.write(from, parent);
        self.tables.write(to, parent.mkold());
        if self.is_private_copy(vma, old) {
            *self.shared_copies.entry(old.pfn().0).or_insert(1) += 1;
            return None;
        }
        if self.kernel.dax.refcount_per_map == 0 || !self.is_device_frame(old.pfn()) {
            return None;
        }
        let refs = i64::from(self.kernel.dax.refcount_per_map);
        self.pages.update(old.pfn(), |c| {
            c.refs += refs;
            c.maps += 1;
        });
        self.mm_mut(child).rss_file += 1;
        Some(self.pages.line(old.pfn()))
    }

    /// Whether a private copy is mapped once only.
    pub(crate) fn is_exclusive(&self, frame: daxsim_types::Pfn) -> bool {
        self.shared_copies.get(&frame.0).is_none_or(|maps| *maps <= 1)
    }
}
