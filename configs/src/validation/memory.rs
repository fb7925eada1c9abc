//! Points whose probes are of memory: their parameters.

use crate::fields::Fields;

/// A probe of memory with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryProbe {
    /// Blocks of a region written in random order, then read; x is bytes of the region.
    WriteChase {
        /// Bytes of a block.
        block: u64,
        /// Stores with CLWB rather than non-temporal ones.
        clwb: bool,
        /// Main memory rather than persistent memory.
        dram: bool,
        /// Seed of the order.
        seed: u64,
    },
    /// A region written over and over; x is bytes of the region.
    Overwrite {
        /// Bytes of a block.
        block: u64,
        /// First halves of all blocks before the second halves.
        halves: bool,
        /// Stores with CLWB rather than non-temporal ones.
        clwb: bool,
        /// Main memory rather than persistent memory.
        dram: bool,
        /// Writes that count.
        writes: u64,
    },
    /// Cores that read or write as fast as they can.
    Bandwidth {
        /// What they do.
        operation: Operation,
        /// Random places rather than one after another.
        random: bool,
        /// Main memory rather than persistent memory.
        dram: bool,
        /// The memory of the last socket.
        remote: bool,
        /// What x is.
        by: BandwidthBy,
        /// Seed of random places.
        seed: u64,
    },
    /// One line on an idle machine; without x.
    PersistLatency {
        /// What is done with it.
        operation: Operation,
        /// Random places rather than one after another.
        random: bool,
        /// Main memory rather than persistent memory.
        dram: bool,
    },
}

/// What accesses do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Load.
    Load,
    /// Non-temporal stores.
    NtStore,
    /// Stores with a CLWB each.
    Clwb,
    /// Loads and ordinary stores: so many lines read to one written.
    Mixed(u8),
}

/// What a bandwidth is a function of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BandwidthBy {
    /// Threads, with accesses of so many bytes.
    Threads {
        /// Bytes.
        access: u64,
    },
    /// Bytes of an access; the best of some numbers of threads.
    Access {
        /// The numbers.
        threads: Vec<u16>,
    },
}

/// What of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryMetric {
    /// Nanoseconds to write a block.
    WriteNs,
    /// Nanoseconds to read a block.
    ReadNs,
    /// Median of the writes, nanoseconds.
    MedianNs,
    /// What 10 % do not exceed, nanoseconds.
    P10Ns,
    /// What 90 % do not exceed, nanoseconds.
    P90Ns,
    /// What 99.99 % do not exceed, microseconds.
    P9999Us,
    /// What 99.999 % do not exceed, microseconds.
    P99999Us,
    /// The longest, microseconds.
    MaxUs,
    /// Median of the long stalls, microseconds.
    LongUs,
    /// Median of the writes from one long stall to the next.
    LongSpacing,
    /// The least of them.
    LongSpacingLeast,
    /// The most of them.
    LongSpacingMost,
    /// Median of the short stalls, microseconds.
    ShortUs,
    /// How many short stalls.
    ShortCount,
    /// Bytes that the media wrote for each that was written.
    WriteAmplification,
    /// Gigabytes a second.
    GbS,
    /// Bytes written for each that the media wrote.
    WriteRatio,
    /// Mean, nanoseconds.
    MeanNs,
}

impl MemoryMetric {
    /// Its unit.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::WriteNs | Self::ReadNs | Self::MedianNs | Self::P10Ns | Self::P90Ns | Self::MeanNs => "ns",
            Self::P9999Us | Self::P99999Us | Self::MaxUs | Self::LongUs | Self::ShortUs => "us",
            Self::LongSpacing | Self::LongSpacingLeast | Self::LongSpacingMost => "writes",
            Self::ShortCount => "stalls",
            Self::WriteAmplification | Self::WriteRatio => "ratio",
            Self::GbS => "GB/s",
        }
    }

    /// What people call it, where a probe has several.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteNs => "write",
            Self::ReadNs => "read",
            Self::MedianNs => "median",
            Self::P10Ns => "10 %",
            Self::P90Ns => "90 %",
            Self::P9999Us => "99.99 %",
            Self::P99999Us => "99.999 %",
            Self::MaxUs => "longest",
            Self::LongUs => "long stalls",
            Self::LongSpacing => "writes between long stalls",
            Self::LongSpacingLeast => "fewest writes between long stalls",
            Self::LongSpacingMost => "most writes between long stalls",
            Self::ShortUs => "short stalls",
            Self::ShortCount => "number of short stalls",
            Self::WriteAmplification => "write amplification",
            Self::GbS => "bandwidth",
            Self::WriteRatio => "write ratio",
            Self::MeanNs => "mean",
        }
    }
}

/// Names of the probes.
#[derive(Clone, Copy)]
pub(super) enum Name {
    WriteChase,
    Overwrite,
    Bandwidth,
    PersistLatency,
}

