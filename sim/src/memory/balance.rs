//! Whether the counters of the caches and of the devices tell one story.

use super::hierarchy::Memory;

/// Two counts of the same things that differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found}, expected {expected}")]
pub struct Imbalance {
    /// What was counted twice.
    pub what: &'static str,
    /// The one count.
    pub found: u64,
    /// The other.
    pub expected: u64,
}

impl Memory {
    /// Compares what came in with what is there and what left, and each level's misses with the next one's lookups.
    ///
    /// # Errors
    ///
    /// The first pair of counts that differ.
    pub fn check_balance(&self) -> Result<(), Imbalance> {
        let stats = self.stats();
        let levels = [
            ("L1D lines in and out", &self.l1),
            ("L2 lines in and out", &self.l2),
            ("L3 lines in and out", &self.l3),
        ];
        for (what, cache) in levels {
            let flow = cache.flow();
            same(what, flow.fills, cache.resident() + flow.evictions + flow.removals)?;
        }
        same("fills of the L1D", self.l1.flow().fills, stats.l1d.misses)?;
        same("fills of the L2", self.l2.flow().fills, stats.l2.misses + stats.prefetches)?;
        same("lookups of the L2", stats.l2.lookups, stats.l1d.misses + stats.walker_reads)?;
        same("lookups of the L3", stats.l3.lookups, stats.l2.misses)?;
        same("reads of devices", stats.dram.reads + stats.pmem.reads, stats.memory_fills)?;
        let written = stats.l3.writebacks + stats.clwb_writebacks + stats.flush_writebacks + stats.nt_stores;
        same("writes to devices", stats.dram.writes + stats.pmem.writes, written)
    }
}

const fn same(what: &'static str, found: u64, expected: u64) -> Result<(), Imbalance> {
    if found == expected { Ok(()) } else { Err(Imbalance { what, found, expected }) }
}
