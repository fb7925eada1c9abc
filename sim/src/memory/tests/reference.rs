//! The memory system against a slow, obvious model: copies in lists with time stamps, everyone
//! asked about everything, no directory.

use std::collections::BTreeMap;

use daxsim_configs::machine::{L3Relation, MachineSpec};
use proptest::prelude::*;

use super::*;
use crate::memory::{Access, Level, Memory, Mesi};

const CORES: usize = 5;

#[derive(Clone, Copy)]
struct Copy {
    line: u64,
    owned: bool,
    dirty: bool,
    used: u64,
}

/// One cache: every line with its time of last use.
struct List {
    sets: u64,
    ways: usize,
    copies: Vec<Copy>,
}

impl List {
    const fn new(sets: u64, ways: usize) -> Self {
        Self { sets, ways, copies: Vec::new() }
    }

    fn get(&mut self, line: u64) -> Option<&mut Copy> {
        self.copies.iter_mut().find(|c| c.line == line)
    }

    fn take(&mut self, line: u64) -> Option<Copy> {
        let at = self.copies.iter().position(|c| c.line == line)?;
        Some(self.copies.swap_remove(at))
    }

    fn put(&mut self, copy: Copy) -> Option<Copy> {
        self.copies.push(copy);
        let set: Vec<_> =
            self.copies.iter().filter(|c| c.line % self.sets == copy.line % self.sets).collect();
        let oldest = set.iter().min_by_key(|c| c.used).map(|c| c.line)?;
        if set.len() > self.ways { self.take(oldest) } else { None }
    }
}

/// What the machine is, beyond the geometry of [`machine`].
#[derive(Clone, Copy, Debug)]
struct Shape {
    cores: usize,
    sockets: u32,
    cores_per_complex: u32,
    relation: L3Relation,
    /// Lines that a victim L3 still knows of, in one set; 0: it takes all.
    history: usize,
}

impl Shape {
    fn spec(self) -> MachineSpec {
        let mut spec = machine(self.cores as u16);
        spec.topology.sockets = self.sockets;
        spec.topology.cores_per_complex = self.cores_per_complex;
        spec.cache.l3_relation = self.relation;
        (spec.cache.l3_history, spec.cache.l3_history_ways) =
            (self.history as u64, self.history.max(1) as u32);
        (spec.cache.transfer_socket, spec.cache.transfer_remote) = (FAR, REMOTE);
        spec
    }

    /// Socket and complex of a core.
    fn place(self, core: usize) -> (usize, usize) {
        let sockets = (self.sockets as usize).min(self.cores);
        let per_socket = self.cores.div_ceil(sockets);
        match self.cores_per_complex as usize {
            0 => (core / per_socket, 0),
            n => (core / per_socket, core % per_socket / n),
        }
    }
}

const FAR: Time = Time(90_000);
const REMOTE: Time = Time(140_000);

/// Where a line came from, and what that takes at least.
type Source = (Level, Time);

struct Model {
    shape: Shape,
    l1: Vec<List>,
    l2: Vec<List>,
    /// By socket and complex.
    l3: BTreeMap<(usize, usize), List>,
    /// Of each complex, the last line last.
    known: BTreeMap<(usize, usize), Vec<u64>>,
    clock: u64,
    device_writes: u64,
}

