//! Private copies of DAX pages: `wp_page_copy`, `dax_fault_cow_page` and `finish_fault` (spec 2.7, 4.5).

use daxsim_configs::kernel::{CommonPath, PathLength};
use daxsim_types::{AccessKind, CacheLine, LINE_BYTES, PageSize, Pfn, VirtAddr, VmFault};

use super::anon::clear_page;
use super::fault::{ensure_table, install};
use super::flush::{Purpose, flush_tlb_for};
use super::mmu_hook::{update_mmu_cache, update_mmu_tlb};
use super::vma::{Backing, Vma};
use super::vmf::Vmf;
use super::zap::{is_counted, uncount};
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::{FaultKind, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// Allocates an anonymous page.
pub(crate) fn allocate_page(cx: &Cx<'_>) -> Pfn {
    let before = cx.set_part(Part::Insert);
    cx.step(|p| p.anon_page);
    cx.set_part(before);
    cx.with(Machine::new_user_frame)
}

/// Fills a page: from another frame by the string operation `copy`, or with zeroes.
pub(crate) async fn copy_page(
    cx: &Cx<'_>,
    source: Option<Pfn>,
    frame: Pfn,
    copy: impl Fn(&CommonPath) -> PathLength,
) {
    let before = cx.set_part(Part::Insert);
    if let Some(source) = source {
        let mut op = cx.string_step(copy);
        for line in 0..PageSize::Size4K.bytes() / LINE_BYTES {
            op.load(CacheLine(source.addr().line().0 + line)).await;
            op.store(CacheLine(frame.addr().line().0 + line)).await;
        }
        op.finish();
    } else {
        clear_page(cx, frame).await;
    }
    cx.set_part(before);
}

/// `__wp_page_copy_user` where the source has no page of its own: reads it through the user's address, as the program would.
/// False if the address is not mapped any more.
async fn copy_through_user_address(cx: &Cx<'_>, va: VirtAddr, frame: Pfn) -> bool {
    let before = cx.set_part(Part::Insert);
    let index = cx.cpu().index();
    let mut op = cx.string_step(|p| p.copy_user_page);
    let page = va.align_down(PageSize::Size4K);
    for line in 0..PageSize::Size4K.bytes() / LINE_BYTES {
        cx.sync().await;
        let at = VirtAddr(page.0 + line * LINE_BYTES);
        let Ok(physical) = cx.with(|m| m.translate(index, at, AccessKind::Read, false)) else {
            op.finish();
            cx.set_part(before);
            return false;
        };
        op.load(physical.line()).await;
        op.store(CacheLine(frame.addr().line().0 + line)).await;
    }
    op.finish();
    cx.set_part(before);
    true
}

/// The entry of a fresh private copy: writable, young, dirty.
fn copy_entry(vmf: &Vmf, frame: Pfn) -> Entry {
    let entry = Entry::leaf(frame, vmf.vma.page_prot(true, true)).mkyoung().mkdirty();
    if vmf.vma.write { entry.mkwrite() } else { entry }
}

/// `finish_fault` for a copy made by the DAX handler: maps it unless another fault was faster.
pub(crate) async fn finish_fault(cx: &Cx<'_>, vmf: &mut Vmf, frame: Pfn) -> VmFault {
    let before = cx.set_part(Part::Insert);
    cx.step(|p| p.finish_fault);
    if let Some(prealloc) = vmf.prealloc.take()
        && let Some(pmd_table) = ensure_table(cx, vmf.mm, vmf.address, 1).await
    {
        install(cx, vmf.mm, Slot::of(pmd_table, vmf.address, 1), prealloc).await;
    }
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 0).await else {
        cx.with(|m| m.release_user_frame(frame));
        cx.note(PathStep::Returned("finish_fault", VmFault::OOM));
        cx.set_part(before);
        return VmFault::OOM;
    };
    let slot = Slot::of(table, vmf.address, 0);
    if let Some(ptl) = cx.with(|m| m.tables.lock(table)) {
        cx.lock(ptl, LockMode::Exclusive).await;
        let entry = copy_entry(vmf, frame);
        let mapped = cx.with(|m| {
            let free = m.tables.read(slot).is_none();
            if free {
                m.tables.write(slot, entry);
            } else {
                m.release_user_frame(frame);
            }
            free
        });
        if mapped {
            cx.store(slot.line()).await;
            cx.with(|m| {
                m.note_copy(vmf);
                m.mm_mut(vmf.mm).rss_anon += 1;
            });
            cx.trail(|t| t.kind = Some(FaultKind::Cow));
            update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
        } else {
            update_mmu_tlb(cx, vmf.mm, vmf.address, slot);
        }
        cx.unlock(ptl, LockMode::Exclusive).await;
    }
    cx.note(PathStep::Returned("finish_fault", VmFault::default()));
    cx.set_part(before);
    VmFault::default()
}

