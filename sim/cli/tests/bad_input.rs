//! Inputs, scripts, options and surroundings that are wrong: status 2, or a counted warning; never a panic.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Run, daxsim, recorded, replay, report, run_in, text_of, warning};

fn trace_path() -> String {
    recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz").to_str().unwrap().to_owned()
}

fn script_path() -> String {
    recorded("kernel-7.2/ext4/s01_read_then_write/script.txt").to_str().unwrap().to_owned()
}

fn trace_text() -> Vec<u8> {
    text_of(Path::new(&trace_path()))
}

/// Replays `bytes` as `name`, from a folder of its own.
fn replay_bytes(name: &str, bytes: &[u8], more: &[&str]) -> (tempfile::TempDir, Run) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), bytes).unwrap();
    let run = replay(dir.path(), name, more);
    (dir, run)
}

/// Replays a script of these lines.
fn script(lines: &str, more: &[&str]) -> Run {
    replay_bytes("s.txt", lines.as_bytes(), more).1
}

/// One file of 64 KiB and a map of it, then `line` as line 3.
fn third_line(line: &str) -> Run {
    script(&format!("0 file 0 f 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n{line}\n"), &[])
}

// ---- files that are no input

#[test]
fn an_empty_file() {
    replay_bytes("empty.txt", b"", &[])
        .1
        .refuses(&["empty.txt: the file is empty", "expected a workload script"]);
    replay_bytes("blank.txt", b"\n \n\n", &[])
        .1
        .refuses(&["blank.txt: at byte 0: found only blanks", "expected"]);
    let zst = zstd::encode_all(&b""[..], 1).unwrap();
    replay_bytes("empty.zst", &zst, &[]).1.refuses(&["empty.zst: the file is empty"]);
}

#[test]
fn binary_garbage() {
    let mut x = 1_u32;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    })
    .take(100_000)
    .collect();
    replay_bytes("garbage", &garbage, &[]).1.refuses(&[
        "garbage: at byte ",
        "which is not text",
        "expected a workload",
    ]);
    let elf = fs::read(env!("CARGO_BIN_EXE_daxsim")).unwrap();
    replay_bytes("program", &elf[..4096], &[])
        .1
        .refuses(&["program: at byte 0: found an ELF file: expected"]);
    for (name, bytes) in
        [("perf.data", &b"PERFILE2\0\0\0"[..]), ("trace.dat", b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0")]
    {
        replay_bytes(name, bytes, &[]).1.refuses(&[": at byte ", ": found ", "expected "]);
    }
    replay_bytes("trace.zip", b"PK\x03\x04 zipped", &[])
        .1
        .refuses(&["the zip stream stops at compressed byte", "the file is cut short"]);
    replay_bytes("prose", b"Dear Sir,\nplease replay.\n", &[])
        .1
        .refuses(&["prose: at byte 0: found `Dear Sir,`"]);
    // A tracefs header alone makes no trace of what follows.
    let mut headed = b"# tracer: nop\n#\n".to_vec();
    headed.extend(&garbage);
    replay_bytes("headed", &headed, &[]).1.refuses(&["headed: no DAX fault in 0 records"]);
}

#[test]
fn a_folder_or_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let run = replay(dir.path(), ".", &[]);
    run.refuses(&["found a folder with 0 files of drmemtrace"]);
    let run = replay(dir.path(), "missing.txt", &[]);
    run.refuses(&["missing.txt: cannot read: No such file"]);
    assert_eq!(run.err.matches("No such file").count(), 1, "{}", run.err);
    assert!(!dir.path().join("out").exists());
}

