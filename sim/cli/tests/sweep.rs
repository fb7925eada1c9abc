//! `daxsim sweep`.

#![allow(clippy::disallowed_methods, clippy::print_stderr)] // the host's time, and what is skipped

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Run, recorded, run_in};
use serde_json::Value;

/// Files of a finished sweep.
const FILES: [&str; 5] = ["results.csv", "results.jsonl", "results.parquet", "sweep.json", "sweep.html"];

/// Two scripts on 18 configurations, of which the constraint leaves 12.
fn spec() -> String {
    let script = |name: &str| recorded(&format!("kernel-7.2/ext4/{name}/script.txt")).display().to_string();
    format!(
        r#"
title = "STLBs, small"
question = "How large?"
inputs = [{:?}, {:?}]
metrics = ["cycles", "tlb.stlb.misses", "latency.mkwrite.p99", "attribution.user code.cycles"]
where = ["tlb.stlb.entries >= 64 * tlb.stlb.ways"]
cost = "tlb.stlb.entries / 1024"

[[key]]
name = "tlb.stlb.entries"
values = [256, 512, 1024]

[[key]]
name = "tlb.stlb.ways"
values = [4, 8, 16]

[[key]]
name = "flush"
values = ["interrupts", "ideal"]
set = [[], ["tlb_flush.mechanism=ideal"]]

[[objective]]
name = "time"
unit = "cycles"
minimise = "cycles"
"#,
        script("s01_read_then_write"),
        script("s10_msync_loop")
    )
}

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    folder
}

fn sweep(folder: &Path, more: &[&str]) -> Run {
    run_in(folder, &[&["sweep", "mine.toml"], more].concat())
}

fn files(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    FILES.iter().map(|file| fs::read(folder.join(out).join(file)).unwrap()).collect()
}

