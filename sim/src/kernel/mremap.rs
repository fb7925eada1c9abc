//! mremap: a mapping goes to another address, and its entries with it (spec 3.7; `mm/mremap.c`).

use daxsim_types::{PageSize, VirtAddr};

use super::fault::{ensure_table, read_entry};
use super::flush::flush_tlb_mm_range;
use super::mm::MmId;
use super::syscall::{SyscallError, unmap_locked, wait_for_faults};
use super::vma::{Backing, Vma};
use super::writeback::take_entry;
use super::zap::{zap_huge_pmd, zap_huge_pud};
use crate::engine::{Cx, LockId, LockMode};
use crate::measure::Part;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// What mremap is asked for. All lengths are whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemapRequest {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Bytes afterwards.
    pub new_len: u64,
    /// MREMAP_FIXED with this address; `None` to shrink or grow where it is, without MREMAP_MAYMOVE.
    pub to: Option<u64>,
    /// MREMAP_DONTUNMAP: the old place stays mapped, with no pages. For a move without change of length.
    pub dont_unmap: bool,
}

/// `do_mremap`; the caller holds mmap_lock for writing and has checked the ranges.
pub(super) async fn do_mremap(cx: &Cx<'_>, mm: MmId, request: RemapRequest) -> Result<(), SyscallError> {
    let RemapRequest { start, len, new_len, to, dont_unmap } = request;
    let end = start + len;
    let overlaps = |to: u64| to < end && start < to + new_len;
    if to.is_some_and(overlaps) || (dont_unmap && (to.is_none() || new_len != len)) {
        return Err(SyscallError::Invalid { start, len });
    }
    if let Some(to) = to {
        unmap_locked(cx, mm, to, to + new_len).await;
    }
    if new_len < len {
        unmap_locked(cx, mm, start + new_len, end).await;
    }
    let kept = len.min(new_len);
    // vma_to_resize: one mapping must hold all of it.
    let vma = cx.with(|m| m.mm(mm).find_vma(VirtAddr(start)).copied());
    let Some(vma) = vma.filter(|vma| start + kept <= vma.end) else {
        return Err(SyscallError::NoMapping { start, end });
    };
    match to {
        Some(to) => {
            move_vma(cx, mm, &vma, (start, to, kept), new_len).await;
            if !dont_unmap {
                unmap_locked(cx, mm, start, start + kept).await;
            }
        }
        None if new_len > len => return expand(cx, mm, &vma, end, start + new_len).await,
        None => {}
    }
    Ok(())
}

/// Growth in place (`vma_expand`): only at the end of a mapping, and into free addresses.
async fn expand(cx: &Cx<'_>, mm: MmId, vma: &Vma, end: u64, new_end: u64) -> Result<(), SyscallError> {
    if vma.end != end || cx.with(|m| !m.mm(mm).vmas_in(end, new_end).is_empty()) {
        return Err(SyscallError::NoRoom { start: end, end: new_end });
    }
    wait_for_faults(cx, &[vma.lock]).await;
    cx.step(|p| p.mmap);
    cx.with(|m| {
        if let Some(vma) = m.mm_mut(mm).vmas.get_mut(&vma.start) {
            vma.end = new_end;
        }
    });
    Ok(())
}

/// `move_vma`: the VMA at the new place, then the entries. The old place is left empty.
async fn move_vma(cx: &Cx<'_>, mm: MmId, vma: &Vma, (start, to, kept): (u64, u64, u64), new_len: u64) {
    wait_for_faults(cx, &[vma.lock]).await;
    cx.step(|p| p.mmap);
    let i_mmap = i_mmap_lock(cx, vma);
    take(cx, i_mmap).await;
    cx.with(|m| {
        let backing = match vma.backing {
            Backing::Dax { file, pgoff } => Backing::Dax { file, pgoff: pgoff + ((start - vma.start) >> 12) },
            Backing::Cached { file, pgoff } => {
                Backing::Cached { file, pgoff: pgoff + ((start - vma.start) >> 12) }
            }
            Backing::Anonymous => Backing::Anonymous,
        };
        let lock = m.new_vma_lock();
        m.insert_vma(mm, Vma { start: to, end: to + new_len, backing, lock, ..*vma });
    });
    drop_lock(cx, i_mmap).await;
    let before = cx.set_part(Part::Zap);
    move_page_tables(cx, mm, vma, (start, to, kept)).await;
    cx.set_part(before);
}

fn i_mmap_lock(cx: &Cx<'_>, vma: &Vma) -> Option<LockId> {
    match vma.backing {
        Backing::Dax { file, .. } => Some(cx.with(|m| m.file(file).i_mmap_lock)),
        Backing::Anonymous | Backing::Cached { .. } => None,
    }
}

async fn take(cx: &Cx<'_>, lock: Option<LockId>) {
    if let Some(lock) = lock {
        cx.lock(lock, LockMode::Exclusive).await;
    }
}

async fn drop_lock(cx: &Cx<'_>, lock: Option<LockId>) {
    if let Some(lock) = lock {
        cx.unlock(lock, LockMode::Exclusive).await;
    }
}

/// `get_extent`: how far both addresses stay within an entry of a size.
fn extent(size: PageSize, from: u64, to: u64, left: u64) -> u64 {
    let to_border = |at: u64| size.bytes() - (at & (size.bytes() - 1));
    left.min(to_border(from)).min(to_border(to))
}

