//! The keys of caches, of the topology and of the order of frames.

use crate::machine::{
    CacheIndex, CacheReplacement, CacheSpec, FrameOrder, FramesSpec, L3Relation, Prefetch, TopologySpec,
};
use crate::schema::{KeyDef, Kind, POSITIVE_TIME, TIME, choices, section};

choices!(REPLACEMENTS: CacheReplacement {
    "lru" => Lru, "tree-plru" => TreePlru, "random" => Random, "srrip" => Srrip, "qlru" => Qlru,
    "bip" => Bip,
});
choices!(INDICES: CacheIndex { "linear" => Linear, "hashed" => Hashed, "xor" => Xor });
choices!(RELATIONS: L3Relation {
    "victim" => Victim, "inclusive" => Inclusive, "non-inclusive" => NonInclusive,
});
choices!(PREFETCHES: Prefetch { "off" => Off, "next-line" => NextLine, "stride" => Stride, "streamer" => Streamer });
choices!(ORDERS: FrameOrder { "sequential" => Sequential, "random" => Random, "coloured" => Coloured,
    "rotated" => Rotated, "drifting" => Drifting });

const CACHE_SIZE: Kind = Kind::Size { min: 64, max: 4 << 30, multiple: 64 };
const WAYS: Kind = Kind::Count { min: 1, max: 65_536 };
const SEED: Kind = Kind::Count { min: 0, max: u32::MAX as u64 };

macro_rules! cache_section {
    ($module:ident, $prefix:literal) => {
        section!($module: CacheSpec, $prefix {
            size "size": CACHE_SIZE, "Capacity; of the L3, that of one core complex.";
            ways "ways": WAYS, "Ways.";
            latency "latency": POSITIVE_TIME, "Load-to-use latency of a hit, from the core.";
            replacement "replacement": Kind::Choice(REPLACEMENTS),
                "Which line leaves a full set: the least recently used, one by a tree of bits, any, by SRRIP, by the ages of Intel's QLRU_H00_M1_R0_U1 (qlru), or LRU with bimodal insertion (bip).";
            bip_rate "bip_rate" = "32": Kind::Count { min: 1, max: 65_536 },
                "Of how many lines that come in bip makes one the most recently used; the others become the least.";
            index "index": Kind::Choice(INDICES),
                "How a line picks its set: line number modulo sets, all its bits folded by exclusive or, or as linear with some bits above xored to the lowest.";
            index_bits "index_bits" = "0": Kind::Count { min: 0, max: 16 },
                "Bits above the set that an index of xor uses.";
        });
    };
}
cache_section!(l1d, "cache.l1d");
cache_section!(l2, "cache.l2");
cache_section!(l3, "cache.l3");

/// The keys that stand beside the cache tables.
pub(crate) const BESIDE: &[KeyDef] = &[
    KeyDef {
        key: "cache.l3.relation",
        kind: Kind::Choice(RELATIONS),
        doc: "What the L3 has to do with the L2s: it takes their victims, includes them, or is filled with them but \
              does not include them.",
        default: None,
    },
    KeyDef {
        key: "cache.l3.slices",
        kind: Kind::Count { min: 1, max: 256 },
        doc: "Slices of the L3, which a hash of the line number picks; each has an equal part of the sets.",
        default: None,
    },
    KeyDef {
        key: "cache.l3.history",
        kind: Kind::Count { min: 0, max: 1 << 24 },
        doc: "Clean lines that a victim L3 let go and still knows of: one that is fetched again before it is forgotten is taken \
              when it is evicted anew. 0: the L3 takes all that the L2s evict.",
        default: Some("0"),
    },
    KeyDef {
        key: "cache.l3.history_ways",
        kind: Kind::Count { min: 1, max: 32 },
        doc: "Ways of what it knows; the least recent line of a set is forgotten.",
        default: Some("16"),
    },
    KeyDef {
        key: "cache.transfer",
        kind: POSITIVE_TIME,
        doc: "Latency of a line that another core of the complex holds modified or must give up, from the asking core.",
        default: None,
    },
    KeyDef {
        key: "cache.transfer_socket",
        kind: POSITIVE_TIME,
        doc: "The same from another core complex of the socket.",
        default: None,
    },
    KeyDef {
        key: "cache.transfer_remote",
        kind: POSITIVE_TIME,
        doc: "The same from another socket.",
        default: None,
    },
    KeyDef {
        key: "cache.refill_conflict",
        kind: TIME,
        doc: "What a miss of the L1D adds if the miss before it was in the same set.",
        default: Some("0 ns"),
    },
    KeyDef {
        key: "cache.prefetch",
        kind: Kind::Choice(PREFETCHES),
        doc: "What a core fetches unasked into its L2: nothing, the line after a miss, one stride on, or the lines of a stream \
              (the streamer of Intel's L2); never beyond a 4 KiB page.",
        default: None,
    },
    KeyDef {
        key: "cache.prefetch_ahead",
        kind: Kind::Count { min: 1, max: 64 },
        doc: "Lines that the streamer is ahead of what is asked for at most.",
        default: Some("20"),
    },
    KeyDef {
        key: "cache.prefetch_streams",
        kind: Kind::Count { min: 1, max: 1024 },
        doc: "Streams that the streamer of a core follows, one in a page.",
        default: Some("32"),
    },
    KeyDef {
        key: "cache.superqueue",
        kind: Kind::Count { min: 1, max: 1024 },
        doc: "Lines on their way to an L2 at most, asked for or not, if there is a streamer.",
        default: Some("32"),
    },
    KeyDef { key: "cache.seed", kind: SEED, doc: "Seed of random replacement.", default: None },
];

section!(topology: TopologySpec, "topology" {
    sockets "sockets": Kind::Count { min: 1, max: 16 },
        "Sockets; CPUs, numbered socket by socket, and memory are divided over them evenly.";
    cores_per_complex "cores_per_complex": Kind::Count { min: 0, max: 256 },
        "Cores that share an L3; 0 if all of a socket do.";
    remote_memory "remote_memory": TIME, "What reaching memory of another socket adds.";
    memory_directory "memory_directory" = "false": Kind::Bool,
        "Whether memory notes beside each line, by a write, that another socket got it and may modify it (the directory of Intel's UPI).";
});

section!(frames: FramesSpec, "dram" {
    order "frames": Kind::Choice(ORDERS),
        "Order in which user memory and page tables get frames: by number, random, random with consecutive colours, or the same \
         with each run of colours beginning with another one, or with some colours left out after each run.";
    seed "frames_seed": SEED, "Seed of that order.";
    turned "frames_turned" = "100": Kind::Count { min: 0, max: 100 },
        "Of 100 runs of rotated, those that begin with another colour than the first.";
    run "frames_run" = "64": Kind::Count { min: 1, max: 65_536 },
        "Frames of drifting that take colours in turn before some colours are left out, which other allocations took.";
    skipped "frames_skipped" = "1": Kind::Count { min: 0, max: 64 },
        "Colours that drifting leaves out after a run, in the mean: from none to twice as many.";
    colours "frame_colours": Kind::Count { min: 0, max: 65_536 },
        "Colours that consecutive frames take in turn; 0 for those of the L2, its bytes per way over 4 KiB.";
});
