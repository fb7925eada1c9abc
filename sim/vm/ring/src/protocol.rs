//! How the two sides of a ring agree, apart from where it lies.
//!
//! The writer of a ring moves its head, the reader its tail; both only grow, and slots between them belong to the reader. Who finds
//! nothing to do says so in a word, fences, looks again, and sleeps on that word. Who changes head or tail fences after that and looks at the
//! word. So of a change and a sleep at the same time, one is seen: the fences order "said, then looked" against "changed, then
//! looked".

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::sync::{Host, Word};

/// Of every ring: what the writer of it stores.
#[repr(C, align(128))]
pub(crate) struct Head<H: Host> {
    /// Slots ever filled.
    pub(crate) head: H::U64,
}

/// Of every ring: what its reader stores.
#[repr(C, align(128))]
pub(crate) struct Tail<H: Host> {
    /// Slots ever emptied.
    pub(crate) tail: H::U64,
    /// 1 while the writer wants to be woken.
    pub(crate) writer_sleeps: H::U32,
}

/// A ring without its slots.
#[repr(C)]
pub(crate) struct Ring<H: Host> {
    pub(crate) head: Head<H>,
    pub(crate) tail: Tail<H>,
}

/// What all rings share.
#[repr(C, align(128))]
pub(crate) struct Common<H: Host> {
    /// 1 while the reader wants to be woken.
    pub(crate) reader_sleeps: H::U32,
    /// 1 when the reader has ended.
    pub(crate) reader_closed: H::U32,
}

/// The writer's view of its ring.
#[derive(Debug)]
pub(crate) struct WriterEnd {
    /// Slots ever filled and shown.
    head: u64,
    /// The reader's tail, as last seen.
    tail: u64,
    slots: u64,
    /// Slots to be read from which on the reader is woken.
    wake_from: u64,
}

impl WriterEnd {
    pub(crate) fn new<H: Host>(ring: &Ring<H>, slots: u64, wake_from: u64) -> Self {
        Self { head: ring.head.head.load(Relaxed), tail: ring.tail.tail.load(Acquire), slots, wake_from }
    }

    /// Slots ever filled and shown: the next one to fill.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    fn has_room(&self, needed: u64) -> bool {
        self.head.wrapping_sub(self.tail).saturating_add(needed) <= self.slots
    }

    /// Waits until `needed` slots are free; `false` if the reader is gone. `alive` says whether its process is there; it is asked
    /// after every sleep.
    pub(crate) fn wait_for_room<H: Host>(
        &mut self,
        ring: &Ring<H>,
        common: &Common<H>,
        needed: u64,
        at_most: Duration,
        alive: impl Fn() -> bool,
    ) -> bool {
        loop {
            if common.reader_closed.load(Acquire) != 0 {
                return false;
            }
            if self.has_room(needed) {
                return true;
            }
            self.tail = ring.tail.tail.load(Acquire);
            if self.has_room(needed) {
                return true;
            }
            ring.tail.writer_sleeps.store(1, Relaxed);
            H::fence();
            self.tail = ring.tail.tail.load(Acquire);
            if self.has_room(needed) || common.reader_closed.load(Acquire) != 0 {
                ring.tail.writer_sleeps.store(0, Relaxed);
                continue;
            }
            H::wait(&ring.tail.writer_sleeps, 1, at_most);
            if !alive() {
                return false;
            }
        }
    }

    /// Shows the reader `count` slots more, and wakes it if it has enough to do or if it must know now.
    pub(crate) fn publish<H: Host>(&mut self, ring: &Ring<H>, common: &Common<H>, count: u64, now: bool) {
        self.head += count;
        ring.head.head.store(self.head, Release);
        if now || self.head.wrapping_sub(self.tail) >= self.wake_from {
            wake_reader(common);
        }
    }
}

/// Wakes the reader if it sleeps, after something that it looks for was changed.
pub(crate) fn wake_reader<H: Host>(common: &Common<H>) {
    H::fence();
    if common.reader_sleeps.load(Relaxed) != 0 {
        common.reader_sleeps.store(0, Relaxed);
        H::wake(&common.reader_sleeps);
    }
}

/// Sleeps until something is written, unless `found` finds something after having said so.
pub(crate) fn wait_for_writer<H: Host>(common: &Common<H>, at_most: Duration, found: impl FnOnce() -> bool) {
    common.reader_sleeps.store(1, Relaxed);
    H::fence();
    if !found() {
        H::wait(&common.reader_sleeps, 1, at_most);
    }
    common.reader_sleeps.store(0, Relaxed);
}

/// The reader's view of a ring.
#[derive(Debug)]
pub(crate) struct ReaderEnd {
    /// Slots ever emptied.
    tail: u64,
    /// The writer's head, as last seen.
    head: u64,
}

impl ReaderEnd {
    pub(crate) fn new<H: Host>(ring: &Ring<H>) -> Self {
        Self { tail: ring.tail.tail.load(Relaxed), head: ring.head.head.load(Acquire) }
    }

    /// Slots ever emptied: the next one to read.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Slots to be read.
    pub(crate) fn filled<H: Host>(&mut self, ring: &Ring<H>) -> u64 {
        if self.head == self.tail {
            self.head = ring.head.head.load(Acquire);
        }
        self.head.wrapping_sub(self.tail)
    }

    /// Gives `count` slots back, and wakes the writer if it waits and less than `wake_below` are left to be read.
    pub(crate) fn give_back<H: Host>(&mut self, ring: &Ring<H>, count: u64, wake_below: u64) {
        self.tail += count;
        ring.tail.tail.store(self.tail, Release);
        if self.head.wrapping_sub(self.tail) < wake_below {
            wake_writer(ring);
        }
    }
}

/// Wakes the writer of a ring if it sleeps.
pub(crate) fn wake_writer<H: Host>(ring: &Ring<H>) {
    H::fence();
    if ring.tail.writer_sleeps.load(Relaxed) != 0 {
        ring.tail.writer_sleeps.store(0, Relaxed);
        H::wake(&ring.tail.writer_sleeps);
    }
}
