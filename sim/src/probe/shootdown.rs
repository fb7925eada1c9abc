//! What a shootdown costs who asks for it and who answers.

use std::collections::BTreeMap;
use std::ops::Range;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Time, VirtAddr};
use hdrhistogram::Histogram;

use super::ProbeError;
use super::workbench::START;
use crate::cpu::Cpu;
use crate::kernel::Advice;
use crate::kernel::mm::MmId;
use crate::measure::{Part, Shootdowns, Times};
use crate::program::{Accesses, Action, Step};
use crate::{Machine, Simulation};

const PAGE: u64 = PageSize::Size4K.bytes();
/// Pages in front of those that are flushed, so that their table stays.
const BEFORE: u64 = 20;
/// Pages behind them.
const BEHIND: u64 = 44;
/// Pages of each thread of a storm: 1 MiB.
const STORM_PAGES: u64 = 256;
/// Rounds before those that count.
const WARM_UP: u32 = 4;

/// Why translations have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlushCause {
    /// munmap of pages out of the middle of a mapping.
    Munmap,
    /// mprotect(PROT_READ) of pages of a mapping.
    Mprotect,
    /// madvise(MADV_DONTNEED).
    DontNeed,
    /// The same, and a store to each page after it.
    DontNeedTouch,
    /// The same, and a load of each page after it, which finds the zero page.
    DontNeedRead,
}

/// One thread changes private anonymous pages that it has written, while others of its process run on CPUs of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shootdown {
    /// Why.
    pub cause: FlushCause,
    /// Threads, on CPUs from 0 on.
    pub threads: u16,
    /// Pages.
    pub pages: u64,
    /// Times that count.
    pub rounds: u32,
    /// Whether the other threads have read the pages each time, so that their TLBs hold them.
    pub shared: bool,
}

/// A distribution of times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Mean, ns.
    pub mean: f64,
    /// Median, ns.
    pub median: f64,
    /// 99th percentile, ns.
    pub p99: f64,
    /// Most, ns.
    pub max: f64,
}

impl Spread {
    fn of(times: &Times) -> Self {
        times.histogram().map_or_else(Self::default, |histogram| Self::of_histogram(histogram, times.sum()))
    }

    fn of_histogram(histogram: &Histogram<u64>, sum: Time) -> Self {
        let ns = |picoseconds: u64| picoseconds as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean: ns(sum.0) / histogram.len().max(1) as f64,
            median: ns(histogram.value_at_quantile(0.5)),
            p99: ns(histogram.value_at_quantile(0.99)),
            max: ns(histogram.max()),
        }
    }
}

/// What it cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShootdownPoint {
    /// The call, as its caller sees it.
    pub call: Spread,
    /// What of it the caller spent on the flush, ns: to tell the others, to flush itself and to wait.
    pub initiator: f64,
    /// What of it the caller waited for answers, after its own flush.
    pub wait: Spread,
    /// What an interrupt took of a CPU that had to answer.
    pub disruption: Spread,
    /// What a call took of each other CPU, ns: in interrupts, in microcode, or later at a tick.
    pub responder: f64,
    /// Interrupts for a call.
    pub interrupts: f64,
    /// Writes of the ICR for a call.
    pub icr_writes: f64,
}

/// Every thread stores to a page of its own, gives it up and loads from it, page after page, and maps its memory anew after every 256
/// pages: `tlb_flush2_threads` of will-it-scale. As there, the maps of the threads lie side by side, so that they are one VMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushStorm {
    /// Threads, on CPUs from 0 on.
    pub threads: u16,
    /// Pages that each goes through.
    pub rounds: u32,
}

/// What a storm came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StormPoint {
    /// Rounds of all threads in a second.
    pub per_second: f64,
    /// Share of all CPUs' time in flushes, waits for answers and handlers.
    pub flush_share: f64,
    /// What the threads waited for answers.
    pub wait: Spread,
    /// What the interrupts took.
    pub disruption: Spread,
    /// What a round waited for because another thread had it, longest first.
    pub contention: Vec<Contention>,
}

/// A wait for what other CPUs use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contention {
    /// The name of the lock or line.
    pub name: &'static str,
    /// Whether somebody held the lock; if not, the line was under way to another core.
    pub held: bool,
    /// Mean of a round, ns.
    pub mean: f64,
}

