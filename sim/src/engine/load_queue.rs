//! The loads of a core from the oldest whose data are not there on, and which of those that wait gets a fill buffer.
//!
//! A load that finds no buffer tries again when one is freed, of those that wait as many as there are buffers. They are let in by
//! age, but not strictly: of some that are drawn, the oldest is.

use std::collections::VecDeque;

use daxsim_traces::generate::SplitMix;
use daxsim_types::{CacheLine, Time};

/// Loads in program order.
pub(super) struct LoadQueue {
    loads: VecDeque<Load>,
    /// Number of the oldest of `loads`.
    first: u64,
    /// Numbers of those that wait for a buffer, ascending.
    waiting: VecDeque<u64>,
    places: usize,
    /// Of those that wait, the oldest so many try for a buffer.
    trying: u64,
    samples: u32,
    random: SplitMix,
}

/// A load that has not left.
struct Load {
    line: CacheLine,
    /// When its data are there, if it has begun.
    there: Option<Time>,
}

/// A load that waits, and its line.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    number: u64,
    pub line: CacheLine,
}

impl LoadQueue {
    /// No loads; at most `places` at a time, of which `trying` try for a buffer.
    pub fn new(places: u32, [trying, samples]: [u32; 2], seed: u64) -> Self {
        let places = places.max(1) as usize;
        Self {
            loads: VecDeque::with_capacity(places),
            first: 0,
            waiting: VecDeque::with_capacity(places),
            places,
            trying: u64::from(trying.max(1)),
            samples: samples.max(1),
            random: SplitMix::new(seed),
        }
    }

    /// A load comes, whose data will be there at `there`, or which waits.
    pub fn push(&mut self, line: CacheLine, there: Option<Time>) {
        if there.is_none() {
            self.waiting.push_back(self.first + self.loads.len() as u64);
        }
        self.loads.push_back(Load { line, there });
    }

    /// Whether any load waits for a buffer.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes out the load that gets the next buffer.
    pub fn draw(&mut self) -> Option<Waiting> {
        let n = (self.waiting.len() as u64).min(self.trying);
        let at = match n {
            0 => return None,
            1 => 0,
            _ => (0..self.samples).map(|_| self.random.below(n) as usize).min().unwrap_or(0),
        };
        let number = self.waiting.remove(at)?;
        let line = self.loads.get((number - self.first) as usize)?.line;
        Some(Waiting { number, line })
    }

    /// The data of a load that was drawn will be there at `there`.
    pub fn begun(&mut self, load: Waiting, there: Time) {
        if let Some(entry) = self.loads.get_mut((load.number - self.first) as usize) {
            entry.there = Some(there);
        }
    }

    /// Lets go of the loads that have their data, oldest first.
    pub fn settle(&mut self, now: Time) {
        while self.loads.front().and_then(|load| load.there).is_some_and(|there| there <= now) {
            self.loads.pop_front();
            self.first += 1;
        }
    }

    /// Whether there is no place for another.
    pub fn is_full(&self) -> bool {
        self.loads.len() >= self.places
    }

    /// Leaves so many places at most.
    pub fn narrow(&mut self, places: usize) {
        self.places = self.places.min(places.max(1));
    }

    /// When the oldest can leave, if it has begun.
    pub fn oldest(&self) -> Option<Time> {
        self.loads.front()?.there
    }

    /// The newest: `None` if it has left, otherwise when its data are there, if it has begun.
    pub fn newest(&self) -> Option<Option<Time>> {
        self.loads.back().map(|load| load.there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(samples: u32, loads: u64) -> LoadQueue {
        let mut queue = LoadQueue::new(64, [10, samples], 1);
        (0..loads).for_each(|n| queue.push(CacheLine(n), None));
        queue
    }

    #[test]
    fn of_many_drawn_the_oldest_is_always_among_them() {
        let mut queue = queue(1000, 8);
        let order: Vec<u64> = std::iter::from_fn(|| queue.draw()).map(|load| load.line.0).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(!queue.is_waiting());
    }

    #[test]
    fn of_few_drawn_older_ones_come_first_but_not_always() {
        let (mut first, mut rank) = (0_u64, 0_u64);
        for round in 0..1000 {
            let mut queue = LoadQueue::new(64, [10, 3], round);
            (0..20).for_each(|n| queue.push(CacheLine(n), None));
            let drawn = queue.draw().unwrap().line.0;
            first += u64::from(drawn == 0);
            rank += drawn;
        }
        // The least of three of ten: 1 - 0.9^3 of being the first, and 2.025 on the average.
        assert!((220..=320).contains(&first), "{first}");
        assert!((1850..=2200).contains(&rank), "{rank}");
    }

    #[test]
    fn loads_leave_in_order_with_their_data() {
        let mut queue = queue(1000, 3);
        queue.push(CacheLine(9), Some(Time(5)));
        let loads: Vec<Waiting> = std::iter::from_fn(|| queue.draw()).collect();
        for (load, there) in loads.iter().zip([30, 10, 20]) {
            queue.begun(*load, Time(there));
        }
        queue.settle(Time(20));
        assert_eq!((queue.oldest(), queue.newest()), (Some(Time(30)), Some(Some(Time(5)))));
        queue.settle(Time(30));
        assert_eq!((queue.oldest(), queue.newest()), (None, None));
    }
}
