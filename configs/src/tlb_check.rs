//! Checks of the keys of `[tlb]` against each other.

use daxsim_types::PageSize;

use crate::check::count;
use crate::machine::{Replacement, SetIndex};
use crate::reader::Reader;
use crate::tlb_schema;

const FIRST: [(&str, PageSize); 3] =
    [("tlb.dtlb_4k", PageSize::Size4K), ("tlb.dtlb_2m", PageSize::Size2M), ("tlb.dtlb_1g", PageSize::Size1G)];

/// Records every combination that no machine can have.
pub(crate) fn tlb(r: &mut Reader<'_>) {
    for array in tlb_schema::ARRAYS.iter().map(|table| table.name) {
        if geometry(r, array) {
            policy(r, array);
        }
        coalescing(r, array);
    }
    page_sizes(r);
    sides(r);
}

fn held(r: &Reader<'_>, array: &str) -> Option<Vec<PageSize>> {
    r.get(&format!("{array}.page_sizes"))
}

/// Whether it is possible.
fn geometry(r: &mut Reader<'_>, array: &str) -> bool {
    let ways_key = format!("{array}.ways");
    let (Some(entries), Some(ways)) = (r.get::<u32>(&format!("{array}.entries")), r.get::<u32>(&ways_key))
    else {
        return false;
    };
    let mut possible = false;
    let found = format!("{}, {}", count(entries, "entry", "entries"), count(ways, "way", "ways"));
    if ways > entries {
        r.bad(&ways_key, found, format!("1..={entries} ways"));
    } else if !entries.is_multiple_of(ways) {
        r.bad(&ways_key, found, "entries to be a multiple of ways".to_owned());
    } else if !(entries / ways).is_power_of_two() {
        let found = format!("{found}: {} sets", entries / ways);
        r.bad(&ways_key, found, "entries / ways to be a power of two".to_owned());
    } else {
        possible = true;
    }
    for size in ["4k", "2m", "1g"] {
        let key = format!("{array}.ways_{size}");
        if let Some(n) = r.get::<u32>(&key).filter(|n| *n > ways) {
            r.bad(&key, format!("{n} of {}", count(ways, "way", "ways")), format!("0..={ways}"));
            possible = false;
        }
    }
    possible
}

/// A tree needs a fixed set of ways to stand on.
fn policy(r: &mut Reader<'_>, array: &str) {
    let (key, ways_key) = (format!("{array}.replacement"), format!("{array}.ways"));
    let (Some(replacement), Some(ways)) = (r.get::<Replacement>(&key), r.get::<u32>(&ways_key)) else {
        return;
    };
    // A file that changes the ways of its base is told so there, not in the base.
    let blamed = if r.is_own(&ways_key) && !r.is_own(&key) { &ways_key } else { &key };
    let name = match replacement {
        Replacement::Plru if !ways.is_power_of_two() || ways > 64 => {
            let found = format!("\"plru\" with {}", count(ways, "way", "ways"));
            return r.bad(blamed, found, format!("a power of two up to 64 ways, or another {key}"));
        }
        Replacement::Mru3Plru4 if ways != 12 => {
            let found = format!("\"mru3-plru4\" with {}", count(ways, "way", "ways"));
            return r.bad(blamed, found, format!("12 ways, three groups of four, or another {key}"));
        }
        Replacement::Plru => "plru",
        Replacement::Mru3Plru4 => "mru3-plru4",
        Replacement::Lru | Replacement::Random | Replacement::Fifo => return,
    };
    let expected = "\"lru\", \"random\" or \"fifo\"".to_owned();
    if r.get(&format!("{array}.index")) == Some(SetIndex::Skewed) {
        r.bad(&key, format!("\"{name}\" in a skewed array"), expected);
    } else if ["4k", "2m", "1g"]
        .iter()
        .any(|size| r.get::<u32>(&format!("{array}.ways_{size}")).is_some_and(|n| n > 0 && n != ways))
    {
        r.bad(&key, format!("\"{name}\" where a page size has some of the ways only"), expected);
    }
}

