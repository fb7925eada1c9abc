//! `dax_iomap_pte_fault`, `dax_iomap_pmd_fault` and the mapping-entry protocol of `fs/dax.c` (spec 4.3 to 4.7).

use daxsim_types::{PageSize, Pfn, VmFault};

use super::dax_entry::{DaxEntry, EntryKind, PMD_PAGES};
use super::extent::{BlockState, Mapping};
use super::file::{FileId, NoSpace};
use super::insert::{Insert, insert_4k, insert_huge};
use super::layout::dax_disassociate_entry;
use super::reflink::{Trimmed, allocate_cow, copy_around, iomap_end, trim_around_shared};
use super::vmf::Vmf;
use super::zap::{EvenCows, unmap_mapping_pages, zap_huge_pmd};
use crate::engine::{Cx, LockMode};
use crate::measure::{ExtentFlags, Part, PathStep};
use crate::mmu::table::Slot;

/// An iomap lookup's answer, after allocation where the fault writes.
#[derive(Clone, Copy)]
struct Iomap {
    mapping: Mapping,
    extent: ExtentFlags,
    /// Where the old data of a copy on write lies (srcmap).
    source: Option<Pfn>,
}

impl Iomap {
    /// IOMAP_F_SHARED.
    fn is_shared(&self) -> bool {
        matches!(self.extent, ExtentFlags::Shared | ExtentFlags::Cow)
    }
}

/// What `dax_insert_entry` is told.
struct NewEntry {
    kind: EntryKind,
    pfn: Pfn,
    size: PageSize,
    may_dirty: bool,
    shared: bool,
}

/// `dax_iomap_pte_fault` (spec 4.3).
pub(crate) async fn dax_iomap_pte_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    cx.note(PathStep::PteFault(vmf.write));
    let ret = pte_fault(cx, vmf).await;
    cx.note(PathStep::PteFaultDone(ret));
    ret
}

async fn pte_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    if vmf.pgoff >= cx.with(|m| m.file(vmf.file).pages()) {
        return VmFault::SIGBUS;
    }
    // A 4 KiB request meets no conflict: whatever entry is there will do.
    let Some(mut head) = grab_mapping_entry(cx, vmf.file, vmf.pgoff, false).await else {
        return VmFault::SIGBUS;
    };
    let slot_is_huge = cx.with(|m| {
        let pmd_table = m.tables.find(m.mm(vmf.mm).pgd, vmf.address, 1);
        pmd_table.is_some_and(|t| m.tables.read(Slot::of(t, vmf.address, 1)).is_leaf_at(1))
    });
    let ret = if slot_is_huge {
        VmFault::NOPAGE
    } else {
        let ret = dax_fault_iter(cx, vmf, &mut head, PageSize::Size4K).await;
        match ret {
            Ok((ret, true)) => ret | VmFault::MAJOR,
            Ok((ret, false)) => ret,
            Err(ret) => ret,
        }
    };
    unlock_entry(cx, vmf.file, head).await;
    ret
}

/// `dax_iomap_pmd_fault` (spec 4.4).
pub(crate) async fn dax_iomap_pmd_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    cx.note(PathStep::PmdFault(vmf.write));
    let ret = pmd_fault(cx, vmf).await;
    if ret == VmFault::FALLBACK {
        zap_huge_pmd(cx, vmf.mm, &vmf.vma, vmf.address).await;
    }
    cx.note(PathStep::PmdFaultDone(ret));
    ret
}

async fn pmd_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    let pages = cx.with(|m| m.file(vmf.file).pages());
    let head = vmf.pgoff & !(PMD_PAGES - 1);
    if head >= pages {
        return VmFault::SIGBUS;
    }
    if dax_fault_check_fallback(vmf, pages) {
        cx.step(|p| p.huge_fallback);
        return VmFault::FALLBACK;
    }
    let Some(mut head) = grab_mapping_entry(cx, vmf.file, head, true).await else { return VmFault::FALLBACK };
    let taken = cx.with(|m| {
        let Some(table) = m.tables.find(m.mm(vmf.mm).pgd, vmf.address, 1) else { return false };
        let pmd = m.tables.read(Slot::of(table, vmf.address, 1));
        !pmd.is_none() && !pmd.is_leaf_at(1)
    });
    let ret = if taken {
        VmFault::default()
    } else {
        match dax_fault_iter(cx, vmf, &mut head, PageSize::Size2M).await {
            Ok((ret, _)) | Err(ret) => ret,
        }
    };
    unlock_entry(cx, vmf.file, head).await;
    ret
}

