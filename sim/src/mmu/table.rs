//! Paging structures in simulated physical memory.
//!
//! Tables are the only simulated memory whose contents matter, so only they are stored: a table is a frame of 512
//! entries in a region of DRAM set aside for them, found by frame number without hashing.

use daxsim_types::{CacheLine, Pfn, PhysAddr, VirtAddr};
use rustc_hash::FxHashMap;

use super::entry::Entry;
use crate::engine::LockId;
use crate::frames::Region;
use crate::host;

/// Where an entry is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Frame of the table.
    pub table: Pfn,
    /// Index in it, below 512.
    pub index: usize,
}

impl Slot {
    /// The slot that translates `va` in a table of `level`.
    #[must_use]
    pub const fn of(table: Pfn, va: VirtAddr, level: u32) -> Self {
        Self { table, index: va.index(level) }
    }

    /// The cache line that holds the entry, eight entries to a line.
    #[must_use]
    pub const fn line(self) -> CacheLine {
        PhysAddr(self.table.addr().0 + 8 * self.index as u64).line()
    }
}

/// Entries of a table.
const ENTRIES: usize = 512;
/// In place of the number of entries in use: no table is in the frame.
const GONE: u16 = u16::MAX;

/// All paging structures.
pub struct Tables {
    /// Which frame each table gets.
    order: Region,
    /// Level of the roots.
    top: u32,
    /// The entries of all frames, one frame after another, so that reading one goes to the host's memory once. Where no table
    /// is, all are none.
    entries: Vec<Entry>,
    /// Tables in frames that somebody else chose.
    placed: FxHashMap<Pfn, usize>,
    /// Entries of each frame that are not none, or [`GONE`].
    used: Vec<u16>,
    /// The split page-table lock of each frame, in its struct page (`ptlock_ptr`): it outlives the table in it.
    locks: Vec<LockId>,
    free: Vec<usize>,
}

impl Tables {
    /// No tables yet, of `levels` levels; frames will come from `base` upwards.
    #[must_use]
    pub fn new(base: Pfn, levels: u32) -> Self {
        let order = Region::sequential(base.0);
        let top = levels - 1;
        Self {
            order,
            top,
            entries: Vec::new(),
            placed: FxHashMap::default(),
            used: Vec::new(),
            locks: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Level of the roots: 3 (PML4), or 4 (PML5).
    #[must_use]
    pub const fn top(&self) -> u32 {
        self.top
    }

    /// A zeroed table. Frames freed last are used first, as the page allocator's per-CPU lists do.
    pub fn allocate(&mut self, lock: impl FnOnce(Pfn) -> LockId) -> Pfn {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.used.len();
            self.used.push(GONE);
            self.entries.resize(self.entries.len() + ENTRIES, Entry::NONE);
            self.locks.push(lock(self.order.frame(slot as u64)));
            slot
        });
        self.used[slot] = 0;
        self.order.frame(slot as u64)
    }

    /// Sees to it that a table is in `frame`, wherever that is. It stays there, and hides a table that was given the frame before;
    /// true if there was one.
    pub fn settle_in(&mut self, frame: Pfn, lock: impl FnOnce(Pfn) -> LockId) -> bool {
        if self.placed.contains_key(&frame) {
            return false;
        }
        let hides = self.holds(frame);
        self.placed.insert(frame, self.used.len());
        self.used.push(0);
        self.entries.resize(self.entries.len() + ENTRIES, Entry::NONE);
        self.locks.push(lock(frame));
        hides
    }

    /// Takes frames in another order, as long as there are no tables.
    pub(crate) fn set_order(&mut self, order: Region) {
        self.order = order;
    }

    /// Gives a table's frame back.
    pub fn release(&mut self, pfn: Pfn) {
        let Some(slot) = self.slot_of(pfn).filter(|slot| self.used[*slot] != GONE) else { return };
        if self.placed.contains_key(&pfn) {
            return;
        }
        if std::mem::replace(&mut self.used[slot], GONE) > 0 {
            self.entries[slot * ENTRIES..][..ENTRIES].fill(Entry::NONE);
        }
        self.free.push(slot);
    }

    /// Tables in use.
    #[must_use]
    pub fn count(&self) -> usize {
        self.used.len() - self.free.len()
    }

