//! Files that are kept in the tree, and how they are made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// How to make the files anew.
const HOW: &str = "make it anew as the top of sim/cli/tests/reference/main.rs says";

/// The top of the tree.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whether files are written instead of compared.
pub fn updates() -> bool {
    std::env::var_os("DAXSIM_UPDATE_REFERENCE").is_some()
}

/// What a kept file holds; nothing if it is not there.
pub fn kept(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_default()
}

/// Compares a kept file with what it should hold, or writes it.
pub fn check(path: &str, text: &str) {
    if updates() {
        let path = top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return;
    }
    let found = kept(path);
    for (at, (found, expected)) in found.lines().zip(text.lines()).enumerate() {
        assert_eq!(found, expected, "{path} line {}: {HOW}", at + 1);
    }
    assert_eq!(found.len(), text.len(), "{path}: {HOW}");
}

/// A folder in which the inputs have the names that they have at the top of the tree.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["traces", "configs"] {
        symlink(top().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// Runs the program in a folder; it may take long.
pub fn run(folder: &TempDir, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_daxsim"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    // 1 says that a check failed, which is a result.
    assert!(matches!(output.status.code(), Some(0 | 1)), "daxsim {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// A file that the program wrote into a folder.
pub fn written(folder: &TempDir, path: &str) -> String {
    fs::read_to_string(folder.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A kept JSON document.
pub fn json<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_str(&kept(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
