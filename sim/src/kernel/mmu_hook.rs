//! `update_mmu_cache` and `update_mmu_tlb`: what an architecture does to the TLB of the executing CPU when a fault has changed
//! an entry, or found it changed (spec 6.1). Which places call them belongs to the variant, what they do to `[arch]`.

use daxsim_configs::kernel::MmuHook;
use daxsim_types::{PageSize, VirtAddr};

use super::mm::MmId;
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::TlbLevels;
use crate::mmu::table::Slot;

/// `update_mmu_cache_range` for one page, `update_mmu_cache_pmd`: `slot` maps the page of `size` around `va` and was just
/// written. The caller still holds the lock of the table, so that no flush can have missed what a preload puts into the TLB.
pub(crate) fn update_mmu_cache(cx: &Cx<'_>, mm: MmId, va: VirtAddr, slot: Slot, size: PageSize) {
    cx.with(|m| {
        m.measure.update_mmu_cache_calls += 1;
        m.run_mmu_hook(cx.cpu().index(), mm, va, slot, size);
    });
}

/// `update_mmu_tlb`: another CPU has changed the entry before the lock was had. Architectures that do something in
/// `update_mmu_cache` do the same here.
pub(crate) fn update_mmu_tlb(cx: &Cx<'_>, mm: MmId, va: VirtAddr, slot: Slot) {
    cx.with(|m| m.run_mmu_hook(cx.cpu().index(), mm, va, slot, PageSize::Size4K));
}

impl Machine {
    fn run_mmu_hook(&mut self, index: usize, mm: MmId, va: VirtAddr, slot: Slot, size: PageSize) {
        let levels = match self.kernel.arch.update_mmu_cache {
            MmuHook::Noop => return,
            MmuHook::LocalInvalidate => return self.local_flush_tlb_page(index, mm, va),
            MmuHook::Preload => TlbLevels::Both,
            MmuHook::PreloadL2 => TlbLevels::Second,
        };
        if self.runs_mm(index, mm) {
            let entry = self.tables.read(slot);
            let written = self.write_tlb(index, va, entry, size, levels);
            self.measure.tlb_preloads += u64::from(written);
        }
    }

    /// `local_flush_tlb_page`: INVLPG here, nothing elsewhere. Of an address space that is not loaded nothing can be used.
    pub(crate) fn local_flush_tlb_page(&mut self, index: usize, mm: MmId, va: VirtAddr) {
        if self.runs_mm(index, mm) {
            let before = std::mem::replace(&mut self.cpus[index].part, Part::Flush);
            self.invlpg(index, va);
            self.cpus[index].part = before;
            self.measure.local_invalidations += 1;
        }
    }

    /// Whether what is cached under the CPU's current PCID is of `mm`. False where the kernel works on an address space for
    /// another process.
    fn runs_mm(&self, index: usize, mm: MmId) -> bool {
        let state = &self.cpus[index].tlb_state;
        state.loaded_mm == Some(mm) && !state.lazy
    }
}
