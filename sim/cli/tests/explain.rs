//! `daxsim explain`, `replay --timeline` and `--folded`.

mod common;

use std::fs;

use common::{Run, recorded, run_in};
use serde_json::Value;

const KINDS: [&str; 12] = [
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
    "sigbus",
    "sigsegv",
];

fn run(arguments: &[&str]) -> Run {
    run_in(tempfile::tempdir().unwrap().path(), arguments)
}

fn explained(arguments: &[&str]) -> Value {
    let run = run(&[&["explain", "fault", "--json"], arguments].concat());
    run.exits(0);
    serde_json::from_str(&run.out).unwrap()
}

fn sum(of: &Value, key: &str) -> u64 {
    of["steps"].as_array().unwrap().iter().map(|step| step[key].as_u64().unwrap()).sum()
}

#[test]
fn every_kind_is_explained_and_its_steps_sum_to_its_latency() {
    for kind in KINDS {
        for kernel in ["linux-6.12", "linux-7.2"] {
            let fault = explained(&[kind, "--kernel", kernel]);
            assert_eq!(
                (fault["kind"].as_str(), sum(&fault, "took_ps")),
                (Some(kind), fault["took_ps"].as_u64().unwrap())
            );
            assert!(sum(&fault, "instructions") > 300, "{kind}");
            let steps = fault["steps"].as_array().unwrap();
            for pair in steps.windows(2) {
                let end = pair[0]["at_ps"].as_u64().unwrap() + pair[0]["took_ps"].as_u64().unwrap();
                assert_eq!(pair[1]["at_ps"].as_u64().unwrap(), end, "{kind}: {}", pair[0]);
            }
            let parts = steps.iter().flat_map(|step| step["parts"].as_array().unwrap());
            let parts: u64 = parts.map(|part| part[1].as_u64().unwrap()).sum();
            assert_eq!(parts, fault["took_ps"].as_u64().unwrap(), "{kind}");
        }
    }
}

#[test]
fn the_latency_is_that_of_a_replay_of_the_same_workload() {
    let fault = explained(&["mkwrite", "--kernel", "linux-6.12", "--fs", "xfs"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("script.txt"), fault["script"].as_str().unwrap()).unwrap();
    let arguments =
        ["replay", "script.txt", "--kernel", "linux-6.12", "--fs", "xfs", "--json", "--out", "run"];
    let replay = run_in(folder.path(), &arguments);
    let report: Value = serde_json::from_str(&replay.exits(0).out).unwrap();
    let latency = &report["latency"]["mkwrite"];
    assert_eq!(latency["count"], fault["of"]);
    let (took, min, max) = (fault["took_ps"].as_f64().unwrap() / 1000.0, &latency["min"], &latency["max"]);
    // Those of the report are of a histogram of three digits.
    assert!(
        min.as_f64().unwrap() * 0.998 <= took && took <= max.as_f64().unwrap() * 1.002,
        "{took}: {latency}"
    );
}

#[test]
fn the_kernels_differ_in_the_functions_and_lines_that_they_go_through() {
    let functions = |kernel: &str| -> Vec<String> {
        let fault = explained(&["mkwrite", "--kernel", kernel]);
        let steps = fault["steps"].as_array().unwrap();
        steps.iter().map(|s| format!("{} {}", s["op"].as_str().unwrap(), s["on"].as_str().unwrap())).collect()
    };
    let (old, new) = (functions("linux-6.12"), functions("linux-7.2"));
    let has = |list: &[String], what: &str| list.iter().any(|step| step.starts_with(what));
    assert!(has(&old, "lock memtype_lock") && !has(&new, "lock memtype_lock"), "{old:?}\n{new:?}");
    assert!(has(&new, "locked struct_page") && !has(&old, "locked struct_page"), "{old:?}\n{new:?}");
}

#[test]
fn the_first_fault_finds_colder_caches_than_the_last() {
    let took = |more: &[&str]| explained(&[&["read"], more].concat())["took_ps"].as_u64().unwrap();
    assert!(took(&["--first"]) > took(&[]));
}

#[test]
fn the_table_has_the_steps_and_a_kind_that_is_none_is_refused_with_the_known_ones() {
    let table = run(&["explain", "fault", "upgrade"]);
    table.exits(0).shows(&[
        "A mkwrite fault on skylake-sp-optane under linux-7.2",
        "do_wp_page",
        "By function",
    ]);
    run(&["explain", "fault", "dream"]).refuses(&["no workload makes a fault of kind `dream`", "mkwrite"]);
    run(&["explain", "fault", "cow", "--fs", "devdax"]).refuses(&["made no fault of kind cow"]);
}

#[test]
fn a_timeline_is_the_same_bytes_each_time_and_changes_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let input = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz");
    let input = input.to_str().unwrap();
    run_in(folder.path(), &["replay", input, "--out", "plain", "-q"]).exits(0);
    for out in ["a", "b"] {
        let (trace, folded) = (format!("{out}.pftrace"), format!("{out}.folded"));
        let files = ["--timeline", &trace, "--folded", &folded];
        run_in(folder.path(), &[&["replay", input, "--out", out, "-q"], &files[..]].concat()).exits(0);
    }
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("a.pftrace") == read("b.pftrace") && read("a.pftrace").len() > 100_000);
    assert_eq!(read("a.folded"), read("b.folded"));
    assert!(read("a/report.json") == read("plain/report.json"));

    let report: Value = serde_json::from_slice(&read("a/report.json")).unwrap();
    let folded = String::from_utf8(read("a.folded")).unwrap();
    let of_kind = |kind: &str| -> f64 {
        let lines = folded.lines().filter(|line| line.starts_with(&format!("{kind};")));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    for kind in ["read", "mkwrite"] {
        let parts = report["latency"][kind]["parts"].as_array().unwrap();
        let total: f64 = parts.iter().map(|part| part["total_ns"].as_f64().unwrap()).sum();
        assert!((of_kind(kind) / 1000.0 - total).abs() < 0.1, "{kind}: {} against {total}", of_kind(kind));
    }
}

#[test]
fn a_window_and_a_sample_make_a_timeline_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let input = recorded("kernel-7.2/ext4/s10_msync_loop/script.txt");
    let size = |more: &[&str]| {
        let arguments = ["replay", input.to_str().unwrap(), "--out", "run", "-q", "--timeline", "x.pftrace"];
        run_in(folder.path(), &[&arguments[..], more].concat()).exits(0);
        fs::metadata(folder.path().join("x.pftrace")).unwrap().len()
    };
    let whole = size(&[]);
    assert!(size(&["--timeline-window", "100us..300us"]) < whole / 2);
    assert!(size(&["--timeline-every", "10"]) < whole / 2);
    run(&["replay", "x", "--timeline", "y", "--timeline-window", "2ms..1ms"])
        .refuses(&["the end is not after the begin"]);
}
