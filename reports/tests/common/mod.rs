//! A report as a replay of a small ext4 recording gives it, with every section filled.

use std::collections::BTreeMap;

use daxsim_reports::model::*;
use daxsim_types::FileSystem;
use hdrhistogram::Histogram;

/// Deterministic values that look like latencies: a body, and now and then a tail.
fn samples(n: u64, base_ps: u64, seed: u64) -> Vec<u64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 1000
    };
    (0..n)
        .map(|_| {
            let body = base_ps + base_ps * (next() + next()) / 4000;
            if next() > 970 { body * (2 + next() / 100) } else { body }
        })
        .collect()
}

fn latency(kind: &str, n: u64, base_ps: u64, weights: &[(&str, u64)]) -> Latency {
    let values = samples(n, base_ps, base_ps);
    let mut histogram = Histogram::new(3).unwrap();
    for v in &values {
        histogram.record(*v).unwrap();
    }
    let sum: u64 = values.iter().sum();
    let weight: u64 = weights.iter().map(|w| w.1).sum();
    let mut parts: Vec<_> = weights.iter().map(|(n, w)| ((*n).to_owned(), sum / weight * w)).collect();
    parts[0].1 += sum - parts.iter().map(|p| p.1).sum::<u64>();
    LatencyBuilder::new(kind, &histogram, HistogramUnit::Picoseconds)
        .sum_ps(sum)
        .parts(parts)
        .executed(5000 * n, 1200 * n, 800 * n)
        .extremes_ps(*values.iter().min().unwrap(), *values.iter().max().unwrap())
        .build()
        .unwrap()
}

fn lookups(lookups: u64, misses: u64, invalidations: u64) -> Lookups {
    Lookups { lookups, hits: lookups - misses, misses, fills: misses, invalidations }
}

fn flush(n: u32, count: u64, pages: u64, full: u64) -> (u32, Flush) {
    (n, Flush { reason: flush_reason_text(n).to_owned(), count, pages, full })
}

