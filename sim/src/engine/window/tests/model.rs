//! The window against a model that looks at every access in every unit of time.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Operand,
    Queued,
    /// Waits for the walk of this access.
    Merged(usize),
    Walking,
    Held,
    Starved,
    Done,
}

/// An access that has entered.
#[derive(Clone, Copy, Debug)]
struct One {
    access: Access,
    state: State,
    walk_ends: Option<u64>,
    complete: Option<u64>,
    left: bool,
}

struct Model {
    core: Paper,
    limits: Limits,
    entered: Vec<One>,
    /// Ends of walks, one for each walker.
    walkers: Vec<u64>,
    /// Who waits for a walker.
    walk_queue: Vec<usize>,
    /// Lines and when they are there, one for each fill buffer.
    buffers: Vec<(u64, u64)>,
    starved: Vec<usize>,
    /// Addresses of stores and when they are written.
    stores: Vec<(u64, u64)>,
}

impl Model {
    fn new(limits: Limits) -> Self {
        Self {
            core: Paper::default(),
            entered: Vec::new(),
            walkers: vec![0; limits.walkers],
            walk_queue: Vec::new(),
            buffers: vec![(u64::MAX, 0); limits.fill_buffers],
            starved: Vec::new(),
            stores: Vec::new(),
            limits,
        }
    }

    /// When everything is complete.
    fn run(&mut self, accesses: &[Access]) -> u64 {
        let mut next_slot = 0;
        for now in 0.. {
            while let Some(who) = (0..self.entered.len()).find(|who| self.is_due(*who, now)) {
                self.go_on(who, now);
            }
            // Out, in program order.
            let mut all_left = true;
            for one in &mut self.entered {
                all_left &= one.complete.is_some_and(|at| at <= now);
                one.left = all_left;
            }
            self.stores.retain(|(_, written)| *written > now);
            if let Some(access) = accesses.get(self.entered.len()) {
                if now >= next_slot && self.has_room(access.kind.is_write()) {
                    self.entered.push(One {
                        access: *access,
                        state: State::Operand,
                        walk_ends: None,
                        complete: None,
                        left: false,
                    });
                    next_slot = now + self.limits.interval(*access).0;
                    let who = self.entered.len() - 1;
                    if self.is_due(who, now) {
                        self.go_on(who, now);
                    }
                }
            } else if now >= next_slot && all_left && self.stores.is_empty() {
                return now;
            }
        }
        unreachable!()
    }

    fn has_room(&self, write: bool) -> bool {
        let inside = self.entered.iter().filter(|one| !one.left).count() as u64;
        let unwritten = |one: &&One| one.access.kind.is_write() && one.complete.is_none();
        let stores = self.stores.len() + self.entered.iter().filter(unwritten).count();
        let loads = self.entered.iter().filter(|one| !one.left && !one.access.kind.is_write()).count() as u64;
        let buffered =
            if write { stores < self.limits.store_buffer } else { loads < self.limits.load_buffer };
        inside < self.limits.window && buffered
    }

    fn is_due(&self, who: usize, now: u64) -> bool {
        let one = &self.entered[who];
        match one.state {
            State::Operand if !one.access.dependent || who == 0 => true,
            State::Operand => self.entered[who - 1].complete.is_some_and(|at| at <= now),
            State::Queued => self.walk_queue[0] == who && self.walkers.iter().any(|end| *end <= now),
            State::Merged(leader) => self.entered[leader].walk_ends.is_some_and(|end| end <= now),
            State::Walking => one.walk_ends.is_some_and(|end| end <= now),
            State::Held => self.is_safe(who),
            State::Starved => self.starved[0] == who && self.buffers.iter().any(|(_, at)| *at <= now),
            State::Done => false,
        }
    }

    /// Whether all older accesses are known not to fault.
    fn is_safe(&self, who: usize) -> bool {
        let known = |one: &One| matches!(one.state, State::Walking | State::Starved | State::Done);
        self.entered[..who].iter().all(known)
    }

