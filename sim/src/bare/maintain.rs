//! TLB maintenance and the passing of time.

use daxsim_types::{Time, VirtAddr};
use thiserror::Error;

use super::Bare;
use crate::measure::Part;
use crate::mmu::invalidate::Invpcid;
use crate::mmu::rights::Control;

/// There is no such CPU.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("CPU {cpu} of {count}: expected one of the machine's, counted from 0")]
pub struct NoSuchCpu {
    /// The CPU.
    pub cpu: u16,
    /// CPUs of the machine.
    pub count: usize,
}

impl Bare {
    /// The index of a CPU, whose clock is brought near.
    pub(super) fn arrive(&mut self, cpu: u16) -> Result<usize, NoSuchCpu> {
        let (index, count) = (usize::from(cpu), self.cpus());
        if index >= count {
            return Err(NoSuchCpu { cpu, count });
        }
        self.come_near(index);
        Ok(index)
    }

    /// Does something that costs a CPU time, attributed to `part`; how much.
    pub(super) fn spending(&mut self, index: usize, part: Part, work: impl FnOnce(&mut Self)) -> Time {
        let core = &mut self.machine.cpus[index];
        let (begun, before) = (core.now, std::mem::replace(&mut core.part, part));
        work(self);
        let core = &mut self.machine.cpus[index];
        core.part = before;
        self.latest = self.latest.max(core.now);
        core.now - begun
    }

    /// INVLPG: the page goes under the current PCID, a global one under any, and all paging-structure entries of the PCID.
    /// Returns its cost.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn invlpg(&mut self, cpu: u16, va: u64) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        self.maintained[index].invlpg += 1;
        Ok(self.spending(index, Part::Flush, |bare| bare.machine.invlpg(index, VirtAddr(va))))
    }

    /// INVPCID of any type. Returns its cost.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn invpcid(&mut self, cpu: u16, what: Invpcid) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        let of_type = match what {
            Invpcid::Address(..) => 0,
            Invpcid::Context(_) => 1,
            Invpcid::AllWithGlobals => 2,
            Invpcid::All => 3,
        };
        self.maintained[index].invpcid[of_type] += 1;
        Ok(self.spending(index, Part::Flush, |bare| bare.machine.invpcid(index, what)))
    }

    /// MOV to CR3. `root` is what the host calls the address space: with a reader of guest memory the physical address of its
    /// root, else any number. Without `noflush` what is cached under the PCID goes, global pages aside. Returns its cost.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn mov_cr3(&mut self, cpu: u16, root: u64, pcid: u16, noflush: bool) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        self.maintained[index].cr3_writes += 1;
        let table = self.space(root);
        Ok(self
            .spending(index, Part::Flush, |bare| bare.machine.mov_cr3(index, table, pcid & 0xfff, noflush)))
    }

    /// Drops everything, global pages too, as Linux does without INVPCID: CR4.PGE cleared and set again (`native_flush_tlb_global`).
    /// Returns its cost.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn flush_all(&mut self, cpu: u16) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        self.maintained[index].full_flushes += 1;
        let old = self.machine.cpus[index].control;
        Ok(self.spending(index, Part::Flush, |bare| {
            bare.machine.mov_cr4(index, Control { pge: !old.pge, ..old });
            bare.machine.mov_cr4(index, old);
        }))
    }

    /// Lets a CPU execute instructions whose data hit the L1D. Returns their time.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn execute(&mut self, cpu: u16, mode: super::Mode, instructions: u64) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        let mut time = Time::ZERO;
        let mut left = instructions;
        while left > 0 {
            let some = u32::try_from(left).unwrap_or(u32::MAX);
            time += self.machine.cpus[index].instruction_time(some);
            left -= u64::from(some);
        }
        let counts = &mut self.counts[index][mode as usize];
        counts.instructions += instructions;
        counts.compute += time;
        Ok(self.spending(index, Part::User, |bare| bare.machine.cpus[index].spend(time)))
    }

    /// Lets a CPU be idle until a time; nothing if that is past.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn idle_until(&mut self, cpu: u16, time: Time) -> Result<(), NoSuchCpu> {
        let index = self.arrive(cpu)?;
        self.spending(index, Part::Idle, |bare| bare.machine.cpus[index].wait_until(time, Part::Idle));
        Ok(())
    }
}
