//! From lines of text to a [`Script`].

use std::io::BufRead;
use std::path::Path;

use daxsim_types::AccessKind;

use super::args::{Place, Words, did_you_mean};
use super::check::Checker;
use super::op::{Advice, FallocMode, Fence, FileMake, LineFlush, ListedAccess, MapShare, Op, RemapTo};
use super::{Line, Script, Section, SectionKind, ThreadDecl, WaitMode};
use crate::TraceError;
use crate::error::quote;
use crate::lines::Lines;

/// Most threads a script may declare, and the highest thread id.
const MAX_THREADS: u64 = 1024;
/// Most accesses of one `ldr` or `str`: more would run for hours.
const MAX_RUN: u64 = 1 << 32;
/// Highest number of a file, map or CPU.
const MAX_ID: u64 = 0xffff;

pub(super) fn parse<R: BufRead>(input: R, file: &Path) -> Result<Script, TraceError> {
    let mut lines = Lines::new(input, file);
    let mut parser = Parser {
        script: Script {
            threads: vec![ThreadDecl::default()],
            children: Vec::new(),
            sections: Vec::new(),
            title: None,
        },
        kind: SectionKind::Seq,
        new_section: true,
        index: 0,
        checker: Checker::default(),
    };
    let mut last = 0;
    while let Some((number, text)) = lines.next().map_err(of_script)? {
        last = u32::try_from(number).unwrap_or(u32::MAX);
        let place = Place { file, line: last };
        let (work, comment) = text.split_once('#').map_or((text, None), |(work, c)| (work, Some(c)));
        if let (Some(c), 0, None, true) =
            (comment, parser.index, &parser.script.title, work.trim().is_empty())
        {
            parser.script.title = Some(c.trim().to_owned()).filter(|t| !t.is_empty());
        }
        parser.line(place, work)?;
    }
    if parser.index == 0 {
        let place = Place { file, line: last.max(1) };
        return Err(place.error(None, "no line of work".into(), "at least one `<thread> <op> <args>`"));
    }
    Ok(parser.script)
}

/// A line that is no text is an error of the script.
fn of_script(error: TraceError) -> TraceError {
    match error {
        TraceError::Table { file, line, found, expected } => {
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            TraceError::Script { file, line, column: None, found, expected }
        }
        other => other,
    }
}

struct Parser {
    script: Script,
    kind: SectionKind,
    new_section: bool,
    index: u32,
    checker: Checker,
}

impl Parser {
    fn line(&mut self, place: Place<'_>, work: &str) -> Result<(), TraceError> {
        let text = work.trim();
        if text.is_empty() {
            return Ok(());
        }
        let mut words = Words::new(place, work);
        if text.starts_with('@') {
            return self.directive(&mut words);
        }
        let (thread, thread_word) = words.number_at("the thread id")?;
        if thread >= MAX_THREADS {
            return Err(words.bad(thread_word, format!("a thread id below {MAX_THREADS}")));
        }
        let thread = thread as u16;
        self.checker.thread(&self.script, thread, &words, thread_word)?;
        let op = self.op(&mut words, thread)?;
        words.end()?;
        if std::mem::take(&mut self.new_section) {
            self.script.sections.push(Section { kind: self.kind, lines: Vec::new() });
        }
        if let Some(section) = self.script.sections.last_mut() {
            let line = Line { index: self.index, source_line: place.line, thread, op, text: text.to_owned() };
            section.lines.push(line);
        }
        self.index += 1;
        Ok(())
    }

    fn directive(&mut self, words: &mut Words<'_>) -> Result<(), TraceError> {
        const NAMES: [&str; 4] = ["@threads", "@wait", "@seq", "@par"];
        let Some(name) = words.next_word() else { return Ok(()) };
        match name.text {
            "@threads" => {
                words.form = "@threads N cpu0 cpu1 ..";
                if self.index > 0 {
                    return Err(words.bad(name, "`@threads` before the first line of work".into()));
                }
                let (n, w) = words.number_at("the number of threads")?;
                if n == 0 || n > MAX_THREADS {
                    return Err(words.bad(w, format!("1 to {MAX_THREADS} threads")));
                }
                let wait = |t: usize| self.script.threads.get(t).map(|d| d.wait).unwrap_or_default();
                let mut threads: Vec<_> =
                    (0..n).map(|t| ThreadDecl { cpu: (t % 4) as u16, wait: wait(t as usize) }).collect();
                let mut given = 0;
                while let Some(w) = words.next_word() {
                    let cpu = words.number_of(w, w.text, "a CPU")?;
                    let Some(decl) = threads.get_mut(given).filter(|_| cpu <= MAX_ID) else {
                        return Err(
                            words.bad(w, format!("one CPU for each of {n} threads, at most {MAX_ID}"))
                        );
                    };
                    decl.cpu = cpu as u16;
                    given += 1;
                }
                self.script.threads = threads;
            }
            "@wait" => {
                words.form = "@wait T spin|sleep";
                let (t, w) = words.number_at("the thread id")?;
                let modes = [("spin", WaitMode::Spin), ("sleep", WaitMode::Sleep)];
                let mode = words.one_of("how the thread waits", &modes)?;
                match usize::try_from(t).ok().and_then(|t| self.script.threads.get_mut(t)) {
                    Some(decl) => decl.wait = mode,
                    None => return Err(words.bad(w, "a thread that `@threads` declares above".into())),
                }
            }
            "@seq" | "@par" => {
                words.form = "@seq or @par";
                self.kind = if name.text == "@seq" { SectionKind::Seq } else { SectionKind::Par };
                self.new_section = true;
            }
            other => {
                let expected = format!("{}{}", NAMES.join(", "), did_you_mean(other, &NAMES));
                return Err(words.bad(name, expected));
            }
        }
        words.end()
    }