/// `dax_fault_check_fallback`: colours, VMA and file borders (spec 4.4, 2 to 5).
fn dax_fault_check_fallback(vmf: &Vmf, file_pages: u64) -> bool {
    let colours_differ = (vmf.pgoff ^ (vmf.address.0 >> 12)) & (PMD_PAGES - 1) != 0;
    let private_write = vmf.write && !vmf.vma.shared;
    let beyond_file = (vmf.pgoff | (PMD_PAGES - 1)) >= file_pages;
    colours_differ || private_write || !vmf.vma.covers_huge(vmf.address, PageSize::Size2M) || beyond_file
}

/// `grab_mapping_entry` (spec 4.5): the locked entry's first page; `None` if a PMD entry was wanted where smaller
/// entries are.
async fn grab_mapping_entry(cx: &Cx<'_>, file: FileId, page: u64, pmd: bool) -> Option<u64> {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    cx.step(|p| p.grab_entry);
    loop {
        lock_xa(cx, xa_lock).await;
        let found = cx.with(|m| {
            let entries = &m.file(file).entries;
            let found = if pmd { entries.first_in_pmd_range(page) } else { entries.find(page) };
            found.map(|(head, entry)| (head, entry.clone()))
        });
        let Some((head, entry)) = found else {
            let head = if pmd { page & !(PMD_PAGES - 1) } else { page };
            cx.with(|m| m.file_mut(file).entries.store(head, DaxEntry::empty(pmd)));
            unlock_xa(cx, xa_lock).await;
            return Some(head);
        };
        if pmd && !entry.pmd {
            unlock_xa(cx, xa_lock).await;
            return None;
        }
        if entry.locked {
            wait_for_entry(cx, file, head, xa_lock).await;
            continue;
        }
        cx.with(|m| {
            if let Some(e) = m.file_mut(file).entries.get_mut(head) {
                e.locked = true;
            }
        });
        if !pmd && entry.pmd && entry.kind != EntryKind::Block {
            downgrade(cx, file, head, entry.kind, xa_lock).await;
            // The lock is kept over the downgrade: the small entry is this fault's.
            cx.with(|m| m.file_mut(file).entries.store(page, DaxEntry::empty(false)));
            unlock_xa(cx, xa_lock).await;
            return Some(page);
        }
        unlock_xa(cx, xa_lock).await;
        return Some(head);
    }
}

/// Removes an empty or zero PMD entry so that a 4 KiB one can take its place; called and left with the lock held.
async fn downgrade(cx: &Cx<'_>, file: FileId, head: u64, kind: EntryKind, xa_lock: crate::engine::LockId) {
    if kind == EntryKind::Zero {
        unlock_xa(cx, xa_lock).await;
        unmap_mapping_pages(cx, file, head, PMD_PAGES, EvenCows::No).await;
        lock_xa(cx, xa_lock).await;
    }
    for waiter in cx.with(|m| m.file_mut(file).entries.remove(head)) {
        cx.with(|m| m.measure.kernel.woken_by_removal += 1);
        cx.wake(waiter);
    }
}

pub(super) async fn wait_for_entry(cx: &Cx<'_>, file: FileId, head: u64, xa_lock: crate::engine::LockId) {
    let index = cx.cpu().index();
    cx.with(|m| {
        m.measure.kernel.entry_waits += 1;
        m.file_mut(file).entries.wait(head, index);
    });
    unlock_xa_and_block(cx, xa_lock).await;
}

/// `put_unlocked_entry`: who was woken and leaves the entry alone wakes the next that waits for it. The lock is held.
pub(super) fn pass_wake_up_on(cx: &Cx<'_>, file: FileId, head: u64) {
    if let Some(waiter) = cx.with(|m| m.file_mut(file).entries.next_waiter(head)) {
        cx.wake(waiter);
    }
}

/// Takes the `i_pages` lock at a time when no entry of the range is locked.
pub(super) async fn lock_xa_of_unlocked(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    lock_xa(cx, xa_lock).await;
    while let Some(head) = cx.with(|m| m.file(file).entries.first_locked(first, pages)) {
        wait_for_entry(cx, file, head, xa_lock).await;
        lock_xa(cx, xa_lock).await;
        // The entry will not be locked here: the wake-up goes on to the next that waits for it.
        pass_wake_up_on(cx, file, head);
    }
}

