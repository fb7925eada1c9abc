//! Persistent memory: an interleave set of DIMMs with a media access unit larger than a line.
//!
//! After the Optane DCPMM 100 series as measured by LENS/VANS (MICRO'20) and OptaneStudy (FAST'20): a
//! write pending queue per channel, an on-DIMM buffer of 256-byte lines, the media. A byte-addressable
//! device without such a unit is the same thing with a media line of 64 bytes.

mod buffer;
mod dimm;
mod domain;

use daxsim_configs::machine::PmemSpec;
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::interleave::{Divisor, Interleave};
use super::stats::DeviceStats;
use dimm::Dimm;
pub(super) use domain::Domain;
pub use domain::{PageLines, Tag, Unaccepted};

/// Sectors that a media line's masks can tell apart.
const MAX_SECTORS: u64 = 64;

/// The DIMMs and the way to them.
pub(super) struct Pmem {
    base: u64,
    capacity: u64,
    interleave: Interleave,
    media_line: Divisor,
    sector: Divisor,
    dimms: Vec<Dimm>,
    /// A loss of power spares the queues.
    adr: bool,
    /// What has not arrived yet.
    pub domain: Domain,
    pub stats: DeviceStats,
}

impl Pmem {
    /// Idle DIMMs with empty buffers.
    pub fn new(spec: &PmemSpec) -> Self {
        // 64-byte sectors, unless the media line has more than the masks can hold.
        let sector = LINE_BYTES.max(spec.media_line.div_ceil(MAX_SECTORS));
        let sectors = spec.media_line.div_ceil(sector).max(1);
        Self {
            base: spec.base,
            capacity: spec.capacity,
            interleave: Interleave::new(spec.interleave, spec.dimms),
            media_line: Divisor::new(spec.media_line),
            sector: Divisor::new(sector),
            dimms: (0..spec.dimms.max(1)).map(|_| Dimm::new(spec, sectors)).collect(),
            adr: spec.adr,
            domain: Domain::new(spec.base),
            stats: DeviceStats::default(),
        }
    }

    /// Whether `line` is persistent memory.
    #[inline]
    pub const fn holds(&self, line: CacheLine) -> bool {
        line.addr().0.wrapping_sub(self.base) < self.capacity
    }

    /// DIMM, media line in it, and the bit of the sector in that.
    #[inline]
    const fn locate(&self, line: CacheLine) -> (usize, u64, u64) {
        let (dimm, local) = self.interleave.locate(line.addr().0.wrapping_sub(self.base));
        let (media_line, offset) = self.media_line.div_rem(local);
        (dimm, media_line, 1 << self.sector.div_rem(offset).0)
    }

    /// A read of `line` that reaches the controller at `arrive`: its latency from there.
    pub fn read(&mut self, line: CacheLine, arrive: Time) -> Time {
        let (dimm, media_line, sector) = self.locate(line);
        self.stats.count_read();
        self.dimms[dimm].read(media_line, sector, arrive, &mut self.stats)
    }

    /// A write of `line`, sent at `sent`, that reaches the write pending queue at `arrive`: how long it
    /// waits for room there.
    pub fn write(&mut self, line: CacheLine, sent: Time, arrive: Time) -> Time {
        let (dimm, media_line, sector) = self.locate(line);
        let stall = self.dimms[dimm].write(media_line, sector, arrive, &mut self.stats);
        self.stats.count_write(stall);
        let durable = if self.adr { arrive + stall } else { self.dimms[dimm].last_drained() };
        self.domain.sent(line, sent, durable);
        stall
    }
}
