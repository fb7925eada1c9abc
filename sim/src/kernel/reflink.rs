//! Blocks that XFS files share: copy on write through the COW fork, and what faults and writes make of it (spec 4.2, 4.6;
//! `fs/xfs/xfs_reflink.c`, `fs/xfs/xfs_iomap.c`, `fs/dax.c`).

use daxsim_types::{CacheLine, LINE_BYTES, Pfn};

use super::extent::{BlockState, ExtentMap, Mapping};
use super::file::{FileId, NoSpace};
use super::file_ops::PAGE;
use super::layout::invalidate_entries;
use super::zap::{EvenCows, unmap_mapping_pages};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::Part;

/// An extent looked up in a file that may share blocks.
#[derive(Clone, Copy)]
pub(super) struct Trimmed {
    /// Cut off where sharing begins or ends.
    pub mapping: Mapping,
    /// Whether other files use its blocks, too.
    pub shared: bool,
}

/// `xfs_reflink_trim_around_shared`: only written blocks can be shared, and only those of an inode with the reflink flag.
pub(super) fn trim_around_shared(cx: &Cx<'_>, file: FileId, mapping: Mapping) -> Trimmed {
    let Some((pfn, BlockState::Written)) = mapping.block else { return Trimmed { mapping, shared: false } };
    if !cx.with(|m| m.file(file).reflink) {
        return Trimmed { mapping, shared: false };
    }
    cx.step(|p| p.refcount_lookup);
    let (shared, len) = cx.with(|m| m.allocator.shared.run(pfn, mapping.len));
    Trimmed { mapping: Mapping { block: mapping.block, len }, shared }
}

/// `xfs_reflink_allocate_cow`: blocks in the COW fork for at most `most` pages of a shared extent, converted at once, as DAX
/// wants them. The caller holds the ILOCK for writing. (Linux drops it while it reserves room in the log, and looks again.)
pub(super) fn allocate_cow(
    cx: &Cx<'_>,
    file: FileId,
    page: u64,
    shared: Mapping,
    most: u64,
) -> Result<Mapping, NoSpace> {
    let len = shared.len.min(most);
    let found = cx.with(|m| m.file(file).cow.lookup(page));
    if found.block.is_some() {
        return Ok(Mapping { block: found.block, len: found.len.min(len) });
    }
    cx.work(cx.with(|m| m.kernel.ask(|k| k.path_length.of(m.file(file).fs).block_alloc)));
    cx.with(|m| m.allocate_cow(file, page, len))
}

/// `xfs_dax_write_iomap_end`: the written part of the COW fork goes into the data fork, in a transaction for each extent; if
/// nothing was written, its blocks are given back.
pub(super) async fn iomap_end(cx: &Cx<'_>, file: FileId, page: u64, pages: u64, written: bool) {
    let before = cx.set_part(Part::Fs);
    let lock = cx.with(|m| m.file(file).extent_lock);
    let mut at = page;
    while at < page + pages {
        let fork = cx.with(|m| m.file(file).cow.lookup(at));
        let run = fork.len.min(page + pages - at);
        if fork.block.is_some() {
            cx.step(|p| p.remap_extent);
            cx.lock(lock, LockMode::Exclusive).await;
            cx.with(|m| if written { m.end_cow(file, at, run) } else { m.cancel_cow(file, at, run) });
            cx.unlock(lock, LockMode::Exclusive).await;
        }
        at += run;
    }
    cx.set_part(before);
}

/// `dax_iomap_copy_around` of a whole fault (`copy_mc_to_kernel`): the old block's data goes into the new one by ordinary stores, so it
/// stays in the caches until somebody writes the entry back.
pub(super) async fn copy_around(cx: &Cx<'_>, source: Pfn, to: Pfn, pages: u64) {
    let before = cx.set_part(Part::Insert);
    for page in 0..pages {
        let mut op = cx.string_step(|p| p.copy_page);
        for line in 0..PAGE / LINE_BYTES {
            op.load(line_of(Pfn(source.0 + page), line)).await;
            op.store(line_of(Pfn(to.0 + page), line)).await;
        }
        op.finish();
    }
    cx.set_part(before);
}

fn line_of(pfn: Pfn, line: u64) -> CacheLine {
    CacheLine(pfn.addr().line().0 + line)
}

