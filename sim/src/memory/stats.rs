//! Counters of the memory system, as plain data.

use daxsim_types::{LINE_BYTES, Time};

/// One cache level, all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Demand lookups: `hits + misses`.
    pub lookups: u64,
    /// Lookups that found the line, in whatever state.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Modified lines evicted to the next level.
    pub writebacks: u64,
}

impl CacheStats {
    /// The same counts with `lookups` made up from the others.
    pub(super) const fn totalled(mut self) -> Self {
        self.lookups = self.hits + self.misses;
        self
    }
}

/// One kind of memory, all channels or DIMMs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// 64-byte reads.
    pub reads: u64,
    /// 64-byte writes.
    pub writes: u64,
    /// Bytes that reads asked for.
    pub bytes_read: u64,
    /// Bytes that writes brought.
    pub bytes_written: u64,
    /// Bytes read from the media (for DRAM the same as `bytes_read`), read-modify-writes included.
    pub media_bytes_read: u64,
    /// Bytes written to the media (for DRAM the same as `bytes_written`). Lines still in the
    /// on-DIMM buffer are not in it yet.
    pub media_bytes_written: u64,
    /// Writes that found their write queue full.
    pub stalls: u64,
    /// Time that those writes waited for room.
    pub stall_time: Time,
}

impl DeviceStats {
    /// `media_bytes_written / bytes_written`; `None` before the first write.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        (self.bytes_written > 0).then(|| self.media_bytes_written as f64 / self.bytes_written as f64)
    }

    pub(super) const fn count_read(&mut self) {
        self.reads += 1;
        self.bytes_read += LINE_BYTES;
    }

    pub(super) fn count_write(&mut self, stall: Time) {
        self.writes += 1;
        self.bytes_written += LINE_BYTES;
        if stall > Time::ZERO {
            self.stalls += 1;
            self.stall_time += stall;
        }
    }
}

/// The whole memory system since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// First-level data caches.
    pub l1d: CacheStats,
    /// Second-level caches.
    pub l2: CacheStats,
    /// The shared third level.
    pub l3: CacheStats,
    /// Lines, or the right to write them, taken from other cores.
    pub transfers: u64,
    /// Writes that hit a shared copy and had to ask for ownership.
    pub upgrades: u64,
    /// Copies in a core's private caches that another core's write, or an ntstore, invalidated.
    pub invalidations: u64,
    /// L1D copies dropped because the L2 evicted the line.
    pub back_invalidations: u64,
    /// Cores that lost a line because an inclusive L3 evicted it.
    pub l3_back_invalidations: u64,
    /// Lines that caches read from devices.
    pub memory_fills: u64,
    /// Lines fetched into an L2 unasked.
    pub prefetches: u64,
    /// Reads of page walkers that ask the L2 first (`mmu.walker_reads`).
    pub walker_reads: u64,
    /// CLWBs that found a modified line and wrote it back.
    pub clwb_writebacks: u64,
    /// CLFLUSHes and CLFLUSHOPTs that found a modified line and wrote it back.
    pub flush_writebacks: u64,
    /// Cache-bypassing stores.
    pub nt_stores: u64,
    /// Main memory.
    pub dram: DeviceStats,
    /// Persistent memory.
    pub pmem: DeviceStats,
}
