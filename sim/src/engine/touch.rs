//! The futures that kernel code awaits most: accesses to named lines, locks, and the giving way before them.
//!
//! By hand rather than as `async fn`: a fault makes more than forty accesses, and almost none of them has to wait. What can be
//! done in one look at the machine is done in one.

use std::pin::Pin;
use std::task::{Context, Poll};

use daxsim_types::CacheLine;

use super::{LockId, LockMode, Moment, Sys};
use crate::cpu::RunState;
use crate::machine::Machine;
use crate::measure::{Constant, Part};
use crate::memory::Access;

impl Sys {
    /// Whether no other CPU with something to do is behind `index`.
    #[inline(always)]
    fn is_first(&self, m: &mut Machine, index: usize) -> bool {
        if m.memory.has_lost() {
            self.give_up_lost(m);
        }
        let action = Moment { time: m.cpus[index].now, cpu: index };
        m.memory.begin_action(action);
        action <= self.horizon.get()
    }

    /// The same, after the interrupts that are due by then.
    #[inline(always)]
    fn may_act(&self, m: &mut Machine, index: usize) -> bool {
        self.is_first(m, index) && (m.cpus[index].inbox.is_empty() || self.may_act_after_interrupts(m, index))
    }

    #[inline(never)]
    fn may_act_after_interrupts(&self, m: &mut Machine, index: usize) -> bool {
        while self.is_first(m, index) {
            let cpu = &m.cpus[index];
            if cpu.next_interrupt().is_none_or(|arrives| arrives > cpu.now) {
                return true;
            }
            m.handle_interrupt(self, index);
        }
        false
    }

    /// Makes a kernel access, if the CPU may act. Most are hits of the L1D without an interrupt, which need no call.
    #[inline(never)]
    fn try_touch(&self, m: &mut Machine, index: usize, line: CacheLine, access: Access) -> bool {
        let plain = self.is_first(m, index) && m.cpus[index].inbox.is_empty() && m.host.is_none();
        let hit = if plain { m.memory.try_l1_at_once(index, line, access.is_write()) } else { None };
        match hit {
            Some(true) => {}
            Some(false) => m.kernel_access_beyond_l1(index, line, access, Part::Memory),
            None => return self.try_any_touch(m, index, line, access),
        }
        if access == Access::Rmw {
            m.cpus[index].spend_constant(Constant::LockedRmw, m.spec.cost.locked_rmw);
        }
        true
    }

    #[inline(never)]
    fn try_any_touch(&self, m: &mut Machine, index: usize, line: CacheLine, access: Access) -> bool {
        let may = self.may_act(m, index);
        if may {
            m.kernel_access(index, line, access);
        }
        may
    }
}

const fn ready_if(done: bool) -> Poll<()> {
    if done { Poll::Ready(()) } else { Poll::Pending }
}

/// See [`super::Cx::sync`] and [`super::Cx::give_way`].
pub(crate) struct GiveWay<'s> {
    sys: &'s Sys,
    index: usize,
    interrupts: bool,
}

impl<'s> GiveWay<'s> {
    pub(super) fn new(sys: &'s Sys, index: usize, interrupts: bool) -> Self {
        Self { sys, index, interrupts }
    }
}

impl Future for GiveWay<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let (sys, index) = (self.sys, self.index);
        ready_if(sys.with(|m| if self.interrupts { sys.may_act(m, index) } else { sys.is_first(m, index) }))
    }
}

/// An access to a named line, whose instruction is part of a path length.
pub(crate) struct Touch<'s> {
    sys: &'s Sys,
    index: usize,
    line: CacheLine,
    access: Access,
    begun: bool,
}

impl<'s> Touch<'s> {
    pub(super) fn new(sys: &'s Sys, index: usize, line: CacheLine, access: Access) -> Self {
        Self { sys, index, line, access, begun: false }
    }
}

impl Future for Touch<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let Self { sys, index, line, access, begun } = *self;
        if !begun {
            self.begun = true;
            sys.stall(index);
        }
        ready_if(sys.with(|m| sys.try_touch(m, index, line, access)))
    }
}

/// An access, and a look at the machine at the moment of it.
pub(crate) struct TouchAnd<'s, F> {
    touch: Touch<'s>,
    look: F,
}

impl<'s> Touch<'s> {
    /// The access, and then `look`, before anything else happens.
    pub(crate) fn and<R, F: Fn(&mut Machine) -> R + Unpin>(self, look: F) -> TouchAnd<'s, F> {
        TouchAnd { touch: self, look }
    }
}

impl<R, F: Fn(&mut Machine) -> R + Unpin> Future for TouchAnd<'_, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let Touch { sys, index, line, access, begun } = self.touch;
        if !begun {
            self.touch.begun = true;
            sys.stall(index);
        }
        sys.with(|m| {
            if sys.try_touch(m, index, line, access) { Poll::Ready((self.look)(m)) } else { Poll::Pending }
        })
    }
}

/// How far the taking of a lock has come.
#[derive(Clone, Copy)]
enum Taking {
    Begins,
    /// Before the locked operation on its word.
    Tries,
    Waits,
    /// Before the locked operation of the hand-over: the word's line comes from the CPU that released it.
    HasIt,
    /// Before the store that notes the owner.
    NotesOwner(CacheLine),
}

