//! Tests of the memory system as a whole.

mod coherence;
mod contention;
mod levels;
mod persistence;
mod reference;
mod topology;

use daxsim_configs::load_machine;
use daxsim_configs::machine::{
    BufferReplacement, CacheIndex, CacheReplacement, CacheSpec, CachesSpec, DramSpec, DramTiming,
    MachineSpec, PmemSpec,
};
use daxsim_types::{CacheLine, CpuClock, LINE_BYTES, Pfn, Time};

/// First line of persistent memory in [`machine`].
pub(crate) const PMEM: u64 = (1 << 30) / LINE_BYTES;

pub(super) const L1: Time = Time(2_000);
pub(super) const L2: Time = Time(7_000);
pub(super) const L3: Time = Time(36_000);
pub(super) const TRANSFER: Time = Time(48_000);
pub(super) const DRAM: Time = Time(60_000);
pub(super) const BUFFERED: Time = Time(120_000);
pub(super) const MEDIA: Time = Time(270_000);
pub(crate) const PMEM_WRITE: Time = Time(62_000);

pub(in crate::memory) fn geometry(sets: u64, ways: u32, latency: Time) -> CacheSpec {
    let size = sets * u64::from(ways) * LINE_BYTES;
    CacheSpec {
        size,
        ways,
        latency,
        replacement: CacheReplacement::Lru,
        bip_rate: 32,
        index: CacheIndex::Linear,
        index_bits: 0,
    }
}

/// A machine with caches small enough to overflow by hand (L1D 2 x 2, L2 2 x 4, L3 3 x 4) and round latencies.
pub(crate) fn machine(cores: u16) -> MachineSpec {
    let mut spec = load_machine("skylake-sp-optane", &[]).unwrap();
    spec.cpu.count = cores;
    spec.cpu.clock = CpuClock::from_hertz(2_000_000_000).expect("a clock");
    spec.cache = CachesSpec {
        l1d: geometry(2, 2, L1),
        l2: geometry(2, 4, L2),
        l3: geometry(3, 4, L3),
        transfer: TRANSFER,
        ..spec.cache
    };
    spec.cost.clwb_issue = Time::ZERO;
    spec.cpu.nt_store_latency = Time::ZERO;
    spec.cpu.flush_interval = Time::ZERO;
    spec.dram = DramSpec { capacity: 1 << 30, channels: 2, read_latency: DRAM, line_occupancy: Time(3_000) };
    spec.dram_banks.timing = DramTiming::Flat;
    spec.pmem = PmemSpec {
        base: 1 << 30,
        capacity: 1 << 30,
        dimms: 2,
        interleave: 4096,
        media_line: 256,
        buffer_lines: 64,
        read_latency_buffered: BUFFERED,
        read_latency_media: MEDIA,
        write_latency: PMEM_WRITE,
        wpq_lines: 8,
        media_read_occupancy: Time(39_000),
        media_write_occupancy: Time(116_000),
        ..plain(spec.pmem)
    };
    spec
}

/// Without what only the DIMMs of Optane have.
pub(in crate::memory) fn plain(spec: PmemSpec) -> PmemSpec {
    PmemSpec {
        buffer_replacement: BufferReplacement::Lru,
        read_buffer_replacement: BufferReplacement::Lru,
        media_read_share: 100,
        wpq_turn: Time::ZERO,
        rpq_lines: 1 << 16,
        read_buffer_lines: 0,
        wpq_samples: 64,
        // Writes keep their order, so that lines of the media stay whole.
        wpq_waiting: 1,
        rpq_samples: 64,
        sector_interval: Time::ZERO,
        link_read_occupancy: Time::ZERO,
        link_write_occupancy: Time::ZERO,
        ait_entries: 0,
        ait_update_writes: 0,
        media_queue: 16,
        wear_writes_least: 0,
        wear_writes_most: 0,
        ..spec
    }
}

pub(super) const fn line(n: u64) -> CacheLine {
    CacheLine(n)
}

/// A time so far apart from the last that every device is idle again.
pub(super) const fn later(n: u64) -> Time {
    Time(n * 1_000_000_000)
}
