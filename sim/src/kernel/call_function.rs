//! Calls of a function on other CPUs: `kernel/smp.c` (spec 5.5).
//!
//! A call has a call-single data (csd) for each pair of CPUs, whose word the initiator takes and the target gives back. It goes into
//! the target's queue, and only who finds the queue empty sends an interrupt: its handler takes all that is there by then.

use daxsim_configs::kernel::IpiDestination;
use daxsim_types::{CacheLine, CpuId, Time};

use super::flush::FlushInfo;
use super::{KernelLines, LineName};
use crate::apic::{Addressing, Vector};
use crate::cpu::RunState;
use crate::engine::{Cx, Sys};
use crate::machine::Machine;
use crate::measure::{Constant, Part};
use crate::memory::Access;

/// An entry of `call_single_queue`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Who waits for the answer.
    pub initiator: CpuId,
    /// What `flush_tlb_func` is called with.
    pub info: FlushInfo,
    /// When it was put into the queue.
    pub asked: Time,
}

/// Lines of the calls, in simulated memory.
#[derive(Debug)]
pub(crate) struct CallLines {
    cpus: usize,
    /// Of each CPU: `cpu_tlbstate_shared` (Llz), and the head of `call_single_queue`.
    own: Vec<(CacheLine, CacheLine)>,
    /// Of each CPU: `cpu_tlbstate`, which it writes at each flush.
    private: Vec<CacheLine>,
    /// Of each pair: the csd (Lcsd). Then of each CPU: `flush_tlb_info`.
    shared: CacheLine,
    count: u64,
    consolidated: bool,
}

impl CallLines {
    /// Lines for `cpus`.
    pub fn new(cpus: u16, lines: &mut KernelLines, consolidated: bool) -> Self {
        let own =
            (0..cpus).map(|_| (lines.fresh(LineName::TlbState), lines.fresh(LineName::CallQueue))).collect();
        let private = (0..cpus).map(|_| lines.fresh(LineName::OwnTlbState)).collect();
        let cpus = usize::from(cpus);
        let (shared, count) = lines.reserve((cpus * (cpus + 1)) as u64, LineName::CallData);
        Self { cpus, own, private, shared, count, consolidated }
    }

    fn shared(&self, at: usize) -> CacheLine {
        CacheLine(self.shared.0 + at as u64 % self.count)
    }

    /// Line of a CPU's `is_lazy`.
    pub fn tlb_state(&self, cpu: CpuId) -> CacheLine {
        self.own[cpu.index()].0
    }

    /// Line of a CPU's `loaded_mm` and of the generations that it has reached.
    pub fn own_tlb_state(&self, cpu: CpuId) -> CacheLine {
        self.private[cpu.index()]
    }

    /// Line of the head of a CPU's queue.
    pub fn queue(&self, cpu: CpuId) -> CacheLine {
        let (lazy, queue) = self.own[cpu.index()];
        if self.consolidated { lazy } else { queue }
    }

    fn csd(&self, from: CpuId, to: CpuId) -> CacheLine {
        self.shared(from.index() * self.cpus + to.index())
    }

    /// Line of what a CPU wants flushed, if the csd does not hold it.
    fn info(&self, from: CpuId) -> Option<CacheLine> {
        (!self.consolidated).then(|| self.shared(self.cpus * self.cpus + from.index()))
    }
}

