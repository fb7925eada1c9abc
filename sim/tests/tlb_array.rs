//! [`TlbArray`]: LRU order, set choice and the reach of each invalidation, and every operation
//! against an obvious model.

use daxsim_configs::machine::{SetIndex, TlbSpec};
use daxsim_sim::mmu::tlb::{TlbArray, TlbEntry, TlbStats};
use daxsim_types::{PageSize, Pfn, VirtAddr};
use proptest::prelude::*;

use PageSize::{Size1G, Size2M, Size4K};

fn spec(entries: u32, ways: u32, index: SetIndex) -> TlbSpec {
    TlbSpec { index, ..TlbSpec::new(entries, ways, &PageSize::ALL) }
}

fn entry(page: u64, size: PageSize, pcid: u16, global: bool) -> TlbEntry {
    TlbEntry {
        page,
        size,
        span: 0,
        origin: size,
        pcid,
        global,
        pfn: Pfn(page * size.pages()),
        writable: false,
        user: true,
        dirty: false,
        nx: true,
    }
}

fn holds(a: &TlbArray, page: u64, size: PageSize, pcid: u16) -> bool {
    a.probe(page, size, pcid).is_some()
}

#[test]
fn the_least_recently_used_way_makes_room() {
    let mut a = TlbArray::new(&spec(8, 4, SetIndex::Linear));
    // All of set 0; page 1 is in the other set.
    for page in [0, 2, 4, 6, 1] {
        assert_eq!(a.insert(entry(page, Size4K, 0, false)), None);
    }
    assert!(a.lookup(0, Size4K, 0).is_some(), "now 2 is the oldest");
    assert!(a.probe(2, Size4K, 0).is_some(), "and a probe leaves it so");
    assert_eq!(a.insert(entry(8, Size4K, 0, false)).map(|e| e.page), Some(2));
    assert_eq!(a.insert(entry(4, Size4K, 0, false)), None, "replaced in place and touched");
    assert_eq!(a.insert(entry(10, Size4K, 0, false)).map(|e| e.page), Some(6));
    assert_eq!(a.insert(entry(12, Size4K, 0, false)).map(|e| e.page), Some(0));
    assert!(a.lookup(2, Size4K, 0).is_none());
    let want = TlbStats {
        lookups: 2,
        hits: 1,
        misses: 1,
        fills: 9,
        evictions: 3,
        replaced: 1,
        ..TlbStats::default()
    };
    assert_eq!((a.stats(), a.len()), (want, 5));
}

#[test]
fn a_freed_way_is_filled_before_any_is_pushed_out() {
    let mut a = TlbArray::new(&spec(4, 4, SetIndex::Linear));
    for page in 0..4 {
        a.insert(entry(page, Size4K, 0, false));
    }
    assert_eq!(a.invalidate_page(VirtAddr(2 << 12), 0), 1);
    assert_eq!(a.insert(entry(9, Size4K, 0, false)), None);
    assert_eq!(a.insert(entry(10, Size4K, 0, false)).map(|e| e.page), Some(0));
}

/// XOR-7: set = page bits 0..=6 exclusive-or bits 7..=13.
#[test]
fn a_folded_index_spreads_what_a_linear_one_collides() {
    let distinct = |index, pages: &[u64]| {
        let mut a = TlbArray::new(&spec(128, 1, index));
        for &page in pages {
            a.insert(entry(page, Size4K, 0, false));
        }
        a.len()
    };
    let stride_128: Vec<u64> = (0..128).map(|i| i * 128).collect();
    assert_eq!(distinct(SetIndex::Linear, &stride_128), 1);
    assert_eq!(distinct(SetIndex::Xor, &stride_128), 128);
    // Page bits above 13 take no part.
    assert_eq!(distinct(SetIndex::Xor, &[5, 5 | 1 << 14, 5 | 1 << 35]), 1);
    // 0b0000011_0000001 and 0b0000000_0000010 fold to the same set.
    assert_eq!(distinct(SetIndex::Xor, &[3 << 7 | 1, 2]), 1);
}

#[test]
fn the_set_is_chosen_by_the_number_of_the_page_of_its_own_size() {
    let mut a = TlbArray::new(&spec(2, 1, SetIndex::Linear));
    a.insert(entry(0, Size2M, 0, false));
    assert_eq!(a.insert(entry(1, Size2M, 0, false)), None);
    assert_eq!(a.insert(entry(1, Size4K, 0, false)).map(|e| e.size), Some(Size2M));
}

