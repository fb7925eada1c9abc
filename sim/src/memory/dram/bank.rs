//! A bank: the rows that are open in it, one after another.

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

/// The newest last.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub openings: [Opening; KEPT],
}

impl Bank {
    pub const fn new() -> Self {
        Self { openings: [Opening::NONE; KEPT] }
    }

    /// The opening that everything in other rows comes after.
    #[inline]
    pub const fn newest(&self) -> &Opening {
        &self.openings[KEPT - 1]
    }

    /// The same, to change it.
    #[inline]
    pub const fn newest_mut(&mut self) -> &mut Opening {
        &mut self.openings[KEPT - 1]
    }

    /// Forgets the oldest.
    #[inline]
    pub fn push(&mut self, opening: Opening) {
        self.openings.rotate_left(1);
        *self.newest_mut() = opening;
    }

    /// Whether `row` is open at `at`, with nothing promised after it.
    #[inline]
    pub const fn has_open(&self, row: u64, at: u64) -> bool {
        let newest = self.newest();
        newest.row == row && newest.close == OPEN && at < newest.limit
    }
}