#[cfg(unix)]
#[test]
fn a_pipe() {
    let mut cat = Command::new("cat").arg(script_path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_daxsim"));
    let dir = tempfile::tempdir().unwrap();
    command.current_dir(dir.path()).args(["replay", "/dev/stdin", "--out", "out"]);
    let run = Run::of(&command.stdin(cat.stdout.take().unwrap()).output().unwrap());
    run.refuses(&["/dev/stdin: a pipe or device: expected a file"]);
    cat.wait().unwrap();
}

// ---- damage

#[test]
fn a_truncated_compressed_trace_is_replayed_up_to_the_cut() {
    let xz = fs::read(trace_path()).unwrap();
    let text = trace_text();
    let zst = zstd::encode_all(&text[..], 1).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&text).unwrap();
    let gz = gz.finish().unwrap();
    for (name, stream, whole) in [("cut.xz", "xz", xz), ("cut.zst", "zstd", zst), ("cut.gz", "gzip", gz)] {
        let cut = &whole[..whole.len() / 2];
        // Even a quiet run says that part of its input is missing.
        let (dir, run) = replay_bytes(name, cut, &["--quiet"]);
        let place = format!("{name}: the {stream} stream stops at compressed byte {}", cut.len());
        run.exits(0).says(&["warning", &place, "the file is cut short"]);
        let report = report(dir.path());
        let (count, detail) = warning(&report, "the input is damaged");
        assert_eq!(count, 1);
        assert!(
            detail.contains(&place) && detail.contains("bytes of text before the cut were read"),
            "{detail}"
        );
        let records = report["inputs"][0]["events"].as_u64().unwrap();
        assert!(detail.ends_with(&format!("the {records} records before it were replayed")), "{detail}");
        let (replayed, reproduced) = (&report["replay"]["recorded"], &report["replay"]["reproduced"]);
        let n = replayed.as_u64().unwrap();
        assert!(n > 100 && n < 628, "{n}");
        // At most the fault that the cut goes through is told differently.
        assert!(n - reproduced.as_u64().unwrap() <= 1);
    }
}

#[test]
fn a_trace_cut_before_its_first_text() {
    for (name, head) in
        [("h.xz", &b"\xfd7zXZ\0"[..]), ("h.zst", &b"\x28\xb5\x2f\xfd"[..]), ("h.gz", &b"\x1f\x8b\x08"[..])]
    {
        replay_bytes(name, head, &[]).1.refuses(&[name, "stops at compressed byte", "the file is cut short"]);
    }
}

#[test]
fn damaged_compressed_bytes_are_placed() {
    let mut xz = fs::read(trace_path()).unwrap();
    xz[60_000] ^= 0xff;
    let (dir, run) = replay_bytes("bad.xz", &xz, &[]);
    run.exits(0).says(&["bad.xz: the xz stream is damaged before compressed byte "]).shows(&["damaged"]);
    assert_eq!(warning(&report(dir.path()), "the input is damaged").0, 1);
}

#[test]
fn plain_text_cut_in_a_line() {
    let text = trace_text();
    let half = text.len() / 2;
    let cut = half + text[half..].iter().position(|b| *b == b'\n').unwrap() + 30;
    let line = text[..cut].iter().filter(|b| **b == b'\n').count() + 1;
    let (dir, run) = replay_bytes("cut.txt", &text[..cut], &[]);
    run.exits(0).shows(&["last line cut off"]);
    let (count, detail) = warning(&report(dir.path()), "last line cut off");
    assert!(count == 1 && detail.starts_with(&format!("line {line}: `")), "{detail}");
}

#[test]
fn a_script_cut_short_is_no_script() {
    let text = fs::read(script_path()).unwrap();
    let zst = zstd::encode_all(&text[..], 1).unwrap();
    replay_bytes("s.zst", &zst[..zst.len() - 8], &[])
        .1
        .refuses(&["s.zst: the zstd stream stops", "cut short"]);
}

