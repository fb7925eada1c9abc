//! Counts: of faults, lookups, walks, flushes and memory traffic.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Activity, ShootdownMatrix, rounding};

/// The fault kinds in reading order, as `faults` and `latency` name them.
pub const FAULT_KINDS: [&str; 23] = [
    "read",
    "write",
    "mkwrite",
    "spurious",
    "cow",
    "pmd_read",
    "pmd_write",
    "pmd_mkwrite",
    "pud_read",
    "pud_write",
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
    "access_flags",
    "other",
];

/// Accesses that the simulated program made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// As `read`, mapped by a PUD.
    pub pud_read: u64,
    /// As `write`, mapped by a PUD.
    pub pud_write: u64,
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
    /// Software had to set an accessed or dirty flag. Left out of the document where none was.
    #[serde(skip_serializing_if = "is_zero")]
    pub access_flags: u64,
    /// None of the above.
    pub other: u64,
    /// General-protection exceptions, for addresses that are not canonical. They are no page faults, and not in `total`.
    pub general_protection: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Its form is serde's.
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Faults {
    /// The counts by kind, in the order of [`FAULT_KINDS`].
    #[must_use]
    pub const fn by_kind(&self) -> [(&'static str, u64); 23] {
        [
            (FAULT_KINDS[0], self.read),
            (FAULT_KINDS[1], self.write),
            (FAULT_KINDS[2], self.mkwrite),
            (FAULT_KINDS[3], self.spurious),
            (FAULT_KINDS[4], self.cow),
            (FAULT_KINDS[5], self.pmd_read),
            (FAULT_KINDS[6], self.pmd_write),
            (FAULT_KINDS[7], self.pmd_mkwrite),
            (FAULT_KINDS[8], self.pud_read),
            (FAULT_KINDS[9], self.pud_write),
            (FAULT_KINDS[10], self.pmd_fallback),
            (FAULT_KINDS[11], self.anon_read),
            (FAULT_KINDS[12], self.anon_write),
            (FAULT_KINDS[13], self.anon_huge),
            (FAULT_KINDS[14], self.anon_cow),
            (FAULT_KINDS[15], self.anon_reuse),
            (FAULT_KINDS[16], self.file_read),
            (FAULT_KINDS[17], self.file_write),
            (FAULT_KINDS[18], self.file_cow),
            (FAULT_KINDS[19], self.sigbus),
            (FAULT_KINDS[20], self.sigsegv),
            (FAULT_KINDS[21], self.access_flags),
            (FAULT_KINDS[22], self.other),
        ]
    }
}

/// A structure that is looked up and filled: a TLB or a paging-structure cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Walks {
    /// Walks done.
    pub count: u64,
    /// Paging-structure entries they read from the memory hierarchy.
    pub memory_references: u64,
    /// Cycles from start to end, summed over walks.
    pub cycles: u64,
    /// Entries read of the page tables by level, page table first; those of speculative walks too.
    pub by_level: Vec<u64>,
    /// Entries read of the second stage (EPT, NPT), likewise; all 0 on a machine without.
    pub nested_by_level: Vec<u64>,
    /// Walks that no access waited for, not in `count`.
    pub speculative: u64,
    /// Entries that those read, not in `memory_references`.
    pub speculative_references: u64,
    /// Walks of both kinds that ended without a translation.
    pub refused: u64,
    /// Times that a walk began again because an entry had changed when a bit of it was to be set.
    pub restarts: u64,
    /// Accesses that missed the TLBs and waited for the walk of another access to the same page.
    pub merged: u64,
    /// Walks that had to wait until a walker was free.
    pub queued: u64,
    /// Cycles that those waited.
    pub queue_cycles: u64,
    /// Walks of each walker of a core, summed over cores; together `count`.
    pub by_walker: Vec<u64>,
}

/// Bits of page-table entries that the hardware set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Assists {
    /// Accessed.
    pub a: u64,
    /// Dirty.
    pub d: u64,
}

/// Work of the kernel that the insert semantics decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KernelWork {
    /// Locked read-modify-writes of `struct page`s.
    pub struct_page_rmws: u64,
    /// Acquisitions of the machine's one `memtype_lock`.
    pub memtype_lock: u64,
    /// Acquisitions of the machine's one `resource_lock`.
    pub resource_lock: u64,
    /// Calls of `update_mmu_cache`.
    pub update_mmu_cache: u64,
}

