//! The page walk (Intel SDM vol. 3, chapter 4), through one set of tables or, nested, through two.
//!
//! A walk runs on a clock of its own and goes to memory for every entry. The CPU that waits for it lets its clock follow.

use daxsim_configs::machine::{AccessedBit, DirtyBit, WalkerReads};
use daxsim_types::{AccessKind, CacheLine, ErrorCode, PageSize, Pfn, PhysAddr, Time, VirtAddr};

use super::entry::Entry;
use super::nested::NestedWalk;
use super::psc::Link;
use super::rights::{Mode, Rights};
use super::table::Slot;
use super::tlb::{PteLine, TlbEntry};
use super::walker::Refusal;
use crate::machine::Machine;
use crate::memory::Access;

/// What a walk found at the end.
#[derive(Clone, Copy)]
struct Leaf {
    entry: Entry,
    slot: Slot,
    level: u32,
    size: PageSize,
    /// Of every level.
    rights: Rights,
}

/// Why a walk did not get to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The access may not be made.
    Refused(Refusal),
    /// An entry is not what it was when the walk read it: everything has to be looked at again.
    Changed,
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
pub struct Walked {
    /// What the TLBs now hold, or why the access may not be made.
    pub result: Result<TlbEntry, Refusal>,
    /// Time in the lookup of the structure caches and in reads of entries.
    pub walk: Time,
    /// Time in setting A and D.
    pub assist: Time,
    /// When it ended.
    pub end: Time,
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// An access that waits for it.
    Access,
    /// An access that may never be made.
    Speculation,
    /// The next page, in case.
    NextPage,
}

/// A walk under way.
struct Walk {
    index: usize,
    va: VirtAddr,
    pcid: u16,
    kind: AccessKind,
    mode: Mode,
    purpose: Purpose,
    clock: WalkClock,
}

impl Walk {
    /// Refused by an entry that is present, or is not.
    const fn refused(&self, present: bool) -> Stop {
        Stop::Refused(Refusal::PageFault(ErrorCode::new(self.kind, self.mode.is_user(), present)))
    }

    /// Refused by a reserved bit.
    const fn reserved(&self) -> Stop {
        let code = ErrorCode::new(self.kind, self.mode.is_user(), true);
        Stop::Refused(Refusal::PageFault(ErrorCode(code.0 | ErrorCode::RSVD)))
    }
}

impl Machine {
    /// Walks the tables for one access from `start` on and fills the TLBs. `clean_copy`: the TLBs hold the translation with
    /// D=0.
    pub(crate) fn walk(
        &mut self,
        index: usize,
        va: VirtAddr,
        (kind, mode): (AccessKind, Mode),
        start: Time,
        clean_copy: bool,
    ) -> Walked {
        let mut walk = self.new_walk(index, va, kind, mode, start);
        self.measure.walks += 1;
        let walked = self.run_walk(&mut walk, clean_copy);
        self.measure.walk_time += walked.walk;
        if let Ok(found) = walked.result
            && self.cpus[index].tlbs.prefetches()
        {
            self.prefetch_translation(index, VirtAddr(va.0.wrapping_add(found.origin.bytes())), walked.end);
        }
        walked
    }

    /// A speculative walk for the page after one that was walked for, unless the TLBs have it: into the second level alone.
    fn prefetch_translation(&mut self, index: usize, va: VirtAddr, start: Time) {
        let cpu = &self.cpus[index];
        if va.is_canonical_in(self.spec.mmu.levels) && !cpu.tlbs.second_holds(va, cpu.pcid) {
            self.speculate(index, va, start, Purpose::NextPage);
        }
    }

    /// A walk for an address that no access is known to need: on a path that may not be taken, or ahead of a stream. It sets A
    /// (as hardware may, SDM 4.8) but never D, fills the TLBs, and ends without a trace where an access would fault.
    pub fn walk_speculatively(&mut self, index: usize, va: VirtAddr, start: Time) -> Walked {
        self.speculate(index, va, start, Purpose::Speculation)
    }

    fn speculate(&mut self, index: usize, va: VirtAddr, start: Time, purpose: Purpose) -> Walked {
        let walk = self.new_walk(index, va, AccessKind::Read, Mode::User, start);
        self.measure.walk_counts.speculative += 1;
        self.run_walk(&mut Walk { purpose, ..walk }, false)
    }