/// `smp_call_function_many_cond` up to the interrupts: puts a call into the queue of each of `candidates` that is `wanted`. Returns
/// whom it called.
pub(super) async fn call_function_many(
    cx: &Cx<'_>,
    candidates: &[CpuId],
    info: FlushInfo,
    wanted: impl Fn(&Machine, CpuId) -> bool,
) -> Vec<CpuId> {
    let me = cx.cpu();
    let (path, info_line) =
        cx.with(|m| (m.kernel.ask(|k| k.path_length.common.flush_send_target), m.call_lines.info(me)));
    // Plain stores leave the core side by side; the locked operation waits for those before it.
    let mut stores = cx.stores();
    if let Some(line) = info_line {
        stores.store(line).await;
    }
    cx.on_cpu(|c| c.answered = c.now);
    let (mut called, mut interrupted) =
        (Vec::with_capacity(candidates.len()), Vec::with_capacity(candidates.len()));
    for cpu in candidates.iter().copied() {
        let [state, csd, queue] =
            cx.with(|m| [m.call_lines.tlb_state(cpu), m.call_lines.csd(me, cpu), m.call_lines.queue(cpu)]);
        if let Some(line) = cx.with(|m| m.line_of_loaded_mm(cpu)) {
            cx.load(line).await;
        }
        cx.load(state).await;
        if !cx.with(|m| wanted(m, cpu)) {
            continue;
        }
        cx.work(path);
        stores.store(csd).await;
        stores.drain();
        // llist_add
        cx.rmw(queue).await;
        let was_empty = cx.with(|m| {
            m.cpus[me.index()].pending_answers += 1;
            let asked = m.cpus[me.index()].now;
            let queue = &mut m.cpus[cpu.index()].call_queue;
            queue.push(Call { initiator: me, info, asked });
            queue.len() == 1
        });
        called.push(cpu);
        if was_empty {
            interrupted.push(cpu);
        }
    }
    stores.finish();
    cx.sync().await;
    cx.with(|m| {
        m.measure.shootdowns.broadcasts += u64::from(!called.is_empty());
        m.measure.shootdowns.ipis_sent += interrupted.len() as u64;
        m.measure.shootdowns.ipis_saved += (called.len() - interrupted.len()) as u64;
        m.measure.over_time.interrupts(m.cpus[me.index()].now, interrupted.len());
        let how = m.addressing(interrupted.len());
        m.send_ipi(cx.sys(), me, &interrupted, (how, Vector::CallFunction));
    });
    called
}

/// `csd_lock_wait` for each of `called`: the released word comes from the target's cache.
pub(super) async fn wait_for_answers(cx: &Cx<'_>, called: &[CpuId]) {
    let index = cx.cpu().index();
    let began = cx.now();
    cx.wait_for_answers().await;
    // The loop is predicted to find every word given back, so that their lines come side by side.
    let mut words = cx.stores();
    for target in called {
        let line = cx.with(|m| m.call_lines.csd(cx.cpu(), *target));
        words.load(line).await;
    }
    words.finish();
    if !called.is_empty() {
        cx.with(|m| {
            let waited = m.cpus[index].now.saturating_sub(began);
            m.measure.shootdown_times.wait.record(waited);
        });
    }
}

impl Cx<'_> {
    /// Waits until every CPU that this one asked for something has answered.
    pub(crate) async fn wait_for_answers(&self) {
        let waits = self.with(|m| {
            let index = self.cpu().index();
            let waits = m.cpus[index].pending_answers > 0;
            if waits {
                m.block(index, Part::IpiWait);
            } else {
                // All have answered while others were still being told.
                let cpu = &mut m.cpus[index];
                let answered = cpu.answered;
                cpu.wait_until(answered, Part::IpiWait);
            }
            waits
        });
        if waits {
            self.blocked().await;
        }
    }
}

impl Machine {
    /// How the kernel addresses an interrupt to so many CPUs: `native_send_call_func_single_ipi`, `native_send_call_func_ipi`,
    /// `__x2apic_send_IPI_mask`. All CPUs are online.
    pub(super) fn addressing(&self, targets: usize) -> Addressing {
        let all = targets > 1 && targets + 1 == self.cpus.len();
        if all && self.kernel.ask(|k| k.tlb_flush.shorthand) {
            return Addressing::AllButSelf;
        }
        match self.kernel.ask(|k| k.tlb_flush.destination) {
            IpiDestination::Cluster => Addressing::Cluster,
            IpiDestination::Unicast => Addressing::Unicast,
        }
    }

    /// The next interrupt of a CPU.
    pub(crate) fn handle_interrupt(&mut self, sys: &Sys, index: usize) {
        let Some(interrupt) = self.cpus[index].take_interrupt() else { return };
        let (arrived, began) = (interrupt.arrives, self.cpus[index].now);
        match interrupt.vector {
            Vector::CallFunction => self.call_function_interrupt(sys, index, arrived),
            Vector::RemoteAction => self.serve_remote_actions(sys, index),
            Vector::LazySweep => self.sweep_lazy_flushes(index),
        }
        sys.tell_taken(self, index, arrived, began);
    }

