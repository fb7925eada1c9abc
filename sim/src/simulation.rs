//! Running programs on a machine.

use std::cell::Cell;

use daxsim_configs::kernel::{KernelSpec, SetAccessFlags};
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CpuId, FileSystem, Time};
use thiserror::Error;

use crate::alike::{Follower, Found, Other};
use crate::cpu::Cpu;
use crate::durability::{Call, Durability};
use crate::engine::{Cx, Deadlock, Ended, Jitter, LockClass, LockUse, Lookahead, Sys, Task, run};
use crate::inject::Injection;
use crate::kernel::file::{FileId, NewFile, NoSpace};
use crate::kernel::{self, MmId, Origin, SyscallError};
use crate::machine::Machine;
use crate::measure::{Measurements, Part, Parts, Spent};
use crate::memory::{DeviceProfile, MemoryStats};
use crate::mmu::nested::NestedCaches;
use crate::mmu::tlb::TlbStats;
use crate::observe::{Seen, Watch};
use crate::program::{Action, Step, StepOutcome, fence, run_accesses, write_lines};

/// A simulation cannot go on.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimError {
    /// A step names a CPU that the machine lacks.
    #[error("line {line}: {cpu} does not exist: the machine has {count} CPUs (cpu.count)")]
    NoSuchCpu {
        /// Program line.
        line: u64,
        /// The CPU.
        cpu: CpuId,
        /// CPUs of the machine.
        count: usize,
    },
    /// Two threads of one parallel section on one CPU.
    #[error("threads {first} and {second} share {cpu}: one thread for each CPU is simulated")]
    SharedCpu {
        /// The CPU.
        cpu: CpuId,
        /// One thread.
        first: u16,
        /// The other.
        second: u16,
    },
    /// A thread changes its CPU inside a parallel section.
    #[error(
        "line {line}: a thread moves from {from} to {to} while others run: migration in a racing section is not simulated"
    )]
    Migration {
        /// Program line.
        line: u64,
        /// Where the thread began.
        from: CpuId,
        /// Where the step wants to run.
        to: CpuId,
    },
    /// The files do not fit the device.
    #[error(
        "no space: a file of {bytes} bytes does not fit the {capacity} bytes of persistent memory (pmem.capacity)"
    )]
    NoSpace {
        /// Size of the file.
        bytes: u64,
        /// Capacity of the device.
        capacity: u64,
    },
    /// An access faults for ever.
    #[error(
        "line {line}: an access faulted again and again without getting on; kernel knobs may contradict each other"
    )]
    Livelock {
        /// Program line.
        line: u64,
    },
    /// Software is to set A after a load, and does not.
    #[error(
        "mmu.accessed = \"software\" with arch.set_access_flags = \"x86\": that rule stores nothing after a load, which \
         would fault for ever; use \"arm64\" or \"generic\""
    )]
    FlagsNeverSet,
    /// The model is stuck.
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
}

impl SimError {
    /// The same with other line numbers, for programs whose steps are numbered in another way than their text.
    #[must_use]
    pub fn renumbered(mut self, to: impl Fn(u64) -> u64) -> Self {
        match &mut self {
            Self::NoSuchCpu { line, .. } | Self::Migration { line, .. } | Self::Livelock { line } => {
                *line = to(*line);
            }
            Self::Deadlock(Deadlock(waits)) => {
                for (_, line) in waits.iter_mut().filter_map(|wait| wait.step.as_mut()) {
                    *line = to(*line);
                }
            }
            Self::SharedCpu { .. } | Self::NoSpace { .. } | Self::FlagsNeverSet => {}
        }
        self
    }
}

/// A machine with the programs that run on it.
pub struct Simulation {
    sys: Sys,
    /// End of the last step: where the next one in sequence begins.
    time: Time,
    /// Draws the delays of the threads of parallel sections.
    jitter: Option<Jitter>,
    /// Where the machine lost power.
    crash: Option<Crash>,
    /// Configurations that follow this one.
    followers: Vec<Follower>,
}

