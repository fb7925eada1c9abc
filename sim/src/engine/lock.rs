//! Simulated locks: fair, first come first served, each on a cache line of its own.
//!
//! A lock's word lives in simulated memory, so taking one that another CPU used last costs the transfer of its line;
//! waiting for a held one costs the holder's time. Linux's queued spinlocks and rwsems are fair to within handoff
//! details that are below this model.

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
    line: CacheLine,
    readers: u32,
    writer: bool,
    queue: VecDeque<(usize, LockMode)>,
}

impl Lock {
    fn admits(&self, mode: LockMode) -> bool {
        match mode {
            LockMode::Shared => !self.writer,
            LockMode::Exclusive => !self.writer && self.readers == 0,
        }
    }

    fn take(&mut self, mode: LockMode) {
        match mode {
            LockMode::Shared => self.readers += 1,
            LockMode::Exclusive => self.writer = true,
        }
    }
}

/// All locks of a machine.
#[derive(Debug, Default)]
pub struct Locks(Vec<Lock>);

impl Locks {
    /// A new, free lock whose word is on `line`.
    pub fn create(&mut self, line: CacheLine) -> LockId {
        let id = LockId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Lock { line, readers: 0, writer: false, queue: VecDeque::new() });
        id
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
        if lock.queue.is_empty() && lock.admits(mode) {
            lock.take(mode);
            return true;
        }
        lock.queue.push_back((cpu, mode));
        false
    }

    /// Takes the lock for a caller that does not wait.
    pub(crate) fn try_acquire(&mut self, id: LockId, mode: LockMode) -> bool {
        let lock = &mut self.0[id.0 as usize];
        let free = lock.queue.is_empty() && lock.admits(mode);
        if free {
            lock.take(mode);
        }
        free
    }

    /// Gives the lock up; returns the CPUs that hold it from now on, in queue order.
    #[inline]
    pub(crate) fn release(&mut self, id: LockId, mode: LockMode) -> Vec<usize> {
        let lock = &mut self.0[id.0 as usize];
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
    /// Makes a blocked CPU ready at `time`; its wait is attributed to what it said when it blocked.
    pub(crate) fn wake(&mut self, index: usize, time: Time) -> Moment {
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
        let id = locks.create(CacheLine(1));
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
    }

    #[test]
    fn a_writer_that_becomes_a_reader_lets_the_readers_behind_it_in_but_no_writer() {
        let mut locks = Locks::default();
        let id = locks.create(CacheLine(1));
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
        let id = locks.create(CacheLine(1));
        assert!(locks.acquire(id, LockMode::Exclusive, 0));
        for cpu in 1..4 {
            assert!(!locks.acquire(id, LockMode::Shared, cpu));
        }
        assert_eq!(locks.release(id, LockMode::Exclusive), vec![1, 2, 3]);
    }
}
