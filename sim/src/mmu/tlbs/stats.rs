//! What the TLBs of a CPU counted, and that it adds up.

use super::Tlbs;
use super::build::Group;
use crate::mmu::tlb::TlbStats;

/// A structure whose counts do not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name}: {found:?} with {live} live entries: expected lookups = hits + misses and fills = live + evictions + invalidations \
     + replaced + displaced"
)]
pub struct Unbalanced {
    /// The structure.
    pub name: &'static str,
    /// Its counts.
    pub found: TlbStats,
    /// Its live entries.
    pub live: usize,
}

fn group_stats(group: &Group, hits: u64, counts: &impl Fn(usize) -> TlbStats) -> TlbStats {
    let misses = group.misses;
    let mut sum = TlbStats { lookups: hits + misses, hits, misses, ..TlbStats::default() };
    group.units.clone().for_each(|at| sum.add(&counts(at)));
    sum
}

impl Tlbs {
    /// Counts by structure.
    ///
    /// Arrays that are asked at once are one structure, with a lookup for each access that gets there: `dtlb`, `dtlb_store` and
    /// `itlb` for every access of theirs, `stlb` and `itlb2` for every miss of those. Its fills and what left it are those of
    /// its arrays together. Where there are several, or the structure is a first level, each array follows under its own name,
    /// without lookups: `dtlb_4k` and its like.
    #[must_use]
    pub fn stats(&self) -> Vec<(&'static str, TlbStats)> {
        self.stats_by(|at| self.units[at].array.stats())
    }

    /// The same with counts of arrays by their places.
    pub(super) fn stats_by(&self, counts: impl Fn(usize) -> TlbStats) -> Vec<(&'static str, TlbStats)> {
        let mut all = Vec::new();
        let first = self.first.iter().zip(self.hits);
        for (group, hits) in first.chain(self.second.iter().map(|group| (group, group.hits))) {
            all.push((group.name, group_stats(group, hits, &counts)));
            let named = group.units.clone().filter(|&at| self.units[at].name != group.name);
            all.extend(named.map(|at| (self.units[at].name, counts(at))));
        }
        all
    }

    /// Whether every count of every structure adds up, and each second level was asked exactly for the misses of the first
    /// levels before it.
    ///
    /// # Errors
    ///
    /// The first structure where it does not.
    pub fn check_balance(&self) -> Result<(), Unbalanced> {
        for unit in &self.units {
            let (found, live) = (unit.array.stats(), unit.array.len());
            if live != unit.array.iter().count() || !found.balances(live) {
                return Err(Unbalanced { name: unit.name, found, live });
            }
        }
        for (i, group) in self.second.iter().enumerate() {
            let before = self.first.iter().zip(&self.behind).filter(|(_, behind)| **behind == i);
            let asked: u64 = before.map(|(first, _)| first.misses).sum();
            let found = group_stats(group, group.hits, &|at| self.units[at].array.stats());
            if found.lookups != asked {
                return Err(Unbalanced { name: group.name, found, live: 0 });
            }
        }
        Ok(())
    }
}
