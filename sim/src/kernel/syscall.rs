//! The system calls of the programs: mmap, munmap, msync, fsync.

use daxsim_configs::kernel::PathLength;
use daxsim_types::{PageSize, VirtAddr};
use thiserror::Error;

use super::clone::{CloneRequest, clone_range};
use super::fault::{Origin, fault_in};
use super::file::FileId;
use super::file_ops::{self, FallocMode};
use super::flush::{Purpose, flush_tlb_mm_range};
use super::gup::{PinKind, gup, unpin_user_pages};
use super::mm::MmId;
use super::mremap::{RemapRequest, do_mremap};
use super::vma::{Backing, Vma};
use super::writeback::{SyncMode, dax_writeback_mapping_range};
use super::zap::{EvenCows, split_huge_at, unmap_region, zap_vma_range_for};
use crate::Machine;
use crate::engine::{Cx, LockId, LockMode};
use crate::measure::{Constant, Part};
use crate::program::{Accesses, StepOutcome, run_accesses};

/// A request to map a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// File.
    pub file: FileId,
    /// First address, page aligned.
    pub start: u64,
    /// Bytes, a multiple of 4 KiB, more than 0.
    pub len: u64,
    /// First file page.
    pub pgoff: u64,
    /// PROT_READ.
    pub read: bool,
    /// PROT_WRITE.
    pub write: bool,
    /// MAP_SHARED.
    pub shared: bool,
    /// MAP_SYNC.
    pub sync: bool,
    /// MAP_POPULATE.
    pub populate: bool,
}

