//! `struct page`: counts and cache lines of the frames of persistent memory, and who waits for a page to be idle.

use std::collections::BTreeMap;

use daxsim_configs::kernel::BusyTest;
use daxsim_types::{CacheLine, FileSystem, LINE_BYTES, PageSize, Pfn, PhysAddr};

use super::dax_entry::EntryKind;
use super::file::FileId;
use super::page_tree::PageTree;
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::PathStep;

/// Reference and map count of one frame (of the head page, for a large folio).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// `_refcount`, less the idle value of the variant.
    pub refs: i64,
    /// `_mapcount`.
    pub maps: i64,
    /// `_pincount`, which large folios have.
    pub pins: i64,
    /// Whether `mapping` and `index` are set (`dax_associate_entry`).
    pub associated: bool,
    /// Mapping entries of a block that files share, where they are counted (`page->share`, `folio->share`): `mapping` is then a
    /// special constant, or not set.
    pub share: u32,
}

impl PageCounts {
    /// `dax_associate_entry`: one more mapping entry stands for the page. `first_counted`: a page of a shared block is counted
    /// from its first entry on, rather than once a second one comes.
    pub(crate) fn associate(&mut self, shared: bool, first_counted: bool) {
        let known = self.associated || self.share > 0;
        if shared && (first_counted || known) {
            // An entry from before the block was shared counts, too.
            self.share += 1 + u32::from(self.associated);
            self.associated = false;
        } else {
            self.associated = true;
        }
    }

    /// `dax_disassociate_entry`: one entry less.
    pub(crate) fn disassociate(&mut self) {
        if self.share > 0 {
            self.share -= 1;
        } else {
            self.associated = false;
        }
    }
}

/// The memory map: where each `struct page` lies, and the counts of those in use.
#[derive(Debug)]
pub struct PageMap {
    base: u64,
    span: u64,
    counts: PageTree<PageCounts>,
    /// CPUs that wait for a frame to be idle, first come first.
    waiters: BTreeMap<u64, Vec<usize>>,
}

impl PageMap {
    /// `struct page`s in the DRAM range of `span` bytes from `base`, 64 bytes a frame. Frames beyond the range wrap
    /// around in it: their lines are then shared, as in a cache index.
    #[must_use]
    pub fn new(base: u64, span: u64) -> Self {
        Self { base, span: span.max(64), counts: PageTree::default(), waiters: BTreeMap::new() }
    }

    /// The line of a frame's `struct page`: flags, mapping, index, `_mapcount` and `_refcount` share it (spec 1.5).
    #[must_use]
    pub fn line(&self, pfn: Pfn) -> CacheLine {
        PhysAddr(self.base + (pfn.0.wrapping_mul(64)) % self.span).line()
    }

    /// The frame whose `struct page` a line is; that with the lowest number, where frames wrap around.
    #[must_use]
    pub(crate) fn frame_of(&self, line: CacheLine) -> Option<Pfn> {
        let offset = line.addr().0.checked_sub(self.base).filter(|offset| *offset < self.span)?;
        Some(Pfn(offset / LINE_BYTES))
    }

    /// The counts of a frame.
    #[must_use]
    pub fn counts(&self, pfn: Pfn) -> PageCounts {
        self.counts.get(pfn.0).copied().unwrap_or_default()
    }

    /// Changes the counts of a frame; frames back at rest are forgotten.
    pub fn update(&mut self, pfn: Pfn, change: impl FnOnce(&mut PageCounts)) -> PageCounts {
        let counts = self.counts.get_or_default(pfn.0);
        change(counts);
        let now = *counts;
        if now == PageCounts::default() {
            self.counts.remove(pfn.0);
        }
        now
    }

    /// Whether nobody refers to a frame.
    #[must_use]
    pub fn is_idle(&self, pfn: Pfn) -> bool {
        self.counts(pfn).refs == 0
    }

    /// The frames whose counts are not at rest, ascending.
    #[must_use]
    pub fn in_use(&self) -> BTreeMap<Pfn, PageCounts> {
        self.counts.iter().map(|(pfn, counts)| (Pfn(pfn), *counts)).collect()
    }

    /// A frame that a CPU waits for, if there is one.
    pub(crate) fn first_waited_for(&self) -> Option<Pfn> {
        self.waiters.keys().next().map(|pfn| Pfn(*pfn))
    }

    /// Queues a CPU until the frame is idle.
    pub(crate) fn wait(&mut self, pfn: Pfn, cpu: usize) {
        self.waiters.entry(pfn.0).or_default().push(cpu);
    }

    /// Whether a CPU still queues.
    pub(crate) fn is_waiting(&self, pfn: Pfn, cpu: usize) -> bool {
        self.waiters.get(&pfn.0).is_some_and(|queue| queue.contains(&cpu))
    }

    /// What a CPU waits for, if it does.
    pub(crate) fn waited_for(&self, cpu: usize) -> Option<Pfn> {
        self.waiters.iter().find(|(_, queue)| queue.contains(&cpu)).map(|(pfn, _)| Pfn(*pfn))
    }
}