    /// `sysvec_call_function`: entry, the calls in the queue, exit. If isolated tables are loaded for user mode, it also changes
    /// them, twice.
    fn call_function_interrupt(&mut self, sys: &Sys, index: usize, arrived: Time) {
        let (entry, exit) = (self.spec.ipi.handler_entry, self.spec.ipi.handler_exit);
        let cpu = &mut self.cpus[index];
        let began = cpu.now;
        let interrupted = std::mem::replace(&mut cpu.part, Part::IpiHandler);
        cpu.spend_constant(Constant::HandlerEntry, entry);
        // An idle CPU is in the kernel.
        let lazy = cpu.tlb_state.lazy;
        let from_user = !lazy && self.enter_kernel_half(index);
        self.flush_smp_call_function_queue(sys, index);
        if from_user {
            self.enter_user_half(index);
        }
        let cpu = &mut self.cpus[index];
        cpu.spend_constant(Constant::HandlerExit, exit);
        cpu.part = interrupted;
        let took = cpu.now.saturating_sub(began);
        self.measure.shootdowns.ipis_received += 1;
        self.measure.shootdowns.responder_time += took;
        self.measure.shootdown_times.disruption.record(took);
        self.measure.shootdown_times.masked.record(began.saturating_sub(arrived));
    }

    /// `flush_smp_call_function_queue`: the flushes that are asked for, oldest first.
    fn flush_smp_call_function_queue(&mut self, sys: &Sys, index: usize) {
        let target = CpuId(index as u16);
        let early_ack = self.kernel.ask(|k| k.tlb_flush.early_ack);
        let access = |m: &mut Self, line, access| m.kernel_access_as(index, line, access, Part::IpiHandler);
        // llist_del_all
        access(self, self.call_lines.queue(target), Access::Rmw);
        let mut calls = std::mem::take(&mut self.cpus[index].call_queue);
        for call in calls.drain(..) {
            let Call { initiator, info, .. } = call;
            let csd = self.call_lines.csd(initiator, target);
            let generation = self.load_generation(target, &info);
            access(self, csd, Access::Read);
            if let Some(line) = self.call_lines.info(initiator) {
                access(self, line, Access::Read);
            }
            if let Some(there) = generation {
                self.cpus[index].wait_until(there, Part::IpiHandler);
            }
            // Freed tables could still be walked: there the answer has to wait for the flush.
            let early = early_ack && !info.freed_tables;
            if early {
                self.csd_unlock(sys, index, call, csd);
            }
            let done = |m: &Self| (m.measure.shootdowns.pages, m.measure.shootdowns.full_flushes);
            let before = done(self);
            self.flush_tlb_func(target, &info, true);
            let after = done(self);
            let pair = self.measure.shootdown_pairs.between(initiator, target);
            pair.pages += after.0 - before.0;
            pair.full_flushes += after.1 - before.1;
            if !early {
                self.csd_unlock(sys, index, call, csd);
            }
        }
        // The queue keeps its room.
        self.cpus[index].call_queue = calls;
    }

    /// Gives the word of a csd back, which answers its initiator.
    fn csd_unlock(&mut self, sys: &Sys, index: usize, call: Call, csd: CacheLine) {
        self.kernel_access_as(index, csd, Access::Write, Part::IpiHandler);
        let answered = self.cpus[index].now;
        let pair = self.measure.shootdown_pairs.between(call.initiator, CpuId(index as u16));
        pair.answered(answered.saturating_sub(call.asked));
        self.answer(sys, call.initiator, answered);
    }

    /// Tells the initiator that one more target is done. Targets are simulated in the order in which they begin, so the last
    /// to be heard of need not be the last to finish.
    pub(crate) fn answer(&mut self, sys: &Sys, initiator: CpuId, at: Time) {
        let waiting = &mut self.cpus[initiator.index()];
        waiting.pending_answers = waiting.pending_answers.saturating_sub(1);
        waiting.answered = waiting.answered.max(at);
        let at = waiting.answered;
        let last = waiting.pending_answers == 0;
        if last && waiting.state == RunState::Blocked(Part::IpiWait) {
            let moment = self.wake(initiator.index(), at);
            sys.pull_horizon(moment);
        }
    }
}
