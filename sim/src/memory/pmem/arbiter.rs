//! Which of the reads that wait is served next.
//!
//! Requests of many cores that find a memory controller busy try again, each for itself, and are let in in no particular
//! order. Here calls come one by one, and each must say at once how long it takes. So a call takes the turn that is its own by
//! time, but in that turn one of the requests that wait is served.

use daxsim_traces::generate::SplitMix;
use daxsim_types::Time;

use super::queue::Queue;

/// Most requests of which it is known that they wait.
const MOST: u32 = 512;

/// A line of the media, and a sector of it.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub line: u64,
    pub sector: u64,
    came: u64,
}

/// The requests that wait.
pub(super) struct Arbiter {
    waiting: Vec<Request>,
    /// When each of the last requests had its turn.
    turns: Queue,
    /// Requests that have to wait when the last one came.
    behind: usize,
    came: u64,
    samples: u32,
    random: SplitMix,
}

impl Arbiter {
    /// Nobody waits. Of so many that are drawn, the one that came first is served.
    pub fn new(samples: u32, seed: u64) -> Self {
        Self {
            waiting: Vec::with_capacity(MOST as usize + 1),
            turns: Queue::new(MOST),
            behind: 0,
            came: 0,
            samples,
            random: SplitMix::new(seed),
        }
    }

    /// A request comes at `at`.
    #[inline]
    pub fn come(&mut self, line: u64, sector: u64, at: Time) {
        self.behind = self.turns.held(at);
        self.came += 1;
        self.waiting.push(Request { line, sector, came: self.came });
    }

    /// The next to be served, as long as more wait than have to.
    #[inline]
    pub fn next(&mut self) -> Option<Request> {
        (self.waiting.len() > self.behind).then(|| {
            let next = self.draw();
            self.waiting.swap_remove(next)
        })
    }

    /// The request that came at `at` has its turn at `turn`.
    #[inline]
    pub fn turn(&mut self, at: Time, turn: Time) {
        self.turns.push(at, turn);
    }

    fn draw(&mut self) -> usize {
        let n = self.waiting.len() as u64;
        if n == 1 {
            return 0;
        }
        let draws = (0..self.samples.max(1)).map(|_| self.random.below(n) as usize);
        draws.min_by_key(|at| self.waiting[*at].came).unwrap_or(0)
    }
}
