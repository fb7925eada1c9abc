//! Short times in which nothing reaches the DIMMs, one after the other until some time after the start.

use daxsim_configs::machine::PmemSpec;
use daxsim_types::Time;

/// When nothing is served.
pub(super) struct Pauses {
    every: Time,
    until: Time,
    /// Of the even ones, of the odd ones.
    lengths: [Time; 2],
}

impl Pauses {
    /// Those of a machine.
    pub const fn new(spec: &PmemSpec) -> Self {
        Self {
            every: spec.pause_every,
            until: spec.pause_until,
            lengths: [spec.pause_short, spec.pause_long],
        }
    }

    /// How long something that comes at `at` waits.
    #[inline]
    pub fn wait(&self, at: Time) -> Time {
        if at >= self.until { Time::ZERO } else { self.wait_until_over(at) }
    }

    #[cold]
    fn wait_until_over(&self, at: Time) -> Time {
        let every = self.every.0.max(1);
        let (n, since) = (at.0 / every, at.0 % every);
        if n == 0 { Time::ZERO } else { self.lengths[(n % 2) as usize].saturating_sub(Time(since)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_turn_and_end() {
        let pauses = Pauses { every: Time(100), until: Time(400), lengths: [Time(8), Time(15)] };
        let waits = |at: [u64; 7]| at.map(|at| pauses.wait(Time(at)).0);
        assert_eq!(waits([0, 99, 100, 114, 115, 203, 408]), [0, 0, 15, 1, 0, 5, 0]);
    }
}