/// Drops the lock and sleeps on the entry's wait queue; the entry cannot be unlocked in between, for that takes the lock.
async fn unlock_xa_and_block(cx: &Cx<'_>, xa_lock: crate::engine::LockId) {
    let index = cx.cpu().index();
    let line = cx.with(|m| m.locks.line(xa_lock));
    cx.store(line).await;
    cx.release(xa_lock, LockMode::Exclusive);
    cx.with(|m| m.block(index, Part::Locks));
    cx.set_irqs(true);
    let began = cx.now();
    cx.blocked().await;
    let waited = cx.now().saturating_sub(began);
    cx.with(|m| m.locks.waited_for_dax_entry(waited));
}

/// `dax_unlock_entry`.
pub(super) async fn unlock_entry(cx: &Cx<'_>, file: FileId, head: u64) {
    unlock_entry_as(cx, file, head, |_| {}).await;
}

/// The same, with a last change to the entry under the lock.
pub(super) async fn unlock_entry_as(
    cx: &Cx<'_>,
    file: FileId,
    head: u64,
    change: impl FnOnce(&mut DaxEntry),
) {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    cx.step(|p| p.unlock_entry);
    lock_xa(cx, xa_lock).await;
    let waiter = cx.with(|m| {
        m.locks.had_dax_entry();
        let entries = &mut m.file_mut(file).entries;
        if let Some(entry) = entries.get_mut(head) {
            change(entry);
        }
        entries.unlock(head)
    });
    if let Some(waiter) = waiter {
        cx.wake(waiter);
    }
    unlock_xa(cx, xa_lock).await;
}

/// The `i_pages` lock is taken with interrupts off (`xas_lock_irq`).
pub(super) async fn lock_xa(cx: &Cx<'_>, lock: crate::engine::LockId) {
    cx.set_irqs(false);
    cx.lock(lock, LockMode::Exclusive).await;
}

pub(super) async fn unlock_xa(cx: &Cx<'_>, lock: crate::engine::LockId) {
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.set_irqs(true);
}

/// `iomap_begin`: looks the extent up, allocating and converting for a write.
async fn iomap_begin(cx: &Cx<'_>, vmf: &Vmf, page: u64, size: PageSize) -> Result<Iomap, VmFault> {
    let before = cx.set_part(Part::Fs);
    let (path, alloc_path, lock, line) = cx.with(|m| {
        let file = m.file(vmf.file);
        let fs = file.fs;
        let (iomap, block_alloc) =
            m.kernel.ask(|k| (k.path_length.of(fs).iomap, k.path_length.of(fs).block_alloc));
        (iomap, block_alloc, file.extent_lock, file.extent_line)
    });
    cx.work(path);
    // A private copy reads its source: IOMAP_WRITE is not set (spec 4.3, step 3).
    let writes = vmf.write && vmf.vma.shared;
    let reflink = cx.with(|m| m.file(vmf.file).reflink);
    // Who may have to change the copy-on-write fork takes the ILOCK alone.
    let mode = if writes && reflink { LockMode::Exclusive } else { LockMode::Shared };
    cx.lock(lock, mode).await;
    cx.load(line).await;
    let cow = if reflink { look_at_shared(cx, vmf.file, page, size, writes) } else { None };
    cx.unlock(lock, mode).await;
    let mapping = cx.with(|m| m.file(vmf.file).extents.lookup(page));
    let written = matches!(mapping.block, Some((_, BlockState::Written)));
    let result = if let Some(cow) = cow {
        cow.map_err(|NoSpace| no_space(size))
    } else if !writes || written {
        Ok(Iomap { mapping, extent: ExtentFlags::Plain, source: None })
    } else {
        cx.work(alloc_path);
        cx.lock(lock, LockMode::Exclusive).await;
        let allocated = cx.with(|m| m.allocate_for_write(vmf.file, page, size));
        cx.unlock(lock, LockMode::Exclusive).await;
        match allocated {
            Ok(mapping) => {
                zero_blocks(cx, mapping, size).await;
                Ok(Iomap { mapping, extent: ExtentFlags::New, source: None })
            }
            Err(NoSpace) => Err(no_space(size)),
        }
    };
    cx.set_part(before);
    result
}

/// What a full device makes of a fault.
fn no_space(size: PageSize) -> VmFault {
    if size == PageSize::Size4K { VmFault::SIGBUS } else { VmFault::FALLBACK }
}