/// `move_page_tables`: by the largest piece that fits at both places.
async fn move_page_tables(cx: &Cx<'_>, mm: MmId, vma: &Vma, (start, to, len): (u64, u64, u64)) {
    let mut done = 0;
    while done < len {
        let (from, to, left) = (start + done, to + done, len - done);
        done += match move_upper(cx, mm, vma, PageSize::Size1G, (from, to), left).await {
            Some(moved) => moved,
            None => match move_upper(cx, mm, vma, PageSize::Size2M, (from, to), left).await {
                Some(moved) => moved,
                None => {
                    let piece = extent(PageSize::Size2M, from, to, left);
                    move_ptes(cx, mm, from, to, piece).await;
                    piece
                }
            },
        };
    }
}

/// One entry of a level above the page tables, huge page (`move_huge_pmd`) or table (`move_normal_pmd`), or the hole where none
/// is. Returns how far that went; `None` if it is to be done a level below.
async fn move_upper(
    cx: &Cx<'_>,
    mm: MmId,
    vma: &Vma,
    size: PageSize,
    (from, to): (u64, u64),
    left: u64,
) -> Option<u64> {
    let (va, level, piece) = (VirtAddr(from), size.level(), extent(size, from, to, left));
    let Some(table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, level)) else { return Some(piece) };
    let slot = Slot::of(table, va, level);
    let seen = read_entry(cx, slot).await;
    if seen.is_none() {
        return Some(piece);
    }
    if piece == size.bytes() && move_entry(cx, mm, vma, slot, (from, to), size).await {
        return Some(piece);
    }
    if seen.is_leaf_at(level) {
        // A file's huge page cannot be split, only removed: what is left of it is faulted in at the new place.
        match size {
            PageSize::Size1G => zap_huge_pud(cx, mm, vma, va).await,
            PageSize::Size2M | PageSize::Size4K => zap_huge_pmd(cx, mm, vma, va).await,
        }
        return Some(piece);
    }
    None
}

/// Moves one upper entry whole and flushes the range it covered, which is more pages than are flushed one by one. Page tables move
/// with the file's mappings locked, so that no walk over them misses an entry. False if the new place has an entry already.
async fn move_entry(
    cx: &Cx<'_>,
    mm: MmId,
    vma: &Vma,
    slot: Slot,
    (from, to): (u64, u64),
    size: PageSize,
) -> bool {
    let Some(table) = ensure_table(cx, mm, VirtAddr(to), size.level()).await else { return false };
    let i_mmap = i_mmap_lock(cx, vma);
    take(cx, i_mmap).await;
    let target = Slot::of(table, VirtAddr(to), size.level());
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let moves = read_entry(cx, target).await.is_none() && !cx.with(|m| m.tables.read(slot)).is_none();
    if moves {
        let old = move_slot(cx, slot, target, size).await;
        if old.is_present() {
            flush_tlb_mm_range(cx, mm, (from, from + size.bytes()), 12, true).await;
        }
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    drop_lock(cx, i_mmap).await;
    moves
}

/// Takes an entry from one slot to another; the locks of both are held. A page's is soft-dirty at its new place
/// (`move_soft_dirty_pte`).
async fn move_slot(cx: &Cx<'_>, from: Slot, to: Slot, size: PageSize) -> Entry {
    cx.rmw(from.line()).await;
    let old = take_entry(cx, from);
    cx.step(|p| p.zap_entry);
    let page = old.is_leaf_at(size.level()) && old.is_present();
    let new = if page { Entry(old.0 | Entry::SOFT_DIRTY) } else { old };
    cx.store(to.line()).await;
    cx.with(|m| m.tables.write(to, new));
    old
}

/// `move_ptes`: the entries of a piece that lies in one table at either place. If one of them was present, the old piece is
/// flushed before the locks are dropped.
async fn move_ptes(cx: &Cx<'_>, mm: MmId, from: u64, to: u64, len: u64) {
    let Some(old) = cx.with(|m| m.tables.find(m.mm(mm).pgd, VirtAddr(from), 0)) else { return };
    // Without memory for a table, which only an injection brings about, the entries stay behind and are unmapped with the old
    // place; Linux moves back what it moved, and gives ENOMEM.
    let Some(new) = ensure_table(cx, mm, VirtAddr(to), 0).await else { return };
    let (Some(first), Some(second)) = cx.with(|m| (m.tables.lock(old), m.tables.lock(new))) else { return };
    cx.lock(first, LockMode::Exclusive).await;
    if second != first {
        cx.lock(second, LockMode::Exclusive).await;
    }
    let mut flush = false;
    for at in (0..len).step_by(PageSize::Size4K.bytes() as usize) {
        let slot = Slot::of(old, VirtAddr(from + at), 0);
        if !cx.with(|m| m.tables.read(slot)).is_none() {
            let target = Slot::of(new, VirtAddr(to + at), 0);
            flush |= move_slot(cx, slot, target, PageSize::Size4K).await.is_present();
        }
    }
    if flush {
        flush_tlb_mm_range(cx, mm, (from, from + len), 12, true).await;
    }
    if second != first {
        cx.unlock(second, LockMode::Exclusive).await;
    }
    cx.unlock(first, LockMode::Exclusive).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_at_the_nearer_border_of_the_two_places() {
        let size = PageSize::Size2M;
        assert_eq!(extent(size, 0, 0x4000_0000, 1 << 30), 2 << 20);
        assert_eq!(extent(size, 0x1000, 0x4000_0000, 1 << 30), (2 << 20) - 0x1000);
        assert_eq!(extent(size, 0x1000, 0x4010_0000, 1 << 30), 1 << 20);
        assert_eq!(extent(size, 0x1000, 0x4010_0000, 0x3000), 0x3000);
    }
}
