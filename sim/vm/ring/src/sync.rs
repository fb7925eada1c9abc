//! What the protocol asks of its machine: atomic words, a fence, and sleep on a word. Here those of Linux; the tests have those of a
//! model checker.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// An atomic word.
pub(crate) trait Word<T> {
    fn load(&self, order: Ordering) -> T;
    fn store(&self, value: T, order: Ordering);
}

/// Where the protocol runs.
pub(crate) trait Host {
    type U32: Word<u32>;
    type U64: Word<u64>;

    /// A fence of all loads and stores.
    fn fence();
    /// Sleeps until [`Self::wake`], if `word` still has `value`. May end at any time.
    fn wait(word: &Self::U32, value: u32, at_most: Duration);
    /// Ends the sleep of all that wait on `word`.
    fn wake(word: &Self::U32);
}

/// Words in memory shared between processes, and the futexes of Linux.
#[derive(Debug)]
pub(crate) struct Shared;

macro_rules! word {
    ($atomic:ty, $value:ty) => {
        impl Word<$value> for $atomic {
            #[inline]
            fn load(&self, order: Ordering) -> $value {
                self.load(order)
            }

            #[inline]
            fn store(&self, value: $value, order: Ordering) {
                self.store(value, order);
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);

impl Host for Shared {
    type U32 = AtomicU32;
    type U64 = AtomicU64;

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }

    fn wait(word: &AtomicU32, value: u32, at_most: Duration) {
        let time = libc::timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // SAFETY: the word and the time live during the call; the kernel only reads them. Any outcome (woken, other value, signal,
        // timeout) is one that the caller looks for anew.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time);
        }
    }

    fn wake(word: &AtomicU32) {
        // SAFETY: the kernel only takes the address as the name of the futex.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
        }
    }
}
