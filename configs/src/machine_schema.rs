//! The keys of a machine file.

use std::sync::LazyLock;

use daxsim_types::PageSize;

use crate::cache_schema::{self, frames, l1d, l2, l3, topology};
use crate::dram_schema;
use crate::ipi::ipi;
use crate::machine::{
    AccessedBit, BufferReplacement, CachesSpec, CostSpec, CpuSpec, DirtyBit, DramSpec, HostFrames,
    MachineSpec, MmuSpec, NestedSpec, PmemSpec, PscResume, PscSpec, StringStores, TrustSpec, WalkerReads,
};
use crate::schema::{KeyDef, Kind, POSITIVE_TIME, Reader, Shown, TIME, Transfer, choices, section};
use crate::tlb_schema;

/// Tables that a file may leave out or set to `"absent"`.
pub(crate) fn optional() -> &'static [&'static str] {
    static TABLES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let arrays = tlb_schema::ARRAYS.iter().filter(|table| table.optional).map(|table| table.name);
        arrays.chain(["nested", "trust"]).collect()
    });
    &TABLES
}

choices!(ACCESSED_BITS: AccessedBit { "hardware" => Hardware, "software" => Software });
choices!(STRING_STORES: StringStores { "read" => Read, "own" => Own });
choices!(WALKER_READS: WalkerReads { "l1d" => L1d, "l2" => L2 });
choices!(DIRTY_BITS: DirtyBit { "hardware" => Hardware, "software" => Software, "dbm" => Dbm });
choices!(PAGES: PageSize { "4K" => Size4K, "2M" => Size2M, "1G" => Size1G });

choices!(BUFFER_REPLACEMENTS: BufferReplacement {
    "lru" => Lru, "fifo" => Fifo, "random" => Random, "sampled" => Sampled,
});

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const PSC_ENTRIES: Kind = Kind::Count { min: 0, max: 65_536 };

section!(cpu: CpuSpec, "cpu" {
    count "count": Kind::Count { min: 1, max: 256 }, "Logical CPUs.";
    clock "clock": Kind::Frequency, "Core clock; its period is rounded to a whole picosecond.";
    milli_cpi "cpi": Kind::Cpi, "Cycles per instruction of straight-line kernel code whose loads hit the L1D.";
    fill_buffers "fill_buffers": Kind::Count { min: 1, max: 1024 },
        "Lines on their way to the L1D at most: of a string operation (zeroing or copying a page), and of the window.";
    fill_samples "fill_samples" = "64": Kind::Count { min: 1, max: 64 },
        "Of the loads of a probe of memory that wait for a fill buffer, and try for it when one is freed, how many are drawn, of \
         which the oldest gets it: 1 is any order, many are nearly in order. As many try as there are buffers.";
    string_stores "string_stores": Kind::Choice(STRING_STORES),
        "What `rep stos` and `rep movs` ask for a line that they fill and that no cache has: the line itself (\"read\"), or the \
         right to write it (\"own\"), which costs the L3's latency and no read of memory.";
    window "window": Kind::Count { min: 1, max: 4096 },
        "User loads and stores in flight at most; 1 if the core stalls on every one, and then the other limits of the window \
         (load_interval, store_interval, load_buffer, store_buffer, mmu.walkers) mean nothing.";
    load_interval "load_interval": POSITIVE_TIME, "Time between two loads that enter the window: a cycle by the load ports.";
    store_interval "store_interval": POSITIVE_TIME, "Time between a store and what enters the window next.";
    instruction_interval "instruction_interval": POSITIVE_TIME,
        "Time that an instruction of a program takes at least, of a trace that tells how many lie between its accesses: a cycle by \
         the instructions that the core renames in one. Loads and stores are instructions, too.";
    load_buffer "load_buffer": Kind::Count { min: 1, max: 4096 },
        "Loads in the window at most, those included that have their data and wait for older accesses to leave.";
    store_buffer "store_buffer": Kind::Count { min: 1, max: 4096 }, "Stores not yet written to the L1D at most.";
    nt_store_latency "nt_store_latency" = "\"0 ns\"": TIME,
        "From a non-temporal store until its line leaves the core, on top of what its controller takes.";
    nt_release "nt_release" = "\"0 ns\"": TIME,
        "How long the fill buffer of a non-temporal store is kept after the controller has accepted the line. No fence waits for it.";
    flush_interval "flush_interval" = "\"0 ns\"": TIME,
        "Time between two lines that a core writes back by CLWB, CLFLUSHOPT or CLFLUSH: the next leaves when the one before has.";
    timestamps "timestamps" = "\"0 ns\"": TIME,
        "What RDTSCP, LFENCE and MFENCE around an access add to its time, where a measurement does not subtract it: of the probe \
         overwrite.";
    idle_exit "idle_exit" = "\"0 ns\"": TIME,
        "From the waking of a CPU that idles, because its thread sleeps, to its first instruction.";
    run_ahead "run_ahead" = "false": Kind::Bool,
        "Whether a window goes on behind an access that will fault or sets A or D until that is the oldest: what is thrown away \
         then has been walked for, which sets A but never D.";
});

