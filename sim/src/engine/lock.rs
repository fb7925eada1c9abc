//! Simulated locks: fair, first come first served, each on a cache line of its own.
//!
//! A lock's word lives in simulated memory, so taking one that another CPU used last costs the transfer of its line;
//! waiting for a held one costs the holder's time. Linux's queued spinlocks and rwsems are fair to within handoff
//! details that are below this model. Who waits spins, but for a reader of an `rw_semaphore`: it sleeps
//! (`rwsem_down_read_slowpath`), and is woken by who lets it in.

use std::collections::VecDeque;

use daxsim_types::{CacheLine, Time};

use super::Moment;
use crate::cpu::RunState;
use crate::machine::Machine;
use crate::measure::Part;

/// Handle of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockId(u32);

impl LockId {
    /// Which lock, in order of creation.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.0)
    }
}

/// What a lock is, by the name that the kernel has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LockClass {
    /// `ptdesc.ptl` of a page table (spec 7.1: Lptl).
    PageTable,
    /// `page_table_lock` of an address space, which guards its PMDs.
    Pmd,
    /// `mmap_lock`.
    Mmap,
    /// `vma->vm_lock`.
    Vma,
    /// `mapping->invalidate_lock`.
    Invalidate,
    /// `i_pages.xa_lock`.
    XArray,
    /// `i_mmap_rwsem`.
    IMmap,
    /// The lock of a file's extents: `i_data_sem` of ext4, `i_lock` of XFS.
    Extents,
    /// `memtype_lock`.
    Memtype,
    /// `global_asid_lock`.
    GlobalAsid,
    /// `lruvec->lru_lock`.
    Lru,
    /// `zone->lock`.
    Zone,
    /// The lock bit of a DAX entry, which is waited for in a queue of its own.
    DaxEntry,
}

impl LockClass {
    /// Every class, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::PageTable,
        Self::Pmd,
        Self::Mmap,
        Self::Vma,
        Self::Invalidate,
        Self::XArray,
        Self::IMmap,
        Self::Extents,
        Self::Memtype,
        Self::GlobalAsid,
        Self::Lru,
        Self::Zone,
        Self::DaxEntry,
    ];

    /// Name for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PageTable => "page_table",
            Self::Pmd => "pmd",
            Self::Mmap => "mmap_lock",
            Self::Vma => "vma_lock",
            Self::Invalidate => "invalidate_lock",
            Self::XArray => "xa_lock",
            Self::IMmap => "i_mmap_rwsem",
            Self::Extents => "extents",
            Self::Memtype => "memtype_lock",
            Self::GlobalAsid => "global_asid_lock",
            Self::Lru => "lru_lock",
            Self::Zone => "zone_lock",
            Self::DaxEntry => "dax_entry",
        }
    }

    /// Whether it is an `rw_semaphore`, whose release is a locked operation as its taking is. A spinlock's is a store
    /// (`queued_spin_unlock`).
    #[must_use]
    pub const fn is_rwsem(self) -> bool {
        matches!(self, Self::Mmap | Self::Vma | Self::Invalidate | Self::IMmap | Self::Extents)
    }
}

/// How often the locks of a class were taken, and how long they were waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockUse {
    /// Times that one was taken, after a wait or without one.
    pub acquisitions: u64,
    /// Of these, those that had to wait.
    pub contended: u64,
    /// The waits. The transfer of a lock's line is memory time.
    pub waited: Time,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

#[derive(Debug)]
struct Lock {
    class: LockClass,
    line: CacheLine,
    /// Where the owner is noted, if it is.
    owner: Option<CacheLine>,
    readers: u32,
    writer: bool,
    queue: VecDeque<(usize, LockMode)>,
    /// Times that its word changed.
    changes: u64,
}

impl Lock {
    fn admits(&self, mode: LockMode) -> bool {
        match mode {
            LockMode::Shared => !self.writer,
            LockMode::Exclusive => !self.writer && self.readers == 0,
        }
    }

    fn take(&mut self, mode: LockMode) {
        self.changes += 1;
        match mode {
            LockMode::Shared => self.readers += 1,
            LockMode::Exclusive => self.writer = true,
        }
    }
}

/// All locks of a machine.
#[derive(Debug, Default)]
pub struct Locks(Vec<Lock>, [LockUse; LockClass::ALL.len()]);

