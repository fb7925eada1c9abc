//! What `daxsim gen` makes runs, and takes the faults that it should: from a seed, the same on every run.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, replay, report, run_in};
use serde_json::Value;

/// Generates into a new folder; the folder.
fn generated(args: &[&str], file: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), args, file).exits(0);
    dir
}

fn generate(dir: &Path, args: &[&str], file: &str) -> Run {
    run_in(dir, &[&["gen"], args, &["-o", file]].concat())
}

/// The report of a generated input.
fn replayed(args: &[&str], file: &str, more: &[&str]) -> Value {
    let dir = generated(args, file);
    replay(dir.path(), file, more).exits(0);
    report(dir.path())
}

fn faults(report: &Value) -> [u64; 4] {
    ["read", "mkwrite", "write", "total"].map(|kind| report["faults"][kind].as_u64().unwrap())
}

#[test]
fn faults_of_scripts_are_those_of_their_arithmetic() {
    let of = |args: &[&str]| faults(&replayed(args, "w.txt", &[]));
    // Loaded once, stored to in each round, for msync has made the pages read-only again.
    let storm = ["mkwrite-storm", "--pages", "100", "--rounds", "5", "--threads", "3"];
    assert_eq!(of(&storm), [100, 500, 0, 600]);
    let lone = ["mkwrite-storm", "--pages", "64", "--rounds", "1", "--threads", "1"];
    assert_eq!(of(&lone), [64, 64, 0, 128]);
    let msync = ["msync-loop", "--pages", "90", "--rounds", "7", "--dirty", "11"];
    assert_eq!(of(&msync), [90, 77, 0, 167]);
    // The process and four children store to each page.
    assert_eq!(of(&["fork", "--pages", "50", "--rounds", "4"]), [0, 0, 250, 250]);
}

#[test]
fn racing_scripts_keep_within_what_any_order_allows() {
    let contention =
        replayed(&["contention", "--pages", "40", "--rounds", "3", "--threads", "4"], "w.txt", &[]);
    let [read, mkwrite, write, total] = faults(&contention);
    assert_eq!(read, 0);
    // In each round the first to store faults; so may each other one that comes meanwhile.
    assert!((40..=160).contains(&write) && (80..=320).contains(&mkwrite), "{}", contention["faults"]);
    assert!((120..=480).contains(&total));
    let race = ["truncate-race", "--pages", "64", "--rounds", "3", "--threads", "3"];
    let truncated = replayed(&race, "w.txt", &["--seed", "5"]);
    // The first stores; then two threads go to 32 pages in each round.
    let [.., total] = faults(&truncated);
    assert!((64..=64 + 3 * 2 * 32 * 2).contains(&total), "{}", truncated["faults"]);
    assert!(truncated["kernel_work"].is_object());
}

#[test]
fn a_script_is_the_same_as_text_and_as_dxt() {
    let dir = generated(&["msync-loop", "--rounds", "2"], "w.txt");
    generate(dir.path(), &["msync-loop", "--rounds", "2"], "w.dxt").exits(0);
    let piped = run_in(dir.path(), &["gen", "msync-loop", "--rounds", "2", "-o", "-"]);
    let text = fs::read_to_string(dir.path().join("w.txt")).unwrap();
    assert_eq!(piped.exits(0).out, text);
    assert!(text.starts_with(
        "# msync loop, 64 pages dirty: 256 pages, 2 rounds, 1 threads, seed 42; faults: 256 read, 128 mkwrite"
    ));
    let of = |file: &str| {
        replay(dir.path(), file, &[]).exits(0);
        let mut report = report(dir.path());
        report["inputs"] = Value::Null;
        report
    };
    assert_eq!(of("w.dxt"), of("w.txt"));
}

#[test]
fn threads_that_share_pages_run_in_the_order_of_the_trace() {
    let dir = generated(&["shared", "--threads", "3", "--bytes", "64K", "--count", "60000"], "s.dxt");
    let map = ["--map", "f@0x1000000000+64K", "--fs", "xfs"];
    let of = |slip: &str| {
        replay(dir.path(), "s.dxt", &[&map[..], &["--slip", slip]].concat()).exits(0);
        report(dir.path())
    };
    let (close, far, free) = (of("48"), of("8192"), of("0"));
    let said = |report: &Value, what: &str| {
        let all = report["assumptions"].as_array().unwrap();
        all.iter().filter_map(Value::as_str).any(|text| text.contains(what))
    };
    assert!(said(
        &close,
        "3 threads, each on a CPU of its own, in the order of the trace to within 48 accesses"
    ));
    assert!(said(&free, "3 threads run freely"));
    for report in [&close, &far, &free] {
        assert_eq!(report["accesses"]["total"], 60_000);
        let [.., total] = faults(report);
        // 16 pages, each stored to; whoever comes meanwhile faults, too.
        assert!((16..=96).contains(&total), "{}", report["faults"]);
    }
    // Whoever waits for the others loses time.
    assert!(close["cycles"].as_u64() > far["cycles"].as_u64());
    assert!(far["cycles"].as_u64() >= free["cycles"].as_u64());
    // Imported again, the order is still there.
    run_in(dir.path(), &["import", "s.dxt", "-o", "again.dxt"]).exits(0);
    replay(dir.path(), "again.dxt", &[&map[..], &["--slip", "48"]].concat()).exits(0);
    assert_eq!(report(dir.path())["cycles"], close["cycles"]);
}

#[test]
fn streams_are_of_the_lengths_asked_for() {
    let map = ["--map", "f@0x1000000000+1M"];
    let of = |args: &[&str]| replayed(args, "s.dxt", &map);
    // 16,384 lines of 256 pages, each once.
    for name in ["seq", "chase"] {
        let report = of(&[name, "--bytes", "1M", "--count", "16384"]);
        assert_eq!((faults(&report)[0], &report["accesses"]["total"]), (256, &16_384.into()), "{name}");
    }
    let zipf = of(&["zipf", "--bytes", "1M", "--theta", "500", "--writes", "100", "--count", "20000"]);
    assert_eq!(faults(&zipf), [0, 0, 256, 256]);
    // A chase waits for each load.
    let cycles = |name| of(&[name, "--bytes", "1M", "--count", "16384"])["cycles"].as_u64().unwrap();
    assert!(cycles("chase") > 2 * cycles("seq"));
}

#[test]
fn generators_are_listed_and_options_that_mean_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| run_in(dir.path(), args);
    run(&["gen", "list"]).exits(0).shows(&[
        "seq",
        "zipf",
        "chase",
        "mkwrite-storm",
        "truncate-race",
        "Script:",
        "Accesses:",
    ]);
    run(&["gen", "seq"]).refuses(&["no file to write: expected -o FILE"]);
    run(&["gen", "seq", "--dirty", "3", "-o", "-"]).refuses(&["--dirty means nothing for seq"]);
    run(&["gen", "fork", "--bytes", "4K", "-o", "-"]).refuses(&["--bytes means nothing for fork"]);
    run(&["gen", "fork", "-o", "f.raw"]).refuses(&["f.raw: no known format of scripts", ".dxt or .txt"]);
    run(&["gen", "zipf", "--bytes", "12K", "-o", "-"]).refuses(&["expected a power of two"]);
    run(&["gen", "msync-loop", "--pages", "4", "--dirty", "5", "-o", "-"]).refuses(&["--dirty 5", "4 pages"]);
    run(&["gen", "truncate-race", "--threads", "1", "-o", "-"]).refuses(&["expected 2 at least"]);
    run(&["gen", "chase", "--bytes", "8G", "-o", "-"]).refuses(&["expected 4G at most"]);
}
