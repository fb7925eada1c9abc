//! `daxplay` on ordinary files: what a script does, its log and its markers, without DAX and without a traced kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daxsim_traces::oplog::{self, OpLog};

/// A folder with a script, and with files that stand for tracefs.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("script.txt"), script).unwrap();
        fs::create_dir_all(dir.path().join("tracing")).unwrap();
        for name in ["tracing_on", "trace_marker"] {
            fs::write(dir.path().join("tracing").join(name), "").unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_daxplay"))
            .args(["--dir", "."])
            .args(["--log", "oplog.txt", "--tracing", "tracing", "script.txt"])
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// The log of a run that went well.
    fn play(&self) -> OpLog {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        oplog::open(self.path("oplog.txt")).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// What a line returned: result, error, accesses, signals, sum.
fn outcome(log: &OpLog, line: u32) -> (i64, i32, u32, u32, i64) {
    let entry = log.entry(line).unwrap_or_else(|| panic!("line {line} is not in the log"));
    (entry.rc, entry.errno, entry.acc, entry.sig, entry.sum)
}

#[test]
fn loads_and_stores_reach_the_file() {
    let bench = Bench::new(
        "@threads 1 0\n@seq\n0 file 0 f 16k fill\n0 map 0 0 0 16k rw shared 0x100000000000\n0 ldr 0 0 16k 4096\n0 st 0 5\n\
         0 acc 0 r0x5 w0x1001 r0x1001 r0\n0 clflush 0 0 128\n0 sfence\n0 ntst 0 0x2000 64\n0 mfence\n0 msync 0 0 16k\n0 unmap 0 0 16k\n\
         0 ld 0 0\n0 trunc 0 4k\n",
    );
    let log = bench.play();
    assert_eq!(outcome(&log, 2), (0, 0, 4, 0, 4 * 0x5a));
    assert_eq!(outcome(&log, 4), (0, 0, 4, 0, 3 + 4 + 0x5a), "lines 3 and 4 stored their numbers");
    assert_eq!(outcome(&log, 5), (0, 0, 2, 0, 0));
    assert_eq!(outcome(&log, 7), (0, 0, 8, 0, 0));
    assert_eq!(outcome(&log, 11), (0, 0, 1, 1, 0), "nothing is mapped any more");
    let file = fs::read(bench.path("f")).unwrap();
    assert_eq!((file.len(), file[5], file[4]), (4096, 3, 0x5a));
    assert_eq!(log.entry(1).unwrap().addr, Some(0x1000_0000_0000));
}

#[test]
fn accesses_behind_the_end_of_a_file_are_counted_and_skipped() {
    let bench = Bench::new(
        "0 file 0 f 4k fill\n0 map 0 0 0 12k rw shared 0x100000000000\n0 ldr 0 0 12k 4096\n0 str 0 0 12k 4096\n\
         0 prot 0 0 4k r\n0 st 0 0\n0 ld 0 0\n",
    );
    let log = bench.play();
    assert_eq!(outcome(&log, 2), (0, 0, 3, 2, 0x5a));
    assert_eq!(outcome(&log, 3), (0, 0, 3, 2, 0));
    assert_eq!(outcome(&log, 5), (0, 0, 1, 1, 0), "the page is read-only");
    assert_eq!(outcome(&log, 6), (0, 0, 1, 0, 3));
}

#[test]
fn lines_that_fail_are_logged_and_the_next_ones_run() {
    let bench = Bench::new(
        "0 file 0 no/such/folder 4k fill\n0 fsync 0\n0 file 1 f 8k sparse\n0 map 1 1 0 8k rw sync 0x100000000000\n0 pwrite 1 0 4k\n\
         0 pread 1 0 8k\n0 falloc 1 punch 0 4k\n",
    );
    let log = bench.play();
    assert_eq!(outcome(&log, 0).1, libc_errno("ENOENT"));
    assert_eq!(outcome(&log, 1).1, libc_errno("EBADF"));
    assert_eq!(outcome(&log, 4).0, 4096);
    assert_eq!(outcome(&log, 5).0, 8192);
}

fn libc_errno(name: &str) -> i32 {
    match name {
        "ENOENT" => 2,
        "EBADF" => 9,
        other => panic!("{other}"),
    }
}

#[test]
fn lines_in_sequence_run_in_file_order_whoever_runs_them() {
    let bench = Bench::new(
        "@threads 3 0 0 0\n@wait 2 sleep\n@seq\n0 file 0 f 4k fill\n0 map 0 0 0 4k rw shared 0x100000000000\n1 st 0 0\n2 ld 0 0\n\
         0 st 0 0\n2 ld 0 0\n1 ld 0 0\n@par\n0 str 0 0 4k 1\n1 ldr 0 0 4k 1\n@seq\n2 nop\n",
    );
    let log = bench.play();
    let order: Vec<u32> = log.entries.iter().map(|entry| entry.line).collect();
    assert_eq!(&order[..7], [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(order.last(), Some(&9));
    assert_eq!([3, 5, 6].map(|line| outcome(&log, line).4), [2, 4, 4]);
    let ends = log.entries.windows(2).take(6);
    assert!(ends.into_iter().all(|pair| pair[0].t1 <= pair[1].t0), "no two lines at once");
    let pids: std::collections::BTreeSet<u32> = log.entries.iter().map(|entry| entry.pid).collect();
    assert_eq!(pids.len(), 3);
}

#[test]
fn a_child_has_memory_of_its_own_and_shares_files() {
    let bench = Bench::new(
        "0 file 0 f 8k fill\n0 map 0 0 0 4k rw private 0x100000000000\n0 map 1 0 4k 4k rw shared 0x100000010000\n0 fork 5\n5 st 0 0\n\
         5 st 1 0\n5 ld 0 0\n5 exit\n0 wait 5\n0 ld 0 0\n0 ld 1 0\n",
    );
    let log = bench.play();
    assert_eq!(outcome(&log, 6).4, 4, "the child sees its store");
    assert_eq!(outcome(&log, 9).4, 0x5a, "the parent does not: the map is private");
    assert_eq!(outcome(&log, 10).4, 5, "it does here: the map is shared");
    let (parent, child) = (log.entry(0).unwrap(), log.entry(4).unwrap());
    assert_ne!(parent.pid, child.pid);
    let wait = log.entry(8).unwrap();
    assert_eq!((wait.rc as u32, wait.status), (child.pid, Some(0)));
}

#[test]
fn the_kernel_reads_and_writes_maps() {
    let bench = Bench::new(
        "0 file 0 f 8k fill\n0 map 0 0 0 8k rw shared 0x100000000000\n0 kwrite 0 0 4k\n0 ldr 0 0 8k 4096\n0 kread 0 0 8k\n0 kread 0 0 8k\n\
         0 mremap 0 8k fixed 0x100000100000\n0 ldr 0 0 8k 4096\n0 mremap 0 4k\n0 ldr 0 0 8k 4096\n",
    );
    let log = bench.play();
    assert_eq!(outcome(&log, 2).0, 4096);
    assert_eq!(outcome(&log, 3).4, 0x5a, "the first page is zero now");
    assert_eq!([4, 5].map(|line| outcome(&log, line).0), [8192, 8192]);
    assert_eq!(outcome(&log, 7), (0, 0, 2, 0, 0x5a));
    assert_eq!(outcome(&log, 9), (0, 0, 2, 1, 0));
}

#[test]
fn each_line_has_its_markers_inside_the_trace() {
    let bench = Bench::new("0 file 0 f 4k sparse\n0 nop\n0 usleep 1\n");
    bench.play();
    assert_eq!(bench.text("tracing/tracing_on"), "10", "on, and off");
    let markers = bench.text("tracing/trace_marker");
    let begin = "DAXPLAY start script.txt lines=3 threads=1B 0 t0 0 file 0 f 4k sparseE 0 t0 rc=";
    assert!(markers.starts_with(begin), "{markers}");
    assert!(markers.ends_with("B 2 t0 0 usleep 1E 2 t0 rc=0 errno=0 acc=0 sig=0DAXPLAY end"), "{markers}");
    assert!(!markers.contains("B 1"), "nop has no marker: {markers}");
}

#[test]
fn scripts_that_cannot_be_played_are_refused_before_anything_runs() {
    for (script, why) in [
        (
            "0 file 0 f 4k sparse\n0 map 0 0 0 4k rw shared 0x100000000000\n0 pin 0 0 4k\n",
            "script.txt:3: `0 pin 0 0 4k`",
        ),
        ("0 flie 0 f 4k fill\n", "did you mean `file`?"),
    ] {
        let bench = Bench::new(script);
        let output = bench.run();
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(why), "{stderr}");
        assert!(!Path::new(&bench.path("f")).exists(), "nothing ran");
    }
}
