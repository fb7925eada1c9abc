//! The cache hierarchy: how an access finds its line and where evicted lines go.

use daxsim_configs::machine::{L3Relation, MachineSpec};
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::cache::{Cache, DIRTY, OWNED, Place, SetAt, Victim};
use super::devices::Devices;
use super::directory::{CoreSet, Directory, Held};
use super::persist::Flushes;
use super::prefetch::Prefetcher;
use super::profile::DeviceProfile;
use super::refetch::Refetches;
use super::stats::MemoryStats;
use super::topology::Topology;
use super::under_way::LinesUnderWay;
use super::watch::Watch;
use super::{Access, Level, Outcome};

/// The caches of all cores, the L3 of each core complex, and the devices behind them.
///
/// Invariants: the L2 of a core holds every line that its L1D holds; `OWNED` of a private copy is the same in L1D and L2; a line
/// that a core owns is in no other private cache, in no L3 of another complex, and in none at all if the L3s are victim
/// caches; `DIRTY` in a private cache implies `OWNED`; a line is `DIRTY` in one private cache or in one L3, never in two.
pub struct Memory {
    pub(super) l1: Cache,
    pub(super) l2: Cache,
    /// A unit for each complex.
    pub(super) l3: Cache,
    /// Absent as long as the lines of just one core, `sole`, are cached: all of them are owned then, and most programs have
    /// one thread. Made from that core's L2 when another one misses for the first time.
    pub(super) directory: Option<Directory>,
    /// Used as long as there is a directory.
    under_way: LinesUnderWay,
    pub(super) sole: Option<usize>,
    /// Which L3s hold a line, where there are several.
    pub(super) l3_holders: Option<Directory>,
    cores: usize,
    pub(super) topology: Topology,
    pub(super) relation: L3Relation,
    /// Which clean lines victim L3s take, if not all.
    pub(super) refetches: Option<Refetches>,
    pub(super) prefetcher: Prefetcher,
    pub(super) devices: Devices,
    pub(super) latency: Latencies,
    refills: Refills,
    pub(super) flushes: Flushes,
    pub(super) watch: Watch,
    pub(super) counts: MemoryStats,
    /// Somebody has asked the host for the sets of lines to come, and of those that they push out.
    looked_ahead: bool,
}

/// Load-to-use latencies from the core.
pub(super) struct Latencies {
    pub l1: Time,
    pub l2: Time,
    pub l3: Time,
    /// From a non-temporal store until its line leaves the core.
    pub nt_store: Time,
}

/// What a miss of an L1D costs more if the one before it was in the same set.
struct Refills {
    extra: Time,
    mask: u64,
    /// The set of the last miss of each core.
    last: Vec<u64>,
}

impl Refills {
    fn new(spec: &MachineSpec) -> Self {
        let l1d = &spec.cache.l1d;
        let sets = (l1d.size / (LINE_BYTES * u64::from(l1d.ways.max(1)))).max(1);
        let cores = usize::from(spec.cpu.count).max(1);
        Self { extra: spec.cache.refill_conflict, mask: sets - 1, last: vec![u64::MAX; cores] }
    }

    /// Notes a miss.
    #[inline]
    fn after(&mut self, core: usize, line: CacheLine) -> Time {
        if self.extra == Time::ZERO {
            return Time::ZERO;
        }
        let set = line.0 & self.mask;
        if std::mem::replace(&mut self.last[core], set) == set { self.extra } else { Time::ZERO }
    }
}

/// What a miss of the private caches got.
struct Supply {
    latency: Time,
    level: Level,
    /// Of the new copy.
    flags: u64,
    stall: Time,
}