/// A written extent of a file that shares blocks, cut off where sharing begins or ends; for a write, the blocks that take the place of
/// shared ones. `None` where nothing is written. The ILOCK is held.
fn look_at_shared(
    cx: &Cx<'_>,
    file: FileId,
    page: u64,
    size: PageSize,
    writes: bool,
) -> Option<Result<Iomap, NoSpace>> {
    let mapping = cx.with(|m| m.file(file).extents.lookup(page));
    let Some((source, BlockState::Written)) = mapping.block else { return None };
    let Trimmed { mapping, shared } = trim_around_shared(cx, file, mapping);
    if !shared || !writes {
        let extent = if shared { ExtentFlags::Shared } else { ExtentFlags::Plain };
        return Some(Ok(Iomap { mapping, extent, source: None }));
    }
    let cow = allocate_cow(cx, file, page, mapping, size.pages());
    Some(cow.map(|mapping| Iomap { mapping, extent: ExtentFlags::Cow, source: Some(source) }))
}

/// New blocks are zeroed on the device before the file system lets them be seen (non-temporal stores).
async fn zero_blocks(cx: &Cx<'_>, mapping: Mapping, size: PageSize) {
    let Some((pfn, _)) = mapping.block else { return };
    let lines = mapping.len.min(size.pages()) * 64;
    let mut op = cx.stores();
    for line in 0..lines {
        cx.step(|p| p.zero_line);
        op.nt_store(daxsim_types::CacheLine(pfn.addr().line().0 + line)).await;
    }
    op.finish();
}

fn iomap_type(mapping: &Mapping) -> &'static str {
    match mapping.block {
        None => "HOLE",
        Some((_, BlockState::Unwritten)) => "UNWRITTEN",
        Some((_, BlockState::Written)) => "MAPPED",
    }
}

/// One pass of `iomap_iter` around [`fault_iter`]: whether the block is new, too. A copy on write ends with the new block in the data
/// fork, or without it if the fault failed.
async fn dax_fault_iter(
    cx: &Cx<'_>,
    vmf: &mut Vmf,
    head: &mut u64,
    size: PageSize,
) -> Result<(VmFault, bool), VmFault> {
    let page = if size == PageSize::Size2M { vmf.pgoff & !(PMD_PAGES - 1) } else { vmf.pgoff };
    let iomap = iomap_begin(cx, vmf, page, size).await?;
    cx.note(PathStep::Iomap(iomap_type(&iomap.mapping), iomap.extent));
    let ret = fault_iter(cx, vmf, head, size, iomap).await;
    if iomap.extent == ExtentFlags::Cow {
        let small = size == PageSize::Size4K;
        let written =
            ret.is_ok_and(|(ret, _)| if small { !ret.is_error() } else { ret != VmFault::FALLBACK });
        iomap_end(cx, vmf.file, page, iomap.mapping.len.min(size.pages()), written).await;
    }
    ret
}

/// `dax_fault_iter` (spec 4.6): what to map, and whether the block is new.
async fn fault_iter(
    cx: &Cx<'_>,
    vmf: &mut Vmf,
    head: &mut u64,
    size: PageSize,
    iomap: Iomap,
) -> Result<(VmFault, bool), VmFault> {
    let new = iomap.extent == ExtentFlags::New;
    if size == PageSize::Size4K && vmf.write && !vmf.vma.shared {
        return Ok((copy_to_private(cx, vmf, iomap.mapping).await, false));
    }
    if iomap.mapping.len < size.pages() {
        return Ok((VmFault::FALLBACK, false));
    }
    let block = match iomap.mapping.block {
        Some((pfn, BlockState::Written)) => pfn,
        _ => return load_hole(cx, vmf, head, size).await.map(|ret| (ret, false)),
    };
    cx.step(|p| p.direct_access);
    let refused =
        cx.with(|m| m.kernel.ask(|k| k.dax.pmd_block_sw_bits.devmap) && m.injections.is_not_devmap(block));
    if size == PageSize::Size2M && (block.0 % PMD_PAGES != 0 || refused) {
        return Ok((VmFault::FALLBACK, false));
    }
    let synchronous = vmf.write && vmf.vma.sync && cx.with(|m| m.file(vmf.file).metadata_dirty);
    let shared = iomap.is_shared();
    let entry = NewEntry { kind: EntryKind::Block, pfn: block, size, may_dirty: !synchronous, shared };
    insert_entry(cx, vmf, head, entry).await;
    if let Some(source) = iomap.source {
        copy_around(cx, source, block, size.pages()).await;
    }
    if synchronous {
        vmf.sync_pfn = Some(block);
        return Ok((VmFault::NEEDDSYNC, new));
    }
    let request = Insert { pfn: block, write: vmf.write, zero: false };
    let ret = match size {
        PageSize::Size4K => insert_4k(cx, vmf, request).await,
        PageSize::Size2M | PageSize::Size1G => insert_huge(cx, vmf, request, size).await,
    };
    Ok((ret, new))
}

