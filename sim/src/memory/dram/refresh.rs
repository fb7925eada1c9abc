//! When each rank is refreshed: computed from the time, so that an idle rank costs nothing.
//!
//! Refresh `n` of a rank begins at `offset + n * tREFI`, with all banks precharged. None is postponed or pulled in.

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
    last: Window,
    /// From here on `last` is the window to use.
    last_from: u64,
}

impl Refresh {
    /// Of rank `index` of `ranks` of all channels: they take turns.
    pub fn new(t: &Timings, index: u64, ranks: u64) -> Self {
        let offset = t.refi * (index + 1) / ranks.max(1);
        Self { offset, last: Window { start: 0, end: 0 }, last_from: 0 }
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
        let due = self.offset + before * t.refi;
        let start = if before == 0 { 0 } else { due - t.refi + t.rfc };
        self.last = Window { start, end: due.saturating_sub(t.rp) };
        self.last_from = if before == 0 { 0 } else { (due - t.refi).saturating_sub(t.rp) };
    }

    /// Refreshes that began at `at` or before.
    pub fn count(&self, t: &Timings, at: u64) -> u64 {
        if t.refi == 0 || at < self.offset { 0 } else { (at - self.offset) / t.refi + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::dram::tests::timings;

    #[test]
    fn windows_follow_each_other_without_gap_but_the_refresh() {
        let t = timings("DDR4-2666V");
        let mut r = Refresh::new(&t, 1, 4);
        let offset = t.refi / 2;
        assert_eq!(r.window(&t, 0), Window { start: 0, end: offset - t.rp });
        assert_eq!(r.window(&t, offset - t.rp - 1), Window { start: 0, end: offset - t.rp });
        let second = Window { start: offset + t.rfc, end: offset + t.refi - t.rp };
        for at in [offset - t.rp, offset, offset + t.rfc, second.end - 1] {
            assert_eq!(r.window(&t, at), second);
        }
        let far = 1_000_000 * t.refi + offset;
        assert_eq!(r.window(&t, far), Window { start: far + t.rfc, end: far + t.refi - t.rp });
        assert_eq!(r.window(&t, offset - t.rp - 1).start, 0, "an earlier time, too");
        assert_eq!((r.count(&t, offset - 1), r.count(&t, offset), r.count(&t, far)), (0, 1, 1_000_001));
    }

    #[test]
    fn the_last_of_all_ranks_comes_a_whole_interval_after_the_start() {
        let t = timings("DDR5-4800BN");
        let first: Vec<u64> = (0..4).map(|n| Refresh::new(&t, n, 4).offset).collect();
        assert_eq!(first, [t.refi / 4, t.refi / 2, t.refi * 3 / 4, t.refi]);
    }
}
