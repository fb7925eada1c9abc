//! What C and Rust hand each other.

use std::ffi::c_char;
use std::mem::{align_of, offset_of, size_of};

use daxsim_sim::memory::DeviceStats;

use super::Failure;
use crate::{Access, Charge, Counts, MappingCounts, MemoryStats, Options, PageSize, TlbStats};

/// How a function ended. Zero is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is NULL that must not be.
    Null = 1,
    /// A text is not UTF-8.
    Text = 2,
    /// The description of the machine, or a setting, is wrong.
    Config = 3,
    /// There is no such CPU.
    Cpu = 4,
    /// An access cannot be made.
    Access = 5,
    /// An argument has a value that means nothing.
    Value = 6,
    /// Something went wrong inside; the machine can only be freed.
    Panic = 7,
}

/// `charge`: a hit of the L1D costs nothing, as it is in the cycles of its instruction.
pub const DAXSIM_CHARGE_INSTRUCTION: u32 = 0;
/// `charge`: a hit of the L1D costs its latency: each access waits for the one before.
pub const DAXSIM_CHARGE_LATENCY: u32 = 1;

/// `kind`: a load.
pub const DAXSIM_LOAD: u8 = 0;
/// `kind`: a store.
pub const DAXSIM_STORE: u8 = 1;
/// `kind`: an instruction fetch. It is translated; there is no cache of instructions.
pub const DAXSIM_FETCH: u8 = 2;
/// `kind`: a locked read-modify-write.
pub const DAXSIM_LOCKED: u8 = 3;

/// `flags`: by the host's kernel, and counted apart.
pub const DAXSIM_KERNEL: u8 = 1;
/// `flags`: through a global mapping, if this access makes it appear.
pub const DAXSIM_GLOBAL: u8 = 2;

/// `page`: the size of the range, or of the mapping that is there, or else 4 KiB.
pub const DAXSIM_PAGE_LOOK_UP: u8 = 0;
/// `page`: 4 KiB.
pub const DAXSIM_PAGE_4K: u8 = 1;
/// `page`: 2 MiB.
pub const DAXSIM_PAGE_2M: u8 = 2;
/// `page`: 1 GiB.
pub const DAXSIM_PAGE_1G: u8 = 3;

/// What a host may choose.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimOptions {
    /// One of `DAXSIM_CHARGE_`.
    pub charge: u32,
    /// Zero.
    pub reserved: u32,
    /// How far the clock of a CPU may be behind the latest one when it acts, in picoseconds.
    pub max_skew_ps: u64,
}

/// One access of one CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimAccess {
    /// Virtual address.
    pub va: u64,
    /// Physical address, with the same lowest 12 bits. Persistent memory is where `pmem.base` says.
    pub pa: u64,
    /// Instructions that the CPU executed since its access before, that of this one included.
    pub instructions: u32,
    /// The CPU, from 0.
    pub cpu: u16,
    /// Bytes, 1 to 4096.
    pub size: u16,
    /// `DAXSIM_LOAD` or another kind.
    pub kind: u8,
    /// `DAXSIM_KERNEL`, `DAXSIM_GLOBAL`, both or neither.
    pub flags: u8,
    /// One of `DAXSIM_PAGE_`.
    pub page: u8,
    /// Zero.
    pub reserved: u8,
}

// A slice of the one is a slice of the other.
const _: () = assert!(
    size_of::<DaxsimAccess>() == size_of::<Access>()
        && align_of::<DaxsimAccess>() == align_of::<Access>()
        && offset_of!(DaxsimAccess, va) == offset_of!(Access, va)
        && offset_of!(DaxsimAccess, pa) == offset_of!(Access, pa)
        && offset_of!(DaxsimAccess, instructions) == offset_of!(Access, instructions)
        && offset_of!(DaxsimAccess, cpu) == offset_of!(Access, cpu)
        && offset_of!(DaxsimAccess, size) == offset_of!(Access, size)
        && offset_of!(DaxsimAccess, kind) == offset_of!(Access, kind)
        && offset_of!(DaxsimAccess, flags) == offset_of!(Access, flags)
        && offset_of!(DaxsimAccess, page) == offset_of!(Access, page)
        && offset_of!(DaxsimAccess, reserved) == offset_of!(Access, reserved)
);

