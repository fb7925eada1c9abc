//! The experiments of TLB;DR (Tatar et al., USENIX Security 2022) on a hierarchy configured like Kaby Lake: what its authors
//! found out about the part from outside, found out here in the same way. Only accesses are made, and only where each hit is
//! looked at; an experiment is repeated from the start for each page that it asks about.

use daxsim_configs::machine::{Replacement, SetIndex, TlbSpec, TlbsSpec};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::tlb::TlbEntry;
use daxsim_sim::mmu::tlbs::{HitLevel, Tlbs};
use daxsim_types::{AccessKind, PageSize, Pfn, VirtAddr};

use AccessKind::{Fetch, Read};

/// Where an access found its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    First,
    Second,
    Walk,
}

/// 4 KiB pages of Kaby Lake: DTLB 16 x 4, ITLB 16 x 8, STLB 128 x 12.
fn kaby_lake() -> Tlbs {
    let array = |entries, ways, index, replacement| TlbSpec {
        index,
        replacement,
        ..TlbSpec::new(entries, ways, &[PageSize::Size4K])
    };
    Tlbs::new(&TlbsSpec {
        itlb_4k: Some(array(128, 8, SetIndex::Linear, Replacement::Plru)),
        ..TlbsSpec::new(
            array(64, 4, SetIndex::Linear, Replacement::Plru),
            array(1536, 12, SetIndex::Xor, Replacement::Mru3Plru4),
        )
    })
}

fn access(t: &mut Tlbs, page: u64, kind: AccessKind) -> Seen {
    let va = VirtAddr(page << 12);
    match t.lookup(va, 1, kind) {
        Some((_, HitLevel::Dtlb, _)) => Seen::First,
        Some((_, HitLevel::Stlb, _)) => Seen::Second,
        None => {
            let leaf = Entry::leaf(Pfn(page), Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D);
            t.fill(va, TlbEntry::of(va, PageSize::Size4K, 1, leaf, true, true), kind, None);
            Seen::Walk
        }
    }
}

fn run(t: &mut Tlbs, pages: impl IntoIterator<Item = u64>, kind: AccessKind) {
    for page in pages {
        access(t, page, kind);
    }
}

/// What an access would see, with nothing disturbed.
fn would_see(t: &Tlbs, page: u64, kind: AccessKind) -> Seen {
    access(&mut t.clone(), page, kind)
}

/// Set of the STLB that XOR-7 gives a page.
const fn xor_7(page: u64) -> u64 {
    (page ^ (page >> 7)) & 127
}

/// A page of STLB set `stlb` and first-level set `first`, one for each `n`.
fn page(stlb: u64, first: u64, n: u64) -> u64 {
    // The low seven bits choose the first-level set, the next seven make up for them.
    let low = first & 15 | (n & 7) << 4;
    let page = low | (low ^ stlb) << 7 | n << 14;
    assert_eq!((xor_7(page), page & 15), (stlb, first));
    page
}

/// The page that experiments are about, and what evicts it from one level and leaves it in the other.
const X: u64 = 5 | 5 << 14;

fn evict_from_stlb(t: &mut Tlbs) {
    run(t, (0..48).map(|n| page(xor_7(X), (X & 15) ^ (1 + n % 15), n)), Read);
}

fn evict_from_first(t: &mut Tlbs, kind: AccessKind) {
    run(t, (0..32).map(|n| page(xor_7(X) ^ (1 + n % 64), X & 15, n)), kind);
}

#[test]
fn the_first_levels_are_not_included_in_the_second() {
    for kind in [Read, Fetch] {
        let mut t = kaby_lake();
        assert_eq!(access(&mut t, X, kind), Seen::Walk);
        evict_from_stlb(&mut t);
        // Looked at from the other side, the STLB has lost it.
        let other = if kind == Read { Fetch } else { Read };
        assert_eq!(would_see(&t, X, other), Seen::Walk);
        assert_eq!(would_see(&t, X, kind), Seen::First);
    }
}

#[test]
fn the_second_level_does_not_exclude_the_first() {
    for kind in [Read, Fetch] {
        let mut t = kaby_lake();
        access(&mut t, X, kind);
        let other = if kind == Read { Fetch } else { Read };
        assert_eq!(would_see(&t, X, other), Seen::Second, "both have it");
        evict_from_first(&mut t, kind);
        assert_eq!(access(&mut t, X, kind), Seen::Second);
        evict_from_first(&mut t, kind);
        assert_eq!(access(&mut t, X, kind), Seen::Second, "a hit has not moved it");
    }
}