impl Memory {
    /// Empty caches and idle devices of the machine that `spec` describes.
    #[must_use]
    pub fn new(spec: &MachineSpec) -> Self {
        let cores = usize::from(spec.cpu.count).max(1);
        let (caches, topology) = (&spec.cache, Topology::new(spec));
        let complexes = topology.complexes();
        let l3 = Cache::new(&caches.l3, complexes, caches.l3_slices, caches.seed);
        Self {
            directory: None,
            under_way: LinesUnderWay::default(),
            sole: None,
            l3_holders: (complexes > 1).then(|| Directory::new(complexes, l3.lines())),
            cores,
            l1: Cache::first_level(&caches.l1d, cores, caches.seed),
            l2: Cache::new(&caches.l2, cores, 1, caches.seed),
            l3,
            topology,
            relation: caches.l3_relation,
            refetches: Refetches::new(caches, complexes),
            prefetcher: Prefetcher::new(caches, cores),
            devices: Devices::new(spec),
            latency: Latencies {
                l1: caches.l1d.latency,
                l2: caches.l2.latency,
                l3: caches.l3.latency,
                nt_store: spec.cpu.nt_store_latency,
            },
            refills: Refills::new(spec),
            flushes: Flushes::new(spec.cpu.flush_interval, cores),
            watch: Watch::new(cores),
            counts: MemoryStats::default(),
            looked_ahead: false,
        }
    }

    /// Says whether [`Self::warm`] and [`Self::warm_victim`] are called some time before a line misses. For the host's sake alone.
    #[inline]
    pub const fn look_ahead(&mut self, looks: bool) {
        self.looked_ahead = looks;
    }

    /// The fast path: if the L1D of `core` holds `line` (modified already, if `write`), makes it the
    /// most recently used, counts the hit and returns true; the latency is the L1D's. Otherwise changes
    /// nothing at all, and [`Self::access`] must be called.
    #[inline(always)]
    pub fn try_l1(&mut self, core: usize, line: CacheLine, write: bool) -> bool {
        let needed = if write { OWNED | DIRTY } else { 0 };
        let hit = self.l1.hit(core, line, needed);
        self.counts.l1d.hits += u64::from(hit);
        hit
    }

    /// [`Self::try_l1`] where that calls nothing. `None` is no answer.
    #[inline(always)]
    pub fn try_l1_at_once(&mut self, core: usize, line: CacheLine, write: bool) -> Option<bool> {
        let needed = if write { OWNED | DIRTY } else { 0 };
        let hit = self.l1.hit_at_once(core, line, needed);
        self.counts.l1d.hits += u64::from(hit == Some(true));
        hit
    }

    /// Asks the host for what a miss of the L1D of `core` will look at.
    #[inline]
    pub fn warm(&self, core: usize, line: CacheLine) {
        self.l2.warm(core, line);
        self.l3.warm(self.topology.complex(core), line);
        self.directory.iter().chain(&self.l3_holders).for_each(|directory| directory.warm(line));
    }

    /// Asks the host for where the line goes that `line` will push out of the L2 of `core`.
    pub fn warm_victim(&self, core: usize, line: CacheLine) {
        if let Some(victim) = self.l2.next_victim(core, line) {
            self.l3.warm(self.topology.complex(core), victim);
        }
    }

    /// One access of `core` to `line`, issued at `now`: changes all state and returns its latency.
    ///
    /// L1D, L2 and L3 hits take the latency of their level. A line (or the right to write it) that
    /// another core must give up takes `cache.transfer`, `cache.transfer_socket` or `cache.transfer_remote`, by where that core
    /// is, after the time that the line is still under way to that core. A miss takes the L3's latency and then the device's, waiting included; the device's is not for
    /// a store to the whole line. A fill that evicts a modified line from the
    /// L3 waits, if that device's write queue is full, until it is accepted.
    pub fn access(&mut self, core: usize, line: CacheLine, access: Access, now: Time) -> Outcome {
        let write = access.is_write();
        if write {
            self.devices.modified(line);
        }
        if let Some(place) = self.l1.touch(core, line) {
            self.counts.l1d.hits += 1;
            let owned = self.l1.flags_at(place) & OWNED != 0;
            if write {
                self.l1.add(place, OWNED | DIRTY);
            }
            if owned || !write {
                return Outcome::of(self.latency.l1, Level::L1);
            }
            if let Some(place) = self.l2.peek(core, line) {
                self.l2.add(place, OWNED);
            }
            return self.upgrade(core, line, now);
        }
        self.access_beyond_l1(core, line, access, now)
    }

