//! The machine without its kernel: whoever calls decides what is accessed, invalidated and interrupted.
//!
//! A host (an emulator, a tracer, a test) has software of its own that runs. It says of each access which CPU made it, with its
//! virtual and its physical address; [`Bare`] says what that costs on the simulated machine. Translations go through the TLBs;
//! a miss walks real entries through paging-structure caches and caches; data go through the caches to the controllers. What of
//! the program is user code and what is a kernel is the host's to say, and bears on counts alone.
//!
//! **Whose word holds.** The software has run already: an access was allowed, and its physical address is right. So rights are
//! not checked (every entry allows everything), and a cached translation that contradicts the host is dropped as if an
//! invalidation had come before that nobody told ([`MappingCounts::stale`]). Where page tables come from, [`GuestMemory`] says.
//!
//! **Time.** Each CPU has a clock. An access moves it by the access's own costs, and by the instructions since the one before.
//! Accesses are made in the order in which they are given, each as one that the core waits for. The clock of a CPU that was
//! away is brought forward to [`Options::max_skew`] before the latest one: controllers know no requests from the past.

mod access;
mod counts;
mod interrupts;
mod maintain;
mod mapping;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{FileSystem, PageSize, Pfn, Time};
use thiserror::Error;

use crate::Machine;
use crate::measure::Parts;
use crate::memory::MemoryStats;
use crate::mmu::tlb::TlbStats;

pub use access::{Access, AccessError, flag, kind, page};
pub use counts::{Counts, CpuCounts, MappingCounts, Mode};
pub use interrupts::Taken;
pub use maintain::NoSuchCpu;
pub use mapping::{GuestMemory, Range};

/// What an access costs that hits the L1D.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// The latency of the L1D: each access waits for the one before, as in a chain of loads and with `cpu.window = 1`.
    Latency,
    /// Nothing: it is in the cycles of its instruction, as in the kernel model's path lengths.
    #[default]
    Instruction,
}

/// What a host may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a hit of the L1D costs.
    pub charge: Charge,
    /// How far a CPU's clock may be behind the latest when it acts.
    pub max_skew: Time,
}

impl Default for Options {
    fn default() -> Self {
        Self { charge: Charge::default(), max_skew: Time::from_ns(1000) }
    }
}

/// The machine cannot be driven from outside.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BareError {
    /// A second stage of paging.
    #[error(
        "the machine is a guest (it has a [nested] section): expected one whose physical addresses are its own"
    )]
    Nested,
    /// A or D is left to software, and no kernel is here to set it.
    #[error(
        "the machine leaves A or D to software (mmu.accessed, mmu.dirty): expected hardware that sets them"
    )]
    SoftwareBits,
}

/// A machine without a kernel.
pub struct Bare {
    machine: Machine,
    options: Options,
    /// User and kernel of each CPU.
    counts: Vec<[Counts; 2]>,
    maintained: Vec<counts::Maintained>,
    arrivals: Vec<VecDeque<interrupts::Arrival>>,
    /// The root of each address space, by what the host calls it.
    spaces: BTreeMap<u64, Pfn>,
    /// The root that all CPUs begin with. Its upper half is that of all.
    kernel_root: Pfn,
    ranges: Vec<Range>,
    guest: Option<Box<dyn GuestMemory + Send>>,
    mapping: MappingCounts,
    /// The latest clock.
    latest: Time,
}

impl Bare {
    /// A machine at rest. All CPUs have one address space loaded, which is empty. Nothing of `kernel` runs; it only takes its
    /// place in memory.
    ///
    /// # Errors
    ///
    /// [`BareError`] if the machine needs a kernel or a hypervisor.
    pub fn new(spec: MachineSpec, kernel: KernelSpec, options: Options) -> Result<Self, BareError> {
        if spec.nested.is_some() {
            return Err(BareError::Nested);
        }
        let machine = Machine::new(spec, kernel, FileSystem::Ext4);
        if machine.software_bits() != 0 {
            return Err(BareError::SoftwareBits);
        }
        let count = machine.cpus.len();
        let kernel_root = machine.cpus[0].cr3;
        Ok(Self {
            machine,
            options,
            counts: vec![Default::default(); count],
            maintained: vec![Default::default(); count],
            arrivals: vec![Default::default(); count],
            spaces: BTreeMap::new(),
            kernel_root,
            ranges: Vec::new(),
            guest: None,
            mapping: MappingCounts::default(),
            latest: Time::ZERO,
        })
    }

