//! Telling the observer, if there is one.

use std::panic::Location;

use daxsim_types::{CpuId, Time, VirtAddr};

use super::{Cx, Sys};
use crate::machine::Machine;
use crate::measure::FaultKind;
use crate::observe::{Begins, MicroOp, Observer, Seen, Shootdown, Watch};

impl Sys {
    /// Lets an observer look on from now on.
    pub(crate) fn watch(&self, watch: Watch) {
        let cpus = self.with(|m| m.cpus.len());
        *self.observer.borrow_mut() = Some(Box::new(Observer::new(watch, cpus)));
        self.observed.set(true);
    }

    /// What was seen, if anybody looked on; nobody does any more.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.observed.set(false);
        self.observer.borrow_mut().take().map(|observer| observer.into_seen())
    }

    /// Tells the observer, if there is one.
    #[inline(always)]
    fn tell(&self, tell: impl FnOnce(&mut Observer)) {
        if self.observed.get() {
            self.tell_now(tell);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_now(&self, tell: impl FnOnce(&mut Observer)) {
        if let Some(observer) = self.observer.borrow_mut().as_mut() {
            tell(observer);
        }
    }

    /// An interrupt was sent.
    pub(crate) fn tell_sent(&self, (from, to): (CpuId, CpuId), sent: Time, arrives: Time) {
        self.tell(|observer| observer.sent(from, to, sent, arrives));
    }

    /// The interrupt that had arrived at a time is done with.
    pub(crate) fn tell_taken(&self, m: &Machine, index: usize, arrived: Time, begin: Time) {
        let end = m.cpus[index].now;
        self.tell(|observer| observer.taken(CpuId(index as u16), arrived, begin, end));
    }
}

impl Cx<'_> {
    /// This CPU begins something.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn begins(&self, what: Begins) {
        let (sys, index, at) = (self.sys(), self.cpu().index(), Location::caller());
        sys.tell(|observer| sys.with(|m| observer.begins(m, index, what, at)));
    }

    /// This CPU begins something that is not about a line or a lock.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn begins_op(&self, op: MicroOp) {
        self.begins(Begins::Is(op));
    }

    /// A fault of this CPU is raised.
    #[track_caller]
    pub(crate) fn fault_begins(&self, address: VirtAddr) {
        let (sys, index, at) = (self.sys(), self.cpu().index(), Location::caller());
        sys.tell(|observer| sys.with(|m| observer.fault_begins(m, index, address, at)));
    }

    /// It is over.
    pub(crate) fn fault_ends(&self, kind: FaultKind) {
        let (sys, index) = (self.sys(), self.cpu().index());
        sys.tell(|observer| sys.with(|m| observer.fault_ends(m, index, kind)));
    }

    /// This CPU's flush is over that began at a time.
    pub(crate) fn shootdown_ends(&self, begin: Time) {
        let sys = self.sys();
        sys.tell(|observer| {
            let end = sys.with(|m| m.cpus[self.cpu().index()].now);
            observer.shootdown(Shootdown { cpu: self.cpu(), begin, end });
        });
    }
}
