//! What the whole-program tests share.

#![allow(dead_code)] // each test file uses a part of it

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

/// Every run must end by itself long before this.
const LIMIT: Duration = Duration::from_secs(60);

/// A recorded file or folder.
pub fn recorded(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/recorded").canonicalize().unwrap().join(path)
}

/// Every recorded folder, of all kernels and file systems, in order.
pub fn all_recorded() -> Vec<PathBuf> {
    let folders = |dir: PathBuf| {
        let mut inside: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        inside.retain(|p| p.is_dir());
        inside.sort();
        inside
    };
    let all: Vec<PathBuf> = folders(recorded("")).into_iter().flat_map(folders).flat_map(folders).collect();
    assert!(all.len() > 80, "{}", all.len());
    all
}

/// Name of a recorded folder.
pub fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

/// Whether a folder was recorded from a workload script.
pub fn has_script(folder: &Path) -> bool {
    folder.join("script.txt").exists()
}

/// Whether the threads of a recorded script ran freely, so that the recording is one of many orders.
pub fn races(folder: &Path) -> bool {
    name(folder).contains("_race_")
}

/// The command, with the time limit.
pub fn daxsim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daxsim"));
    command.timeout(LIMIT);
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let run = Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        assert!(!run.err.contains("panicked"), "{}", run.err);
        run
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts bad input (status 2) with a message that holds each of `parts`.
    #[track_caller]
    pub fn refuses(&self, parts: &[&str]) -> &Self {
        self.exits(2).says(parts)
    }

    /// Asserts that standard error holds each of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
        self
    }

    /// Asserts that standard output holds each of `parts`.
    #[track_caller]
    pub fn shows(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.out.contains(part), "no `{part}` in:\n{}", self.out);
        }
        self
    }
}

/// Runs the command in `dir`.
pub fn run_in<A: AsRef<std::ffi::OsStr>>(dir: &Path, args: &[A]) -> Run {
    Run::of(&daxsim().current_dir(dir).args(args).output().unwrap())
}

/// Replays `input` in `dir` with results in `dir/out`.
pub fn replay(dir: &Path, input: &str, more: &[&str]) -> Run {
    let mut args = vec!["replay", input, "--out", "out"];
    args.extend(more);
    run_in(dir, &args)
}

/// The report in `dir/out`.
pub fn report(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("out/report.json")).unwrap()).unwrap()
}

/// Count and detail of a report's warning.
#[track_caller]
pub fn warning(report: &Value, what: &str) -> (u64, String) {
    let warnings = report["warnings"].as_array().unwrap();
    match warnings.iter().find(|w| w["what"] == what) {
        Some(w) => (w["count"].as_u64().unwrap(), w["detail"].as_str().unwrap().to_owned()),
        None => panic!("no warning `{what}` among {warnings:#?}"),
    }
}

/// A recorded trace or table, decompressed.
pub fn text_of(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    daxsim_traces::open(path).unwrap().read_to_end(&mut text).unwrap();
    text
}

/// A scenario's fault table, compressed or not, as lines of columns, without its head.
pub fn recorded_faults(scenario: &Path) -> Vec<Vec<String>> {
    let plain = scenario.join("faults.tsv");
    let path = if plain.exists() { plain } else { scenario.join("faults.tsv.xz") };
    columns(&String::from_utf8(text_of(&path)).unwrap())
}

/// Lines of a fault table as columns, without its head.
pub fn columns(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|l| !l.starts_with('#') && !l.starts_with("op\t"));
    lines.map(|l| l.split('\t').map(str::to_owned).collect()).collect()
}