#[test]
fn a_hit_in_the_second_level_puts_the_entry_into_the_first() {
    for kind in [Read, Fetch] {
        let mut t = kaby_lake();
        access(&mut t, X, kind);
        evict_from_first(&mut t, kind);
        assert_eq!([access(&mut t, X, kind), access(&mut t, X, kind)], [Seen::Second, Seen::First]);
    }
}

#[test]
fn neither_a_hit_in_a_first_level_nor_an_eviction_there_reaches_the_second() {
    let mut t = kaby_lake();
    access(&mut t, X, Read);
    evict_from_stlb(&mut t);
    for _ in 0..8 {
        assert_eq!(access(&mut t, X, Read), Seen::First);
    }
    assert_eq!(would_see(&t, X, Fetch), Seen::Walk, "not put back by a hit");
    evict_from_first(&mut t, Read);
    assert_eq!(would_see(&t, X, Read), Seen::Walk, "nor by an eviction");
}

#[test]
fn a_hit_in_the_first_level_leaves_the_order_of_the_second_alone() {
    let set = |n| page(9, n, n);
    let victim = |hit: Option<u64>| {
        let mut t = kaby_lake();
        run(&mut t, (0..12).map(set), Read);
        if let Some(n) = hit {
            assert_eq!(access(&mut t, set(n), Read), Seen::First);
        }
        access(&mut t, set(12), Read);
        (0..12).filter(|n| would_see(&t, set(*n), Fetch) == Seen::Walk).collect::<Vec<_>>()
    };
    let untouched = victim(None);
    assert_eq!(untouched.len(), 1);
    assert!((0..12).all(|n| victim(Some(n)) == untouched));
}

/// How many of the pages a level still has after all were accessed three times.
fn kept(pages: &[u64], kind: AccessKind, level: Seen) -> usize {
    let mut t = kaby_lake();
    for _ in 0..3 {
        run(&mut t, pages.iter().copied(), kind);
    }
    let other = if kind == Read { Fetch } else { Read };
    let asked = if level == Seen::First { kind } else { other };
    pages.iter().filter(|page| would_see(&t, **page, asked) == level).count()
}

#[test]
fn first_levels_are_16_sets_by_the_low_bits_of_4_and_8_ways() {
    for (kind, ways) in [(Read, 4), (Fetch, 8)] {
        for log2_stride in 0..8 {
            let pages: Vec<u64> = (0..256).map(|n| n << log2_stride).collect();
            // A stride of 2^n pages leaves 2^(4 - n) sets.
            let capacity = ways << 4_u32.saturating_sub(log2_stride);
            assert_eq!(kept(&pages[..capacity], kind, Seen::First), capacity, "stride {log2_stride}");
            assert!(kept(&pages[..=capacity], kind, Seen::First) <= capacity, "stride {log2_stride}");
        }
    }
}

#[test]
fn the_second_level_is_128_sets_of_12_ways_by_seven_bits_exclusive_or_the_next_seven() {
    for set in [0, 1, 77, 127] {
        let pages: Vec<u64> = (0..13).map(|n| page(set, n, n)).collect();
        assert_eq!(kept(&pages[..12], Read, Seen::Second), 12);
        assert_eq!(kept(&pages, Read, Seen::Second), 12, "one too many");
    }
    // What collides by the low bits alone, or by six or eight bits folded, does not here.
    let collide = |hash: &dyn Fn(u64) -> u64| -> Vec<u64> {
        (0..1 << 21).filter(|page| hash(*page) == 3).step_by(37).take(40).collect()
    };
    let fold = |bits: u32| move |page: u64| (page ^ (page >> bits)) & ((1 << bits) - 1);
    assert!(kept(&collide(&fold(7)), Read, Seen::Second) <= 12);
    for other in [collide(&|page| page & 127), collide(&fold(6)), collide(&fold(8))] {
        assert!(kept(&other, Read, Seen::Second) > 12);
    }
    // 1536 pages in a row fit, and so do 1536 at a stride of two or four pages.
    for stride in [1, 2, 4] {
        let pages: Vec<u64> = (0..1536).map(|n| n * stride).collect();
        assert_eq!(kept(&pages, Read, Seen::Second), 1536, "stride {stride}");
    }
}

/// A policy that might explain what is seen: ways in the order of their being touched, or trees.
#[derive(Clone, Debug)]
enum Guess {
    Lru(Vec<usize>),
    Fifo(Vec<usize>),
    /// A node for each inner position of a heap; the number of the group used last, of so many.
    Tree {
        nodes: Vec<bool>,
        groups: usize,
        last: usize,
        ways: usize,
    },
}

