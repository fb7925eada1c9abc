//! TLBs hold no more than the page tables say.
//!
//! Less is fine: an entry that was made writable, young or dirty may still be cached as it was, and costs a walk or a spurious
//! fault. More is not, except where the CPU has missed flushes of an address space that it does not run: it catches up when it
//! loads that again.

use daxsim_types::{CpuId, Pfn, VirtAddr};

use super::{Inconsistency, Leaf};
use crate::kernel::MmId;
use crate::machine::Machine;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;
use crate::mmu::tlb::TlbEntry;

impl Machine {
    pub(super) fn check_tlbs(&self) -> Result<(), Inconsistency> {
        for cpu in (0..self.cpus.len()).map(|index| CpuId(index as u16)) {
            self.check_generation(cpu)?;
            let tlbs = &self.cpus[cpu.index()].tlbs;
            tlbs.check_balance().map_err(|cause| Inconsistency::TlbCounts { cpu, cause })?;
            self.cpus[cpu.index()]
                .check_walk_caches()
                .map_err(|cause| Inconsistency::TlbCounts { cpu, cause })?;
            for cached in tlbs.entries().flat_map(|entry| entry.each()) {
                let Some(mm) = self.owner_of(cpu, cached.pcid) else { continue };
                let leaf = self.leaf_of(mm, VirtAddr(cached.page << cached.size.shift()));
                if !self.agrees(&cached, &leaf) {
                    return Err(Inconsistency::StaleTlb { cpu, cached, leaf });
                }
            }
        }
        Ok(())
    }

    /// Every entry that a walk read is counted at its level.
    pub(crate) fn check_walks(&self) -> Result<(), Inconsistency> {
        let counts = &self.measure.walk_counts;
        let (found, expected) =
            (counts.references(), self.measure.walk_references + counts.speculative_references);
        if found == expected { Ok(()) } else { Err(Inconsistency::WalkReferences { found, expected }) }
    }

    /// A CPU that runs an address space was in every shootdown of it.
    fn check_generation(&self, cpu: CpuId) -> Result<(), Inconsistency> {
        let state = &self.cpus[cpu.index()].tlb_state;
        let Some(mm) = state.loaded_mm.filter(|_| !state.lazy) else { return Ok(()) };
        let (found, expected) = (state.generation(), self.mm(mm).tlb_gen);
        // It sweeps at its next tick.
        if found < expected && !self.lazy.is_waited_for(cpu, mm) {
            Err(Inconsistency::Behind { cpu, mm, found, expected })
        } else {
            Ok(())
        }
    }

    /// The address space that a PCID of a CPU stands for, if the CPU has seen all of its flushes. Where it has not, what is
    /// cached goes before it is used.
    fn owner_of(&self, cpu: CpuId, pcid: u16) -> Option<MmId> {
        let state = &self.cpus[cpu.index()].tlb_state;
        // Without PCIDs all is cached under 0, which is the one slot in use.
        let (asid, user) = self.asid_of(pcid)?;
        if user && state.user_flushes.has(asid) {
            return None;
        }
        let Some(slot) = state.slots.get(asid) else {
            return self.mms.iter().find(|mm| mm.global_asid == Some(asid)).map(|mm| mm.id);
        };
        slot.mm.filter(|mm| slot.generation >= self.mm(*mm).tlb_gen)
    }

    /// The leaf that translates an address, or the empty entry where the walk ends.
    fn leaf_of(&self, mm: MmId, va: VirtAddr) -> Leaf {
        let mut table = self.mm(mm).pgd;
        for level in (0..=self.tables.top()).rev() {
            let entry = self.tables.read(Slot::of(table, va, level));
            if !entry.is_present() || entry.is_leaf_at(level) {
                return Leaf { mm, va, level, entry };
            }
            table = entry.pfn();
        }
        Leaf { mm, va, level: 0, entry: Entry::NONE }
    }

    /// Whether a walk now could cache as much: the same frame, not more rights, D not without D.
    fn agrees(&self, cached: &TlbEntry, leaf: &Leaf) -> bool {
        let entry = leaf.entry;
        let inside = (cached.page << (cached.size.shift() - 12)) & (leaf.pages() - 1);
        let frame = Pfn(leaf.pfn().0 + inside);
        entry.is_present()
            && cached.size.pages() <= leaf.pages()
            && cached.pfn == self.host.as_ref().map_or(frame, |host| host.frame(frame))
            && (!cached.writable || entry.is_writable())
            && (!cached.dirty || entry.hw_dirty())
            && (cached.nx || entry.0 & Entry::NX == 0)
    }
}