/// One iomap iteration of a write to a shared extent (`dax_iomap_iter`): the entries and mappings of the old blocks go, dirty or
/// not; the edges are copied; the data goes past the caches; the new blocks take the place of the old. Returns the pages.
pub(super) async fn write_shared(
    cx: &Cx<'_>,
    file: FileId,
    page: u64,
    shared: Mapping,
    (start, end): (u64, u64),
) -> Result<u64, NoSpace> {
    let lock = cx.with(|m| m.file(file).extent_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let most = end.div_ceil(PAGE) - page;
    let allocated = allocate_cow(cx, file, page, shared, most);
    cx.unlock(lock, LockMode::Exclusive).await;
    let cow = allocated?;
    invalidate_entries(cx, file, page, cow.len).await;
    unmap_mapping_pages(cx, file, page, cow.len, EvenCows::No).await;
    if let (Some((old, _)), Some((new, _))) = (shared.block, cow.block) {
        let run = (page * PAGE, (page + cow.len) * PAGE);
        let (from, to) = (start.max(run.0), end.min(run.1));
        let mut op = cx.string_op();
        let lines = |from: u64, to: u64| {
            (from / LINE_BYTES..to.div_ceil(LINE_BYTES)).map(|at| at - run.0 / LINE_BYTES)
        };
        for line in lines(run.0, from).chain(lines(to, run.1)) {
            op.load(line_of(old, line)).await;
            op.store(line_of(new, line)).await;
        }
        for line in lines(from, to) {
            op.nt_store(line_of(new, line)).await;
        }
        op.finish();
    }
    iomap_end(cx, file, page, cow.len, true).await;
    Ok(cow.len)
}

impl Machine {
    fn allocate_cow(&mut self, file: FileId, page: u64, len: u64) -> Result<Mapping, NoSpace> {
        let pfn = self.allocator.allocate(len)?;
        let file = self.file_mut(file);
        file.cow.map(page, len, pfn, BlockState::Written);
        file.metadata_dirty = true;
        Ok(Mapping { block: Some((pfn, BlockState::Written)), len })
    }

    /// `xfs_reflink_end_cow_extent`.
    fn end_cow(&mut self, file: FileId, page: u64, len: u64) {
        let Some((pfn, state)) = self.file(file).cow.lookup(page).block else { return };
        self.unmap_blocks(file, page, len);
        let file = self.file_mut(file);
        file.extents.map(page, len, pfn, state);
        file.cow.unmap(page, len);
        file.metadata_dirty = true;
    }

    /// `xfs_reflink_cancel_cow_blocks`.
    fn cancel_cow(&mut self, file: FileId, page: u64, len: u64) {
        self.file_mut(file).cow.unmap(page, len);
    }

    /// `xfs_bmap_unmap_extent`: makes pages of a file a hole; blocks that other files share stay theirs.
    pub(crate) fn unmap_blocks(&mut self, file: FileId, first: u64, pages: u64) {
        let Self { files, allocator, .. } = self;
        let file = &mut files[file.0 as usize];
        if file.reflink {
            for (_, len, pfn, _) in pieces(&file.extents, first, pages) {
                allocator.shared.decrease(pfn, len);
            }
        }
        file.extents.unmap(first, pages);
    }
}

/// The extents of a range, cut off at its ends.
pub(super) fn pieces(extents: &ExtentMap, first: u64, pages: u64) -> Vec<(u64, u64, Pfn, BlockState)> {
    let end = first.saturating_add(pages);
    let inside = extents.iter().filter(|(at, len, ..)| *at < end && at + len > first);
    inside
        .map(|(at, len, pfn, state)| {
            let from = at.max(first);
            (from, (at + len).min(end) - from, Pfn(pfn.0 + from - at), state)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_off_at_both_ends_of_a_range() {
        let mut extents = ExtentMap::default();
        extents.map(0, 10, Pfn(100), BlockState::Written);
        extents.map(20, 10, Pfn(50), BlockState::Unwritten);
        let written = (4, 6, Pfn(104), BlockState::Written);
        assert_eq!(pieces(&extents, 4, 17), [written, (20, 1, Pfn(50), BlockState::Unwritten)]);
        assert_eq!(pieces(&extents, 4, 16), [written]);
        assert_eq!(pieces(&extents, 10, 10), []);
    }
}
