//! From the exception to the handlers: `arch/x86/mm/fault.c` and the dispatch of `mm/memory.c` (spec section 2).

use daxsim_configs::kernel::WpCallback;
use daxsim_types::{AccessKind, ErrorCode, FileSystem, PageSize, Pfn, VirtAddr, VmFault};

use super::access_flags::ptep_set_access_flags;
use super::anon::{clear_page, expand_stack};
use super::cow::wp_page_copy;
use super::file::FileId;
use super::fs::{Order, fs_fault};
use super::mm::MmId;
use super::mmu_hook::{update_mmu_cache, update_mmu_tlb};
use super::vma::{Backing, Vma};
use super::vmf::Vmf;
use super::zap::{zap_huge_pmd, zap_huge_pud};
use crate::engine::{Cx, LockMode};
use crate::measure::{Callback, Constant, FaultFlags, FaultKind, FaultRecord, HandlerCall, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;
use crate::observe::MicroOp;

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
    let from_user = enter_kernel(cx);
    cx.with(|m| m.trails[cx.cpu().index()].reset());
    let ret = do_user_addr_fault(cx, origin.mm, va, error_code).await;
    leave_kernel(cx, from_user);
    cx.with(|m| {
        let trail = &mut m.trails[cx.cpu().index()];
        let signal = match ret {
            None => Some(Signal::Sigsegv),
            Some(ret) if ret.contains(VmFault::SIGSEGV) => Some(Signal::Sigsegv),
            Some(ret) if ret.contains(VmFault::SIGBUS) => Some(Signal::Sigbus),
            // The exception table ends the kernel's access; a user access is tried again after pagefault_out_of_memory.
            Some(ret) if ret.contains(VmFault::OOM) && !error_code.is_user() => Some(Signal::Sigbus),
            Some(_) => None,
        };
        let kind = match signal {
            Some(Signal::Sigbus) => FaultKind::Sigbus,
            Some(Signal::Sigsegv) => FaultKind::Sigsegv,
            None if ret.is_some_and(|ret| ret.contains(VmFault::OOM)) => FaultKind::Oom,
            None => trail.kind(),
        };
        let counts = &mut m.measure.faults;
        counts.total += 1;
        counts.pmd_fallback += u64::from(trail.pmd_fallback);
        counts.sigbus += u64::from(kind == FaultKind::Sigbus);
        counts.sigsegv += u64::from(kind == FaultKind::Sigsegv);
        counts.oom += u64::from(ret.is_some_and(|r| r.contains(VmFault::OOM)));
        counts.major += u64::from(ret.is_some_and(|r| r.contains(VmFault::MAJOR)));
        if m.measure.keep_faults {
            let trail = std::mem::take(trail);
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
                refs_at_insert: trail.refs_at_insert,
                handlers: trail.handlers,
                ret: trail.ret,
                kind,
                path: trail.path,
            };
            m.measure.keep_fault(record);
        }
        FaultEnd { kind, signal }
    })
}

/// #GP for an address that is not canonical (`exc_general_protection`): SIGSEGV, or the end of the kernel's own copy. The mm core is
/// not asked.
pub(crate) fn general_protection(cx: &Cx<'_>) {
    let from_user = enter_kernel(cx);
    cx.with(|m| m.measure.general_protections += 1);
    leave_kernel(cx, from_user);
}

/// The entry; whether it switched from the tables of user mode.
fn enter_kernel(cx: &Cx<'_>) -> bool {
    cx.with(|m| {
        let (entry, path) = (m.spec.cost.exception_entry, m.kernel.ask(|k| k.path_length.common.entry));
        let index = cx.cpu().index();
        m.cpus[index].spend_constant_as(Part::Entry, Constant::ExceptionEntry, entry);
        let from_user = m.enter_kernel_half(index);
        let cpu = &mut m.cpus[index];
        cpu.part = Part::Entry;
        cpu.work(path);
        cpu.part = Part::Dispatch;
        from_user
    })
}

