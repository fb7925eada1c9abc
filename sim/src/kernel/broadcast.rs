//! TLB flushes by INVLPGB under global ASIDs: the same PCID for an address space on every CPU, so that one instruction
//! reaches its entries wherever they are (spec 5.9; arch/x86/mm/tlb.c of 7.2).

use daxsim_configs::kernel::FlushMechanism;
use daxsim_types::{CpuId, Time};

use super::flush::{FlushInfo, flush_tlb_multi};
use super::mm::MmId;
use super::pti::{kern_pcid, user_pcid};
use super::tlbstate::DYNAMIC_ASIDS;
use crate::apic::remote_action;
use crate::engine::{Cx, LockId, LockMode};
use crate::machine::Machine;
use crate::mmu::broadcast::{Broadcast, invlpgb, tlbsync};

/// An address space that runs on more CPUs than this gets a global ASID (`consider_global_asid`).
const ACTIVE_CPUS: usize = 3;
/// Bits of the task's number that must equal those of the time for a flush to be looked at.
const SAMPLE_MASK: u64 = 0x1f;
/// `PMD_SHIFT`: INVLPGB counts pages at this stride or at that of 4 KiB.
const PMD_SHIFT: u32 = 21;

/// `global_asid_used` and its like: which global ASIDs are in use. One that is given back may be handed out again only after
/// a flush of everything, when the numbers have been used up.
#[derive(Debug)]
pub struct GlobalAsids {
    used: Vec<bool>,
    freed: Vec<bool>,
    last: usize,
    available: usize,
    pub(crate) lock: LockId,
}

impl GlobalAsids {
    /// None in use. The first allocation begins with a flush, as the kernel's does.
    #[must_use]
    pub fn new(asids: u32, lock: LockId) -> Self {
        let asids = asids as usize;
        let available = asids.saturating_sub(DYNAMIC_ASIDS + 1);
        Self { used: vec![false; asids], freed: vec![false; asids], last: asids, available, lock }
    }

    /// Whether the numbers are used up, so that everything must be flushed before the next is taken.
    fn at_the_end(&self) -> bool {
        self.last + 1 >= self.used.len()
    }

    /// `reset_global_asid_space`, after its flush: what was given back can be had again, unless a CPU still has it loaded
    /// (the kernel gives an ASID back only when the last CPU has left the address space).
    fn reset(&mut self, loaded: &[usize]) {
        for asid in 0..self.used.len() {
            if self.freed[asid] && !loaded.contains(&asid) {
                (self.used[asid], self.freed[asid]) = (false, false);
            }
        }
        self.last = DYNAMIC_ASIDS;
    }

    /// `allocate_global_asid`.
    fn take(&mut self) -> Option<usize> {
        let asid = (self.last..self.used.len()).find(|asid| !self.used[*asid])?;
        self.used[asid] = true;
        self.last = asid;
        self.available = self.available.checked_sub(1)?;
        Some(asid)
    }

    fn give_back(&mut self, asid: usize) {
        self.freed[asid] = true;
        self.available += 1;
    }
}

/// Ticks from the start to a time.
fn ticks(at: Time, hz: u32) -> u64 {
    const PICOSECONDS: u128 = 1_000_000_000_000;
    (u128::from(at.0) * u128::from(hz) / PICOSECONDS) as u64
}

/// `consider_global_asid`: looks now and then, after a flush that had to interrupt others, whether the address space is active
/// on so many CPUs that INVLPGB pays.
pub(super) async fn consider_global_asid(cx: &Cx<'_>, mm: MmId) {
    let sampled = cx.with(|m| {
        m.uses_global_asids() && u64::from(mm.0) & SAMPLE_MASK == m.jiffies(cx.cpu()) & SAMPLE_MASK
    });
    if sampled && mm_active_cpus_exceeds(cx, mm, ACTIVE_CPUS).await {
        use_global_asid(cx, mm).await;
    }
}

async fn mm_active_cpus_exceeds(cx: &Cx<'_>, mm: MmId, threshold: usize) -> bool {
    let mask: Vec<CpuId> = cx.with(|m| m.mm(mm).cpumask.iter().collect());
    if mask.len() <= threshold {
        return false;
    }
    let mut active = 0;
    for cpu in mask {
        let line = cx.with(|m| m.shared_tlb_state_line(cpu));
        cx.load(line).await;
        active += usize::from(cx.with(|m| {
            let state = &m.cpus[cpu.index()].tlb_state;
            state.loaded_mm == Some(mm) && !state.lazy
        }));
    }
    active > threshold
}