/// A call: how long it took, what was counted before and after, and the time of all other CPUs in it.
struct Round {
    took: Time,
    before: Shootdowns,
    after: Shootdowns,
    answers: Time,
}

/// A process with threads on several CPUs.
struct Process {
    sim: Simulation,
    mm: MmId,
}

impl Process {
    fn new(machine: &MachineSpec, kernel: &KernelSpec, threads: u16) -> Result<Self, ProbeError> {
        let count = machine.cpu.count;
        if threads == 0 || threads > count {
            return Err(ProbeError::Threads { threads, count });
        }
        let sim = Simulation::new(machine.clone(), kernel.clone(), FileSystem::Ext4, false);
        let mm = sim.with(|m| m.new_mm());
        for cpu in 0..threads {
            sim.place(CpuId(cpu), mm)?;
        }
        Ok(Self { sim, mm })
    }

    /// Pages at `start`, in pages of 4 KiB whatever the policy.
    fn map(&mut self, start: u64, pages: u64) -> Result<(), ProbeError> {
        let mm = self.mm;
        self.sim.with(|m| m.map_populated(mm, VirtAddr(start), pages * PAGE, PageSize::Size4K))?;
        let advice = Advice::HugePage { allowed: false };
        self.run(0, Action::Advise { start, len: pages * PAGE, advice })?;
        Ok(())
    }

    fn step(&self, cpu: u16, action: Action) -> Step {
        Step { line: 1, thread: cpu, cpu: CpuId(cpu), mm: Some(self.mm), action }
    }

    /// A step of a thread; how long it took there.
    fn run(&mut self, cpu: u16, action: Action) -> Result<Time, ProbeError> {
        let index = usize::from(cpu);
        let begin = self.sim.now().max(self.sim.with(|m| m.cpus[index].now));
        let outcome = self.sim.step(self.step(cpu, action))?;
        match outcome.error {
            Some(error) => Err(ProbeError::Call(error)),
            None => Ok(self.sim.with(|m| m.cpus[index].now).saturating_sub(begin)),
        }
    }

    fn counts(&self) -> Shootdowns {
        self.sim.with(|m| m.measure.shootdowns)
    }
}

fn touch(start: u64, pages: u64, kind: AccessKind) -> Action {
    Action::Access(Accesses::Stride { start: VirtAddr(start), count: pages, stride: PAGE, kind })
}

impl Shootdown {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the machine has too few CPUs or too little memory.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<ShootdownPoint, ProbeError> {
        let mut process = Process::new(machine, kernel, self.threads)?;
        let whole = BEFORE + self.pages + BEHIND;
        process.map(START.0, whole)?;
        let mut calls = Times::default();
        let (mut interrupts, mut icr_writes) = (0, 0);
        let (mut asking, mut answering) = (Time::ZERO, Time::ZERO);
        for round in 0..WARM_UP + self.rounds.max(1) {
            if round == WARM_UP {
                (interrupts, icr_writes, calls) = (0, 0, Times::default());
                (asking, answering) = (Time::ZERO, Time::ZERO);
                process.sim.with(|m| m.measure.shootdown_times = Default::default());
            }
            let Round { took, before, after, answers } = self.round(&mut process, whole)?;
            calls.record(took);
            asking += after.initiator_time.saturating_sub(before.initiator_time);
            answering += answers;
            interrupts += after.ipis_sent - before.ipis_sent;
            icr_writes += after.icr_writes - before.icr_writes;
        }
        let (wait, disruption) = process.sim.with(|m| {
            let times = &m.measure.shootdown_times;
            (Spread::of(&times.wait), Spread::of(&times.disruption))
        });
        let each = |count: u64| count as f64 / f64::from(self.rounds.max(1));
        let time = |time: Time| time.as_ns() / f64::from(self.rounds.max(1));
        Ok(ShootdownPoint {
            call: Spread::of(&calls),
            initiator: time(asking),
            wait,
            disruption,
            responder: time(answering) / f64::from(self.threads.max(2) - 1),
            interrupts: each(interrupts),
            icr_writes: each(icr_writes),
        })
    }