    /// Whether a frame holds a table, or held one.
    pub(crate) fn holds(&self, pfn: Pfn) -> bool {
        self.slot_of(pfn).is_some()
    }

    #[inline(always)]
    fn slot_of(&self, pfn: Pfn) -> Option<usize> {
        if !self.placed.is_empty()
            && let Some(slot) = self.placed.get(&pfn)
        {
            return Some(*slot);
        }
        let slot = usize::try_from(self.order.index(pfn)?).ok()?;
        (slot < self.used.len()).then_some(slot)
    }

    /// Where an entry is among all.
    #[inline(always)]
    fn place(&self, slot: Slot) -> Option<usize> {
        Some(self.slot_of(slot.table)? * ENTRIES + slot.index % ENTRIES)
    }

    /// The entry in `slot`; none where no table is (a stale walk into a freed table reads zeroes).
    #[inline]
    #[must_use]
    pub fn read(&self, slot: Slot) -> Entry {
        self.place(slot).and_then(|at| self.entries.get(at)).map_or(Entry::NONE, |entry| *entry)
    }

    /// Asks the host for an entry, so that it is near when it is read.
    #[inline]
    pub fn warm(&self, slot: Slot) {
        if let Some(entry) = self.place(slot).and_then(|at| self.entries.get(at)) {
            host::prefetch(entry);
        }
    }

    /// Stores an entry. A store into a table that is gone is dropped.
    pub fn write(&mut self, slot: Slot, entry: Entry) {
        let Some(frame) = self.slot_of(slot.table).filter(|frame| self.used[*frame] != GONE) else { return };
        let at = frame * ENTRIES + slot.index % ENTRIES;
        let old = std::mem::replace(&mut self.entries[at], entry);
        match (old.is_none(), entry.is_none()) {
            (true, false) => self.used[frame] += 1,
            (false, true) => self.used[frame] -= 1,
            _ => {}
        }
    }

    /// The split lock of the table.
    #[must_use]
    pub fn lock(&self, pfn: Pfn) -> Option<LockId> {
        let frame = self.slot_of(pfn).filter(|frame| self.used[*frame] != GONE)?;
        self.locks.get(frame).copied()
    }

    /// Entries of the table that are not none.
    #[must_use]
    pub fn used(&self, pfn: Pfn) -> u16 {
        self.slot_of(pfn).map(|frame| self.used[frame]).filter(|used| *used != GONE).unwrap_or(0)
    }

    /// The frame of the table of `level` that translates `va` under `root`, if it exists.
    #[must_use]
    pub fn find(&self, root: Pfn, va: VirtAddr, level: u32) -> Option<Pfn> {
        let mut table = root;
        for at in ((level + 1)..=self.top).rev() {
            let entry = self.read(Slot::of(table, va, at));
            if !entry.is_present() || entry.is_leaf_at(at) {
                return None;
            }
            table = entry.pfn();
        }
        Some(table)
    }

    /// Where the entry is that a walk of `va` under `root` would end with, and its level.
    #[must_use]
    pub fn last_slot(&self, root: Pfn, va: VirtAddr) -> (Slot, u32) {
        let (mut slot, mut at) = (Slot::of(root, va, self.top), self.top);
        while at > 0 {
            let entry = self.read(slot);
            if !entry.is_present() || entry.is_leaf_at(at) {
                break;
            }
            at -= 1;
            slot = Slot::of(entry.pfn(), va, at);
        }
        (slot, at)
    }

