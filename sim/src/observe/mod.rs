//! Looking on while CPUs work: the faults as sequences of micro-operations, shootdowns, and interrupts.
//!
//! The observer is told when a CPU begins something. What the clock of the CPU advances until it begins the next, it charges to
//! that, part by part, so that the micro-operations of a fault sum to its latency. It changes nothing, and where none is set
//! each place that would tell it asks one flag.

mod sites;

use std::ops::Range;
use std::panic::Location;

use daxsim_types::{CacheLine, CpuId, Time, VirtAddr};
use smallvec::SmallVec;

use crate::engine::{LockClass, LockId};
use crate::kernel::LineName;
use crate::machine::Machine;
use crate::measure::{Executed, FaultKind, Part, Parts};

pub use sites::{Site, site};

/// What a CPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroOp {
    /// Takes the exception, up to the first function of the mm core.
    Exception,
    /// Executes a building block whose lines without a name are in the L1D.
    Block,
    /// Spends a fixed cost of the machine.
    Fixed,
    /// Loads a line.
    Load(LineName),
    /// Stores to a line.
    Store(LineName),
    /// A locked read-modify-write of a line.
    Locked(LineName),
    /// Takes a lock, waiting for it if need be.
    Lock(LockClass),
    /// Gives a lock up.
    Unlock(LockClass),
    /// A string operation over a page, whose lines overlap.
    Copy,
    /// Stores that overlap.
    Stores,
    /// Returns from the exception.
    Return,
    /// Makes the access again that faulted.
    Again,
}

/// What a CPU begins, as the engine knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begins {
    Is(MicroOp),
    Load(CacheLine),
    Store(CacheLine),
    Locked(CacheLine),
    Lock(LockId),
    Unlock(LockId),
}

impl Begins {
    fn op(self, m: &Machine) -> MicroOp {
        match self {
            Self::Is(op) => op,
            Self::Load(line) => MicroOp::Load(m.line_name(line)),
            Self::Store(line) => MicroOp::Store(m.line_name(line)),
            Self::Locked(line) => MicroOp::Locked(m.line_name(line)),
            Self::Lock(id) => MicroOp::Lock(m.locks.class(id)),
            Self::Unlock(id) => MicroOp::Unlock(m.locks.class(id)),
        }
    }
}

/// A micro-operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// When it began.
    pub begin: Time,
    /// What it was.
    pub op: MicroOp,
    /// The line of the model that began it.
    pub at: &'static Location<'static>,
    /// What the clock advanced, by part: waits and interrupts in between are among it.
    pub parts: SmallVec<[(Part, Time); 2]>,
    /// What the path lengths count for it.
    pub executed: Executed,
}

impl Operation {
    /// What it took.
    #[must_use]
    pub fn took(&self) -> Time {
        self.parts.iter().map(|(_, time)| *time).sum()
    }
}

/// A fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Who took it.
    pub cpu: CpuId,
    /// When it was raised.
    pub begin: Time,
    /// The faulting address.
    pub address: VirtAddr,
    /// What it turned out to be.
    pub kind: FaultKind,
    /// What it was made of, in order.
    pub operations: Vec<Operation>,
}

impl Fault {
    /// Its latency: the sum over its micro-operations.
    #[must_use]
    pub fn took(&self) -> Time {
        self.operations.iter().map(Operation::took).sum()
    }
}

/// A flush of an address space's TLB entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shootdown {
    /// Who asked for it.
    pub cpu: CpuId,
    /// When it began.
    pub begin: Time,
    /// When every other CPU had answered.
    pub end: Time,
}

/// An interrupt between CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Who sent it.
    pub from: CpuId,
    /// Who took it.
    pub to: CpuId,
    /// When the interrupt command register had been written.
    pub sent: Time,
    /// When the target accepted it.
    pub arrived: Time,
    /// When the target began with it; `None` if it never did.
    pub begin: Option<Time>,
    /// When the target was done with it.
    pub end: Time,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Faults, in the order in which they ended.
    pub faults: Vec<Fault>,
    /// Flushes, in the order in which they ended.
    pub shootdowns: Vec<Shootdown>,
    /// Interrupts, in the order in which they were sent.
    pub interrupts: Vec<Interrupt>,
    /// Faults, shootdowns and interrupts in the window that there was no room for.
    pub not_kept: u64,
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What begins in this time is kept.
    pub window: Range<Time>,
    /// Of the faults in it, each so many-th is kept; 1 for all.
    pub every: u64,
    /// Most micro-operations, shootdowns and interrupts that are kept.
    pub most: usize,
}

