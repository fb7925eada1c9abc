//! [`TlbArray`], every operation against an obvious model: slots in rows, looked through one by one, with the time of the last
//! use of each, and trees that are spelled out.

use std::collections::BTreeMap;

use daxsim_configs::machine::{Replacement, SetIndex, TlbSpec};
use daxsim_sim::mmu::tlb::{TlbArray, TlbEntry, TlbStats};
use daxsim_types::{PageSize, Pfn, VirtAddr};
use proptest::prelude::*;

use PageSize::{Size1G, Size2M, Size4K};

const SEED: u64 = 5;

struct Model {
    spec: TlbSpec,
    /// By row and way.
    slots: BTreeMap<(u64, u64), TlbEntry>,
    /// When each slot was last used, or filled if the policy is FIFO.
    times: BTreeMap<(u64, u64), u64>,
    now: u64,
    /// By row, and the ways that a node of the tree divides: whether the victim is in the upper half.
    upper: BTreeMap<(u64, u64, u64), bool>,
    last_group: BTreeMap<u64, u64>,
    draws: u64,
}

impl Model {
    fn new(spec: TlbSpec) -> Self {
        Self {
            spec,
            slots: BTreeMap::new(),
            times: BTreeMap::new(),
            now: 0,
            upper: BTreeMap::new(),
            last_group: BTreeMap::new(),
            draws: SEED,
        }
    }

    /// The slots that an entry may be in.
    fn candidates(&self, size: PageSize, number: u64) -> Vec<(u64, u64)> {
        let (ways, rows) = (u64::from(self.spec.ways), u64::from(self.spec.sets()));
        let count = u64::from(self.spec.ways_of(size));
        // From every way on that leaves whole groups of the size behind.
        let starts: Vec<u64> = (0..ways)
            .filter(|start| {
                start % (1..=count).filter(|d| count % d == 0 && ways % d == 0).max().unwrap() == 0
            })
            .collect();
        let start = if count == ways { 0 } else { starts[(number / rows % starts.len() as u64) as usize] };
        let next = number / rows % rows;
        let row = |way: u64| match self.spec.index {
            SetIndex::Linear => number % rows,
            SetIndex::Xor => (number % rows) ^ next,
            SetIndex::Skewed => {
                let turned = (0..way).fold(next, |x, _| if x * 2 >= rows { x * 2 - rows + 1 } else { x * 2 });
                (number % rows) ^ if rows == 1 { 0 } else { turned }
            }
        };
        (start..start + count).map(|way| (row(way % ways), way % ways)).collect()
    }

    fn of(&self, e: &TlbEntry) -> Vec<(u64, u64)> {
        self.candidates(e.size, e.page >> e.span)
    }

    fn used(&mut self, slot: (u64, u64), filled: bool) {
        self.now += 1;
        if filled || self.spec.replacement != Replacement::Fifo {
            self.times.insert(slot, self.now);
        }
        let (row, way) = slot;
        let (mut low, mut high) = (0, u64::from(self.spec.ways));
        if self.spec.replacement == Replacement::Mru3Plru4 {
            self.last_group.insert(row, way / 4);
            (low, high) = (way / 4 * 4, way / 4 * 4 + 4);
        }
        while high - low > 1 {
            let middle = (low + high) / 2;
            self.upper.insert((row, low, high), way < middle);
            if way < middle { high = middle } else { low = middle }
        }
    }

    fn victim(&mut self, among: &[(u64, u64)]) -> (u64, u64) {
        let row = among[0].0;
        let (mut low, mut high) = match self.spec.replacement {
            Replacement::Lru | Replacement::Fifo => {
                return *among.iter().min_by_key(|slot| self.times[slot]).unwrap();
            }
            Replacement::Random => {
                self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.draws;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let at = (u128::from(z ^ (z >> 31)) * among.len() as u128) >> 64;
                return among[at as usize];
            }
            Replacement::Plru => (0, u64::from(self.spec.ways)),
            Replacement::Mru3Plru4 => {
                let group = (self.last_group.get(&row).unwrap_or(&0) + 1) % 3;
                (group * 4, group * 4 + 4)
            }
        };
        while high - low > 1 {
            let middle = (low + high) / 2;
            let upper = self.upper.get(&(row, low, high)).copied().unwrap_or(false);
            if upper { low = middle } else { high = middle }
        }
        (row, low)
    }

