//! [`TlbArray`]: the order of each policy, set choice and the reach of each invalidation. `tlb_model` compares every operation
//! with an obvious model.

use daxsim_configs::machine::{Replacement, SetIndex, TlbSpec};
use daxsim_sim::mmu::tlb::{TlbArray, TlbEntry, TlbStats};
use daxsim_types::{PageSize, Pfn, VirtAddr};

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

/// A full set of `ways`, pages 0.. in the ways 0.., then a hit of each of `hits`: what the next pages push out.
fn victims(ways: u32, replacement: Replacement, hits: &[u64], count: u64) -> Vec<u64> {
    let mut a = TlbArray::new(&TlbSpec { replacement, ..TlbSpec::new(ways, ways, &[Size4K]) });
    for page in 0..u64::from(ways) {
        assert_eq!(a.insert(entry(page, Size4K, 0, false)), None);
    }
    for &page in hits {
        assert!(a.lookup(page, Size4K, 0).is_some());
    }
    (100..100 + count).filter_map(|page| a.insert(entry(page, Size4K, 0, false))).map(|e| e.page).collect()
}

#[test]
fn a_tree_points_away_from_what_was_used_last() {
    // Filled 0, 1, 2, 3: every node points to the left.
    assert_eq!(victims(4, Replacement::Plru, &[], 4), [0, 2, 1, 3]);
    // After 0 the root points right, where 2 is older than 3.
    assert_eq!(victims(4, Replacement::Plru, &[0], 4), [2, 1, 3, 0]);
    // Exact LRU would take 1 first: a tree does not remember.
    assert_eq!(victims(4, Replacement::Plru, &[0, 2], 2), [1, 3]);
    assert_eq!(victims(4, Replacement::Plru, &[2, 0], 2), [3, 1]);
    assert_eq!(victims(8, Replacement::Plru, &[], 8), [0, 4, 2, 6, 1, 5, 3, 7]);
}

#[test]
fn the_group_after_the_one_used_last_makes_room() {
    // Filled in order, the last group used is 2: the victims go round, in each group as its tree says.
    let order = [0, 4, 8, 2, 6, 10, 1, 5, 9, 3, 7, 11];
    assert_eq!(victims(12, Replacement::Mru3Plru4, &[], 12), order);
    // A hit in group 0 makes group 1 the next, and turns the tree of group 0.
    assert_eq!(victims(12, Replacement::Mru3Plru4, &[0], 4), [4, 8, 2, 6]);
    assert_eq!(victims(12, Replacement::Mru3Plru4, &[5, 4], 3), [8, 0, 6]);
}

#[test]
fn first_in_first_out_ignores_hits_and_random_follows_its_seed() {
    assert_eq!(victims(4, Replacement::Fifo, &[0, 0, 1], 5), [0, 1, 2, 3, 100]);
    assert_eq!(victims(32, Replacement::Fifo, &[0], 3), [0, 1, 2]);
    let random = victims(8, Replacement::Random, &[], 64);
    assert_eq!(random, victims(8, Replacement::Random, &[3, 1, 4], 64), "hits draw nothing");
    assert_eq!((0..8).filter(|page| random.contains(page)).count(), 8, "every way has its turn");
    let seeded = |seed| {
        let spec = TlbSpec { replacement: Replacement::Random, ..TlbSpec::new(8, 8, &[Size4K]) };
        let mut a = TlbArray::seeded(&spec, seed);
        (0..40).filter_map(|page| a.insert(entry(page, Size4K, 0, false))).map(|e| e.page).collect::<Vec<_>>()
    };
    assert_eq!(seeded(7), seeded(7));
    assert_ne!(seeded(7), seeded(8));
}

/// CPUID of Zen 3: 2048 entries, 8 ways for 4 KiB pages, 4 for 2 MiB pages. That is 256 sets of one and 512 of the other.
#[test]
fn a_page_size_with_half_the_ways_sees_twice_the_sets() {
    let full = TlbSpec { ways_2m: 4, ..TlbSpec::new(2048, 8, &[Size4K, Size2M]) };
    let fit = |size: PageSize, stride: u64, spec: &TlbSpec| {
        let mut a = TlbArray::new(spec);
        (0..4096).take_while(|i| a.insert(entry(i * stride, size, 0, false)).is_none()).count()
    };
    assert_eq!([fit(Size4K, 1, &full), fit(Size4K, 256, &full), fit(Size4K, 512, &full)], [2048, 8, 8]);
    assert_eq!([fit(Size2M, 1, &full), fit(Size2M, 256, &full), fit(Size2M, 512, &full)], [2048, 8, 4]);
    // Zen 4: 3072 entries, 8 and 6 of 12 ways. Three overlapping choices of two thirds, two halves.
    let spec = TlbSpec { ways_4k: 8, ways_2m: 6, ..TlbSpec::new(3072, 12, &[Size4K, Size2M]) };
    assert_eq!([fit(Size4K, 256 * 3, &spec), fit(Size2M, 512, &spec)], [8, 6]);
    assert_eq!(fit(Size2M, 1, &spec), 3072);
}

#[test]
fn skewed_ways_part_what_collides_in_one_of_them() {
    // Pages that meet in way 0: a folded index of 16 sets gives them all row 0.
    let pages: Vec<u64> = (0..16).map(|h| h << 4 | h).collect();
    let distinct = |index| {
        let mut a = TlbArray::new(&spec(64, 4, index));
        for &page in &pages {
            a.insert(entry(page, Size4K, 0, false));
        }
        a.len()
    };
    assert_eq!(distinct(SetIndex::Xor), 4);
    assert!(distinct(SetIndex::Skewed) > 12);
}

#[test]
fn six_ways_in_sixteen_sets_hold_what_golden_cove_was_seen_to() {
    let mut a = TlbArray::new(&spec(96, 6, SetIndex::Linear));
    for page in 0..96 {
        assert_eq!(a.insert(entry(page, Size4K, 0, false)), None);
    }
    assert_eq!(a.insert(entry(96, Size4K, 0, false)).map(|e| e.page), Some(0));
}
