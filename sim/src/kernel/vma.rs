//! Virtual memory areas: of DAX files, of files in the page cache, and of anonymous memory.

use daxsim_types::{PageSize, VirtAddr};

use super::file::FileId;
use super::filemap::CacheId;
use crate::engine::LockId;
use crate::mmu::entry::Entry;

/// What a VMA maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A DAX file, from a page offset on.
    Dax {
        /// The file.
        file: FileId,
        /// File page of the VMA's first page.
        pgoff: u64,
    },
    /// Anonymous memory.
    Anonymous,
    /// A file in the page cache, from a page offset on.
    Cached {
        /// The file.
        file: CacheId,
        /// File page of the VMA's first page.
        pgoff: u64,
    },
}

impl Backing {
    /// What a VMA maps that begins `pages` pages later.
    #[must_use]
    pub const fn later(self, pages: u64) -> Self {
        match self {
            Self::Dax { file, pgoff } => Self::Dax { file, pgoff: pgoff + pages },
            Self::Cached { file, pgoff } => Self::Cached { file, pgoff: pgoff + pages },
            Self::Anonymous => Self::Anonymous,
        }
    }
}

/// One mapping.
#[derive(Clone, Copy, Debug)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// What it maps.
    pub backing: Backing,
    /// VM_READ.
    pub read: bool,
    /// VM_WRITE.
    pub write: bool,
    /// VM_EXEC.
    pub exec: bool,
    /// VM_GROWSDOWN: a stack.
    pub grows_down: bool,
    /// VM_SHARED.
    pub shared: bool,
    /// VM_SYNC: a store may be seen only when the metadata that it needs is durable.
    pub sync: bool,
    /// Whether it holds private copies, so that fork must copy its tables (`vma->anon_vma`).
    pub has_copies: bool,
    /// VM_NOHUGEPAGE: no huge faults.
    pub no_huge: bool,
    /// The per-VMA lock (`vm_lock` in 6.12, `vm_refcnt` in newer trees).
    pub lock: LockId,
}

impl Vma {
    /// Whether the address lies inside.
    #[must_use]
    pub const fn contains(&self, va: VirtAddr) -> bool {
        self.start <= va.0 && va.0 < self.end
    }

    /// The DAX file and its page at an address inside; `None` for other memory.
    #[must_use]
    pub const fn file_page(&self, va: VirtAddr) -> Option<(FileId, u64)> {
        match self.backing {
            Backing::Dax { file, pgoff } => Some((file, pgoff + ((va.0 - self.start) >> 12))),
            Backing::Anonymous | Backing::Cached { .. } => None,
        }
    }

    /// Whether it maps a DAX file.
    #[must_use]
    pub const fn is_dax(&self) -> bool {
        matches!(self.backing, Backing::Dax { .. })
    }

    /// Whether `next` begins where this ends and goes on in the same way.
    #[must_use]
    pub fn continues_in(&self, next: &Self) -> bool {
        let flags = |v: &Self| (v.read, v.write, v.exec, v.grows_down, v.shared, v.sync, v.no_huge);
        // Of anonymous memory one of the two may have no anon_vma yet (`is_mergeable_anon_vma`).
        let anonymous = self.backing == Backing::Anonymous;
        let copies = anonymous || self.has_copies == next.has_copies;
        let backing = self.backing.later((self.end - self.start) >> 12) == next.backing;
        self.end == next.start && backing && copies && flags(self) == flags(next)
    }

    /// The address at which file page `page` appears, if it does.
    #[must_use]
    pub const fn address_of(&self, page: u64) -> Option<VirtAddr> {
        match self.backing {
            Backing::Dax { pgoff, .. } if page >= pgoff => {
                let va = self.start + ((page - pgoff) << 12);
                if va < self.end { Some(VirtAddr(va)) } else { None }
            }
            _ => None,
        }
    }

    /// `vma->vm_page_prot` of a data mapping (spec 1.2): RW only where nobody asked to be notified of the first write,
    /// which for a DAX file is device-dax; A where the architecture's table of protections has it.
    #[must_use]
    pub const fn page_prot(&self, write_notify: bool, accessed: bool) -> u64 {
        let exec = if self.exec { 0 } else { Entry::NX };
        let base = Entry::P | Entry::US | exec | if accessed { Entry::A } else { 0 };
        if self.shared && self.write && !write_notify { base | Entry::RW } else { base }
    }

    /// Whether the aligned huge range around `va` lies inside.
    #[must_use]
    pub const fn covers_huge(&self, va: VirtAddr, size: PageSize) -> bool {
        let start = va.align_down(size).0;
        self.start <= start && start + size.bytes() <= self.end
    }
}
