//! Breaking layouts before a file's blocks change: `dax_layout_busy_page`, `ext4_break_layouts`, `xfs_break_layouts` and
//! `dax_break_layout`; and taking entries off their pages (spec 4.7, 4.8).

use std::collections::BTreeSet;

use daxsim_configs::kernel::BusyTest;
use daxsim_types::Pfn;

use super::dax_entry::{DaxEntry, EntryKind};
use super::dax_fault::{lock_xa, lock_xa_of_unlocked, pass_wake_up_on, unlock_xa, wait_for_entry};
use super::file::FileId;
use super::page::PageCounts;
use super::zap::{EvenCows, unmap_mapping_pages};
use crate::engine::{Cx, LockMode};
use crate::measure::{KernelWarning, Part};

/// More pages than any file has.
pub(super) const ALL: u64 = u64::MAX >> 12;

/// Looks at a page that unmapping the file does not make idle, and that nothing holds but mappings. Another CPU may be about to
/// drop one. A kernel would look for ever at one that stays; it does in replays under a semantics that the recording was not
/// made with, whose inferred mappings need not fit together, and those are to end.
const MOST_LOOKS: u32 = 64;

/// Unmaps the whole file and waits until nobody holds a page of it. The caller holds the invalidate lock; it is dropped while
/// waiting, so faults may map pages again, and the file is looked over anew. Where the kernel deletes all entries with it
/// (`dax_delete_mapping_range`), their dirty marks go too.
pub(super) async fn break_layouts(cx: &Cx<'_>, file: FileId) {
    let (mut given_up, mut last, mut looks) = (BTreeSet::new(), None, 0);
    while let Some(busy) = dax_layout_busy_page(cx, file, &given_up).await {
        let waited = wait_page_idle(cx, file, busy).await;
        looks = if waited || last != Some(busy) { 1 } else { looks + 1 };
        last = Some(busy);
        if looks == MOST_LOOKS {
            given_up.insert(busy.0);
        }
    }
    if cx.with(|m| m.kernel.ask(|k| k.dax.break_layout_deletes_entries)) {
        delete_entries(cx, file, 0, ALL).await;
    }
}

/// The same for a file whose lock is not to be dropped: the page that is in the way, if there is one.
pub(super) async fn try_break_layouts(cx: &Cx<'_>, file: FileId, given_up: &BTreeSet<u64>) -> Option<Pfn> {
    let busy = dax_layout_busy_page(cx, file, given_up).await;
    if busy.is_none() && cx.with(|m| m.kernel.ask(|k| k.dax.break_layout_deletes_entries)) {
        delete_entries(cx, file, 0, ALL).await;
    }
    busy
}

/// `dax_layout_busy_page`: unmaps the file, then looks for a page that is still referred to. Entries that are locked, as by
/// writeback, are waited for.
async fn dax_layout_busy_page(cx: &Cx<'_>, file: FileId, given_up: &BTreeSet<u64>) -> Option<Pfn> {
    let skipped =
        cx.with(|m| m.kernel.ask(|k| k.dax.break_layout_skips_unmapped) && m.mappings_of(file).is_empty());
    if skipped {
        return None;
    }
    unmap_mapping_pages(cx, file, 0, ALL, EvenCows::No).await;
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    let mut at = 0;
    let mut busy = None;
    lock_xa(cx, xa_lock).await;
    while busy.is_none() {
        let next = cx.with(|m| m.file(file).entries.next_at(at).map(|(head, e)| (head, e.clone())));
        let Some((head, entry)) = next else { break };
        if entry.locked {
            wait_for_entry(cx, file, head, xa_lock).await;
            lock_xa(cx, xa_lock).await;
            pass_wake_up_on(cx, file, head);
            continue;
        }
        busy = dax_busy_page(cx, &entry, given_up).await;
        at = head + entry.pages();
    }
    unlock_xa(cx, xa_lock).await;
    busy
}

