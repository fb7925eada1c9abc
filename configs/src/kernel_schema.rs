//! The keys of a kernel file.

use std::sync::LazyLock;

use crate::kernel::{
    AccessFlagsFlush, ArchKnobs, BusyTest, CommonPath, DaxKnobs, FsPath, HolePmdBusy, KernelSpec, Mismatch,
    MmuHook, PathLengths, SetAccessFlags, SwBits, TreeKnobs, WpCallback,
};
use crate::schema::{Field, KeyDef, Kind, Parsed, Reader, Shown, choices, section};
use crate::semantics;
use crate::tlb_flush::tlb_flush;

choices!(MISMATCHES: Mismatch { "nopage" => NoPage, "sigbus" => Sigbus });
choices!(WP_CALLBACKS: WpCallback { "pfn_mkwrite" => PfnMkwrite, "page_mkwrite" => PageMkwrite });
choices!(BUSY_TESTS: BusyTest {
    "ref_above_one" => RefAboveOne,
    "ref_nonzero" => RefNonZero,
    "ref_not_mapcount" => RefNotMapcount,
});
choices!(MMU_HOOKS: MmuHook {
    "noop" => Noop,
    "preload" => Preload,
    "preload-l2" => PreloadL2,
    "local-invalidate" => LocalInvalidate,
});
choices!(SET_ACCESS_FLAGS: SetAccessFlags { "x86" => X86, "arm64" => Arm64, "generic" => Generic });
choices!(ACCESS_FLAGS_FLUSHES: AccessFlagsFlush {
    "none" => None,
    "local" => Local,
    "broadcast" => Broadcast,
});
choices!(HOLE_PMD_BUSY: HolePmdBusy { "fallback" => Fallback, "nopage" => NoPage });

impl Field for SwBits {
    fn from_parsed(parsed: &Parsed) -> Option<Self> {
        let Parsed::Set(bits) = parsed else { return None };
        Some(Self { special: bits & 1 != 0, devmap: bits & 2 != 0 })
    }

    fn to_parsed(&self) -> Parsed {
        Parsed::Set(u32::from(self.special) | u32::from(self.devmap) << 1)
    }
}

const BOOL: Kind = Kind::Bool;
const SW_BITS: Kind = Kind::Set { names: &["special", "devmap"], empty: true };
const LENGTH: Kind = Kind::Path;

section!(dax: DaxKnobs, "dax" {
    pte_block_sw_bits "pte_block_sw_bits": SW_BITS, "Bits of a 4 KiB PTE that maps a block.";
    pte_zero_sw_bits "pte_zero_sw_bits": SW_BITS, "Bits of a 4 KiB PTE that maps the zero page.";
    pmd_block_sw_bits "pmd_block_sw_bits": SW_BITS, "Bits of a 2 MiB PMD that maps a block.";
    pmd_zero_sw_bits "pmd_zero_sw_bits": SW_BITS, "Bits of a 2 MiB PMD that maps the huge zero page.";
    fresh_write_stores_rw "fresh_write_stores_rw": BOOL,
        "Whether a fresh 4 KiB insert for a write stores a writable PTE.";
    fresh_write_sets_a "fresh_write_sets_a": BOOL,
        "Whether that PTE is made young (seen only with `arch.prot_accessed = false`).";
    fresh_write_sets_d "fresh_write_sets_d": BOOL,
        "Whether that PTE is dirty (and soft-dirty) from the start.";
    upgrade_sets_d_4k "upgrade_sets_d_4k": BOOL, "Whether the upgrade of a read-only 4 KiB PTE sets D.";
    upgrade_sets_d_2m "upgrade_sets_d_2m": BOOL, "Whether the upgrade of a read-only 2 MiB PMD sets D.";
    devdax_4k_honours_write "devdax_4k_honours_write": BOOL,
        "Whether the 4 KiB device-dax fault passes its write flag to the insert.";
    refcount_per_map "refcount_per_map": Kind::Count { min: 0, max: 1 },
        "References taken per mapping of a page: 0 or 1.";
    zero_page_refcounted_4k "zero_page_refcounted_4k": BOOL,
        "Whether the 4 KiB zero page is counted like any other.";
    temp_ref_around_insert "temp_ref_around_insert": BOOL,
        "Whether fsdax holds a reference around the insert.";
    memtype_lookup "memtype_lookup": BOOL,
        "Whether the insert looks the memory type up under the global `memtype_lock`.";
    mismatch_4k "mismatch_4k": Kind::Choice(MISMATCHES), "A 4 KiB write insert over another frame.";
    mismatch_2m "mismatch_2m": Kind::Choice(MISMATCHES), "A 2 MiB write insert over another frame.";
    hook_on_fresh_4k "hook_on_fresh_4k": BOOL, "Whether a fresh 4 KiB insert calls `update_mmu_cache`.";
    hook_on_2m_hole "hook_on_2m_hole": BOOL, "Whether a fresh 2 MiB hole calls `update_mmu_cache_pmd`.";
    hole_2m_busy "hole_2m_busy": Kind::Choice(HOLE_PMD_BUSY),
        "A 2 MiB hole read that lost the race for its slot.";
    wp_callback_fsdax "wp_callback_fsdax": Kind::Choice(WP_CALLBACKS),
        "The write-protect callback of fsdax.";
    zap_forces_flush_if_dirty "zap_forces_flush_if_dirty": BOOL,
        "Whether zapping a dirty PTE flushes before the page-table lock is dropped.";
    busy_test "busy_test": Kind::Choice(BUSY_TESTS),
        "Which count of references makes a page busy (`dax_busy_page`).";
    break_layout_skips_unmapped "break_layout_skips_unmapped": BOOL,
        "Whether breaking layouts leaves a file alone that nobody maps, whoever holds its pages.";
    break_layout_deletes_entries "break_layout_deletes_entries": BOOL,
        "Whether breaking layouts deletes every DAX entry of the file.";
});

