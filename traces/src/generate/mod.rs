//! Address streams made from a seed, one access at a time; `shared` makes those of several threads, `workload` scripts.
//!
//! `chase`, `zipf`, `seq` and `mixed` are those of the published TLB counts (`sim/tests/data/tlb-golden.json`): seed 42
//! gives their recorded bytes.

mod shared;
mod split_mix;
mod workload;
mod zipf;

use daxsim_types::VirtAddr;

use crate::access::{AccessOp, AccessRecord};

pub use shared::Shared;
pub use split_mix::SplitMix;
pub use workload::{Faults, Kind as WorkloadKind, Workload};
use zipf::Zipf;

/// Where streams begin unless told otherwise.
pub const BASE: u64 = 0x10_0000_0000;

const PAGE: u64 = 4096;
const LINE: u64 = 64;
/// Lines of a page.
const LINES: u64 = PAGE / LINE;
/// Lines of the GiB that `chase` and `seq` go through.
const GIB_LINES: u32 = 1 << 24;
/// Pages of a GiB.
const GIB_PAGES: u64 = 1 << 18;

/// One access of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its address: a multiple of 64.
    pub va: VirtAddr,
    /// A store rather than a load.
    pub write: bool,
}

impl Access {
    /// The access as the `raw` format has it: the address, with bit 0 set for a store.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        (self.va.0 & !1) | self.write as u64
    }
}

impl Access {
    /// The access as a record: of 8 bytes, by an instruction of its own.
    #[must_use]
    pub const fn to_record(self, dependent: bool) -> AccessRecord {
        let op = if self.write { AccessOp::Store } else { AccessOp::Load };
        AccessRecord { va: self.va, gap: 1, size: 8, op, dependent }
    }
}

/// What addresses a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Loads along one random cycle through all lines of 1 GiB.
    Chase,
    /// The same through all lines of `bytes`, a multiple of 64.
    ChaseOf {
        /// Length of the range.
        bytes: u64,
    },
    /// Loads from random lines of pages with a Zipf distribution (0.99) over 4 GiB.
    Zipf,
    /// The same of any length, with stores.
    ZipfOf {
        /// Pages of the range: a power of two.
        pages: u64,
        /// The exponent in thousandths, above 0 and below 1000.
        theta: u32,
        /// Stores of 100 accesses.
        writes: u64,
    },
    /// Loads from line after line of 1 GiB, again and again.
    Seq,
    /// Runs of 16 accesses on average in a page, 30 % stores; half of the runs in 8,192 hot pages, the others anywhere in 1
    /// GiB or in the next page.
    Mixed,
    /// Loads and stores anywhere in `bytes`.
    Uniform {
        /// Length of the range, a multiple of 64.
        bytes: u64,
        /// Stores of 100 accesses.
        writes: u64,
    },
    /// Loads or stores `stride` bytes apart in `bytes`, again and again.
    Stride {
        /// Length of the range, a multiple of 64.
        bytes: u64,
        /// Distance of two accesses, a multiple of 64.
        stride: u64,
        /// Stores of 100 accesses.
        writes: u64,
    },
}

impl Pattern {
    /// Whether each address comes from the access before it.
    #[must_use]
    pub const fn is_dependent(self) -> bool {
        matches!(self, Self::Chase | Self::ChaseOf { .. })
    }
}

enum State {
    Chase { next: Vec<u32>, at: u32 },
    Zipf(Zipf, u64),
    Seq { line: u64 },
    Mixed { page: u64 },
    Uniform { lines: u64, writes: u64 },
    Stride { bytes: u64, stride: u64, writes: u64, at: u64 },
}

/// An endless stream of accesses. Equal arguments give equal streams on any host.
pub struct Generator {
    base: u64,
    rng: SplitMix,
    state: State,
}

impl Generator {
    /// The stream of a pattern from `base` upwards.
    #[must_use]
    pub fn new(pattern: Pattern, seed: u64, base: u64) -> Self {
        let mut rng = SplitMix::new(seed);
        let state = match pattern {
            Pattern::Chase => State::Chase { next: rng.cycle(GIB_LINES), at: 0 },
            Pattern::ChaseOf { bytes } => {
                let lines = u32::try_from((bytes / LINE).max(1)).unwrap_or(u32::MAX);
                State::Chase { next: rng.cycle(lines), at: 0 }
            }
            Pattern::Zipf => State::Zipf(Zipf::new(zipf::PAGES, zipf::THETA), 0),
            Pattern::ZipfOf { pages, theta, writes } => State::Zipf(Zipf::new(pages, theta), writes),
            Pattern::Seq => State::Seq { line: 0 },
            Pattern::Mixed => State::Mixed { page: 0 },
            Pattern::Uniform { bytes, writes } => State::Uniform { lines: (bytes / LINE).max(1), writes },
            Pattern::Stride { bytes, stride, writes } => {
                State::Stride { bytes: bytes.max(LINE), stride, writes, at: 0 }
            }
        };
        Self { base, rng, state }
    }