const MEMORIES: [(&str, bool); 2] = [("pmem", false), ("dram", true)];
const STORES: [(&str, bool); 2] = [("nt", false), ("clwb", true)];
const ORDERS: [(&str, bool); 2] = [("sequential", false), ("halves", true)];
const PLACES: [(&str, bool); 2] = [("sequential", false), ("random", true)];
const NODES: [(&str, bool); 2] = [("local", false), ("remote", true)];
const OPERATIONS: [(&str, Operation); 5] = [
    ("load", Operation::Load),
    ("nt", Operation::NtStore),
    ("clwb", Operation::Clwb),
    ("3:1", Operation::Mixed(3)),
    ("1:1", Operation::Mixed(1)),
];
const CHASE_METRICS: [(&str, MemoryMetric); 2] =
    [("write_ns", MemoryMetric::WriteNs), ("read_ns", MemoryMetric::ReadNs)];
const OVERWRITE_METRICS: [(&str, MemoryMetric); 13] = [
    ("median_ns", MemoryMetric::MedianNs),
    ("p10_ns", MemoryMetric::P10Ns),
    ("p90_ns", MemoryMetric::P90Ns),
    ("p9999_us", MemoryMetric::P9999Us),
    ("p99999_us", MemoryMetric::P99999Us),
    ("max_us", MemoryMetric::MaxUs),
    ("long_us", MemoryMetric::LongUs),
    ("long_spacing", MemoryMetric::LongSpacing),
    ("long_spacing_least", MemoryMetric::LongSpacingLeast),
    ("long_spacing_most", MemoryMetric::LongSpacingMost),
    ("short_us", MemoryMetric::ShortUs),
    ("short_count", MemoryMetric::ShortCount),
    ("write_amplification", MemoryMetric::WriteAmplification),
];
const BANDWIDTH_METRICS: [(&str, MemoryMetric); 2] =
    [("gb_s", MemoryMetric::GbS), ("write_ratio", MemoryMetric::WriteRatio)];

/// Reads the probe of a point.
pub(super) fn read(f: &Fields, name: Name) -> Option<(MemoryProbe, MemoryMetric)> {
    match name {
        Name::WriteChase => {
            let (block, clwb) = (f.size("block", 64), f.choice("store", &STORES, true));
            let (dram, seed) = (f.choice("memory", &MEMORIES, true), f.count("seed", 42));
            let metric = f.choice("metric", &CHASE_METRICS, true);
            Some((MemoryProbe::WriteChase { block: block?, clwb: clwb?, dram: dram?, seed: seed? }, metric?))
        }
        Name::Overwrite => {
            let (block, clwb) = (f.size("block", 256), f.choice("store", &STORES, true));
            let (halves, dram) = (f.choice("order", &ORDERS, true), f.choice("memory", &MEMORIES, true));
            let writes = f.count("writes", 262_144);
            let metric = f.choice("metric", &OVERWRITE_METRICS, true);
            let probe = MemoryProbe::Overwrite {
                block: block?,
                halves: halves?,
                clwb: clwb?,
                dram: dram?,
                writes: writes?,
            };
            Some((probe, metric?))
        }
        Name::Bandwidth => bandwidth(f),
        Name::PersistLatency => {
            let operation = f.choice("operation", &OPERATIONS[..3], true);
            let (random, dram) = (f.choice("places", &PLACES, true), f.choice("memory", &MEMORIES, true));
            let probe = MemoryProbe::PersistLatency { operation: operation?, random: random?, dram: dram? };
            Some((probe, MemoryMetric::MeanNs))
        }
    }
}

fn bandwidth(f: &Fields) -> Option<(MemoryProbe, MemoryMetric)> {
    let (operation, random) = (f.choice("operation", &OPERATIONS, true), f.choice("places", &PLACES, true));
    let (dram, remote) = (f.choice("memory", &MEMORIES, true), f.choice("node", &NODES, true));
    let (metric, seed) = (f.choice("metric", &BANDWIDTH_METRICS, true), f.count("seed", 42));
    let by = if f.has("threads") {
        let expected = "an array of numbers of threads, of which the best counts";
        let numbers = f.numbers("threads", expected)?;
        let threads: Vec<u16> = numbers.iter().map(|n| *n as u16).collect();
        if numbers.iter().zip(&threads).any(|(n, t)| f64::from(*t) != *n || *t == 0) {
            f.bad("threads", "an array".to_owned(), expected);
            return None;
        }
        BandwidthBy::Access { threads }
    } else {
        BandwidthBy::Threads { access: f.size("access", 256)? }
    };
    let probe = MemoryProbe::Bandwidth {
        operation: operation?,
        random: random?,
        dram: dram?,
        remote: remote?,
        by,
        seed: seed?,
    };
    Some((probe, metric?))
}

impl MemoryProbe {
    /// Unit of x.
    #[must_use]
    pub const fn x_unit(&self) -> &'static str {
        match self {
            Self::WriteChase { .. }
            | Self::Overwrite { .. }
            | Self::Bandwidth { by: BandwidthBy::Access { .. }, .. } => "B",
            Self::Bandwidth { .. } => "threads",
            Self::PersistLatency { .. } => "",
        }
    }
}
