//! What CPUs keep of the memory management's shared lists: the batches of `mm/swap.c` in front of the LRU lists, the per-CPU lists of
//! `mm/page_alloc.c` in front of the zone, the stock of `mm/memcontrol.c` in front of the memory cgroup's counter.
//!
//! All CPUs share one node, one zone and one cgroup. As long as a CPU gets by with what it keeps, it asks nobody; when a batch is
//! full, a list empty or too long, or a stock used up, it takes a lock, or adds to a counter, that all others use, too. The
//! instructions for that are part of the path lengths, which are means over many pages; only the accesses come when they come.

use std::collections::BTreeMap;

use daxsim_types::{CacheLine, Pfn};

use super::lines::{KernelLines, LineName};
use crate::engine::{Cx, LockClass, LockId, LockMode, Locks};
use crate::machine::Machine;

/// What one CPU keeps.
#[derive(Clone, Debug, Default)]
struct OnCpu {
    /// Pages that `folio_add_lru` has put aside.
    batch: Vec<Pfn>,
    /// Of these, those that were unmapped since: only the batch refers to them, and frees them.
    unmapped: u32,
    /// Free pages of the `per_cpu_pages`.
    free: u32,
    /// Pages charged ahead (`memcg_stock_pcp`).
    stock: u32,
}

/// The lists of all CPUs, and what is behind them.
#[derive(Debug)]
pub struct PageLists {
    cpus: Vec<OnCpu>,
    /// Pages that are in a batch, by frame: whose.
    in_batch: BTreeMap<Pfn, usize>,
    lru_lock: LockId,
    /// The head of the list of inactive anonymous pages.
    list: CacheLine,
    zone_lock: LockId,
    /// `memory.usage` of the cgroup.
    usage: CacheLine,
}

impl PageLists {
    /// Empty lists.
    pub fn new(cpus: u16, locks: &mut Locks, lines: &mut KernelLines) -> Self {
        let mut lock = |class| locks.create(class, lines.fresh(LineName::Lock(class)));
        let (lru_lock, zone_lock) = (lock(LockClass::Lru), lock(LockClass::Zone));
        Self {
            cpus: vec![OnCpu::default(); usize::from(cpus)],
            in_batch: BTreeMap::new(),
            lru_lock,
            list: lines.fresh(LineName::LruList),
            zone_lock,
            usage: lines.fresh(LineName::MemcgUsage),
        }
    }

    /// A page is unmapped: whether it is on the LRU list. One in a batch stays there until that is drained.
    fn unmap(&mut self, pfn: Pfn) -> bool {
        let Some(cpu) = self.in_batch.remove(&pfn) else { return true };
        self.cpus[cpu].unmapped += 1;
        false
    }

    /// Puts a page into the batch of a CPU; whether that is full.
    fn batch(&mut self, cpu: usize, pfn: Pfn, size: u32) -> bool {
        self.in_batch.insert(pfn, cpu);
        let batch = &mut self.cpus[cpu].batch;
        batch.push(pfn);
        batch.len() >= size as usize
    }

    /// Empties the batch of a CPU; how many of its pages were unmapped.
    fn drain(&mut self, cpu: usize) -> u32 {
        for pfn in std::mem::take(&mut self.cpus[cpu].batch) {
            if self.in_batch.get(&pfn) == Some(&cpu) {
                self.in_batch.remove(&pfn);
            }
        }
        std::mem::take(&mut self.cpus[cpu].unmapped)
    }
}

/// `alloc_anon_folio`, but for the page itself: one from the CPU's list (`rmqueue_pcplist`), charged to the cgroup (`try_charge_memcg`).
pub(super) async fn allocate_and_charge(cx: &Cx<'_>) {
    let index = cx.cpu().index();
    let (zone_lock, usage, refill, charge) = cx.with(|m| {
        let own = &m.page_lists.cpus[index];
        let (refill, charge) = (own.free == 0, own.stock == 0);
        let free = if refill { m.kernel.ask(|k| k.tree.pcp_batch) } else { own.free } - 1;
        let stock = if charge { m.kernel.ask(|k| k.tree.memcg_batch) } else { own.stock } - 1;
        let own = &mut m.page_lists.cpus[index];
        (own.free, own.stock) = (free, stock);
        (m.page_lists.zone_lock, m.page_lists.usage, refill, charge)
    });
    if refill {
        // rmqueue_bulk
        cx.lock(zone_lock, LockMode::Exclusive).await;
        cx.unlock(zone_lock, LockMode::Exclusive).await;
    }
    if charge {
        cx.rmw(usage).await;
    }
}

