//! Stores on their way to persistence: CLWB, CLFLUSH and non-temporal stores, and what has not arrived.

use daxsim_types::{CacheLine, Pfn, Time};

use super::cache::DIRTY;
use super::hierarchy::Memory;
use super::{PageLines, Tag, Unaccepted};

/// The write-backs that cores ask for: of a core, one leaves after the other.
pub(super) struct Flushes {
    interval: Time,
    /// When the next of each core can leave.
    free: Vec<Time>,
}

impl Flushes {
    pub fn new(interval: Time, cores: usize) -> Self {
        Self { interval, free: vec![Time::ZERO; cores] }
    }

    /// How long a write-back that `core` asks for at `now` waits for those before it.
    fn turn(&mut self, core: usize, now: Time) -> Time {
        let start = now.max(self.free[core]);
        self.free[core] = start + self.interval;
        start.saturating_sub(now)
    }
}

impl Memory {
    /// CLWB by `core`: writes the line back if some cache holds it modified; every copy stays,
    /// clean, and in the owner's caches still owned (Intel SDM vol. 2, CLWB).
    ///
    /// Returns the time from `now` until the write pending queue (for DRAM: the controller) has
    /// accepted the line; zero if it is clean or in no cache. A line modified in another core's
    /// cache first takes a transfer from there. The cost of issuing the instruction is the caller's.
    pub fn clwb(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        let mut data = Time::ZERO;
        let mut dirty = 0;
        // A modified line has one holder; among sharers nothing is modified.
        if let Some(holder) = self.holders(line).first() {
            dirty = self.clean(holder, line);
            if dirty != 0 && holder != core {
                data = self.topology.transfer(core, self.topology.complex(holder));
            }
        }
        if dirty == 0 {
            let Some(complex) = self.clean_l3s(line) else { return Time::ZERO };
            if complex != self.topology.complex(core) {
                data = self.topology.transfer(core, complex);
            }
        }
        self.counts.clwb_writebacks += 1;
        self.write_flushed(core, line, now, data)
    }

    /// Makes the line clean in the L3 that has it modified; the complex of that L3.
    fn clean_l3s(&mut self, line: CacheLine) -> Option<usize> {
        self.l3s(line).iter().find(|&complex| {
            let place = self.l3.peek(complex, line);
            place.is_some_and(|place| self.l3.clear(place, DIRTY) & DIRTY != 0)
        })
    }

    /// CLFLUSH or CLFLUSHOPT by `core`: every cached copy vanishes; the line is written back if one was modified (Intel SDM vol. 2).
    ///
    /// Returns the time from `now` until the write pending queue (for DRAM: the controller) has accepted the line, or until the
    /// farthest other core has given its copy up; zero if no cache but the core's own had it, clean.
    pub fn clflush(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        let (dirty, data) = self.purge(core, line);
        if !dirty {
            return data;
        }
        self.counts.flush_writebacks += 1;
        self.write_flushed(core, line, now, data)
    }

    /// Writes back a line that `core` flushes, when its turn comes and the data are there: the time from `now` until it is accepted.
    fn write_flushed(&mut self, core: usize, line: CacheLine, now: Time, data: Time) -> Time {
        let turn = self.flushes.turn(core, now);
        turn + self.devices.write(line, now + turn, data + self.topology.remote_memory(core, line))
    }

    /// A 64-byte non-temporal store by `core`: every cached copy vanishes, modified or not, and
    /// the line goes to its device.
    ///
    /// Returns the time from `now` until the write pending queue (for DRAM: the controller) has
    /// accepted it. If other cores, or L3s of other complexes, must give the line up, the data leaves
    /// after a transfer from the farthest. To memory of another socket the data go after that has given the line away.
    pub fn nt_store(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        self.counts.nt_stores += 1;
        let (_, data) = self.purge(core, line);
        let farther = self.topology.remote_memory(core, line);
        let mut data = data.max(self.latency.nt_store) + farther;
        if farther > Time::ZERO && self.devices.has_directory() {
            self.devices.give_away(line, now + data);
            data += farther;
        }
        self.devices.write(line, now, data)
    }

    /// Takes the line out of all caches: whether a copy was modified, and the time of the farthest transfer.
    fn purge(&mut self, core: usize, line: CacheLine) -> (bool, Time) {
        let holders = match &mut self.directory {
            Some(directory) => directory.take(line),
            None => self.holders(line),
        };
        let (home, l3s) = (self.topology.complex(core), self.l3s(line));
        let data = self.topology.farthest(core, holders.without(core), l3s.without(home));
        let mut dirty = self.clean_l3s(line).is_some();
        for holder in holders.iter() {
            dirty |= self.clean(holder, line) != 0;
            if holder == core {
                self.l1.remove(core, line);
                self.l2.remove(core, line);
            } else {
                self.invalidate(holder, line);
            }
        }
        self.drop_l3s(line, l3s);
        (dirty, data.unwrap_or_default())
    }

    /// The lines of a frame of persistent memory that some cache holds modified, as a mask.
    #[must_use]
    pub fn modified_lines(&self, frame: Pfn) -> u64 {
        self.devices.pmem.domain.modified_lines(frame)
    }

    /// The frames with modified lines among `pages` frames of persistent memory from `first` on.
    #[must_use]
    pub fn modified_pages(&self, first: Pfn, pages: u64) -> Vec<PageLines> {
        self.devices.pmem.domain.modified_pages(first, pages)
    }

    /// Watches, for `core`, the lines that are not in the persistence domain at `now`, of runs of frames: (first, how many).
    /// A core has one watch at a time.
    pub fn watch(&mut self, core: usize, runs: &[(Pfn, u64)], now: Time) {
        self.devices.pmem.domain.watch(core, runs, now);
    }

    /// Ends the watch of `core`. With a tag, the lines that are not in the domain at `now`, and have not been since the watch
    /// began, are kept under it until they get there; returns whether these are any that were not kept before.
    pub fn end_watch(&mut self, core: usize, now: Time, keep: Option<Tag>) -> bool {
        self.devices.pmem.domain.end_watch(core, now, keep)
    }

    /// What a loss of power at `now` would take, where only the queues of the controllers survive it (ADR).
    #[must_use]
    pub fn unaccepted(&self, now: Time) -> Vec<Unaccepted> {
        self.devices.pmem.domain.unaccepted(now)
    }

    /// The lines of persistent memory that were ever written, by page.
    #[must_use]
    pub fn written_pages(&self) -> Vec<PageLines> {
        self.devices.pmem.domain.written_pages()
    }
}
