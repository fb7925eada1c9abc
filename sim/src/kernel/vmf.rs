//! `struct vm_fault`: what one pass of the fault handler knows and finds out.

use daxsim_types::{Pfn, VirtAddr, VmFault};
use smallvec::SmallVec;

use super::file::FileId;
use super::mm::MmId;
use super::vma::Vma;
use crate::measure::{FaultFlags, FaultKind, HandlerCall, PathStep};
use crate::mmu::entry::Entry;

/// The fault being handled.
pub(crate) struct Vmf {
    pub(crate) mm: MmId,
    pub(crate) vma: Vma,
    /// The DAX file; [`FileId::NONE`] outside DAX.
    pub(crate) file: FileId,
    /// Faulting address, not rounded.
    pub(crate) address: VirtAddr,
    /// File page.
    pub(crate) pgoff: u64,
    /// FAULT_FLAG_WRITE
    pub(crate) write: bool,
    /// FAULT_FLAG_USER
    pub(crate) user: bool,
    /// FAULT_FLAG_VMA_LOCK
    pub(crate) vma_locked: bool,
    /// `orig_pte` as `handle_pte_fault` read it.
    pub(crate) orig_pte: Entry,
    /// PTE page that `__do_fault` allocated in advance (`prealloc_pte`).
    pub(crate) prealloc: Option<Pfn>,
    /// Frame that a synchronous fault has still to map.
    pub(crate) sync_pfn: Option<Pfn>,
}

impl Vmf {
    /// `vmf->flags`. A PTE was read if its table exists.
    pub(crate) fn flags(&self, pte_was_read: bool) -> FaultFlags {
        FaultFlags::DEFAULT
            .with(FaultFlags::WRITE, self.write)
            .with(FaultFlags::USER, self.user)
            .with(FaultFlags::VMA_LOCK, self.vma_locked)
            .with(FaultFlags::ORIG_PTE_VALID, pte_was_read)
    }
}

/// What happened to the fault so far, over all passes.
#[derive(Default)]
pub(crate) struct FaultTrail {
    pub(crate) path: SmallVec<[PathStep; 12]>,
    pub(crate) old: Option<Entry>,
    pub(crate) new: Option<Entry>,
    pub(crate) pfn: Option<Pfn>,
    pub(crate) refs_at_insert: Option<i64>,
    pub(crate) handlers: SmallVec<[HandlerCall; 3]>,
    pub(crate) ret: Option<VmFault>,
    pub(crate) kind: Option<FaultKind>,
    pub(crate) pmd_fallback: bool,
    /// In anonymous memory or a file in the page cache.
    pub(crate) outside_dax: bool,
}

impl FaultTrail {
    /// Begins again, in place: a trail takes much room, and most faults are not recorded.
    pub(crate) fn reset(&mut self) {
        self.path.clear();
        self.handlers.clear();
        (self.old, self.new, self.pfn, self.refs_at_insert) = (None, None, None, None);
        (self.ret, self.kind) = (None, None);
        (self.pmd_fallback, self.outside_dax) = (false, false);
    }

    /// What the fault turned out to be. Private copies and upgrades share their code with those of DAX mappings.
    pub(crate) fn kind(&self) -> FaultKind {
        match self.kind {
            Some(FaultKind::Cow) if self.outside_dax => FaultKind::AnonCow,
            Some(FaultKind::Mkwrite) if self.outside_dax => FaultKind::AnonReuse,
            Some(kind) => kind,
            None => FaultKind::Spurious,
        }
    }
}
