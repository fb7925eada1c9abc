//! Reports of recorded scenarios: some whole, and a line of numbers for every one.

use std::collections::BTreeMap;
use std::path::Path;

use daxsim_reports::{json, terminal};
use serde_json::Value;

use crate::common::{all_recorded, name};
use crate::kept::{check, folder, run, top, written};

/// Recordings whose reports are kept whole: four applications, a script of threads that interrupt each other, a random one.
const WHOLE: [&str; 6] = [
    "kernel-7.2/ext4/a01_fio_randwrite_fsync32",
    "kernel-7.2/ext4/a03_lmdb_writemap",
    "kernel-7.2/ext4/a04_sqlite_wal_mmap",
    "kernel-7.2/ext4/a06_pmemlog_append",
    "kernel-7.2/ext4/s10_msync_loop",
    "kernel-7.2/xfs/s30_mixed_random_a",
];

/// Numbers of a line, by their path in `report.json`.
const NUMBERS: [&str; 14] = [
    "faults.total",
    "faults.read",
    "faults.write",
    "faults.mkwrite",
    "replay.recorded",
    "replay.reproduced",
    "cycles",
    "instructions",
    "latency.read.p50",
    "latency.write.p50",
    "latency.mkwrite.p50",
    "shootdowns.requests",
    "shootdowns.ipis_sent",
    "walks.count",
];

#[test]
fn reports_of_recorded_applications_are_what_a_replay_gives() {
    for scenario in WHOLE {
        let folder = folder();
        let trace = format!("traces/recorded/{scenario}/trace.txt.xz");
        run(&folder, &["replay", &trace, "--out", "out", "-q"]);
        let text = written(&folder, "out/report.json");
        let kept = format!("reports/reference/{}", scenario.replace('/', "."));
        check(&format!("{kept}/report.json"), &text);
        let report = json::parse(scenario, &text).unwrap();
        check(&format!("{kept}/summary.txt"), &terminal::summary(&report));
    }
}

#[test]
fn the_numbers_of_every_recorded_scenario_are_what_a_replay_gives() {
    let folder = folder();
    let mut table = format!("scenario\t{}\n", NUMBERS.join("\t"));
    for (scenario, trace) in traces() {
        let report: Value =
            serde_json::from_str(&run(&folder, &["replay", &trace, "--out", "out", "--json"])).unwrap();
        table += &scenario;
        for path in NUMBERS {
            let found = path.split('.').try_fold(&report, |value, key| value.get(key));
            let cell =
                found.filter(|value| value.is_number()).map_or_else(|| "-".to_owned(), Value::to_string);
            table += &format!("\t{cell}");
        }
        table.push('\n');
    }
    assert!(table.lines().count() > 100, "{table}");
    check("reports/reference/scenarios.tsv", &table);
}

#[test]
fn two_kernels_on_one_application_differ_as_the_kept_comparison_says() {
    let folder = folder();
    let trace = "traces/recorded/kernel-7.2/ext4/a04_sqlite_wal_mmap/trace.txt.xz";
    for kernel in ["linux-6.12", "linux-7.2"] {
        run(&folder, &["replay", trace, "--kernel", kernel, "--out", kernel, "-q"]);
    }
    let text = run(&folder, &["compare", "linux-6.12", "linux-7.2", "--markdown"]);
    check("reports/reference/sqlite-6.12-against-7.2.md", &text);
}

/// Every recording that can be replayed, by its place.
fn traces() -> BTreeMap<String, String> {
    let recorded = top().join("traces/recorded");
    let place = |folder: &Path| folder.strip_prefix(&recorded).unwrap().to_str().unwrap().to_owned();
    let all = all_recorded();
    let replayed = all.iter().filter(|folder| {
        // A device has no fs_dax events.
        folder.join("trace.txt.xz").exists() && !name(folder.parent().unwrap()).starts_with("devdax")
    });
    replayed
        .map(|folder| (place(folder), format!("traces/recorded/{}/trace.txt.xz", place(folder))))
        .collect()
}
