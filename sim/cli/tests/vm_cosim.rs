//! `daxsim vm cosim`: a real kernel's way through faults beside the model's.
//!
//! Needs QEMU and the programs of `daxsim vm record`, and a kernel: the variable DAXSIM_TEST_KERNEL (a package's file or name), or a package of
//! 6.12 in the cache. Without these it says that it is skipped.

mod common;
#[path = "../../vm/tests/needs/mod.rs"]
mod needs;

use std::fs;

use daxsim_traces::script::marks;
use daxsim_types::FileSystem;
use serde_json::Value;

/// Pages that are loaded from, and then stored to; they are not where 2 MiB begin, so each of them faults.
const SCRIPT: &str = "@threads 1 0\n@seq\n0 file 0 f 2m fill\n0 map 0 0 4096 512k rw shared 0x100000000000\n\
                      0 ldr 0 0 512k 4096\n0 str 0 0 512k 4096\n";
const PAGES: u64 = 128;
/// How far instructions, loads and stores of the model may be from the real ones. They are within 2.4 % of the kernels that they were fitted to.
const TOLERANCE: f64 = 0.05;

#[test]
fn the_real_kernels_way_through_faults_is_that_of_the_model() {
    let Some(packages) = needs::kernel(&needs::cache()) else {
        return needs::skip("no kernel: set DAXSIM_TEST_KERNEL to a package's file or name");
    };
    if let Err(missing) = daxsim_vm::look(&[FileSystem::Ext4]) {
        return needs::skip(&missing.join("; "));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.txt"), SCRIPT).unwrap();
    let plugin = std::env::current_exe().unwrap().with_file_name("libdaxsim_qemu_plugin.so");
    let (plugin, player) = (plugin.display().to_string(), needs::player().display().to_string());
    // The boot is of no interest: the machine sees what comes from the first line on.
    let start = format!("{:#x}", marks::begin(0));
    let mut arguments: Vec<&str> = vec!["vm", "cosim", "s.txt", "--cpus", "2", "--memory", "1024"];
    arguments.extend(["--boot-timeout", "120", "--timeout", "120", "--start", &start]);
    arguments.extend([
        "--plugin",
        &plugin,
        "--player",
        &player,
        "--out",
        "cosim.json",
        "--html",
        "cosim.html",
    ]);
    packages.iter().for_each(|package| arguments.extend(["--kernel", package]));
    common::run_in(folder.path(), &arguments).exits(0);
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("cosim.json")).unwrap()).unwrap();
    assert_eq!((&report["complete"], &report["unknown_left_out"]), (&true.into(), &0.into()));
    assert_eq!((&report["mapping"]["roots"], &report["mapping"]["stale"]), (&"read".into(), &0.into()));
    for kind in ["read", "mkwrite"] {
        let faults = report["faults"].as_array().unwrap();
        let fault = faults.iter().find(|fault| fault["kind"] == kind).unwrap();
        assert_eq!(fault["count"], PAGES, "{kind}: none was lost, and nothing else was taken for one");
        for what in ["instructions", "loads", "stores"] {
            let of = |side: &str| fault[side][what].as_u64().unwrap() as f64;
            let off = of("kernel") / of("model") - 1.0;
            assert!(off.abs() < TOLERANCE, "{kind}: {what} are off by {:.1} %: {fault}", 100.0 * off);
        }
    }
    let page = fs::read_to_string(folder.path().join("cosim.html")).unwrap();
    assert!(page.contains("Faults, real and modelled") && page.contains("By line of the script"));
}