    /// [`Self::access`] where [`Self::try_l1`] has just said no. A load need not look into the L1D again.
    #[inline]
    pub fn access_after_try(&mut self, core: usize, line: CacheLine, access: Access, now: Time) -> Outcome {
        match access {
            Access::Read => self.access_beyond_l1(core, line, access, now),
            Access::Write | Access::WriteLine | Access::Rmw => self.access(core, line, access, now),
        }
    }

    /// The rest of [`Self::access`], where the L1D does not have the line.
    fn access_beyond_l1(&mut self, core: usize, line: CacheLine, access: Access, now: Time) -> Outcome {
        let write = access.is_write();
        self.counts.l1d.misses += 1;
        let conflict = self.refills.after(core, line);
        let l3_set = self.l3.set_of(self.topology.complex(core), line);
        if !self.looked_ahead {
            self.l3.warm_set(l3_set);
        }
        if let Some(place) = self.l2.touch(core, line) {
            self.counts.l2.hits += 1;
            let owned = self.l2.flags_at(place) & OWNED;
            if write {
                self.l2.add(place, OWNED);
            }
            self.fill_l1(core, line, if write { OWNED | DIRTY } else { owned });
            if owned != 0 || !write {
                let late = if self.prefetcher.is_on() { self.stream(core, line, now) } else { Time::ZERO };
                return Outcome::of(self.latency.l2.max(late) + conflict, Level::L2);
            }
            return self.upgrade(core, line, now);
        }
        let queued = self.prefetcher.streamer(core).map_or(Time::ZERO, |streamer| streamer.wait(now));
        let (mut outcome, flags) = self.miss(core, (line, l3_set), access, now + queued);
        outcome.latency += queued + conflict;
        self.fill_l1(core, line, flags & OWNED | if write { DIRTY } else { 0 });
        if let Some(streamer) = self.prefetcher.streamer(core) {
            streamer.fly(line, now + outcome.latency);
            self.stream_on(core, line, now);
        }
        self.prefetch_after(core, line, now);
        outcome
    }

    /// What the streamer makes of a request that the L2 can serve, or soon will: how long until that.
    #[cold]
    fn stream(&mut self, core: usize, line: CacheLine, now: Time) -> Time {
        let late =
            self.prefetcher.streamer(core).map_or(Time::ZERO, |streamer| streamer.on_its_way(line, now));
        self.stream_on(core, line, now);
        late
    }

    /// Fetches the lines of a stream that follow `line`.
    fn stream_on(&mut self, core: usize, line: CacheLine, now: Time) {
        let Some(streamer) = self.prefetcher.streamer(core) else { return };
        for next in streamer.request(line, now) {
            if let Some(latency) = self.prefetch(core, next, now)
                && let Some(streamer) = self.prefetcher.streamer(core)
            {
                streamer.fly(next, now + latency);
            }
        }
    }

    /// A read of `core`'s page walker, where that asks the L2 first: the L1D is neither asked nor filled.
    pub fn read_l2(&mut self, core: usize, line: CacheLine, now: Time) -> Outcome {
        self.counts.walker_reads += 1;
        if self.l2.touch(core, line).is_some() {
            self.counts.l2.hits += 1;
            return Outcome::of(self.latency.l2, Level::L2);
        }
        let l3_set = self.l3.set_of(self.topology.complex(core), line);
        let (outcome, _) = self.miss(core, (line, l3_set), Access::Read, now);
        self.prefetch_after(core, line, now);
        outcome
    }

    /// What the prefetcher makes of a miss of the L2.
    #[inline]
    fn prefetch_after(&mut self, core: usize, line: CacheLine, now: Time) {
        if self.prefetcher.is_on() {
            self.prefetch_after_this(core, line, now);
        }
    }

    #[inline(never)]
    fn prefetch_after_this(&mut self, core: usize, line: CacheLine, now: Time) {
        if let Some(next) = self.prefetcher.after_miss(core, line) {
            self.prefetch(core, next, now);
        }
    }

