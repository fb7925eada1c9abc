//! What two semantics are compared by.

use serde::{Deserialize, Serialize};

use crate::model::{FAULT_KINDS, RunReport, round3};
use crate::units;

/// What a value counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// CPU cycles.
    Cycles,
    /// Nanoseconds of simulated time.
    Ns,
}

impl Unit {
    /// The value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count | Self::Cycles => units::count(value.abs().round() as u64),
            Self::Ns => units::time(value.abs()),
        }
    }

    /// The change with its sign and unit.
    #[must_use]
    pub fn show_change(self, change: f64) -> String {
        format!("{}{}", if change < 0.0 { "-" } else { "+" }, self.show(change))
    }
}

/// One value of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Place in the table: group, then place in the group.
    pub rank: (u32, usize),
    /// Name for scripts.
    pub key: String,
    /// Name for people.
    pub label: String,
    /// What it counts.
    pub unit: Unit,
    /// The value.
    pub value: f64,
}

/// The metrics of a run. Those of a fault kind are there only if there were such faults.
#[must_use]
pub fn metrics(report: &RunReport) -> Vec<Metric> {
    let mut all = Vec::new();
    let mut put = |rank, key: &str, label: &str, unit, value: f64| {
        all.push(Metric { rank, key: key.to_owned(), label: label.to_owned(), unit, value: round3(value) });
    };
    let work = &report.kernel_work;
    let shootdowns = &report.shootdowns;
    let flushes = |of: fn(&crate::model::Flush) -> u64| report.flushes.values().map(of).sum::<u64>();
    let counts = [
        ("faults.total", "faults", report.faults.total),
        ("assists.a", "A bits set by hardware", report.assists.a),
        ("assists.d", "D bits set by hardware", report.assists.d),
        ("kernel_work.struct_page_rmws", "locked RMWs on struct pages", work.struct_page_rmws),
        ("kernel_work.memtype_lock", "memtype_lock acquisitions", work.memtype_lock),
        ("kernel_work.resource_lock", "resource_lock acquisitions", work.resource_lock),
        ("kernel_work.update_mmu_cache", "update_mmu_cache calls", work.update_mmu_cache),
        ("shootdowns.requests", "flush requests", shootdowns.requests),
        ("flushes.count", "flushes, all CPUs", flushes(|f| f.count)),
        ("shootdowns.full_flushes", "full flushes", shootdowns.full_flushes),
        ("shootdowns.pages", "pages flushed one by one", shootdowns.pages),
        ("shootdowns.ipis_sent", "IPIs", shootdowns.ipis_sent),
        ("walks.count", "page walks", report.walks.count),
    ];
    for (at, (key, label, value)) in counts.into_iter().enumerate() {
        put((if at == 0 { 0 } else { 2 }, at), key, label, Unit::Count, value as f64);
    }
    for (at, (kind, value)) in report.faults.by_kind().into_iter().enumerate() {
        put((1, at), &format!("faults.{kind}"), &format!("  {kind}"), Unit::Count, value as f64);
    }
    for (kind, latency) in report.latency_kinds() {
        // Kinds that the list of fault kinds lacks come after those that it has.
        let at = FAULT_KINDS.iter().position(|k| *k == kind).unwrap_or(FAULT_KINDS.len());
        let key = |what: &str| format!("latency.{kind}.{what}");
        put((3, at), &key("mean"), &format!("{kind}, mean"), Unit::Ns, latency.mean);
        put((4, at), &key("p99"), &format!("{kind}, p99"), Unit::Ns, latency.p99);
    }
    put((5, 0), "instructions", "kernel instructions", Unit::Count, report.instructions as f64);
    put((5, 1), "cycles", "total cycles", Unit::Cycles, report.cycles as f64);
    all.sort_by_key(|metric| metric.rank);
    all
}
