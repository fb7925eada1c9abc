//! From the exception to the handlers: `arch/x86/mm/fault.c` and the dispatch of `mm/memory.c` (spec section 2).

use daxsim_types::{
    AccessKind, CacheLine, ErrorCode, FileSystem, LINE_BYTES, PageSize, Pfn, VirtAddr, VmFault,
};

use super::anon::expand_stack;
use super::cow::wp_page_copy;
use super::file::FileId;
use super::fs::{Order, fs_fault};
use super::mm::MmId;
use super::vma::{Backing, Vma};
use super::vmf::{FaultTrail, Vmf};
use super::zap::zap_huge_pmd;
use crate::engine::{Cx, LockMode};
use crate::measure::{FaultKind, FaultRecord, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// How an access ends that cannot be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGBUS: beyond the end of the file, no space, or a refused insert.
    Sigbus,
    /// SIGSEGV: no mapping, or not for this kind of access.
    Sigsegv,
}

/// Who the fault belongs to, for its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) line: u64,
    pub(crate) thread: u16,
    pub(crate) mm: MmId,
}

/// The kind of a finished fault, and the signal if it failed.
pub(crate) struct FaultEnd {
    pub(crate) kind: FaultKind,
    pub(crate) signal: Option<Signal>,
}

/// #PF: entry, `do_user_addr_fault`, exit. The access is then to be tried again, unless there is a signal.
pub(crate) async fn page_fault(cx: &Cx<'_>, origin: Origin, va: VirtAddr, error_code: ErrorCode) -> FaultEnd {
    let raised = cx.now();
    enter_kernel(cx);
    cx.with(|m| m.trails[cx.cpu().index()] = FaultTrail::default());
    let ret = do_user_addr_fault(cx, origin.mm, va, error_code).await;
    leave_kernel(cx);
    cx.with(|m| {
        let trail = std::mem::take(&mut m.trails[cx.cpu().index()]);
        let signal = match ret {
            None => Some(Signal::Sigsegv),
            Some(ret) if ret.contains(VmFault::SIGSEGV) => Some(Signal::Sigsegv),
            Some(ret) if ret.contains(VmFault::SIGBUS) || ret.contains(VmFault::OOM) => Some(Signal::Sigbus),
            Some(_) => None,
        };
        let kind = match signal {
            Some(Signal::Sigbus) => FaultKind::Sigbus,
            Some(Signal::Sigsegv) => FaultKind::Sigsegv,
            None => trail.kind(),
        };
        let counts = &mut m.measure.faults;
        counts.total += 1;
        counts.pmd_fallback += u64::from(trail.pmd_fallback);
        counts.sigbus += u64::from(kind == FaultKind::Sigbus);
        counts.sigsegv += u64::from(kind == FaultKind::Sigsegv);
        counts.major += u64::from(ret.is_some_and(|r| r.contains(VmFault::MAJOR)));
        if m.measure.keep_faults {
            let record = FaultRecord {
                line: origin.line,
                thread: origin.thread,
                cpu: cx.cpu(),
                time: raised,
                address: va,
                error_code,
                old: trail.old,
                new: trail.new,
                pfn: trail.pfn,
                ret: trail.ret,
                kind,
                path: trail.path,
            };
            m.measure.keep_fault(record);
        }
        FaultEnd { kind, signal }
    })
}

fn enter_kernel(cx: &Cx<'_>) {
    cx.with(|m| {
        let (entry, cr3) = (m.spec.cost.exception_entry, m.spec.cost.cr3_write);
        let (path, pti) = (m.kernel.path_length.common.entry, m.kernel.tree.pti);
        let cpu = &mut m.cpus[cx.cpu().index()];
        cpu.part = Part::Entry;
        cpu.spend(entry);
        if pti {
            cpu.spend(cr3);
        }
        cpu.work(path);
        cpu.part = Part::Dispatch;
    });
}

fn leave_kernel(cx: &Cx<'_>) {
    cx.with(|m| {
        let (iret, cr3) = (m.spec.cost.iret, m.spec.cost.cr3_write);
        let (path, pti) = (m.kernel.path_length.common.exit, m.kernel.tree.pti);
        let cpu = &mut m.cpus[cx.cpu().index()];
        cpu.part = Part::Entry;
        cpu.work(path);
        if pti {
            cpu.spend(cr3);
        }
        cpu.spend(iret);
        cpu.part = Part::User;
    });
}