/// A locked operation of the kernel on the user address, which changes nothing: it brings the new translation into the TLB.
async fn write_through(cx: &Cx<'_>, vmf: &Vmf) {
    cx.sync().await;
    let writable = vmf.vma.write;
    let kind = if writable { AccessKind::Write } else { AccessKind::Read };
    if let Ok(physical) = cx.with(|m| m.translate(cx.cpu().index(), vmf.address, kind, false)) {
        cx.rmw(physical.line()).await;
    }
}

/// `wp_page_copy`: copies, then clears the old entry and flushes it everywhere before the new one is seen.
pub(crate) async fn wp_page_copy(cx: &Cx<'_>, vmf: &Vmf, slot: Slot) -> VmFault {
    let old_frame = vmf.orig_pte.pfn();
    let zero = cx.with(|m| old_frame == m.globals.zero_page);
    let (device, counted) =
        cx.with(|m| (m.is_device_frame(old_frame), m.kernel.ask(|k| k.dax.refcount_per_map > 0)));
    let frame = allocate_page(cx);
    let copied = if device && !counted {
        // vm_normal_page finds none.
        copy_through_user_address(cx, vmf.address, frame).await
    } else {
        // copy_mc_user_highpage copies byte by byte, too, where the source may be bad.
        let source = (!zero).then_some(old_frame);
        copy_page(cx, source, frame, |p| if device { p.copy_user_page } else { p.copy_page }).await;
        true
    };
    if !copied {
        cx.with(|m| m.release_user_frame(frame));
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        return VmFault::default();
    }
    let before = cx.set_part(Part::Insert);
    cx.step(|p| p.wp_page_copy);
    let Some(ptl) = cx.with(|m| m.tables.lock(slot.table)) else { return VmFault::default() };
    cx.lock(ptl, LockMode::Exclusive).await;
    let unchanged = cx.with(|m| m.tables.read(slot)) == vmf.orig_pte;
    if unchanged {
        cx.rmw(slot.line()).await;
        cx.with(|m| m.tables.write(slot, Entry::NONE));
        let page = vmf.address.align_down(PageSize::Size4K).0;
        let spared = cx.with(|m| m.measure.shootdowns.spared_flushes);
        let range = (page, page + PageSize::Size4K.bytes());
        flush_tlb_for(cx, vmf.mm, range, (12, false), Purpose::Copy).await;
        let spared = cx.with(|m| m.measure.shootdowns.spared_flushes) > spared;
        cx.note(PathStep::Event("ptep_clear_flush"));
        cx.store(slot.line()).await;
        cx.with(|m| m.tables.write(slot, copy_entry(vmf, frame)));
        if spared {
            write_through(cx, vmf).await;
        }
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
        cx.with(|m| {
            m.note_copy(vmf);
            m.mm_mut(vmf.mm).rss_anon += i64::from(!m.is_private_copy(&vmf.vma, vmf.orig_pte));
            m.free_private_copy(&vmf.vma, vmf.orig_pte);
        });
        if is_counted(cx, &vmf.vma, vmf.orig_pte) {
            cx.step(|p| p.zap_counted);
            uncount(cx, vmf.mm, vmf.orig_pte, PageSize::Size4K).await;
        }
        cx.trail(|t| t.kind = Some(FaultKind::Cow));
    } else {
        update_mmu_tlb(cx, vmf.mm, vmf.address, slot);
        cx.with(|m| m.release_user_frame(frame));
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
    }
    cx.unlock(ptl, LockMode::Exclusive).await;
    cx.set_part(before);
    VmFault::default()
}

impl Machine {
    /// Whether a frame lies on the persistent-memory device.
    pub(crate) fn is_device_frame(&self, pfn: Pfn) -> bool {
        let first = self.spec.pmem.base >> 12;
        (first..first + (self.spec.pmem.capacity >> 12)).contains(&pfn.0)
    }

    /// Whether an entry of a private mapping maps an anonymous page: neither a frame of its file nor a zero page.
    pub(crate) fn is_private_copy(&self, vma: &Vma, entry: Entry) -> bool {
        let pfn = entry.pfn();
        let zero = pfn == self.globals.zero_page || pfn == self.globals.huge_zero_page;
        let of_file = match vma.backing {
            Backing::Dax { .. } => self.is_device_frame(pfn),
            Backing::Cached { .. } => self.is_cache_frame(pfn),
            Backing::Anonymous => false,
        };
        !vma.shared && entry.is_mapped() && !zero && !of_file
    }

    /// The VMA of a fault now holds a private copy.
    pub(crate) fn note_copy(&mut self, vmf: &Vmf) {
        if let Some(vma) = self.mm_mut(vmf.mm).vmas.get_mut(&vmf.vma.start) {
            vma.has_copies = true;
        }
    }

    /// Gives the frame of a zapped private copy back.
    pub(crate) fn free_private_copy(&mut self, vma: &Vma, entry: Entry) {
        if self.is_private_copy(vma, entry) {
            self.release_user_frame(entry.pfn());
        }
    }
}
