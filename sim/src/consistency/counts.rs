//! Counts of pages, blocks and address spaces are the sums of what the entries make.

use std::collections::BTreeMap;

use daxsim_types::Pfn;

use super::{Inconsistency, Leaf};
use crate::kernel::MmId;
use crate::kernel::dax_entry::EntryKind;
use crate::kernel::page::PageCounts;
use crate::machine::Machine;

/// What the entries make.
#[derive(Default)]
struct Sums {
    counts: BTreeMap<Pfn, PageCounts>,
    /// Mappings of each private copy.
    copies: BTreeMap<Pfn, u32>,
    rss: BTreeMap<MmId, Rss>,
}

#[derive(Clone, Copy, Default)]
struct Rss {
    file: i64,
    copies: i64,
    /// Whether there is memory outside DAX, whose pages may have come from a trace uncounted.
    ordinary: bool,
}

impl Machine {
    /// References and mappings of frames, mappings of private copies, and RSS.
    pub(super) fn check_counts(&self, leaves: &[Leaf]) -> Result<(), Inconsistency> {
        let sums = self.sums(leaves);
        self.compare_frames(&sums.counts)?;
        for (pfn, expected) in sums.copies {
            let free = self.user_frames.free.contains(&pfn);
            let found = if free { 0 } else { self.shared_copies.get(&pfn.0).copied().unwrap_or(1) };
            if found != expected {
                return Err(Inconsistency::Copies { pfn, found, expected });
            }
        }
        for mm in &self.mms {
            let rss = sums.rss.get(&mm.id).copied().unwrap_or_default();
            let wrong =
                |counter, found, expected| Err(Inconsistency::Rss { counter, mm: mm.id, found, expected });
            if mm.rss_file != rss.file {
                return wrong("MM_FILEPAGES", mm.rss_file, rss.file);
            }
            if !rss.ordinary && mm.rss_anon != rss.copies {
                return wrong("MM_ANONPAGES", mm.rss_anon, rss.copies);
            }
        }
        Ok(())
    }

    fn sums(&self, leaves: &[Leaf]) -> Sums {
        let mut sums = Sums::default();
        for leaf in leaves {
            let Some(vma) = self.mm(leaf.mm).find_vma(leaf.va) else { continue };
            let rss = sums.rss.entry(leaf.mm).or_default();
            rss.ordinary |= !vma.is_dax();
            if !vma.is_dax() {
                continue;
            }
            if self.is_private_copy(vma, leaf.entry) {
                rss.copies += 1;
                *sums.copies.entry(leaf.pfn()).or_default() += 1;
            } else if self.is_counted(vma, leaf.entry) {
                rss.file += leaf.pages() as i64;
                let counts = sums.counts.entry(leaf.pfn()).or_default();
                counts.maps += 1;
                counts.refs += i64::from(self.kernel.ask(|k| k.dax.refcount_per_map));
            }
        }
        for mm in &self.mms {
            sums.rss.entry(mm.id).or_default().ordinary |= mm.vmas.values().any(|vma| !vma.is_dax());
            for (pfn, refs, pins) in self.held_counts(mm.id) {
                let counts = sums.counts.entry(pfn).or_default();
                counts.refs += refs;
                counts.pins += pins;
            }
        }
        sums
    }

    /// How many mapping entries stand for each frame, of whatever file.
    fn entries_of_frames(&self) -> BTreeMap<Pfn, u32> {
        let mut entries = BTreeMap::new();
        let blocks = self.files.iter().flat_map(|file| file.entries.iter());
        for (_, entry) in blocks.filter(|(_, entry)| entry.kind == EntryKind::Block) {
            for at in 0..entry.pages() {
                *entries.entry(Pfn(entry.pfn.0 + at)).or_default() += 1;
            }
        }
        entries
    }

    /// Every block has as many owners as file extents say.
    pub(super) fn check_owners(&self) -> Result<(), Inconsistency> {
        let mut owners: BTreeMap<Pfn, u32> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.reflink) {
            for (_, len, pfn, _) in file.extents.iter() {
                (0..len).for_each(|at| *owners.entry(Pfn(pfn.0 + at)).or_default() += 1);
            }
        }
        let shared: BTreeMap<Pfn, u32> = self.allocator.shared.iter().collect();
        for pfn in owners.keys().chain(shared.keys()) {
            let expected = owners.get(pfn).copied().unwrap_or(0);
            let found = self.allocator.shared.owners(*pfn);
            if found != expected {
                return Err(Inconsistency::Owners { pfn: *pfn, found, expected });
            }
        }
        Ok(())
    }

    fn compare_frames(&self, expected: &BTreeMap<Pfn, PageCounts>) -> Result<(), Inconsistency> {
        let found = self.pages.in_use();
        let entries = self.entries_of_frames();
        for pfn in found.keys().chain(expected.keys()).chain(entries.keys()) {
            let found = found.get(pfn).copied().unwrap_or_default();
            let mut expected = expected.get(pfn).copied().unwrap_or_default();
            (expected.associated, expected.share) = match entries.get(pfn).copied().unwrap_or(0) {
                // The one entry may be left over from several, or of a shared block.
                1 if found.share == 1 => (false, 1),
                1 => (true, 0),
                several => (false, several),
            };
            if found != expected {
                return Err(Inconsistency::Counts { pfn: *pfn, found, expected });
            }
        }
        Ok(())
    }
}
