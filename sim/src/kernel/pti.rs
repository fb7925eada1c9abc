//! Kernel page-table isolation: two sets of tables for an address space (spec 5.2, 5.4).
//!
//! With PCIDs each half has its own, so that switching keeps the TLB. One tag stands for both here, as only user addresses are
//! looked up: what a flush drops is dropped in both halves, and only its cost tells them apart.

use daxsim_types::Time;

use crate::machine::Machine;
use crate::measure::Part;

impl Machine {
    /// `SWITCH_TO_KERNEL_CR3` or `SWITCH_TO_USER_CR3` at the border of the kernel, if it is isolated. Without PCIDs the write of CR3
    /// empties the TLB.
    pub(crate) fn switch_cr3_half(&mut self, index: usize) {
        if !self.kernel.tree.pti {
            return;
        }
        let cpu = &mut self.cpus[index];
        let (root, pcid) = (cpu.cr3, cpu.pcid);
        let part = std::mem::replace(&mut cpu.part, Part::Entry);
        self.mov_cr3(index, root, pcid, true);
        self.cpus[index].part = part;
        self.flush_user_half(index);
    }

    /// The invalidations that `tlb_flush.in_context_user_flush` left for now, when the tables of the user half are loaded: of so many
    /// pages as one by one, of more by the write of CR3.
    fn flush_user_half(&mut self, index: usize) {
        let pages = std::mem::take(&mut self.cpus[index].user_pages_due);
        if pages <= u64::from(self.kernel.tree.flush_ceiling_pages) {
            let each = self.spec.cost.invlpg;
            self.cpus[index].spend_as(Part::Flush, Time(each.0 * pages));
        }
    }

    /// What `flush_tlb_one_user` adds to the INVLPG of a page: an INVPCID for the user half. Without PCIDs the way back to user
    /// mode drops it. A full flush adds nothing: it marks the user PCID, and the CR3 write of the way back, paid anyway, flushes it.
    /// Deferred, it is an INVLPG later.
    pub(super) fn invalidate_user_half(&mut self, index: usize, pages: u64) {
        if !(self.kernel.tree.pti && self.spec.mmu.pcid) {
            return;
        }
        let each = self.spec.cost.invpcid;
        let cpu = &mut self.cpus[index];
        if self.kernel.tlb_flush.in_context_user_flush {
            cpu.user_pages_due += pages;
        } else {
            cpu.spend(Time(each.0 * pages));
        }
    }
}