fn coalescing(r: &mut Reader<'_>, array: &str) {
    let key = format!("{array}.coalesce");
    let Some(pages) = r.get::<u32>(&key) else { return };
    if !pages.is_power_of_two() {
        r.bad(&key, pages.to_string(), "1, 2, 4 or 8".to_owned());
    } else if pages > 1 && held(r, array).is_some_and(|sizes| !sizes.contains(&PageSize::Size4K)) {
        r.bad(&key, format!("{pages} without 4K pages"), "1".to_owned());
    }
}

/// Each page size has one first-level array, the one named after it or a smaller one's.
fn page_sizes(r: &mut Reader<'_>) {
    let sizes = FIRST.map(|(array, _)| held(r, array));
    for ((array, own), sizes) in FIRST.iter().zip(&sizes) {
        own_size(r, array, *own, sizes.as_deref());
    }
    let is_wrong = |i: usize| {
        sizes.get(i).is_some_and(|h: &Option<_>| h.is_none()) && {
            FIRST.get(i).is_some_and(|(array, _)| r.has(array))
        }
    };
    if (0..FIRST.len()).any(is_wrong) || sizes.iter().all(Option::is_none) {
        return;
    }
    for size in PageSize::ALL {
        let arrays = FIRST.iter().zip(&sizes);
        let holders: Vec<&str> = arrays
            .filter(|(_, sizes)| sizes.as_ref().is_some_and(|s| s.contains(&size)))
            .map(|((array, _), _)| *array)
            .collect();
        match holders.as_slice() {
            [_] => {}
            [] => r.bad(
                "tlb.dtlb_4k.page_sizes",
                format!("no first-level array holds {size} pages"),
                format!("\"{size}\" here or a table for it"),
            ),
            [first, second, ..] => {
                let found = format!("{size} pages, which {first} holds too");
                let expected = "each page size in one first-level array".to_owned();
                r.bad(&format!("{second}.page_sizes"), found, expected);
            }
        }
    }
}

fn own_size(r: &mut Reader<'_>, array: &str, own: PageSize, sizes: Option<&[PageSize]>) {
    if sizes.is_some_and(|sizes| !sizes.contains(&own)) {
        let found = format!("no {own} pages");
        r.bad(&format!("{array}.page_sizes"), found, format!("\"{own}\" among the sizes of this array"));
    }
}

/// What is beside the arrays of loads: stores, fetches, and the second part of the second level.
fn sides(r: &mut Reader<'_>) {
    use PageSize::{Size1G, Size2M, Size4K};
    for (array, own) in [
        ("tlb.dtlb_store", Size4K),
        ("tlb.itlb_4k", Size4K),
        ("tlb.itlb_2m", Size2M),
        ("tlb.itlb2", Size4K),
        ("tlb.stlb_1g", Size1G),
    ] {
        let sizes = held(r, array);
        own_size(r, array, own, sizes.as_deref());
    }
    for array in ["tlb.itlb_2m", "tlb.itlb2"] {
        if r.has(array) && !r.has("tlb.itlb_4k") {
            let found = "no tlb.itlb_4k".to_owned();
            r.bad(&format!("{array}.entries"), found, "a first level of fetches beside it".to_owned());
        }
    }
    // 4K pages alone may be in both parts of the second level.
    for (one, other, shared) in
        [("tlb.itlb_4k", "tlb.itlb_2m", None), ("tlb.stlb", "tlb.stlb_1g", Some(Size4K))]
    {
        let (Some(first), Some(second)) = (held(r, one), held(r, other)) else { continue };
        if let Some(size) = second.iter().find(|size| first.contains(size) && Some(**size) != shared) {
            let found = format!("{size} pages, which {one} holds too");
            r.bad(&format!("{other}.page_sizes"), found, "them in one of the two".to_owned());
        }
    }
}
