//! A bank: the rows that are open in it, one after another.

use crate::host;

/// No precharge is placed yet.
pub(super) const OPEN: u64 = u64::MAX;
/// Row that no line has.
const NO_ROW: u64 = u64::MAX;
/// Rows that are remembered: the one that is open, and those before it that late requests may still find open.
const KEPT: usize = 4;

/// A row from its activate to its precharge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub row: u64,
    /// Activate.
    pub act: u64,
    /// Earliest precharge, by tRAS and by the commands placed so far.
    pub ready: u64,
    /// Precharge, or [`OPEN`].
    pub close: u64,
    /// Latest precharge: the next refresh.
    pub limit: u64,
}

impl Opening {
    const NONE: Self = Self { row: NO_ROW, act: 0, ready: 0, close: 0, limit: 0 };

    /// Whether no row was open yet.
    pub const fn is_none(&self) -> bool {
        self.row == NO_ROW
    }

    /// The latest precharge that delays nothing that was promised.
    pub fn last_close(&self) -> u64 {
        self.close.min(self.limit)
    }
}

/// Rows in turn.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    /// The rows of the openings: most of what asks for one finds that it is none of them.
    rows: [u64; KEPT],
    openings: [Opening; KEPT],
    newest: u8,
}

impl Bank {
    pub const fn new() -> Self {
        Self { rows: [NO_ROW; KEPT], openings: [Opening::NONE; KEPT], newest: 0 }
    }

    /// The opening that everything in other rows comes after.
    #[inline]
    pub const fn newest(&self) -> &Opening {
        &self.openings[self.newest as usize % KEPT]
    }

    /// The same, to change it.
    #[inline]
    pub const fn newest_mut(&mut self) -> &mut Opening {
        &mut self.openings[self.newest as usize % KEPT]
    }

    /// Forgets the oldest.
    #[inline]
    pub const fn push(&mut self, opening: Opening) {
        self.newest = self.newest.wrapping_add(1);
        self.rows[self.newest as usize % KEPT] = opening.row;
        *self.newest_mut() = opening;
    }

    /// The first opening of `row`, the oldest first, that `serves` says yes to.
    #[inline]
    pub fn find(&mut self, row: u64, mut serves: impl FnMut(&mut Opening) -> bool) -> bool {
        if !self.rows.iter().fold(false, |any, one| any | (*one == row)) {
            return false;
        }
        let oldest = self.newest as usize + 1;
        (oldest..oldest + KEPT).any(|at| {
            let opening = &mut self.openings[at % KEPT];
            opening.row == row && serves(opening)
        })
    }

    /// Asks the host for what the next request looks at.
    #[inline]
    pub fn warm(&self) {
        host::prefetch(&self.rows);
        host::prefetch(self.newest());
    }

    /// Whether `row` is open at `at`, with nothing promised after it.
    #[inline]
    pub const fn has_open(&self, row: u64, at: u64) -> bool {
        let newest = self.newest();
        newest.row == row && newest.close == OPEN && at < newest.limit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_rows_are_remembered_in_the_order_of_their_opening(
            ops in prop::collection::vec((any::<bool>(), 0u64..4, 0u64..3), 0..400),
        ) {
            let (mut bank, mut model) = (Bank::new(), VecDeque::<(u64, u64)>::new());
            for (act, (push, row, skipped)) in (0..).zip(ops) {
                if push {
                    bank.push(Opening { row, act, ..Opening::NONE });
                    model.push_back((row, act));
                    if model.len() > KEPT {
                        model.pop_front();
                    }
                } else {
                    let mut left = skipped;
                    let mut seen = None;
                    let found = bank.find(row, |opening| {
                        seen = Some(opening.act);
                        left = left.wrapping_sub(1);
                        left == u64::MAX
                    });
                    let mut others = model.iter().filter(|one| one.0 == row).skip(skipped as usize);
                    let expected = others.next().map(|one| one.1);
                    prop_assert_eq!(found.then_some(seen).flatten(), expected);
                }
                let newest = (!bank.newest().is_none()).then_some(bank.newest().act);
                prop_assert_eq!(newest, model.back().map(|one| one.1));
            }
        }
    }
}