    /// Where the entry for a page is: one of its own PCID before a global one, a single page before a coalesced one.
    fn find(&self, page: u64, size: PageSize, pcid: u16) -> Option<(u64, u64)> {
        let span = if size == Size4K { self.spec.coalesce.trailing_zeros() as u8 } else { 0 };
        let mut spans = vec![0, span];
        spans.dedup();
        spans.into_iter().find_map(|span| {
            let candidates = self.candidates(size, page >> span);
            let holds = |slot: &(u64, u64), global: bool| {
                self.slots.get(slot).is_some_and(|e| {
                    (e.page >> span, e.size, e.span, e.global) == (page >> span, size, span, global)
                        && (global || e.pcid == pcid)
                })
            };
            let at = |global| candidates.iter().copied().find(|slot| holds(slot, global));
            at(false).or_else(|| at(true))
        })
    }

    fn insert(&mut self, e: TlbEntry) -> Option<TlbEntry> {
        let candidates = self.of(&e);
        let key = |o: &TlbEntry| (o.page, o.size, o.span, o.global, if o.global { 0 } else { o.pcid });
        let same =
            candidates.iter().find(|slot| self.slots.get(slot).is_some_and(|o| key(o) == key(&e))).copied();
        let free = candidates.iter().find(|slot| !self.slots.contains_key(slot)).copied();
        let slot = same.or(free).unwrap_or_else(|| self.victim(&candidates));
        self.used(slot, true);
        self.slots.insert(slot, e).filter(|_| same.is_none())
    }

    fn drop_if(&mut self, drop: impl Fn(&TlbEntry) -> bool) -> u32 {
        let before = self.slots.len();
        self.slots.retain(|_, e| !drop(e));
        (before - self.slots.len()) as u32
    }
}

/// Whether the entry, or the page that it is a piece of, has the address.
fn has(e: &TlbEntry, va: u64) -> bool {
    let first = e.page << e.size.shift();
    let own = (first..first + (e.size.bytes() << e.span)).contains(&va);
    own || first >> e.origin.shift() == va >> e.origin.shift()
}

