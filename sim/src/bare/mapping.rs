//! Where the page tables of a host's software come from.
//!
//! Without the guest's memory they are reconstructed from the pairs of addresses: a radix tree of real tables in simulated
//! frames, in which an entry appears when its pair is first seen. What is assumed:
//!
//! * An entry has A and D set when it appears, as the entries that Linux makes have (`pte_mkyoung`; `pte_mkdirty` for a store),
//!   so no walk sets them. It allows everything.
//! * A pair that contradicts an entry means that the software changed it: the entry is rewritten, as if by one store that costs
//!   nothing and flushes nothing ([`MappingCounts::inferred_remaps`]). An entry whose page is never seen again stays.
//! * All address spaces share the tables of the upper half below the root, as Linux's do.
//! * A page has the size that the host says, or that of its range, or else 4 KiB.
//!
//! With a reader of the guest's memory, a TLB miss reads the guest's own entries first, from the root that the host loaded, and
//! puts them where they are: the lines that the walk reads are those of the guest's tables. A and D then are as this machine's
//! walks set them, and cleared where the guest cleared them. Entries that are gone by the time that they are read are reconstructed.
//!
//! [`MappingCounts::inferred_remaps`]: super::MappingCounts::inferred_remaps

use daxsim_types::{PageSize, Pfn, PhysAddr, VirtAddr};

use super::access::flag;
use super::{Access, Bare};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// Memory of the guest.
///
/// With it, a TLB miss reads the guest's own paging structures; without it they are made of the pairs of addresses that the host
/// gives: an entry appears when its pair is first seen, with A and D set, and is rewritten when a pair contradicts it.
pub trait GuestMemory {
    /// The eight bytes at a physical address that is a multiple of eight; `None` where no memory is.
    fn read(&mut self, pa: u64) -> Option<u64>;
}

/// Virtual addresses that are mapped by pages of one size, if their physical addresses allow that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Last address.
    pub last: u64,
    /// Size of the pages.
    pub page: PageSize,
}

/// Bits of every leaf.
const LEAF: u64 = Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D;

/// Whether an address is in the upper half.
const fn is_upper(va: VirtAddr) -> bool {
    va.0 >> 63 != 0
}

impl Bare {
    /// Says the size of pages in a range. Of overlapping ranges the one added first counts.
    pub fn add_range(&mut self, range: Range) {
        self.ranges.push(range);
    }

    /// Reads the guest's own tables from now on; the roots that the host loads are physical addresses.
    pub fn set_guest_memory(&mut self, memory: Box<dyn GuestMemory + Send>) {
        self.guest = Some(memory);
    }

    /// The root of an address space that the host calls `root`.
    pub(super) fn space(&mut self, root: u64) -> Pfn {
        if let Some(known) = self.spaces.get(&root) {
            return *known;
        }
        let table = if self.guest.is_some() {
            let frame = PhysAddr(root).pfn();
            self.mapping.collisions += u64::from(self.machine.place_table(frame));
            frame
        } else {
            let table = self.machine.new_table();
            self.share_upper_half(table);
            table
        };
        self.spaces.insert(root, table);
        table
    }

    /// Gives a root the entries of the upper half that all share.
    fn share_upper_half(&mut self, root: Pfn) {
        for index in 256..512 {
            let entry = self.machine.tables.read(Slot { table: self.kernel_root, index });
            if entry.is_present() {
                self.machine.tables.write(Slot { table: root, index }, entry);
            }
        }
    }

    /// Where a page lies and how large it is, by the tables alone.
    pub(super) fn leaf(&self, root: Pfn, va: VirtAddr) -> Option<(Pfn, PageSize)> {
        let (slot, level) = self.machine.tables.last_slot(root, va);
        let entry = self.machine.tables.read(slot);
        if !entry.is_present() || !entry.is_leaf_at(level) {
            return None;
        }
        let size = *PageSize::ALL.get(level as usize)?;
        Some((Pfn(entry.pfn_at(level).0 + (va.0 >> 12) % size.pages()), size))
    }

    /// Makes the tables lead to where the host says that an access went.
    pub(super) fn settle(&mut self, cpu: usize, access: &Access) {
        let root = self.machine.cpus[cpu].cr3;
        let (va, frame) = (VirtAddr(access.va), PhysAddr(access.pa).pfn());
        if self.guest.is_some() {
            self.read_guest(root, va);
        }
        let found = self.leaf(root, va);
        let as_said = |size| access.page_size().is_none_or(|said| said == size);
        if found.is_some_and(|(at, size)| at == frame && as_said(size)) {
            return;
        }
        let size = access.page_size().unwrap_or_else(|| self.size_in_range(access));
        self.mapping.inferred_remaps += u64::from(found.is_some());
        self.mapping.pages[size as usize] += u64::from(found.is_none());
        self.mapping.collisions += u64::from(self.machine.tables.holds(frame));
        self.put(root, va, frame, size, access.flags & flag::GLOBAL != 0);
    }