#[test]
fn lost_events_are_counted() {
    let text = String::from_utf8(trace_text()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let header = lines.iter().position(|l| l.starts_with("# entries-in-buffer")).unwrap();
    lines[header] = "# entries-in-buffer/entries-written: 24986/30000   #P:4";
    lines.insert(500, "CPU:2 [LOST 17 EVENTS]");
    lines.insert(900, "CPU:3 [LOST 4 EVENTS]");
    lines.insert(1000, "this is no event");
    let (dir, run) = replay_bytes("lost.txt", (lines.join("\n") + "\n").as_bytes(), &[]);
    run.exits(0);
    let report = report(dir.path());
    let (count, detail) = warning(&report, "events lost in the trace");
    assert_eq!((count, detail.as_str()), (21, "2 LOST EVENTS lines"));
    let (count, detail) = warning(&report, "events lost before the trace's begin");
    assert!(count == 30_000 - 24_986 && detail.contains("buffer_size_kb"), "{count} {detail}");
    let (count, detail) = warning(&report, "lines that are no events");
    assert_eq!((count, detail.as_str()), (1, "first: line 1001: `this is no event`"));
}

#[test]
fn a_trace_without_dax_faults() {
    let text = trace_text();
    let head: Vec<u8> = text.split_inclusive(|b| *b == b'\n').take(20).flatten().copied().collect();
    replay_bytes("t.txt", &head, &[]).1.refuses(&["t.txt: no DAX fault in ", "of 20 lines", "were fs_dax:*"]);
    let devdax = recorded("kernel-7.2/devdax/d01_devdax/trace.txt.xz");
    let dir = tempfile::tempdir().unwrap();
    replay(dir.path(), devdax.to_str().unwrap(), &[]).refuses(&["d01_devdax", "no DAX fault", "device-dax"]);
    assert!(!dir.path().join("out/report.json").exists());
}

#[test]
fn events_that_cannot_be_are_counted_and_left_out() {
    let text = String::from_utf8(trace_text()).unwrap();
    let impossible = "         daxplay-606     [000] ...1.   166.900000: sys_munmap(addr: 0x1000, len: 0xffffffffffffe000)
         daxplay-606     [000] .....   166.900001: sys_munmap -> 0x0
         daxplay-606     [000] .....   166.900002: sys_mmap(addr: 0x1, len: 0xffffffffffff, prot: 3, flags: 1, fd: 8, off: 0)
         daxplay-606     [000] .....   166.900003: sys_mmap -> 0x100000000001
         daxplay-606     [000] .....   166.900004: dax_writeback_range: dev 259:0 ino 0xc pgoff 0x900-0x100
";
    let (dir, run) = replay_bytes("t.txt", (text + impossible).as_bytes(), &["-q"]);
    run.exits(0);
    let report = report(dir.path());
    assert!(warning(&report, "events with addresses or ranges that cannot be").0 >= 2);
    assert_eq!(report["replay"]["dax"]["reproduced"], 628);
}

// ---- scripts

#[test]
fn a_misspelt_operation() {
    third_line("0 mysnc 0 0 4k")
        .refuses(&["s.txt:3:3: found unknown operation `mysnc`", "did you mean `msync`?"]);
    script("@thread 2\n0 nop\n", &[]).refuses(&["s.txt:1:1:", "`@thread`", "did you mean `@threads`?"]);
}

#[test]
fn maps_that_cannot_be() {
    let map = |rest: &str| script(&format!("0 file 0 f 64k fill\n0 map 0 {rest}\n"), &[]);
    map("0 0 0 rw shared 0x100000000000").refuses(&["s.txt:2:13: found `0`", "a map cannot be empty"]);
    map("0 0 100 rw shared 0x100000000000").refuses(&["s.txt:2:13: found `100`", "a multiple of 4096"]);
    map("0 0 64k rw shared 0x100000000001")
        .refuses(&["s.txt:2:27: found `0x100000000001`", "aligned to 4096"]);
    map("0 0 64k rw shared 0x100000000000000").refuses(&["s.txt:2:27:", "the lower half"]);
    map("0 0 64k rw shared 0x7fffffffffff000").refuses(&["s.txt:2:27:", "the lower half"]);
    map("0 7 64k rw shared 0x100000000000").refuses(&["s.txt:2:11: found `7`", "aligned to 4096"]);
    map("1 0 64k rw shared 0x100000000000")
        .refuses(&["s.txt:2:9: found `1`", "the number of a `file` above (defined: 0)"]);
    map("0 0 64k rx shared 0x100000000000").refuses(&["s.txt:2:17: found `rx`", "r, rw, none"]);
    map("0 0 64k rw").refuses(&["s.txt:2:19: found the end of the line", "as in `map M F off len"]);
}

#[test]
fn addresses_that_the_machine_lacks_are_told_and_those_that_it_has_are_used() {
    let text = "0 file 0 f 64k fill\n0 map 0 0 0 64k rw shared 0x10000000000000\n0 st 0 0\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.txt"), text).unwrap();
    replay(dir.path(), "s.txt", &["-q"]).exits(0);
    let four = report(dir.path());
    let (count, detail) = warning(&four, "system calls that failed");
    assert_eq!(count, 1);
    assert!(detail.contains("line 2: ENOMEM") && detail.contains("mmu.levels"), "{detail}");
    assert_eq!((&four["faults"]["total"], &four["faults"]["general_protection"]), (&0.into(), &1.into()));
    replay(dir.path(), "s.txt", &["-q", "--set", "mmu.levels=5"]).exits(0);
    let five = report(dir.path());
    assert_eq!((&five["faults"]["total"], &five["faults"]["general_protection"]), (&1.into(), &0.into()));
    assert_eq!(five["faults"]["write"], 1);
}

