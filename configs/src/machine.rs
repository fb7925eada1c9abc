//! The validated description of a simulated machine: what a machine TOML means once its
//! keys are known, its units are converted and its geometry is possible.
//!
//! Times are already in picoseconds; a value written in cycles was multiplied by the clock's
//! period. Nothing here can be zero where zero is impossible, so the simulator need not check.

use daxsim_types::{CpuClock, PageSize, Time};

pub use crate::caches::{
    CacheIndex, CacheReplacement, CacheSpec, CachesSpec, FrameOrder, FramesSpec, L3Relation, Prefetch,
    TopologySpec,
};
pub use crate::cost::{Basis, Source, Trust};
pub use crate::dram::{
    DeviceWidth, DramBanksSpec, DramDensity, DramGeometry, DramPreset, DramRefresh, DramTiming, PagePolicy,
};
pub use crate::dram_mapping::{DramDigit, DramField, DramMapping};
pub use crate::ipi::IpiSpec;
pub use crate::machine_tlb::{Inclusion, Replacement, SetIndex, TlbSpec, TlbsSpec};

/// A machine, ready to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineSpec {
    /// Short name, as `--machine` takes it.
    pub name: String,
    /// One line for reports.
    pub description: String,
    /// Cores and their clock.
    pub cpu: CpuSpec,
    /// Paging behaviour that is not geometry.
    pub mmu: MmuSpec,
    /// First- and second-level TLBs.
    pub tlb: TlbsSpec,
    /// Paging-structure caches.
    pub psc: PscSpec,
    /// The second stage of translation, if the machine is a virtual one.
    pub nested: Option<NestedSpec>,
    /// Data caches and transfers between them.
    pub cache: CachesSpec,
    /// Which cores share an L3, and which a socket.
    pub topology: TopologySpec,
    /// Exception, system-call and serialising-instruction costs.
    pub cost: CostSpec,
    /// Inter-processor interrupts.
    pub ipi: IpiSpec,
    /// Main memory.
    pub dram: DramSpec,
    /// Its banks and its controller, if it is not flat.
    pub dram_banks: DramBanksSpec,
    /// Its devices: the speed bin of `dram.preset`.
    pub dram_preset: DramPreset,
    /// The order in which its frames are given out.
    pub frames: FramesSpec,
    /// Persistent memory, which holds the DAX files.
    pub pmem: PmemSpec,
    /// Where the compute costs come from, if the file says so.
    pub trust: Option<TrustSpec>,
}

/// `[cpu]`
#[derive(Clone, Debug, PartialEq)]
pub struct CpuSpec {
    /// Logical CPUs, in 1..=256.
    pub count: u16,
    /// Core clock.
    pub clock: CpuClock,
    /// Thousandths of a cycle per instruction of straight-line kernel code whose
    /// loads hit the L1D: the price of the counted path lengths.
    pub milli_cpi: u32,
    /// Lines that a core has on their way to its L1D at most.
    pub fill_buffers: u32,
    /// Of the loads that wait for a fill buffer, how many are drawn, of which the oldest gets it.
    pub fill_samples: u32,
    /// What `rep stos` and `rep movs` ask for a line that they fill.
    pub string_stores: StringStores,
    /// User accesses that a core has in flight at most; 1 if it stalls on every one.
    pub window: u32,
    /// Time between two user loads that enter the window.
    pub load_interval: Time,
    /// Time between a user store and what enters the window next.
    pub store_interval: Time,
    /// Time that an instruction of a program takes at least, of a trace that counts them.
    pub instruction_interval: Time,
    /// User loads in the window at most, whether their data are there or not.
    pub load_buffer: u32,
    /// Stores that are not yet written to the L1D at most.
    pub store_buffer: u32,
    /// From a non-temporal store until its line leaves the core.
    pub nt_store_latency: Time,
    /// How long a fill buffer keeps a line that was stored past the caches after its controller has accepted it.
    pub nt_release: Time,
    /// Time between two lines that a core writes back by CLWB, CLFLUSHOPT or CLFLUSH.
    pub flush_interval: Time,
    /// What taking the time before and after an access adds to it.
    pub timestamps: Time,
    /// From the waking of a CPU that idles to its first instruction.
    pub idle_exit: Time,
    /// Whether the pages of accesses behind one that will fault or set A or D are walked for before they are thrown away.
    pub run_ahead: bool,
}

