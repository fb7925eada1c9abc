//! The page-table insert in its three semantics (spec section 3), told apart only by knobs:
//! `insert_pfn` before the series, `insert_page_into_pte_locked` as first posted and as merged.

use daxsim_configs::kernel::{DaxKnobs, HolePmdBusy, Mismatch, SwBits};
use daxsim_types::{FileSystem, PageSize, Pfn, VmFault};

use super::access_flags::ptep_set_access_flags;
use super::fault::ensure_table;
use super::mmu_hook::update_mmu_cache;
use super::page::{folio_get, folio_put};
use super::vmf::Vmf;
use crate::engine::{Cx, LockMode};
use crate::measure::{FaultKind, KernelWarning, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// What is to be inserted.
#[derive(Clone, Copy)]
pub(crate) struct Insert {
    pub(crate) pfn: Pfn,
    pub(crate) write: bool,
    /// The zero page of the size: a hole.
    pub(crate) zero: bool,
}

/// Names of the insert functions, as the recorded paths spell them.
struct Names {
    inner: &'static str,
    outer_read: &'static str,
    outer_write: &'static str,
    pmd: &'static str,
    pud: &'static str,
}

/// The generations of insert helpers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Helper {
    /// `vmf_insert_mixed` and `vmf_insert_pfn_pmd`.
    Mixed,
    /// `dax_insert_pfn` and `dax_insert_pfn_pmd`.
    DaxPfn,
    /// `vmf_insert_page_mkwrite` and `vmf_insert_folio_pmd`.
    Page,
}

impl Helper {
    /// They are told apart by what they do: whether a mapping holds a reference, and whether the memory type is looked up.
    fn of(knobs: &DaxKnobs) -> Self {
        match (knobs.refcount_per_map > 0, knobs.memtype_lookup) {
            (false, _) => Self::Mixed,
            (true, true) => Self::DaxPfn,
            (true, false) => Self::Page,
        }
    }

    fn names(self) -> Names {
        match self {
            Self::Mixed => Names {
                inner: "insert_pfn",
                outer_read: "vmf_insert_mixed",
                outer_write: "vmf_insert_mixed_mkwrite",
                pmd: "vmf_insert_pfn_pmd",
                pud: "vmf_insert_pfn_pud",
            },
            Self::DaxPfn => Names {
                inner: "insert_page_into_pte_locked",
                outer_read: "dax_insert_pfn",
                outer_write: "dax_insert_pfn",
                pmd: "dax_insert_pfn_pmd",
                pud: "dax_insert_pfn_pud",
            },
            Self::Page => Names {
                inner: "insert_page_into_pte_locked",
                outer_read: "vmf_insert_page_mkwrite",
                outer_write: "vmf_insert_page_mkwrite",
                pmd: "vmf_insert_folio_pmd",
                pud: "vmf_insert_folio_pud",
            },
        }
    }
}

/// What the helper made of the slot.
enum Outcome {
    /// A new entry.
    Fresh,
    /// An access-flag update, perhaps one that changed nothing.
    Upgraded,
    /// A read found an entry.
    Busy,
    /// A write found another frame.
    Mismatch,
    /// No table could be allocated.
    NoMemory,
}

/// Inserts or upgrades a 4 KiB PTE (spec 3.2.2, 3.3.3, 3.4.3).
pub(crate) async fn insert_4k(cx: &Cx<'_>, vmf: &Vmf, mut request: Insert) -> VmFault {
    let before = cx.set_part(Part::Insert);
    let fs = cx.with(|m| m.file(vmf.file).fs);
    let fsdax = fs != FileSystem::Devdax;
    request.write = request.write && (fsdax || cx.knob(|k| k.devdax_4k_honours_write));
    let counted = !request.zero || cx.knob(|k| k.zero_page_refcounted_4k);
    let temp_ref = fsdax
        && counted
        && cx.knob(|k| k.temp_ref_around_insert)
        && !cx.with(|m| m.injections.drops_reference(request.pfn));
    if temp_ref {
        cx.step(|p| p.temp_ref);
        folio_get(cx, request.pfn).await;
    }
    let ret = match prologue_4k(cx, request, fsdax).await {
        Ok(()) => {
            let outcome = insert_4k_locked(cx, vmf, request).await;
            finish_4k(cx, request, &outcome)
        }
        Err(refused) => returned_4k(cx, request, refused),
    };
    if temp_ref {
        folio_put(cx, request.pfn).await;
    }
    cx.set_part(before);
    ret
}