    /// A demand access that missed the L2, which then has the line, whose set of the L3 the caller knows; with the flags that it has there.
    fn miss(
        &mut self,
        core: usize,
        (line, l3_set): (CacheLine, SetAt),
        access: Access,
        now: Time,
    ) -> (Outcome, u64) {
        self.counts.l2.misses += 1;
        if !self.looked_ahead {
            self.warm_victim(core, line);
        }
        let arrive = now + self.latency.l3;
        if self.directory.is_none() && self.sole != Some(core) {
            self.another_core(core);
        }
        let held =
            self.directory.as_mut().map_or(Held::Nowhere, |dir| dir.claim(line, core, access.is_write()));
        let mut supply = self.supply(core, (line, l3_set), access, held, arrive);
        let flags = supply.flags;
        supply.stall = supply.stall.max(self.fill_l2(core, line, flags, arrive));
        let Supply { mut latency, level, stall, .. } = supply;
        if stall > Time::ZERO {
            latency = latency.max(self.latency.l3 + stall);
        }
        let mut outcome = Outcome::of(latency, level);
        if self.directory.is_some() {
            self.wait_for_line(line, now, access.is_write() || held.is_taken_by_read(), &mut outcome);
        }
        (outcome, flags)
    }

    /// Puts a request behind the one that `line` is under way for. Those behind it wait in turn, if it `moves` the line: it makes
    /// the line its own, or takes it from its owner.
    fn wait_for_line(&mut self, line: CacheLine, now: Time, moves: bool, outcome: &mut Outcome) {
        if outcome.level == Level::Transfer || outcome.level == Level::L3 {
            let wait = self.under_way.wait(line, now);
            if wait > Time::ZERO {
                outcome.latency += wait;
                outcome.waited = wait;
                self.counts.line_waits += 1;
                self.counts.line_wait_time += wait;
            }
        }
        if moves {
            self.under_way.begin(line, now, now + outcome.latency);
        }
    }