/// `do_user_addr_fault` (spec 2.3, 2.4): `None` for a bad area (SIGSEGV), otherwise what `handle_mm_fault` returned last.
async fn do_user_addr_fault(cx: &Cx<'_>, mm: MmId, va: VirtAddr, error_code: ErrorCode) -> Option<VmFault> {
    // First under the VMA's own lock.
    // A fault from kernel mode does not try it (spec 2.2, step 8).
    if !error_code.is_user() {
        return fault_under_mmap_lock(cx, mm, va, error_code).await;
    }
    cx.step(|p| p.vma_lock);
    if let Some(seen) = cx.with(|m| m.mm(mm).find_vma(va).copied())
        && cx.try_lock(seen.lock, LockMode::Shared).await
    {
        // lock_vma_under_rcu looks again once it has the lock: the VMA may be gone, or smaller.
        let locked = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|now| now.lock == seen.lock);
        let Some(vma) = locked else {
            unlock_vma(cx, &seen).await;
            return fault_under_mmap_lock(cx, mm, va, error_code).await;
        };
        if access_error(&vma, error_code) {
            unlock_vma(cx, &vma).await;
            return None;
        }
        let mut vmf = Vmf::new(mm, vma, va, error_code, true);
        let ret = handle_mm_fault(cx, &mut vmf).await;
        if ret != VmFault::RETRY {
            unlock_vma(cx, &vma).await;
            return Some(ret);
        }
    }
    fault_under_mmap_lock(cx, mm, va, error_code).await
}

/// The second attempt, or the only one where the VMA could not be locked (spec 2.4).
async fn fault_under_mmap_lock(
    cx: &Cx<'_>,
    mm: MmId,
    va: VirtAddr,
    error_code: ErrorCode,
) -> Option<VmFault> {
    let mmap_lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.step(|p| p.mmap_lock);
    if cx.with(|m| m.mm(mm).find_vma(va).is_none() && m.stack_above(mm, va).is_some()) {
        expand_stack(cx, mm, va).await;
    }
    cx.lock(mmap_lock, LockMode::Shared).await;
    let vma = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|vma| !access_error(vma, error_code));
    let ret = match vma.map(|vma| Vmf::new(mm, vma, va, error_code, false)) {
        Some(mut vmf) => Some(handle_mm_fault(cx, &mut vmf).await),
        None => None,
    };
    cx.step(|p| p.mmap_unlock);
    cx.unlock(mmap_lock, LockMode::Shared).await;
    ret
}

pub(super) async fn unlock_vma(cx: &Cx<'_>, vma: &Vma) {
    cx.step(|p| p.vma_unlock);
    cx.unlock(vma.lock, LockMode::Shared).await;
}

/// `access_error` (spec 2.2).
fn access_error(vma: &Vma, error_code: ErrorCode) -> bool {
    if error_code.is_write() {
        return !vma.write;
    }
    error_code.is_protection() || !(vma.read || vma.write || vma.exec)
}

/// Releases the VMA lock for a handler that may not run under it (`vmf_can_call_fault`, spec 2.3).
async fn can_call_fault(cx: &Cx<'_>, vmf: &Vmf) -> Result<(), VmFault> {
    let fs = cx.with(|m| m.file(vmf.file).fs);
    // Of the modelled file systems only XFS has `map_pages`.
    if !vmf.vma_locked || fs == FileSystem::Xfs {
        return Ok(());
    }
    unlock_vma(cx, &vmf.vma).await;
    Err(VmFault::RETRY)
}

/// `handle_mm_fault`: one pass.
async fn handle_mm_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    cx.step(|p| p.dispatch);
    let ret = handle_levels(cx, vmf).await;
    cx.note(PathStep::Returned("handle_mm_fault", ret));
    cx.trail(|t| t.ret = Some(ret));
    ret
}

