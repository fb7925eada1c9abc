//! `daxsim vm trace`, on a guest whose accesses are known: what QEMU did stands in the file, which is read by the other commands.

#[path = "../../vm/plugin/tests/guest/mod.rs"]
#[allow(dead_code, reason = "the plugin's own tests look at more of it")]
mod guest;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const QEMU: &str = "qemu-system-x86_64";

/// Whether there is a QEMU; says so if not.
#[allow(clippy::print_stderr)]
fn have_qemu() -> bool {
    let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: {QEMU} is not installed");
    }
    found
}

/// The plugin, which cargo built beside the tests.
fn plugin() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libdaxsim_qemu_plugin.so")
}

fn daxsim(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daxsim")).args(arguments).current_dir(folder).output().unwrap()
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Traces the guest with memory and an NVDIMM, so that physical addresses are not QEMU's own numbers.
fn trace(folder: &Path, filters: &[&str]) -> Output {
    std::fs::write(folder.join("guest.bin"), guest::image(false)).unwrap();
    let plugin = plugin();
    let mut arguments = vec!["vm", "trace", "out.dxt", "--plugin", plugin.to_str().unwrap()];
    arguments.extend(filters);
    arguments.extend([
        "--",
        QEMU,
        "-machine",
        "pc,nvdimm=on",
        "-m",
        "64M,slots=1,maxmem=1G",
        "-bios",
        "guest.bin",
    ]);
    arguments.extend(["-object", "memory-backend-ram,id=n,size=16M", "-device", "nvdimm,memdev=n"]);
    arguments.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-nodefaults", "-display", "none"]);
    daxsim(&arguments, folder)
}

#[test]
fn a_traced_guest_can_be_looked_at_and_replayed() {
    if !have_qemu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = trace(folder.path(), &["--virt", "0x40000000+0x400000"]);
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    let expected = "out.dxt: 2,002 accesses (1,001 loads, 1,001 stores) of 1 vCPU, ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("0 by the kernel, 0 to devices, 0 without a physical address"), "{text}");
    let info = text_of(&daxsim(&["info", "out.dxt"], folder.path()));
    assert!(info.contains("2,002 accesses of 1 thread in 5,028 instructions"), "{info}");
    assert!(info.contains("physical addresses: of 2,002 accesses"), "{info}");
    assert!(info.contains("made by the kernel: 0 of 2,002"), "{info}");
    let replay = daxsim(&["replay", "out.dxt"], folder.path());
    assert!(replay.status.success(), "{}", text_of(&replay));
}

#[test]
fn physical_addresses_are_those_of_the_guest_also_beside_an_nvdimm() {
    if !have_qemu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = trace(folder.path(), &["--phys", "0x400000+0x1000", "--address", "physical"]);
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    // 64 turns of the loop are in the page, and the increment.
    assert!(text.starts_with("out.dxt: 130 accesses (65 loads, 65 stores) of 1 vCPU, "), "{text}");
    let info = text_of(&daxsim(&["info", "out.dxt"], folder.path()));
    assert!(info.contains("0x400000"), "{info}");
}

#[test]
fn what_is_missing_or_wrong_is_said_and_nothing_is_left() {
    if !have_qemu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = |filters: &[&str], text: &str| {
        let output = trace(folder.path(), filters);
        assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
        assert!(text_of(&output).contains(text), "{}", text_of(&output));
        assert!(!folder.path().join("out.dxt").exists());
    };
    said(&["--virt", "5-4"], "found \"virt=5-4\": expected START-END or START+LENGTH");
    let output = daxsim(&["vm", "trace", "out.dxt", "--plugin", "nowhere.so", "--", QEMU], folder.path());
    assert!(text_of(&output).contains("nowhere.so: there is no plugin: expected"), "{}", text_of(&output));
    let output = daxsim(&["vm", "trace", "out.txt", "--", QEMU], folder.path());
    assert!(text_of(&output).contains("out.txt: expected a name that ends in .dxt"), "{}", text_of(&output));
}
