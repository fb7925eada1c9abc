//! Counts of page walks.

use daxsim_types::Time;

/// What page walks read, by level of the entry (0 = page table, 4 = PML5), and what else became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkCounts {
    /// Entries of the page tables; of the guest's, if there is a second stage.
    pub entries: [u64; 5],
    /// Entries of the second stage.
    pub nested: [u64; 5],
    /// Walks that no access waited for. `Measurements::walks` does not have them.
    pub speculative: u64,
    /// Entries of both kinds that those read. `Measurements::walk_references` does not have them.
    pub speculative_references: u64,
    /// Walks that ended without a translation.
    pub refused: u64,
    /// Times that a walk began again because an entry had changed when A or D was to be set.
    pub restarts: u64,
}

impl WalkCounts {
    /// Entries of both kinds, of all levels.
    #[must_use]
    pub fn references(&self) -> u64 {
        self.entries.iter().chain(&self.nested).sum()
    }
}

/// What accesses of cores with a window waited for before their walks, or instead of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkQueue {
    /// Accesses that missed the TLBs while another one's walk for their page was under way or queued, and waited for that.
    pub merged: u64,
    /// Walks that began after they had waited for a walker.
    pub queued: u64,
    /// How long those waited.
    pub time: Time,
    /// Walks of each walker, but those that a core stalled on or made alone.
    pub by_walker: Vec<u64>,
}

impl WalkQueue {
    /// All of `walks` by walker: what no window handed out was done by the first, as nothing else was under way.
    #[must_use]
    pub fn walks_by_walker(&self, walks: u64) -> Vec<u64> {
        let mut all = self.by_walker.clone();
        let rest = walks.saturating_sub(all.iter().sum());
        match all.first_mut() {
            Some(first) => *first += rest,
            None => all.push(rest),
        }
        all
    }
}