    /// Once: the pages are written, and read by the others, then changed.
    fn round(&self, process: &mut Process, whole: u64) -> Result<Round, ProbeError> {
        let (start, len) = (START.0 + BEFORE * PAGE, self.pages * PAGE);
        let times = process.sim.with(|m| std::mem::take(&mut m.measure.shootdown_times));
        let own = match self.cause {
            FlushCause::DontNeedRead => AccessKind::Read,
            _ => AccessKind::Write,
        };
        process.run(0, touch(start, self.pages, own))?;
        if self.shared {
            for cpu in 1..self.threads {
                process.run(cpu, touch(start, self.pages, AccessKind::Read))?;
            }
        }
        let dont_need = Action::Advise { start, len, advice: Advice::DontNeed };
        // What leads here may have interrupted, too: it counts for nothing.
        process.sim.with(|m| m.measure.shootdown_times = times);
        let (before, idle) = (process.counts(), process.answering(self.threads));
        let took = match self.cause {
            FlushCause::Munmap => process.run(0, Action::Unmap { start, len })?,
            FlushCause::Mprotect => {
                process.run(0, Action::Protect { start, len, read: true, write: false })?
            }
            FlushCause::DontNeed => process.run(0, dont_need)?,
            FlushCause::DontNeedTouch => {
                process.run(0, dont_need)? + process.run(0, touch(start, self.pages, AccessKind::Write))?
            }
            FlushCause::DontNeedRead => {
                process.run(0, dont_need)? + process.run(0, touch(start, self.pages, AccessKind::Read))?
            }
        };
        // Nor does what undoes the change.
        let after = process.counts();
        let answers = process.answering(self.threads).saturating_sub(idle) + process.sweep(self.threads)?;
        let times = process.sim.with(|m| std::mem::take(&mut m.measure.shootdown_times));
        match self.cause {
            FlushCause::Munmap => {
                process.run(0, Action::Unmap { start: START.0, len: whole * PAGE })?;
                process.map(START.0, whole)?;
            }
            FlushCause::Mprotect => {
                process.run(0, Action::Protect { start, len, read: true, write: true })?;
            }
            FlushCause::DontNeed | FlushCause::DontNeedTouch | FlushCause::DontNeedRead => {}
        }
        process.sim.with(|m| m.measure.shootdown_times = times);
        Ok(Round { took, before, after, answers })
    }
}

impl FlushStorm {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the machine has too few CPUs or too little memory.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<StormPoint, ProbeError> {
        let mut kernel = kernel.clone();
        // Of neighbours that are one mapping together, a huge page would take one fault for 512 pages.
        kernel.tree.thp_always = false;
        let mut process = Process::new(machine, &kernel, self.threads)?;
        let len = STORM_PAGES * PAGE;
        let start = |cpu: u16| START.0 + u64::from(cpu) * len;
        for cpu in 0..self.threads {
            process.run(cpu, Action::MapAnonymous { start: start(cpu), len })?;
        }
        let rounds = |cpu: u16, rounds: Range<u32>| -> Vec<Step> {
            let own = start(cpu);
            let once = |round: u32| {
                let at = u64::from(round) % STORM_PAGES;
                let page = own + at * PAGE;
                let give_up = Action::Advise { start: page, len: PAGE, advice: Advice::DontNeed };
                let anew = [Action::Unmap { start: own, len }, Action::MapAnonymous { start: own, len }];
                let again = anew.into_iter().filter(move |_| at == 0 && round > 0);
                again.chain([touch(page, 1, AccessKind::Write), give_up, touch(page, 1, AccessKind::Read)])
            };
            rounds.flat_map(once).map(|action| process.step(cpu, action)).collect()
        };
        let all = |of: Range<u32>| (0..self.threads).map(|cpu| rounds(cpu, of.clone())).collect::<Vec<_>>();
        let (warm, timed) = (all(0..WARM_UP), all(WARM_UP..WARM_UP.saturating_add(self.rounds.max(1))));
        process.sim.parallel(warm)?;
        process.sim.with(|m| m.measure.shootdown_times = Default::default());
        let begin = process.sim.now();
        let waits_before = process.waits();
        let before = process.flush_time(self.threads);
        process.sim.parallel(timed)?;
        let time = process.sim.now().saturating_sub(begin);
        let flush = process.flush_time(self.threads).saturating_sub(before);
        let seconds = time.as_ns() / 1e9;
        let (wait, disruption) = process.sim.with(|m| {
            let times = &m.measure.shootdown_times;
            (Spread::of(&times.wait), Spread::of(&times.disruption))
        });
        let rounds = f64::from(self.threads) * f64::from(self.rounds.max(1));
        let contention = process.waits().into_iter().map(|((name, held), time)| {
            let before = waits_before.get(&(name, held)).copied().unwrap_or_default();
            Contention { name, held, mean: time.saturating_sub(before).as_ns() / rounds }
        });
        let mut contention: Vec<Contention> = contention.filter(|wait| wait.mean > 0.0).collect();
        contention.sort_by(|a, b| b.mean.total_cmp(&a.mean));
        Ok(StormPoint {
            contention,
            per_second: rounds / seconds,
            flush_share: flush.as_ns() / (time.as_ns() * f64::from(self.threads)),
            wait,
            disruption,
        })
    }
}