    fn op(&mut self, words: &mut Words<'_>, thread: u16) -> Result<Op, TraceError> {
        let name = words.word("an operation")?;
        let Some(&(_, form)) = FORMS.iter().find(|(op, _)| *op == name.text) else {
            let expected = format!("an operation{}", did_you_mean(name.text, &Op::NAMES));
            return Err(words.place.error(
                Some(name.column),
                format!("unknown operation {}", quote(name.text.as_bytes())),
                expected,
            ));
        };
        words.form = form;
        let checker = &mut self.checker;
        Ok(match name.text {
            "file" => {
                let file = words.small("the file's number", MAX_ID)? as u32;
                let name = words.word("the file's name")?.text.to_owned();
                let size = checker.file_end(words)?;
                let makes = [
                    ("fill", FileMake::Fill),
                    ("falloc", FileMake::Falloc),
                    ("sparse", FileMake::Sparse),
                    ("dev", FileMake::Dev),
                ];
                let make = words.one_of("how the file is made", &makes)?;
                checker.define_file(file);
                Op::File { file, name, size, make }
            }
            "map" => map(words, checker)?,
            "unmap" => range(words, checker, |map, off, len| Op::Unmap { map, off, len })?,
            "mremap" => mremap(words, checker)?,
            "kread" => {
                let op = range(words, checker, |map, off, len| Op::KernelRead { map, off, len })?;
                checker.one_call(&op, words, name)?;
                op
            }
            "kwrite" => {
                let op = range(words, checker, |map, off, len| Op::KernelWrite { map, off, len })?;
                checker.one_call(&op, words, name)?;
                op
            }
            "pin" => {
                let (map, off, len) = map_range(words, checker)?;
                let op = Op::Pin { map, off, len, write: flag(words, "w")? };
                checker.one_call(&op, words, name)?;
                op
            }
            "unpin" => {
                let op = range(words, checker, |map, off, len| Op::Unpin { map, off, len })?;
                checker.one_call(&op, words, name)?;
                op
            }
            "prot" => {
                let (map, off, len) = map_range(words, checker)?;
                Op::Protect { map, off, len, prot: words.prot()? }
            }
            "madv" => {
                let (map, off, len) = map_range(words, checker)?;
                let advices = [
                    ("dontneed", Advice::DontNeed),
                    ("willneed", Advice::WillNeed),
                    ("popread", Advice::PopulateRead),
                    ("popwrite", Advice::PopulateWrite),
                    ("hugepage", Advice::HugePage),
                    ("nohugepage", Advice::NoHugePage),
                ];
                Op::Advise { map, off, len, advice: words.one_of("the advice", &advices)? }
            }
            "msync" => {
                let (map, off, len) = map_range(words, checker)?;
                Op::Msync { map, off, len, asynchronous: flag(words, "async")? }
            }
            "ld" | "st" => {
                let map = checker.map(words)?;
                let (off, w) = words.number_at("the offset")?;
                checker.range(map, off, 1, words, w)?;
                if name.text == "ld" { Op::Load { map, off } } else { Op::Store { map, off } }
            }
            "ldr" | "str" => {
                let (map, off, len) = map_range(words, checker)?;
                let (stride, w) = words.number_at("the stride")?;
                if stride == 0 {
                    return Err(words.bad(w, "a stride of at least 1".into()));
                }
                if len.div_ceil(stride) > MAX_RUN {
                    let least = len.div_ceil(MAX_RUN);
                    let expected = format!(
                        "a stride of at least {least}: one line makes at most {MAX_RUN} accesses, and this one {}",
                        len.div_ceil(stride)
                    );
                    return Err(words.bad(w, expected));
                }
                if name.text == "ldr" {
                    Op::LoadRange { map, off, len, stride, chase: flag(words, "chase")? }
                } else {
                    Op::StoreRange { map, off, len, stride }
                }
            }
            "acc" => acc(words, checker)?,
            "ntst" => range(words, checker, |map, off, len| Op::NtStore { map, off, len })?,
            "clwb" => flush(words, checker, LineFlush::Clwb)?,
            "clflushopt" => flush(words, checker, LineFlush::ClflushOpt)?,
            "clflush" => flush(words, checker, LineFlush::Clflush)?,
            "sfence" => Op::Fence(Fence::Store),
            "mfence" => Op::Fence(Fence::Full),
            "fsync" => Op::Fsync { file: checker.file(words)? },
            "fdatasync" => Op::Fdatasync { file: checker.file(words)? },
            "trunc" => Op::Truncate { file: checker.file(words)?, size: checker.file_end(words)? },
            "falloc" => {
                let file = checker.file(words)?;
                let modes = [
                    ("alloc", FallocMode::Alloc),
                    ("punch", FallocMode::Punch),
                    ("zero", FallocMode::Zero),
                    ("collapse", FallocMode::Collapse),
                ];
                let mode = words.one_of("what to do", &modes)?;
                let (off, len) = checker.file_range(words)?;
                Op::Fallocate { file, mode, off, len }
            }
            "clone" => clone(words, checker)?,
            "pread" | "pwrite" => {
                let file = checker.file(words)?;
                let (off, len) = checker.buffered_range(words)?;
                if name.text == "pread" {
                    Op::Pread { file, off, len }
                } else {
                    Op::Pwrite { file, off, len }
                }
            }
            "fork" => {
                let (child, w) = words.number_at("the child's thread id")?;
                if child >= MAX_THREADS {
                    return Err(words.bad(w, format!("a thread id below {MAX_THREADS}")));
                }
                checker.fork(&mut self.script, thread, child as u16, self.index, words, w)?;
                Op::Fork { child: child as u16 }
            }
            "wait" => {
                let (child, w) = words.number_at("the child's thread id")?;
                let known = self.script.children.iter().find(|c| u64::from(c.thread) == child);
                match known {
                    Some(c) => Op::Wait { child: c.thread },
                    None => return Err(words.bad(w, "the thread id of a `fork` above".into())),
                }
            }
            "exit" => {
                checker.exit(thread);
                Op::Exit
            }
            "cpu" => Op::Cpu { cpu: words.small("the CPU", MAX_ID)? as u16 },
            "usleep" => Op::Usleep { micros: words.small("the microseconds", 3_600_000_000)? },
            "fiemap" => Op::Fiemap { file: checker.file(words)? },
            _ => Op::Nop,
        })
    }
}

