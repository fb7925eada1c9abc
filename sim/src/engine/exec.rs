//! The executor: runs the work of all CPUs in the total order of (time, CPU).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use daxsim_types::CpuId;
use thiserror::Error;

use super::{Moment, Sys};
use crate::cpu::RunState;
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
    for task in &tasks {
        sys.with(|m| m.cpus[task.cpu.index()].state = RunState::Ready);
    }
    while !tasks.is_empty() {
        let cpu = match sys.with(|m| next_turn(m, sys)) {
            Turn::Of(cpu) => cpu,
            Turn::Nobodys => return Err(sys.with(|m| stuck(m))),
            Turn::AfterPowerLoss => return Ok(Ended::PowerLost),
        };
        let Some(slot) = tasks.iter().position(|t| t.cpu.index() == cpu) else {
            // A CPU is Ready only while it has a task.
            sys.with(|m| m.cpus[cpu].state = RunState::Parked);
            continue;
        };
        if let Poll::Ready(()) = tasks[slot].work.as_mut().poll(&mut context) {
            sys.with(|m| m.cpus[cpu].state = RunState::Parked);
            tasks.swap_remove(slot);
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
fn next_turn(m: &mut crate::Machine, sys: &Sys) -> Turn {
    loop {
        let (next, horizon) = two_earliest(m);
        if next == Moment::NEVER {
            return Turn::Nobodys;
        }
        if next.time >= sys.stop() {
            return Turn::AfterPowerLoss;
        }
        sys.set_horizon(horizon);
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
fn two_earliest(m: &crate::Machine) -> (Moment, Moment) {
    let mut first = Moment::NEVER;
    let mut second = Moment::NEVER;
    for (index, cpu) in m.cpus.iter().enumerate() {
        let time = match cpu.state {
            RunState::Ready => cpu.acts_at(),
            RunState::Asleep(until) => cpu.next_interrupt().map_or(until, |at| at.max(cpu.now).min(until)),
            RunState::Blocked(_) | RunState::Parked => match cpu.next_interrupt() {
                Some(arrives) => arrives.max(cpu.now),
                None => continue,
            },
        };
        let moment = Moment { time, cpu: index };
        if moment < first {
            second = first;
            first = moment;
        } else if moment < second {
            second = moment;
        }
    }
    (first, second)
}

/// Lets a waiting CPU take the interrupt at the head of its queue.
fn take_interrupt(m: &mut crate::Machine, sys: &Sys, index: usize) {
    let waiting_for = match m.cpus[index].state {
        RunState::Blocked(part) => part,
        RunState::Ready | RunState::Asleep(_) | RunState::Parked => Part::Idle,
    };
    if let Some(arrives) = m.cpus[index].next_interrupt() {
        m.cpus[index].wait_until(arrives, waiting_for);
        m.memory.begin_action(Moment { time: m.cpus[index].now, cpu: index });
        m.handle_interrupt(sys, index);
    }
}

/// Delivers what is still on its way when the last task ends (nobody waits for it any more).
fn drain_interrupts(sys: &Sys) {
    loop {
        let (next, _) = sys.with(|m| two_earliest(m));
        if next == Moment::NEVER || next.time >= sys.stop() {
            return;
        }
        sys.with(|m| take_interrupt(m, sys, next.cpu));
    }
}

/// Says who waits for what.
fn stuck(m: &crate::Machine) -> Deadlock {
    let running = m.ledger.running();
    let wait = |(index, cpu): (usize, &crate::cpu::Cpu)| {
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
