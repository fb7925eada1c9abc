//! Threads that sleep until another CPU wakes them (`kernel/sched/core.c`).

use daxsim_types::{CacheLine, CpuId};

use super::lines::{KernelLines, LineName};
use super::mm::MmId;
use crate::machine::Machine;
use crate::measure::Part;
use crate::memory::Access;

/// Lines that who wakes a thread shares with its CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SleeperLines {
    task: CacheLine,
    idle_flags: CacheLine,
}

impl SleeperLines {
    /// Those of one CPU.
    pub fn new(lines: &mut KernelLines) -> Self {
        Self { task: lines.fresh(LineName::Task), idle_flags: lines.fresh(LineName::IdleFlags) }
    }
}

impl Machine {
    /// `try_to_wake_up` by the CPU `index` of the thread that sleeps on `sleeper`: under `pi_lock` it goes into the queue of the CPU
    /// (`ttwu_queue_wakelist`), whose idle task polls its flags (`set_nr_if_polling`).
    pub(crate) fn try_to_wake_up(&mut self, index: usize, sleeper: usize) {
        let (lines, part) = (self.sleepers[sleeper], self.cpus[index].part);
        let queue = self.call_lines.queue(CpuId(sleeper as u16));
        self.cpus[index].work(self.kernel.ask(|k| k.path_length.common.wake_up));
        for line in [lines.task, queue, lines.idle_flags] {
            self.kernel_access_as(index, line, Access::Rmw, part);
        }
    }

    /// The thread of a CPU runs again once it was woken: the CPU leaves its idle state and switches to it.
    pub(crate) fn run_again(&mut self, index: usize, mm: MmId) {
        let (lines, exit) = (self.sleepers[index], self.spec.cpu.idle_exit);
        let queue = self.call_lines.queue(CpuId(index as u16));
        self.kernel_access_as(index, lines.idle_flags, Access::Rmw, Part::Locks);
        self.kernel_access_as(index, queue, Access::Rmw, Part::Locks);
        self.kernel_access_as(index, lines.task, Access::Write, Part::Locks);
        self.cpus[index].spend_as(Part::Locks, exit);
        self.run_on(CpuId(index as u16), mm);
    }
}
