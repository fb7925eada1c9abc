//! The protocol under a model checker: every order of its steps that the memory model allows, up to a number of preemptions.

use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::protocol::{
    Common, Head, ReaderEnd, Ring, Tail, WriterEnd, wait_for_writer, wake_reader, wake_writer,
};
use crate::sync::{Host, Word};

/// A word with a futex: who waits looks at the word and falls asleep in one step, as seen by who wakes. No sleep ends by
/// itself, so a lost wake is a deadlock, which the checker reports.
#[derive(Default)]
struct Futex {
    word: AtomicU32,
    bucket: Mutex<()>,
    woken: Condvar,
}

struct Model;

impl Word<u32> for Futex {
    fn load(&self, order: Ordering) -> u32 {
        self.word.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.word.store(value, order);
    }
}

impl Word<u64> for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
}

impl Host for Model {
    type U32 = Futex;
    type U64 = AtomicU64;

    fn fence() {
        fence(Ordering::SeqCst);
    }

    fn wait(word: &Futex, value: u32, _: Duration) {
        let bucket = word.bucket.lock().unwrap();
        if word.word.load(Relaxed) == value {
            drop(word.woken.wait(bucket).unwrap());
        }
    }

    fn wake(word: &Futex) {
        let _bucket = word.bucket.lock().unwrap();
        word.woken.notify_all();
    }
}

const SLOTS: u64 = 2;

struct Shared {
    common: Common<Model>,
    ring: Ring<Model>,
    slots: [UnsafeCell<u64>; SLOTS as usize],
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared {
        common: Common { reader_sleeps: Futex::default(), reader_closed: Futex::default() },
        ring: Ring {
            head: Head { head: AtomicU64::new(0) },
            tail: Tail { tail: AtomicU64::new(0), writer_sleeps: Futex::default() },
        },
        slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
    })
}

/// Pushes the numbers from 1 on, one by one; how many were pushed until the reader was gone.
fn write(shared: &Shared, count: u64, wake_from: u64) -> u64 {
    let mut end = WriterEnd::new(&shared.ring, SLOTS, wake_from);
    for number in 1..=count {
        if !end.wait_for_room(&shared.ring, &shared.common, 1, Duration::ZERO, || true) {
            return number - 1;
        }
        // SAFETY: the checker finds out whether this is so.
        shared.slots[(end.head() % SLOTS) as usize].with_mut(|slot| unsafe { *slot = number });
        end.publish(&shared.ring, &shared.common, 1, number == count);
    }
    count
}

/// Takes one number, sleeping until it is there.
fn read(shared: &Shared, end: &mut ReaderEnd, wake_below: u64) -> u64 {
    while end.filled(&shared.ring) == 0 {
        // Before it sleeps, the reader gives the writer all the room there is.
        wake_writer(&shared.ring);
        wait_for_writer(&shared.common, Duration::ZERO, || end.filled(&shared.ring) > 0);
    }
    // SAFETY: as above.
    let number = shared.slots[(end.tail() % SLOTS) as usize].with(|slot| unsafe { *slot });
    end.give_back(&shared.ring, 1, wake_below);
    number
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn in_any_interleaving_all_numbers_arrive_in_order_and_no_wake_is_lost() {
    check(3, || {
        let shared = shared();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || write(&shared, 4, 1))
        };
        let mut end = ReaderEnd::new(&shared.ring);
        let found: Vec<u64> = (0..4).map(|_| read(&shared, &mut end, SLOTS)).collect();
        assert_eq!(found, [1, 2, 3, 4]);
        assert_eq!(writer.join().unwrap(), 4);
    });
}

#[test]
fn waking_late_does_not_lose_a_wake_either() {
    check(3, || {
        let shared = shared();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || write(&shared, 4, SLOTS))
        };
        let mut end = ReaderEnd::new(&shared.ring);
        let found: Vec<u64> = (0..4).map(|_| read(&shared, &mut end, 1)).collect();
        assert_eq!(found, [1, 2, 3, 4]);
        assert_eq!(writer.join().unwrap(), 4);
    });
}

#[test]
fn a_writer_that_waits_for_room_is_told_that_the_reader_has_ended() {
    check(3, || {
        let shared = shared();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || write(&shared, SLOTS + 1, 1))
        };
        shared.common.reader_closed.store(1, Release);
        wake_writer(&shared.ring);
        // The reader took nothing, so there was room for the slots at most.
        assert!(writer.join().unwrap() <= SLOTS);
        wake_reader(&shared.common);
    });
}