/// What the helpers test before they take the page-table lock (spec 3.2.1, 3.3.1, 3.4.2).
async fn prologue_4k(cx: &Cx<'_>, request: Insert, fsdax: bool) -> Result<(), VmFault> {
    let helper = cx.knob(Helper::of);
    let zero_write = request.zero && request.write;
    // vm_mixed_ok
    if helper == Helper::Mixed && (zero_write || cx.with(|m| m.injections.is_not_devmap(request.pfn))) {
        return Err(VmFault::SIGBUS);
    }
    if cx.knob(|k| k.memtype_lookup) {
        memtype_lookup(cx, request.zero).await;
    }
    if helper == Helper::DaxPfn && zero_write {
        cx.with(|m| m.measure.warnings.warn(KernelWarning::ZeroPageWrite));
        return Err(VmFault::SIGBUS);
    }
    // validate_page_before_insert: -EINVAL for a free page. The zero page, and the pages of a device-dax device, never are.
    if helper != Helper::Mixed && fsdax && !request.zero && cx.with(|m| m.pages.is_idle(request.pfn)) {
        return Err(VmFault::SIGBUS);
    }
    Ok(())
}

/// The trace token of the helper that the file system calls.
fn returned_4k(cx: &Cx<'_>, request: Insert, ret: VmFault) -> VmFault {
    let names = cx.knob(Helper::of).names();
    cx.note(PathStep::Returned(if request.write { names.outer_write } else { names.outer_read }, ret));
    ret
}

/// The part under the page-table lock.
async fn insert_4k_locked(cx: &Cx<'_>, vmf: &Vmf, request: Insert) -> Outcome {
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 0).await else { return Outcome::NoMemory };
    let slot = Slot::of(table, vmf.address, 0);
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return Outcome::Busy };
    cx.lock(ptl, LockMode::Exclusive).await;
    cx.load(slot.line()).await;
    let (old, refs) = cx.with(|m| (m.tables.read(slot), m.pages.counts(request.pfn).refs));
    cx.trail(|t| {
        // Until something is stored, the entry after is the entry before.
        (t.old, t.new, t.refs_at_insert) = (Some(old), Some(old), Some(refs));
        t.pfn = Some(request.pfn);
    });
    let outcome = if old.is_none() {
        let prot = cx.with(|m| m.vm_page_prot(&vmf.vma));
        let entry = cx.knob(|k| fresh_pte(vmf, request, k, prot));
        cx.step(|p| if request.zero { p.insert_4k_zero } else { p.insert_4k_fresh });
        if !request.zero || cx.knob(|k| k.zero_page_refcounted_4k) {
            count_mapping(cx, vmf, request.pfn, PageSize::Size4K).await;
        }
        store_entry(cx, slot, entry).await;
        let writes = request.write && !request.zero;
        cx.trail(|t| t.kind = Some(if writes { FaultKind::Write } else { FaultKind::Read }));
        if cx.knob(|k| k.hook_on_fresh_4k) {
            update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
        }
        Outcome::Fresh
    } else if !request.write {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        Outcome::Busy
    } else if old.pfn() != request.pfn {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        cx.with(|m| {
            if old.pfn() != m.globals.zero_page {
                m.measure.warnings.warn(KernelWarning::Mismatch4k);
            }
        });
        Outcome::Mismatch
    } else {
        cx.step(|p| p.insert_4k_upgrade);
        let entry = cx.knob(|k| upgraded(old, vmf, k.upgrade_sets_d_4k));
        let changed = upgrade_entry(cx, vmf, slot, PageSize::Size4K, old, entry).await;
        cx.trail(|t| t.kind = Some(if changed { FaultKind::Mkwrite } else { FaultKind::Spurious }));
        Outcome::Upgraded
    };
    cx.unlock(ptl, LockMode::Exclusive).await;
    outcome
}

