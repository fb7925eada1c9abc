//! Persistent memory: an interleave set of DIMMs, each behind queues of the memory controller and a link.
//!
//! After the Optane DCPMM 100 series as measured by OptaneStudy (FAST'20), LENS/VANS (MICRO'20) and NVLeak (USENIX Security'23).
//! A write waits for a place in the write pending queue ([`queue`]), goes over the link ([`link`]) into the buffer of media
//! lines ([`buffer`]), and with its line from there to the media ([`media`]). A read asks the buffer, then the media, where the
//! table of indirections ([`translation`]) says. Blocks that were written often are moved ([`wear`]). [`dimm`] joins these.
//! Other devices leave parts out: see `docs/memory.md`.

mod arbiter;
mod buffer;
mod busy;
mod dimm;
mod domain;
mod entrance;
mod link;
mod media;
mod pauses;
mod queue;
#[cfg(test)]
mod tests;
mod translation;
mod wear;

use daxsim_configs::machine::PmemSpec;
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::interleave::{Divisor, Interleave};
use super::stats::DeviceStats;
use dimm::Dimm;
pub(super) use domain::Domain;
pub use domain::{PageLines, Tag, Unaccepted};
use pauses::Pauses;

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
    pauses: Pauses,
    /// A loss of power spares the queues.
    adr: bool,
    /// What has not arrived yet.
    pub domain: Domain,
    counts: DeviceStats,
    /// Time that a line takes over the link, besides what occupies it.
    link_latency: Time,
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
            dimms: (0..u64::from(spec.dimms.max(1))).map(|n| Dimm::new(spec, sectors, n)).collect(),
            pauses: Pauses::new(spec),
            adr: spec.adr,
            domain: Domain::new(spec.base),
            counts: DeviceStats::default(),
            link_latency: spec.link_latency,
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
        self.counts.count_read();
        let paused = self.pauses.wait(arrive);
        let there = arrive + paused + self.link_latency;
        self.dimms[dimm].read(media_line, sector, there, &mut self.counts)
            + paused
            + self.link_latency
            + self.link_latency
    }

    /// A write of `line`, sent at `sent`, that reaches the write pending queue at `arrive`: how long it
    /// waits for room there.
    pub fn write(&mut self, line: CacheLine, sent: Time, arrive: Time) -> Time {
        let (dimm, stall) = self.queue(line, sent, arrive);
        self.counts.count_write(stall);
        let durable = if self.adr { arrive + stall } else { self.dimms[dimm].last_leaves() };
        self.domain.sent(line, sent, durable);
        stall
    }

    /// A write at `at` of what is kept beside `line`: it is like one of the line, but the line is no more durable than before.
    pub fn write_note(&mut self, line: CacheLine, at: Time) -> Time {
        self.queue(line, at, at).1
    }

    /// A write's DIMM, and how long it waits for room in its queue.
    fn queue(&mut self, line: CacheLine, sent: Time, arrive: Time) -> (usize, Time) {
        let (dimm, media_line, sector) = self.locate(line);
        let paused = self.pauses.wait(arrive);
        let stall =
            paused + self.dimms[dimm].write(media_line, sector, [sent, arrive + paused], &mut self.counts);
        (dimm, stall)
    }

    /// What was counted, all DIMMs together.
    pub fn stats(&self) -> DeviceStats {
        let mut stats = self.counts;
        for dimm in &self.dimms {
            stats.write_queue_time += dimm.wpq.spent;
            stats.write_queue_max = stats.write_queue_max.max(dimm.wpq.deepest);
            stats.read_queue_time += dimm.rpq.spent;
            stats.read_queue_max = stats.read_queue_max.max(dimm.rpq.deepest);
            stats.media_queue_time += dimm.media.writes.spent;
            stats.media_queue_max = stats.media_queue_max.max(dimm.media.writes.deepest);
        }
        stats
    }
}