/// `dax_load_hole` and `dax_pmd_load_hole`.
async fn load_hole(cx: &Cx<'_>, vmf: &mut Vmf, head: &mut u64, size: PageSize) -> Result<VmFault, VmFault> {
    let zero = cx.with(|m| match size {
        PageSize::Size4K => m.globals.zero_page,
        PageSize::Size2M | PageSize::Size1G => m.globals.huge_zero_page,
    });
    let entry = NewEntry { kind: EntryKind::Zero, pfn: zero, size, may_dirty: false, shared: false };
    insert_entry(cx, vmf, head, entry).await;
    let request = Insert { pfn: zero, write: cx.with(|m| m.injections.writes_zero()), zero: true };
    if size == PageSize::Size4K {
        let ret = insert_4k(cx, vmf, request).await;
        cx.note(PathStep::Event("dax_load_hole"));
        return Ok(ret);
    }
    cx.step(|p| p.huge_zero);
    let ret = insert_huge(cx, vmf, request, PageSize::Size2M).await;
    let fell_back = ret == VmFault::FALLBACK;
    cx.note(PathStep::Event(if fell_back { "dax_pmd_load_hole_fallback" } else { "dax_pmd_load_hole" }));
    Ok(ret)
}

/// `dax_insert_entry` (spec 4.6): the entry becomes the block or the hole, dirty if the fault writes and is not one that
/// has to sync first. That of a shared block is made anew each time, and what maps it unmapped. `head` may come to be the first page of
/// a smaller entry.
async fn insert_entry(cx: &Cx<'_>, vmf: &Vmf, head: &mut u64, new: NewEntry) {
    let NewEntry { kind, pfn, size, may_dirty, shared } = new;
    let old = cx.with(|m| m.file(vmf.file).entries.find(*head).map(|(_, e)| e.clone()));
    let was = |kind| old.as_ref().is_some_and(|e| e.kind == kind);
    if shared || (was(EntryKind::Zero) && kind == EntryKind::Block) {
        // Every mapping of the zero page, or of the block as it was, goes before the block can be seen.
        let pages = old.as_ref().map_or(size.pages(), DaxEntry::pages);
        unmap_mapping_pages(cx, vmf.file, *head, pages, EvenCows::No).await;
    }
    let replace = shared || !was(EntryKind::Block);
    cx.step(|p| if replace { p.insert_entry_new } else { p.insert_entry_keep });
    let xa_lock = cx.with(|m| m.file(vmf.file).xa_lock);
    lock_xa(cx, xa_lock).await;
    if replace {
        if let Some(old) = old.as_ref().filter(|old| old.kind == EntryKind::Block) {
            dax_disassociate_entry(cx, old, false).await;
        }
        if kind == EntryKind::Block {
            associate(cx, pfn, size, shared).await;
        }
        if size == PageSize::Size4K && old.is_some_and(|old| old.pmd) {
            shrink(cx, vmf, head);
        }
        cx.with(|m| {
            if let Some(entry) = m.file_mut(vmf.file).entries.get_mut(*head) {
                entry.kind = kind;
                entry.pfn = pfn;
            }
        });
    }
    cx.with(|m| {
        if let Some(entry) = m.file_mut(vmf.file).entries.get_mut(*head) {
            entry.dirty |= vmf.write && may_dirty;
            entry.towrite |= vmf.write && shared;
        }
    });
    unlock_xa(cx, xa_lock).await;
}

