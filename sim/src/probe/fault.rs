//! What a page fault costs, user mode to user mode, and where the time goes.

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Time, VirtAddr};

use super::ProbeError;
use super::workbench::START;
use crate::Simulation;
use crate::kernel::{Advice, MapRequest, NewFile};
use crate::measure::{Part, Parts};
use crate::program::{Accesses, Action, Step};

const PAGE: u64 = PageSize::Size4K.bytes();
const CPU: CpuId = CpuId(0);

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultCause {
    /// A load of anonymous memory: the zero page.
    ZeroPage,
    /// A store to anonymous memory: a new page.
    Anonymous,
    /// A load of a DAX file.
    DaxRead,
    /// A store to a DAX file.
    DaxWrite,
    /// A store to a page of a DAX file that was loaded before.
    DaxMkwrite,
    /// A load of a DAX file without blocks: the zero page.
    DaxHole,
}

impl FaultCause {
    /// The file that it is of, if it is of a DAX file.
    pub(super) const fn file(self) -> Option<NewFile> {
        match self {
            Self::ZeroPage | Self::Anonymous => None,
            Self::DaxRead | Self::DaxWrite | Self::DaxMkwrite => Some(NewFile::Filled),
            Self::DaxHole => Some(NewFile::Sparse),
        }
    }

    /// What raises it.
    pub(super) const fn access(self) -> AccessKind {
        match self {
            Self::ZeroPage | Self::DaxRead | Self::DaxHole => AccessKind::Read,
            Self::Anonymous | Self::DaxWrite | Self::DaxMkwrite => AccessKind::Write,
        }
    }
}

/// One fault for each page of a mapping, in order, in pages of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultCost {
    /// Which.
    pub cause: FaultCause,
    /// The file system of DAX files.
    pub fs: FileSystem,
    /// Pages.
    pub pages: u64,
}

/// What it costs, each for a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultPoint {
    /// Cycles from the access to its completion.
    pub cycles: f64,
    /// The same in ns.
    pub ns: f64,
    /// What of the cycles is the delivery of the #PF and the IRET: less what it costs where these are free.
    pub delivery: f64,
    /// Faults that were taken.
    pub faults: u64,
    /// Where the time of the accesses went.
    pub parts: Parts,
}

impl FaultPoint {
    /// Cycles of a part, each for a fault, of a machine with such a clock.
    #[must_use]
    pub fn part(&self, part: Part) -> f64 {
        let total = self.parts.total().0;
        if total == 0 { 0.0 } else { self.cycles * self.parts[part].0 as f64 / total as f64 }
    }
}

impl FaultCost {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the pages do not fit the machine.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<FaultPoint, ProbeError> {
        let (time, faults, parts) = self.measure(machine, kernel)?;
        let mut free = machine.clone();
        (free.cost.exception_entry, free.cost.iret) = (Time::ZERO, Time::ZERO);
        let (without, ..) = self.measure(&free, kernel)?;
        let each = |time: Time| time.0 as f64 / faults.max(1) as f64;
        let cycles = |time: Time| each(time) / machine.cpu.clock.period_ps() as f64;
        Ok(FaultPoint {
            cycles: cycles(time),
            ns: each(time) / 1e3,
            delivery: cycles(time.saturating_sub(without)),
            faults,
            parts,
        })
    }

    fn measure(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<(Time, u64, Parts), ProbeError> {
        let mut kernel = kernel.clone();
        // Huge pages would take one fault for 512 pages.
        kernel.tree.thp_always = false;
        let mut sim = Simulation::new(machine.clone(), kernel, self.fs, false);
        let mm = sim.with(|m| m.new_mm());
        sim.place(CPU, mm)?;
        let len = self.pages * PAGE;
        let run = |sim: &mut Simulation, action: Action| -> Result<(), ProbeError> {
            let outcome = sim.step(Step { line: 1, thread: 0, cpu: CPU, mm: Some(mm), action })?;
            outcome.error.map_or(Ok(()), |error| Err(ProbeError::Call(error)))
        };
        // One page off a boundary of 2 MiB: no huge page can map the file.
        let start = START.0 + PAGE;
        if let Some(new) = self.cause.file() {
            let file = sim.new_file(self.fs, len, &new)?;
            run(&mut sim, Action::Map(map_whole(file, start, len)))?;
        } else {
            sim.with(|m| m.map_populated(mm, VirtAddr(start), len, PageSize::Size4K))?;
            run(&mut sim, Action::Advise { start, len, advice: Advice::DontNeed })?;
        }
        let pass = |kind| {
            Action::Access(Accesses::Stride { start: VirtAddr(start), count: self.pages, stride: PAGE, kind })
        };
        if self.cause == FaultCause::DaxMkwrite {
            run(&mut sim, pass(AccessKind::Read))?;
        }
        let look = |sim: &Simulation| {
            sim.with(|m| (m.cpus[CPU.index()].now, m.measure.faults.total, m.cpus[CPU.index()].parts))
        };
        let before = look(&sim);
        run(&mut sim, pass(self.cause.access()))?;
        let after = look(&sim);
        Ok((after.0.saturating_sub(before.0), after.1 - before.1, after.2.since(&before.2)))
    }
}

pub(super) fn map_whole(file: crate::kernel::FileId, start: u64, len: u64) -> MapRequest {
    MapRequest {
        file,
        start,
        len,
        pgoff: 0,
        read: true,
        write: true,
        shared: true,
        sync: false,
        populate: false,
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    fn cost(cause: FaultCause, set: &[&str]) -> FaultPoint {
        let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        let machine = load_machine("skylake-sp-optane", &set).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        FaultCost { cause, fs: FileSystem::Xfs, pages: 256 }.run(&machine, &kernel).unwrap()
    }

    #[test]
    fn each_page_faults_once_and_the_parts_make_the_whole() {
        use FaultCause::{Anonymous, DaxHole, DaxMkwrite, DaxRead, DaxWrite, ZeroPage};
        for cause in [ZeroPage, Anonymous, DaxRead, DaxWrite, DaxMkwrite, DaxHole] {
            let point = cost(cause, &[]);
            assert_eq!(point.faults, 256, "{cause:?}");
            let sum: f64 = Part::ALL.into_iter().map(|part| point.part(part)).sum();
            assert!((sum / point.cycles - 1.0).abs() < 1e-9, "{cause:?}: {sum} {}", point.cycles);
        }
    }

    #[test]
    fn the_delivery_is_what_the_processor_takes_for_exception_and_return() {
        let point = cost(FaultCause::ZeroPage, &["cost.exception_entry=700 cycles", "cost.iret=300 cycles"]);
        assert!((990.0..1010.0).contains(&point.delivery), "{}", point.delivery);
    }

    #[test]
    fn an_upgrade_needs_no_block_and_a_new_page_has_to_be_zeroed() {
        assert!(cost(FaultCause::Anonymous, &[]).cycles > cost(FaultCause::ZeroPage, &[]).cycles);
        let read = cost(FaultCause::DaxRead, &[]);
        assert!(read.part(Part::Fs) > 0.0 && read.part(Part::Insert) > 0.0);
    }
}