    /// Offset of the next access, and whether it is a store.
    fn draw(&mut self) -> (u64, bool) {
        let rng = &mut self.rng;
        match &mut self.state {
            State::Chase { next, at } => {
                let line = *at;
                *at = next.get(line as usize).copied().unwrap_or_default();
                (u64::from(line) * LINE, false)
            }
            State::Zipf(zipf, writes) => {
                let offset = zipf.page(rng) * PAGE + rng.below(LINES) * LINE;
                (offset, *writes > 0 && rng.below(100) < *writes)
            }
            State::Seq { line } => {
                let at = *line;
                *line = (at + 1) % u64::from(GIB_LINES);
                (at * LINE, false)
            }
            State::Mixed { page } => {
                if rng.below(16) == 0 {
                    *page = match rng.below(8) {
                        0..4 => rng.below(8192) * 32 + 5,
                        4..7 => rng.below(GIB_PAGES),
                        _ => (*page + 1) % GIB_PAGES,
                    };
                }
                let line = rng.below(LINES);
                (*page * PAGE + line * LINE, rng.below(10) < 3)
            }
            State::Uniform { lines, writes } => (rng.below(*lines) * LINE, rng.below(100) < *writes),
            State::Stride { bytes, stride, writes, at } => {
                let offset = *at;
                *at = (offset + *stride) % *bytes;
                (offset, rng.below(100) < *writes)
            }
        }
    }
}

impl Iterator for Generator {
    type Item = Access;

    fn next(&mut self) -> Option<Access> {
        let (offset, write) = self.draw();
        Some(Access { va: VirtAddr(self.base.wrapping_add(offset)), write })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(pattern: Pattern, n: usize) -> Vec<u64> {
        Generator::new(pattern, 42, BASE).take(n).map(Access::to_raw).collect()
    }

    #[test]
    fn the_published_streams_begin_as_published() {
        // `first_8_records_hex` of the published counts.
        assert_eq!(raw(Pattern::Chase, 3), [0x10_0000_0000, 0x10_3636_3240, 0x10_1b51_fc40]);
        assert_eq!(raw(Pattern::Zipf, 3), [0x10_3fdc_8280, 0x10_933a_e580, 0x10_977b_2dc0]);
        assert_eq!(raw(Pattern::Seq, 3), [0x10_0000_0000, 0x10_0000_0040, 0x10_0000_0080]);
        assert_eq!(raw(Pattern::Mixed, 3), [0x10_0000_0281, 0x10_0000_0080, 0x10_0000_0cc0]);
    }

    #[test]
    fn records_say_what_the_raw_bytes_say() {
        let access = Access { va: VirtAddr(0x1000), write: true };
        let record = access.to_record(Pattern::Chase.is_dependent());
        assert_eq!((record.va, record.op, record.dependent), (VirtAddr(0x1000), AccessOp::Store, true));
        assert_eq!(Access { write: false, ..access }.to_record(false).op, AccessOp::Load);
    }

    #[test]
    fn a_stride_comes_round() {
        let pattern = Pattern::Stride { bytes: 192, stride: 128, writes: 0 };
        assert_eq!(raw(pattern, 4), [0, 128, 64, 0].map(|offset| BASE + offset));
        let all_stores = Pattern::Stride { bytes: 64, stride: 64, writes: 100 };
        assert_eq!(raw(all_stores, 2), [BASE | 1; 2]);
    }

    #[test]
    fn uniform_accesses_stay_in_their_range_and_store_as_often_as_told() {
        let all = raw(Pattern::Uniform { bytes: 4 * 64, writes: 25 }, 10_000);
        let lines: std::collections::BTreeSet<u64> = all.iter().map(|r| r & !1).collect();
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), [0, 64, 128, 192].map(|o| BASE + o));
        let stores = all.iter().filter(|r| *r & 1 != 0).count();
        assert!((2300..2700).contains(&stores), "{stores}");
    }
}
