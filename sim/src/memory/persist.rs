//! Stores on their way to persistence: CLWB and non-temporal stores.

use daxsim_types::{CacheLine, Time};

use super::cache::DIRTY;
use super::hierarchy::Memory;

impl Memory {
    /// CLWB by `core`: writes the line back if some cache holds it modified; every copy stays,
    /// clean, and in the owner's caches still owned (Intel SDM vol. 2, CLWB).
    ///
    /// Returns the time from `now` until the write pending queue (for DRAM: the controller) has
    /// accepted the line; zero if it is clean or in no cache. A line modified in another core's
    /// cache first takes a `cache.transfer`. The cost of issuing the instruction is the caller's.
    pub fn clwb(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        let mut data = Time::ZERO;
        let mut dirty = 0;
        // A modified line has one holder; among sharers nothing is modified.
        if let Some(holder) = self.holders(line).first() {
            dirty = self.clean(holder, line);
            if dirty != 0 && holder != core {
                data = self.latency.transfer;
            }
        }
        if dirty == 0 {
            match self.l3.peek_mut(0, line) {
                Some(word) if *word & DIRTY != 0 => *word &= !DIRTY,
                _ => return Time::ZERO,
            }
        }
        self.counts.clwb_writebacks += 1;
        self.devices.write(line, now, data)
    }

    /// A 64-byte non-temporal store by `core`: every cached copy vanishes, modified or not, and
    /// the line goes to its device.
    ///
    /// Returns the time from `now` until the write pending queue (for DRAM: the controller) has
    /// accepted it. If other cores must give the line up, the data leaves after a `cache.transfer`.
    pub fn nt_store(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        self.counts.nt_stores += 1;
        let holders = match &mut self.directory {
            Some(directory) => directory.take(line),
            None => self.holders(line),
        };
        let mut data = Time::ZERO;
        for holder in holders.iter() {
            if holder == core {
                self.l1.remove(core, line);
                self.l2.remove(core, line);
            } else {
                self.invalidate(holder, line);
                data = self.latency.transfer;
            }
        }
        self.l3.remove(0, line);
        self.devices.write(line, now, data)
    }
}
