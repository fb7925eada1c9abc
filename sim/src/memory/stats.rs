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
    /// Bytes read from the media (for DRAM `bytes_read` less what its write queue
    /// answered), read-modify-writes included.
    pub media_bytes_read: u64,
    /// Bytes written to the media (for DRAM as `bytes_written`). Lines still in the on-DIMM buffer,
    /// or in the write queue of a DRAM channel, are not in it yet.
    pub media_bytes_written: u64,
    /// Writes that found their write queue full.
    pub stalls: u64,
    /// Time that those writes waited for room.
    pub stall_time: Time,
    /// Reads that found the controller's read queue full. Of DRAM none, as all below.
    pub read_waits: u64,
    /// Time that those reads waited for room.
    pub read_wait_time: Time,
    /// Reads of lines that the on-DIMM buffer had, or was reading from the media.
    pub buffer_read_hits: u64,
    /// Writes to lines that the on-DIMM buffer had.
    pub buffer_write_hits: u64,
    /// Lines that were written to the media of which the DIMM did not have every sector: each was read before.
    pub partial_writes: u64,
    /// Reads and writes of the media whose block the DIMM's cache of the address indirection table had.
    pub translation_hits: u64,
    /// Those whose block it had not.
    pub translation_misses: u64,
    /// Blocks that wear levelling moved.
    pub migrations: u64,
    /// Time that accesses waited for blocks that moved.
    pub migration_stall: Time,
    /// Time that writes spent in write pending queues, all together: divided by the length of a run, the mean depth.
    pub write_queue_time: Time,
    /// Most writes in one of them.
    pub write_queue_max: u64,
    /// As `write_queue_time`, of reads until their data are back.
    pub read_queue_time: Time,
    /// Most reads on their way to or from one DIMM.
    pub read_queue_max: u64,
    /// As `write_queue_time`, of lines that go from DIMMs' buffers to their media.
    pub media_queue_time: Time,
    /// Most lines on their way to the media of one DIMM.
    pub media_queue_max: u64,
}

impl DeviceStats {
    /// `bytes_written / media_bytes_written`, OptaneStudy's EWR; `None` before the media was written.
    #[must_use]
    pub fn effective_write_ratio(&self) -> Option<f64> {
        (self.media_bytes_written > 0).then(|| self.bytes_written as f64 / self.media_bytes_written as f64)
    }

    /// `media_bytes_written / bytes_written`; `None` before the first write.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        (self.bytes_written > 0).then(|| self.media_bytes_written as f64 / self.bytes_written as f64)
    }

    pub(super) fn count_read_wait(&mut self, wait: Time) {
        if wait > Time::ZERO {
            self.read_waits += 1;
            self.read_wait_time += wait;
        }
    }

    pub(super) fn count_translation(&mut self, hit: bool) {
        self.translation_hits += u64::from(hit);
        self.translation_misses += u64::from(!hit);
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

/// What happened in the banks of main memory, all channels together; zero where `dram.timing` is flat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DramStats {
    /// Reads and writes that found their row open.
    pub row_hits: u64,
    /// Those that found no row open in their bank.
    pub row_misses: u64,
    /// Those that found another row open.
    pub row_conflicts: u64,
    /// Rows opened.
    pub activates: u64,
    /// Rows closed, by a precharge command, with an access, or for a refresh.
    pub precharges: u64,
    /// Refreshes of a rank until the end of the last transfer.
    pub refreshes: u64,
    /// Changes of a channel's bus from reads to writes or back.
    pub switches: u64,
    /// Reads that the write queue answered.
    pub forwarded_reads: u64,
    /// Times that the write queue of a channel was so full that writes went before reads.
    pub write_bursts: u64,
    /// Sum over all reads from the controller, of the time until their read command.
    pub read_wait: Time,
    /// Sum over all written lines, of the time until their write command.
    pub write_wait: Time,
    /// Most reads of a channel that waited at a time.
    pub read_queue_max: u64,
    /// Most lines in a channel's write queue at a time.
    pub write_queue_max: u64,
    /// From the start to the end of the last transfer.
    pub observed: Time,
    /// Channels, subchannels counted.
    pub channels: u64,
}

impl DramStats {
    /// Reads that waited in a channel, the mean over the time; `None` before the first transfer.
    #[must_use]
    pub fn read_queue_mean(&self) -> Option<f64> {
        self.mean(self.read_wait)
    }

    /// Lines in the write queue of a channel, the mean over the time; `None` before the first transfer.
    #[must_use]
    pub fn write_queue_mean(&self) -> Option<f64> {
        self.mean(self.write_wait)
    }

    /// The time that all spent in the queues, over the time that went by (Little's law).
    fn mean(&self, wait: Time) -> Option<f64> {
        let elapsed = self.observed.0 * self.channels;
        (elapsed > 0).then(|| wait.0 as f64 / elapsed as f64)
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
    /// Requests that had to wait because the line was still under way to another core.
    pub line_waits: u64,
    /// How long, all together.
    pub line_wait_time: Time,
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
    /// Its banks and queues.
    pub dram_banks: DramStats,
    /// Persistent memory.
    pub pmem: DeviceStats,
}
