//! Faults of files in the page cache: program text, libraries, shared memory. `mm/filemap.c`, `mm/shmem.c`, and the file
//! side of `mm/memory.c`: fault-around, private copies, shared writes.

use std::collections::{BTreeMap, BTreeSet};

use daxsim_types::{PageSize, Pfn, VirtAddr, VmFault};

use super::cow::{allocate_page, copy_page, finish_fault};
use super::fault::{ensure_table, unlock_vma};
use super::mm::MmId;
use super::mmu_hook::update_mmu_cache;
use super::vma::{Backing, Vma};
use super::vmf::Vmf;
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::{FaultKind, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// Handle of a file in the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheId(pub u32);

/// The `vm_operations` of a mapping outside DAX, as far as faults can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOps {
    /// A file whose pages are all in the page cache, with `filemap_map_pages`.
    Filemap,
    /// Shared memory of tmpfs or without a name: pages come into being by faults; with `filemap_map_pages`.
    Shmem,
    /// System V shared memory: as [`Self::Shmem`], but `shm_vm_ops` has no `map_pages`.
    SysvShm,
    /// Pages of the kernel (`special_mapping_fault`): the vDSO.
    SpecialPages,
    /// Frames of the kernel (`vmf_insert_pfn`): the vDSO's data.
    SpecialFrames,
}

impl CacheOps {
    /// Whether there is a `map_pages`: fault-around, and faults under the VMA's own lock.
    #[must_use]
    pub const fn maps_around(self) -> bool {
        matches!(self, Self::Filemap | Self::Shmem)
    }

    /// Whether pages are there before they are asked for.
    const fn is_populated(self) -> bool {
        !matches!(self, Self::Shmem | Self::SysvShm)
    }
}

/// A file in the page cache.
#[derive(Debug)]
pub struct CachedFile {
    /// Its operations.
    pub ops: CacheOps,
    /// Frames of the pages that were asked for.
    frames: BTreeMap<u64, Pfn>,
    /// Dirty pages.
    dirty: BTreeSet<u64>,
}

/// The page cache.
#[derive(Debug, Default)]
pub struct PageCache {
    files: Vec<CachedFile>,
    /// Frames that belong to files.
    frames: BTreeSet<u64>,
}

impl Machine {
    /// A new file in the page cache.
    pub fn new_cached_file(&mut self, ops: CacheOps) -> CacheId {
        let id = CacheId(u32::try_from(self.page_cache.files.len()).unwrap_or(u32::MAX));
        self.page_cache.files.push(CachedFile { ops, frames: BTreeMap::new(), dirty: BTreeSet::new() });
        id
    }

    fn cached(&self, id: CacheId) -> &CachedFile {
        &self.page_cache.files[id.0 as usize]
    }

    /// Whether a frame belongs to a file in the page cache.
    pub(crate) fn is_cache_frame(&self, pfn: Pfn) -> bool {
        self.page_cache.frames.contains(&pfn.0)
    }

    /// The frame of a file page, if the page cache has it (`next_uptodate_folio`).
    fn find_cached(&mut self, id: CacheId, page: u64) -> Option<Pfn> {
        let file = self.cached(id);
        if let Some(pfn) = file.frames.get(&page) {
            return Some(*pfn);
        }
        file.ops.is_populated().then(|| self.add_to_page_cache(id, page))
    }

    /// The frame of a file page, new if need be; whether it is new.
    pub(crate) fn cached_frame(&mut self, id: CacheId, page: u64) -> (Pfn, bool) {
        match self.find_cached(id, page) {
            Some(pfn) => (pfn, false),
            None => (self.add_to_page_cache(id, page), true),
        }
    }

    fn add_to_page_cache(&mut self, id: CacheId, page: u64) -> Pfn {
        let pfn = self.new_user_frame();
        self.page_cache.frames.insert(pfn.0);
        self.page_cache.files[id.0 as usize].frames.insert(page, pfn);
        pfn
    }

