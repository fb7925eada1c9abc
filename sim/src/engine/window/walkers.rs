//! The page walkers of a core, and the queue before them.

use std::collections::VecDeque;

use daxsim_types::{Time, VirtAddr};

use crate::alike::{Followed, Follower};
use crate::measure::WalkQueue;

/// What a walker does.
#[derive(Clone, Copy, Debug, Default)]
struct Walker {
    free: Time,
    /// The page that it walks for, and the shift of its size.
    page: u64,
    shift: u32,
    /// Walks done.
    walks: u64,
}

/// The walkers, and who waits for one.
pub(super) struct Walkers {
    all: Vec<Walker>,
    /// The walker that is free first, and when.
    first: usize,
    earliest: Time,
    /// When the last of them will be free.
    latest: Time,
    /// Entries in the order in which they came, each with its 4 KiB page. The first has an event.
    queue: VecDeque<(u64, u64)>,
    /// How many of the queue have a page that is filed here: most pages are seen not to be queued.
    filed: Vec<u16>,
    /// Walks begun, those of them that had queued, and how long.
    walks: u64,
    waited: u64,
    waiting: Time,
    /// Those of followers.
    twins: Vec<(Follower, Self)>,
}

/// Several times as many as a window has room for.
const FILES: usize = 1024;

const fn page(va: VirtAddr) -> u64 {
    va.0 >> 12
}

/// Where a page is filed.
const fn file(page: u64) -> usize {
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILES.trailing_zeros())) as usize
}

/// Adds what each walker did since the last call.
fn add_by_walker(sums: &mut Vec<u64>, all: &mut [Walker]) {
    sums.resize(all.len(), 0);
    for (sum, walker) in sums.iter_mut().zip(all) {
        *sum += std::mem::take(&mut walker.walks);
    }
}

impl Walkers {
    pub fn new(count: usize) -> Self {
        Self {
            all: vec![Walker::default(); count.max(1)],
            first: 0,
            earliest: Time::ZERO,
            latest: Time::ZERO,
            queue: VecDeque::new(),
            filed: Vec::new(),
            walks: 0,
            waited: 0,
            waiting: Time::ZERO,
            twins: Vec::new(),
        }
    }

    /// Keeps those of a follower, another number, beside: fed with the same, and compared whenever they are asked.
    pub fn follow(&mut self, follower: Follower, count: usize) {
        if count != self.all.len() {
            self.twins.push((follower, Self::new(count)));
        }
    }

    /// Asks those of followers the same.
    #[cold]
    fn compare<R: PartialEq>(&self, answer: &R, question: impl Fn(&Self) -> R) {
        for (follower, twin) in self.twins.iter().filter(|(follower, _)| follower.is_alike()) {
            follower.answers(question(twin) == *answer);
        }
    }

    /// Adds what each walker of the followers did since the last call.
    pub fn count_twins(&mut self, followed: &mut [Followed]) {
        for (follower, twin) in &mut self.twins {
            let Some(found) = followed.iter_mut().find(|f| f.follower.number() == follower.number()) else {
                continue;
            };
            if twin.all.iter().any(|walker| walker.walks > 0) {
                add_by_walker(&mut found.by_walker, &mut twin.all);
            }
        }
    }

    /// When the walk ends that is under way at `now` for the page of `va`.
    #[inline]
    pub fn covering(&self, va: VirtAddr, now: Time) -> Option<Time> {
        let end = self.end_of(va, now);
        if !self.twins.is_empty() {
            self.compare(&end, |twin| twin.end_of(va, now));
        }
        end
    }

    #[inline]
    fn end_of(&self, va: VirtAddr, now: Time) -> Option<Time> {
        if now >= self.latest {
            return None;
        }
        if let [one, other] = &*self.all {
            // So many have most machines.
            let serves = |w: &Walker| (w.free > now) & (va.0 >> w.shift == w.page);
            return if serves(one) { Some(one.free) } else { serves(other).then_some(other.free) };
        }
        let walker = self.all.iter().find(|w| w.free > now && va.0 >> w.shift == w.page)?;
        Some(walker.free)
    }

    /// The entry whose walk for the page of `va` is queued.
    #[inline]
    pub fn queued(&self, va: VirtAddr) -> Option<u64> {
        let page = page(va);
        if self.queue.is_empty() || self.filed[file(page)] == 0 {
            return None;
        }
        // The page that a program is at came last.
        self.queue.iter().rev().find(|queued| queued.1 == page).map(|queued| queued.0)
    }

    /// Whether a walk for the page of `va` is under way at `now`, or queued.
    #[inline]
    pub fn serve(&self, va: VirtAddr, now: Time) -> bool {
        self.covering(va, now).is_some() || self.queued(va).is_some()
    }

    /// Whether anybody waits for a walker.
    pub fn have_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The entry before which so many others wait for a walker.
    pub fn in_queue(&self, before: usize) -> Option<u64> {
        self.queue.get(before).map(|queued| queued.0)
    }

