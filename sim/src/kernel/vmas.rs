//! The tree of an address space's mappings: VMAs come, go, are split and joined (`mm/vma.c`).

use daxsim_types::VirtAddr;

use super::file::FileId;
use super::mm::MmId;
use super::vma::{Backing, Vma};
use crate::engine::LockId;
use crate::machine::Machine;
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

impl Machine {
    /// The mappings of a file: mm and VMA, in order of creation, then those that are being unmapped.
    pub(crate) fn mappings_of(&self, file: FileId) -> Vec<(MmId, Vma)> {
        let file = self.file(file);
        let live = file
            .mappings
            .iter()
            .filter_map(|(mm, start)| self.mm(*mm).vmas.get(start).map(|vma| (*mm, *vma)));
        live.chain(file.leaving.iter().copied()).collect()
    }

    /// Adds a VMA where none is.
    pub(crate) fn insert_vma(&mut self, mm: MmId, vma: Vma) {
        if let Backing::Dax { file, .. } = vma.backing {
            self.file_mut(file).mappings.push((mm, vma.start));
        }
        self.mm_mut(mm).vmas.insert(vma.start, vma);
    }

    /// Takes `start..end` out of the address space, splitting VMAs at its borders; returns what was taken. Files still know
    /// those parts as mappings of theirs, until [`Self::unlink_mapping`].
    pub(crate) fn detach_range(&mut self, mm: MmId, start: u64, end: u64) -> Vec<Vma> {
        let touched: Vec<Vma> = {
            let vmas = &self.mm(mm).vmas;
            let first = vmas.range(..=start).next_back().map_or(start, |(at, _)| *at);
            vmas.range(first..end).map(|(_, vma)| *vma).filter(|vma| vma.end > start).collect()
        };
        let mut detached = Vec::with_capacity(touched.len());
        for vma in touched {
            self.remove_vma(mm, &vma);
            if vma.start < start {
                let left = Vma { end: start, ..vma };
                self.insert_vma(mm, left);
            }
            if vma.end > end {
                let lock = self.new_vma_lock();
                let right = Vma { lock, ..self.tail_of(&vma, end) };
                self.insert_vma(mm, right);
            }
            let head = self.tail_of(&vma, start.max(vma.start));
            let part = Vma { end: end.min(vma.end), ..head };
            if let Backing::Dax { file, .. } = part.backing {
                self.file_mut(file).leaving.push((mm, part));
            }
            detached.push(part);
        }
        detached
    }

    /// Lets the file forget a part that [`Self::detach_range`] returned.
    pub(crate) fn unlink_mapping(&mut self, mm: MmId, vma: &Vma) {
        if let Backing::Dax { file, .. } = vma.backing {
            self.file_mut(file).leaving.retain(|(of, part)| (*of, part.start) != (mm, vma.start));
        }
    }

    /// Takes a range out of an address space without simulated work, page tables and TLBs included: for changes that a
    /// trace implies but does not show.
    pub(crate) fn forget_range(&mut self, mm: MmId, start: u64, len: u64) {
        let end = start.saturating_add(len);
        for vma in self.detach_range(mm, start, end) {
            self.unlink_mapping(mm, &vma);
            let mut at = vma.start;
            while at < vma.end {
                let va = VirtAddr(at);
                let root = self.mm(mm).pgd;
                // Only what tables translate can be in a TLB.
                at = self.tables.next_after(root, va);
                let found = (0..=2).find_map(|l| Some((l, self.tables.find(root, va, l)?)));
                let Some((level, table)) = found else { continue };
                let slot = Slot::of(table, va, level);
                let old = self.tables.read(slot);
                self.tables.write(slot, Entry::NONE);
                self.count_at_once(mm, old, level, -1);
                self.mm_mut(mm).rss_anon -= i64::from(self.is_private_copy(&vma, old));
                for index in 0..self.cpus.len() {
                    self.forget_page(index, va);
                }
            }
        }
    }

    /// Splits VMAs at the borders of a range, changes those inside, and joins neighbours that have become alike. Returns
    /// the locks of the VMAs as they were: faults that began before may still hold them.
    pub(crate) fn change_vmas(
        &mut self,
        mm: MmId,
        start: u64,
        end: u64,
        change: impl Fn(&mut Vma),
    ) -> Vec<LockId> {
        let mut locks = Vec::new();
        for mut vma in self.detach_range(mm, start, end) {
            self.unlink_mapping(mm, &vma);
            locks.push(vma.lock);
            change(&mut vma);
            vma.lock = self.new_vma_lock();
            self.insert_vma(mm, vma);
        }
        self.join_vmas(mm, start, end);
        locks
    }

    /// `vma_merge`: joins each VMA that touches the range with a following one that continues it.
    pub(crate) fn join_vmas(&mut self, mm: MmId, start: u64, end: u64) {
        let Some(mut at) = self
            .mm(mm)
            .vmas
            .range(..start)
            .next_back()
            .map(|(s, _)| *s)
            .or_else(|| self.mm(mm).vmas.range(start..).next().map(|(s, _)| *s))
        else {
            return;
        };
        while let Some(vma) = self.mm(mm).vmas.get(&at).copied() {
            let next = self.mm(mm).vmas.get(&vma.end).copied();
            match next {
                Some(next) if vma.continues_in(&next) => {
                    self.remove_vma(mm, &next);
                    if let Some(joined) = self.mm_mut(mm).vmas.get_mut(&at) {
                        joined.end = next.end;
                        joined.has_copies |= next.has_copies;
                    }
                }
                Some(_) if vma.end <= end => at = vma.end,
                _ => return,
            }
        }
    }

    fn remove_vma(&mut self, mm: MmId, vma: &Vma) {
        self.mm_mut(mm).vmas.remove(&vma.start);
        if let Backing::Dax { file, .. } = vma.backing {
            self.file_mut(file).mappings.retain(|m| *m != (mm, vma.start));
        }
    }

    /// The part of a VMA from `start` on.
    fn tail_of(&self, vma: &Vma, start: u64) -> Vma {
        let backing = vma.backing.later((start - vma.start) >> 12);
        Vma { start, backing, ..*vma }
    }
}
