//! Page faults of many CPUs in one DAX file, or in one each, at the same time: how many pages a second, and what they wait for.

use std::collections::BTreeMap;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Time, VirtAddr};

use super::ProbeError;
use super::fault::{FaultCause, map_whole};
use super::workbench::START;
use crate::Simulation;
use crate::kernel::FileId;
use crate::kernel::mm::MmId;
use crate::measure::{Part, Parts};
use crate::program::{Accesses, Action, Step};

const PAGE: u64 = PageSize::Size4K.bytes();
/// Pages of the file that a page table maps.
const TABLE: u64 = PageSize::Size2M.pages();

/// Threads, each on a CPU of its own from 0 on, that go through parts of one DAX file, page after page in pages of 4 KiB. The parts
/// lie apart, so that no two threads share a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultScaling {
    /// Which fault: one of a DAX file.
    pub cause: FaultCause,
    /// The file system.
    pub fs: FileSystem,
    /// Threads.
    pub threads: u16,
    /// Pages of each.
    pub pages: u64,
    /// Whether each thread is a process of its own, with its own mapping of the file.
    pub processes: bool,
    /// Whether each of these processes has a file of its own.
    pub own_files: bool,
}

/// What they came to.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultScalingPoint {
    /// Pages that all threads got in a second.
    pub per_second: f64,
    /// What one took its thread, ns.
    pub ns: f64,
    /// Faults that were taken: more than one for a page, if an entry is not what the access needs.
    pub faults: u64,
    /// Where the time of the CPUs went.
    pub parts: Parts,
    /// What of a page's time went into each wait, ns: for a lock that was held, or for a line that another core had. The longest first.
    pub waits: Vec<Wait>,
}

/// A wait by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The lock's name, or the line's.
    pub name: String,
    /// For each page, ns.
    pub ns: f64,
}

impl FaultScalingPoint {
    /// Share of a part in the time of the faults.
    #[must_use]
    pub fn share(&self, part: Part) -> f64 {
        let total = self.parts.total().saturating_sub(self.parts[Part::Idle]).0;
        if total == 0 { 0.0 } else { self.parts[part].0 as f64 / total as f64 }
    }
}

/// The programs.
struct Programs {
    sim: Simulation,
    /// Of each thread.
    mms: Vec<MmId>,
}

/// Counts so far.
struct Counts {
    time: Time,
    faults: u64,
    parts: Parts,
    waits: BTreeMap<String, Time>,
}

impl FaultScaling {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the machine has too few CPUs or too little memory, or the fault is of no DAX file.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<FaultScalingPoint, ProbeError> {
        let mut programs = self.programs(machine, kernel)?;
        if self.cause == FaultCause::DaxMkwrite {
            self.pass(&mut programs, AccessKind::Read)?;
        }
        let before = programs.counts();
        self.pass(&mut programs, self.cause.access())?;
        let after = programs.counts();
        let time = after.time.saturating_sub(before.time);
        let pages = self.pages * u64::from(self.threads);
        let each = |time: Time| time.as_ns() / pages.max(1) as f64;
        let of_waits = after.waits.iter().map(|(name, waited)| {
            let before = before.waits.get(name).copied().unwrap_or_default();
            Wait { name: name.clone(), ns: each(waited.saturating_sub(before)) }
        });
        let mut waits: Vec<Wait> = of_waits.filter(|wait| wait.ns > 0.0).collect();
        // Of equal ones the order of the names stays.
        waits.sort_by(|a, b| b.ns.total_cmp(&a.ns));
        let seconds = time.as_ns() / 1e9;
        Ok(FaultScalingPoint {
            per_second: if seconds > 0.0 { pages as f64 / seconds } else { 0.0 },
            ns: each(time) * f64::from(self.threads),
            faults: after.faults - before.faults,
            parts: after.parts.since(&before.parts),
            waits,
        })
    }

    /// Pages from the beginning of one thread's part to that of the next: one page more than the part and whole tables, so that the
    /// part, which begins one page behind the border of a table, ends before the next one does.
    const fn stride(&self) -> u64 {
        (self.pages + 1).next_multiple_of(TABLE)
    }

    fn programs(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<Programs, ProbeError> {
        let (threads, count) = (self.threads, machine.cpu.count);
        if threads == 0 || threads > count {
            return Err(ProbeError::Threads { threads, count });
        }
        let new = self.cause.file().ok_or(ProbeError::NoFile)?;
        let sim = Simulation::new(machine.clone(), kernel.clone(), self.fs, false);
        let len = self.stride() * u64::from(threads) * PAGE;
        let processes = if self.processes { threads } else { 1 };
        let files = if self.own_files { processes } else { 1 };
        let files: Vec<FileId> =
            (0..files).map(|_| sim.new_file(self.fs, len, &new)).collect::<Result<_, _>>()?;
        let spaces: Vec<MmId> = (0..processes).map(|_| sim.with(|m| m.new_mm())).collect();
        let mms: Vec<MmId> = spaces.iter().copied().cycle().take(threads.into()).collect();
        let mut programs = Programs { sim, mms };
        let mut maps = files.iter().cycle().take(processes.into()).map(|file| (*file, len));
        for cpu in 0..threads {
            programs.begin(cpu, maps.next())?;
        }
        Ok(programs)
    }

    /// Every thread goes through its part, all at the same time.
    fn pass(&self, programs: &mut Programs, kind: AccessKind) -> Result<(), ProbeError> {
        let steps = |cpu: u16| {
            let start = VirtAddr(mapped_at() + u64::from(cpu) * self.stride() * PAGE);
            let all = Accesses::Stride { start, count: self.pages, stride: PAGE, kind };
            vec![programs.step(cpu, Action::Access(all))]
        };
        let threads = (0..self.threads).map(steps).collect();
        programs.sim.parallel(threads)?;
        Ok(())
    }
}

/// One page off a boundary of 2 MiB: no huge page can map the file.
const fn mapped_at() -> u64 {
    START.0 + PAGE
}

impl Programs {
    fn step(&self, cpu: u16, action: Action) -> Step {
        Step { line: 1, thread: cpu, cpu: CpuId(cpu), mm: self.mms.get(usize::from(cpu)).copied(), action }
    }