    fn new_walk(&self, index: usize, va: VirtAddr, kind: AccessKind, mode: Mode, start: Time) -> Walk {
        let cpu = &self.cpus[index];
        let clock = WalkClock::new(start, cpu.stop);
        Walk { index, va, pcid: cpu.pcid, kind, mode, purpose: Purpose::Access, clock }
    }

    fn run_walk(&mut self, walk: &mut Walk, clean_copy: bool) -> Walked {
        let result = loop {
            match self.descend(walk).and_then(|leaf| self.finish(walk, leaf, clean_copy)) {
                Ok(entry) => break Ok(entry),
                Err(Stop::Refused(refusal)) => break Err(refusal),
                Err(Stop::Changed) => self.measure.walk_counts.restarts += 1,
            }
        };
        self.measure.walk_counts.refused += u64::from(result.is_err());
        Walked { result, walk: walk.clock.walk, assist: walk.clock.assist, end: walk.clock.now }
    }

    /// Reads entries from the deepest cached level down to the leaf.
    fn descend(&mut self, walk: &mut Walk) -> Result<Leaf, Stop> {
        walk.clock.walking(self.spec.mmu.walk_latency + self.spec.psc.latency);
        let cpu = &mut self.cpus[walk.index];
        let cached = cpu.psc.deepest(walk.va, walk.pcid);
        let (mut level, mut link) = match cached {
            Some(found) => found,
            None => {
                let root = cpu.cr3;
                self.find_table(walk, root);
                (self.tables.top(), Link { table: root, rights: Rights::ALL })
            }
        };
        loop {
            let slot = Slot::of(link.table, walk.va, level);
            self.measure.walk_counts.entries[level as usize] += 1;
            self.tables.warm(slot);
            self.read_line(walk, self.host_line(slot.line()));
            let mut entry = self.tables.read(slot);
            if !entry.is_present() {
                return Err(walk.refused(false));
            }
            if entry.reserved(level, self.spec.mmu.physical_bits) != 0 {
                return Err(walk.reserved());
            }
            let rights = link.rights.and(Rights::of(entry));
            if entry.is_leaf_at(level) {
                let size = match level {
                    0 => PageSize::Size4K,
                    1 => PageSize::Size2M,
                    _ => PageSize::Size1G,
                };
                return Ok(Leaf { entry, slot, level, size, rights });
            }
            if !entry.accessed() && self.spec.mmu.accessed == AccessedBit::Hardware {
                // A is set before the entry may be cached (SDM 4.8).
                entry = self.set_bits(walk, slot, entry, Entry::A)?;
            }
            let holder = std::mem::replace(&mut link, Link { table: entry.pfn(), rights });
            self.find_table(walk, link.table);
            let psc = &mut self.cpus[walk.index].psc;
            psc.fill(level, walk.va, walk.pcid, psc.link(holder, link));
            level -= 1;
        }
    }

    /// Checks the rights, finds the host's page, sets A, and D for a write, in the leaf; then caches the translation.
    fn finish(&mut self, walk: &mut Walk, leaf: Leaf, clean_copy: bool) -> Result<TlbEntry, Stop> {
        if !leaf.rights.allow(walk.kind, walk.mode, &self.cpus[walk.index].control) {
            return Err(walk.refused(true));
        }
        let mut entry = leaf.entry;
        let mut wanted = 0;
        if !entry.accessed() {
            wanted |= Entry::A;
        }
        if walk.kind.is_write() && !entry.hw_dirty() {
            wanted |= Entry::D;
        }
        if wanted & self.software_bits() != 0 {
            self.measure.access_flag_faults += u64::from(walk.purpose == Purpose::Access);
            return Err(walk.refused(true));
        }
        self.find_page(walk, leaf)?;
        if wanted != 0 {
            entry = self.set_bits(walk, leaf.slot, entry, wanted)?;
        }
        let found =
            TlbEntry::of(walk.va, leaf.size, walk.pcid, entry, leaf.rights.writable(), leaf.rights.user());
        let global = found.global && self.cpus[walk.index].control.pge;
        let pfn = entry.pfn_at(leaf.level);
        let found = self.on_host(walk.va, TlbEntry { pfn, global, nx: !leaf.rights.executable(), ..found });
        let line = self.neighbours(walk, leaf);
        let cpu = &mut self.cpus[walk.index];
        if clean_copy {
            // It must not outlive the update.
            cpu.tlbs.drop_page(walk.va, cpu.pcid);
        }
        // Nothing need be cached (SDM 4.10.2.2): no lookup of a user access has to tell supervisor pages apart then.
        if walk.purpose == Purpose::NextPage && leaf.rights.user() {
            cpu.tlbs.fill_second(found);
        } else if leaf.rights.user() {
            cpu.tlbs.fill(walk.va, found, walk.kind, line.as_ref());
        }
        Ok(found)
    }

