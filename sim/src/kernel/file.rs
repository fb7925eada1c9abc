//! DAX files: size, extents, mapping entries, the locks of inode and mapping, and block allocation.

use daxsim_types::{CacheLine, FileSystem, PageSize, Pfn};

use super::dax_entry::{DaxEntries, PMD_PAGES};
use super::extent::{BlockState, ExtentMap};
use super::mm::MmId;
use super::refcount::SharedBlocks;
use super::vma::Vma;
use crate::engine::LockId;

/// Handle of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

impl FileId {
    /// No DAX file: what faults outside DAX, which no file system handles, have in its place.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// How a file's blocks come to be before the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewFile {
    /// Every block written.
    Filled,
    /// Every block allocated, none written (`fallocate`).
    Preallocated,
    /// No blocks (`ftruncate`).
    Sparse,
    /// A device-dax device: linear, always there.
    Device,
    /// Blocks where `filefrag` or `fiemap` found them: (file page, device page, pages, written).
    Extents(Vec<(u64, u64, u64, bool)>),
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// File system.
    pub fs: FileSystem,
    /// Bytes.
    pub size: u64,
    /// Where its pages lie.
    pub extents: ExtentMap,
    /// `i_pages`.
    pub entries: DaxEntries,
    /// Mappings of the file: mm and first address of the VMA, in order of creation (`i_mmap`).
    pub mappings: Vec<(MmId, u64)>,
    /// Mappings that are out of their address space already, but not yet off the file: munmap is zapping them.
    pub leaving: Vec<(MmId, Vma)>,
    /// `invalidate_lock` / XFS MMAPLOCK (spec 7.1: Linv).
    pub invalidate_lock: LockId,
    /// `i_pages` lock (Lxa).
    pub xa_lock: LockId,
    /// `i_mmap_rwsem` (Limm).
    pub i_mmap_lock: LockId,
    /// ext4 extent-status lock (Les) or XFS ILOCK (Lilk).
    pub extent_lock: LockId,
    /// Head of the extent tree in memory.
    pub extent_line: CacheLine,
    /// Uncommitted metadata that an fsync must commit (`IOMAP_F_DIRTY`).
    pub metadata_dirty: bool,
    /// The copy-on-write fork: new blocks that a write to shared ones fills.
    pub cow: ExtentMap,
    /// XFS_DIFLAG2_REFLINK: some of its blocks may be shared.
    pub reflink: bool,
    /// XFS_IREMAPPING: its blocks are being shared.
    pub remapping: bool,
    /// What reports call it.
    pub name: String,
}

impl File {
    /// Number of pages, the last one perhaps partly used.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.size.div_ceil(4096)
    }
}

/// The device's free space.
///
/// The recorded file systems were made with a 2 MiB stripe (ext4) or extent-size hint (XFS): a request of 2 MiB or more is
/// aligned to 2 MiB, smaller ones are packed behind each other. fallocate on XFS fills the last 2 MiB; a write fault of 4 KiB
/// into a hole gets one page on XFS too, whatever the hint (both recorded in s03).
#[derive(Clone, Debug)]
pub struct BlockAllocator {
    fs: FileSystem,
    base: Pfn,
    pages: u64,
    small: u64,
    huge: u64,
    /// Alignment of the device as device-dax.
    pub(crate) device_alignment: PageSize,
    /// Blocks that several files use. Those that nobody uses any more are not handed out again.
    pub(crate) shared: SharedBlocks,
}

/// The device is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;

impl BlockAllocator {
    /// Free space of a device of `pages` pages whose first frame is `base`.
    #[must_use]
    pub fn new(fs: FileSystem, base: Pfn, pages: u64) -> Self {
        // Small requests come from the first half, aligned ones from the second, as both file systems keep them apart.
        let half = pages / 2 / PMD_PAGES * PMD_PAGES;
        Self {
            fs,
            base,
            pages,
            small: if pages > 16 { 8 } else { 0 },
            huge: half,
            device_alignment: PageSize::Size2M,
            shared: SharedBlocks::default(),
        }
    }

    /// The same space with another alignment as device-dax.
    #[must_use]
    pub fn with_device_alignment(self, device_alignment: PageSize) -> Self {
        Self { device_alignment, ..self }
    }

    /// The device-dax device: first frame and number of pages. What its alignment cuts off at both ends is lost, as in a
    /// namespace of that alignment.
    #[must_use]
    pub fn device(&self) -> (Pfn, u64) {
        let unit = self.device_alignment.pages();
        let start = self.base.0.next_multiple_of(unit);
        let pages = (self.base.0 + self.pages).saturating_sub(start);
        (Pfn(start), pages / unit * unit)
    }

    /// A contiguous run of `pages` frames.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if no run of that length is left.
    pub fn allocate(&mut self, pages: u64) -> Result<Pfn, NoSpace> {
        let at = if pages >= PMD_PAGES {
            let at = self.huge;
            let span = pages.checked_next_multiple_of(PMD_PAGES).ok_or(NoSpace)?;
            self.huge = at.checked_add(span).filter(|end| *end <= self.pages).ok_or(NoSpace)?;
            at
        } else {
            let at = self.small;
            let end = at + pages;
            if end > self.pages / 2 {
                return Err(NoSpace);
            }
            self.small = end;
            at
        };
        Ok(Pfn(self.base.0 + at))
    }

