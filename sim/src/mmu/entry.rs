//! One paging-structure entry: its bits, and the operations that Linux builds from them.
//!
//! Bit positions: Intel SDM vol. 3, 4.5.5 (tables 4-14 to 4-20). Software bits and the meaning of
//! "dirty" and "writable": Linux `arch/x86/include/asm/pgtable_types.h` and `pgtable.h`, the same
//! in 6.12 and 7.2 but for DEVMAP, which 7.2 no longer has.

use std::fmt;

use daxsim_types::Pfn;

/// Bits 12..=51: the frame number of a table or of a 4 KiB page.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Bits 21..=51: the frame number of a 2 MiB page.
const FRAME_2M: u64 = 0x000f_ffff_ffe0_0000;
/// Bits 30..=51: the frame number of a 1 GiB page.
const FRAME_1G: u64 = 0x000f_ffff_c000_0000;

/// A PTE, PMD, PUD or PGD entry.
///
/// Which of the four it is lies in where it is stored: methods that need to know take a `level`
/// (0 = page table, 3 = PML4, 4 = PML5).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Entry(pub u64);

impl Entry {
    /// Present.
    pub const P: u64 = 1 << 0;
    /// Writable.
    pub const RW: u64 = 1 << 1;
    /// Accessible from user mode.
    pub const US: u64 = 1 << 2;
    /// Cache-mode bit 0.
    pub const PWT: u64 = 1 << 3;
    /// Cache-mode bit 1.
    pub const PCD: u64 = 1 << 4;
    /// Accessed: set by the walker in every entry it uses.
    pub const A: u64 = 1 << 5;
    /// Dirty: set by the walker in the leaf that a store uses.
    pub const D: u64 = 1 << 6;
    /// In a PMD or PUD: this is a leaf. (In a PTE the bit is PAT, cache-mode bit 2.)
    pub const PS: u64 = 1 << 7;
    /// Global: survives a CR3 write. In an entry that is not present Linux reads it as PROTNONE.
    pub const G: u64 = 1 << 8;
    /// `_PAGE_SPECIAL` (SOFTW1): no normal `struct page` behind the entry.
    pub const SPECIAL: u64 = 1 << 9;
    /// `_PAGE_UFFD_WP` (SOFTW2).
    pub const UFFD_WP: u64 = 1 << 10;
    /// `_PAGE_SOFT_DIRTY` (SOFTW3).
    pub const SOFT_DIRTY: u64 = 1 << 11;
    /// PAT bit of a 2 MiB or 1 GiB leaf: the lowest bit of what is a frame number elsewhere.
    pub const PAT_LARGE: u64 = 1 << 12;
    /// `_PAGE_DEVMAP` (SOFTW4): `ZONE_DEVICE` mapping without a reference; Linux 6.12 only.
    pub const DEVMAP: u64 = 1 << 57;
    /// `_PAGE_SAVED_DIRTY` (SOFTW5): the dirty bit while RW = 0, since RW = 0 with D = 1 is the
    /// encoding of a shadow-stack page.
    pub const SAVED_DIRTY: u64 = 1 << 58;
    /// No instruction fetch.
    pub const NX: u64 = 1 << 63;

    /// `_PAGE_TABLE`: the bits that Linux gives an entry that points to a user page table.
    pub const TABLE: u64 = Self::P | Self::RW | Self::US | Self::A | Self::D;

    /// The empty entry.
    pub const NONE: Self = Self(0);

