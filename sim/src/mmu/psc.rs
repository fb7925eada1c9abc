//! Paging-structure caches: what lets a walk start below the PML4.
//!
//! Three fully associative LRU caches (Intel SDM vol. 3, 4.10.3) hold upper entries that walks
//! read, tagged with the address bits that select the entry and the PCID. The PDE cache answers
//! with the page table, the PDPTE cache with the page directory, the PML4E cache with the PDPT.
//! Only entries that point to a table are cached: a leaf goes to the TLB.

use daxsim_configs::machine::PscSpec;
use daxsim_types::{Pfn, VirtAddr};

use super::tlb::TlbStats;

/// Names of the caches, by level of the entries they hold less one.
const NAMES: [&str; 3] = ["psc_pde", "psc_pdpte", "psc_pml4e"];

/// One cache. Slots are in order of use, the last used first.
#[derive(Clone, Debug)]
struct Cache {
    slots: Vec<(u64, Pfn)>,
    capacity: usize,
    stats: TlbStats,
}

impl Cache {
    fn new(entries: u32) -> Self {
        let capacity = entries as usize;
        Self { slots: Vec::with_capacity(capacity), capacity, stats: TlbStats::default() }
    }

    fn lookup(&mut self, tag: u64) -> Option<Pfn> {
        if self.capacity == 0 {
            return None;
        }
        self.stats.lookups += 1;
        let Some(at) = self.slots.iter().position(|s| s.0 == tag) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        self.slots[..=at].rotate_right(1);
        Some(self.slots[0].1)
    }

    fn fill(&mut self, tag: u64, pfn: Pfn) {
        if self.capacity == 0 {
            return;
        }
        self.stats.fills += 1;
        let at = match self.slots.iter().position(|s| s.0 == tag) {
            Some(at) => at,
            None => {
                if self.slots.len() == self.capacity {
                    self.slots.pop();
                    self.stats.evictions += 1;
                }
                self.slots.push((tag, pfn));
                self.slots.len() - 1
            }
        };
        self.slots[..=at].rotate_right(1);
        self.slots[0] = (tag, pfn);
    }

    fn retain(&mut self, keep: impl Fn(u64) -> bool) -> u32 {
        let before = self.slots.len();
        self.slots.retain(|s| keep(s.0));
        let dropped = before - self.slots.len();
        self.stats.invalidations += dropped as u64;
        dropped as u32
    }
}

/// The paging-structure caches of one logical CPU.
#[derive(Clone, Debug)]
pub struct Psc {
    /// By level of the entries held less one: PDE, PDPTE, PML4E.
    caches: [Cache; 3],
}

/// What an entry of `level` is found by: the address bits above what it covers, and the PCID.
const fn tag(level: u32, va: VirtAddr, pcid: u16) -> u64 {
    ((va.0 >> (12 + 9 * level)) << 16) | pcid as u64
}

impl Psc {
    /// Empty caches of the sizes in `spec`; a size of zero is no cache.
    #[must_use]
    pub fn new(spec: &PscSpec) -> Self {
        Self { caches: [spec.pde, spec.pdpte, spec.pml4e].map(Cache::new) }
    }

    /// Where the walk for `va` may start: the level of the table to read next (0 = page table,
    /// 1 = page directory, 2 = PDPT) and its frame. `None`: at the PML4.
    ///
    /// The caches are asked from the PDE cache upwards until one hits; only those asked count a
    /// lookup, and only the one that hits is touched.
    pub fn deepest(&mut self, va: VirtAddr, pcid: u16) -> Option<(u32, Pfn)> {
        (0_u32..)
            .zip(&mut self.caches)
            .find_map(|(next, cache)| Some((next, cache.lookup(tag(next + 1, va, pcid))?)))
    }

