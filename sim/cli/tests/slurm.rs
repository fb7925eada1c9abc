//! `daxsim sweep --engine slurm`, on a Slurm of the test's own: skipped, and loudly, where its packages are not installed.

#![allow(clippy::disallowed_methods, clippy::print_stderr)] // the host's time, and what is skipped

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::run_in;

const PROGRAMS: [&str; 3] = ["/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/sbin/munged"];

const FILES: [&str; 5] = ["results.csv", "results.jsonl", "results.parquet", "sweep.json", "sweep.html"];

/// A controller with two nodes, gone with its value.
struct Slurm {
    folder: PathBuf,
}

impl Slurm {
    fn script() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/instance.sh")
    }

    fn start(folder: &Path) -> Option<Self> {
        if let Some(missing) = PROGRAMS.iter().find(|program| !Path::new(program).exists()) {
            eprintln!("SKIPPED: {missing} is not there: apt-get install slurmctld slurmd slurm-client munge");
            return None;
        }
        let slurm = Self { folder: folder.join("slurm") };
        let status =
            Command::new(Self::script()).arg("start").arg(&slurm.folder).stdout(Stdio::null()).status();
        if !status.unwrap().success() {
            eprintln!("SKIPPED: a private Slurm does not start here");
            return None;
        }
        Some(slurm)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
        command
    }

    fn says(&self, program: &str, args: &[&str]) -> String {
        String::from_utf8(self.command(program).args(args).output().unwrap().stdout).unwrap()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(Self::script()).arg("stop").arg(&self.folder).status();
    }
}

fn start(slurm: &Slurm, folder: &Path, spec: &str, out: &str) -> Child {
    let mut command = slurm.command(env!("CARGO_BIN_EXE_daxsim"));
    command
        .current_dir(folder)
        .args(["sweep", spec, "--out", out, "--engine", "slurm", "--shards", "4", "-q"]);
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child, limit: Duration) -> (bool, String) {
    let (mut child, start) = (child, Instant::now());
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > limit {
            child.kill().unwrap();
            panic!("no end: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_cluster_that_loses_a_node_and_a_task_gives_the_results_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let trace: String =
        (0..200_000_u64).map(|n| format!(" L {:x},8\n", 0x10000 + n * 4096 * 7 % 9_000_000)).collect();
    fs::write(folder.join("a.lackey"), trace).unwrap();
    let spec = "title = \"t\"\ninputs = [\"a.lackey\"]\nmetrics = [\"cycles\", \"tlb.stlb.misses\"]\n[[objective]]\nname = \"time\"\n\
                minimise = \"cycles\"\n[[key]]\nname = \"tlb.stlb.entries\"\nvalues = [192, 384, 768, 1536, 3072]\n[[key]]\n\
                name = \"psc.pde\"\nvalues = [4, 8, 16, 32]\n";
    fs::write(folder.join("mine.toml"), spec).unwrap();
    let Some(slurm) = Slurm::start(folder) else { return };
    let child = start(&slurm, folder, "mine.toml", "cluster");
    // As soon as something runs, a node goes, and a task.
    let begin = Instant::now();
    let task = loop {
        let queue = slurm.says("squeue", &["-h", "-t", "R", "-o", "%i"]);
        if let Some(task) = queue.lines().find(|line| line.contains('_')) {
            break task.to_owned();
        }
        assert!(begin.elapsed() < Duration::from_secs(180), "nothing runs: {}", slurm.says("squeue", &[]));
        std::thread::sleep(Duration::from_millis(50));
    };
    slurm.says("scontrol", &["update", "nodename=node1", "state=down", "reason=lost"]);
    slurm.says("scancel", &["--signal=KILL", "--full", &task]);
    slurm.says("scancel", &[&task]);
    let (success, said) = ended(child, Duration::from_secs(600));
    assert!(success, "{said}");
    assert!(
        said.contains("attempt 1: 20 points in 4 shards, job ") && said.contains("attempt 2: "),
        "{said}"
    );
    run_in(folder, &["sweep", "mine.toml", "--out", "alone", "-q"]).exits(0);
    same(folder, "cluster", "alone");

    // A search: each round is a job of its own.
    let search = "[search]\nmethod = \"halving\"\nfirst = 50000\nfactor = 4\nobjective = \"time\"\n";
    fs::write(folder.join("search.toml"), format!("{spec}{search}")).unwrap();
    let (success, said) = ended(start(&slurm, folder, "search.toml", "rounds"), Duration::from_secs(600));
    assert!(success, "{said}");
    for round in ["round 1, attempt 1: 20 points in 4 shards", "round 2, attempt 1: 5 points in 4 shards"] {
        assert!(said.contains(round), "{said}");
    }
    run_in(folder, &["sweep", "search.toml", "--out", "at-home", "-q"]).exits(0);
    same(folder, "rounds", "at-home");
    // Again: everything is finished, and nothing is submitted.
    let (success, said) = ended(start(&slurm, folder, "search.toml", "rounds"), Duration::from_secs(60));
    assert!(success && !said.contains("attempt"), "{said}");
    same(folder, "rounds", "at-home");
}

fn same(folder: &Path, one: &str, other: &str) {
    for file in FILES {
        let read = |out: &str| fs::read(folder.join(out).join(file)).unwrap();
        assert!(read(one) == read(other), "{file} of {one} differs");
    }
}

#[test]
fn without_slurm_it_is_said_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.lackey"), " L 1000,8\n".repeat(64)).unwrap();
    let spec = "title = \"t\"\ninputs = [\"a.lackey\"]\nmetrics = [\"cycles\"]\n";
    fs::write(folder.path().join("mine.toml"), spec).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_daxsim"))
        .current_dir(folder.path())
        .env("PATH", "")
        .args(["sweep", "mine.toml", "--out", "out", "--engine", "slurm"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("sbatch cannot be run: --engine slurm needs the commands of Slurm"), "{said}");
}
