//! The fault handlers of the file systems: `ext4_dax_huge_fault`, `xfs_filemap_*` and `dev_dax_huge_fault`
//! (spec 4.1, 4.2, 4.10).

use daxsim_configs::kernel::{FsPath, PathLength};
use daxsim_types::{FileSystem, PageSize, VmFault};

use super::dax_fault::{dax_finish_sync_fault, dax_iomap_pmd_fault, dax_iomap_pte_fault};
use super::insert::{Insert, insert_4k, insert_huge};
use super::vmf::Vmf;
use crate::engine::{Cx, LockId, LockMode};
use crate::measure::{Part, PathStep};

/// Size that the core asks a handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Pte,
    Pmd,
    Pud,
}

impl Order {
    pub(crate) const fn size(self) -> PageSize {
        match self {
            Self::Pte => PageSize::Size4K,
            Self::Pmd => PageSize::Size2M,
            Self::Pud => PageSize::Size1G,
        }
    }
}

/// Calls the handler of the fault's file.
pub(crate) async fn fs_fault(cx: &Cx<'_>, vmf: &mut Vmf, order: Order) -> VmFault {
    let fs = cx.with(|m| m.file(vmf.file).fs);
    let before = cx.set_part(Part::Fs);
    let ret = match fs {
        FileSystem::Ext4 | FileSystem::Xfs => fsdax_fault(cx, vmf, order, fs).await,
        FileSystem::Devdax => dev_dax_huge_fault(cx, vmf, order).await,
    };
    cx.set_part(before);
    ret
}

/// Prologue and epilogue of a fault.
const fn frame_of(paths: &FsPath, write: bool) -> PathLength {
    if write { paths.write } else { paths.read }
}

async fn fsdax_fault(cx: &Cx<'_>, vmf: &mut Vmf, order: Order, fs: FileSystem) -> VmFault {
    let write = vmf.write && vmf.vma.shared;
    let (frame, lock) = cx.with(|m| {
        (m.kernel.ask(|k| frame_of(k.path_length.of(fs), write)), m.file(vmf.file).invalidate_lock)
    });
    // Half of what was counted comes before the handler's body, half after.
    cx.work(frame.share(0, 2));
    let mode = lock_for_fault(cx, vmf, lock, write).await;
    if write && fs == FileSystem::Ext4 {
        journal_start(cx).await;
    }
    let before = cx.set_part(Part::Dax);
    let ret = match order {
        Order::Pte => dax_iomap_pte_fault(cx, vmf).await,
        Order::Pmd => dax_iomap_pmd_fault(cx, vmf).await,
        Order::Pud => {
            cx.step(|p| p.huge_fallback);
            VmFault::FALLBACK
        }
    };
    cx.set_part(before);
    if write && fs == FileSystem::Ext4 {
        journal_stop(cx).await;
    }
    let ret = match vmf.sync_pfn.take() {
        Some(pfn) if ret.contains(VmFault::NEEDDSYNC) => {
            let size = if order == Order::Pmd { PageSize::Size2M } else { PageSize::Size4K };
            dax_finish_sync_fault(cx, vmf, pfn, size).await
        }
        _ => ret,
    };
    cx.unlock(lock, mode).await;
    cx.work(frame.share(1, 2));
    ret
}

/// The invalidate lock, shared. While blocks of the file are being shared, a fault that writes takes it alone
/// (`xfs_ilock_for_write_fault`), and so waits for the end of that.
async fn lock_for_fault(cx: &Cx<'_>, vmf: &Vmf, lock: LockId, write: bool) -> LockMode {
    cx.lock(lock, LockMode::Shared).await;
    if !write || !cx.with(|m| m.file(vmf.file).remapping) {
        return LockMode::Shared;
    }
    cx.unlock(lock, LockMode::Shared).await;
    cx.lock(lock, LockMode::Exclusive).await;
    LockMode::Exclusive
}

/// `jbd2_journal_start`: the journal's state lock for reading and three counters of the running transaction.
async fn journal_start(cx: &Cx<'_>) {
    let (state, transaction) = cx.with(|m| {
        m.measure.kernel.journal_starts += 1;
        (m.globals.journal_state_line, m.globals.transaction_line)
    });
    cx.rmw(state).await;
    for _ in 0..3 {
        cx.rmw(transaction).await;
    }
}

/// `jbd2_journal_stop`.
async fn journal_stop(cx: &Cx<'_>) {
    let transaction = cx.with(|m| m.globals.transaction_line);
    for _ in 0..2 {
        cx.rmw(transaction).await;
    }
}

/// `dev_dax_huge_fault`: a request smaller than the device's alignment is refused, a larger one falls back. No entries, no
/// locks but SRCU.
async fn dev_dax_huge_fault(cx: &Cx<'_>, vmf: &mut Vmf, order: Order) -> VmFault {
    let size = match order {
        Order::Pte => PageSize::Size4K,
        Order::Pmd => PageSize::Size2M,
        Order::Pud => PageSize::Size1G,
    };
    let (frame, mapping, alignment) = cx.with(|m| {
        let file = m.file(vmf.file);
        let head = vmf.pgoff & !(size.pages() - 1);
        let frame = m.kernel.ask(|k| frame_of(k.path_length.of(file.fs), vmf.write));
        (frame, file.extents.lookup(head), m.allocator.device_alignment)
    });
    cx.work(frame.share(0, 2));
    let inside = vmf.vma.covers_huge(vmf.address, size) && mapping.len >= size.pages();
    let ret = match mapping.block {
        _ if size > alignment => VmFault::FALLBACK,
        Some((pfn, _)) if size == alignment && inside => {
            let request = Insert { pfn, write: vmf.write, zero: false };
            match size {
                PageSize::Size4K => insert_4k(cx, vmf, request).await,
                PageSize::Size2M | PageSize::Size1G => insert_huge(cx, vmf, request, size).await,
            }
        }
        _ => VmFault::SIGBUS,
    };
    cx.work(frame.share(1, 2));
    cx.note(PathStep::Returned("dev_dax_huge_fault", ret));
    ret
}
