//! What tests that boot a guest need, and how they say that it is not there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a test has to say of itself.
#[expect(clippy::print_stdout, reason = "a test says what it does not do, and why")]
pub fn say(text: &str) {
    println!("{text}");
}

/// Says that a test does nothing, and why.
pub fn skip(why: &str) {
    say(&format!("SKIPPED: {why}"));
}

/// The packages of a kernel: what the variable DAXSIM_TEST_KERNEL says, or one of 6.12 in the cache.
pub fn kernel(cache: &Path) -> Option<Vec<String>> {
    if let Some(kernel) = std::env::var_os("DAXSIM_TEST_KERNEL") {
        return Some(kernel.to_string_lossy().split(' ').map(str::to_owned).collect());
    }
    let packages = std::fs::read_dir(cache.join("packages")).ok()?.flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| path.to_string_lossy().contains("linux-image-6.12.");
    packages.filter(is_kernel).max().map(|path| vec![path.display().to_string()])
}

/// Where `daxsim vm` keeps packages.
pub fn cache() -> PathBuf {
    Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/daxsim")
}

/// The player of this build: cargo builds it, if it has not yet.
pub fn player() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "-p", "daxsim-player", "--message-format", "short"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the player is not built");
    // The test is target/<profile>/deps/NAME-..; the player two folders above.
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("daxplay")
}