/// What a string operation asks for a line that it stores to as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringStores {
    /// The line: it is read for ownership, as for any store.
    Read,
    /// Ownership alone: memory is not read.
    Own,
}

/// `[mmu]`
#[derive(Clone, Debug, PartialEq)]
pub struct MmuSpec {
    /// Whether TLB entries are tagged with a PCID and survive a CR3 write with NOFLUSH.
    pub pcid: bool,
    /// Whether a TLB entry that refuses an access is dropped and the tables are walked again before
    /// a #PF is raised (QEMU's TCG does; hardware faults on the stale entry).
    pub rewalk_before_fault: bool,
    /// Who sets A in a leaf entry.
    pub accessed: AccessedBit,
    /// Who sets D in a leaf entry.
    pub dirty: DirtyBit,
    /// Cost of setting A in a paging-structure entry, over the locked RMW itself.
    pub accessed_assist: Time,
    /// Cost of setting D in a leaf entry, over the locked RMW itself.
    pub dirty_assist: Time,
    /// Page walks that a core does at a time.
    pub walkers: u32,
    /// Most pages that one INVLPGB names (InvlpgbCountMax + 1); 0 if the CPU has no INVLPGB.
    pub invlpgb_pages: u32,
    /// What a walk takes beside its references and the lookup of the structure caches.
    pub walk_latency: Time,
    /// The first cache that a page walker asks.
    pub walker_reads: WalkerReads,
    /// Levels of paging structures, 4 or 5 (LA57).
    pub levels: u32,
    /// MAXPHYADDR, in 36..=52: the bits of an entry above it are reserved.
    pub physical_bits: u32,
    /// CR4.SMEP: no instruction fetch from user pages in supervisor mode.
    pub smep: bool,
    /// CR4.SMAP: no data access to user pages in supervisor mode but with EFLAGS.AC set.
    pub smap: bool,
}

impl MmuSpec {
    /// Whether the kernel finds INVLPGB of use: Linux makes it depend on PCIDs.
    #[must_use]
    pub const fn has_invlpgb(&self) -> bool {
        self.invlpgb_pages > 0 && self.pcid
    }
}

/// Where the reads of a page walker go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkerReads {
    /// To the L1D, like a load.
    L1d,
    /// To the L2: the L1D is neither asked nor filled.
    L2,
}

/// Who sets the accessed bit of a leaf entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessedBit {
    /// The walker, by an assist.
    Hardware,
    /// Software: an access through an entry without it faults.
    Software,
}

/// Who sets the dirty bit of a leaf entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyBit {
    /// The walker, by an assist.
    Hardware,
    /// Software: a store through a writable entry without it faults.
    Software,
    /// The walker, by one locked update and no assist (arm64: dirty bit modifier).
    Dbm,
}

/// `[psc]`: LRU paging-structure caches; 0 entries means absent, 0 ways fully associative. `entries / ways` is a power of two.
#[derive(Clone, Debug, PartialEq)]
pub struct PscSpec {
    /// Entries of the PML5E cache, which only five levels use.
    pub pml5e: u32,
    /// Its ways.
    pub pml5e_ways: u32,
    /// Entries of the PML4E cache.
    pub pml4e: u32,
    /// Its ways.
    pub pml4e_ways: u32,
    /// Entries of the PDPTE cache.
    pub pdpte: u32,
    /// Its ways.
    pub pdpte_ways: u32,
    /// Entries of the PDE cache.
    pub pde: u32,
    /// Its ways.
    pub pde_ways: u32,
    /// Cost of the lookup that precedes a walk.
    pub latency: Time,
    /// Where a walk goes on after a hit.
    pub resume: PscResume,
}

