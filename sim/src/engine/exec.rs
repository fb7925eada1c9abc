//! The executor: runs the work of all CPUs in the total order of (time, CPU).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use daxsim_types::CpuId;
use thiserror::Error;

use super::{Moment, Sys};
use crate::Machine;
use crate::cpu::{Cpu, RunState};
use crate::measure::Part;

/// Work of one CPU.
pub struct Task<'s> {
    /// Where it runs.
    pub cpu: CpuId,
    /// What it does.
    pub work: Pin<Box<dyn Future<Output = ()> + 's>>,
}

/// Every CPU with work waits for another one: a defect of the model, unless what one waits for is a page that the program holds
/// for ever.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the simulated machine is stuck: {}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Deadlock(pub Vec<Wait>);

/// A CPU that waits for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The CPU.
    pub cpu: usize,
    /// What it is doing, and the program line or line of the trace.
    pub step: Option<(&'static str, u64)>,
    /// Since when it waits, and for what.
    pub what: String,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some((name, line)) => write!(f, "line {line}: cpu{} ({name}) {}", self.cpu, self.what),
            None => write!(f, "cpu{} {}", self.cpu, self.what),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All tasks are done.
    Done,
    /// The machine lost power before.
    PowerLost,
}

/// Runs `tasks`, at most one for each CPU, until all are done or the machine loses power. CPUs without a task take
/// interrupts meanwhile.
///
/// # Errors
///
/// [`Deadlock`] if no CPU can go on.
pub fn run(sys: &Sys, mut tasks: Vec<Task<'_>>) -> Result<Ended, Deadlock> {
    let mut context = Context::from_waker(Waker::noop());
    let mut slots = sys.with(|m| {
        m.turns.change_all();
        vec![None; m.cpus.len()]
    });
    for (slot, task) in tasks.iter().enumerate() {
        slots[task.cpu.index()] = Some(slot);
        sys.with(|m| m.cpus[task.cpu.index()].state = RunState::Ready);
    }
    while !tasks.is_empty() {
        let cpu = match sys.with(|m| next_turn(m, sys)) {
            Turn::Of(cpu) => cpu,
            Turn::Nobodys => return Err(sys.with(|m| stuck(m))),
            Turn::AfterPowerLoss => return Ok(Ended::PowerLost),
        };
        let Some(slot) = slots[cpu] else {
            // A CPU is Ready only while it has a task.
            sys.with(|m| m.cpus[cpu].state = RunState::Parked);
            continue;
        };
        if let Poll::Ready(()) = tasks[slot].work.as_mut().poll(&mut context) {
            sys.with(|m| m.cpus[cpu].state = RunState::Parked);
            tasks.swap_remove(slot);
            slots[cpu] = None;
            if let Some(moved) = tasks.get(slot) {
                slots[moved.cpu.index()] = Some(slot);
            }
        }
    }
    drain_interrupts(sys);
    Ok(Ended::Done)
}

/// Whose turn it is.
enum Turn {
    /// Of the task of a CPU.
    Of(usize),
    /// No CPU has anything to do.
    Nobodys,
    /// Whatever is to be done next, power is lost before.
    AfterPowerLoss,
}

/// Lets waiting CPUs take their interrupts until it is a task's turn.
fn next_turn(m: &mut Machine, sys: &Sys) -> Turn {
    loop {
        if m.memory.has_lost() {
            sys.give_up_lost(m);
        }
        let (next, horizon) = two_earliest(m);
        if next == Moment::NEVER {
            return Turn::Nobodys;
        }
        if next.time >= sys.stop() {
            return Turn::AfterPowerLoss;
        }
        sys.set_horizon(horizon);
        m.turns.change(next.cpu);
        m.wake_sleeper(next);
        if m.cpus[next.cpu].state == RunState::Ready {
            if sys.look_ahead(m, next.cpu) {
                continue;
            }
            m.begin_turn(next);
            return Turn::Of(next.cpu);
        }
        take_interrupt(m, sys, next.cpu);
    }
}

/// The two earliest moments at which a CPU has something to do.
fn two_earliest(m: &mut Machine) -> (Moment, Moment) {
    while let Some(index) = m.turns.next_changed() {
        let time = m.cpus[index].next_action();
        m.turns.tell(index, time);
    }
    debug_assert_eq!(
        m.turns.two_earliest(),
        two_earliest_of(&m.cpus),
        "somebody changed and was not told of"
    );
    m.turns.two_earliest()
}

/// The same, by looking at every CPU.
fn two_earliest_of(cpus: &[Cpu]) -> (Moment, Moment) {
    let actions = cpus.iter().enumerate();
    let mut moments: Vec<Moment> =
        actions.filter_map(|(cpu, state)| Some(Moment { time: state.next_action()?, cpu })).collect();
    moments.sort();
    let at = |n: usize| moments.get(n).copied().unwrap_or(Moment::NEVER);
    (at(0), at(1))
}

/// Lets a waiting CPU take the interrupt at the head of its queue.
fn take_interrupt(m: &mut Machine, sys: &Sys, index: usize) {
    let waiting_for = match m.cpus[index].state {
        RunState::Blocked(part) => part,
        RunState::Ready | RunState::Asleep(_) | RunState::Parked => Part::Idle,
    };
    m.turns.change(index);
    if let Some(arrives) = m.cpus[index].next_interrupt() {
        m.cpus[index].wait_until(arrives, waiting_for);
        m.memory.begin_action(Moment { time: m.cpus[index].now, cpu: index });
        m.handle_interrupt(sys, index);
    }
}

/// Delivers what is still on its way when the last task ends (nobody waits for it any more).
fn drain_interrupts(sys: &Sys) {
    loop {
        let (next, _) = sys.with(two_earliest);
        if next == Moment::NEVER || next.time >= sys.stop() {
            return;
        }
        sys.with(|m| take_interrupt(m, sys, next.cpu));
    }
}

/// Says who waits for what.
fn stuck(m: &Machine) -> Deadlock {
    let running = m.ledger.running();
    let wait = |(index, cpu): (usize, &Cpu)| {
        let RunState::Blocked(part) = cpu.state else { return None };
        let step = running.iter().find(|call| call.cpu.index() == index);
        let what = match m.pages.waited_for(index) {
            Some(pfn) => format!(
                "waits since {} for frame {:#x} to be idle: it is pinned (or mapped again), and nobody is left to let it go",
                cpu.now, pfn.0
            ),
            None => format!("waits ({}) since {}", part.name(), cpu.now),
        };
        Some(Wait { cpu: index, step: step.map(|call| (call.name, call.line)), what })
    };
    Deadlock(m.cpus.iter().enumerate().filter_map(wait).collect())
}
