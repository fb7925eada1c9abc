//! Arguments of kernel probes, in the order the probes print them.

use std::marker::PhantomData;

use daxsim_types::{VirtAddr, VmFault};

use super::event::plain_pfn;
use super::fields::{Fields, Notation};
use super::flags::FaultFlags;
use super::probe::{FlushInfo, Probe};

/// Reads the arguments behind `(symbol+offset)`.
pub(super) type ParseProbe<N> = for<'a> fn(&mut <N as Notation>::Fields<'a>) -> Option<Probe>;

fn addr<F: Fields>(s: &mut F) -> Option<VirtAddr> {
    s.arg(b" addr=").map(VirtAddr)
}

fn ret<F: Fields>(s: &mut F) -> Option<VmFault> {
    s.arg32(b" ret=").map(VmFault)
}

fn flush_info<F: Fields>(s: &mut F) -> Option<FlushInfo> {
    Some(FlushInfo {
        start: s.arg(b" start=")?,
        end: s.arg(b" end=")?,
        generation: s.arg(b" gen=")?,
        initiating_cpu: s.arg32(b" initcpu=")?,
        shift: s.arg(b" shift=")? as u8,
        freed_tables: s.arg_bool(b" freed=")?,
    })
}

/// Name and reader of every probe with a type.
pub(super) struct Probes<N>(PhantomData<N>);

