//! `daxsim probe`, `validate` and `gen`.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, run_in};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn run(args: &[&str]) -> Run {
    run_in(Path::new("."), args)
}

fn json(args: &[&str]) -> Value {
    let run = run(args);
    serde_json::from_str(&run.exits(0).out).unwrap()
}

fn numbers(points: &Value, key: &str) -> Vec<f64> {
    points.as_array().unwrap().iter().map(|point| point[key].as_f64().unwrap()).collect()
}

#[test]
fn a_chase_shows_the_levels_of_the_machine() {
    let args = ["probe", "chase", "--footprints", "32K,256K,512K,64M", "--json"];
    let report = json(&args);
    assert_eq!((&report["schema"], &report["probe"]), (&"daxsim.probe/1".into(), &"chase".into()));
    assert_eq!(report["settings"]["stride"], "4 KiB");
    let cycles = numbers(&report["points"], "cycles");
    assert_eq!(&cycles[..3], [4.0, 14.0, 23.0], "L1D, L2, and that with an STLB hit");
    assert!(cycles[3] > 100.0, "{cycles:?}");
    assert_eq!(numbers(&report["points"], "pages"), [8.0, 64.0, 128.0, 16_384.0]);
    run(&args[..4]).exits(0).shows(&["cycles/load", "512 KiB", "23.0"]);
}

#[test]
fn a_probe_prints_the_same_for_any_number_of_threads() {
    for probe in [
        &["probe", "chase", "--footprints", "32K,1M,16M"][..],
        &["probe", "ad-update", "--pages", "64,256"],
        &["probe", "walks", "--accesses", "20000"],
        &["probe", "shootdown", "--cpus", "1,3", "--pages", "2", "--rounds", "2"],
        &["probe", "flush-storm", "--cpus", "1,3", "--rounds", "3"],
        &["probe", "fault", "--pages", "16"],
    ] {
        let with = |threads| run(&[probe, &["--threads", threads]].concat()).exits(0).out.clone();
        assert_eq!(with("1"), with("3"));
    }
}

#[test]
fn a_shootdown_shows_both_sides() {
    let args = ["probe", "shootdown", "--cause", "dontneed", "--cpus", "1,4", "--pages", "2", "--json"];
    let points = &json(&args)["points"];
    assert_eq!(numbers(points, "interrupts"), [0.0, 3.0]);
    let [wait, disruption, call] = ["wait_ns", "disruption_ns", "call_ns"].map(|key| numbers(points, key));
    assert_eq!((wait[0], disruption[0]), (0.0, 0.0), "alone, nobody is asked");
    assert!(wait[1] > 0.0 && disruption[1] > 0.0 && call[1] > call[0] + wait[1] / 2.0);
    run(&["probe", "shootdown", "--cpus", "25"]).refuses(&["25 threads on 24 cores"]);
}

#[test]
fn settings_reach_the_probe() {
    let penalty = |cycles: &str| {
        let set = format!("tlb.stlb.hit_penalty={cycles} cycles");
        numbers(
            &json(&["probe", "chase", "--footprints", "512K", "--set", &set, "--json"])["points"],
            "cycles",
        )
    };
    assert_eq!((penalty("9"), penalty("20")), (vec![23.0], vec![34.0]));
}

#[test]
fn a_probe_that_cannot_be_says_why() {
    run(&["probe", "chase", "--footprints", "4K"])
        .refuses(&["--footprints 4 KiB: a footprint of 4096 bytes", "expected at least 2"]);
    run(&["probe", "chase", "--footprints", "4q"]).refuses(&["`4q` is no size", "such as 4096"]);
    run(&["probe", "chase", "--stride", "0"]).refuses(&["a stride of 0 bytes"]);
    run(&["probe", "chase", "--stride", "1G"]).refuses(&["--stride 1073741824", "--footprints"]);
    run(&["probe", "chase", "--footprints", "1G", "--set", "dram.capacity=64 MiB"])
        .refuses(&["do not fit", "dram.capacity"]);
    let software = ["mmu.accessed=software", "mmu.dirty=software"];
    run(&["probe", "ad-update", "--set", software[0], "--set", software[1]])
        .refuses(&["software sets both A and D"]);
    let one = run(&["probe", "ad-update", "--pages", "64", "--set", software[1]]);
    assert!(!one.exits(0).out.contains("\n  D "), "only A is left: {}", one.out);
}

// ---- validate

const POINTS: &str = r#"
machine = "skylake-sp-optane"
probe = "chase"
tolerance = { absolute = 0.5 }
source = "the configuration itself"
trust = "C"

[[point]]
id = "l2"
about = "L2 latency"
x = [64, 128]
expect = [14, 14]

[[point]]
id = "stlb.penalty"
about = "what an STLB hit adds"
take = "difference"
x = [512, 256]
expect = 9

[[point]]
id = "stlb.knee"
about = "DTLB reach"
take = "knee"
x = [128, 256, 384]
rise = 5
expect = 256
"#;

fn validate(text: &str, more: &[&str]) -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    let run = run_in(folder.path(), &[&["validate", "--points", "mine.toml"], more].concat());
    (folder, run)
}

