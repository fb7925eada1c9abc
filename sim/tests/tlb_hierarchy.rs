//! [`Tlbs`] of every shape: first levels for stores and fetches, second levels of two parts, what is smashed, coalesced,
//! inclusive or exclusive; and random accesses to random hierarchies, where a hit without a search is told from one with it.

use std::collections::BTreeMap;

use daxsim_configs::machine::{Inclusion, Replacement, SetIndex, TlbSpec, TlbsSpec};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::tlb::{PteLine, TlbEntry, TlbStats};
use daxsim_sim::mmu::tlbs::{HitLevel, Tlbs};
use daxsim_types::{AccessKind, PageSize, Pfn, Time, VirtAddr};
use proptest::prelude::*;

use AccessKind::{Fetch, Read, Write};
use PageSize::{Size1G, Size2M, Size4K};

const BITS: u64 = Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D;

fn second(entries: u32, ways: u32, sizes: &[PageSize]) -> TlbSpec {
    TlbSpec { hit_penalty: Time(7), ..TlbSpec::new(entries, ways, sizes) }
}

/// Sunny Cove and later, with the arrays of loads left small.
fn ice_lake() -> TlbsSpec {
    TlbsSpec {
        dtlb_2m: Some(TlbSpec::new(32, 4, &[Size2M])),
        dtlb_1g: Some(TlbSpec::new(8, 8, &[Size1G])),
        dtlb_store: Some(TlbSpec::new(16, 16, &PageSize::ALL)),
        itlb_4k: Some(TlbSpec::new(128, 8, &[Size4K])),
        itlb_2m: Some(TlbSpec::new(8, 8, &[Size2M])),
        stlb_1g: Some(second(1024, 8, &[Size4K, Size1G])),
        ..TlbsSpec::new(TlbSpec::new(64, 4, &[Size4K]), second(1024, 8, &[Size4K, Size2M]))
    }
}

/// Zen 2: one array for every size, coalescing; pages of 1 GiB in pieces behind it; second levels of their own for fetches.
fn zen_2() -> TlbsSpec {
    let first = TlbSpec { coalesce: 4, ..TlbSpec::new(64, 64, &PageSize::ALL) };
    TlbsSpec {
        smash: true,
        itlb_4k: Some(first.clone()),
        itlb2: Some(second(1024, 8, &[Size4K, Size2M])),
        ..TlbsSpec::new(first, TlbSpec { ways_2m: 4, coalesce: 4, ..second(2048, 8, &[Size4K, Size2M]) })
    }
}

fn leaf(va: u64, size: PageSize) -> TlbEntry {
    let frame = va >> size.shift() << (size.shift() - 12);
    TlbEntry::of(VirtAddr(va), size, 1, Entry::leaf(Pfn(frame + (1 << 20)), BITS), true, true)
}

/// An access, with a walk where it misses; where it hit.
fn access(t: &mut Tlbs, va: u64, size: PageSize, kind: AccessKind) -> Option<HitLevel> {
    let seen = t.lookup(VirtAddr(va), 1, kind).map(|(_, level, _)| level);
    if seen.is_none() {
        t.fill(VirtAddr(va), leaf(va, size), kind, None);
    }
    assert_eq!(t.check_balance(), Ok(()));
    seen
}