#[test]
fn numbers_that_are_none_or_too_large() {
    script("0 file 0 f 99999999999999999999 fill\n", &[]).refuses(&["s.txt:1:12:", "below 2^64"]);
    script("0 file 0 f 12q fill\n", &[]).refuses(&["s.txt:1:12: found `12q`", "a number like 4096"]);
    // No file system makes a file of 2^63 bytes and more.
    script("0 file 0 f 0xffffffffffffffff sparse\n0 nop\n", &[])
        .refuses(&["s.txt:1:12:", "a size of at most 9223372036854775807"]);
    script("70000 nop\n", &[]).refuses(&["s.txt:1:1: found `70000`", "a thread id below 1024"]);
    third_line("0 ld 0 0xffffffffffffff")
        .refuses(&["s.txt:3:8:", "a range that ends at or below 0x100000000000000"]);
}

#[test]
fn runs_of_accesses_without_end_are_refused() {
    third_line("0 ldr 0 0 0xffffffffffffff 1").refuses(&["s.txt:3:11:", "a range that ends at or below"]);
    third_line("0 str 0 0 0x600000000000 1").refuses(&[
        "s.txt:3:26: found `1`",
        "a stride of at least 24576",
        "at most 4294967296 accesses",
        "105553116266496",
    ]);
}

#[test]
fn undefined_maps_and_threads() {
    third_line("0 ld 1 0").refuses(&["s.txt:3:6: found `1`", "the number of a `map` above (defined: 0)"]);
    script("0 ld 0 0\n", &[]).refuses(&["s.txt:1:6:", "(there is none)"]);
    third_line("3 ld 0 0").refuses(&["s.txt:3:1: found `3`", "a declared thread (0 to 0)"]);
}

#[test]
fn cpus_beyond_the_machine() {
    let on = |cpu: u32, more: &[&str]| script(&format!("@threads 1 {cpu}\n0 nop\n"), more);
    let small = ["--set", "cpu.count=2"];
    on(9, &small).refuses(&["s.txt: thread 0 is pinned to CPU 9", "has 2 CPUs", "--set cpu.count=10"]);
    on(9, &["--set", "cpu.count=10"]).exits(0);
    on(65_535, &[]).refuses(&["pinned to CPU 65535"]);
    on(65_536, &[]).refuses(&["s.txt:1:12: found `65536`", "at most 65535"]);
}

#[test]
fn threads_that_share_a_cpu_run_in_turn_but_not_at_once() {
    let head = "@threads 2 0 0\n0 file 0 f 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n";
    script(&format!("{head}0 st 0 0\n1 st 0 4k\n"), &[]).exits(0);
    script(&format!("{head}@par\n0 st 0 0\n1 st 0 4k\n"), &[])
        .refuses(&["s.txt: threads 0 and 1 share cpu0"]);
}

#[test]
fn files_larger_than_the_device() {
    script("0 nop\n0 file 0 f 4000000m fill\n", &[]).refuses(&[
        "s.txt: line 2: `0 file 0 f 4000000m fill`: no space",
        "4194304000000 bytes",
        "17179869184 bytes of persistent memory (pmem.capacity)",
    ]);
    script("0 file 0 f 64m falloc\n", &["--set", "pmem.capacity=16 MiB"])
        .refuses(&["line 1", "67108864", "16777216"]);
}

#[test]
fn a_device_that_fills_up_gives_sigbus() {
    let lines = "0 file 0 f 64m sparse\n0 map 0 0 0 64m rw shared 0x100000000000\n0 str 0 0 64m 4096\n";
    let (dir, run) = replay_bytes("s.txt", lines.as_bytes(), &["--set", "pmem.capacity=16 MiB", "-q"]);
    run.exits(0);
    assert!(report(dir.path())["faults"]["sigbus"].as_u64().unwrap() > 1000);
}

#[test]
fn calls_that_fail_are_counted_with_their_line() {
    let lines = "# title\n0 file 0 f 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n\n0 unmap 0 1 4k\n0 msync 0 0 1m\n";
    let (dir, run) = replay_bytes("s.txt", lines.as_bytes(), &[]);
    run.exits(0).shows(&["system calls that failed"]);
    let (count, detail) = warning(&report(dir.path()), "system calls that failed");
    assert!(count == 2 && detail.starts_with("line 5: EINVAL"), "{count} {detail}");
}