    /// Caches an entry that a walk read: of `level` (3 = PML4E, 2 = PDPTE, 1 = PDE), on the way to
    /// `va`, pointing to the table in `pfn`. Other levels are not cached.
    pub fn fill(&mut self, level: u32, va: VirtAddr, pcid: u16, pfn: Pfn) {
        if let Some(cache) = (level as usize).checked_sub(1).and_then(|i| self.caches.get_mut(i)) {
            cache.fill(tag(level, va, pcid), pfn);
        }
    }

    /// INVLPG: every entry of the PCID goes, whatever its address (Intel SDM vol. 3, 4.10.4.1).
    /// Returns how many went.
    pub fn invlpg(&mut self, pcid: u16) -> u32 {
        self.flush_pcid(pcid)
    }

    /// A #PF at `va`: the entries that would be used for it go (Intel SDM vol. 3, 4.10.4.1).
    /// Returns how many went.
    pub fn drop_page(&mut self, va: VirtAddr, pcid: u16) -> u32 {
        (1..).zip(&mut self.caches).map(|(level, c)| c.retain(|t| t != tag(level, va, pcid))).sum()
    }

    /// A CR3 write without NOFLUSH: every entry of the PCID goes. Returns how many went.
    pub fn flush_pcid(&mut self, pcid: u16) -> u32 {
        self.caches.iter_mut().map(|c| c.retain(|t| t as u16 != pcid)).sum()
    }

    /// INVPCID of all contexts, a change of CR4.PGE: every entry goes. Returns how many went.
    pub fn flush_all(&mut self) -> u32 {
        self.caches.iter_mut().map(|c| c.retain(|_| false)).sum()
    }

    /// Counts by cache, from the PML4E cache down.
    #[must_use]
    pub fn stats(&self) -> Vec<(&'static str, TlbStats)> {
        NAMES.into_iter().zip(&self.caches).rev().map(|(name, c)| (name, c.stats)).collect()
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::Time;

    use super::*;

    fn psc(pml4e: u32, pdpte: u32, pde: u32) -> Psc {
        Psc::new(&PscSpec { pml4e, pdpte, pde, latency: Time::ZERO })
    }

    /// An address by its indices into PML4, PDPT and PD.
    fn at(pml4: u64, pdpt: u64, pd: u64) -> VirtAddr {
        VirtAddr(pml4 << 39 | pdpt << 30 | pd << 21)
    }

    fn full(p: &mut Psc, va: VirtAddr, pcid: u16) {
        for level in [3, 2, 1] {
            p.fill(level, va, pcid, Pfn(u64::from(level) << 32 | va.0 >> 21));
        }
    }

    #[test]
    fn the_deepest_hit_wins_and_answers_with_the_next_table() {
        let mut p = psc(2, 2, 2);
        assert_eq!(p.deepest(at(1, 2, 3), 5), None);
        p.fill(3, at(1, 2, 3), 5, Pfn(30));
        p.fill(2, at(1, 2, 3), 5, Pfn(20));
        p.fill(1, at(1, 2, 3), 5, Pfn(10));
        p.fill(0, at(1, 2, 3), 5, Pfn(99));
        assert_eq!(p.deepest(VirtAddr(at(1, 2, 3).0 | 0x1f_ffff), 5), Some((0, Pfn(10))));
        assert_eq!(p.deepest(at(1, 2, 4), 5), Some((1, Pfn(20))));
        assert_eq!(p.deepest(at(1, 3, 3), 5), Some((2, Pfn(30))));
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
    fn the_least_recently_used_entry_makes_room() {
        let mut p = psc(0, 0, 2);
        for pd in [1, 2] {
            p.fill(1, at(0, 0, pd), 0, Pfn(pd));
        }
        assert!(p.deepest(at(0, 0, 1), 0).is_some());
        p.fill(1, at(0, 0, 3), 0, Pfn(3));
        assert_eq!(p.deepest(at(0, 0, 2), 0), None);
        p.fill(1, at(0, 0, 1), 0, Pfn(11)); // again: replaced and touched, not doubled
        p.fill(1, at(0, 0, 4), 0, Pfn(4));
        assert_eq!(p.deepest(at(0, 0, 1), 0), Some((0, Pfn(11))));
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
}
