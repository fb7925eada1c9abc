//! `--crash-at`: where the run ends, what is then not durable, and what was promised.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, daxsim, recorded};
use serde_json::Value;

/// Two pages stored to, one of them synced, then a third.
const SCRIPT: &str = "\
# a sync in the middle
@threads 1 0
@seq
0 file 0 data 64k fill
0 map 0 0 0 64k rw shared 0x100000000000
0 str 0 0 4096 64
0 str 0 4096 4096 64
0 msync 0 0 4096
0 str 0 8192 64 64
";

/// Line 5 of the program stores a page that a hole punched elsewhere lets the sync forget, on 7.2.
const PUNCHED: &str = "\
@threads 1 0
@seq
0 file 0 data 64k fill
0 map 0 0 0 64k rw shared 0x100000000000
0 str 0 0 64 64
0 falloc 0 punch 32768 4096
0 msync 0 0 4096
";

fn replay(dir: &Path, input: &Path, more: &[&str]) -> (Value, String) {
    let out = dir.join("out");
    let output = daxsim().arg("replay").arg(input).arg("--out").arg(&out).args(more).output().unwrap();
    let run = Run::of(&output);
    run.exits(0);
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("What a loss of power would find"));
    (serde_json::from_str(&report).unwrap(), run.out)
}

fn script(dir: &Path, text: &str) -> std::path::PathBuf {
    let path = dir.join("script.txt");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn without_a_crash_the_end_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let input = script(dir.path(), SCRIPT);
    let (report, out) = replay(dir.path(), &input, &[]);
    let d = &report["durability"];
    assert_eq!((&d["promises"], &d["lost_pages"], &d["dirty_pages"]), (&1.into(), &0.into(), &2.into()));
    assert_eq!(
        (&d["dirty_lines"], &d["crash"], &d["at_cycle"]),
        (&65.into(), &Value::Null, &report["cycles"])
    );
    assert!(out.contains("Durability: 0 pages promised and lost, 2 pages dirty, all marked\n"), "{out}");
}

#[test]
fn a_crash_ends_the_run_in_its_cycle_and_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let input = script(dir.path(), SCRIPT);
    let end = replay(dir.path(), &input, &[]).0["cycles"].as_u64().unwrap();
    let mut places = Vec::new();
    let mut lines = Vec::new();
    for part in 0..40 {
        let cycle = end * part / 40;
        let (report, out) = replay(dir.path(), &input, &["--crash-at", &cycle.to_string()]);
        let (d, crash) = (&report["durability"], &report["durability"]["crash"]);
        assert_eq!((&report["cycles"], &d["at_cycle"]), (&cycle.into(), &cycle.into()));
        assert_eq!((&crash["reached"], &crash["cycle"]), (&true.into(), &cycle.into()));
        assert_eq!((&d["lost_pages"], &d["unmarked_pages"]), (&0.into(), &0.into()));
        assert!(out.contains("Power lost at cycle"), "{out}");
        places.push(crash["places"][0].as_str().unwrap().to_owned());
        lines.push(d["dirty_lines"].as_u64().unwrap());
    }
    assert_eq!(places[0], "before line 5: 0 map 0 0 0 64k rw shared 0x100000000000");
    assert_eq!(lines[0], 0);
    assert!(places.contains(&"in access (line 6: 0 str 0 0 4096 64) on cpu0".to_owned()), "{places:#?}");
    assert!(places.contains(&"in msync (line 8: 0 msync 0 0 4096) on cpu0".to_owned()), "{places:#?}");
    assert!(lines.iter().any(|n| (65..128).contains(n)), "some lines of a page: {lines:?}");
}

#[test]
fn a_crash_beyond_the_end_is_the_end_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let input = script(dir.path(), SCRIPT);
    let (whole, _) = replay(dir.path(), &input, &[]);
    let (late, out) = replay(dir.path(), &input, &["--crash-at", "18446744073709551615"]);
    assert_eq!(late["durability"]["crash"]["reached"], false);
    assert_eq!((&late["cycles"], &late["attribution"]), (&whole["cycles"], &whole["attribution"]));
    assert!(out.contains("The run ended at cycle"), "{out}");
}

