//! Traces of accesses: imported, told of, replayed. `mapped.lackey.xz` is what valgrind 3.19 wrote of `mapped.c`, which maps 64
//! pages of a file, loads from each, and stores to every second one.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, replay, report, run_in, text_of, warning};
use serde_json::Value;

const MAP: &str = "mapped.file@0x10000000000+256K";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/tests/data/mapped.lackey.xz");
    fs::copy(sample, dir.path().join("mapped.lackey.xz")).unwrap();
    dir
}

/// A folder with the trace as `t.dxt`.
fn imported() -> tempfile::TempDir {
    let dir = folder();
    run_in(dir.path(), &["import", "mapped.lackey.xz", "-o", "t.dxt"]).exits(0);
    dir
}

fn info(dir: &Path, input: &str, more: &[&str]) -> Value {
    let args = [&["info", input, "--json"], more].concat();
    serde_json::from_str(&run_in(dir, &args).exits(0).out).unwrap()
}

#[test]
fn import_says_what_it_made() {
    let dir = folder();
    let run = run_in(dir.path(), &["import", "mapped.lackey.xz", "-o", "t.dxt"]);
    run.exits(0)
        .shows(&["t.dxt: 560 accesses (512 loads, 32 stores, 16 of both, 0 fetches), 3,120 instructions"]);
    let kept = run_in(dir.path(), &["import", "mapped.lackey.xz", "-o", "f.dxt", "--fetches"]);
    kept.exits(0).shows(&["f.dxt: 3,680 accesses (512 loads, 32 stores, 16 of both, 3,120 fetches)"]);
    let again = run_in(dir.path(), &["import", "t.dxt", "-o", "u.dxt", "--quiet"]);
    again.exits(0);
    assert_eq!(again.out, "");
    assert_eq!(info(dir.path(), "u.dxt", &[])["accesses"]["loads"], 512);
}

#[test]
fn info_of_a_dxt_agrees_with_that_of_its_source() {
    let dir = imported();
    let (source, made) = (info(dir.path(), "mapped.lackey.xz", &[]), info(dir.path(), "t.dxt", &["--check"]));
    assert_eq!((source["kind"].as_str(), made["kind"].as_str()), (Some("lackey"), Some("dxt")));
    // The number that valgrind prints at the end.
    assert_eq!(source["accesses"]["instructions"], 3120);
    for key in [
        "records",
        "loads",
        "stores",
        "modifies",
        "instructions",
        "pages",
        "ranges",
        "threads",
        "other_lines",
    ] {
        assert_eq!(source["accesses"][key], made["accesses"][key], "{key}");
    }
    assert_eq!(made["accesses"]["pages"], 64);
    let ranges = &made["accesses"]["ranges"];
    assert_eq!(ranges[0], serde_json::json!({"start": "0x10000000000", "end": "0x10000040000", "pages": 64}));
    assert_eq!(made["accesses"]["source"], "lackey mapped.lackey.xz");
    // The program's own line stands in the trace.
    assert_eq!(source["accesses"]["other_lines"], 1);
}

#[test]
fn a_program_replays_as_if_its_file_lay_on_persistent_memory() {
    let dir = imported();
    for input in ["mapped.lackey.xz", "t.dxt"] {
        replay(dir.path(), input, &["--map", MAP]).exits(0);
        let report = report(dir.path());
        let faults = &report["faults"];
        assert_eq!(
            (&faults["read"], &faults["mkwrite"], &faults["total"]),
            (&64.into(), &32.into(), &96.into()),
            "{input}"
        );
        // A load with a store is two accesses.
        assert_eq!(report["accesses"]["total"], 576);
        assert_eq!(report["inputs"][0]["events"], 560);
    }
    replay(dir.path(), "t.dxt", &[]).exits(0);
    assert_eq!(report(dir.path())["faults"]["anon_read"], 64);
    // The program's text is memory too, if fetches are simulated.
    replay(dir.path(), "mapped.lackey.xz", &["--map", MAP, "--fetches"]).exits(0);
    assert_eq!(report(dir.path())["faults"]["total"], 97);
}

#[test]
fn a_replay_of_the_dxt_is_that_of_its_source() {
    let dir = imported();
    let of = |input: &str| {
        replay(dir.path(), input, &["--map", MAP]).exits(0);
        let mut report = report(dir.path());
        report["inputs"] = Value::Null;
        report["warnings"] = Value::Null;
        report
    };
    assert_eq!(of("t.dxt"), of("mapped.lackey.xz"));
}

#[test]
fn lines_of_the_program_are_counted() {
    let dir = folder();
    replay(dir.path(), "mapped.lackey.xz", &["--map", MAP]).exits(0);
    let (count, detail) = warning(&report(dir.path()), "lines that are no accesses");
    assert_eq!((count, detail.as_str()), (1, "first: line 3681: `done`"));
}

