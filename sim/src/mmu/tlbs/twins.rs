//! Second levels of followers: beside that of the run, fed with the same, and compared with it at every lookup.

use daxsim_configs::machine::TlbsSpec;
use daxsim_types::VirtAddr;

use super::Tlbs;
use crate::alike::Follower;
use crate::mmu::tlb::{TlbArray, TlbEntry, TlbStats};

/// The second level of a follower.
#[derive(Clone, Debug)]
pub(super) struct Twin {
    follower: Follower,
    array: TlbArray,
}

impl Tlbs {
    /// Keeps the array of `tlb.stlb` in `spec` beside the own one.
    pub(crate) fn follow(&mut self, follower: Follower, spec: &TlbsSpec) {
        let mut other = Self::new(spec);
        let at = other.followed;
        self.twins.push(Twin { follower, array: other.units.swap_remove(at).array });
    }

    /// The second level has answered a lookup.
    #[cold]
    pub(super) fn compare(&mut self, va: VirtAddr, pcid: u16, found: Option<&TlbEntry>) {
        self.twins.retain_mut(|twin| {
            if twin.follower.is_alike() {
                twin.follower.answers(twin.array.touch_any(va, pcid).as_ref() == found);
            }
            twin.follower.is_alike()
        });
    }

    /// The second level got an entry.
    #[cold]
    pub(super) fn insert_in_twins(&mut self, e: &TlbEntry) {
        self.each_twin(|array| {
            if e.span > 0 && e.span != array.span() {
                for page in e.each() {
                    array.insert(page);
                }
            } else {
                array.insert(*e);
            }
        });
    }

    /// Does to the second levels of followers what was done to all arrays.
    #[inline]
    pub(super) fn each_twin<R>(&mut self, change: impl Fn(&mut TlbArray) -> R) {
        self.twins.iter_mut().for_each(|twin| drop(change(&mut twin.array)));
    }

    /// [`Tlbs::stats`] of a follower that is alike.
    pub(crate) fn stats_of(&self, follower: usize) -> Vec<(&'static str, TlbStats)> {
        let twin = self.twins.iter().find(|twin| twin.follower.number() == follower);
        self.stats_by(|at| match twin {
            Some(twin) if at == self.followed => twin.array.stats(),
            _ => self.units[at].array.stats(),
        })
    }
}
