//! FICLONE and FICLONERANGE: a file comes to share blocks of another (`xfs_file_remap_range`).

use std::collections::BTreeSet;

use daxsim_types::FileSystem;

use super::extent::BlockState;
use super::file::FileId;
use super::file_ops::PAGE;
use super::layout::{break_layouts, delete_entries, try_break_layouts, wait_unlocked};
use super::reflink::pieces;
use super::syscall::SyscallError;
use super::writeback::{SyncMode, dax_writeback_mapping_range};
use super::zap::{EvenCows, unmap_mapping_pages};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;

/// What is to be shared: `struct file_clone_range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneRequest {
    /// The file whose blocks are shared.
    pub from: FileId,
    /// First byte of it.
    pub from_start: u64,
    /// The file that gets them.
    pub to: FileId,
    /// Where.
    pub to_start: u64,
    /// Bytes; 0 for all up to the end of the first file.
    pub len: u64,
}

/// Pages to share: first of the one file, first of the other, number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    from: u64,
    to: u64,
    pages: u64,
}

/// `vfs_clone_file_range` and `xfs_file_remap_range`.
pub(super) async fn clone_range(cx: &Cx<'_>, request: CloneRequest) -> Result<(), SyscallError> {
    cx.with(|m| m.can_clone(&request))?;
    let before = cx.set_part(Part::Fs);
    cx.step(|p| p.clone);
    lock_both(cx, request.from, request.to).await;
    // generic_remap_checks looks at the sizes under the locks.
    let checked = cx.with(|m| m.clone_range(&request));
    if let Ok(Some((range, len))) = checked {
        remap(cx, &request, range, len).await;
    } else {
        unlock_both(cx, request.from, request.to, LockMode::Exclusive).await;
    }
    cx.set_part(before);
    checked.map(|_| ())
}

/// `xfs_reflink_remap_prep` and `xfs_reflink_remap_blocks`, with both files locked.
async fn remap(cx: &Cx<'_>, request: &CloneRequest, range: Range, len: u64) {
    let CloneRequest { from, to, .. } = *request;
    // What a fault has stored must be on the device before the blocks are shared; only the marks tell what that is.
    flush(cx, from, range.from, range.pages).await;
    flush(cx, to, range.to, range.pages).await;
    cx.with(|m| {
        m.file_mut(from).reflink = true;
        m.file_mut(to).reflink = true;
    });
    // xfs_flush_unmap_range begins at the end of the file if the range lies behind it.
    let first = range.to.min(cx.with(|m| m.file(to).size) / PAGE);
    let pages = range.to + range.pages - first;
    flush(cx, to, first, pages).await;
    unmap_mapping_pages(cx, to, first, pages, EvenCows::No).await;
    delete_entries(cx, to, first, pages).await;
    // The source can be read from here on, by faults too; a fault that writes waits for the end (XFS_IREMAPPING).
    cx.with(|m| m.file_mut(from).remapping = true);
    let mode = if from == to { LockMode::Exclusive } else { LockMode::Shared };
    if from != to {
        cx.demote(cx.with(|m| m.file(from).invalidate_lock)).await;
    }
    remap_blocks(cx, from, to, range).await;
    cx.with(|m| {
        let file = m.file_mut(to);
        file.size = file.size.max(request.to_start + len);
        file.metadata_dirty = true;
        m.file_mut(from).metadata_dirty = true;
        m.file_mut(from).remapping = false;
    });
    unlock_both(cx, from, to, mode).await;
}

async fn flush(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    dax_writeback_mapping_range(cx, file, first, first + pages - 1, SyncMode::All).await;
}

/// `xfs_reflink_remap_blocks`: extent by extent, a transaction each. What is not written is a hole in the copy.
async fn remap_blocks(cx: &Cx<'_>, from: FileId, to: FileId, range: Range) {
    let (source_lock, lock) = cx.with(|m| (m.file(from).extent_lock, m.file(to).extent_lock));
    let end = range.from + range.pages;
    let mut at = range.from;
    while at < end {
        cx.lock(source_lock, LockMode::Shared).await;
        let found = cx.with(|m| m.file(from).extents.lookup(at));
        cx.unlock(source_lock, LockMode::Shared).await;
        let run = found.len.min(end - at);
        cx.step(|p| p.remap_extent);
        cx.lock(lock, LockMode::Exclusive).await;
        cx.with(|m| m.remap_extent(from, at, to, range.to + (at - range.from), run));
        cx.unlock(lock, LockMode::Exclusive).await;
        at += run;
    }
}

