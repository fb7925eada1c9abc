//! Configurations that a run would have been the same of.
//!
//! A simulation may carry *followers*: other machines and kernels. A follower stays *alike* as long as whatever the run asks of its
//! configuration has the answer that the run's own gives. Since a run is a function of these answers and of nothing else of the
//! configuration, what it found is what a run of the follower finds, to the last bit.
//!
//! - Of the kernel nothing is read but by `Asked::ask`: the type has no other way. The question is put to the followers, too.
//! - Of the machine, second-level TLB, paging-structure caches and number of walkers may differ. Each follower has its own of them
//!   beside those of the run, fed with the same, whose answers are compared (`mmu::tlbs::twins`, `mmu::psc`,
//!   `engine::window::walkers`). Their counts replace the run's own in what the follower has found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::{Inclusion, MachineSpec, PscSpec, TlbSpec};
use daxsim_types::PageSize;

use crate::machine::Machine;
use crate::mmu::tlb::TlbStats;
use crate::simulation::translation;

/// One of the followers of a run, and whether it is alike as yet.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    at: usize,
    all: Arc<[AtomicBool]>,
}

impl Follower {
    /// So many, all alike.
    pub fn several(count: usize) -> Vec<Self> {
        let all: Arc<[AtomicBool]> = (0..count).map(|_| AtomicBool::new(true)).collect();
        (0..count).map(|at| Self { at, all: Arc::clone(&all) }).collect()
    }

    /// Which it is.
    pub const fn number(&self) -> usize {
        self.at
    }

    /// Whether every answer was the run's own so far.
    pub fn is_alike(&self) -> bool {
        self.all[self.at].load(Ordering::Relaxed)
    }

    /// Says that an answer was another one.
    pub fn differs(&self) {
        self.all[self.at].store(false, Ordering::Relaxed);
    }

    /// Says whether an answer was the same.
    pub fn answers(&self, same: bool) {
        if !same {
            self.differs();
        }
    }

    /// What it has found, if it is alike.
    pub fn found(&self, machine: &Machine) -> Option<Found> {
        let number = self.number();
        let of_its_own = machine.followed.iter().find(|f| f.follower.number() == number)?;
        self.is_alike().then(|| Found {
            translation: translation(machine, |cpu| (cpu.tlbs.stats_of(number), cpu.psc.stats_of(number))),
            by_walker: match of_its_own.walkers == machine.spec.mmu.walkers {
                true => machine.measure.walk_queue.by_walker.clone(),
                false => of_its_own.by_walker.clone(),
            },
        })
    }
}

/// What a machine knows of a follower beside its structures.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    /// Which.
    pub follower: Follower,
    /// Its walkers.
    pub walkers: u32,
    /// What each of them has done.
    pub by_walker: Vec<u64>,
}

/// What a follower's own run finds that is not what the run found.
#[derive(Clone, Debug)]
pub struct Found {
    /// In place of `Results::translation`.
    pub translation: Vec<(&'static str, TlbStats)>,
    /// In place of `WalkQueue::by_walker`.
    pub by_walker: Vec<u64>,
}

/// A configuration that is looked at by questions alone.
#[derive(Clone, Debug)]
pub(crate) struct Asked<T> {
    own: T,
    followers: Vec<(Follower, T)>,
}

impl<T> Asked<T> {
    /// One that nobody follows.
    pub const fn new(own: T) -> Self {
        Self { own, followers: Vec::new() }
    }

    /// Puts every question to another one, too.
    pub fn follow(&mut self, follower: Follower, other: T) {
        self.followers.push((follower, other));
    }

    /// The answer to a question, which must depend on nothing that it changes.
    #[inline]
    pub fn ask<'a, R: PartialEq>(&'a self, question: impl Fn(&'a T) -> R) -> R {
        let answer = question(&self.own);
        if !self.followers.is_empty() {
            for (follower, other) in self.followers.iter().filter(|(follower, _)| follower.is_alike()) {
                follower.answers(question(other) == answer);
            }
        }
        answer
    }
}

/// A configuration that may follow another.
#[derive(Clone, Debug)]
pub struct Other {
    /// The machine.
    pub machine: MachineSpec,
    /// The kernel.
    pub kernel: KernelSpec,
}

/// Whether a machine may follow another: it differs in the second-level TLB, in paging-structure caches and in the number of walkers
/// at most, and in these in nothing but size, ways and who makes room.
#[must_use]
pub fn may_follow(own: &MachineSpec, other: &MachineSpec) -> bool {
    let mut same = other.clone();
    same.name.clone_from(&own.name);
    same.description.clone_from(&own.description);
    same.mmu.walkers = own.mmu.walkers;
    if own.tlb.stlb != other.tlb.stlb {
        // Where other levels hang on what the second one evicts, or on which part of it has room, its answers are not all.
        let beside = own.tlb.stlb_1g.as_ref();
        let shared = beside.is_some_and(|part| part.holds(PageSize::Size4K));
        let plain = own.tlb.inclusion == Inclusion::None && !(shared && own.tlb.stlb.holds(PageSize::Size4K));
        if !plain || own.tlb.next_page_prefetch {
            return false;
        }
        let stlb = &own.tlb.stlb;
        same.tlb.stlb = TlbSpec {
            entries: stlb.entries,
            ways: stlb.ways,
            ways_4k: stlb.ways_4k,
            ways_2m: stlb.ways_2m,
            ways_1g: stlb.ways_1g,
            replacement: stlb.replacement,
            index: stlb.index,
            page_sizes: other.tlb.stlb.page_sizes.clone(),
            ..other.tlb.stlb
        };
    }
    let psc = &own.psc;
    same.psc = PscSpec { latency: other.psc.latency, resume: other.psc.resume, ..psc.clone() };
    same == *own
}
