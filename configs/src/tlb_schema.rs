//! The keys of `[tlb]`.

use daxsim_types::Time;

use crate::machine::{Inclusion, Replacement, SetIndex, TlbSpec, TlbsSpec};
use crate::schema::{KeyDef, Kind, Reader, Shown, TIME, choices, section};

choices!(REPLACEMENTS: Replacement {
    "lru" => Lru, "plru" => Plru, "mru3-plru4" => Mru3Plru4, "random" => Random, "fifo" => Fifo
});
choices!(INDICES: SetIndex { "linear" => Linear, "xor" => Xor, "skewed" => Skewed });
choices!(INCLUSIONS: Inclusion { "none" => None, "inclusive" => Inclusive, "exclusive" => Exclusive });

const ENTRIES: Kind = Kind::Count { min: 1, max: 65_536 };
const WAYS: Kind = Kind::Count { min: 1, max: 65_536 };
const SIZE_WAYS: Kind = Kind::Count { min: 0, max: 65_536 };
const PAGE_SIZES: Kind = Kind::Set { names: &["4K", "2M", "1G"], empty: false };

macro_rules! array {
    ($module:ident, $prefix:literal, { $($more:tt)* } { $($fixed:tt)* }) => {
        section!($module: TlbSpec, $prefix {
            entries "entries": ENTRIES, "Entries in all.";
            ways "ways": WAYS, "Ways; as many as entries for a fully associative array.";
            ways_4k "ways_4k" = "0": SIZE_WAYS,
                "Ways that a 4K page may use, picked by its number; 0 for all.";
            ways_2m "ways_2m" = "0": SIZE_WAYS,
                "Ways that a 2M page may use, picked by its number; 0 for all.";
            ways_1g "ways_1g" = "0": SIZE_WAYS,
                "Ways that a 1G page may use, picked by its number; 0 for all.";
            replacement "replacement": Kind::Choice(REPLACEMENTS), "How the victim in a set is picked.";
            index "index": Kind::Choice(INDICES),
                "How a page number picks its set: its low bits, those xor the next as many, or another row in each way.";
            page_sizes "page_sizes": PAGE_SIZES, "Page sizes that the array holds.";
            coalesce "coalesce" = "1": Kind::Count { min: 1, max: 8 },
                "4K pages, aligned and contiguous, that one entry can hold: 1, 2, 4 or 8.";
            $($more)*
        } { $($fixed)* });
    };
    ($module:ident, $prefix:literal, first) => {
        array!($module, $prefix, {} { hit_penalty = Time::ZERO; });
    };
    ($module:ident, $prefix:literal, second) => {
        array!($module, $prefix, {
            hit_penalty "hit_penalty": TIME, "What a hit here adds to the access.";
        } {});
    };
}

/// A table of an array.
pub(crate) struct ArrayTable {
    /// Its name.
    pub name: &'static str,
    /// Whether a file may leave it out.
    pub optional: bool,
}

macro_rules! arrays {
    ($($module:ident $name:literal $level:ident $presence:ident;)*) => {
        $(array!($module, $name, $level);)*

        /// Every array, in the order of the documentation.
        pub(crate) const ARRAYS: &[ArrayTable] =
            &[$(ArrayTable { name: $name, optional: matches!(stringify!($presence).as_bytes(), b"optional") }),*];

        /// Every key, in that order.
        pub(crate) fn keys() -> Vec<KeyDef> {
            [common::KEYS, $($module::KEYS),*].concat()
        }
    };
}
arrays! {
    dtlb_4k "tlb.dtlb_4k" first always;
    dtlb_2m "tlb.dtlb_2m" first optional;
    dtlb_1g "tlb.dtlb_1g" first optional;
    dtlb_store "tlb.dtlb_store" first optional;
    itlb_4k "tlb.itlb_4k" first optional;
    itlb_2m "tlb.itlb_2m" first optional;
    itlb2 "tlb.itlb2" second optional;
    stlb "tlb.stlb" second always;
    stlb_1g "tlb.stlb_1g" second optional;
}

/// What holds for all arrays.
pub(crate) struct Common {
    inclusion: Inclusion,
    smash: bool,
    next_page_prefetch: bool,
    seed: u32,
}

section!(common: Common, "tlb" {
    inclusion "inclusion" = "none": Kind::Choice(INCLUSIONS),
        "What the levels promise each other: nothing; that the first holds what the second does; that it does not.";
    smash "smash" = "false": Kind::Bool,
        "Whether a page of a size that only the first level holds goes into the second as the largest piece that this holds.";
    next_page_prefetch "next_page_prefetch" = "false": Kind::Bool,
        "Whether a walk for a page has the next one translated into the second level, off the critical path.";
    seed "seed" = "0": Kind::Count { min: 0, max: u32::MAX as u64 }, "What random replacement starts from.";
});

/// The TLBs, if every key is there and right.
pub(crate) fn read(r: &Reader<'_>) -> Option<TlbsSpec> {
    let Common { inclusion, smash, next_page_prefetch, seed } = common::read(r)?;
    // An optional table: `None` if a key of it is wrong, `Some(None)` if it is not there.
    let optional = |name: &str, read: fn(&Reader<'_>) -> Option<TlbSpec>| {
        if r.has(&format!("tlb.{name}")) { Some(Some(read(r)?)) } else { Some(None) }
    };
    Some(TlbsSpec {
        inclusion,
        smash,
        next_page_prefetch,
        seed,
        dtlb_4k: dtlb_4k::read(r)?,
        dtlb_2m: optional("dtlb_2m", dtlb_2m::read)?,
        dtlb_1g: optional("dtlb_1g", dtlb_1g::read)?,
        dtlb_store: optional("dtlb_store", dtlb_store::read)?,
        itlb_4k: optional("itlb_4k", itlb_4k::read)?,
        itlb_2m: optional("itlb_2m", itlb_2m::read)?,
        itlb2: optional("itlb2", itlb2::read)?,
        stlb: stlb::read(r)?,
        stlb_1g: optional("stlb_1g", stlb_1g::read)?,
    })
}

/// Puts every value.
pub(crate) fn show(spec: &TlbsSpec, shown: &mut Shown) {
    let TlbsSpec { inclusion, smash, next_page_prefetch, seed, .. } = *spec;
    common::show(&Common { inclusion, smash, next_page_prefetch, seed }, shown);
    let mut put = |array: Option<&TlbSpec>, show: fn(&TlbSpec, &mut Shown)| {
        if let Some(array) = array {
            show(array, shown);
        }
    };
    put(Some(&spec.dtlb_4k), dtlb_4k::show);
    put(spec.dtlb_2m.as_ref(), dtlb_2m::show);
    put(spec.dtlb_1g.as_ref(), dtlb_1g::show);
    put(spec.dtlb_store.as_ref(), dtlb_store::show);
    put(spec.itlb_4k.as_ref(), itlb_4k::show);
    put(spec.itlb_2m.as_ref(), itlb_2m::show);
    put(spec.itlb2.as_ref(), itlb2::show);
    put(Some(&spec.stlb), stlb::show);
    put(spec.stlb_1g.as_ref(), stlb_1g::show);
}