/// A call that the kernel would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SyscallError {
    /// Unaligned, empty, or outside the user half.
    #[error(
        "EINVAL: {len:#x} bytes at {start:#x}: expected a page-aligned, non-empty range in the user half"
    )]
    Invalid {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// A map that leaves the user addresses of the machine.
    #[error(
        "ENOMEM: {len:#x} bytes at {start:#x}: expected a map that ends at or below {limit:#x}, where user addresses end with \
         as many levels of paging as this machine has (mmu.levels)"
    )]
    NoAddresses {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// Where user addresses end.
        limit: u64,
    },
    /// No single mapping holds the range.
    #[error("EFAULT: no single mapping holds {start:#x}..{end:#x}")]
    NoMapping {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// A mapping cannot grow in place.
    #[error("ENOMEM: {start:#x}..{end:#x} is not free behind one mapping")]
    NoRoom {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// Nothing is mapped there.
    #[error("ENOMEM: {start:#x}..{end:#x} is not wholly mapped")]
    NotMapped {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// A page that I/O wants to hold cannot be faulted in.
    #[error("EFAULT: {at:#x} cannot be accessed")]
    BadAddress {
        /// The page.
        at: u64,
    },
    /// A page is given back that is not held.
    #[error("{start:#x}..{end:#x}: not every page is pinned")]
    NotPinned {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// A clone of bytes that are not there, or not whole blocks, or that overlap.
    #[error(
        "EINVAL: {len:#x} bytes from {from:#x} to {to:#x}: expected whole blocks inside the first file, or up to both ends, \
         that do not overlap"
    )]
    BadClone {
        /// First byte of the source.
        from: u64,
        /// First byte of the destination.
        to: u64,
        /// Bytes.
        len: u64,
    },
    /// A clone between files of a file system that shares no blocks.
    #[error("EOPNOTSUPP: ext4 cannot share blocks between files")]
    CannotShare,
    /// A clone of a device.
    #[error("EINVAL: a device-dax device is no regular file")]
    NoRegularFile,
    /// A clone from one file system to another.
    #[error("EXDEV: the files are on different file systems")]
    OtherFileSystem,
    /// No page table for the child of a fork.
    #[error("ENOMEM: no memory for a page table")]
    NoMemory,
    /// The journal could not commit.
    #[error("EIO: the journal could not commit")]
    Io,
}

/// Where user addresses end that a process gets without asking for more (`DEFAULT_MAP_WINDOW`): those of four levels of paging.
pub const DEFAULT_MAP_WINDOW: u64 = (1 << 47) - 4096;

impl Machine {
    /// Where user addresses end (`TASK_SIZE_MAX`). With five levels there are more above [`DEFAULT_MAP_WINDOW`], which mmap uses
    /// for an address that asks for them alone (Documentation/arch/x86/x86_64/5level-paging.rst): every map here has its address.
    pub(crate) const fn user_end(&self) -> u64 {
        (1 << (11 + 9 * self.spec.mmu.levels)) - 4096
    }
}

fn check_range(cx: &Cx<'_>, start: u64, len: u64) -> Result<u64, SyscallError> {
    range_below(cx.with(|m| m.user_end()), start, len)
}

fn range_below(limit: u64, start: u64, len: u64) -> Result<u64, SyscallError> {
    let page = PageSize::Size4K.bytes();
    let end = start.checked_add(len).filter(|end| *end <= limit);
    match end {
        Some(end) if len > 0 && start.is_multiple_of(page) && len.is_multiple_of(page) => Ok(end),
        _ => Err(SyscallError::Invalid { start, len }),
    }
}

/// Runs a system call's body between its entry and exit.
macro_rules! in_syscall {
    ($cx:expr, $body:expr) => {{
        let from_user = enter($cx);
        let result = $body;
        leave($cx, from_user);
        result
    }};
}

/// The entry; whether it switched from the tables of user mode.
fn enter(cx: &Cx<'_>) -> bool {
    cx.with(|m| {
        let (cost, index) = (m.spec.cost.syscall_entry, cx.cpu().index());
        m.cpus[index].spend_constant_as(Part::Entry, Constant::SyscallEntry, cost);
        let from_user = m.enter_kernel_half(index);
        m.cpus[index].part = Part::Dispatch;
        from_user
    })
}

fn leave(cx: &Cx<'_>, to_user: bool) {
    cx.with(|m| {
        let (cost, index) = (m.spec.cost.syscall_exit, cx.cpu().index());
        if to_user {
            m.enter_user_half(index);
        }
        let cpu = &mut m.cpus[index];
        cpu.spend_constant_as(Part::Entry, Constant::SyscallExit, cost);
        cpu.part = Part::User;
    });
}

/// mmap with MAP_FIXED: what was there is unmapped first.
pub(crate) async fn mmap(cx: &Cx<'_>, mm: MmId, request: MapRequest) -> Result<(), SyscallError> {
    let (start, len, limit) = (request.start, request.len, cx.with(|m| m.user_end()));
    if start.checked_add(len).is_none_or(|end| end > limit) {
        return Err(SyscallError::NoAddresses { start, len, limit });
    }
    let end = range_below(limit, start, len)?;
    in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        unmap_locked(cx, mm, request.start, end).await;
        if cx.with(|m| m.has_lazy_flush(mm, request.start, end)) {
            flush_tlb_mm_range(cx, mm, (request.start, end), PageSize::Size4K.shift(), false).await;
        }
        cx.step(|p| p.mmap);
        let i_mmap = cx.with(|m| m.file(request.file).i_mmap_lock);
        cx.lock(i_mmap, LockMode::Exclusive).await;
        cx.with(|m| {
            let vma = Vma {
                start: request.start,
                end,
                backing: Backing::Dax { file: request.file, pgoff: request.pgoff },
                read: request.read,
                write: request.write,
                exec: false,
                grows_down: false,
                shared: request.shared,
                sync: request.sync,
                no_huge: false,
                has_copies: false,
                lock: m.new_vma_lock(),
            };
            m.insert_vma(mm, vma);
        });
        cx.unlock(i_mmap, LockMode::Exclusive).await;
        cx.unlock(lock, LockMode::Exclusive).await;
        if request.populate {
            // mm_populate writes only to private mappings: a shared one would be dirtied (populate_vma_page_range).
            populate(cx, mm, request.start, end, request.write && !request.shared).await;
        }
    });
    Ok(())
}

/// munmap.
pub(crate) async fn munmap(cx: &Cx<'_>, mm: MmId, start: u64, len: u64) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        // vma_start_write: what faults there until the lock is a reader's goes on to wait for it.
        let written: Vec<LockId> =
            cx.with(|m| m.mm(mm).vmas_in(start, end).iter().map(|vma| vma.lock).collect());
        for vma in &written {
            cx.lock(*vma, LockMode::Exclusive).await;
        }
        cx.step(|p| p.munmap);
        split_huge_at(cx, mm, start).await;
        split_huge_at(cx, mm, end).await;
        let detached = cx.with(|m| m.detach_range(mm, start, end));
        for vma in &written {
            cx.unlock(*vma, LockMode::Exclusive).await;
        }
        // vms_complete_munmap_vmas: nobody finds them any more, so that others may read the address space meanwhile.
        cx.demote(lock).await;
        clear_detached(cx, mm, &detached).await;
        cx.unlock(lock, LockMode::Shared).await;
    });
    Ok(())
}