/// `__handle_mm_fault` (spec 2.5).
async fn handle_levels(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    if !matches!(vmf.vma.backing, Backing::Dax { .. }) {
        return super::anon::handle_levels(cx, vmf).await;
    }
    let (mm, va) = (vmf.mm, vmf.address);
    let pud_table = ensure_table(cx, mm, va, 2).await;
    let pud = read_entry(cx, Slot::of(pud_table, va, 2)).await;
    if pud.is_none() && !vmf.vma.no_huge {
        // fsdax maps no PUDs: the attempt costs its prologue and epilogue.
        let ret = fs_fault(cx, vmf, Order::Pud).await;
        if ret != VmFault::FALLBACK {
            return ret;
        }
    }
    let pmd_table = ensure_table(cx, mm, va, 1).await;
    let slot = Slot::of(pmd_table, va, 1);
    let pmd = read_entry(cx, slot).await;
    if pmd.is_none() {
        let ret = huge_attempt(cx, vmf).await;
        if ret != VmFault::FALLBACK {
            return ret;
        }
    } else if pmd.is_leaf_at(1) {
        if vmf.write && !pmd.is_writable() {
            cx.step(|p| p.wp_page);
            let ret = huge_attempt(cx, vmf).await;
            if ret != VmFault::FALLBACK {
                return ret;
            }
            zap_huge_pmd(cx, mm, &vmf.vma, va).await;
        } else {
            return huge_pmd_set_accessed(cx, vmf, slot, pmd).await;
        }
    }
    handle_pte_fault(cx, vmf).await
}

async fn huge_attempt(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    if vmf.vma.no_huge {
        return VmFault::FALLBACK;
    }
    let ret = fs_fault(cx, vmf, Order::Pmd).await;
    if ret == VmFault::FALLBACK {
        cx.trail(|t| t.pmd_fallback = true);
    }
    ret
}

/// `huge_pmd_set_accessed`: the PMD already allows the access.
pub(super) async fn huge_pmd_set_accessed(cx: &Cx<'_>, vmf: &Vmf, slot: Slot, seen: Entry) -> VmFault {
    let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.step(|p| p.spurious);
    let changed = cx.with(|m| {
        let current = m.tables.read(slot);
        let wanted = if vmf.write { current.mkdirty().mkyoung() } else { current.mkyoung() };
        let changed = current == seen && wanted != current;
        if changed && vmf.write {
            m.tables.write(slot, wanted);
        }
        m.measure.update_mmu_cache_calls += u64::from(changed);
        changed
    });
    if changed {
        cx.store(slot.line()).await;
    }
    cx.note(PathStep::Value("pmdp_set_access_flags", i32::from(changed)));
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.trail(|t| t.kind = Some(FaultKind::Spurious));
    VmFault::default()
}

/// `handle_pte_fault` (spec 2.6).
pub(super) async fn handle_pte_fault(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    let (mm, va) = (vmf.mm, vmf.address);
    let Some(table) = cx.with(|m| m.tables.find(m.mm(mm).pgd, va, 0)) else {
        vmf.orig_pte = Entry::NONE;
        return do_pte_missing(cx, vmf, false).await;
    };
    let slot = Slot::of(table, va, 0);
    vmf.orig_pte = read_entry(cx, slot).await;
    if vmf.orig_pte.is_none() {
        return do_pte_missing(cx, vmf, true).await;
    }
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return VmFault::default() };
    cx.lock(ptl, LockMode::Exclusive).await;
    let current = cx.with(|m| m.tables.read(slot));
    if current != vmf.orig_pte {
        cx.unlock(ptl, LockMode::Exclusive).await;
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        return VmFault::default();
    }
    if vmf.write && !current.is_writable() {
        cx.unlock(ptl, LockMode::Exclusive).await;
        return do_wp_page(cx, vmf, slot).await;
    }
    cx.step(|p| p.spurious);
    let wanted = if vmf.write { current.mkdirty().mkyoung() } else { current.mkyoung() };
    let changed = wanted != current;
    cx.note(PathStep::Value("ptep_set_access_flags", i32::from(changed)));
    cx.trail(|t| {
        (t.old, t.new) = (Some(current), Some(wanted));
        t.kind = Some(FaultKind::Spurious);
    });
    // x86 stores only if the caller passed dirty != 0, that is for a write (spec 2.6).
    if changed && vmf.write {
        cx.store(slot.line()).await;
        cx.with(|m| m.tables.write(slot, wanted));
    }
    if changed {
        cx.with(|m| m.measure.update_mmu_cache_calls += 1);
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
    VmFault::default()
}