    /// Places a thread, and lets it map the file if it is the first of its process.
    fn begin(&mut self, cpu: u16, map: Option<(FileId, u64)>) -> Result<(), ProbeError> {
        if let Some(mm) = self.mms.get(usize::from(cpu)) {
            self.sim.place(CpuId(cpu), *mm)?;
        }
        if let Some((file, len)) = map {
            let step = self.step(cpu, Action::Map(map_whole(file, mapped_at(), len)));
            let outcome = self.sim.step(step)?;
            outcome.error.map_or(Ok(()), |error| Err(ProbeError::Call(error)))?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let time = self.sim.now();
        self.sim.with(|m| {
            let mut parts = Parts::default();
            m.cpus.iter().for_each(|cpu| parts.add(&cpu.parts));
            let held =
                m.locks.uses().map(|(class, used)| (format!("wait for {}", class.name()), used.waited));
            let lines = m.measure.lines.iter();
            let lines = lines.map(|(name, used)| (format!("line of {}", name.name()), used.took));
            let waits = held.chain(lines).collect();
            Counts { time, faults: m.measure.faults.total, parts, waits }
        })
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    fn scaling(probe: FaultScaling, kernel: &str) -> FaultScalingPoint {
        let set = [Override::parse("cpu.count=16").unwrap()];
        let machine = load_machine("skylake-sp-optane", &set).unwrap();
        probe.run(&machine, &load_kernel(kernel, &[]).unwrap()).unwrap()
    }

    const WRITES: FaultScaling = FaultScaling {
        cause: FaultCause::DaxWrite,
        fs: FileSystem::Xfs,
        threads: 1,
        pages: 64,
        processes: false,
        own_files: false,
    };

    #[test]
    fn every_thread_faults_once_on_each_of_its_pages() {
        for cause in [FaultCause::DaxRead, FaultCause::DaxWrite, FaultCause::DaxMkwrite, FaultCause::DaxHole]
        {
            for (threads, processes) in [(1, false), (3, false), (3, true)] {
                let point = scaling(FaultScaling { cause, threads, processes, ..WRITES }, "linux-7.2");
                assert_eq!(point.faults, 64 * u64::from(threads), "{cause:?}");
                let apart = point.per_second * point.ns / 1e9 / f64::from(threads);
                assert!((apart - 1.0).abs() < 1e-9, "{threads} threads side by side: {apart}");
            }
        }
    }

    #[test]
    fn alone_nobody_waits_and_together_the_lock_of_the_entries_is_waited_for() {
        let waits = |threads| {
            let point = scaling(FaultScaling { threads, ..WRITES }, "linux-7.2");
            let of = |name: &str| point.waits.iter().find(|w| w.name == name).map_or(0.0, |w| w.ns);
            let all: f64 = point.waits.iter().filter(|w| w.name.starts_with("wait for")).map(|w| w.ns).sum();
            let (parts, total) = (point.share(Part::Locks) * point.ns, all);
            assert!((parts - total).abs() <= 0.02 * total, "{threads}: {parts} {total}");
            of("wait for xa_lock")
        };
        assert_eq!(waits(1), 0.0);
        assert!(waits(16) > waits(4) && waits(4) > 0.0, "{} {}", waits(16), waits(4));
    }

    #[test]
    fn who_has_a_file_of_its_own_waits_for_no_lock_of_a_file() {
        let own = FaultScaling { threads: 8, processes: true, own_files: true, ..WRITES };
        let point = scaling(own, "linux-7.2");
        assert!(point.waits.iter().all(|wait| wait.name != "wait for xa_lock"), "{:?}", point.waits);
        let shared = scaling(FaultScaling { own_files: false, ..own }, "linux-7.2");
        assert!(point.per_second > shared.per_second);
    }

    #[test]
    fn an_entry_that_is_not_writable_takes_a_second_fault() {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let set = [Override::parse("semantics=patch-v1").unwrap()];
        let point = WRITES.run(&machine, &load_kernel("linux-7.2", &set).unwrap()).unwrap();
        assert_eq!(point.faults, 128);
    }

    #[test]
    fn a_fault_of_no_file_is_refused() {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let anonymous = FaultScaling { cause: FaultCause::Anonymous, ..WRITES };
        assert_eq!(anonymous.run(&machine, &kernel), Err(ProbeError::NoFile));
        let many = FaultScaling { threads: 25, ..WRITES };
        assert_eq!(many.run(&machine, &kernel), Err(ProbeError::Threads { threads: 25, count: 24 }));
    }
}
