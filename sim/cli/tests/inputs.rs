//! Every form in which a recording comes gives the same replay, and `daxsim info` tells what it is.

mod common;

use std::path::Path;

use common::{all_recorded, recorded, replay, report, run_in};
use serde_json::Value;

/// Binary files of a run and their text.
const PAIRS: [(&str, &str); 2] =
    [("trace.dat.xz", "trace.dat.txt.xz"), ("perf.data.xz", "perf.script.txt.xz")];

/// The recorded files of these names that are there.
fn pairs() -> Vec<(String, String)> {
    let path = |run: &Path, name: &str| run.join(name).to_str().unwrap().to_owned();
    let runs = all_recorded();
    let of = |(binary, text): &(&str, &str)| -> Vec<_> {
        let with = runs.iter().filter(|run| run.join(binary).exists());
        with.map(|run| (path(run, binary), path(run, text))).collect()
    };
    let found: Vec<_> = PAIRS.iter().flat_map(of).collect();
    assert!(found.len() >= 8);
    found
}

#[test]
fn a_binary_file_replays_as_its_text() {
    let dir = tempfile::tempdir().unwrap();
    for (binary, text) in pairs() {
        let of = |input: &str| {
            replay(dir.path(), input, &["--machine", "qemu-tcg", "--quiet"]).exits(0);
            let report = report(dir.path());
            assert!(report["replay"]["dax"]["recorded"].as_u64().unwrap() > 0, "{input}");
            assert_eq!(report["replay"]["diverged"], 0, "{input}: {:#}", report["replay"]["divergences"]);
            let keys = ["recorded", "reproduced", "inferred", "ignored", "dax", "other", "causes"];
            let replayed: Vec<Value> = keys.iter().map(|key| report["replay"][key].clone()).collect();
            (replayed, report["faults"].clone(), report["flushes"].clone())
        };
        assert_eq!(of(&binary), of(&text), "{binary}");
    }
}

#[test]
fn info_tells_of_a_binary_file_what_it_tells_of_its_text() {
    let dir = tempfile::tempdir().unwrap();
    for (binary, text) in pairs() {
        let of = |input: &str| -> Value {
            let run = run_in(dir.path(), &["info", "--json", input]);
            serde_json::from_str(&run.exits(0).out).unwrap()
        };
        let (binary, text) = (of(&binary), of(&text));
        assert!(["trace.dat", "perf.data"].contains(&binary["kind"].as_str().unwrap()));
        // A binary file says which kernel it is of, even where no event does.
        let folder = binary["input"].as_str().unwrap().split('/').rev().nth(3).unwrap();
        assert_eq!(binary["events"]["kernel"], folder.replace("kernel", "linux"));
        for key in ["events", "by_event", "threads", "cpus", "lost", "unparsable", "fs", "replay_ns"] {
            assert_eq!(binary["events"][key], text["events"][key], "{}: {key}", binary["input"]);
        }
    }
}

#[test]
fn an_imported_binary_file_is_read_as_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for (binary, _) in pairs().into_iter().filter(|(binary, _)| binary.ends_with("perf.data.xz")) {
        run_in(dir.path(), &["import", &binary, "-o", "x.dxt"]).exits(0);
        let of = |input: &str| -> Value {
            let run = run_in(dir.path(), &["info", "--json", input]);
            serde_json::from_str(&run.exits(0).out).unwrap()
        };
        assert_eq!(of("x.dxt")["events"], of(&binary)["events"], "{binary}");
    }
}