fn rows(folder: &Path, out: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(out).join("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_point_has_the_numbers_of_a_replay_of_its_own() {
    let folder = folder(&spec());
    let run = sweep(folder.path(), &["--out", "out"]);
    run.exits(0).shows(&[
        "STLBs, small",
        "24 runs of 12 configurations on 2 inputs",
        "66.7 % of the full grid of 18",
    ]);
    let rows = rows(folder.path(), "out");
    assert_eq!(rows.len(), 24);
    for row in rows.iter().step_by(5) {
        let set = |key: &str| format!("{key}={}", row[key]);
        let mut args = vec!["replay".to_owned(), row["input"].as_str().unwrap().to_owned()];
        args.extend(["--set".to_owned(), set("tlb.stlb.entries"), "--set".to_owned(), set("tlb.stlb.ways")]);
        if row["flush"] == "ideal" {
            args.extend(["--set", "tlb_flush.mechanism=ideal"].map(str::to_owned));
        }
        args.extend(["--out", "replay", "--quiet"].map(str::to_owned));
        run_in(folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
        let report: Value =
            serde_json::from_slice(&fs::read(folder.path().join("replay/report.json")).unwrap()).unwrap();
        assert_eq!(row["cycles"].as_f64(), report["cycles"].as_f64());
        assert_eq!(row["tlb.stlb.misses"].as_f64(), report["tlb"]["stlb"]["misses"].as_f64());
        assert_eq!(row["latency.mkwrite.p99"].as_f64(), report["latency"]["mkwrite"]["p99"].as_f64());
        assert_eq!(row["objective.time"], row["cycles"]);
        assert_eq!(row["cost"].as_f64().unwrap() * 1024.0, row["tlb.stlb.entries"].as_f64().unwrap());
    }
}

#[test]
fn results_do_not_depend_on_threads_or_on_what_was_there_before() {
    let folder = folder(&spec());
    sweep(folder.path(), &["--out", "one", "-q"]).exits(0);
    sweep(folder.path(), &["--out", "three", "-q", "--threads", "3"]).exits(0);
    // No memory for inputs: each point reads its own.
    sweep(folder.path(), &["--out", "none", "-q", "--memory", "0"]).exits(0);
    let first = files(folder.path(), "one");
    assert_eq!(files(folder.path(), "three"), first);
    assert_eq!(files(folder.path(), "none"), first);
    let journals = || fs::read_dir(folder.path().join("one/journal")).unwrap().count();
    let before = journals();
    sweep(folder.path(), &["--out", "one", "-q"]).exits(0);
    assert_eq!((files(folder.path(), "one"), journals()), (first, before), "nothing is run again");
}

#[test]
fn a_sweep_that_is_killed_again_and_again_ends_as_if_it_never_was() {
    let folder = folder(&spec());
    let start = Instant::now();
    sweep(folder.path(), &["--out", "calm", "-q", "--threads", "2"]).exits(0);
    let whole = start.elapsed();
    let mut state = 1_u64;
    let mut unfinished = 0;
    for _ in 0..30 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_daxsim"))
            .current_dir(folder.path())
            .args(["sweep", "mine.toml", "--out", "killed", "-q", "--threads", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (state >> 40) as f64 / (1_u64 << 24) as f64;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share * 0.6));
        // SIGKILL: nothing of the program runs any more.
        child.kill().unwrap();
        unfinished += u32::from(!child.wait().unwrap().success());
    }
    assert!(unfinished > 5, "only {unfinished} of 30 were killed before their end");
    sweep(folder.path(), &["--out", "killed", "-q"]).exits(0);
    assert_eq!(files(folder.path(), "killed"), files(folder.path(), "calm"));
}

#[test]
fn a_disk_that_is_full_ends_a_sweep_with_the_reason_and_loses_nothing() {
    let folder = folder(&spec());
    let limited = |blocks: u32| {
        // A write beyond the limit is cut short, and the next one fails, as on a full disk.
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" sweep mine.toml --out full -q --threads 2"
        );
        let output = Command::new("sh")
            .current_dir(folder.path())
            .args(["-c", &script, env!("CARGO_BIN_EXE_daxsim")])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for blocks in [0, 1, 2, 4] {
        let (code, said) = limited(blocks);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no journal can be made") || said.contains("cannot be written"), "{said}");
    }
    sweep(folder.path(), &["--out", "full", "-q"]).exits(0);
    sweep(folder.path(), &["--out", "alone", "-q"]).exits(0);
    assert_eq!(files(folder.path(), "full"), files(folder.path(), "alone"));
}

#[test]
fn several_sweeps_at_once_in_one_folder_are_one() {
    let folder = folder(&spec());
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_daxsim"))
            .current_dir(folder.path())
            .args(["sweep", "mine.toml", "--out", "shared", "-q"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut all = [start(), start(), start()];
    assert!(all.iter_mut().all(|child| child.wait().unwrap().success()));
    sweep(folder.path(), &["--out", "alone", "-q"]).exits(0);
    assert_eq!(files(folder.path(), "shared"), files(folder.path(), "alone"));
}

#[test]
fn a_point_that_fails_says_why_and_the_others_go_on() {
    let text = spec().replacen("[256, 512, 1024]", "[256, 500, 1024]", 1).replacen("where", "findings", 1);
    let text = text.replacen("inputs = [", "inputs = [\"gone.txt\", ", 1);
    let folder = folder(&text);
    let run = sweep(folder.path(), &["--out", "out"]);
    run.exits(1);
    assert!(run.err.contains("30 of 54 points failed"), "{}", run.err);
    assert!(run.err.contains("gone.txt") && run.err.contains("tlb.stlb.entries=500"), "{}", run.err);
    let rows = rows(folder.path(), "out");
    let failed = |row: &&Value| !row["error"].is_null();
    assert_eq!((rows.len(), rows.iter().filter(failed).count()), (54, 30));
    for row in rows.iter().filter(failed) {
        let error = row["error"].as_str().unwrap();
        let expected = if row["input"] == "gone.txt" { "gone.txt" } else { "tlb.stlb" };
        assert!(error.contains(expected), "{error}");
    }
    // Again: the failures are tried again, and are the same.
    let before = files(folder.path(), "out");
    sweep(folder.path(), &["--out", "out", "-q"]).exits(1);
    assert_eq!(files(folder.path(), "out"), before);
}

#[test]
fn a_dry_run_says_what_there_is_to_run_and_runs_none_of_it() {
    let folder = folder(&spec());
    let run = sweep(folder.path(), &["--out", "out", "--dry-run", "--threads", "2"]);
    run.exits(0).shows(&[
        "24 points of 12 configurations on 2 inputs, 6 left out by constraints, of a full grid of 18",
        "tlb.stlb.entries=256 tlb.stlb.ways=4 flush=ideal (cost 0.25)",
        "... and 4 more",
        "expected: ",
        " on 2 threads",
    ]);
    assert!(!folder.path().join("out").exists());
}

#[test]
fn traces_of_accesses_and_recordings_are_read_once_and_give_the_same() {
    let trace: String = (0..6000)
        .map(|n| format!(" {} {:x},8\n", if n % 3 == 0 { 'S' } else { 'L' }, 0x10000 + n * 4096 % 4_915_200))
        .collect();
    let recording = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz").display().to_string();
    let text = format!(
        "title = \"t\"\ninputs = [\"a.lackey\", {recording:?}]\nmetrics = [\"cycles\", \"tlb.stlb.misses\", \"accesses.reads\"]\n[[key]]\nname = \"tlb.stlb.entries\"\nvalues = [256, 1536]\n"
    );
    let folder = folder(&text);
    fs::write(folder.path().join("a.lackey"), trace).unwrap();
    sweep(folder.path(), &["--out", "kept", "-q"]).exits(0);
    sweep(folder.path(), &["--out", "read", "-q", "--memory", "1K"]).exits(0);
    assert_eq!(files(folder.path(), "kept"), files(folder.path(), "read"));
    let rows = rows(folder.path(), "kept");
    assert!(rows[0]["tlb.stlb.misses"].as_f64() > rows[1]["tlb.stlb.misses"].as_f64(), "{rows:?}");
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_wrong_file_is_refused_with_its_place() {
    let text = spec().replacen("[[objective]]", "[[objektive]]", 1);
    let folder = folder(&text);
    let run = sweep(folder.path(), &[]);
    run.exits(2);
    assert!(run.err.contains("mine.toml:") && run.err.contains("objektive"), "{}", run.err);
    let folder = self::folder(&spec().replacen("\"cycles\", ", "\"cycels\", ", 1));
    let run = sweep(folder.path(), &[]);
    run.exits(2);
    assert!(run.err.contains("metric cycels: no report has cycels"), "{}", run.err);
    let chain = format!("where = [\"{}1 > 5\", ", "1+".repeat(100_000));
    let folder = self::folder(&spec().replacen("where = [", &chain, 1));
    let run = sweep(folder.path(), &[]);
    run.exits(2);
    assert!(run.err.contains("an expression of at most 4,096 bytes") && run.err.len() < 2000, "{}", run.err);
    let run = run_in(folder.path(), &["sweep", "."]);
    run.exits(2);
    assert!(run.err.contains("cannot read the file"), "{}", run.err);
}

#[test]
fn a_search_by_halving_runs_few_points_to_the_end_and_says_how_many() {
    let line = |n: usize| format!(" L {:x},8\n", 0x10000 + n * 4096 * 11 % 2_867_200);
    let trace: String = (0..8000).map(line).collect();
    let text = "title = \"t\"\ninputs = [\"a.lackey\"]\nmetrics = [\"cycles\"]\n[search]\nmethod = \"halving\"\nfirst = 2000\n\
                objective = \"time\"\n[[objective]]\nname = \"time\"\nminimise = \"cycles\"\n[[key]]\n\
                name = \"tlb.stlb.entries\"\nvalues = [128, 256, 384, 512, 640, 768, 896, 1024]\n";
    let folder = folder(text);
    fs::write(folder.path().join("a.lackey"), trace).unwrap();
    let run = sweep(folder.path(), &["--out", "out"]);
    run.exits(0).shows(&[
        "25.0 % of the full grid of 8",
        "8 configurations ran 2,000 accesses; 4 configurations ran 4,000",
        "2 configurations ran all",
    ]);
    let rows = rows(folder.path(), "out");
    let whole: Vec<u64> = rows
        .iter()
        .filter(|row| row["accesses"].is_null())
        .map(|r| r["tlb.stlb.entries"].as_u64().unwrap())
        .collect();
    assert_eq!((rows.len(), whole.len()), (14, 2));
    assert!(whole.contains(&1024) || whole.contains(&896), "700 pages want a large array: {whole:?}");
    let script = text.replacen(
        "a.lackey",
        &recorded("kernel-7.2/ext4/s01_read_then_write/script.txt").display().to_string(),
        1,
    );
    fs::write(folder.path().join("mine.toml"), script).unwrap();
    let run = sweep(folder.path(), &[]);
    run.exits(2);
    assert!(run.err.contains("only these can be cut short"), "{}", run.err);
}

/// A Python with pandas and polars: that of `DAXSIM_PYTHON`, or the one on the path.
fn python() -> Option<String> {
    let named = std::env::var("DAXSIM_PYTHON").ok();
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let has_both =
        Command::new(&python).args(["-c", "import pandas, pyarrow, polars"]).stderr(Stdio::null()).status();
    has_both.is_ok_and(|status| status.success()).then_some(python)
}

#[test]
fn the_example_of_the_documentation_runs_on_the_results() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: no Python with pandas, pyarrow and polars; DAXSIM_PYTHON names another");
        return;
    };
    let docs =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sweeps.md")).unwrap();
    let example = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = folder(&spec());
    sweep(folder.path(), &["--out", "out", "-q"]).exits(0);
    let output = Command::new(python).current_dir(folder.path()).args(["-c", example]).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    let cycles = rows(folder.path(), "out")
        .iter()
        .map(|row| row["cycles"].as_f64().unwrap())
        .fold(f64::INFINITY, f64::min);
    assert!(
        out.lines().last().unwrap().ends_with(&cycles.to_string()) || out.contains(&format!("{cycles:.1}")),
        "{out}"
    );
}

/// Differences that one run often serves, in all that can be followed.
fn alike() -> String {
    let script = |name: &str| recorded(&format!("kernel-7.2/ext4/{name}/script.txt")).display().to_string();
    let recording = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz").display().to_string();
    format!(
        r#"
title = "Much of it alike"
inputs = ["a.lackey", {:?}, {recording:?}]
kernels = ["linux-7.2"]
semantics = ["merged", "merged+hole_2m_busy@pre-series", "merged+upgrade_sets_d_4k@pre-series"]
metrics = ["cycles", "instructions", "tlb.stlb.misses", "tlb.stlb.evictions", "tlb.stlb_main.fills", "psc.psc_pde.hits",
    "psc.psc_pde.lookups", "psc.psc_pml4e.fills", "walks.cycles", "walks.by_walker.0", "walks.by_walker.1", "walks.by_walker.2",
    "latency.mkwrite.p99", "kernel_work.struct_page_rmws", "shootdowns.full_flushes"]

[[key]]
name = "tlb.stlb.entries"
values = [192, 1536, 3072]

[[key]]
name = "sizes"
values = ["plain", "psc", "walkers"]
set = [[], ["psc.pml4e=4"], ["mmu.walkers=3"]]

[[key]]
name = "tree.flush_ceiling_pages"
values = [33, 34]
"#,
        script("s23_mprotect")
    )
}

#[test]
fn points_that_one_run_serves_have_the_results_of_runs_of_their_own() {
    let trace: String = (0..20_000)
        .map(|n| {
            format!(" {} {:x},8\n", if n % 3 == 0 { 'S' } else { 'L' }, 0x10000 + n * 4096 * 7 % 4_915_200)
        })
        .collect();
    let folder = folder(&alike());
    fs::write(folder.path().join("a.lackey"), trace).unwrap();
    let run = sweep(folder.path(), &["--out", "alone", "-q", "--each-alone"]);
    run.exits(0);
    assert!(!run.err.contains("served"), "{}", run.err);
    for threads in ["1", "3"] {
        let run = sweep(folder.path(), &["--out", threads, "-q", "--threads", threads]);
        run.exits(0);
        let served = run
            .err
            .lines()
            .find_map(|line| line.strip_prefix("daxsim: ")?.strip_suffix(" runs served 162 points"));
        let runs: u32 = served.unwrap_or_else(|| panic!("{}", run.err)).parse().unwrap();
        assert!(
            (6..110).contains(&runs),
            "{runs} runs of 162 points: sizes that decide nothing serve each other"
        );
        assert_eq!(files(folder.path(), threads), files(folder.path(), "alone"), "{threads} threads");
    }
    sweep(folder.path(), &["--out", "dry", "--dry-run"])
        .exits(0)
        .shows(&["162 points of 54 configurations", "may serve"]);
}