/// What an architecture that is not x86 does about TLBs and access flags. Left out of the document where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Arch {
    /// TLB entries that `update_mmu_cache` wrote.
    pub preloads: u64,
    /// Pages that the hook or an access-flag update invalidated on its own CPU.
    pub local_invalidations: u64,
    /// Accesses refused because software is to set A or D.
    pub access_flag_faults: u64,
    /// Dirty bits that the walker set by a locked update, without an assist.
    pub dirty_updates: u64,
}

impl Arch {
    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The counts with what they are of.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 4] {
        [
            ("TLB entries preloaded by update_mmu_cache", self.preloads),
            ("local invalidations of a page", self.local_invalidations),
            ("faults for an access flag", self.access_flag_faults),
            ("dirty bits set without an assist", self.dirty_updates),
        ]
    }
}

/// TLB shootdowns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// INVLPGBs issued: invalidations that reach every CPU without an interrupt.
    pub invlpgb: u64,
    /// TLBSYNCs executed: waits for them.
    pub tlbsync: u64,
    /// Cycles on the asking CPUs.
    pub initiator_cycles: u64,
    /// Cycles on the asked CPUs.
    pub responder_cycles: u64,
    /// Writes of the interrupt command register.
    #[serde(skip_serializing_if = "is_zero")]
    pub icr_writes: u64,
    /// Calls to CPUs that had been interrupted already and not begun.
    #[serde(skip_serializing_if = "is_zero")]
    pub ipis_saved: u64,
    /// Remote action requests, one per target.
    #[serde(skip_serializing_if = "is_zero")]
    pub remote_actions: u64,
    /// States that lazy flushes left behind.
    #[serde(skip_serializing_if = "is_zero")]
    pub lazy_states: u64,
    /// How long initiators waited for answers after their own flush.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Spread>,
    /// What interrupts took of those that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Spread>,
    /// How long interrupts were there before they were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<Spread>,
    /// Who asked whom, if anybody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<ShootdownMatrix>,
}

/// A distribution of times, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Mean.
    #[serde(serialize_with = "rounding::serialize")]
    pub mean_ns: f64,
    /// Median.
    #[serde(serialize_with = "rounding::serialize")]
    pub p50_ns: f64,
    /// 90th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p90_ns: f64,
    /// 99th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p99_ns: f64,
    /// 99.9th percentile.
    #[serde(serialize_with = "rounding::serialize")]
    pub p999_ns: f64,
    /// Most.
    #[serde(serialize_with = "rounding::serialize")]
    pub max_ns: f64,
}

/// What became of the locks of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LockUse {
    /// Times that one was taken.
    pub acquisitions: u64,
    /// Of these, those that had to wait for another CPU.
    pub contended: u64,
    /// Cycles of these waits; the transfer of a lock's cache line is memory time.
    pub wait_cycles: u64,
}

/// What became of the cache lines of a name: those that the kernel took from other cores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LineUse {
    /// Accesses that got such a line, or the right to write it, from another core.
    pub transfers: u64,
    /// Accesses that found it under way to another core.
    pub contended: u64,
    /// Cycles until it was there, from where it could then be taken.
    pub wait_cycles: u64,
}

/// Flushes with one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// `bytes_written / media_bytes_written`, the effective write ratio; `None` if the medium wrote nothing.
    #[serde(serialize_with = "rounding::serialize_option", skip_serializing_if = "Option::is_none")]
    pub effective_write_ratio: Option<f64>,
    /// What else was counted of it, by name: rows, buffers, translation caches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Its queues, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, QueueDepth>,
    /// Latencies, and what it did over time; left out if it did nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

/// How full queues of a kind were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueDepth {
    /// Entries of one queue, the mean over the time of the run.
    #[serde(serialize_with = "rounding::serialize")]
    pub mean: f64,
    /// Most entries of one at a time.
    pub most: u64,
}

impl Memory {
    /// Sets [`write_amplification`](Self::write_amplification) and
    /// [`effective_write_ratio`](Self::effective_write_ratio) from the byte counts.
    #[must_use]
    pub fn with_amplification(mut self) -> Self {
        self.write_amplification = (self.bytes_written > 0)
            .then(|| rounding::round3(self.media_bytes_written as f64 / self.bytes_written as f64));
        self.effective_write_ratio = (self.media_bytes_written > 0)
            .then(|| rounding::round3(self.bytes_written as f64 / self.media_bytes_written as f64));
        self
    }
}

/// Exits to the hypervisor of a guest. Left out of the document where there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exits {
    /// For a page that the hypervisor had not mapped (EPT violation, nested page fault).
    pub ept_violations: u64,
    /// Cycles until the guest went on, summed.
    pub cycles: u64,
}

impl Exits {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
