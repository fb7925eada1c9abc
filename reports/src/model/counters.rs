//! Counts: of faults, lookups, walks, flushes and memory traffic.

use serde::{Deserialize, Serialize};

use super::rounding;

/// The fault kinds in reading order, as `faults` and `latency` name them.
pub const FAULT_KINDS: [&str; 20] = [
    "read",
    "write",
    "mkwrite",
    "spurious",
    "cow",
    "pmd_read",
    "pmd_write",
    "pmd_mkwrite",
    "pmd_fallback",
    "anon_read",
    "anon_write",
    "anon_huge",
    "anon_cow",
    "anon_reuse",
    "file_read",
    "file_write",
    "file_cow",
    "sigbus",
    "sigsegv",
    "other",
];

/// Accesses that the simulated program made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accesses {
    /// All.
    pub total: u64,
    /// Loads.
    pub reads: u64,
    /// Stores.
    pub writes: u64,
}

/// Page faults by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// All faults.
    pub total: u64,
    /// A load of a page that had no entry.
    pub read: u64,
    /// A store to a page that had no entry.
    pub write: u64,
    /// A store to a read-only entry, made writable.
    pub mkwrite: u64,
    /// The entry already allowed the access.
    pub spurious: u64,
    /// A private mapping's copy.
    pub cow: u64,
    /// As `read`, mapped by a PMD.
    pub pmd_read: u64,
    /// As `write`, mapped by a PMD.
    pub pmd_write: u64,
    /// As `mkwrite`, mapped by a PMD.
    pub pmd_mkwrite: u64,
    /// The huge handler declined and the fault was done at 4 KiB.
    pub pmd_fallback: u64,
    /// A load of anonymous memory that mapped the zero page.
    pub anon_read: u64,
    /// A store to anonymous memory that mapped a new page.
    pub anon_write: u64,
    /// A huge page of anonymous memory.
    pub anon_huge: u64,
    /// A store outside DAX that copied a page.
    pub anon_cow: u64,
    /// A store outside DAX to a page that was made writable.
    pub anon_reuse: u64,
    /// A load or fetch of a file in the page cache.
    pub file_read: u64,
    /// A store to a shared file in the page cache.
    pub file_write: u64,
    /// A store to a private file page that was not mapped: a copy.
    pub file_cow: u64,
    /// Ended in SIGBUS.
    pub sigbus: u64,
    /// Ended in SIGSEGV.
    pub sigsegv: u64,
    /// None of the above.
    pub other: u64,
}

impl Faults {
    /// The counts by kind, in the order of [`FAULT_KINDS`].
    #[must_use]
    pub const fn by_kind(&self) -> [(&'static str, u64); 20] {
        [
            (FAULT_KINDS[0], self.read),
            (FAULT_KINDS[1], self.write),
            (FAULT_KINDS[2], self.mkwrite),
            (FAULT_KINDS[3], self.spurious),
            (FAULT_KINDS[4], self.cow),
            (FAULT_KINDS[5], self.pmd_read),
            (FAULT_KINDS[6], self.pmd_write),
            (FAULT_KINDS[7], self.pmd_mkwrite),
            (FAULT_KINDS[8], self.pmd_fallback),
            (FAULT_KINDS[9], self.anon_read),
            (FAULT_KINDS[10], self.anon_write),
            (FAULT_KINDS[11], self.anon_huge),
            (FAULT_KINDS[12], self.anon_cow),
            (FAULT_KINDS[13], self.anon_reuse),
            (FAULT_KINDS[14], self.file_read),
            (FAULT_KINDS[15], self.file_write),
            (FAULT_KINDS[16], self.file_cow),
            (FAULT_KINDS[17], self.sigbus),
            (FAULT_KINDS[18], self.sigsegv),
            (FAULT_KINDS[19], self.other),
        ]
    }
}

/// A structure that is looked up and filled: a TLB or a paging-structure cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lookups {
    /// Lookups.
    pub lookups: u64,
    /// Those that hit.
    pub hits: u64,
    /// Those that missed.
    pub misses: u64,
    /// Entries put in.
    pub fills: u64,
    /// Entries taken out by an invalidation.
    pub invalidations: u64,
}

/// Page walks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Walks {
    /// Walks done.
    pub count: u64,
    /// Paging-structure entries they read from the memory hierarchy.
    pub memory_references: u64,
    /// Cycles from start to end, summed over walks.
    pub cycles: u64,
}

/// Bits of page-table entries that the hardware set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Assists {
    /// Accessed.
    pub a: u64,
    /// Dirty.
    pub d: u64,
}

/// TLB shootdowns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shootdowns {
    /// Flushes that had to reach another CPU.
    pub requests: u64,
    /// Interrupts sent, one per target.
    pub ipis_sent: u64,
    /// Interrupts taken.
    pub ipis_received: u64,
    /// Pages invalidated one by one, summed over CPUs.
    pub pages: u64,
    /// Flushes of everything, summed over CPUs.
    pub full_flushes: u64,
    /// Cycles on the asking CPUs.
    pub initiator_cycles: u64,
    /// Cycles on the asked CPUs.
    pub responder_cycles: u64,
}

/// Flushes with one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flush {
    /// The reason as the tracepoint words it.
    pub reason: String,
    /// Events.
    pub count: u64,
    /// Pages, where the event gives a number of them.
    pub pages: u64,
    /// Events that flushed everything (`pages:-1`).
    pub full: u64,
}

/// The wording of a `tlb:tlb_flush` reason.
///
/// Kernels differ in upper and lower case; the number is what identifies it.
#[must_use]
pub const fn flush_reason_text(reason: u32) -> &'static str {
    match reason {
        0 => "flush on task switch",
        1 => "remote shootdown",
        2 => "local shootdown",
        3 => "local mm shootdown",
        4 => "remote ipi send",
        5 => "remote wrong CPU",
        _ => "unknown",
    }
}

/// A data cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Lookups.
    pub lookups: u64,
    /// Those that hit.
    pub hits: u64,
    /// Those that missed.
    pub misses: u64,
    /// Dirty lines written to the next level.
    pub writebacks: u64,
}

/// A memory device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes asked for.
    pub bytes_read: u64,
    /// Bytes handed over.
    pub bytes_written: u64,
    /// Bytes that the medium read, in its own granule.
    pub media_bytes_read: u64,
    /// Bytes that the medium wrote, in its own granule.
    pub media_bytes_written: u64,
    /// `media_bytes_written / bytes_written`; `None` if nothing was written.
    #[serde(serialize_with = "rounding::serialize_option")]
    pub write_amplification: Option<f64>,
    /// Requests that had to wait for a queue or a buffer.
    pub stalls: u64,
    /// Time they waited.
    #[serde(serialize_with = "rounding::serialize")]
    pub stalls_ns: f64,
}

impl Memory {
    /// Sets [`write_amplification`](Self::write_amplification) from the byte counts.
    #[must_use]
    pub fn with_amplification(mut self) -> Self {
        self.write_amplification = (self.bytes_written > 0)
            .then(|| rounding::round3(self.media_bytes_written as f64 / self.bytes_written as f64));
        self
    }
}
