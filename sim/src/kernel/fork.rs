//! fork and exit of a process: `dup_mmap`, `copy_page_range`, `exit_mmap` (spec 3.7).

use daxsim_types::{PageSize, Pfn, VirtAddr};

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
/// its own in. Private mappings that hold copies are copied with both sides write-protected. Both mmap_locks are held, and
/// the lock of each of the parent's VMAs from the moment it is copied (`vma_start_write`).
pub(crate) async fn dup_mmap(cx: &Cx<'_>, parent: MmId, child: MmId) {
    let (lock, child_lock) = cx.with(|m| (m.mm(parent).mmap_lock, m.mm(child).mmap_lock));
    cx.lock(lock, LockMode::Exclusive).await;
    cx.lock(child_lock, LockMode::Exclusive).await;
    let vmas = cx.with(|m| m.mm(parent).vmas.values().copied().collect::<Vec<Vma>>());
    for vma in &vmas {
        cx.step(|p| p.mmap);
        cx.lock(vma.lock, LockMode::Exclusive).await;
        // A fault that held the lock before may have made the first copy.
        let vma = cx.with(|m| m.mm(parent).vmas.get(&vma.start).copied()).unwrap_or(*vma);
        link_copy(cx, child, &vma).await;
        if vma.has_copies {
            copy_page_range(cx, parent, child, &vma).await;
        }
    }
    // flush_tlb_mm: every fork flushes the parent wholly.
    flush_tlb_mm_range(cx, parent, (0, u64::MAX), 12, true).await;
    cx.unlock(child_lock, LockMode::Exclusive).await;
    for vma in &vmas {
        cx.unlock(vma.lock, LockMode::Exclusive).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// Gives the child its VMA, which the file then knows as a mapping of its own.
async fn link_copy(cx: &Cx<'_>, child: MmId, vma: &Vma) {
    let i_mmap = match vma.backing {
        Backing::Dax { file, .. } => Some(cx.with(|m| m.file(file).i_mmap_lock)),
        Backing::Anonymous => None,
    };
    if let Some(i_mmap) = i_mmap {
        cx.lock(i_mmap, LockMode::Exclusive).await;
    }
    cx.with(|m| {
        let lock = m.new_vma_lock();
        m.insert_vma(child, Vma { lock, ..*vma });
    });
    if let Some(i_mmap) = i_mmap {
        cx.unlock(i_mmap, LockMode::Exclusive).await;
    }
}

async fn copy_page_range(cx: &Cx<'_>, parent: MmId, child: MmId, vma: &Vma) {
    let before = cx.set_part(Part::Insert);
    let span = PageSize::Size2M.bytes();
    let mut at = vma.start;
    while at < vma.end {
        let va = VirtAddr(at);
        match cx.with(|m| m.tables.find(m.mm(parent).pgd, va, 0)) {
            Some(table) => {
                let end = ((at & !(span - 1)) + span).min(vma.end);
                copy_pte_range(cx, child, vma, table, (at, end)).await;
                at = end;
            }
            None => at = cx.with(|m| m.tables.next_after(m.mm(parent).pgd, va)),
        }
    }
    cx.set_part(before);
}

/// The entries of one table, under its lock and that of the child's.
async fn copy_pte_range(cx: &Cx<'_>, child: MmId, vma: &Vma, table: Pfn, range: (u64, u64)) {
    let to_table = ensure_table(cx, child, VirtAddr(range.0), 0).await;
    let locks = cx.with(|m| Some((m.tables.lock(to_table)?, m.tables.lock(table)?)));
    let Some((to_lock, from_lock)) = locks else { return };
    cx.lock(to_lock, LockMode::Exclusive).await;
    cx.lock(from_lock, LockMode::Exclusive).await;
    let mut at = range.0;
    while at < range.1 {
        let (from, to) = (Slot::of(table, VirtAddr(at), 0), Slot::of(to_table, VirtAddr(at), 0));
        at += PageSize::Size4K.bytes();
        cx.load(from.line()).await;
        if cx.with(|m| m.tables.read(from)).is_none() {
            continue;
        }
        cx.rmw(from.line()).await;
        let counted = cx.with(|m| m.copy_entry(vma, child, from, to));
        cx.store(to.line()).await;
        if let Some(line) = counted {
            cx.rmw_struct_page(line).await;
            cx.rmw_struct_page(line).await;
        }
        cx.step(|p| p.zap_entry);
    }
    cx.unlock(from_lock, LockMode::Exclusive).await;
    cx.unlock(to_lock, LockMode::Exclusive).await;
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
            self.mm_mut(child).rss_anon += 1;
            return None;
        }
        if !self.is_counted(vma, old) {
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