/// A folio: its first frame, and log2 of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folio {
    pub(crate) head: Pfn,
    pub(crate) order: u8,
}

/// Order of a folio of 2 MiB.
pub(crate) const PMD_ORDER: u8 = 9;

/// `folio_get`.
pub(crate) async fn folio_get(cx: &Cx<'_>, pfn: Pfn) {
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw_struct_page(line).await;
    cx.with(|m| m.pages.update(pfn, |c| c.refs += 1));
}

/// `folio_put`.
pub(crate) async fn folio_put(cx: &Cx<'_>, pfn: Pfn) {
    let line = cx.with(|m| m.pages.line(pfn));
    cx.rmw_struct_page(line).await;
    drop_counts(cx, pfn, |c| c.refs -= 1);
}

/// Drops references whose line was already written. The put that reaches the idle value wakes who waits for it: from 2 to 1
/// before the series (`put_devmap_managed_folio_refs`), to 0 since (`free_zone_device_folio`).
pub(crate) fn drop_counts(cx: &Cx<'_>, pfn: Pfn, change: impl FnOnce(&mut PageCounts)) {
    let woken = cx.with(|m| {
        let counts = m.pages.update(pfn, change);
        if counts.refs == 0 && m.kernel.ask(|k| k.dax.refcount_per_map > 0) && m.is_device_frame(pfn) {
            m.note_in_fault(cx.cpu(), PathStep::Event("free_zone_device_folio"));
        }
        if m.is_free(pfn) { m.pages.waiters.remove(&pfn.0).unwrap_or_default() } else { Vec::new() }
    });
    for index in woken {
        cx.wake(index);
    }
}

impl Machine {
    /// What `ext4_break_layouts` and its like wait for: `_refcount == 1` before the series, 0 since, each time the idle value. So a
    /// page of 7.2 that is mapped again during the wait keeps the waiter until it is unmapped. The wait of the first posting
    /// did not fit its busy test and had an escape; here it ends when only mappings refer to the page, which the next look
    /// at the file removes.
    pub(crate) fn is_free(&self, pfn: Pfn) -> bool {
        let counts = self.pages.counts(pfn);
        match self.kernel.ask(|k| k.dax.busy_test) {
            BusyTest::RefNonZero => counts.refs <= counts.maps,
            BusyTest::RefAboveOne | BusyTest::RefNotMapcount => counts.refs == 0,
        }
    }

    /// `page_folio` of the frame of a file page. Where mappings are counted, the pages of a PMD entry are one folio, as those
    /// of a device-dax device are; before that every page stands alone (spec 1.5).
    pub(crate) fn folio_of(&self, file: FileId, page: u64, pfn: Pfn) -> Folio {
        let owner = self.file(file);
        let size = match owner.fs {
            FileSystem::Devdax => self.allocator.device_alignment,
            _ if owner.entries.find(page).is_some_and(|(_, e)| e.pmd && e.kind == EntryKind::Block) => {
                PageSize::Size2M
            }
            _ => PageSize::Size4K,
        };
        let counted = self.kernel.ask(|k| k.dax.refcount_per_map > 0);
        let order = if counted { size.pages().trailing_zeros() as u8 } else { 0 };
        let head = Pfn(pfn.0 >> order << order);
        Folio { head, order: self.injections.order_of(head).unwrap_or(order) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_a_line_and_counts() {
        let mut map = PageMap::new(0x10_0000, 1 << 20);
        assert_ne!(map.line(Pfn(1)), map.line(Pfn(2)));
        map.update(Pfn(7), |c| c.refs += 1);
        assert_eq!(map.counts(Pfn(7)).refs, 1);
        assert!(!map.is_idle(Pfn(7)) && map.is_idle(Pfn(8)));
        map.update(Pfn(7), |c| c.refs -= 1);
        assert!(map.in_use().is_empty());
    }

    #[test]
    fn the_share_count_is_that_of_the_entries_whichever_of_them_came_first() {
        for first_counted in [true, false] {
            let mut page = PageCounts::default();
            page.associate(false, first_counted);
            assert_eq!((page.associated, page.share), (true, 0), "of one file");
            page.associate(true, first_counted);
            assert_eq!((page.associated, page.share), (false, 2), "of a second since");
            page.disassociate();
            page.associate(true, first_counted);
            assert_eq!((page.associated, page.share), (false, 2));
            page.disassociate();
            page.disassociate();
            assert_eq!(page, PageCounts::default());
            page.associate(true, first_counted);
            assert_eq!((page.associated, page.share), (!first_counted, u32::from(first_counted)));
            page.disassociate();
            assert_eq!(page, PageCounts::default());
        }
    }

    #[test]
    fn a_cpu_waits_for_one_frame() {
        let mut map = PageMap::new(0, 1 << 20);
        map.wait(Pfn(3), 1);
        assert!(map.is_waiting(Pfn(3), 1) && !map.is_waiting(Pfn(3), 0));
        assert_eq!(map.waited_for(1), Some(Pfn(3)));
        assert_eq!(map.waited_for(0), None);
    }
}
