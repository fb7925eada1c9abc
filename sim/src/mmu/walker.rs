//! Translation of one access: TLBs, then the page walk, with A and D set by hardware unless software is to do it.
//!
//! An x86 walker sets both. For other architectures' rules (`mmu.accessed`, `mmu.dirty`) an access that needs a bit set by
//! software gets a #PF with P = 1 in its error code: the entry is present and refuses the access as it is, which is the only
//! thing that the error code of x86 can say of it. So a load through an entry without A gives 0x5 in user mode, which no
//! other cause does on a readable mapping.

use daxsim_types::{AccessKind, ErrorCode, PageSize, Pfn, PhysAddr, Time, VirtAddr};

use super::rights::{Mode, Rights};
use super::tlb::TlbEntry;
use crate::machine::Machine;
use crate::measure::Part;

/// Why an access may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// #PF with this error code.
    PageFault(ErrorCode),
    /// #GP: the address is not canonical. Nothing is walked, and no entry dropped.
    GeneralProtection,
    /// EPT violation: the hypervisor has not mapped the page of this frame. The guest does not see it.
    EptViolation(Pfn),
}

/// What the TLBs say of an access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cached {
    /// Its address, and what finding it added.
    Hit(PhysAddr, Time),
    /// Nothing: the tables have to be walked.
    Miss,
    /// A translation that does not let the access through as it is, and what finding it added.
    Denied(TlbEntry, Time),
}

/// The address in `frame` that `va` translates to.
#[inline]
pub(crate) const fn inside(frame: Pfn, va: VirtAddr) -> PhysAddr {
    PhysAddr(frame.addr().0 + (va.0 & (PageSize::Size4K.bytes() - 1)))
}

impl Machine {
    /// What the TLBs of CPU `index` say of an access to a user address. Counts one lookup, and lets no time pass.
    #[inline(always)]
    pub(crate) fn look_up(&mut self, index: usize, va: VirtAddr, kind: AccessKind) -> Cached {
        let cpu = &mut self.cpus[index];
        let pcid = cpu.pcid;
        if let Some((frame, penalty)) = cpu.tlbs.hit(va, pcid, kind) {
            return Cached::Hit(inside(frame, va), penalty);
        }
        match cpu.tlbs.lookup(va, pcid, kind) {
            None => Cached::Miss,
            Some((entry, _, penalty)) => {
                let refuses_store = kind.is_write() && !(entry.writable && entry.dirty);
                if refuses_store || (entry.nx && kind == AccessKind::Fetch) {
                    Cached::Denied(entry, penalty)
                } else {
                    Cached::Hit(inside(entry.frame(va), va), penalty)
                }
            }
        }
    }

    /// Translates an access of CPU `index` to a user address, letting its time pass, and returns the physical address.
    /// `user` is false for the kernel's own access to user memory, which differs only in the error code.
    ///
    /// On a refusal the CPU's entries for the address are dropped, as a #PF does (SDM 4.10.4.1).
    #[inline(always)]
    pub(crate) fn translate(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        user: bool,
    ) -> Result<PhysAddr, Refusal> {
        match self.look_up(index, va, kind) {
            Cached::Hit(physical, penalty) => {
                if penalty > Time::ZERO {
                    self.cpus[index].spend_as(Part::Walk, penalty);
                }
                Ok(physical)
            }
            Cached::Miss => self.translate_slowly(index, va, kind, None, user),
            Cached::Denied(entry, penalty) => {
                self.translate_slowly(index, va, kind, Some((entry, penalty)), user)
            }
        }
    }

    /// The rest of [`Self::translate`]: not cached, or a store that the cached translation does not allow as it is.
    #[inline(never)]
    fn translate_slowly(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        mut cached: Option<(TlbEntry, Time)>,
        user: bool,
    ) -> Result<PhysAddr, Refusal> {
        let (pcid, mode) = (self.cpus[index].pcid, Mode::of_access(user));
        if let Some((entry, penalty)) = cached {
            self.cpus[index].spend_as(Part::Walk, penalty);
            if kind.is_write() && !entry.writable && self.spec.mmu.rewalk_before_fault {
                self.cpus[index].tlbs.drop_page(va, pcid);
                cached = None;
            }
        }
        let result = match cached {
            None => self.walk_and_wait(index, va, kind, mode, false),
            Some((entry, ..)) if !Rights::cached(&entry).allow(kind, mode, &self.cpus[index].control) => {
                Err(Refusal::PageFault(ErrorCode::new(kind, user, true)))
            }
            // D is not set in the cached copy: the walker goes back to the entry (SDM 4.8).
            Some((entry, ..)) if kind.is_write() && !entry.dirty => {
                self.walk_and_wait(index, va, kind, mode, true)
            }
            Some((entry, ..)) => Ok(entry),
        };
        match result {
            Ok(entry) => Ok(inside(entry.frame(va), va)),
            Err(refusal) => {
                self.drop_refused(index, va);
                Err(refusal)
            }
        }
    }

    /// What a #PF drops: the CPU's entries for the address (SDM 4.10.4.1).
    pub(crate) fn drop_refused(&mut self, index: usize, va: VirtAddr) {
        let cpu = &mut self.cpus[index];
        cpu.tlbs.drop_page(va, cpu.pcid);
        cpu.psc.drop_page(va, cpu.pcid);
    }

    /// A walk that the CPU waits for.
    fn walk_and_wait(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        mode: Mode,
        clean_copy: bool,
    ) -> Result<TlbEntry, Refusal> {
        let walked = self.walk(index, va, (kind, mode), self.cpus[index].now, clean_copy);
        self.cpus[index].spend_as(Part::Walk, walked.walk);
        self.cpus[index].spend_as(Part::Assist, walked.assist);
        debug_assert_eq!(self.cpus[index].now, walked.end);
        walked.result
    }
}