section!(mmu: MmuSpec, "mmu" {
    pcid "pcid": Kind::Bool, "Whether TLB entries are tagged with a PCID and survive a CR3 write with NOFLUSH.";
    rewalk_before_fault "rewalk_before_fault": Kind::Bool,
        "Whether a TLB entry that refuses an access is dropped and the tables walked again before a #PF.";
    accessed "accessed": Kind::Choice(ACCESSED_BITS),
        "Who sets A in a leaf entry: the walker, or software after a #PF (protection) at the first access.";
    dirty "dirty": Kind::Choice(DIRTY_BITS),
        "Who sets D in a leaf entry: the walker by an assist, software after a #PF (protection) at the first store, or \
         the walker by a locked update alone (arm64 dirty bit modifier).";
    accessed_assist "accessed_assist": TIME, "Setting A in a paging-structure entry, over the locked RMW itself.";
    dirty_assist "dirty_assist": TIME, "Setting D in a leaf entry, over the locked RMW itself.";
    walkers "walkers": Kind::Count { min: 1, max: 64 },
        "Page walks that a core does at a time; others queue. Matters where cpu.window is above 1.";
    invlpgb_pages "invlpgb_pages": Kind::Count { min: 0, max: 65_536 },
        "Most pages that one INVLPGB names (InvlpgbCountMax + 1); 0 if there is no INVLPGB.";
    walk_latency "walk_latency" = "0 ns": TIME,
        "What a walk takes beside its references and the lookup of the structure caches.";
    walker_reads "walker_reads" = "l1d": Kind::Choice(WALKER_READS),
        "Where the reads of a page walker go first: to the L1D like loads, or past it to the L2.";
    levels "levels" = "4": Kind::Count { min: 4, max: 5 }, "Levels of paging structures: 4, or 5 with LA57.";
    physical_bits "physical_bits" = "52": Kind::Count { min: 36, max: 52 },
        "MAXPHYADDR: the bits of a paging-structure entry from this one up to 51 are reserved.";
    smep "smep" = "true": Kind::Bool, "CR4.SMEP: no instruction fetch from user pages in supervisor mode.";
    smap "smap" = "true": Kind::Bool,
        "CR4.SMAP: no data access to user pages in supervisor mode, but by the copy routines of the kernel.";
});