#[test]
fn accesses_outside_every_mapping_get_sigsegv() {
    let lines =
        "0 file 0 f 4k fill\n0 map 0 0 0 4k r shared 0x100000000000\n0 ld 0 0\n0 st 0 0\n0 ldr 0 4k 16k 4k\n";
    let (dir, run) = replay_bytes("s.txt", lines.as_bytes(), &["-q"]);
    run.exits(0);
    assert_eq!(report(dir.path())["faults"]["sigsegv"], 5);
}

#[test]
fn huge_sparse_mappings_are_unmapped_at_once() {
    // Page by page, or table by table, this would take minutes.
    let round = "0 map 0 0 0 0x6fffffff0000 rw shared 0x1000000000
0 st 0 0
0 st 0 0x6ffffffef000
0 msync 0 0 0x6fffffff0000
0 map 1 0 0 0x6fffffff0000 rw shared 0x1000000000
0 st 1 0x300000000000
0 prot 1 0 0x6fffffff0000 r
0 madv 1 0 0x6fffffff0000 dontneed
0 falloc 0 punch 0 0x7fffffff0000
0 trunc 0 0x7fffffff0000
0 unmap 1 0 0x6fffffff0000
";
    let lines = format!("0 file 0 f 0x7fffffff0000 sparse\n{}", round.repeat(100));
    let (dir, run) = replay_bytes("s.txt", lines.as_bytes(), &["-q"]);
    run.exits(0);
    assert_eq!(report(dir.path())["faults"]["total"], 300);
}

#[test]
fn calls_larger_than_the_kernel_makes_them() {
    third_line("0 kwrite 0 0 0x100000000").refuses(&["s.txt:3:3:", "a length of at most 2147479552"]);
    third_line("0 kread 0 0 128k").refuses(&["s.txt:3:3:", "a length of at most 65536"]);
    third_line("0 pwrite 0 0 2m").refuses(&["s.txt:3:14:", "a length of at most 1048576"]);
}

#[test]
fn layouts_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    replay(dir.path(), &script_path(), &["--layout", "missing"])
        .refuses(&["missing: cannot read: No such file"]);
    replay(dir.path(), &script_path(), &["--layout", &script_path()])
        .refuses(&["script.txt:1: found", "filefrag -v"]);
}

// ---- configurations

#[test]
fn a_machine_file_with_mistakes_names_each_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "base = \"skylake-sp-optane\"\ndescription = \"x\"\n[tlb.stlb]\nways = 0\nentris = 5\n\
                [cache.l1d]\nlatency = \"4 bytes\"\n";
    fs::write(dir.path().join("m.toml"), toml).unwrap();
    replay(dir.path(), &script_path(), &["--machine", "m.toml"]).refuses(&[
        "m.toml:4:8: tlb.stlb.ways: the number 0: expected an integer in 1..=65536",
        "m.toml:5:1: tlb.stlb.entris: unknown key: the nearest valid key is `tlb.stlb.entries`",
        "m.toml:7:11: cache.l1d.latency: \"4 bytes\": expected a time",
    ]);
    fs::write(dir.path().join("t.toml"), "base = [\n").unwrap();
    replay(dir.path(), &script_path(), &["--machine", "t.toml"]).refuses(&["t.toml:", "invalid TOML"]);
    replay(dir.path(), &script_path(), &["--kernel", "missing.toml"]).refuses(&["missing.toml"]);
}

#[test]
fn overrides_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let set = |text: &str| replay(dir.path(), &script_path(), &["--set", text]);
    set("nonsense").refuses(&["--set nonsense: no `=`: expected KEY=VALUE"]);
    set("=").refuses(&["--set =: no dotted key"]);
    set("tlb.stlb.entries=").refuses(&["no value after `=`"]);
    set("tlb.stlb.entries=many").refuses(&["tlb.stlb.entries: \"many\": expected an integer"]);
    set("tlb.stlb.entrys=5").refuses(&["unknown key: the nearest valid key is `tlb.stlb.entries`"]);
    set("cpu.count=0").refuses(&["cpu.count: the number 0: expected an integer in 1..=256"]);
    set("cache.l1d.latency=3 parsecs").refuses(&["cache.l1d.latency: \"3 parsecs\": expected a time"]);
}

#[test]
fn unknown_names_propose_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let with = |option: &str, name: &str| replay(dir.path(), &script_path(), &[option, name]);
    with("--machine", "skylake").refuses(&["unknown machine `skylake`: did you mean `skylake-sp-optane`?"]);
    with("--machine", "qemu").refuses(&["did you mean `qemu-tcg`?"]);
    with("--kernel", "linux-7.3")
        .refuses(&["unknown kernel `linux-7.3`: did you mean `linux-7.2`?", "dax-patch-v1"]);
    with("--fs", "btrfs").refuses(&["unknown file system `btrfs`: expected ext4, xfs or devdax"]);
    run_in(dir.path(), &["config", "show", "skylke"])
        .refuses(&["neither a machine, a kernel nor a semantics", "skylake-sp-optane"]);
}