impl Process {
    /// Lets every CPU but the first compute until its next tick, if it has a lazy flush to sweep then. What that took of them.
    fn sweep(&mut self, cpus: u16) -> Result<Time, ProbeError> {
        let swept = |m: &Machine| -> Time {
            m.cpus.iter().take(cpus.into()).skip(1).map(|cpu| cpu.parts[Part::IpiHandler]).sum()
        };
        let before = self.sim.with(|m| swept(m));
        for cpu in 1..cpus {
            let waits = self.sim.with(|m| {
                let waits = m.lazy.is_waited_for(CpuId(cpu), self.mm);
                if waits {
                    let tick = m.next_tick(m.cpus[usize::from(cpu)].now.max(m.cpus[0].now));
                    m.cpus[usize::from(cpu)].wait_until(tick, Part::User);
                }
                waits
            });
            if waits {
                self.run(cpu, touch(START.0, 1, AccessKind::Read))?;
            }
        }
        Ok(self.sim.with(|m| swept(m)).saturating_sub(before))
    }

    /// Time of all CPUs but the first in what they were asked for: beside it they do nothing.
    fn answering(&self, cpus: u16) -> Time {
        let of = |cpu: &Cpu| cpu.parts.total().saturating_sub(cpu.parts[Part::Idle]);
        self.sim.with(|m| m.cpus.iter().take(cpus.into()).skip(1).map(of).sum())
    }

    /// Time that was waited for each lock that was held, and for each line that was under way.
    fn waits(&self) -> BTreeMap<(&'static str, bool), Time> {
        self.sim.with(|m| {
            let held = m.locks.uses().map(|(class, used)| ((class.name(), true), used.waited));
            let lines = m.measure.lines.iter().map(|(name, used)| ((name.name(), false), used.waited));
            held.chain(lines).collect()
        })
    }

