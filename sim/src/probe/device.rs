//! Physical memory of one kind, and cores that go through it line by line.

use std::pin::Pin;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, CpuId, FileSystem, LINE_BYTES};

use super::ProbeError;
use crate::SimError;
use crate::engine::{Cx, Lines, Sys, Task, run};
use crate::machine::Machine;
use crate::memory::DeviceStats;

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Medium {
    /// Persistent memory.
    Pmem,
    /// Main memory.
    Dram,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// By non-temporal stores of whole lines.
    NonTemporal,
    /// By stores, each with a CLWB after it.
    Clwb,
}

/// Refuses bytes that are no multiple of `unit`, or none.
pub(super) fn check_whole(what: &'static str, bytes: u64, unit: u64) -> Result<(), ProbeError> {
    if bytes == 0 || !bytes.is_multiple_of(unit) {
        return Err(ProbeError::NotWhole { what, bytes, unit });
    }
    Ok(())
}

/// A machine, and a range of its memory that belongs to one socket.
pub(super) struct Device {
    pub sys: Sys,
    medium: Medium,
    first: u64,
    lines: u64,
}

impl Device {
    /// An idle machine; `remote`: the memory of the last socket rather than the first.
    pub fn new(
        machine: &MachineSpec,
        kernel: &KernelSpec,
        medium: Medium,
        remote: bool,
    ) -> Result<Self, ProbeError> {
        let sockets = u64::from(machine.topology.sockets.max(1));
        if remote && sockets < 2 {
            return Err(ProbeError::OneSocket);
        }
        let (base, capacity) = match medium {
            Medium::Pmem => (machine.pmem.base, machine.pmem.capacity),
            Medium::Dram => (0, machine.dram.capacity),
        };
        let lines = (capacity / LINE_BYTES).div_ceil(sockets);
        let socket = if remote { sockets - 1 } else { 0 };
        let sys = Sys::new(Machine::new(machine.clone(), kernel.clone(), FileSystem::Ext4));
        Ok(Self { sys, medium, first: base / LINE_BYTES + socket * lines, lines })
    }

    /// Bytes that there are.
    pub const fn bytes(&self) -> u64 {
        self.lines * LINE_BYTES
    }

    /// Refuses what does not fit.
    pub fn check_room(&self, bytes: u64) -> Result<(), ProbeError> {
        let room = self.bytes();
        if bytes > room { Err(ProbeError::NoRoom { bytes, room }) } else { Ok(()) }
    }

    /// The line at an offset in bytes.
    pub const fn line(&self, offset: u64) -> CacheLine {
        CacheLine(self.first + offset / LINE_BYTES)
    }

    /// Runs the work of the cores from 0 on.
    pub fn run<'s>(&'s self, works: Vec<Pin<Box<dyn Future<Output = ()> + 's>>>) -> Result<(), ProbeError> {
        let tasks = works.into_iter().zip(0..).map(|(work, cpu)| Task { cpu: CpuId(cpu), work }).collect();
        run(&self.sys, tasks).map_err(SimError::from)?;
        Ok(())
    }

    /// The lines of a core.
    pub fn lines(&self, cpu: u16) -> Lines<'_> {
        Lines::new(Cx::new(&self.sys, CpuId(cpu)))
    }

    /// Bytes written to the media for each that was written since the counters were `before`; 0 if nothing was.
    pub fn write_amplification_since(&self, before: &DeviceStats) -> f64 {
        let after = self.stats();
        let written = after.bytes_written - before.bytes_written;
        let media = after.media_bytes_written - before.media_bytes_written;
        media as f64 / written.max(1) as f64
    }

    /// The counters of the memory.
    pub fn stats(&self) -> DeviceStats {
        let stats = self.sys.with(|m| m.memory.stats());
        match self.medium {
            Medium::Pmem => stats.pmem,
            Medium::Dram => stats.dram,
        }
    }
}

impl Lines<'_> {
    /// Writes a line.
    pub(super) async fn write(&mut self, line: CacheLine, store: Store) {
        match store {
            Store::NonTemporal => self.nt_store(line).await,
            Store::Clwb => {
                self.store(line).await;
                self.clwb(line).await;
            }
        }
    }
}