/// See [`super::Cx::lock`].
pub(crate) struct TakeLock<'s> {
    sys: &'s Sys,
    index: usize,
    id: LockId,
    mode: LockMode,
    state: Taking,
}

impl<'s> TakeLock<'s> {
    pub(super) fn new(sys: &'s Sys, index: usize, id: LockId, mode: LockMode) -> Self {
        Self { sys, index, id, mode, state: Taking::Begins }
    }

    /// The locked operation, and what it finds.
    fn attempt(&self, m: &mut Machine) -> Option<bool> {
        let line = m.locks.line(self.id);
        if !self.sys.try_touch(m, self.index, line, Access::Rmw) {
            return None;
        }
        let taken = m.locks.acquire(self.id, self.mode, self.index);
        if !taken {
            m.block(self.index, Part::Locks);
            if self.sleeps(m) {
                let state = &mut m.cpus[self.index].tlb_state;
                state.lazy = state.loaded_mm.is_some();
            }
        }
        Some(taken)
    }

    /// Whether the thread sleeps as long as it waits: its CPU is idle, and lazy about its address space.
    fn sleeps(&self, m: &Machine) -> bool {
        self.mode == LockMode::Shared && m.locks.class(self.id).is_rwsem()
    }

    /// What comes once the lock is taken.
    fn after_taking(&self, m: &Machine) -> Option<Taking> {
        m.locks.owner_line(self.id).map(Taking::NotesOwner)
    }

    /// Runs on after a wait, if that is over.
    fn resume(&self, m: &mut Machine) -> bool {
        if m.cpus[self.index].state.is_waiting() {
            return false;
        }
        let state = &m.cpus[self.index].tlb_state;
        if let Some(mm) = state.loaded_mm.filter(|_| state.lazy) {
            m.run_again(self.index, mm);
        }
        true
    }
}

impl Future for TakeLock<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let (sys, index) = (self.sys, self.index);
        if matches!(self.state, Taking::Begins) {
            self.state = Taking::Tries;
            sys.stall(index);
        }
        if matches!(self.state, Taking::Tries) {
            match sys.with(|m| self.attempt(m).map(|taken| (taken, self.after_taking(m)))) {
                None => return Poll::Pending,
                Some((true, None)) => return Poll::Ready(()),
                Some((true, Some(next))) => self.state = next,
                Some((false, _)) => self.state = Taking::Waits,
            }
        }
        if matches!(self.state, Taking::Waits) {
            if !sys.with(|m| self.resume(m)) {
                return Poll::Pending;
            }
            self.state = Taking::HasIt;
            sys.stall(index);
        }
        if matches!(self.state, Taking::HasIt) {
            let line = sys.with(|m| m.locks.line(self.id));
            if !sys.with(|m| sys.try_touch(m, index, line, Access::Rmw)) {
                return Poll::Pending;
            }
            match sys.with(|m| self.after_taking(m)) {
                Some(next) => self.state = next,
                None => return Poll::Ready(()),
            }
        }
        match self.state {
            Taking::NotesOwner(line) => ready_if(sys.with(|m| sys.try_touch(m, index, line, Access::Write))),
            _ => Poll::Pending,
        }
    }
}

/// See [`super::Cx::unlock`].
pub(crate) struct Unlock<'s> {
    sys: &'s Sys,
    index: usize,
    id: LockId,
    mode: LockMode,
    begun: bool,
}

impl<'s> Unlock<'s> {
    pub(super) fn new(sys: &'s Sys, index: usize, id: LockId, mode: LockMode) -> Self {
        Self { sys, index, id, mode, begun: false }
    }
}

impl Future for Unlock<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let Self { sys, index, id, mode, begun } = *self;
        if !begun {
            self.begun = true;
            sys.stall(index);
        }
        ready_if(sys.with(|m| {
            let line = m.locks.line(id);
            let access = if m.locks.class(id).is_rwsem() { Access::Rmw } else { Access::Write };
            let stored = sys.try_touch(m, index, line, access);
            if stored {
                sys.release(m, index, id, mode);
            }
            stored
        }))
    }
}

impl Sys {
    /// The hand-over of a lock by `index`: its next holders go on from now.
    #[inline]
    pub(super) fn release(&self, m: &mut Machine, index: usize, id: LockId, mode: LockMode) {
        for next in m.locks.release(id, mode) {
            self.hand_over(m, index, next, id);
        }
    }

    /// Lets `next` go on, which waited for a lock that `index` gave up: one that slept has to be woken (`wake_up_q`).
    pub(super) fn hand_over(&self, m: &mut Machine, index: usize, next: usize, id: LockId) {
        if m.cpus[next].tlb_state.lazy {
            m.try_to_wake_up(index, next);
        }
        m.count_lock_wait(index, next, id);
        self.wake(m, index, next);
    }

    /// Lets the blocked CPU `next` go on from the time of `index`.
    pub(super) fn wake(&self, m: &mut Machine, index: usize, next: usize) {
        let now = m.cpus[index].now;
        let moment = m.wake(next, now);
        self.pull_horizon(moment);
    }
}

impl RunState {
    /// Whether it goes on only when another CPU, or a time, wakes it.
    #[inline]
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Self::Blocked(_) | Self::Asleep(_))
    }
}