#[test]
fn a_crash_gives_the_same_bytes_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let input = recorded("kernel-7.2/ext4/s30_mixed_random_a/script.txt");
    let run = || {
        replay(dir.path(), &input, &["--crash-at", "3000000"]);
        ["report.json", "report.html", "faults.tsv"]
            .map(|name| fs::read(dir.path().join("out").join(name)).unwrap())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_promise_that_a_punched_hole_broke_is_listed_with_its_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let input = script(dir.path(), PUNCHED);
    let (report, out) = replay(dir.path(), &input, &["--kernel", "linux-7.2"]);
    let d = &report["durability"];
    assert_eq!((&d["lost_pages"], &d["unmarked_pages"]), (&1.into(), &1.into()));
    let lost = &d["lost"][0];
    assert_eq!((&lost["file"], &lost["page"], &lost["lines"]), (&"data".into(), &0.into(), &1.into()));
    assert_eq!((&lost["first_byte"], &lost["last_byte"]), (&0.into(), &63.into()));
    assert_eq!(lost["promised_by"], "msync (line 7: 0 msync 0 0 4096)");
    assert_eq!(lost["mark_removed_by"], "fallocate (line 6: 0 falloc 0 punch 32768 4096)");
    assert!(lost["mark_removed_at_cycle"].as_u64() < lost["promised_at_cycle"].as_u64());
    assert!(lost["physical"].as_str().unwrap().starts_with("0x8"));
    assert!(out.contains("1 page promised and lost, 1 page dirty, 1 without a mark"), "{out}");
    assert!(out.contains("promised by msync (line 7"), "{out}");
    let (older, _) = replay(dir.path(), &input, &["--kernel", "linux-6.12"]);
    assert_eq!(
        (&older["durability"]["lost_pages"], &older["durability"]["unmarked_pages"]),
        (&0.into(), &0.into())
    );
}

/// The recorded program punches holes between its stores and its syncs. The recording shows it, too: where 6.12 writes 17
/// entries back in an fsync, 7.2 writes none (`ops.tsv`, line 115).
#[test]
fn a_recorded_program_loses_promised_pages_on_the_kernel_that_deletes_entries() {
    let dir = tempfile::tempdir().unwrap();
    for (kernel, most) in [("6.12", 0), ("7.2", u64::MAX)] {
        for input in ["script.txt", "trace.txt.xz"] {
            // Power goes before the program's last sync, which covers what is left.
            let input = recorded(&format!("kernel-{kernel}/ext4/s30_mixed_random_a/{input}"));
            let end = replay(dir.path(), &input, &[]).0["cycles"].as_u64().unwrap();
            let lost = (1..10).map(|part| {
                let cycle = (end * part / 10).to_string();
                let (report, _) = replay(dir.path(), &input, &["--crash-at", &cycle]);
                report["durability"]["lost_pages"].as_u64().unwrap()
            });
            let lost: u64 = lost.sum();
            assert!(lost <= most && (most == 0 || lost > 0), "{kernel} {}: {lost}", input.display());
        }
    }
}

#[test]
fn a_trace_can_be_cut_off_too_and_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let input = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz");
    for cycle in ["0", "500000"] {
        let (report, _) = replay(dir.path(), &input, &["--crash-at", cycle]);
        let crash = &report["durability"]["crash"];
        assert_eq!(
            (&crash["reached"], &report["cycles"]),
            (&true.into(), &cycle.parse::<u64>().unwrap().into())
        );
        assert!(crash["places"][0].as_str().unwrap().contains("of the trace"), "{crash}");
        let replay = &report["replay"];
        assert_eq!(replay["diverged"], 0);
        assert_eq!(replay["recorded"], replay["reproduced"]);
    }
    let (whole, _) = replay(dir.path(), &input, &[]);
    assert!(whole["durability"]["promises"].as_u64() > Some(10), "the recorded syncs");
    assert_eq!(whole["durability"]["lost_pages"], 0);
}

#[test]
fn a_cycle_must_be_a_number() {
    let run = Run::of(&daxsim().args(["replay", "x.txt", "--crash-at", "soon"]).output().unwrap());
    run.exits(2);
    assert!(run.err.contains("--crash-at"), "{}", run.err);
}

/// Two of four lines written back, a fifth stored past the caches.
const FLUSHED: &str = "\
@threads 1 0
@seq
0 file 0 data 64k fill
0 map 0 0 0 64k rw shared 0x100000000000
0 str 0 0 256 64
0 clwb 0 0 128
0 ntst 0 4096 64
0 sfence
0 usleep 100
";

#[test]
fn a_crash_lists_the_written_lines_with_what_is_left_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let input = script(dir.path(), FLUSHED);
    let (report, out) = replay(dir.path(), &input, &[]);
    assert!(report["durability"]["written"].is_null() && !out.contains("Written:"), "only at a crash");
    let cycle = (report["cycles"].as_u64().unwrap() - 1000).to_string();
    let runs = |more: &[&str]| {
        let (report, out) = replay(dir.path(), &input, &[&["--crash-at", &cycle], more].concat());
        assert!(out.contains("Written:"), "{out}");
        let runs = report["durability"]["written"].as_array().unwrap();
        let run = |run: &Value| {
            format!("{} {} {}", run["first_byte"], run["lines"], run["state"].as_str().unwrap())
        };
        runs.iter().map(run).collect::<Vec<_>>()
    };
    assert_eq!(runs(&[]), ["0 2 durable", "128 2 in a cache", "4096 1 durable"]);
    assert_eq!(runs(&["--set", "pmem.eadr=true"]), ["0 4 durable", "4096 1 durable"]);
}