/// Where a walk goes on after a hit in a paging-structure cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PscResume {
    /// Below the entry found, as hardware does. Only the deepest hit counts as a use.
    Below,
    /// At the entry found, which is read again; every cache that has the address counts it as a use. ChampSim does so.
    Entry,
}

/// `[nested]`: EPT or NPT, the tables of a hypervisor that map everything.
#[derive(Clone, Debug, PartialEq)]
pub struct NestedSpec {
    /// Levels of its tables, 4 or 5.
    pub levels: u32,
    /// Size of the pages that they map.
    pub page_size: PageSize,
    /// Which host frames back the guest's DRAM.
    pub frames: HostFrames,
    /// Which of the device's back the guest's persistent memory.
    pub pmem_frames: HostFrames,
    /// Seed of the permutations, if they are random.
    pub seed: u64,
    /// Entries of the translation cache for the frames of guest tables; 0 if there is none.
    pub tlb: u32,
    /// Entries of the structure cache of top entries of five levels; 0 if there is none.
    pub pml5e: u32,
    /// Entries of the structure cache of EPT PML4 entries; 0 if there is none.
    pub pml4e: u32,
    /// Entries of the structure cache of EPT PDPT entries; 0 if there is none.
    pub pdpte: u32,
    /// Entries of the structure cache of EPT PD entries; 0 if there is none.
    pub pde: u32,
    /// Cost of the lookup that precedes each translation of a guest-physical address.
    pub latency: Time,
    /// What the first touch of a host page costs: exit, the hypervisor's work, entry. Zero if it has mapped all pages beforehand.
    pub exit: Time,
}

/// Bytes of all entries of `level` (0 = page table) that map guest-physical addresses below `limit`, in whole tables.
#[must_use]
pub const fn host_level_bytes(level: u32, limit: u64) -> u64 {
    limit.div_ceil(1 << (12 + 9 * level)).next_multiple_of(512) * 8
}

/// Bytes of all tables of a second stage with pages of `page_size` for guest-physical addresses below `limit`.
#[must_use]
pub fn host_table_bytes(levels: u32, page_size: PageSize, limit: u64) -> u64 {
    (page_size.level()..levels).map(|level| host_level_bytes(level, limit)).sum()
}

/// Where a hypervisor puts the pages of a guest's DRAM, or of its persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFrames {
    /// One after another.
    Sequential,
    /// In a random order, drawn from a seed.
    Random,
}

/// `[cost]`: fixed costs of the core.
#[derive(Clone, Debug, PartialEq)]
pub struct CostSpec {
    /// #PF from detection to the handler's first instruction.
    pub exception_entry: Time,
    /// IRET to user mode.
    pub iret: Time,
    /// SYSCALL to the handler.
    pub syscall_entry: Time,
    /// SYSRET to user mode.
    pub syscall_exit: Time,
    /// One INVLPG.
    pub invlpg: Time,
    /// One INVPCID of an address.
    pub invpcid: Time,
    /// One MOV to CR3.
    pub cr3_write: Time,
    /// One MOV to CR4 that changes how addresses are translated.
    pub cr4_write: Time,
    /// One INVPCID of a whole context or of all.
    pub invpcid_context: Time,
    /// One INVLPGB issued, without waiting for its effect.
    pub invlpgb: Time,
    /// One TLBSYNC: until every INVLPGB issued before has taken effect on every CPU.
    pub tlbsync: Time,
    /// One CLWB issued, without waiting for its write-back.
    pub clwb_issue: Time,
    /// One write of a TLB entry by software.
    pub tlb_write: Time,
    /// A locked RMW on a line that the L1D owns.
    pub locked_rmw: Time,
    /// What `rep movs` or `rep stos` takes for a line that the L1D holds.
    pub string_line: Time,
}

