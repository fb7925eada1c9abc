//! A queue whose places are taken, and left, in order.

use daxsim_types::Time;

/// When each of the last entries left or will leave: a ring that ascends from its oldest.
pub(super) struct Queue {
    leaves: Vec<Time>,
    oldest: usize,
    /// Entries, from the newest back, that had not left when last asked.
    held: usize,
    /// Time that entries spent here, all together: its growth over a span, divided by that, is the mean depth.
    pub spent: Time,
    /// Most entries at a time.
    pub deepest: u64,
}

impl Queue {
    /// An empty queue of so many places, at least one.
    pub fn new(places: u32) -> Self {
        let places = places.max(1) as usize;
        Self { leaves: vec![Time::ZERO; places], oldest: 0, held: 0, spent: Time::ZERO, deepest: 0 }
    }

    /// How long something that comes at `at` waits for a place.
    #[inline]
    pub fn wait(&self, at: Time) -> Time {
        self.leaves[self.oldest].saturating_sub(at)
    }

    /// Places that there are.
    #[inline]
    pub const fn places(&self) -> usize {
        self.leaves.len()
    }

    /// When a place is free for the next entry but `before`: of those not to come, the newest counts.
    #[inline]
    pub fn leaves(&self, before: usize) -> Time {
        if before + 1 >= self.leaves.len() {
            return self.last();
        }
        let at = self.oldest + before;
        self.leaves[if at >= self.leaves.len() { at - self.leaves.len() } else { at }]
    }

    /// When the newest entry leaves.
    #[inline]
    pub fn last(&self) -> Time {
        self.leaves[self.oldest.checked_sub(1).unwrap_or(self.leaves.len() - 1)]
    }

    /// Takes a place at `at`, until `leaves` or, as the queue keeps its order, until its predecessor has left.
    #[inline]
    pub fn push(&mut self, at: Time, leaves: Time) -> Time {
        let leaves = leaves.max(self.last());
        self.spent += leaves.saturating_sub(at);
        self.leaves[self.oldest] = leaves;
        self.oldest += 1;
        if self.oldest == self.leaves.len() {
            self.oldest = 0;
        }
        self.held = (self.held + 1).min(self.leaves.len());
        self.deepest = self.deepest.max(self.held(at) as u64);
        leaves
    }

    /// Entries that have not left at `at`. Whatever was gone at a later time stays gone.
    #[inline]
    pub fn held(&mut self, at: Time) -> usize {
        let places = self.leaves.len();
        while self.held > 0 {
            let first = self.oldest + places - self.held;
            let first = if first >= places { first - places } else { first };
            if self.leaves[first] > at {
                break;
            }
            self.held -= 1;
        }
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_is_a_list_of_leaving_times(
            places in 1u32..6,
            entries in prop::collection::vec((0u64..20, 0u64..60), 1..80),
        ) {
            let mut queue = Queue::new(places);
            let mut list: VecDeque<u64> = VecDeque::new();
            let (mut now, mut spent, mut deepest) = (0, 0, 0);
            for (later, stay) in entries {
                now += later;
                list.retain(|&leaves| leaves > now);
                prop_assert_eq!(queue.held(Time(now)), list.len());
                let full = list.len() == places as usize;
                let wait = if full { list[0] - now } else { 0 };
                prop_assert_eq!(queue.wait(Time(now)), Time(wait));
                now += wait;
                list.retain(|&leaves| leaves > now);
                let leaves = (now + stay).max(queue.last().0);
                prop_assert_eq!(queue.push(Time(now), Time(now + stay)), Time(leaves));
                if leaves > now {
                    list.push_back(leaves);
                }
                spent += leaves.saturating_sub(now);
                deepest = deepest.max(list.len() as u64);
                prop_assert_eq!((queue.spent, queue.deepest), (Time(spent), deepest));
            }
        }
    }
}
