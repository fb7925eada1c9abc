//! One cache against a list for each set.

use super::*;
use crate::memory::tests::geometry;
use daxsim_configs::machine::{CacheIndex, CacheReplacement};
use daxsim_types::Time;
use proptest::prelude::*;

fn cache(sets: u64, ways: u32, units: usize) -> Cache {
    Cache::new(&geometry(sets, ways, Time(1)), units, 1, 1)
}

fn lines(cache: &Cache, unit: usize) -> Vec<u64> {
    let mut lines: Vec<_> = cache.contents(unit).map(|(line, _)| line.0).collect();
    lines.sort_unstable();
    lines
}

fn victim(line: u64, flags: u64) -> Option<Victim> {
    Some(Victim { line: CacheLine(line), flags })
}

#[test]
fn the_least_recently_used_line_leaves_first() {
    let mut c = cache(1, 3, 1);
    for line in 0..3 {
        assert_eq!(c.insert(0, CacheLine(line), 0), None);
    }
    assert!(c.touch(0, CacheLine(0)).is_some());
    assert_eq!(c.insert(0, CacheLine(9), DIRTY), victim(1, 0));
    assert_eq!(c.remove(0, CacheLine(0)), Some(0));
    assert_eq!(lines(&c, 0), [2, 9]);
    assert_eq!(c.insert(0, CacheLine(5), 0), None, "the place of a removed line is free");
    assert_eq!(c.insert(0, CacheLine(6), 0), victim(2, 0));
    assert_eq!(c.insert(0, CacheLine(7), 0), victim(9, DIRTY));
}

#[test]
fn line_zero_is_a_line_like_any_other_and_so_is_the_last() {
    let last = CacheLine((1 << 46) - 1);
    let mut c = cache(2, 2, 1);
    assert_eq!(c.flags(0, CacheLine(0)), None);
    c.insert(0, CacheLine(0), 0);
    c.insert(0, last, OWNED | DIRTY);
    assert_eq!((c.flags(0, CacheLine(0)), c.flags(0, last)), (Some(0), Some(3)));
    assert_eq!(c.flags(0, CacheLine(0xffff_ffff)), None, "only the low half is the same");
    assert_eq!(lines(&c, 0), [0, last.0]);
}

#[test]
fn a_refused_hit_changes_nothing() {
    let mut c = cache(1, 2, 1);
    c.insert(0, CacheLine(1), 0);
    c.insert(0, CacheLine(2), OWNED);
    assert!(!c.hit(0, CacheLine(1), OWNED));
    assert!(!c.hit(0, CacheLine(3), 0));
    assert_eq!(c.insert(0, CacheLine(4), 0), victim(1, 0));
    assert!(c.hit(0, CacheLine(2), OWNED));
    assert_eq!(c.insert(0, CacheLine(5), 0), victim(4, 0));
}

#[test]
fn sets_may_be_any_number_and_units_are_apart() {
    let mut c = cache(3, 1, 2);
    for line in 0..3 {
        assert_eq!(c.insert(1, CacheLine(line), 0), None);
    }
    assert_eq!(lines(&c, 0), [0; 0]);
    assert_eq!(c.insert(1, CacheLine(4), 0).map(|v| v.line), Some(CacheLine(1)));
}

#[test]
fn a_hashed_index_spreads_one_line_of_each_page() {
    let mut spec = geometry(1024, 8, Time(1));
    // One line of each of 384 pages, of consecutive frames: 16 sets of a linear index, 128 ways.
    let pages = (0..384u64).map(|page| CacheLine(page * 64));
    let kept = |spec: &CacheSpec, slices| {
        let mut c = Cache::new(spec, 1, slices, 1);
        for line in pages.clone() {
            c.insert(0, line, 0);
        }
        c.resident()
    };
    assert_eq!(kept(&spec, 1), 128);
    assert!(kept(&spec, 8) <= 128, "eight slices with two of these sets each");
    spec.index = CacheIndex::Hashed;
    assert_eq!(kept(&spec, 1), 384);
}

#[test]
fn slices_get_about_as_many_lines_each() {
    for slices in [2, 8, 24, 60] {
        let spec = geometry(u64::from(slices), 1, Time(1));
        let index = Index::new(&spec, slices);
        for step in [1, 64, 4096] {
            let mut counts = vec![0u32; slices as usize];
            (0..60_000).for_each(|n| counts[index.slice(CacheLine(n * step))] += 1);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least < 60_000 / slices / 4, "{slices} slices, step {step}: {least} to {most}");
        }
    }
}

