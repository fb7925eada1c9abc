//! Translation of one access: TLBs, then the page walk, with A and D set by hardware unless software is to do it.
//!
//! An x86 walker sets both. For other architectures' rules (`mmu.accessed`, `mmu.dirty`) an access that needs a bit set by
//! software gets a #PF with P = 1 in its error code: the entry is present and refuses the access as it is, which is the only
//! thing that the error code of x86 can say of it. So a load through an entry without A gives 0x5 in user mode, which no
//! other cause does on a readable mapping.

use daxsim_configs::machine::{AccessedBit, DirtyBit};
use daxsim_types::{AccessKind, ErrorCode, PageSize, Pfn, PhysAddr, Time, VirtAddr};

use super::entry::Entry;
use super::table::Slot;
use super::tlb::TlbEntry;
use crate::machine::Machine;
use crate::measure::Part;
use crate::memory::Access;

/// A translation refused the access: #PF with this error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub ErrorCode);

/// What a walk found at the end.
struct Leaf {
    entry: Entry,
    slot: Slot,
    size: PageSize,
    /// RW of every level, and-ed (SDM 4.6.1).
    writable: bool,
    /// US of every level, and-ed.
    user: bool,
}

impl Leaf {
    /// Whether RW and NX allow the access (SDM 4.6.1).
    const fn allows(&self, kind: AccessKind) -> bool {
        match kind {
            AccessKind::Read => true,
            AccessKind::Write => self.writable,
            AccessKind::Fetch => self.entry.0 & Entry::NX == 0,
        }
    }
}

/// The address in `frame` that `va` translates to.
#[inline]
const fn inside(frame: Pfn, va: VirtAddr) -> PhysAddr {
    PhysAddr(frame.addr().0 + (va.0 & (PageSize::Size4K.bytes() - 1)))
}

impl Machine {
    /// Translates an access of CPU `index` to a user address, letting its time pass, and returns the physical address.
    /// `user` is false for the kernel's own access to user memory, which differs only in the error code.
    ///
    /// On a refusal the CPU's entries for the address are dropped, as a #PF does (SDM 4.10.4.1).
    pub(crate) fn translate(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        user: bool,
    ) -> Result<PhysAddr, Refusal> {
        let cpu = &mut self.cpus[index];
        let pcid = cpu.pcid;
        if let Some((frame, penalty)) = cpu.tlbs.hit(va, pcid, kind) {
            cpu.spend_as(Part::Walk, penalty);
            return Ok(inside(frame, va));
        }
        let cached = cpu.tlbs.lookup(va, pcid, kind);
        if let Some((entry, _, penalty)) = &cached
            && (!kind.is_write() || (entry.writable && entry.dirty))
            && !(entry.nx && kind == AccessKind::Fetch)
        {
            cpu.spend_as(Part::Walk, *penalty);
            return Ok(inside(entry.frame(va), va));
        }
        self.translate_slowly(index, va, kind, cached.map(|(entry, _, penalty)| (entry, penalty)), user)
    }

    /// The rest of [`Self::translate`]: not cached, or a store that the cached translation does not allow as it is.
    #[inline(never)]
    fn translate_slowly(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        mut cached: Option<(TlbEntry, Time)>,
        user: bool,
    ) -> Result<PhysAddr, Refusal> {
        let pcid = self.cpus[index].pcid;
        if let Some((entry, penalty)) = cached {
            self.cpus[index].spend_as(Part::Walk, penalty);
            if kind.is_write() && !entry.writable && self.spec.mmu.rewalk_before_fault {
                self.cpus[index].tlbs.drop_page(va, pcid);
                cached = None;
            }
        }
        let result = match cached {
            None => self.walk(index, va, kind, false),
            Some((entry, ..)) if kind.is_write() && !entry.writable => {
                Err(Refusal(ErrorCode::new(kind, true, true)))
            }
            Some((entry, ..)) if entry.nx && kind == AccessKind::Fetch => {
                Err(Refusal(ErrorCode::new(kind, true, true)))
            }
            // D is not set in the cached copy: the walker goes back to the entry (SDM 4.8).
            Some((entry, ..)) if kind.is_write() && !entry.dirty => self.walk(index, va, kind, true),
            Some((entry, ..)) => Ok(entry),
        };
        match result {
            Ok(entry) => Ok(inside(entry.frame(va), va)),
            Err(mut refusal) => {
                if !user {
                    refusal.0.0 &= !ErrorCode::USER;
                }
                let cpu = &mut self.cpus[index];
                cpu.tlbs.drop_page(va, pcid);
                cpu.psc.drop_page(va, pcid);
                Err(refusal)
            }
        }
    }

    /// Walks the tables for one access and fills the TLBs. `clean_copy`: the TLBs hold the translation with D=0.
    fn walk(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        clean_copy: bool,
    ) -> Result<TlbEntry, Refusal> {
        let began = self.cpus[index].parts[Part::Walk];
        self.measure.walks += 1;
        let found = self.descend(index, va);
        let result = match found {
            Some(leaf) if !leaf.user || !leaf.allows(kind) => Err(Refusal(ErrorCode::new(kind, true, true))),
            Some(leaf) => self.finish(index, va, kind, leaf, clean_copy),
            None => Err(Refusal(ErrorCode::new(kind, true, false))),
        };
        self.measure.walk_time += self.cpus[index].parts[Part::Walk] - began;
        result
    }