fn leave_kernel(cx: &Cx<'_>, to_user: bool) {
    cx.begins_op(MicroOp::Return);
    cx.with(|m| {
        let (iret, path) = (m.spec.cost.iret, m.kernel.ask(|k| k.path_length.common.exit));
        let index = cx.cpu().index();
        m.cpus[index].part = Part::Entry;
        m.cpus[index].work(path);
        if to_user {
            m.enter_user_half(index);
        }
        let cpu = &mut m.cpus[index];
        cpu.spend_constant(Constant::Iret, iret);
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
    cx.with(|m| m.measure.kernel.vma_lock_tries += 1);
    // vma_start_read: a writer that has not left mmap_lock yet would have its mm_lock_seq in the VMA.
    if let Some(line) = cx.with(|m| m.locks.owner_line(m.mm(mm).mmap_lock)) {
        cx.load(line).await;
    }
    if let Some(seen) = cx.with(|m| m.mm(mm).find_vma(va).copied())
        && cx.try_lock(seen.lock, LockMode::Shared).await
    {
        // lock_vma_under_rcu looks again once it has the lock: the VMA may be gone, or smaller.
        let locked = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|now| now.lock == seen.lock);
        let Some(vma) = locked else {
            unlock_vma(cx, &seen).await;
            return fault_under_mmap_lock(cx, mm, va, error_code).await;
        };
        if access_error(cx, &vma, error_code) {
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
    let vma = cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|vma| !access_error(cx, vma, error_code));
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

/// `access_error` (spec 2.2). A load that a present entry refuses is an error, unless the CPU leaves A to software.
fn access_error(cx: &Cx<'_>, vma: &Vma, error_code: ErrorCode) -> bool {
    if error_code.is_write() {
        return !vma.write;
    }
    let refused = error_code.is_protection() && cx.with(|m| m.cpu_has_hw_af());
    refused || !(vma.read || vma.write || vma.exec)
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
    let Some(pud_table) = ensure_table(cx, mm, va, 2).await else { return VmFault::OOM };
    let pud_slot = Slot::of(pud_table, va, 2);
    let pud = read_entry(cx, pud_slot).await;
    if pud.is_none() && !vmf.vma.no_huge {
        // fsdax maps no PUDs: the attempt costs its prologue and epilogue.
        let ret = call_handler(cx, vmf, Order::Pud, Callback::HugeFault, vmf.flags(false)).await;
        if ret != VmFault::FALLBACK {
            return ret;
        }
    } else if !pud.is_none() && pud.is_leaf_at(2) {
        if !vmf.write || pud.is_writable() {
            return huge_set_accessed(cx, vmf, pud_slot, pud, PageSize::Size1G).await;
        }
        cx.step(|p| p.wp_page);
        let ret = call_handler(cx, vmf, Order::Pud, Callback::HugeFault, vmf.flags(false)).await;
        if ret != VmFault::FALLBACK {
            return ret;
        }
        zap_huge_pud(cx, mm, &vmf.vma, va).await;
    }
    let Some(pmd_table) = ensure_table(cx, mm, va, 1).await else { return VmFault::OOM };
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
            // wp_huge_pmd asks the handler for shared mappings only; a private one is copied at the PTE level.
            if vmf.vma.shared {
                let ret = huge_attempt(cx, vmf).await;
                if ret != VmFault::FALLBACK {
                    return ret;
                }
            }
            zap_huge_pmd(cx, mm, &vmf.vma, va).await;
        } else {
            return huge_set_accessed(cx, vmf, slot, pmd, PageSize::Size2M).await;
        }
    }
    handle_pte_fault(cx, vmf).await
}

async fn huge_attempt(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    if vmf.vma.no_huge {
        return VmFault::FALLBACK;
    }
    let ret = call_handler(cx, vmf, Order::Pmd, Callback::HugeFault, vmf.flags(false)).await;
    if ret == VmFault::FALLBACK {
        cx.trail(|t| t.pmd_fallback = true);
    }
    ret
}

/// `huge_pmd_set_accessed` and `huge_pud_set_accessed`: the entry already allows the access.
pub(super) async fn huge_set_accessed(
    cx: &Cx<'_>,
    vmf: &Vmf,
    slot: Slot,
    seen: Entry,
    size: PageSize,
) -> VmFault {
    let pmd = size == PageSize::Size2M;
    cx.note(PathStep::Event(if pmd { "huge_pmd_set_accessed" } else { "huge_pud_set_accessed" }));
    let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.step(|p| p.spurious);
    let current = cx.with(|m| m.tables.read(slot));
    let wanted = if current == seen { wanted_flags(vmf, current) } else { current };
    let changed = ptep_set_access_flags(cx, vmf, slot, size, current, wanted).await;
    // Until something is stored, the entry after is the entry before.
    cx.trail(|t| (t.old, t.new) = (Some(current), Some(if changed { wanted } else { current })));
    if changed {
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, size);
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    let kind = cx.with(|m| m.flags_fault_kind(changed));
    cx.trail(|t| t.kind = Some(kind));
    VmFault::default()
}

/// The entry that a fault wants which finds its access allowed.
fn wanted_flags(vmf: &Vmf, entry: Entry) -> Entry {
    if vmf.write { entry.mkdirty().mkyoung() } else { entry.mkyoung() }
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
        update_mmu_tlb(cx, mm, va, slot);
        cx.unlock(ptl, LockMode::Exclusive).await;
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        return VmFault::default();
    }
    if vmf.write && !current.is_writable() {
        cx.unlock(ptl, LockMode::Exclusive).await;
        return do_wp_page(cx, vmf, slot).await;
    }
    cx.step(|p| p.spurious);
    let wanted = wanted_flags(vmf, current);
    let changed = ptep_set_access_flags(cx, vmf, slot, PageSize::Size4K, current, wanted).await;
    let kind = cx.with(|m| m.flags_fault_kind(changed));
    cx.trail(|t| {
        (t.old, t.new) = (Some(current), Some(wanted));
        t.kind = Some(kind);
    });
    if changed {
        update_mmu_cache(cx, mm, va, slot, PageSize::Size4K);
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
        let scan = cx.with(|m| m.kernel.ask(|k| k.path_length.of(fs).fault_around));
        cx.work(scan);
    }
    if let Err(retry) = can_call_fault(cx, vmf).await {
        return retry;
    }
    if !has_table {
        // The insert helper does not know of this page and allocates its own (spec 2.6).
        let Some(table) = allocate_table(cx).await else { return VmFault::OOM };
        vmf.prealloc = Some(table);
    }
    let ret = call_handler(cx, vmf, Order::Pte, Callback::Fault, vmf.flags(has_table)).await;
    if let Some(table) = vmf.prealloc.take() {
        let part = cx.set_part(Part::Insert);
        cx.step(|p| p.table_free);
        cx.with(|m| m.free_table(table));
        cx.set_part(part);
    }
    ret
}

