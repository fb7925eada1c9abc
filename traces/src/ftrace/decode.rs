//! Events from the records of a kernel, by the descriptions that their file carries.

use super::event::Event;
use super::format::Format;
use super::kinds::{Kinds, Parse};
use super::meaning::{MARKER, Meaning};
use super::parse_sys;
use super::raw::{Layout, Raw};
use super::stats::Stats;
use super::symbols::Symbols;
use super::text::Name;

/// A description and what its records are.
struct Described {
    format: Format,
    meaning: Meaning,
}

/// Reads the records of one machine.
pub(crate) struct Decoder {
    /// Sorted by number.
    formats: Vec<Described>,
    layout: Layout,
    symbols: Symbols,
}

impl Decoder {
    /// A decoder for the events of `formats`. Of several with one number the first counts.
    pub fn new(formats: Vec<Format>, symbols: Symbols, layout: Layout) -> Self {
        let described =
            |format: Format| Described { meaning: Meaning::of(&format.name, format.is_probe()), format };
        let mut formats: Vec<_> = formats.into_iter().map(described).collect();
        formats.sort_by_key(|d| d.format.id);
        formats.dedup_by_key(|d| d.format.id);
        Self { formats, layout, symbols }
    }

    /// The record's description, by the number that it begins with.
    fn described(&self, bytes: &[u8]) -> Option<&Described> {
        let id = self.layout.number(bytes.get(..2)?)?;
        let at = self.formats.binary_search_by_key(&id, |d| u64::from(d.format.id)).ok()?;
        self.formats.get(at)
    }

    /// The name of a record's event.
    pub fn name(&self, bytes: &[u8]) -> &[u8] {
        self.described(bytes).map_or(&[], |d| &d.format.name)
    }

    /// The thread that a record is of.
    pub fn pid(&self, bytes: &[u8]) -> Option<u32> {
        let format = &self.described(bytes)?.format;
        let raw = Raw { format, bytes, layout: self.layout, symbols: &self.symbols };
        Some(raw.number(b"common_pid")? as u32)
    }

    /// The event of a record, counted; `None` for one that its description does not fit, or without one.
    pub fn decode(&self, bytes: &[u8], stats: &mut Stats) -> Option<Event> {
        let Described { format, meaning } = self.described(bytes)?;
        let mut raw = Raw { format, bytes, layout: self.layout, symbols: &self.symbols };
        let event = match meaning {
            Meaning::Kind(number) => self.known(*number, &mut raw)?,
            Meaning::Exit(_, call) => Event::SysExit { call: *call, ret: raw.number(b"ret")? as i64 },
            Meaning::Call(name, exit) => {
                let ret = if *exit { Some(raw.number(b"ret")? as i64) } else { None };
                Event::SysOther { name: Name::new(name), ret }
            }
            Meaning::Probe => Event::KprobeOther { name: Name::new(&format.name) },
            Meaning::Other => Event::Unknown,
        };
        meaning.count(&format.name, &event, stats);
        Some(event)
    }

    fn known(&self, number: usize, raw: &mut Raw<'_>) -> Option<Event> {
        match Kinds::get().kind(number)?.binary {
            Parse::Event(parse) => {
                // The same record holds what kernel code printed.
                if *raw.format.name == *b"print" && !self.is_marker(raw.number(b"ip")?) {
                    return Some(Event::Unknown);
                }
                parse(raw)
            }
            Parse::Probe(parse) => parse(raw).map(Event::Probe),
            Parse::Sys(call) => parse_sys::arguments(call, raw).map(Event::SysEnter),
        }
    }

    /// Whether an address is in the function that writes what user mode wants written, as far as known.
    fn is_marker(&self, ip: u64) -> bool {
        let name = self.symbols.name(ip);
        name.as_bytes().starts_with(b"0x") || memchr::memmem::find(name.as_bytes(), MARKER).is_some()
    }
}
