//! `daxsim study`.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, run_in};
use serde_json::Value;

const STUDY: &str = r#"
title = "Shootdowns, small"
question = "What do they cost?"
probe = "shootdown"
cause = "dontneed"
rounds = 2
machine = "skylake-sp-optane"
metrics = ["initiator_ns", "responder_ns", "interrupts"]
x = { name = "cores", parameter = "threads", keys = ["cpu.count"], values = [1, 3, 5] }

[[variant]]
name = "interrupts"

[[variant]]
name = "ideal"
set = ["tlb_flush.mechanism=ideal"]
source = "nobody"
"#;

fn study(text: &str, more: &[&str]) -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    let run = run_in(folder.path(), &[&["study", "mine.toml"], more].concat());
    (folder, run)
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join("reports/out/study-mine").join(file)).unwrap()
}

#[test]
fn a_study_is_a_table_a_page_and_numbers_for_scripts() {
    let (folder, run) = study(STUDY, &[]);
    run.exits(0).shows(&["Shootdowns, small", "Interrupts for a call (IPIs)", "interrupts", "ideal"]);
    run.shows(&["report: reports/out/study-mine/study.html"]);
    let json: Value = serde_json::from_slice(&bytes(folder.path(), "study.json")).unwrap();
    assert_eq!((&json["schema"], &json["failed"]), (&"daxsim.study/1".into(), &0.into()));
    let of = |variant: usize, key: &str| -> Vec<f64> {
        let points = json["variants"][variant]["points"].as_array().unwrap();
        points.iter().map(|point| point["values"][key].as_f64().unwrap()).collect()
    };
    assert_eq!(of(0, "interrupts"), [0.0, 2.0, 4.0]);
    assert_eq!([of(1, "initiator_ns"), of(1, "responder_ns")], [[0.0; 3]; 2]);
    assert!(of(0, "initiator_ns").is_sorted_by(|a, b| a < b), "{:?}", of(0, "initiator_ns"));
    let page = String::from_utf8(bytes(folder.path(), "study.html")).unwrap();
    assert!(page.contains("<title>interrupts: 2 IPIs at 3 cores</title>"));
    let text = String::from_utf8(bytes(folder.path(), "study.md")).unwrap();
    let row = ["|", "interrupts", "|", "0", "|", "2", "|", "4", "|"];
    assert!(text.lines().any(|line| line.split_whitespace().eq(row)) && text.contains("nobody"), "{text}");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let (one, of_one) = study(STUDY, &["--threads", "1", "--json"]);
    let (two, of_two) = study(STUDY, &["--threads", "2", "--json"]);
    assert_eq!(of_one.exits(0).out, of_two.exits(0).out);
    for file in ["study.json", "study.html", "study.md"] {
        assert_eq!(bytes(one.path(), file), bytes(two.path(), file), "{file}");
    }
    assert_eq!(of_one.out.as_bytes(), bytes(one.path(), "study.json"));
}

#[test]
fn a_point_that_fails_is_reported_and_the_others_go_on() {
    let text = STUDY.replace("keys = [\"cpu.count\"], ", "");
    let (folder, run) = study(&text.replace("[1, 3, 5]", "[1, 25]"), &["--out", "here"]);
    run.exits(1).shows(&[
        "failed",
        "Points that could not be measured",
        "25 threads on 24 cores: expected 1 to 24",
    ]);
    let json: Value =
        serde_json::from_slice(&fs::read(folder.path().join("here/study.json")).unwrap()).unwrap();
    assert_eq!(json["failed"], 2);
    assert_eq!(json["variants"][0]["points"][0]["values"]["interrupts"], 0.0);
}

#[test]
fn what_threads_wait_for_is_named() {
    let text = STUDY
        .replace("\"shootdown\"", "\"fault-scaling\"")
        .replace("\"dontneed\"\nrounds = 2", "\"dax-write\"\nfs = \"xfs\"\npages = 40")
        .replace("[\"initiator_ns\", \"responder_ns\", \"interrupts\"]", "[\"pages_per_second\"]");
    let (folder, run) = study(&text, &[]);
    run.exits(0).shows(&["Waits at 5 cores, nanoseconds each", "line of xa_lock"]);
    let json: Value = serde_json::from_slice(&bytes(folder.path(), "study.json")).unwrap();
    let waits = json["variants"][0]["points"][2]["waits"].as_array().unwrap();
    assert!(waits.iter().any(|wait| wait["name"] == "wait for xa_lock"), "{waits:?}");
}

#[test]
fn every_metric_of_every_probe_can_be_asked_for() {
    let metrics = |probe: &str| -> Vec<String> {
        let (_, run) =
            study(&STUDY.replace("\"shootdown\"", &format!("{probe:?}")).replace("initiator_ns", "x"), &[]);
        run.exits(2);
        let (_, list) = run.err.split_once("expected an array of one or more of ").unwrap();
        let list = list.lines().next().unwrap();
        list.split(", ").map(str::to_owned).collect()
    };
    for probe in ["shootdown", "flush-storm", "fault-scaling"] {
        let all = metrics(probe);
        let text = match probe {
            "shootdown" => STUDY.to_owned(),
            "flush-storm" => STUDY.replace("cause = \"dontneed\"\n", ""),
            _ => STUDY.replace("\"dontneed\"\nrounds = 2", "\"dax-write\"\nfs = \"xfs\"\npages = 20"),
        };
        let text = text.replace("\"shootdown\"", &format!("{probe:?}"));
        let text = text.replace("[\"initiator_ns\", \"responder_ns\", \"interrupts\"]", &format!("{all:?}"));
        let (_, run) = study(&text, &["--json"]);
        let json: Value = serde_json::from_str(&run.exits(0).out).unwrap();
        let values = json["variants"][0]["points"][1]["values"].as_object().unwrap();
        assert_eq!(values.len(), all.len(), "{probe}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named_and_the_builtin_ones_are_listed() {
    let (_, run) = study(&STUDY.replace("\"dontneed\"", "\"unmap\""), &[]);
    run.exits(2);
    assert!(run.err.contains("mine.toml:5:9: cause: \"unmap\": expected one of \"munmap\""), "{}", run.err);
    run_in(Path::new("."), &["study"]).exits(0).shows(&["shootdowns", "fault-scaling"]);
    let unknown = run_in(Path::new("."), &["study", "shootdown"]);
    assert!(unknown.exits(2).err.contains("did you mean `shootdowns`?"), "{}", unknown.err);
}