/// An interrupt that a CPU has taken. Times are picoseconds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimTaken {
    /// Who sent it.
    pub from: u16,
    /// When the sender had written its ICR.
    pub sent_ps: u64,
    /// When the target's local APIC accepted it.
    pub arrived_ps: u64,
    /// When the handler began.
    pub handled_ps: u64,
}

/// What one CPU did in one mode.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimCounts {
    /// Instructions that the host told of.
    pub instructions: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Instruction fetches.
    pub fetches: u64,
    /// Locked read-modify-writes.
    pub locked: u64,
    /// Translations that a first-level TLB had.
    pub first_level_hits: u64,
    /// Translations that only a second-level TLB had.
    pub second_level_hits: u64,
    /// Page walks.
    pub walks: u64,
    /// Paging-structure entries that these read.
    pub walk_reads: u64,
    /// Lines of data that the L1D had.
    pub l1: u64,
    /// Lines that the L2 had.
    pub l2: u64,
    /// Lines that the L3 had.
    pub l3: u64,
    /// Lines taken from another core.
    pub transfers: u64,
    /// Lines of main memory.
    pub dram: u64,
    /// Lines of persistent memory.
    pub pmem: u64,
    /// Time of instructions, in picoseconds.
    pub compute_ps: u64,
    /// Time of second-level TLB hits and walks.
    pub walk_ps: u64,
    /// Time of setting A and D.
    pub assist_ps: u64,
    /// Time of data beyond a hit of the L1D.
    pub memory_ps: u64,
}

impl From<Counts> for DaxsimCounts {
    fn from(counts: Counts) -> Self {
        let [loads, stores, fetches, locked] = counts.accesses;
        let [l1, l2, l3, transfers, dram, pmem] = counts.levels;
        Self {
            instructions: counts.instructions,
            loads,
            stores,
            fetches,
            locked,
            first_level_hits: counts.first_level_hits,
            second_level_hits: counts.second_level_hits,
            walks: counts.walks,
            walk_reads: counts.walk_reads,
            l1,
            l2,
            l3,
            transfers,
            dram,
            pmem,
            compute_ps: counts.compute.0,
            walk_ps: counts.walk.0,
            assist_ps: counts.assist.0,
            memory_ps: counts.memory.0,
        }
    }
}

/// Counts of a TLB or a paging-structure cache.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimStructure {
    /// Its name, as `dtlb` or `psc_pde`, with a NUL at the end.
    pub name: [c_char; 24],
    /// Lookups; 0 for an array that is asked with others, whose lookups are counted together.
    pub lookups: u64,
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Entries put in.
    pub fills: u64,
    /// Entries that a fill pushed out.
    pub evictions: u64,
    /// Entries that an invalidation removed.
    pub invalidations: u64,
}

impl DaxsimStructure {
    pub(super) fn new(name: &str, stats: &TlbStats) -> Self {
        let mut text = [0; 24];
        for (to, byte) in text.iter_mut().take(23).zip(name.bytes()) {
            *to = byte as c_char;
        }
        Self {
            name: text,
            lookups: stats.lookups,
            hits: stats.hits,
            misses: stats.misses,
            fills: stats.fills,
            evictions: stats.evictions,
            invalidations: stats.invalidations,
        }
    }
}

/// One kind of memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimDevice {
    /// 64-byte reads.
    pub reads: u64,
    /// 64-byte writes.
    pub writes: u64,
    /// Bytes read from the media.
    pub media_bytes_read: u64,
    /// Bytes written to the media.
    pub media_bytes_written: u64,
    /// Writes that found their queue full.
    pub stalls: u64,
    /// Time that they waited, in picoseconds.
    pub stall_ps: u64,
}