section!(tree: TreeKnobs, "tree" {
    cpumask_cleared_on_switch "cpumask_cleared_on_switch": BOOL,
        "Whether a task switch clears the CPU's bit in the old mm's cpumask.";
    invlpgb "invlpgb": BOOL, "Whether the tree uses INVLPGB where the CPU has it.";
    asids "asids": Kind::Count { min: 8, max: 4094 },
        "`MAX_ASID_AVAILABLE`: ASIDs from 6 up to one less are global ones, for INVLPGB.";
    hz "hz": Kind::Count { min: 1, max: 100_000 }, "`CONFIG_HZ`: ticks of `jiffies` in a second.";
    flush_ceiling_pages "flush_ceiling_pages": Kind::Count { min: 0, max: 1 << 20 },
        "`tlb_single_page_flush_ceiling`: most pages flushed one by one.";
    pti "pti": BOOL, "Kernel page-table isolation.";
    thp_always "thp_always": BOOL, "`transparent_hugepage=always`.";
    thp_zero_page_replaced "thp_zero_page_replaced": BOOL,
        "Whether a store to the huge zero page gets a huge page, rather than splitting it.";
    fault_around_pages "fault_around_pages": Kind::Count { min: 1, max: 512 },
        "`fault_around_bytes`, in pages (a power of two).";
    stack_limit "stack_limit": Kind::Size { min: 1 << 16, max: 1 << 40, multiple: 4096 },
        "`RLIMIT_STACK`: as far as a stack grows.";
    lru_batch "lru_batch": Kind::Count { min: 1, max: 4096 },
        "`PAGEVEC_SIZE`: new pages that a CPU puts aside before it takes `lru_lock`; as many are freed under it at a time.";
    pcp_batch "pcp_batch": Kind::Count { min: 1, max: 1 << 20 },
        "`pcp->batch`: pages that a CPU takes from the zone, or gives back, under `zone->lock` at a time.";
    pcp_high "pcp_high": Kind::Count { min: 1, max: 1 << 20 }, "`pcp->high`: most free pages that a CPU keeps.";
    memcg_batch "memcg_batch": Kind::Count { min: 1, max: 1 << 20 },
        "`MEMCG_CHARGE_BATCH`: pages that a CPU charges to its memory cgroup at a time.";
    first_share_counted "first_share_counted": BOOL,
        "Whether a page of a block that files share is counted from its first DAX entry on, rather than from the second.";
    vma_lock_rwsem "vma_lock_rwsem": BOOL,
        "Whether the lock of a VMA is an `rw_semaphore`, so that who takes it stores its owner, too, rather than a reference count.";
});

section!(arch: ArchKnobs, "arch" {
    update_mmu_cache "update_mmu_cache": Kind::Choice(MMU_HOOKS),
        "What `update_mmu_cache` does: nothing; write the entry into both TLB levels or into the STLB of the CPU; \
         invalidate the page on the CPU.";
    set_access_flags "set_access_flags": Kind::Choice(SET_ACCESS_FLAGS),
        "How `ptep_set_access_flags` stores: a plain store for a write; a locked exchange; a plain store.";
    access_flags_flush "access_flags_flush": Kind::Choice(ACCESS_FLAGS_FLUSHES),
        "What it flushes of what it stored (but for `generic`, after a write only): nothing, the page on this CPU, \
         on every CPU.";
    prot_accessed "prot_accessed": BOOL, "Whether the `vm_page_prot` of a mapping holds the accessed flag.";
});