/// A huge entry whose block is shared in part gives way to a small one for the page. (In Linux the value of the small one stands for all 512
/// pages from then on, which the next fault of each page mends.) Who waits looks again; the lock is held.
fn shrink(cx: &Cx<'_>, vmf: &Vmf, head: &mut u64) {
    let waiters = cx.with(|m| {
        m.remove_entries(cx.cpu(), vmf.file, *head, 1);
        let waiters = m.file_mut(vmf.file).entries.remove(*head);
        m.file_mut(vmf.file).entries.store(vmf.pgoff, DaxEntry::empty(false));
        m.measure.kernel.woken_by_removal += waiters.len() as u64;
        waiters
    });
    *head = vmf.pgoff;
    for waiter in waiters {
        cx.wake(waiter);
    }
}

/// `dax_associate_entry`: every struct page of the block is written, in all variants (spec 4.7).
async fn associate(cx: &Cx<'_>, pfn: Pfn, size: PageSize, shared: bool) {
    let pages = size.pages();
    let first_counted = cx.with(|m| m.kernel.ask(|k| k.tree.first_share_counted));
    for page in 0..pages {
        cx.step(|p| if pages == 1 { p.associate_4k } else { p.associate_2m.share(page, pages) });
        let frame = Pfn(pfn.0 + page);
        let line = cx.with(|m| m.pages.line(frame));
        cx.store(line).await;
        cx.with(|m| m.pages.update(frame, |c| c.associate(shared, first_counted)));
    }
}

/// `dax_fault_cow_page` and `finish_fault`: the private page gets the file's contents, or zeroes, and is mapped (spec 4.5).
async fn copy_to_private(cx: &Cx<'_>, vmf: &mut Vmf, mapping: Mapping) -> VmFault {
    let source = match mapping.block {
        Some((pfn, BlockState::Written)) => Some(pfn),
        _ => None,
    };
    cx.step(|p| p.direct_access);
    let frame = super::cow::allocate_page(cx);
    super::cow::copy_page(cx, source, frame, |p| p.copy_page).await;
    let ret = super::cow::finish_fault(cx, vmf, frame).await;
    if ret == VmFault::default() { VmFault::DONE_COW } else { ret }
}

/// `dax_finish_sync_fault` (spec 4.6): fsync of the range, then the insert that the fault had to put off.
pub(crate) async fn dax_finish_sync_fault(cx: &Cx<'_>, vmf: &mut Vmf, pfn: Pfn, size: PageSize) -> VmFault {
    let head = if size == PageSize::Size2M { vmf.pgoff & !(PMD_PAGES - 1) } else { vmf.pgoff };
    let ret = match super::syscall::sync_file_range(cx, vmf.file, head, head + size.pages() - 1).await {
        Ok(()) => {
            for waiter in cx.with(|m| m.lose_entry(vmf.file, head)) {
                cx.wake(waiter);
            }
            insert_pfn_mkwrite(cx, vmf, pfn, head, size).await
        }
        Err(_) => VmFault::SIGBUS,
    };
    cx.note(PathStep::Returned("dax_finish_sync_fault", ret));
    ret
}

/// `dax_insert_pfn_mkwrite`: marks the entry dirty and maps it for writing, unless it has changed meanwhile.
async fn insert_pfn_mkwrite(cx: &Cx<'_>, vmf: &Vmf, pfn: Pfn, head: u64, size: PageSize) -> VmFault {
    let pmd = size == PageSize::Size2M;
    let xa_lock = cx.with(|m| m.file(vmf.file).xa_lock);
    loop {
        lock_xa(cx, xa_lock).await;
        let entry = cx.with(|m| m.file(vmf.file).entries.find(head).map(|(at, e)| (at, e.clone())));
        match entry {
            Some((at, e)) if e.locked => wait_for_entry(cx, vmf.file, at, xa_lock).await,
            Some((at, e)) if e.pmd == pmd && at == head => break,
            _ => {
                pass_wake_up_on(cx, vmf.file, head);
                unlock_xa(cx, xa_lock).await;
                cx.note(PathStep::Event("dax_insert_pfn_mkwrite_no_entry"));
                return VmFault::NOPAGE;
            }
        }
    }
    cx.with(|m| {
        if let Some(entry) = m.file_mut(vmf.file).entries.get_mut(head) {
            entry.dirty = true;
            entry.locked = true;
        }
    });
    unlock_xa(cx, xa_lock).await;
    let request = Insert { pfn, write: true, zero: false };
    let ret = match pmd {
        true => insert_huge(cx, vmf, request, size).await,
        false => insert_4k(cx, vmf, request).await,
    };
    unlock_entry(cx, vmf.file, head).await;
    cx.note(PathStep::Event("dax_insert_pfn_mkwrite"));
    ret
}