/// The machine lost power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// When.
    pub at: Time,
    /// The steps that were under way, by CPU.
    pub running: Vec<Call>,
    /// If none was: the line that would have come next.
    pub next_line: Option<u64>,
}

/// What a finished simulation found.
#[derive(Debug)]
pub struct Results {
    /// Counters, latencies, fault records.
    pub measurements: Measurements,
    /// Time of each CPU, by part.
    pub cpus: Vec<Parts>,
    /// When the last CPU finished.
    pub end: Time,
    /// Uses of the locks, by name.
    pub locks: Vec<(LockClass, LockUse)>,
    /// Kernel instructions executed.
    pub instructions: u64,
    /// What constants took of the CPUs' time.
    pub spent: Spent,
    /// TLB and paging-structure-cache counters by structure, summed over the CPUs.
    pub translation: Vec<(&'static str, TlbStats)>,
    /// Caches and devices.
    pub memory: MemoryStats,
    /// What main memory and persistent memory did over time.
    pub devices: [DeviceProfile; 2],
    /// What is durable at the end, or at the crash.
    pub durability: Durability,
    /// Where the machine lost power, if it did.
    pub crash: Option<Crash>,
    /// What an observer saw, if one looked on ([`Simulation::watch`]).
    pub seen: Option<Seen>,
    /// Of each configuration that followed: what its own run finds otherwise, if it is alike in all else.
    pub followers: Vec<Option<Found>>,
}

impl Results {
    /// What the own run of a follower finds, in place of what this one found.
    pub fn become_those_of(&mut self, found: Found) {
        self.translation = found.translation;
        self.measurements.walk_queue.by_walker = found.by_walker;
    }
}

impl Simulation {
    /// A machine at rest. `keep_faults` records every fault, for fault tables and comparison.
    #[must_use]
    pub fn new(machine: MachineSpec, kernel: KernelSpec, fs: FileSystem, keep_faults: bool) -> Self {
        Self::followed(machine, kernel, fs, keep_faults, Vec::new())
    }

    /// The same with configurations that follow it: [`Results::followers`] says which of them would have found what, without a run
    /// of their own. What the run finds does not depend on them.
    #[must_use]
    pub fn followed(
        machine: MachineSpec,
        kernel: KernelSpec,
        fs: FileSystem,
        keep_faults: bool,
        others: Vec<Other>,
    ) -> Self {
        let followers = Follower::several(others.len());
        let others = followers.iter().cloned().zip(others).collect();
        let mut machine = Machine::followed(machine, kernel, fs, others);
        machine.measure.keep_faults = keep_faults;
        Self { sys: Sys::new(machine), time: Time::ZERO, jitter: None, crash: None, followers }
    }

    /// Lets the threads of parallel sections start, and go from step to step, with delays drawn from `seed`. Without it they
    /// run in lockstep, which no real machine does: each seed explores another interleaving.
    pub fn set_seed(&mut self, seed: u64) {
        self.jitter = Some(Jitter::new(seed));
    }

    /// As [`Simulation::set_seed`], and racing threads stand still now and then in the midst of what they do, as virtual CPUs
    /// do that the host takes away: that reaches interleavings which delays between steps do not.
    pub fn explore(&mut self, seed: u64) {
        let mut jitter = Jitter::new(seed);
        let stalls = jitter.stalls();
        self.jitter = Some(jitter);
        self.sys.stall_by(stalls);
    }

    /// Says how CPUs look ahead, and in how many threads of the host. No result depends on it.
    pub fn set_lookahead(&mut self, lookahead: Lookahead) {
        self.sys.set_lookahead(lookahead);
    }

    /// Lets an observer look on from now on: [`Results::seen`] has what it saw. It changes no result.
    pub fn watch(&mut self, watch: Watch) {
        self.sys.watch(watch);
    }

    /// Lets the machine lose power at a time: what happens before it happens, nothing else, and steps later do nothing.
    pub fn crash_at(&mut self, at: Time) {
        self.sys.stop_at(at);
    }

