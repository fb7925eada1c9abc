//! `daxsim vm record`: what is wrong or missing is said before anything starts. `sim/vm/tests/boot.rs` boots a guest.

mod common;

use std::fs;

use common::run_in;

const SCRIPT: &str = "@threads 2 0 5\n@seq\n0 file 0 f 4k fill\n1 nop\n";

#[test]
fn what_is_missing_is_said_at_once_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.txt"), SCRIPT.replace("0 5", "0 1")).unwrap();
    let run = run_in(
        dir.path(),
        &["vm", "record", "s.txt", "--kernel", "no.deb", "--player", "no-player", "--file", "/x=no-file"],
    );
    run.refuses(&[
        "nothing is started, for what is missing:",
        "no file no.deb, the kernel",
        "no no-player, the player of scripts: cargo build",
        "no-file: cannot be read",
    ]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the script is there");
}

#[test]
fn scripts_that_the_guest_cannot_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("five.txt", SCRIPT), ("bad.txt", "0 flie 0 f 4k fill\n"), ("a.txt", "0 nop\n")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/script.txt"), "0 nop\n").unwrap();
    let record =
        |scripts: &[&str]| run_in(dir.path(), &[&["vm", "record", "--kernel", "no.deb"], scripts].concat());
    record(&["five.txt"]).refuses(&["five.txt: a thread runs on CPU 5, and the guest has 4: say --cpus"]);
    record(&["bad.txt"]).refuses(&["bad.txt:1:3", "did you mean `file`?"]);
    record(&["a.txt", "a/script.txt"]).refuses(&["two scripts are called a on ext4"]);
    record(&["a.txt", "--", "ls"]).refuses(&["cannot be used with"]);
    record(&[]).refuses(&["SCRIPT"]);
}