    /// The size of the page that an access is in, where it does not say.
    fn size_in_range(&mut self, access: &Access) -> PageSize {
        let Access { va, pa, .. } = *access;
        let range = self.ranges.iter().find(|range| (range.start..=range.last).contains(&va));
        let page = range.map_or(PageSize::Size4K, |range| range.page);
        let fits = (va ^ pa) & (page.bytes() - 1) == 0;
        self.mapping.incongruent += u64::from(!fits);
        if fits { page } else { PageSize::Size4K }
    }

    /// Writes the leaf of a page, and the tables on the way that are not there.
    fn put(&mut self, root: Pfn, va: VirtAddr, frame: Pfn, size: PageSize, global: bool) {
        let leaf_level = size as u32;
        let mut table = root;
        for level in ((leaf_level + 1)..=self.machine.tables.top()).rev() {
            table = self.table_below(table, va, level);
        }
        let slot = Slot::of(table, va, leaf_level);
        let old = self.machine.tables.read(slot);
        let bits = if leaf_level > 0 { LEAF | Entry::PS } else { LEAF };
        let bits = if global { bits | Entry::G } else { bits };
        let first = Pfn(frame.0 & !(size.pages() - 1));
        self.machine.tables.write(slot, Entry::leaf(first, bits));
        if old.is_present() && !old.is_leaf_at(leaf_level) {
            self.release(old.pfn(), leaf_level - 1);
        }
    }

    /// The table that the entry of `level` in `table` points to; made if there is none, or a page. A new one at the top of the
    /// upper half is that of all address spaces.
    fn table_below(&mut self, table: Pfn, va: VirtAddr, level: u32) -> Pfn {
        let slot = Slot::of(table, va, level);
        let entry = self.machine.tables.read(slot);
        if entry.is_present() && !entry.is_leaf_at(level) {
            return entry.pfn();
        }
        let below = Entry::table(self.machine.new_table());
        self.machine.tables.write(slot, below);
        if level == self.machine.tables.top() && is_upper(va) && self.guest.is_none() {
            for root in self.spaces.values().chain([&self.kernel_root]) {
                self.machine.tables.write(Slot { table: *root, ..slot }, below);
            }
        }
        below.pfn()
    }

    /// Gives back a table of `level` that no entry points to any more, and those below it.
    fn release(&mut self, table: Pfn, level: u32) {
        if level > 0 {
            for index in 0..512 {
                let entry = self.machine.tables.read(Slot { table, index });
                if entry.is_present() && !entry.is_leaf_at(level) {
                    self.release(entry.pfn(), level - 1);
                }
            }
        }
        self.machine.tables.release(table);
    }

    /// Reads the guest's entries for an address, from the root down, as far as they go.
    fn read_guest(&mut self, root: Pfn, va: VirtAddr) {
        let Some(guest) = &mut self.guest else { return };
        let mut table = root;
        for level in (0..=self.machine.tables.top()).rev() {
            let slot = Slot::of(table, va, level);
            let pa = table.addr().0 + 8 * slot.index as u64;
            let read = guest.read(pa).map(Entry).filter(|entry| entry.is_present());
            let Some(entry) = read else {
                self.mapping.guest_absent += 1;
                return;
            };
            self.mapping.guest_reads += 1;
            let old = self.machine.tables.read(slot);
            self.machine
                .tables
                .write(slot, as_walked(entry, old, level, self.machine.spec.mmu.physical_bits));
            if entry.is_leaf_at(level) {
                return;
            }
            table = entry.pfn();
            self.mapping.collisions += u64::from(self.machine.place_table(table));
        }
    }
}

/// An entry of the guest's as this machine has it: allowing everything, and with A and D as its own walks set them.
fn as_walked(guest: Entry, old: Entry, level: u32, physical_bits: u32) -> Entry {
    let ad = Entry::A | Entry::D;
    let allowed = (guest.0 | Entry::RW | Entry::US) & !(Entry::NX | ad);
    let kept = Entry(allowed & !Entry(allowed).reserved(level, physical_bits));
    let same_page = old.is_present() && old.pfn_at(level) == kept.pfn_at(level);
    let set = if same_page { old.0 & guest.0 & ad } else { 0 };
    Entry(kept.0 | set)
}
