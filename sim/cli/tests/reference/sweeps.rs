//! The sweeps in `reports/studies/sweeps/`.

use crate::hash;
use crate::kept::{check, folder, run, written};

/// Those that take longer than all others together.
const LONG: [&str; 2] = ["stlb", "walkers"];

fn file(name: &str) -> [String; 1] {
    [format!("configs/sweeps/{name}.toml")]
}

/// Runs a sweep and compares what is kept of it.
fn sweep(name: &str) {
    let folder = folder();
    run(&folder, &["sweep", &file(name)[0], "--out", "out", "-q"]);
    for kept in ["results.csv", "sweep.json", "sweep.html"] {
        check(&format!("reports/studies/sweeps/{name}/{kept}"), &written(&folder, &format!("out/{kept}")));
    }
    hash::note(&format!("sweep {name}"), &file(name));
}

#[test]
fn quick_sweeps_come_out_as_kept() {
    let quick: Vec<String> =
        hash::names("configs/sweeps").into_iter().filter(|name| !LONG.contains(&name.as_str())).collect();
    assert!(quick.len() >= 7, "{quick:?}");
    quick.iter().for_each(|name| sweep(name));
}

#[test]
fn what_the_long_sweeps_were_made_from_has_not_changed() {
    for name in LONG {
        hash::assert_current(&format!("sweep {name}"), &file(name));
    }
}

#[test]
#[ignore = "simulates for half a minute"]
fn long_sweeps_come_out_as_kept() {
    LONG.iter().for_each(|name| sweep(name));
}
