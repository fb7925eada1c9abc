//! Version 7: sections, found through options.

use std::io::{BufReader, Seek, SeekFrom};

use super::compression::Method;
use super::head::{CpuData, Head, MOST_CPUS};
use super::recover;
use super::source::Source;
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Bytes of a section's head.
pub(super) const SECTION_HEAD: u64 = 16;
/// Most sections of options, which form a list.
const MOST_OPTION_SECTIONS: usize = 4096;

/// Numbers of sections, and of the options that say where they are.
pub(super) const OPTIONS: u64 = 0;
pub(super) const BUFFER: u64 = 3;
pub(super) const HEADER_INFO: u64 = 16;
pub(super) const FTRACE_EVENTS: u64 = 17;
pub(super) const EVENT_FORMATS: u64 = 18;
pub(super) const KALLSYMS: u64 = 19;
pub(super) const CMDLINES: u64 = 21;
const BUFFER_TEXT: u64 = 22;

/// A file and how it is compressed inside.
pub(super) struct File<'a> {
    pub store: &'a mut Store,
    pub layout: Layout,
    pub method: Method,
}

/// Reads what is behind the head; `offset` is where that is. If the list of options is damaged or cut off, all sections are looked for.
pub(super) fn read(store: &mut Store, layout: Layout, page: usize, offset: u64) -> Result<Head, TraceError> {
    let path = store.path().to_owned();
    store.seek(SeekFrom::Start(offset)).map_err(|e| TraceError::from_io(e, &path))?;
    let mut source = Source::new(BufReader::new(&mut *store), layout, offset, &path);
    let name = source.string("the name of the compression")?;
    source.string("the version of the compression")?;
    let Some(method) = Method::of(&name) else {
        return Err(source.malformed(crate::error::quote(&name), "`zstd`, `zlib` or `none`".into()));
    };
    let first = source.number(8, "the place of the options")?;
    let behind = source.offset;
    let mut file = File { store, layout, method };
    let mut head = Head::default();
    match listed(&mut file, &mut head, first) {
        Ok(()) => Ok(head),
        Err(error) if error.is_damage() => recover::head(&mut file, page, behind, error),
        Err(error) => Err(error),
    }
}

/// Reads the sections of options and what they name.
fn listed(file: &mut File<'_>, head: &mut Head, first: u64) -> Result<(), TraceError> {
    let mut next = first;
    let mut sections = 0;
    while next != 0 {
        if sections == MOST_OPTION_SECTIONS {
            let found = format!("more than {MOST_OPTION_SECTIONS} sections of options");
            return Err(file.store.malformed(next, found, "a list that ends".into()));
        }
        sections += 1;
        next = options(file, head, next, Parts::Read)?;
    }
    Ok(())
}

/// The begin of a section.
pub(super) struct SectionHead {
    pub number: u64,
    /// Whether what it holds is compressed.
    pub packed: bool,
    /// Bytes behind this.
    pub size: u64,
}

pub(super) fn section_head(file: &mut File<'_>, offset: u64) -> Result<SectionHead, TraceError> {
    let mut bytes = [0; SECTION_HEAD as usize];
    file.store.read_at(offset, &mut bytes)?;
    let word = |from, to| file.layout.number(bytes.get(from..to).unwrap_or_default()).unwrap_or_default();
    Ok(SectionHead { number: word(0, 2), packed: word(2, 4) & 1 != 0, size: word(8, 16) })
}

