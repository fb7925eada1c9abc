//! TLB maintenance: `arch/x86/mm/tlb.c` (spec section 5).

use daxsim_types::{CacheLine, CpuId, Time, VirtAddr};

use super::broadcast::{broadcast_tlb_flush, consider_global_asid};
use super::mm::MmId;
use super::pti::kern_pcid;
use crate::apic::{ShootdownIpi, icr_writes};
use crate::engine::{Cx, Moment, Sys};
use crate::machine::Machine;
use crate::measure::{FlushReason, Part, PathStep};
use crate::memory::Access;

/// `struct flush_tlb_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushInfo {
    /// Whose translations.
    pub mm: MmId,
    /// First address.
    pub start: u64,
    /// Address after the last; [`u64::MAX`] for everything.
    pub end: u64,
    /// log2 of the distance between entries.
    pub stride_shift: u32,
    /// Whether page tables were freed, so that lazy CPUs may not be left out.
    pub freed_tables: bool,
    /// `new_tlb_gen`.
    pub generation: u64,
    /// Whether CPUs that left the mm are interrupted too, to be taken out of its mask.
    pub trim_cpumask: bool,
}

impl FlushInfo {
    /// Whether the whole address space is meant.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.end == u64::MAX
    }

    /// Strides in the range.
    #[must_use]
    pub const fn strides(&self) -> u64 {
        (self.end - self.start) >> self.stride_shift
    }
}

/// `flush_tlb_mm_range` (spec 5.3).
pub(crate) async fn flush_tlb_mm_range(
    cx: &Cx<'_>,
    mm: MmId,
    range: (u64, u64),
    shift: u32,
    freed_tables: bool,
) {
    cx.note(PathStep::Event("flush_tlb_mm_range"));
    let before = cx.set_part(Part::Flush);
    let began = cx.now();
    let (path, gen_line, mask_line) = cx.with(|m| {
        let space = m.mm(mm);
        (m.kernel.path_length.common.flush_request, space.gen_line, space.mask_line)
    });
    cx.work(path);
    cx.rmw(gen_line).await;
    cx.load(mask_line).await;
    let (mut info, others) = cx.with(|m| {
        m.measure.shootdowns.requests += 1;
        let ceiling = u64::from(m.kernel.tree.flush_ceiling_pages);
        let space = m.mm_mut(mm);
        space.tlb_gen += 1;
        let generation = space.tlb_gen;
        let full = range.1 == u64::MAX || (range.1 - range.0) >> shift > ceiling;
        let (start, end) = if full { (0, u64::MAX) } else { range };
        let others = space.cpumask.iter().filter(|cpu| *cpu != cx.cpu()).count();
        (
            FlushInfo { mm, start, end, stride_shift: shift, freed_tables, generation, trim_cpumask: false },
            others,
        )
    });
    if let Some(asid) = cx.with(|m| m.mm(mm).global_asid) {
        broadcast_tlb_flush(cx, info, asid).await;
    } else if others > 0 {
        info.trim_cpumask = cx.with(|m| m.should_trim_cpumask(cx.cpu(), mm));
        flush_tlb_multi(cx, info).await;
        consider_global_asid(cx, mm).await;
    } else {
        cx.with(|m| m.local_flush(cx.cpu(), &info));
    }
    cx.with(|m| {
        let now = m.cpus[cx.cpu().index()].now;
        m.measure.shootdowns.initiator_time += now.saturating_sub(began);
    });
    cx.set_part(before);
}