section!(common: CommonPath, "path_length.common" {
    entry "entry": LENGTH, "Entry code: save registers, read CR2, context tracking.";
    exit "exit": LENGTH, "Exit code: work test, restore.";
    vma_lock "vma_lock": LENGTH, "RCU, maple-tree walk, lock of the VMA.";
    vma_unlock "vma_unlock": LENGTH, "Release of it.";
    mmap_lock "mmap_lock": LENGTH, "`lock_mm_and_find_vma`.";
    mmap_unlock "mmap_unlock": LENGTH, "Release of it.";
    dispatch "dispatch": LENGTH, "`handle_mm_fault` down to the handler: one pass.";
    wp_page "wp_page": LENGTH, "`do_wp_page` up to the callback.";
    grab_entry "grab_entry": LENGTH, "`grab_mapping_entry`.";
    direct_access "direct_access": LENGTH, "`dax_direct_access`.";
    insert_entry_new "insert_entry_new": LENGTH, "`dax_insert_entry`, a new entry.";
    insert_entry_keep "insert_entry_keep": LENGTH, "`dax_insert_entry`, an entry that is kept.";
    unlock_entry "unlock_entry": LENGTH, "`dax_unlock_entry`.";
    associate_4k "associate_4k": LENGTH, "Association of a page with its file, or its undoing.";
    associate_2m "associate_2m": LENGTH, "Association of the 512 struct pages of a huge entry, or its undoing.";
    zero_line "zero_line": LENGTH, "Zeroing of a new block, per cache line.";
    clear_page "clear_page": LENGTH,
        "Zeroing of a page by `rep stos`, as an emulator counts it; its time is that of its lines.";
    copy_page "copy_page": LENGTH, "`copy_page` by `rep movs`: the private copy of a DAX fault; likewise.";
    copy_user_page "copy_user_page": LENGTH,
        "The copy through the user address of `wp_page_copy`; likewise.";
    insert_4k_fresh "insert_4k_fresh": LENGTH, "The 4 KiB insert, fresh.";
    insert_4k_upgrade "insert_4k_upgrade": LENGTH, "The 4 KiB insert, upgrade.";
    insert_4k_zero "insert_4k_zero": LENGTH, "The 4 KiB insert of the zero page.";
    insert_2m "insert_2m": LENGTH, "The 2 MiB insert, fresh or upgrade.";
    count_mapping_4k "count_mapping_4k": LENGTH,
        "Reference, reverse mapping and statistics of a new 4 KiB mapping, where mappings are counted.";
    count_mapping_2m "count_mapping_2m": LENGTH, "The same for 2 MiB.";
    temp_ref "temp_ref": LENGTH, "A reference held around an insert or a callback: get and put.";
    memtype_lookup "memtype_lookup": LENGTH, "The memory-type lookup (`track_pfn_insert`).";
    memtype_lookup_ram "memtype_lookup_ram": LENGTH,
        "The same for RAM (the zero page): the search of its ranges.";
    table_alloc "table_alloc": LENGTH, "Allocation of one page-table page, without its zeroing.";
    table_free "table_free": LENGTH, "Freeing of one.";
    huge_fallback "huge_fallback": LENGTH, "A huge attempt that is refused before any lock (per attempt).";
    spurious "spurious": LENGTH, "A spurious or lost-race fault below the page-table lock.";
    anon_page "anon_page": LENGTH, "An anonymous page: allocation, charge, reverse mapping, LRU.";
    finish_fault "finish_fault": LENGTH, "`finish_fault` of a private copy.";
    wp_page_copy "wp_page_copy": LENGTH, "`wp_page_copy` around the copy itself.";
    huge_zero "huge_zero": LENGTH, "The page-table read of a huge hole: huge zero folio.";
    unmap_mapping "unmap_mapping": LENGTH, "`unmap_mapping_range`/`unmap_mapping_pages`: per call.";
    zap_entry "zap_entry": LENGTH, "Zap: per page-table entry cleared.";
    zap_counted "zap_counted": LENGTH, "Unmapping of a counted page or huge page: reference, rmap, statistics.";
    flush_request "flush_request": LENGTH, "`flush_tlb_mm_range` up to the flush itself.";
    flush_func "flush_func": LENGTH, "`flush_tlb_func` without the invalidations.";
    flush_send_target "flush_send_target": LENGTH, "Sending a shootdown, per target.";
    writeback_entry "writeback_entry": LENGTH,
        "`pfn_mkclean_range` and the lock work of writeback, per entry.";
    writeback_vma "writeback_vma": LENGTH, "`pfn_mkclean_range`, per VMA visited.";
    mmap "mmap": LENGTH, "mmap, fixed address, no population.";
    munmap "munmap": LENGTH, "munmap, without the zap.";
    mprotect "mprotect": LENGTH, "mprotect, without the entries.";
    fsync "fsync": LENGTH, "msync or fsync, without the per-entry work and the journal.";
    task_switch "task_switch": LENGTH, "A task switch.";
    wake_up "wake_up": LENGTH, "The waking of a thread that slept (try_to_wake_up).";
    anon_huge_page "anon_huge_page": LENGTH, "A new anonymous huge page, without its zeroing.";
    anon_zero_page "anon_zero_page": LENGTH, "The mapping of a zero page into anonymous memory.";
    filemap_fault "filemap_fault": LENGTH, "The search of the page cache in a fault.";
    filemap_map_page "filemap_map_page": LENGTH, "Each page of the page cache that a fault maps.";
    clone "clone": LENGTH, "FICLONE or FICLONERANGE, without the extents.";
    refcount_lookup "refcount_lookup": LENGTH, "Which of an extent's blocks are shared.";
    remap_extent "remap_extent": LENGTH,
        "An extent that goes into a file's data fork: shared by a clone, or from the copy-on-write fork.";
});

