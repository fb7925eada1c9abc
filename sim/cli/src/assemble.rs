//! From what a simulation measured to what a report says.

use std::collections::BTreeMap;

use anyhow::Result;
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_reports::model::{self, HistogramUnit};
use daxsim_reports::{LatencyBuilder, RunReport, attribute};
use daxsim_sim::Results;
use daxsim_sim::measure::{Came, FaultKind, Measurements, Part, Parts, Times};
use daxsim_sim::memory::{CacheStats, DeviceProfile, DeviceStats, DramStats, Waits};
use daxsim_types::{CpuClock, FileSystem, Time};

use crate::constants;

/// What was simulated.
pub struct Setup<'a> {
    /// The machine.
    pub machine: &'a MachineSpec,
    /// Its overrides, as typed.
    pub machine_overrides: &'a [String],
    /// The kernel.
    pub kernel: &'a KernelSpec,
    /// Its overrides, as typed.
    pub kernel_overrides: &'a [String],
    /// The file system.
    pub fs: FileSystem,
    /// Predict or replay.
    pub mode: model::Mode,
    /// The input.
    pub input: model::Input,
}

/// Fills a report with everything but replay agreement, warnings and assumptions.
pub fn report(setup: &Setup<'_>, results: &Results) -> Result<RunReport> {
    let clock = setup.machine.cpu.clock;
    let m = &results.measurements;
    let mut report = RunReport {
        schema: model::SCHEMA.to_owned(),
        tool: model::Tool { name: "daxsim".into(), version: env!("CARGO_PKG_VERSION").into() },
        inputs: vec![setup.input.clone()],
        mode: setup.mode,
        fs: Some(setup.fs),
        machine: machine(setup, results),
        kernel: kernel(setup),
        accesses: model::Accesses { total: m.reads + m.writes, reads: m.reads, writes: m.writes },
        cycles: clock.to_cycles(results.end),
        time_ns: model::round3(results.end.as_ns()),
        instructions: results.instructions,
        faults: faults(m),
        walks: model::Walks {
            count: m.walks,
            memory_references: m.walk_references,
            cycles: clock.to_cycles(m.walk_time),
            by_level: m.walk_counts.entries.to_vec(),
            nested_by_level: m.walk_counts.nested.to_vec(),
            speculative: m.walk_counts.speculative,
            speculative_references: m.walk_counts.speculative_references,
            refused: m.walk_counts.refused,
            restarts: m.walk_counts.restarts,
            merged: m.walk_queue.merged,
            queued: m.walk_queue.queued,
            queue_cycles: clock.to_cycles(m.walk_queue.time),
            by_walker: m.walk_queue.walks_by_walker(m.walks),
        },
        assists: model::Assists { a: m.accessed_assists, d: m.dirty_assists },
        kernel_work: model::KernelWork {
            struct_page_rmws: m.struct_page_rmws,
            memtype_lock: m.memtype_lookups,
            resource_lock: m.resource_lookups,
            update_mmu_cache: m.update_mmu_cache_calls,
        },
        arch: model::Arch {
            preloads: m.tlb_preloads,
            local_invalidations: m.local_invalidations,
            access_flag_faults: m.access_flag_faults,
            dirty_updates: m.dirty_updates,
        },
        exits: model::Exits { ept_violations: m.exits.count, cycles: clock.to_cycles(m.exits.time) },
        shootdowns: shootdowns(m, clock),
        flushes: flushes(m),
        locks: locks(results, clock),
        lines: lines(m, clock),
        attribution: attribution(results, clock)?,
        over_time: over_time(m),
        ..RunReport::default()
    };
    let busy =
        report.attribution.iter().filter(|part| part.name != Part::Idle.name()).map(|part| part.cycles).sum();
    report.constants = constants::list(setup.machine, setup.kernel, results, busy);
    for (warning, count) in m.warnings.iter() {
        report.warnings.push(model::Warning {
            what: warning.text().into(),
            count: count.met,
            detail: format!("printed {} times", count.printed),
        });
    }
    lookups(results, &mut report);
    memory(setup.machine.pmem.dimms, results, &mut report)?;
    for (kind, latency) in m.latencies.iter() {
        let parts = latency.parts.iter().filter(|(_, t)| t.0 > 0).map(|(p, t)| (p.name().to_owned(), t.0));
        let built = LatencyBuilder::new(kind.name(), &latency.histogram, HistogramUnit::Picoseconds)
            .sum_ps(latency.sum.0)
            .parts(parts)
            .executed(latency.executed.instructions, latency.executed.loads, latency.executed.stores)
            .build()?;
        report.latency.insert(kind.name().to_owned(), built);
        if latency.clipped > 0 {
            report.warnings.push(model::Warning {
                what: format!("{} latencies above 100 s", kind.name()),
                count: latency.clipped,
                detail: "recorded as 100 s in the histogram; sums and means are exact".into(),
            });
        }
    }
    report.warnings.extend(ignored_invlpgb(setup));
    Ok(report)
}

