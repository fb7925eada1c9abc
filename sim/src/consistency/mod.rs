//! What must hold of a machine at rest, whichever way its threads interleaved: page tables, mapping entries, counts, locks and
//! TLBs agree with each other.
//!
//! Looks only, and takes no time. It knows nothing of how a state came to be, so what it finds is a defect of the model (or of
//! what a test did behind the kernel's back). A machine between two steps is at rest; one that lost power is not.

mod counts;
mod entries;
mod rest;
mod tlbs;

use std::fmt;

use daxsim_types::{CpuId, Pfn, VirtAddr};
use thiserror::Error;

use crate::kernel::page::PageCounts;
use crate::kernel::{FileId, MmId};
use crate::machine::Machine;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;
use crate::mmu::tlb::TlbEntry;
use crate::mmu::tlbs::Unbalanced;

/// An entry that maps something: where, at which level (0 = PTE), and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whose page tables.
    pub mm: MmId,
    /// First address that it maps.
    pub va: VirtAddr,
    /// Its level.
    pub level: u32,
    /// The entry.
    pub entry: Entry,
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ["PTE", "PMD", "PUD"].get(self.level as usize).copied().unwrap_or("entry");
        write!(f, "{name} of {} in mm {}: {}", self.va, self.mm.0, self.entry)
    }
}

/// Two parts of a machine at rest do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Inconsistency {
    /// A CPU is in the midst of something.
    #[error("CPU {cpu} is not at rest: {what}")]
    Busy {
        /// The CPU.
        cpu: CpuId,
        /// What it does.
        what: &'static str,
    },
    /// A lock, an entry or a page is held, or waited for, by nobody who would go on.
    #[error("{what} is left behind: {which:#x}; expected none")]
    LeftBehind {
        /// What.
        what: &'static str,
        /// Its number: of the lock, the file page, the frame or the mm.
        which: u64,
    },
    /// A mapping entry stands for something else than the file's block.
    #[error("DAX entry of page {page} of file {}: frame {found:?}; expected {expected:?}", file.0)]
    EntryFrame {
        /// The file.
        file: FileId,
        /// First page.
        page: u64,
        /// Its frame; `None` for a hole.
        found: Option<Pfn>,
        /// What the extents say.
        expected: Option<Pfn>,
    },
    /// A leaf outside every mapping.
    #[error("{0}; expected no entry, for no mapping is there")]
    NotMapped(Leaf),
    /// A leaf maps a frame that is not the one of the file's page.
    #[error("{leaf}; expected frame {expected:?} (none: the zero page)")]
    Frame {
        /// The leaf.
        leaf: Leaf,
        /// What the file's extents say; `None` for a hole.
        expected: Option<Pfn>,
    },
    /// A leaf maps a page that the file no longer has.
    #[error("{leaf}; expected no entry, for the file has {pages} pages")]
    BeyondFile {
        /// The leaf.
        leaf: Leaf,
        /// Pages of the file.
        pages: u64,
    },
    /// A leaf allows more than its mapping, or a store to what must not be stored to.
    #[error("{leaf}; expected {expected}")]
    Rights {
        /// The leaf.
        leaf: Leaf,
        /// What should be.
        expected: &'static str,
    },
    /// The software bits of a leaf are not those of the variant.
    #[error("{leaf}; expected SPECIAL and DEVMAP {expected:#x}")]
    SoftwareBits {
        /// The leaf.
        leaf: Leaf,
        /// The bits as they should be.
        expected: u64,
    },
    /// A leaf allows stores, or has seen one, which no writeback would find.
    #[error("{leaf}; expected a DAX entry with a dirty mark for page {page} of file {}", file.0)]
    NoMark {
        /// The leaf.
        leaf: Leaf,
        /// The file.
        file: FileId,
        /// Its page.
        page: u64,
    },
    /// The counts of a frame are not those of its mappings and holds.
    #[error("counts of frame {pfn}: {found:?}; expected {expected:?}")]
    Counts {
        /// The frame.
        pfn: Pfn,
        /// What it says.
        found: PageCounts,
        /// What its mappings and holds make.
        expected: PageCounts,
    },
    /// A block is known to have more or fewer owners than there are files that use it.
    #[error("block {pfn}: known to have {found} owners; expected {expected}, the extents that hold it")]
    Owners {
        /// The frame.
        pfn: Pfn,
        /// What the file system knows.
        found: u32,
        /// What the extents of all files make.
        expected: u32,
    },
    /// A private copy is mapped more or less often than it is known to be, or given back already.
    #[error("private copy in frame {pfn}: known to be mapped {found} times; expected {expected}")]
    Copies {
        /// The frame.
        pfn: Pfn,
        /// What is known.
        found: u32,
        /// How often it is mapped.
        expected: u32,
    },
    /// RSS is not the number of pages mapped.
    #[error("{counter} of mm {}: {found}; expected {expected}", mm.0)]
    Rss {
        /// The counter.
        counter: &'static str,
        /// Whose.
        mm: MmId,
        /// What it says.
        found: i64,
        /// What the entries make.
        expected: i64,
    },
    /// A CPU that runs an address space has missed a flush.
    #[error("CPU {cpu} runs mm {} at TLB generation {found}; expected {expected}", mm.0)]
    Behind {
        /// The CPU.
        cpu: CpuId,
        /// What it runs.
        mm: MmId,
        /// How far it got.
        found: u64,
        /// How far the address space is.
        expected: u64,
    },
    /// The references of walks by level are not all of them.
    #[error("{found} walk references by level; expected {expected}")]
    WalkReferences {
        /// Of all levels and both stages.
        found: u64,
        /// As counted one by one.
        expected: u64,
    },
    /// What a TLB counted does not add up.
    #[error("the TLBs or structure caches of CPU {cpu} have miscounted")]
    TlbCounts {
        /// The CPU.
        cpu: CpuId,
        /// The structure.
        #[source]
        cause: Unbalanced,
    },
    /// A TLB holds more than the page tables say, in an address space that is not behind.
    #[error("TLB of CPU {cpu} has {cached:?}; expected no more than the {leaf}")]
    StaleTlb {
        /// The CPU.
        cpu: CpuId,
        /// What it has.
        cached: TlbEntry,
        /// The entry in the tables; none where nothing is mapped.
        leaf: Leaf,
    },
}