#[test]
fn a_limit_and_a_crash_end_a_replay() {
    let dir = imported();
    replay(dir.path(), "t.dxt", &["--map", MAP, "--accesses", "100"]).exits(0);
    assert_eq!(report(dir.path())["accesses"]["total"], 100);
    replay(dir.path(), "t.dxt", &["--map", MAP, "--crash-at", "200000"]).exits(0);
    let report = report(dir.path());
    let total = report["accesses"]["total"].as_u64().unwrap();
    assert!((1..576).contains(&total), "{total}");
    assert_eq!(report["inputs"][0]["events"], Value::Null);
}

#[test]
fn generated_streams_replay() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| run_in(dir.path(), args);
    run(&[
        "gen", "stride", "--bytes", "1M", "--stride", "4K", "--count", "1000", "--writes", "100", "-o",
        "s.dxt",
    ])
    .exits(0);
    replay(dir.path(), "s.dxt", &["--map", "f@0x1000000000+1M"]).exits(0);
    assert_eq!(report(dir.path())["faults"]["write"], 256);
    run(&["gen", "uniform", "--count", "100000", "-o", "u.dxt"]).exits(0);
    let info = info(dir.path(), "u.dxt", &["--check", "--threads", "2"]);
    assert_eq!((&info["accesses"]["records"], &info["accesses"]["blocks"]), (&100_000.into(), &2.into()));
    // A chase of pointers waits for each load.
    run(&["gen", "chase", "--count", "2000", "-o", "c.dxt"]).exits(0);
    assert_eq!(self::info(dir.path(), "c.dxt", &[])["accesses"]["dependent"], 2000);
}

/// A ChampSim record of an instruction that loads from an address.
fn champsim(va: u64) -> [u8; 64] {
    let mut record = [0; 64];
    record[..8].copy_from_slice(&0x40_0000_u64.to_le_bytes());
    record[32..40].copy_from_slice(&va.to_le_bytes());
    record
}

#[test]
fn champsim_traces_are_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..500).flat_map(|n| champsim(0x10_0000_0000 + n * 4096)).collect();
    let mut xz = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(&bytes[..], 1), &mut xz).unwrap();
    let mut gz = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzEncoder::new(&bytes[..], flate2::Compression::fast()),
        &mut gz,
    )
    .unwrap();
    for (name, bytes) in [("t.champsim", &bytes), ("t.champsim.xz", &xz), ("t.champsim.gz", &gz)] {
        fs::write(dir.path().join(name), bytes).unwrap();
        let info = info(dir.path(), name, &[]);
        assert_eq!((&info["kind"], &info["accesses"]["loads"]), (&"champsim".into(), &500.into()), "{name}");
        replay(dir.path(), name, &[]).exits(0);
        assert_eq!(report(dir.path())["faults"]["anon_read"], 500);
    }
    fs::write(dir.path().join("cut.champsim"), &bytes[..bytes.len() - 10]).unwrap();
    replay(dir.path(), "cut.champsim", &[])
        .exits(0)
        .says(&["at byte 31936: found 54 bytes and the end of the file"]);
    assert_eq!(report(dir.path())["accesses"]["total"], 499);
}

