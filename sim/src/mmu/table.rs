//! Paging structures in simulated physical memory.
//!
//! Tables are the only simulated memory whose contents matter, so only they are stored: a table is a frame of 512
//! entries in a region of DRAM set aside for them, found by frame number without hashing.

use daxsim_types::{CacheLine, Pfn, PhysAddr, VirtAddr};

use super::entry::Entry;
use crate::engine::LockId;
use crate::frames::Region;

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

struct Table {
    entries: Box<[Entry; 512]>,
    /// Entries that are not none.
    used: u16,
}

/// All paging structures.
pub struct Tables {
    /// Which frame each table gets.
    order: Region,
    /// Level of the roots.
    top: u32,
    tables: Vec<Option<Table>>,
    /// The split page-table lock of each frame, in its struct page (`ptlock_ptr`): it outlives the table in it.
    locks: Vec<LockId>,
    free: Vec<usize>,
}

impl Tables {
    /// No tables yet, of `levels` levels; frames will come from `base` upwards.
    #[must_use]
    pub fn new(base: Pfn, levels: u32) -> Self {
        let order = Region::sequential(base.0);
        Self { order, top: levels - 1, tables: Vec::new(), locks: Vec::new(), free: Vec::new() }
    }

    /// Level of the roots: 3 (PML4), or 4 (PML5).
    #[must_use]
    pub const fn top(&self) -> u32 {
        self.top
    }

    /// A zeroed table. Frames freed last are used first, as the page allocator's per-CPU lists do.
    pub fn allocate(&mut self, lock: impl FnOnce(Pfn) -> LockId) -> Pfn {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.tables.push(None);
            let slot = self.tables.len() - 1;
            self.locks.push(lock(self.order.frame(slot as u64)));
            slot
        });
        let entries = Box::new([Entry::NONE; 512]);
        self.tables[slot] = Some(Table { entries, used: 0 });
        self.order.frame(slot as u64)
    }

    /// Takes frames in another order, as long as there are no tables.
    pub(crate) fn set_order(&mut self, order: Region) {
        self.order = order;
    }

    /// Gives a table's frame back.
    pub fn release(&mut self, pfn: Pfn) {
        if let Some(slot) = self.slot_of(pfn)
            && self.tables[slot].take().is_some()
        {
            self.free.push(slot);
        }
    }

    /// Tables in use.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tables.len() - self.free.len()
    }

    fn slot_of(&self, pfn: Pfn) -> Option<usize> {
        let slot = usize::try_from(self.order.index(pfn)?).ok()?;
        (slot < self.tables.len()).then_some(slot)
    }

    fn get(&self, pfn: Pfn) -> Option<&Table> {
        self.tables[self.slot_of(pfn)?].as_ref()
    }

    /// The entry in `slot`; none where no table is (a stale walk into a freed table reads zeroes).
    #[must_use]
    pub fn read(&self, slot: Slot) -> Entry {
        self.get(slot.table).map_or(Entry::NONE, |t| t.entries[slot.index])
    }

    /// Stores an entry. A store into a table that is gone is dropped.
    pub fn write(&mut self, slot: Slot, entry: Entry) {
        let Some(table) = self.slot_of(slot.table).and_then(|s| self.tables[s].as_mut()) else { return };
        let old = std::mem::replace(&mut table.entries[slot.index], entry);
        match (old.is_none(), entry.is_none()) {
            (true, false) => table.used += 1,
            (false, true) => table.used -= 1,
            _ => {}
        }
    }

    /// The split lock of the table.
    #[must_use]
    pub fn lock(&self, pfn: Pfn) -> Option<LockId> {
        self.get(pfn)?;
        self.locks.get(self.slot_of(pfn)?).copied()
    }

    /// Entries of the table that are not none.
    #[must_use]
    pub fn used(&self, pfn: Pfn) -> u16 {
        self.get(pfn).map_or(0, |t| t.used)
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
    use crate::engine::Locks;

    fn tables() -> (Tables, Locks) {
        (Tables::new(Pfn(0x1000), 4), Locks::default())
    }

    #[test]
    fn a_table_starts_zeroed_and_counts_its_entries() {
        let (mut tables, mut locks) = tables();
        let pt = tables.allocate(|pfn| locks.create(pfn.addr().line()));
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
        let first = tables.allocate(|pfn| locks.create(pfn.addr().line()));
        tables.write(Slot { table: first, index: 0 }, Entry(1));
        tables.release(first);
        tables.release(first);
        assert_eq!(tables.read(Slot { table: first, index: 0 }), Entry::NONE);
        assert_eq!(tables.count(), 0);
        assert_eq!(tables.allocate(|pfn| locks.create(pfn.addr().line())), first);
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
        let mut make = |t: &mut Tables| t.allocate(|pfn| locks.create(pfn.addr().line()));
        let (pgd, pud, pmd) = (make(&mut tables), make(&mut tables), make(&mut tables));
        let va = VirtAddr(0x1000_0000_0000);
        tables.write(Slot::of(pgd, va, 3), Entry::table(pud));
        tables.write(Slot::of(pud, va, 2), Entry::table(pmd));
        assert_eq!(tables.find(pgd, va, 1), Some(pmd));
        assert_eq!(tables.next_after(pgd, va), va.0 + (2 << 20));
        assert_eq!(tables.next_after(pgd, VirtAddr(va.0 + (5 << 30) + 4096)), va.0 + (6 << 30));
        assert_eq!(tables.next_after(pgd, VirtAddr(0x5000)), 512 << 30);
        assert_eq!(tables.find(pgd, va, 0), None);
        tables.write(Slot::of(pmd, va, 1), Entry(Entry::P | Entry::PS));
        assert_eq!(tables.find(pgd, va, 0), None);
    }

    #[test]
    fn five_levels_have_a_root_above_the_pml4() {
        let (mut tables, mut locks) = (Tables::new(Pfn(0x1000), 5), Locks::default());
        let mut make = |t: &mut Tables| t.allocate(|pfn| locks.create(pfn.addr().line()));
        let (root, pml4) = (make(&mut tables), make(&mut tables));
        let va = VirtAddr(3 << 48 | 5 << 39);
        assert_eq!((tables.top(), tables.find(root, va, 4), tables.find(root, va, 3)), (4, Some(root), None));
        assert_eq!(tables.next_after(root, va), 4 << 48);
        tables.write(Slot { table: root, index: 3 }, Entry::table(pml4));
        assert_eq!(tables.find(root, va, 3), Some(pml4));
        assert_eq!(tables.next_after(root, va), 3 << 48 | 6 << 39);
    }
}
