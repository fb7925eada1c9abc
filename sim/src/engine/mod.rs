//! Simulated time and the interleaving of CPUs.
//!
//! Each CPU has its own clock. Its work is a future ([`Cx`] is what the work sees); before every action that
//! another CPU could see, the work *synchronises*: it goes on only if no other CPU with something to do is behind it in
//! (time, CPU number). That pair is a total order, so the interleaving, and with it every result, is a function of the
//! inputs alone.
//!
//! A CPU that waits for another one (a held lock, a shootdown's answers) is *blocked* and is woken at the time of the
//! event it waited for. Interrupts are taken at synchronisation points, by waiting CPUs and by CPUs without work.

mod cx;
mod exec;
mod exit;
mod foresight;
mod jitter;
mod lines;
mod load_queue;
mod lock;
mod look;
mod rounds;
mod string_op;
mod touch;
mod turns;
mod window;

pub use cx::Cx;
pub use exec::{Deadlock, Ended, Task, Wait, run};
pub(crate) use foresight::{Foresight, HitCosts, Made, Private};
pub(crate) use jitter::{Jitter, Stalls};
pub(crate) use lines::Lines;
pub use lock::{LockClass, LockId, LockMode, LockUse, Locks};
pub use rounds::{Lookahead, useful_threads, with_threads_standing_by};
pub(crate) use string_op::StringOp;
pub(crate) use turns::Turns;
pub(crate) use window::{Limits, OnCpu, Outlook, Paused, StoreQueue, Window};

use std::cell::{Cell, RefCell};

use daxsim_types::Time;

use crate::machine::Machine;
use crate::measure::Part;
use crate::observe::Observer;

/// A point in the total order of actions: simulated time, then CPU number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) time: Time,
    pub(crate) cpu: usize,
}

impl Moment {
    pub(crate) const NEVER: Self = Self { time: Time::MAX, cpu: usize::MAX };
}

/// The machine as the running work shares it.
pub struct Sys {
    machine: RefCell<Machine>,
    /// The earliest moment at which any CPU but the running one has something to do.
    horizon: Cell<Moment>,
    /// When the machine loses power.
    stop: Cell<Time>,
    /// Pauses of racing threads, where interleavings are explored; taken out while nothing races.
    stalls: RefCell<Option<Stalls>>,
    /// Whether there are any now: asked before every access, so apart from them.
    stalling: Cell<bool>,
    /// How CPUs look ahead.
    lookahead: Cell<Lookahead>,
    /// Who looks on.
    observer: RefCell<Option<Box<Observer>>>,
    /// Whether anybody does: asked before every micro-operation, so apart from them.
    observed: Cell<bool>,
}

impl Sys {
    /// Wraps a machine for a run.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine: RefCell::new(machine),
            horizon: Cell::new(Moment::NEVER),
            stop: Cell::new(Time::MAX),
            stalls: RefCell::new(None),
            stalling: Cell::new(false),
            lookahead: Cell::new(Lookahead::default()),
            observer: RefCell::new(None),
            observed: Cell::new(false),
        }
    }

    /// Lets racing threads stand still now and then.
    pub(crate) fn stall_by(&self, stalls: Stalls) {
        *self.stalls.borrow_mut() = Some(stalls);
    }

    /// Says whether threads race from now on.
    pub(crate) fn set_racing(&self, racing: bool) {
        self.stalling.set(racing && self.stalls.borrow().is_some());
    }

    /// Lets the host take a CPU away before its next access, if it is time for that.
    #[inline(always)]
    pub(crate) fn stall(&self, index: usize) {
        if self.stalling.get() {
            self.stall_now(index);
        }
    }

    #[cold]
    fn stall_now(&self, index: usize) {
        if let Some(pause) = self.stalls.borrow_mut().as_mut().and_then(Stalls::draw) {
            self.with(|m| m.cpus[index].spend_as(Part::Stolen, pause));
        }
    }

    /// Looks at or changes the machine. Not to be called from within itself.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(&mut Machine) -> R) -> R {
        f(&mut self.machine.borrow_mut())
    }

    /// The machine, when the run is over.
    #[must_use]
    pub fn into_machine(self) -> Machine {
        self.machine.into_inner()
    }

    /// Lets the machine lose power at `at`: nothing happens then or later.
    pub fn stop_at(&self, at: Time) {
        self.stop.set(at);
        self.with(|m| m.cpus.iter_mut().for_each(|cpu| cpu.stop = at));
    }

    /// When the machine loses power.
    pub(crate) fn stop(&self) -> Time {
        self.stop.get()
    }

    /// Sets the horizon of the CPU that runs next: never at or beyond the loss of power.
    pub(crate) fn set_horizon(&self, moment: Moment) {
        let last = match self.stop.get() {
            Time::MAX => Moment::NEVER,
            stop => Moment { time: stop.saturating_sub(Time(1)), cpu: usize::MAX },
        };
        self.horizon.set(moment.min(last));
    }

    /// Notes that some CPU now has something to do at `moment`.
    pub(crate) fn pull_horizon(&self, moment: Moment) {
        if moment < self.horizon.get() {
            self.horizon.set(moment);
        }
    }
}
