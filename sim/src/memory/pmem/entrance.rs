//! The way of writes into the write pending queue: who waits for a place, who gets the next one, and when.
//!
//! A write is told at once when it is accepted, but who is let in at a turn is drawn only when the turn has come, of those that wait by
//! then. There is a turn when a place gets free, and for turns to come that depends on whom those before them let in. So these are
//! taken to follow each other as the last ones did, on the average: at the pace of the DIMM.

use std::collections::VecDeque;

use daxsim_configs::machine::PmemSpec;
use daxsim_traces::generate::SplitMix;
use daxsim_types::Time;

use super::queue::Queue;

/// The pace is a mean of about so many writes: many, beside the lines that fill a line of the media, the last of which has to wait for
/// it; few, beside those that wait when many threads write.
const PACE_WRITES: u64 = 64;

/// A write: a line of the media, and a sector of it.
#[derive(Clone, Copy)]
pub(super) struct Write {
    pub line: u64,
    pub sector: u64,
}

/// Most writes that wait: of more, the next is let in before its turn, so that the pace is known.
const MOST: usize = 512;

/// The writes that wait, and the turns in which one of them is let in.
pub(super) struct Entrance {
    /// By age.
    waiting: VecDeque<Write>,
    /// When the turns to come are: as many as writes wait.
    turns: VecDeque<Time>,
    /// Mean time that the DIMM takes for a write.
    pace: Time,
    /// Of those that wait, the oldest so many can be let in.
    trying: usize,
    samples: u32,
    random: SplitMix,
}

impl Entrance {
    /// Nobody waits, and the DIMM is taken to need `pace` for a write.
    pub fn new(spec: &PmemSpec, pace: Time, seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            turns: VecDeque::new(),
            pace,
            trying: spec.wpq_waiting.max(1) as usize,
            samples: spec.wpq_samples,
            random: SplitMix::new(seed),
        }
    }

    /// When a write that comes now has a place in `queue`, which holds those that were let in.
    #[inline]
    pub fn place(&self, queue: &Queue) -> Time {
        let before = self.turns.len();
        let beyond = (before + 1).saturating_sub(queue.places());
        queue.leaves(before) + self.turns_of(beyond)
    }

    /// When the newest write has left `queue`.
    pub fn last(&self, queue: &Queue) -> Time {
        queue.last() + self.turns_of(self.turns.len())
    }

    const fn turns_of(&self, writes: usize) -> Time {
        Time(self.pace.0 * writes as u64)
    }

    /// A write comes that gets the turn at `turn`, or soon after if that is before the last one.
    #[inline]
    pub fn come(&mut self, line: u64, sector: u64, turn: Time) {
        self.waiting.push_back(Write { line, sector });
        self.turns.push_back(self.turns.back().map_or(turn, |last| turn.max(*last)));
    }

    /// The next turn, if it has come at `now`, and who is let in.
    #[inline]
    pub fn next(&mut self, now: Time) -> Option<(Time, Write)> {
        let turn = *self.turns.front()?;
        if turn > now && self.turns.len() <= MOST {
            return None;
        }
        self.turns.pop_front();
        let next = self.draw();
        self.waiting.remove(next).map(|write| (turn, write))
    }

    /// Of those that are drawn, the oldest.
    fn draw(&mut self) -> usize {
        let n = self.waiting.len().min(self.trying);
        match n {
            0 | 1 => 0,
            _ => (0..self.samples.max(1)).map(|_| self.random.below(n as u64) as usize).min().unwrap_or(0),
        }
    }

    /// The DIMM took so long for a write that was let in.
    #[inline]
    pub fn took(&mut self, time: Time) {
        self.pace = Time(((PACE_WRITES - 1) * self.pace.0 + time.0) / PACE_WRITES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrance(samples: u32, waiting: u32) -> Entrance {
        let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
        Entrance::new(&PmemSpec { wpq_samples: samples, wpq_waiting: waiting, ..spec }, Time(6400), 1)
    }

    #[test]
    fn who_comes_to_a_full_queue_waits_for_the_place_of_its_turn() {
        let (mut entrance, mut queue) = (entrance(1, 100), Queue::new(2));
        for _ in 0..1000 {
            entrance.took(Time(3200));
        }
        let pace = entrance.pace.0;
        assert!((3200..3300).contains(&pace), "{pace}");
        queue.push(Time(0), Time(10_000));
        queue.push(Time(0), Time(12_000));
        let places: Vec<u64> = (0..4)
            .map(|line| {
                let place = entrance.place(&queue);
                entrance.come(line, 1, place);
                place.0
            })
            .collect();
        assert_eq!(places, [10_000, 12_000, 12_000 + pace, 12_000 + 2 * pace]);
        assert_eq!(entrance.last(&queue), Time(12_000 + 4 * pace));
        let turns = |entrance: &mut Entrance, now| -> Vec<u64> {
            std::iter::from_fn(|| entrance.next(now)).map(|(turn, _)| turn.0).collect()
        };
        assert_eq!(turns(&mut entrance, Time(9_999)), []);
        assert_eq!(turns(&mut entrance, Time(12_000)), [10_000, 12_000]);
        assert_eq!(turns(&mut entrance, Time(100_000)), [12_000 + pace, 12_000 + 2 * pace]);
    }

    #[test]
    fn only_the_oldest_are_let_in() {
        let mut entrance = entrance(1, 3);
        (0..50).for_each(|line| entrance.come(line, 1, Time(line)));
        let order: Vec<u64> =
            std::iter::from_fn(|| entrance.next(Time(50))).map(|(_, next)| next.line).collect();
        assert_eq!(order.len(), 50);
        assert!(order.iter().enumerate().all(|(n, line)| *line <= n as u64 + 2), "{order:?}");
        assert!(order.windows(2).any(|pair| pair[0] > pair[1]), "in no strict order: {order:?}");
    }
}
