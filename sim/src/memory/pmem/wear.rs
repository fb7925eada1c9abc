//! Wear levelling: the moves of worn blocks to other places of the media, and the accesses that wait for them.

use daxsim_configs::machine::PmemSpec;
use daxsim_types::Time;

/// Moves that are remembered.
const MOVES: usize = 8;

/// Blocks under way, or that were.
pub(super) struct Wear {
    moves: [Move; MOVES],
    next: usize,
    /// When the last of them ends.
    until: Time,
    prepare: Time,
    scan: Time,
    stall: Time,
}

/// A block, and from when until when it cannot be accessed.
#[derive(Clone, Copy, Default)]
struct Move {
    block: u64,
    from: Time,
    until: Time,
}

impl Wear {
    /// Nothing moves.
    pub fn new(spec: &PmemSpec) -> Self {
        Self {
            moves: [Move::default(); MOVES],
            next: 0,
            until: Time::ZERO,
            prepare: spec.wear_prepare,
            scan: spec.wear_scan,
            stall: spec.wear_stall,
        }
    }

    /// `block` is worn from `at` on: it is moved when such blocks are looked for next, but not at once.
    pub fn start(&mut self, block: u64, at: Time) {
        let from = Time((at + self.prepare).0.next_multiple_of(self.scan.0.max(1)));
        let until = from + self.stall;
        self.moves[self.next] = Move { block, from, until };
        self.next = (self.next + 1) % MOVES;
        self.until = self.until.max(until);
    }

    /// How long an access to `block` at `at` waits.
    #[inline]
    pub fn wait(&self, block: u64, at: Time) -> Time {
        if at >= self.until { Time::ZERO } else { self.wait_for_moves(block, at) }
    }

    #[cold]
    fn wait_for_moves(&self, block: u64, at: Time) -> Time {
        let under_way = self.moves.iter().filter(|m| m.block == block && m.from <= at && at < m.until);
        under_way.map(|m| m.until).max().unwrap_or(at).saturating_sub(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worn_block_is_moved_at_the_next_scan_and_no_other_waits() {
        let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
        let spec = PmemSpec { wear_stall: Time(50), ..spec };
        let mut wear = Wear::new(&PmemSpec { wear_prepare: Time(3), wear_scan: Time(40), ..spec });
        wear.start(7, Time(81));
        let waits = |wear: &Wear, block, at: [u64; 4]| at.map(|at| wear.wait(block, Time(at)).0);
        assert_eq!(waits(&wear, 7, [119, 120, 169, 170]), [0, 50, 1, 0]);
        assert_eq!(waits(&wear, 8, [119, 120, 169, 170]), [0; 4]);
        wear.start(8, Time(117));
        assert_eq!(waits(&wear, 8, [119, 120, 169, 170]), [0, 50, 1, 0]);
    }
}