macro_rules! fs_section {
    ($module:ident, $prefix:literal) => {
        section!($module: FsPath, $prefix {
            read "read": LENGTH, "Prologue and epilogue of a read fault.";
            write "write": LENGTH,
                "Prologue and epilogue of a write fault (freeze protection, time update, journal handle).";
            iomap "iomap": LENGTH, "One iomap lookup.";
            block_alloc "block_alloc": LENGTH, "Allocation of a block, without its zeroing.";
            fault_around "fault_around": LENGTH,
                "fault-around scan of a read fault (0 where there is no `map_pages`).";
            commit "commit": LENGTH, "A journal commit or log force by fsync.";
        });
    };
}
fs_section!(ext4, "path_length.ext4");
fs_section!(xfs, "path_length.xfs");
fs_section!(devdax, "path_length.devdax");

const NAMES: &[KeyDef] = &[
    KeyDef { key: "description", kind: Kind::Text, doc: "One line for reports.", default: None },
    KeyDef {
        key: semantics::KEY,
        kind: Kind::Text,
        doc: "The insert semantics: a builtin or a file of [dax] knobs, then any +KNOB@NAME.",
        default: None,
    },
];

/// Every key, in the order of the documentation.
pub(crate) static KEYS: LazyLock<Vec<KeyDef>> = LazyLock::new(|| {
    [
        NAMES,
        dax::KEYS,
        tree::KEYS,
        arch::KEYS,
        tlb_flush::KEYS,
        common::KEYS,
        ext4::KEYS,
        xfs::KEYS,
        devdax::KEYS,
    ]
    .concat()
});

/// The kernel, if every key is there and right.
pub(crate) fn read(name: &str, r: &Reader<'_>) -> Option<KernelSpec> {
    Some(KernelSpec {
        name: name.to_owned(),
        description: r.get("description")?,
        semantics: r.get(semantics::KEY)?,
        dax: dax::read(r)?,
        tree: tree::read(r)?,
        arch: arch::read(r)?,
        tlb_flush: tlb_flush::read(r)?,
        path_length: PathLengths {
            common: common::read(r)?,
            ext4: ext4::read(r)?,
            xfs: xfs::read(r)?,
            devdax: devdax::read(r)?,
        },
    })
}

/// Puts every value but the description.
pub(crate) fn show(spec: &KernelSpec, shown: &mut Shown) {
    shown.put(semantics::KEY, &spec.semantics);
    dax::show(&spec.dax, shown);
    tree::show(&spec.tree, shown);
    arch::show(&spec.arch, shown);
    tlb_flush::show(&spec.tlb_flush, shown);
    common::show(&spec.path_length.common, shown);
    ext4::show(&spec.path_length.ext4, shown);
    xfs::show(&spec.path_length.xfs, shown);
    devdax::show(&spec.path_length.devdax, shown);
}