impl Machine {
    /// Compares everything with everything else. For a machine at rest only.
    ///
    /// # Errors
    ///
    /// The first [`Inconsistency`] found.
    pub fn check_consistency(&self) -> Result<(), Inconsistency> {
        self.check_rest()?;
        self.check_dax_entries()?;
        self.check_owners()?;
        let leaves: Vec<Leaf> = self.mms.iter().flat_map(|mm| self.leaves(mm.id)).collect();
        for leaf in &leaves {
            self.check_leaf(leaf)?;
        }
        self.check_counts(&leaves)?;
        self.check_walks()?;
        self.check_tlbs()
    }

    /// Every entry of an address space that maps something, present or not, in order of address.
    fn leaves(&self, mm: MmId) -> Vec<Leaf> {
        let mut found = Vec::new();
        self.leaves_below(mm, self.mm(mm).pgd, self.tables.top(), 0, &mut found);
        found
    }

    fn leaves_below(&self, mm: MmId, table: Pfn, level: u32, start: u64, found: &mut Vec<Leaf>) {
        for index in 0..512 {
            let entry = self.tables.read(Slot { table, index });
            let va = start | (index as u64) << (12 + 9 * level);
            if entry.is_leaf_at(level) && entry.is_mapped() {
                found.push(Leaf { mm, va: VirtAddr(va), level, entry });
            } else if entry.is_present() && level > 0 {
                self.leaves_below(mm, entry.pfn(), level - 1, va, found);
            }
        }
    }
}