#[test]
fn a_damaged_dxt_is_used_as_far_as_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), &["gen", "uniform", "--count", "200000", "-o", "u.dxt"]).exits(0);
    let whole = fs::read(dir.path().join("u.dxt")).unwrap();
    let mut flipped = whole.clone();
    flipped[400_000] ^= 1;
    fs::write(dir.path().join("flipped.dxt"), &flipped).unwrap();
    fs::write(dir.path().join("cut.dxt"), &whole[..400_000]).unwrap();
    let told = |run: &Run| run.says(&["daxsim: warning: ", "at byte "]).code;
    assert_eq!(told(&replay(dir.path(), "flipped.dxt", &["--accesses", "200000"])), 0);
    // Without the second block.
    assert_eq!(report(dir.path())["accesses"]["total"], 200_000 - 65_536);
    let (_, detail) = warning(&report(dir.path()), "the input is damaged");
    assert!(
        detail.contains("block 0 with 65536 accesses is left out") || detail.contains("block 1 with"),
        "{detail}"
    );
    assert_eq!(told(&replay(dir.path(), "cut.dxt", &[])), 0);
    assert_eq!(report(dir.path())["accesses"]["total"], 65_536);
    run_in(dir.path(), &["info", "cut.dxt"])
        .exits(1)
        .shows(&["65,536 accesses of 1 thread", "DAMAGED: cut.dxt: at byte"]);
    // The index is whole, so that only --check finds the block.
    run_in(dir.path(), &["info", "flipped.dxt"]).exits(0);
    run_in(dir.path(), &["info", "flipped.dxt", "--check"])
        .exits(1)
        .shows(&["DAMAGED: flipped.dxt: at byte"]);
    let run = run_in(dir.path(), &["import", "cut.dxt", "-o", "saved.dxt"]);
    run.exits(0).says(&["daxsim: warning: cut.dxt: at byte"]).shows(&["saved.dxt: 65,536 accesses"]);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let dir = imported();
    let run = |args: &[&str]| run_in(dir.path(), args);
    fs::write(dir.path().join("s.txt"), "0 nop\n").unwrap();
    run(&["import", "s.txt", "-o", "s.dxt", "--fetches"])
        .refuses(&["s.txt: a workload script: --fetches is for traces of accesses"]);
    run(&["import", "t.dxt", "-o", "t.raw"]).refuses(&["t.raw: expected a name that ends in .dxt"]);
    run(&["replay", "s.txt", "--map", MAP]).refuses(&[
        "s.txt: a workload script: --map, --maps, --dax, --fetches, --accesses and --slip are for",
    ]);
    run(&["replay", "t.dxt", "--map", "f"]).refuses(&["expected FILE@ADDRESS+LENGTH"]);
    run(&["replay", "t.dxt", "--map", "f@0x1001+4K"])
        .refuses(&["map of f: address 0x1001: expected a multiple of 4096"]);
    let overlap = ["replay", "t.dxt", "--map", MAP, "--map", "g@0x10000001000+4K"];
    run(&overlap).refuses(&["maps of mapped.file and of g overlap at 0x10000001000"]);
    let mut bytes = fs::read(dir.path().join("t.dxt")).unwrap();
    fs::write(dir.path().join("t.dxt.zst"), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
    run(&["replay", "t.dxt.zst"]).refuses(&["found a file compressed with zstd: expected the .dxt itself"]);
    bytes.truncate(32);
    fs::write(dir.path().join("none.dxt"), &bytes).unwrap();
    run(&["replay", "none.dxt"]).refuses(&["none.dxt: no access in it", "expected the mark of a file's end"]);
    // A file in the place of another is not harmed by an input that cannot be read.
    fs::write(dir.path().join("bad"), [0; 100]).unwrap();
    run(&["import", "bad", "-o", "t.dxt"]).exits(2);
    assert_eq!(info(dir.path(), "t.dxt", &[])["accesses"]["loads"], 512);
}

#[test]
fn info_tells_of_every_kind_of_input() {
    let recorded = common::recorded("kernel-7.2/ext4/s10_msync_loop");
    let trace = recorded.join("trace.txt.xz");
    let events = info(&recorded, trace.to_str().unwrap(), &[]);
    assert_eq!(events["kind"], "ftrace");
    assert_eq!(events["events"]["kernel"], "linux-7.2");
    assert_eq!(events["events"]["fs"], "ext4");
    let lines = text_of(&trace).iter().filter(|b| **b == b'\n').count();
    assert_eq!(events["events"]["lines"], lines);
    let by_event = events["events"]["by_event"].as_object().unwrap();
    let sum: u64 = by_event.values().map(|n| n.as_u64().unwrap()).sum();
    assert!(sum > 1000 && sum <= events["events"]["events"].as_u64().unwrap(), "{sum}");
    let script = run_in(&recorded, &["info", "script.txt"]);
    script.exits(0).shows(&["script.txt: a workload script", "Operations", "msync"]);
}

#[test]
fn recorded_events_replay_from_a_dxt_as_from_text() {
    let dir = tempfile::tempdir().unwrap();
    let trace = common::recorded("kernel-6.12/ext4/s05_pmd_hole/trace.txt.xz");
    let trace = trace.to_str().unwrap();
    run_in(dir.path(), &["import", trace, "-o", "t.dxt"]).exits(0).shows(&["t.dxt: ", " lines in "]);
    assert_eq!(text_of(&dir.path().join("t.dxt")), text_of(Path::new(trace)));
    let of = |input: &str| {
        replay(dir.path(), input, &["--kernel", "linux-6.12", "--fs", "ext4"]).exits(0);
        let mut report = report(dir.path());
        report["inputs"] = Value::Null;
        report["replay"]["divergences"] = Value::Null;
        report
    };
    assert_eq!(of("t.dxt"), of(trace));
    let info = info(dir.path(), "t.dxt", &[]);
    assert_eq!((&info["kind"], &info["compression"]), (&"ftrace".into(), &"dxt".into()));
    let (small, large) =
        (fs::metadata(dir.path().join("t.dxt")).unwrap().len(), text_of(Path::new(trace)).len());
    assert!(small * 8 < large as u64, "{small} of {large}");
}
