//! The hierarchy, in tiny geometries.

use AccessKind::{Fetch, Read, Write};
use PageSize::{Size1G, Size2M, Size4K};
use daxsim_configs::machine::TlbSpec;

use super::*;
use crate::mmu::tlb::TlbStats;

fn array(entries: u32, ways: u32, sizes: &[PageSize], cycles: u64) -> TlbSpec {
    TlbSpec { hit_penalty: Time(cycles), ..TlbSpec::new(entries, ways, sizes) }
}

fn spec() -> TlbsSpec {
    let second = array(8, 8, &[Size4K, Size2M], 9);
    TlbsSpec { dtlb_2m: Some(array(2, 2, &[Size2M], 1)), ..TlbsSpec::new(array(2, 2, &[Size4K], 0), second) }
}

/// Two 4 KiB and two 2 MiB entries at the first level, eight of both sizes at the second.
fn tlbs() -> Tlbs {
    Tlbs::new(&spec())
}

fn at(page: u64) -> VirtAddr {
    VirtAddr(page << 12 | 0x123)
}

fn entry(va: VirtAddr, size: PageSize, pcid: u16) -> TlbEntry {
    TlbEntry {
        page: va.0 >> size.shift(),
        size,
        span: 0,
        origin: size,
        pcid,
        global: false,
        pfn: Pfn(0x100_0000),
        writable: true,
        user: true,
        dirty: false,
        nx: true,
    }
}

fn fill(t: &mut Tlbs, va: VirtAddr, size: PageSize, pcid: u16) {
    t.fill(va, entry(va, size, pcid), Read, None);
}

fn level(t: &mut Tlbs, va: VirtAddr, pcid: u16) -> Option<HitLevel> {
    t.lookup(va, pcid, Read).map(|h| h.1)
}

fn stat(t: &Tlbs, name: &str) -> TlbStats {
    t.stats().into_iter().find(|s| s.0 == name).map(|s| s.1).unwrap_or_default()
}

#[test]
fn an_stlb_hit_goes_into_the_first_level_and_an_eviction_nowhere() {
    let mut t = tlbs();
    for page in 0..3 {
        assert_eq!(t.lookup(at(page), 1, Read), None);
        fill(&mut t, at(page), Size4K, 1);
    }
    // Page 0 was pushed out of the first level only.
    assert_eq!(t.lookup(at(0), 1, Read), Some((entry(at(0), Size4K, 1), HitLevel::Stlb, Time(9))));
    assert_eq!(t.lookup(at(0), 1, Read), Some((entry(at(0), Size4K, 1), HitLevel::Dtlb, Time(0))));
    assert_eq!(level(&mut t, at(1), 1), Some(HitLevel::Stlb), "it made room for 0");
    let counts = |s: TlbStats| [s.lookups, s.hits, s.misses, s.fills, s.evictions, s.invalidations];
    assert_eq!(counts(stat(&t, "dtlb")), [6, 1, 5, 5, 3, 0]);
    assert_eq!(counts(stat(&t, "dtlb_4k")), [0, 0, 0, 5, 3, 0]);
    assert_eq!(counts(stat(&t, "dtlb_2m")), [0; 6]);
    assert_eq!(counts(stat(&t, "stlb")), [5, 2, 3, 3, 0, 0]);
}

#[test]
fn an_stlb_eviction_leaves_the_first_level_alone() {
    let mut t = tlbs();
    for page in [0, 1, 512, 1024, 1536, 2048, 2560, 3072, 3584] {
        let size = if page < 2 { Size4K } else { Size2M };
        fill(&mut t, at(page), size, 1);
    }
    assert!(t.probe("stlb", at(0), 1).is_none());
    assert_eq!(level(&mut t, at(0), 1), Some(HitLevel::Dtlb));
}

#[test]
fn a_large_page_answers_for_all_of_itself_from_its_own_array() {
    let mut t = tlbs();
    fill(&mut t, at(512), Size2M, 1);
    assert_eq!(t.lookup(at(1023), 1, Read), Some((entry(at(512), Size2M, 1), HitLevel::Dtlb, Time(1))));
    assert_eq!(t.lookup(at(1024), 1, Read), None);
    assert_eq!((stat(&t, "dtlb_4k").fills, stat(&t, "dtlb_2m").fills), (0, 1));
}

#[test]
fn a_page_of_a_size_nobody_holds_is_split_and_its_pieces_go_together() {
    let mut t = tlbs();
    fill(&mut t, at(512 * 3 + 5), Size1G, 1);
    let piece = TlbEntry { origin: Size1G, pfn: Pfn(0x100_0000 + 3 * 512), ..entry(at(512 * 3), Size2M, 1) };
    assert_eq!(t.lookup(at(512 * 3), 1, Read).map(|h| h.0), Some(piece));
    assert_eq!(t.lookup(at(512 * 4), 1, Read), None, "the rest of the page was not cached");
    fill(&mut t, at(512 * 4), Size1G, 1);
    assert_eq!(t.drop_page(at(0), 1), 4, "two pieces at two levels");

    let only_4k = array(4, 4, &[Size4K], 0);
    let mut t = Tlbs::new(&TlbsSpec::new(only_4k.clone(), only_4k));
    fill(&mut t, at(512 + 7), Size2M, 1);
    let piece = TlbEntry { origin: Size2M, pfn: Pfn(0x100_0007), ..entry(at(512 + 7), Size4K, 1) };
    assert_eq!(t.lookup(at(512 + 7), 1, Read).map(|h| h.0), Some(piece));
    assert_eq!(t.drop_page(at(512), 1), 2);
}

