//! TLB maintenance: `arch/x86/mm/tlb.c` (spec section 5).

use daxsim_configs::kernel::FlushMechanism;
use daxsim_types::{CacheLine, CpuId, Time, VirtAddr};

use super::broadcast::{broadcast_tlb_flush, consider_global_asid};
use super::call_function::{call_function_many, wait_for_answers};
use super::lazy_flush::flush_lazily;
use super::mm::MmId;
use super::pti::{kern_pcid, user_pcid};
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::{FlushReason, Part, PathStep};
use crate::memory::Access;
use crate::mmu::broadcast::Broadcast;

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

/// What a flush is for, which some mechanisms make a difference of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rights were taken away, or tables.
    Change,
    /// Memory was given up, and nobody reuses it before the flush.
    Free,
    /// The faulting CPU got a copy of the page.
    Copy,
}

/// `flush_tlb_mm_range` (spec 5.3).
pub(crate) async fn flush_tlb_mm_range(
    cx: &Cx<'_>,
    mm: MmId,
    range: (u64, u64),
    shift: u32,
    freed_tables: bool,
) {
    flush_tlb_for(cx, mm, range, (shift, freed_tables), Purpose::Change).await;
}

/// The same, with what it is for.
pub(super) async fn flush_tlb_for(
    cx: &Cx<'_>,
    mm: MmId,
    range: (u64, u64),
    (shift, freed_tables): (u32, bool),
    purpose: Purpose,
) {
    cx.note(PathStep::Event("flush_tlb_mm_range"));
    let began = cx.now();
    if cx.with(|m| m.flush_at_once(began, mm, range, shift)) {
        return;
    }
    let before = cx.set_part(Part::Flush);
    let (path, gen_line, mask_line) = cx.with(|m| {
        let space = m.mm(mm);
        (m.kernel.ask(|k| k.path_length.common.flush_request), space.gen_line, space.mask_line)
    });
    cx.work(path);
    cx.rmw(gen_line).await;
    cx.load(mask_line).await;
    let (mut info, others) = cx.with(|m| {
        m.measure.shootdowns.requests += 1;
        m.measure.over_time.flush(began);
        let (start, end) = m.kernel.ask(|k| widened(range, shift, k.tree.flush_ceiling_pages));
        let space = m.mm_mut(mm);
        space.tlb_gen += 1;
        let generation = space.tlb_gen;
        let others = space.cpumask.iter().filter(|cpu| *cpu != cx.cpu()).count();
        (
            FlushInfo { mm, start, end, stride_shift: shift, freed_tables, generation, trim_cpumask: false },
            others,
        )
    });
    if let Some(asid) = cx.with(|m| m.mm(mm).global_asid) {
        broadcast_tlb_flush(cx, info, asid).await;
    } else if others > 0 && purpose == Purpose::Free && flush_lazily(cx, info).await {
        cx.with(|m| m.local_flush(cx.cpu(), &info));
    } else if others > 0 {
        info.trim_cpumask = cx.with(|m| m.should_trim_cpumask(cx.cpu(), mm));
        flush_tlb_multi(cx, info).await;
        consider_global_asid(cx, mm).await;
    } else {
        cx.with(|m| {
            if purpose != Purpose::Copy || !m.spares_flush_of_copy(cx.cpu(), &info) {
                m.local_flush(cx.cpu(), &info);
            }
        });
    }
    cx.with(|m| {
        let now = m.cpus[cx.cpu().index()].now;
        m.measure.shootdowns.initiator_time += now.saturating_sub(began);
    });
    cx.shootdown_ends(began);
    cx.set_part(before);
}

/// `native_flush_tlb_multi` (spec 5.5): tell the others, flush here, wait for all.
pub(super) async fn flush_tlb_multi(cx: &Cx<'_>, info: FlushInfo) {
    let (candidates, concurrent) = cx.with(|m| {
        let pages = if info.is_full() { None } else { Some((info.end - info.start) >> 12) };
        m.flush_event(cx.cpu(), FlushReason::RemoteSendIpi, pages);
        let mut candidates = Vec::with_capacity(m.cpus.len());
        candidates.extend(m.mm(info.mm).cpumask.iter().filter(|cpu| *cpu != cx.cpu()));
        (candidates, m.kernel.ask(|k| k.tlb_flush.concurrent))
    });
    if !concurrent {
        cx.with(|m| m.local_flush(cx.cpu(), &info));
    }
    let called = call_function_many(cx, &candidates, info, |m, cpu| m.should_flush(cpu, &info)).await;
    if concurrent {
        cx.with(|m| m.local_flush(cx.cpu(), &info));
    }
    wait_for_answers(cx, &called).await;
}

/// Everything, if the range has more pages than are flushed one by one.
fn widened(range: (u64, u64), shift: u32, ceiling: u32) -> (u64, u64) {
    let full = range.1 == u64::MAX || (range.1 - range.0) >> shift > u64::from(ceiling);
    if full { (0, u64::MAX) } else { range }
}

