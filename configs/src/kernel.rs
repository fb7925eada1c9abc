//! The validated description of a kernel: a table of named knobs, never a version test.
//!
//! `[dax]` holds what the DAX reference-count series changed (the three insert semantics),
//! `[tree]` what belongs to the kernel tree whatever its DAX code, `[arch]` what its architecture code
//! does about TLBs and access flags, and `[path_length]` how many instructions each building block of
//! the fault path executes.

pub use crate::cost::{Basis, PathLength, Source, Trust};
pub use crate::tlb_flush::{FlushMechanism, IpiDestination, TlbFlushKnobs};

/// A kernel, ready to be simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelSpec {
    /// Short name, as `--kernel` takes it.
    pub name: String,
    /// One line for reports.
    pub description: String,
    /// Name of the insert semantics that `dax` started from.
    pub semantics: String,
    /// The DAX variant.
    pub dax: DaxKnobs,
    /// Properties of the tree around it.
    pub tree: TreeKnobs,
    /// What the architecture code does about TLBs and access flags.
    pub arch: ArchKnobs,
    /// How stale translations leave the TLBs of other CPUs.
    pub tlb_flush: TlbFlushKnobs,
    /// Instructions, loads and stores per building block.
    pub path_length: PathLengths,
}

/// Software bits that an entry gets beside the hardware ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwBits {
    /// `_PAGE_SPECIAL` (bit 9).
    pub special: bool,
    /// `_PAGE_DEVMAP` (bit 57).
    pub devmap: bool,
}

/// What a write to an entry that maps another frame becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The fault succeeds and the access is tried again.
    NoPage,
    /// The task gets SIGBUS.
    Sigbus,
}

/// Which vm_operations callback a write-protect fault on a DAX page calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WpCallback {
    /// `pfn_mkwrite`, through `wp_pfn_shared`.
    PfnMkwrite,
    /// `page_mkwrite`, through `wp_page_shared`.
    PageMkwrite,
}

/// When `dax_busy_page` calls a page busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyTest {
    /// `refcount > 1`
    RefAboveOne,
    /// `refcount != 0`
    RefNonZero,
    /// `refcount != mapcount`
    RefNotMapcount,
}

/// What a 2 MiB hole read finds out when its PMD slot was filled meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolePmdBusy {
    /// VM_FAULT_FALLBACK
    Fallback,
    /// VM_FAULT_NOPAGE
    NoPage,
}

/// `[dax]`: the knobs of the insert semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaxKnobs {
    /// Bits of a 4 KiB PTE that maps a block.
    pub pte_block_sw_bits: SwBits,
    /// Bits of a 4 KiB PTE that maps the zero page.
    pub pte_zero_sw_bits: SwBits,
    /// Bits of a 2 MiB PMD that maps a block.
    pub pmd_block_sw_bits: SwBits,
    /// Bits of a 2 MiB PMD that maps the huge zero page.
    pub pmd_zero_sw_bits: SwBits,
    /// Whether a fresh 4 KiB insert for a write stores a writable PTE.
    pub fresh_write_stores_rw: bool,
    /// Whether that PTE is made young (`pte_mkyoung`).
    pub fresh_write_sets_a: bool,
    /// Whether that PTE is dirty (and soft-dirty) from the start.
    pub fresh_write_sets_d: bool,
    /// Whether the upgrade of a read-only 4 KiB PTE sets D.
    pub upgrade_sets_d_4k: bool,
    /// Whether the upgrade of a read-only 2 MiB PMD sets D.
    pub upgrade_sets_d_2m: bool,
    /// Whether the 4 KiB device-dax fault passes its write flag to the insert.
    pub devdax_4k_honours_write: bool,
    /// References taken per mapping of a page: 0 or 1.
    pub refcount_per_map: u32,
    /// Whether the 4 KiB zero page is counted like any other.
    pub zero_page_refcounted_4k: bool,
    /// Whether fsdax holds a reference around the insert.
    pub temp_ref_around_insert: bool,
    /// Whether the insert looks the memory type up under the global `memtype_lock`.
    pub memtype_lookup: bool,
    /// A 4 KiB write insert over another frame.
    pub mismatch_4k: Mismatch,
    /// A 2 MiB write insert over another frame.
    pub mismatch_2m: Mismatch,
    /// Whether a fresh 4 KiB insert calls `update_mmu_cache`.
    pub hook_on_fresh_4k: bool,
    /// Whether a fresh 2 MiB hole calls `update_mmu_cache_pmd`.
    pub hook_on_2m_hole: bool,
    /// A 2 MiB hole read that lost the race for its slot.
    pub hole_2m_busy: HolePmdBusy,
    /// The write-protect callback of fsdax.
    pub wp_callback_fsdax: WpCallback,
    /// Whether zapping a dirty PTE flushes before the page-table lock is dropped.
    pub zap_forces_flush_if_dirty: bool,
    /// `dax_busy_page`.
    pub busy_test: BusyTest,
    /// Whether breaking layouts leaves a file alone that nobody maps, whoever holds its pages.
    pub break_layout_skips_unmapped: bool,
    /// Whether breaking layouts deletes every DAX entry of the file.
    pub break_layout_deletes_entries: bool,
}