choices!(RESUMES: PscResume { "below" => Below, "entry" => Entry });
choices!(HOST_FRAMES: HostFrames { "sequential" => Sequential, "random" => Random });
section!(psc: PscSpec, "psc" {
    pml5e "pml5e" = "0": PSC_ENTRIES, "Entries of the PML5E cache, used with five levels; 0 if there is none.";
    pml5e_ways "pml5e_ways" = "0": PSC_ENTRIES, "Its ways; 0 if it is fully associative.";
    pml4e "pml4e": PSC_ENTRIES, "Entries of the PML4E cache; 0 if there is none.";
    pml4e_ways "pml4e_ways" = "0": PSC_ENTRIES, "Its ways; 0 if it is fully associative.";
    pdpte "pdpte": PSC_ENTRIES, "Entries of the PDPTE cache; 0 if there is none.";
    pdpte_ways "pdpte_ways" = "0": PSC_ENTRIES, "Its ways; 0 if it is fully associative.";
    pde "pde": PSC_ENTRIES, "Entries of the PDE cache; 0 if there is none.";
    pde_ways "pde_ways" = "0": PSC_ENTRIES, "Its ways; 0 if it is fully associative.";
    latency "latency": TIME, "The lookup that precedes a walk.";
    resume "resume" = "below": Kind::Choice(RESUMES),
        "Where a walk goes on after a hit: below the entry found, or at it, as ChampSim does (the entry is read again, and every \
         cache that has the address counts a use).";
});

section!(nested: NestedSpec, "nested" {
    levels "levels" = "4": Kind::Count { min: 4, max: 5 }, "Levels of the hypervisor's tables (EPT, NPT).";
    page_size "page_size": Kind::Choice(PAGES), "Size of the pages that they map.";
    frames "frames": Kind::Choice(HOST_FRAMES),
        "Which host frames back the guest's DRAM: one after another, or in random order.";
    pmem_frames "pmem_frames" = "sequential": Kind::Choice(HOST_FRAMES),
        "The same of its persistent memory: one piece of the device, or the blocks of a fragmented file.";
    seed "seed" = "0": Kind::Count { min: 0, max: u32::MAX as u64 }, "Seed of the random orders.";
    tlb "tlb": PSC_ENTRIES,
        "Entries of the fully associative cache of translated guest-physical pages that hold guest tables; 0 if there is none.";
    pml5e "pml5e" = "0": PSC_ENTRIES, "Entries of the structure cache of PML5 entries; 0 if there is none.";
    pml4e "pml4e": PSC_ENTRIES, "Entries of the structure cache of PML4 entries; 0 if there is none.";
    pdpte "pdpte": PSC_ENTRIES, "Entries of the structure cache of PDPT entries; 0 if there is none.";
    pde "pde": PSC_ENTRIES, "Entries of the structure cache of PD entries; 0 if there is none.";
    latency "latency" = "0 ns": TIME, "The lookup that precedes the translation of a guest-physical address.";
    exit "exit" = "0 ns": TIME,
        "What the first touch of a host page of user or persistent memory costs: the exit for an EPT violation, the hypervisor's \
         work, and the way back (2 to 4 us, from memory); 0 if the hypervisor has mapped all memory beforehand.";
});

section!(cost: CostSpec, "cost" {
    exception_entry "exception_entry": TIME, "#PF from its detection to the handler's first instruction.";
    iret "iret": TIME, "IRET to user mode.";
    syscall_entry "syscall_entry": TIME, "SYSCALL to the handler.";
    syscall_exit "syscall_exit": TIME, "SYSRET to user mode.";
    invlpg "invlpg": TIME, "One INVLPG.";
    invpcid "invpcid": TIME, "One INVPCID of an address: the user half of kernel page-table isolation.";
    cr3_write "cr3_write": TIME, "One MOV to CR3.";
    cr4_write "cr4_write" = "400 cycles": TIME, "One MOV to CR4 that changes how addresses are translated.";
    invpcid_context "invpcid_context" = "350 cycles": TIME, "One INVPCID of a whole context or of all.";
    invlpgb "invlpgb": TIME, "One INVLPGB issued, without waiting for its effect.";
    tlbsync "tlbsync": TIME, "One TLBSYNC: until the INVLPGBs before it have taken effect on every CPU.";
    clwb_issue "clwb_issue": TIME, "One CLWB issued, without waiting for its write-back.";
    tlb_write "tlb_write": TIME, "One write of a TLB entry by software (`arch.update_mmu_cache = \"preload\"`).";
    locked_rmw "locked_rmw": TIME, "A locked RMW on a line that the L1D owns.";
    string_line "string_line": TIME, "`rep movs` or `rep stos`, for each line that the L1D holds.";
});