/// The form of each operation.
const FORMS: [(&str, &str); 36] = [
    ("file", "file F name size fill|falloc|sparse|dev"),
    ("map", "map M F off len prot shared|private|sync[,populate] addr"),
    ("unmap", "unmap M off len"),
    ("mremap", "mremap M newlen [fixed|dontunmap addr]"),
    ("prot", "prot M off len r|rw|none"),
    ("madv", "madv M off len dontneed|willneed|popread|popwrite|hugepage|nohugepage"),
    ("ld", "ld M off"),
    ("st", "st M off"),
    ("ldr", "ldr M off len stride [chase]"),
    ("str", "str M off len stride"),
    ("acc", "acc M r0x0 w0x1000 dr0x2000 .."),
    ("ntst", "ntst M off len"),
    ("clwb", "clwb M off len"),
    ("clflushopt", "clflushopt M off len"),
    ("clflush", "clflush M off len"),
    ("sfence", "sfence"),
    ("mfence", "mfence"),
    ("msync", "msync M off len [async]"),
    ("fsync", "fsync F"),
    ("fdatasync", "fdatasync F"),
    ("trunc", "trunc F size"),
    ("falloc", "falloc F alloc|punch|zero|collapse off len"),
    ("clone", "clone F G [off goff len]"),
    ("pread", "pread F off len"),
    ("pwrite", "pwrite F off len"),
    ("kread", "kread M off len"),
    ("kwrite", "kwrite M off len"),
    ("pin", "pin M off len [w]"),
    ("unpin", "unpin M off len"),
    ("fork", "fork K"),
    ("exit", "exit"),
    ("wait", "wait K"),
    ("cpu", "cpu C"),
    ("usleep", "usleep n"),
    ("fiemap", "fiemap F"),
    ("nop", "nop"),
];

fn map_range(words: &mut Words<'_>, checker: &Checker) -> Result<(u32, u64, u64), TraceError> {
    let map = checker.map(words)?;
    let off = words.number("the offset")?;
    let (len, w) = words.number_at("the length")?;
    checker.range(map, off, len, words, w)?;
    Ok((map, off, len))
}

