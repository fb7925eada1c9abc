//! When each rank is refreshed: computed from the time, so that an idle rank costs nothing.
//!
//! All banks of a rank are refreshed together, or, with same-bank refresh, one bank of each group, the sets in turn.
//!
//! Refresh `n` of a rank is due at `offset + n * tREFI` and begins up to half of tREFI later (of same-bank refreshes, half of the time
//! from one set to the next), with its banks precharged. That much it is held back, by a number that looks random, but is a function of the rank and of `n`: controllers hold refreshes
//! back, too (the standards allow more than eight tREFI), and programs that wait for each load must not fall into step with them.

use super::timing::Timings;

/// Clocks between two refreshes in which a rank takes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// End of the refresh before: the first activate.
    pub start: u64,
    /// The last precharge, tRP before the next refresh.
    pub end: u64,
}

/// The refreshes of a rank.
pub(super) struct Refresh {
    /// Of the first one.
    offset: u64,
    /// Makes the ranks differ.
    seed: u64,
    last: Window,
    /// From here on `last` is the window to use.
    last_from: u64,
}

impl Refresh {
    /// Of rank `index` of `ranks` of all channels: they take turns.
    pub fn new(t: &Timings, index: u64, ranks: u64) -> Self {
        let offset = t.refi * (index + 1) / ranks.max(1);
        let seed = index.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self { offset, seed, last: Window { start: 0, end: 0 }, last_from: 0 }
    }

    /// The first window that ends after `at`.
    #[inline]
    pub fn window(&mut self, t: &Timings, at: u64) -> Window {
        if at < self.last_from || at >= self.last.end {
            self.find(t, at);
        }
        self.last
    }

    fn find(&mut self, t: &Timings, at: u64) {
        if t.refi == 0 {
            (self.last, self.last_from) = (Window { start: 0, end: u64::MAX }, 0);
            return;
        }
        let before = self.count(t, at + t.rp);
        let end = |n: u64| self.start(t, n).saturating_sub(t.rp);
        let (start, from) = match before.checked_sub(1) {
            Some(last) => (self.start(t, last) + t.rfc, end(last)),
            None => (0, 0),
        };
        (self.last, self.last_from) = (Window { start, end: end(before) }, from);
    }

    /// Beginning of refresh `n`.
    pub fn start(&self, t: &Timings, n: u64) -> u64 {
        let part = (self.seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.offset + n * t.refi + ((part * (t.refi / 2 / t.refresh_sets)) >> 32)
    }

    /// Refreshes that began at `at` or before.
    pub fn count(&self, t: &Timings, at: u64) -> u64 {
        if t.refi == 0 || at < self.offset {
            return 0;
        }
        let due = (at - self.offset) / t.refi;
        due + u64::from(self.start(t, due) <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::dram::tests::timings;

    #[test]
    fn windows_follow_each_other_without_gap_but_the_refresh() {
        let t = timings("DDR4-2666V");
        for rank in 0..4 {
            let mut r = Refresh::new(&t, rank, 4);
            let mut start = 0;
            for n in (0..100).chain(1_000_000..1_000_100) {
                if n == 1_000_000 {
                    start = r.start(&t, n - 1) + t.rfc;
                }
                let window = Window { start, end: r.start(&t, n) - t.rp };
                let before = start.saturating_sub(t.rfc + t.rp);
                for at in [before, start, window.end - 1, (start + window.end) / 2, before] {
                    assert_eq!(r.window(&t, at), window, "{n}: {at}");
                }
                let begin = r.start(&t, n);
                assert_eq!((r.count(&t, begin - 1), r.count(&t, begin)), (n, n + 1));
                start = begin + t.rfc;
            }
        }
    }

    #[test]
    fn refreshes_are_held_back_by_half_an_interval_at_most() {
        let t = timings("DDR5-4800BN");
        for rank in 0..4 {
            let r = Refresh::new(&t, rank, 4);
            let late: Vec<u64> =
                (0..1000).map(|n| r.start(&t, n) - t.refi * (rank + 1) / 4 - n * t.refi).collect();
            assert!(late.iter().all(|late| *late < t.refi / 2));
            let mean = late.iter().sum::<u64>() / 1000;
            assert!((mean as f64 / (t.refi as f64 / 4.0) - 1.0).abs() < 0.05, "{mean}");
        }
    }
}