    /// Makes a read-only entry of private memory, as an earlier fault would have left it: the page of the file, or an anonymous
    /// page, mapped somewhere else too if it is `shared`. False if an entry is there already.
    pub(crate) fn preset_ordinary(&mut self, mm: MmId, va: VirtAddr, shared: bool) -> bool {
        let Some(vma) = self.mm(mm).find_vma(va).copied() else { return false };
        let Some(slot) = self.free_slot(mm, va, 0) else { return false };
        let pfn = match vma.backing {
            Backing::Dax { .. } => return false,
            Backing::Cached { .. } => {
                let (file, page) = page_of(&vma, va);
                self.cached_frame(file, page).0
            }
            Backing::Anonymous => {
                let pfn = self.new_user_frame();
                if shared {
                    self.shared_copies.insert(pfn.0, 2);
                }
                pfn
            }
        };
        self.tables.write(slot, Entry::leaf(pfn, self.vm_page_prot(&vma)));
        if let Some(vma) = self.mm_mut(mm).vmas.get_mut(&vma.start) {
            vma.has_copies |= vma.backing == Backing::Anonymous;
        }
        true
    }

    /// `folio_mark_dirty`: whether the page was clean.
    fn mark_dirty(&mut self, id: CacheId, page: u64) -> bool {
        self.page_cache.files[id.0 as usize].dirty.insert(page)
    }

    /// The operations of a VMA outside DAX that maps a file.
    fn ops_of(&self, vma: &Vma) -> Option<CacheOps> {
        match vma.backing {
            Backing::Cached { file, .. } => Some(self.cached(file).ops),
            _ => None,
        }
    }
}

/// The file page at an address of a VMA.
fn page_of(vma: &Vma, va: VirtAddr) -> (CacheId, u64) {
    match vma.backing {
        Backing::Cached { file, pgoff } => (file, pgoff + ((va.0 - vma.start) >> 12)),
        _ => (CacheId(u32::MAX), 0),
    }
}

/// `do_fault` of a file in the page cache.
pub(super) async fn do_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    let Some(ops) = cx.with(|m| m.ops_of(&vmf.vma)) else { return VmFault::SIGBUS };
    if !vmf.write && ops.maps_around() && do_fault_around(cx, vmf).await {
        return VmFault::NOPAGE;
    }
    // vmf_can_call_fault: a handler without map_pages does not run under the VMA's lock.
    if vmf.vma_locked && !ops.maps_around() {
        unlock_vma(cx, &vmf.vma).await;
        return VmFault::RETRY;
    }
    match (vmf.write, vmf.vma.shared) {
        (true, false) => do_cow_fault(cx, vmf).await,
        (true, true) => do_shared_fault(cx, vmf).await,
        (false, _) => do_read_fault(cx, vmf, ops).await,
    }
}

/// `do_fault_around` with `filemap_map_pages`: maps what the page cache has of an aligned window around the fault. Whether
/// the page of the fault is mapped then.
async fn do_fault_around(cx: &Cx<'_>, vmf: &Vmf) -> bool {
    let window = cx.with(|m| u64::from(m.kernel.ask(|k| k.tree.fault_around_pages)));
    if window < 2 {
        return false;
    }
    let before = cx.set_part(Part::Insert);
    let (file, _) = page_of(&vmf.vma, vmf.address);
    let (from, to) = around(&vmf.vma, vmf.address, window);
    let mut mapped = false;
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 0).await else {
        cx.set_part(before);
        return false;
    };
    if let Some(ptl) = cx.with(|m| m.tables.lock(table)) {
        cx.step(|p| p.filemap_fault);
        cx.lock(ptl, LockMode::Exclusive).await;
        let mut at = from;
        while at < to {
            let va = VirtAddr(at);
            let page = page_of(&vmf.vma, va).1;
            let faulting = va.vpn() == vmf.address.vpn();
            if let Some(pfn) = cx.with(|m| m.find_cached(file, page)) {
                mapped |= map_page(cx, vmf, Slot::of(table, va, 0), pfn, faulting).await;
            }
            at += PageSize::Size4K.bytes();
        }
        cx.unlock(ptl, LockMode::Exclusive).await;
    }
    cx.trail(|t| t.kind = Some(FaultKind::FileRead));
    cx.set_part(before);
    mapped
}