/// mmap of private anonymous memory where nothing is mapped.
pub(crate) async fn mmap_anonymous(cx: &Cx<'_>, mm: MmId, start: u64, len: u64) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        cx.step(|p| p.mmap);
        let locks = cx.with(|m| {
            let before = start.checked_sub(1).and_then(|at| m.mm(mm).find_vma(VirtAddr(at)));
            let neighbours: Vec<LockId> =
                before.into_iter().chain(m.mm(mm).find_vma(VirtAddr(end))).map(|vma| vma.lock).collect();
            m.map_ordinary(mm, (start, end), Backing::Anonymous, |vma| vma.write = true);
            neighbours
        });
        wait_for_faults(cx, &locks).await;
        cx.unlock(lock, LockMode::Exclusive).await;
    });
    Ok(())
}

/// `do_vmi_munmap`: splits at the borders, detaches, zaps, frees tables.
pub(super) async fn unmap_locked(cx: &Cx<'_>, mm: MmId, start: u64, end: u64) {
    split_huge_at(cx, mm, start).await;
    split_huge_at(cx, mm, end).await;
    let detached = cx.with(|m| m.detach_range(mm, start, end));
    let locks: Vec<LockId> = detached.iter().map(|vma| vma.lock).collect();
    wait_for_faults(cx, &locks).await;
    clear_detached(cx, mm, &detached).await;
}

/// Unmaps what was taken out of the tree (`vms_clear_ptes`).
async fn clear_detached(cx: &Cx<'_>, mm: MmId, detached: &[Vma]) {
    if detached.is_empty() {
        return;
    }
    unmap_region(cx, mm, detached).await;
    cx.with(|m| m.retire_vma_locks(mm, detached));
}

/// `vma_start_write`: a writer takes the lock of each VMA that it changed once, so that no fault is still under way in it.
pub(super) async fn wait_for_faults(cx: &Cx<'_>, locks: &[LockId]) {
    for lock in locks {
        cx.lock(*lock, LockMode::Exclusive).await;
        cx.unlock(*lock, LockMode::Exclusive).await;
    }
}

/// What madvise is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// MADV_DONTNEED: zap, keeping the tables.
    DontNeed,
    /// MADV_POPULATE_READ, or _WRITE.
    Populate {
        /// Whether pages are made writable.
        write: bool,
    },
    /// MADV_HUGEPAGE, or MADV_NOHUGEPAGE.
    HugePage {
        /// Whether huge faults are allowed.
        allowed: bool,
    },
}

/// madvise.
pub(crate) async fn madvise(
    cx: &Cx<'_>,
    mm: MmId,
    start: u64,
    len: u64,
    advice: Advice,
) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    in_syscall!(cx, {
        match advice {
            Advice::DontNeed => dont_need(cx, mm, start, end).await,
            Advice::Populate { write } => populate(cx, mm, start, end, write).await,
            Advice::HugePage { allowed } => {
                let lock = cx.with(|m| m.mm(mm).mmap_lock);
                cx.lock(lock, LockMode::Exclusive).await;
                let locks = cx.with(|m| m.change_vmas(mm, start, end, |vma| vma.no_huge = !allowed));
                wait_for_faults(cx, &locks).await;
                cx.unlock(lock, LockMode::Exclusive).await;
            }
        }
    });
    Ok(())
}

/// `madvise_dontneed_single_vma`, VMA by VMA, under mmap_lock for reading.
async fn dont_need(cx: &Cx<'_>, mm: MmId, start: u64, end: u64) {
    let lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(lock, LockMode::Shared).await;
    for vma in cx.with(|m| m.mm(mm).vmas_in(start, end)) {
        cx.step(|p| p.unmap_mapping);
        let range = (vma.start.max(start), vma.end.min(end));
        zap_vma_range_for(cx, mm, &vma, range, (EvenCows::Yes, Purpose::Free)).await;
    }
    cx.unlock(lock, LockMode::Shared).await;
}

