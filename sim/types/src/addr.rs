//! Virtual and physical addresses, page and frame numbers, cache lines.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in a cache line. x86 has used 64 on every part the configs describe.
pub const LINE_BYTES: u64 = 64;

/// A virtual address: 48 bits with four levels of paging, 57 with five, sign-extended.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VirtAddr(pub u64);

/// A physical (bus) address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhysAddr(pub u64);

/// A 4 KiB virtual page number: `VirtAddr >> 12`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vpn(pub u64);

/// A 4 KiB page frame number: `PhysAddr >> 12`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pfn(pub u64);

/// The number of a 64-byte line of physical memory: `PhysAddr / 64`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheLine(pub u64);

impl VirtAddr {
    /// The 4 KiB page that holds the address.
    #[must_use]
    pub const fn vpn(self) -> Vpn {
        Vpn(self.0 >> 12)
    }

    /// Whether bits 63..47 are all equal, as 4-level paging demands (Intel SDM vol. 3, 4.5.4).
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        let high = self.0 >> 47;
        high == 0 || high == 0x1_ffff
    }

    /// Whether all bits above those that `levels` (4 or 5) levels of paging translate are equal to the highest of them: 48 bits,
    /// or 57 with LA57 (Intel SDM vol. 3, 4.5.4).
    #[inline]
    #[must_use]
    pub const fn is_canonical_in(self, levels: u32) -> bool {
        let high = (self.0 as i64) >> (11 + 9 * levels);
        high == 0 || high == -1
    }

    /// The address rounded down to a page of `size`.
    #[must_use]
    pub const fn align_down(self, size: PageSize) -> Self {
        Self(self.0 & !(size.bytes() - 1))
    }

    /// The 9-bit index into the paging structure of `level` (0 = page table, 3 = PML4).
    #[must_use]
    pub const fn index(self, level: u32) -> usize {
        ((self.0 >> (12 + 9 * level)) & 0x1ff) as usize
    }
}

impl PhysAddr {
    /// The 4 KiB frame that holds the address.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> 12)
    }

    /// The 64-byte line that holds the address.
    #[must_use]
    pub const fn line(self) -> CacheLine {
        CacheLine(self.0 / LINE_BYTES)
    }
}

impl Vpn {
    /// First address of the page.
    #[must_use]
    pub const fn addr(self) -> VirtAddr {
        VirtAddr(self.0 << 12)
    }
}

impl Pfn {
    /// First address of the frame.
    #[must_use]
    pub const fn addr(self) -> PhysAddr {
        PhysAddr(self.0 << 12)
    }
}

impl CacheLine {
    /// First address of the line.
    #[must_use]
    pub const fn addr(self) -> PhysAddr {
        PhysAddr(self.0 * LINE_BYTES)
    }
}

macro_rules! hex_format {
    ($($t:ident),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:#x})", stringify!($t), self.0)
            }
        }
    )*};
}
hex_format!(VirtAddr, PhysAddr, Vpn, Pfn, CacheLine);

/// The page sizes of 4-level x86-64 paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KiB, mapped by a PTE.
    #[serde(rename = "4K")]
    Size4K,
    /// 2 MiB, mapped by a PMD (PDE with PS=1).
    #[serde(rename = "2M")]
    Size2M,
    /// 1 GiB, mapped by a PUD (PDPTE with PS=1).
    #[serde(rename = "1G")]
    Size1G,
}

impl PageSize {
    /// Every size, smallest first.
    pub const ALL: [Self; 3] = [Self::Size4K, Self::Size2M, Self::Size1G];

    /// log2 of the size in bytes.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size2M => 21,
            Self::Size1G => 30,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Size in 4 KiB pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.bytes() >> 12
    }

    /// Level of the paging structure whose entry maps this size (0 = page table).
    #[must_use]
    pub const fn level(self) -> u32 {
        (self.shift() - 12) / 9
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size4K => "4K",
            Self::Size2M => "2M",
            Self::Size1G => "1G",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_are_the_two_halves() {
        assert!(VirtAddr(0).is_canonical());
        assert!(VirtAddr(0x7fff_ffff_ffff).is_canonical());
        assert!(!VirtAddr(0x8000_0000_0000).is_canonical());
        assert!(!VirtAddr(0xffff_7fff_ffff_ffff).is_canonical());
        assert!(VirtAddr(0xffff_8000_0000_0000).is_canonical());
        for va in [0, 0x7fff_ffff_ffff, 0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 0xffff_8000_0000_0000] {
            assert_eq!(VirtAddr(va).is_canonical_in(4), VirtAddr(va).is_canonical());
            assert!(VirtAddr(va).is_canonical_in(5));
        }
        for (va, canonical) in [((1 << 56) - 1, true), (1 << 56, false), (!0 << 56, true), (!0 << 57, false)]
        {
            assert_eq!(VirtAddr(va).is_canonical_in(5), canonical, "{va:#x}");
        }
        assert!(!VirtAddr(0xfeff_ffff_ffff_ffff).is_canonical_in(5));
    }

    #[test]
    fn indices_split_an_address_nine_bits_a_level() {
        let a = VirtAddr((3 << 39) | (4 << 30) | (5 << 21) | (6 << 12) | 7);
        assert_eq!([a.index(3), a.index(2), a.index(1), a.index(0)], [3, 4, 5, 6]);
    }

    #[test]
    fn page_sizes_know_their_level() {
        assert_eq!(PageSize::ALL.map(PageSize::level), [0, 1, 2]);
        assert_eq!(PageSize::Size2M.pages(), 512);
        assert_eq!(VirtAddr(0x20_1234).align_down(PageSize::Size2M), VirtAddr(0x20_0000));
    }
}