    fn go_on(&mut self, who: usize, now: u64) {
        let page = |access: &Access| access.va.0 >> 12;
        let access = self.entered[who].access;
        match self.entered[who].state {
            State::Operand | State::Merged(_) => {
                let same_walk = (0..self.entered.len()).find(|other| {
                    let one = &self.entered[*other];
                    let walks = one.walk_ends.is_some_and(|end| end > now);
                    *other != who
                        && page(&one.access) == page(&access)
                        && (walks || one.state == State::Queued)
                });
                if let Some(other) = same_walk {
                    self.entered[who].state = State::Merged(other);
                } else if let Lookup::Hit(..) = self.core.lookup(access.va, access.kind) {
                    self.use_data(who, now);
                } else if self.walk_queue.is_empty() && self.walkers.iter().any(|end| *end <= now) {
                    self.walk(who, now);
                } else {
                    self.walk_queue.push(who);
                    self.entered[who].state = State::Queued;
                }
            }
            State::Queued => {
                self.walk_queue.remove(0);
                self.walk(who, now);
            }
            State::Walking | State::Held => self.use_data(who, now),
            State::Starved => {
                self.starved.remove(0);
                self.fetch(who, now);
            }
            State::Done => {}
        }
    }

    fn walk(&mut self, who: usize, now: u64) {
        let access = self.entered[who].access;
        let end = self.core.walk(access.va, access.kind, Time(now)).end.0;
        let walker = self.walkers.iter_mut().find(|end| **end <= now).unwrap();
        *walker = end;
        self.entered[who].walk_ends = Some(end);
        self.entered[who].state = State::Walking;
    }

    fn use_data(&mut self, who: usize, now: u64) {
        if self.entered[who].access.kind.is_write() && !self.is_safe(who) {
            self.entered[who].state = State::Held;
        } else {
            self.fetch(who, now);
        }
    }

    fn fetch(&mut self, who: usize, now: u64) {
        let access = self.entered[who].access;
        let (line, write) = (access.va.0 >> 6, access.kind.is_write());
        let coming = self.buffers.iter().find(|(l, there)| *l == line && *there > now);
        let hit = now + L1;
        let there = if self.core.try_l1(CacheLine(line), write) {
            let forwarded = !write && self.stores.iter().any(|(va, _)| va >> 3 == access.va.0 >> 3);
            coming.filter(|_| !forwarded).map_or(hit, |(_, there)| hit.max(*there))
        } else {
            let free = self.buffers.iter().position(|(_, there)| *there <= now);
            let mine = self.entered[who].state == State::Starved;
            let Some(free) = free.filter(|_| mine || self.starved.is_empty()) else {
                self.starved.push(who);
                self.entered[who].state = State::Starved;
                return;
            };
            let there = now + self.core.fetch(CacheLine(line), write, Time(now)).0;
            self.buffers[free] = (line, there);
            there
        };
        if write {
            let written = self.stores.last().map_or(there, |last| last.1.max(there));
            self.stores.push((access.va.0, written));
        }
        self.entered[who].complete = Some(if write { hit } else { there });
        self.entered[who].state = State::Done;
    }
}

fn accesses() -> impl Strategy<Value = Vec<Access>> {
    let one = (0u64..12, 0u64..4, any::<bool>(), 0u8..4, prop_oneof![3 => Just(0), 1 => 0u32..9]).prop_map(
        |(page, line, dependent, kind, work)| {
            let kind = if kind == 0 { AccessKind::Write } else { AccessKind::Read };
            Access { va: va(page, line), kind, dependent, work }
        },
    );
    prop::collection::vec(one, 1..120)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (2u64..40, 1u64..3, 1u64..3, 1u64..20, 1usize..8, 1usize..6, 1usize..4, any::<bool>()).prop_map(
        |(window, load, store, load_buffer, store_buffer, fill_buffers, walkers, run_ahead)| Limits {
            window,
            load_buffer,
            load_interval: Time(load),
            store_interval: Time(store),
            store_buffer,
            fill_buffers,
            walkers,
            l1: Time(L1),
            hits_are_short: window * load.min(store) >= L1
                && load_buffer * load >= L1
                && store_buffer as u64 * store >= L1,
            levels: 4,
            run_ahead,
        },
    )
}

proptest! {
    #[test]
    fn the_window_does_what_the_model_does(limits in any_limits(), accesses in accesses()) {
        let mut model = Model::new(limits);
        let end = model.run(&accesses);
        let mut core = Paper::default();
        core.run(limits, &accesses);
        prop_assert_eq!(&core.log, &model.core.log);
        prop_assert_eq!(core.now.0, end);
    }

    #[test]
    fn faults_and_assists_leave_every_access_made_once(
        limits in any_limits(),
        accesses in accesses(),
        absent in prop::collection::btree_map(0u64..12, 1u32..3, 0..6),
        unused in prop::collection::btree_set(0u64..12, 0..6),
    ) {
        let mut core = Paper { absent, unused, ..Paper::default() };
        // `run` asserts that, and that the parts sum to the time.
        core.run(limits, &accesses);
    }
}
