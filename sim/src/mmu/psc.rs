//! Paging-structure caches: what lets a walk start below the root.
//!
//! One LRU cache for each level above the page tables (Intel SDM vol. 3, 4.10.3) holds upper entries that walks read, tagged with
//! the address bits that select the entry and the PCID. The PDE cache answers with the page table, the PDPTE cache with the
//! page directory, the PML4E cache with the PDPT, the PML5E cache with the PML4. With the table an entry has the rights that it
//! and the entries above it grant together. Only entries that point to a table are cached: a leaf goes to the TLB.
//!
//! The cached entries of a hypervisor's tables are of the same kind, found by guest-physical address.

use daxsim_configs::machine::{NestedSpec, PscResume, PscSpec};
use daxsim_types::{Pfn, VirtAddr};

use super::lru::Lru;
use super::rights::Rights;
use super::tlb::TlbStats;
use super::tlbs::Unbalanced;
use crate::alike::Follower;

/// Names of the caches, by level of the entries they hold less one.
const NAMES: [&str; 4] = ["psc_pde", "psc_pdpte", "psc_pml4e", "psc_pml5e"];
/// The same of the second stage.
const NESTED_NAMES: [&str; 4] = ["nested_pde", "nested_pdpte", "nested_pml4e", "nested_pml5e"];

/// A table, and what the entries down to it allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Frame of the table.
    pub table: Pfn,
    /// Rights from the root to here.
    pub rights: Rights,
}

impl Link {
    const fn word(self) -> u64 {
        self.table.0 << 3 | self.rights.bits()
    }

    const fn of_word(word: u64) -> Self {
        Self { table: Pfn(word >> 3), rights: Rights::from_bits(word) }
    }
}

/// The paging-structure caches of one logical CPU.
#[derive(Clone, Debug)]
pub struct Psc {
    /// By level of the entries held less one.
    caches: Vec<Lru>,
    names: &'static [&'static str; 4],
    resume: PscResume,
    /// Those of followers.
    twins: Vec<(Follower, Self)>,
}

/// The address bits above what an entry of `level` covers: at most 43, so that the PCID fits beside them.
const fn prefix(level: u32, va: VirtAddr) -> u64 {
    va.0 >> (12 + 9 * level)
}

/// What an entry of `level` is found by.
const fn tag(level: u32, va: VirtAddr, pcid: u16) -> u64 {
    (prefix(level, va) << 16) | pcid as u64
}

impl Psc {
    /// Empty caches of the sizes in `spec`, for `levels` levels of paging; a size of zero is no cache.
    #[must_use]
    pub fn new(spec: &PscSpec, levels: u32) -> Self {
        let sizes = [
            (spec.pde, spec.pde_ways),
            (spec.pdpte, spec.pdpte_ways),
            (spec.pml4e, spec.pml4e_ways),
            (spec.pml5e, spec.pml5e_ways),
        ];
        let used = sizes.into_iter().take(levels as usize - 1);
        let caches = used.map(|(entries, ways)| Lru::new(entries, ways)).collect();
        Self { caches, names: &NAMES, resume: spec.resume, twins: Vec::new() }
    }

    /// Those of the second stage. Entries that map a page are no part of them.
    #[must_use]
    pub fn nested(spec: &NestedSpec) -> Self {
        let sizes = [spec.pde, spec.pdpte, spec.pml4e, spec.pml5e].into_iter().take(spec.levels as usize - 1);
        let caches = (1..).zip(sizes).map(|(level, entries)| {
            let points_to_a_table = level > spec.page_size.level();
            Lru::new(if points_to_a_table { entries } else { 0 }, 0)
        });
        Self { caches: caches.collect(), names: &NESTED_NAMES, resume: PscResume::Below, twins: Vec::new() }
    }

    /// Keeps those of a follower beside: fed with the same, and compared whenever they are asked.
    pub(crate) fn follow(&mut self, follower: Follower, other: Self) {
        self.twins.push((follower, other));
    }

    /// Does to those of followers what was done to these.
    #[inline]
    fn each_twin<R>(&mut self, change: impl Fn(&mut Self) -> R) {
        self.twins.iter_mut().for_each(|(_, twin)| drop(change(twin)));
    }

    #[cold]
    fn compare(&mut self, va: VirtAddr, pcid: u16, found: Option<(u32, Link)>) {
        self.twins.retain_mut(|(follower, twin)| {
            if follower.is_alike() {
                follower.answers(twin.deepest(va, pcid) == found);
            }
            follower.is_alike()
        });
    }