async fn do_pte_missing(cx: &Cx<'_>, vmf: &mut Vmf, has_table: bool) -> VmFault {
    match vmf.vma.backing {
        Backing::Dax { .. } => do_fault(cx, vmf, has_table).await,
        Backing::Anonymous => super::anon::do_anonymous_page(cx, vmf).await,
        Backing::Cached { .. } => super::filemap::do_fault(cx, vmf).await,
    }
}

/// `do_fault` for a shared file mapping: `do_read_fault` or `do_shared_fault`, then `__do_fault`.
async fn do_fault(cx: &Cx<'_>, vmf: &mut Vmf, has_table: bool) -> VmFault {
    let fs = cx.with(|m| m.file(vmf.file).fs);
    if !vmf.write {
        let scan = cx.with(|m| m.kernel.path_length.of(fs).fault_around);
        cx.work(scan);
    }
    if let Err(retry) = can_call_fault(cx, vmf).await {
        return retry;
    }
    if !has_table {
        // __do_fault preallocates a PTE page that the insert helper does not know of and that is freed again (spec 2.6).
        allocate_unused_table(cx).await;
    }
    fs_fault(cx, vmf, Order::Pte).await
}

async fn allocate_unused_table(cx: &Cx<'_>) {
    let part = cx.set_part(Part::Insert);
    cx.step(|p| p.table_alloc);
    cx.step(|p| p.table_free);
    cx.set_part(part);
}

/// `do_wp_page` on a shared mapping: `wp_pfn_shared`, `wp_page_shared` or, without a hook, `wp_page_reuse` (spec 2.7).
async fn do_wp_page(cx: &Cx<'_>, vmf: &mut Vmf, slot: Slot) -> VmFault {
    cx.note(PathStep::Event("do_wp_page"));
    cx.step(|p| p.wp_page);
    if !vmf.vma.shared {
        let ret = wp_private(cx, vmf, slot).await;
        cx.note(PathStep::Returned("do_wp_page", ret));
        return ret;
    }
    if !matches!(vmf.vma.backing, Backing::Dax { .. }) {
        let ret = wp_page_reuse(cx, vmf, slot).await;
        cx.note(PathStep::Returned("do_wp_page", ret));
        return ret;
    }
    let (fs, callback, counted) = cx.with(|m| {
        let counted = m.kernel.dax.refcount_per_map > 0;
        (m.file(vmf.file).fs, m.kernel.dax.wp_callback_fsdax, counted)
    });
    let ret = if fs == FileSystem::Devdax {
        wp_page_reuse(cx, vmf, slot).await
    } else {
        // wp_page_shared holds a reference of its own on the page, also in the pass that is refused.
        let held = counted && callback == daxsim_configs::kernel::WpCallback::PageMkwrite;
        let line = cx.with(|m| m.pages.line(vmf.orig_pte.pfn()));
        if held {
            cx.rmw(line).await;
        }
        let ret = match can_call_fault(cx, vmf).await {
            Ok(()) => fs_fault(cx, vmf, Order::Pte).await,
            Err(retry) => retry,
        };
        if held {
            cx.rmw(line).await;
        }
        ret
    };
    cx.note(PathStep::Returned("do_wp_page", ret));
    ret
}

/// A write to a read-only private PTE: an exclusive copy is made writable, a page of the file is copied. Both stay under the
/// VMA lock (spec 2.7).
async fn wp_private(cx: &Cx<'_>, vmf: &Vmf, slot: Slot) -> VmFault {
    let exclusive =
        cx.with(|m| m.is_private_copy(&vmf.vma, vmf.orig_pte) && m.is_exclusive(vmf.orig_pte.pfn()));
    if exclusive {
        return wp_page_reuse(cx, vmf, slot).await;
    }
    wp_page_copy(cx, vmf, slot).await
}

