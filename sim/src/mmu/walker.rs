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

/// The clock of a walk. It starts at a time of its own, for the CPU need not stand still meanwhile; the caller decides what
/// waits for the end. Like every clock it stands still from the loss of power on.
struct WalkClock {
    now: Time,
    stop: Time,
    walk: Time,
    assist: Time,
}

impl WalkClock {
    const fn new(start: Time, stop: Time) -> Self {
        Self { now: start, stop, walk: Time::ZERO, assist: Time::ZERO }
    }

    fn until_stop(&mut self, dt: Time) -> Time {
        let dt = dt.min(self.stop.saturating_sub(self.now));
        self.now += dt;
        dt
    }

    /// Lets time of the walk itself pass.
    fn walking(&mut self, dt: Time) {
        let dt = self.until_stop(dt);
        self.walk += dt;
    }

    /// Lets time of setting A or D pass.
    fn assisting(&mut self, dt: Time) {
        let dt = self.until_stop(dt);
        self.assist += dt;
    }
}

/// How a walk went, and what it took. No CPU's clock has moved for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    /// What the TLBs now hold, or why the access may not be made.
    pub result: Result<TlbEntry, Refusal>,
    /// Time in the lookup of the structure caches and in reads of entries.
    pub walk: Time,
    /// Time in setting A and D.
    pub assist: Time,
    /// When it ended.
    pub end: Time,
}

/// What the TLBs say of an access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cached {
    /// Its address, and what finding it added.
    Hit(PhysAddr, Time),
    /// Nothing: the tables have to be walked.
    Miss,
    /// A translation that does not let the access through as it is, and what finding it added.
    Denied(TlbEntry, Time),
}

/// The address in `frame` that `va` translates to.
#[inline]
const fn inside(frame: Pfn, va: VirtAddr) -> PhysAddr {
    PhysAddr(frame.addr().0 + (va.0 & (PageSize::Size4K.bytes() - 1)))
}

impl Machine {
    /// What the TLBs of CPU `index` say of an access to a user address. Counts one lookup, and lets no time pass.
    #[inline]
    pub(crate) fn look_up(&mut self, index: usize, va: VirtAddr, kind: AccessKind) -> Cached {
        let cpu = &mut self.cpus[index];
        let pcid = cpu.pcid;
        if let Some((frame, penalty)) = cpu.tlbs.hit(va, pcid, kind) {
            return Cached::Hit(inside(frame, va), penalty);
        }
        match cpu.tlbs.lookup(va, pcid, kind) {
            None => Cached::Miss,
            Some((entry, _, penalty)) => {
                let refuses_store = kind.is_write() && !(entry.writable && entry.dirty);
                if refuses_store || (entry.nx && kind == AccessKind::Fetch) {
                    Cached::Denied(entry, penalty)
                } else {
                    Cached::Hit(inside(entry.frame(va), va), penalty)
                }
            }
        }
    }