/// Asked for by name, the knob should not be without effect in silence.
fn ignored_invlpgb(setup: &Setup<'_>) -> Option<model::Warning> {
    let asked = overrides(setup.kernel_overrides).iter().any(|o| o.key == "tree.invlpgb");
    (asked && setup.kernel.tree.invlpgb && !setup.machine.mmu.has_invlpgb()).then(|| model::Warning {
        what: "tree.invlpgb has no effect".into(),
        count: 1,
        detail: "the machine has no INVLPGB (mmu.invlpgb_pages, with mmu.pcid): flushes go by interrupts"
            .into(),
    })
}

fn overrides(texts: &[String]) -> Vec<model::Override> {
    texts
        .iter()
        .filter_map(|text| text.split_once('='))
        .map(|(key, value)| model::Override { key: key.trim().into(), value: value.trim().into(), was: None })
        .collect()
}

/// CPUs that ran anything at all.
fn busy_cpus(results: &Results) -> impl Iterator<Item = &Parts> {
    results.cpus.iter().filter(|parts| parts.total() > parts[Part::Idle])
}

fn machine(setup: &Setup<'_>, results: &Results) -> model::Machine {
    let spec = setup.machine;
    model::Machine {
        name: spec.name.clone(),
        description: spec.description.clone(),
        cpus: u32::from(spec.cpu.count),
        cpus_used: busy_cpus(results).count() as u32,
        frequency_hz: 1_000_000_000_000 / spec.cpu.clock.period_ps(),
        overrides: overrides(setup.machine_overrides),
    }
}

fn kernel(setup: &Setup<'_>) -> model::Kernel {
    model::Kernel {
        name: setup.kernel.name.clone(),
        description: setup.kernel.description.clone(),
        semantics: setup.kernel.semantics.clone(),
        overrides: overrides(setup.kernel_overrides),
    }
}

fn faults(m: &Measurements) -> model::Faults {
    let of = |kind| m.latencies.count(kind);
    model::Faults {
        total: m.faults.total,
        read: of(FaultKind::Read),
        write: of(FaultKind::Write),
        mkwrite: of(FaultKind::Mkwrite),
        spurious: of(FaultKind::Spurious),
        cow: of(FaultKind::Cow),
        pmd_read: of(FaultKind::PmdRead),
        pmd_write: of(FaultKind::PmdWrite),
        pmd_mkwrite: of(FaultKind::PmdMkwrite),
        pud_read: of(FaultKind::PudRead),
        pud_write: of(FaultKind::PudWrite),
        pmd_fallback: m.faults.pmd_fallback,
        anon_read: of(FaultKind::AnonRead),
        anon_write: of(FaultKind::AnonWrite),
        anon_huge: of(FaultKind::AnonHuge),
        anon_cow: of(FaultKind::AnonCow),
        anon_reuse: of(FaultKind::AnonReuse),
        file_read: of(FaultKind::FileRead),
        file_write: of(FaultKind::FileWrite),
        file_cow: of(FaultKind::FileCow),
        sigbus: m.faults.sigbus,
        sigsegv: m.faults.sigsegv,
        access_flags: of(FaultKind::AccessFlags),
        other: m.faults.oom,
        general_protection: m.general_protections,
    }
}

fn shootdowns(m: &Measurements, clock: CpuClock) -> model::Shootdowns {
    let s = &m.shootdowns;
    model::Shootdowns {
        requests: s.requests,
        ipis_sent: s.ipis_sent,
        ipis_received: s.ipis_received,
        pages: s.pages,
        full_flushes: s.full_flushes,
        invlpgb: s.invlpgb,
        tlbsync: s.tlbsync,
        initiator_cycles: clock.to_cycles(s.initiator_time),
        responder_cycles: clock.to_cycles(s.responder_time),
        icr_writes: s.icr_writes,
        ipis_saved: s.ipis_saved,
        remote_actions: s.remote_actions,
        lazy_states: s.lazy_states,
        wait: spread(&m.shootdown_times.wait),
        disruption: spread(&m.shootdown_times.disruption),
        masked: spread(&m.shootdown_times.masked),
        matrix: matrix(m),
    }
}

