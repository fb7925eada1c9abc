//! What makes interleavings differ from run to run: delays between the steps of racing threads, and stalls within them.
//!
//! All are drawn from a seed, in the order of the simulation's actions, so a seed always gives the same interleaving.

use daxsim_types::Time;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Delays of threads that run at once. A run draws two scales, log-uniformly: how far starts lie apart (up to 17 ms, since a
/// wake-up takes microseconds and a descheduled virtual CPU milliseconds), and how long a step waits for the one before it
/// (up to 1 ms, for what the program does between its accesses). Each delay is uniform below its scale.
pub(crate) struct Jitter {
    draws: Xoshiro256PlusPlus,
    start_scale: u64,
    step_scale: u64,
}

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
        let start_scale = 1 << (draws.next_u64() % 35);
        let step_scale = 1 << (draws.next_u64() % 31);
        Self { draws, start_scale, step_scale }
    }

    /// The delay before each of a thread's steps.
    pub(crate) fn delays(&mut self, steps: usize) -> Vec<Time> {
        (0..steps)
            .map(|n| {
                let scale = if n == 0 { self.start_scale } else { self.step_scale };
                Time(self.draws.next_u64() % scale)
            })
            .collect()
    }

    /// Stalls of the same run.
    pub(crate) fn stalls(&mut self) -> Stalls {
        let one_in = 4 << (self.draws.next_u64() % 12);
        let scale = 1 << (self.draws.next_u64() % 31);
        let draws = Xoshiro256PlusPlus::seed_from_u64(self.draws.next_u64());
        Stalls { draws, one_in, scale }
    }
}

/// Pauses of a CPU in the midst of kernel work, while the host of a virtual machine runs something else. A run draws, both
/// log-uniformly, how rare they are (one in 4 to 8192 of the kernel's accesses) and how long at most (up to 1 ms).
#[derive(Debug)]
pub(crate) struct Stalls {
    draws: Xoshiro256PlusPlus,
    one_in: u64,
    scale: u64,
}

impl Stalls {
    /// The pause before the next access, if there is one.
    pub(crate) fn draw(&mut self) -> Option<Time> {
        let stalls = self.draws.next_u64().is_multiple_of(self.one_in);
        stalls.then(|| Time(self.draws.next_u64() % self.scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            let mut stalls = jitter.stalls();
            (jitter.delays(50), (0..50_000).filter_map(|_| stalls.draw()).collect::<Vec<_>>())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..64).all(|seed| !draw(seed).1.is_empty()));
    }
}