impl Model {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            l1: (0..shape.cores).map(|_| List::new(2, 2)).collect(),
            l2: (0..shape.cores).map(|_| List::new(2, 4)).collect(),
            l3: (0..shape.cores).map(|core| (shape.place(core), List::new(3, 4))).collect(),
            known: BTreeMap::new(),
            clock: 0,
            device_writes: 0,
        }
    }

    fn state(&mut self, core: usize, line: u64) -> Mesi {
        let Some(&mut outer) = self.l2[core].get(line) else { return Mesi::Invalid };
        let dirty = outer.dirty || self.l1[core].get(line).is_some_and(|c| c.dirty);
        match (outer.owned, dirty) {
            (true, true) => Mesi::Modified,
            (true, false) => Mesi::Exclusive,
            _ => Mesi::Shared,
        }
    }

    fn l3_of(&mut self, place: (usize, usize)) -> &mut List {
        self.l3.get_mut(&place).expect("every complex has one")
    }

    /// Takes a line out of what an L3 knows of; whether it was there.
    fn forget(&mut self, place: (usize, usize), line: u64) -> bool {
        let known = self.known.entry(place).or_default();
        let before = known.len();
        known.retain(|one| *one != line);
        known.len() < before
    }

    /// An L3 knows of a line from now on.
    fn know(&mut self, place: (usize, usize), line: u64) {
        self.forget(place, line);
        let known = self.known.entry(place).or_default();
        known.push(line);
        if known.len() > self.shape.history {
            known.remove(0);
        }
    }

    /// Whether a victim L3 takes a line of an L2.
    fn takes(&mut self, place: (usize, usize), line: u64, owned: bool, dirty: bool) -> bool {
        let has = !owned && self.l3_of(place).get(line).is_some();
        if has || self.shape.history == 0 || self.forget(place, line) || dirty {
            return true;
        }
        self.know(place, line);
        false
    }

    /// Puts a line into an L3, or notes it there if `touch`.
    fn put_l3(&mut self, place: (usize, usize), line: u64, dirty: bool, touch: bool) {
        self.clock += 1;
        let used = self.clock;
        if let Some(copy) = self.l3_of(place).get(line) {
            copy.used = if touch { used } else { copy.used };
            copy.dirty |= dirty;
        } else if let Some(victim) = self.l3_of(place).put(Copy { line, owned: false, dirty, used }) {
            let mut dirty = victim.dirty;
            if self.shape.relation == L3Relation::Inclusive {
                for core in
                    (0..self.shape.cores).filter(|&c| self.shape.place(c) == place).collect::<Vec<_>>()
                {
                    dirty |= self.state(core, victim.line) == Mesi::Modified;
                    self.drop_from(core, victim.line);
                }
            }
            self.device_writes += u64::from(dirty);
        }
    }

    fn distance(&self, core: usize, place: (usize, usize)) -> Time {
        let own = self.shape.place(core);
        match (own == place, own.0 == place.0) {
            (true, _) => TRANSFER,
            (_, true) => FAR,
            _ => REMOTE,
        }
    }

    fn fill_l1(&mut self, core: usize, line: u64, owned: bool, dirty: bool) {
        if let Some(victim) = self.l1[core].put(Copy { line, owned, dirty, used: self.clock }) {
            let below = self.l2[core].get(victim.line).expect("the L2 includes the L1D");
            below.dirty |= victim.dirty;
        }
    }

    fn drop_from(&mut self, core: usize, line: u64) {
        self.l1[core].take(line);
        self.l2[core].take(line);
    }

    /// Everyone else gives the line up.
    fn take_from_all(&mut self, core: usize, line: u64) {
        let home = self.shape.place(core);
        (0..self.shape.cores).filter(|&c| c != core).for_each(|c| self.drop_from(c, line));
        for (place, list) in &mut self.l3 {
            if *place != home || self.shape.relation == L3Relation::Victim {
                list.take(line);
            } else if let Some(copy) = list.get(line) {
                copy.dirty = false;
            }
        }
    }

    fn access(&mut self, core: usize, line: u64, write: bool, device: Source) -> Source {
        self.clock += 1;
        let now = self.clock;
        let home = self.shape.place(core);
        let states: Vec<_> = (0..self.l1.len()).map(|c| self.state(c, line)).collect();
        let others: Vec<_> = (0..states.len()).filter(|&c| c != core && states[c] != Mesi::Invalid).collect();
        let far: Vec<_> = self
            .l3
            .iter_mut()
            .filter_map(|(p, l)| (*p != home && l.get(line).is_some()).then_some(*p))
            .collect();
        let mut distances: Vec<_> =
            others.iter().map(|&c| self.distance(core, self.shape.place(c))).collect();
        distances.extend(far.iter().map(|&place| self.distance(core, place)));
        let nearest = distances.iter().min().map(|&time| (Level::Transfer, time));
        let farthest = distances.iter().max().map(|&time| (Level::Transfer, time));
        let mine = states[core];
        let in_l1 = self.l1[core].get(line).map(|c| c.used = now).is_some();
        let in_l2 = mine != Mesi::Invalid;
        if in_l2 && !in_l1 {
            self.l2[core].get(line).expect("it is here").used = now;
        }
        let mut source = if in_l1 { (Level::L1, L1) } else { (Level::L2, L2) };
        if write && mine == Mesi::Shared {
            source = farthest.unwrap_or((Level::L3, L3));
        }
        let mut dirty = false;
        let mut shared = mine == Mesi::Shared;
        if !in_l2 {
            let owner = others.iter().copied().find(|&c| states[c] != Mesi::Shared);
            let l3 = self.l3_of(home).get(line).map(|c| (c.used = now, c.dirty).1);
            shared = farthest.is_some();
            source = match (owner, l3) {
                (Some(owner), _) => (Level::Transfer, self.distance(core, self.shape.place(owner))),
                (None, _) if write && shared => farthest.expect("someone"),
                (None, Some(_)) => (Level::L3, L3),
                (None, None) => nearest.unwrap_or(device),
            };
            if let (false, Some(owner)) = (write, owner) {
                for list in [&mut self.l1[owner], &mut self.l2[owner]] {
                    if let Some(copy) = list.get(line) {
                        (copy.owned, copy.dirty) = (false, false);
                    }
                }
                self.put_l3(self.shape.place(owner), line, states[owner] == Mesi::Modified, true);
            } else if !shared {
                dirty = l3 == Some(true);
                if l3.is_some() {
                    self.know(home, line);
                }
                self.take_from_all(core, line);
            }
        }
        if write {
            self.take_from_all(core, line);
            shared = false;
        }
        if !in_l2 {
            let absent = self.l3_of(home).get(line).is_none();
            if self.shape.relation != L3Relation::Victim && absent {
                self.put_l3(home, line, false, true);
            }
            let copy = Copy { line, owned: !shared, dirty, used: self.clock };
            if let Some(victim) = self.l2[core].put(copy) {
                let inner = self.l1[core].take(victim.line);
                let dirty = victim.dirty || inner.is_some_and(|c| c.dirty);
                if self.shape.relation == L3Relation::Victim {
                    if self.takes(home, victim.line, victim.owned, dirty) {
                        self.put_l3(home, victim.line, dirty, true);
                    }
                } else if dirty {
                    self.put_l3(home, victim.line, true, false);
                }
            }
        }
        if !in_l1 {
            let owned = self.l2[core].get(line).expect("it is here").owned;
            self.fill_l1(core, line, owned, false);
        }
        if write {
            self.l2[core].get(line).expect("it is here").owned = true;
            let copy = self.l1[core].get(line).expect("it is here");
            (copy.owned, copy.dirty) = (true, true);
        }
        source
    }

    fn clwb(&mut self, line: u64) {
        let lists = self.l1.iter_mut().chain(&mut self.l2).chain(self.l3.values_mut());
        let dirty =
            lists.filter_map(|l| l.get(line)).fold(false, |dirty, c| std::mem::take(&mut c.dirty) | dirty);
        self.device_writes += u64::from(dirty);
    }

    fn clflush(&mut self, line: u64) {
        self.clwb(line);
        self.drop_everywhere(line);
    }

    fn nt_store(&mut self, line: u64) {
        self.drop_everywhere(line);
        self.device_writes += 1;
    }

    fn drop_everywhere(&mut self, line: u64) {
        (0..self.l1.len()).for_each(|core| self.drop_from(core, line));
        for list in self.l3.values_mut() {
            list.take(line);
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let relations = vec![L3Relation::Victim, L3Relation::Inclusive, L3Relation::NonInclusive];
    let places = vec![(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)];
    let histories = prop::sample::select(vec![0, 1, 4, 16]);
    (1..=CORES, prop::sample::select(places), prop::sample::select(relations), histories).prop_map(
        |(cores, (sockets, cores_per_complex), relation, history)| Shape {
            cores,
            sockets,
            cores_per_complex,
            relation,
            history,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn it_agrees_with_the_obvious_model(
        shape in shapes(),
        ops in prop::collection::vec((0..CORES, 0u64..40, 0u8..17, 0u64..1 << 40), 1..400),
    ) {
        let cores = shape.cores;
        let mut memory = Memory::new(&shape.spec());
        let mut model = Model::new(shape);
        for (step, (core, n, op, at)) in ops.into_iter().enumerate() {
            // What is where does not depend on time, nor on the order of times.
            let (core, at) = (core % cores, Time(at));
            // Half of the lines are persistent.
            let n = PMEM - 20 + n;
            let access = match op {
                0..=7 => Access::Read,
                8..=9 => Access::Write,
                10..=11 => Access::WriteLine,
                12 => Access::Rmw,
                13 | 14 => {
                    memory.clwb(core, line(n), at);
                    model.clwb(n);
                    continue;
                }
                15 => {
                    memory.clflush(core, line(n), at);
                    model.clflush(n);
                    continue;
                }
                _ => {
                    memory.nt_store(core, line(n), at);
                    model.nt_store(n);
                    continue;
                }
            };
            let device = match access {
                Access::WriteLine => (Level::L3, L3),
                _ if n < PMEM => (Level::Dram, L3 + BUFFERED.min(DRAM)),
                _ => (Level::Pmem, L3 + BUFFERED.min(DRAM)),
            };
            let reads = memory.stats().memory_fills;
            let (level, least) = model.access(core, n, access.is_write(), device);
            let fast = step % 2 == 0 && memory.try_l1(core, line(n), access.is_write());
            if fast {
                prop_assert_eq!(Level::L1, level, "step {}", step);
            } else {
                let outcome = memory.access(core, line(n), access, at);
                prop_assert_eq!(outcome.level, level, "step {}", step);
                prop_assert!(outcome.latency >= least, "step {}: {} below {}", step, outcome.latency, least);
                let private = matches!(level, Level::L1 | Level::L2);
                prop_assert!(!private || outcome.latency == least);
            }
            let read = matches!(level, Level::Dram | Level::Pmem);
            prop_assert_eq!(memory.stats().memory_fills - reads, u64::from(read), "step {}", step);
            compare(&memory, &mut model, step)?;
        }
    }
}

fn compare(memory: &Memory, model: &mut Model, step: usize) -> Result<(), TestCaseError> {
    let (shape, cores) = (model.shape, model.shape.cores);
    for n in PMEM - 20..PMEM + 20 {
        for core in 0..cores {
            prop_assert_eq!(memory.state(core, line(n)), model.state(core, n), "step {} line {}", step, n);
            let in_l1 = memory.l1.flags(core, line(n)).is_some();
            prop_assert_eq!(in_l1, model.l1[core].get(n).is_some());
            let found = memory.l3_state_in(memory.topology.complex(core), line(n));
            let expected = model.l3_of(shape.place(core)).get(n).map(|c| c.dirty);
            prop_assert_eq!(found, expected, "step {} line {} L3 of core {}", step, n, core);
            if shape.relation == L3Relation::Inclusive && memory.state(core, line(n)) != Mesi::Invalid {
                prop_assert!(found.is_some(), "step {} line {} is in core {} alone", step, n, core);
            }
        }
    }
    let modified = (0..20).filter(|n| {
        let n = PMEM + n;
        let in_l3 = model.l3.values_mut().any(|list| list.get(n).is_some_and(|c| c.dirty));
        in_l3 || (0..cores).any(|core| model.state(core, n) == Mesi::Modified)
    });
    let expected = modified.collect::<Vec<_>>().iter().fold(0, |mask, n| mask | 1 << n);
    prop_assert_eq!(memory.modified_lines(Pfn(PMEM / 64)), expected, "step {}", step);
    let stats = memory.stats();
    prop_assert_eq!(stats.dram.writes + stats.pmem.writes, model.device_writes);
    prop_assert_eq!(memory.check_balance(), Ok(()), "step {}", step);
    Ok(())
}
