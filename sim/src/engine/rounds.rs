//! Rounds of looking ahead: several CPUs at a time find out which hits come next, in several threads of the host.
//!
//! In a round each CPU has what is its own to itself, so it needs nobody's leave: it makes the hits that come before the earliest
//! action of any CPU, and looks further ahead. Everything else is done by one thread, in the order of the actions. See
//! [`super::foresight`].

use std::sync::OnceLock;
use std::time::Duration;

use daxsim_types::Time;
use rayon::prelude::*;
use smallvec::SmallVec;

use super::{Made, Moment, Private, Sys};
use crate::cpu::RunState;
use crate::machine::Machine;
use crate::program::Runner;

/// How far CPUs look ahead, and in how many threads of the host. No result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// Hits that a CPU foresees at a time; 0: none.
    pub hits: usize,
    /// Threads; with more than one, those of the `rayon` pool that the simulation runs in.
    pub threads: usize,
}

impl Lookahead {
    /// As far as is best in so many threads of the host: what one foresees fits its L2, and several meet less often than that.
    #[must_use]
    pub const fn in_threads(threads: usize) -> Self {
        Self { hits: if threads > 1 { 4096 } else { 1024 }, threads }
    }
}

impl Default for Lookahead {
    fn default() -> Self {
        Self::in_threads(1)
    }
}

/// How many of the threads asked for one simulation has use for: no more than the host has cores.
#[must_use]
pub fn useful_threads(asked: usize) -> usize {
    asked.min(std::thread::available_parallelism().map_or(1, usize::from))
}

/// Runs `work`, a simulation, in a thread of a `rayon` pool while the others stand by: rounds are short, and waking a thread for each
/// would take as long as they do.
pub fn with_threads_standing_by<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let over = Over(OnceLock::new());
    rayon::scope(|scope| {
        let busy = rayon::current_thread_index();
        let over = &over;
        scope.spawn_broadcast(move |_, thread| {
            if Some(thread.index()) != busy {
                over.stand_by();
            }
        });
        let _end = AtEnd(over);
        work()
    })
}

/// Set when the work is done. It only ends the loops of [`Over::stand_by`]: all data go between threads by way of `rayon`.
struct Over(OnceLock<()>);

/// Says so, whatever the end is.
struct AtEnd<'a>(&'a Over);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        // Set once, here: it cannot be set already.
        let _ = self.0.0.set(());
    }
}