/// `native_flush_tlb_multi` and `smp_call_function_many_cond` (spec 5.5): tell the others, flush here, wait for all.
pub(super) async fn flush_tlb_multi(cx: &Cx<'_>, info: FlushInfo) {
    let (candidates, path, icr_cost) = cx.with(|m| {
        let pages = if info.is_full() { None } else { Some((info.end - info.start) >> 12) };
        m.flush_event(cx.cpu(), FlushReason::RemoteSendIpi, pages);
        let candidates: Vec<CpuId> = m.mm(info.mm).cpumask.iter().filter(|cpu| *cpu != cx.cpu()).collect();
        (candidates, m.kernel.path_length.common.flush_send_target, m.spec.ipi.icr_write)
    });
    let mut targets = Vec::with_capacity(candidates.len());
    for cpu in candidates {
        let (state_line, csd_line) = cx.with(|m| (m.shared_tlb_state_line(cpu), m.csd_line(cpu)));
        cx.load(state_line).await;
        if cx.with(|m| m.should_flush(cpu, &info)) {
            cx.work(path);
            cx.rmw(csd_line).await;
            targets.push(cpu);
        }
    }
    cx.sync().await;
    for _ in 0..icr_writes(&targets) {
        cx.spend(icr_cost);
    }
    cx.with(|m| {
        m.measure.shootdowns.broadcasts += u64::from(!targets.is_empty());
        let sent = m.cpus[cx.cpu().index()].now;
        m.cpus[cx.cpu().index()].pending_answers = targets.len() as u32;
        m.cpus[cx.cpu().index()].answered = sent;
        for target in &targets {
            let moment = m.post_shootdown(*target, ShootdownIpi { arrives: sent, initiator: cx.cpu(), info });
            cx.sys().pull_horizon(moment);
        }
    });
    cx.with(|m| m.local_flush(cx.cpu(), &info));
    wait_for_answers(cx).await;
    for target in targets {
        // csd_lock_wait: the released word comes from the target's cache.
        let line = cx.with(|m| m.csd_line(target));
        cx.load(line).await;
    }
}

async fn wait_for_answers(cx: &Cx<'_>) {
    let index = cx.cpu().index();
    let waits = cx.with(|m| {
        let waits = m.cpus[index].pending_answers > 0;
        if waits {
            m.block(index, Part::IpiWait);
        }
        waits
    });
    if waits {
        cx.blocked().await;
    }
}

impl Machine {
    /// Counts a `tlb:tlb_flush` event and notes it in the fault that the CPU is handling.
    pub(crate) fn flush_event(&mut self, cpu: CpuId, reason: FlushReason, pages: Option<u64>) {
        self.measure.flush_event(reason, pages);
        if reason != FlushReason::RemoteShootdown {
            self.note_flush_in_fault(cpu, reason, pages);
        }
    }

    /// `should_flush_tlb` (spec 5.5): lazy CPUs catch up at their next switch unless tables were freed.
    fn should_flush(&self, cpu: CpuId, info: &FlushInfo) -> bool {
        let state = &self.cpus[cpu.index()].tlb_state;
        info.freed_tables
            || self.mm(info.mm).asid_transition
            || (!state.lazy && (state.loaded_mm == Some(info.mm) || info.trim_cpumask))
    }

    /// `should_trim_cpumask`: once a second.
    fn should_trim_cpumask(&mut self, cpu: CpuId, mm: MmId) -> bool {
        let (now, second) = (self.jiffies(cpu), u64::from(self.kernel.tree.hz));
        let space = self.mm_mut(mm);
        let due = now > space.next_trim_cpumask;
        if due {
            space.next_trim_cpumask = now + second;
        }
        due
    }

    fn post_shootdown(&mut self, target: CpuId, mut ipi: ShootdownIpi) -> Moment {
        ipi.arrives += self.spec.ipi.delivery;
        self.measure.shootdowns.ipis_sent += 1;
        let cpu = &mut self.cpus[target.index()];
        let at = cpu.inbox.partition_point(|other| other.arrives <= ipi.arrives);
        cpu.inbox.insert(at, ipi);
        Moment { time: ipi.arrives.max(cpu.now), cpu: target.index() }
    }

    /// The initiator's own flush, interrupts off.
    fn local_flush(&mut self, cpu: CpuId, info: &FlushInfo) {
        if self.mm(info.mm).cpumask.contains(cpu) {
            self.flush_tlb_func(cpu, info, false);
        }
    }