    /// CPUs that it has.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.counts.len()
    }

    /// What it is made of.
    #[must_use]
    pub fn spec(&self) -> &MachineSpec {
        &self.machine.spec
    }

    /// The clock of a CPU; zero if there is no such CPU.
    #[must_use]
    pub fn now(&self, cpu: u16) -> Time {
        self.machine.cpus.get(usize::from(cpu)).map_or(Time::ZERO, |cpu| cpu.now)
    }

    /// The latest clock.
    #[must_use]
    pub fn latest(&self) -> Time {
        self.latest
    }

    /// A time in cycles of the core.
    #[must_use]
    pub fn cycles(&self, time: Time) -> f64 {
        time.0 as f64 / self.machine.spec.cpu.clock.period_ps() as f64
    }

    /// What a CPU did in a mode.
    #[must_use]
    pub fn counts(&self, cpu: u16, mode: Mode) -> Counts {
        let counts = self.counts.get(usize::from(cpu)).map(|modes| modes[mode as usize]);
        counts.unwrap_or_default().completed()
    }

    /// All that a CPU did.
    #[must_use]
    pub fn cpu_counts(&self, cpu: u16) -> CpuCounts {
        let maintained = self.maintained.get(usize::from(cpu)).copied().unwrap_or_default();
        CpuCounts {
            user: self.counts(cpu, Mode::User),
            kernel: self.counts(cpu, Mode::Kernel),
            maintained,
            now: self.now(cpu),
        }
    }

    /// Where a CPU's time went. Both modes' instructions are `user`; instructions of maintenance are `flush`.
    #[must_use]
    pub fn parts(&self, cpu: u16) -> Parts {
        self.machine.cpus.get(usize::from(cpu)).map_or_else(Parts::default, |cpu| cpu.parts)
    }

    /// Counts of a CPU's TLBs and paging-structure caches, by structure.
    #[must_use]
    pub fn translation(&self, cpu: u16) -> Vec<(&'static str, TlbStats)> {
        let Some(cpu) = self.machine.cpus.get(usize::from(cpu)) else { return Vec::new() };
        let mut all = cpu.tlbs.stats();
        all.extend(cpu.psc.stats());
        all
    }

    /// Counts of the caches and controllers.
    #[must_use]
    pub fn memory(&self) -> MemoryStats {
        self.machine.memory.stats()
    }

    /// How the page tables came about.
    #[must_use]
    pub fn mapping(&self) -> MappingCounts {
        self.mapping
    }

    /// The translation that a walk of the loaded tables would find: the frame of the 4 KiB, and the size of the page.
    #[must_use]
    pub fn mapped(&self, cpu: u16, va: u64) -> Option<(Pfn, PageSize)> {
        let root = self.machine.cpus.get(usize::from(cpu))?.cr3;
        self.leaf(root, daxsim_types::VirtAddr(va))
    }

    /// Whether the TLBs of a CPU hold an address under a PCID, in whatever level; neither counted nor noted.
    #[must_use]
    pub fn is_cached(&self, cpu: u16, va: u64, pcid: u16) -> bool {
        let Some(cpu) = self.machine.cpus.get(usize::from(cpu)) else { return false };
        cpu.tlbs.entries().any(|entry| {
            let page = va >> entry.size.shift();
            (entry.global || entry.pcid == pcid)
                && (entry.page..entry.page + (1 << entry.span)).contains(&page)
        })
    }

    /// Entries that the paging-structure caches of a CPU hold.
    #[must_use]
    pub fn structure_entries(&self, cpu: u16) -> usize {
        self.machine.cpus.get(usize::from(cpu)).map_or(0, |cpu| cpu.psc.len())
    }
}