/// `[tree]`: properties of the kernel tree, independent of the DAX series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeKnobs {
    /// Whether a task switch clears the CPU's bit in the old mm's cpumask.
    pub cpumask_cleared_on_switch: bool,
    /// Whether the tree uses INVLPGB where the CPU has it.
    pub invlpgb: bool,
    /// `MAX_ASID_AVAILABLE`: ASIDs from 6 up to one less are global ones, for INVLPGB.
    pub asids: u32,
    /// `CONFIG_HZ`: ticks of `jiffies` in a second.
    pub hz: u32,
    /// `tlb_single_page_flush_ceiling`: most pages flushed one by one.
    pub flush_ceiling_pages: u32,
    /// Kernel page-table isolation.
    pub pti: bool,
    /// `transparent_hugepage=always`: faults in anonymous memory take huge pages where they fit.
    pub thp_always: bool,
    /// Whether a store to the huge zero page gets a huge page. Otherwise the huge zero page is split.
    pub thp_zero_page_replaced: bool,
    /// `fault_around_bytes`, in pages.
    pub fault_around_pages: u32,
    /// `RLIMIT_STACK` of the programs, in bytes: as far as a stack grows.
    pub stack_limit: u64,
    /// `PAGEVEC_SIZE`: pages that a CPU puts aside before it takes `lru_lock`, and those that it frees under it at a time.
    pub lru_batch: u32,
    /// `pcp->batch`: pages that a CPU takes from its zone, or gives back, at a time.
    pub pcp_batch: u32,
    /// `pcp->high`: most free pages that a CPU keeps.
    pub pcp_high: u32,
    /// `MEMCG_CHARGE_BATCH`: pages that a CPU charges to its memory cgroup at a time.
    pub memcg_batch: u32,
    /// Whether a page of a block that files share is counted from its first DAX entry on, rather than from the second.
    pub first_share_counted: bool,
    /// Whether the lock of a VMA is an `rw_semaphore`, so that who takes it stores its owner, too, rather than a reference count.
    pub vma_lock_rwsem: bool,
}

/// What `update_mmu_cache` and its relatives do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmuHook {
    /// Nothing.
    Noop,
    /// The entry goes into the first-level TLB and the STLB of the executing CPU.
    Preload,
    /// The entry goes into the STLB of the executing CPU.
    PreloadL2,
    /// The page is invalidated on the executing CPU.
    LocalInvalidate,
}

/// How `ptep_set_access_flags` and its relatives store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAccessFlags {
    /// A plain store, if something differs and the fault is a write.
    X86,
    /// A locked exchange that adds the flags, if something differs.
    Arm64,
    /// A plain store, if something differs.
    Generic,
}

/// What `ptep_set_access_flags` and its relatives flush of what they have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFlagsFlush {
    /// Nothing.
    None,
    /// The page, on the executing CPU.
    Local,
    /// The page, on every CPU.
    Broadcast,
}

/// `[arch]`: what the architecture code of the kernel does about TLBs and access flags (spec section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchKnobs {
    /// `update_mmu_cache`.
    pub update_mmu_cache: MmuHook,
    /// `ptep_set_access_flags`: the store.
    pub set_access_flags: SetAccessFlags,
    /// `ptep_set_access_flags`: the flush.
    pub access_flags_flush: AccessFlagsFlush,
    /// Whether `vm_page_prot` of a user mapping holds the accessed flag.
    pub prot_accessed: bool,
}

/// `[path_length]`: instructions, loads and stores of each building block (spec section 7.2), without the entry and
/// exit microcode, which the machine prices in time. Sums are checked against measured totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathLengths {
    /// Blocks that do not depend on the file system.
    pub common: CommonPath,
    /// ext4's own.
    pub ext4: FsPath,
    /// XFS's own.
    pub xfs: FsPath,
    /// device-dax's own.
    pub devdax: FsPath,
}

impl PathLengths {
    /// The table of one file system.
    #[must_use]
    pub const fn of(&self, fs: daxsim_types::FileSystem) -> &FsPath {
        match fs {
            daxsim_types::FileSystem::Ext4 => &self.ext4,
            daxsim_types::FileSystem::Xfs => &self.xfs,
            daxsim_types::FileSystem::Devdax => &self.devdax,
        }
    }
}

