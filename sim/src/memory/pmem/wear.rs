//! Wear levelling: the moves of worn blocks to other places of the media, and the accesses that wait for them.

use daxsim_configs::machine::PmemSpec;
use daxsim_traces::generate::SplitMix;
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
    stall: Time,
    pause: Time,
    /// The second part takes either.
    second: [Time; 2],
    random: SplitMix,
}

/// The times in which a block cannot be accessed.
#[derive(Clone, Copy, Default)]
struct Move {
    block: u64,
    spans: [(Time, Time); 2],
}

impl Wear {
    /// Nothing moves.
    pub fn new(spec: &PmemSpec, seed: u64) -> Self {
        Self {
            moves: [Move::default(); MOVES],
            next: 0,
            until: Time::ZERO,
            prepare: spec.wear_prepare,
            stall: spec.wear_stall,
            pause: spec.wear_pause,
            second: [spec.wear_second_short, spec.wear_second_long],
            random: SplitMix::new(seed),
        }
    }

    /// `block` is found worn at `at`: it is moved after a while, and its table entry is written after another.
    pub fn start(&mut self, block: u64, at: Time) {
        let first = at + self.prepare;
        let end = first + self.stall;
        let second = end + self.pause;
        let last = second + self.second[self.random.below(2) as usize];
        self.moves[self.next] = Move { block, spans: [(first, end), (second, last)] };
        self.next = (self.next + 1) % MOVES;
        self.until = self.until.max(last);
    }

    /// How long an access to `block` at `at` waits.
    #[inline]
    pub fn wait(&self, block: u64, at: Time) -> Time {
        if at >= self.until { Time::ZERO } else { self.wait_for_moves(block, at) }
    }

    #[cold]
    fn wait_for_moves(&self, block: u64, at: Time) -> Time {
        let spans = self.moves.iter().filter(|m| m.block == block).flat_map(|m| m.spans);
        let ends = spans.filter(|(start, end)| (*start..*end).contains(&at)).map(|(_, end)| end);
        ends.max().unwrap_or(at).saturating_sub(at)
    }
}