    /// Lays out a new file of `pages` pages.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if it does not fit, or if given extents lie beyond the device.
    pub fn lay_out(&mut self, new: &NewFile, pages: u64) -> Result<ExtentMap, NoSpace> {
        let mut extents = ExtentMap::default();
        match new {
            NewFile::Sparse => {}
            NewFile::Filled | NewFile::Preallocated => {
                let state = if *new == NewFile::Filled { BlockState::Written } else { BlockState::Unwritten };
                if pages > 0 {
                    let pfn = self.allocate(pages)?;
                    extents.map(0, pages, pfn, state);
                    if *new == NewFile::Preallocated && self.fs == FileSystem::Xfs {
                        self.fill_hint(&mut extents, pages, pfn)?;
                    }
                }
            }
            NewFile::Device => {
                let (start, all) = self.device();
                if pages > all {
                    return Err(NoSpace);
                }
                extents.map(0, pages, start, BlockState::Written);
            }
            NewFile::Extents(list) => {
                for &(page, device_page, len, written) in list {
                    if device_page.checked_add(len).is_none_or(|end| end > self.pages) {
                        return Err(NoSpace);
                    }
                    let state = if written { BlockState::Written } else { BlockState::Unwritten };
                    extents.map(page, len, Pfn(self.base.0 + device_page), state);
                }
            }
        }
        Ok(extents)
    }

    /// What fallocate gets on XFS beyond what it asked for, up to the extent-size hint: unwritten blocks behind the file's end.
    fn fill_hint(&mut self, extents: &mut ExtentMap, pages: u64, pfn: Pfn) -> Result<(), NoSpace> {
        let more = pages.checked_next_multiple_of(PMD_PAGES).ok_or(NoSpace)? - pages;
        if more > 0 {
            // Requests of 2 MiB and more have taken whole chunks.
            if pages < PMD_PAGES {
                self.allocate(more)?;
            }
            extents.map(pages, more, Pfn(pfn.0 + pages), BlockState::Unwritten);
        }
        Ok(())
    }

    /// Allocates blocks for a write fault into the hole or unwritten run at `page` and marks `want` pages from
    /// `page` written, as `iomap_begin` with `IOMAP_WRITE` does for DAX.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if the device is full.
    pub fn allocate_for_write(
        &mut self,
        extents: &mut ExtentMap,
        page: u64,
        want: PageSize,
    ) -> Result<(), NoSpace> {
        let pages = want.pages();
        let mut at = page;
        while at < page + pages {
            let found = extents.lookup(at);
            let run = found.len.min(page + pages - at);
            if found.block.is_none() {
                let pfn = self.allocate(run)?;
                extents.map(at, run, pfn, BlockState::Unwritten);
            }
            at += run;
        }
        extents.mark_written(page, pages);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Pfn = Pfn(0x140200);

    fn allocator(fs: FileSystem) -> BlockAllocator {
        BlockAllocator::new(fs, BASE, 16 * PMD_PAGES)
    }

    #[test]
    fn large_files_are_huge_page_aligned_and_small_ones_are_packed() {
        let mut a = allocator(FileSystem::Ext4);
        let small = a.allocate(64).unwrap();
        let next = a.allocate(64).unwrap();
        assert_eq!(next.0, small.0 + 64);
        assert_eq!((a.allocate(600).unwrap().0 - BASE.0) % PMD_PAGES, 0);
        assert_eq!((a.allocate(512).unwrap().0 - BASE.0) % PMD_PAGES, 0);
    }

    #[test]
    fn a_full_device_says_so() {
        let mut a = allocator(FileSystem::Ext4);
        assert_eq!(a.allocate(9 * PMD_PAGES), Err(NoSpace));
        assert_eq!(a.lay_out(&NewFile::Device, 17 * PMD_PAGES), Err(NoSpace));
        assert_eq!(a.lay_out(&NewFile::Extents(vec![(0, 16 * PMD_PAGES, 1, true)]), 1), Err(NoSpace));
    }

    #[test]
    fn xfs_preallocates_up_to_the_extent_size_hint() {
        for (fs, behind) in [(FileSystem::Ext4, None), (FileSystem::Xfs, Some(BlockState::Unwritten))] {
            for pages in [64, 600] {
                let mut a = allocator(fs);
                let extents = a.lay_out(&NewFile::Preallocated, pages).unwrap();
                assert_eq!(extents.lookup(pages).block.map(|(_, state)| state), behind);
                let first = extents.lookup(0).block.unwrap().0.0;
                assert!(a.allocate(64).unwrap().0 != first + 64 || fs == FileSystem::Ext4);
            }
        }
    }

    #[test]
    fn a_small_write_into_a_hole_leaves_its_neighbour_a_hole() {
        let mut a = allocator(FileSystem::Xfs);
        let mut extents = ExtentMap::default();
        a.allocate_for_write(&mut extents, 5, PageSize::Size4K).unwrap();
        assert_eq!(extents.lookup(5).block.unwrap().1, BlockState::Written);
        assert_eq!(extents.lookup(6).block, None);
    }

    #[test]
    fn a_huge_write_into_a_hole_gets_one_aligned_extent() {
        let mut a = allocator(FileSystem::Ext4);
        let mut extents = ExtentMap::default();
        a.allocate_for_write(&mut extents, 512, PageSize::Size2M).unwrap();
        let mapping = extents.lookup(512);
        assert_eq!(mapping.len, 512);
        assert_eq!((mapping.block.unwrap().0.0 - BASE.0) % PMD_PAGES, 0);
    }
}