    /// When the first walker is free.
    #[inline]
    pub fn earliest(&self) -> Time {
        if !self.twins.is_empty() {
            self.compare(&self.earliest, |twin| twin.earliest);
        }
        self.earliest
    }

    /// Whether a walk can begin at `now`.
    #[inline]
    pub fn is_ready(&self, now: Time) -> bool {
        let is_free = self.earliest <= now;
        if self.queue.is_empty() && !self.twins.is_empty() {
            self.compare(&is_free, |twin| twin.earliest <= now);
        }
        self.queue.is_empty() && is_free
    }

    /// Queues a walk for a page that is not queued; true if it is the first.
    pub fn queue(&mut self, id: u64, va: VirtAddr) -> bool {
        let page = page(va);
        self.queue.push_back((id, page));
        if self.filed.is_empty() {
            self.filed.resize(FILES, 0);
        }
        self.filed[file(page)] += 1;
        self.queue.len() == 1
    }

    /// The first of the queue leaves it after `waited`; returns who is first then.
    pub fn unqueue(&mut self, waited: Time) -> Option<u64> {
        self.waited += 1;
        self.waiting += waited;
        if let Some((_, page)) = self.queue.pop_front() {
            self.filed[file(page)] -= 1;
        }
        self.queue.front().map(|queued| queued.0)
    }

    /// The walker that is free first walks until `end` for the page of `va` that `shift` gives.
    pub fn take(&mut self, va: VirtAddr, shift: u32, end: Time) {
        self.occupy(va, shift, end, 1);
        self.walks += 1;
    }

    /// The same for a walk that no access waits for, which is not counted with the others.
    pub fn take_ahead(&mut self, va: VirtAddr, shift: u32, end: Time) {
        self.occupy(va, shift, end, 0);
    }

    fn occupy(&mut self, va: VirtAddr, shift: u32, end: Time, walks: u64) {
        self.twins.iter_mut().for_each(|(_, twin)| twin.occupy(va, shift, end, walks));
        let walker = &mut self.all[self.first];
        *walker = Walker { free: end, page: va.0 >> shift, shift, walks: walker.walks + walks };
        self.latest = self.latest.max(end);
        (self.first, self.earliest) = (0, Time::MAX);
        for (at, walker) in self.all.iter().enumerate() {
            if walker.free < self.earliest {
                (self.first, self.earliest) = (at, walker.free);
            }
        }
    }

    /// Adds what was counted since the last call.
    pub fn count(&mut self, counts: &mut WalkQueue) {
        if std::mem::take(&mut self.walks) == 0 {
            return;
        }
        counts.queued += std::mem::take(&mut self.waited);
        counts.time += std::mem::take(&mut self.waiting);
        add_by_walker(&mut counts.by_walker, &mut self.all);
    }

    pub fn forget_queue(&mut self) {
        self.queue.clear();
        self.filed.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_is_served_from_the_queue_to_the_end_of_its_walk(
            count in 1usize..4,
            ops in prop::collection::vec((0u8..5, 0u64..3000, 0u64..40), 0..300),
        ) {
            let mut walkers = Walkers::new(count);
            let (mut model, mut queue) = (vec![(0, 0); count], VecDeque::new());
            for (id, (op, page, time)) in (0..).zip(ops) {
                let (va, now) = (VirtAddr(page << 12 | 5), Time(time));
                let first = (0..count).min_by_key(|at| model[*at].1).unwrap();
                let queued = queue.iter().find(|(_, queued)| *queued == page).map(|(id, _)| *id);
                let covering = model.iter().find(|(p, end)| *p == page && *end > time);
                let covering = covering.map(|(_, end)| Time(*end));
                prop_assert_eq!((walkers.queued(va), walkers.covering(va, now)), (queued, covering));
                prop_assert_eq!(walkers.serve(va, now), queued.is_some() || covering.is_some());
                prop_assert_eq!(walkers.earliest().0, model[first].1);
                prop_assert_eq!(walkers.is_ready(now), queue.is_empty() && model[first].1 <= time);
                match op {
                    0 | 1 if queued.is_none() => {
                        queue.push_back((id, page));
                        prop_assert_eq!(walkers.queue(id, va), queue.len() == 1);
                    }
                    2 if !queue.is_empty() => {
                        queue.pop_front();
                        prop_assert_eq!(walkers.unqueue(Time(1)), queue.front().map(|(id, _)| *id));
                    }
                    3 => {
                        walkers.take(va, 12, now);
                        model[first] = (page, time);
                    }
                    4 if id % 8 == 0 => {
                        walkers.forget_queue();
                        queue.clear();
                    }
                    _ => {}
                }
                prop_assert_eq!(walkers.in_queue(2), queue.get(2).map(|(id, _)| *id));
            }
        }
    }
}