    /// Translates an access of CPU `index` to a user address, letting its time pass, and returns the physical address.
    /// `user` is false for the kernel's own access to user memory, which differs only in the error code.
    ///
    /// On a refusal the CPU's entries for the address are dropped, as a #PF does (SDM 4.10.4.1).
    #[inline]
    pub(crate) fn translate(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        user: bool,
    ) -> Result<PhysAddr, Refusal> {
        match self.look_up(index, va, kind) {
            Cached::Hit(physical, penalty) => {
                if penalty > Time::ZERO {
                    self.cpus[index].spend_as(Part::Walk, penalty);
                }
                Ok(physical)
            }
            Cached::Miss => self.translate_slowly(index, va, kind, None, user),
            Cached::Denied(entry, penalty) => {
                self.translate_slowly(index, va, kind, Some((entry, penalty)), user)
            }
        }
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
            None => self.walk_and_wait(index, va, kind, false),
            Some((entry, ..)) if kind.is_write() && !entry.writable => {
                Err(Refusal(ErrorCode::new(kind, true, true)))
            }
            Some((entry, ..)) if entry.nx && kind == AccessKind::Fetch => {
                Err(Refusal(ErrorCode::new(kind, true, true)))
            }
            // D is not set in the cached copy: the walker goes back to the entry (SDM 4.8).
            Some((entry, ..)) if kind.is_write() && !entry.dirty => self.walk_and_wait(index, va, kind, true),
            Some((entry, ..)) => Ok(entry),
        };
        match result {
            Ok(entry) => Ok(inside(entry.frame(va), va)),
            Err(mut refusal) => {
                if !user {
                    refusal.0.0 &= !ErrorCode::USER;
                }
                self.drop_refused(index, va);
                Err(refusal)
            }
        }
    }

    /// What a #PF drops: the CPU's entries for the address (SDM 4.10.4.1).
    pub(crate) fn drop_refused(&mut self, index: usize, va: VirtAddr) {
        let cpu = &mut self.cpus[index];
        cpu.tlbs.drop_page(va, cpu.pcid);
        cpu.psc.drop_page(va, cpu.pcid);
    }

    /// A walk that the CPU waits for.
    fn walk_and_wait(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        clean_copy: bool,
    ) -> Result<TlbEntry, Refusal> {
        let walked = self.walk(index, va, kind, self.cpus[index].now, clean_copy);
        self.cpus[index].spend_as(Part::Walk, walked.walk);
        self.cpus[index].spend_as(Part::Assist, walked.assist);
        debug_assert_eq!(self.cpus[index].now, walked.end);
        walked.result
    }

    /// Walks the tables for one access from `start` on and fills the TLBs. `clean_copy`: the TLBs hold the translation with
    /// D=0.
    pub(crate) fn walk(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        start: Time,
        clean_copy: bool,
    ) -> Walked {
        let mut clock = WalkClock::new(start, self.cpus[index].stop);
        self.measure.walks += 1;
        let found = self.descend(index, va, &mut clock);
        let result = match found {
            Some(leaf) if !leaf.user || !leaf.allows(kind) => Err(Refusal(ErrorCode::new(kind, true, true))),
            Some(leaf) => self.finish(index, va, kind, leaf, clean_copy, &mut clock),
            None => Err(Refusal(ErrorCode::new(kind, true, false))),
        };
        self.measure.walk_time += clock.walk;
        Walked { result, walk: clock.walk, assist: clock.assist, end: clock.now }
    }

    /// Reads entries from the deepest cached level down to the leaf; `None` where an entry is not present.
    fn descend(&mut self, index: usize, va: VirtAddr, clock: &mut WalkClock) -> Option<Leaf> {
        let (root, pcid) = (self.cpus[index].cr3, self.cpus[index].pcid);
        clock.walking(self.spec.psc.latency);
        let (mut level, mut table) = self.cpus[index].psc.deepest(va, pcid).unwrap_or((3, root));
        // Linux maps user space with RW and US set in every non-leaf entry, which is why a structure-cache hit need not
        // carry permissions here; the entries read below are and-ed all the same.
        let (mut writable, mut user) = (true, true);
        loop {
            let slot = Slot::of(table, va, level);
            self.measure.walk_references += 1;
            self.walk_reference(index, slot, Access::Read, clock);
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
                entry = self.set_bits(index, slot, Entry::A, clock);
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
        clock: &mut WalkClock,
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
            entry = self.set_bits(index, leaf.slot, wanted, clock);
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
    fn set_bits(&mut self, index: usize, slot: Slot, bits: u64, clock: &mut WalkClock) -> Entry {
        self.walk_reference(index, slot, Access::Rmw, clock);
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
            clock.assisting(self.spec.mmu.dirty_assist);
        } else {
            self.measure.accessed_assists += 1;
            clock.assisting(self.spec.mmu.accessed_assist);
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
    fn walk_reference(&mut self, index: usize, slot: Slot, access: Access, clock: &mut WalkClock) {
        let latency = self.memory.access(index, slot.line(), access, clock.now).latency;
        if access == Access::Rmw {
            clock.assisting(latency);
        } else {
            clock.walking(latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::{CpuId, FileSystem};

    use super::*;

    const START: u64 = 0x1000_0000_0000;

    /// A machine whose CPU 0 runs an address space with two populated pages at [`START`].
    fn machine() -> Machine {
        let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = daxsim_configs::load_kernel("linux-7.2", &[]).unwrap();
        let mut machine = Machine::new(spec, kernel, FileSystem::Ext4);
        let mm = machine.new_mm();
        machine.map_anonymous(mm, START, 2);
        machine.switch_mm(CpuId(0), mm);
        machine
    }

    #[test]
    fn a_walk_passes_on_its_own_clock_and_leaves_that_of_the_cpu() {
        let mut m = machine();
        let (now, start) = (m.cpus[0].now, Time(1_000_000_000));
        let walked = m.walk(0, VirtAddr(START), AccessKind::Read, start, false);
        assert!(walked.result.is_ok());
        assert_eq!(m.cpus[0].now, now);
        assert_eq!(walked.end, start + walked.walk + walked.assist);
        // Four entries from DRAM at least; A is set in all of them already.
        assert!(walked.walk >= Time(4 * m.spec.dram.read_latency.0));
        assert_eq!(walked.assist, Time::ZERO);
        assert_eq!((m.measure.walks, m.measure.walk_time), (1, walked.walk));
    }

    #[test]
    fn a_walk_ends_with_the_power() {
        let mut m = machine();
        let stop = m.cpus[0].now + Time(1000);
        m.cpus[0].stop = stop;
        let walked = m.walk(0, VirtAddr(START), AccessKind::Read, m.cpus[0].now, false);
        assert_eq!((walked.end, walked.walk), (stop, Time(1000)));
    }
}