    /// The end of the last step.
    #[must_use]
    pub fn now(&self) -> Time {
        self.time
    }

    /// Where the machine lost power, if it has.
    #[must_use]
    pub fn crash(&self) -> Option<&Crash> {
        self.crash.as_ref()
    }

    /// Looks at or prepares the machine between steps.
    pub fn with<R>(&self, f: impl FnOnce(&mut Machine) -> R) -> R {
        self.sys.with(f)
    }

    /// Lets the kernel fail in a way that no program can make it fail, for tests.
    pub fn inject(&self, injection: Injection) {
        self.sys.with(|m| m.injections.add(injection));
    }

    /// A file, as the program finds it.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSpace`]
    pub fn new_file(&self, fs: FileSystem, size: u64, new: &NewFile) -> Result<FileId, SimError> {
        self.sys.with(|m| {
            let capacity = m.spec.pmem.capacity;
            m.new_file(fs, size, new).map_err(|NoSpace| SimError::NoSpace { bytes: size, capacity })
        })
    }

    /// Makes `mm` the address space of a CPU, as the switch to a thread of it does.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchCpu`]
    pub fn place(&self, cpu: CpuId, mm: MmId) -> Result<(), SimError> {
        self.check_cpu(0, cpu)?;
        self.sys.with(|m| {
            let before = std::mem::replace(&mut m.cpus[cpu.index()].part, Part::Dispatch);
            m.switch_mm(cpu, mm);
            m.enter_user_half(cpu.index());
            m.cpus[cpu.index()].part = before;
        });
        Ok(())
    }

    /// Marks a CPU's thread as asleep: the CPU goes idle and stays on the mm lazily.
    pub fn sleep(&self, cpu: CpuId) {
        self.sys.with(|m| {
            if let Some(cpu) = m.cpus.get_mut(cpu.index()) {
                cpu.tlb_state.lazy = cpu.tlb_state.loaded_mm.is_some();
            }
        });
    }

    /// Takes the fault records so far, so that a long run need not keep them.
    pub fn drain_faults(&self) -> Vec<crate::measure::FaultRecord> {
        self.sys.with(|m| std::mem::take(&mut m.measure.fault_log))
    }

    fn check_cpu(&self, line: u64, cpu: CpuId) -> Result<(), SimError> {
        let count = self.sys.with(|m| m.cpus.len());
        if cpu.index() < count { Ok(()) } else { Err(SimError::NoSuchCpu { line, cpu, count }) }
    }

    /// The one pair of machine and kernel that cannot work together.
    fn check_access_flags(&self) -> Result<(), SimError> {
        let never = self
            .sys
            .with(|m| !m.cpu_has_hw_af() && m.kernel.ask(|k| k.arch.set_access_flags) == SetAccessFlags::X86);
        if never { Err(SimError::FlagsNeverSet) } else { Ok(()) }
    }

    /// Runs one step, after everything before it.
    ///
    /// # Errors
    ///
    /// [`SimError`] if the step names a CPU that is not there, or cannot end.
    pub fn step(&mut self, step: Step) -> Result<StepOutcome, SimError> {
        let before = self.flush_counts();
        let mut outcomes = self.parallel(vec![vec![step]])?;
        let mut outcome = outcomes.pop().and_then(|mut o| o.pop()).unwrap_or_default();
        let after = self.flush_counts();
        for (reason, count) in outcome.flushes.iter_mut().enumerate() {
            *count = after.0[reason] - before.0[reason];
        }
        outcome.broadcasts = after.1 - before.1;
        Ok(outcome)
    }

    /// Flush events by reason, and shootdowns that interrupted somebody, so far.
    fn flush_counts(&self) -> ([u64; 6], u64) {
        self.sys.with(|m| {
            let mut counts = [0; 6];
            for (reason, n) in &m.measure.flushes {
                counts[*reason as usize] = n.count;
            }
            (counts, m.measure.shootdowns.broadcasts)
        })
    }