    /// [`Self::stats`] of a follower that is alike.
    pub(crate) fn stats_of(&self, follower: usize) -> Vec<(&'static str, TlbStats)> {
        let twin = self.twins.iter().find(|(twin, _)| twin.number() == follower);
        twin.map_or_else(|| self.stats(), |(_, twin)| twin.stats())
    }

    /// Where the walk for `va` may start: the level of the table to read next (0 = page table,
    /// 1 = page directory, 2 = PDPT, 3 = PML4), the table and the rights so far. `None`: at the root.
    ///
    /// The caches are asked from the PDE cache upwards until one hits; only those asked count a
    /// lookup, and only the one that hits is touched. With [`PscResume::Entry`] all are asked, all that hit are touched, and
    /// the answer is the level of the deepest entry found with the table that holds it.
    pub fn deepest(&mut self, va: VirtAddr, pcid: u16) -> Option<(u32, Link)> {
        let found = match self.resume {
            PscResume::Below => self.deepest_below(va, pcid),
            PscResume::Entry => self.deepest_again(va, pcid),
        };
        if !self.twins.is_empty() {
            self.compare(va, pcid, found);
        }
        found
    }

    #[inline]
    fn deepest_below(&mut self, va: VirtAddr, pcid: u16) -> Option<(u32, Link)> {
        (0_u32..).zip(&mut self.caches).find_map(|(next, cache)| {
            let word = cache.lookup(prefix(next + 1, va), tag(next + 1, va, pcid))?;
            Some((next, Link::of_word(word)))
        })
    }

    #[cold]
    fn deepest_again(&mut self, va: VirtAddr, pcid: u16) -> Option<(u32, Link)> {
        let mut deepest = None;
        for (level, cache) in (1_u32..).zip(&mut self.caches) {
            let hit = cache.lookup(prefix(level, va), tag(level, va, pcid));
            deepest = deepest.or(hit.map(|word| (level, Link::of_word(word))));
        }
        deepest
    }

    /// What to [`Self::fill`] in for an entry in the table of `from` that points to that of `to`.
    #[inline]
    pub fn link(&self, from: Link, to: Link) -> Link {
        match self.resume {
            PscResume::Below => to,
            PscResume::Entry => from,
        }
    }

    /// Caches an entry that a walk read: of `level` (4 = PML5E, 3 = PML4E, 2 = PDPTE, 1 = PDE), on the way to
    /// `va`. Other levels are not cached.
    pub fn fill(&mut self, level: u32, va: VirtAddr, pcid: u16, link: Link) {
        self.each_twin(|twin| twin.fill(level, va, pcid, link));
        if let Some(cache) = (level as usize).checked_sub(1).and_then(|i| self.caches.get_mut(i)) {
            cache.fill(prefix(level, va), tag(level, va, pcid), link.word());
        }
    }

    /// INVLPG: every entry of the PCID goes, whatever its address (Intel SDM vol. 3, 4.10.4.1).
    /// Returns how many went.
    pub fn invlpg(&mut self, pcid: u16) -> u32 {
        self.flush_pcid(pcid)
    }