    /// `pte_none`: no bit set. A stray A or D does not count (`_PAGE_KNL_ERRATUM_MASK`).
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 & !(Self::A | Self::D) == 0
    }

    /// Whether Linux takes it for present: P, or PROT_NONE's non-present form (`_PAGE_PROTNONE`, the G bit; pte_present).
    #[must_use]
    pub const fn is_mapped(self) -> bool {
        self.0 & (Self::P | Self::G) != 0
    }

    /// Whether the walker goes on here: P = 1.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Self::P != 0
    }

    /// RW = 1.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & Self::RW != 0
    }

    /// Whether an entry of `level` maps a page: always in a page table, by PS in a PD or PDPT,
    /// never in a PML4 or PML5.
    #[must_use]
    pub const fn is_leaf_at(self, level: u32) -> bool {
        match level {
            0 => true,
            1 | 2 => self.0 & Self::PS != 0,
            _ => false,
        }
    }

    /// A = 1.
    #[must_use]
    pub const fn accessed(self) -> bool {
        self.0 & Self::A != 0
    }

    /// D = 1: what the walker looks at.
    #[must_use]
    pub const fn hw_dirty(self) -> bool {
        self.0 & Self::D != 0
    }

    /// Frame of the table or of the page's first 4 KiB.
    ///
    /// Bit 7 is read as PS, which is right for tables, for large leaves and for write-back PTEs
    /// (the only ones of a DAX mapping). [`Self::pfn_at`] is right for every cache mode.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        let mask = if self.0 & Self::PS != 0 { FRAME_2M } else { FRAME };
        Pfn((self.0 & mask) >> 12)
    }

    /// [`Self::pfn`] of an entry known to be of `level`.
    #[must_use]
    pub const fn pfn_at(self, level: u32) -> Pfn {
        let mask = match level {
            1 if self.0 & Self::PS != 0 => FRAME_2M,
            2 if self.0 & Self::PS != 0 => FRAME_1G,
            _ => FRAME,
        };
        Pfn((self.0 & mask) >> 12)
    }

    /// The bits set in an entry of `level` that must be clear (Intel SDM vol. 3, tables 4-14 to 4-20, XD enabled): frame bits
    /// from `physical_bits` (MAXPHYADDR) up, PS where no page can be mapped, and the low frame bits of a large page but PAT.
    #[must_use]
    pub const fn reserved(self, level: u32, physical_bits: u32) -> u64 {
        let high = FRAME & !((1 << physical_bits) - 1);
        let here = match level {
            0 => 0,
            1 if self.is_leaf_at(1) => FRAME & !FRAME_2M & !Self::PAT_LARGE,
            2 if self.is_leaf_at(2) => FRAME & !FRAME_1G & !Self::PAT_LARGE,
            1 | 2 => 0,
            _ => Self::PS,
        };
        self.0 & (high | here)
    }

    /// An entry that points to the next table.
    #[must_use]
    pub const fn table(pfn: Pfn) -> Self {
        Self::leaf(pfn, Self::TABLE)
    }

    /// An entry that maps `pfn` with `bits` (PS among them for a large page).
    #[must_use]
    pub const fn leaf(pfn: Pfn, bits: u64) -> Self {
        Self(((pfn.0 << 12) & FRAME) | bits)
    }

    /// `pte_dirty`: D or SAVED_DIRTY.
    #[must_use]
    pub const fn pte_dirty(self) -> bool {
        self.0 & (Self::D | Self::SAVED_DIRTY) != 0
    }

    /// `pte_mkdirty`: D and SOFT_DIRTY, with D parked in SAVED_DIRTY if RW = 0.
    #[must_use]
    pub const fn mkdirty(self) -> Self {
        Self(self.0 | Self::D | Self::SOFT_DIRTY).settle_dirty()
    }

    /// `pte_wrprotect`: RW cleared and D parked in SAVED_DIRTY.
    #[must_use]
    pub const fn wrprotect(self) -> Self {
        Self(self.0 & !Self::RW).settle_dirty()
    }

    /// `pte_mkwrite` of a normal VMA: RW set and SAVED_DIRTY moved back to D.
    #[must_use]
    pub const fn mkwrite(self) -> Self {
        Self(self.0 | Self::RW).settle_dirty()
    }

    /// Linux `mksaveddirty_shift` where RW = 0, `clear_saveddirty_shift` where RW = 1.
    const fn settle_dirty(self) -> Self {
        let rest = self.0 & !(Self::D | Self::SAVED_DIRTY);
        match (self.is_writable(), self.pte_dirty()) {
            (_, false) => Self(rest),
            (true, true) => Self(rest | Self::D),
            (false, true) => Self(rest | Self::SAVED_DIRTY),
        }
    }

    /// `pte_mkclean`: D and SAVED_DIRTY cleared; SOFT_DIRTY stays.
    #[must_use]
    pub const fn mkclean(self) -> Self {
        Self(self.0 & !(Self::D | Self::SAVED_DIRTY))
    }

    /// `pte_mkyoung`: A set.
    #[must_use]
    pub const fn mkyoung(self) -> Self {
        Self(self.0 | Self::A)
    }

    /// `pte_mkold`: A cleared.
    #[must_use]
    pub const fn mkold(self) -> Self {
        Self(self.0 & !Self::A)
    }

    /// `pte_mkspecial` (and, in 7.2, `pmd_mkspecial`): SPECIAL set.
    #[must_use]
    pub const fn mkspecial(self) -> Self {
        Self(self.0 | Self::SPECIAL)
    }

    /// `pte_mkdevmap` of 6.12: SPECIAL and DEVMAP set.
    #[must_use]
    pub const fn mkdevmap_pte(self) -> Self {
        Self(self.0 | Self::SPECIAL | Self::DEVMAP)
    }

    /// `pmd_mkdevmap` and `pud_mkdevmap` of 6.12: DEVMAP set, SPECIAL not.
    #[must_use]
    pub const fn mkdevmap_pmd(self) -> Self {
        Self(self.0 | Self::DEVMAP)
    }

    /// Every bit but the frame number: what a recorded entry is compared by.
    ///
    /// Bit 7 is read as PS, as by [`Self::pfn`], so that PAT_LARGE of a large leaf is kept.
    #[must_use]
    pub const fn without_frame(self) -> u64 {
        let keep = if self.0 & Self::PS != 0 { Self::PAT_LARGE } else { 0 };
        self.0 & (!FRAME | keep)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_RO: u64 = Entry::P | Entry::US | Entry::A | Entry::NX;

    /// The reference encodings of the specification, section 1.7, by the steps that make them.
    #[test]
    fn reference_encodings_of_pages() {
        let ro = Entry::leaf(Pfn(0x1234), USER_RO);
        let written = ro.mkwrite().mkdirty();
        let pre = written.mkdevmap_pte();
        assert_eq!(ro.without_frame(), 0x8000_0000_0000_0025);
        assert_eq!(written.without_frame(), 0x8000_0000_0000_0867);
        assert_eq!(ro.mkdevmap_pte().without_frame(), 0x8200_0000_0000_0225);
        assert_eq!(pre.without_frame(), 0x8200_0000_0000_0a67);
        assert_eq!(pre.mkclean().wrprotect().without_frame(), 0x8200_0000_0000_0a25);
        assert_eq!(written.wrprotect().mkclean().without_frame(), 0x8000_0000_0000_0825);
        assert_eq!(ro.mkspecial().without_frame(), 0x8000_0000_0000_0225);
        assert_eq!(ro.mkwrite().without_frame(), 0x8000_0000_0000_0027);
        let huge = Entry::leaf(Pfn(0x200), USER_RO | Entry::PS);
        assert_eq!(huge.mkdevmap_pmd().without_frame(), 0x8200_0000_0000_00a5);
        assert_eq!(huge.mkwrite().mkdirty().without_frame(), 0x8000_0000_0000_08e7);
        assert_eq!(huge.mkspecial().without_frame(), 0x8000_0000_0000_02a5);
    }

    #[test]
    fn dirty_is_parked_while_read_only_and_comes_back() {
        let ro_dirty = Entry(USER_RO).mkdirty();
        assert_eq!(ro_dirty.0, USER_RO | Entry::SAVED_DIRTY | Entry::SOFT_DIRTY);
        assert!(ro_dirty.pte_dirty() && !ro_dirty.hw_dirty());
        assert_eq!(ro_dirty.mkwrite().0, USER_RO | Entry::RW | Entry::D | Entry::SOFT_DIRTY);
        assert_eq!(ro_dirty.mkwrite().wrprotect(), ro_dirty);
        assert_eq!(ro_dirty.mkclean().0, USER_RO | Entry::SOFT_DIRTY);
    }

    #[test]
    fn no_operation_makes_a_shadow_stack_encoding() {
        // Every combination of RW, D and SAVED_DIRTY that is not already one.
        for v in 0..8_u64 {
            let e = Entry(
                (v & 1) * Entry::RW + (v >> 1 & 1) * Entry::D + (v >> 2 & 1) * Entry::SAVED_DIRTY + Entry::P,
            );
            for r in [e.mkdirty(), e.wrprotect(), e.mkwrite()] {
                assert!(r.is_writable() || !r.hw_dirty(), "{e} became {r}");
                assert!(!r.is_writable() || r.0 & Entry::SAVED_DIRTY == 0, "{e} became {r}");
                assert_eq!(r.pte_dirty(), e.pte_dirty() || r == e.mkdirty());
            }
        }
    }

    #[test]
    fn frames_leave_flags_and_pat_out() {
        let pte = Entry::leaf(Pfn(0xff_ffff_ffff), USER_RO);
        assert_eq!((pte.pfn(), pte.without_frame()), (Pfn(0xff_ffff_ffff), USER_RO));
        let huge = Entry(0x4020_0000 | Entry::PAT_LARGE | Entry::PS | Entry::P);
        assert_eq!((huge.pfn(), huge.pfn_at(1)), (Pfn(0x40200), Pfn(0x40200)));
        assert_eq!(huge.pfn_at(2), Pfn(0x40000));
        assert_eq!(huge.without_frame(), 0x1081);
        let uncached_pte = Entry(0x1080 | Entry::P);
        assert_eq!(uncached_pte.pfn_at(0), Pfn(1));
    }

    #[test]
    fn kinds_of_entries() {
        assert!(Entry::NONE.is_none() && Entry(Entry::A | Entry::D).is_none());
        assert!(!Entry(Entry::SOFT_DIRTY).is_none() && !Entry(Entry::SOFT_DIRTY).is_present());
        let table = Entry::table(Pfn(7));
        assert_eq!(table.0, 0x7067);
        assert_eq!([0, 1, 2, 3].map(|l| table.is_leaf_at(l)), [true, false, false, false]);
        let huge = Entry(table.0 | Entry::PS);
        assert_eq!([0, 1, 2, 3].map(|l| huge.is_leaf_at(l)), [true, true, true, false]);
        assert!(!table.mkold().accessed() && table.mkold().mkyoung() == table);
        assert_eq!(format!("{table} {table:?}"), "0x7067 Entry(0x7067)");
    }

    #[test]
    fn reserved_bits_are_those_of_the_level_and_the_page_size() {
        let at = |bits: u64, level| Entry(bits | Entry::P).reserved(level, 46);
        // Every bit from MAXPHYADDR to 51, and none that software may use.
        for bit in 0..64 {
            let high = (46..=51).contains(&bit);
            for level in 0..5 {
                let ps = bit == 7 && level >= 3;
                assert_eq!(at(1 << bit, level) != 0, high || ps, "bit {bit}, level {level}");
            }
            let large = |from: u32| high || (13..from).contains(&bit);
            assert_eq!(at(1 << bit | Entry::PS, 1) != 0, large(21), "2M, bit {bit}");
            assert_eq!(at(1 << bit | Entry::PS, 2) != 0, large(30), "1G, bit {bit}");
        }
        assert_eq!(Entry(FRAME).reserved(0, 52), 0);
    }
}
