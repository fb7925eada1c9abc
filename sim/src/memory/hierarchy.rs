//! The cache hierarchy: how an access finds its line and where evicted lines go.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, Time};

use super::cache::{Cache, DIRTY, OWNED, Victim};
use super::devices::Devices;
use super::directory::{Directory, Held};
use super::stats::MemoryStats;
use super::{Access, Level, Outcome};

/// The caches of all cores, the shared L3, and the devices behind it.
///
/// Invariants: the L2 of a core holds every line that its L1D holds; `OWNED` of a private copy is
/// the same in L1D and L2; a line that a core owns is in no other private cache and not in the L3;
/// `DIRTY` in a private cache implies `OWNED`.
pub struct Memory {
    pub(super) l1: Cache,
    pub(super) l2: Cache,
    pub(super) l3: Cache,
    /// Absent as long as the lines of just one core, `sole`, are cached: all of them are owned then, and most programs have
    /// one thread. Made from that core's L2 when another one misses for the first time.
    pub(super) directory: Option<Directory>,
    pub(super) sole: Option<usize>,
    cores: usize,
    pub(super) devices: Devices,
    pub(super) latency: Latencies,
    pub(super) counts: MemoryStats,
}

/// Load-to-use latencies from the core.
pub(super) struct Latencies {
    pub l1: Time,
    pub l2: Time,
    pub l3: Time,
    pub transfer: Time,
}

impl Memory {
    /// Empty caches and idle devices of the machine that `spec` describes.
    #[must_use]
    pub fn new(spec: &MachineSpec) -> Self {
        let cores = usize::from(spec.cpu.count).max(1);
        let l2 = Cache::new(&spec.cache.l2, cores);
        Self {
            directory: None,
            sole: None,
            cores,
            l1: Cache::new(&spec.cache.l1d, cores),
            l2,
            l3: Cache::new(&spec.cache.l3, 1),
            devices: Devices::new(spec),
            latency: Latencies {
                l1: spec.cache.l1d.latency,
                l2: spec.cache.l2.latency,
                l3: spec.cache.l3.latency,
                transfer: spec.cache.transfer,
            },
            counts: MemoryStats::default(),
        }
    }

    /// The fast path: if the L1D of `core` holds `line` (modified already, if `write`), makes it the
    /// most recently used, counts the hit and returns true; the latency is the L1D's. Otherwise changes
    /// nothing at all, and [`Self::access`] must be called.
    #[inline]
    pub fn try_l1(&mut self, core: usize, line: CacheLine, write: bool) -> bool {
        let needed = if write { OWNED | DIRTY } else { 0 };
        let hit = self.l1.hit(core, line, needed);
        self.counts.l1d.hits += u64::from(hit);
        hit
    }

    /// One access of `core` to `line`, issued at `now`: changes all state and returns its latency.
    ///
    /// L1D, L2 and L3 hits take the latency of their level. A line (or the right to write it) that
    /// another core must give up takes `cache.transfer`. A miss takes the L3's latency and then the
    /// device's, waiting included. A fill that evicts a modified line from the L3 waits, if that
    /// device's write queue is full, until it is accepted.
    pub fn access(&mut self, core: usize, line: CacheLine, access: Access, now: Time) -> Outcome {
        let write = access.is_write();
        if write {
            self.devices.modified(line);
        }
        if let Some(word) = self.l1.touch(core, line) {
            self.counts.l1d.hits += 1;
            let owned = *word & OWNED != 0;
            if write {
                *word |= OWNED | DIRTY;
            }
            if owned || !write {
                return Outcome { latency: self.latency.l1, level: Level::L1 };
            }
            if let Some(word) = self.l2.peek_mut(core, line) {
                *word |= OWNED;
            }
            return self.upgrade(core, line);
        }
        self.counts.l1d.misses += 1;
        if let Some(word) = self.l2.touch(core, line) {
            self.counts.l2.hits += 1;
            let owned = *word & OWNED != 0;
            if write {
                *word |= OWNED;
            }
            let flags = *word & OWNED | if write { DIRTY } else { 0 };
            self.fill_l1(core, line, flags);
            if owned || !write {
                return Outcome { latency: self.latency.l2, level: Level::L2 };
            }
            return self.upgrade(core, line);
        }
        self.counts.l2.misses += 1;
        self.miss(core, line, write, now)
    }