impl Machine {
    /// `tlb_flush.mechanism = "ideal"`: no CPU has the translations any more, and nobody did anything for it. Whether it is so.
    fn flush_at_once(&mut self, at: Time, mm: MmId, range: (u64, u64), shift: u32) -> bool {
        if self.kernel.ask(|k| k.tlb_flush.mechanism != FlushMechanism::Ideal) {
            return false;
        }
        self.measure.shootdowns.requests += 1;
        self.measure.over_time.flush(at);
        let (start, end) = self.kernel.ask(|k| widened(range, shift, k.tree.flush_ceiling_pages));
        let space = self.mm_mut(mm);
        space.tlb_gen += 1;
        let generation = space.tlb_gen;
        let (pcids, halves) = (self.spec.mmu.pcid, self.kernel.ask(|k| k.tree.pti));
        self.recall();
        for cpu in &mut self.cpus {
            let slots = cpu.tlb_state.slots.iter_mut().enumerate();
            for (asid, slot) in slots.filter(|(_, slot)| slot.mm == Some(mm)) {
                slot.generation = generation;
                let user = (pcids && halves).then(|| user_pcid(asid));
                for pcid in [Some(if pcids { kern_pcid(asid) } else { 0 }), user].into_iter().flatten() {
                    let gone = if end == u64::MAX {
                        Broadcast::Pcid(pcid)
                    } else {
                        let count = (end - start).div_ceil(1 << shift);
                        Broadcast::Pages { pcid, start, count, stride_shift: shift }
                    };
                    gone.reach(&mut cpu.tlbs, &mut cpu.psc);
                }
            }
        }
        true
    }

    /// `tlb_flush.cow_avoids_flush`: the #PF has dropped the translation of its own page (Intel SDM vol. 3, 4.10.4.1), and a write of
    /// the kernel through the new entry brings that in. Whether the flush is spared.
    fn spares_flush_of_copy(&mut self, cpu: CpuId, info: &FlushInfo) -> bool {
        let current = self.mm(info.mm).tlb_gen;
        let state = &self.cpus[cpu.index()].tlb_state;
        let next = info.generation == state.generation() + 1 && info.generation == current;
        if !self.kernel.ask(|k| k.tlb_flush.cow_avoids_flush) || state.loaded_mm != Some(info.mm) || !next {
            return false;
        }
        let cpu = &mut self.cpus[cpu.index()];
        cpu.tlbs.drop_page(VirtAddr(info.start), cpu.pcid);
        cpu.tlb_state.catch_up(current);
        self.measure.shootdowns.spared_flushes += 1;
        true
    }

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
        let (now, second) = (self.jiffies(cpu), u64::from(self.kernel.ask(|k| k.tree.hz)));
        let space = self.mm_mut(mm);
        let due = now > space.next_trim_cpumask;
        if due {
            space.next_trim_cpumask = now + second;
        }
        due
    }

    /// The initiator's own flush, interrupts off.
    fn local_flush(&mut self, cpu: CpuId, info: &FlushInfo) {
        if self.mm(info.mm).cpumask.contains(cpu) {
            self.flush_tlb_func(cpu, info, false);
        }
    }

    /// `flush_tlb_func` (spec 5.4).
    pub(super) fn flush_tlb_func(&mut self, cpu: CpuId, info: &FlushInfo, remote: bool) {
        let index = cpu.index();
        let path = self.kernel.ask(|k| k.path_length.common.flush_func);
        self.cpus[index].work(path);
        let reason = if remote { FlushReason::RemoteShootdown } else { FlushReason::LocalMmShootdown };
        let state = &self.cpus[index].tlb_state;
        if state.loaded_mm != Some(info.mm) {
            if remote && !self.kernel.ask(|k| k.tree.cpumask_cleared_on_switch) {
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
        if !remote {
            let (gen_line, part) = (self.mm(info.mm).gen_line, self.cpus[index].part);
            self.kernel_access_as(index, gen_line, Access::Read, part);
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
        // A plain store, which nothing waits for.
        self.kernel_access_in_flight(index, self.call_lines.own_tlb_state(cpu), Access::Write);
        self.flush_event(cpu, reason, pages);
    }

    /// What `should_flush_tlb` reads of another CPU first, since the mask holds CPUs that have left the address space; before that
    /// (`tlb_is_not_lazy`) only whether it is lazy.
    pub(super) fn line_of_loaded_mm(&self, cpu: CpuId) -> Option<CacheLine> {
        (!self.kernel.ask(|k| k.tree.cpumask_cleared_on_switch)).then(|| self.call_lines.own_tlb_state(cpu))
    }

    /// The load of `mm->context.tlb_gen` in `flush_tlb_func`, which the function makes only where the flush is needed. No address that it
    /// needs comes from the call, so that a core makes it beside the loads of the call's data; when it is done.
    pub(super) fn load_generation(&mut self, cpu: CpuId, info: &FlushInfo) -> Option<Time> {
        let state = &self.cpus[cpu.index()].tlb_state;
        let needed = state.loaded_mm == Some(info.mm)
            && !state.lazy
            && !state.has_global_asid()
            && info.generation > state.generation();
        let line = self.mm(info.mm).gen_line;
        needed.then(|| self.kernel_access_in_flight(cpu.index(), line, Access::Read))
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
        self.sweep_lazy_flushes(cpu.index());
        let loaded = self.cpus[cpu.index()].tlb_state.loaded_mm;
        if loaded == Some(mm) {
            self.stay_in_mm(cpu, mm);
            return;
        }
        if let Some(old) = loaded
            && self.kernel.ask(|k| k.tree.cpumask_cleared_on_switch)
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
        self.forget_due_pages(index);
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
        self.call_lines.tlb_state(cpu)
    }
}
