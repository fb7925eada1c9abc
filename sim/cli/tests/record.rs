//! `daxsim record`, with a tracefs that a thread plays the kernel of and, where it may be written to, with the real one: nothing starts
//! before all is there, and no tracing is left on, however it ends.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Run, recorded, replay, run_in, text_of};
use rustix::process::{Pid, Signal, kill_process};

const NEEDED: [&str; 4] =
    ["exceptions/page_fault_user", "fs_dax/dax_pte_fault", "tlb/tlb_flush", "syscalls/sys_enter_mmap"];
const FS_DAX: [&str; 11] = [
    "dax_pte_fault_done",
    "dax_load_hole",
    "dax_insert_pfn_mkwrite",
    "dax_insert_pfn_mkwrite_no_entry",
    "dax_pmd_fault",
    "dax_pmd_fault_done",
    "dax_pmd_load_hole",
    "dax_pmd_load_hole_fallback",
    "dax_writeback_range",
    "dax_writeback_range_done",
    "dax_writeback_one",
];
/// Control files of an instance besides those of events.
const CONTROLS: [&str; 4] = ["trace_clock", "buffer_size_kb", "options/event-fork", "set_event_pid"];

fn put(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within half a minute");
}

/// A machine with DAX and tracefs, as files.
struct Machine {
    dir: tempfile::TempDir,
    /// Bytes of what it records.
    text: u64,
    ended: Arc<AtomicBool>,
    kernel: Option<JoinHandle<Vec<(String, String)>>>,
}

