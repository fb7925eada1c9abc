//! `[tlb]`: the translation lookaside buffers of a machine.

use daxsim_types::{PageSize, Time};

/// How an array picks its victim. An empty way is always taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Exact least recently used.
    Lru,
    /// A binary tree over the ways, each node pointing away from the half used last (tree-PLRU).
    Plru,
    /// "(MRU+1)%3 PLRU4" of TLB;DR (USENIX Security 2022): three groups of four ways; the victim's is the one after the group
    /// used last, and in it tree-PLRU decides.
    Mru3Plru4,
    /// Any way with the same probability, drawn from a seed.
    Random,
    /// First in, first out: a hit changes nothing.
    Fifo,
}

/// How a page number picks its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetIndex {
    /// Low bits of the page number.
    Linear,
    /// Low bits exclusive-or the next as many bits (TLB;DR: "XOR-7" for 128 sets).
    Xor,
    /// Another row in each way: low bits exclusive-or the next as many, rotated by the number of the way (after A. Seznec,
    /// "A case for two-way skewed-associative caches", ISCA 1993).
    Skewed,
}

/// What the levels promise each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inclusion {
    /// Nothing: both are filled by a walk, and each evicts as it likes.
    None,
    /// What the second level evicts, the first level drops.
    Inclusive,
    /// A walk fills the first level alone; a hit in the second level moves the entry up, and what the first level evicts goes
    /// down.
    Exclusive,
}

/// One TLB array. `entries / ways` is a power of two.
#[derive(Clone, Debug, PartialEq)]
pub struct TlbSpec {
    /// Entries in all, in 1..=65536.
    pub entries: u32,
    /// Ways, in 1..=entries; equal to `entries` for a fully associative array.
    pub ways: u32,
    /// Ways that a 4 KiB page may use, which ones being picked by the page number; 0 for all.
    pub ways_4k: u32,
    /// The same for 2 MiB pages.
    pub ways_2m: u32,
    /// The same for 1 GiB pages.
    pub ways_1g: u32,
    /// Victim choice.
    pub replacement: Replacement,
    /// Set choice.
    pub index: SetIndex,
    /// Page sizes that the array holds, ascending, at least one.
    pub page_sizes: Vec<PageSize>,
    /// 4 KiB pages, aligned and contiguous, that one entry can hold: 1, 2, 4 or 8.
    pub coalesce: u32,
    /// What a hit here adds to the access: zero for a first-level TLB.
    pub hit_penalty: Time,
}

impl TlbSpec {
    /// A plain array: exact LRU, linear index, one page to an entry, no penalty.
    #[must_use]
    pub fn new(entries: u32, ways: u32, page_sizes: &[PageSize]) -> Self {
        Self {
            entries,
            ways,
            ways_4k: 0,
            ways_2m: 0,
            ways_1g: 0,
            replacement: Replacement::Lru,
            index: SetIndex::Linear,
            page_sizes: page_sizes.to_vec(),
            coalesce: 1,
            hit_penalty: Time::ZERO,
        }
    }

    /// Number of sets.
    #[must_use]
    pub const fn sets(&self) -> u32 {
        self.entries / self.ways
    }

    /// Whether the array can hold a page of `size`.
    #[must_use]
    pub fn holds(&self, size: PageSize) -> bool {
        self.page_sizes.contains(&size)
    }

    /// Ways that a page of `size` may use.
    #[must_use]
    pub const fn ways_of(&self, size: PageSize) -> u32 {
        let ways = match size {
            PageSize::Size4K => self.ways_4k,
            PageSize::Size2M => self.ways_2m,
            PageSize::Size1G => self.ways_1g,
        };
        if ways == 0 { self.ways } else { ways }
    }
}

/// `[tlb]`
#[derive(Clone, Debug, PartialEq)]
pub struct TlbsSpec {
    /// What the levels promise each other.
    pub inclusion: Inclusion,
    /// Whether a page of a size that only the first level holds goes into the second as the largest piece that this holds.
    pub smash: bool,
    /// Whether a walk for a page has the next one translated into the second level.
    pub next_page_prefetch: bool,
    /// What random replacement starts from.
    pub seed: u32,
    /// `[tlb.dtlb_4k]`: first level, 4 KiB pages (or all sizes, if it says so).
    pub dtlb_4k: TlbSpec,
    /// `[tlb.dtlb_2m]`: first level, 2 MiB pages; absent where `dtlb_4k` holds them.
    pub dtlb_2m: Option<TlbSpec>,
    /// `[tlb.dtlb_1g]`: first level, 1 GiB pages; absent where another array holds them.
    pub dtlb_1g: Option<TlbSpec>,
    /// `[tlb.dtlb_store]`: first level of stores; absent where they share the arrays of loads.
    pub dtlb_store: Option<TlbSpec>,
    /// `[tlb.itlb_4k]`: first level of instruction fetches; absent where they are looked up as loads are.
    pub itlb_4k: Option<TlbSpec>,
    /// `[tlb.itlb_2m]`: the same for 2 MiB pages; absent where `itlb_4k` holds them or nothing does.
    pub itlb_2m: Option<TlbSpec>,
    /// `[tlb.itlb2]`: second level of instruction fetches; absent where they share the STLB.
    pub itlb2: Option<TlbSpec>,
    /// `[tlb.stlb]`: second level.
    pub stlb: TlbSpec,
    /// `[tlb.stlb_1g]`: the part of the second level beside `stlb` that holds 1 GiB pages, alone or with 4 KiB pages.
    pub stlb_1g: Option<TlbSpec>,
}

impl TlbsSpec {
    /// Two levels of one array each, for loads, stores and fetches alike.
    #[must_use]
    pub const fn new(first: TlbSpec, second: TlbSpec) -> Self {
        Self {
            inclusion: Inclusion::None,
            smash: false,
            next_page_prefetch: false,
            seed: 0,
            dtlb_4k: first,
            dtlb_2m: None,
            dtlb_1g: None,
            dtlb_store: None,
            itlb_4k: None,
            itlb_2m: None,
            itlb2: None,
            stlb: second,
            stlb_1g: None,
        }
    }

    /// Every array with the name of its table, in the order of the documentation.
    pub fn arrays(&self) -> impl Iterator<Item = (&'static str, &TlbSpec)> {
        [
            ("dtlb_4k", Some(&self.dtlb_4k)),
            ("dtlb_2m", self.dtlb_2m.as_ref()),
            ("dtlb_1g", self.dtlb_1g.as_ref()),
            ("dtlb_store", self.dtlb_store.as_ref()),
            ("itlb_4k", self.itlb_4k.as_ref()),
            ("itlb_2m", self.itlb_2m.as_ref()),
            ("itlb2", self.itlb2.as_ref()),
            ("stlb", Some(&self.stlb)),
            ("stlb_1g", self.stlb_1g.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, array)| Some((name, array?)))
    }
}
