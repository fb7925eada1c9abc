//! Counts of what the kernel did that neither a fault's record nor a latency shows.

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelEvents {
    /// Faults that tried the lock of their VMA.
    pub vma_lock_tries: u64,
    /// Page tables allocated, of any level, those included that then were not needed.
    pub tables_allocated: u64,
    /// Page tables freed.
    pub tables_freed: u64,
    /// jbd2 handles that fault handlers started (ext4).
    pub journal_starts: u64,
    /// Waits for a locked DAX entry.
    pub entry_waits: u64,
    /// Waiters woken at once because the entry went away (`dax_wake_entry`, WAKE_ALL).
    pub woken_by_removal: u64,
    /// Lines that writeback wrote back by CLWB.
    pub clwb_lines: u64,
    /// Commits of dirty metadata by a sync call or a synchronous fault.
    pub commits: u64,
}