impl Machine {
    /// One whose kernel records a text, and loses events.
    fn new(text: &str, lost: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root.join("proc/mounts"), "/dev/pmem0 /mnt/pmem xfs rw,dax=always 0 0\n");
        fs::create_dir_all(root.join("dev")).unwrap();
        let tracing = root.join("sys/kernel/tracing");
        for event in events() {
            fs::create_dir_all(tracing.join("events").join(event)).unwrap();
        }
        fs::create_dir_all(tracing.join("instances")).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let kernel = Kernel { tracing, text: text.into(), lost, ended: Arc::clone(&ended) };
        Self { dir, text: text.len() as u64, ended, kernel: Some(std::thread::spawn(move || kernel.run())) }
    }

    fn instances(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.dir.path().join("sys/kernel/tracing/instances")).unwrap();
        all.map(|entry| entry.unwrap().path()).collect()
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// `daxsim record` on it.
    fn record(&self, args: &[&str]) -> Run {
        run_in(
            self.dir.path(),
            &[&["record", "--root", ".", "--out", "out", "--with", "tracefs"], args].concat(),
        )
    }

    /// The same, under way.
    fn start(&self, command: &[&str]) -> Child {
        let child = Command::new(env!("CARGO_BIN_EXE_daxsim"))
            .current_dir(self.dir.path())
            .args(["record", "--root", ".", "--out", "out", "--with", "tracefs", "--"])
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("recording begins", || {
            let instances = self.instances();
            let on =
                instances.first().map(|dir| fs::read_to_string(dir.join("tracing_on")).unwrap_or_default());
            let raw = fs::metadata(self.out().join("trace.txt")).map_or(0, |file| file.len());
            self.out().join("RECORDING").exists() && on.as_deref() == Some("1") && raw >= self.text
        });
        child
    }

    /// Ends the kernel; what control files it saw set.
    fn end(&mut self) -> Vec<(String, String)> {
        self.ended.store(true, Ordering::Relaxed);
        self.kernel.take().unwrap().join().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn events() -> Vec<String> {
    let fs_dax = FS_DAX.iter().map(|name| format!("fs_dax/{name}"));
    NEEDED.iter().map(|&name| name.to_owned()).chain(fs_dax).collect()
}

/// Makes the files of instances, and lets them be removed once they are switched off.
struct Kernel {
    tracing: PathBuf,
    text: String,
    lost: u64,
    ended: Arc<AtomicBool>,
}

impl Kernel {
    fn run(self) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let mut looks = 0;
        let mut cleared = BTreeSet::new();
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
            let Ok(entries) = fs::read_dir(self.tracing.join("instances")) else { break };
            for dir in entries.flatten().map(|entry| entry.path()) {
                let on = fs::read_to_string(dir.join("tracing_on"));
                let enabled = fs::read_to_string(dir.join("events/exceptions/page_fault_user/enable"));
                match (on.as_deref(), enabled.as_deref()) {
                    (Err(_), _) if !cleared.contains(&dir) => self.fill(&dir),
                    (Ok("1"), _) => looks = 0,
                    // Switched off when all was read. A real one can be removed with its files, and at once.
                    (Ok("0"), Ok("1")) if self.is_read() => {
                        looks += 1;
                        if looks > 400 {
                            seen = self.settings(&dir);
                            cleared.insert(dir.clone());
                            for entry in fs::read_dir(&dir).unwrap().flatten() {
                                let _ = fs::remove_file(entry.path());
                                let _ = fs::remove_dir_all(entry.path());
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        seen
    }

    /// Whether the reader has taken everything.
    fn is_read(&self) -> bool {
        let raw = fs::metadata(self.tracing.join("../../../out/trace.txt"));
        raw.is_ok_and(|file| file.len() >= self.text.len() as u64)
    }

    fn fill(&self, dir: &Path) {
        for event in events() {
            put(dir.join("events").join(event).join("enable"), "0");
        }
        CONTROLS.iter().for_each(|file| put(dir.join(file), ""));
        let stats =
            format!("entries: 0\noverrun: {}\ncommit overrun: 0\nbytes: 7\ndropped events: 1\n", self.lost);
        put(dir.join("per_cpu/cpu0/stats"), &stats);
        put(dir.join("per_cpu/cpu1/stats"), "overrun: 0\ncommit overrun: 0\ndropped events: 0\n");
        if self.lost == 0 {
            put(dir.join("per_cpu/cpu0/stats"), "overrun: 0\ncommit overrun: 0\ndropped events: 0\n");
        }
        put(dir.join("trace_pipe"), &self.text);
        put(dir.join("tracing_on"), "1");
    }

    fn settings(&self, dir: &Path) -> Vec<(String, String)> {
        let enables = events().into_iter().map(|event| format!("events/{event}/enable"));
        let files = CONTROLS.iter().map(|&file| file.to_owned()).chain(enables);
        files.map(|file| (file.clone(), fs::read_to_string(dir.join(&file)).unwrap_or_default())).collect()
    }
}

fn sample() -> String {
    String::from_utf8(text_of(&recorded("kernel-7.2/ext4/s01_read_then_write/trace.txt.xz"))).unwrap()
}

#[test]
fn a_recording_is_a_trace_that_replays() {
    let mut machine = Machine::new(&sample(), 0);
    machine.record(&["--", "sh", "-c", "echo made > made"]).exits(0).shows(&["lines in"]);
    assert!(machine.dir.path().join("made").exists());
    assert!(machine.instances().is_empty());
    assert_eq!(fs::read_to_string(machine.out().join("trace.txt")).unwrap(), sample());
    assert!(!machine.out().join("RECORDING").exists());
    let seen = machine.end();
    let of = |file: &str| seen.iter().find(|(name, _)| name == file).map(|(_, text)| text.clone()).unwrap();
    assert_eq!([of("trace_clock"), of("options/event-fork"), of("buffer_size_kb")], ["mono", "1", "16384"]);
    assert!(of("set_event_pid").parse::<u32>().is_ok_and(|pid| pid > 1));
    assert!(
        seen.iter().filter(|(name, _)| name.ends_with("/enable")).all(|(_, text)| text == "1"),
        "{seen:?}"
    );
    replay(machine.dir.path(), "out/trace.dxt", &["--fs", "ext4"]).exits(0);
}

#[test]
fn lost_events_and_a_failed_command_are_told() {
    let machine = Machine::new(&sample(), 3);
    let run = machine.record(&["--buffer", "128", "--", "sh", "-c", "exit 7"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("4 events were lost") && run.err.contains("--buffer 256"), "{}", run.err);
    assert!(run.err.contains("the command failed (exit status: 7)"), "{}", run.err);
    assert!(machine.out().join("trace.dxt").exists());
}

#[test]
fn what_is_missing_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let all = [&["record", "--root", ".", "--out", "out", "--with", "tracefs"], args].concat();
        run_in(dir.path(), &all)
    };
    let touch = ["--", "sh", "-c", "echo > started"];
    run(&touch).refuses(&[
        "nothing is recorded, for what is missing",
        "no DAX",
        "no tracefs: it is not mounted",
        "mount -t tracefs",
    ]);
    run(&["--clean"]).refuses(&["no tracefs"]);
    run(&["--without-dax", "--", "no-such-command"]).refuses(&["no command no-such-command"]);
    // A kernel without DAX.
    let tracing = dir.path().join("sys/kernel/tracing");
    fs::create_dir_all(tracing.join("events/exceptions/page_fault_user")).unwrap();
    fs::create_dir_all(tracing.join("instances")).unwrap();
    put(dir.path().join("proc/mounts"), "/dev/sda1 / ext4 rw,dax=never 0 0\n");
    run(&touch).refuses(&["no event fs_dax:dax_pte_fault, ", "CONFIG_FS_DAX", "no DAX"]);
    assert!(!dir.path().join("started").exists() && !dir.path().join("out").exists());
    run(&[]).refuses(&["CMD"]);
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

#[test]
fn a_signal_ends_a_recording_in_order() {
    for (which, command) in [(Signal::INT, ["sleep", "300"]), (Signal::TERM, ["sleep", "301"])] {
        let machine = Machine::new(&sample(), 0);
        let mut child = machine.start(&command);
        signal(&child, which);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(machine.instances().is_empty(), "{which:?}");
        assert!(machine.out().join("trace.dxt").exists() && !machine.out().join("RECORDING").exists());
    }
}

#[test]
fn what_a_killed_recording_leaves_is_removed_by_the_next() {
    let machine = Machine::new(&sample(), 0);
    let mut child = machine.start(&["sleep", "2"]);
    let of_fake = machine.dir.path().join(format!("proc/{}", child.id()));
    fs::create_dir_all(&of_fake).unwrap();
    // Another recording leaves one that is under way alone.
    fs::copy(format!("/proc/{}/stat", child.id()), of_fake.join("stat")).unwrap();
    machine.record(&["--clean"]).exits(0);
    assert_eq!(machine.instances().len(), 1);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    fs::remove_dir_all(of_fake).unwrap();
    assert_eq!(machine.instances().len(), 1);
    let note = fs::read_to_string(machine.out().join("RECORDING")).unwrap();
    assert!(note.contains("daxsim record --clean") && note.contains("rmdir "), "{note}");
    let cleaned = machine.record(&["--clean"]);
    cleaned.exits(0);
    assert!(cleaned.err.contains("which a recording that was killed left behind"), "{}", cleaned.err);
    assert!(machine.instances().is_empty());
}

#[test]
fn the_real_tracefs_is_left_as_it_was() {
    let instances = Path::new("/sys/kernel/tracing/instances");
    let probe = instances.join(format!("daxsim-test-{}", std::process::id()));
    if fs::create_dir(&probe).is_err() {
        // Not for us: the other tests have a tracefs of their own.
        return;
    }
    fs::remove_dir(&probe).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "record",
        "--without-dax",
        "--with",
        "tracefs",
        "--out",
        "out",
        "--",
        "sh",
        "-c",
        "ls / > /dev/null",
    ];
    let run = run_in(dir.path(), &args);
    assert!(run.code == 0 || run.err.contains("no event"), "{}", run.err);
    if run.code == 0 {
        let text = fs::read_to_string(dir.path().join("out/trace.txt")).unwrap();
        assert!(text.contains("page_fault_user: ") && text.contains("sys_mmap"), "{text}");
    }
    let of_dead = |name: &str| {
        let pid = name.strip_prefix("daxsim-").and_then(|id| id.split('-').next()?.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    for entry in fs::read_dir(instances).unwrap().flatten() {
        assert!(!of_dead(&entry.file_name().to_string_lossy()), "{:?}", entry.path());
    }
}

/// Whether perf is there and may record a tracepoint, asked without daxsim; says so if not.
#[allow(clippy::print_stderr)]
fn can_perf() -> bool {
    let tried = Command::new("perf")
        .args(["record", "-q", "-e", "exceptions:page_fault_user", "-o", "/dev/null", "--", "true"])
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("SKIPPED: perf cannot record a tracepoint here (package linux-perf, and root): {why}");
    false
}

#[test]
fn what_perf_records_is_read_and_kept() {
    if !can_perf() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let command =
        ["record", "--with", "perf", "--without-dax", "--out", "out", "--", "sh", "-c", "exec true"];
    run_in(dir.path(), &command).exits(0);
    assert!(dir.path().join("out/perf.data").is_file());
    let of = |input: &str| -> serde_json::Value {
        serde_json::from_str(&run_in(dir.path(), &["info", "--json", input]).exits(0).out).unwrap()
    };
    let (raw, kept) = (of("out/perf.data"), of("out/trace.dxt"));
    assert_eq!((&raw["kind"], &kept["compression"]), (&"perf.data".into(), &"dxt".into()));
    assert_eq!(raw["events"], kept["events"]);
    let events = &raw["events"]["by_event"];
    // A shell that starts and maps its libraries.
    assert!(events["page_fault_user"].as_u64().unwrap() > 20, "{events}");
    assert!(events["sys_mmap"].as_u64().unwrap() > 2, "{events}");
    assert_eq!((&raw["events"]["lost"], &raw["events"]["unparsable"]), (&0.into(), &0.into()));
    // A command that fails is told, and what was recorded kept.
    let failed = ["record", "--with", "perf", "--without-dax", "--out", "bad", "--", "sh", "-c", "exit 3"];
    run_in(dir.path(), &failed).exits(1).says(&["the command failed"]);
    assert!(dir.path().join("bad/trace.dxt").is_file());
}