    /// The shootdown interrupt at the head of a CPU's queue: entry, `flush_tlb_func`, release of the csd, exit.
    pub(crate) fn handle_interrupt(&mut self, sys: &Sys, index: usize) {
        let Some(ipi) = self.cpus[index].inbox.pop_front() else { return };
        let target = CpuId(index as u16);
        let (entry, exit) = (self.spec.ipi.handler_entry, self.spec.ipi.handler_exit);
        let cpu = &mut self.cpus[index];
        let began = cpu.now;
        let interrupted = std::mem::replace(&mut cpu.part, Part::IpiHandler);
        cpu.spend(entry);
        // An idle CPU is in the kernel.
        let lazy = cpu.tlb_state.lazy;
        let from_user = !lazy && self.enter_kernel_half(index);
        let csd = self.csd_line(target);
        self.kernel_access_as(index, csd, Access::Rmw, Part::IpiHandler);
        self.flush_tlb_func(target, &ipi.info, true);
        self.kernel_access_as(index, csd, Access::Write, Part::IpiHandler);
        let answered = self.cpus[index].now;
        if from_user {
            self.enter_user_half(index);
        }
        self.cpus[index].spend(exit);
        self.cpus[index].part = interrupted;
        self.measure.shootdowns.ipis_received += 1;
        self.measure.shootdowns.responder_time += self.cpus[index].now - began;
        self.answer(sys, ipi.initiator, answered);
    }

    /// Tells the initiator that one more target is done. Targets are simulated in the order in which they begin, so the last
    /// to be heard of need not be the last to finish.
    fn answer(&mut self, sys: &Sys, initiator: CpuId, at: Time) {
        let waiting = &mut self.cpus[initiator.index()];
        waiting.pending_answers = waiting.pending_answers.saturating_sub(1);
        waiting.answered = waiting.answered.max(at);
        let at = waiting.answered;
        let last = waiting.pending_answers == 0;
        if last && waiting.state == crate::cpu::RunState::Blocked(Part::IpiWait) {
            let moment = self.wake(initiator.index(), at);
            sys.pull_horizon(moment);
        }
    }

    /// `flush_tlb_func` (spec 5.4).
    fn flush_tlb_func(&mut self, cpu: CpuId, info: &FlushInfo, remote: bool) {
        let index = cpu.index();
        let path = self.kernel.path_length.common.flush_func;
        self.cpus[index].work(path);
        let reason = if remote { FlushReason::RemoteShootdown } else { FlushReason::LocalMmShootdown };
        let state = &self.cpus[index].tlb_state;
        if state.loaded_mm != Some(info.mm) {
            if remote && !self.kernel.tree.cpumask_cleared_on_switch {
                self.mm_mut(info.mm).cpumask.remove(cpu);
                self.flush_event(cpu, FlushReason::RemoteWrongCpu, Some(0));
            }
            return;
        }
        if self.asid_is_out_of_date(cpu, info.mm) {
            self.load_mm(cpu, info.mm);
        }
        let state = &self.cpus[index].tlb_state;
        if state.has_global_asid() {
            // INVLPGB keeps it up to date.
            return;
        }
        if state.lazy {
            self.leave_mm(cpu);
            return;
        }
        let local = state.generation();
        if info.generation <= local {
            return;
        }
        let current = self.mm(info.mm).tlb_gen;
        let one_by_one = !info.is_full() && info.generation == local + 1 && info.generation == current;
        let pages = if one_by_one {
            self.invalidate_range(index, info);
            Some(info.strides())
        } else {
            self.flush_current_pcid(index);
            self.measure.shootdowns.full_flushes += 1;
            None
        };
        self.cpus[index].tlb_state.catch_up(current);
        self.flush_event(cpu, reason, pages);
    }

