//! Calls that change a file under its mappings: ftruncate, fallocate, pwrite; and pread (spec 4.8).

use daxsim_configs::kernel::PathLength;
use daxsim_types::{CacheLine, FileSystem, LINE_BYTES, PageSize, Pfn};

use super::dax_fault::{lock_xa_of_unlocked, unlock_xa};
use super::extent::BlockState;
use super::file::FileId;
use super::layout::{ALL, break_layouts, dax_disassociate_entry, delete_entries};
use super::reflink::{Trimmed, pieces, trim_around_shared, write_shared};
use super::writeback::{SyncMode, dax_writeback_mapping_range};
use super::zap::{EvenCows, unmap_mapping_pages};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;

/// What fallocate does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallocMode {
    /// Allocates unwritten blocks where there are none.
    Allocate,
    /// FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
    Punch,
    /// FALLOC_FL_ZERO_RANGE.
    Zero,
    /// FALLOC_FL_COLLAPSE_RANGE.
    Collapse,
}

pub(super) const PAGE: u64 = PageSize::Size4K.bytes();

/// ftruncate: breaks the layout, which unmaps the whole file everywhere whatever the new size, the old one included
/// (`ext4_setattr`, `xfs_setattr_size`; recorded so), then cuts.
pub(crate) async fn ftruncate(cx: &Cx<'_>, file: FileId, size: u64) {
    let lock = cx.with(|m| m.file(file).invalidate_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    break_layouts(cx, file).await;
    let first = size.div_ceil(PAGE);
    unmap_mapping_pages(cx, file, first, ALL, EvenCows::Yes).await;
    delete_entries(cx, file, first, ALL).await;
    cx.with(|m| {
        m.unmap_blocks(file, first, ALL);
        let file = m.file_mut(file);
        // xfs_itruncate_clear_reflink_flags
        file.reflink &= file.extents.iter().next().is_some();
        file.size = size;
        file.metadata_dirty = true;
    });
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// fallocate of a range of bytes.
pub(crate) async fn fallocate(cx: &Cx<'_>, file: FileId, mode: FallocMode, start: u64, len: u64) {
    let before = cx.set_part(Part::Fs);
    let lock = cx.with(|m| m.file(file).invalidate_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let end = start.saturating_add(len);
    // Whole pages lose or change their blocks; parts of pages at the ends are only zeroed.
    let (first, last) = (start.div_ceil(PAGE), end / PAGE);
    let pages = last.saturating_sub(first);
    if mode != FallocMode::Allocate {
        break_layouts(cx, file).await;
        // XFS drops pages that are covered in part, too, after writing them back; ext4 keeps their entries.
        let (from, cut) = match (mode, cx.with(|m| m.file(file).fs)) {
            (FallocMode::Collapse, _) => (start / PAGE, ALL),
            (_, FileSystem::Xfs) => (start / PAGE, end.div_ceil(PAGE).saturating_sub(start / PAGE)),
            _ => (first, pages),
        };
        flush_before_cut(cx, file, from, cut).await;
        unmap_mapping_pages(cx, file, from, cut, EvenCows::No).await;
        delete_entries(cx, file, from, cut).await;
    }
    let commit = cx.with(|m| {
        let result = m.change_blocks(file, mode, first, pages, end);
        m.file_mut(file).metadata_dirty = true;
        result
    });
    cx.work(commit);
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.set_part(before);
}

/// `xfs_flush_unmap_range`: XFS writes the range back before it drops it, after the layout was broken (recorded so: where
/// that has deleted the entries, nothing is left to write). The recorded ext4 writes nothing back.
async fn flush_before_cut(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    if pages > 0 && cx.with(|m| m.file(file).fs) == FileSystem::Xfs {
        let last = (first + pages - 1).min(ALL);
        dax_writeback_mapping_range(cx, file, first, last, SyncMode::All).await;
    }
}

/// pwrite through `dax_iomap_rw`: allocates what is missing, removes zero pages that mappings show there, copies.
pub(crate) async fn pwrite(cx: &Cx<'_>, file: FileId, start: u64, len: u64) {
    let before = cx.set_part(Part::Fs);
    let mut end = start.saturating_add(len);
    let mut page = start / PAGE;
    if cx.with(|m| m.file(file).reflink) {
        end = write_reflinked(cx, file, start, end).await;
        page = end.div_ceil(PAGE);
    }
    while page < end.div_ceil(PAGE) {
        let run = write_run(cx, file, page, end.div_ceil(PAGE) - page).await;
        if run == 0 {
            break;
        }
        page += run;
    }
    if !cx.with(|m| m.file(file).reflink) {
        copy_lines(cx, file, start, end, true).await;
    }
    cx.with(|m| {
        let file = m.file_mut(file);
        file.metadata_dirty |= end > file.size;
        file.size = file.size.max(end);
    });
    cx.set_part(before);
}

/// The same for a file that shares blocks: run by run, those that are shared by copy on write. Returns the end of what was written, which
/// is short of `end` if the device is full.
async fn write_reflinked(cx: &Cx<'_>, file: FileId, start: u64, end: u64) -> u64 {
    let mut page = start / PAGE;
    while page < end.div_ceil(PAGE) {
        let found = cx.with(|m| m.file(file).extents.lookup(page));
        let Trimmed { mapping, shared } = trim_around_shared(cx, file, found);
        let run = if shared {
            cx.work(cx.with(|m| m.kernel.ask(|k| k.path_length.of(m.file(file).fs).iomap)));
            write_shared(cx, file, page, mapping, (start, end)).await.unwrap_or(0)
        } else {
            let run = write_run(cx, file, page, mapping.len.min(end.div_ceil(PAGE) - page)).await;
            let (from, to) = (start.max(page * PAGE), end.min((page + run) * PAGE));
            copy_lines(cx, file, from, to, true).await;
            run
        };
        if run == 0 {
            return end.min(page * PAGE).max(start);
        }
        page += run;
    }
    end
}

/// One iomap iteration of a write: the pages that it covers. New blocks replace the zero pages of every mapping.
async fn write_run(cx: &Cx<'_>, file: FileId, page: u64, most: u64) -> u64 {
    let (path, alloc, mapping) = cx.with(|m| {
        let fs = m.file(file).fs;
        let (iomap, block_alloc) =
            m.kernel.ask(|k| (k.path_length.of(fs).iomap, k.path_length.of(fs).block_alloc));
        (iomap, block_alloc, m.file(file).extents.lookup(page))
    });
    cx.work(path);
    let run = mapping.len.min(most);
    if matches!(mapping.block, Some((_, BlockState::Written))) {
        return run;
    }
    cx.work(alloc);
    if cx.with(|m| m.allocate_run(file, page, run)).is_err() {
        return 0;
    }
    invalidate_range(cx, file, page, run).await;
    run
}

/// `invalidate_inode_pages2_range` of a DAX file: clean entries go, then the pages are unmapped.
async fn invalidate_range(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    lock_xa_of_unlocked(cx, file, first, pages).await;
    for entry in cx.with(|m| m.file_mut(file).entries.remove_clean(first, pages)) {
        dax_disassociate_entry(cx, &entry, false).await;
    }
    unlock_xa(cx, xa_lock).await;
    unmap_mapping_pages(cx, file, first, pages, EvenCows::No).await;
}

/// pread: the lines of the range are loaded.
pub(crate) async fn pread(cx: &Cx<'_>, file: FileId, start: u64, len: u64) {
    let before = cx.set_part(Part::Fs);
    let path = cx.with(|m| m.kernel.ask(|k| k.path_length.of(m.file(file).fs).iomap));
    cx.work(path);
    let end = start.saturating_add(len).min(cx.with(|m| m.file(file).size));
    copy_lines(cx, file, start, end, false).await;
    cx.set_part(before);
}

/// Moves the data of a range: non-temporal stores for a write, loads for a read.
async fn copy_lines(cx: &Cx<'_>, file: FileId, start: u64, end: u64, write: bool) {
    let mut at = start / LINE_BYTES * LINE_BYTES;
    let mut op = cx.string_op();
    while at < end {
        let mapping = cx.with(|m| m.file(file).extents.lookup(at / PAGE));
        if let Some((pfn, BlockState::Written)) = mapping.block {
            let line = CacheLine(pfn.addr().line().0 + (at % PAGE) / LINE_BYTES);
            if write {
                op.nt_store(line).await;
            } else {
                op.load(line).await;
            }
            at += LINE_BYTES;
        } else {
            at = (at / PAGE).saturating_add(mapping.len).saturating_mul(PAGE);
        }
    }
    op.finish();
}

impl Machine {
    /// Allocates and marks written a run of pages for a write by system call.
    fn allocate_run(&mut self, file: FileId, page: u64, pages: u64) -> Result<(), super::file::NoSpace> {
        let file = &mut self.files[file.0 as usize];
        for at in page..page + pages {
            self.allocator.allocate_for_write(&mut file.extents, at, PageSize::Size4K)?;
        }
        file.metadata_dirty = true;
        Ok(())
    }

    /// The block changes of fallocate; what they execute.
    fn change_blocks(
        &mut self,
        file: FileId,
        mode: FallocMode,
        first: u64,
        pages: u64,
        end: u64,
    ) -> PathLength {
        let work = self.kernel.ask(|k| k.path_length.of(self.file(file).fs).block_alloc);
        match mode {
            FallocMode::Punch => self.unmap_blocks(file, first, pages),
            FallocMode::Allocate | FallocMode::Zero => {
                if mode == FallocMode::Zero {
                    self.unmap_shared(file, first, pages);
                }
                let file = &mut self.files[file.0 as usize];
                let mut at = first;
                while at < first + pages {
                    let found = file.extents.lookup(at);
                    let run = found.len.min(first + pages - at);
                    match found.block {
                        Some((pfn, _)) if mode == FallocMode::Zero => {
                            file.extents.map(at, run, pfn, BlockState::Unwritten);
                        }
                        Some(_) => {}
                        None => {
                            let Ok(pfn) = self.allocator.allocate(run) else { return work };
                            file.extents.map(at, run, pfn, BlockState::Unwritten);
                        }
                    }
                    at += run;
                }
                file.size = file.size.max(end);
            }
            FallocMode::Collapse => {
                self.unmap_blocks(file, first, pages);
                let file = self.file_mut(file);
                let moved: Vec<(u64, u64, Pfn, BlockState)> =
                    file.extents.iter().filter(|(at, ..)| *at >= first).collect();
                file.extents.unmap(first, ALL);
                for (at, len, pfn, state) in moved {
                    file.extents.map(at - pages, len, pfn, state);
                }
                file.size = file.size.saturating_sub(pages * PAGE);
            }
        }
        work
    }

    /// `xfs_free_file_space` before a range is zeroed, as far as it shows: blocks of other files are left to them.
    fn unmap_shared(&mut self, file: FileId, first: u64, pages: u64) {
        if self.file(file).reflink {
            for (page, len, pfn, _) in pieces(&self.file(file).extents, first, pages) {
                for at in (0..len)
                    .filter(|at| self.allocator.shared.owners(Pfn(pfn.0 + at)) > 1)
                    .collect::<Vec<_>>()
                {
                    self.unmap_blocks(file, page + at, 1);
                }
            }
        }
    }

    /// Whether the file's blocks can change at all.
    pub(crate) fn is_regular(&self, file: FileId) -> bool {
        self.file(file).fs != FileSystem::Devdax
    }
}