/// Return value and trace tokens of the helper and its caller.
fn finish_4k(cx: &Cx<'_>, request: Insert, outcome: &Outcome) -> VmFault {
    let helper = cx.knob(Helper::of);
    let names = helper.names();
    let ret = match outcome {
        Outcome::Mismatch if cx.knob(|k| k.mismatch_4k == Mismatch::Sigbus) => VmFault::SIGBUS,
        Outcome::NoMemory => VmFault::OOM,
        _ => VmFault::NOPAGE,
    };
    // insert_pfn returns a vm_fault_t; insert_page_into_pte_locked an errno: -EBUSY, -EFAULT. It is not reached without a table.
    match (helper, outcome) {
        (Helper::Mixed, Outcome::NoMemory) => cx.note(PathStep::Returned(names.inner, VmFault::OOM)),
        (Helper::Mixed, _) => cx.note(PathStep::Returned(names.inner, VmFault::NOPAGE)),
        (_, Outcome::NoMemory) => {}
        (_, Outcome::Busy) => cx.note(PathStep::Value(names.inner, -16)),
        (_, Outcome::Mismatch) => cx.note(PathStep::Value(names.inner, -14)),
        (_, Outcome::Fresh | Outcome::Upgraded) => cx.note(PathStep::Value(names.inner, 0)),
    }
    returned_4k(cx, request, ret)
}

/// Inserts or upgrades a 2 MiB PMD (spec 3.2.3, 3.2.7, 3.4.4) or a 1 GiB PUD (3.2.4, 3.4.5), which differ in their level alone.
pub(crate) async fn insert_huge(cx: &Cx<'_>, vmf: &Vmf, request: Insert, size: PageSize) -> VmFault {
    let before = cx.set_part(Part::Insert);
    let fs = cx.with(|m| m.file(vmf.file).fs);
    let temp_ref = fs != FileSystem::Devdax && !request.zero && cx.knob(|k| k.temp_ref_around_insert);
    if temp_ref {
        cx.step(|p| p.temp_ref);
        folio_get(cx, request.pfn).await;
    }
    // Before the series, and as first posted, a huge hole is opened-coded in dax_pmd_load_hole: no helper, no lookup.
    let through_helper = !request.zero || cx.knob(|k| k.hook_on_2m_hole);
    if through_helper && cx.knob(|k| k.memtype_lookup) {
        memtype_lookup(cx, request.zero).await;
    }
    let ret =
        if cx.knob(Helper::of) == Helper::Page && !request.zero && !is_folio_of(cx, vmf, request.pfn, size) {
            cx.with(|m| m.measure.warnings.warn(KernelWarning::FolioOrder));
            VmFault::SIGBUS
        } else {
            insert_huge_locked(cx, vmf, request, size).await
        };
    if through_helper {
        let names = cx.knob(Helper::of).names();
        let name = if size == PageSize::Size1G { names.pud } else { names.pmd };
        cx.note(PathStep::Returned(name, ret));
    }
    if temp_ref {
        folio_put(cx, request.pfn).await;
    }
    cx.set_part(before);
    ret
}

/// Whether the frame begins a folio of that size, which alone `vmf_insert_folio_pmd` and `vmf_insert_folio_pud` map.
fn is_folio_of(cx: &Cx<'_>, vmf: &Vmf, pfn: Pfn, size: PageSize) -> bool {
    let folio = cx.with(|m| m.folio_of(vmf.file, vmf.pgoff, pfn));
    1 << folio.order == size.pages()
}

