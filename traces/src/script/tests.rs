//! The language: what it means, and every way to break it.

use daxsim_types::AccessKind;

use super::*;

const HEAD: &str = "@threads 2 0 3\n0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n";

fn parse(text: &str) -> Result<Script, String> {
    Script::parse(text, "w.script".as_ref()).map_err(|e| e.to_string())
}

/// The operation of a line behind `HEAD`.
fn op(line: &str) -> Op {
    let script = parse(&format!("{HEAD}{line}\n")).unwrap();
    script.lines().last().unwrap().op.clone()
}

/// The message about a line behind `HEAD`, without the file's name.
fn bad(line: &str) -> String {
    let message = parse(&format!("{HEAD}{line}\n")).unwrap_err();
    message.strip_prefix("w.script:4:").unwrap_or_else(|| panic!("{line}: {message}")).to_owned()
}

fn access(kind: AccessKind, off: u64, dependent: bool) -> ListedAccess {
    ListedAccess { kind, off, dependent }
}

#[test]
fn every_operation_is_read() {
    let (map, file, off, len) = (0, 0, 4096, 8192);
    let cases = [
        (
            "file 1 f1 2m falloc",
            Op::File { file: 1, name: "f1".into(), size: 2 << 20, make: FileMake::Falloc },
        ),
        ("file 1 f1 0x10 sparse", Op::File { file: 1, name: "f1".into(), size: 16, make: FileMake::Sparse }),
        (
            "file 1 /dev/dax2.0 0 dev",
            Op::File { file: 1, name: "/dev/dax2.0".into(), size: 0, make: FileMake::Dev },
        ),
        ("unmap 0 4096 8k", Op::Unmap { map, off, len }),
        ("mremap 0 128k", Op::Remap { map, len: 64 << 10, new_len: 128 << 10, to: None }),
        (
            "mremap 0 4k fixed 0x200000000000",
            Op::Remap {
                map,
                len: 64 << 10,
                new_len: 4096,
                to: Some(RemapTo { addr: 2 << 44, dont_unmap: false }),
            },
        ),
        (
            "mremap 0 64k dontunmap 0x200000000000",
            Op::Remap {
                map,
                len: 64 << 10,
                new_len: 64 << 10,
                to: Some(RemapTo { addr: 2 << 44, dont_unmap: true }),
            },
        ),
        ("ntst 0 4096 8k", Op::NtStore { map, off, len }),
        ("clwb 0 4096 8k", Op::Flush { how: LineFlush::Clwb, map, off, len }),
        ("clflushopt 0 4096 8k", Op::Flush { how: LineFlush::ClflushOpt, map, off, len }),
        ("clflush 0 4096 8k", Op::Flush { how: LineFlush::Clflush, map, off, len }),
        ("sfence", Op::Fence(Fence::Store)),
        ("mfence", Op::Fence(Fence::Full)),
        ("clone 0 0", Op::Clone { to: 0, from: 0, to_off: 0, from_off: 0, len: 0 }),
        ("clone 0 0 32k 4096 8k", Op::Clone { to: 0, from: 0, to_off: 32 << 10, from_off: off, len }),
        ("prot 0 4096 8k r", Op::Protect { map, off, len, prot: Prot::R }),
        ("prot 0 4096 8k none", Op::Protect { map, off, len, prot: Prot::NONE }),
        ("madv 0 4096 8k dontneed", Op::Advise { map, off, len, advice: Advice::DontNeed }),
        ("madv 0 4096 8k popwrite", Op::Advise { map, off, len, advice: Advice::PopulateWrite }),
        ("ld 0 4096", Op::Load { map, off }),
        ("st 0 4096", Op::Store { map, off }),
        ("ldr 0 4096 8k 64", Op::LoadRange { map, off, len, stride: 64, chase: false }),
        ("ldr 0 4096 8k 64 chase", Op::LoadRange { map, off, len, stride: 64, chase: true }),
        ("str 0 4096 8k 4k", Op::StoreRange { map, off, len, stride: 4096 }),
        (
            "acc 0 r0x0 w0x1000 r4k",
            Op::Acc {
                map,
                accesses: vec![
                    access(AccessKind::Read, 0, false),
                    access(AccessKind::Write, 4096, false),
                    access(AccessKind::Read, 4096, false),
                ],
            },
        ),
        (
            "acc 0 r64 dr0x1000 dw0",
            Op::Acc {
                map,
                accesses: vec![
                    access(AccessKind::Read, 64, false),
                    access(AccessKind::Read, 4096, true),
                    access(AccessKind::Write, 0, true),
                ],
            },
        ),
        ("msync 0 4096 8k", Op::Msync { map, off, len, asynchronous: false }),
        ("msync 0 4096 8k async", Op::Msync { map, off, len, asynchronous: true }),
        ("fsync 0", Op::Fsync { file }),
        ("fdatasync 0", Op::Fdatasync { file }),
        ("trunc 0 12345", Op::Truncate { file, size: 12345 }),
        ("falloc 0 punch 4096 8k", Op::Fallocate { file, mode: FallocMode::Punch, off, len }),
        ("falloc 0 collapse 4096 8k", Op::Fallocate { file, mode: FallocMode::Collapse, off, len }),
        ("pread 0 4096 8k", Op::Pread { file, off, len }),
        ("pwrite 0 4096 8k", Op::Pwrite { file, off, len }),
        ("kread 0 4096 8k", Op::KernelRead { map, off, len }),
        ("kwrite 0 4096 8k", Op::KernelWrite { map, off, len }),
        ("pin 0 4096 8k", Op::Pin { map, off, len, write: false }),
        ("pin 0 4096 8k w", Op::Pin { map, off, len, write: true }),
        ("unpin 0 4096 8k", Op::Unpin { map, off, len }),
        ("fork 5", Op::Fork { child: 5 }),
        ("exit", Op::Exit),
        ("cpu 3", Op::Cpu { cpu: 3 }),
        ("usleep 100", Op::Usleep { micros: 100 }),
        ("fiemap 0", Op::Fiemap { file }),
        ("nop", Op::Nop),
    ];
    for (text, expected) in cases {
        let op = op(&format!("1 {text}"));
        assert_eq!(op, expected, "{text}");
        assert_eq!(text.split(' ').next(), Some(op.name()));
        assert!(Op::NAMES.contains(&op.name()));
    }
    assert_eq!(
        op("0 map 1 0 4k 2m r sync,populate 0x101000000000"),
        Op::Map {
            map: 1,
            file: 0,
            offset: 4096,
            len: 2 << 20,
            prot: Prot::R,
            share: MapShare::Sync,
            populate: true,
            addr: 0x1010_0000_0000,
        }
    );
}

