//! Accesses of several threads to the same lines.

use super::{Access, LINE, SplitMix};
use crate::access::{AccessBatch, OrderRun};
use daxsim_types::VirtAddr;

/// Threads that take turns in making a few accesses, each to any line of a range that all share.
pub struct Shared {
    /// First address.
    pub base: u64,
    /// Length of the range, a multiple of 64.
    pub bytes: u64,
    /// Stores of 100 accesses.
    pub writes: u64,
    /// Threads, at least 1.
    pub threads: u32,
    /// Accesses of a turn, at least 1.
    pub turn: u64,
    rng: SplitMix,
    /// Accesses so far, of all threads.
    made: u64,
}

impl Shared {
    /// The stream of a seed. It is endless.
    #[must_use]
    pub const fn new(base: u64, bytes: u64, writes: u64, threads: u32, turn: u64, seed: u64) -> Self {
        Self { base, bytes, writes, threads, turn, rng: SplitMix::new(seed), made: 0 }
    }

    /// Replaces `batch` by the accesses of the next turn, of which there are `most` at most.
    pub fn next_turn(&mut self, most: u64, batch: &mut AccessBatch) {
        let count = self.turn.max(1).min(most);
        let turns = self.made / self.turn.max(1);
        batch.thread = (turns % u64::from(self.threads.max(1))) as u32;
        batch.records.clear();
        for _ in 0..count {
            let offset = self.rng.below((self.bytes / LINE).max(1)) * LINE;
            let write = self.rng.below(100) < self.writes;
            let va = VirtAddr(self.base.wrapping_add(offset));
            batch.records.push(Access { va, write }.to_record(false));
        }
        batch.order.clear();
        batch.order.push(OrderRun { first: self.made, count });
        self.made += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessOp;

    #[test]
    fn threads_take_turns_in_one_order() {
        let mut shared = Shared::new(0x1000, 256, 50, 3, 4, 9);
        let mut batch = AccessBatch::default();
        let mut stores = 0;
        for turn in 0..300 {
            shared.next_turn(u64::MAX, &mut batch);
            assert_eq!((batch.thread, batch.records.len()), (turn % 3, 4));
            assert_eq!(batch.order, [OrderRun { first: u64::from(turn) * 4, count: 4 }]);
            assert!(batch.records.iter().all(|record| (0x1000..0x1100).contains(&record.va.0)));
            stores += batch.records.iter().filter(|record| record.op == AccessOp::Store).count();
        }
        assert!((500..700).contains(&stores), "{stores}");
        shared.next_turn(3, &mut batch);
        assert_eq!(batch.records.len(), 3);
    }
}