fn matrix(m: &Measurements) -> Option<model::ShootdownMatrix> {
    model::ShootdownMatrix::of(m.shootdown_pairs.iter().map(|(initiator, responder, asked)| {
        model::ShootdownPair {
            initiator: initiator as u32,
            responder: responder as u32,
            calls: asked.calls,
            pages: asked.pages,
            full_flushes: asked.full_flushes,
            wait_ns: asked.response.as_ns(),
            longest_wait_ns: asked.longest.as_ns(),
        }
    }))
}

/// When faults, flushes and interrupts came, if any did.
fn over_time(m: &Measurements) -> Option<model::OverTime> {
    let stretches = m.over_time.stretches();
    let series = |of: &dyn Fn(&Came) -> u64| model::OverTime::trimmed(stretches.iter().map(of).collect());
    let faults =
        FaultKind::ALL.into_iter().map(|kind| (kind.name().to_owned(), series(&|came| came.faults(kind))));
    (!stretches.is_empty()).then(|| model::OverTime {
        stretch_ns: m.over_time.length().as_ns(),
        faults: faults.filter(|(_, counts)| !counts.is_empty()).collect(),
        flushes: series(&|came| came.flushes),
        ipis: series(&|came| came.ipis),
    })
}

fn spread(times: &Times) -> Option<model::Spread> {
    let histogram = times.histogram()?;
    let ns = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Some(model::Spread {
        count: histogram.len(),
        mean_ns: times.sum().as_ns() / histogram.len().max(1) as f64,
        p50_ns: ns(0.5),
        p90_ns: ns(0.9),
        p99_ns: ns(0.99),
        p999_ns: ns(0.999),
        max_ns: histogram.max() as f64 / 1e3,
    })
}

fn locks(results: &Results, clock: CpuClock) -> BTreeMap<String, model::LockUse> {
    let uses = results.locks.iter().map(|(class, used)| {
        let used = model::LockUse {
            acquisitions: used.acquisitions,
            contended: used.contended,
            wait_cycles: clock.to_cycles(used.waited),
        };
        (class.name().to_owned(), used)
    });
    uses.collect()
}

fn lines(m: &Measurements, clock: CpuClock) -> BTreeMap<String, model::LineUse> {
    let uses = m.lines.iter().map(|(name, used)| {
        let used = model::LineUse {
            transfers: used.transfers,
            contended: used.contended,
            wait_cycles: clock.to_cycles(used.waited),
        };
        (name.name().to_owned(), used)
    });
    uses.collect()
}

fn flushes(m: &Measurements) -> BTreeMap<u32, model::Flush> {
    m.flushes
        .iter()
        .map(|(reason, n)| {
            let flush =
                model::Flush { reason: reason.text().into(), count: n.count, pages: n.pages, full: n.full };
            (*reason as u32, flush)
        })
        .collect()
}

/// Every cycle of every CPU that ran anything, by part.
fn attribution(results: &Results, clock: CpuClock) -> Result<Vec<model::CycleShare>> {
    let mut sum = Parts::default();
    for parts in busy_cpus(results) {
        sum.add(parts);
    }
    // Rounded on the running sum, so that the parts still add up to the rounded whole.
    let mut so_far = daxsim_types::Time::ZERO;
    let mut cycles_so_far = 0;
    let mut parts = Vec::new();
    for part in Part::ALL {
        so_far += sum[part];
        let cycles = clock.to_cycles(so_far);
        if sum[part].0 > 0 {
            parts.push((part.name().to_owned(), cycles - cycles_so_far));
            cycles_so_far = cycles;
        }
    }
    Ok(attribute(parts, clock.to_cycles(so_far))?)
}

fn lookups(results: &Results, report: &mut RunReport) {
    for (name, stats) in &results.translation {
        let lookups = model::Lookups {
            lookups: stats.lookups,
            hits: stats.hits,
            misses: stats.misses,
            fills: stats.fills,
            invalidations: stats.invalidations,
        };
        let walking = ["psc", "nested"].iter().any(|kind| name.starts_with(kind));
        let table = if walking { &mut report.psc } else { &mut report.tlb };
        table.insert((*name).to_owned(), lookups);
    }
}

fn memory(dimms: u32, results: &Results, report: &mut RunReport) -> Result<()> {
    let stats = &results.memory;
    let cache = |c: &CacheStats| model::Cache {
        lookups: c.lookups,
        hits: c.hits,
        misses: c.misses,
        writebacks: c.writebacks,
    };
    for (name, level) in [("l1d", &stats.l1d), ("l2", &stats.l2), ("l3", &stats.l3)] {
        report.caches.insert(name.into(), cache(level));
    }
    let [dram, pmem] = &results.devices;
    for (name, device, profile) in [("dram", &stats.dram, dram), ("pmem", &stats.pmem, pmem)] {
        let counters = model::Memory { activity: activity(profile)?, ..device_counters(device) };
        report.memory.insert(name.into(), counters);
    }
    if let Some(dram) = report.memory.get_mut("dram") {
        banks(&stats.dram_banks, dram);
    }
    if let Some(pmem) = report.memory.get_mut("pmem") {
        inside_dimms(&stats.pmem, (dimms, results.end), pmem);
    }
    Ok(())
}

