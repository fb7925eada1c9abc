//! The memory system against a slow, obvious model: copies in lists with time stamps, everyone
//! asked about everything, no directory.

use proptest::prelude::*;

use super::*;
use crate::memory::{Access, Level, Memory, Mesi};

const CORES: usize = 3;

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

struct Model {
    l1: Vec<List>,
    l2: Vec<List>,
    l3: List,
    clock: u64,
    device_writes: u64,
}

impl Model {
    fn new(cores: usize) -> Self {
        Self {
            l1: (0..cores).map(|_| List::new(2, 2)).collect(),
            l2: (0..cores).map(|_| List::new(2, 4)).collect(),
            l3: List::new(3, 4),
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

    fn put_l3(&mut self, line: u64, dirty: bool) {
        self.clock += 1;
        if let Some(copy) = self.l3.get(line) {
            copy.used = self.clock;
            copy.dirty |= dirty;
        } else if let Some(victim) = self.l3.put(Copy { line, owned: false, dirty, used: self.clock }) {
            self.device_writes += u64::from(victim.dirty);
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

    fn access(&mut self, core: usize, line: u64, write: bool, device: Level) -> Level {
        self.clock += 1;
        let now = self.clock;
        let states: Vec<_> = (0..self.l1.len()).map(|c| self.state(c, line)).collect();
        let others: Vec<_> = (0..states.len()).filter(|&c| c != core && states[c] != Mesi::Invalid).collect();
        let mine = states[core];
        let in_l1 = self.l1[core].get(line).map(|c| c.used = now).is_some();
        let in_l2 = mine != Mesi::Invalid;
        if in_l2 && !in_l1 {
            self.l2[core].get(line).expect("it is here").used = now;
        }
        let mut level = if in_l1 { Level::L1 } else { Level::L2 };
        if write && mine == Mesi::Shared {
            level = if others.is_empty() { Level::L3 } else { Level::Transfer };
        }
        let mut dirty = false;
        let mut shared = mine == Mesi::Shared;
        if !in_l2 {
            let owner = others.iter().copied().find(|&c| states[c] != Mesi::Shared);
            let l3 = self.l3.get(line).map(|c| (c.used = now, c.dirty).1);
            level = match (owner, l3) {
                (Some(_), _) => Level::Transfer,
                (None, _) if write && !others.is_empty() => Level::Transfer,
                (None, Some(_)) => Level::L3,
                (None, None) if !others.is_empty() => Level::Transfer,
                (None, None) => device,
            };
            shared = !others.is_empty();
            if let (false, Some(owner)) = (write, owner) {
                for list in [&mut self.l1[owner], &mut self.l2[owner]] {
                    if let Some(copy) = list.get(line) {
                        (copy.owned, copy.dirty) = (false, false);
                    }
                }
                self.put_l3(line, states[owner] == Mesi::Modified);
            } else if !shared {
                dirty = l3 == Some(true);
                self.l3.take(line);
            }
        }
        if write {
            others.iter().for_each(|&c| self.drop_from(c, line));
            self.l3.take(line);
            shared = false;
        }
        if !in_l2 {
            let copy = Copy { line, owned: !shared, dirty, used: self.clock };
            if let Some(victim) = self.l2[core].put(copy) {
                let inner = self.l1[core].take(victim.line);
                self.put_l3(victim.line, victim.dirty || inner.is_some_and(|c| c.dirty));
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
        level
    }

    fn clwb(&mut self, line: u64) {
        let lists = self.l1.iter_mut().chain(&mut self.l2).chain(std::iter::once(&mut self.l3));
        let dirty =
            lists.filter_map(|l| l.get(line)).fold(false, |dirty, c| std::mem::take(&mut c.dirty) | dirty);
        self.device_writes += u64::from(dirty);
    }

    fn nt_store(&mut self, line: u64) {
        (0..self.l1.len()).for_each(|core| self.drop_from(core, line));
        self.l3.take(line);
        self.device_writes += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn it_agrees_with_the_obvious_model(
        cores in 1..=CORES,
        ops in prop::collection::vec((0..CORES, 0u64..40, 0u8..16, 0u64..1 << 40), 1..400),
    ) {
        let mut memory = Memory::new(&machine(cores as u16));
        let mut model = Model::new(cores);
        for (step, (core, n, op, at)) in ops.into_iter().enumerate() {
            // What is where does not depend on time, nor on the order of times.
            let (core, at) = (core % cores, Time(at));
            // Half of the lines are persistent.
            let n = PMEM - 20 + n;
            let device = if n < PMEM { Level::Dram } else { Level::Pmem };
            let access = match op {
                0..=7 => Access::Read,
                8..=11 => Access::Write,
                12 => Access::Rmw,
                13 | 14 => {
                    memory.clwb(core, line(n), at);
                    model.clwb(n);
                    continue;
                }
                _ => {
                    memory.nt_store(core, line(n), at);
                    model.nt_store(n);
                    continue;
                }
            };
            let expected = model.access(core, n, access.is_write(), device);
            let fast = step % 2 == 0 && memory.try_l1(core, line(n), access.is_write());
            let level = if fast { Level::L1 } else { memory.access(core, line(n), access, at).level };
            prop_assert_eq!(level, expected, "step {}", step);
            for n in PMEM - 20..PMEM + 20 {
                for core in 0..cores {
                    prop_assert_eq!(memory.state(core, line(n)), model.state(core, n), "step {} line {}", step, n);
                    let in_l1 = memory.l1.flags(core, line(n)).is_some();
                    prop_assert_eq!(in_l1, model.l1[core].get(n).is_some());
                }
                prop_assert_eq!(memory.l3_state(line(n)), model.l3.get(n).map(|c| c.dirty), "step {} line {}", step, n);
            }
            let modified = (0..20).filter(|n| {
                let n = PMEM + n;
                let in_l3 = model.l3.get(n).is_some_and(|c| c.dirty);
                in_l3 || (0..cores).any(|core| model.state(core, n) == Mesi::Modified)
            });
            let expected = modified.fold(0, |mask, n| mask | 1 << n);
            prop_assert_eq!(memory.modified_lines(Pfn(PMEM / 64)), expected, "step {}", step);
            let stats = memory.stats();
            prop_assert_eq!(stats.dram.writes + stats.pmem.writes, model.device_writes);
        }
    }
}
