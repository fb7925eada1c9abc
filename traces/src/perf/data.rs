//! The head of a file: attributes, and the sections behind the data.

use std::path::Path;

use super::attr::Attr;
use super::records::{PIPE_HEADER, Records};
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Features by the number of their bit.
const TRACING_DATA: u32 = 1;
pub(super) const OSRELEASE: u32 = 4;
const EVENT_DESC: u32 = 12;
const SAMPLE_TIME: u32 = 21;
/// Most attributes: an event of each CPU may have one.
const MOST_ATTRS: u64 = 1 << 16;
/// Largest section that is read.
const LARGEST_SECTION: u64 = 256 << 20;
/// Bytes of the header before the features, and of an offset with a size.
const FEATURES: u64 = 72;
const SECTION: u64 = 16;

/// A range of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Section {
    offset: u64,
    size: u64,
}

/// The records of a file, compressed or not, or of what a pipe carried.
pub(super) fn open(path: &Path) -> Result<Records, TraceError> {
    records(Store::open(path)?)
}

/// Those of a file's bytes, which are not compressed; `file` is the name for messages.
pub(super) fn of_bytes(bytes: Vec<u8>, file: &Path) -> Result<Records, TraceError> {
    records(Store::of_bytes(bytes, file))
}

/// Reads the head of a file or of what a pipe carried.
fn records(mut store: Store) -> Result<Records, TraceError> {
    let magic = bytes(&mut store, Section { offset: 0, size: 16 })?;
    let Some(layout) = super::layout_of(&magic) else {
        return Err(store.malformed(0, crate::error::quote(&magic), "the mark of a perf.data".into()));
    };
    let header = layout.number(magic.get(8..16).unwrap_or_default()).unwrap_or_default();
    if header == PIPE_HEADER {
        return Ok(Records::new(store, layout, PIPE_HEADER, None));
    }
    file(store, layout)
}

fn file(mut store: Store, layout: Layout) -> Result<Records, TraceError> {
    let number = |store: &mut Store, offset: u64| -> Result<u64, TraceError> {
        let bytes = bytes(store, Section { offset, size: 8 })?;
        Ok(layout.number(&bytes).unwrap_or_default())
    };
    let section = |store: &mut Store, offset: u64| -> Result<Section, TraceError> {
        Ok(Section { offset: number(store, offset)?, size: number(store, offset + 8)? })
    };
    let attr_size = number(&mut store, 16)?;
    let attr_section = section(&mut store, 24)?;
    let data = section(&mut store, 40)?;
    let mut attrs = attributes(&mut store, layout, attr_size, attr_section)?;
    let (mut tracing, mut release, mut span) = (None, None, None);
    // Before perf ends, it has not written how long the data is, nor what comes behind.
    let is_whole = data.size != 0;
    if is_whole {
        let mut at = data.offset.saturating_add(data.size);
        let features = bytes(&mut store, Section { offset: FEATURES, size: 32 })?;
        for feature in 0..256_u32 {
            let word = features.chunks_exact(8).nth(feature as usize / 64).and_then(|w| layout.number(w));
            if word.unwrap_or_default() >> (feature % 64) & 1 == 0 {
                continue;
            }
            let place = section(&mut store, at)?;
            at += SECTION;
            match feature {
                TRACING_DATA => tracing = Some(bytes(&mut store, place)?),
                OSRELEASE => release = string(&bytes(&mut store, place)?, layout),
                SAMPLE_TIME => {
                    let last = place.offset.saturating_add(8);
                    span = number(&mut store, place.offset).ok().zip(number(&mut store, last).ok());
                }
                EVENT_DESC => names(&mut attrs, &bytes(&mut store, place)?, layout),
                _ => {}
            }
        }
    }
    let end = if is_whole { data.offset.saturating_add(data.size) } else { store.len() };
    let mut records = Records::new(store, layout, data.offset, Some(end));
    records.set_attrs(attrs);
    records.tracing = tracing;
    records.release = release;
    records.span = span;
    if !is_whole {
        records.note_unfinished();
    }
    Ok(records)
}

fn attributes(
    store: &mut Store,
    layout: Layout,
    size: u64,
    section: Section,
) -> Result<Vec<Attr>, TraceError> {
    if !(64 + SECTION..=4096).contains(&size) || section.size / size > MOST_ATTRS {
        let found = format!("attributes of {size} bytes each in {} bytes", section.size);
        return Err(store.malformed(16, found, format!("at most {MOST_ATTRS} of 80 to 4096 bytes")));
    }
    let all = bytes(store, section)?;
    let mut attrs = Vec::new();
    for one in all.chunks_exact(size as usize) {
        let (one, ids) = one.split_at(size as usize - SECTION as usize);
        let Some(mut attr) = Attr::parse(one, layout) else { continue };
        let offset = layout.number(ids.get(..8).unwrap_or_default()).unwrap_or_default();
        let size = layout.number(ids.get(8..16).unwrap_or_default()).unwrap_or_default();
        let ids = bytes(store, Section { offset, size })?;
        attr.ids = ids.chunks_exact(8).filter_map(|id| layout.number(id)).collect();
        attrs.push(attr);
    }
    Ok(attrs)
}

/// A string behind the length of its field.
pub(super) fn string(section: &[u8], layout: Layout) -> Option<String> {
    let length = layout.number(section.get(..4)?)? as usize;
    let text = section.get(4..)?.get(..length)?;
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}

/// Takes the names of events from the section that describes them.
fn names(attrs: &mut [Attr], section: &[u8], layout: Layout) {
    let mut rest = section;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (taken, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(taken)
    };
    let Some((events, size)) =
        take(4).and_then(|n| layout.number(n)).zip(take(4).and_then(|n| layout.number(n)))
    else {
        return;
    };
    for at in 0..events {
        let mut one = || -> Option<()> {
            take(size as usize)?;
            let ids = layout.number(take(4)?)? as usize;
            let len = layout.number(take(4)?)? as usize;
            let name = take(len)?;
            take(ids.checked_mul(8)?)?;
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            let attr = attrs.get_mut(usize::try_from(at).ok()?)?;
            attr.name = String::from_utf8_lossy(name.get(..end)?).into_owned();
            Some(())
        };
        if one().is_none() {
            return;
        }
    }
}

/// The bytes of a section, which must be in the file.
fn bytes(store: &mut Store, section: Section) -> Result<Vec<u8>, TraceError> {
    let rest = store.len().saturating_sub(section.offset);
    if section.size > rest.min(LARGEST_SECTION) {
        if let Some(damage) = store.take_damage() {
            return Err(damage);
        }
        let found = format!("a section of {} bytes", section.size);
        let expected = format!("at most {}", rest.min(LARGEST_SECTION));
        return Err(store.malformed(section.offset, found, expected));
    }
    let mut bytes = vec![0; section.size as usize];
    store.read_at(section.offset, &mut bytes)?;
    Ok(bytes)
}
