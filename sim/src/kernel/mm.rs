//! Address spaces: `mm_struct` with its VMAs, page tables, cpumask and TLB generation.

use std::collections::BTreeMap;

use daxsim_types::{CacheLine, CpuId, Pfn, VirtAddr};

use super::vma::Vma;
use crate::engine::LockId;

/// Handle of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MmId(pub u32);

/// A set of CPUs, ascending when listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<bool>);

impl CpuSet {
    /// Adds a CPU.
    pub fn insert(&mut self, cpu: CpuId) {
        if self.0.len() <= cpu.index() {
            self.0.resize(cpu.index() + 1, false);
        }
        self.0[cpu.index()] = true;
    }

    /// Removes a CPU.
    pub fn remove(&mut self, cpu: CpuId) {
        if let Some(bit) = self.0.get_mut(cpu.index()) {
            *bit = false;
        }
    }

    /// Whether a CPU is in it.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0.get(cpu.index()).copied().unwrap_or(false)
    }

    /// The CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.0.iter().enumerate().filter(|(_, in_set)| **in_set).map(|(i, _)| CpuId(i as u16))
    }
}

/// One address space.
#[derive(Debug)]
pub struct Mm {
    /// Handle.
    pub id: MmId,
    /// Root of the page tables.
    pub pgd: Pfn,
    /// VMAs by first address; they do not overlap.
    pub vmas: BTreeMap<u64, Vma>,
    /// `context.tlb_gen`: incremented by every flush request.
    pub tlb_gen: u64,
    /// `mm_cpumask`: CPUs that may hold translations.
    pub cpumask: CpuSet,
    /// `mmap_lock`.
    pub mmap_lock: LockId,
    /// Page-table lock of the upper levels (`page_table_lock` and the pmd lock's line).
    pub pmd_lock: LockId,
    /// Line of `tlb_gen`.
    pub gen_line: CacheLine,
    /// Line of `mm_cpumask`.
    pub mask_line: CacheLine,
    /// `tlb_flush_pending`: unmappings under way.
    pub gathers: u32,
    /// Line of that count.
    pub gathers_line: CacheLine,
    /// MM_FILEPAGES, in 4 KiB pages.
    pub rss_file: i64,
    /// MM_ANONPAGES, in 4 KiB pages.
    pub rss_anon: i64,
}

impl Mm {
    /// The VMA that holds an address.
    #[must_use]
    pub fn find_vma(&self, va: VirtAddr) -> Option<&Vma> {
        self.vmas.range(..=va.0).next_back().map(|(_, vma)| vma).filter(|vma| vma.contains(va))
    }

    /// The VMAs that reach into `start..end`, ascending.
    #[must_use]
    pub fn vmas_in(&self, start: u64, end: u64) -> Vec<Vma> {
        let first = self.vmas.range(..=start).next_back().map_or(start, |(at, _)| *at);
        self.vmas.range(first..end).map(|(_, vma)| *vma).filter(|vma| vma.end > start).collect()
    }

    /// The VMA that holds an address, or the next one above it.
    #[must_use]
    pub fn find_vma_from(&self, va: VirtAddr) -> Option<&Vma> {
        self.find_vma(va).or_else(|| self.vmas.range(va.0..).next().map(|(_, vma)| vma))
    }

    /// Whether any VMA reaches into `start..end`.
    #[must_use]
    pub fn intersects(&self, start: u64, end: u64) -> bool {
        self.vmas.range(..end).next_back().is_some_and(|(_, vma)| vma.end > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_sets_list_in_order() {
        let mut set = CpuSet::default();
        for cpu in [3, 0, 17] {
            set.insert(CpuId(cpu));
        }
        set.remove(CpuId(0));
        set.remove(CpuId(99));
        assert_eq!(set.iter().map(|c| c.0).collect::<Vec<_>>(), [3, 17]);
        assert!(set.contains(CpuId(17)) && !set.contains(CpuId(18)));
    }
}