impl Watch {
    /// Looks at everything, up to a number of micro-operations, shootdowns and interrupts.
    #[must_use]
    pub const fn all(most: usize) -> Self {
        Self { window: Time::ZERO..Time::MAX, every: 1, most }
    }
}

/// A fault under way.
struct Open {
    fault: Fault,
    parts: Parts,
    executed: Executed,
}

/// Looks on.
pub(crate) struct Observer {
    watch: Watch,
    /// By CPU.
    open: Vec<Option<Open>>,
    /// Interrupts that were sent and not yet taken: their places in `seen`.
    pending: Vec<usize>,
    kept: usize,
    faults: u64,
    seen: Seen,
}

impl Observer {
    pub fn new(watch: Watch, cpus: usize) -> Self {
        let open = (0..cpus).map(|_| None).collect();
        Self { watch, open, pending: Vec::new(), kept: 0, faults: 0, seen: Seen::default() }
    }

    pub fn into_seen(self) -> Seen {
        self.seen
    }

    /// Whether something that begins at `time` is kept.
    fn has_room(&mut self, time: Time) -> bool {
        if !self.watch.window.contains(&time) {
            return false;
        }
        let room = self.kept < self.watch.most;
        self.seen.not_kept += u64::from(!room);
        room
    }

    pub fn fault_begins(
        &mut self,
        m: &Machine,
        index: usize,
        address: VirtAddr,
        at: &'static Location<'static>,
    ) {
        let cpu = &m.cpus[index];
        self.open[index] = None;
        if !self.watch.window.contains(&cpu.now) {
            return;
        }
        self.faults += 1;
        if !(self.faults - 1).is_multiple_of(self.watch.every.max(1)) || !self.has_room(cpu.now) {
            return;
        }
        let first = Operation {
            begin: cpu.now,
            op: MicroOp::Exception,
            at,
            parts: SmallVec::new(),
            executed: Executed::default(),
        };
        let fault = Fault {
            cpu: CpuId(index as u16),
            begin: cpu.now,
            address,
            kind: FaultKind::Spurious,
            operations: vec![first],
        };
        self.open[index] = Some(Open { fault, parts: cpu.parts, executed: cpu.executed });
    }

    pub fn begins(&mut self, m: &Machine, index: usize, what: Begins, at: &'static Location<'static>) {
        let Some(open) = self.open.get_mut(index).and_then(Option::as_mut) else { return };
        open.charge(m, index);
        let operation = Operation {
            begin: m.cpus[index].now,
            op: what.op(m),
            at,
            parts: SmallVec::new(),
            executed: Executed::default(),
        };
        open.fault.operations.push(operation);
    }

    pub fn fault_ends(&mut self, m: &Machine, index: usize, kind: FaultKind) {
        let Some(mut open) = self.open.get_mut(index).and_then(Option::take) else { return };
        open.charge(m, index);
        open.fault.kind = kind;
        self.kept += open.fault.operations.len();
        self.seen.faults.push(open.fault);
    }

    pub fn shootdown(&mut self, shootdown: Shootdown) {
        if self.has_room(shootdown.begin) {
            self.kept += 1;
            self.seen.shootdowns.push(shootdown);
        }
    }

    pub fn sent(&mut self, from: CpuId, to: CpuId, sent: Time, arrived: Time) {
        if self.has_room(sent) {
            self.kept += 1;
            self.pending.push(self.seen.interrupts.len());
            self.seen.interrupts.push(Interrupt { from, to, sent, arrived, begin: None, end: arrived });
        }
    }

    /// An interrupt that arrived at a time was taken, and is done.
    pub fn taken(&mut self, to: CpuId, arrived: Time, begin: Time, end: Time) {
        let interrupts = &mut self.seen.interrupts;
        let is_it = |place: &usize| interrupts[*place].to == to && interrupts[*place].arrived == arrived;
        let Some(at) = self.pending.iter().position(is_it) else { return };
        let place = self.pending.remove(at);
        let interrupt = &mut interrupts[place];
        (interrupt.begin, interrupt.end) = (Some(begin), end);
    }
}

impl Open {
    /// Charges what has passed to the micro-operation under way.
    fn charge(&mut self, m: &Machine, index: usize) {
        let cpu = &m.cpus[index];
        if let Some(last) = self.fault.operations.last_mut() {
            let passed = cpu.parts.since(&self.parts);
            last.parts.extend(passed.iter().filter(|(_, time)| *time > Time::ZERO));
            last.executed += cpu.executed - self.executed;
        }
        (self.parts, self.executed) = (cpu.parts, cpu.executed);
    }
}

#[cfg(test)]
mod tests;
