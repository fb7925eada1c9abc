//! Names in `report.json` that scripts of others rely on.

mod common;

use common::{recorded, replay, report};
use serde_json::Value;

/// Tables, and what each has at least. A name that ends in `.*` is that of every entry of a table.
const NAMES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "schema",
            "inputs",
            "machine",
            "kernel",
            "seed",
            "accesses",
            "cycles",
            "faults",
            "tlb",
            "walks",
            "assists",
            "shootdowns",
            "flushes",
            "memory",
            "latency",
            "replay",
        ],
    ),
    (
        "faults",
        &[
            "total",
            "read",
            "write",
            "mkwrite",
            "spurious",
            "cow",
            "pmd_read",
            "pmd_write",
            "pmd_fallback",
            "sigbus",
            "sigsegv",
            "general_protection",
        ],
    ),
    ("tlb.*", &["lookups", "hits", "misses", "fills", "invalidations"]),
    ("psc.*", &["lookups", "hits", "misses", "fills", "invalidations"]),
    (
        "walks",
        &[
            "count",
            "memory_references",
            "cycles",
            "by_level",
            "nested_by_level",
            "speculative",
            "speculative_references",
            "refused",
            "restarts",
            "merged",
            "queued",
            "queue_cycles",
            "by_walker",
        ],
    ),
    ("assists", &["a", "d"]),
    (
        "shootdowns",
        &[
            "requests",
            "ipis_sent",
            "ipis_received",
            "pages",
            "full_flushes",
            "initiator_cycles",
            "responder_cycles",
        ],
    ),
    ("flushes.*", &["reason", "count", "pages", "full"]),
    (
        "memory.*",
        &[
            "reads",
            "writes",
            "bytes_read",
            "bytes_written",
            "media_bytes_read",
            "media_bytes_written",
            "write_amplification",
            "stalls",
            "stalls_ns",
        ],
    ),
    ("latency.*", &["count", "min", "mean", "p50", "p90", "p99", "p999", "max", "parts"]),
    ("replay", &["recorded", "reproduced", "diverged", "inferred", "ignored"]),
];

fn tables<'r>(report: &'r Value, path: &str) -> Vec<&'r Value> {
    match path.strip_suffix(".*") {
        Some(of) => report[of].as_object().unwrap_or_else(|| panic!("{of}")).values().collect(),
        None if path.is_empty() => vec![report],
        None => vec![&report[path]],
    }
}

#[test]
fn a_report_has_every_name_that_was_promised() {
    let dir = tempfile::tempdir().unwrap();
    let folder = recorded("kernel-7.2/ext4/s10_msync_loop");
    for input in ["script.txt", "trace.txt.xz"] {
        replay(dir.path(), folder.join(input).to_str().unwrap(), &["-q"]).exits(0);
        let report = report(dir.path());
        for (path, names) in NAMES {
            let tables = tables(&report, path);
            assert!(!tables.is_empty(), "{input}: nothing in {path}");
            for table in tables {
                for name in *names {
                    assert!(table.get(name).is_some(), "{input}: no {name} in {path}: {table}");
                }
            }
        }
    }
}

#[test]
fn walks_are_the_sum_of_the_walkers_and_lookups_of_hits_and_misses() {
    let dir = tempfile::tempdir().unwrap();
    let script = recorded("kernel-7.2/ext4/s01_read_then_write/script.txt");
    let sets: [&[&str]; 2] = [&["-q"], &["-q", "--set", "cpu.window=64", "--set", "mmu.walkers=3"]];
    for set in sets {
        replay(dir.path(), script.to_str().unwrap(), set).exits(0);
        let report = report(dir.path());
        let numbers =
            |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
        let (walks, count) = (&report["walks"], |of: &Value, name: &str| of[name].as_u64().unwrap());
        assert!(count(walks, "count") > 0);
        assert_eq!(numbers(&walks["by_walker"]), count(walks, "count"));
        let references = numbers(&walks["by_level"]) + numbers(&walks["nested_by_level"]);
        assert_eq!(references, count(walks, "memory_references") + count(walks, "speculative_references"));
        for table in tables(&report, "tlb.*").into_iter().chain(tables(&report, "psc.*")) {
            assert_eq!(count(table, "lookups"), count(table, "hits") + count(table, "misses"));
        }
    }
}
