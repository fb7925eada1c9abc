use std::fs;
use std::path::Path;

use super::message;
use crate::{builtin_machines, load_kernel, load_machine, parse_machine};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The names of the builtin machines, as messages list them.
fn machines() -> String {
    builtin_machines().unwrap().iter().map(|b| b.name).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_file_starts_from_its_base() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.toml", "base = \"qemu-tcg\"\n[cpu]\ncount = 8\n[tlb]\ndtlb_2m = \"absent\"\n");
    let path = write(
        folder.path(),
        "b.toml",
        "base = \"a.toml\"\ndescription = \"b\"\ntlb.dtlb_4k.page_sizes = [\"2M\", \"4K\"]\nmmu.pcid = true\n",
    );
    let m = load_machine(&path, &[]).unwrap();
    assert_eq!((m.name.as_str(), m.description.as_str()), ("b", "b"));
    assert_eq!((m.cpu.count, m.mmu.pcid, m.mmu.rewalk_before_fault), (8, true, true));
    assert_eq!(m.tlb.dtlb_2m, None);
    assert_eq!(m.tlb.dtlb_4k.page_sizes.len(), 2);
}

#[test]
fn a_base_is_looked_up_beside_its_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    write(folder.path(), "plain", "base = \"skylake-sp-optane\"\ncpu.count = 7\n");
    let path = write(&folder.path().join("sub"), "c.toml", "base = \"../plain\"\n");
    assert_eq!(load_machine(&path, &[]).unwrap().cpu.count, 7);
    let path = write(folder.path(), "d.toml", "base = \"plain\"\n");
    assert_eq!(load_machine(&path, &[]).unwrap().cpu.count, 7);
}

#[test]
fn cycles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display();
    let a = write(folder.path(), "a.toml", "base = \"b.toml\"\n");
    write(folder.path(), "b.toml", "description = \"b\"\nbase = \"./a.toml\"\n");
    assert_eq!(
        message(load_machine(&a, &[])),
        format!("{dir}/b.toml:2:8: base: inheritance cycle: {dir}/a.toml -> {dir}/b.toml -> {dir}/./a.toml")
    );
    let own = write(folder.path(), "own.toml", "base = \"own.toml\"\n");
    assert_eq!(
        message(load_kernel(&own, &[])),
        format!("{dir}/own.toml:1:8: base: inheritance cycle: {dir}/own.toml -> {dir}/own.toml")
    );
}

#[test]
fn bases_that_are_not_there_are_named() {
    assert_eq!(
        message(parse_machine("x.toml", "base = \"qemu-tgc\"", &[])),
        format!(
            "x.toml:1:8: base: unknown machine `qemu-tgc`: did you mean `qemu-tcg`? builtin machines: {}; or give a path \
             to a .toml file",
            machines()
        )
    );
    assert_eq!(
        message(parse_machine("x.toml", "base = \"no/such.toml\"", &[])),
        "x.toml:1:8: base: \"no/such.toml\", no/such.toml: cannot read the file: No such file or directory \
         (os error 2): expected the name of a builtin machine or a path"
    );
    assert_eq!(
        message(parse_machine("x.toml", "base = 3", &[])),
        "x.toml:1:8: base: the number 3: expected the name of a builtin machine or a path"
    );
}

#[test]
fn problems_are_reported_in_the_file_they_are_in() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display();
    write(folder.path(), "a.toml", "base = \"qemu-tcg\"\n[tlb.stlb]\nways = 1000\n");
    let b = write(folder.path(), "b.toml", "base = \"a.toml\"\n[cpu]\ncount = 0\n");
    assert_eq!(
        message(load_machine(&b, &[])),
        format!(
            "{dir}/a.toml:3:8: tlb.stlb.ways: 1536 entries, 1000 ways: expected entries to be a multiple of ways\n\
             {dir}/b.toml:3:9: cpu.count: the number 0: expected an integer in 1..=256"
        )
    );
}

#[test]
fn names_and_files_that_are_not_there_are_named() {
    assert_eq!(
        message(load_machine("skylake-optane", &[])),
        format!(
            "unknown machine `skylake-optane`: did you mean `skylake-sp-optane`? builtin machines: {}; or give a path to a \
             .toml file",
            machines()
        )
    );
    assert_eq!(
        message(load_kernel("linux-6.11", &[])),
        "unknown kernel `linux-6.11`: did you mean `linux-6.12`? builtin kernels: linux-6.12, linux-7.2, \
         dax-patch-v1; or give a path to a .toml file"
    );
    assert_eq!(
        message(load_kernel("nowhere.toml", &[])),
        "nowhere.toml: cannot read the file: No such file or directory (os error 2)"
    );
}

#[test]
fn files_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let name = path.display().to_string();
    assert_eq!(message(load_machine(&name, &[])), format!("{name}: cannot read the file: not UTF-8 text"));
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(message(load_machine(&name, &[])), format!("{name}: cannot read the file: larger than 1 MiB"));
}