/// Faults a page in for the kernel, under mmap_lock and without an exception (GUP). False if that gets nowhere.
pub(crate) async fn fault_in(cx: &Cx<'_>, mm: MmId, va: VirtAddr, write: bool) -> bool {
    /// Attempts before a page is given up, as a knob combination may refuse for ever.
    const ATTEMPTS: u32 = 16;
    let kind = if write { AccessKind::Write } else { AccessKind::Read };
    for _ in 0..ATTEMPTS {
        if cx.with(|m| m.is_mapped(mm, va, write)) {
            return true;
        }
        let error_code = ErrorCode::new(kind, false, false);
        let vma = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|vma| !access_error(vma, error_code));
        let Some(mut vmf) = vma.map(|vma| Vmf::new(mm, vma, va, error_code, false)) else {
            return false;
        };
        let ret = handle_mm_fault(cx, &mut vmf).await;
        if ret.is_error() {
            return false;
        }
    }
    false
}

/// `wp_page_reuse`: the PTE becomes writable and dirty, without a flush.
async fn wp_page_reuse(cx: &Cx<'_>, vmf: &Vmf, slot: Slot) -> VmFault {
    let Some(ptl) = cx.with(|m| m.tables.lock(slot.table)) else { return VmFault::default() };
    cx.lock(ptl, LockMode::Exclusive).await;
    let (old, new) = cx.with(|m| {
        let old = m.tables.read(slot);
        (old, old.mkyoung().mkdirty().mkwrite())
    });
    let changed = old == vmf.orig_pte && new != old;
    if changed {
        cx.store(slot.line()).await;
        cx.with(|m| {
            m.tables.write(slot, new);
            m.measure.update_mmu_cache_calls += 1;
        });
    }
    cx.note(PathStep::Value("ptep_set_access_flags", i32::from(changed)));
    cx.trail(|t| {
        (t.old, t.new) = (Some(old), Some(new));
        t.kind = Some(if changed { FaultKind::Mkwrite } else { FaultKind::Spurious });
    });
    cx.unlock(ptl, LockMode::Exclusive).await;
    VmFault::default()
}

/// The kernel's read of a page-table entry.
pub(crate) async fn read_entry(cx: &Cx<'_>, slot: Slot) -> Entry {
    cx.load(slot.line()).await;
    cx.with(|m| m.tables.read(slot))
}

/// The table of `level` for an address, allocated with those above it if need be (`__pmd_alloc` and so on).
pub(crate) async fn ensure_table(cx: &Cx<'_>, mm: MmId, va: VirtAddr, level: u32) -> Pfn {
    let mut table = cx.with(|m| m.mm(mm).pgd);
    for at in ((level + 1)..=3).rev() {
        let slot = Slot::of(table, va, at);
        let mut entry = read_entry(cx, slot).await;
        if !entry.is_present() {
            entry = install_table(cx, mm, slot).await;
        }
        table = entry.pfn();
    }
    table
}

/// Allocates a table, zeroes it and installs it under the lock of the level, unless another CPU was faster.
async fn install_table(cx: &Cx<'_>, mm: MmId, slot: Slot) -> Entry {
    let part = cx.set_part(Part::Insert);
    cx.step(|p| p.table_alloc);
    let table = cx.with(crate::Machine::new_table);
    for line in 0..PageSize::Size4K.bytes() / LINE_BYTES {
        cx.store(CacheLine(table.addr().line().0 + line)).await;
    }
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let entry = cx.with(|m| {
        let current = m.tables.read(slot);
        if current.is_present() {
            m.tables.release(table);
            return current;
        }
        let entry = Entry::table(table);
        m.tables.write(slot, entry);
        entry
    });
    cx.store(slot.line()).await;
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.set_part(part);
    entry
}

impl Vmf {
    fn new(mm: MmId, vma: Vma, va: VirtAddr, error_code: ErrorCode, vma_locked: bool) -> Self {
        let (file, pgoff) = vma.file_page(va).unwrap_or((FileId::NONE, 0));
        Self {
            mm,
            vma,
            file,
            address: va,
            pgoff,
            write: error_code.is_write(),
            vma_locked,
            orig_pte: Entry::NONE,
            sync_pfn: None,
        }
    }
}
