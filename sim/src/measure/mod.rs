//! What a simulation measures: where time went, what each fault was and cost, and how often things happened.

mod constants;
mod executed;
mod fault_log;
mod handler;
mod kernel_events;
mod latency;
mod legal;
mod over_time;
mod part;
mod shootdown;
mod walks;
mod warn;

pub use constants::{Constant, Spent};
pub use executed::Executed;
pub use fault_log::{ExtentFlags, FaultKind, FaultRecord, PathStep};
pub use handler::{Callback, FaultFlags, HandlerCall};
pub use kernel_events::KernelEvents;
pub use latency::{KindLatency, Latencies};
pub use over_time::{Came, OverTime};
pub use part::{Part, Parts};
pub use shootdown::{Asked, Pairs, ShootdownTimes, Times};
pub use walks::{WalkCounts, WalkQueue};
pub use warn::{KernelWarning, KernelWarnings, WarnCount};

use std::collections::BTreeMap;

use daxsim_types::{AccessKind, Time};

use crate::kernel::LineUses;

/// TLB flush reasons in the numbering of the `tlb:tlb_flush` tracepoint
/// (Linux `include/trace/events/tlb.h`; 5 only in newer trees).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FlushReason {
    /// CR3 was loaded by a task switch.
    TaskSwitch = 0,
    /// A flush that another CPU asked for.
    RemoteShootdown = 1,
    /// A local flush without an mm (reclaim batch).
    LocalShootdown = 2,
    /// The initiator's own flush of an mm.
    LocalMmShootdown = 3,
    /// The initiator is about to interrupt other CPUs.
    RemoteSendIpi = 4,
    /// An interrupted CPU did not run the mm.
    RemoteWrongCpu = 5,
}

impl FlushReason {
    /// The tracepoint's text, as Linux 6.12 prints it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::TaskSwitch => "flush on task switch",
            Self::RemoteShootdown => "remote shootdown",
            Self::LocalShootdown => "local shootdown",
            Self::LocalMmShootdown => "local mm shootdown",
            Self::RemoteSendIpi => "remote ipi send",
            Self::RemoteWrongCpu => "remote wrong cpu",
        }
    }
}

/// Shootdown counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shootdowns {
    /// Flush requests (`flush_tlb_mm_range` calls).
    pub requests: u64,
    /// Requests that interrupted at least one CPU.
    pub broadcasts: u64,
    /// Interrupts sent, one per target.
    pub ipis_sent: u64,
    /// Calls to a target that had one in its queue, and so was interrupted already.
    pub ipis_saved: u64,
    /// Writes of the ICR that sent them.
    pub icr_writes: u64,
    /// Interrupts handled.
    pub ipis_received: u64,
    /// Remote action requests, one per target.
    pub remote_actions: u64,
    /// States that lazy flushes left behind, each instead of interrupts.
    pub lazy_states: u64,
    /// Local flushes that a copy on write spared.
    pub spared_flushes: u64,
    /// Pages invalidated one by one, over all CPUs.
    pub pages: u64,
    /// Full flushes, over all CPUs.
    pub full_flushes: u64,
    /// INVLPGBs issued.
    pub invlpgb: u64,
    /// TLBSYNCs executed.
    pub tlbsync: u64,
    /// Time of initiators from the request until every target had answered.
    pub initiator_time: Time,
    /// Time of targets in the handler.
    pub responder_time: Time,
}

/// Counters of the fault path, beside the records themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Page faults raised.
    pub total: u64,
    /// Faults in which at least one huge attempt fell back (they also count by their final kind).
    pub pmd_fallback: u64,
    /// Faults that ended in a signal: SIGBUS.
    pub sigbus: u64,
    /// Faults that ended in a signal: SIGSEGV.
    pub sigsegv: u64,
    /// Faults that ran out of memory and are tried again (`VM_FAULT_OOM`).
    pub oom: u64,
    /// Faults that allocated a block (`VM_FAULT_MAJOR`).
    pub major: u64,
}