/// `[path_length.common]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonPath {
    /// Entry code: save registers, read CR2, context tracking.
    pub entry: PathLength,
    /// Exit code: work test, restore.
    pub exit: PathLength,
    /// RCU, maple-tree walk, lock of the VMA.
    pub vma_lock: PathLength,
    /// Release of it.
    pub vma_unlock: PathLength,
    /// `lock_mm_and_find_vma`.
    pub mmap_lock: PathLength,
    /// Release of it.
    pub mmap_unlock: PathLength,
    /// `handle_mm_fault` down to the handler: one pass.
    pub dispatch: PathLength,
    /// `do_wp_page` up to the callback.
    pub wp_page: PathLength,
    /// `grab_mapping_entry`.
    pub grab_entry: PathLength,
    /// `dax_direct_access`.
    pub direct_access: PathLength,
    /// `dax_insert_entry`, a new entry.
    pub insert_entry_new: PathLength,
    /// `dax_insert_entry`, an entry that is kept.
    pub insert_entry_keep: PathLength,
    /// `dax_unlock_entry`.
    pub unlock_entry: PathLength,
    /// Association of a page with its file, or its undoing.
    pub associate_4k: PathLength,
    /// The same for the 512 pages of a huge entry.
    pub associate_2m: PathLength,
    /// Zeroing of a new block, per cache line.
    pub zero_line: PathLength,
    /// Zeroing of a page by `rep stos`: counted as an emulator counts, timed by its lines.
    pub clear_page: PathLength,
    /// `copy_page` by `rep movs`, likewise.
    pub copy_page: PathLength,
    /// Copy of a page through its user address, likewise.
    pub copy_user_page: PathLength,
    /// The 4 KiB insert, fresh.
    pub insert_4k_fresh: PathLength,
    /// The 4 KiB insert, upgrade.
    pub insert_4k_upgrade: PathLength,
    /// The 4 KiB insert of the zero page.
    pub insert_4k_zero: PathLength,
    /// The 2 MiB insert, fresh or upgrade.
    pub insert_2m: PathLength,
    /// Reference, reverse mapping and statistics of a new 4 KiB mapping, where mappings are counted.
    pub count_mapping_4k: PathLength,
    /// The same for 2 MiB.
    pub count_mapping_2m: PathLength,
    /// A reference held around an insert or a callback: get and put.
    pub temp_ref: PathLength,
    /// The memory-type lookup (`track_pfn_insert`).
    pub memtype_lookup: PathLength,
    /// The same for RAM: the search of its ranges.
    pub memtype_lookup_ram: PathLength,
    /// Allocation of one page-table page, without its zeroing.
    pub table_alloc: PathLength,
    /// Freeing of one.
    pub table_free: PathLength,
    /// A huge attempt that is refused before any lock (per attempt).
    pub huge_fallback: PathLength,
    /// A spurious or lost-race fault below the page-table lock.
    pub spurious: PathLength,
    /// An anonymous page: allocation, charge, reverse mapping, LRU.
    pub anon_page: PathLength,
    /// `finish_fault` of a private copy.
    pub finish_fault: PathLength,
    /// `wp_page_copy` around the copy itself.
    pub wp_page_copy: PathLength,
    /// The page-table read of a huge hole: huge zero folio.
    pub huge_zero: PathLength,
    /// `unmap_mapping_range`/`unmap_mapping_pages`: per call.
    pub unmap_mapping: PathLength,
    /// Zap: per page-table entry cleared.
    pub zap_entry: PathLength,
    /// Unmapping of a counted page or huge page: reference, rmap, statistics.
    pub zap_counted: PathLength,
    /// `flush_tlb_mm_range` up to the flush itself.
    pub flush_request: PathLength,
    /// `flush_tlb_func` without the invalidations.
    pub flush_func: PathLength,
    /// Sending a shootdown, per target.
    pub flush_send_target: PathLength,
    /// `pfn_mkclean_range` and the lock work of writeback, per entry.
    pub writeback_entry: PathLength,
    /// `pfn_mkclean_range`, per VMA visited.
    pub writeback_vma: PathLength,
    /// mmap, fixed address, no population.
    pub mmap: PathLength,
    /// munmap, without the zap.
    pub munmap: PathLength,
    /// mprotect, without the entries.
    pub mprotect: PathLength,
    /// msync or fsync, without the per-entry work and the journal.
    pub fsync: PathLength,
    /// A task switch.
    pub task_switch: PathLength,
    /// `try_to_wake_up` of a thread that slept, on another CPU.
    pub wake_up: PathLength,
    /// A new anonymous huge page: allocation, charge, LRU, reverse mapping, without its zeroing.
    pub anon_huge_page: PathLength,
    /// The mapping of a zero page into anonymous memory.
    pub anon_zero_page: PathLength,
    /// The search of the page cache in a fault.
    pub filemap_fault: PathLength,
    /// Each page of the page cache that a fault maps.
    pub filemap_map_page: PathLength,
    /// FICLONE or FICLONERANGE, without the extents.
    pub clone: PathLength,
    /// Which of an extent's blocks are shared (`xfs_reflink_find_shared`).
    pub refcount_lookup: PathLength,
    /// An extent that goes into a file's data fork (`xfs_reflink_remap_extent`, `xfs_reflink_end_cow_extent`).
    pub remap_extent: PathLength,
}

/// `[path_length.<fs>]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsPath {
    /// Prologue and epilogue of a read fault.
    pub read: PathLength,
    /// Prologue and epilogue of a write fault (freeze protection, time update, journal handle).
    pub write: PathLength,
    /// One iomap lookup.
    pub iomap: PathLength,
    /// Allocation of a block, without its zeroing.
    pub block_alloc: PathLength,
    /// fault-around scan of a read fault (0 where there is no `map_pages`).
    pub fault_around: PathLength,
    /// A journal commit or log force by fsync.
    pub commit: PathLength,
}
