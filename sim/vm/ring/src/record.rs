//! Records: an access in 16 bytes.
//!
//! | word | bits | what |
//! |---:|---|---|
//! | 0 | 0 to 56 | virtual address; bit 56 is repeated above |
//! | 0 | 57 and 58 | 0 load, 1 store, 2 store of an atomic instruction, 3 header of a batch; in one, a [`Control`] |
//! | 0 | 59 to 61 | size: 2^n bytes |
//! | 0 | 62 | by an instruction of user space |
//! | 0 | 63 | to a device |
//! | 1 | 0 to 23 | instructions begun after the record before, that of this access included |
//! | 1 | 24 to 63 | physical page of 4 KiB; all bits set if it is not known |
//!
//! The offset within a page is that of the virtual address. The header of a batch has its stamp in bits 0 to 56 of word 0; in word 1
//! the number of its records (bits 0 to 15) and the instructions of its vCPU before it, modulo 2^48 (bits 16 to 63).

use daxsim_types::{PhysAddr, VirtAddr};

/// A record as it lies in the ring.
pub(crate) type Raw = [u64; 2];

const ADDRESS_BITS: u32 = 57;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
const HEADER: u64 = 3 << ADDRESS_BITS;
const KIND: u64 = 3 << ADDRESS_BITS;
const SIZE_SHIFT: u32 = 59;
const USER: u64 = 1 << 62;
const DEVICE: u64 = 1 << 63;
const PAGE_SHIFT: u32 = 12;
const PAGE_OFFSET: u64 = (1 << PAGE_SHIFT) - 1;
const GAP_BITS: u32 = 24;
const UNKNOWN_PAGE: u64 = u64::MAX >> GAP_BITS;
const COUNT_BITS: u32 = 16;

/// Largest gap of a record. A longer one begins a new batch.
pub(crate) const MOST_GAP: u64 = (1 << GAP_BITS) - 1;
/// Most records that a header can count.
pub(crate) const MOST_RECORDS: u32 = (1 << COUNT_BITS) - 1;
/// Bits of instructions in a header.
const INSTRUCTIONS: u64 = u64::MAX >> COUNT_BITS;

/// What an instruction did at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Op {
    /// A load.
    #[default]
    Load,
    /// A store.
    Store,
    /// The store of an atomic instruction, right behind its load.
    Locked,
}

/// One access of a vCPU. An instruction that loads and stores the same bytes makes two, the second one with a gap of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// First byte.
    pub va: VirtAddr,
    /// Where that is in physical memory, if it is known. An access across pages says it of the first one.
    pub pa: Option<PhysAddr>,
    /// What was done.
    pub op: Op,
    /// Bytes: a power of two up to 128.
    pub size: u8,
    /// By an instruction of user space; else the kernel's.
    pub user: bool,
    /// Registers of a device, not memory.
    pub device: bool,
    /// Instructions that the vCPU began after the access before, that of this access included.
    pub gap: u32,
}

impl Access {
    /// The access as a record. Its gap must be in range.
    #[inline]
    pub(crate) fn to_raw(self) -> Raw {
        let kind = match self.op {
            Op::Load => 0,
            Op::Store => 1 << ADDRESS_BITS,
            Op::Locked => 2 << ADDRESS_BITS,
        };
        let size = u64::from(self.size.max(1).ilog2()) << SIZE_SHIFT;
        let flags = if self.user { USER } else { 0 } | if self.device { DEVICE } else { 0 };
        let page = self.pa.map_or(UNKNOWN_PAGE, |pa| pa.0 >> PAGE_SHIFT & UNKNOWN_PAGE);
        [self.va.0 & ADDRESS | kind | size | flags, u64::from(self.gap) & MOST_GAP | page << GAP_BITS]
    }

    /// The access of a record.
    #[inline]
    pub(crate) fn of_raw([first, second]: Raw) -> Self {
        let va = extended(first);
        let page = second >> GAP_BITS;
        Self {
            va: VirtAddr(va),
            pa: (page != UNKNOWN_PAGE).then_some(PhysAddr(page << PAGE_SHIFT | va & PAGE_OFFSET)),
            op: match first >> ADDRESS_BITS & 3 {
                0 => Op::Load,
                1 => Op::Store,
                _ => Op::Locked,
            },
            size: 1 << (first >> SIZE_SHIFT & 7),
            user: first & USER != 0,
            device: first & DEVICE != 0,
            gap: (second & MOST_GAP) as u32,
        }
    }
}