#[test]
fn points_of_a_file_are_checked() {
    let (_, run) = validate(POINTS, &[]);
    run.exits(0).shows(&["3 of 3 points hold", "stlb.penalty", "pass"]);
    let (_, run) = validate(&POINTS.replace("expect = 9", "expect = 12"), &[]);
    run.exits(1).shows(&["2 of 3 points hold", "12 cycles", "FAIL", "  stlb.penalty: what an STLB hit adds"]);
    let (_, run) = validate(&POINTS.replace("expect = 9", "expect = 12"), &["l2", "stlb.knee"]);
    run.exits(0).shows(&["2 of 2 points hold"]);
    let (_, run) = validate(POINTS, &["stlb"]);
    run.exits(0).shows(&["2 of 2 points hold"]);
    let (_, run) = validate(POINTS, &["stl"]);
    run.refuses(&["no validation point `stl`", "l2, stlb.penalty, stlb.knee"]);
}

#[test]
fn bad_points_are_refused_with_their_place() {
    let (_, run) = validate(&POINTS.replace("rise = 5", "raise = 5"), &[]);
    run.refuses(&[
        "mine.toml:26:1: raise: unknown key: the nearest valid key is `rise`",
        "rise: missing key",
    ]);
    let (_, run) = validate(&POINTS.replace("skylake-sp-optane", "skylake"), &[]);
    run.refuses(&["mine.toml:8: point l2", "unknown machine `skylake`"]);
    let (_, run) = validate(
        &POINTS.replace("[[point]]\nid = \"l2\"", "[[point]]\nset = [\"tlb.x=1\"]\nid = \"l2\""),
        &[],
    );
    run.refuses(&["point l2", "unknown key"]);
}

#[test]
fn a_machine_file_is_looked_for_beside_the_points() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("points")).unwrap();
    let machine =
        "base = \"skylake-sp-optane\"\ndescription = \"mine\"\n[tlb.stlb]\nhit_penalty = \"30 cycles\"\n";
    fs::write(folder.path().join("points/mine-machine.toml"), machine).unwrap();
    let points =
        POINTS.replace("skylake-sp-optane", "mine-machine.toml").replace("expect = 9", "expect = 30");
    fs::write(folder.path().join("points/mine.toml"), points).unwrap();
    run_in(folder.path(), &["validate", "--points", "points/mine.toml"]).exits(0);
}

#[test]
fn results_are_the_same_bytes_for_any_number_of_threads() {
    let bytes = |threads: &str| {
        let (folder, run) = validate(POINTS, &["--threads", threads, "--out", "out"]);
        let read = |name: &str| fs::read(folder.path().join("out").join(name)).unwrap();
        (run.exits(0).out.clone(), read("validation.json"), read("validation.html"))
    };
    assert_eq!(bytes("1"), bytes("4"));
}

#[test]
fn curves_are_drawn() {
    let points = POINTS.replace("[64, 128]", "[48, 64, 96, 128, 192, 256, 384, 512]");
    let points = points.replace("[14, 14]", "[14, 14, 14, 14, 14, 14, 23, 23]");
    let (folder, run) = validate(&points, &["--out", "out", "--json"]);
    let page = fs::read_to_string(folder.path().join("out/validation.html")).unwrap();
    assert!(page.contains("Measured and simulated cycles on skylake-sp-optane") && page.contains("<circle"));
    let document: Value = serde_json::from_str(&run.exits(0).out).unwrap();
    assert_eq!(document["schema"], "daxsim.validation/1");
    assert_eq!(document["points"][0]["got"].as_array().unwrap().len(), 8);
}

#[test]
fn the_builtin_points_that_cost_little_hold() {
    run(&["validate", "R01", "R02"]).exits(0).shows(&["5 of 5 points hold"]);
}

// ---- gen

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn generated_streams_are_the_published_ones() {
    let folder = tempfile::tempdir().unwrap();
    // `trace_sha256_of_first_n_records` of the published counts.
    for (name, sum) in [
        ("chase", "b3632d30774f0bab264085786e3a8f116d0fd688cebf7509882035997d2483e3"),
        ("zipf", "b9a45b34464dc54b882fc9e5b978b7d33ec309222c716fc1f75f969ef3026057"),
        ("seq", "33d1a88195266ef443190f6260bcca2188696bab4521eecdae66067a815c24b6"),
        ("mixed", "b534168c7096839af25e8416e9f133059615403a55bc35db92cf179584a80d24"),
    ] {
        let file = format!("{name}.raw");
        run_in(folder.path(), &["gen", name, "--count", "100000", "-o", &file]).exits(0);
        assert_eq!(sha256(&fs::read(folder.path().join(file)).unwrap()), sum, "{name}");
    }
}

#[test]
fn a_stream_goes_to_standard_output_or_to_a_file_of_a_known_format() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["gen", "uniform", "--count", "1000", "--bytes", "1M", "--writes", "50", "--seed", "7", "-o"];
    let to = |file: &str| common::daxsim().current_dir(folder.path()).args(args).arg(file).output().unwrap();
    let piped = to("-");
    assert!(piped.status.success());
    assert_eq!(piped.stdout.len(), 8000);
    assert!(to("u.raw").status.success());
    assert_eq!(fs::read(folder.path().join("u.raw")).unwrap(), piped.stdout);
    Run::of(&to("u.trc")).refuses(&["u.trc: no known format of traces", ".raw"]);
    assert!(!folder.path().join("u.trc").exists());
    run(&["gen", "uniform", "--bytes", "100", "-o", "-"]).refuses(&["--bytes 100", "a multiple of 64"]);
    run(&["gen", "seq", "--base", "0x10", "-o", "-"]).refuses(&["`0x10`", "a multiple of 64"]);
}