async fn use_global_asid(cx: &Cx<'_>, mm: MmId) {
    let lock = cx.with(|m| m.global_asids.lock);
    let irqs = cx.set_irqs(false);
    cx.lock(lock, LockMode::Exclusive).await;
    let wanted = cx.with(|m| m.mm(mm).global_asid.is_none() && m.global_asids.available > 0);
    if wanted {
        if cx.with(|m| m.global_asids.at_the_end()) {
            reset_global_asid_space(cx).await;
        }
        cx.with(|m| {
            // mm_assign_global_asid
            if let Some(asid) = m.global_asids.take() {
                let space = m.mm_mut(mm);
                (space.global_asid, space.asid_transition) = (Some(asid), true);
            }
        });
    }
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.set_irqs(irqs);
}

async fn reset_global_asid_space(cx: &Cx<'_>) {
    invlpgb(cx, Broadcast::AllNonGlobal);
    tlbsync(cx).await;
    cx.with(|m| {
        let loaded: Vec<usize> = m.cpus.iter().map(|cpu| cpu.tlb_state.asid).collect();
        m.global_asids.reset(&loaded);
    });
}

/// `mm_free_global_asid`: the address space is gone.
pub(super) async fn mm_free_global_asid(cx: &Cx<'_>, mm: MmId) {
    if cx.with(|m| m.mm(mm).global_asid.is_none()) {
        return;
    }
    let lock = cx.with(|m| m.global_asids.lock);
    let irqs = cx.set_irqs(false);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.with(|m| {
        m.mm_mut(mm).asid_transition = false;
        if let Some(asid) = m.mm_mut(mm).global_asid.take() {
            m.global_asids.give_back(asid);
        }
    });
    cx.unlock(lock, LockMode::Exclusive).await;
    cx.set_irqs(irqs);
}

/// `broadcast_tlb_flush`: the whole address space by its PCID, or a range in as many INVLPGBs as its pages need; then the
/// CPUs that do not use the global ASID yet; then TLBSYNC.
pub(super) async fn broadcast_tlb_flush(cx: &Cx<'_>, info: FlushInfo, asid: usize) {
    if !cx.with(|m| m.uses_invlpgb()) {
        remote_action_flush(cx, info, asid).await;
        finish_asid_transition(cx, info, asid).await;
        return;
    }
    let (pti, most) = cx.with(|m| (m.kernel.ask(|k| k.tree.pti), u64::from(m.spec.mmu.invlpgb_pages)));
    let pcids = [Some(kern_pcid(asid)), pti.then(|| user_pcid(asid))];
    if info.is_full() {
        for pcid in pcids.into_iter().flatten() {
            invlpgb(cx, Broadcast::Pcid(pcid));
        }
    } else {
        let (mut at, shift) = (info.start, info.stride_shift);
        while at < info.end {
            let count = if shift <= PMD_SHIFT { ((info.end - at) >> shift).clamp(1, most) } else { 1 };
            for pcid in pcids.into_iter().flatten() {
                invlpgb(cx, Broadcast::Pages { pcid, start: at, count, stride_shift: shift });
            }
            at += count << shift;
        }
    }
    finish_asid_transition(cx, info, asid).await;
    tlbsync(cx).await;
}

/// The same by a remote action request to the CPUs of the mask (R. van Riel's series of 2025): one for each PCID.
async fn remote_action_flush(cx: &Cx<'_>, info: FlushInfo, asid: usize) {
    let (pcids, targets, how) = cx.with(|m| {
        let pti = m.kernel.ask(|k| k.tree.pti).then(|| user_pcid(asid));
        let targets: Vec<CpuId> = m.mm(info.mm).cpumask.iter().filter(|cpu| *cpu != cx.cpu()).collect();
        let how = m.addressing(targets.len());
        ([Some(kern_pcid(asid)), pti], targets, how)
    });
    for pcid in pcids.into_iter().flatten() {
        let action = if info.is_full() {
            Broadcast::Pcid(pcid)
        } else {
            let count = (info.end - info.start).div_ceil(1 << info.stride_shift);
            Broadcast::Pages { pcid, start: info.start, count, stride_shift: info.stride_shift }
        };
        remote_action(cx, &targets, action, how, |m| m.invalidate_as_asked(cx.cpu().index(), action)).await;
    }
}