// ---- usage and surroundings

#[test]
fn usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    replay(dir.path(), &script_path(), &["--threads", "0"]).refuses(&["--threads", "0 is not in 1..=256"]);
    run_in(dir.path(), &["replay"]).refuses(&["<INPUT>"]);
    run_in(dir.path(), &["frobnicate"]).refuses(&["unrecognized subcommand 'frobnicate'"]);
    run_in::<&str>(dir.path(), &[]).refuses(&["Usage: daxsim"]);
    run_in(dir.path(), &["--version"]).exits(0).shows(&["daxsim "]);
}

#[test]
fn two_inputs_for_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let text = trace_text();
    fs::write(dir.path().join("trace.zst"), zstd::encode_all(&text[..], 1).unwrap()).unwrap();
    fs::write(dir.path().join("trace.txt"), text).unwrap();
    run_in(dir.path(), &["replay", "trace.txt", "trace.zst", "--out", "out"])
        .refuses(&["trace.zst and trace.txt would both write to out/trace", "--out"]);
    assert!(!dir.path().join("out").exists());
}

#[test]
fn results_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for out in ["file", "file/below"] {
        let run = run_in(dir.path(), &["replay", &script_path(), "--out", out]);
        run.refuses(&[&format!("cannot create `{out}`: ")]);
        assert_eq!(run.err.matches("os error").count(), 1, "{}", run.err);
    }
    fs::create_dir_all(dir.path().join("taken/report.json")).unwrap();
    run_in(dir.path(), &["replay", &script_path(), "--out", "taken"]).refuses(&["taken/report.json"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let args: [&[&str]; 3] =
        [&["replay", &trace_path(), "--out", "out"], &["config", "show", "linux-7.2"], &["--help"]];
    for args in args {
        for read_first in [false, true] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_daxsim"))
                .current_dir(dir.path())
                .args(args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = child.stdout.take().unwrap();
            if read_first {
                out.read_exact(&mut [0]).unwrap();
            }
            drop(out);
            let run = Run::of(&child.wait_with_output().unwrap());
            run.exits(0);
            assert_eq!(run.err, "");
        }
    }
    assert!(dir.path().join("out/report.json").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_daxsim"));
    command.current_dir(dir.path()).args(["replay", &script_path(), "--out", "out"]).stdout(full);
    Run::of(&command.output().unwrap()).refuses(&["No space left on device"]);
    // What nobody could read on the terminal is in the report all the same.
    assert!(dir.path().join("out/report.json").exists());
    daxsim().args(["config", "list"]).assert().success();
}

#[test]
fn a_script_that_is_stuck_names_the_line_of_the_file() {
    // Comments and directives count as lines of the file.
    let lines = "# held for ever\n@threads 2 0 1\n@seq\n0 file 0 f 64k fill\n\
                 0 map 0 0 0 64k rw shared 0x100000000000\n0 pin 0 0 8192\n1 trunc 0 0\n";
    script(lines, &[]).refuses(&["stuck: line 7: cpu1 (ftruncate) waits since", "pinned"]);
    let lines = lines.replace("1 trunc", "@par\n1 str 0 32768 64 64\n0 ldr 0 0 64 64\n1 trunc");
    script(&lines, &[]).refuses(&["stuck: line 10: cpu1 (ftruncate) waits since"]);
}

#[test]
fn a_negative_number_is_refused_as_the_value_that_it_is() {
    for option in ["--crash-at", "--seed", "--threads"] {
        let run = run_in(Path::new("."), &["replay", &script_path(), option, "-1"]);
        run.refuses(&["invalid value '-1' for", option]);
    }
}

#[test]
fn events_out_of_order_and_files_put_together_are_told() {
    let text = String::from_utf8(trace_text()).unwrap();
    let (_dir, run) = replay_bytes("twice.txt", format!("{text}{text}").as_bytes(), &[]);
    run.exits(0);
    let report = common::report(_dir.path());
    let (count, detail) = common::warning(&report, "events out of order");
    assert!(count > 0 && detail.contains("replayed in the order of the file"), "{detail}");
}