/// Calls a handler of the fault's file.
async fn call_handler(
    cx: &Cx<'_>,
    vmf: &mut Vmf,
    order: Order,
    callback: Callback,
    flags: FaultFlags,
) -> VmFault {
    let ret = fs_fault(cx, vmf, order).await;
    if cx.with(|m| m.measure.keep_faults) {
        cx.trail(|t| t.handlers.push(HandlerCall { callback, size: order.size(), flags, ret }));
    }
    ret
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
        let counted = m.kernel.ask(|k| k.dax.refcount_per_map > 0);
        (m.file(vmf.file).fs, m.kernel.ask(|k| k.dax.wp_callback_fsdax), counted)
    });
    let ret = if fs == FileSystem::Devdax {
        wp_page_reuse(cx, vmf, slot).await
    } else {
        // wp_page_shared holds a reference of its own on the page, also in the pass that is refused. It costs what it costs, but
        // is not counted: who breaks layouts would find the page busy by a fault that waits for the lock of just that call.
        let held = counted && callback == WpCallback::PageMkwrite;
        let line = cx.with(|m| m.pages.line(vmf.orig_pte.pfn()));
        if held {
            cx.step(|p| p.temp_ref);
            cx.rmw_struct_page(line).await;
        }
        let ret = match can_call_fault(cx, vmf).await {
            Ok(()) => call_mkwrite(cx, vmf, callback).await,
            Err(retry) => retry,
        };
        if held {
            cx.rmw_struct_page(line).await;
        }
        ret
    };
    cx.note(PathStep::Returned("do_wp_page", ret));
    ret
}