/// `folio_add_lru`.
pub(super) async fn add_to_lru(cx: &Cx<'_>, pfn: Pfn) {
    let index = cx.cpu().index();
    let full = cx.with(|m| {
        let size = m.kernel.ask(|k| k.tree.lru_batch);
        m.page_lists.batch(index, pfn, size)
    });
    if !full {
        return;
    }
    // folio_batch_move_lru
    let (lock, list, unmapped) =
        cx.with(|m| (m.page_lists.lru_lock, m.page_lists.list, m.page_lists.drain(index)));
    cx.lock(lock, LockMode::Exclusive).await;
    cx.store(list).await;
    cx.unlock(lock, LockMode::Exclusive).await;
    put_pages(cx, unmapped).await;
}

/// `free_pages_and_swap_cache` of pages of which so many are on the LRU list: batch by batch they leave it, are uncharged and go to the
/// CPU's list, from which what is too much goes to the zone.
pub(super) async fn put_pages(cx: &Cx<'_>, pages: u32) {
    if pages == 0 {
        return;
    }
    let index = cx.cpu().index();
    let (lru_lock, list, zone_lock, usage) = cx.with(|m| {
        let lists = &m.page_lists;
        (lists.lru_lock, lists.list, lists.zone_lock, lists.usage)
    });
    let mut left = pages;
    while left > 0 {
        let now = cx.with(|m| m.kernel.ask(|k| k.tree.lru_batch)).max(1).min(left);
        left -= now;
        // __page_cache_release of each, under one lock for all.
        cx.lock(lru_lock, LockMode::Exclusive).await;
        cx.store(list).await;
        cx.unlock(lru_lock, LockMode::Exclusive).await;
        // uncharge_batch
        cx.rmw(usage).await;
        let spills = cx.with(|m| {
            let (batch, high) = (m.kernel.ask(|k| k.tree.pcp_batch), m.kernel.ask(|k| k.tree.pcp_high));
            let own = &mut m.page_lists.cpus[index];
            own.free += now;
            let spills = own.free > high;
            own.free -= if spills { batch.min(own.free) } else { 0 };
            spills
        });
        if spills {
            // free_pcppages_bulk
            cx.lock(zone_lock, LockMode::Exclusive).await;
            cx.unlock(zone_lock, LockMode::Exclusive).await;
        }
    }
}

impl Machine {
    /// Whether a page that is being unmapped for good is on the LRU list, so that it has to be taken off.
    pub(super) fn leaves_lru(&mut self, pfn: Pfn) -> bool {
        !self.shared_copies.contains_key(&pfn.0) && self.page_lists.unmap(pfn)
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};
    use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

    use crate::Simulation;
    use crate::engine::LockClass;
    use crate::kernel::Advice;
    use crate::program::{Accesses, Action, Step};

    const START: u64 = 0x1000_0000_0000;

    /// How often each class of locks was taken by stores to so many pages, one after another, each of which is given up `at_once` or
    /// all of them at the end.
    fn locks_taken(pages: u64, at_once: bool) -> [u64; 2] {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let mut kernel = load_kernel("linux-7.2", &[]).unwrap();
        kernel.tree.thp_always = false;
        let mut sim = Simulation::new(machine, kernel, FileSystem::Ext4, false);
        let mm = sim.with(|m| m.new_mm());
        let mut run = |action| {
            let outcome = sim.step(Step { line: 1, thread: 0, cpu: CpuId(0), mm: Some(mm), action }).unwrap();
            assert_eq!(outcome.error, None);
        };
        run(Action::MapAnonymous { start: START, len: pages << 12 });
        let give_up =
            |start, pages: u64| Action::Advise { start, len: pages << 12, advice: Advice::DontNeed };
        for page in 0..pages {
            let start = VirtAddr(START + (page << 12));
            let store = Accesses::Stride { start, count: 1, stride: 4096, kind: AccessKind::Write };
            run(Action::Access(store));
            if at_once {
                run(give_up(start.0, 1));
            }
        }
        if !at_once {
            run(give_up(START, pages));
        }
        let uses = sim.finish().locks;
        let of = |class| uses.iter().find(|(of, _)| *of == class).map_or(0, |(_, used)| used.acquisitions);
        [LockClass::Lru, LockClass::Zone].map(of)
    }

    #[test]
    fn the_lock_of_the_lru_is_taken_once_for_a_batch_of_new_pages() {
        // Batches of 31 come to the list; 93 pages go in three batches more.
        assert_eq!(locks_taken(93, false), [3 + 3, 2]);
        assert_eq!(locks_taken(30, false), [0, 1]);
    }

    #[test]
    fn pages_that_go_before_their_batch_is_full_go_with_it() {
        // Each batch comes to the list, 30 pages of it go again at once, the last one when it is given up.
        assert_eq!(locks_taken(62, true), [2 * 3, 1]);
    }

    #[test]
    fn what_a_cpu_frees_beyond_its_list_goes_to_the_zone() {
        // 63 at a time come from the zone: ten times. Of 627 that come back, in batches of 31, all but 252 go there.
        let [_, zone] = locks_taken(627, false);
        assert_eq!(zone, 10 + 6);
    }
}