/// What a vCPU did to its translations, where the stream has it: after the accesses before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It loaded this root of page tables (CR3), whose lowest twelve bits are as loaded. All but global translations are invalid.
    Root(PhysAddr),
    /// It invalidated a page (INVLPG).
    Page(VirtAddr),
    /// It invalidated everything, global pages too.
    All,
}

impl Control {
    pub(crate) fn to_raw(self) -> Raw {
        let (which, value) = match self {
            Self::Root(root) => (0, root.0),
            Self::Page(at) => (1, at.0),
            Self::All => (2, 0),
        };
        [value & ADDRESS | HEADER | which << SIZE_SHIFT, 0]
    }

    /// `None` if a record within a batch is an access.
    #[inline]
    pub(crate) fn of_raw([first, _]: Raw) -> Option<Self> {
        if first & KIND != HEADER {
            return None;
        }
        Some(match first >> SIZE_SHIFT & 7 {
            0 => Self::Root(PhysAddr(first & ADDRESS)),
            1 => Self::Page(VirtAddr(extended(first))),
            _ => Self::All,
        })
    }
}

/// The address of a word, whose highest bit is repeated above.
#[inline]
fn extended(word: u64) -> u64 {
    let above = u64::BITS - ADDRESS_BITS;
    ((word << above) as i64 >> above) as u64
}

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An access.
    Access(Access),
    /// A change of translations.
    Control(Control),
}

/// What stands before the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its place among the batches of all vCPUs.
    pub(crate) stamp: u64,
    /// Records after it.
    pub(crate) records: u32,
    /// Instructions of the vCPU before its first record's gap, modulo 2^48.
    pub(crate) instructions: u64,
}

impl Header {
    pub(crate) fn to_raw(self) -> Raw {
        [
            self.stamp & ADDRESS | HEADER,
            u64::from(self.records) | (self.instructions & INSTRUCTIONS) << COUNT_BITS,
        ]
    }

    /// `None` if the record is no header.
    pub(crate) fn of_raw([first, second]: Raw) -> Option<Self> {
        let records = second as u32 & MOST_RECORDS;
        let header = Self { stamp: first & ADDRESS, records, instructions: second >> COUNT_BITS };
        (first & KIND == HEADER).then_some(header)
    }
}

/// The records of a batch, in order.
#[derive(Clone, Debug)]
pub struct Items<'a>(pub(crate) std::slice::Iter<'a, Raw>);

impl Iterator for Items<'_> {
    type Item = Item;

    #[inline]
    fn next(&mut self) -> Option<Item> {
        let raw = *self.0.next()?;
        Some(match Control::of_raw(raw) {
            Some(control) => Item::Control(control),
            None => Item::Access(Access::of_raw(raw)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accesses() -> impl Strategy<Value = Access> {
        let va = any::<i64>().prop_map(|bits| (bits << 7 >> 7) as u64);
        let page = prop::option::of(0..UNKNOWN_PAGE);
        (
            va,
            page,
            any::<(bool, bool)>(),
            prop::sample::select(vec![Op::Load, Op::Store, Op::Locked]),
            0..8_u32,
            0..=MOST_GAP as u32,
        )
            .prop_map(|(va, page, (user, device), op, size, gap)| Access {
                va: VirtAddr(va),
                pa: page.map(|page| PhysAddr(page << PAGE_SHIFT | va & PAGE_OFFSET)),
                op,
                size: 1 << size,
                user,
                device,
                gap,
            })
    }

    proptest! {
        #[test]
        fn an_access_comes_back_from_its_record(access in accesses()) {
            let raw = access.to_raw();
            prop_assert_eq!(Access::of_raw(raw), access);
            prop_assert_eq!(Header::of_raw(raw), None);
            prop_assert_eq!(Control::of_raw(raw), None);
        }

        #[test]
        fn a_change_of_translations_comes_back_from_its_record(root in 0..1_u64 << 52, bits in any::<i64>()) {
            let page = VirtAddr((bits << 7 >> 7) as u64);
            for control in [Control::Root(PhysAddr(root)), Control::Page(page), Control::All] {
                prop_assert_eq!(Control::of_raw(control.to_raw()), Some(control));
            }
        }

        #[test]
        fn a_header_comes_back_from_its_record(stamp in 0..=ADDRESS, records in 0..=MOST_RECORDS, instructions in 0..=INSTRUCTIONS) {
            let header = Header { stamp, records, instructions };
            prop_assert_eq!(Header::of_raw(header.to_raw()), Some(header));
        }
    }
}