/// What a section holds, decompressed, and whether it was compressed; its place is in the file.
pub(super) fn section(file: &mut File<'_>, offset: u64, number: u64) -> Result<Vec<u8>, TraceError> {
    let SectionHead { number: found, packed, size } = section_head(file, offset)?;
    if found != number {
        let found = format!("section {found}");
        return Err(file.store.malformed(offset, found, format!("section {number}")));
    }
    let place = offset.saturating_add(SECTION_HEAD);
    let (path, layout) = (file.store.path().to_owned(), file.layout);
    file.store.seek(SeekFrom::Start(place)).map_err(|e| TraceError::from_io(e, &path))?;
    let mut source = Source::new(&mut *file.store, layout, place, &path);
    if !packed {
        return source.bytes(size, "a section");
    }
    let packed = source.number(4, "the size of compressed data")?;
    let plain = source.number(4, "the size of decompressed data")?;
    let packed = source.bytes(packed, "a compressed section")?;
    file.method.decompress(&packed, plain).map_err(|found| file.method.damaged(&path, place, found))
}

/// What is done about the sections that options name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Read,
    /// They are found without.
    Skip,
}

/// Reads a section of options and the sections that they name; where the next one is, 0 at the end.
pub(super) fn options(
    file: &mut File<'_>,
    head: &mut Head,
    offset: u64,
    parts: Parts,
) -> Result<u64, TraceError> {
    let bytes = section(file, offset, OPTIONS)?;
    let path = file.store.path().to_owned();
    let mut source = Source::new(&bytes[..], file.layout, offset, &path);
    while !source.input.is_empty() {
        let number = source.number(2, "the number of an option")?;
        let data = source.text(4, "an option")?;
        let place = file.layout.number(data.get(..8).unwrap_or_default()).unwrap_or_default();
        match number {
            OPTIONS => return Ok(place),
            BUFFER => buffer(file, head, &data, offset)?,
            HEADER_INFO | FTRACE_EVENTS | EVENT_FORMATS | KALLSYMS | CMDLINES => {
                if parts == Parts::Read {
                    part(file, head, place, number)?;
                }
            }
            BUFFER_TEXT => head.left_out.push("text of a latency tracer".into()),
            other => head.read_option(other, &data, file.layout),
        }
    }
    Ok(0)
}

/// Reads a section that describes events, symbols or tasks.
pub(super) fn part(file: &mut File<'_>, head: &mut Head, place: u64, number: u64) -> Result<(), TraceError> {
    let bytes = section(file, place, number)?;
    let path = file.store.path().to_owned();
    let source = &mut Source::new(&bytes[..], file.layout, place, &path);
    match number {
        HEADER_INFO => head.read_header_info(source),
        FTRACE_EVENTS => head.read_ftrace_formats(source),
        EVENT_FORMATS => head.read_event_formats(source),
        KALLSYMS => head.read_symbols(source),
        CMDLINES => head.read_tasks(source),
        _ => Ok(()),
    }
}

/// The data of one instance.
fn buffer(file: &mut File<'_>, head: &mut Head, data: &[u8], offset: u64) -> Result<(), TraceError> {
    let path = file.store.path().to_owned();
    let mut source = Source::new(data, file.layout, offset, &path);
    let place = source.number(8, "the place of a buffer")?;
    source.string("the name of an instance")?;
    let clock = source.string("the clock of an instance")?;
    if head.clock.is_empty() {
        head.clock = String::from_utf8_lossy(&clock).into_owned();
    }
    let page = source.number(4, "the size of a page")? as usize;
    let cpus = source.number(4, "the number of CPUs")?;
    if cpus > MOST_CPUS || head.cpus.len() as u64 + cpus > MOST_CPUS {
        return Err(source.malformed(format!("{cpus} CPUs"), format!("at most {MOST_CPUS}")));
    }
    let mut flags = [0; 2];
    file.store.read_at(place.saturating_add(2), &mut flags)?;
    let packed = file.layout.number(&flags).is_some_and(|flags| flags & 1 != 0);
    let method = if packed { file.method } else { Method::None };
    for _ in 0..cpus {
        let cpu = source.number(4, "the number of a CPU")? as u16;
        let offset = source.number(8, "the place of a CPU's data")?;
        let size = source.number(8, "the size of a CPU's data")?;
        head.cpus.push(CpuData { cpu, offset, size, page, method });
    }
    Ok(())
}
