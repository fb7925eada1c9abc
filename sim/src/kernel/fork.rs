//! fork and exit of a process: `dup_mmap`, `copy_page_range`, `exit_mmap` (spec 3.7).

use daxsim_types::{PageSize, Pfn, VirtAddr};

use super::broadcast::mm_free_global_asid;
use super::fault::{ensure_table, read_entry};
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::syscall::{SyscallError, unmap_locked};
use super::vma::{Backing, Vma};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::table::Slot;

/// Fills the address space `child` with the parent's mappings. Tables of shared mappings are not copied: the child faults
/// its own in. Private mappings that hold copies are copied with both sides write-protected. Both address spaces are locked
/// for writing, and so is each VMA of the parent, until the parent is flushed.
pub(crate) async fn dup_mmap(cx: &Cx<'_>, parent: MmId, child: MmId) -> Result<(), SyscallError> {
    let (lock, child_lock) = cx.with(|m| (m.mm(parent).mmap_lock, m.mm(child).mmap_lock));
    cx.lock(lock, LockMode::Exclusive).await;
    cx.lock(child_lock, LockMode::Exclusive).await;
    let vmas: Vec<Vma> = cx.with(|m| m.mm(parent).vmas.values().copied().collect());
    let mut result = Ok(());
    for vma in &vmas {
        // vma_start_write: faults under way in it end first, later ones wait for mmap_lock.
        cx.lock(vma.lock, LockMode::Exclusive).await;
    }
    // A fault that ended meanwhile may have made a first copy.
    let vmas: Vec<Vma> = cx.with(|m| m.mm(parent).vmas.values().copied().collect());
    for vma in &vmas {
        cx.step(|p| p.mmap);
        link_copy(cx, child, vma).await;
        if vma.has_copies {
            result = copy_page_range(cx, parent, child, vma).await;
        }
        if result.is_err() {
            break;
        }
    }
    cx.unlock(child_lock, LockMode::Exclusive).await;
    // flush_tlb_mm: every fork flushes the parent wholly.
    flush_tlb_mm_range(cx, parent, (0, u64::MAX), 12, true).await;
    for vma in &vmas {
        cx.unlock(vma.lock, LockMode::Exclusive).await;
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    if result.is_err() {
        exit_mmap(cx, child).await;
    }
    result
}

/// The child's copy of a VMA, on the file's tree of mappings too.
async fn link_copy(cx: &Cx<'_>, child: MmId, vma: &Vma) {
    let i_mmap = match vma.backing {
        Backing::Dax { file, .. } => Some(cx.with(|m| m.file(file).i_mmap_lock)),
        Backing::Anonymous | Backing::Cached { .. } => None,
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

/// Table by table.
async fn copy_page_range(cx: &Cx<'_>, parent: MmId, child: MmId, vma: &Vma) -> Result<(), SyscallError> {
    let before = cx.set_part(Part::Insert);
    let mut result = Ok(());
    let mut at = vma.start;
    while at < vma.end && result.is_ok() {
        let va = VirtAddr(at);
        if vma.backing == Backing::Anonymous {
            match copy_huge_pmd(cx, parent, child, vma, va).await {
                Ok(false) => {}
                copied => {
                    result = copied.map(drop);
                    at = va.align_down(PageSize::Size2M).0 + PageSize::Size2M.bytes();
                    continue;
                }
            }
        }
        match cx.with(|m| m.tables.find(m.mm(parent).pgd, va, 0)) {
            Some(table) => {
                let span = PageSize::Size2M.bytes();
                let next = ((at & !(span - 1)) + span).min(vma.end);
                result = copy_pte_range(cx, vma, child, table, (at, next)).await;
                at = next;
            }
            None => at = cx.with(|m| m.tables.next_after(m.mm(parent).pgd, va)),
        }
    }
    cx.set_part(before);
    result
}

/// `copy_pte_range`: under the child's page-table lock, then the parent's.
async fn copy_pte_range(
    cx: &Cx<'_>,
    vma: &Vma,
    child: MmId,
    table: Pfn,
    range: (u64, u64),
) -> Result<(), SyscallError> {
    let Some(to_table) = ensure_table(cx, child, VirtAddr(range.0), 0).await else {
        return Err(SyscallError::NoMemory);
    };
    let locks = cx.with(|m| Some((m.tables.lock(to_table)?, m.tables.lock(table)?)));
    let Some((to_lock, from_lock)) = locks else { return Ok(()) };
    cx.lock(to_lock, LockMode::Exclusive).await;
    cx.lock(from_lock, LockMode::Exclusive).await;
    let mut at = range.0;
    while at < range.1 {
        let (from, to) = (Slot::of(table, VirtAddr(at), 0), Slot::of(to_table, VirtAddr(at), 0));
        copy_present_pte(cx, vma, child, from, to).await;
        at += PageSize::Size4K.bytes();
    }
    cx.unlock(from_lock, LockMode::Exclusive).await;
    cx.unlock(to_lock, LockMode::Exclusive).await;
    Ok(())
}

async fn copy_present_pte(cx: &Cx<'_>, vma: &Vma, child: MmId, from: Slot, to: Slot) {
    if read_entry(cx, from).await.is_none() {
        return;
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

/// `copy_huge_pmd` of anonymous memory: both sides are write-protected. False if there is no huge page.
async fn copy_huge_pmd(
    cx: &Cx<'_>,
    parent: MmId,
    child: MmId,
    vma: &Vma,
    va: VirtAddr,
) -> Result<bool, SyscallError> {
    let Some(table) = cx.with(|m| m.tables.find(m.mm(parent).pgd, va, 1)) else { return Ok(false) };
    let from = Slot::of(table, va, 1);
    let pmd = cx.with(|m| m.tables.read(from));
    if pmd.is_none() || !pmd.is_leaf_at(1) {
        return Ok(false);
    }
    let Some(to_table) = ensure_table(cx, child, va, 1).await else { return Err(SyscallError::NoMemory) };
    let to = Slot::of(to_table, va, 1);
    cx.rmw(from.line()).await;
    cx.with(|m| m.copy_entry(vma, child, from, to));
    cx.store(to.line()).await;
    cx.step(|p| p.zap_entry);
    Ok(true)
}

/// `exit_mmap`: the whole address space goes.
pub(crate) async fn exit_mmap(cx: &Cx<'_>, mm: MmId) {
    let lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    unmap_locked(cx, mm, 0, cx.with(|m| m.user_end())).await;
    cx.unlock(lock, LockMode::Exclusive).await;
    mm_free_global_asid(cx, mm).await;
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
        let refs = i64::from(self.kernel.ask(|k| k.dax.refcount_per_map));
        self.pages.update(old.pfn(), |c| {
            c.refs += refs;
            c.maps += 1;
        });
        self.mm_mut(child).rss_file += 1;
        Some(self.pages.line(old.pfn()))
    }

    /// Whether a private copy is mapped once only.
    pub(crate) fn is_exclusive(&self, frame: Pfn) -> bool {
        self.shared_copies.get(&frame.0).is_none_or(|maps| *maps <= 1)
    }
}