    /// Finds the line beyond the private caches of `core`, and settles who else may keep it.
    fn supply(
        &mut self,
        core: usize,
        (line, l3_set): (CacheLine, SetAt),
        access: Access,
        held: Held,
        arrive: Time,
    ) -> Supply {
        let home = self.topology.complex(core);
        let here = self.l3.touch_in(l3_set, line);
        match here {
            Some(_) => self.counts.l3.hits += 1,
            None => self.counts.l3.misses += 1,
        }
        let far = self.other_l3s(line, home);
        let (others, owner) = match held {
            Held::Nowhere => (CoreSet::default(), None),
            Held::Owned(owner) => (CoreSet::of(owner), Some(owner)),
            Held::Shared(others) => (others, None),
        };
        let alone = others.is_empty() && far.is_empty();
        let mut stall = Time::ZERO;
        let (latency, level, flags) = if alone {
            match here {
                Some(place) if self.relation == L3Relation::Victim => {
                    (self.latency.l3, Level::L3, OWNED | self.give_up(home, line, place))
                }
                Some(place) => (self.latency.l3, Level::L3, OWNED | self.l3.clear(place, DIRTY) & DIRTY),
                None => {
                    let (latency, level) = if access == Access::WriteLine {
                        (Time::ZERO, Level::L3)
                    } else {
                        self.counts.memory_fills += 1;
                        self.devices.read(line, arrive)
                    };
                    let farther = self.topology.remote_memory(core, line);
                    if farther > Time::ZERO {
                        self.devices.give_away(line, arrive + latency);
                    }
                    (self.latency.l3 + latency + farther, level, OWNED)
                }
            }
        } else if access.is_write() {
            let latency = self.take_from(core, line, others, far, here);
            (latency, Level::Transfer, OWNED)
        } else if let Some(owner) = owner {
            self.counts.transfers += 1;
            let dirty = self.downgrade(owner, line);
            let complex = self.topology.complex(owner);
            stall = self.put_l3(complex, line, dirty, arrive);
            (self.topology.transfer(core, complex), Level::Transfer, 0)
        } else if here.is_some() {
            (self.latency.l3, Level::L3, 0)
        } else {
            // Whoever is nearest forwards it.
            self.counts.transfers += 1;
            let nearest = self.topology.transfers(core, others, far).min().unwrap_or_default();
            (nearest, Level::Transfer, 0)
        };
        if flags & OWNED == 0 && others.is_empty() {
            // Only an L3 shares it, of which the directory does not know.
            self.directory.iter_mut().for_each(|directory| directory.share(line));
        }
        if self.relation != L3Relation::Victim && self.l3.peek(home, line).is_none() {
            stall = stall.max(self.insert_l3(home, line, 0, arrive));
        }
        Supply { latency, level, flags, stall }
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
    fn upgrade(&mut self, core: usize, line: CacheLine, now: Time) -> Outcome {
        self.counts.upgrades += 1;
        let far = self.other_l3s(line, self.topology.complex(core));
        let held = self.directory.as_mut().map_or(Held::Nowhere, |dir| dir.claim(line, core, true));
        let others = match held {
            Held::Shared(others) => others,
            // Whoever shared it has dropped it since; only the directory knows that.
            Held::Nowhere | Held::Owned(_) => CoreSet::default(),
        };
        let alone = others.is_empty() && far.is_empty();
        let here = self.l3.peek(self.topology.complex(core), line);
        let latency = self.take_from(core, line, others, far, here);
        let mut outcome = if alone {
            Outcome::of(self.latency.l3, Level::L3)
        } else {
            Outcome::of(latency, Level::Transfer)
        };
        if self.directory.is_some() {
            self.wait_for_line(line, now, true, &mut outcome);
        }
        outcome
    }

    /// `core` becomes the only holder: takes the line from `others` and from the L3s of `far`, and from its own L3, or makes
    /// that copy clean, which is at `here`. Returns the time until the farthest has answered.
    fn take_from(
        &mut self,
        core: usize,
        line: CacheLine,
        others: CoreSet,
        far: CoreSet,
        here: Option<Place>,
    ) -> Time {
        for other in others.iter() {
            self.invalidate(other, line);
        }
        self.drop_l3s(line, far);
        if let Some(place) = here {
            if self.relation == L3Relation::Victim {
                self.remove_l3(self.topology.complex(core), line, place);
            } else {
                self.l3.clear(place, DIRTY);
            }
        }
        let farthest = self.topology.farthest(core, others, far);
        self.counts.transfers += u64::from(farthest.is_some());
        farthest.unwrap_or_default()
    }

    /// Puts a line that the L2 holds into the L1D; a modified victim is merged into the L2.
    fn fill_l1(&mut self, core: usize, line: CacheLine, flags: u64) {
        if let Some(victim) = self.l1.insert(core, line, flags)
            && victim.flags & DIRTY != 0
        {
            self.counts.l1d.writebacks += 1;
            if let Some(place) = self.l2.peek(core, victim.line) {
                self.l2.add(place, DIRTY);
            }
        }
    }

    /// Puts a line into the L2; its victim leaves the L1D, too, and goes to the L3. Returns the
    /// wait for a device's write queue.
    pub(super) fn fill_l2(&mut self, core: usize, line: CacheLine, flags: u64, arrive: Time) -> Time {
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
        self.evicted_from_l2(core, victim, flags & OWNED | dirty, arrive)
    }

    /// Takes it that these lines of memory were given to another socket at some time before, and are in no cache any more.
    pub(crate) fn given_before(&mut self, lines: impl Iterator<Item = CacheLine>) {
        self.devices.given_before(lines);
    }

    /// What the devices did over time: main memory, persistent memory.
    #[must_use]
    pub fn profiles(&self) -> [DeviceProfile; 2] {
        [self.devices.dram_profile.clone(), self.devices.pmem_profile.clone()]
    }

    /// The counters since the memory was built.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats {
            l1d: self.counts.l1d.totalled(),
            l2: self.counts.l2.totalled(),
            l3: self.counts.l3.totalled(),
            dram: self.devices.dram.stats(),
            dram_banks: self.devices.dram.bank_stats(),
            pmem: self.devices.pmem.stats(),
            ..self.counts
        }
    }
}
