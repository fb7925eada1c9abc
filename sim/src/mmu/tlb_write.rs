//! What software of some architectures can do to the translations of its own CPU: write one.

use daxsim_types::{AccessKind, PageSize, VirtAddr};

use super::entry::Entry;
use super::tlb::TlbEntry;
use crate::machine::Machine;
use crate::measure::Constant;

/// Where a written entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbLevels {
    /// The first level and the STLB, as after a walk.
    Both,
    /// The STLB alone.
    Second,
}

impl Machine {
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
        cpu.spend_constant(Constant::TlbWrite, cost);
        let guest = TlbEntry::of(va, size, cpu.pcid, entry, entry.is_writable(), user);
        let cached = self.on_host(va, guest);
        let cpu = &mut self.cpus[index];
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
