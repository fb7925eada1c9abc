//! What the memory of a traced program is: typed, in a file beside the trace, or as `/proc/PID/maps` had it. The trace is of sqlite3
//! on a database of 208 MB that it mapped (`traces/tests/data/README.md`).

mod common;

use std::fs;
use std::path::Path;

use common::{replay, report};
use serde_json::Value;

const MAP: &str = "db@0x4e00000+196M";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/tests/data/sqlite_mmap.dxt");
    fs::copy(sample, dir.path().join("t.dxt")).unwrap();
    dir
}

/// The report of the head of the trace, without what says where the maps came from.
fn head(dir: &Path, more: &[&str]) -> Value {
    let args = [&["--accesses", "1000000"][..], more].concat();
    replay(dir, "t.dxt", &args).exits(0);
    report(dir)
}

fn plain(mut report: Value) -> Value {
    report["assumptions"] = Value::Null;
    report
}

fn faults(report: &Value, kind: &str) -> u64 {
    report["faults"][kind].as_u64().unwrap()
}

#[test]
fn a_file_beside_the_trace_is_as_good_as_typed_maps() {
    let dir = folder();
    let typed = head(dir.path(), &["--map", MAP, "--fs", "xfs"]);
    assert!(faults(&typed, "read") + faults(&typed, "pmd_read") > 0, "{}", typed["faults"]);
    let sidecar = "fs = \"xfs\"\n[[map]]\nfile = \"db\"\naddress = \"0x4e00000\"\nlength = \"196M\"\n";
    fs::write(dir.path().join("t.dxt.maps.toml"), sidecar).unwrap();
    let beside = head(dir.path(), &["--fs", "xfs"]);
    assert_eq!(plain(beside.clone()), plain(typed.clone()));
    let said: Vec<&str> =
        beside["assumptions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(said.contains(&"1 mapping from t.dxt.maps.toml"), "{said:?}");
    // The file's own word on the file system is enough.
    assert_eq!(head(dir.path(), &[])["faults"], typed["faults"]);
    // A copy of the program's maps; the file of the other test is asked for in its place.
    let proc = "00400000-00402000 r-xp 00000000 fd:01 131 /usr/bin/sqlite3\n\
        04e00000-11200000 rw-s 00000000 103:02 12 db\n";
    fs::write(dir.path().join("maps"), proc).unwrap();
    let copied = head(dir.path(), &["--maps", "maps", "--dax", "d*", "--fs", "xfs"]);
    assert_eq!(plain(copied), plain(typed));
}

#[test]
fn pages_and_medium_are_what_the_file_says() {
    let dir = folder();
    let with = |more: &str| {
        let text = format!("[[map]]\nfile = \"db\"\naddress = \"0x4e00000\"\nlength = \"196M\"\n{more}\n");
        fs::write(dir.path().join("m.toml"), text).unwrap();
        head(dir.path(), &["--maps", "m.toml"])
    };
    let (large, small, cached) = (with(""), with("page = \"4K\""), with("medium = \"dram\""));
    // Huge pages: address and file are aligned to 2 MiB.
    assert_eq!(faults(&large, "read"), 0);
    assert!(faults(&large, "pmd_read") > 0);
    assert_eq!(faults(&small, "pmd_read"), 0);
    assert!(faults(&small, "read") > faults(&large, "pmd_read"));
    assert_eq!(faults(&cached, "read") + faults(&cached, "pmd_read"), 0);
    assert!(faults(&cached, "file_read") > 0);
    // The page cache is mapped around a fault, DAX is not.
    assert!(faults(&cached, "file_read") < faults(&small, "read"));
}

#[test]
fn instructions_between_accesses_take_time() {
    // 3,120 instructions, of which 560 make 576 accesses; a core that stalls on each adds the others to them.
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/tests/data/mapped.lackey.xz");
    fs::copy(sample, dir.path().join("t.xz")).unwrap();
    let cycles = |interval: &str| {
        let set = format!("cpu.instruction_interval={interval}");
        replay(dir.path(), "t.xz", &["--set", "cpu.window=1", "--set", &set]).exits(0);
        report(dir.path())["cycles"].as_f64().unwrap()
    };
    let more = (cycles("101 cycles") - cycles("1 cycle")) / 100.0;
    assert!((2500.0..2600.0).contains(&more), "{more}");
}

#[test]
fn what_cannot_be_is_told() {
    let dir = folder();
    let refused = |args: &[&str], words: &[&str]| {
        let run = replay(dir.path(), "t.dxt", args);
        run.exits(2);
        for word in words {
            assert!(run.err.contains(word), "{}", run.err);
        }
    };
    refused(&["--maps", "none.toml"], &["none.toml: cannot be read"]);
    refused(&["--dax", "*"], &["--maps"]);
    fs::write(dir.path().join("m.toml"), "[[map]]\nfile = \"db\"\n").unwrap();
    refused(&["--maps", "m.toml"], &["m.toml", "missing field `address`"]);
    refused(&["--maps", "m.toml", "--dax", "*"], &["--dax is for a copy of /proc/PID/maps"]);
    fs::write(dir.path().join("s.txt"), "0 file 0 f 4k fill\n").unwrap();
    let run = replay(dir.path(), "s.txt", &["--slip", "3"]);
    run.exits(2);
    assert!(run.err.contains("--slip are for traces of accesses"), "{}", run.err);
}
