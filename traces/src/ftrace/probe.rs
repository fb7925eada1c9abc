//! Kernel probes of the traces. The names are the probed functions; `Ret` marks a return probe.

use daxsim_types::{Pfn, VirtAddr, VmFault};

use super::flags::FaultFlags;

/// The arguments of a TLB flush (`struct flush_tlb_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushInfo {
    /// First address, 0 with `end` all ones for everything.
    pub start: u64,
    /// First address behind the range.
    pub end: u64,
    /// The generation the flush brings the CPU to.
    pub generation: u64,
    /// The CPU that asked for it (the word as printed).
    pub initiating_cpu: u32,
    /// log2 of the stride.
    pub shift: u8,
    /// Whether page tables are freed.
    pub freed_tables: bool,
}

/// A kernel probe with a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Return of `handle_mm_fault`.
    HandleMmFaultRet {
        /// The faulting address.
        addr: VirtAddr,
        /// Flags of the call.
        flags: FaultFlags,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `dax_iomap_pte_fault`.
    DaxIomapPteFaultRet {
        /// The faulting address.
        addr: VirtAddr,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `dax_iomap_pmd_fault`.
    DaxIomapPmdFaultRet {
        /// The faulting address.
        addr: VirtAddr,
        /// Its result.
        ret: VmFault,
    },
    /// `dax_insert_entry`.
    DaxInsertEntry {
        /// The faulting address.
        addr: VirtAddr,
        /// The page-cache entry that was there.
        entry: u64,
        /// The frame.
        pfn: Pfn,
        /// Flags of the new entry.
        flags: u64,
    },
    /// Return of `dax_finish_sync_fault`.
    DaxFinishSyncFaultRet {
        /// The faulting address.
        addr: VirtAddr,
        /// 0 for a PTE, 9 for a PMD.
        order: u32,
        /// The frame.
        pfn: Pfn,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `insert_pfn`.
    InsertPfnRet {
        /// The address.
        addr: VirtAddr,
        /// The frame.
        pfn: Pfn,
        /// Whether the entry is made writable.
        mkwrite: bool,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `insert_page` (7.2).
    InsertPageRet {
        /// The address.
        addr: VirtAddr,
        /// The `struct page`.
        page: u64,
        /// Whether the entry is made writable.
        mkwrite: bool,
        /// 0 or a negative error number.
        ret: i32,
    },
    /// `insert_page_into_pte_locked` (7.2).
    InsertPageIntoPteLocked {
        /// The address.
        addr: VirtAddr,
        /// The PTE before.
        old: u64,
        /// The `struct page`.
        page: u64,
        /// The protection bits asked for.
        prot: u64,
        /// Whether the entry is made writable.
        mkwrite: bool,
    },
    /// Return of `insert_page_into_pte_locked` (7.2).
    InsertPageIntoPteLockedRet {
        /// The address.
        addr: VirtAddr,
        /// 0 or a negative error number.
        ret: i32,
        /// The PTE after.
        new: u64,
    },
    /// Return of `vmf_insert_mixed`.
    VmfInsertMixedRet {
        /// The address.
        addr: VirtAddr,
        /// The frame.
        pfn: Pfn,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `vmf_insert_mixed_mkwrite`.
    VmfInsertMixedMkwriteRet {
        /// The address.
        addr: VirtAddr,
        /// The frame.
        pfn: Pfn,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `vmf_insert_page_mkwrite` (7.2).
    VmfInsertPageMkwriteRet {
        /// The address.
        addr: VirtAddr,
        /// The `struct page`.
        page: u64,
        /// Whether the fault is a write.
        write: bool,
        /// Its result.
        ret: VmFault,
    },
    /// `vmf_insert_pfn_pmd`.
    VmfInsertPfnPmd {
        /// The address.
        addr: VirtAddr,
        /// The PMD before.
        old: u64,
        /// The frame.
        pfn: Pfn,
        /// Whether the fault is a write.
        write: bool,
    },
    /// Return of `vmf_insert_pfn_pmd`.
    VmfInsertPfnPmdRet {
        /// The address.
        addr: VirtAddr,
        /// The PMD after.
        new: u64,
        /// Its result.
        ret: VmFault,
    },
    /// `vmf_insert_folio_pmd` (7.2).
    VmfInsertFolioPmd {
        /// The address.
        addr: VirtAddr,
        /// The PMD before.
        old: u64,
        /// The `struct folio`.
        folio: u64,
        /// Whether the fault is a write.
        write: bool,
    },
    /// Return of `vmf_insert_folio_pmd` (7.2).
    VmfInsertFolioPmdRet {
        /// The address.
        addr: VirtAddr,
        /// The PMD after.
        new: u64,
        /// Its result.
        ret: VmFault,
    },
    /// `ptep_set_access_flags`.
    PtepSetAccessFlags {
        /// The address.
        addr: VirtAddr,
        /// The PTE before.
        old: u64,
        /// The PTE asked for.
        new: u64,
        /// Whether the entry becomes writable and dirty.
        dirty: bool,
    },
    /// Return of `ptep_set_access_flags`.
    PtepSetAccessFlagsRet {
        /// The address.
        addr: VirtAddr,
        /// Whether the PTE changed.
        changed: bool,
    },
    /// `pmdp_set_access_flags`.
    PmdpSetAccessFlags {
        /// The address.
        addr: VirtAddr,
        /// The PMD before.
        old: u64,
        /// The PMD asked for.
        new: u64,
        /// Whether the entry becomes writable and dirty.
        dirty: bool,
    },
    /// Return of `pmdp_set_access_flags`.
    PmdpSetAccessFlagsRet {
        /// The address.
        addr: VirtAddr,
        /// Whether the PMD changed.
        changed: bool,
    },
    /// `do_wp_page`.
    DoWpPage {
        /// The faulting address.
        addr: VirtAddr,
        /// The PTE the fault saw.
        orig_pte: u64,
        /// Flags of the fault.
        flags: FaultFlags,
    },
    /// Return of `do_wp_page`.
    DoWpPageRet {
        /// The faulting address.
        addr: VirtAddr,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `finish_fault`.
    FinishFaultRet {
        /// The faulting address.
        addr: VirtAddr,
        /// Its result.
        ret: VmFault,
    },
    /// Return of `ptep_clear_flush`.
    PtepClearFlushRet {
        /// The address.
        addr: VirtAddr,
        /// The PTE that was cleared.
        old: u64,
    },
    /// Return of `pmdp_invalidate`.
    PmdpInvalidateRet {
        /// The address.
        addr: VirtAddr,
        /// The PMD that was invalidated.
        old: u64,
    },
    /// `flush_tlb_mm_range`.
    FlushTlbMmRange {
        /// The address space.
        mm: u64,
        /// First address.
        start: u64,
        /// First address behind the range, all ones for everything.
        end: u64,
        /// log2 of the stride.
        shift: u8,
        /// Whether page tables are freed.
        freed_tables: bool,
    },
    /// `native_flush_tlb_multi`: the initiator sends the shootdown.
    NativeFlushTlbMulti {
        /// The first word of the CPU mask.
        mask: u64,
        /// What to flush.
        info: FlushInfo,
    },
    /// `flush_tlb_func`: a CPU does the flush.
    FlushTlbFunc {
        /// The address space.
        mm: u64,
        /// What to flush.
        info: FlushInfo,
    },
    /// `pfn_mkclean_range`.
    PfnMkcleanRange {
        /// First frame.
        pfn: Pfn,
        /// Frames.
        nr: u64,
        /// Page of the file.
        pgoff: u64,
        /// The `struct vm_area_struct`.
        vma: u64,
        /// First address of the mapping.
        vm_start: VirtAddr,
    },
    /// Return of `pfn_mkclean_range`.
    PfnMkcleanRangeRet {
        /// Entries cleaned.
        cleaned: i32,
    },
    /// `unmap_mapping_pages`.
    UnmapMappingPages {
        /// The `struct address_space`.
        mapping: u64,
        /// First page.
        start: u64,
        /// Pages, 0 for all.
        nr: u64,
        /// Whether private copies go too.
        even_cows: bool,
    },
    /// `unmap_mapping_range`.
    UnmapMappingRange {
        /// The `struct address_space`.
        mapping: u64,
        /// First byte.
        begin: i64,
        /// Bytes, 0 for all.
        len: i64,
        /// Whether private copies go too.
        even_cows: bool,
    },
    /// `__split_huge_pmd`.
    SplitHugePmd {
        /// The address.
        addr: VirtAddr,
        /// Whether the parts become migration entries.
        freeze: bool,
    },
}
