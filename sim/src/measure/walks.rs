//! Counts of page walks.

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