impl Over {
    /// Does what comes up in the pool. A thread that has had nothing to do for long looks only now and then.
    fn stand_by(&self) {
        let mut idle = 0;
        while self.0.get().is_none() {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
            } else if idle < PATIENCE {
                idle += 1;
                std::hint::spin_loop();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}

/// How often a thread looks for something to do without a pause.
const PATIENCE: u32 = 20_000;

/// Hits that are worth waking a thread of the host for.
const WORTH_A_THREAD: usize = 2048;

impl Sys {
    /// Says how CPUs look ahead from now on.
    pub fn set_lookahead(&self, lookahead: Lookahead) {
        self.lookahead.set(lookahead);
    }

    /// Looks ahead, if `first`, whose turn it would be, has use for it, and another CPU, too, or has to go soon. True if it turns out not
    /// to be the turn of `first`.
    pub(super) fn look_ahead(&self, m: &mut Machine, first: usize) -> bool {
        let Lookahead { hits, threads } = self.lookahead.get();
        let cpu = &m.cpus[first];
        // A machine that will lose power stops in the midst of hits, and the host may take a CPU away before each turn.
        let off = self.stop() < Time::MAX || self.stalling.get();
        let Some(runner) = cpu.runner.as_ref().filter(|runner| !off && hits > 0 && runner.may_look_ahead())
        else {
            return false;
        };
        let soon = cpu.acts_at() + runner.costs.soon();
        let action = Moment { time: cpu.acts_at(), cpu: first };
        let looking = m.turns.take_looking();
        let mut lanes: SmallVec<[Private<'_>; 16]> =
            m.privates_of(&looking).filter(|lane| lane.has_use_for(hits / 2, action)).collect();
        if lanes.len() < 2 && self.horizon.get().time > soon {
            drop(lanes);
            m.keep_looking(&looking);
            return false;
        }
        let work = |lane: &mut Private<'_>| {
            lane.make_before(action);
            lane.look_ahead(hits);
        };
        if threads > 1 && lanes.iter().map(|lane| lane.work(hits)).sum::<usize>() >= WORTH_A_THREAD {
            lanes.par_iter_mut().with_max_len(1).for_each(work);
        } else {
            lanes.iter_mut().for_each(work);
        }
        let done: SmallVec<[(usize, Made); 16]> =
            lanes.into_iter().map(|lane| (lane.index, lane.made)).collect();
        m.keep_looking(&looking);
        for (index, made) in done {
            m.turns.change(index);
            m.memory.watch_l1(index, true);
            m.count_made(made);
        }
        m.cpus[first].acts_at() > action.time
    }

    /// Gives up the hits that the lines would have been needed for that somebody took, so that their CPUs act in time.
    #[cold]
    pub(super) fn give_up_lost(&self, m: &mut Machine) {
        for lost in m.memory.take_lost() {
            m.turns.change(lost.core);
            m.cpus[lost.core].give_up(|foresight| foresight.lose(lost.core, lost.at, lost.by));
        }
        let acting = m.memory.acting().cpu;
        for (index, cpu) in m.cpus.iter().enumerate().filter(|(index, _)| *index != acting) {
            if cpu.runner.is_some() {
                self.pull_horizon(Moment { time: cpu.acts_at(), cpu: index });
            }
        }
    }
}

impl Machine {
    /// Some CPUs, given in order, with their L1Ds.
    fn privates_of<'m>(&'m mut self, indices: &'m [usize]) -> impl Iterator<Item = Private<'m>> {
        let (mut cpus, mut lanes, mut passed) = (self.cpus.iter_mut(), self.memory.l1_lanes(), 0);
        indices.iter().filter_map(move |index| {
            let skipped = index - std::mem::replace(&mut passed, index + 1);
            let (cpu, l1) = (cpus.nth(skipped)?, lanes.nth(skipped)?);
            Some(Private { index: *index, cpu, l1, made: Made::default() })
        })
    }

    /// Notes again those CPUs that may find more without having had their turn.
    fn keep_looking(&mut self, indices: &[usize]) {
        for index in indices {
            if self.cpus[*index].runner.as_ref().is_some_and(|runner| runner.foresight.may_go_on()) {
                self.turns.looks(*index);
            }
        }
    }

    fn count_made(&mut self, made: Made) {
        self.measure.reads += made.reads;
        self.measure.writes += made.writes;
        self.memory.count_l1_hits(made.reads + made.writes);
    }

    /// Makes the hits of a CPU that come before an action.
    pub(super) fn make_hits(&mut self, index: usize, action: Moment) {
        let (l1, cpu) = (self.memory.l1_lane(index), &mut self.cpus[index]);
        let mut private = Private { index, cpu, l1, made: Made::default() };
        private.make_before(action);
        let made = private.made;
        self.count_made(made);
    }

    /// It is the turn of a CPU: all that it has foreseen comes before.
    pub(super) fn begin_turn(&mut self, turn: Moment) {
        self.turns.looks(turn.cpu);
        if self.cpus[turn.cpu].runner.is_none() {
            return;
        }
        self.make_hits(turn.cpu, turn);
        self.memory.watch_l1(turn.cpu, false);
        if let Some(runner) = &mut self.cpus[turn.cpu].runner {
            runner.foresight.begin_turn();
        }
    }

    /// Hits that were foreseen and given up because a CPU changed the TLBs of others. No result depends on how many there are.
    #[must_use]
    pub const fn recalled_hits(&self) -> u64 {
        self.recalled_hits
    }

    /// To be called before an action changes the TLBs of other CPUs: makes the hits that come before it, and gives up all others.
    pub(crate) fn recall(&mut self) {
        let action = self.memory.acting();
        for index in 0..self.cpus.len() {
            self.make_hits(index, action);
            let known = self.cpus[index].runner.as_ref().map_or(0, |runner| runner.foresight.len());
            if self.cpus[index].give_up(super::Foresight::end) {
                self.recalled_hits += known as u64;
                self.turns.change(index);
                self.memory.note_given_up();
            }
        }
    }
}

impl Private<'_> {
    /// Whether to look ahead where fewer than `few` hits are known that do not come before an action.
    fn has_use_for(&self, few: usize, action: Moment) -> bool {
        let knows_few = |runner: &Runner| runner.foresight.after(self.index, action) < few;
        self.cpu.state == RunState::Ready
            && self.cpu.runner.as_ref().is_some_and(|runner| runner.may_look_ahead() && knows_few(runner))
    }

    /// What there is to do for it, in hits.
    fn work(&self, most: usize) -> usize {
        self.cpu.runner.as_ref().map_or(0, |runner| runner.foresight.work(most))
    }
}