#[test]
fn sections_lines_and_threads() {
    let text = "# what it is for\n# more\n@threads 3 1\n@wait 2 sleep\n@seq\n0 nop # here\n@par\n\n1 nop\n2 nop\n@par\n0 nop\n@seq\n";
    let s = parse(text).unwrap();
    assert_eq!(s.title.as_deref(), Some("what it is for"));
    assert_eq!(s.threads.iter().map(|t| t.cpu).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(s.threads[2].wait, WaitMode::Sleep);
    let sections: Vec<_> = s.sections.iter().map(|s| (s.kind, s.lines.len())).collect();
    assert_eq!(sections, [(SectionKind::Seq, 1), (SectionKind::Par, 2), (SectionKind::Par, 1)]);
    let lines: Vec<_> = s.lines().map(|l| (l.index, l.source_line, l.thread, l.text.as_str())).collect();
    assert_eq!(lines, [(0, 6, 0, "0 nop"), (1, 9, 1, "1 nop"), (2, 10, 2, "2 nop"), (3, 12, 0, "0 nop")]);
    assert_eq!(s.line(2).map(|l| l.source_line), Some(10));
    assert_eq!((s.line(4), s.line_count()), (None, 4));
}

#[test]
fn children_run_lines_after_their_fork() {
    let s = parse("0 fork 5\n5 nop\n5 exit\n0 wait 5\n").unwrap();
    assert_eq!(s.children, [ChildDecl { thread: 5, parent: 0, fork_line: 0 }]);
    let e = |text: &str| parse(text).unwrap_err();
    assert!(
        e("5 nop\n0 fork 5\n").starts_with("w.script:1:1: found `5`: expected a declared thread (0 to 0)")
    );
    assert!(e("0 fork 0\n").contains("that no thread or child has yet"));
    assert!(e("0 fork 5\n0 fork 5\n").contains("that no thread or child has yet"));
    assert!(e("0 wait 5\n").contains("the thread id of a `fork` above"));
    assert!(e("0 exit\n0 nop\n").starts_with("w.script:2:1: found `0`: expected no line of a thread after"));
    assert!(e("0 fork 70000\n").contains("below 1024"));
}

#[test]
fn words_that_are_wrong_are_placed_and_explained() {
    assert_eq!(
        bad("0 mysnc 0 0 4k"),
        "3: found unknown operation `mysnc`: expected an operation (did you mean `msync`?)"
    );
    assert_eq!(bad("0 frobnicate"), "3: found unknown operation `frobnicate`: expected an operation");
    assert_eq!(bad("0"), "2: found the end of the line: expected an operation, as in `<thread> <op> <args>`");
    assert_eq!(bad("0 ld 0"), "7: found the end of the line: expected the offset, as in `ld M off`");
    assert_eq!(bad("0 ld 0 0 1"), "10: found `1`: expected the end of the line, as in `ld M off`");
    assert_eq!(bad("x nop"), "1: found `x`: expected the thread id, a number like 4096, 0x1000, 4k or 2m");
    assert_eq!(
        bad("2 nop"),
        "1: found `2`: expected a declared thread (0 to 1) or the child of a `fork` above"
    );
    assert_eq!(bad("5000 nop"), "1: found `5000`: expected a thread id below 1024");
    assert!(bad("0 ld 7 0").contains("the number of a `map` above (defined: 0)"));
    assert!(bad("0 fsync 9").contains("the number of a `file` above (defined: 0)"));
    assert!(bad("0 ld 0 1g").starts_with("8: found `1g`: expected the offset, a number like"));
    assert!(bad("0 ld 0 18446744073709551616").contains("a number below 2^64"));
    assert!(bad("0 ld 0 010").contains("without a leading 0"));
    assert!(bad("0 ldr 0 0 4k 0").contains("a stride of at least 1"));
    assert!(bad("0 acc 0").contains("expected an access, as in"));
    assert!(bad("0 acc 0 x5").contains("r or w and an offset"));
    assert!(bad("0 acc 0 r").contains("the offset of the access"));
    assert!(bad("0 acc 0 d5").contains("or dr0x1000 if it needs the load before it"));
    assert!(bad("0 acc 0 dr0").contains("a load before an access that depends on one"));
    assert!(bad("0 acc 0 r0 w64 dr128").contains("a load before an access that depends on one"));
    assert!(bad("0 ldr 0 0 4k 64 chased").contains("`chase` or the end of the line"));
    assert!(bad("0 str 0 0 4k 64 chase").contains("the end of the line, as in"));
    assert!(bad("0 msync 0 0 4k asink").contains("`async` or the end of the line"));
    assert!(bad("0 prot 0 0 4k rwx").contains("the access rights: r, rw, none"));
    assert!(bad("0 madv 0 0 4k dontned").contains("(did you mean `dontneed`?)"));
    assert!(bad("0 file 1 f1 4k exist").contains("how the file is made: fill, falloc, sparse, dev"));
    assert!(bad("0 file 70000 f1 4k fill").contains("the file's number of at most 65535"));
    assert!(bad("0 falloc 0 dig 0 4k").contains("what to do: alloc, punch, zero, collapse"));
    assert!(bad("0 pwrite 0 0 2m").contains("a length of at most 1048576"));
    assert!(bad("0 pwrite 0 0x7fffffffffffffff 1k").contains("below 2^63"));
    assert!(bad("0 falloc 0 alloc 0xffffffffffffffff 1").contains("below 2^63"));
    assert!(bad("0 trunc 0 0x8000000000000000").contains("at most"));
    assert!(bad("0 kread 0 0 64m").contains("what a pipe holds"));
}

#[test]
fn maps_are_checked() {
    assert!(bad("0 map 1 0 0 0 rw shared 0x101000000000").contains("a map cannot be empty"));
    assert!(bad("0 map 1 0 0 100 rw shared 0x101000000000").contains("a length that is a multiple of 4096"));
    assert!(bad("0 map 1 0 1 4k rw shared 0x101000000000").contains("the file offset, aligned to 4096"));
    assert!(bad("0 map 1 0 0 4k rw shared 0x101000000001").contains("an address aligned to 4096"));
    assert!(bad("0 map 1 0 0 4k rw shared 0x100000000000000").contains("the lower half"));
    assert!(bad("0 map 1 0 0 8k rw shared 0xfffffffffff000").contains("the lower half"));
    assert!(bad("0 map 1 0 0 0xfffffffffffff000 rw shared 0x101000000000").contains("the lower half"));
    assert!(bad("0 map 1 0 0x7ffffffffffff000 4k rw shared 0x101000000000").contains("below 2^63"));
    assert!(bad("0 map 1 4 0 4k rw shared 0x101000000000").contains("the number of a `file` above"));
    assert!(bad("0 map 1 0 0 4k rw shard 0x101000000000").contains("shared, private or sync"));
    assert!(bad("0 map 1 0 0 4k rw shared,lock 0x101000000000").contains("`,populate`"));
    assert!(bad("0 map 1 0 0 4k rw shared,populate,populate 0x101000000000").contains("`,populate`"));
    assert!(bad("0 ld 0 0x100000000000000").contains("map 0 is at 0x100000000000"));
    assert!(bad("0 unmap 0 0xffffffffffffffff 0xffffffffffffffff").contains("ends at or below"));
}

#[test]
fn a_map_is_where_mremap_left_it() {
    let text = format!("{HEAD}0 mremap 0 128k fixed 0xfffffffffc0000\n0 mremap 0 4k\n0 mremap 0 8k\n");
    let ops: Vec<Op> = parse(&text).unwrap().lines().skip(2).map(|l| l.op.clone()).collect();
    assert!(matches!(ops[1], Op::Remap { len: 0x20000, new_len: 4096, to: None, .. }));
    assert!(matches!(ops[2], Op::Remap { len: 4096, new_len: 8192, to: None, .. }));
    assert!(parse(&format!("{text}0 ld 0 0x800000\n")).unwrap_err().contains("map 0 is at 0xfffffffffc0000"));
    assert!(bad("0 mremap 0 0").contains("a map cannot be empty"));
    assert!(bad("0 mremap 0 100").contains("a multiple of 4096"));
    assert!(bad("0 mremap 7 4k").contains("the number of a `map` above"));
    assert!(bad("0 mremap 0 4k maymove").contains("how the map moves: fixed, dontunmap"));
    assert!(
        bad("0 mremap 0 4k fixed").contains("the address, as in `mremap M newlen [fixed|dontunmap addr]`")
    );
    assert!(bad("0 mremap 0 4k fixed 0x1").contains("an address aligned to 4096"));
    assert!(bad("0 mremap 0 8k fixed 0xfffffffffff000").contains("the lower half"));
    assert!(bad("0 mremap 0 0xfffffffffff000").contains("the lower half"));
    assert!(bad("0 mremap 0 4k dontunmap 0x200000000000").contains("the map's length, 65536"));
    assert!(bad("0 clone 0 9").contains("the number of a `file` above"));
    assert!(bad("0 clone 0 0 0 0").contains("the length, as in `clone F G [off goff len]`"));
    assert!(bad("0 clone 0 0 0 0x7fffffffffffffff 1k").contains("below 2^63"));
}

#[test]
fn directives_are_checked() {
    let e = |text: &str| parse(text).unwrap_err();
    assert!(e("@thread 1\n").contains("@threads, @wait, @seq, @par (did you mean `@threads`?)"));
    assert!(e("@threads 0\n").contains("1 to 1024 threads"));
    assert!(e("@threads 4000000000\n").contains("1 to 1024 threads"));
    assert!(
        e("@threads 1 0 1\n").starts_with("w.script:1:14: found `1`: expected one CPU for each of 1 threads")
    );
    assert!(e("@threads 1 99999\n").contains("at most 65535"));
    assert!(e("0 nop\n@threads 1\n").contains("before the first line of work"));
    assert!(e("@wait 1 spin\n").contains("a thread that `@threads` declares above"));
    assert!(e("@wait 0 nap\n").contains("spin, sleep"));
    assert!(e("@seq 1\n").contains("the end of the line"));
}

#[test]
fn a_script_without_work_is_an_error() {
    for text in ["", "\n", "# only this\n", "@threads 1 0\n@seq\n"] {
        assert!(
            parse(text).unwrap_err().contains("found no line of work: expected at least one"),
            "{text:?}"
        );
    }
}

#[test]
fn blanks_tabs_and_crlf_are_separators() {
    assert_eq!(parse("\t0\tnop  \r\n").unwrap().line_count(), 1);
    let error = Script::read(&b"0 nop \xff\n"[..], "w".as_ref()).unwrap_err();
    assert!(matches!(&error, crate::TraceError::Script { line: 1, .. }), "{error}");
    assert!(error.to_string().contains("not UTF-8"));
}