#[test]
fn random_replacement_picks_every_way_and_the_same_ones_each_time() {
    let mut spec = geometry(1, 8, Time(1));
    spec.replacement = CacheReplacement::Random;
    let run = |seed| {
        let mut c = Cache::new(&spec, 1, 1, seed);
        (0..500).filter_map(|line| c.insert(0, CacheLine(line), 0)).map(|v| v.line.0).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let mut ages: Vec<u64> = run(3).iter().enumerate().map(|(at, line)| at as u64 + 8 - line).collect();
    ages.sort_unstable();
    assert!(ages[0] == 1 && ages[ages.len() - 1] > 20, "not in the order of their coming");
}

#[test]
fn bimodal_insertion_keeps_part_of_a_cycle_that_does_not_fit() {
    let hits = |replacement| {
        let mut spec = geometry(1, 8, Time(1));
        (spec.replacement, spec.bip_rate) = (replacement, 16);
        let mut c = Cache::new(&spec, 1, 1, 1);
        let mut hits = 0;
        for round in 0..400 {
            for line in 0..16 {
                if c.touch(0, CacheLine(line)).is_some() {
                    hits += u64::from(round >= 200);
                } else {
                    c.insert(0, CacheLine(line), 0);
                }
            }
        }
        hits
    };
    assert_eq!(hits(CacheReplacement::Lru), 0);
    // Of 16 lines 7 can stay; those that one in 16 pushes out are seldom.
    assert!((200 * 5..=200 * 8).contains(&hits(CacheReplacement::Bip)), "{}", hits(CacheReplacement::Bip));
}

#[test]
fn qlru_keeps_part_of_a_cycle_that_is_a_little_too_long() {
    let missed = |replacement, lines| {
        let mut spec = geometry(1, 16, Time(1));
        spec.replacement = replacement;
        let mut c = Cache::new(&spec, 1, 1, 1);
        let cycle = (0..lines).cycle().map(CacheLine).take(400 * lines as usize);
        let misses = cycle.filter(|&line| {
            let missed = c.touch(0, line).is_none();
            if missed {
                c.insert(0, line, 0);
            }
            missed
        });
        misses.count() * 100 / (400 * lines as usize)
    };
    assert_eq!([16, 17, 18, 24].map(|lines| missed(CacheReplacement::Lru, lines)), [0, 100, 100, 100]);
    // What the policy's published definition gives, step by step: 25, 38, 63 and all.
    let soft = [16, 17, 18, 20, 24].map(|lines| missed(CacheReplacement::Qlru, lines));
    let expected = [0, 25, 38, 63, 100];
    assert!(soft.iter().zip(expected).all(|(got, want)| got.abs_diff(want) <= 2), "{soft:?}");
}

#[test]
fn an_index_of_xor_spreads_lines_over_sets_that_linear_ones_would_share() {
    let mut spec = geometry(64, 1, Time(1));
    (spec.index, spec.index_bits) = (CacheIndex::Xor, 3);
    let mut c = Cache::new(&spec, 1, 1, 1);
    let lines: Vec<u64> = (0..9).map(|n| n * 64).collect();
    let victims = lines.iter().filter(|line| c.insert(0, CacheLine(**line), 0).is_some()).count();
    assert_eq!(victims, 1, "eight sets for nine lines");
}

#[test]
fn stamps_that_run_out_keep_their_order() {
    let mut c = cache(1, 20, 1);
    for line in 0..20 {
        c.insert(0, CacheLine(line), 0);
    }
    c.set_state(0, u64::from(u32::MAX));
    c.touch(0, CacheLine(0));
    assert_eq!(c.insert(0, CacheLine(100), 0), victim(1, 0));
    assert_eq!(c.insert(0, CacheLine(101), 0), victim(2, 0));
}

/// One set: most recently used first, with flags.
type List = Vec<(u64, u64)>;

proptest! {
    #[test]
    fn it_is_lists_with_the_last_used_in_front(
        ways in prop::sample::select(vec![1u32, 2, 3, 8, 11, 12, 15, 16, 20, 32]),
        sets in 1u64..4,
        first_level in any::<bool>(),
        ops in prop::collection::vec((0u64..80, 0u8..8, 0u64..4), 1..600),
    ) {
        let spec = geometry(sets, ways, Time(1));
        let mut c = if first_level { Cache::first_level(&spec, 1, 1) } else { Cache::new(&spec, 1, 1, 1) };
        let mut model: Vec<List> = vec![Vec::new(); sets as usize];
        for (n, op, flags) in ops {
            // Low halves that are the same, now and then.
            let n = n % 40 + ((n / 40) << 32);
            let (line, list) = (CacheLine(n), &mut model[(n % sets) as usize]);
            let at = list.iter().position(|(l, _)| *l == n);
            match (op, at) {
                (0, at) => prop_assert_eq!(c.remove(0, line), at.map(|at| list.remove(at).1)),
                (1 | 2, at) => {
                    let hits = at.filter(|at| list[*at].1 & flags == flags);
                    prop_assert_eq!(c.hit(0, line, flags), hits.is_some());
                    if let Some(at) = hits {
                        list[..=at].rotate_right(1);
                    }
                }
                (_, Some(at)) => {
                    let place = c.touch(0, line).expect("it is here");
                    prop_assert_eq!(c.flags_at(place), list[at].1);
                    list[..=at].rotate_right(1);
                    if op == 3 {
                        prop_assert_eq!(c.clear(place, flags), list[0].1);
                        list[0].1 &= !flags;
                    } else {
                        c.add(place, flags);
                        list[0].1 |= flags;
                    }
                }
                (_, None) => {
                    let left = if list.len() == ways as usize { list.pop() } else { None };
                    prop_assert_eq!(c.insert(0, line, flags), left.and_then(|(l, f)| victim(l, f)));
                    list.insert(0, (n, flags));
                }
            }
        }
        let held: usize = model.iter().map(Vec::len).sum();
        prop_assert_eq!(c.resident(), held as u64);
        let flow = c.flow();
        prop_assert_eq!(flow.fills, flow.evictions + flow.removals + c.resident());
    }
}