impl Locks {
    /// A new, free lock whose word is on `line`.
    pub fn create(&mut self, class: LockClass, line: CacheLine) -> LockId {
        self.create_split(class, line, None)
    }

    /// The same of one that says on the line `owner` who has it: whoever takes it stores there, too.
    pub fn create_split(&mut self, class: LockClass, line: CacheLine, owner: Option<CacheLine>) -> LockId {
        let id = LockId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Lock {
            class,
            line,
            owner,
            readers: 0,
            writer: false,
            queue: VecDeque::new(),
            changes: 0,
        });
        id
    }

    /// The line of the lock's owner, if it has one.
    pub(crate) fn owner_line(&self, id: LockId) -> Option<CacheLine> {
        self.0[id.0 as usize].owner
    }

    /// How often the lock's word has changed.
    pub(crate) fn changes(&self, id: LockId) -> u64 {
        self.0[id.0 as usize].changes
    }

    /// What kind of lock it is.
    pub(crate) fn class(&self, id: LockId) -> LockClass {
        self.0[id.0 as usize].class
    }

    /// Counts a wait for a lock.
    pub(crate) fn waited(&mut self, id: LockId, time: Time) {
        let class = self.0[id.0 as usize].class;
        self.1[class as usize].waited += time;
    }

    /// Counts a DAX entry that was locked.
    pub(crate) fn had_dax_entry(&mut self) {
        self.1[LockClass::DaxEntry as usize].acquisitions += 1;
    }

    /// Counts a wait for a DAX entry.
    pub(crate) fn waited_for_dax_entry(&mut self, time: Time) {
        let used = &mut self.1[LockClass::DaxEntry as usize];
        used.contended += 1;
        used.waited += time;
    }

    /// What became of each class of locks that was used.
    pub fn uses(&self) -> impl Iterator<Item = (LockClass, LockUse)> {
        let used = |class: LockClass| (class, self.1[class as usize]);
        LockClass::ALL.into_iter().map(used).filter(|(_, used)| used.acquisitions > 0)
    }

    /// The line of the lock's word.
    #[must_use]
    pub fn line(&self, id: LockId) -> CacheLine {
        self.0[id.0 as usize].line
    }

    /// The first lock that somebody holds or queues for, if there is one.
    #[must_use]
    pub fn first_in_use(&self) -> Option<LockId> {
        let used = |lock: &Lock| lock.writer || lock.readers > 0 || !lock.queue.is_empty();
        self.0.iter().position(used).map(|at| LockId(at as u32))
    }

    /// Takes the lock for `cpu` if it is free and nobody queues; otherwise queues the CPU and returns false.
    pub(crate) fn acquire(&mut self, id: LockId, mode: LockMode, cpu: usize) -> bool {
        let lock = &mut self.0[id.0 as usize];
        let used = &mut self.1[lock.class as usize];
        used.acquisitions += 1;
        if lock.queue.is_empty() && lock.admits(mode) {
            lock.take(mode);
            return true;
        }
        used.contended += 1;
        lock.queue.push_back((cpu, mode));
        false
    }

    /// Takes the lock for a caller that does not wait.
    pub(crate) fn try_acquire(&mut self, id: LockId, mode: LockMode) -> bool {
        let lock = &mut self.0[id.0 as usize];
        let free = lock.queue.is_empty() && lock.admits(mode);
        if free {
            self.1[lock.class as usize].acquisitions += 1;
            lock.take(mode);
        }
        free
    }

    /// Gives the lock up; returns the CPUs that hold it from now on, in queue order.
    #[inline]
    pub(crate) fn release(&mut self, id: LockId, mode: LockMode) -> Vec<usize> {
        let lock = &mut self.0[id.0 as usize];
        lock.changes += 1;
        match mode {
            LockMode::Shared => lock.readers = lock.readers.saturating_sub(1),
            LockMode::Exclusive => lock.writer = false,
        }
        if lock.queue.is_empty() { Vec::new() } else { lock.admit_queued() }
    }

    /// `downgrade_write`: the writer goes on as a reader, and readers in front of the queue come in beside it. Returns them.
    pub(crate) fn demote(&mut self, id: LockId) -> Vec<usize> {
        let lock = &mut self.0[id.0 as usize];
        lock.writer = false;
        lock.readers += 1;
        lock.admit_queued()
    }
}