fn named<T>(items: Vec<(&str, T)>) -> BTreeMap<String, T> {
    items.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// Each of eight CPUs but one asked the six after it.
fn matrix() -> Option<ShootdownMatrix> {
    let pairs = (0..7_u32).flat_map(|from| (1..7).map(move |step| (from, (from + step) % 8)));
    ShootdownMatrix::of(pairs.map(|(initiator, responder)| ShootdownPair {
        initiator,
        responder,
        calls: u64::from(60 + initiator),
        pages: u64::from(300 + responder),
        full_flushes: 1,
        wait_ns: f64::from(70_000 + 1000 * initiator + responder),
        longest_wait_ns: 2750.5,
    }))
}

fn constants() -> Vec<Constant> {
    let constant = |of: &str, key: &str, value: &str, source: Option<(&str, &str)>, cycles: u64| Constant {
        of: of.into(),
        key: key.into(),
        value: value.into(),
        basis: source.map(|(basis, _)| basis.to_owned()),
        trust: source.map(|(_, trust)| trust.to_owned()),
        cycles,
        share: round3(cycles as f64 / 60_000_000.0),
        prices_others: key == "cpu.cpi",
    };
    let path = "path_length.common.";
    vec![
        constant("machine", "cpu.cpi", "0.40", Some(("fitted", "A")), 30_000_000),
        constant(
            "kernel",
            &format!("{path}dispatch"),
            "[900, 216, 144, \"fitted\", \"B\"]",
            Some(("fitted", "B")),
            18_000_000,
        ),
        constant(
            "kernel",
            &format!("{path}fsync"),
            "[7000, 1680, 1120, \"assumed\", \"C\"]",
            Some(("assumed", "C")),
            12_000_000,
        ),
        constant("machine", "cost.iret", "200 cycles", Some(("memory", "M")), 4_000_000),
        constant("machine", "ipi.delivery", "1 us", None, 90_000),
    ]
}

fn over_time() -> OverTime {
    OverTime {
        stretch_ns: 67_108.864,
        faults: named(vec![("mkwrite", vec![0, 12, 40, 0, 7]), ("read", vec![90, 3])]),
        flushes: vec![0, 1, 5, 2],
        ipis: vec![0, 6, 30, 12],
    }
}

/// The report.
pub fn report() -> RunReport {
    RunReport {
        tool: Tool { name: "daxsim".into(), version: "0.1.0".into() },
        inputs: vec![
            Input {
                name: "msync-loop/trace.txt".into(),
                kind: "ftrace".into(),
                sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
                bytes: 1_482_113,
                lines: Some(18_204),
                events: Some(17_996),
            },
            Input {
                name: "msync-loop/extents.txt".into(),
                kind: "layout".into(),
                sha256: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752".into(),
                bytes: 912,
                lines: Some(14),
                events: None,
            },
        ],
        mode: Mode::Replay,
        fs: Some(FileSystem::Ext4),
        machine: Machine {
            name: "emerald-rapids-optane".into(),
            description: "two-socket server, 64 GiB DRAM, interleaved persistent memory".into(),
            cpus: 8,
            cpus_used: 8,
            frequency_hz: 2_100_000_000,
            overrides: vec![Override {
                key: "tlb.stlb.entries".into(),
                value: "2048".into(),
                was: Some("1536".into()),
            }],
        },
        kernel: Kernel {
            name: "linux-7.2-merged".into(),
            description: "vmf_insert_mixed_mkwrite as merged".into(),
            semantics: "merged".into(),
            overrides: vec![Override {
                key: "flush_ceiling".into(),
                value: "64".into(),
                was: Some("33".into()),
            }],
        },
        seed: 1,
        constants: constants(),
        over_time: Some(over_time()),
        accesses: Accesses { total: 4_118_016, reads: 2_621_440, writes: 1_496_576 },
        cycles: 812_440_123,
        time_ns: 386_876_249.047_6,
        instructions: 96_402_118,
        faults: faults(),
        tlb: named(vec![
            ("l1d-4k", lookups(4_118_016, 402_113, 8_123)),
            ("l1d-2m", lookups(402_113, 398_004, 12)),
            ("stlb", lookups(398_004, 61_230, 9_554)),
        ]),
        psc: named(vec![
            ("pde", lookups(61_230, 9_812, 2_048)),
            ("pdpte", lookups(9_812, 311, 96)),
            ("pml4e", lookups(311, 9, 4)),
        ]),
        walks: Walks {
            count: 61_230,
            memory_references: 71_362,
            cycles: 2_204_118,
            by_level: vec![61_230, 10_120, 12, 0, 0],
            restarts: 3,
            merged: 40_111,
            queued: 2_012,
            queue_cycles: 90_540,
            by_walker: vec![33_120, 28_110],
            ..Walks::default()
        },
        assists: Assists { a: 12_288, d: 4_102 },
        exits: Exits { ept_violations: 96, cycles: 604_800 },
        shootdowns: Shootdowns {
            requests: 512,
            ipis_sent: 3_072,
            ipis_received: 3_072,
            pages: 16_384,
            full_flushes: 64,
            invlpgb: 0,
            tlbsync: 0,
            initiator_cycles: 2_764_800,
            responder_cycles: 1_966_080,
            matrix: matrix(),
            ..Shootdowns::default()
        },
        flushes: [
            flush(0, 1_204, 0, 1_204),
            flush(1, 3_072, 16_384, 64),
            flush(3, 512, 2_730, 11),
            flush(4, 512, 2_730, 11),
        ]
        .into(),
        caches: named(vec![
            ("l1d", Cache { lookups: 9_120_334, hits: 8_702_221, misses: 418_113, writebacks: 201_118 }),
            ("l2", Cache { lookups: 418_113, hits: 300_090, misses: 118_023, writebacks: 88_021 }),
            ("llc", Cache { lookups: 118_023, hits: 61_008, misses: 57_015, writebacks: 40_112 }),
        ]),
        memory: memory(),
        latency: latencies(),
        attribution: attribute(
            [
                ("user", 3_904_556_320),
                ("faults", 210_771_004),
                ("msync", 64_203_977),
                ("walks", 2_204_118),
                ("interrupts", 1_966_080),
                ("idle", 2_315_819_485),
            ]
            .map(|(n, c)| (n.to_owned(), c))
            .to_vec(),
            6_499_520_984,
        )
        .unwrap(),
        durability: Some(durability()),
        replay: replay(),
        warnings: vec![
            Warning {
                what: "events lost by the recorder".into(),
                count: 37,
                detail: "CPU 3 overran its ring buffer at line 9,812; faults in the gap are missing".into(),
            },
            Warning { what: "unknown event `dax:dax_<custom>`".into(), count: 2, detail: String::new() },
        ],
        assumptions: vec![
            "mappings made before the recording began are inferred from the first fault in them".into(),
            "cost of an accessed or dirty assist: measured on another machine of the same family".into(),
        ],
        ..RunReport::default()
    }
}

fn faults() -> Faults {
    Faults {
        total: 16_392,
        read: 8_192,
        write: 3_986,
        mkwrite: 4_096,
        spurious: 14,
        pmd_read: 64,
        pmd_write: 32,
        pmd_fallback: 7,
        sigbus: 1,
        general_protection: 2,
        ..Faults::default()
    }
}

/// Three stretches of a device.
fn activity() -> Activity {
    let mut activity = Activity {
        read_latency: latency("read", 500, 134_400, &[("device", 1)]),
        stretch_ns: 1048.576,
        ..Activity::default()
    };
    for (read, written, read_ns, stall_ns) in
        [(64_000, 0, 2400.0, 0.0), (0, 0, 0.0, 0.0), (6400, 32_000, 135.0, 880.0)]
    {
        activity.push(read, written, read_ns, stall_ns);
    }
    activity
}

fn memory() -> BTreeMap<String, Memory> {
    let pmem = Memory {
        reads: 48_012,
        writes: 36_002,
        bytes_read: 3_072_768,
        bytes_written: 2_304_128,
        media_bytes_read: 12_290_304,
        media_bytes_written: 5_990_656,
        stalls: 1_188,
        stalls_ns: 412_118.5,
        activity: Some(activity()),
        counts: named(vec![("buffer read hits", 12_004), ("migrations", 0)]),
        queues: named(vec![("write pending", QueueDepth { mean: 1.25, most: 8 })]),
        ..Memory::default()
    };
    let dram = Memory {
        reads: 9_003,
        writes: 4_110,
        bytes_read: 576_192,
        bytes_written: 263_040,
        media_bytes_read: 576_192,
        media_bytes_written: 263_040,
        ..Memory::default()
    };
    named(vec![
        ("dram", dram.with_amplification()),
        ("pmem", pmem.with_amplification()),
        ("pmem-remote", Memory::default().with_amplification()),
    ])
}

fn latencies() -> BTreeMap<String, Latency> {
    let parts = |fs, insert, flush, ipi| {
        [
            ("entry", 9),
            ("walk", 3),
            ("locks", 6),
            ("fs", fs),
            ("insert", insert),
            ("flush", flush),
            ("ipi_wait", ipi),
            ("assist", 2),
            ("memory", 12),
        ]
    };
    named(vec![
        ("read", latency("read", 8_192, 1_450_000, &parts(30, 12, 0, 0))),
        ("write", latency("write", 3_986, 2_600_000, &parts(51, 14, 0, 0))),
        ("mkwrite", latency("mkwrite", 4_096, 1_900_000, &parts(41, 10, 8, 9))),
        ("spurious", latency("spurious", 14, 640_000, &parts(0, 1, 2, 0))),
        ("pmd_read", latency("pmd_read", 64, 2_100_000, &parts(37, 20, 0, 0))),
        ("pmd_write", latency("pmd_write", 32, 31_000_000, &parts(80, 5, 0, 0))),
        ("msync", latency("msync", 512, 21_000_000, &parts(20, 2, 12, 40))),
    ])
}

fn replay() -> Replay {
    let divergence = |line, address: &str, why: &str| Divergence {
        input: "msync-loop/trace.txt".into(),
        line: Some(line),
        time_ns: Some(1_234_567.891),
        address: address.into(),
        recorded: "dax_pte_fault_done NOPAGE".into(),
        simulated: "spurious".into(),
        why: why.into(),
    };
    Replay {
        recorded: 16_392,
        reproduced: 16_380,
        diverged: 12,
        inferred: 5,
        ignored: 611,
        dax: Agreement { recorded: 16_000, reproduced: 15_990, diverged: 10 },
        other: Agreement { recorded: 392, reproduced: 390, diverged: 2 },
        causes: BTreeMap::from([("return value".to_owned(), 12)]),
        divergences: vec![
            divergence(9_813, "0x7f31a2c41000", "the event before it was lost"),
            divergence(9_820, "0x7f31a2c43000", "a stale read-only TLB entry"),
        ],
    }
}

fn durability() -> Durability {
    let lines = |page: u64, lines: u32| Lines {
        file: "data <1>".into(),
        page,
        first_byte: page * 4096 + 64,
        last_byte: page * 4096 + 64 * u64::from(lines) + 63,
        lines,
        physical: format!("{:#x}", 0x8_0000_0040_u64 + page * 4096),
        mark_removed_by: Some("fallocate (line 6: 0 falloc 0 punch 32768 4096)".into()),
        mark_removed_at_cycle: Some(81_920),
    };
    let lost = |page| LostLines {
        of: lines(page, 3),
        promised_by: "msync (line 7: 0 msync 0 0 64k)".into(),
        promised_at_cycle: 90_112,
        in_flight: page == 9,
    };
    let unowned = Lines { mark_removed_by: None, mark_removed_at_cycle: None, ..lines(3, 1) };
    Durability {
        at_cycle: 120_000,
        crash: Some(Crash {
            cycle: 120_000,
            reached: true,
            places: vec![
                "in msync (line 9: 1 msync 0 0 64k) on cpu1".into(),
                "in access (line 10: 0 st 0 0) on cpu0".into(),
            ],
        }),
        promises: 2,
        lost_pages: 7,
        unmarked_pages: 2,
        dirty_pages: 12,
        dirty_lines: 40,
        in_flight_lines: 3,
        lost: (3..10).map(lost).collect(),
        unmarked: vec![
            UnmarkedLines { of: lines(4, 3), has_entry: true },
            UnmarkedLines { of: unowned, has_entry: false },
        ],
        ..Durability::default()
    }
}
