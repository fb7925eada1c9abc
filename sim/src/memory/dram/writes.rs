//! The write queue of a channel: lines that wait, and those that are chosen but not yet issued.

use daxsim_types::CacheLine;

use super::mapping::Place;

/// A line that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub line: CacheLine,
    pub place: Place,
    /// Clock at which it came into the queue.
    pub since: u64,
    /// Younger ones that were chosen before it.
    passed: u32,
}

/// Lines in the order of their acceptance.
pub(super) struct Writes {
    waiting: Vec<Waiting>,
    /// The lines of those, to be searched.
    waiting_lines: Vec<CacheLine>,
    /// Clock of their commands, the earliest first; no more than the queue has room for.
    issued: Vec<(u64, CacheLine)>,
    lines: usize,
    starvation_limit: u32,
}

impl Writes {
    /// An empty queue of `lines`.
    pub fn new(lines: u32, starvation_limit: u32) -> Self {
        let lines = lines.max(1) as usize;
        Self {
            waiting: Vec::with_capacity(lines + 1),
            waiting_lines: Vec::with_capacity(lines + 1),
            issued: Vec::with_capacity(lines + 1),
            lines,
            starvation_limit,
        }
    }

    /// Lines that are not chosen yet.
    #[inline]
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The oldest line that waits.
    #[inline]
    pub fn oldest(&self) -> Option<&Waiting> {
        self.waiting.first()
    }

    /// Lines in the queue at `at`.
    pub fn depth(&self, at: u64) -> usize {
        self.waiting.len() + self.not_issued(at)
    }

    fn not_issued(&self, at: u64) -> usize {
        self.issued.iter().rev().take_while(|(clock, _)| *clock > at).count()
    }

    /// Whether a read at `at` finds the line in the queue.
    #[inline]
    pub fn holds(&self, line: CacheLine, at: u64) -> bool {
        let later = self.issued.iter().rev().take_while(|(clock, _)| *clock > at);
        self.waiting_lines.contains(&line) || later.into_iter().any(|(_, issued)| *issued == line)
    }

    /// The clock from `at` on at which there is room for one more.
    pub fn room(&self, at: u64) -> u64 {
        let Some(others) = self.lines.checked_sub(self.waiting.len() + 1) else { return at };
        // So many may still be on their way to the device.
        let place = self.issued.len().checked_sub(others + 1);
        place.and_then(|place| self.issued.get(place)).map_or(at, |(clock, _)| at.max(*clock))
    }

    pub fn push(&mut self, line: CacheLine, place: Place, since: u64) {
        self.waiting_lines.push(line);
        self.waiting.push(Waiting { line, place, since, passed: 0 });
    }

    /// Takes out the line that goes next: the oldest with an open row, or the oldest of all if none has, or if it was passed
    /// over too often (FR-FCFS).
    pub fn choose(&mut self, is_open: impl Fn(&Place) -> bool) -> Option<Waiting> {
        let oldest = self.waiting.first()?;
        let starved = oldest.passed >= self.starvation_limit;
        let hit = if starved { None } else { self.waiting.iter().position(|w| is_open(&w.place)) };
        let chosen = hit.unwrap_or(0);
        for older in self.waiting.iter_mut().take(chosen) {
            older.passed += 1;
        }
        self.waiting_lines.remove(chosen);
        Some(self.waiting.remove(chosen))
    }

    /// The command of a chosen line is placed at `at`.
    pub fn issue(&mut self, at: u64, line: CacheLine) {
        if self.issued.len() == self.lines {
            self.issued.remove(0);
        }
        let place = self.issued.iter().rposition(|(clock, _)| *clock <= at).map_or(0, |place| place + 1);
        self.issued.insert(place, (at, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(bank: usize, row: u64) -> Place {
        Place { channel: 0, rank: 0, group: 0, bank, row }
    }

    fn order(starvation_limit: u32) -> Vec<u64> {
        let mut w = Writes::new(8, starvation_limit);
        for n in 0..6 {
            // Only row 7 is open.
            w.push(CacheLine(n), place(0, if n < 2 { n } else { 7 }), n);
        }
        std::iter::from_fn(|| w.choose(|p| p.row == 7)).map(|w| w.line.0).collect()
    }

    #[test]
    fn open_rows_go_first_but_not_for_ever() {
        assert_eq!(order(16), [2, 3, 4, 5, 0, 1]);
        assert_eq!(order(2), [2, 3, 0, 1, 4, 5], "the second one was passed over as often");
        assert_eq!(order(0), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_line_is_in_the_queue_until_its_command_is_issued() {
        let mut w = Writes::new(4, 16);
        for n in 0..4 {
            assert_eq!(w.room(10), 10);
            w.push(CacheLine(n), place(0, n), 10);
        }
        for at in [30, 20, 40] {
            let next = w.choose(|_| false).unwrap();
            w.issue(at, next.line);
        }
        assert_eq!(w.depth(10), 4);
        assert_eq!(w.room(10), 20, "the first one leaves then");
        assert!(w.holds(CacheLine(0), 29) && !w.holds(CacheLine(0), 30) && w.holds(CacheLine(3), 100));
        assert_eq!(w.depth(40), 1);
    }
}