section!(dram: DramSpec, "dram" {
    capacity "capacity": Kind::Size { min: 4096, max: 65_536 * GIB, multiple: 4096 }, "Bytes of main memory.";
    channels "channels": Kind::Count { min: 1, max: 64 }, "Channels, 64-byte lines interleaved over them.";
    read_latency "read_latency": POSITIVE_TIME, "Idle latency of a 64-byte read, from the L3's miss.";
    line_occupancy "bandwidth_per_channel": Kind::Bandwidth(Transfer::CacheLine),
        "Bandwidth of a channel: how long a line occupies it.";
});

section!(pmem: PmemSpec, "pmem" {
    write_cache "write_cache": Kind::Bool,
        "Whether the device has a write cache (`dax_write_cache`): without one, as with eADR, an fsync issues no CLWB.";
    base "base": Kind::Address { multiple: 2 * MIB }, "Physical address of the DAX data area.";
    capacity "capacity": Kind::Size { min: 2 * MIB, max: 65_536 * GIB, multiple: 2 * MIB },
        "Bytes of the DAX data area.";
    devdax_alignment "devdax_alignment": Kind::Choice(PAGES),
        "Alignment of the area as a device-dax device: the page size of its mappings.";
    dimms "dimms": Kind::Count { min: 1, max: 64 }, "DIMMs in the interleave set.";
    interleave "interleave": Kind::Size { min: 64, max: GIB, multiple: 64 }, "Bytes in a row on one DIMM.";
    media_line "media_line": Kind::Size { min: 64, max: 4096, multiple: 64 }, "Media access unit (XPLine).";
    buffer_lines "buffer_lines": Kind::Count { min: 1, max: 1 << 20 },
        "Media lines that a DIMM's buffer has room for, those on their way to the media included.";
    read_buffer_lines "read_buffer_lines" = "0": Kind::Count { min: 0, max: 1 << 20 },
        "Media lines in a buffer of their own for lines that are read; 0 if they share the other.";
    drop_read_lines "drop_read_lines" = "false": Kind::Bool,
        "Whether a line leaves the buffer of lines read once every part of it was read.";
    buffer_replacement "buffer_replacement" = "\"lru\"": Kind::Choice(BUFFER_REPLACEMENTS),
        "Which line leaves a full buffer: the least recently used, the first that came, any, or the least recently used of some drawn.";
    read_buffer_replacement "read_buffer_replacement" = "\"lru\"": Kind::Choice(BUFFER_REPLACEMENTS),
        "Which line leaves the buffer of lines read, if there is one.";
    read_buffer_samples "read_buffer_samples" = "2": Kind::Count { min: 1, max: 64 }, "How many lines sampled draws there.";
    buffer_samples "buffer_samples" = "2": Kind::Count { min: 1, max: 64 }, "How many lines sampled draws.";
    read_latency_buffered "read_latency_buffered": POSITIVE_TIME,
        "64-byte read that hits the DIMM's buffer, from the L3's miss.";
    read_latency_media "read_latency_media": POSITIVE_TIME,
        "64-byte read that goes to the media, from the L3's miss.";
    write_latency "write_latency": POSITIVE_TIME,
        "64-byte write until the write pending queue accepts it, with room in the queue.";
    wpq_lines "wpq_lines": Kind::Count { min: 1, max: 65_536 }, "64-byte lines that a DIMM's write pending queue holds.";
    wpq_drain "wpq_drain" = "\"0 ns\"": TIME, "How long the controller drains its write pending queue after it accepted a write.";
    wpq_turn "wpq_turn" = "\"0 ns\"": TIME, "What a write after a fence waits that is sent within that time.";
    rpq_lines "rpq_lines" = "65536": Kind::Count { min: 1, max: 65_536 },
        "Reads of a DIMM that its controller has under way at most.";
    wpq_samples "wpq_samples" = "64": Kind::Count { min: 1, max: 64 },
        "Of the writes that wait for a place there, how many are drawn, of which the first that came gets it: 1 is any order, many are nearly in order.";
    wpq_waiting "wpq_waiting" = "65536": Kind::Count { min: 1, max: 65_536 },
        "Of those writes, the oldest so many can get it: the others have not got as far.";
    rpq_samples "rpq_samples" = "64": Kind::Count { min: 1, max: 64 }, "As wpq_samples, of the reads.";
    sector_interval "sector_interval" = "\"0 ns\"": TIME, "Time between two sectors of a media line on their way from the media.";
    link_latency "link_latency" = "\"0 ns\"": TIME,
        "What a line takes over the link to the DIMM or device, each way, on top of the latencies above (CXL).";
    link_read_occupancy "link_read_bandwidth" = "\"8000 GB/s\"": Kind::Bandwidth(Transfer::CacheLine),
        "Bandwidth of the link for lines read: how long one occupies it.";
    link_write_occupancy "link_write_bandwidth" = "\"8000 GB/s\"": Kind::Bandwidth(Transfer::CacheLine),
        "Bandwidth of the link for lines written: how long one occupies it.";
    ait_entries "ait_entries" = "0": Kind::Count { min: 0, max: 1 << 24 },
        "Blocks of the address indirection table that a DIMM's DRAM caches; 0 if there is no such table, and then no wear levelling either.";
    ait_ways "ait_ways" = "16": Kind::Count { min: 1, max: 16 }, "Ways of that cache, which is LRU; its sets are a power of two.";
    ait_block "ait_block" = "\"4 KiB\"": Kind::Size { min: 64, max: MIB, multiple: 64 }, "Bytes of a block, a multiple of media_line.";
    ait_miss_latency "ait_miss_latency" = "\"0 ns\"": TIME, "What a read takes longer whose block is not cached.";
    ait_update_writes "ait_update_writes" = "0": Kind::Count { min: 0, max: 1 << 30 },
        "Writes of media lines after which one line of the table is written, too; 0 if none ever is.";
    media_partitions "media_partitions" = "1": Kind::Count { min: 1, max: 1024 },
        "Partitions of a DIMM's media that work side by side, media lines interleaved over them; their bandwidths add up to those below.";
    media_read_share "media_read_share" = "100": Kind::Count { min: 0, max: 100 },
        "Percent of its time by which a read keeps back the writes of its partition: 100 if both need the same, 0 if reads go on \
         beside writes.";
    media_queue "media_queue" = "16": Kind::Count { min: 1, max: 65_536 }, "Media lines on their way to the media at most.";
    wear_writes_least "wear_writes_least" = "0": Kind::Count { min: 0, max: 1 << 30 },
        "Fewest writes of media lines to a block after which wear levelling moves it; 0 if it never does.";
    wear_writes_most "wear_writes_most" = "0": Kind::Count { min: 0, max: 1 << 30 }, "Most such writes: how many it takes is drawn.";
    wear_prepare "wear_prepare" = "\"0 ns\"": TIME, "From the last such write at least until the block is moved.";
    wear_scan "wear_scan" = "\"0 ns\"": TIME, "How often worn blocks are looked for: the move begins at the next multiple of it.";
    wear_stall "wear_stall" = "\"0 ns\"": TIME, "Length of the move, during which accesses to the block wait.";
    pause_every "pause_every" = "\"0 ns\"": TIME,
        "From one pause to the next: short times in which nothing reaches the DIMMs, as were measured after a start, whatever was written.";
    pause_until "pause_until" = "\"0 ns\"": TIME, "Time after which there are none; 0 if there are none at all.";
    pause_short "pause_short" = "\"0 ns\"": TIME, "Length of every second pause,";
    pause_long "pause_long" = "\"0 ns\"": TIME, "and of the others.";
    seed "seed" = "1": Kind::Count { min: 0, max: u32::MAX as u64 }, "What is drawn at random in DIMMs, is drawn from this.";
    media_read_occupancy "media_read_bandwidth": Kind::Bandwidth(Transfer::MediaLine),
        "Read bandwidth of one DIMM's media: how long reading a media line occupies it.";
    media_write_occupancy "media_write_bandwidth": Kind::Bandwidth(Transfer::MediaLine),
        "Write bandwidth of one DIMM's media: how long writing a media line occupies it.";
    adr "adr" = "true": Kind::Bool,
        "Whether a loss of power spares the write pending queues (ADR). If not, a line is durable once it has left its queue for the DIMM.";
    eadr "eadr": Kind::Bool, "Whether a loss of power spares the caches, too (eADR), and not only the write pending queues.";
});

