//! DAX mapping entries: the values in `address_space.i_pages` that stand for file blocks (spec 1.4).

use std::collections::{BTreeMap, VecDeque};

use daxsim_types::Pfn;

use super::page_tree::PageTree;

/// Pages that a PMD entry covers.
pub const PMD_PAGES: u64 = 512;

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing yet: it exists to be locked (`DAX_EMPTY`).
    Empty,
    /// A hole, mapped by the zero page of its size (`DAX_ZERO_PAGE`).
    Zero,
    /// A block of the file system.
    Block,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaxEntry {
    /// What it stands for.
    pub kind: EntryKind,
    /// Whether it covers 2 MiB (`DAX_PMD`).
    pub pmd: bool,
    /// First frame; meaningless for an empty entry.
    pub pfn: Pfn,
    /// PAGECACHE_TAG_DIRTY.
    pub dirty: bool,
    /// PAGECACHE_TAG_TOWRITE.
    pub towrite: bool,
    /// DAX_LOCKED.
    pub locked: bool,
}

impl DaxEntry {
    /// An empty, locked entry.
    #[must_use]
    pub fn empty(pmd: bool) -> Self {
        Self { kind: EntryKind::Empty, pmd, pfn: Pfn(0), dirty: false, towrite: false, locked: true }
    }

    /// File pages that it covers.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        if self.pmd { PMD_PAGES } else { 1 }
    }
}

/// The entries of one file.
#[derive(Clone, Debug, Default)]
pub struct DaxEntries {
    entries: PageTree<DaxEntry>,
    /// How many of them cover 2 MiB: only then an entry may cover a page that is not its first.
    huge: usize,
    /// CPUs that wait for an entry's lock, by the entry's first page, first come first served.
    waiters: BTreeMap<u64, VecDeque<usize>>,
}

impl DaxEntries {
    /// The entry that covers `page`, with its first page.
    #[must_use]
    pub fn find(&self, page: u64) -> Option<(u64, &DaxEntry)> {
        if let Some(entry) = self.entries.get(page) {
            return Some((page, entry));
        }
        if self.huge == 0 {
            return None;
        }
        let head = page & !(PMD_PAGES - 1);
        self.entries.get(head).filter(|e| e.pmd).map(|e| (head, e))
    }

    /// The entry whose first page is `head`, to be changed, but not in size.
    pub fn get_mut(&mut self, head: u64) -> Option<&mut DaxEntry> {
        self.entries.get_mut(head)
    }

    /// Whether any 4 KiB entry lies in the 2 MiB range of `page` (with its first page), or a PMD entry.
    #[must_use]
    pub fn first_in_pmd_range(&self, page: u64) -> Option<(u64, &DaxEntry)> {
        let head = page & !(PMD_PAGES - 1);
        self.entries.range(head..head + PMD_PAGES).next()
    }

    /// Stores an entry at its first page.
    pub fn store(&mut self, head: u64, entry: DaxEntry) {
        self.huge += usize::from(entry.pmd);
        let old = self.entries.insert(head, entry);
        self.huge -= usize::from(old.is_some_and(|old| old.pmd));
    }

    fn take(&mut self, head: u64) -> Option<DaxEntry> {
        let entry = self.entries.remove(head)?;
        self.huge -= usize::from(entry.pmd);
        Some(entry)
    }

    /// Removes an entry; returns the CPUs that waited for it.
    pub fn remove(&mut self, head: u64) -> Vec<usize> {
        self.take(head);
        self.waiters.remove(&head).map(Vec::from).unwrap_or_default()
    }

    /// First pages of the entries that touch the `pages` pages from `first`: a PMD entry counts if any part of it does.
    fn span(&self, first: u64, pages: u64) -> (u64, u64) {
        let from = self.find(first).map_or(first, |(head, _)| head);
        (from, first.saturating_add(pages))
    }

    /// Removes every entry that touches the `pages` pages from `first`, a PMD entry as a whole: `dax_delete_mapping_range`. The caller holds the
    /// file's invalidate lock, and has waited for those that were locked. Returns what was removed.
    pub fn remove_range(&mut self, first: u64, pages: u64) -> Vec<DaxEntry> {
        let (from, to) = self.span(first, pages);
        let heads: Vec<u64> = self.entries.range(from..to).map(|(at, _)| at).collect();
        heads.into_iter().filter_map(|head| self.take(head)).collect()
    }

    /// The first entry at or after `page`.
    #[must_use]
    pub fn next_at(&self, page: u64) -> Option<(u64, &DaxEntry)> {
        self.entries.range(page..u64::MAX).next()
    }