    /// Runs several threads at once: each does its own steps in order, all start together. Returns the outcome of every
    /// step, thread by thread.
    ///
    /// # Errors
    ///
    /// [`SimError`] as [`Simulation::step`], and if two threads share a CPU.
    pub fn parallel(&mut self, threads: Vec<Vec<Step>>) -> Result<Vec<Vec<StepOutcome>>, SimError> {
        self.check_access_flags()?;
        if self.crash.is_some() {
            return Ok(Vec::new());
        }
        let mut used: Vec<(CpuId, u16)> = Vec::new();
        for steps in &threads {
            for step in steps {
                self.check_cpu(step.line, step.cpu)?;
            }
            if let Some(first) = steps.first() {
                if let Some((cpu, other)) = used.iter().find(|(cpu, _)| *cpu == first.cpu) {
                    return Err(SimError::SharedCpu { cpu: *cpu, first: *other, second: first.thread });
                }
                used.push((first.cpu, first.thread));
                if let Some(moved) = steps.iter().find(|step| step.cpu != first.cpu) {
                    return Err(SimError::Migration { line: moved.line, from: first.cpu, to: moved.cpu });
                }
            }
        }
        let results: Vec<Cell<Vec<StepOutcome>>> = threads.iter().map(|_| Cell::default()).collect();
        let lines: Vec<Vec<u64>> =
            threads.iter().map(|steps| steps.iter().map(|s| s.line).collect()).collect();
        let start = self.time;
        let racing = threads.len() > 1;
        let delays: Vec<Vec<Time>> = threads
            .iter()
            .map(|steps| match &mut self.jitter {
                Some(jitter) if racing => jitter.delays(steps.len()),
                _ => vec![Time::ZERO; steps.len()],
            })
            .collect();
        let tasks = threads
            .into_iter()
            .zip(&results)
            .zip(delays)
            .filter_map(|((steps, result), delays)| {
                let cpu = steps.first()?.cpu;
                self.sys.with(|m| m.cpus[cpu.index()].wait_until(start, Part::Idle));
                let cx = Cx::new(&self.sys, cpu);
                Some(Task { cpu, work: Box::pin(run_steps(cx, steps, delays, result)) })
            })
            .collect();
        self.sys.set_racing(racing);
        let ended = run(&self.sys, tasks)?;
        if ended == Ended::PowerLost
            || self.sys.with(|m| used.iter().any(|(cpu, _)| m.cpus[cpu.index()].has_stopped()))
        {
            self.lose_power(lines.iter().flatten().min().copied());
        }
        self.time =
            self.sys.with(|m| used.iter().map(|(cpu, _)| m.cpus[cpu.index()].now).max()).unwrap_or(start);
        let outcomes: Vec<Vec<StepOutcome>> = results.into_iter().map(Cell::into_inner).collect();
        for (outcomes, lines) in outcomes.iter().zip(&lines) {
            if let Some((_, line)) = outcomes.iter().zip(lines).find(|(outcome, _)| outcome.livelock) {
                return Err(SimError::Livelock { line: *line });
            }
        }
        Ok(outcomes)
    }

    /// Notes where the machine lost power, `first` being the first line that was to run.
    fn lose_power(&mut self, first: Option<u64>) {
        let running = self.sys.with(|m| m.ledger.running());
        let next_line = first.filter(|_| running.is_empty());
        self.crash = Some(Crash { at: self.sys.stop(), running, next_line });
    }

