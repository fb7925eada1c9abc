//! The experiments of TLB;DR (Tatar et al., USENIX Security 2022), which found out from outside what the TLBs of Kaby Lake are: 4 KiB
//! pages are accessed and fetched from, and only where each hits is looked at. An experiment is repeated from the start for
//! each page that it asks about.
//!
//! The pages are chosen for that part: first levels of 16 sets, an STLB of 128 sets by XOR-7. On TLBs of another kind an
//! experiment does not find what its authors found, and says so.

mod guess;
mod view;

use daxsim_configs::machine::TlbsSpec;
use daxsim_types::AccessKind::{Fetch, Read};

use guess::{Guess, explained};
use view::{Seen, View, other};

/// What an experiment is about, and whether it found what was found on the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Short name.
    pub name: &'static str,
    /// What was found on Kaby Lake.
    pub about: &'static str,
    /// Whether the same was found here.
    pub found: bool,
}

/// An experiment on TLBs in their first state.
type Experiment = fn(&View) -> bool;

const EXPERIMENTS: [(&str, &str, Experiment); 9] = [
    ("non-inclusive", "a first level keeps what the STLB has lost", not_inclusive),
    ("non-exclusive", "the STLB has what a first level has", not_exclusive),
    ("refill", "a hit in the STLB puts the entry into the first level", refill),
    (
        "no-reinsertion",
        "neither a hit in a first level nor an eviction there puts an entry into the STLB",
        no_reinsertion,
    ),
    ("order", "a hit in a first level leaves the order of the STLB alone", order),
    ("LIN-16", "first levels: 16 sets by the low bits, of 4 ways (DTLB) and 8 (ITLB)", first_level_sets),
    ("XOR-7", "STLB: 128 sets by seven bits exclusive or the next seven, of 12 ways", second_level_sets),
    ("tree-PLRU", "victims of the first levels are those of a tree, and of nothing else tried", tree_plru),
    ("(MRU+1)%3 PLRU4", "victims of the STLB are those of the group after the one used last", mru3_plru4),
];

/// Makes every experiment on TLBs as `spec` describes them.
#[must_use]
pub fn tlbdr(spec: &TlbsSpec) -> Vec<Finding> {
    let fresh = View::new(spec);
    EXPERIMENTS.map(|(name, about, experiment)| Finding { name, about, found: experiment(&fresh) }).to_vec()
}

/// Set of the STLB that XOR-7 gives a page.
const fn xor_7(page: u64) -> u64 {
    (page ^ (page >> 7)) & 127
}

/// A page of STLB set `stlb` and first-level set `first`, one for each `n`.
const fn page(stlb: u64, first: u64, n: u64) -> u64 {
    // The low seven bits choose the first-level set, the next seven make up for them.
    let low = first & 15 | (n & 7) << 4;
    low | (low ^ stlb) << 7 | n << 14
}

/// The page that experiments are about.
const X: u64 = 5 | 5 << 14;

/// Pushes [`X`] out of the STLB, not of a first level.
fn evict_from_stlb(view: &mut View) {
    view.run((0..48).map(|n| page(xor_7(X), (X & 15) ^ (1 + n % 15), n)), Read);
}

/// Pushes [`X`] out of a first level, not of the STLB.
fn evict_from_first(view: &mut View, kind: daxsim_types::AccessKind) {
    view.run((0..32).map(|n| page(xor_7(X) ^ (1 + n % 64), X & 15, n)), kind);
}

fn not_inclusive(fresh: &View) -> bool {
    [Read, Fetch].into_iter().all(|kind| {
        let mut view = fresh.clone();
        let walked = view.access(X, kind) == Seen::Walk;
        evict_from_stlb(&mut view);
        // Looked at from the other side, the STLB has lost it.
        walked && view.would_see(X, other(kind)) == Seen::Walk && view.would_see(X, kind) == Seen::First
    })
}

fn not_exclusive(fresh: &View) -> bool {
    [Read, Fetch].into_iter().all(|kind| {
        let mut view = fresh.clone();
        view.access(X, kind);
        let both = view.would_see(X, other(kind)) == Seen::Second;
        // The second time tells whether the hit has moved it.
        both && (0..2).all(|_| {
            evict_from_first(&mut view, kind);
            view.access(X, kind) == Seen::Second
        })
    })
}

fn refill(fresh: &View) -> bool {
    [Read, Fetch].into_iter().all(|kind| {
        let mut view = fresh.clone();
        view.access(X, kind);
        evict_from_first(&mut view, kind);
        [view.access(X, kind), view.access(X, kind)] == [Seen::Second, Seen::First]
    })
}

fn no_reinsertion(fresh: &View) -> bool {
    let mut view = fresh.clone();
    view.access(X, Read);
    evict_from_stlb(&mut view);
    let hits = (0..8).all(|_| view.access(X, Read) == Seen::First);
    let after_hits = view.would_see(X, Fetch);
    evict_from_first(&mut view, Read);
    hits && after_hits == Seen::Walk && view.would_see(X, Read) == Seen::Walk
}

fn order(fresh: &View) -> bool {
    let set = |n| page(9, n, n);
    let victims = |hit: Option<u64>| {
        let mut view = fresh.clone();
        view.run((0..12).map(set), Read);
        if let Some(n) = hit {
            view.access(set(n), Read);
        }
        view.access(set(12), Read);
        (0..12).filter(|n| view.would_see(set(*n), Fetch) == Seen::Walk).collect::<Vec<_>>()
    };
    let untouched = victims(None);
    untouched.len() == 1 && (0..12).all(|n| victims(Some(n)) == untouched)
}

