//! A run of accesses under way on a CPU.

use daxsim_configs::machine::MachineSpec;

use super::source::{Accesses, Cursor};
use crate::engine::{Foresight, HitCosts, Limits, Outlook, Window};

/// Where a run stands: what comes next, what is in flight, and the hits that are foreseen. It lies in its CPU, so that whoever looks at
/// all CPUs finds it.
pub(crate) struct Runner {
    pub cursor: Cursor,
    /// `None`: the core stalls on every access.
    pub window: Option<Window>,
    pub costs: HitCosts,
    /// Its accesses go on when its CPU's turn comes: it only gave way to others.
    pub gave_way: bool,
    pub foresight: Foresight,
}

impl Runner {
    /// A run that begins. A core of which the program does not take advantage stalls on every access.
    pub(crate) fn new(accesses: Accesses, spec: &MachineSpec, overlaps: bool) -> Self {
        let limits = if overlaps { Limits::new(spec) } else { None };
        Self {
            cursor: Cursor::new(accesses),
            costs: HitCosts::new(spec, limits.as_ref()),
            window: limits.map(Window::new),
            gave_way: false,
            foresight: Foresight::default(),
        }
    }

    /// Whether looking ahead may find hits.
    pub(crate) fn may_look_ahead(&self) -> bool {
        self.gave_way && self.foresight.may_go_on() && Outlook::of(self.window.as_ref()).is_some()
    }
}
