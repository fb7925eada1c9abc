//! Nobody holds, waits or owes anything.

use daxsim_types::CpuId;

use super::Inconsistency;
use crate::apic::Vector;
use crate::cpu::{Cpu, RunState};
use crate::machine::Machine;

impl Machine {
    /// No CPU works or waits, every lock is free, no count of work under way is left.
    pub(super) fn check_rest(&self) -> Result<(), Inconsistency> {
        for (index, cpu) in self.cpus.iter().enumerate() {
            if let Some(what) = unrest(cpu) {
                return Err(Inconsistency::Busy { cpu: CpuId(index as u16), what });
            }
        }
        match self.left_behind() {
            Some((what, which)) => Err(Inconsistency::LeftBehind { what, which }),
            None => Ok(()),
        }
    }

    fn left_behind(&self) -> Option<(&'static str, u64)> {
        if !self.rar.is_idle() {
            return Some(("remote action requests", 0));
        }
        if let Some(lock) = self.locks.first_in_use() {
            return Some(("a lock in use", lock.number()));
        }
        if let Some(pfn) = self.pages.first_waited_for() {
            return Some(("a wait for a page", pfn.0));
        }
        if let Some(mm) = self.mms.iter().find(|mm| mm.gathers > 0) {
            return Some(("an unmapping under way in mm", u64::from(mm.id.0)));
        }
        self.files.iter().find_map(|file| {
            let waited = file.entries.first_waited_for();
            let locked = file.entries.iter().find(|(_, entry)| entry.locked);
            // A copy on write tags what it copied for the next writeback.
            let tagged = file.entries.iter().find(|(_, entry)| entry.towrite && !file.reflink);
            let cow = file.cow.iter().next();
            waited
                .map(|page| ("a wait for the DAX entry of page", page))
                .or(locked.map(|(page, _)| ("the lock of the DAX entry of page", page)))
                .or(tagged.map(|(page, _)| ("the writeback tag of the DAX entry of page", page)))
                .or(cow.map(|(page, ..)| ("the copy-on-write extent of page", page)))
                .or(file.remapping.then_some(("a clone under way of a file of", file.size)))
                .or(file.leaving.first().map(|(_, vma)| ("a mapping taken away", vma.start)))
        })
    }
}

fn unrest(cpu: &Cpu) -> Option<&'static str> {
    match cpu.state {
        RunState::Blocked(_) => return Some("it waits for another"),
        RunState::Asleep(_) => return Some("its thread sleeps"),
        RunState::Ready | RunState::Parked => {}
    }
    let owes = [
        (!cpu.irqs_on, "its interrupts are off"),
        (cpu.inbox.iter().any(|i| i.vector != Vector::LazySweep), "an interrupt was not taken"),
        (!cpu.call_queue.is_empty(), "a call from another was not made"),
        (cpu.pending_answers > 0, "answers to a shootdown are missing"),
        (!cpu.broadcasts.is_empty(), "TLBSYNC is missing"),
    ];
    owes.into_iter().find(|(is_so, _)| *is_so).map(|(_, what)| what)
}