#[derive(Clone, Debug)]
enum Op {
    Lookup(u64, PageSize, u16),
    Probe(u64, PageSize, u16),
    Insert { va: u64, size: PageSize, pcid: u16, global: bool, origin: PageSize, wide: bool },
    Page(u64, u16),
    Pcid(u16),
    All(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Addresses in clusters, so that sizes overlap and sets fill up.
    let va = (0..2_u64, 0..6_u64, 0..24_u64).prop_map(|(g, m, p)| g << 30 | m << 21 | p << 12);
    let size = prop_oneof![5 => Just(Size4K), 3 => Just(Size2M), 1 => Just(Size1G)];
    let key = (va.clone(), size.clone(), 0..3_u16);
    let flags = (prop::bool::weighted(0.1), any::<bool>());
    prop::collection::vec(
        prop_oneof![
            20 => key.clone().prop_map(|(v, s, p)| Op::Lookup(v >> s.shift(), s, p)),
            4 => key.clone().prop_map(|(v, s, p)| Op::Probe(v >> s.shift(), s, p)),
            20 => (key, flags, size).prop_map(|((va, size, pcid), (global, wide), origin)| {
                Op::Insert { va, size, pcid, global, origin: origin.max(size), wide }
            }),
            2 => (va, 0..3_u16).prop_map(|(v, p)| Op::Page(v, p)),
            1 => (0..3_u16).prop_map(Op::Pcid),
            1 => any::<bool>().prop_map(Op::All),
        ],
        1..400,
    )
}

fn geometries() -> impl Strategy<Value = TlbSpec> {
    let policy = prop_oneof![
        Just(Replacement::Lru),
        Just(Replacement::Plru),
        Just(Replacement::Mru3Plru4),
        Just(Replacement::Random),
        Just(Replacement::Fifo)
    ];
    let index = prop_oneof![Just(SetIndex::Linear), Just(SetIndex::Xor), Just(SetIndex::Skewed)];
    let ways = prop::sample::select(vec![1, 2, 3, 4, 6, 8, 12, 16, 17, 24, 64]);
    (policy, index, ways, 0..4_u32, 0..12_u32, 0..12_u32, 0..4_u32).prop_map(
        |(replacement, index, ways, sets, small, large, coalesce)| {
            let ways = match replacement {
                Replacement::Mru3Plru4 => 12,
                Replacement::Plru => 1 << (ways % 7),
                _ => ways,
            };
            let tree = matches!(replacement, Replacement::Mru3Plru4 | Replacement::Plru);
            let some = |n: u32| if tree || n.is_multiple_of(2) || n > ways { 0 } else { n };
            TlbSpec {
                replacement,
                index: if tree && index == SetIndex::Skewed { SetIndex::Xor } else { index },
                ways_4k: some(small),
                ways_2m: some(large),
                coalesce: 1 << coalesce,
                ..TlbSpec::new(ways << sets, ways, &PageSize::ALL)
            }
        },
    )
}

fn agree(spec: TlbSpec, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut a = TlbArray::seeded(&spec, SEED);
    let mut m = Model::new(spec.clone());
    let mut stats = TlbStats::default();
    for (i, op) in ops.into_iter().enumerate() {
        match op.clone() {
            Op::Lookup(page, size, pcid) => {
                let at = m.find(page, size, pcid);
                stats.lookups += 1;
                *if at.is_some() { &mut stats.hits } else { &mut stats.misses } += 1;
                if let Some(slot) = at {
                    m.used(slot, false);
                }
                prop_assert_eq!(a.lookup(page, size, pcid), at.map(|slot| m.slots[&slot]), "{:?}", op);
            }
            Op::Probe(page, size, pcid) => {
                let at = m.find(page, size, pcid);
                prop_assert_eq!(a.probe(page, size, pcid).copied(), at.map(|slot| m.slots[&slot]));
            }
            Op::Insert { va, size, pcid, global, origin, wide } => {
                let span = if wide && origin == Size4K { spec.coalesce.trailing_zeros() as u8 } else { 0 };
                let page = va >> size.shift() >> span << span;
                let (pfn, yes) = (Pfn(i as u64), i % 2 == 0);
                let e = TlbEntry {
                    page,
                    size,
                    span,
                    origin,
                    pcid,
                    global,
                    pfn,
                    writable: yes,
                    user: true,
                    dirty: !yes,
                    nx: yes,
                };
                let before = m.slots.len();
                let victim = m.insert(e);
                stats.fills += 1;
                stats.evictions += u64::from(victim.is_some());
                stats.replaced += u64::from(victim.is_none() && m.slots.len() == before);
                prop_assert_eq!(a.insert(e), victim, "{:?}", op);
            }
            Op::Page(va, pcid) => {
                let want = m.drop_if(|e| has(e, va) && (e.global || e.pcid == pcid));
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_page(VirtAddr(va), pcid), want, "{:?}", op);
            }
            Op::Pcid(pcid) => {
                let want = m.drop_if(|e| !e.global && e.pcid == pcid);
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_pcid(pcid), want);
            }
            Op::All(include_global) => {
                let want = m.drop_if(|e| include_global || !e.global);
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_all(include_global), want);
            }
        }
        prop_assert_eq!(a.len(), m.slots.len());
    }
    prop_assert_eq!(a.stats(), stats);
    prop_assert!(stats.balances(a.len()));
    prop_assert_eq!(a.iter().count(), a.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_of_any_array_is_that_of_the_model(spec in geometries(), ops in ops()) {
        agree(spec, ops)?;
    }
}