fn first_level_sets(fresh: &View) -> bool {
    [(Read, 4), (Fetch, 8)].into_iter().all(|(kind, ways)| {
        (0..8).all(|log2_stride| {
            let pages: Vec<u64> = (0..256).map(|n| n << log2_stride).collect();
            // A stride of 2^n pages leaves 2^(4 - n) sets.
            let capacity = ways << 4_u32.saturating_sub(log2_stride);
            let kept = |count: usize| fresh.kept(&pages[..count], kind, Seen::First);
            kept(capacity) == capacity && kept(capacity + 1) <= capacity
        })
    })
}

fn second_level_sets(fresh: &View) -> bool {
    let kept = |pages: &[u64]| fresh.kept(pages, Read, Seen::Second);
    let twelve_ways = [0, 1, 77, 127].into_iter().all(|set| {
        let pages: Vec<u64> = (0..13).map(|n| page(set, n, n)).collect();
        kept(&pages[..12]) == 12 && kept(&pages) == 12
    });
    // What collides by the low bits alone, or by six or eight bits folded, does not here.
    let collide = |hash: &dyn Fn(u64) -> u64| -> Vec<u64> {
        (0..1 << 21).filter(|page| hash(*page) == 3).step_by(37).take(40).collect()
    };
    let fold = |bits: u32| move |page: u64| (page ^ (page >> bits)) & ((1 << bits) - 1);
    let others = [collide(&|page| page & 127), collide(&fold(6)), collide(&fold(8))];
    // 1536 pages in a row fit, and so do as many at a stride of two or four.
    let reach = [1, 2, 4].into_iter().all(|stride| {
        let pages: Vec<u64> = (0..1536).map(|n| n * stride).collect();
        kept(&pages) == 1536
    });
    twelve_ways && reach && kept(&collide(&fold(7))) <= 12 && others.iter().all(|pages| kept(pages) > 12)
}

fn tree_plru(fresh: &View) -> bool {
    [(Read, 4), (Fetch, 8)].into_iter().all(|(kind, ways)| {
        let guesses =
            [("LRU", Guess::lru(ways)), ("FIFO", Guess::fifo(ways)), ("PLRU", Guess::tree(1, ways))];
        let pages: Vec<u64> = (0..ways as u64 + 3).map(|n| page(n, 6, n)).collect();
        let touch = |view: &mut View, page| view.run([page], kind);
        let has = |view: &View, page| view.would_see(page, kind) == Seen::First;
        explained(fresh, &guesses, &pages, ways, touch, has) == ["PLRU"]
    })
}

fn mru3_plru4(fresh: &View) -> bool {
    let guesses = [("LRU", Guess::lru(12)), ("FIFO", Guess::fifo(12)), ("trees", Guess::tree(3, 4))];
    let pages: Vec<u64> = (0..15).map(|n| page(40, n, n)).collect();
    // To touch the STLB, the first level must not have the page: eight others of its set push it out.
    let touch = |view: &mut View, asked: u64| {
        view.access(asked, Read);
        view.run((0..8).map(|n| page(100 + n, asked & 15, 900 + n)), Read);
    };
    let has = |view: &View, page| view.would_see(page, Fetch) == Seen::Second;
    explained(fresh, &guesses, &pages, 12, touch, has) == ["trees"]
}

#[cfg(test)]
mod tests {
    use daxsim_configs::machine::{Inclusion, Replacement, SetIndex, TlbSpec};
    use daxsim_types::PageSize;

    use super::*;

    /// 4 KiB pages of Kaby Lake: DTLB 16 x 4, ITLB 16 x 8, STLB 128 x 12.
    fn kaby_lake() -> TlbsSpec {
        let array = |entries, ways, index, replacement| TlbSpec {
            index,
            replacement,
            ..TlbSpec::new(entries, ways, &[PageSize::Size4K])
        };
        TlbsSpec {
            itlb_4k: Some(array(128, 8, SetIndex::Linear, Replacement::Plru)),
            ..TlbsSpec::new(
                array(64, 4, SetIndex::Linear, Replacement::Plru),
                array(1536, 12, SetIndex::Xor, Replacement::Mru3Plru4),
            )
        }
    }

    fn not_found(spec: &TlbsSpec) -> Vec<&'static str> {
        tlbdr(spec).iter().filter(|finding| !finding.found).map(|finding| finding.name).collect()
    }

    #[test]
    fn pages_are_of_the_sets_that_they_are_asked_for() {
        for (stlb, first, n) in [(0, 0, 0), (77, 5, 1), (127, 15, 900), (40, 14, 14)] {
            let page = page(stlb, first, n);
            assert_eq!((xor_7(page), page & 15), (stlb, first));
        }
    }

    #[test]
    fn everything_is_found_on_tlbs_like_those_of_the_part() {
        assert_eq!(not_found(&kaby_lake()), [""; 0]);
    }

    #[test]
    fn what_differs_is_not_found() {
        let changed = |change: fn(&mut TlbsSpec)| {
            let mut spec = kaby_lake();
            change(&mut spec);
            not_found(&spec)
        };
        assert_eq!(changed(|s| s.dtlb_4k.replacement = Replacement::Lru), ["tree-PLRU"]);
        assert_eq!(changed(|s| s.stlb.replacement = Replacement::Lru), ["(MRU+1)%3 PLRU4"]);
        assert!(changed(|s| s.dtlb_4k.index = SetIndex::Xor).contains(&"LIN-16"));
        assert!(changed(|s| s.stlb.index = SetIndex::Linear).contains(&"XOR-7"));
        assert!(changed(|s| s.inclusion = Inclusion::Inclusive).contains(&"non-inclusive"));
        assert!(changed(|s| s.inclusion = Inclusion::Exclusive).contains(&"non-exclusive"));
    }
}