/// `[trust]`: basis and trust letter of every cost that is no access to memory.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustSpec {
    /// Of `cpu.cpi`.
    pub cpi: Source,
    /// Of `mmu.accessed_assist`.
    pub accessed_assist: Source,
    /// Of `mmu.dirty_assist`.
    pub dirty_assist: Source,
    /// Of `cost.exception_entry`.
    pub exception_entry: Source,
    /// Of `cost.iret`.
    pub iret: Source,
    /// Of `cost.syscall_entry`.
    pub syscall_entry: Source,
    /// Of `cost.syscall_exit`.
    pub syscall_exit: Source,
    /// Of `cost.invlpg`.
    pub invlpg: Source,
    /// Of `cost.invpcid`.
    pub invpcid: Source,
    /// Of `cost.cr3_write`.
    pub cr3_write: Source,
    /// Of `cost.cr4_write`.
    pub cr4_write: Source,
    /// Of `cost.invpcid_context`.
    pub invpcid_context: Source,
    /// Of `cost.invlpgb`.
    pub invlpgb: Source,
    /// Of `cost.tlbsync`.
    pub tlbsync: Source,
    /// Of `cost.tlb_write`.
    pub tlb_write: Source,
    /// Of `cost.clwb_issue`.
    pub clwb_issue: Source,
    /// Of `cost.locked_rmw`.
    pub locked_rmw: Source,
    /// Of `cost.string_line`.
    pub string_line: Source,
    /// Of `ipi.icr_write`.
    pub icr_write: Source,
    /// Of `ipi.delivery`.
    pub delivery: Source,
    /// Of `ipi.handler_entry`.
    pub handler_entry: Source,
    /// Of `ipi.handler_exit`.
    pub handler_exit: Source,
    /// Of `ipi.delivery_socket`.
    pub delivery_socket: Source,
    /// Of `ipi.delivery_remote`.
    pub delivery_remote: Source,
    /// Of `ipi.icr_exit`.
    pub icr_exit: Source,
    /// Of `ipi.injection`.
    pub injection: Source,
    /// Of `ipi.rar_action`.
    pub rar_action: Source,
}

/// `[dram]`
#[derive(Clone, Debug, PartialEq)]
pub struct DramSpec {
    /// Bytes, a multiple of 4096.
    pub capacity: u64,
    /// Channels, lines interleaved over them.
    pub channels: u32,
    /// Idle latency of a 64-byte read, from the L3's miss.
    pub read_latency: Time,
    /// Time that a 64-byte transfer occupies its channel (64 B / channel bandwidth).
    pub line_occupancy: Time,
}

