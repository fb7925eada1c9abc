//! Hits known before they are made.

use daxsim_types::{AccessKind, Pfn, Time, VirtAddr};

use super::Tlbs;

/// A hit of a first level that was foreseen. Good until the TLBs change otherwise than by such hits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageHit(u16);

impl Tlbs {
    /// The hit that [`Self::hit`] would be and that adds no time, with the frame of its 4 KiB page. `None` says nothing.
    #[inline]
    pub(crate) fn foresee(&self, va: VirtAddr, pcid: u16, kind: AccessKind) -> Option<(PageHit, Pfn)> {
        let (number, known) = self.recent.place_of(self.asks[kind as usize], va.0 >> 12, pcid, kind)?;
        let free = self.units[usize::from(known.unit)].penalty == Time::ZERO;
        free.then_some((PageHit(number as u16), known.frame()))
    }

    /// Makes the hit that was foreseen.
    #[inline]
    pub(crate) fn repeat(&mut self, PageHit(number): PageHit) {
        let Some((group, known, again)) = self.recent.at(usize::from(number)) else { return };
        self.hits[group] += 1;
        if !again {
            let unit = &mut self.units[usize::from(known.unit)];
            unit.array.used_at(known.spot, known.index as usize);
            self.recent.found(known, Time::ZERO);
        }
    }
}
