//! Cache lines of kernel objects: where they are, what they are, and how much CPUs wait for one another because of them.

use daxsim_types::{CacheLine, LINE_BYTES, PhysAddr, Time};

use crate::engine::LockClass;
use crate::machine::Machine;
use crate::memory::{Level, Outcome};

/// What a line of the kernel's holds, by the name that the kernel has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineName {
    /// The word of a lock.
    Lock(LockClass),
    /// `mmap_lock.owner`, which `mm_struct` keeps off the line of the count, and `mm_lock_seq` behind it.
    MmapOwner,
    /// `mm->context.tlb_gen` (spec 7.1: Lgen).
    TlbGen,
    /// `mm_cpumask` (Lmask).
    CpuMask,
    /// `mm->tlb_flush_pending`.
    FlushPending,
    /// `cpu_tlbstate_shared` (Llz).
    TlbState,
    /// `cpu_tlbstate`.
    OwnTlbState,
    /// `call_single_queue`.
    CallQueue,
    /// The csd of a pair of CPUs (Lcsd), and `flush_tlb_info`.
    CallData,
    /// `p->pi_lock` of the thread of a CPU.
    Task,
    /// The thread flags of a CPU's idle task, which it polls.
    IdleFlags,
    /// The table of remote action requests.
    RemoteActions,
    /// States of lazy flushes.
    LazyStates,
    /// `resource_lock` (Lres).
    Resource,
    /// `j_state_lock` of jbd2 (Ljs).
    JournalState,
    /// Counters of the running transaction (Ljt).
    Transaction,
    /// The extent status tree of a file (Les).
    ExtentStatus,
    /// Heads of the LRU lists.
    LruList,
    /// `memory.usage` of a memory cgroup.
    MemcgUsage,
    /// A CPU's part of `dev_pagemap.ref`.
    PagemapRef,
    /// A `struct page` (Lpg, Lpg1, Lzero).
    StructPage,
    /// Entries of a page table (Lpte).
    PageTableEntries,
    /// What has no name of its own.
    Other,
}

impl LineName {
    /// Names without those of locks.
    const OTHERS: usize = 22;
    /// Every name has its own.
    const COUNT: usize = LockClass::ALL.len() + Self::OTHERS;

    /// Its place among all, in their order.
    const fn index(self) -> usize {
        let other = match self {
            Self::Lock(class) => return class as usize,
            Self::MmapOwner => 0,
            Self::TlbGen => 1,
            Self::CpuMask => 2,
            Self::FlushPending => 3,
            Self::TlbState => 4,
            Self::OwnTlbState => 5,
            Self::CallQueue => 6,
            Self::CallData => 7,
            Self::Task => 8,
            Self::IdleFlags => 9,
            Self::RemoteActions => 10,
            Self::LazyStates => 11,
            Self::Resource => 12,
            Self::JournalState => 13,
            Self::Transaction => 14,
            Self::ExtentStatus => 15,
            Self::LruList => 16,
            Self::MemcgUsage => 17,
            Self::PagemapRef => 18,
            Self::StructPage => 19,
            Self::PageTableEntries => 20,
            Self::Other => 21,
        };
        LockClass::ALL.len() + other
    }

    /// Name for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lock(class) => class.name(),
            Self::MmapOwner => "mmap_lock.owner",
            Self::TlbGen => "tlb_gen",
            Self::CpuMask => "mm_cpumask",
            Self::FlushPending => "tlb_flush_pending",
            Self::TlbState => "cpu_tlbstate_shared",
            Self::OwnTlbState => "cpu_tlbstate",
            Self::CallQueue => "call_single_queue",
            Self::CallData => "call_single_data",
            Self::Task => "pi_lock",
            Self::IdleFlags => "idle_thread_flags",
            Self::RemoteActions => "remote_action_table",
            Self::LazyStates => "lazy_flush_states",
            Self::Resource => "resource_lock",
            Self::JournalState => "j_state_lock",
            Self::Transaction => "t_handle",
            Self::ExtentStatus => "i_es_lock",
            Self::LruList => "lru_list",
            Self::MemcgUsage => "memcg_usage",
            Self::PagemapRef => "dev_pagemap_ref",
            Self::StructPage => "struct_page",
            Self::PageTableEntries => "page_table_entries",
            Self::Other => "other",
        }
    }
}

/// How often the kernel took the lines of a name from other CPUs, and how long it waited for them to arrive there first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineUse {
    /// Accesses that got the line, or the right to write it, from another core.
    pub transfers: u64,
    /// Accesses that found the line under way to another core.
    pub contended: u64,
    /// How long it was, all together: what it took to come from there is not in it.
    pub waited: Time,
    /// What all of these accesses took, the waits included.
    pub took: Time,
}

impl LineUse {
    fn count(&mut self, outcome: Outcome) {
        self.transfers += u64::from(outcome.level == Level::Transfer);
        self.contended += u64::from(outcome.waited > Time::ZERO);
        self.waited += outcome.waited;
        self.took += outcome.latency;
    }
}

/// What became of the lines of each name. An array, as most accesses of a shootdown count.
#[derive(Clone, Debug)]
pub struct LineUses([Option<(LineName, LineUse)>; LineName::COUNT]);

impl Default for LineUses {
    fn default() -> Self {
        Self([None; LineName::COUNT])
    }
}

impl LineUses {
    /// The names whose lines were taken from another CPU, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (LineName, LineUse)> {
        self.0.iter().copied().flatten()
    }

    #[inline]
    fn count(&mut self, name: LineName, outcome: Outcome) {
        self.0[name.index()].get_or_insert((name, LineUse::default())).1.count(outcome);
    }
}