    /// Reads entries from the deepest cached level down to the leaf; `None` where an entry is not present.
    fn descend(&mut self, index: usize, va: VirtAddr) -> Option<Leaf> {
        let (root, pcid) = (self.cpus[index].cr3, self.cpus[index].pcid);
        let psc_latency = self.spec.psc.latency;
        self.cpus[index].spend_as(Part::Walk, psc_latency);
        let (mut level, mut table) = self.cpus[index].psc.deepest(va, pcid).unwrap_or((3, root));
        // Linux maps user space with RW and US set in every non-leaf entry, which is why a structure-cache hit need not
        // carry permissions here; the entries read below are and-ed all the same.
        let (mut writable, mut user) = (true, true);
        loop {
            let slot = Slot::of(table, va, level);
            self.measure.walk_references += 1;
            self.walk_reference(index, slot, Access::Read);
            let mut entry = self.tables.read(slot);
            if !entry.is_present() {
                return None;
            }
            writable &= entry.is_writable();
            user &= entry.0 & Entry::US != 0;
            if entry.is_leaf_at(level) {
                let size = match level {
                    0 => PageSize::Size4K,
                    1 => PageSize::Size2M,
                    _ => PageSize::Size1G,
                };
                return Some(Leaf { entry, slot, size, writable, user });
            }
            if !entry.accessed() && self.spec.mmu.accessed == AccessedBit::Hardware {
                // A is set before the entry may be cached (SDM 4.8).
                entry = self.set_bits(index, slot, Entry::A);
            }
            table = entry.pfn();
            self.cpus[index].psc.fill(level, va, pcid, table);
            level -= 1;
        }
    }

    /// Sets A, and D for a write, in the leaf; then caches the translation.
    fn finish(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        leaf: Leaf,
        clean_copy: bool,
    ) -> Result<TlbEntry, Refusal> {
        let mut entry = leaf.entry;
        let mut wanted = 0;
        if !entry.accessed() {
            wanted |= Entry::A;
        }
        if kind.is_write() && !entry.hw_dirty() {
            wanted |= Entry::D;
        }
        if wanted & self.software_bits() != 0 {
            self.measure.access_flag_faults += 1;
            return Err(Refusal(ErrorCode::new(kind, true, true)));
        }
        if wanted != 0 {
            entry = self.set_bits(index, leaf.slot, wanted);
            // The locked update re-reads the entry: it may have changed since the walk read it (SDM 4.8, spec 6.3).
            if !entry.is_present() {
                return Err(Refusal(ErrorCode::new(kind, true, false)));
            }
            if kind.is_write() && !entry.is_writable() {
                return Err(Refusal(ErrorCode::new(kind, true, true)));
            }
        }
        let cpu = &mut self.cpus[index];
        let cached = TlbEntry::of(va, leaf.size, cpu.pcid, entry, leaf.writable, leaf.user);
        if clean_copy {
            // It must not outlive the update.
            cpu.tlbs.drop_page(va, cpu.pcid);
        }
        cpu.tlbs.fill(va, cached, kind, None);
        Ok(cached)
    }

    /// One locked update of an entry by the walker, with its assist cost. Returns the entry as it then is: unchanged if it
    /// was no longer present, or no longer writable where D was to be set.
    fn set_bits(&mut self, index: usize, slot: Slot, bits: u64) -> Entry {
        self.walk_reference(index, slot, Access::Rmw);
        let entry = self.tables.read(slot);
        let sets_d = bits & Entry::D != 0;
        if !entry.is_present() || (sets_d && !entry.is_writable()) {
            return entry;
        }
        let updated = Entry(entry.0 | bits);
        self.tables.write(slot, updated);
        if sets_d && self.spec.mmu.dirty == DirtyBit::Dbm {
            // The locked update is all that it takes, A with it.
            self.measure.dirty_updates += 1;
        } else if sets_d {
            self.measure.dirty_assists += 1;
            let cost = self.spec.mmu.dirty_assist;
            self.cpus[index].spend_as(Part::Assist, cost);
        } else {
            self.measure.accessed_assists += 1;
            let cost = self.spec.mmu.accessed_assist;
            self.cpus[index].spend_as(Part::Assist, cost);
        }
        updated
    }

    /// The bits of a leaf that this machine leaves to software.
    fn software_bits(&self) -> u64 {
        let a = if self.spec.mmu.accessed == AccessedBit::Software { Entry::A } else { 0 };
        let d = if self.spec.mmu.dirty == DirtyBit::Software { Entry::D } else { 0 };
        a | d
    }

    /// One memory reference of the walker, through the caches.
    fn walk_reference(&mut self, index: usize, slot: Slot, access: Access) {
        let now = self.cpus[index].now;
        let latency: Time = self.memory.access(index, slot.line(), access, now).latency;
        let part = if access == Access::Rmw { Part::Assist } else { Part::Walk };
        self.cpus[index].spend_as(part, latency);
    }
}
