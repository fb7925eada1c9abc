//! Page tables, mapping entries and extents say the same.

use daxsim_configs::kernel::SwBits;
use daxsim_types::{FileSystem, Pfn};

use super::{Inconsistency, Leaf};
use crate::kernel::FileId;
use crate::kernel::dax_entry::EntryKind;
use crate::kernel::extent::BlockState;
use crate::kernel::vma::Vma;
use crate::machine::Machine;
use crate::mmu::entry::Entry;

impl Machine {
    /// Every mapping entry stands for what the file's extents have there.
    pub(super) fn check_dax_entries(&self) -> Result<(), Inconsistency> {
        for (id, file) in (0..).map(FileId).zip(&self.files) {
            for (page, entry) in file.entries.iter().filter(|(_, e)| e.kind != EntryKind::Empty) {
                let found = (entry.kind == EntryKind::Block).then_some(entry.pfn);
                let expected = self.block_of(id, page, entry.pages());
                if found != expected {
                    return Err(Inconsistency::EntryFrame { file: id, page, found, expected });
                }
            }
        }
        Ok(())
    }

    /// The frame that an entry for `pages` pages of a file has to have: of their first written block, less its distance from
    /// `page`; `None` where none is written.
    fn block_of(&self, file: FileId, page: u64, pages: u64) -> Option<Pfn> {
        let extents = &self.file(file).extents;
        let mut at = page;
        while at < page + pages {
            let mapping = extents.lookup(at);
            if let Some((pfn, BlockState::Written)) = mapping.block {
                return Some(Pfn(pfn.0.wrapping_sub(at - page)));
            }
            at = at.saturating_add(mapping.len);
        }
        None
    }

    /// One leaf against its mapping and its file.
    pub(super) fn check_leaf(&self, leaf: &Leaf) -> Result<(), Inconsistency> {
        let Some(vma) = self.mm(leaf.mm).find_vma(leaf.va) else {
            return Err(Inconsistency::NotMapped(*leaf));
        };
        if leaf.va.0 + (leaf.pages() << 12) > vma.end {
            return Err(Inconsistency::NotMapped(*leaf));
        }
        check_rights(leaf, vma)?;
        match vma.file_page(leaf.va) {
            Some((file, page)) => self.check_dax_leaf(leaf, vma, file, page),
            None => Ok(()),
        }
    }

    fn check_dax_leaf(&self, leaf: &Leaf, vma: &Vma, file: FileId, page: u64) -> Result<(), Inconsistency> {
        let wrong = |expected| Err(Inconsistency::Rights { leaf: *leaf, expected });
        let pfn = leaf.pfn();
        if self.is_private_copy(vma, leaf.entry) {
            return self.check_bits(leaf, SwBits { special: false, devmap: false });
        }
        let pages = self.file(file).pages();
        if page + leaf.pages() > pages {
            return Err(Inconsistency::BeyondFile { leaf: *leaf, pages });
        }
        let expected = self.block_of(file, page, leaf.pages());
        let zero = if leaf.level == 0 { self.globals.zero_page } else { self.globals.huge_zero_page };
        if pfn != expected.unwrap_or(zero) {
            return Err(Inconsistency::Frame { leaf: *leaf, expected });
        }
        let is_zero = expected.is_none();
        if leaf.entry.is_writable() && (is_zero || !vma.shared) {
            return wrong("RW=0, for only a block of a shared mapping is stored to");
        }
        let bits = self.kernel.ask(|k| match (leaf.level, is_zero) {
            (0, false) => k.dax.pte_block_sw_bits,
            (0, true) => k.dax.pte_zero_sw_bits,
            (_, false) => k.dax.pmd_block_sw_bits,
            (_, true) => k.dax.pmd_zero_sw_bits,
        });
        self.check_bits(leaf, bits)?;
        self.check_mark(leaf, file, page)
    }

    fn check_bits(&self, leaf: &Leaf, bits: SwBits) -> Result<(), Inconsistency> {
        let special = if bits.special { Entry::SPECIAL } else { 0 };
        let expected = special | if bits.devmap { Entry::DEVMAP } else { 0 };
        if leaf.entry.0 & (Entry::SPECIAL | Entry::DEVMAP) == expected {
            Ok(())
        } else {
            Err(Inconsistency::SoftwareBits { leaf: *leaf, expected })
        }
    }

    /// What can be stored to, or was, has a dirty mark: writeback goes by those alone.
    fn check_mark(&self, leaf: &Leaf, file: FileId, page: u64) -> Result<(), Inconsistency> {
        let wants_mark = leaf.entry.is_writable() || leaf.entry.pte_dirty();
        if !wants_mark || self.file(file).fs == FileSystem::Devdax {
            return Ok(());
        }
        let marked = self.file(file).entries.find(page).is_some_and(|(head, entry)| {
            let covers = page + leaf.pages() <= head + entry.pages();
            covers && entry.dirty && entry.kind == EntryKind::Block
        });
        if marked { Ok(()) } else { Err(Inconsistency::NoMark { leaf: *leaf, file, page }) }
    }
}

impl Leaf {
    /// 4 KiB pages that it maps.
    pub(super) const fn pages(&self) -> u64 {
        1 << (9 * self.level)
    }

    pub(super) const fn pfn(&self) -> Pfn {
        self.entry.pfn_at(self.level)
    }
}

/// P and RW as the mapping allows them, and D never without RW.
fn check_rights(leaf: &Leaf, vma: &Vma) -> Result<(), Inconsistency> {
    let (entry, accessible) = (leaf.entry, vma.read || vma.write);
    let broken = [
        (entry.is_present() && !accessible, "P=0, for the mapping allows nothing"),
        (entry.is_writable() && !vma.write, "RW=0, for the mapping is read-only"),
        (entry.hw_dirty() && !entry.is_writable(), "D=0 where RW=0: a shadow stack else"),
        (entry.0 & Entry::SAVED_DIRTY != 0 && entry.is_writable(), "SAVED_DIRTY=0 where RW=1"),
    ];
    match broken.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, expected)) => Err(Inconsistency::Rights { leaf: *leaf, expected }),
        None => Ok(()),
    }
}
