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
        let levels = match self.kernel.ask(|k| k.arch.update_mmu_cache) {
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
            self.flush_tlb_one_user(index, va);
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

#[cfg(test)]
mod tests {
    use daxsim_configs::Override;
    use daxsim_types::{CpuId, FileSystem};

    use super::*;
    use crate::engine::{Sys, Task, run};
    use crate::kernel::fault::fault_in;
    use crate::kernel::file::NewFile;
    use crate::kernel::vma::{Backing, Vma};

    const START: u64 = 0x1000_0000_0000;

    /// Faults a page of one address space in while a CPU runs it or another one; preloads and local invalidations.
    fn fault_in_for(policy: &str, foreign: bool) -> (u64, u64) {
        let policy = Override::parse(&format!("arch.update_mmu_cache={policy}")).unwrap();
        let spec = daxsim_configs::load_machine("qemu-tcg", &[]).unwrap();
        let kernel = daxsim_configs::load_kernel("linux-6.12", &[policy]).unwrap();
        let mut machine = Machine::new(spec, kernel, FileSystem::Ext4);
        let (own, other) = (machine.new_mm(), machine.new_mm());
        let file = machine.new_file(FileSystem::Ext4, 4096, &NewFile::Filled).unwrap();
        let mm = if foreign { other } else { own };
        let lock = machine.new_lock(crate::engine::LockClass::Vma);
        let vma = Vma {
            start: START,
            end: START + 4096,
            backing: Backing::Dax { file, pgoff: 0 },
            read: true,
            write: true,
            exec: false,
            grows_down: false,
            shared: true,
            sync: false,
            has_copies: false,
            no_huge: false,
            lock,
        };
        machine.insert_vma(mm, vma);
        machine.switch_mm(CpuId(0), own);
        let sys = Sys::new(machine);
        let cx = Cx::new(&sys, CpuId(0));
        let work = async move { assert!(fault_in(&cx, mm, VirtAddr(START), false).await) };
        run(&sys, vec![Task { cpu: CpuId(0), work: Box::pin(work) }]).unwrap();
        sys.with(|m| {
            assert_eq!(m.measure.update_mmu_cache_calls, 1);
            (m.measure.tlb_preloads, m.measure.local_invalidations)
        })
    }

    #[test]
    fn what_is_faulted_in_for_another_address_space_stays_out_of_the_tlb() {
        assert_eq!([false, true].map(|foreign| fault_in_for("preload", foreign)), [(1, 0), (0, 0)]);
        assert_eq!([false, true].map(|foreign| fault_in_for("preload-l2", foreign)), [(1, 0), (0, 0)]);
        assert_eq!([false, true].map(|foreign| fault_in_for("local-invalidate", foreign)), [(0, 1), (0, 0)]);
    }
}
