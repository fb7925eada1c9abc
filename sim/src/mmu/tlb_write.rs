//! What software can do to the translations of its own CPU: drop those of a page, and on some architectures write one.

use daxsim_types::{AccessKind, PageSize, VirtAddr};

use super::entry::Entry;
use super::tlb::TlbEntry;
use crate::machine::Machine;

/// Where a written entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbLevels {
    /// The first level and the STLB, as after a walk.
    Both,
    /// The STLB alone.
    Second,
}

impl Machine {
    /// One INVLPG: the entries of the page under the current PCID go, and all of its paging-structure entries (SDM 4.10.4.1).
    pub(crate) fn invlpg(&mut self, index: usize, va: VirtAddr) {
        let cost = self.spec.cost.invlpg;
        let cpu = &mut self.cpus[index];
        cpu.spend(cost);
        cpu.tlbs.drop_page(va, cpu.pcid);
        cpu.psc.invlpg(cpu.pcid);
    }

    /// Writes the translation of the leaf `entry` into the CPU's TLBs, in place of what they have of the page (the probe and
    /// indexed write of MIPS). False, at no cost, if a walk might not cache it as it is: not present, not for user mode, or
    /// without A, which the first access has to set or to fault for.
    ///
    /// RW and US are those of the leaf, since Linux sets both in every entry above a user page.
    pub(crate) fn write_tlb(
        &mut self,
        index: usize,
        va: VirtAddr,
        entry: Entry,
        size: PageSize,
        levels: TlbLevels,
    ) -> bool {
        let user = entry.0 & Entry::US != 0;
        if !entry.is_present() || !user || !entry.accessed() {
            return false;
        }
        let cost = self.spec.cost.tlb_write;
        let cpu = &mut self.cpus[index];
        let cached = TlbEntry::of(va, size, cpu.pcid, entry, entry.is_writable(), user);
        cpu.spend(cost);
        cpu.tlbs.drop_page(va, cpu.pcid);
        match levels {
            TlbLevels::Both => {
                cpu.tlbs.fill(va, cached, AccessKind::Read, None);
                true
            }
            TlbLevels::Second => cpu.tlbs.fill_second(cached),
        }
    }
}
