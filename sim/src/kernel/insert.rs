//! The page-table insert in its three semantics (spec section 3), told apart only by knobs:
//! `insert_pfn` before the series, `insert_page_into_pte_locked` as first posted and as merged.

use daxsim_configs::kernel::{DaxKnobs, HolePmdBusy, Mismatch, SwBits};
use daxsim_types::{FileSystem, PageSize, Pfn, VmFault};

use super::fault::ensure_table;
use super::vmf::Vmf;
use crate::engine::{Cx, LockMode};
use crate::measure::{FaultKind, Part, PathStep};
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
    inner: Option<&'static str>,
    outer_read: &'static str,
    outer_write: &'static str,
    huge: &'static str,
}

/// The three generations of helpers are told apart by what they do: whether a mapping holds a reference, and whether
/// the memory type is looked up.
fn names(knobs: &DaxKnobs) -> Names {
    match (knobs.refcount_per_map > 0, knobs.memtype_lookup) {
        (false, _) => Names {
            inner: Some("insert_pfn"),
            outer_read: "vmf_insert_mixed",
            outer_write: "vmf_insert_mixed_mkwrite",
            huge: "vmf_insert_pfn_pmd",
        },
        (true, true) => Names {
            inner: Some("insert_page_into_pte_locked"),
            outer_read: "dax_insert_pfn",
            outer_write: "dax_insert_pfn",
            huge: "dax_insert_pfn_pmd",
        },
        (true, false) => Names {
            inner: Some("insert_page_into_pte_locked"),
            outer_read: "vmf_insert_page_mkwrite",
            outer_write: "vmf_insert_page_mkwrite",
            huge: "vmf_insert_folio_pmd",
        },
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
}

/// Inserts or upgrades a 4 KiB PTE (spec 3.2.2, 3.3.3, 3.4.3).
pub(crate) async fn insert_4k(cx: &Cx<'_>, vmf: &Vmf, mut request: Insert) -> VmFault {
    let before = cx.set_part(Part::Insert);
    let (knobs, fs, page_line) = cx.with(|m| (m.kernel.dax, m.file(vmf.file).fs, m.pages.line(request.pfn)));
    let fsdax = fs != FileSystem::Devdax;
    request.write &= fsdax || knobs.devdax_4k_honours_write;
    let temp_ref = knobs.temp_ref_around_insert && fsdax && (!request.zero || knobs.zero_page_refcounted_4k);
    if temp_ref {
        cx.step(|p| p.temp_ref);
        cx.rmw(page_line).await;
    }
    if knobs.memtype_lookup {
        memtype_lookup(cx, request.zero).await;
    }
    let ret = if request.zero && request.write {
        VmFault::SIGBUS
    } else {
        let outcome = insert_4k_locked(cx, vmf, request, &knobs, fs).await;
        finish_4k(cx, request, &knobs, &outcome)
    };
    if temp_ref {
        cx.rmw(page_line).await;
    }
    cx.set_part(before);
    ret
}

/// The part under the page-table lock.
async fn insert_4k_locked(
    cx: &Cx<'_>,
    vmf: &Vmf,
    request: Insert,
    knobs: &DaxKnobs,
    fs: FileSystem,
) -> Outcome {
    let table = ensure_table(cx, vmf.mm, vmf.address, 0).await;
    let slot = Slot::of(table, vmf.address, 0);
    let Some(ptl) = cx.with(|m| m.tables.lock(table)) else { return Outcome::Busy };
    cx.lock(ptl, LockMode::Exclusive).await;
    cx.load(slot.line()).await;
    let old = cx.with(|m| m.tables.read(slot));
    cx.trail(|t| {
        t.old = Some(old);
        t.pfn = Some(request.pfn);
    });
    let outcome = if old.is_none() {
        let entry = fresh_pte(vmf, request, knobs, fs);
        cx.step(|p| if request.zero { p.insert_4k_zero } else { p.insert_4k_fresh });
        if !request.zero || knobs.zero_page_refcounted_4k {
            count_mapping(cx, vmf, request.pfn, PageSize::Size4K, knobs).await;
        }
        store_entry(cx, slot, entry).await;
        cx.trail(|t| t.kind = Some(if request.write { FaultKind::Write } else { FaultKind::Read }));
        if knobs.hook_on_fresh_4k {
            cx.with(|m| m.measure.update_mmu_cache_calls += 1);
        }
        Outcome::Fresh
    } else if !request.write {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        Outcome::Busy
    } else if old.pfn() != request.pfn {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        Outcome::Mismatch
    } else {
        cx.step(|p| p.insert_4k_upgrade);
        let entry = upgraded(old, vmf, knobs.upgrade_sets_d_4k);
        let changed = upgrade_entry(cx, slot, old, entry, "ptep_set_access_flags").await;
        cx.trail(|t| t.kind = Some(if changed { FaultKind::Mkwrite } else { FaultKind::Spurious }));
        Outcome::Upgraded
    };
    cx.unlock(ptl, LockMode::Exclusive).await;
    outcome
}

/// Return value and trace tokens of the helper and its caller.
fn finish_4k(cx: &Cx<'_>, request: Insert, knobs: &DaxKnobs, outcome: &Outcome) -> VmFault {
    let names = names(knobs);
    let counted = knobs.refcount_per_map > 0;
    let ret = match outcome {
        Outcome::Mismatch if knobs.mismatch_4k == Mismatch::Sigbus => VmFault::SIGBUS,
        _ => VmFault::NOPAGE,
    };
    if let Some(inner) = names.inner {
        // insert_pfn returns a vm_fault_t; insert_page_into_pte_locked an errno: -EBUSY, -EFAULT.
        cx.note(match (counted, outcome) {
            (false, _) => PathStep::Returned(inner, VmFault::NOPAGE),
            (true, Outcome::Busy) => PathStep::Value(inner, -16),
            (true, Outcome::Mismatch) => PathStep::Value(inner, -14),
            (true, _) => PathStep::Value(inner, 0),
        });
    }
    cx.note(PathStep::Returned(if request.write { names.outer_write } else { names.outer_read }, ret));
    ret
}

/// Inserts or upgrades a 2 MiB PMD (spec 3.2.3, 3.2.7, 3.4.4).
pub(crate) async fn insert_2m(cx: &Cx<'_>, vmf: &Vmf, request: Insert) -> VmFault {
    let before = cx.set_part(Part::Insert);
    let (knobs, fs, page_line) = cx.with(|m| (m.kernel.dax, m.file(vmf.file).fs, m.pages.line(request.pfn)));
    let temp_ref = knobs.temp_ref_around_insert && fs != FileSystem::Devdax && !request.zero;
    if temp_ref {
        cx.step(|p| p.temp_ref);
        cx.rmw(page_line).await;
    }
    // Before the series, and as first posted, a huge hole is opened-coded in dax_pmd_load_hole: no helper, no lookup.
    let through_helper = !request.zero || knobs.hook_on_2m_hole;
    if knobs.memtype_lookup && through_helper {
        memtype_lookup(cx, request.zero).await;
    }
    let ret = insert_2m_locked(cx, vmf, request, &knobs, fs).await;
    if temp_ref {
        cx.rmw(page_line).await;
    }
    if through_helper {
        cx.note(PathStep::Returned(names(&knobs).huge, ret));
    }
    cx.set_part(before);
    ret
}

async fn insert_2m_locked(
    cx: &Cx<'_>,
    vmf: &Vmf,
    request: Insert,
    knobs: &DaxKnobs,
    fs: FileSystem,
) -> VmFault {
    let table = ensure_table(cx, vmf.mm, vmf.address, 1).await;
    let slot = Slot::of(table, vmf.address, 1);
    let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.load(slot.line()).await;
    cx.step(|p| p.insert_2m);
    let old = cx.with(|m| m.tables.read(slot));
    cx.trail(|t| t.old = Some(old));
    let ret = if old.is_none() {
        let entry = fresh_pmd(vmf, request, knobs, fs);
        if !request.zero {
            count_mapping(cx, vmf, request.pfn, PageSize::Size2M, knobs).await;
        }
        store_entry(cx, slot, entry).await;
        cx.trail(|t| t.kind = Some(if request.write { FaultKind::PmdWrite } else { FaultKind::PmdRead }));
        if !request.zero || knobs.hook_on_2m_hole {
            cx.with(|m| m.measure.update_mmu_cache_calls += 1);
        }
        VmFault::NOPAGE
    } else if request.zero && knobs.hole_2m_busy == HolePmdBusy::Fallback {
        VmFault::FALLBACK
    } else if !request.write {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        VmFault::NOPAGE
    } else if !old.is_leaf_at(1) || old.pfn() != request.pfn {
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
        match knobs.mismatch_2m {
            Mismatch::NoPage => VmFault::NOPAGE,
            Mismatch::Sigbus => VmFault::SIGBUS,
        }
    } else {
        let entry = upgraded(old, vmf, knobs.upgrade_sets_d_2m);
        let changed = upgrade_entry(cx, slot, old, entry, "pmdp_set_access_flags").await;
        cx.trail(|t| t.kind = Some(if changed { FaultKind::PmdMkwrite } else { FaultKind::Spurious }));
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

fn fresh_pte(vmf: &Vmf, request: Insert, knobs: &DaxKnobs, fs: FileSystem) -> Entry {
    let bits = if request.zero { knobs.pte_zero_sw_bits } else { knobs.pte_block_sw_bits };
    let prot = vmf.vma.page_prot(fs != FileSystem::Devdax);
    let mut entry = with_bits(Entry::leaf(request.pfn, prot), bits);
    if request.write && knobs.fresh_write_stores_rw {
        if knobs.fresh_write_sets_d {
            entry = entry.mkyoung().mkdirty();
        }
        entry = maybe_mkwrite(entry, vmf);
    }
    entry
}

fn fresh_pmd(vmf: &Vmf, request: Insert, knobs: &DaxKnobs, fs: FileSystem) -> Entry {
    let bits = if request.zero { knobs.pmd_zero_sw_bits } else { knobs.pmd_block_sw_bits };
    let prot = vmf.vma.page_prot(fs != FileSystem::Devdax) | Entry::PS;
    let entry = with_bits(Entry::leaf(request.pfn, prot), bits);
    // At this level every variant presets dirty and young (spec 3.5, row 6).
    if request.write { maybe_mkwrite(entry.mkyoung().mkdirty(), vmf) } else { entry }
}

/// The entry that an upgrade wants.
fn upgraded(old: Entry, vmf: &Vmf, sets_d: bool) -> Entry {
    let young = old.mkyoung();
    maybe_mkwrite(if sets_d { young.mkdirty() } else { young }, vmf)
}

/// `ptep_set_access_flags` or `pmdp_set_access_flags` with dirty = 1; no flush on x86.
async fn upgrade_entry(cx: &Cx<'_>, slot: Slot, old: Entry, new: Entry, name: &'static str) -> bool {
    let changed = new != old;
    if changed {
        cx.store(slot.line()).await;
        // Hardware may have set A or D since the entry was read; a plain store would lose it, and does on x86 too: under the
        // lock nothing but the walker writes here, and an upgrade wants those bits set or finds them clear.
        cx.with(|m| {
            m.tables.write(slot, new);
            m.measure.update_mmu_cache_calls += 1;
        });
    }
    cx.note(PathStep::Value(name, i32::from(changed)));
    cx.trail(|t| t.new = Some(new));
    changed
}

async fn store_entry(cx: &Cx<'_>, slot: Slot, entry: Entry) {
    cx.store(slot.line()).await;
    cx.with(|m| m.tables.write(slot, entry));
    cx.trail(|t| t.new = Some(entry));
}

/// `folio_get`, file rmap and RSS of a new mapping, in the variants that count mappings (spec 3.4.3).
async fn count_mapping(cx: &Cx<'_>, vmf: &Vmf, pfn: Pfn, size: PageSize, knobs: &DaxKnobs) {
    if knobs.refcount_per_map == 0 {
        return;
    }
    cx.step(|p| if size == PageSize::Size4K { p.count_mapping_4k } else { p.count_mapping_2m });
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw(line).await;
    if size == PageSize::Size4K {
        cx.rmw(line).await;
    } else {
        // Entire mapcount, pages mapped and large mapcount share the folio's second struct page (spec 7.1: Lpg1).
        let second = cx.with(|m| m.pages.line(Pfn(pfn.0 + 1)));
        for _ in 0..3 {
            cx.rmw(second).await;
        }
    }
    cx.with(|m| {
        let refs = i64::from(m.kernel.dax.refcount_per_map);
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
    cx.step(|p| if is_ram { p.memtype_lookup_ram } else { p.memtype_lookup });
    if !is_ram {
        cx.lock(lock, LockMode::Exclusive).await;
        cx.with(|m| m.measure.memtype_lookups += 1);
        cx.unlock(lock, LockMode::Exclusive).await;
    }
}