/// `dax_busy_page`: page by page, or by folio.
async fn dax_busy_page(cx: &Cx<'_>, entry: &DaxEntry, given_up: &BTreeSet<u64>) -> Option<Pfn> {
    if entry.kind != EntryKind::Block {
        return None;
    }
    let test = cx.with(|m| m.kernel.ask(|k| k.dax.busy_test));
    let frames = if test == BusyTest::RefNotMapcount { 1 } else { entry.pages() };
    for frame in (entry.pfn.0..entry.pfn.0 + frames).map(Pfn) {
        let line = cx.with(|m| m.pages.line(frame));
        cx.load(line).await;
        let counts = cx.with(|m| m.pages.counts(frame));
        let busy = match test {
            // Counts are kept without the idle value.
            BusyTest::RefAboveOne => counts.refs > 0,
            BusyTest::RefNonZero => counts.refs != 0,
            BusyTest::RefNotMapcount => counts.refs != counts.maps,
        };
        if busy && !given_up.contains(&frame.0) {
            return Some(frame);
        }
    }
    None
}

/// `___wait_var_event` with `ext4_wait_dax_page`, or `wait_page_idle`: sleeps until the page is idle, without the invalidate
/// lock. The wait is interruptible, but nobody sends signals here. Whether the lock was dropped.
async fn wait_page_idle(cx: &Cx<'_>, file: FileId, page: Pfn) -> bool {
    let lock = cx.with(|m| m.file(file).invalidate_lock);
    let mut waited = false;
    while !prepare_to_wait(cx, page).await {
        waited = true;
        cx.unlock(lock, LockMode::Exclusive).await;
        sleep_for(cx, page).await;
        cx.lock(lock, LockMode::Exclusive).await;
    }
    waited
}

/// Sleeps until the page is idle, with no lock held. Whether it had to.
pub(super) async fn wait_unlocked(cx: &Cx<'_>, page: Pfn) -> bool {
    let mut waited = false;
    while !prepare_to_wait(cx, page).await {
        waited = true;
        sleep_for(cx, page).await;
    }
    waited
}

/// prepare_to_wait, then the condition: a put between the two is not missed. Whether the page is idle.
async fn prepare_to_wait(cx: &Cx<'_>, page: Pfn) -> bool {
    let line = cx.with(|m| m.pages.line(page));
    cx.load(line).await;
    cx.with(|m| {
        let free = m.is_free(page);
        if !free {
            m.pages.wait(page, cx.cpu().index());
        }
        free
    })
}

async fn sleep_for(cx: &Cx<'_>, page: Pfn) {
    if cx.with(|m| m.pages.is_waiting(page, cx.cpu().index())) {
        cx.schedule(Part::Locks).await;
    }
}

/// `dax_delete_mapping_entry` for each entry of a range, or `dax_delete_mapping_range`: entries that are locked are waited for.
pub(super) async fn delete_entries(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    lock_xa_of_unlocked(cx, file, first, pages).await;
    for entry in cx.with(|m| m.remove_entries(cx.cpu(), file, first, pages)) {
        dax_disassociate_entry(cx, &entry, true).await;
    }
    unlock_xa(cx, xa_lock).await;
}

/// `__dax_clear_dirty_range` and `dax_invalidate_mapping_entry_sync`: a write that copies shared blocks takes the entries away, dirty
/// or not. They may still be mapped.
pub(super) async fn invalidate_entries(cx: &Cx<'_>, file: FileId, first: u64, pages: u64) {
    let xa_lock = cx.with(|m| m.file(file).xa_lock);
    lock_xa_of_unlocked(cx, file, first, pages).await;
    for entry in cx.with(|m| m.remove_entries(cx.cpu(), file, first, pages)) {
        dax_disassociate_entry(cx, &entry, false).await;
    }
    unlock_xa(cx, xa_lock).await;
}

/// `dax_disassociate_entry`: every struct page of a block is written. In a truncation, a page that somebody still refers to should
/// not have got here; nor should a folio ever be taken apart then.
pub(super) async fn dax_disassociate_entry(cx: &Cx<'_>, entry: &DaxEntry, truncation: bool) {
    if entry.kind != EntryKind::Block {
        return;
    }
    for frame in (entry.pfn.0..entry.pfn.0 + entry.pages()).map(Pfn) {
        let line = cx.with(|m| m.pages.line(frame));
        cx.store(line).await;
        cx.with(|m| {
            let counts = m.pages.update(frame, PageCounts::disassociate);
            let folio = entry.pmd && m.kernel.ask(|k| k.dax.refcount_per_map > 0) && counts.share == 0;
            if counts.refs != 0 && (truncation || folio) {
                m.measure.warnings.warn(KernelWarning::BusyPageFreed);
            }
        });
    }
}
