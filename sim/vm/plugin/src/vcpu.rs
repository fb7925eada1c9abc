//! What happens at an access.

use daxsim_ring::{Access, Control as Record, Op, Producer, ReaderGone};
use daxsim_types::{PhysAddr, VirtAddr};

use crate::api::{Api, Decoder, Kind, MemInfo};
use crate::control::Control;
use crate::filter::Filter;
use crate::physical::{Finder, Place};
use crate::registers::State;

/// What was seen of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) loads: u64,
    pub(crate) stores: u64,
    /// Loads and stores that went to the ring.
    pub(crate) streamed: u64,
    /// Of those, to devices.
    pub(crate) devices: u64,
    /// Of those, without a physical address though it was asked for.
    pub(crate) unknown: u64,
}

/// What is known of an instruction when it is translated, as the word that QEMU hands back at its accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site(usize);

const USER: usize = 1 << 32;
const LOCKED: usize = 1 << 33;

impl Site {
    /// An instruction with its number in its block, counted from 1; 0 where each instruction is counted by itself. A locked one
    /// is atomic.
    pub(crate) fn new(number: u32, user: bool, locked: bool) -> Self {
        Self(number as usize | if user { USER } else { 0 } | if locked { LOCKED } else { 0 })
    }

    pub(crate) fn of_word(word: usize) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> usize {
        self.0
    }

    fn number(self) -> u64 {
        (self.0 & (USER - 1)) as u64
    }

    fn locked(self) -> bool {
        self.0 & LOCKED != 0
    }

    fn user(self) -> bool {
        self.0 & USER != 0
    }
}

/// A vCPU as it is seen from here.
pub(crate) struct Vcpu {
    pub(crate) api: Api,
    pub(crate) decoder: Decoder,
    pub(crate) filter: Filter,
    pub(crate) finder: Finder,
    /// Its end of the ring, if there is one.
    pub(crate) producer: Option<Producer>,
    /// Instructions before the block that runs; with the whole block; both are the same where each one is counted by itself.
    pub(crate) before: u64,
    pub(crate) begun: u64,
    pub(crate) counts: Counts,
    /// What the last instruction did to translations, if it was one that does.
    pub(crate) control: Option<Control>,
    /// Global pages were on when CR4 was loaded last.
    pub(crate) global_pages: bool,
}

impl Vcpu {
    /// A block of `count` instructions begins.
    #[inline]
    pub(crate) fn block(&mut self, count: u64) {
        self.before = self.begun;
        self.begun += count;
    }

    /// An instruction begins that is counted by itself.
    #[inline]
    pub(crate) fn instruction(&mut self) {
        self.begun += 1;
        self.before = self.begun;
    }

    /// Counts an access, whether it is streamed or not.
    #[inline]
    pub(crate) fn count(&mut self, kind: Kind) {
        self.counts.loads += u64::from(kind.loads);
        self.counts.stores += u64::from(kind.stores);
    }

    /// Streams an access if the filters let it pass; what must be known for that is found out.
    ///
    /// # Safety
    ///
    /// Called in the callback of this access.
    #[inline]
    pub(crate) unsafe fn access(
        &mut self,
        info: MemInfo,
        kind: Kind,
        va: u64,
        site: Site,
    ) -> Result<(), ReaderGone> {
        let instructions = self.before + site.number();
        if !self.filter.admits(va, instructions) {
            return Ok(());
        }
        let place = if self.filter.physical {
            // SAFETY: this is the callback of the access, as the caller says.
            unsafe { self.finder.place(&self.api, (self.api.get_hwaddr)(info, va), va) }
        } else {
            Place::default()
        };
        if !self.filter.admits_physical(place.pa, place.device) {
            return Ok(());
        }
        if kind.loads && self.filter.in_window() {
            self.stream(kind.size, va, place, site, Op::Load, instructions)?;
        }
        if kind.stores && self.filter.in_window() {
            // With one vCPU, QEMU does an atomic instruction's load and store one after the other.
            let op = if kind.loads || site.locked() { Op::Locked } else { Op::Store };
            self.stream(kind.size, va, place, site, op, instructions)?;
        }
        Ok(())
    }

    #[inline]
    fn stream(
        &mut self,
        size: u8,
        va: u64,
        place: Place,
        site: Site,
        op: Op,
        instructions: u64,
    ) -> Result<(), ReaderGone> {
        self.counts.streamed += 1;
        self.counts.devices += u64::from(place.device);
        self.counts.unknown += u64::from(place.pa.is_none() && self.filter.physical);
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let access = Access {
            va: VirtAddr(va),
            pa: place.pa.map(PhysAddr),
            op,
            size,
            // What a processor does to deliver an interrupt comes with the instruction before; user space reaches no upper half.
            user: site.user() && va >> 63 == 0,
            device: place.device,
            gap: 0,
        };
        producer.push(access, instructions)
    }

    /// Streams what an instruction did to translations, by the registers behind it.
    pub(crate) fn send(&mut self, control: Control, state: &State) -> Result<(), ReaderGone> {
        let record = match control {
            Control::Root => state.root().map(|root| Record::Root(PhysAddr(root))),
            Control::Page { base, plus } => {
                let at = state.general(base).map(|at| at.wrapping_add_signed(plus.into()));
                Some(at.map_or(Record::All, |at| Record::Page(VirtAddr(at))))
            }
            Control::Control4 => {
                let now = state.global_pages().unwrap_or(true);
                // Each change of the bit invalidates everything; switched off and on again is once.
                let switched_off = std::mem::replace(&mut self.global_pages, now) && !now;
                switched_off.then_some(Record::All)
            }
            Control::All => Some(Record::All),
        };
        match (record, &mut self.producer) {
            (Some(record), Some(producer)) => producer.push_control(record),
            _ => Ok(()),
        }
    }

    /// Shows the reader everything, with the number of instructions.
    pub(crate) fn flush(&mut self) -> Result<(), ReaderGone> {
        self.producer.as_mut().map_or(Ok(()), |producer| producer.flush(self.begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_keeps_number_and_side() {
        for (number, user, locked) in [(0, false, true), (1, true, false), (u32::MAX, true, true)] {
            let site = Site::of_word(Site::new(number, user, locked).word());
            assert_eq!((site.number(), site.user(), site.locked()), (u64::from(number), user, locked));
        }
    }
}
