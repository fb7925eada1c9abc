//! `daxsim conform`: predictions equal what two kernels recorded, and differences and omissions show.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Run, all_recorded, daxsim, has_script, races, recorded, recorded_faults};

fn conform(dirs: &[PathBuf], more: &[&str]) -> Run {
    Run::of(&daxsim().arg("conform").args(dirs).args(more).output().unwrap())
}

fn s01() -> PathBuf {
    recorded("kernel-7.2/ext4/s01_read_then_write")
}

/// A copy of a scenario in `root/kernel-7.2/ext4/<name>`.
fn copy(root: &Path, name: &str, files: &[&str]) -> PathBuf {
    let dir = root.join("kernel-7.2/ext4").join(name);
    fs::create_dir_all(&dir).unwrap();
    for file in files {
        fs::copy(s01().join(file), dir.join(file)).unwrap();
    }
    dir
}

#[test]
fn every_recorded_fault_is_predicted() {
    let mut dirs = all_recorded();
    dirs.retain(|dir| has_script(dir) && !races(dir));
    let run = conform(&dirs, &[]);
    run.exits(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), dirs.len() + 1);
    let mut total = 0;
    for (line, dir) in lines.iter().zip(&dirs) {
        let n = recorded_faults(dir).len();
        total += n;
        let folders: Vec<&str> = dir.iter().rev().take(3).filter_map(|f| f.to_str()).collect();
        let name = [&folders[2].replace("kernel", "linux"), folders[1], folders[0]].join("/");
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let same =
            format!("{name} equal {n} faults recorded {n} predicted; level 1 {n}, 2 {n}, 3 {n}; lines ");
        assert!(words.starts_with(&same), "{line}");
    }
    run.shows(&[
        &format!("{} scenarios (0 racing), 0 differ; {total} faults recorded", dirs.len()),
        &format!("{total} equal at level 1, {total} at level 2, {total} at level 3"),
    ]);
}

#[test]
fn racing_recordings_lie_in_the_predicted_range() {
    let mut dirs = all_recorded();
    dirs.retain(|dir| races(dir));
    assert!(!dirs.is_empty());
    let run = conform(&dirs, &[]);
    run.exits(0)
        .shows(&["faults recorded, racing; predicted 0x6: ", &format!("({} racing), 0 differ", dirs.len())]);
    // One interleaving alone is no range.
    conform(&dirs, &["--seeds", "1"]).exits(1).shows(&["over 1 interleavings"]);
    conform(&dirs, &["--seeds", "0"]).refuses(&["--seeds"]);
}

#[test]
fn a_wrong_kernel_differs_and_both_sides_of_the_first_difference_show() {
    let run = conform(&[s01()], &["--kernel", "linux-6.12"]);
    run.exits(1).shows(&[
        "DIFFERS",
        "first difference, fault 1:",
        "recorded   op 3 t0 0x100000000000 0x4 0x0 -> 0x80000001482c0025 ret 0x100",
        "predicted  op 3 t0 0x100000000000 0x4 0x0 -> 0x82000001",
        "1 scenario (0 racing), 1 differ",
    ]);
}

#[test]
fn one_wrong_knob_differs_in_the_upgrades_alone() {
    let run = conform(&[s01()], &["--set", "dax.upgrade_sets_d_4k=true"]);
    run.exits(1).shows(&["level 1    128, 2     64", "first difference, fault 65:", "op 4 t0", "0x7"]);
}

#[test]
fn a_missing_or_extra_fault_differs() {
    let root = tempfile::tempdir().unwrap();
    let dir = copy(root.path(), "cut", &["script.txt"]);
    let table = String::from_utf8(common::text_of(&s01().join("faults.tsv.xz"))).unwrap();
    let cut: Vec<&str> = table.lines().take(101).collect();
    fs::write(dir.join("faults.tsv"), cut.join("\n") + "\n").unwrap();
    conform(&[dir], &[]).exits(1).shows(&[
        "100 faults recorded    128 predicted",
        "first difference, fault 101:",
        "recorded   (none)",
    ]);
}

#[test]
fn a_recording_without_a_script_is_named() {
    conform(&[recorded("kernel-7.2/ext4/a04_sqlite_wal_mmap")], &[]).refuses(&[
        "a04_sqlite_wal_mmap",
        "has no script.txt",
        "daxsim replay",
    ]);
}

#[test]
fn one_scenario_that_cannot_be_compared_does_not_keep_the_others_from_it() {
    let dirs = [
        recorded("kernel-7.2/ext4/a04_sqlite_wal_mmap"),
        s01(),
        PathBuf::from("/nonexistent/kernel-7.2/ext4/s99"),
        recorded("kernel-7.2/ext4/s02_write_first"),
    ];
    let run = conform(&dirs, &[]);
    run.refuses(&[
        "not compared: ",
        "has no script.txt",
        "/nonexistent/kernel-7.2/ext4/s99: cannot be opened",
        "2 of 4 scenarios could not be compared",
    ]);
    run.shows(&[
        "s01_read_then_write",
        "s02_write_first",
        "2 scenarios (0 racing), 0 differ, 2 not compared; 320 faults",
    ]);
    // Bad input weighs more than a difference, and hides none.
    let run = conform(&dirs, &["--kernel", "linux-6.12"]);
    run.refuses(&["2 of 4 scenarios could not be compared"])
        .shows(&["2 scenarios (0 racing), 2 differ, 2 not compared"]);
}

#[test]
fn folders_of_another_kind_are_refused_with_what_was_expected() {
    let root = tempfile::tempdir().unwrap();
    let expected = "expected a folder laid out as kernel-<version>/<ext4|xfs|devdax>/<scenario>";
    conform(&[root.path().into()], &[]).refuses(&[expected]);
    conform(&[root.path().join("missing")], &[]).refuses(&["missing: cannot be opened: No such file"]);
    conform(&[copy(root.path(), "no_script", &["faults.tsv.xz"])], &[])
        .refuses(&["kernel-7.2/ext4/no_script: has no script.txt"]);
    conform(&[copy(root.path(), "no_faults", &["script.txt"])], &[])
        .refuses(&["kernel-7.2/ext4/no_faults: has no faults.tsv"]);
    let bad = copy(root.path(), "bad_faults", &["script.txt"]);
    fs::write(bad.join("faults.tsv"), "what is this\n").unwrap();
    conform(&[bad], &[]).refuses(&["faults.tsv:1: found", "expected"]);
    let kernel = root.path().join("kernel-9.9/ext4/s01");
    fs::create_dir_all(&kernel).unwrap();
    conform(&[kernel], &[]).refuses(&["kernel-9.9/ext4/s01", "unknown kernel `linux-9.9`"]);
    let fs = root.path().join("kernel-7.2/btrfs/s01");
    fs::create_dir_all(&fs).unwrap();
    conform(&[fs], &[]).refuses(&[expected, "unknown file system `btrfs`"]);
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_daxsim"))
        .arg("conform")
        .args([s01(), recorded("kernel-7.2/ext4/s02_write_first")])
        .args(["--kernel", "linux-6.12"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::of(&child.wait_with_output().unwrap());
    run.exits(1);
    assert_eq!(run.err, "");
}
