//! The example in C is built, against the shared and the static library, and prints what it should.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo has put the libraries.
fn libraries() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap();
    let has = |folder: &&Path| folder.join("libdaxsim_host.so").is_file();
    let found = [folder, folder.parent().unwrap()].into_iter().find(has);
    found.unwrap_or_else(|| panic!("no libdaxsim_host.so in {} or above", folder.display())).to_owned()
}

/// Builds the example with more arguments for the compiler, runs it, and returns what it prints.
fn output(name: &str, arguments: &[String]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join(name);
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-I"])
        .arg(folder.join("include"))
        .arg(folder.join("examples/c/host.c"))
        .args(arguments)
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C compiler is here, as for the crates with C in them");
    assert!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_example_in_c_prints_what_it_should() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c/host.expected");
    let folder = libraries();
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let shared = [
        format!("-L{}", folder.display()),
        "-ldaxsim_host".into(),
        format!("-Wl,-rpath,{}", folder.display()),
    ];
    let with_shared = output("shared", &shared);
    if std::env::var_os("DAXSIM_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &with_shared).unwrap();
    }
    assert_eq!(with_shared, std::fs::read_to_string(&path).unwrap());
    let mut linked = vec![text(folder.join("libdaxsim_host.a"))];
    linked.extend(["-lm", "-lpthread", "-ldl"].map(String::from));
    assert_eq!(output("static", &linked), with_shared);
}