    /// Ends the simulation.
    #[must_use]
    pub fn finish(self) -> Results {
        let seen = self.sys.seen();
        let mut machine = self.sys.into_machine();
        let last = machine.cpus.iter().map(|c| c.now).max().unwrap_or_default();
        let end = self.crash.as_ref().map_or(last, |crash| crash.at);
        // CPUs that fell idle earlier wait for the last one, so that every CPU's parts sum to the same whole.
        for cpu in &mut machine.cpus {
            cpu.wait_until(end, Part::Idle);
        }
        debug_assert_eq!(machine.memory.check_balance(), Ok(()));
        debug_assert_eq!(machine.check_walks(), Ok(()));
        let translation = translation(&machine, |cpu| (cpu.tlbs.stats(), cpu.psc.stats()));
        let followers = self.followers.iter().map(|follower| follower.found(&machine)).collect();
        Results {
            cpus: machine.cpus.iter().map(|c| c.parts).collect(),
            end,
            locks: machine.locks.uses().collect(),
            instructions: machine.cpus.iter().map(|c| c.executed.instructions).sum(),
            spent: machine.cpus.iter().fold(Spent::default(), |mut sum, cpu| {
                sum += &cpu.spent;
                sum
            }),
            translation,
            memory: machine.memory.stats(),
            devices: machine.memory.profiles(),
            durability: Durability {
                written: self.crash.as_ref().map_or_else(Vec::new, |crash| machine.written(crash.at)),
                ..machine.durability(end)
            },
            crash: self.crash,
            seen,
            followers,
            measurements: machine.measure,
        }
    }
}

/// Counts of translation, summed over the CPUs: those of TLBs and paging-structure caches are asked for.
pub(crate) fn translation(
    machine: &Machine,
    stats: impl Fn(&Cpu) -> (Vec<(&'static str, TlbStats)>, Vec<(&'static str, TlbStats)>),
) -> Vec<(&'static str, TlbStats)> {
    let mut all: Vec<(&'static str, TlbStats)> = Vec::new();
    for cpu in &machine.cpus {
        debug_assert_eq!(cpu.tlbs.check_balance().and_then(|()| cpu.check_walk_caches()), Ok(()));
        let nested = cpu.nested.as_ref().map_or_else(Vec::new, NestedCaches::stats);
        let (tlbs, psc) = stats(cpu);
        for (name, stats) in tlbs.into_iter().chain(psc).chain(nested) {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => sum.add(&stats),
                None => all.push((name, stats)),
            }
        }
    }
    all
}

/// The work of one thread.
async fn run_steps(cx: Cx<'_>, steps: Vec<Step>, delays: Vec<Time>, result: &Cell<Vec<StepOutcome>>) {
    let mut outcomes = Vec::with_capacity(steps.len());
    for (step, delay) in steps.into_iter().zip(delays) {
        cx.on_cpu(|c| {
            let until = c.now + delay;
            c.wait_until(until, Part::Idle);
        });
        cx.sync().await;
        cx.with(|m| match step.mm {
            Some(mm) => m.run_in_user_mode(cx.cpu(), mm),
            None => drop(m.enter_kernel_half(cx.cpu().index())),
        });
        let Step { line, thread, cpu, .. } = step;
        cx.with(|m| {
            m.ledger.begin(Call { name: step.action.name(), line, thread, cpu, at: m.cpus[cpu.index()].now })
        });
        let outcome = run_step(&cx, step).await;
        if cx.on_cpu(|c| c.has_stopped()) {
            // The power went while it ended.
            break;
        }
        cx.with(|m| m.ledger.end(cpu));
        outcomes.push(outcome);
    }
    result.set(outcomes);
}

async fn run_step(cx: &Cx<'_>, step: Step) -> StepOutcome {
    let mut outcome = StepOutcome::default();
    match (step.action, step.mm) {
        (Action::Access(accesses), Some(mm)) => {
            let origin = Origin { line: step.line, thread: step.thread, mm };
            return run_accesses(cx, origin, accesses, true).await;
        }
        (Action::KernelAccess(accesses), Some(mm)) => {
            let origin = Origin { line: step.line, thread: step.thread, mm };
            return kernel::copy_user(cx, origin, accesses).await;
        }
        (Action::WriteLines { start, len, what }, Some(mm)) => {
            let origin = Origin { line: step.line, thread: step.thread, mm };
            return write_lines(cx, origin, (start, len), what).await;
        }
        (Action::Fence, _) => fence(cx).await,
        (action, Some(mm)) => outcome.error = memory_call(cx, mm, action).await.err(),
        (action, None) => outcome.error = file_call(cx, action).await.err(),
    }
    outcome
}

/// Calls that need an address space; others go on to [`file_call`].
async fn memory_call(cx: &Cx<'_>, mm: MmId, action: Action) -> Result<(), SyscallError> {
    match action {
        Action::Map(request) => kernel::mmap(cx, mm, request).await,
        Action::MapAnonymous { start, len } => kernel::mmap_anonymous(cx, mm, start, len).await,
        Action::Unmap { start, len } => kernel::munmap(cx, mm, start, len).await,
        Action::Advise { start, len, advice } => kernel::madvise(cx, mm, start, len, advice).await,
        Action::Protect { start, len, read, write } => {
            kernel::mprotect(cx, mm, start, len, read, write).await
        }
        Action::Remap(request) => kernel::mremap(cx, mm, request).await,
        Action::Msync { start, len } => kernel::msync(cx, mm, start, len).await,
        Action::Pin { start, len, write, kind } => kernel::pin(cx, mm, start, len, write, kind).await,
        Action::Unpin { start, len } => kernel::unpin(cx, mm, start, len).await,
        Action::Fork(child) => kernel::fork(cx, mm, child).await,
        Action::Exit => {
            kernel::exit(cx, mm).await;
            Ok(())
        }
        other => file_call(cx, other).await,
    }
}

/// Calls on files alone, which kernel threads can do too. A kernel thread has no user addresses: the rest is nothing to it.
async fn file_call(cx: &Cx<'_>, action: Action) -> Result<(), SyscallError> {
    match action {
        Action::Fsync(file) => return kernel::fsync(cx, file).await,
        Action::SyncRange { file, first, last } => {
            return kernel::sync_file_range(cx, file, first, last).await;
        }
        Action::BackgroundWriteback(file) => kernel::background_writeback(cx, file).await,
        Action::ClearYoung { mm, start, len } => return kernel::clear_young(cx, mm, start, len).await,
        Action::Truncate { file, size } => kernel::ftruncate(cx, file, size).await,
        Action::Fallocate { file, mode, start, len } => kernel::fallocate(cx, file, mode, start, len).await,
        Action::Clone(request) => return kernel::clone(cx, request).await,
        Action::Write { file, start, len } => kernel::pwrite(cx, file, start, len).await,
        Action::Read { file, start, len } => kernel::pread(cx, file, start, len).await,
        Action::Sleep { nanoseconds } => cx.sleep(Time::from_ns(nanoseconds)).await,
        Action::Access(_)
        | Action::KernelAccess(_)
        | Action::WriteLines { .. }
        | Action::Fence
        | Action::Map(_)
        | Action::MapAnonymous { .. }
        | Action::Unmap { .. }
        | Action::Remap(_)
        | Action::Advise { .. }
        | Action::Protect { .. }
        | Action::Msync { .. }
        | Action::Pin { .. }
        | Action::Unpin { .. }
        | Action::Fork(_)
        | Action::Exit => {}
    }
    Ok(())
}

impl Machine {
    /// Lets a thread of `mm` go on in user mode on a CPU.
    fn run_in_user_mode(&mut self, cpu: CpuId, mm: MmId) {
        self.run_on(cpu, mm);
        self.enter_user_half(cpu.index());
    }

    /// Lets a thread of `mm` run on a CPU: a switch if it runs another mm, the end of lazy mode if it idled.
    pub(crate) fn run_on(&mut self, cpu: CpuId, mm: MmId) {
        let state = &self.cpus[cpu.index()].tlb_state;
        if state.loaded_mm != Some(mm) || state.lazy {
            let before = std::mem::replace(&mut self.cpus[cpu.index()].part, Part::Dispatch);
            self.enter_kernel_half(cpu.index());
            self.cpus[cpu.index()].work(self.kernel.ask(|k| k.path_length.common.task_switch));
            self.switch_mm(cpu, mm);
            self.cpus[cpu.index()].part = before;
        }
    }
}
