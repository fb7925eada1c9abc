//! What a run saves, and the forms that are made of it again.

mod common;

use std::fs;
use std::path::Path;

use common::{recorded, run_in};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

/// Inputs of several kinds: faults of ext4, XFS and device-dax, an application, threads that race, a crash.
const INPUTS: [(&str, &[&str]); 6] = [
    ("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz", &[]),
    ("kernel-6.12/xfs/s30_mixed_random_a/script.txt", &[]),
    ("kernel-7.2/ext4/a03_lmdb_writemap/trace.txt.xz", &["--kernel", "linux-6.12"]),
    (
        "kernel-7.2/ext4/s07_race_write_same_page/script.txt",
        &["--machine", "emr-guest", "--set", "cpu.count=4"],
    ),
    ("kernel-7.2/ext4/s15_private_cow/script.txt", &["--set", "mmu.dirty=dbm"]),
    (
        "kernel-7.2/ext4/s10_msync_loop/script.txt",
        &["--crash-at", "400000", "--machine", "icelake-optane200"],
    ),
];

fn replay(folder: &Path, at: usize) {
    let (input, more) = INPUTS[at];
    let input = recorded(input);
    let run = run_in(folder, &[&["replay", input.to_str().unwrap(), "--out", "run"], more].concat());
    run.exits(0);
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_saved_report_gives_the_same_bytes_in_all_forms_without_its_input() {
    for (at, (input, _)) in INPUTS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        replay(folder.path(), at);
        let first = run_in(folder.path(), &["report", "run"]);
        first.exits(0);
        let names = ["report.html", "latency.hlog"];
        let originals = names.map(|name| read(folder.path(), &format!("run/{name}")));
        let again = run_in(folder.path(), &["report", "run/report.json", "--out", "again", "--quiet"]);
        again.exits(0);
        for (name, original) in names.iter().zip(&originals) {
            assert!(read(folder.path(), &format!("again/{name}")) == *original, "{input}: {name}");
        }
        assert!(!folder.path().join("again/report.json").exists());
    }
}

#[test]
fn the_summary_of_a_saved_report_is_that_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let input = recorded(INPUTS[0].0);
    let run = run_in(folder.path(), &["replay", input.to_str().unwrap(), "--out", "run"]);
    let again = run_in(folder.path(), &["report", "run"]);
    assert_eq!(run.out, again.out);
}

#[test]
fn reports_of_runs_are_valid_by_the_published_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/schema/report.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (at, (input, _)) in INPUTS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        replay(folder.path(), at);
        let report: Value = serde_json::from_str(&read(folder.path(), "run/report.json")).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&report).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{input}: {errors:#?}");
        // None of its fields is unknown to the schema.
        for key in report.as_object().unwrap().keys() {
            assert!(schema["properties"].get(key).is_some(), "{input}: {key}");
        }
    }
}

#[test]
fn the_program_prints_the_published_schema() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path(), &["report", "--schema"]);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/schema/report.schema.json");
    assert_eq!(run.out, fs::read_to_string(schema).unwrap());
}

#[test]
fn the_histogram_log_has_the_counts_and_percentiles_of_the_report() {
    use hdrhistogram::serialization::Deserializer;
    let folder = tempfile::tempdir().unwrap();
    replay(folder.path(), 0);
    let report: Value = serde_json::from_str(&read(folder.path(), "run/report.json")).unwrap();
    let text = read(folder.path(), "run/latency.hlog");
    let mut kinds = 0;
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let LogEntry::Interval(line) = entry.unwrap() else { continue };
        let tag = line.tag().unwrap().as_str().to_owned();
        let latency = match tag.split_once('.') {
            Some((device, of)) => &report["memory"][device]["activity"][format!("{of}_latency")],
            None => &report["latency"][&tag],
        };
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, line.encoded_histogram());
        let samples: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.unwrap().as_slice()).unwrap();
        assert_eq!(samples.len(), latency["count"].as_u64().unwrap(), "{tag}");
        let p99 = latency["p99"].as_f64().unwrap();
        let read = samples.value_at_quantile(0.99) as f64 / 1000.0;
        // The histograms of devices are coarser.
        assert!((read - p99).abs() <= p99 / 16.0, "{tag}: {read} against {p99}");
        kinds += 1;
    }
    assert!(kinds >= 4, "{text}");
}

#[test]
fn output_for_scripts_is_the_saved_document_and_quiet_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let input = recorded(INPUTS[0].0);
    let input = input.to_str().unwrap();
    let run = run_in(folder.path(), &["replay", input, "--out", "run", "--json"]);
    assert_eq!(run.out, read(folder.path(), "run/report.json"));
    let run = run_in(folder.path(), &["replay", input, "--out", "run", "--quiet"]);
    assert_eq!(run.out, "");
}

#[test]
fn what_is_no_report_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("report.json"), "[]").unwrap();
    run_in(folder.path(), &["report", "report.json"]).exits(2);
    run_in(folder.path(), &["report", "nowhere"]).exits(2);
    run_in(folder.path(), &["report"]).exits(2);
}