/// `finish_asid_transition`: as long as one CPU runs the address space under an ASID of its own, all are interrupted.
async fn finish_asid_transition(cx: &Cx<'_>, info: FlushInfo, asid: usize) {
    if !cx.with(|m| m.mm(info.mm).asid_transition) {
        return;
    }
    for cpu in cx.with(|m| m.mm(info.mm).cpumask.iter().collect::<Vec<CpuId>>()) {
        let line = cx.with(|m| m.shared_tlb_state_line(cpu));
        cx.load(line).await;
        let straggles = cx.with(|m| {
            let state = &m.cpus[cpu.index()].tlb_state;
            state.loaded_mm == Some(info.mm) && state.asid != asid
        });
        if straggles {
            flush_tlb_multi(cx, info).await;
            return;
        }
    }
    cx.with(|m| m.mm_mut(info.mm).asid_transition = false);
}

impl Machine {
    /// Whether flushes may go by INVLPGB: the tree knows it and the CPUs have it.
    #[must_use]
    pub fn uses_invlpgb(&self) -> bool {
        self.spec.mmu.has_invlpgb()
            && self.kernel.ask(|k| k.tree.invlpgb && k.tlb_flush.mechanism == FlushMechanism::Ipi)
    }

    /// Whether address spaces on many CPUs get a global ASID: for INVLPGB, or for remote action requests.
    #[must_use]
    pub fn uses_global_asids(&self) -> bool {
        let has_rar = self.spec.ipi.rar_entries > 0 && self.spec.mmu.pcid;
        let rar = || self.kernel.ask(|k| k.tlb_flush.rar && k.tlb_flush.mechanism == FlushMechanism::Ipi);
        self.uses_invlpgb() || (has_rar && rar())
    }

    /// `jiffies` as a CPU reads it.
    pub(super) fn jiffies(&self, cpu: CpuId) -> u64 {
        ticks(self.cpus[cpu.index()].now, self.kernel.ask(|k| k.tree.hz))
    }

    /// `jiffies` between steps.
    pub(crate) fn now_in_jiffies(&self) -> u64 {
        ticks(self.memory.acting().time, self.kernel.ask(|k| k.tree.hz))
    }

    /// `mm_needs_global_asid`: whether a CPU must reload CR3 because its address space got a global ASID, or lost it.
    pub(super) fn asid_is_out_of_date(&self, cpu: CpuId, mm: MmId) -> bool {
        let state = &self.cpus[cpu.index()].tlb_state;
        match self.mm(mm).global_asid {
            Some(asid) => state.asid != asid,
            None => state.has_global_asid(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asids(count: u32) -> GlobalAsids {
        let mut locks = crate::engine::Locks::default();
        GlobalAsids::new(
            count,
            locks.create(crate::engine::LockClass::GlobalAsid, daxsim_types::CacheLine(1)),
        )
    }

    #[test]
    fn a_number_given_back_comes_again_only_after_the_end_of_the_space() {
        let mut asids = asids(10);
        assert!(asids.at_the_end(), "the first allocation resets");
        asids.reset(&[]);
        assert_eq!([asids.take(), asids.take()], [Some(6), Some(7)]);
        asids.give_back(6);
        assert!(!asids.at_the_end());
        assert_eq!([asids.take(), asids.take()], [Some(8), Some(9)]);
        assert_eq!(asids.available, 0);
        asids.give_back(7);
        assert!(asids.at_the_end());
        asids.reset(&[7]);
        assert_eq!((asids.take(), asids.take()), (Some(6), None), "7 is still loaded somewhere");
    }

    #[test]
    fn ticks_are_counted_from_the_start() {
        assert_eq!(ticks(Time::from_ns(3_999_999), 250), 0);
        assert_eq!(ticks(Time::from_ns(4_000_000), 250), 1);
        assert_eq!(ticks(Time::from_ns(3_600_000_000_000), 1000), 3_600_000);
    }
}
