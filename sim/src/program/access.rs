//! User loads and stores, with the faults that they take.

use daxsim_types::Time;

use super::StepOutcome;
use super::ahead::Ahead;
use super::runner::Runner;
use super::source::{Access, Accesses, Cursor};
use crate::engine::{Cx, Moment, OnCpu, Paused, Window};
use crate::kernel::{Origin, general_protection, page_fault};
use crate::machine::Machine;
use crate::measure::Part;
use crate::mmu::Refusal;
use crate::observe::MicroOp;

/// Faults that one access may take before it is given up: real programs need at most a handful.
const MOST_FAULTS: u32 = 64;

/// Makes the accesses of a run.
pub(crate) async fn run_accesses(cx: &Cx<'_>, origin: Origin, accesses: Accesses, user: bool) -> StepOutcome {
    let index = cx.cpu().index();
    // The kernel's copies stall on every access: what a copy of one page costs is in its path length.
    cx.with(|m| {
        let mut runner = Runner::new(accesses, &m.spec, user);
        if let Some(window) = &mut runner.window {
            window.follow(&m.followed);
        }
        m.cpus[index].runner = Some(Box::new(runner));
    });
    let mut outcome = StepOutcome::default();
    let given_up = loop {
        // An interrupt finds nothing in flight.
        if cx.on_cpu(|c| c.has_accesses_in_flight()) {
            cx.give_way().await;
        } else {
            cx.sync().await;
        }
        let limit = cx.horizon();
        let again = |access: Access| cx.with(|m| m.user_access(index, access.va, access.kind, user));
        let ended = match cx.with(|m| run(m, index, user, limit)) {
            Paused::Done => break false,
            Paused::Yield => continue,
            Paused::Refused(access, refusal) => {
                faulting_access(cx, origin, access, refusal, || again(access)).await
            }
            Paused::Alone(access) => match again(access) {
                Ok(()) => Ended::Completed(()),
                Err(refusal) => faulting_access(cx, origin, access, refusal, || again(access)).await,
            },
        };
        match ended {
            Ended::Completed(()) => {}
            Ended::Signal if user => outcome.signals += 1,
            // A bad address ends the kernel's copy: EFAULT.
            Ended::Signal | Ended::Livelock => {
                outcome.livelock = matches!(ended, Ended::Livelock);
                break true;
            }
        }
    };
    let made = cx.on_cpu(|c| c.runner.take()).map_or(0, |runner| runner.cursor.made());
    outcome.accesses = made - u64::from(given_up);
    outcome
}

/// Accesses until another CPU has to go first, an interrupt is due, or one of them needs more.
fn run(m: &mut Machine, index: usize, user: bool, limit: Moment) -> Paused {
    let Some(mut runner) = m.cpus[index].runner.take() else { return Paused::Done };
    let paused = match &mut runner.window {
        None => run_stalling(m, index, &mut runner.cursor, user, limit),
        Some(window) => run_window(m, index, window, &mut runner.cursor, limit),
    };
    runner.gave_way = paused == Paused::Yield;
    m.cpus[index].runner = Some(runner);
    paused
}

/// Accesses of a core that stalls on every one, until one is refused or another CPU has to go first.
// Two hot loops in one function share its registers.
#[inline(never)]
fn run_stalling(m: &mut Machine, index: usize, cursor: &mut Cursor, user: bool, limit: Moment) -> Paused {
    let (until, levels) = (passed(index, limit).min(due(m, index)), m.spec.mmu.levels);
    let mut ahead = Ahead::new();
    loop {
        let batch = cursor.batch();
        let mut made = 0;
        let mut pause = if batch.is_empty() { Some(Paused::Done) } else { None };
        for (at, access) in batch.iter().enumerate() {
            let now = m.cpus[index].now;
            if now >= until || m.memory.has_lost() {
                break;
            }
            m.memory.begin_action(Moment { time: now, cpu: index });
            made += 1;
            if !access.va.is_canonical_in(levels) {
                pause = Some(Paused::Refused(*access, Refusal::GeneralProtection));
                break;
            }
            let refused = m.user_access(index, access.va, access.kind, user).err();
            m.cpus[index].spend_as(Part::User, Time(u64::from(access.work)));
            if let Some(refusal) = refused {
                pause = Some(Paused::Refused(*access, refusal));
                break;
            }
            if m.cpus[index].now > now + m.spec.cache.l3.latency {
                ahead.look(m, index, |n| batch.get(at + n).map(|access| access.va));
            }
        }
        cursor.pass(made);
        match pause {
            // Whoever has to go first goes before the end, too.
            Some(Paused::Done) | None if m.cpus[index].now >= until || m.memory.has_lost() => {
                return Paused::Yield;
            }
            Some(pause) => return pause,
            None => {}
        }
    }
}

/// The same with a window.
#[inline(never)]
fn run_window(
    m: &mut Machine,
    index: usize,
    window: &mut Window,
    cursor: &mut Cursor,
    limit: Moment,
) -> Paused {
    let due = due(m, index);
    let paused = window.run(&mut OnCpu::new(m, index), cursor, passed(index, limit), due);
    m.memory.look_ahead(false);
    window.count_walks(&mut m.measure.walk_queue);
    window.count_followed(&mut m.followed);
    paused
}

/// The first time at which another CPU has to go first.
fn passed(index: usize, limit: Moment) -> Time {
    if index <= limit.cpu { Time(limit.time.0.saturating_add(1)) } else { limit.time }
}

/// When an interrupt is due. Nothing that a CPU's own accesses do can bring that forward.
fn due(m: &Machine, index: usize) -> Time {
    m.cpus[index].next_interrupt().unwrap_or(Time::MAX)
}

/// How an access that was refused went on.
pub(super) enum Ended<T> {
    Completed(T),
    Signal,
    Livelock,
}

/// Faults and tries again until the access completes or gets a signal. A fault's cost runs from the moment it is raised
/// until the repeated access completes or raises the next one.
pub(super) async fn faulting_access<T>(
    cx: &Cx<'_>,
    origin: Origin,
    access: Access,
    first: Refusal,
    again: impl Fn() -> Result<T, Refusal>,
) -> Ended<T> {
    let index = cx.cpu().index();
    let va = access.va;
    let mut refusal = first;
    for _ in 0..MOST_FAULTS {
        let code = match refusal {
            Refusal::PageFault(code) => code,
            Refusal::GeneralProtection => {
                general_protection(cx);
                return Ended::Signal;
            }
            Refusal::EptViolation(frame) => {
                cx.map_on_host(frame).await;
                match again() {
                    Ok(found) => return Ended::Completed(found),
                    Err(next) => refusal = next,
                }
                continue;
            }
        };
        let before = cx.on_cpu(|c| (c.parts, c.executed, c.now));
        cx.fault_begins(va);
        let end = page_fault(cx, origin, va, code).await;
        let retried = if end.signal.is_some() {
            None
        } else {
            cx.begins_op(MicroOp::Again);
            cx.sync().await;
            Some(again())
        };
        cx.with(|m| {
            let cpu = &m.cpus[index];
            let parts = cpu.parts.since(&before.0);
            let executed = cpu.executed - before.1;
            m.measure.latencies.record(end.kind, &parts, executed);
            m.measure.over_time.fault(before.2, end.kind);
        });
        cx.fault_ends(end.kind);
        match retried {
            None => return Ended::Signal,
            Some(Ok(found)) => return Ended::Completed(found),
            Some(Err(next)) => refusal = next,
        }
    }
    Ended::Livelock
}