    /// Removes the entries of a range that are neither dirty nor being written back (`__dax_invalidate_entry`). Returns them.
    pub fn remove_clean(&mut self, first: u64, pages: u64) -> Vec<DaxEntry> {
        let (from, to) = self.span(first, pages);
        let clean = self.entries.range(from..to).filter(|(_, e)| !e.dirty && !e.towrite);
        let heads: Vec<u64> = clean.map(|(at, _)| at).collect();
        heads.into_iter().filter_map(|head| self.take(head)).collect()
    }

    /// The first page of the first locked entry of a range.
    #[must_use]
    pub fn first_locked(&self, first: u64, pages: u64) -> Option<u64> {
        let (from, to) = self.span(first, pages);
        self.entries.range(from..to).find(|(_, e)| e.locked).map(|(at, _)| at)
    }

    /// Queues a CPU for an entry's lock.
    pub fn wait(&mut self, head: u64, cpu: usize) {
        self.waiters.entry(head).or_default().push_back(cpu);
    }

    /// The first page of an entry that a CPU waits for, if there is one.
    #[must_use]
    pub fn first_waited_for(&self) -> Option<u64> {
        self.waiters.keys().next().copied()
    }

    /// Unlocks an entry; returns the next CPU in its queue (`dax_wake_entry` wakes one).
    pub fn unlock(&mut self, head: u64) -> Option<usize> {
        if let Some(entry) = self.entries.get_mut(head) {
            entry.locked = false;
        }
        self.next_waiter(head)
    }

    /// Takes the first CPU out of an entry's queue: who was woken but leaves the entry alone passes the wake-up on
    /// (`put_unlocked_entry`).
    pub fn next_waiter(&mut self, head: u64) -> Option<usize> {
        let queue = self.waiters.get_mut(&head)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiters.remove(&head);
        }
        next
    }

    /// `mapping_tagged` of the dirty mark: whether any entry of the file has it.
    pub fn any_dirty(&self) -> bool {
        self.entries.iter().any(|(_, entry)| entry.dirty)
    }

    /// Tags the dirty entries that cover pages `first..=last` for writeback.
    pub fn tag_dirty_for_writeback(&mut self, first: u64, last: u64) {
        let head = first & !(PMD_PAGES - 1);
        self.entries.change(head..last.saturating_add(1), |at, entry| {
            let end = at + entry.pages();
            if end > first && entry.dirty {
                entry.towrite = true;
            }
        });
    }

    /// The first entry at or after `page` (counting one that covers it) that is tagged for writeback, up to `last`.
    #[must_use]
    pub fn next_towrite(&self, page: u64, last: u64) -> Option<u64> {
        let head = page & !(PMD_PAGES - 1);
        self.entries
            .range(head..last.saturating_add(1))
            .find(|(at, e)| e.towrite && at + e.pages() > page)
            .map(|(at, _)| at)
    }

    /// Entries in page order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &DaxEntry)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pmd: bool, dirty: bool) -> DaxEntry {
        DaxEntry { kind: EntryKind::Block, pmd, pfn: Pfn(9), dirty, towrite: false, locked: false }
    }

    #[test]
    fn a_pmd_entry_covers_all_its_pages() {
        let mut entries = DaxEntries::default();
        entries.store(512, block(true, false));
        assert_eq!(entries.find(700).unwrap().0, 512);
        assert!(entries.find(511).is_none() && entries.find(1024).is_none());
        assert_eq!(entries.first_in_pmd_range(1000).unwrap().0, 512);
    }

    #[test]
    fn a_small_entry_does_not_cover_its_neighbours() {
        let mut entries = DaxEntries::default();
        entries.store(512, block(false, false));
        assert!(entries.find(513).is_none());
    }

    #[test]
    fn writeback_takes_a_pmd_entry_even_from_its_middle() {
        let mut entries = DaxEntries::default();
        entries.store(0, block(true, true));
        entries.store(600, block(false, true));
        entries.store(601, block(false, false));
        entries.tag_dirty_for_writeback(511, 600);
        assert_eq!(entries.next_towrite(511, 600), Some(0));
        assert_eq!(entries.next_towrite(512, 600), Some(600));
        assert_eq!(entries.next_towrite(601, 700), None);
    }

    #[test]
    fn waiters_are_woken_one_at_a_time_and_all_on_removal() {
        let mut entries = DaxEntries::default();
        entries.store(3, DaxEntry::empty(false));
        for cpu in [4, 5, 6] {
            entries.wait(3, cpu);
        }
        assert_eq!(entries.unlock(3), Some(4));
        assert_eq!(entries.remove(3), vec![5, 6]);
        assert_eq!(entries.unlock(3), None);
    }
}
