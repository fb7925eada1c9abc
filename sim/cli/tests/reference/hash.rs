//! What the long results were made from: a hash of their file and of every machine and kernel that it names.

use std::collections::BTreeSet;
use std::fs;

use sha2::{Digest, Sha256};

use crate::kept::{check, kept, top, updates};

/// Where the hashes are.
const HASHES: &str = "reports/reference/made-from.tsv";

/// The words of a configuration that may be names of others.
fn words(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default());
    lines.filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// Takes a file and all that it names, from `configs/machines` and `configs/kernels`.
fn collect(path: &str, taken: &mut BTreeSet<String>) {
    if !taken.insert(path.to_owned()) {
        return;
    }
    let text = kept(path);
    assert!(!text.is_empty(), "{path} is not there");
    for word in words(&text).into_iter().filter(|word| !word.contains(['/', ' '])) {
        for folder in ["machines", "kernels", "semantics", "dram"] {
            let named = format!("configs/{folder}/{word}.toml");
            if top().join(&named).is_file() {
                collect(&named, taken);
            }
        }
    }
}

/// The hash of files and of all that they name, of the defaults, too.
pub fn of(files: &[String]) -> String {
    let mut taken = BTreeSet::new();
    for file in files.iter().map(String::as_str).chain(["configs/kernels/linux-7.2.toml"]) {
        collect(file, &mut taken);
    }
    let mut hash = Sha256::new();
    for path in taken {
        hash.update(path.as_bytes());
        hash.update(fs::read(top().join(&path)).unwrap());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file of a folder with the ending `.toml`, from the top, in order.
pub fn files(folder: &str) -> Vec<String> {
    let inside = fs::read_dir(top().join(folder)).unwrap();
    let names = inside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(".toml")).map(|name| format!("{folder}/{name}")).collect();
    files.sort();
    files
}

/// The name of every TOML file of a folder, without its ending, in order.
pub fn names(folder: &str) -> Vec<String> {
    let name = |file: String| file[folder.len() + 1..].trim_end_matches(".toml").to_owned();
    files(folder).into_iter().map(name).collect()
}

/// Notes what a report was made from; for the tests that make it.
pub fn note(report: &str, files: &[String]) {
    let line = format!("{report}\t{}", of(files));
    if !updates() {
        return assert_current(report, files);
    }
    // Tests run side by side: one at a time reads and writes.
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = LOCK.lock().unwrap();
    let before = kept(HASHES);
    let mut lines: BTreeSet<&str> =
        before.lines().filter(|old| old.split('\t').next() != Some(report)).collect();
    lines.insert(&line);
    check(HASHES, &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}

/// Whether what a report was made from is as it was.
pub fn assert_current(report: &str, files: &[String]) {
    if updates() {
        return;
    }
    let hashes = kept(HASHES);
    let noted = hashes.lines().find_map(|line| line.strip_prefix(report)?.strip_prefix('\t'));
    assert_eq!(
        noted,
        Some(of(files).as_str()),
        "{report}: {files:?}, or a machine or kernel that it names, changed since the report was made; see the top of this test"
    );
}

#[test]
fn a_hash_is_of_a_file_and_of_what_it_names() {
    let mut taken = BTreeSet::new();
    collect("configs/studies/flush-storm.toml", &mut taken);
    assert!(taken.contains("configs/machines/xeon-6242.toml"), "{taken:?}");
    assert!(taken.contains("configs/kernels/linux-7.2.toml"), "{taken:?}");
    assert!(
        taken.iter().any(|path| path == "configs/machines/skylake-sp-optane.toml"),
        "the base: {taken:?}"
    );
}