impl<N: Notation> Probes<N> {
    pub const ALL: [(&'static str, ParseProbe<N>); 33] = [
        ("handle_mm_fault_ret", |s| {
            let addr = addr(s)?;
            let flags = FaultFlags(s.arg32(b" flags=")?);
            Some(Probe::HandleMmFaultRet { addr, flags, ret: ret(s)? })
        }),
        ("dax_iomap_pte_fault_ret", |s| Some(Probe::DaxIomapPteFaultRet { addr: addr(s)?, ret: ret(s)? })),
        ("dax_iomap_pmd_fault_ret", |s| Some(Probe::DaxIomapPmdFaultRet { addr: addr(s)?, ret: ret(s)? })),
        ("dax_insert_entry", |s| {
            s.arg(b" vmf=")?;
            let addr = addr(s)?;
            let entry = s.arg(b" entry=")?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            Some(Probe::DaxInsertEntry { addr, entry, pfn, flags: s.arg(b" flags=")? })
        }),
        ("dax_finish_sync_fault_ret", |s| {
            let addr = addr(s)?;
            let order = s.arg32(b" order=")?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            Some(Probe::DaxFinishSyncFaultRet { addr, order, pfn, ret: ret(s)? })
        }),
        ("insert_pfn_ret", |s| {
            let addr = addr(s)?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            let mkwrite = s.arg_bool(b" mkwrite=")?;
            Some(Probe::InsertPfnRet { addr, pfn, mkwrite, ret: ret(s)? })
        }),
        ("insert_page_ret", |s| {
            let addr = addr(s)?;
            let page = s.arg(b" page=")?;
            let mkwrite = s.arg_bool(b" mkwrite=")?;
            Some(Probe::InsertPageRet { addr, page, mkwrite, ret: s.arg_int(b" ret=")? })
        }),
        ("insert_page_into_pte_locked", |s| {
            let addr = addr(s)?;
            s.arg(b" ptep=")?;
            let old = s.arg(b" old=")?;
            let page = s.arg(b" page=")?;
            let prot = s.arg(b" prot=")?;
            Some(Probe::InsertPageIntoPteLocked { addr, old, page, prot, mkwrite: s.arg_bool(b" mkwrite=")? })
        }),
        ("insert_page_into_pte_locked_ret", |s| {
            let addr = addr(s)?;
            s.arg(b" ptep=")?;
            let ret = s.arg_int(b" ret=")?;
            Some(Probe::InsertPageIntoPteLockedRet { addr, ret, new: s.arg(b" new=")? })
        }),
        ("vmf_insert_mixed_ret", |s| {
            let addr = addr(s)?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            Some(Probe::VmfInsertMixedRet { addr, pfn, ret: ret(s)? })
        }),
        ("vmf_insert_mixed_mkwrite_ret", |s| {
            let addr = addr(s)?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            Some(Probe::VmfInsertMixedMkwriteRet { addr, pfn, ret: ret(s)? })
        }),
        ("vmf_insert_page_mkwrite_ret", |s| {
            let addr = addr(s)?;
            let page = s.arg(b" page=")?;
            let write = s.arg_bool(b" write=")?;
            Some(Probe::VmfInsertPageMkwriteRet { addr, page, write, ret: ret(s)? })
        }),
        ("vmf_insert_pfn_pmd", |s| {
            let addr = addr(s)?;
            let old = s.arg(b" old=")?;
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            Some(Probe::VmfInsertPfnPmd { addr, old, pfn, write: s.arg_bool(b" write=")? })
        }),
        ("vmf_insert_pfn_pmd_ret", |s| {
            Some(Probe::VmfInsertPfnPmdRet { addr: addr(s)?, new: s.arg(b" new=")?, ret: ret(s)? })
        }),
        ("vmf_insert_folio_pmd", |s| {
            let addr = addr(s)?;
            let old = s.arg(b" old=")?;
            let folio = s.arg(b" folio=")?;
            Some(Probe::VmfInsertFolioPmd { addr, old, folio, write: s.arg_bool(b" write=")? })
        }),
        ("vmf_insert_folio_pmd_ret", |s| {
            Some(Probe::VmfInsertFolioPmdRet { addr: addr(s)?, new: s.arg(b" new=")?, ret: ret(s)? })
        }),
        ("ptep_set_access_flags", |s| {
            let addr = addr(s)?;
            s.arg(b" ptep=")?;
            let old = s.arg(b" old=")?;
            let new = s.arg(b" new=")?;
            Some(Probe::PtepSetAccessFlags { addr, old, new, dirty: s.arg_bool(b" dirty=")? })
        }),
        ("ptep_set_access_flags_ret", |s| {
            Some(Probe::PtepSetAccessFlagsRet { addr: addr(s)?, changed: s.arg_bool(b" changed=")? })
        }),
        ("pmdp_set_access_flags", |s| {
            let addr = addr(s)?;
            s.arg(b" pmdp=")?;
            let old = s.arg(b" old=")?;
            let new = s.arg(b" new=")?;
            Some(Probe::PmdpSetAccessFlags { addr, old, new, dirty: s.arg_bool(b" dirty=")? })
        }),
        ("pmdp_set_access_flags_ret", |s| {
            Some(Probe::PmdpSetAccessFlagsRet { addr: addr(s)?, changed: s.arg_bool(b" changed=")? })
        }),
        ("do_wp_page", |s| {
            let addr = addr(s)?;
            let orig_pte = s.arg(b" orig_pte=")?;
            Some(Probe::DoWpPage { addr, orig_pte, flags: FaultFlags(s.arg32(b" flags=")?) })
        }),
        ("do_wp_page_ret", |s| Some(Probe::DoWpPageRet { addr: addr(s)?, ret: ret(s)? })),
        ("finish_fault_ret", |s| Some(Probe::FinishFaultRet { addr: addr(s)?, ret: ret(s)? })),
        ("ptep_clear_flush_ret", |s| {
            Some(Probe::PtepClearFlushRet { addr: addr(s)?, old: s.arg(b" old=")? })
        }),
        ("pmdp_invalidate_ret", |s| Some(Probe::PmdpInvalidateRet { addr: addr(s)?, old: s.arg(b" old=")? })),
        ("flush_tlb_mm_range", |s| {
            Some(Probe::FlushTlbMmRange {
                mm: s.arg(b" mm=")?,
                start: s.arg(b" start=")?,
                end: s.arg(b" end=")?,
                shift: s.arg(b" shift=")? as u8,
                freed_tables: s.arg_bool(b" freed=")?,
            })
        }),
        ("native_flush_tlb_multi", |s| {
            Some(Probe::NativeFlushTlbMulti { mask: s.arg(b" mask=")?, info: flush_info(s)? })
        }),
        ("flush_tlb_func", |s| Some(Probe::FlushTlbFunc { mm: s.arg(b" mm=")?, info: flush_info(s)? })),
        ("pfn_mkclean_range", |s| {
            let pfn = plain_pfn(s.arg(b" pfn=")?);
            let nr = s.arg(b" nr=")?;
            let pgoff = s.arg(b" pgoff=")?;
            let vma = s.arg(b" vma=")?;
            Some(Probe::PfnMkcleanRange { pfn, nr, pgoff, vma, vm_start: VirtAddr(s.arg(b" vm_start=")?) })
        }),
        ("pfn_mkclean_range_ret", |s| Some(Probe::PfnMkcleanRangeRet { cleaned: s.arg_int(b" cleaned=")? })),
        ("unmap_mapping_pages", |s| {
            Some(Probe::UnmapMappingPages {
                mapping: s.arg(b" mapping=")?,
                start: s.arg(b" start=")?,
                nr: s.arg(b" nr=")?,
                even_cows: s.arg_bool(b" even_cows=")?,
            })
        }),
        ("unmap_mapping_range", |s| {
            Some(Probe::UnmapMappingRange {
                mapping: s.arg(b" mapping=")?,
                begin: s.arg(b" begin=")? as i64,
                len: s.arg(b" len=")? as i64,
                even_cows: s.arg_bool(b" even_cows=")?,
            })
        }),
        ("__split_huge_pmd", |s| {
            Some(Probe::SplitHugePmd { addr: addr(s)?, freeze: s.arg_bool(b" freeze=")? })
        }),
    ];
}
