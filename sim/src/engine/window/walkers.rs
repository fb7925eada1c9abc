//! The page walkers of a core, and the queue before them.

use std::collections::VecDeque;

use daxsim_types::{Time, VirtAddr};
use rustc_hash::FxHashMap;

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
    /// When the last of them will be free.
    latest: Time,
    /// Entries in the order in which they came. The first has an event.
    queue: VecDeque<u64>,
    /// The queued entry of each 4 KiB page. Only looked up.
    queued: FxHashMap<u64, u64>,
    /// Walks begun, those of them that had queued, and how long.
    walks: u64,
    waited: u64,
    waiting: Time,
}

const fn page(va: VirtAddr) -> u64 {
    va.0 >> 12
}

impl Walkers {
    pub fn new(count: usize) -> Self {
        Self {
            all: vec![Walker::default(); count.max(1)],
            latest: Time::ZERO,
            queue: VecDeque::new(),
            queued: FxHashMap::default(),
            walks: 0,
            waited: 0,
            waiting: Time::ZERO,
        }
    }

    /// When the walk ends that is under way at `now` for the page of `va`.
    #[inline]
    pub fn covering(&self, va: VirtAddr, now: Time) -> Option<Time> {
        if now >= self.latest {
            return None;
        }
        let walker = self.all.iter().find(|w| w.free > now && va.0 >> w.shift == w.page)?;
        Some(walker.free)
    }

    /// The entry whose walk for the page of `va` is queued.
    pub fn queued(&self, va: VirtAddr) -> Option<u64> {
        if self.queue.is_empty() { None } else { self.queued.get(&page(va)).copied() }
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
        self.queue.get(before).copied()
    }

    /// When the first walker is free.
    pub fn earliest(&self) -> Time {
        self.all.iter().map(|w| w.free).min().unwrap_or_default()
    }

    /// Whether a walk can begin at `now`.
    pub fn is_ready(&self, now: Time) -> bool {
        self.queue.is_empty() && self.earliest() <= now
    }

    /// Queues a walk; true if it is the first.
    pub fn queue(&mut self, id: u64, va: VirtAddr) -> bool {
        self.queue.push_back(id);
        self.queued.insert(page(va), id);
        self.queue.len() == 1
    }

    /// The first of the queue leaves it after `waited`; returns who is first then.
    pub fn unqueue(&mut self, va: VirtAddr, waited: Time) -> Option<u64> {
        self.waited += 1;
        self.waiting += waited;
        self.queue.pop_front();
        self.queued.remove(&page(va));
        self.queue.front().copied()
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
        if let Some(walker) = self.all.iter_mut().min_by_key(|w| w.free) {
            *walker = Walker { free: end, page: va.0 >> shift, shift, walks: walker.walks + walks };
        }
        self.latest = self.latest.max(end);
    }

    /// Adds what was counted since the last call.
    pub fn count(&mut self, counts: &mut WalkQueue) {
        if std::mem::take(&mut self.walks) == 0 {
            return;
        }
        counts.queued += std::mem::take(&mut self.waited);
        counts.time += std::mem::take(&mut self.waiting);
        counts.by_walker.resize(self.all.len(), 0);
        for (sum, walker) in counts.by_walker.iter_mut().zip(&mut self.all) {
            *sum += std::mem::take(&mut walker.walks);
        }
    }

    pub fn forget_queue(&mut self) {
        self.queue.clear();
        self.queued.clear();
    }
}