#[test]
fn of_long_text_info_reads_a_part_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = common::text_of(&recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz"));
    let times = (40 << 20) / text.len() + 1;
    std::fs::write(dir.path().join("long.txt"), text.repeat(times)).unwrap();
    let of = |more: &[&str]| -> Value {
        let run = run_in(dir.path(), &[&["info", "--json", "long.txt"], more].concat());
        serde_json::from_str(&run.exits(0).out).unwrap()
    };
    let (part, all) = (of(&[]), of(&["--check"]));
    assert!(all["events"].get("estimate").is_none());
    let estimate = &part["events"]["estimate"];
    assert!(estimate["read_bytes"].as_u64().unwrap() * 3 < estimate["of_bytes"].as_u64().unwrap() * 2);
    assert_eq!((&estimate["of_bytes"], &estimate["exact_span"]), (&part["bytes"], &true.into()));
    for key in ["first_ns", "last_ns", "threads", "cpus", "kernel", "fs"] {
        assert_eq!(part["events"][key], all["events"][key], "{key}");
    }
    let close = |of: &dyn Fn(&Value) -> f64| (of(&part["events"]) / of(&all["events"]) - 1.0).abs() < 0.05;
    assert!(close(&|events| events["events"].as_f64().unwrap()));
    assert!(close(&|events| events["by_event"]["page_fault_user"].as_f64().unwrap()));
    let shown = run_in(dir.path(), &["info", "long.txt"]);
    shown.exits(0).shows(&["about ", "estimated from 24", "--check reads all of it", "Events, estimated"]);
}

/// Small files of sampled and traced accesses, of the corpus of the fuzz targets.
#[test]
fn accesses_of_perf_mem_and_drmemtrace_are_imported_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = recorded("../fuzz/corpus");
    for (name, kind, accesses) in [
        ("perf_data/mem-little", "perf-mem", 4_u64),
        ("perf_data/mem-big", "perf-mem", 4),
        ("drmemtrace/some", "drmemtrace", 3),
    ] {
        let input = corpus.join(name).to_str().unwrap().to_owned();
        let of = |input: &str| -> Value {
            let run = run_in(dir.path(), &["info", "--json", input]);
            serde_json::from_str(&run.exits(0).out).unwrap()
        };
        assert_eq!(
            (&of(&input)["kind"], &of(&input)["accesses"]["records"]),
            (&kind.into(), &accesses.into())
        );
        run_in(dir.path(), &["import", &input, "-o", "x.dxt"]).exits(0);
        let imported = of("x.dxt");
        assert_eq!((&imported["kind"], &imported["accesses"]["records"]), (&"dxt".into(), &accesses.into()));
        replay(dir.path(), &input, &["--machine", "qemu-tcg", "--quiet"]).exits(0);
        let total = report(dir.path())["accesses"]["total"].as_u64().unwrap();
        assert!(total >= accesses, "{name}: {total}");
        // Weights are of `perf mem` alone, and a .dxt keeps them.
        let mean = if kind == "perf-mem" { Value::from(300.0) } else { Value::Null };
        assert_eq!(imported["accesses"]["extras"]["mean_weight"], mean, "{name}");
        assert_eq!(of(&input)["accesses"]["extras"]["mean_weight"], mean, "{name}");
    }
}

/// The files of two threads; each of the corpus' file has two.
#[test]
fn a_folder_of_drmemtrace_is_told_imported_and_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("app.dir/trace");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["a.trace", "b.trace"] {
        std::fs::copy(recorded("../fuzz/corpus/drmemtrace/some"), folder.join(name)).unwrap();
    }
    let of = |input: &str| -> Value {
        let run = run_in(dir.path(), &["info", "--json", input]);
        serde_json::from_str(&run.exits(0).out).unwrap()
    };
    let info = of("app.dir");
    assert_eq!((&info["kind"], &info["compression"]), (&"drmemtrace".into(), &"folder".into()));
    assert_eq!(info["accesses"]["records"], 6);
    run_in(dir.path(), &["import", "app.dir", "-o", "x.dxt"]).exits(0);
    assert_eq!(of("x.dxt")["accesses"]["records"], 6);
    replay(dir.path(), "app.dir", &["--machine", "qemu-tcg", "--quiet"]).exits(0);
    let report = report(dir.path());
    let assumed = report["assumptions"].as_array().unwrap();
    let is_order = |text: &Value| text.as_str().unwrap().contains("in the order of the trace to within");
    assert!(assumed.iter().any(is_order), "{assumed:?}");
    run_in(dir.path(), &["info", "."]).exits(2).says(&["a folder with 0 files of drmemtrace"]);
}