/// `xfs_mmaplock_two_inodes_and_break_dax_layout`: both MMAPLOCKs, lower inode first, and no page of either file in use. The kernel
/// looks again and again at a page of the second; here it sleeps until the page is idle.
async fn lock_both(cx: &Cx<'_>, one: FileId, other: FileId) {
    let (first, second) = (one.min(other), one.max(other));
    let (first_lock, second_lock) =
        cx.with(|m| (m.file(first).invalidate_lock, m.file(second).invalidate_lock));
    let mut given_up = BTreeSet::new();
    loop {
        cx.lock(first_lock, LockMode::Exclusive).await;
        break_layouts(cx, first).await;
        if first == second {
            return;
        }
        cx.lock(second_lock, LockMode::Exclusive).await;
        let Some(busy) = try_break_layouts(cx, second, &given_up).await else { return };
        cx.unlock(second_lock, LockMode::Exclusive).await;
        cx.unlock(first_lock, LockMode::Exclusive).await;
        if !wait_unlocked(cx, busy).await {
            // Nothing holds it but mappings by another file: to wait for it would be for ever.
            given_up.insert(busy.0);
        }
    }
}

/// Gives both up; the source's may be held for reading by now.
async fn unlock_both(cx: &Cx<'_>, from: FileId, to: FileId, source: LockMode) {
    let (from_lock, to_lock) = cx.with(|m| (m.file(from).invalidate_lock, m.file(to).invalidate_lock));
    if from != to {
        cx.unlock(from_lock, source).await;
    }
    cx.unlock(to_lock, LockMode::Exclusive).await;
}

impl Machine {
    /// What is refused before anything is locked.
    fn can_clone(&self, request: &CloneRequest) -> Result<(), SyscallError> {
        let (from, to) = (self.file(request.from).fs, self.file(request.to).fs);
        match (from, to) {
            (FileSystem::Xfs, FileSystem::Xfs) => Ok(()),
            (FileSystem::Ext4, FileSystem::Ext4) => Err(SyscallError::CannotShare),
            (FileSystem::Devdax, FileSystem::Devdax) => Err(SyscallError::NoRegularFile),
            _ => Err(SyscallError::OtherFileSystem),
        }
    }

    /// `generic_remap_checks` and `generic_remap_check_len`: the pages, and the bytes that count for the size. `None` if there is
    /// nothing to do.
    fn clone_range(&self, request: &CloneRequest) -> Result<Option<(Range, u64)>, SyscallError> {
        let CloneRequest { from, from_start, to, to_start, len } = *request;
        let (size, to_size) = (self.file(from).size, self.file(to).size);
        let bad = SyscallError::BadClone { from: from_start, to: to_start, len };
        let all = if len == 0 { size.saturating_sub(from_start) } else { len };
        let end = from_start.checked_add(all).filter(|end| *end <= size).ok_or(bad)?;
        let to_end = to_start.checked_add(all).ok_or(bad)?;
        if all == 0 {
            return Ok(None);
        }
        let aligned = from_start.is_multiple_of(PAGE) && to_start.is_multiple_of(PAGE);
        // A part of a block can be shared only where both files end in it.
        let whole = all.is_multiple_of(PAGE) || (end == size && to_end >= to_size);
        let range = Range { from: from_start / PAGE, to: to_start / PAGE, pages: all.div_ceil(PAGE) };
        let overlap =
            from == to && range.from < range.to + range.pages && range.to < range.from + range.pages;
        if aligned && whole && !overlap { Ok(Some((range, all))) } else { Err(bad) }
    }

    /// `xfs_reflink_remap_extent`.
    fn remap_extent(&mut self, from: FileId, page: u64, to: FileId, at: u64, len: u64) {
        let found = pieces(&self.file(from).extents, page, len);
        self.unmap_blocks(to, at, len);
        for (source, run, pfn, state) in found {
            if state == BlockState::Written {
                self.allocator.shared.increase(pfn, run);
                self.file_mut(to).extents.map(at + (source - page), run, pfn, state);
            }
        }
    }
}