    /// An access that missed both private levels.
    fn miss(&mut self, core: usize, line: CacheLine, write: bool, now: Time) -> Outcome {
        let arrive = now + self.latency.l3;
        if self.directory.is_none() && self.sole != Some(core) {
            self.another_core(core);
        }
        let held = self.directory.as_mut().map_or(Held::Nowhere, |dir| dir.claim(line, core, write));
        let mut stall = Time::ZERO;
        let (latency, level, flags) = match held {
            Held::Nowhere => match self.l3.remove(0, line) {
                Some(flags) => {
                    self.counts.l3.hits += 1;
                    (self.latency.l3, Level::L3, OWNED | flags)
                }
                None => {
                    self.counts.l3.misses += 1;
                    let (latency, level) = self.devices.read(line, arrive);
                    (self.latency.l3 + latency, level, OWNED)
                }
            },
            Held::Owned(owner) => {
                self.counts.l3.misses += 1;
                self.counts.transfers += 1;
                let flags = if write {
                    self.invalidate(owner, line);
                    OWNED
                } else {
                    let dirty = self.downgrade(owner, line);
                    stall = self.insert_l3(line, dirty, arrive);
                    0
                };
                (self.latency.transfer, Level::Transfer, flags)
            }
            Held::Shared(others) if write => {
                match self.l3.remove(0, line) {
                    Some(_) => self.counts.l3.hits += 1,
                    None => self.counts.l3.misses += 1,
                }
                self.counts.transfers += 1;
                for other in others.iter() {
                    self.invalidate(other, line);
                }
                (self.latency.transfer, Level::Transfer, OWNED)
            }
            Held::Shared(_) => {
                if self.l3.touch(0, line).is_some() {
                    self.counts.l3.hits += 1;
                    (self.latency.l3, Level::L3, 0)
                } else {
                    // A sharer forwards it.
                    self.counts.l3.misses += 1;
                    self.counts.transfers += 1;
                    (self.latency.transfer, Level::Transfer, 0)
                }
            }
        };
        stall = stall.max(self.fill_l2(core, line, flags, arrive));
        self.fill_l1(core, line, flags & OWNED | if write { DIRTY } else { 0 });
        let latency = if stall > Time::ZERO { latency.max(self.latency.l3 + stall) } else { latency };
        Outcome { latency, level }
    }

    /// The first miss of a core: from the second such core on there is a directory.
    #[cold]
    fn another_core(&mut self, core: usize) {
        let Some(sole) = self.sole else {
            self.sole = Some(core);
            return;
        };
        let mut directory = Directory::new(self.cores, self.l2.lines());
        for (line, _) in self.l2.contents(sole) {
            directory.claim(line, sole, true);
        }
        self.directory = Some(directory);
    }

    /// A write to a copy that `core` has as S, whose flags already say that it owns the line.
    #[cold]
    fn upgrade(&mut self, core: usize, line: CacheLine) -> Outcome {
        self.counts.upgrades += 1;
        self.l3.remove(0, line);
        let held = self.directory.as_mut().map_or(Held::Nowhere, |dir| dir.claim(line, core, true));
        let Held::Shared(others) = held else {
            // Whoever shared it has dropped it since; only the directory knows that.
            return Outcome { latency: self.latency.l3, level: Level::L3 };
        };
        for other in others.iter() {
            self.invalidate(other, line);
        }
        self.counts.transfers += 1;
        Outcome { latency: self.latency.transfer, level: Level::Transfer }
    }

    /// Puts a line that the L2 holds into the L1D; a modified victim is merged into the L2.
    fn fill_l1(&mut self, core: usize, line: CacheLine, flags: u64) {
        if let Some(victim) = self.l1.insert(core, line, flags)
            && victim.flags & DIRTY != 0
        {
            self.counts.l1d.writebacks += 1;
            if let Some(word) = self.l2.peek_mut(core, victim.line) {
                *word |= DIRTY;
            }
        }
    }

    /// Puts a line into the L2; its victim leaves the L1D, too, and goes to the L3. Returns the
    /// wait for a device's write queue.
    fn fill_l2(&mut self, core: usize, line: CacheLine, flags: u64, arrive: Time) -> Time {
        let Some(Victim { line: victim, flags }) = self.l2.insert(core, line, flags) else {
            return Time::ZERO;
        };
        let mut dirty = flags & DIRTY;
        if let Some(flags) = self.l1.remove(core, victim) {
            self.counts.back_invalidations += 1;
            dirty |= flags & DIRTY;
        }
        self.counts.l2.writebacks += u64::from(dirty != 0);
        if let Some(directory) = &mut self.directory {
            directory.release(victim, core);
        }
        // The L3 can have a copy of a shared line only.
        if flags & OWNED == 0 && self.l3.touch(0, victim).is_some() {
            return Time::ZERO;
        }
        self.insert_l3(victim, dirty, arrive)
    }

    /// Puts a line that is not in the L3 there; a modified victim goes to its device. Returns the
    /// wait for the device's write queue.
    fn insert_l3(&mut self, line: CacheLine, dirty: u64, arrive: Time) -> Time {
        match self.l3.insert(0, line, dirty) {
            Some(victim) if victim.flags & DIRTY != 0 => {
                self.counts.l3.writebacks += 1;
                self.devices.post(victim.line, arrive.saturating_sub(self.latency.l3), arrive)
            }
            _ => Time::ZERO,
        }
    }

    /// The counters since the memory was built.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats {
            l1d: self.counts.l1d.totalled(),
            l2: self.counts.l2.totalled(),
            l3: self.counts.l3.totalled(),
            dram: self.devices.dram.stats,
            pmem: self.devices.pmem.stats,
            ..self.counts
        }
    }
}
