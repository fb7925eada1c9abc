//! The same input and configuration give the same bytes, however they are run.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{recorded, run_in, text_of};
use serde_json::Value;

/// Files of a folder and their bytes, in order.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn assert_same(dir: &Path, a: &str, b: &str, files: usize) {
    let (a, b) = (contents(&dir.join(a)), contents(&dir.join(b)));
    assert_eq!(a.len(), files);
    let names = |c: &[(PathBuf, Vec<u8>)]| c.iter().map(|(p, _)| p.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{} differs", name.display());
    }
}

#[test]
fn two_runs_of_a_script_or_a_trace_write_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for (input, files) in [("script.txt", 4), ("trace.txt.xz", 3)] {
        let input = recorded("kernel-7.2/ext4/s21_unmap_4threads").join(input);
        let outputs = ["a", "b"].map(|out| {
            let _ = fs::remove_dir_all(dir.path().join(out));
            let run = run_in(dir.path(), &["replay", input.to_str().unwrap(), "--out", out]);
            run.exits(0).out.replace(&format!("report: {out}/"), "report: ")
        });
        assert_eq!(outputs[0], outputs[1]);
        assert_same(dir.path(), "a", "b", files);
    }
}

#[test]
fn a_run_into_a_folder_with_older_results_replaces_them() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["s01_read_then_write", "s10_msync_loop"]
        .map(|s| recorded(&format!("kernel-7.2/ext4/{s}/script.txt")).to_str().unwrap().to_owned());
    for (input, out) in [(&one, "fresh"), (&two, "used"), (&one, "used")] {
        run_in(dir.path(), &["replay", input, "--out", out, "-q"]).exits(0);
    }
    assert_same(dir.path(), "fresh", "used", 4);
}

#[test]
fn threads_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = Vec::new();
    for scenario in ["s01_read_then_write", "s04_pmd_aligned", "s10_msync_loop", "s12_msync_ranges"] {
        for file in ["script.txt", "trace.txt.xz"] {
            let path = recorded("kernel-7.2/xfs").join(scenario).join(file);
            inputs.push(path.to_str().unwrap().to_owned());
        }
    }
    let outputs = ["1", "2", "7"].map(|threads| {
        let mut args = vec!["replay"];
        args.extend(inputs.iter().map(String::as_str));
        args.extend(["--threads", threads, "--out", threads]);
        run_in(dir.path(), &args).exits(0).out.replace(&format!("report: {threads}/"), "report: ")
    });
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
    assert_same(dir.path(), "1", "2", 4 * 4 + 4 * 3);
    assert_same(dir.path(), "1", "7", 4 * 4 + 4 * 3);
}

#[test]
fn compression_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let text = text_of(&recorded("kernel-7.2/ext4/s12_msync_ranges/trace.txt.xz"));
    let put = |name: &str, bytes: Vec<u8>| fs::write(dir.path().join(name), bytes).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&text).unwrap();
    put("plain.txt", text.clone());
    put("a.xz", xz.finish().unwrap());
    put("a.zst", zstd::encode_all(&text[..], 1).unwrap());
    put("a.gz", gzip.finish().unwrap());
    // The name's end does not matter either.
    fs::copy(dir.path().join("a.zst"), dir.path().join("misnamed.xz")).unwrap();
    let reports = ["plain.txt", "a.xz", "a.zst", "a.gz", "misnamed.xz"].map(|input| {
        run_in(dir.path(), &["replay", input, "--out", "out", "-q"]).exits(0);
        let mut report = common::report(dir.path());
        let inputs = report["inputs"].take();
        assert_eq!(inputs[0]["name"], input);
        assert_eq!(inputs[0]["bytes"], fs::metadata(dir.path().join(input)).unwrap().len());
        assert_eq!(inputs[0]["lines"], text.iter().filter(|b| **b == b'\n').count());
        (report, inputs[0]["sha256"].clone())
    });
    let (plain, _): &(Value, Value) = &reports[0];
    for (report, _) in &reports[1..] {
        assert_eq!(plain, report);
    }
    assert_eq!(reports[2].1, reports[4].1);
    assert_ne!(reports[0].1, reports[1].1);
}