/// `__mm_populate` and MADV_POPULATE: faults every page in from the kernel, without an exception.
async fn populate(cx: &Cx<'_>, mm: MmId, start: u64, end: u64, write: bool) {
    let lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(lock, LockMode::Shared).await;
    let mut at = start;
    while at < end {
        if !fault_in(cx, mm, VirtAddr(at), write).await {
            break;
        }
        at += PageSize::Size4K.bytes();
    }
    cx.unlock(lock, LockMode::Shared).await;
}

/// msync(MS_SYNC): writes back the part of each file that is mapped there.
pub(crate) async fn msync(cx: &Cx<'_>, mm: MmId, start: u64, len: u64) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    let any_file = cx.with(|m| {
        let covered = m.synced_by_msync(mm, start, end);
        m.begin_sync(cx.cpu().index(), &covered, m.cpus[cx.cpu().index()].now);
        !covered.is_empty()
    });
    let (whole, synced) = in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        let (mut at, mut whole, mut synced) = (start, true, Ok(()));
        while at < end {
            cx.lock(lock, LockMode::Shared).await;
            let vma = cx.with(|m| m.mm(mm).find_vma_from(VirtAddr(at)).copied());
            // The file is held meanwhile, the address space is not.
            cx.unlock(lock, LockMode::Shared).await;
            let Some(vma) = vma.filter(|vma| vma.start < end) else {
                whole = false;
                break;
            };
            whole &= vma.start <= at;
            let (from, to) = (at.max(vma.start), vma.end.min(end));
            if let Some((file, first)) = vma.file_page(VirtAddr(from))
                && vma.shared
            {
                synced = sync_file_range(cx, file, first, first + ((to - from) >> 12) - 1).await;
            }
            if synced.is_err() {
                break;
            }
            at = to;
        }
        (whole, synced)
    });
    cx.with(|m| m.end_sync_call(cx.cpu(), whole && any_file && synced.is_ok()));
    synced?;
    if whole { Ok(()) } else { Err(SyscallError::NotMapped { start, end }) }
}

/// fsync or fdatasync of a whole file.
pub(crate) async fn fsync(cx: &Cx<'_>, file: FileId) -> Result<(), SyscallError> {
    let last = u64::MAX >> 12;
    cx.with(|m| m.begin_sync(cx.cpu().index(), &[(file, 0, last)], m.cpus[cx.cpu().index()].now));
    let synced = in_syscall!(cx, sync_file_range(cx, file, 0, last).await);
    // A device-dax device has no fsync.
    cx.with(|m| m.end_sync_call(cx.cpu(), synced.is_ok() && m.is_regular(file)));
    synced
}

/// The start of direct I/O from or to user memory: its pages are held until [`unpin`].
pub(crate) async fn pin(
    cx: &Cx<'_>,
    mm: MmId,
    start: u64,
    len: u64,
    write: bool,
    kind: PinKind,
) -> Result<(), SyscallError> {
    let limit = cx.with(|m| m.user_end());
    let end = start.checked_add(len).filter(|end| *end <= limit && len > 0);
    let end = end.ok_or(SyscallError::Invalid { start, len })?;
    let held = in_syscall!(cx, gup(cx, mm, (start, end), write, kind).await);
    held.map_err(|at| SyscallError::BadAddress { at: at.0 })
}

/// The end of that I/O.
pub(crate) async fn unpin(cx: &Cx<'_>, mm: MmId, start: u64, len: u64) -> Result<(), SyscallError> {
    let end = start.saturating_add(len);
    let all = in_syscall!(cx, unpin_user_pages(cx, mm, (start, end)).await);
    if all { Ok(()) } else { Err(SyscallError::NotPinned { start, end }) }
}

/// A kernel thread's sweep over the accessed bits of a range. Not a call: it has no entry and exit.
pub(crate) async fn clear_young(cx: &Cx<'_>, mm: MmId, start: u64, len: u64) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    super::young::clear_young(cx, mm, start, end).await;
    Ok(())
}

/// The kernel's copy from or to user memory: faults come from kernel mode, a bad address ends it (EFAULT).
pub(crate) async fn copy_user(cx: &Cx<'_>, origin: Origin, accesses: Accesses) -> StepOutcome {
    in_syscall!(cx, run_accesses(cx, origin, accesses, false).await)
}