/// `do_page_mkwrite`, whose flags replace those of the fault, or `pfn_mkwrite`.
async fn call_mkwrite(cx: &Cx<'_>, vmf: &mut Vmf, callback: WpCallback) -> VmFault {
    let (callback, flags) = match callback {
        WpCallback::PageMkwrite => (Callback::PageMkwrite, FaultFlags::WRITE | FaultFlags::MKWRITE),
        WpCallback::PfnMkwrite => (Callback::PfnMkwrite, vmf.flags(true) | FaultFlags::MKWRITE),
    };
    call_handler(cx, vmf, Order::Pte, callback, flags).await
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
        let vma =
            cx.with(|m| m.mm(mm).find_vma(va).copied()).filter(|vma| !access_error(cx, vma, error_code));
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
    let old = cx.with(|m| m.tables.read(slot));
    let new = old.mkyoung().mkdirty().mkwrite();
    let wanted = if old == vmf.orig_pte { new } else { old };
    let changed = ptep_set_access_flags(cx, vmf, slot, PageSize::Size4K, old, wanted).await;
    if changed {
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
    }
    cx.trail(|t| {
        (t.old, t.new) = (Some(old), Some(new));
        t.kind = Some(if changed { FaultKind::Mkwrite } else { FaultKind::Spurious });
    });
    cx.unlock(ptl, LockMode::Exclusive).await;
    VmFault::default()
}

/// The kernel's read of a page-table entry.
#[track_caller]
pub(crate) fn read_entry<'s>(cx: &Cx<'s>, slot: Slot) -> impl Future<Output = Entry> + use<'s> {
    cx.load(slot.line()).and(move |m| m.tables.read(slot))
}

/// The table of `level` for an address, allocated with those above it if need be (`__pmd_alloc` and so on). `None` if there
/// is no memory for it.
pub(crate) async fn ensure_table(cx: &Cx<'_>, mm: MmId, va: VirtAddr, level: u32) -> Option<Pfn> {
    let (mut table, top) = cx.with(|m| (m.mm(mm).pgd, m.tables.top()));
    for at in ((level + 1)..=top).rev() {
        let slot = Slot::of(table, va, at);
        let mut entry = read_entry(cx, slot).await;
        if !entry.is_present() {
            entry = install_table(cx, mm, slot).await?;
        }
        table = entry.pfn();
    }
    Some(table)
}

/// Allocates a table and installs it.
async fn install_table(cx: &Cx<'_>, mm: MmId, slot: Slot) -> Option<Entry> {
    let table = allocate_table(cx).await?;
    Some(install(cx, mm, slot, table).await)
}

/// A zeroed page table (`pte_alloc_one` and its like), if there is memory for it.
pub(super) async fn allocate_table(cx: &Cx<'_>) -> Option<Pfn> {
    if cx.with(|m| m.injections.fails_table()) {
        return None;
    }
    let part = cx.set_part(Part::Insert);
    cx.step(|p| p.table_alloc);
    let table = cx.with(crate::Machine::new_table);
    clear_page(cx, table).await;
    cx.set_part(part);
    Some(table)
}

/// Installs a table under the lock of the level; frees it if another CPU was faster. Returns the entry that is there now.
pub(super) async fn install(cx: &Cx<'_>, mm: MmId, slot: Slot, table: Pfn) -> Entry {
    let part = cx.set_part(Part::Insert);
    let lock = cx.with(|m| m.mm(mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let entry = cx.with(|m| {
        let current = m.tables.read(slot);
        if current.is_present() {
            m.free_table(table);
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
            user: error_code.is_user(),
            vma_locked,
            orig_pte: Entry::NONE,
            prealloc: None,
            sync_pfn: None,
        }
    }
}