    /// A #PF at `va`, or INVPCID of it: the entries that would be used for it go (Intel SDM vol. 3, 4.10.4.1).
    /// Returns how many went.
    pub fn drop_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        self.each_twin(|twin| twin.drop_page(va, pcid));
        (1..).zip(&mut self.caches).map(|(level, c)| c.retain(|t| t != tag(level, va, pcid))).sum()
    }

    /// A CR3 write without NOFLUSH: every entry of the PCID goes. Returns how many went.
    pub fn flush_pcid(&mut self, pcid: u16) -> u32 {
        self.each_twin(|twin| twin.flush_pcid(pcid));
        self.caches.iter_mut().map(|c| c.retain(|t| t as u16 != pcid)).sum()
    }

    /// INVPCID of all contexts, a change of CR4.PGE: every entry goes. Returns how many went.
    pub fn flush_all(&mut self) -> u32 {
        self.each_twin(|twin| twin.flush_all());
        self.caches.iter_mut().map(|c| c.retain(|_| false)).sum()
    }

    /// Live entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.caches.iter().map(Lru::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every count of every cache adds up.
    ///
    /// # Errors
    ///
    /// The first cache where it does not.
    pub fn check_balance(&self) -> Result<(), Unbalanced> {
        let wrong = self.names.iter().zip(&self.caches).find(|(_, c)| !c.stats().balances(c.len()));
        wrong.map_or(Ok(()), |(name, c)| Err(Unbalanced { name, found: c.stats(), live: c.len() }))
    }

    /// Counts by cache, from the highest level down.
    #[must_use]
    pub fn stats(&self) -> Vec<(&'static str, TlbStats)> {
        self.names.iter().zip(&self.caches).rev().map(|(name, c)| (*name, c.stats())).collect()
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::Time;

    use super::*;

    fn spec(pml4e: u32, pdpte: u32, pde: u32) -> PscSpec {
        PscSpec {
            pml5e: 2,
            pml5e_ways: 0,
            pml4e,
            pml4e_ways: 0,
            pdpte,
            pdpte_ways: 0,
            pde,
            pde_ways: 0,
            latency: Time::ZERO,
            resume: PscResume::Below,
        }
    }

    fn psc(pml4e: u32, pdpte: u32, pde: u32) -> Psc {
        Psc::new(&spec(pml4e, pdpte, pde), 4)
    }

    fn to(frame: u64) -> Link {
        Link { table: Pfn(frame), rights: Rights::ALL }
    }

    /// An address by its indices into PML4, PDPT and PD.
    fn at(pml4: u64, pdpt: u64, pd: u64) -> VirtAddr {
        VirtAddr(pml4 << 39 | pdpt << 30 | pd << 21)
    }

    fn full(p: &mut Psc, va: VirtAddr, pcid: u16) {
        for level in [3, 2, 1] {
            p.fill(level, va, pcid, to(u64::from(level) << 32 | va.0 >> 21));
        }
    }

    #[test]
    fn the_deepest_hit_wins_and_answers_with_the_next_table() {
        let mut p = psc(2, 2, 2);
        assert_eq!(p.deepest(at(1, 2, 3), 5), None);
        p.fill(3, at(1, 2, 3), 5, to(30));
        p.fill(2, at(1, 2, 3), 5, to(20));
        p.fill(1, at(1, 2, 3), 5, to(10));
        p.fill(0, at(1, 2, 3), 5, to(99));
        assert_eq!(p.deepest(VirtAddr(at(1, 2, 3).0 | 0x1f_ffff), 5), Some((0, to(10))));
        assert_eq!(p.deepest(at(1, 2, 4), 5), Some((1, to(20))));
        assert_eq!(p.deepest(at(1, 3, 3), 5), Some((2, to(30))));
        assert_eq!(p.deepest(at(2, 2, 3), 5), None);
        assert_eq!(p.deepest(at(1, 2, 3), 6), None, "another PCID");
        let s = p.stats();
        assert_eq!(s.iter().map(|s| s.0).collect::<Vec<_>>(), ["psc_pml4e", "psc_pdpte", "psc_pde"]);
        assert_eq!(
            [s[0].1, s[1].1, s[2].1].map(|s| (s.lookups, s.hits, s.fills)),
            [(4, 1, 1), (5, 1, 1), (6, 1, 1)]
        );
    }

    #[test]
    fn a_walk_that_resumes_at_the_entry_reads_it_again_and_uses_every_cache() {
        let mut p = Psc::new(&PscSpec { resume: PscResume::Entry, ..spec(1, 2, 2) }, 4);
        let [table, below] = [to(3), to(2)];
        assert_eq!(p.link(table, below), table);
        p.fill(2, at(1, 1, 1), 0, table);
        p.fill(1, at(1, 1, 1), 0, below);
        assert_eq!(p.deepest(at(1, 1, 1), 0), Some((1, below)), "the PDE is read again, from its table");
        assert_eq!(p.deepest(at(1, 1, 2), 0), Some((2, table)));
        // That the PDE hit used the PDPTE as well: another one makes room.
        p.fill(2, at(1, 2, 1), 0, table);
        assert_eq!(p.deepest(at(1, 1, 1), 0), Some((1, below)));
        p.fill(2, at(1, 3, 1), 0, table);
        assert_eq!(p.deepest(at(1, 1, 2), 0), Some((2, table)));
        assert_eq!(p.deepest(at(1, 2, 1), 0), None);
        assert_eq!(psc(1, 1, 1).link(table, below), below);
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let mut p = psc(0, 0, 2);
        for pd in [1, 2] {
            p.fill(1, at(0, 0, pd), 0, to(pd));
        }
        assert!(p.deepest(at(0, 0, 1), 0).is_some());
        p.fill(1, at(0, 0, 3), 0, to(3));
        assert_eq!(p.deepest(at(0, 0, 2), 0), None);
        p.fill(1, at(0, 0, 1), 0, to(11)); // again: replaced and touched, not doubled
        p.fill(1, at(0, 0, 4), 0, to(4));
        assert_eq!(p.deepest(at(0, 0, 1), 0), Some((0, to(11))));
        assert_eq!(p.deepest(at(0, 0, 3), 0), None);
    }

    #[test]
    fn each_invalidation_drops_its_own_and_keeps_the_rest() {
        let fresh = || {
            let mut p = psc(4, 4, 8);
            for (va, pcid) in [(at(1, 1, 1), 1), (at(1, 1, 2), 1), (at(2, 1, 1), 1), (at(1, 1, 1), 2)] {
                full(&mut p, va, pcid);
            }
            p
        };
        let levels = |p: &mut Psc| {
            [(at(1, 1, 1), 1), (at(1, 1, 2), 1), (at(2, 1, 1), 1), (at(1, 1, 1), 2)]
                .map(|(va, pcid)| p.deepest(va, pcid).map(|d| d.0))
        };
        assert_eq!(levels(&mut fresh()), [Some(0); 4]);

        let mut p = fresh();
        assert_eq!(p.drop_page(at(1, 1, 1), 1), 3);
        // The neighbour below the same page directory keeps its own PDE, and only that.
        assert_eq!(levels(&mut p), [None, Some(0), Some(0), Some(0)]);
        assert_eq!(p.deepest(at(1, 1, 3), 1), None);

        for flush in [Psc::invlpg, Psc::flush_pcid] {
            let mut p = fresh();
            assert_eq!(flush(&mut p, 1), 7);
            assert_eq!(levels(&mut p), [None, None, None, Some(0)]);
        }

        let mut p = fresh();
        assert_eq!(p.flush_all(), 10);
        assert_eq!(levels(&mut p), [None; 4]);
        assert_eq!(p.stats().iter().map(|s| s.1.invalidations).sum::<u64>(), 10);
    }

    #[test]
    fn a_cache_of_no_entries_is_absent() {
        let mut p = psc(0, 0, 0);
        full(&mut p, at(1, 1, 1), 0);
        assert_eq!((p.deepest(at(1, 1, 1), 0), p.flush_all()), (None, 0));
        assert!(p.stats().iter().all(|s| s.1 == TlbStats::default()));
    }

    #[test]
    fn kernel_addresses_do_not_alias_user_addresses() {
        let mut p = psc(1, 1, 1);
        full(&mut p, VirtAddr(0xffff_8880_0000_0000), 0);
        assert_eq!(p.deepest(VirtAddr(0x0000_0880_0000_0000), 0), None);
        assert!(p.deepest(VirtAddr(0xffff_8880_0000_0000), 0).is_some());
    }

    #[test]
    fn an_entry_brings_the_rights_of_the_levels_above() {
        let mut p = psc(2, 2, 2);
        for bits in 0..8 {
            let link = Link { table: Pfn((1 << 40) - 1), rights: Rights::from_bits(bits) };
            p.fill(1, at(0, 0, 1), 3, link);
            assert_eq!(p.deepest(at(0, 0, 1), 3), Some((0, link)));
        }
    }

    #[test]
    fn five_levels_have_a_cache_more() {
        let mut p = Psc::new(&spec(2, 2, 2), 5);
        let (low, high) = (VirtAddr(0), VirtAddr(1 << 48));
        p.fill(4, high, 1, to(40));
        p.fill(3, low, 1, to(30));
        assert_eq!((p.deepest(high, 1), p.deepest(low, 1)), (Some((3, to(40))), Some((2, to(30)))));
        assert_eq!(p.stats()[0].0, "psc_pml5e");
        assert_eq!((p.stats().len(), psc(2, 2, 2).stats().len(), p.len()), (4, 3, 2));
    }

    #[test]
    fn ways_bind_an_entry_to_its_set() {
        // Two sets of two.
        let mut p = Psc::new(&PscSpec { pde_ways: 2, ..spec(0, 0, 4) }, 4);
        for pd in [0, 2, 4, 1] {
            p.fill(1, at(0, 0, pd), 0, to(pd));
        }
        let held = [0, 1, 2, 4].map(|pd| p.deepest(at(0, 0, pd), 0).is_some());
        assert_eq!(held, [false, true, true, true]);
    }
}
