//! `daxsim probe` of memory, and the points that use it.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, run_in};
use serde_json::Value;

const MACHINE: [&str; 2] = ["--machine", "cascadelake-optane-1dimm"];

fn run(args: &[&str]) -> Run {
    run_in(Path::new("."), args)
}

fn numbers(args: &[&str], key: &str) -> Vec<f64> {
    let run = run(&[&["probe"], args, &MACHINE, &["--json"]].concat());
    let report: Value = serde_json::from_str(&run.exits(0).out).unwrap();
    assert_eq!(report["schema"], "daxsim.probe/1");
    report["points"].as_array().unwrap().iter().map(|point| point[key].as_f64().unwrap()).collect()
}

#[test]
fn a_write_chase_finds_the_buffer_of_the_dimm() {
    let read = numbers(&["write-chase", "--regions", "4K,16K,1M"], "read_ns");
    assert!(read[1] < 1.1 * read[0] && read[2] > 1.3 * read[0], "{read:?}");
    run(&["probe", "write-chase", "--block", "4K", "--regions", "4K"])
        .exits(0)
        .shows(&["write, ns/block", "4 KiB"]);
}

#[test]
fn bandwidth_is_of_all_cores_with_all_sizes() {
    let args =
        ["bandwidth", "--operation", "nt", "--places", "random", "--cores", "1,2", "--access", "64,256"];
    assert_eq!(numbers(&args, "cores"), [1.0, 1.0, 2.0, 2.0]);
    let ratio = numbers(&args, "effective_write_ratio");
    assert!(ratio[0] < 0.3 && ratio[1] > 0.9, "{ratio:?}");
}

#[test]
fn memory_is_overwritten_and_timed() {
    let median = numbers(&["overwrite", "--writes", "1000"], "median_ns");
    assert!(median[0] > 20.0, "{median:?}");
    let means = numbers(&["persist-latency", "--lines", "200"], "mean_ns");
    assert_eq!(means.len(), 12, "two memories, three operations, two orders");
}

#[test]
fn a_probe_prints_the_same_for_any_number_of_threads() {
    for probe in [
        &["probe", "write-chase", "--regions", "64,4K,1M"][..],
        &["probe", "bandwidth", "--cores", "1,3", "--time", "50"],
        &["probe", "overwrite", "--regions", "256,4K", "--writes", "2000"],
        &["probe", "persist-latency", "--lines", "100"],
    ] {
        let with = |threads| run(&[probe, &["--threads", threads]].concat()).exits(0).out.clone();
        assert_eq!(with("1"), with("3"));
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    run(&["probe", "write-chase", "--block", "100"]).refuses(&["a block of 100 bytes", "a multiple of 64"]);
    run(&["probe", "overwrite", "--regions", "300"]).refuses(&[
        "--regions 300 B",
        "a region of 300 bytes",
        "256",
    ]);
    run(&["probe", "bandwidth", "--cores", "25"]).refuses(&["25 threads on 24 cores", "expected 1 to 24"]);
    run(&["probe", "bandwidth", "--remote"]).refuses(&["topology.sockets"]);
    run(&["probe", "write-chase", "--regions", "128G"]).refuses(&["do not fit", "pmem.capacity"]);
}

const POINTS: &str = r#"
machine = "cascadelake-optane-1dimm"
probe = "bandwidth"
operation = "nt"
source = "the configuration itself"
trust = "C"

[[point]]
id = "media"
about = "the media bound it"
take = "values"
x = [1, 4]
expect = [2.2, 2.2]
tolerance = { factor = 1.2 }

[[point]]
id = "peak"
about = "one thread is as fast as four"
take = "peak"
x = [1, 2, 4]
expect = 1
tolerance = { absolute = 1 }

[[point]]
id = "size"
about = "the write ratio by size, best of one and two threads"
metric = "write_ratio"
places = "random"
threads = [1, 2]
take = "values"
x = [64, 256]
expect = [0.25, 1]
tolerance = { relative = 0.1 }
"#;

fn validate(text: &str) -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    let run = run_in(folder.path(), &["validate", "--points", "mine.toml"]);
    (folder, run)
}

#[test]
fn points_of_memory_are_checked() {
    let (_, run) = validate(POINTS);
    run.exits(0).shows(&["3 of 3 points hold", "factor 1.20"]);
    let (_, run) = validate(&POINTS.replace("[2.2, 2.2]", "[4.4, 2.2]"));
    run.exits(1).shows(&["FAIL", "media: the media bound it"]);
}

#[test]
fn bad_points_of_memory_are_refused_with_their_place() {
    let refused = |from: &str, to: &str, parts: &[&str]| {
        let (_, run) = validate(&POINTS.replace(from, to));
        run.refuses(parts);
    };
    refused("factor = 1.2", "factor = 0.5", &["tolerance.factor", "the number 0.5", "1 or more"]);
    refused("expect = 1\n", "expect = 3\n", &["mine.toml:", "expect", "one of x"]);
    refused("threads = [1, 2]", "threads = [1, 0.5]", &["threads", "an array of numbers of threads"]);
    refused("\"nt\"", "\"ntstore\"", &["operation", "\"load\", \"nt\", \"clwb\""]);
}
