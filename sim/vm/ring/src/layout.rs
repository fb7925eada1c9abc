//! Where things are in the shared memory.
//!
//! ```text
//! header          4096 bytes: magic, version, geometry, states, the words that all rings share
//! ring ..         256 bytes each: head and tail, up to a multiple of 4096
//! slots ..        of each ring: records of 16 bytes
//! ```

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::RingError;
use crate::protocol::{Common, Ring};
use crate::record::{MOST_RECORDS, Raw};
use crate::sync::Shared;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"DAXRING\n");
pub(crate) const VERSION: u32 = 2;
const PAGE: usize = 4096;

/// Most rings of a file.
pub const MOST_RINGS: u32 = 1024;
const MOST_SLOTS: u32 = 1 << 24;

/// How large the rings of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rings, that is vCPUs at most. One that is not used takes no memory.
    pub rings: u32,
    /// Slots of a ring, of 16 bytes each: a power of two. A batch takes one more than it has records.
    pub slots: u32,
    /// Most records of a batch. Less than a half of the slots.
    pub batch: u32,
}

impl Default for Geometry {
    /// 64 rings of half a MiB: in the caches that a reader and a writer share.
    fn default() -> Self {
        Self { rings: 64, slots: 1 << 15, batch: 255 }
    }
}

impl Geometry {
    pub(crate) fn check(self) -> Result<Self, RingError> {
        let wrong = |found: String, expected: String| Err(RingError::Geometry { found, expected });
        if !(1..=MOST_RINGS).contains(&self.rings) {
            return wrong(format!("{} rings", self.rings), format!("1 to {MOST_RINGS}"));
        }
        if !self.slots.is_power_of_two() || !(4..=MOST_SLOTS).contains(&self.slots) {
            return wrong(format!("{} slots", self.slots), format!("a power of two from 4 to {MOST_SLOTS}"));
        }
        let most = (self.slots / 2 - 1).min(MOST_RECORDS);
        if !(1..=most).contains(&self.batch) {
            return wrong(format!("batches of {} records", self.batch), format!("1 to {most}"));
        }
        Ok(self)
    }

    /// Bytes of the file.
    pub(crate) fn bytes(self) -> usize {
        self.slots_at(self.rings)
    }

    pub(crate) fn ring_at(self, ring: u32) -> usize {
        PAGE + ring as usize * size_of::<Ring<Shared>>()
    }

    pub(crate) fn slots_at(self, ring: u32) -> usize {
        let rings = self.ring_at(self.rings).next_multiple_of(PAGE);
        rings + ring as usize * self.slots as usize * size_of::<Raw>()
    }
}

/// States of the writer, in [`FileHeader::writer`].
pub(crate) const NOT_YET: u32 = 0;
pub(crate) const WRITES: u32 = 1;
pub(crate) const FINISHED: u32 = 2;

/// The begin of the file.
#[repr(C)]
pub(crate) struct FileHeader {
    /// Stored last, so that a file which is not ready is none.
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) rings: AtomicU32,
    pub(crate) slots: AtomicU32,
    pub(crate) batch: AtomicU32,
    /// State of the writer.
    pub(crate) writer: AtomicU32,
    /// Rings that the writer uses: the first ones.
    pub(crate) used: AtomicU32,
    pub(crate) common: Common<Shared>,
    /// The next stamp of a batch.
    pub(crate) stamp: Stamp,
}

/// Bytes of [`Start`].
pub(crate) const START: usize = 24;

/// What the header begins with, as bytes of a file that is not mapped yet.
pub(crate) struct Start {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    /// As found: to be checked.
    pub(crate) geometry: Geometry,
}

impl Start {
    pub(crate) fn of_bytes(bytes: &[u8; START]) -> Self {
        let word =
            |at: usize| bytes[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        Self {
            magic: u64::from(word(4)) << 32 | u64::from(word(0)),
            version: word(8),
            geometry: Geometry { rings: word(12), slots: word(16), batch: word(20) },
        }
    }
}

/// A word on a line of its own.
#[repr(C, align(128))]
pub(crate) struct Stamp(pub(crate) AtomicU64);

const _: () = assert!(size_of::<FileHeader>() <= PAGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_are_refused_with_what_can() {
        let refused = |rings, slots, batch| Geometry { rings, slots, batch }.check().unwrap_err().to_string();
        assert_eq!(refused(0, 8, 1), "a ring with 0 rings: expected 1 to 1024");
        assert_eq!(refused(1, 12, 1), "a ring with 12 slots: expected a power of two from 4 to 16777216");
        assert_eq!(refused(1, 8, 4), "a ring with batches of 4 records: expected 1 to 3");
        assert!(Geometry::default().check().is_ok());
    }

    #[test]
    fn rings_and_slots_do_not_overlap() {
        let geometry = Geometry { rings: 20, slots: 8, batch: 3 };
        assert_eq!(geometry.ring_at(0), 4096);
        assert_eq!(geometry.ring_at(20), 4096 + 20 * 256);
        assert_eq!(geometry.slots_at(0), 3 * 4096);
        assert_eq!(geometry.slots_at(1), 3 * 4096 + 128);
        assert_eq!(geometry.bytes(), 3 * 4096 + 20 * 128);
    }
}