/// Everything counted during a simulation, apart from what the structures count themselves.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    /// User loads that completed.
    pub reads: u64,
    /// User stores that completed.
    pub writes: u64,
    /// Page walks.
    pub walks: u64,
    /// What accesses waited for before their walks, or instead of one.
    pub walk_queue: WalkQueue,
    /// Paging-structure entries that walks read, those of the second stage included.
    pub walk_references: u64,
    /// What walks read, by level, and the walks that no access waited for.
    pub walk_counts: WalkCounts,
    /// Time in walks, without the assists that set A and D.
    pub walk_time: Time,
    /// A bits that hardware set.
    pub accessed_assists: u64,
    /// D bits that hardware set by an assist.
    pub dirty_assists: u64,
    /// D bits that the walker set by a locked update alone (`mmu.dirty = "dbm"`).
    pub dirty_updates: u64,
    /// Accesses refused because software is to set A or D.
    pub access_flag_faults: u64,
    /// Exits to the hypervisor.
    pub exits: Exits,
    /// #GPs, for addresses that are not canonical.
    pub general_protections: u64,
    /// Counts of faults.
    pub faults: FaultCounts,
    /// Cost of faults by kind.
    pub latencies: Latencies,
    /// Shootdowns.
    pub shootdowns: Shootdowns,
    /// What they cost each side.
    pub shootdown_times: ShootdownTimes,
    /// Who asked whom for them.
    pub shootdown_pairs: Pairs,
    /// When faults, flushes and interrupts came.
    pub over_time: OverTime,
    /// `tlb_flush` events by reason: count and pages (full flushes count no pages).
    pub flushes: BTreeMap<FlushReason, FlushCount>,
    /// `update_mmu_cache` calls.
    pub update_mmu_cache_calls: u64,
    /// TLB entries that `update_mmu_cache` or `update_mmu_tlb` wrote.
    pub tlb_preloads: u64,
    /// Pages that `update_mmu_cache`, `update_mmu_tlb` or `ptep_set_access_flags` invalidated on their own CPU alone.
    pub local_invalidations: u64,
    /// Acquisitions of the global `memtype_lock`.
    pub memtype_lookups: u64,
    /// Acquisitions of the global `resource_lock` by the memory-type lookup.
    pub resource_lookups: u64,
    /// Locked read-modify-writes of `struct page` lines.
    pub struct_page_rmws: u64,
    /// Lines that the kernel took from other CPUs.
    pub lines: LineUses,
    /// What else the kernel did.
    pub kernel: KernelEvents,
    /// WARNs of the kernel.
    pub warnings: KernelWarnings,
    /// DAX entries written back.
    pub writeback_entries: u64,
    /// The faults themselves, if [`Measurements::keep_faults`].
    pub fault_log: Vec<FaultRecord>,
    /// Whether to keep a record of every fault.
    pub keep_faults: bool,
    /// Faults counted but not kept, because the log was full ([`MOST_FAULTS_KEPT`]).
    pub faults_not_kept: u64,
}

/// Exits to the hypervisor, for pages that it had not mapped (EPT violations).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// How many.
    pub count: u64,
    /// Time until the guest went on.
    pub time: Time,
}

/// Count and pages of one flush reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushCount {
    /// Events.
    pub count: u64,
    /// Pages of the partial ones.
    pub pages: u64,
    /// Events that were full flushes (`pages:-1`).
    pub full: u64,
}

/// Most faults that [`Measurements::fault_log`] holds at a time: a few GiB.
pub const MOST_FAULTS_KEPT: usize = 1 << 22;

impl Measurements {
    /// Counts a completed user access.
    #[inline]
    pub(crate) fn count_access(&mut self, kind: AccessKind) {
        self.writes += u64::from(kind.is_write());
        self.reads += u64::from(!kind.is_write());
    }

    /// Keeps the record of a fault, if there is room.
    pub fn keep_fault(&mut self, fault: FaultRecord) {
        if self.fault_log.len() < MOST_FAULTS_KEPT {
            self.fault_log.push(fault);
        } else {
            self.faults_not_kept += 1;
        }
    }

    /// Notes one `tlb:tlb_flush` event; `pages` is `None` for a full flush.
    pub fn flush_event(&mut self, reason: FlushReason, pages: Option<u64>) {
        let count = self.flushes.entry(reason).or_default();
        count.count += 1;
        match pages {
            Some(n) => count.pages += n,
            None => count.full += 1,
        }
    }
}