fn stat(t: &Tlbs, name: &str) -> TlbStats {
    t.stats().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn loads_stores_and_fetches_have_first_levels_of_their_own_and_share_the_second() {
    let mut t = Tlbs::new(&ice_lake());
    assert_eq!(access(&mut t, 0x5000, Size4K, Read), None);
    assert_eq!(access(&mut t, 0x5000, Size4K, Write), Some(HitLevel::Stlb));
    assert_eq!(access(&mut t, 0x5000, Size4K, Fetch), Some(HitLevel::Stlb));
    for kind in [Read, Write, Fetch] {
        assert_eq!(access(&mut t, 0x5000, Size4K, kind), Some(HitLevel::Dtlb));
    }
    let counts = |name| (stat(&t, name).lookups, stat(&t, name).hits, stat(&t, name).fills);
    assert_eq!([counts("dtlb"), counts("dtlb_store"), counts("itlb")], [(2, 1, 1); 3]);
    assert_eq!(counts("stlb"), (3, 2, 1));
    let names: Vec<_> = t.stats().iter().map(|(name, _)| *name).collect();
    let want = [
        "dtlb",
        "dtlb_4k",
        "dtlb_2m",
        "dtlb_1g",
        "dtlb_store",
        "itlb",
        "itlb_4k",
        "itlb_2m",
        "stlb",
        "stlb_main",
        "stlb_1g",
    ];
    assert_eq!(names, want, "every structure that there is");
    // The store DTLB takes every size, the seventeenth page makes room.
    for page in 0..17 {
        access(&mut t, page << 21, Size2M, Write);
    }
    assert_eq!(stat(&t, "dtlb_store").evictions, 2);
    assert_eq!(stat(&t, "dtlb_2m").fills, 0);
}

#[test]
fn a_second_level_of_two_parts_holds_as_many_small_pages_as_both_have_entries() {
    for stride in [1, 2, 4] {
        for index in [SetIndex::Linear, SetIndex::Xor] {
            let mut spec = ice_lake();
            spec.stlb.index = index;
            spec.stlb_1g.as_mut().unwrap().index = index;
            let reach = if index == SetIndex::Xor { 2048 } else { 2048 / stride };
            let mut t = Tlbs::new(&spec);
            for _ in 0..2 {
                for page in 0..reach {
                    access(&mut t, (page * stride) << 12, Size4K, Read);
                }
            }
            assert_eq!(stat(&t, "stlb").misses, reach, "{index:?}, stride {stride}: the second round hits");
            assert_eq!(stat(&t, "stlb_main").fills, reach / 2);
            // One more: one page of its set goes, whose turn alternates between the parts.
            for (more, want) in [(0, (1, 0)), (1, (1, 1)), (2, (2, 1))] {
                access(&mut t, ((reach + more * 128) * stride) << 12, Size4K, Read);
                let evicted = (stat(&t, "stlb_main").evictions, stat(&t, "stlb_1g").evictions);
                assert_eq!(evicted.0 + evicted.1, more + 1);
                if stride == 1 && index == SetIndex::Linear {
                    assert_eq!(evicted, want);
                }
            }
        }
    }
    // Larger pages have one part each.
    let mut t = Tlbs::new(&ice_lake());
    access(&mut t, 0, Size2M, Read);
    access(&mut t, 1 << 30, Size1G, Read);
    assert!(t.probe("stlb_main", VirtAddr(0), 1).is_some_and(|e| e.size == Size2M));
    assert!(t.probe("stlb_1g", VirtAddr(1 << 30), 1).is_some_and(|e| e.size == Size1G));
    // A page that is filled again stays where it is.
    t.fill(VirtAddr(1 << 30), leaf(1 << 30, Size1G), Read, None);
    assert_eq!((stat(&t, "stlb_1g").fills, stat(&t, "stlb_1g").replaced), (2, 1));
}

#[test]
fn a_page_of_1g_is_smashed_where_the_second_level_has_none_and_goes_with_any_address_of_it() {
    let mut t = Tlbs::new(&zen_2());
    let (first, other) = ((1 << 30) + (3 << 21), (1 << 30) + (9 << 21));
    access(&mut t, first, Size1G, Read);
    assert!(t.probe("dtlb_4k", VirtAddr(other), 1).is_some_and(|e| e.size == Size1G), "whole above");
    let piece = t.probe("stlb", VirtAddr(first), 1).copied().unwrap();
    assert_eq!((piece.size, piece.origin), (Size2M, Size1G));
    assert!(t.probe("stlb", VirtAddr(other), 1).is_none());
    // 64 pages push the whole one out of the first level; the piece comes up as a piece, and still belongs to the page.
    for page in 0..64 {
        access(&mut t, page << 12, Size4K, Read);
    }
    assert_eq!(access(&mut t, first, Size1G, Read), Some(HitLevel::Stlb));
    assert!(t.probe("dtlb_4k", VirtAddr(first), 1).is_some_and(|e| (e.size, e.origin) == (Size2M, Size1G)));
    assert_eq!(t.drop_page(VirtAddr(other), 1), 2, "both pieces, by an address that neither has");
    assert_eq!(t.check_balance(), Ok(()));
    // Without smashing the second level has nothing of it.
    let mut t = Tlbs::new(&TlbsSpec { smash: false, ..zen_2() });
    access(&mut t, first, Size1G, Read);
    assert_eq!(stat(&t, "stlb").fills, 0);
}

#[test]
fn fetches_have_a_second_level_of_their_own_where_the_config_says_so() {
    let mut t = Tlbs::new(&zen_2());
    assert_eq!(access(&mut t, 0x5000, Size4K, Read), None);
    assert_eq!(access(&mut t, 0x5000, Size4K, Fetch), None, "not shared");
    assert_eq!((stat(&t, "stlb").lookups, stat(&t, "itlb2").lookups), (1, 1));
    for page in 16..80 {
        access(&mut t, page << 12, Size4K, Fetch);
    }
    assert_eq!(access(&mut t, 0x5000, Size4K, Fetch), Some(HitLevel::Stlb));
    assert!(t.drop_page(VirtAddr(0x5000), 1) >= 4, "four copies");
}

/// The line of page-table entries around `page`: frames in a row from `frame`, changed by `change`.
fn line(frame: u64, change: impl Fn(usize, Entry) -> Entry) -> PteLine {
    PteLine(std::array::from_fn(|i| change(i, Entry::leaf(Pfn(frame + i as u64), BITS))))
}

#[test]
fn four_small_pages_in_a_row_share_an_entry() {
    let plain = |_: usize, e: Entry| e;
    let fill = |t: &mut Tlbs, page: u64, line: &PteLine| {
        let va = VirtAddr(page << 12);
        let e = TlbEntry::of(va, Size4K, 1, line.0[page as usize & 7], true, true);
        t.fill(va, e, Read, Some(line));
    };
    let mut t = Tlbs::new(&zen_2());
    assert!(t.coalesces());
    fill(&mut t, 0x106, &line(0x80, plain));
    for page in 0x104..0x108 {
        let found = t.lookup(VirtAddr(page << 12), 1, Read).unwrap();
        assert_eq!((found.0.frame(VirtAddr(page << 12)).0, found.1), (0x80 + page - 0x100, HitLevel::Dtlb));
        assert_eq!(t.hit(VirtAddr(page << 12), 1, Read), Some((Pfn(0x80 + page - 0x100), Time::ZERO)));
    }
    for page in [0x103, 0x108] {
        assert_eq!(t.lookup(VirtAddr(page << 12), 1, Read), None);
    }
    assert_eq!(t.drop_page(VirtAddr(0x105 << 12), 1), 2, "one page takes all four along, in both levels");
    assert_eq!(t.entries().count(), 0);
    // 64 entries reach 256 pages.
    for page in (0..256).step_by(4) {
        fill(&mut t, page, &line(0x1000 + (page & !7), plain));
    }
    assert!((0..256).all(|page| t.hit(VirtAddr(page << 12), 1, Read).is_some() || {
        t.lookup(VirtAddr(page << 12), 1, Read).is_some_and(|found| found.1 == HitLevel::Dtlb)
    }));
    assert_eq!(t.check_balance(), Ok(()));
}

#[test]
fn pages_that_differ_do_not_share_an_entry() {
    let alone = |frame: u64, change: &dyn Fn(usize, Entry) -> Entry| {
        let line = line(frame, change);
        let va = VirtAddr(0x105 << 12);
        let mut t = Tlbs::new(&zen_2());
        t.fill(va, TlbEntry::of(va, Size4K, 1, line.0[5], true, true), Read, Some(&line));
        [0x104, 0x105, 0x106, 0x107].map(|page| t.probe("dtlb_4k", VirtAddr(page << 12), 1).is_some())
            == [false, true, false, false]
    };
    let at = |i: usize, bits: u64| move |n: usize, e: Entry| if n == i { Entry(e.0 ^ bits) } else { e };
    assert!(!alone(0x80, &at(2, Entry::D)), "a page of the other half of the line");
    assert!(alone(0x81, &at(0, 0)), "frames not aligned as the pages");
    for bits in [Entry::P, Entry::A, Entry::RW, Entry::US, Entry::D, Entry::G, Entry::NX, Entry::PCD, 1 << 12]
    {
        assert!(alone(0x80, &at(7, bits)), "{bits:#x}");
        assert!(alone(0x80, &at(4, bits)), "{bits:#x}");
    }
    assert!(!alone(0x80, &at(7, Entry::SOFT_DIRTY)), "hardware ignores it");
}

#[test]
fn an_inclusive_second_level_takes_its_victims_out_of_the_first() {
    let spec = TlbsSpec::new(TlbSpec::new(8, 8, &[Size4K]), second(4, 4, &[Size4K]));
    for (inclusion, left) in [(Inclusion::None, 5), (Inclusion::Inclusive, 4)] {
        let mut t = Tlbs::new(&TlbsSpec { inclusion, ..spec.clone() });
        for page in 0..5 {
            access(&mut t, page << 12, Size4K, Read);
        }
        assert_eq!((0..5).filter(|p| t.probe("dtlb_4k", VirtAddr(p << 12), 1).is_some()).count(), left);
        assert_eq!(stat(&t, "dtlb").displaced, 5 - left as u64);
        assert_eq!(t.hit(VirtAddr(0), 1, Read), None);
    }
}

#[test]
fn an_exclusive_second_level_has_what_the_first_has_not() {
    let spec = TlbsSpec::new(TlbSpec::new(2, 2, &[Size4K]), second(4, 4, &[Size4K]));
    let mut t = Tlbs::new(&TlbsSpec { inclusion: Inclusion::Exclusive, ..spec });
    for page in 0..6 {
        assert_eq!(access(&mut t, page << 12, Size4K, Read), None);
    }
    let parts = |t: &Tlbs| {
        [0, 1, 2, 3, 4, 5].map(|p| {
            let has = |name| t.probe(name, VirtAddr(p << 12), 1).is_some();
            (has("dtlb_4k"), has("stlb"))
        })
    };
    let [up, down] = [(true, false), (false, true)];
    assert_eq!(parts(&t), [down, down, down, down, up, up], "2 + 4 entries hold 6 pages");
    assert_eq!(access(&mut t, 0, Size4K, Read), Some(HitLevel::Stlb));
    assert_eq!(parts(&t), [up, down, down, down, down, up], "it went up, the oldest down");
    assert_eq!((stat(&t, "stlb").displaced, stat(&t, "stlb").evictions), (1, 0));
}

/// A page of 4 KiB, 2 MiB or 1 GiB of an address space where each size has a gibibyte of its own, twice.
fn addresses() -> impl Strategy<Value = (u64, PageSize)> {
    (0..6_u64, 0..5_u64, 0..20_u64).prop_map(|(giant, large, small)| {
        (giant << 30 | large << 21 | small << 12, PageSize::ALL[(giant % 3) as usize])
    })
}

#[derive(Clone, Debug)]
enum Op {
    Access((u64, PageSize), AccessKind, u16),
    /// The mapping changes, and INVLPG follows for some address of the page.
    Remap((u64, PageSize), u64, u16),
    Pcid(u16),
    All(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let kind = prop_oneof![4 => Just(Read), 2 => Just(Write), 1 => Just(Fetch)];
    prop::collection::vec(
        prop_oneof![
            40 => (addresses(), kind, 0..2_u16).prop_map(|(page, kind, pcid)| Op::Access(page, kind, pcid)),
            2 => (addresses(), any::<u64>(), 0..2_u16).prop_map(|(page, inside, pcid)| Op::Remap(page, inside, pcid)),
            1 => (0..2_u16).prop_map(Op::Pcid),
            1 => any::<bool>().prop_map(Op::All),
        ],
        1..300,
    )
}

fn hierarchies() -> impl Strategy<Value = TlbsSpec> {
    let policy = prop_oneof![
        Just(Replacement::Lru),
        Just(Replacement::Plru),
        Just(Replacement::Random),
        Just(Replacement::Fifo)
    ];
    let inclusion =
        prop_oneof![Just(Inclusion::None), Just(Inclusion::Inclusive), Just(Inclusion::Exclusive)];
    (any::<[bool; 8]>(), policy, inclusion, 0..3_u32, 0..3_u32).prop_map(
        |([split, store, fetch, fetch2, two, smash, coalesce, many], replacement, inclusion, up, down)| {
            let spec = |spec: TlbSpec| TlbSpec { replacement, ..spec };
            let pages = if coalesce { 4 } else { 1 };
            let small: &[PageSize] = if split { &[Size4K] } else { &PageSize::ALL };
            let ways = if many { 32 } else { 2 << up };
            let first = spec(TlbSpec { coalesce: pages, ..TlbSpec::new(4 * ways, ways, small) });
            let part = |sizes: &[PageSize]| spec(TlbSpec { coalesce: pages, ..second(16 << down, 4, sizes) });
            TlbsSpec {
                inclusion,
                smash,
                dtlb_2m: split.then(|| spec(TlbSpec::new(4, 4, &[Size2M]))),
                dtlb_1g: split.then(|| spec(TlbSpec::new(2, 2, &[Size1G]))),
                dtlb_store: store.then(|| spec(TlbSpec::new(4, 4, &PageSize::ALL))),
                itlb_4k: fetch.then(|| spec(TlbSpec::new(4, 2, &[Size4K, Size2M]))),
                itlb2: (fetch && fetch2).then(|| part(&[Size4K])),
                stlb_1g: two.then(|| part(&[Size4K, Size1G])),
                ..TlbsSpec::new(first, part(&[Size4K, Size2M]))
            }
        },
    )
}

/// What the tables say: how often each page was mapped anew, by PCID.
#[derive(Default)]
struct Tables(BTreeMap<(u64, PageSize, u16), u64>);

impl Tables {
    fn entry(&self, va: u64, size: PageSize, pcid: u16) -> Entry {
        let page = va >> size.shift();
        let version = self.0.get(&(page, size, pcid)).copied().unwrap_or(0);
        let frame = (version << 24 | u64::from(pcid) << 23) + (page << (size.shift() - 12));
        // Some pages are clean or may not be executed, and all pages of a megabyte or so alike.
        let [clean, data] = [Entry::D, Entry::NX].map(|bit| bit * (page >> 3 & 1));
        Entry::leaf(Pfn(frame), (BITS & !clean) | data)
    }

    fn line(&self, va: u64, pcid: u16) -> PteLine {
        PteLine(std::array::from_fn(|i| self.entry((va >> 15 << 15) + ((i as u64) << 12), Size4K, pcid)))
    }
}

/// An access as the walker makes it; `quick` is whether the way without a search is tried.
fn translate(
    t: &mut Tlbs,
    tables: &Tables,
    (va, size): (u64, PageSize),
    kind: AccessKind,
    pcid: u16,
    quick: bool,
) -> (Option<HitLevel>, Pfn, Time) {
    let at = VirtAddr(va);
    if quick && let Some((frame, penalty)) = t.hit(at, pcid, kind) {
        return (Some(HitLevel::Dtlb), frame, penalty);
    }
    if let Some((e, level, penalty)) = t.lookup(at, pcid, kind) {
        return (Some(level), e.frame(at), penalty);
    }
    let e = TlbEntry::of(at, size, pcid, tables.entry(va, size, pcid), true, true);
    let line = (size == Size4K && t.coalesces()).then(|| tables.line(va, pcid));
    t.fill(at, e, kind, line.as_ref());
    (None, e.frame(at), Time::ZERO)
}

/// Where nothing but loads' arrays is above it and nothing is split, an exclusive second level shares no page with them, and an
/// inclusive one has all of theirs.
fn promised(t: &Tlbs, spec: &TlbsSpec) -> bool {
    if spec.dtlb_store.is_some() || spec.itlb_4k.is_some() || spec.stlb_1g.is_none() {
        return true;
    }
    let has = |names: &[&str], va, pcid| names.iter().any(|name| t.probe(name, va, pcid).is_some());
    let both = |e: &TlbEntry| {
        let va = VirtAddr(e.page << e.size.shift());
        let first = has(&["dtlb_4k", "dtlb_2m", "dtlb_1g"], va, e.pcid);
        (first, has(&["stlb_main", "stlb_1g"], va, e.pcid))
    };
    match spec.inclusion {
        Inclusion::None => true,
        Inclusion::Inclusive => t.entries().all(|e| both(e) != (true, false)),
        Inclusion::Exclusive => t.entries().all(|e| both(e) != (true, true)),
    }
}

fn agree(spec: &TlbsSpec, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut tables = Tables::default();
    // One finds pages again without a search, the other searches always.
    let (mut quick, mut slow) = (Tlbs::new(spec), Tlbs::new(spec));
    for op in ops {
        match op {
            Op::Access(page, kind, pcid) => {
                let (va, size) = page;
                let got = translate(&mut quick, &tables, page, kind, pcid, true);
                let want = translate(&mut slow, &tables, page, kind, pcid, false);
                prop_assert_eq!(got, want, "{:?}", op);
                let inside = (va >> 12) & (size.pages() - 1);
                let frame = Pfn(tables.entry(va, size, pcid).pfn().0 + inside);
                prop_assert_eq!(got.1, frame, "a translation that the tables do not have");
            }
            Op::Remap((va, size), inside, pcid) => {
                *tables.0.entry((va >> size.shift(), size, pcid)).or_default() += 1;
                let any = VirtAddr((va >> size.shift() << size.shift()) + inside % size.bytes());
                prop_assert_eq!(quick.drop_page(any, pcid), slow.drop_page(any, pcid));
                let start = va >> size.shift() << size.shift();
                let left = |e: &TlbEntry| {
                    e.pcid == pcid && e.page << e.size.shift() >> size.shift() == start >> size.shift()
                };
                prop_assert!(!quick.entries().any(left), "a piece was left");
            }
            Op::Pcid(pcid) => prop_assert_eq!(quick.flush_pcid(pcid), slow.flush_pcid(pcid)),
            Op::All(global) => prop_assert_eq!(quick.flush_all(global), slow.flush_all(global)),
        }
        prop_assert_eq!(quick.check_balance(), Ok(()));
        prop_assert!(promised(&quick, spec));
    }
    prop_assert_eq!(quick.stats(), slow.stats());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_hierarchies_translate_as_the_tables_say_and_count_everything_once(spec in hierarchies(), ops in ops()) {
        agree(&spec, ops)?;
    }
}
