//! Lazy flushes in the manner of LATR (Kumar et al., ASPLOS 2018): who frees memory leaves a state behind, and each CPU that may have
//! cached its translations sweeps the states at its next tick or task switch. What was freed is used again only after two ticks.
//!
//! Changes of rights, and flushes that free page tables, still interrupt; so does a mapping put where a state is not swept yet.
//! LATR keeps such addresses from use instead.

use std::collections::VecDeque;

use daxsim_configs::kernel::FlushMechanism;
use daxsim_types::{CacheLine, CpuId, Pfn, Time};

use super::flush::FlushInfo;
use super::mm::{CpuSet, MmId};
use super::{KernelLines, LineName};
use crate::apic::{Interrupt, Vector};
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::Part;
use crate::memory::Access;

/// One state.
#[derive(Debug)]
struct State {
    owner: CpuId,
    line: CacheLine,
    info: FlushInfo,
    /// Who has not swept it.
    waiting: CpuSet,
}

/// All states, and frames that wait.
#[derive(Debug, Default)]
pub(crate) struct LazyFlushes {
    states: Vec<State>,
    /// Lines of the states of each CPU, round and round.
    lines: Vec<CacheLine>,
    next: usize,
    frames: VecDeque<(Time, Pfn)>,
}

impl LazyFlushes {
    /// Room for `each` states of each of `cpus`, if they are used.
    pub fn new(each: Option<u32>, cpus: u16, lines: &mut KernelLines) -> Self {
        let mut flushes = Self::default();
        if let Some(each) = each {
            let (first, count) = lines.reserve(u64::from(cpus) * u64::from(each), LineName::LazyStates);
            flushes.lines = (0..count).map(|n| CacheLine(first.0 + n)).collect();
        }
        flushes
    }

    /// Whether a CPU has not swept a state of an address space.
    pub fn is_waited_for(&self, cpu: CpuId, mm: MmId) -> bool {
        self.states.iter().any(|state| state.info.mm == mm && state.waiting.contains(cpu))
    }

    fn of(&self, owner: CpuId) -> usize {
        self.states.iter().filter(|state| state.owner == owner).count()
    }
}

/// Leaves a state behind for the CPUs of the mask, if the kernel does so and the CPU has one left. Whether it did.
pub(super) async fn flush_lazily(cx: &Cx<'_>, info: FlushInfo) -> bool {
    let me = cx.cpu();
    let line = cx.with(|m| {
        let lazy = !info.freed_tables && m.kernel.ask(|k| k.tlb_flush.mechanism == FlushMechanism::Lazy);
        if !lazy || m.kernel.ask(|k| m.lazy.of(me) >= k.tlb_flush.lazy_states as usize) {
            return None;
        }
        m.lazy.next = (m.lazy.next + 1) % m.lazy.lines.len().max(1);
        m.lazy.lines.get(m.lazy.next).copied()
    });
    let Some(line) = line else { return false };
    cx.store(line).await;
    cx.with(|m| {
        m.measure.shootdowns.lazy_states += 1;
        let mut waiting = CpuSet::default();
        let others: Vec<CpuId> = m.mm(info.mm).cpumask.iter().filter(|cpu| *cpu != me).collect();
        others.iter().for_each(|cpu| waiting.insert(*cpu));
        m.lazy.states.push(State { owner: me, line, info, waiting });
        let arrives = m.next_tick(m.cpus[me.index()].now);
        for cpu in others {
            let moment = m.post(cpu, Interrupt { arrives, vector: Vector::LazySweep });
            cx.sys().pull_horizon(moment);
        }
    });
    true
}

impl Machine {
    /// The first tick after a time.
    pub(crate) fn next_tick(&self, at: Time) -> Time {
        let tick = self.tick();
        Time((at.0 / tick.0 + 1) * tick.0)
    }

    fn tick(&self) -> Time {
        Time(1_000_000_000_000 / u64::from(self.kernel.ask(|k| k.tree.hz)))
    }

    /// Sweeps every state that waits for a CPU. The tick and the task switch that do so are there anyway: only the states cost.
    pub(crate) fn sweep_lazy_flushes(&mut self, index: usize) {
        let cpu = CpuId(index as u16);
        let waits = |state: &State| state.waiting.contains(cpu);
        if !self.lazy.states.iter().any(waits) {
            return;
        }
        let part = std::mem::replace(&mut self.cpus[index].part, Part::IpiHandler);
        let mut states = std::mem::take(&mut self.lazy.states);
        for state in states.iter_mut().filter(|state| waits(state)) {
            self.kernel_access_as(index, state.line, Access::Read, Part::IpiHandler);
            self.flush_tlb_func(cpu, &state.info, true);
            self.kernel_access_as(index, state.line, Access::Rmw, Part::IpiHandler);
            state.waiting.remove(cpu);
        }
        states.retain(|state| state.waiting.iter().next().is_some());
        self.lazy.states = states;
        self.cpus[index].part = part;
    }

    /// Whether a range of an address space is in a state that somebody has not swept.
    pub(super) fn has_lazy_flush(&self, mm: MmId, start: u64, end: u64) -> bool {
        let overlaps = |info: &FlushInfo| info.mm == mm && info.start < end && start < info.end;
        self.lazy.states.iter().any(|state| overlaps(&state.info))
    }

    /// Keeps a frame from use for two ticks, where flushes are lazy. Whether it does.
    pub(crate) fn keep_frame(&mut self, frame: Pfn) -> bool {
        let lazy = self.kernel.ask(|k| k.tlb_flush.mechanism == FlushMechanism::Lazy);
        if lazy {
            let until = Time(self.latest().0 + 2 * self.tick().0);
            self.lazy.frames.push_back((until, frame));
        }
        lazy
    }

    /// The frames whose two ticks are over.
    pub(crate) fn kept_frames(&mut self) -> Vec<Pfn> {
        if self.lazy.frames.is_empty() {
            return Vec::new();
        }
        let now = self.latest();
        let due = self.lazy.frames.partition_point(|(until, _)| *until <= now);
        self.lazy.frames.drain(..due).map(|(_, frame)| frame).collect()
    }

    fn latest(&self) -> Time {
        self.memory.acting().time
    }
}