section!(trust: TrustSpec, "trust" {
    cpi "cpi": Kind::Source, "Basis and trust of cpu.cpi.";
    accessed_assist "accessed_assist": Kind::Source, "Basis and trust of mmu.accessed_assist.";
    dirty_assist "dirty_assist": Kind::Source, "Basis and trust of mmu.dirty_assist.";
    exception_entry "exception_entry": Kind::Source, "Basis and trust of cost.exception_entry.";
    iret "iret": Kind::Source, "Basis and trust of cost.iret.";
    syscall_entry "syscall_entry": Kind::Source, "Basis and trust of cost.syscall_entry.";
    syscall_exit "syscall_exit": Kind::Source, "Basis and trust of cost.syscall_exit.";
    invlpg "invlpg": Kind::Source, "Basis and trust of cost.invlpg.";
    invpcid "invpcid": Kind::Source, "Basis and trust of cost.invpcid.";
    cr3_write "cr3_write": Kind::Source, "Basis and trust of cost.cr3_write.";
    cr4_write "cr4_write" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of cost.cr4_write.";
    invpcid_context "invpcid_context" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of cost.invpcid_context.";
    invlpgb "invlpgb": Kind::Source, "Basis and trust of cost.invlpgb.";
    tlbsync "tlbsync": Kind::Source, "Basis and trust of cost.tlbsync.";
    tlb_write "tlb_write": Kind::Source, "Basis and trust of cost.tlb_write.";
    clwb_issue "clwb_issue": Kind::Source, "Basis and trust of cost.clwb_issue.";
    locked_rmw "locked_rmw": Kind::Source, "Basis and trust of cost.locked_rmw.";
    string_line "string_line": Kind::Source, "Basis and trust of cost.string_line.";
    icr_write "icr_write": Kind::Source, "Basis and trust of ipi.icr_write.";
    delivery "delivery": Kind::Source, "Basis and trust of ipi.delivery.";
    handler_entry "handler_entry": Kind::Source, "Basis and trust of ipi.handler_entry.";
    handler_exit "handler_exit": Kind::Source, "Basis and trust of ipi.handler_exit.";
    delivery_socket "delivery_socket" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of ipi.delivery_socket.";
    delivery_remote "delivery_remote" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of ipi.delivery_remote.";
    icr_exit "icr_exit" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of ipi.icr_exit.";
    injection "injection" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of ipi.injection.";
    rar_action "rar_action" = "[\"assumed\", \"C\"]": Kind::Source, "Basis and trust of ipi.rar_action.";
});

