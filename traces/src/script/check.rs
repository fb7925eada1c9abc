//! The rules that need what the lines above said: threads, files, maps.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{Word, Words};
use super::op::Op;
use super::{ChildDecl, Script};
use crate::TraceError;

const PAGE: u64 = 4096;
/// First address behind the canonical lower half of five levels of paging. What a machine with four makes of addresses above
/// 2^47 shows when it meets them.
const LOWER_HALF_END: u64 = 1 << 56;
/// Largest pread, pwrite: the buffer of the interpreter that recorded the traces.
const MAX_BUFFER: u64 = 1 << 20;
/// Largest kwrite or pin: what one read(2) moves (`MAX_RW_COUNT`).
const MAX_CALL: u64 = 0x7fff_f000;
/// Largest kread: a pipe holds no more, and nobody empties it meanwhile.
const MAX_PIPE: u64 = 64 << 10;

/// What the lines above defined.
#[derive(Default)]
pub(super) struct Checker {
    files: BTreeSet<u32>,
    /// Address and length of each map, as last defined.
    maps: BTreeMap<u32, (u64, u64)>,
    exited: BTreeSet<u16>,
}

impl Checker {
    /// The thread of a line is declared or forked, and has not ended.
    pub fn thread(
        &self,
        script: &Script,
        thread: u16,
        words: &Words<'_>,
        w: Word<'_>,
    ) -> Result<(), TraceError> {
        let declared = script.threads.len();
        if usize::from(thread) >= declared && !script.children.iter().any(|c| c.thread == thread) {
            let last = declared.saturating_sub(1);
            let expected = format!("a declared thread (0 to {last}) or the child of a `fork` above");
            return Err(words.bad(w, expected));
        }
        if self.exited.contains(&thread) {
            return Err(words.bad(w, "no line of a thread after its `exit`".into()));
        }
        Ok(())
    }

    pub fn exit(&mut self, thread: u16) {
        self.exited.insert(thread);
    }

    pub fn fork(
        &self,
        script: &mut Script,
        parent: u16,
        child: u16,
        fork_line: u32,
        words: &Words<'_>,
        w: Word<'_>,
    ) -> Result<(), TraceError> {
        let declared = usize::from(child) < script.threads.len();
        if declared || script.children.iter().any(|c| c.thread == child) {
            return Err(words.bad(w, "a thread id that no thread or child has yet".into()));
        }
        script.children.push(ChildDecl { thread: child, parent, fork_line });
        Ok(())
    }

    pub fn define_file(&mut self, file: u32) {
        self.files.insert(file);
    }

    /// The number of a file defined above.
    pub fn file(&self, words: &mut Words<'_>) -> Result<u32, TraceError> {
        let (n, w) = words.number_at("the file's number")?;
        match u32::try_from(n).ok().filter(|n| self.files.contains(n)) {
            Some(file) => Ok(file),
            None => Err(words.bad(w, format!("the number of a `file` above{}", listed(&self.files)))),
        }
    }

    /// The number of a map defined above.
    pub fn map(&self, words: &mut Words<'_>) -> Result<u32, TraceError> {
        let (n, w) = words.number_at("the map's number")?;
        match u32::try_from(n).ok().filter(|n| self.maps.contains_key(n)) {
            Some(map) => Ok(map),
            None => Err(words.bad(w, format!("the number of a `map` above{}", listed(self.maps.keys())))),
        }
    }

    pub fn define_map(
        &mut self,
        map: u32,
        addr: u64,
        len: u64,
        words: &Words<'_>,
        w: Word<'_>,
    ) -> Result<(), TraceError> {
        if !addr.is_multiple_of(PAGE) {
            return Err(words.bad(w, "an address aligned to 4096 bytes".into()));
        }
        if addr.checked_add(len).is_none_or(|end| end > LOWER_HALF_END) {
            return Err(words
                .bad(w, "an address whose map ends at or below 0x100000000000000, the lower half".into()));
        }
        self.maps.insert(map, (addr, len));
        Ok(())
    }

    /// Address and length of a map, as the lines above left it.
    pub fn place(&self, map: u32) -> (u64, u64) {
        self.maps.get(&map).copied().unwrap_or_default()
    }

    pub fn map_len(&self, len: u64, words: &Words<'_>, w: Word<'_>) -> Result<(), TraceError> {
        if len == 0 {
            return Err(words.bad(w, "a length of at least 4096: a map cannot be empty".into()));
        }
        if !len.is_multiple_of(PAGE) {
            return Err(words.bad(w, "a length that is a multiple of 4096".into()));
        }
        Ok(())
    }

    pub fn aligned(&self, what: &str, words: &mut Words<'_>) -> Result<u64, TraceError> {
        let (n, w) = words.number_at(what)?;
        if !n.is_multiple_of(PAGE) {
            return Err(words.bad(w, format!("{what}, aligned to 4096 bytes")));
        }
        Ok(n)
    }

    /// A range of a map stays in the canonical lower half (it may leave the map: the kernel decides).
    pub fn range(
        &self,
        map: u32,
        off: u64,
        len: u64,
        words: &Words<'_>,
        w: Word<'_>,
    ) -> Result<(), TraceError> {
        let (base, _) = self.place(map);
        let end = base.checked_add(off).and_then(|a| a.checked_add(len));
        if end.is_none_or(|end| end > LOWER_HALF_END) {
            let expected =
                format!("a range that ends at or below 0x100000000000000 (map {map} is at {base:#x})");
            return Err(words.bad(w, expected));
        }
        Ok(())
    }

    /// A file size: what ftruncate(2) can take.
    pub fn file_end(&self, words: &mut Words<'_>) -> Result<u64, TraceError> {
        words.small("a size", i64::MAX as u64)
    }

    /// Offset and length in a file.
    pub fn file_range(&self, words: &mut Words<'_>) -> Result<(u64, u64), TraceError> {
        let off = words.number("the offset")?;
        let (len, w) = words.number_at("the length")?;
        if off.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
            return Err(words.bad(w, "a length whose end in the file is below 2^63".into()));
        }
        Ok((off, len))
    }

    /// As `file_range`, with the length of one buffer.
    pub fn buffered_range(&self, words: &mut Words<'_>) -> Result<(u64, u64), TraceError> {
        let off = words.number("the offset")?;
        let (len, w) = words.number_at("the length")?;
        if len > MAX_BUFFER {
            return Err(words.bad(w, format!("a length of at most {MAX_BUFFER}")));
        }
        if off.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
            return Err(words.bad(w, "an offset and length whose end is below 2^63".into()));
        }
        Ok((off, len))
    }

    /// The length of a kread, kwrite or pin: what one system call moves.
    pub fn one_call(&self, op: &Op, words: &Words<'_>, w: Word<'_>) -> Result<(), TraceError> {
        match op {
            Op::KernelWrite { len, .. } | Op::Pin { len, .. } | Op::Unpin { len, .. } if *len > MAX_CALL => {
                Err(words.bad(w, format!("a length of at most {MAX_CALL}, what one read(2) moves")))
            }
            Op::KernelRead { len, .. } if *len > MAX_PIPE => {
                Err(words.bad(w, format!("a length of at most {MAX_PIPE}, what a pipe holds")))
            }
            _ => Ok(()),
        }
    }
}

fn listed<'a>(ids: impl IntoIterator<Item = &'a u32>) -> String {
    let ids: Vec<_> = ids.into_iter().take(8).map(u32::to_string).collect();
    if ids.is_empty() { " (there is none)".into() } else { format!(" (defined: {})", ids.join(", ")) }
}