    /// The line of the page-table entry that a walk ended with, if the TLBs look at it. Neighbours of the guest need not be
    /// neighbours on a host.
    fn neighbours(&self, walk: &Walk, leaf: Leaf) -> Option<PteLine> {
        if leaf.level > 0 || self.host.is_some() || !self.cpus[walk.index].tlbs.coalesces() {
            return None;
        }
        let first = leaf.slot.index & !7;
        let entry = |i| self.tables.read(Slot { table: leaf.slot.table, index: first + i });
        Some(PteLine(std::array::from_fn(entry)))
    }

    /// One locked update of an entry by the walker, with its assist cost. Returns the entry as it then is. The update reads the
    /// entry again: if it is no longer what the walk saw, but for A and D, nothing is set (SDM 4.8, spec 6.3).
    fn set_bits(&mut self, walk: &mut Walk, slot: Slot, seen: Entry, bits: u64) -> Result<Entry, Stop> {
        let line = self.host_line(slot.line());
        let latency = self.memory.access(walk.index, line, Access::Rmw, walk.clock.now).latency;
        walk.clock.assisting(latency);
        let entry = self.tables.read(slot);
        if (entry.0 ^ seen.0) & !(Entry::A | Entry::D) != 0 {
            return Err(Stop::Changed);
        }
        let updated = Entry(entry.0 | bits);
        self.tables.write(slot, updated);
        let sets_d = bits & Entry::D != 0;
        if sets_d && self.spec.mmu.dirty == DirtyBit::Dbm {
            // The locked update is all that it takes, A with it.
            self.measure.dirty_updates += 1;
        } else if sets_d {
            self.measure.dirty_assists += 1;
            walk.clock.assisting(self.spec.mmu.dirty_assist);
        } else {
            self.measure.accessed_assists += 1;
            walk.clock.assisting(self.spec.mmu.accessed_assist);
        }
        Ok(updated)
    }

    /// The bits of a leaf that this machine leaves to software.
    pub(crate) fn software_bits(&self) -> u64 {
        let a = if self.spec.mmu.accessed == AccessedBit::Software { Entry::A } else { 0 };
        let d = if self.spec.mmu.dirty == DirtyBit::Software { Entry::D } else { 0 };
        a | d
    }

    /// One read of the walker, through the caches.
    fn read_line(&mut self, walk: &mut Walk, line: CacheLine) {
        match walk.purpose {
            Purpose::Access => self.measure.walk_references += 1,
            Purpose::Speculation | Purpose::NextPage => self.measure.walk_counts.speculative_references += 1,
        }
        let latency = match self.spec.mmu.walker_reads {
            WalkerReads::L1d if self.memory.try_l1(walk.index, line, false) => self.spec.cache.l1d.latency,
            WalkerReads::L1d => {
                self.memory.access_after_try(walk.index, line, Access::Read, walk.clock.now).latency
            }
            WalkerReads::L2 => self.memory.read_l2(walk.index, line, walk.clock.now).latency,
        };
        walk.clock.walking(latency);
    }

    /// Where the host has a guest's table: looked up, or walked for.
    fn find_table(&mut self, walk: &mut Walk, table: Pfn) {
        let (Some(host), Some(caches)) = (&self.host, &mut self.cpus[walk.index].nested) else { return };
        walk.clock.walking(host.latency);
        let steps = caches.begin_table(host, table);
        if steps.is_cached() {
            return;
        }
        self.walk_host(walk, table, steps);
        if let (Some(host), Some(caches)) = (&self.host, &mut self.cpus[walk.index].nested) {
            caches.end_table(host, table);
        }
    }

    /// Where the host has the page that a walk leads to: walked for, as the TLBs are what caches it.
    fn find_page(&mut self, walk: &mut Walk, leaf: Leaf) -> Result<(), Stop> {
        let (Some(host), Some(caches)) = (&self.host, &mut self.cpus[walk.index].nested) else {
            return Ok(());
        };
        walk.clock.walking(host.latency);
        let inside = (walk.va.0 >> 12) & (leaf.size.pages() - 1);
        let page = Pfn(leaf.entry.pfn_at(leaf.level).0 + inside);
        let steps = caches.begin(host, page);
        let mapped = host.exit(page).is_none();
        self.walk_host(walk, page, steps);
        if mapped { Ok(()) } else { Err(Stop::Refused(Refusal::EptViolation(page))) }
    }

