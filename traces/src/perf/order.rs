//! Records in the order of time.
//!
//! perf reads the buffers of the CPUs in rounds: what is in a round is not earlier than all of the last round but one. Up to the
//! latest time of the round before, a round completes what can come.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Most bytes that wait for their round to end. perf flushes half of its queue then; here the earliest go first.
const MOST_WAITING: usize = 64 << 20;

/// A record of the kernel.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub time: u64,
    /// Order in the file.
    pub number: u64,
    pub kind: u32,
    pub attr: usize,
    pub bytes: Vec<u8>,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

/// Records that wait for earlier ones.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: BinaryHeap<Reverse<Pending>>,
    bytes: usize,
    /// Records up to this time may go.
    limit: u64,
    /// Latest time so far, and at the end of the last round.
    latest: u64,
    latest_before: u64,
    ended: bool,
}

impl Order {
    /// Takes a record in. Without a time it goes with the one before it.
    pub fn push(&mut self, mut record: Pending, time: Option<u64>) {
        record.time = time.unwrap_or(self.latest);
        self.latest = self.latest.max(record.time);
        self.bytes += cost(&record);
        self.waiting.push(Reverse(record));
    }

    /// A round ended: what is not later than the round before may go.
    pub fn end_round(&mut self) {
        self.limit = self.limit.max(self.latest_before);
        self.latest_before = self.latest;
    }

    /// There are no more records.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// Whether there are no more.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next record that may go.
    pub fn pop(&mut self) -> Option<Pending> {
        let Reverse(first) = self.waiting.peek()?;
        if !self.ended && first.time > self.limit && self.bytes <= MOST_WAITING {
            return None;
        }
        let Reverse(record) = self.waiting.pop()?;
        self.bytes = self.bytes.saturating_sub(cost(&record));
        Some(record)
    }
}

/// What a record takes while it waits.
fn cost(record: &Pending) -> usize {
    size_of::<Pending>() + record.bytes.capacity()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(order: &mut Order) -> Vec<u64> {
        std::iter::from_fn(|| order.pop()).map(|record| record.number).collect()
    }

    #[test]
    fn a_round_lets_go_what_the_round_before_had() {
        let mut order = Order::default();
        for (number, time) in [(1, 10), (2, 30), (3, 20)] {
            order.push(Pending { number, ..Pending::default() }, Some(time));
        }
        order.end_round();
        assert_eq!(drain(&mut order), []);
        for (number, time) in [(4, 25), (5, 40), (6, 30)] {
            order.push(Pending { number, ..Pending::default() }, Some(time));
        }
        order.end_round();
        assert_eq!(drain(&mut order), [1, 3, 4, 2, 6]);
        order.push(Pending { number: 7, ..Pending::default() }, None);
        order.end();
        assert_eq!(drain(&mut order), [5, 7]);
    }

    #[test]
    fn without_rounds_a_bounded_number_waits() {
        let mut order = Order::default();
        for number in 0..70 {
            order.push(Pending { number, bytes: vec![0; 1 << 20], ..Pending::default() }, Some(number));
        }
        assert_eq!(drain(&mut order).len(), 7);
    }
}