impl From<&DeviceStats> for DaxsimDevice {
    fn from(stats: &DeviceStats) -> Self {
        Self {
            reads: stats.reads,
            writes: stats.writes,
            media_bytes_read: stats.media_bytes_read,
            media_bytes_written: stats.media_bytes_written,
            stalls: stats.stalls,
            stall_ps: stats.stall_time.0,
        }
    }
}

/// Caches of all cores and the controllers. Unlike the counts of a CPU it has the reads of page walks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimMemory {
    /// Hits of L1Ds.
    pub l1d_hits: u64,
    /// Misses of L1Ds.
    pub l1d_misses: u64,
    /// Hits of L2s.
    pub l2_hits: u64,
    /// Misses of L2s.
    pub l2_misses: u64,
    /// Hits of the L3.
    pub l3_hits: u64,
    /// Misses of the L3.
    pub l3_misses: u64,
    /// Lines, or the right to write them, taken from other cores.
    pub transfers: u64,
    /// Main memory.
    pub dram: DaxsimDevice,
    /// Persistent memory.
    pub pmem: DaxsimDevice,
}

impl From<&MemoryStats> for DaxsimMemory {
    fn from(stats: &MemoryStats) -> Self {
        Self {
            l1d_hits: stats.l1d.hits,
            l1d_misses: stats.l1d.misses,
            l2_hits: stats.l2.hits,
            l2_misses: stats.l2.misses,
            l3_hits: stats.l3.hits,
            l3_misses: stats.l3.misses,
            transfers: stats.transfers,
            dram: (&stats.dram).into(),
            pmem: (&stats.pmem).into(),
        }
    }
}

/// How the page tables came about.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DaxsimMapping {
    /// Pages that appeared, of 4 KiB, 2 MiB and 1 GiB.
    pub pages: [u64; 3],
    /// Entries rewritten because a pair of addresses contradicts them.
    pub inferred_remaps: u64,
    /// Cached translations that a pair contradicts: an invalidation was not told.
    pub stale: u64,
    /// Pages that could not have the size of their range.
    pub incongruent: u64,
    /// Entries read from the guest's tables.
    pub guest_reads: u64,
    /// Walks of the guest's tables that found no page.
    pub guest_absent: u64,
    /// Pages of the host where simulated page tables are.
    pub collisions: u64,
}

impl From<MappingCounts> for DaxsimMapping {
    fn from(counts: MappingCounts) -> Self {
        let MappingCounts {
            pages,
            inferred_remaps,
            stale,
            incongruent,
            guest_reads,
            guest_absent,
            collisions,
        } = counts;
        Self { pages, inferred_remaps, stale, incongruent, guest_reads, guest_absent, collisions }
    }
}

impl From<Options> for DaxsimOptions {
    fn from(options: Options) -> Self {
        let charge = match options.charge {
            Charge::Instruction => DAXSIM_CHARGE_INSTRUCTION,
            Charge::Latency => DAXSIM_CHARGE_LATENCY,
        };
        Self { charge, reserved: 0, max_skew_ps: options.max_skew.0 }
    }
}

pub(super) fn charge_of(charge: u32) -> Result<Charge, Failure> {
    match charge {
        DAXSIM_CHARGE_INSTRUCTION => Ok(Charge::Instruction),
        DAXSIM_CHARGE_LATENCY => Ok(Charge::Latency),
        other => Err(Failure(Status::Value, format!("charge {other}: expected one of DAXSIM_CHARGE_"))),
    }
}

pub(super) fn page_of(page: u8) -> Result<PageSize, Failure> {
    match page {
        DAXSIM_PAGE_4K => Ok(PageSize::Size4K),
        DAXSIM_PAGE_2M => Ok(PageSize::Size2M),
        DAXSIM_PAGE_1G => Ok(PageSize::Size1G),
        other => {
            let text = format!("page {other}: expected DAXSIM_PAGE_4K, DAXSIM_PAGE_2M or DAXSIM_PAGE_1G");
            Err(Failure(Status::Value, text))
        }
    }
}