const DESCRIPTION: &[KeyDef] =
    &[KeyDef { key: "description", kind: Kind::Text, doc: "One line for reports.", default: None }];

/// Every key, in the order of the documentation.
pub(crate) static KEYS: LazyLock<Vec<KeyDef>> = LazyLock::new(|| {
    [
        DESCRIPTION,
        cpu::KEYS,
        mmu::KEYS,
        &tlb_schema::keys(),
        psc::KEYS,
        nested::KEYS,
        l1d::KEYS,
        l2::KEYS,
        l3::KEYS,
        cache_schema::BESIDE,
        topology::KEYS,
        cost::KEYS,
        ipi::KEYS,
        dram::KEYS,
        dram_schema::banks::KEYS,
        frames::KEYS,
        pmem::KEYS,
        trust::KEYS,
    ]
    .concat()
});

/// The machine, if every key is there and right.
pub(crate) fn read(name: &str, r: &Reader<'_>) -> Option<MachineSpec> {
    let nested = if r.has("nested") { Some(nested::read(r)?) } else { None };
    let trust = if r.has("trust") { Some(trust::read(r)?) } else { None };
    Some(MachineSpec {
        name: name.to_owned(),
        description: r.get("description")?,
        cpu: cpu::read(r)?,
        mmu: mmu::read(r)?,
        tlb: tlb_schema::read(r)?,
        psc: psc::read(r)?,
        nested,
        cache: CachesSpec {
            l1d: l1d::read(r)?,
            l2: l2::read(r)?,
            l3: l3::read(r)?,
            l3_relation: r.get("cache.l3.relation")?,
            l3_slices: r.get("cache.l3.slices")?,
            l3_history: r.get("cache.l3.history")?,
            l3_history_ways: r.get("cache.l3.history_ways")?,
            transfer: r.get("cache.transfer")?,
            transfer_socket: r.get("cache.transfer_socket")?,
            transfer_remote: r.get("cache.transfer_remote")?,
            refill_conflict: r.get("cache.refill_conflict")?,
            prefetch: r.get("cache.prefetch")?,
            prefetch_ahead: r.get("cache.prefetch_ahead")?,
            prefetch_streams: r.get("cache.prefetch_streams")?,
            superqueue: r.get("cache.superqueue")?,
            seed: r.get("cache.seed")?,
        },
        topology: topology::read(r)?,
        cost: cost::read(r)?,
        ipi: ipi::read(r)?,
        dram: dram::read(r)?,
        dram_banks: dram_schema::banks::read(r)?,
        dram_preset: dram_schema::preset(r)?,
        frames: frames::read(r)?,
        pmem: pmem::read(r)?,
        trust,
    })
}