/// Kinds of a huge fault: fresh read, fresh write, upgrade.
fn huge_kinds(size: PageSize) -> [FaultKind; 3] {
    use FaultKind::{PmdMkwrite, PmdRead, PmdWrite, PudRead, PudWrite};
    match size {
        // The one user of PUDs, device-dax, has no write notification: no read-only entry waits for an upgrade.
        PageSize::Size1G => [PudRead, PudWrite, PudWrite],
        PageSize::Size2M | PageSize::Size4K => [PmdRead, PmdWrite, PmdMkwrite],
    }
}

async fn insert_huge_locked(cx: &Cx<'_>, vmf: &Vmf, request: Insert, size: PageSize) -> VmFault {
    let level = size.level();
    let [read, write, upgrade] = huge_kinds(size);
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, level).await else { return VmFault::OOM };
    let slot = Slot::of(table, vmf.address, level);
    let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.load(slot.line()).await;
    cx.step(|p| p.insert_2m);
    let (old, refs) = cx.with(|m| (m.tables.read(slot), m.pages.counts(request.pfn).refs));
    cx.trail(|t| (t.old, t.new, t.refs_at_insert) = (Some(old), Some(old), Some(refs)));
    let ret = if old.is_none() {
        let prot = cx.with(|m| m.vm_page_prot(&vmf.vma));
        let entry = cx.knob(|k| fresh_huge(vmf, request, k, prot));
        if !request.zero {
            count_mapping(cx, vmf, request.pfn, size).await;
        }
        store_entry(cx, slot, entry).await;
        cx.trail(|t| t.kind = Some(if request.write { write } else { read }));
        if !request.zero || cx.knob(|k| k.hook_on_2m_hole) {
            update_mmu_cache(cx, vmf.mm, vmf.address, slot, size);
        }
        VmFault::NOPAGE
    } else if request.zero && cx.knob(|k| k.hole_2m_busy == HolePmdBusy::Fallback) {
        VmFault::FALLBACK
    } else if !request.write {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        VmFault::NOPAGE
    } else if !old.is_leaf_at(level) || old.pfn() != request.pfn {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        cx.with(|m| {
            if old.pfn() != m.globals.huge_zero_page {
                m.measure.warnings.warn(KernelWarning::Mismatch2m);
            }
        });
        match cx.knob(|k| k.mismatch_2m) {
            Mismatch::NoPage => VmFault::NOPAGE,
            Mismatch::Sigbus => VmFault::SIGBUS,
        }
    } else {
        let entry = cx.knob(|k| upgraded(old, vmf, k.upgrade_sets_d_2m));
        let changed = upgrade_entry(cx, vmf, slot, size, old, entry).await;
        cx.trail(|t| t.kind = Some(if changed { upgrade } else { FaultKind::Spurious }));
        VmFault::NOPAGE
    };
    cx.unlock(lock, LockMode::Exclusive).await;
    ret
}

/// The software bits of a block or zero entry.
fn with_bits(entry: Entry, bits: SwBits) -> Entry {
    let special = if bits.special { Entry::SPECIAL } else { 0 };
    let devmap = if bits.devmap { Entry::DEVMAP } else { 0 };
    Entry(entry.0 | special | devmap)
}

fn maybe_mkwrite(entry: Entry, vmf: &Vmf) -> Entry {
    if vmf.vma.write { entry.mkwrite() } else { entry }
}