#[test]
fn entries_are_found_by_page_size_and_pcid_exactly() {
    let mut a = TlbArray::new(&spec(8, 8, SetIndex::Linear));
    a.insert(entry(0x1000, Size4K, 3, false));
    a.insert(entry(0x1001, Size4K, 3, true));
    assert!(holds(&a, 0x1000, Size4K, 3) && !holds(&a, 0x1000, Size4K, 4));
    assert!(!holds(&a, 0x1000, Size2M, 3));
    assert!(holds(&a, 0x1001, Size4K, 3) && holds(&a, 0x1001, Size4K, 4), "global");
    let kernel = 0xffff_8880_0000_0000 >> 12;
    a.insert(entry(kernel, Size4K, 3, false));
    assert!(!holds(&a, kernel & 0xf_ffff_ffff, Size4K, 3) && holds(&a, kernel, Size4K, 3));
}

/// Which of the entries below are left: PCID 1 in three sizes over one address, a neighbour, the
/// same page in PCID 2, and global pages at the address and elsewhere.
fn left(a: &TlbArray) -> [bool; 7] {
    [(512, Size4K, 1), (1, Size2M, 1), (0, Size1G, 1), (513, Size4K, 1), (512, Size4K, 2)]
        .map(|(p, s, pcid)| holds(a, p, s, pcid))
        .into_iter()
        .chain([512, 600].map(|p| holds(a, p, Size4K, 9)))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

fn mixture() -> TlbArray {
    let mut a = TlbArray::new(&spec(16, 16, SetIndex::Linear));
    for (page, size, pcid) in
        [(512, Size4K, 1), (1, Size2M, 1), (0, Size1G, 1), (513, Size4K, 1), (512, Size4K, 2)]
    {
        a.insert(entry(page, size, pcid, false));
    }
    for page in [512, 600] {
        a.insert(entry(page, Size4K, 0, true));
    }
    a
}

#[test]
fn each_invalidation_drops_its_own_and_keeps_the_rest() {
    assert_eq!(left(&mixture()), [true; 7]);

    // The entry of PCID 2 for the same page stays, and is still served by its own.
    let mut a = mixture();
    assert_eq!(a.invalidate_page(VirtAddr(512 << 12), 1), 4);
    assert_eq!(left(&a), [false, false, false, true, true, false, true]);

    let mut a = mixture();
    assert_eq!((a.invalidate_pcid(1), a.len()), (4, 3));
    // 512 in PCID 1 is answered by the global entry now.
    assert_eq!(left(&a), [true, false, false, false, true, true, true]);
    assert_eq!(a.probe(512, Size4K, 1).map(|e| e.global), Some(true));

    let mut a = mixture();
    assert_eq!((a.invalidate_all(false), a.len()), (5, 2));
    assert_eq!(left(&a)[5..], [true, true]);
    assert_eq!((a.invalidate_all(true), a.len(), a.is_empty()), (2, 0, true));
    assert_eq!(a.stats().invalidations, 7);
}

#[test]
fn fragments_of_a_large_page_go_together() {
    let piece = |page, pcid| TlbEntry { origin: Size2M, ..entry(page, Size4K, pcid, false) };
    let mut a = TlbArray::new(&spec(16, 4, SetIndex::Xor));
    for page in [512, 600] {
        a.insert(piece(page, 1));
    }
    a.insert(entry(601, Size4K, 1, false));
    a.insert(piece(1024, 1));
    a.insert(piece(700, 2));
    assert_eq!(a.invalidate_page(VirtAddr(513 << 12), 1), 2);
    assert!(holds(&a, 601, Size4K, 1) && holds(&a, 1024, Size4K, 1) && holds(&a, 700, Size4K, 2));
}

/// The obvious model: a list a set, the last used first, of entries and the size each came from.
struct Model {
    sets: Vec<Vec<(TlbEntry, PageSize)>>,
    ways: usize,
    index: SetIndex,
}

impl Model {
    fn set(&mut self, page: u64) -> &mut Vec<(TlbEntry, PageSize)> {
        let n = self.sets.len() as u64;
        let folded = match self.index {
            SetIndex::Linear => page,
            _ => (page % n) ^ (page / n % n),
        };
        &mut self.sets[(folded % n) as usize]
    }

    fn lookup(&mut self, page: u64, size: PageSize, pcid: u16, touch: bool) -> Option<TlbEntry> {
        let set = self.set(page);
        let same = |e: &TlbEntry| e.page == page && e.size == size;
        let at = set
            .iter()
            .position(|(e, _)| same(e) && !e.global && e.pcid == pcid)
            .or_else(|| set.iter().position(|(e, _)| same(e) && e.global))?;
        let found = set[at];
        if touch {
            set.remove(at);
            set.insert(0, found);
        }
        Some(found.0)
    }

    fn insert(&mut self, e: TlbEntry, origin: PageSize) -> Option<TlbEntry> {
        let ways = self.ways;
        let set = self.set(e.page);
        let key = |e: &TlbEntry| (e.page, e.size, e.global, if e.global { 0 } else { e.pcid });
        set.retain(|(o, _)| key(o) != key(&e));
        set.insert(0, (e, origin));
        if set.len() > ways { set.pop().map(|o| o.0) } else { None }
    }

    fn retain(&mut self, keep: impl Fn(&TlbEntry, PageSize) -> bool) -> u32 {
        let before = self.len();
        self.sets.iter_mut().for_each(|s| s.retain(|(e, o)| keep(e, *o)));
        (before - self.len()) as u32
    }

    fn len(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Lookup(u64, PageSize, u16),
    Probe(u64, PageSize, u16),
    Insert(u64, PageSize, u16, bool, PageSize),
    Page(u64, u16),
    Pcid(u16),
    All(bool),
}

fn ops(pcids: u16) -> impl Strategy<Value = Vec<Op>> {
    // Addresses in two clusters 1 GiB apart, so that sizes overlap.
    let va = (0..2_u64, 0..3_u64, 0..12_u64).prop_map(|(g, m, p)| g << 30 | m << 21 | p << 12);
    let size = prop_oneof![4 => Just(Size4K), 2 => Just(Size2M), 1 => Just(Size1G)];
    let key = (va.clone(), size.clone(), 0..pcids);
    prop::collection::vec(
        prop_oneof![
            20 => key.clone().prop_map(|(v, s, p)| Op::Lookup(v >> s.shift(), s, p)),
            4 => key.clone().prop_map(|(v, s, p)| Op::Probe(v >> s.shift(), s, p)),
            20 => (key, prop::bool::weighted(0.1), size).prop_map(|((v, s, p), g, o)| {
                Op::Insert(v >> s.shift(), s, p, g, o.max(s))
            }),
            3 => (va, 0..pcids).prop_map(|(v, p)| Op::Page(v, p)),
            1 => (0..pcids).prop_map(Op::Pcid),
            1 => any::<bool>().prop_map(Op::All),
        ],
        1..300,
    )
}

fn agree(entries: u32, ways: u32, index: SetIndex, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut a = TlbArray::new(&spec(entries, ways, index));
    let mut m = Model { sets: vec![vec![]; (entries / ways) as usize], ways: ways as usize, index };
    let mut stats = TlbStats::default();
    for (i, op) in ops.into_iter().enumerate() {
        match op.clone() {
            Op::Lookup(page, size, pcid) => {
                let want = m.lookup(page, size, pcid, true);
                stats.lookups += 1;
                *if want.is_some() { &mut stats.hits } else { &mut stats.misses } += 1;
                prop_assert_eq!(a.lookup(page, size, pcid), want, "{:?}", op);
            }
            Op::Probe(page, size, pcid) => {
                prop_assert_eq!(a.probe(page, size, pcid).copied(), m.lookup(page, size, pcid, false));
            }
            Op::Insert(page, size, pcid, global, origin) => {
                let e = TlbEntry { pfn: Pfn(i as u64), origin, ..entry(page, size, pcid, global) };
                let before = m.len();
                let victim = m.insert(e, origin);
                stats.fills += 1;
                stats.evictions += u64::from(victim.is_some());
                stats.replaced += u64::from(victim.is_none() && m.len() == before);
                prop_assert_eq!(a.insert(e), victim, "{:?}", op);
            }
            Op::Page(va, pcid) => {
                let want = m.retain(|e, origin| {
                    let size = origin.max(e.size);
                    let first = e.page << e.size.shift() >> size.shift();
                    !(first == va >> size.shift() && (e.global || e.pcid == pcid))
                });
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_page(VirtAddr(va), pcid), want, "{:?}", op);
            }
            Op::Pcid(pcid) => {
                let want = m.retain(|e, _| e.global || e.pcid != pcid);
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_pcid(pcid), want);
            }
            Op::All(include_global) => {
                let want = m.retain(|e, _| e.global && !include_global);
                stats.invalidations += u64::from(want);
                prop_assert_eq!(a.invalidate_all(include_global), want);
            }
        }
        prop_assert_eq!(a.len(), m.len());
    }
    prop_assert_eq!(a.stats(), stats);
    Ok(())
}

proptest! {
    #[test]
    fn direct_mapped(ops in ops(3)) {
        agree(16, 1, SetIndex::Xor, ops)?;
    }

    #[test]
    fn four_sets_of_two(ops in ops(3)) {
        agree(8, 2, SetIndex::Linear, ops)?;
    }

    #[test]
    fn folded_sets_of_three(ops in ops(2)) {
        agree(12, 3, SetIndex::Xor, ops)?;
    }

    #[test]
    fn fully_associative(ops in ops(2)) {
        agree(24, 24, SetIndex::Linear, ops)?;
    }

    #[test]
    fn one_pcid_in_a_small_array(ops in ops(1)) {
        agree(4, 4, SetIndex::Xor, ops)?;
    }

    #[test]
    fn folded_sets_of_twelve(ops in ops(2)) {
        agree(48, 12, SetIndex::Xor, ops)?;
    }
}