/// `[pmem]`
#[derive(Clone, Debug, PartialEq)]
pub struct PmemSpec {
    /// Whether stores may stay in CPU caches at a power failure, so that `dax_flush` has to write lines back.
    pub write_cache: bool,
    /// Physical address of the first byte of the DAX data area, 2 MiB aligned.
    pub base: u64,
    /// Bytes, a multiple of 2 MiB.
    pub capacity: u64,
    /// Alignment of the area as a device-dax device: the page size of its mappings.
    pub devdax_alignment: PageSize,
    /// DIMMs in the interleave set.
    pub dimms: u32,
    /// Interleave granularity in bytes.
    pub interleave: u64,
    /// Bytes of a media access unit (XPLine).
    pub media_line: u64,
    /// Media lines that the on-DIMM buffer has room for, those on their way to the media included.
    pub buffer_lines: u32,
    /// Media lines in a buffer of their own for lines that are read; 0 if they share the other.
    pub read_buffer_lines: u32,
    /// Whether a line leaves that buffer once every part of it was read.
    pub drop_read_lines: bool,
    /// Which line leaves them.
    pub buffer_replacement: BufferReplacement,
    /// Which leaves the buffer of lines read, if that is another.
    pub read_buffer_replacement: BufferReplacement,
    /// Lines that [`BufferReplacement::Sampled`] draws there.
    pub read_buffer_samples: u32,
    /// Lines that [`BufferReplacement::Sampled`] draws.
    pub buffer_samples: u32,
    /// 64-byte read that hits the on-DIMM buffer, from the L3's miss.
    pub read_latency_buffered: Time,
    /// 64-byte read that goes to the media, from the L3's miss.
    pub read_latency_media: Time,
    /// 64-byte write until the WPQ (ADR domain) accepts it, with room in the queue.
    pub write_latency: Time,
    /// Lines that the write pending queue of a DIMM holds.
    pub wpq_lines: u32,
    /// How long the queue is drained after a write was accepted.
    pub wpq_drain: Time,
    /// What a write after a fence waits that is sent meanwhile.
    pub wpq_turn: Time,
    /// Reads of a DIMM that its controller has under way at most.
    pub rpq_lines: u32,
    /// Of the writes that wait for a place, how many are drawn, of which the one that came first gets it.
    pub wpq_samples: u32,
    /// Of those writes, the oldest so many can get it.
    pub wpq_waiting: u32,
    /// As many of the reads.
    pub rpq_samples: u32,
    /// Time between two sectors of a line that comes from the media.
    pub sector_interval: Time,
    /// Time that a line takes over the link to a DIMM, each way, if the latencies do not hold it.
    pub link_latency: Time,
    /// Time that a line read occupies the link.
    pub link_read_occupancy: Time,
    /// Time that a line written occupies the link.
    pub link_write_occupancy: Time,
    /// Blocks of the address indirection table that a DIMM has cached; 0 if it has no such table.
    pub ait_entries: u32,
    /// Ways of that cache, in 1..=16; its sets are a power of two.
    pub ait_ways: u32,
    /// Bytes of a block, a multiple of `media_line`.
    pub ait_block: u64,
    /// What a read takes longer whose block is not cached.
    pub ait_miss_latency: Time,
    /// Writes of media lines after which a line of the table is written, too; 0 if none ever is.
    pub ait_update_writes: u32,
    /// Partitions of the media of a DIMM, media lines interleaved over them.
    pub media_partitions: u32,
    /// Percent of the time of a read by which it keeps back the writes of its partition.
    pub media_read_share: u32,
    /// Media lines on their way to the media at most.
    pub media_queue: u32,
    /// Fewest writes of media lines to a block after which it is moved; 0 if none is.
    pub wear_writes_least: u32,
    /// Most such writes.
    pub wear_writes_most: u32,
    /// How long a block is worn before it is looked for.
    pub wear_prepare: Time,
    /// How often worn blocks are looked for.
    pub wear_scan: Time,
    /// The move, during which accesses to the block wait.
    pub wear_stall: Time,
    /// From one pause of all accesses to the next.
    pub pause_every: Time,
    /// When the pauses end; 0 if there are none.
    pub pause_until: Time,
    /// Length of every second pause,
    pub pause_short: Time,
    /// and of the others.
    pub pause_long: Time,
    /// What is drawn at random in DIMMs, is drawn from this.
    pub seed: u32,
    /// Time that reading one media line occupies the media.
    pub media_read_occupancy: Time,
    /// Time that writing one media line occupies the media.
    pub media_write_occupancy: Time,
    /// Whether the write pending queues are in the persistence domain (ADR).
    pub adr: bool,
    /// Whether the caches are in the persistence domain, too (eADR).
    pub eadr: bool,
}

/// Which line leaves a DIMM's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferReplacement {
    /// The one whose last use is longest ago.
    Lru,
    /// The one that has been there longest.
    Fifo,
    /// Any.
    Random,
    /// Of some that are drawn, the one whose last use is longest ago.
    Sampled,
}
