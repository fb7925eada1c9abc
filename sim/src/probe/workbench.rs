//! A machine with one program on its first CPU, and what its counters say before and after.

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CpuClock, CpuId, FileSystem, PageSize, Time, VirtAddr};

use super::ProbeError;
use crate::kernel::mm::MmId;
use crate::program::{Access, Accesses, Action, Step};
use crate::{Machine, Simulation};

/// Where the memory of a probe begins: aligned to any page size.
pub(super) const START: VirtAddr = VirtAddr(0x1000_0000_0000);

const CPU: CpuId = CpuId(0);

/// Counts so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub time: Time,
    pub dtlb_misses: u64,
    pub walks: u64,
    pub walk_references: u64,
    pub l1d_misses: u64,
    pub l2_misses: u64,
    pub l3_misses: u64,
}

impl Counts {
    fn of(machine: &Machine) -> Self {
        let cpu = &machine.cpus[CPU.index()];
        let memory = machine.memory.stats();
        let stats = cpu.tlbs.stats();
        // Loads and stores may have first-level TLBs of their own.
        let first = stats.iter().filter(|(name, _)| ["dtlb", "dtlb_store"].contains(name));
        Self {
            time: cpu.now,
            dtlb_misses: first.map(|(_, stats)| stats.misses).sum(),
            walks: machine.measure.walks,
            walk_references: machine.measure.walk_references,
            l1d_misses: memory.l1d.misses,
            l2_misses: memory.l2.misses,
            l3_misses: memory.l3.misses,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            time: self.time.saturating_sub(before.time),
            dtlb_misses: self.dtlb_misses - before.dtlb_misses,
            walks: self.walks - before.walks,
            walk_references: self.walk_references - before.walk_references,
            l1d_misses: self.l1d_misses - before.l1d_misses,
            l2_misses: self.l2_misses - before.l2_misses,
            l3_misses: self.l3_misses - before.l3_misses,
        }
    }
}

/// The machine and the program.
pub(super) struct Workbench {
    pub sim: Simulation,
    pub mm: MmId,
    pub clock: CpuClock,
}

impl Workbench {
    /// A program with `bytes` at [`START`], in pages of `page`.
    pub fn new(
        machine: &MachineSpec,
        kernel: &KernelSpec,
        bytes: u64,
        page: PageSize,
    ) -> Result<Self, ProbeError> {
        let clock = machine.cpu.clock;
        let sim = Simulation::new(machine.clone(), kernel.clone(), FileSystem::Ext4, false);
        let mm = sim.with(|m| {
            let mm = m.new_mm();
            m.map_populated(mm, START, bytes, page).map(|()| mm)
        })?;
        sim.place(CPU, mm)?;
        Ok(Self { sim, mm, clock })
    }

    /// Makes accesses, each of which waits for the one before; what they cost.
    pub fn run(
        &mut self,
        accesses: impl Iterator<Item = (VirtAddr, AccessKind)> + Send + 'static,
    ) -> Result<Counts, ProbeError> {
        let before = self.sim.with(|m| Counts::of(m));
        let one_by_one = accesses.map(|(va, kind)| Access { va, kind, dependent: true, work: 0 });
        let action = Action::Access(Accesses::Stream(Box::new(one_by_one)));
        self.sim.step(Step { line: 1, thread: 0, cpu: CPU, mm: Some(self.mm), action })?;
        Ok(self.sim.with(|m| Counts::of(m)).since(before))
    }

    /// The kernel makes the first `len` bytes old.
    pub fn clear_young(&mut self, len: u64) -> Result<(), ProbeError> {
        let action = Action::ClearYoung { mm: self.mm, start: START.0, len };
        self.sim.step(Step { line: 1, thread: 0, cpu: CPU, mm: Some(self.mm), action })?;
        Ok(())
    }

    /// The CPU's TLBs and paging-structure caches lose everything, as by a write of CR4.PGE. No time passes.
    pub fn flush(&mut self) {
        self.sim.with(|m| {
            let cpu = &mut m.cpus[CPU.index()];
            cpu.tlbs.flush_all(true);
            cpu.psc.flush_all();
        });
    }

    /// A time in cycles of the core.
    pub fn cycles(&self, time: Time) -> f64 {
        time.0 as f64 / self.clock.period_ps() as f64
    }
}