/// Puts every value but the description.
pub(crate) fn show(spec: &MachineSpec, shown: &mut Shown) {
    cpu::show(&spec.cpu, shown);
    mmu::show(&spec.mmu, shown);
    tlb_schema::show(&spec.tlb, shown);
    psc::show(&spec.psc, shown);
    if let Some(stage) = &spec.nested {
        nested::show(stage, shown);
    }
    l1d::show(&spec.cache.l1d, shown);
    l2::show(&spec.cache.l2, shown);
    l3::show(&spec.cache.l3, shown);
    shown.put("cache.l3.relation", &spec.cache.l3_relation);
    shown.put("cache.l3.slices", &spec.cache.l3_slices);
    shown.put("cache.l3.history", &spec.cache.l3_history);
    shown.put("cache.l3.history_ways", &spec.cache.l3_history_ways);
    shown.put("cache.transfer", &spec.cache.transfer);
    shown.put("cache.transfer_socket", &spec.cache.transfer_socket);
    shown.put("cache.transfer_remote", &spec.cache.transfer_remote);
    shown.put("cache.refill_conflict", &spec.cache.refill_conflict);
    shown.put("cache.prefetch", &spec.cache.prefetch);
    shown.put("cache.prefetch_ahead", &spec.cache.prefetch_ahead);
    shown.put("cache.prefetch_streams", &spec.cache.prefetch_streams);
    shown.put("cache.superqueue", &spec.cache.superqueue);
    shown.put("cache.seed", &spec.cache.seed);
    topology::show(&spec.topology, shown);
    cost::show(&spec.cost, shown);
    ipi::show(&spec.ipi, shown);
    dram::show(&spec.dram, shown);
    dram_schema::banks::show(&spec.dram_banks, shown);
    frames::show(&spec.frames, shown);
    pmem::show(&spec.pmem, shown);
    if let Some(trust) = &spec.trust {
        trust::show(trust, shown);
    }
}