/// mprotect.
pub(crate) async fn mprotect(
    cx: &Cx<'_>,
    mm: MmId,
    start: u64,
    len: u64,
    read: bool,
    write: bool,
) -> Result<(), SyscallError> {
    let end = check_range(cx, start, len)?;
    in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        cx.step(|p| p.mprotect);
        super::mprotect::change_rights(cx, mm, start, end, read, write).await;
        cx.unlock(lock, LockMode::Exclusive).await;
    });
    Ok(())
}

/// mremap.
pub(crate) async fn mremap(cx: &Cx<'_>, mm: MmId, request: RemapRequest) -> Result<(), SyscallError> {
    check_range(cx, request.start, request.len)?;
    check_range(cx, request.to.unwrap_or(request.start), request.new_len)?;
    in_syscall!(cx, {
        let lock = cx.with(|m| m.mm(mm).mmap_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        cx.step(|p| p.munmap);
        let done = do_mremap(cx, mm, request).await;
        cx.unlock(lock, LockMode::Exclusive).await;
        done
    })
}

/// fork: fills the child's address space.
pub(crate) async fn fork(cx: &Cx<'_>, parent: MmId, child: MmId) -> Result<(), SyscallError> {
    in_syscall!(cx, super::fork::dup_mmap(cx, parent, child).await)
}

/// exit of the last thread of a process.
pub(crate) async fn exit(cx: &Cx<'_>, mm: MmId) {
    in_syscall!(cx, super::fork::exit_mmap(cx, mm).await);
}

/// ftruncate.
pub(crate) async fn ftruncate(cx: &Cx<'_>, file: FileId, size: u64) {
    if cx.with(|m| m.is_regular(file)) {
        in_syscall!(cx, file_ops::ftruncate(cx, file, size).await);
    }
}

/// fallocate.
pub(crate) async fn fallocate(cx: &Cx<'_>, file: FileId, mode: FallocMode, start: u64, len: u64) {
    if cx.with(|m| m.is_regular(file)) {
        in_syscall!(cx, file_ops::fallocate(cx, file, mode, start, len).await);
    }
}

/// FICLONE or FICLONERANGE.
pub(crate) async fn clone(cx: &Cx<'_>, request: CloneRequest) -> Result<(), SyscallError> {
    in_syscall!(cx, clone_range(cx, request).await)
}

/// pwrite.
pub(crate) async fn pwrite(cx: &Cx<'_>, file: FileId, start: u64, len: u64) {
    if cx.with(|m| m.is_regular(file)) {
        in_syscall!(cx, file_ops::pwrite(cx, file, start, len).await);
    }
}

/// pread.
pub(crate) async fn pread(cx: &Cx<'_>, file: FileId, start: u64, len: u64) {
    if cx.with(|m| m.is_regular(file)) {
        in_syscall!(cx, file_ops::pread(cx, file, start, len).await);
    }
}

/// `vfs_fsync_range`: dirty entries, then the journal if there is metadata to commit.
pub(crate) async fn sync_file_range(
    cx: &Cx<'_>,
    file: FileId,
    first: u64,
    last: u64,
) -> Result<(), SyscallError> {
    cx.step(|p| p.fsync);
    if cx.with(|m| m.file(file).fs) == daxsim_types::FileSystem::Devdax {
        return Ok(());
    }
    dax_writeback_mapping_range(cx, file, first, last, SyncMode::All).await;
    if cx.with(|m| m.injections.fails_fsync()) {
        return Err(SyscallError::Io);
    }
    let before = cx.set_part(Part::Fs);
    let commit = cx.with(|m| {
        let f = m.file_mut(file);
        let dirty = std::mem::take(&mut f.metadata_dirty);
        let fs = f.fs;
        m.measure.kernel.commits += u64::from(dirty);
        if dirty { m.kernel.ask(|k| k.path_length.of(fs).commit) } else { PathLength::NONE }
    });
    cx.work(commit);
    cx.set_part(before);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_must_be_aligned_non_empty_and_in_the_user_half() {
        let limit = DEFAULT_MAP_WINDOW;
        assert_eq!(range_below(limit, 0x1000, 0x2000), Ok(0x3000));
        for (start, len) in
            [(0x1001, 0x1000), (0x1000, 0), (0x1000, 0x10), (u64::MAX - 0xfff, 0x2000), (limit, 0x1000)]
        {
            assert!(range_below(limit, start, len).is_err(), "{start:#x} {len:#x}");
        }
    }
}
