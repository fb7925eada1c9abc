//! Kernel page-table isolation: two sets of tables for an address space (spec 5.2, 5.4).
//!
//! With PCIDs each half has its own, so that switching keeps the TLB: what user mode cached is found by user mode alone, and the
//! kernel's copies to and from user memory have entries of their own. A flush drops both: a page by INVLPG and INVPCID, an
//! address space by marking the PCID of the user half, which the way back to user mode then flushes. The two roots are one here:
//! Linux keeps the entries of user addresses in both.

use daxsim_types::VirtAddr;

use super::tlbstate::DYNAMIC_ASIDS;
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::invalidate::Invpcid;

/// `X86_CR3_PTI_PCID_USER_BIT` of a PCID.
const USER: u16 = 1 << 11;

/// `kern_pcid`: 0 is for address spaces without a PCID.
pub(super) const fn kern_pcid(asid: usize) -> u16 {
    asid as u16 + 1
}

/// `user_pcid`, of the half of the page tables that user mode has.
pub(super) const fn user_pcid(asid: usize) -> u16 {
    kern_pcid(asid) | USER
}

impl Machine {
    /// `SWITCH_TO_KERNEL_CR3` where the kernel is entered. False if nothing was to switch: no isolation, or in the kernel already.
    pub(crate) fn enter_kernel_half(&mut self, index: usize) -> bool {
        let state = &mut self.cpus[index].tlb_state;
        if !std::mem::take(&mut state.user_half) {
            return false;
        }
        let asid = state.asid;
        self.switch_half(index, kern_pcid(asid), false);
        true
    }

    /// `SWITCH_TO_USER_CR3` on the way back to user mode, which does the flush that the half is marked for. Without PCIDs the
    /// write of CR3 empties the TLB anyway.
    pub(crate) fn enter_user_half(&mut self, index: usize) {
        let state = &mut self.cpus[index].tlb_state;
        if !self.kernel.ask(|k| k.tree.pti) || std::mem::replace(&mut state.user_half, true) {
            return;
        }
        let asid = state.asid;
        let flush = state.user_flushes.take(asid);
        self.switch_half(index, user_pcid(asid), flush);
        let due = std::mem::take(&mut self.cpus[index].user_pages_due);
        if !flush {
            let part = std::mem::replace(&mut self.cpus[index].part, Part::Flush);
            due.into_iter().for_each(|va| self.invlpg(index, va));
            self.cpus[index].part = part;
        }
    }

    fn switch_half(&mut self, index: usize, pcid: u16, flush: bool) {
        let cpu = &mut self.cpus[index];
        let root = cpu.cr3;
        let part = std::mem::replace(&mut cpu.part, Part::Entry);
        self.mov_cr3(index, root, pcid, !flush);
        self.cpus[index].part = part;
    }

    /// `flush_tlb_one_user`: a page in both halves. Without PCIDs the way back to user mode drops it there.
    pub(super) fn flush_tlb_one_user(&mut self, index: usize, va: VirtAddr) {
        self.invlpg(index, va);
        if !self.has_user_pcids() {
            return;
        }
        let asid = self.cpus[index].tlb_state.asid;
        if self.kernel.ask(|k| k.tlb_flush.in_context_user_flush) {
            self.invalidate_in_context(index, va, asid);
        } else {
            self.invpcid(index, Invpcid::Address(user_pcid(asid), va));
        }
    }

    /// `tlb_flush.in_context_user_flush`: the page goes by INVLPG when the user half is loaded; of more pages than are flushed one
    /// by one, everything goes then.
    fn invalidate_in_context(&mut self, index: usize, va: VirtAddr, asid: usize) {
        let due = self.cpus[index].user_pages_due.len();
        let has_room = self.kernel.ask(|k| due < k.tree.flush_ceiling_pages as usize);
        let due = &mut self.cpus[index].user_pages_due;
        if has_room {
            due.push(va);
        } else {
            due.clear();
            self.invalidate_user_asid(index, asid);
        }
    }

    /// Other tables are about to be loaded: the user half of those that are is flushed as a whole when it comes back.
    pub(super) fn forget_due_pages(&mut self, index: usize) {
        let cpu = &mut self.cpus[index];
        if !cpu.user_pages_due.is_empty() {
            cpu.user_pages_due.clear();
            let asid = cpu.tlb_state.asid;
            self.invalidate_user_asid(index, asid);
        }
    }

    /// `invalidate_user_asid`: the user half of an ASID is to be flushed on the way back to user mode.
    pub(super) fn invalidate_user_asid(&mut self, index: usize, asid: usize) {
        if self.has_user_pcids() {
            self.cpus[index].tlb_state.user_flushes.mark(asid);
        }
    }

    /// The ASID that a PCID belongs to, and whether it is that of the user half; `None` for PCID 0 of a machine that has them.
    pub(crate) fn asid_of(&self, pcid: u16) -> Option<(usize, bool)> {
        if !self.spec.mmu.pcid {
            return Some((0, false));
        }
        let user = self.has_user_pcids() && pcid & USER != 0;
        let kernel = if user { pcid & !USER } else { pcid };
        Some((usize::from(kernel).checked_sub(1)?, user))
    }

    /// Drops a page from whatever half of the loaded address space has it, in no time: what a trace implies but does not show.
    pub(crate) fn forget_page(&mut self, index: usize, va: VirtAddr) {
        let halves = self.has_user_pcids();
        let cpu = &mut self.cpus[index];
        cpu.tlbs.drop_page(va, cpu.pcid);
        if halves {
            let asid = cpu.tlb_state.asid;
            for pcid in [kern_pcid(asid), user_pcid(asid)] {
                cpu.tlbs.drop_page(va, pcid);
            }
        }
    }

    fn has_user_pcids(&self) -> bool {
        self.spec.mmu.pcid && self.kernel.ask(|k| k.tree.pti)
    }
}

/// The user halves of dynamic ASIDs that are to be flushed: `user_pcid_flush_mask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFlushes(u8);

impl UserFlushes {
    const fn bit(asid: usize) -> u8 {
        // What all CPUs share is flushed by INVLPGB.
        if asid < DYNAMIC_ASIDS { 1 << asid } else { 0 }
    }

    /// Marks an ASID.
    pub const fn mark(&mut self, asid: usize) {
        self.0 |= Self::bit(asid);
    }

    /// Takes the mark away; whether there was one.
    pub const fn take(&mut self, asid: usize) -> bool {
        let marked = self.has(asid);
        self.0 &= !Self::bit(asid);
        marked
    }

    /// Whether an ASID is marked.
    #[must_use]
    pub const fn has(&self, asid: usize) -> bool {
        self.0 & Self::bit(asid) != 0
    }
}
