//! Private copies of DAX pages: `wp_page_copy`, `dax_fault_cow_page` and `finish_fault` (spec 2.7, 4.5).

use daxsim_types::{CacheLine, LINE_BYTES, PageSize, Pfn, VmFault};

use super::fault::ensure_table;
use super::flush::flush_tlb_mm_range;
use super::vma::{Backing, Vma};
use super::vmf::Vmf;
use super::zap::uncount;
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::{FaultKind, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// Allocates an anonymous page and fills it: from a frame of the device, or with zeroes.
pub(crate) async fn copy_page(cx: &Cx<'_>, source: Option<Pfn>) -> Pfn {
    let before = cx.set_part(Part::Insert);
    let frame = cx.with(Machine::new_user_frame);
    for line in 0..PageSize::Size4K.bytes() / LINE_BYTES {
        if let Some(source) = source {
            cx.load(CacheLine(source.addr().line().0 + line)).await;
        }
        cx.store(CacheLine(frame.addr().line().0 + line)).await;
    }
    cx.set_part(before);
    frame
}

/// The entry of a fresh private copy: writable, young, dirty.
fn copy_entry(vmf: &Vmf, frame: Pfn) -> Entry {
    let entry = Entry::leaf(frame, vmf.vma.page_prot(true)).mkyoung().mkdirty();
    if vmf.vma.write { entry.mkwrite() } else { entry }
}

/// `finish_fault` for a copy made by the DAX handler: maps it unless another fault was faster.
pub(crate) async fn finish_fault(cx: &Cx<'_>, vmf: &Vmf, frame: Pfn) {
    let before = cx.set_part(Part::Insert);
    let table = ensure_table(cx, vmf.mm, vmf.address, 0).await;
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
            cx.with(|m| m.note_copy(vmf));
            cx.trail(|t| t.kind = Some(FaultKind::Cow));
        }
        cx.unlock(ptl, LockMode::Exclusive).await;
    }
    cx.note(PathStep::Returned("finish_fault", VmFault::default()));
    cx.set_part(before);
}

/// `wp_page_copy`: copies, then clears the old entry and flushes it everywhere before the new one is seen.
pub(crate) async fn wp_page_copy(cx: &Cx<'_>, vmf: &Vmf, slot: Slot) -> VmFault {
    let old_frame = vmf.orig_pte.pfn();
    let zero = cx.with(|m| old_frame == m.globals.zero_page);
    let device = cx.with(|m| m.is_device_frame(old_frame));
    let source = (!zero).then_some(old_frame);
    let frame = copy_page(cx, source).await;
    let before = cx.set_part(Part::Insert);
    let Some(ptl) = cx.with(|m| m.tables.lock(slot.table)) else { return VmFault::default() };
    cx.lock(ptl, LockMode::Exclusive).await;
    let unchanged = cx.with(|m| m.tables.read(slot)) == vmf.orig_pte;
    if unchanged {
        cx.rmw(slot.line()).await;
        cx.with(|m| m.tables.write(slot, Entry::NONE));
        let page = vmf.address.align_down(PageSize::Size4K).0;
        flush_tlb_mm_range(cx, vmf.mm, (page, page + PageSize::Size4K.bytes()), 12, false).await;
        cx.note(PathStep::Event("ptep_clear_flush"));
        cx.store(slot.line()).await;
        cx.with(|m| {
            m.tables.write(slot, copy_entry(vmf, frame));
            m.measure.update_mmu_cache_calls += 1;
        });
        cx.with(|m| {
            m.note_copy(vmf);
            m.free_private_copy(&vmf.vma, vmf.orig_pte);
        });
        if device && cx.with(|m| m.kernel.dax.refcount_per_map > 0) {
            uncount(cx, vmf.mm, vmf.orig_pte, PageSize::Size4K).await;
        }
        cx.trail(|t| t.kind = Some(FaultKind::Cow));
    } else {
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
        !vma.shared && entry.is_present() && !zero && !of_file
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