    /// Time of the CPUs in flushes, waits for answers and handlers.
    fn flush_time(&self, cpus: u16) -> Time {
        self.sim.with(|m| {
            let of = |index: usize| {
                let parts = &m.cpus[index].parts;
                parts[Part::Flush].0 + parts[Part::IpiWait].0 + parts[Part::IpiHandler].0
            };
            Time((0..usize::from(cpus)).map(of).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    fn specs(machine: &[&str], kernel: &[&str]) -> (MachineSpec, KernelSpec) {
        let parse =
            |set: &[&str]| -> Vec<Override> { set.iter().map(|t| Override::parse(t).unwrap()).collect() };
        (
            load_machine("skylake-sp-optane", &parse(machine)).unwrap(),
            load_kernel("linux-7.2", &parse(kernel)).unwrap(),
        )
    }

    fn shootdown(cause: FlushCause, threads: u16, pages: u64) -> ShootdownPoint {
        let (machine, kernel) = specs(&[], &[]);
        Shootdown { cause, threads, pages, rounds: 5, shared: true }.run(&machine, &kernel).unwrap()
    }

    #[test]
    fn every_other_thread_is_interrupted_once_a_call() {
        use FlushCause::{DontNeed, DontNeedRead, DontNeedTouch, Mprotect, Munmap};
        for cause in [Munmap, Mprotect, DontNeed, DontNeedTouch, DontNeedRead] {
            for threads in [1, 2, 5] {
                let point = shootdown(cause, threads, 3);
                let others = u64::from(threads) - 1;
                assert_eq!(point.interrupts, others as f64, "{cause:?} {threads}");
                assert_eq!(
                    (point.call.count, point.disruption.count),
                    (5, 5 * others),
                    "{cause:?} {threads}"
                );
                assert_eq!(point.wait.count, if others > 0 { 5 } else { 0 });
                assert!(point.wait.max < point.call.max, "the wait is a part of the call");
                assert!(point.wait.mean < point.initiator && point.initiator < point.call.mean);
                assert!((point.responder - point.disruption.mean).abs() < 0.01, "all is in interrupts");
            }
        }
    }

    #[test]
    fn whatever_carries_a_flush_takes_its_time_of_those_who_make_it() {
        let responder = |machine: &[&str], kernel: &[&str]| {
            let (machine, kernel) = specs(machine, kernel);
            let probe =
                Shootdown { cause: FlushCause::DontNeed, threads: 5, pages: 3, rounds: 5, shared: true };
            let point = probe.run(&machine, &kernel).unwrap();
            (point.responder, point.interrupts)
        };
        let (interrupt, sent) = responder(&[], &[]);
        assert!(interrupt > 0.0 && sent == 4.0);
        let (isolated, _) = responder(&[], &["tree.pti=true"]);
        assert!(isolated > interrupt, "with the flush of the user half, and the way there and back");
        let (lazy, sent) = responder(&[], &["tlb_flush.mechanism=lazy"]);
        assert!(
            lazy > 0.0 && lazy < interrupt && sent == 0.0,
            "{lazy}: the sweep at a tick without its interrupt"
        );
        assert_eq!(responder(&[], &["tlb_flush.mechanism=ideal"]), (0.0, 0.0));
    }

    #[test]
    fn threads_that_fault_in_one_vma_wait_longer_where_its_lock_has_an_owner() {
        let storm = |threads, rwsem: bool| {
            let knob = format!("tree.vma_lock_rwsem={rwsem}");
            let (machine, kernel) = specs(&[], &["tlb_flush.mechanism=ideal", &knob]);
            let point = FlushStorm { threads, rounds: 40 }.run(&machine, &kernel).unwrap();
            let line = |wait: &&Contention| (wait.name, wait.held) == ("vma_lock", false);
            (point.per_second, point.contention.iter().find(line).map_or(0.0, |wait| wait.mean))
        };
        assert_eq!(storm(1, true), storm(1, false), "who is alone has the line at the second store");
        let (owned, counted) = (storm(20, true), storm(20, false));
        assert!(owned.0 < 0.9 * counted.0 && owned.1 > counted.1, "{owned:?} {counted:?}");
    }

    #[test]
    fn pages_cost_up_to_the_ceiling() {
        let cost = |pages| shootdown(FlushCause::Mprotect, 1, pages).call.mean;
        let (one, most, full) = (cost(1), cost(33), cost(34));
        assert!(one < full && full < most, "{one} {most} {full}");
    }

    #[test]
    fn a_storm_of_more_threads_makes_more_rounds_and_more_interrupts() {
        let (machine, kernel) = specs(&[], &[]);
        let storm = |threads| FlushStorm { threads, rounds: 20 }.run(&machine, &kernel).unwrap();
        let (one, four) = (storm(1), storm(4));
        assert!(one.per_second < four.per_second && four.per_second < 4.0 * one.per_second);
        assert!(one.wait.count == 0 && four.wait.count == 80);
        assert!(four.flush_share > one.flush_share && four.flush_share < 1.0);
    }

    #[test]
    fn more_threads_than_cpus_are_refused() {
        let (machine, kernel) = specs(&["cpu.count=4"], &[]);
        let five = Shootdown { cause: FlushCause::Munmap, threads: 5, pages: 1, rounds: 1, shared: false };
        assert_eq!(five.run(&machine, &kernel), Err(ProbeError::Threads { threads: 5, count: 4 }));
    }
}