/// What the DIMMs of persistent memory counted.
fn inside_dimms(stats: &DeviceStats, (dimms, end): (u32, Time), pmem: &mut model::Memory) {
    let counts = [
        ("reads that waited for the read queue", stats.read_waits),
        ("buffer read hits", stats.buffer_read_hits),
        ("buffer write hits", stats.buffer_write_hits),
        ("lines read to be written", stats.partial_writes),
        ("translation hits", stats.translation_hits),
        ("translation misses", stats.translation_misses),
        ("blocks moved by wear levelling", stats.migrations),
        ("nanoseconds waited for moved blocks", stats.migration_stall.0 / 1000),
    ];
    let any = stats.reads + stats.writes > 0;
    pmem.counts.extend(counts.into_iter().filter(|_| any).map(|(what, n)| (what.to_owned(), n)));
    let queues = [
        ("write pending queue", stats.write_queue_time, stats.write_queue_max),
        ("read queue", stats.read_queue_time, stats.read_queue_max),
        ("lines on their way to the media", stats.media_queue_time, stats.media_queue_max),
    ];
    let whole = (end.0 as f64 * f64::from(dimms)).max(1.0);
    let depth = |spent: Time, most| model::QueueDepth { mean: spent.0 as f64 / whole, most };
    let filled = queues.into_iter().filter(|_| any);
    pmem.queues.extend(filled.map(|(queue, spent, most)| (queue.to_owned(), depth(spent, most))));
}

/// What the banks and queues of main memory counted.
fn banks(banks: &DramStats, dram: &mut model::Memory) {
    let counts = [
        ("row hits", banks.row_hits),
        ("row misses", banks.row_misses),
        ("row conflicts", banks.row_conflicts),
        ("activates", banks.activates),
        ("precharges", banks.precharges),
        ("refreshes", banks.refreshes),
        ("bus turnarounds", banks.switches),
        ("reads from the write queue", banks.forwarded_reads),
        ("write bursts", banks.write_bursts),
    ];
    let any = counts.iter().any(|(_, n)| *n > 0);
    dram.counts.extend(counts.into_iter().filter(|_| any).map(|(what, n)| (what.to_owned(), n)));
    let depth = |mean: Option<f64>, most| mean.map(|mean| model::QueueDepth { mean, most });
    let queues = [
        ("read queue of a channel", depth(banks.read_queue_mean(), banks.read_queue_max)),
        ("write queue of a channel", depth(banks.write_queue_mean(), banks.write_queue_max)),
    ];
    let filled = queues.into_iter().filter_map(|(queue, depth)| Some((queue.to_owned(), depth?)));
    dram.queues.extend(filled);
}

/// What a device did over time, if it did anything.
fn activity(profile: &DeviceProfile) -> Result<Option<model::Activity>> {
    let timeline = &profile.timeline;
    if timeline.stretches().is_empty() {
        return Ok(None);
    }
    let mut activity = model::Activity {
        read_latency: waits("read", &profile.reads)?,
        write_latency: waits("write", &profile.writes)?,
        stretch_ns: timeline.length().as_ns(),
        ..model::Activity::default()
    };
    for of in timeline.stretches() {
        let (read_ns, stall_ns) = (of.read_time.as_ns(), of.write_stall.as_ns());
        activity.push(of.bytes_read(), of.bytes_written(), read_ns, stall_ns);
    }
    Ok(Some(activity))
}

fn waits(kind: &str, waits: &Waits) -> Result<model::Latency> {
    let (Some(histogram), Some((least, most))) = (waits.histogram(), waits.extremes) else {
        return Ok(model::Latency::default());
    };
    let builder = LatencyBuilder::new(kind, &histogram, HistogramUnit::Picoseconds);
    // Where the time went in the device is not told apart.
    let whole = builder.sum_ps(waits.sum.0).part("device", waits.sum.0);
    Ok(whole.extremes_ps(least.0, most.0).build()?)
}

fn device_counters(d: &DeviceStats) -> model::Memory {
    model::Memory {
        reads: d.reads,
        writes: d.writes,
        bytes_read: d.bytes_read,
        bytes_written: d.bytes_written,
        media_bytes_read: d.media_bytes_read,
        media_bytes_written: d.media_bytes_written,
        stalls: d.stalls,
        stalls_ns: model::round3(d.stall_time.as_ns()),
        ..model::Memory::default()
    }
    .with_amplification()
}