/// Hands out lines of simulated DRAM for kernel objects, so that each lock and counter has an address of its own.
#[derive(Debug)]
pub struct KernelLines {
    next: u64,
    end: u64,
    start: u64,
    /// Of the lines from `start` on. One that is shared keeps its first name.
    names: Vec<LineName>,
    /// Runs of reserved lines: the first, how many, what.
    reserved: Vec<(CacheLine, u64, LineName)>,
}

impl KernelLines {
    /// Lines of the DRAM range `start..end` (bytes).
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        Self { next: start, start, end: end.max(start + 64), names: Vec::new(), reserved: Vec::new() }
    }

    /// As many lines in a row, from the end of the range; at most half of it: where that is less, they are shared. The first and how
    /// many there are.
    pub fn reserve(&mut self, count: u64, name: LineName) -> (CacheLine, u64) {
        let count = count.min((self.end - self.start) / LINE_BYTES / 2).max(1);
        self.end = (self.end - count * LINE_BYTES).max(self.start + LINE_BYTES);
        let first = PhysAddr(self.end).line();
        self.reserved.push((first, count, name));
        (first, count)
    }

    /// A line that no other object uses (until the range is exhausted, after which lines are shared).
    pub fn fresh(&mut self, name: LineName) -> CacheLine {
        let line = PhysAddr(self.next).line();
        if self.names.len() as u64 == (self.next - self.start) / LINE_BYTES {
            self.names.push(name);
        }
        self.next += LINE_BYTES;
        if self.next >= self.end {
            self.next = self.start;
        }
        line
    }

    /// What a line holds, if it was handed out.
    fn name(&self, line: CacheLine) -> Option<LineName> {
        let at = line.0.checked_sub(self.start / LINE_BYTES)?;
        if let Some(name) = self.names.get(at as usize) {
            return Some(*name);
        }
        let runs = self.reserved.iter();
        runs.rev().find(|(first, count, _)| (first.0..first.0 + count).contains(&line.0)).map(|run| run.2)
    }
}

impl Machine {
    /// Counts a kernel access to `line` (of the guest, if there is a host) that came from another core, or had to wait for one.
    #[inline]
    pub(crate) fn count_line_use(&mut self, line: CacheLine, outcome: Outcome) {
        if outcome.level == Level::Transfer || outcome.waited > Time::ZERO {
            self.count_taken_line(line, outcome);
        }
    }

    fn count_taken_line(&mut self, line: CacheLine, outcome: Outcome) {
        let name = self.line_name(line);
        self.measure.lines.count(name, outcome);
    }

    /// What a line holds.
    pub(crate) fn line_name(&self, line: CacheLine) -> LineName {
        if let Some(name) = self.lines.name(line) {
            return name;
        }
        if let Some(pfn) = self.pages.frame_of(line) {
            let table = self.tables.holds(pfn);
            return if table { LineName::Lock(LockClass::PageTable) } else { LineName::StructPage };
        }
        if self.tables.holds(line.addr().pfn()) { LineName::PageTableEntries } else { LineName::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_distinct_until_the_range_is_used_up() {
        let mut lines = KernelLines::new(0x1000, 0x1000 + 3 * 64);
        let got: Vec<u64> = (0..4).map(|_| lines.fresh(LineName::Other).0).collect();
        assert_eq!(got, [64, 65, 66, 64]);
    }

    #[test]
    fn reserved_lines_are_nobody_elses() {
        let mut lines = KernelLines::new(0x1000, 0x1000 + 8 * 64);
        assert_eq!(lines.reserve(3, LineName::CallData), (CacheLine(69), 3));
        let got: Vec<u64> = (0..6).map(|_| lines.fresh(LineName::Other).0).collect();
        assert_eq!(got, [64, 65, 66, 67, 68, 64]);
        assert_eq!(lines.reserve(100, LineName::CallData), (CacheLine(67), 2), "half of what there is");
    }

    #[test]
    fn uses_are_counted_by_name_and_come_out_in_the_order_of_the_names() {
        let transfer = |ns| Outcome::of(Time::from_ns(ns), Level::Transfer);
        let mut uses = LineUses::default();
        let mut names = vec![LineName::Other, LineName::TlbGen, LineName::MmapOwner];
        names.extend(LockClass::ALL.map(LineName::Lock));
        let again = [LineName::Other, LineName::MmapOwner];
        for name in names.iter().chain(&again) {
            uses.count(*name, transfer(10));
        }
        let twice = |name: LineName| 1 + u64::from(again.contains(&name));
        names.sort_unstable();
        let counted: Vec<_> = uses.iter().map(|(name, used)| (name, used.transfers, used.took)).collect();
        let expected = names.iter().map(|name| (*name, twice(*name), Time::from_ns(10 * twice(*name))));
        assert_eq!(counted, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_line_has_the_name_that_it_was_handed_out_for() {
        let mut lines = KernelLines::new(0x1000, 0x1000 + 8 * 64);
        let (first, _) = lines.reserve(2, LineName::CallData);
        let (one, other) = (lines.fresh(LineName::TlbGen), lines.fresh(LineName::CpuMask));
        let names = [one, other, CacheLine(first.0 + 1), CacheLine(other.0 + 1), CacheLine(3)];
        let expected =
            [Some(LineName::TlbGen), Some(LineName::CpuMask), Some(LineName::CallData), None, None];
        assert_eq!(names.map(|line| lines.name(line)), expected);
    }
}
