//! User loads and stores, with the faults that they take.

use daxsim_types::{AccessKind, VirtAddr};

use super::StepOutcome;
use crate::engine::{Cx, Moment};
use crate::kernel::{Origin, general_protection, page_fault};
use crate::machine::Machine;
use crate::mmu::Refusal;

/// Faults that one access may take before it is given up: real programs need at most a handful.
const MOST_FAULTS: u32 = 64;

/// A run of accesses of one byte each.
pub enum Accesses {
    /// `count` accesses of one kind, `stride` bytes apart.
    Stride {
        /// First address.
        start: VirtAddr,
        /// How many.
        count: u64,
        /// Bytes between two.
        stride: u64,
        /// Loads or stores.
        kind: AccessKind,
    },
    /// Given one by one.
    List(Vec<(VirtAddr, AccessKind)>),
    /// From a generator.
    Stream(Box<dyn Iterator<Item = (VirtAddr, AccessKind)>>),
}

/// Position in a run.
struct Cursor {
    accesses: Accesses,
    next: u64,
    pending: Option<(VirtAddr, AccessKind)>,
    /// From user mode, or by the kernel in a system call.
    user: bool,
}

impl Cursor {
    /// The access to make next, without moving on.
    #[inline]
    fn peek(&mut self) -> Option<(VirtAddr, AccessKind)> {
        match &mut self.accesses {
            Accesses::Stride { start, count, stride, kind } => {
                (self.next < *count).then(|| (VirtAddr(start.0.wrapping_add(self.next * *stride)), *kind))
            }
            Accesses::List(list) => list.get(usize::try_from(self.next).ok()?).copied(),
            Accesses::Stream(stream) => {
                if self.pending.is_none() {
                    self.pending = stream.next();
                }
                self.pending
            }
        }
    }

    #[inline]
    fn advance(&mut self) {
        self.next += 1;
        self.pending = None;
    }
}

/// Why the uninterrupted part of a run ended.
enum Pause {
    /// Nothing left.
    Done,
    /// Another CPU is behind, or an interrupt is due.
    Yield,
    /// An access was refused.
    Refused(VirtAddr, AccessKind, Refusal),
}

/// Makes the accesses of a run.
pub(crate) async fn run_accesses(cx: &Cx<'_>, origin: Origin, accesses: Accesses, user: bool) -> StepOutcome {
    let mut cursor = Cursor { accesses, next: 0, pending: None, user };
    let mut outcome = StepOutcome::default();
    loop {
        cx.sync().await;
        let limit = cx.horizon();
        match cx.with(|m| run_hits(m, cx.cpu().index(), &mut cursor, limit)) {
            Pause::Done => break,
            Pause::Yield => {}
            Pause::Refused(va, kind, refusal) => {
                match faulting_access(cx, origin, va, kind, refusal, user).await {
                    Ended::Completed => {}
                    Ended::Signal if user => outcome.signals += 1,
                    // A bad address ends the kernel's copy: EFAULT.
                    Ended::Signal => break,
                    Ended::Livelock => {
                        outcome.livelock = true;
                        break;
                    }
                }
                cursor.advance();
            }
        }
    }
    outcome.accesses = cursor.next;
    outcome
}

/// Accesses until one is refused or another CPU has to go first.
fn run_hits(m: &mut Machine, index: usize, cursor: &mut Cursor, limit: Moment) -> Pause {
    // Nothing that happens here can put an interrupt into this CPU's own queue.
    let due = m.cpus[index].next_interrupt().unwrap_or(daxsim_types::Time::MAX);
    loop {
        let now = m.cpus[index].now;
        if now >= due || (Moment { time: now, cpu: index }) > limit {
            return Pause::Yield;
        }
        let Some((va, kind)) = cursor.peek() else { return Pause::Done };
        if !va.is_canonical_in(m.spec.mmu.levels) {
            return Pause::Refused(va, kind, Refusal::GeneralProtection);
        }
        match m.user_access(index, va, kind, cursor.user) {
            Ok(()) => cursor.advance(),
            Err(refusal) => return Pause::Refused(va, kind, refusal),
        }
    }
}

enum Ended {
    Completed,
    Signal,
    Livelock,
}

/// Faults and tries again until the access completes or gets a signal. A fault's cost runs from the moment it is raised
/// until the repeated access completes or raises the next one.
async fn faulting_access(
    cx: &Cx<'_>,
    origin: Origin,
    va: VirtAddr,
    kind: AccessKind,
    first: Refusal,
    user: bool,
) -> Ended {
    let index = cx.cpu().index();
    let mut refusal = first;
    for _ in 0..MOST_FAULTS {
        let Refusal::PageFault(code) = refusal else {
            general_protection(cx);
            return Ended::Signal;
        };
        let before = cx.on_cpu(|c| (c.parts, c.executed));
        let end = page_fault(cx, origin, va, code).await;
        let retried = if end.signal.is_some() {
            None
        } else {
            cx.sync().await;
            Some(cx.with(|m| m.user_access(index, va, kind, user)))
        };
        cx.with(|m| {
            let cpu = &m.cpus[index];
            let parts = cpu.parts.since(&before.0);
            let executed = cpu.executed - before.1;
            m.measure.latencies.record(end.kind, &parts, executed);
        });
        match retried {
            None => return Ended::Signal,
            Some(Ok(())) => return Ended::Completed,
            Some(Err(again)) => refusal = again,
        }
    }
    Ended::Livelock
}