    /// Reads the entries of the second stage for a guest's frame.
    fn walk_host(&mut self, walk: &mut Walk, guest: Pfn, mut steps: NestedWalk) {
        while let (Some(host), Some(caches)) = (&self.host, &mut self.cpus[walk.index].nested)
            && let Some((level, line)) = steps.next(host, caches, guest)
        {
            self.measure.walk_counts.nested[level as usize] += 1;
            self.read_line(walk, line);
        }
    }

    /// A translation of the guest's as the TLBs hold it: to the host's frame, for a page of the smaller of the two sizes.
    pub(super) fn on_host(&self, va: VirtAddr, guest: TlbEntry) -> TlbEntry {
        let Some(host) = &self.host else { return guest };
        let piece = if host.size < guest.size { guest.split(va, host.size) } else { guest };
        TlbEntry { pfn: host.frame(piece.pfn), ..piece }
    }

    /// The host's line of a guest's.
    #[inline]
    pub(crate) fn host_line(&self, line: CacheLine) -> CacheLine {
        let Some(host) = &self.host else { return line };
        let at = line.addr();
        PhysAddr(host.frame(at.pfn()).addr().0 | at.0 & (PageSize::Size4K.bytes() - 1)).line()
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::PhysAddr;

    use super::*;
    use crate::mmu::tests::{ALL, START, machine, populated, put};

    /// What becomes of a walk if the leaf changes after it was read.
    fn changed(to: impl Fn(Entry) -> Entry) -> (Stop, Machine) {
        let mut m = populated(machine(&[]), 1);
        let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), ALL & !Entry::A & !Entry::D));
        let mut walk = m.new_walk(0, VirtAddr(START), AccessKind::Write, Mode::User, Time::ZERO);
        let leaf = m.descend(&mut walk).unwrap();
        m.tables.write(slot, to(leaf.entry));
        let stop = m.finish(&mut walk, leaf, false).unwrap_err();
        assert_eq!(m.tables.read(slot), to(leaf.entry), "nothing was set");
        assert!(m.cpus[0].tlbs.entries().next().is_none(), "nor cached");
        assert!(walk.clock.assist > Time::ZERO, "but the entry was read again");
        (stop, m)
    }

    fn code(result: Result<TlbEntry, Refusal>) -> u32 {
        match result {
            Err(Refusal::PageFault(code)) => code.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_that_changed_before_its_locked_update_is_looked_at_again() {
        let read_only = |e: Entry| Entry(e.0 & !Entry::RW);
        let elsewhere = |e: Entry| Entry::leaf(Pfn(10), e.0 & 0xfff);
        let access = (AccessKind::Write, Mode::User);
        let again = |m: &mut Machine| m.walk(0, VirtAddr(START), access, Time::ZERO, false).result;

        let (stop, mut m) = changed(|_| Entry::NONE);
        assert_eq!((stop, code(again(&mut m))), (Stop::Changed, 6), "gone");
        let (stop, mut m) = changed(read_only);
        assert_eq!((stop, code(again(&mut m))), (Stop::Changed, 7), "write-protected");
        let (stop, mut m) = changed(elsewhere);
        assert_eq!((stop, again(&mut m).unwrap().pfn), (Stop::Changed, Pfn(10)), "moved");
    }

    #[test]
    fn a_and_d_set_by_others_meanwhile_are_no_change() {
        let mut m = populated(machine(&[]), 1);
        let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), ALL & !Entry::A & !Entry::D));
        let mut walk = m.new_walk(0, VirtAddr(START), AccessKind::Read, Mode::User, Time::ZERO);
        let leaf = m.descend(&mut walk).unwrap();
        m.tables.write(slot, Entry::leaf(Pfn(9), ALL));
        assert!(m.finish(&mut walk, leaf, false).is_ok_and(|e| e.dirty));
        assert_eq!(m.measure.walk_counts.restarts, 0);
    }

    #[test]
    fn without_a_second_stage_a_line_is_its_own() {
        let m = machine(&[]);
        let line = PhysAddr(0x1234_5678).line();
        assert_eq!(m.host_line(line), line);
    }
}