/// The window around an address: `window` pages, aligned, inside the VMA and its page table.
fn around(vma: &Vma, va: VirtAddr, window: u64) -> (u64, u64) {
    let (bytes, huge) = (window << 12, PageSize::Size2M.bytes());
    let aligned = va.0 & !(bytes - 1);
    let from = aligned.max(vma.start);
    let table_end = (va.0 & !(huge - 1)) + huge;
    (from, (from + bytes).min(vma.end).min(table_end))
}

/// `set_pte_range` of one page, where no entry is; whether an entry is there for the fault.
async fn map_page(cx: &Cx<'_>, vmf: &Vmf, slot: Slot, pfn: Pfn, faulting: bool) -> bool {
    if !cx.with(|m| m.tables.read(slot)).is_none() {
        return faulting;
    }
    cx.step(|p| p.filemap_map_page);
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw(line).await;
    cx.store(slot.line()).await;
    cx.with(|m| {
        let entry = Entry::leaf(pfn, m.vm_page_prot(&vmf.vma));
        m.tables.write(slot, entry);
    });
    if faulting {
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
    }
    faulting
}

/// `do_read_fault` past fault-around.
async fn do_read_fault(cx: &Cx<'_>, vmf: &Vmf, ops: CacheOps) -> VmFault {
    let pfn = find_or_add(cx, vmf).await;
    map_file_page(cx, vmf, pfn).await;
    cx.trail(|t| t.kind = Some(FaultKind::FileRead));
    match ops {
        CacheOps::SpecialFrames => VmFault::NOPAGE,
        CacheOps::SpecialPages => VmFault::default(),
        _ => VmFault::LOCKED,
    }
}

/// `do_cow_fault`: a private copy at once.
async fn do_cow_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    let source = find_or_add(cx, vmf).await;
    let copy = allocate_page(cx);
    copy_page(cx, Some(source), copy, |p| p.copy_page).await;
    finish_fault(cx, vmf, copy).await;
    cx.trail(|t| t.kind = Some(FaultKind::FileCow));
    VmFault::LOCKED
}

/// `do_shared_fault` of a file without `page_mkwrite`. Where the page was clean, `balance_dirty_pages` is called without the
/// lock, if this is the first try (`fault_dirty_shared_page`).
async fn do_shared_fault(cx: &Cx<'_>, vmf: &Vmf) -> VmFault {
    let (file, page) = page_of(&vmf.vma, vmf.address);
    let pfn = find_or_add(cx, vmf).await;
    map_file_page(cx, vmf, pfn).await;
    cx.trail(|t| t.kind = Some(FaultKind::FileWrite));
    let dirtied = cx.with(|m| m.mark_dirty(file, page));
    if dirtied { VmFault::LOCKED | VmFault::COMPLETED } else { VmFault::LOCKED }
}

/// `__do_fault`: the page, found in the page cache or new and zeroed.
async fn find_or_add(cx: &Cx<'_>, vmf: &Vmf) -> Pfn {
    let (file, page) = page_of(&vmf.vma, vmf.address);
    cx.step(|p| p.filemap_fault);
    let (pfn, new) = cx.with(|m| m.cached_frame(file, page));
    let line = cx.with(|m| m.pages.line(pfn));
    if new {
        cx.step(|p| p.anon_page);
        super::anon::clear_page(cx, pfn).await;
    }
    // The page's lock.
    cx.rmw(line).await;
    pfn
}

/// `finish_fault` of a page of the file.
async fn map_file_page(cx: &Cx<'_>, vmf: &Vmf, pfn: Pfn) {
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 0).await else { return };
    let before = cx.set_part(Part::Insert);
    let slot = Slot::of(table, vmf.address, 0);
    if let Some(ptl) = cx.with(|m| m.tables.lock(table)) {
        cx.lock(ptl, LockMode::Exclusive).await;
        map_page(cx, vmf, slot, pfn, true).await;
        if vmf.write {
            cx.with(|m| {
                let entry = m.tables.read(slot).mkyoung().mkdirty();
                m.tables.write(slot, entry);
            });
        }
        cx.unlock(ptl, LockMode::Exclusive).await;
    }
    cx.note(PathStep::Returned("finish_fault", VmFault::default()));
    cx.set_part(before);
}
