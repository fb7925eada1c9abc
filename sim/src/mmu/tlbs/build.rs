//! The arrays of a hierarchy, and which of them an access asks.

use std::ops::Range;

use daxsim_configs::machine::{TlbSpec, TlbsSpec};
use daxsim_types::{PageSize, Time};

use crate::mmu::tlb::TlbArray;

/// An array and what its configuration says of it.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub name: &'static str,
    pub array: TlbArray,
    holds: [bool; 3],
    pub penalty: Time,
}

impl Unit {
    fn new(name: &'static str, spec: &TlbSpec, seed: u64) -> Self {
        let holds = PageSize::ALL.map(|s| spec.holds(s));
        Self { name, array: TlbArray::seeded(spec, seed), holds, penalty: spec.hit_penalty }
    }

    pub const fn holds(&self, size: PageSize) -> bool {
        self.holds[size as usize]
    }
}

/// Arrays that are asked at once: one lookup, however many they are.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub name: &'static str,
    pub units: Range<usize>,
    /// For each page size: the array with the largest size up to it, and that size.
    pub fits: [Option<(usize, PageSize)>; 3],
    /// The two arrays that both hold 4 KiB pages.
    pub shared: Option<[usize; 2]>,
    /// Of a second level; those of the first levels are counted apart.
    pub hits: u64,
    pub misses: u64,
}

/// All arrays, by group: first levels, then second levels.
pub(super) struct Built {
    pub units: Vec<Unit>,
    pub first: Vec<Group>,
    pub second: Vec<Group>,
    /// The first-level group that each kind of access asks, in the order of `AccessKind`.
    pub asks: [usize; 3],
    /// The second-level group behind each first-level one.
    pub behind: Vec<usize>,
}

impl Built {
    fn group(
        &mut self,
        name: &'static str,
        arrays: &[(&'static str, &Option<&TlbSpec>)],
        seed: u32,
    ) -> Group {
        let start = self.units.len();
        for (name, spec) in arrays {
            // Each array draws from a sequence of its own.
            let seed = (u64::from(seed) << 8) + self.units.len() as u64;
            self.units.extend(spec.map(|spec| Unit::new(name, spec, seed)));
        }
        let units = start..self.units.len();
        let fits = PageSize::ALL.map(|size| self.fit(units.clone(), size));
        let mut small = units.clone().filter(|&at| self.units[at].holds(PageSize::Size4K));
        let shared = small.next().zip(small.next()).map(|(one, other)| [one, other]);
        Group { name, units, fits, shared, hits: 0, misses: 0 }
    }

    /// The array among `units` with the largest page size up to `size`, and that size.
    fn fit(&self, units: Range<usize>, size: PageSize) -> Option<(usize, PageSize)> {
        let sizes = PageSize::ALL.into_iter().rev().filter(|&s| s <= size);
        let holder = |s| units.clone().find(|&at| self.units[at].holds(s)).map(|at| (at, s));
        sizes.into_iter().find_map(holder)
    }

    pub fn new(spec: &TlbsSpec) -> Self {
        let mut b = Self {
            units: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
            asks: [0; 3],
            behind: Vec::new(),
        };
        let loads = [
            ("dtlb_4k", &Some(&spec.dtlb_4k)),
            ("dtlb_2m", &spec.dtlb_2m.as_ref()),
            ("dtlb_1g", &spec.dtlb_1g.as_ref()),
        ];
        let group = b.group("dtlb", &loads, spec.seed);
        b.first.push(group);
        if spec.dtlb_store.is_some() {
            b.asks[1] = b.first.len();
            let group = b.group("dtlb_store", &[("dtlb_store", &spec.dtlb_store.as_ref())], spec.seed);
            b.first.push(group);
        }
        if spec.itlb_4k.is_some() {
            b.asks[2] = b.first.len();
            let fetches = [("itlb_4k", &spec.itlb_4k.as_ref()), ("itlb_2m", &spec.itlb_2m.as_ref())];
            let group = b.group("itlb", &fetches, spec.seed);
            b.first.push(group);
        }
        b.behind = vec![0; b.first.len()];
        let parts = match &spec.stlb_1g {
            None => vec![("stlb", Some(&spec.stlb))],
            Some(other) => vec![("stlb_main", Some(&spec.stlb)), ("stlb_1g", Some(other))],
        };
        let parts: Vec<_> = parts.iter().map(|(name, part)| (*name, part)).collect();
        let group = b.group("stlb", &parts, spec.seed);
        b.second.push(group);
        if let Some(itlb2) = &spec.itlb2 {
            b.behind[b.asks[2]] = 1;
            let group = b.group("itlb2", &[("itlb2", &Some(itlb2))], spec.seed);
            b.second.push(group);
        }
        b
    }
}
