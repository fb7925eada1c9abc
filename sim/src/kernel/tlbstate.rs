//! Per-CPU TLB state of Linux: the loaded mm, the dynamic ASIDs and lazy mode (spec 5.1, 5.2).

use daxsim_types::CpuId;

use super::mm::MmId;
use super::pti::UserFlushes;

/// `TLB_NR_DYN_ASIDS` (arch/x86/include/asm/tlbflush.h).
pub const DYNAMIC_ASIDS: usize = 6;

/// What one ASID slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsidSlot {
    /// The mm, if the slot is in use.
    pub mm: Option<MmId>,
    /// Generation up to which its flushes are done.
    pub generation: u64,
}

/// `cpu_tlbstate` and `cpu_tlbstate_shared`.
#[derive(Clone, Debug)]
pub struct CpuTlbState {
    /// The CPU.
    pub cpu: CpuId,
    /// `loaded_mm`.
    pub loaded_mm: Option<MmId>,
    /// `loaded_mm_asid`.
    pub asid: usize,
    /// `ctxs`.
    pub slots: [AsidSlot; DYNAMIC_ASIDS],
    /// `next_asid`.
    pub next_asid: usize,
    /// `is_lazy`.
    pub lazy: bool,
    /// Whether CR3 has the tables of user mode. Stays false without page-table isolation.
    pub user_half: bool,
    /// `user_pcid_flush_mask`.
    pub user_flushes: UserFlushes,
}

impl CpuTlbState {
    /// A CPU that runs only the kernel's own address space.
    #[must_use]
    pub fn new(cpu: u16) -> Self {
        Self {
            cpu: CpuId(cpu),
            loaded_mm: None,
            asid: 0,
            slots: [AsidSlot::default(); DYNAMIC_ASIDS],
            next_asid: 0,
            lazy: false,
            user_half: false,
            user_flushes: UserFlushes::default(),
        }
    }

    /// `choose_new_asid`: the slot for `mm` and whether it must be flushed when loaded.
    pub fn choose_asid(&mut self, mm: MmId, generation: u64, pcid: bool) -> (usize, bool) {
        if !pcid {
            return (0, true);
        }
        if let Some(slot) = self.slots.iter().position(|s| s.mm == Some(mm)) {
            return (slot, self.slots[slot].generation < generation);
        }
        let slot = self.next_asid % DYNAMIC_ASIDS;
        self.next_asid = (slot + 1) % DYNAMIC_ASIDS;
        (slot, true)
    }

    /// Whether the loaded ASID is one that all CPUs share (spec 5.9).
    #[must_use]
    pub const fn has_global_asid(&self) -> bool {
        self.asid >= DYNAMIC_ASIDS
    }

    /// Generation that the loaded mm has caught up to. A global ASID always has.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.slots.get(self.asid).map_or(u64::MAX, |slot| slot.generation)
    }

    /// Notes that the flushes of the loaded mm are done up to a generation.
    pub fn catch_up(&mut self, generation: u64) {
        if let Some(slot) = self.slots.get_mut(self.asid) {
            slot.generation = generation;
        }
    }

    /// Makes `asid` the loaded one, with the flushes of `mm` done up to `generation`.
    pub fn load(&mut self, asid: usize, mm: MmId, generation: u64) {
        (self.asid, self.loaded_mm, self.lazy) = (asid, Some(mm), false);
        if let Some(slot) = self.slots.get_mut(asid) {
            *slot = AsidSlot { mm: Some(mm), generation };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_address_spaces_keep_their_asids_and_a_seventh_recycles_one() {
        let mut state = CpuTlbState::new(0);
        for mm in 0..6 {
            let (slot, flush) = state.choose_asid(MmId(mm), 0, true);
            assert_eq!((slot, flush), (mm as usize, true));
            state.slots[slot] = AsidSlot { mm: Some(MmId(mm)), generation: 3 };
        }
        assert_eq!(state.choose_asid(MmId(2), 3, true), (2, false));
        assert_eq!(state.choose_asid(MmId(2), 4, true), (2, true));
        assert_eq!(state.choose_asid(MmId(9), 0, true), (0, true));
    }

    #[test]
    fn without_pcid_every_load_flushes() {
        assert_eq!(CpuTlbState::new(0).choose_asid(MmId(1), 0, false), (0, true));
    }
}
