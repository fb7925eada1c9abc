//! A file of version 7 whose list of options is damaged or cut off: its sections follow one another, so all that are whole are found
//! without the list. Of the rings the list alone says which CPU is where; but their data have a form that tells where each ends.

use super::compression::Method;
use super::head::{CpuData, Head, MOST_CPUS};
use super::v7::{self, File, Parts, SECTION_HEAD, SectionHead};
use crate::TraceError;

/// Largest number of a section that is taken for one.
const MOST_NUMBER: u64 = 64;

/// A section of rings.
struct Rings {
    /// Where the section begins.
    place: u64,
    /// Where it ends, as it says.
    end: u64,
    packed: bool,
}

/// Reads what is there from `start` on; `why` the list could not be used.
pub(super) fn head(
    file: &mut File<'_>,
    page: usize,
    start: u64,
    why: TraceError,
) -> Result<Head, TraceError> {
    let mut head = Head::default();
    head.damage.note(why, 0);
    let rings = sections(file, &mut head, start)?;
    if head.formats.is_empty() {
        // Without descriptions no event can be read.
        return Err(head.damage.take().unwrap_or_else(|| {
            file.store.malformed(start, "no descriptions of events".into(), "sections of version 7".into())
        }));
    }
    // Rings that an option tells of are read by that.
    for rings in rings {
        let is_told = |cpu: &CpuData| (rings.place..rings.end).contains(&cpu.offset);
        if !head.cpus.iter().any(is_told) {
            find_cpus(file, &mut head, &rings, page)?;
        }
    }
    Ok(head)
}

/// Walks from section to section. What is damaged is noted, and passed over.
fn sections(file: &mut File<'_>, head: &mut Head, start: u64) -> Result<Vec<Rings>, TraceError> {
    let mut rings = Vec::new();
    let mut at = start;
    while at < file.store.len() {
        let section = match v7::section_head(file, at) {
            Ok(section) => section,
            Err(error) => {
                note(head, error)?;
                break;
            }
        };
        let SectionHead { number, packed, size } = section;
        if number > MOST_NUMBER {
            let error = file.store.malformed(at, format!("section {number}"), "a section".into());
            head.damage.note(error, 0);
            break;
        }
        let read = match number {
            v7::OPTIONS => v7::options(file, head, at, Parts::Skip).map(drop),
            v7::BUFFER => {
                rings.push(Rings { place: at, end: (at + SECTION_HEAD).saturating_add(size), packed });
                Ok(())
            }
            _ => v7::part(file, head, at, number),
        };
        if let Err(error) = read {
            note(head, error)?;
        }
        at = (at + SECTION_HEAD).saturating_add(size);
    }
    Ok(rings)
}

/// Notes damage; any other error stays one.
fn note(head: &mut Head, error: TraceError) -> Result<(), TraceError> {
    if !error.is_damage() {
        return Err(error);
    }
    head.damage.note(error, 0);
    Ok(())
}

/// Finds the data of each CPU of a section, and numbers them as they come.
fn find_cpus(file: &mut File<'_>, head: &mut Head, rings: &Rings, page: usize) -> Result<(), TraceError> {
    let before = head.cpus.len();
    if page == 0 {
        return Ok(());
    }
    let begin = (rings.place + SECTION_HEAD).next_multiple_of(page as u64);
    let found = if rings.packed && file.method != Method::None {
        by_chunks(file, rings, begin, page)?
    } else {
        by_time(file, rings, begin, page)?
    };
    head.cpus.extend(found);
    let count = head.cpus.len() - before;
    let error = file.store.malformed(
        rings.place,
        format!("rings of {count} CPUs without the option that names them; CPUs are numbered as they come"),
        "that option, behind the rings".into(),
    );
    head.damage.note(error, 0);
    Ok(())
}

/// Compressed data of a CPU: how many chunks, then the chunks; the next CPU begins at the next page.
fn by_chunks(
    file: &mut File<'_>,
    rings: &Rings,
    begin: u64,
    page: usize,
) -> Result<Vec<CpuData>, TraceError> {
    let mut cpus = Vec::new();
    let end = rings.end.min(file.store.len());
    let mut at = begin;
    while at.saturating_add(4) <= end && (cpus.len() as u64) < MOST_CPUS {
        let offset = at;
        let chunks = word(file, at)?;
        at += 4;
        let mut is_whole = true;
        for _ in 0..chunks {
            is_whole = at.saturating_add(8) <= end;
            if !is_whole {
                break;
            }
            at = (at + 8).saturating_add(word(file, at)?);
        }
        is_whole &= at <= end;
        // Of a CPU that is cut, and what came behind it, nobody knows where one ends: all that is missing is counted here.
        let size = if is_whole { at - offset - 4 } else { rings.end.saturating_sub(offset + 4) };
        cpus.push(CpuData { cpu: cpus.len() as u16, offset, size, page, method: file.method });
        if !is_whole {
            break;
        }
        at = at.next_multiple_of(page as u64);
    }
    Ok(cpus)
}

/// Plain data: pages whose times grow. An earlier one is the first of the next CPU.
fn by_time(file: &mut File<'_>, rings: &Rings, begin: u64, page: usize) -> Result<Vec<CpuData>, TraceError> {
    let mut cpus: Vec<CpuData> = Vec::new();
    let end = rings.end.min(file.store.len());
    let (mut at, mut before) = (begin, u64::MAX);
    while at.saturating_add(page as u64) <= end {
        let mut bytes = [0; 8];
        file.store.read_at(at, &mut bytes)?;
        let time = file.layout.number(&bytes).unwrap_or_default();
        match cpus.last_mut() {
            Some(cpu) if time >= before || cpu.cpu as u64 + 1 == MOST_CPUS => cpu.size += page as u64,
            _ => cpus.push(CpuData {
                cpu: cpus.len() as u16,
                offset: at,
                size: page as u64,
                page,
                method: Method::None,
            }),
        }
        before = time;
        at += page as u64;
    }
    // What is cut off belongs to the last one, or to some that cannot be told.
    if let Some(last) = cpus.last_mut() {
        last.size = last.size.saturating_add(rings.end.saturating_sub(at));
    }
    Ok(cpus)
}

fn word(file: &mut File<'_>, at: u64) -> Result<u64, TraceError> {
    let mut bytes = [0; 4];
    file.store.read_at(at, &mut bytes)?;
    Ok(file.layout.number(&bytes).unwrap_or_default())
}