impl Guess {
    fn tree(groups: usize, ways: usize) -> Self {
        Self::Tree { nodes: vec![false; groups * ways], groups, last: 0, ways }
    }

    fn touch(&mut self, way: usize, filled: bool) {
        match self {
            Self::Fifo(_) if !filled => {}
            Self::Lru(order) | Self::Fifo(order) => {
                order.retain(|w| *w != way);
                order.push(way);
            }
            Self::Tree { nodes, last, ways, .. } => {
                *last = way / *ways;
                let (mut node, mut size, mut at) = (1, *ways, way % *ways);
                while size > 1 {
                    size /= 2;
                    nodes[*last * *ways + node] = at < size;
                    node = 2 * node + usize::from(at >= size);
                    at %= size;
                }
            }
        }
    }

    fn victim(&self) -> usize {
        match self {
            Self::Lru(order) | Self::Fifo(order) => order[0],
            Self::Tree { nodes, groups, last, ways } => {
                let group = (last + usize::from(*groups > 1)) % groups;
                let mut node = 1;
                while node < *ways {
                    node = 2 * node + usize::from(nodes[group * ways + node]);
                }
                group * ways + node - ways
            }
        }
    }
}

/// Which of `guesses` explain every victim of a set of `ways`, over random accesses to `pages`, more than it holds: `seen` says
/// whether the level has a page.
fn explained(
    guesses: &[(&'static str, Guess)],
    pages: &[u64],
    ways: usize,
    touch: impl Fn(&mut Tlbs, u64),
    has: impl Fn(&Tlbs, u64) -> bool,
) -> Vec<&'static str> {
    let mut left: Vec<_> = guesses.to_vec();
    let mut t = kaby_lake();
    let mut held: Vec<u64> = Vec::new();
    let mut random = 1_u64;
    for round in 0..600 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let page = if round < ways { pages[round] } else { pages[(random >> 33) as usize % pages.len()] };
        let before = held.clone();
        touch(&mut t, page);
        if let Some(way) = before.iter().position(|p| *p == page) {
            left.iter_mut().for_each(|(_, guess)| guess.touch(way, false));
            continue;
        }
        if held.len() < ways {
            held.push(page);
            left.iter_mut().for_each(|(_, guess)| guess.touch(held.len() - 1, true));
            continue;
        }
        let gone: Vec<usize> = (0..ways).filter(|way| !has(&t, held[*way])).collect();
        let [gone] = gone[..] else { panic!("one page makes room, not {gone:?}") };
        left.retain(|(_, guess)| guess.victim() == gone);
        left.iter_mut().for_each(|(_, guess)| guess.touch(gone, true));
        held[gone] = page;
    }
    left.iter().map(|(name, _)| *name).collect()
}

#[test]
fn victims_of_the_first_levels_are_those_of_a_tree_and_of_nothing_else() {
    for (kind, ways) in [(Read, 4), (Fetch, 8)] {
        let guesses =
            [("LRU", Guess::Lru(vec![])), ("FIFO", Guess::Fifo(vec![])), ("PLRU", Guess::tree(1, ways))];
        let pages: Vec<u64> = (0..ways as u64 + 3).map(|n| page(n, 6, n)).collect();
        let touch = |t: &mut Tlbs, page| run(t, [page], kind);
        let found =
            explained(&guesses, &pages, ways, touch, |t, page| would_see(t, page, kind) == Seen::First);
        assert_eq!(found, ["PLRU"], "{kind:?}");
    }
}

#[test]
fn victims_of_the_second_level_are_those_of_the_group_after_the_one_used_last_and_of_nothing_else() {
    let guesses =
        [("LRU", Guess::Lru(vec![])), ("FIFO", Guess::Fifo(vec![])), ("(MRU+1)%3 PLRU4", Guess::tree(3, 4))];
    let pages: Vec<u64> = (0..15).map(|n| page(40, n, n)).collect();
    // To touch the STLB, the first level must not have the page: eight others of its set push it out.
    let touch = |t: &mut Tlbs, asked: u64| {
        access(t, asked, Read);
        run(t, (0..8).map(|n| page(100 + n, asked & 15, 900 + n)), Read);
    };
    let found = explained(&guesses, &pages, 12, touch, |t, page| would_see(t, page, Fetch) == Seen::Second);
    assert_eq!(found, ["(MRU+1)%3 PLRU4"]);
}