#[test]
fn a_page_that_only_the_stlb_holds_is_split_on_the_way_up() {
    let mut spec = TlbsSpec::new(array(1, 1, &[Size4K], 0), array(4, 4, &[Size4K, Size2M], 9));
    let mut t = Tlbs::new(&spec);
    fill(&mut t, at(512), Size2M, 1);
    assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Stlb), "found whole");
    assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Dtlb), "left as a piece");
    // Where only the first level holds the size, the STLB stays empty.
    spec.dtlb_2m = Some(array(1, 1, &[Size2M], 0));
    spec.stlb.page_sizes = vec![Size4K];
    let mut t = Tlbs::new(&spec);
    fill(&mut t, at(512), Size2M, 1);
    assert_eq!(t.probe("stlb", at(513), 1), None);
    assert_eq!(level(&mut t, at(513), 1), Some(HitLevel::Dtlb));
}

#[test]
fn a_hit_is_what_a_lookup_would_find_and_counts_as_one() {
    let mut t = tlbs();
    fill(&mut t, at(512 + 3), Size2M, 1);
    fill(&mut t, at(7), Size4K, 1);
    assert_eq!(t.hit(at(512 + 3), 1, Read), None, "not looked up yet");
    for page in [512 + 3, 512 + 4, 7] {
        assert!(t.lookup(at(page), 1, Read).is_some());
    }
    let hit = Some((Pfn(0x100_0003), Time(1)));
    assert_eq!(t.hit(at(512 + 3), 1, Read), hit);
    assert_eq!(t.hit(at(512 + 3), 1, Read), hit, "the same again");
    assert_eq!(t.hit(at(512 + 4), 1, Read), Some((Pfn(0x100_0004), Time(1))));
    assert_eq!(t.hit(at(7), 1, Read), Some((Pfn(0x100_0000), Time(0))));
    assert_eq!(t.hit(at(512 + 3), 2, Read), None, "another PCID");
    assert_eq!(t.hit(at(512 + 3), 1, Write), None, "D is not set");
    assert_eq!(t.hit(at(512 + 3), 1, Fetch), None, "NX");
    assert_eq!(t.hit(at(9), 1, Read), None, "a miss");
    assert_eq!((stat(&t, "dtlb").hits, stat(&t, "dtlb").misses), (7, 0), "what is no hit changes nothing");
    let changes: [fn(&mut Tlbs); 4] = [
        |t| fill(t, at(512), Size2M, 1),
        |t| assert!(t.drop_page(at(512), 1) > 0),
        |t| assert!(t.flush_pcid(1) > 0),
        |t| assert!(t.flush_all(false) > 0),
    ];
    for change in changes {
        let mut t = t.clone();
        assert_eq!(t.hit(at(512 + 3), 1, Read), hit);
        change(&mut t);
        assert_eq!(t.hit(at(512 + 3), 1, Read), None);
    }
    let dirty = TlbEntry { dirty: true, nx: false, ..entry(at(512), Size2M, 1) };
    t.fill(at(512), dirty, Write, None);
    assert!(t.lookup(at(512 + 3), 1, Read).is_some());
    for kind in [Read, Write, Fetch, Write] {
        assert_eq!(t.hit(at(512 + 3), 1, kind), hit);
    }
}

#[test]
fn the_second_level_can_be_filled_alone() {
    let mut t = tlbs();
    assert!(t.fill_second(entry(at(7), Size4K, 1)));
    assert_eq!(level(&mut t, at(7), 1), Some(HitLevel::Stlb));
    assert_eq!(level(&mut t, at(7), 1), Some(HitLevel::Dtlb), "brought up by the hit");
    assert!(!t.fill_second(entry(at(0), Size1G, 1)), "a size that it does not hold");
}

#[test]
fn each_invalidation_drops_its_own_at_both_levels() {
    let fresh = || {
        let mut t = tlbs();
        t.fill(at(1), TlbEntry { global: true, ..entry(at(1), Size4K, 1) }, Read, None);
        for (page, size, pcid) in [(0, Size4K, 1), (0, Size2M, 1), (0, Size4K, 2), (512, Size2M, 1)] {
            fill(&mut t, at(page), size, pcid);
        }
        t
    };
    let left =
        |t: &mut Tlbs| [(0, 1), (0, 2), (512, 1), (1, 3)].map(|(p, c)| t.lookup(at(p), c, Read).is_some());
    assert_eq!(left(&mut fresh()), [true; 4]);

    let mut t = fresh();
    // Two sizes in the STLB, and both in the first level.
    assert_eq!(t.drop_page(at(0), 1), 4);
    assert_eq!(left(&mut t), [false, true, true, true]);
    let mut t = fresh();
    assert_eq!(t.drop_page(at(1), 9), 1, "a global page goes under any PCID");
    assert_eq!(left(&mut t), [true, true, true, false]);
    let mut t = fresh();
    assert_eq!(t.flush_pcid(1), 6);
    assert_eq!(left(&mut t), [false, true, false, true]);
    let mut t = fresh();
    assert_eq!(t.flush_all(false), 8);
    assert_eq!(left(&mut t), [false, false, false, true]);
    let mut t = fresh();
    assert_eq!(t.flush_all(true), 9);
    assert_eq!(left(&mut t), [false; 4]);
}