impl Lock {
    /// Lets in who stands in front of the queue and fits.
    fn admit_queued(&mut self) -> Vec<usize> {
        let mut admitted = Vec::new();
        while let Some(&(cpu, wanted)) = self.queue.front() {
            if !self.admits(wanted) {
                break;
            }
            self.take(wanted);
            self.queue.pop_front();
            admitted.push(cpu);
        }
        admitted
    }
}

impl Machine {
    /// Counts the wait of a CPU for a lock that another one hands over, before it is woken.
    pub(crate) fn count_lock_wait(&mut self, holder: usize, waiter: usize, id: LockId) {
        let waited = self.cpus[holder].now.saturating_sub(self.cpus[waiter].now);
        self.locks.waited(id, waited);
    }

    /// Makes a blocked CPU ready at `time`; its wait is attributed to what it said when it blocked.
    pub(crate) fn wake(&mut self, index: usize, time: Time) -> Moment {
        self.turns.change(index);
        let cpu = &mut self.cpus[index];
        if let RunState::Blocked(part) = cpu.state {
            cpu.wait_until(time, part);
            cpu.state = RunState::Ready;
        }
        Moment { time: cpu.now, cpu: index }
    }

    /// Wakes the CPU of `moment` if it sleeps until then.
    pub(crate) fn wake_sleeper(&mut self, moment: Moment) {
        let cpu = &mut self.cpus[moment.cpu];
        if let RunState::Asleep(until) = cpu.state
            && until <= moment.time
        {
            cpu.wait_until(until, Part::Idle);
            cpu.state = RunState::Ready;
        }
    }

    /// Blocks a CPU until it is woken.
    pub(crate) fn block(&mut self, index: usize, part: Part) {
        self.cpus[index].state = RunState::Blocked(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_queued_writer_holds_later_readers_back() {
        let mut locks = Locks::default();
        let id = locks.create(LockClass::Mmap, CacheLine(1));
        assert!(locks.acquire(id, LockMode::Shared, 0));
        assert!(locks.acquire(id, LockMode::Shared, 1));
        assert!(!locks.acquire(id, LockMode::Exclusive, 2));
        assert!(!locks.acquire(id, LockMode::Shared, 3));
        assert!(!locks.try_acquire(id, LockMode::Shared));
        assert_eq!(locks.release(id, LockMode::Shared), Vec::<usize>::new());
        assert_eq!(locks.release(id, LockMode::Shared), vec![2]);
        assert_eq!(locks.release(id, LockMode::Exclusive), vec![3]);
        assert_eq!(locks.release(id, LockMode::Shared), Vec::<usize>::new());
        assert!(locks.try_acquire(id, LockMode::Exclusive));
        let (taken, waited) = (2 + 2 + 1, 2);
        let used = LockUse { acquisitions: taken, contended: waited, waited: Time::ZERO };
        assert_eq!(locks.uses().collect::<Vec<_>>(), [(LockClass::Mmap, used)]);
    }

    #[test]
    fn a_writer_that_becomes_a_reader_lets_the_readers_behind_it_in_but_no_writer() {
        let mut locks = Locks::default();
        let id = locks.create(LockClass::Mmap, CacheLine(1));
        assert!(locks.acquire(id, LockMode::Exclusive, 0));
        assert!(!locks.acquire(id, LockMode::Shared, 1));
        assert!(!locks.acquire(id, LockMode::Exclusive, 2));
        assert_eq!(locks.demote(id), vec![1]);
        assert_eq!(locks.release(id, LockMode::Shared), Vec::<usize>::new());
        assert_eq!(locks.release(id, LockMode::Shared), vec![2]);
    }

    #[test]
    fn a_burst_of_readers_is_admitted_together() {
        let mut locks = Locks::default();
        let id = locks.create(LockClass::Mmap, CacheLine(1));
        assert!(locks.acquire(id, LockMode::Exclusive, 0));
        for cpu in 1..4 {
            assert!(!locks.acquire(id, LockMode::Shared, cpu));
        }
        assert_eq!(locks.release(id, LockMode::Exclusive), vec![1, 2, 3]);
    }
}