    fn invalidate_range(&mut self, index: usize, info: &FlushInfo) {
        let mut va = info.start;
        while va < info.end {
            self.flush_tlb_one_user(index, VirtAddr(va));
            va += 1 << info.stride_shift;
        }
        self.measure.shootdowns.pages += info.strides();
    }

    /// `flush_tlb_local`: marks the user half and reloads CR3 as it is, without NOFLUSH.
    fn flush_current_pcid(&mut self, index: usize) {
        let (root, pcid) = (self.cpus[index].cr3, self.cpus[index].pcid);
        self.invalidate_user_asid(index, self.cpus[index].tlb_state.asid);
        self.mov_cr3(index, root, pcid, false);
    }

    /// A lazy CPU that is interrupted goes over to `init_mm`. What it had cached stays under its old PCID, if there are
    /// PCIDs; the generations tell that it is out of date.
    fn leave_mm(&mut self, cpu: CpuId) {
        let index = cpu.index();
        let (root, pcid) = (self.cpus[index].cr3, self.cpus[index].pcid);
        self.mov_cr3(index, root, pcid, true);
        if let Some(mm) = self.cpus[index].tlb_state.loaded_mm.take() {
            self.mm_mut(mm).cpumask.remove(cpu);
        }
        self.cpus[index].tlb_state.lazy = false;
    }

    /// `switch_mm_irqs_off` (spec 5.7): makes `mm` the address space of a CPU.
    pub(crate) fn switch_mm(&mut self, cpu: CpuId, mm: MmId) {
        let loaded = self.cpus[cpu.index()].tlb_state.loaded_mm;
        if loaded == Some(mm) {
            self.stay_in_mm(cpu, mm);
            return;
        }
        if let Some(old) = loaded
            && self.kernel.tree.cpumask_cleared_on_switch
        {
            self.mm_mut(old).cpumask.remove(cpu);
        }
        self.mm_mut(mm).cpumask.insert(cpu);
        self.load_mm(cpu, mm);
    }

    /// The switch to the address space that is loaded already: of another thread, or back from lazy mode.
    fn stay_in_mm(&mut self, cpu: CpuId, mm: MmId) {
        if self.asid_is_out_of_date(cpu, mm) {
            self.load_mm(cpu, mm);
            return;
        }
        let (index, generation) = (cpu.index(), self.mm(mm).tlb_gen);
        let was_lazy = std::mem::replace(&mut self.cpus[index].tlb_state.lazy, false);
        if was_lazy && self.cpus[index].tlb_state.generation() < generation {
            self.flush_current_pcid(index);
            self.cpus[index].tlb_state.catch_up(generation);
            self.flush_event(cpu, FlushReason::TaskSwitch, None);
        }
    }

    /// `choose_new_asid` and `load_new_mm_cr3`. A global ASID is never flushed here.
    fn load_mm(&mut self, cpu: CpuId, mm: MmId) {
        let index = cpu.index();
        let space = self.mm(mm);
        let (generation, root, global) = (space.tlb_gen, space.pgd, space.global_asid);
        let pcid_enabled = self.spec.mmu.pcid;
        let state = &mut self.cpus[index];
        let (asid, flush) = match global {
            Some(asid) => (asid, false),
            None => state.tlb_state.choose_asid(mm, generation, pcid_enabled),
        };
        state.tlb_state.load(asid, mm, generation);
        if flush {
            self.invalidate_user_asid(index, asid);
        }
        self.mov_cr3(index, root, kern_pcid(asid), !flush);
        self.flush_event(cpu, FlushReason::TaskSwitch, if flush { None } else { Some(0) });
    }

    /// Line of a CPU's `is_lazy` (spec 7.1: Llz).
    pub(super) fn shared_tlb_state_line(&self, cpu: CpuId) -> CacheLine {
        self.percpu_lines[cpu.index()].0
    }

    /// Line of a CPU's call-single queue and data (Lcsd).
    fn csd_line(&self, cpu: CpuId) -> CacheLine {
        self.percpu_lines[cpu.index()].1
    }
}