fn fresh_pte(vmf: &Vmf, request: Insert, knobs: &DaxKnobs, prot: u64) -> Entry {
    let bits = if request.zero { knobs.pte_zero_sw_bits } else { knobs.pte_block_sw_bits };
    let mut entry = with_bits(Entry::leaf(request.pfn, prot), bits);
    // The zero page is never made writable: vmf_insert_page_mkwrite ignores the flag for it, the others refuse it before.
    if request.write && !request.zero && knobs.fresh_write_stores_rw {
        if knobs.fresh_write_sets_a {
            entry = entry.mkyoung();
        }
        if knobs.fresh_write_sets_d {
            entry = entry.mkdirty();
        }
        entry = maybe_mkwrite(entry, vmf);
    }
    entry
}

fn fresh_huge(vmf: &Vmf, request: Insert, knobs: &DaxKnobs, prot: u64) -> Entry {
    let bits = if request.zero { knobs.pmd_zero_sw_bits } else { knobs.pmd_block_sw_bits };
    let entry = with_bits(Entry::leaf(request.pfn, prot | Entry::PS), bits);
    // At this level every variant presets dirty and young (spec 3.5, row 6).
    if request.write { maybe_mkwrite(entry.mkyoung().mkdirty(), vmf) } else { entry }
}

/// The entry that an upgrade wants.
fn upgraded(old: Entry, vmf: &Vmf, sets_d: bool) -> Entry {
    let young = old.mkyoung();
    maybe_mkwrite(if sets_d { young.mkdirty() } else { young }, vmf)
}

/// The present branch of the helpers: access flags, and the hook if they changed.
async fn upgrade_entry(cx: &Cx<'_>, vmf: &Vmf, slot: Slot, size: PageSize, old: Entry, new: Entry) -> bool {
    let changed = ptep_set_access_flags(cx, vmf, slot, size, old, new).await;
    if changed {
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, size);
    }
    cx.trail(|t| t.new = Some(new));
    changed
}

async fn store_entry(cx: &Cx<'_>, slot: Slot, entry: Entry) {
    cx.store(slot.line()).await;
    cx.with(|m| m.tables.write(slot, entry));
    cx.trail(|t| t.new = Some(entry));
}

/// `folio_get`, file rmap and RSS of a new mapping, in the variants that count mappings (spec 3.4.3).
async fn count_mapping(cx: &Cx<'_>, vmf: &Vmf, pfn: Pfn, size: PageSize) {
    if cx.knob(|k| k.refcount_per_map == 0) {
        return;
    }
    cx.step(|p| if size == PageSize::Size4K { p.count_mapping_4k } else { p.count_mapping_2m });
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw_struct_page(line).await;
    if size == PageSize::Size4K {
        cx.rmw_struct_page(line).await;
    } else {
        // Entire mapcount, pages mapped and large mapcount share the folio's second struct page (spec 7.1: Lpg1).
        let second = cx.with(|m| m.pages.line(Pfn(pfn.0 + 1)));
        for _ in 0..3 {
            cx.rmw_struct_page(second).await;
        }
    }
    cx.with(|m| {
        let refs = i64::from(m.kernel.ask(|k| k.dax.refcount_per_map));
        m.pages.update(pfn, |c| {
            c.refs += refs;
            c.maps += 1;
        });
        m.mm_mut(vmf.mm).rss_file += size.pages() as i64;
    });
}

/// `track_pfn_insert`: the memory type of the frame, under the machine's one `memtype_lock` for anything that is not RAM
/// (spec 3.2.1). RAM, that is the zero page, ends with the search of its ranges.
async fn memtype_lookup(cx: &Cx<'_>, is_ram: bool) {
    let (resource, lock) = cx.with(|m| (m.globals.resource_line, m.globals.memtype_lock));
    cx.rmw(resource).await;
    cx.with(|m| m.measure.resource_lookups += 1);
    cx.step(|p| if is_ram { p.memtype_lookup_ram } else { p.memtype_lookup });
    if !is_ram {
        cx.lock(lock, LockMode::Exclusive).await;
        cx.with(|m| m.measure.memtype_lookups += 1);
        cx.unlock(lock, LockMode::Exclusive).await;
    }
}
