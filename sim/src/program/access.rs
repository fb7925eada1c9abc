//! User loads and stores, with the faults that they take.

use daxsim_types::{AccessKind, Time, VirtAddr};

use super::StepOutcome;
use super::source::{Access, Accesses, Cursor};
use crate::engine::{Cx, Moment};
use crate::kernel::{Origin, page_fault};
use crate::machine::Machine;
use crate::mmu::Refusal;

/// Faults that one access may take before it is given up: real programs need at most a handful.
const MOST_FAULTS: u32 = 64;

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
    let mut cursor = Cursor::new(accesses);
    let mut outcome = StepOutcome::default();
    loop {
        cx.sync().await;
        let limit = cx.horizon();
        match cx.with(|m| run_hits(m, cx.cpu().index(), &mut cursor, user, limit)) {
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
    outcome.accesses = cursor.made();
    outcome
}

/// Accesses until one is refused or another CPU has to go first.
fn run_hits(m: &mut Machine, index: usize, cursor: &mut Cursor, user: bool, limit: Moment) -> Pause {
    let until = give_way_at(m, index, limit);
    loop {
        if m.cpus[index].now >= until {
            return Pause::Yield;
        }
        let Some(Access { va, kind, .. }) = cursor.peek() else { return Pause::Done };
        if !va.is_canonical() {
            // #GP, which Linux turns into SIGSEGV: reported as a refused access without a walk.
            let code = daxsim_types::ErrorCode::new(kind, true, false);
            return Pause::Refused(va, kind, Refusal(code));
        }
        match m.user_access(index, va, kind, user) {
            Ok(()) => cursor.advance(),
            Err(refusal) => return Pause::Refused(va, kind, refusal),
        }
    }
}

/// When a CPU has to let others act, or to take an interrupt. Nothing that its own accesses do can bring that forward.
fn give_way_at(m: &Machine, index: usize, limit: Moment) -> Time {
    let passed = if index <= limit.cpu { Time(limit.time.0.saturating_add(1)) } else { limit.time };
    m.cpus[index].next_interrupt().map_or(passed, |due| due.min(passed))
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
        let before = cx.on_cpu(|c| (c.parts, c.executed));
        let end = page_fault(cx, origin, va, refusal.0).await;
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