    /// The first address after `va` that may be translated where `va` is not: the end of the span that the absent entry,
    /// at the highest level with one, leaves unmapped. A present `va` is followed by the next page of its size.
    #[must_use]
    pub fn next_after(&self, root: Pfn, va: VirtAddr) -> u64 {
        let mut table = root;
        let mut span_of = 0;
        for at in (0..=self.top).rev() {
            span_of = at;
            let entry = self.read(Slot::of(table, va, at));
            if !entry.is_present() || entry.is_leaf_at(at) {
                break;
            }
            table = entry.pfn();
        }
        let span = 1_u64 << (12 + 9 * span_of);
        (va.0 & !(span - 1)).saturating_add(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{LockClass, Locks};

    fn tables() -> (Tables, Locks) {
        (Tables::new(Pfn(0x1000), 4), Locks::default())
    }

    #[test]
    fn a_table_starts_zeroed_and_counts_its_entries() {
        let (mut tables, mut locks) = tables();
        let pt = tables.allocate(|pfn| locks.create(LockClass::PageTable, pfn.addr().line()));
        let slot = Slot { table: pt, index: 3 };
        assert_eq!(tables.read(slot), Entry::NONE);
        tables.write(slot, Entry(0x25));
        tables.write(slot, Entry(0x27));
        assert_eq!((tables.read(slot), tables.used(pt)), (Entry(0x27), 1));
        tables.write(slot, Entry::NONE);
        assert_eq!(tables.used(pt), 0);
    }

    #[test]
    fn a_freed_frame_is_used_again_and_reads_as_zero_meanwhile() {
        let (mut tables, mut locks) = tables();
        let first = tables.allocate(|pfn| locks.create(LockClass::PageTable, pfn.addr().line()));
        tables.write(Slot { table: first, index: 0 }, Entry(1));
        tables.release(first);
        tables.release(first);
        assert_eq!(tables.read(Slot { table: first, index: 0 }), Entry::NONE);
        assert_eq!(tables.count(), 0);
        tables.write(Slot { table: first, index: 1 }, Entry(1));
        assert_eq!(tables.allocate(|pfn| locks.create(LockClass::PageTable, pfn.addr().line())), first);
        assert_eq!([0, 1].map(|index| tables.read(Slot { table: first, index })), [Entry::NONE; 2]);
        assert_eq!(tables.used(first), 0);
    }

    #[test]
    fn eight_entries_share_a_line() {
        let line = |index| Slot { table: Pfn(2), index }.line();
        assert_eq!(line(0), line(7));
        assert_ne!(line(7), line(8));
    }

    #[test]
    fn find_stops_at_leaves_and_holes() {
        let (mut tables, mut locks) = tables();
        let mut make =
            |t: &mut Tables| t.allocate(|pfn| locks.create(LockClass::PageTable, pfn.addr().line()));
        let (pgd, pud, pmd) = (make(&mut tables), make(&mut tables), make(&mut tables));
        let va = VirtAddr(0x1000_0000_0000);
        tables.write(Slot::of(pgd, va, 3), Entry::table(pud));
        tables.write(Slot::of(pud, va, 2), Entry::table(pmd));
        assert_eq!(tables.find(pgd, va, 1), Some(pmd));
        assert_eq!(tables.next_after(pgd, va), va.0 + (2 << 20));
        assert_eq!(tables.next_after(pgd, VirtAddr(va.0 + (5 << 30) + 4096)), va.0 + (6 << 30));
        assert_eq!(tables.next_after(pgd, VirtAddr(0x5000)), 512 << 30);
        assert_eq!(tables.find(pgd, va, 0), None);
        assert_eq!(tables.last_slot(pgd, va), (Slot::of(pmd, va, 1), 1));
        assert_eq!(tables.last_slot(pgd, VirtAddr(0x5000)), (Slot::of(pgd, VirtAddr(0x5000), 3), 3));
        tables.write(Slot::of(pmd, va, 1), Entry(Entry::P | Entry::PS));
        assert_eq!(tables.last_slot(pgd, va), (Slot::of(pmd, va, 1), 1));
        assert_eq!(tables.find(pgd, va, 0), None);
    }

    #[test]
    fn five_levels_have_a_root_above_the_pml4() {
        let (mut tables, mut locks) = (Tables::new(Pfn(0x1000), 5), Locks::default());
        let mut make =
            |t: &mut Tables| t.allocate(|pfn| locks.create(LockClass::PageTable, pfn.addr().line()));
        let (root, pml4) = (make(&mut tables), make(&mut tables));
        let va = VirtAddr(3 << 48 | 5 << 39);
        assert_eq!((tables.top(), tables.find(root, va, 4), tables.find(root, va, 3)), (4, Some(root), None));
        assert_eq!(tables.next_after(root, va), 4 << 48);
        tables.write(Slot { table: root, index: 3 }, Entry::table(pml4));
        assert_eq!(tables.find(root, va, 3), Some(pml4));
        assert_eq!(tables.next_after(root, va), 3 << 48 | 6 << 39);
    }
}