/// A word that may stand at the end of a line.
fn flag(words: &mut Words<'_>, name: &str) -> Result<bool, TraceError> {
    match words.next_word() {
        None => Ok(false),
        Some(w) if w.text == name => Ok(true),
        Some(w) => Err(words.bad(w, format!("`{name}` or the end of the line"))),
    }
}

fn range(
    words: &mut Words<'_>,
    checker: &Checker,
    make: impl Fn(u32, u64, u64) -> Op,
) -> Result<Op, TraceError> {
    let (map, off, len) = map_range(words, checker)?;
    Ok(make(map, off, len))
}

fn flush(words: &mut Words<'_>, checker: &Checker, how: LineFlush) -> Result<Op, TraceError> {
    range(words, checker, |map, off, len| Op::Flush { how, map, off, len })
}

fn mremap(words: &mut Words<'_>, checker: &mut Checker) -> Result<Op, TraceError> {
    let map = checker.map(words)?;
    let (addr, len) = checker.place(map);
    let (new_len, len_word) = words.number_at("the new length")?;
    checker.map_len(new_len, words, len_word)?;
    if !words.more() {
        checker.define_map(map, addr, new_len, words, len_word)?;
        return Ok(Op::Remap { map, len, new_len, to: None });
    }
    let hows = [("fixed", false), ("dontunmap", true)];
    let dont_unmap = words.one_of("how the map moves", &hows)?;
    if dont_unmap && new_len != len {
        return Err(words.bad(len_word, format!("the map's length, {len}, for the old place stays as it is")));
    }
    let (addr, addr_word) = words.number_at("the address")?;
    checker.define_map(map, addr, new_len, words, addr_word)?;
    Ok(Op::Remap { map, len, new_len, to: Some(RemapTo { addr, dont_unmap }) })
}

fn clone(words: &mut Words<'_>, checker: &Checker) -> Result<Op, TraceError> {
    let (to, from) = (checker.file(words)?, checker.file(words)?);
    if !words.more() {
        return Ok(Op::Clone { to, from, to_off: 0, from_off: 0, len: 0 });
    }
    let to_off = words.number("the offset in the first file")?;
    let (from_off, len) = checker.file_range(words)?;
    Ok(Op::Clone { to, from, to_off, from_off, len })
}

fn acc(words: &mut Words<'_>, checker: &Checker) -> Result<Op, TraceError> {
    let map = checker.map(words)?;
    let mut accesses: Vec<ListedAccess> = Vec::new();
    let mut next = Some(words.word("an access")?);
    while let Some(w) = next {
        let (dependent, access) = w.text.strip_prefix('d').map_or((false, w.text), |rest| (true, rest));
        let (kind, off) = match (access.strip_prefix('r'), access.strip_prefix('w')) {
            (Some(off), _) => (AccessKind::Read, off),
            (_, Some(off)) => (AccessKind::Write, off),
            _ => {
                let expected = "an access: r or w and an offset, like r0x1000, or dr0x1000 if it needs the load before it";
                return Err(words.bad(w, expected.into()));
            }
        };
        if dependent && accesses.last().is_none_or(|before| before.kind != AccessKind::Read) {
            return Err(words.bad(w, "a load before an access that depends on one".into()));
        }
        let off = words.number_of(w, off, "the offset of the access")?;
        checker.range(map, off, 1, words, w)?;
        accesses.push(ListedAccess { kind, off, dependent });
        next = words.next_word();
    }
    Ok(Op::Acc { map, accesses })
}

fn map(words: &mut Words<'_>, checker: &mut Checker) -> Result<Op, TraceError> {
    let map = words.small("the map's number", MAX_ID)? as u32;
    let file = checker.file(words)?;
    let offset = checker.aligned("the file offset", words)?;
    let (len, len_word) = words.number_at("the length")?;
    checker.map_len(len, words, len_word)?;
    let prot = words.prot()?;
    let how = words.word("how the map shares the file")?;
    let mut parts = how.text.split(',');
    let share = match parts.next() {
        Some("shared") => Some(MapShare::Shared),
        Some("private") => Some(MapShare::Private),
        Some("sync") => Some(MapShare::Sync),
        _ => None,
    };
    let (share, populate) = match (share, parts.next(), parts.next()) {
        (Some(share), None, _) => (share, false),
        (Some(share), Some("populate"), None) => (share, true),
        _ => return Err(words.bad(how, "shared, private or sync, and perhaps `,populate`".into())),
    };
    let (addr, addr_word) = words.number_at("the address")?;
    checker.define_map(map, addr, len, words, addr_word)?;
    if offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
        return Err(words.bad(len_word, "a length whose end in the file is below 2^63".into()));
    }
    Ok(Op::Map { map, file, offset, len, prot, share, populate, addr })
}
