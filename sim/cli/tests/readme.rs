//! The outputs in `README.md` and in the examples of reports are those of the program.
//!
//! After a change of the outputs: `DAXSIM_UPDATE_README=1 cargo test -p daxsim --test readme`.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the README calls the program.
const CALL: &str = "$ cargo run --release -p daxsim --";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs the arguments of a command line as a shell at the top of the tree would, away from the tree's own results.
fn run(arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for name in ["traces", "configs"] {
        std::os::unix::fs::symlink(top().join(name), folder.path().join(name)).unwrap();
    }
    let output = Command::new("sh")
        .args(["-c", &format!("\"$DAXSIM\"{arguments}")])
        .env("DAXSIM", env!("CARGO_BIN_EXE_daxsim"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "daxsim{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The text with the output of each command in it.
fn with_outputs(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(arguments) = line.strip_prefix(CALL) else { continue };
        out.push_str(&run(arguments));
        out.push_str("```\n");
        assert!(lines.any(|line| line == "```"), "the block of `{line}` ends");
    }
    out
}

/// Compares a text with its commands run again, or writes it anew.
fn check(name: &str, commands: usize) {
    let path = top().join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.matches(CALL).count() >= commands, "{name} shows {commands} commands");
    let expected = with_outputs(&text);
    if std::env::var_os("DAXSIM_UPDATE_README").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    for (number, (shown, printed)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(shown, printed, "{name} line {}: see the top of this test", number + 1);
    }
    assert_eq!(text.len(), expected.len(), "{name}: see the top of this test");
}

#[test]
fn readme_shows_what_the_program_prints() {
    check("README.md", 2);
}

#[test]
fn the_compared_semantics_are_what_the_program_prints() {
    check("reports/examples/semantics.md", 3);
}
