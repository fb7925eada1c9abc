//! One line of tracefs text.

use super::event::{Event, Record};
use super::fields::Fields;
use super::head::{head, lost};
use super::kinds::{Kinds, Parse};
use super::parse_sys;
use super::scan::Scan;
use super::stats::{Header, Stats};
use super::text::Name;

/// Whether a line has the form of a trace line.
pub(crate) fn looks_like_trace(line: &[u8]) -> bool {
    head(line).is_some() || lost(line).is_some()
}

/// Reads a line into `record`; `false` if it holds none (`stats` says what it was).
#[inline]
pub(super) fn parse(kinds: &Kinds, line: &[u8], stats: &mut Stats, record: &mut Record) -> bool {
    if matches!(line.first(), Some(b'#' | b'C')) && comment(line, stats) {
        return false;
    }
    let parsed = head(line).and_then(|(head, text)| Some((head, event(kinds, text, stats)?)));
    let Some((head, event)) = parsed else {
        if !line.trim_ascii().is_empty() {
            stats.unparsable_line(line);
        }
        return false;
    };
    if event == Event::Unknown {
        stats.unknown_line(line);
    }
    stats.records += 1;
    *record = Record {
        task: head.task,
        pid: head.pid,
        cpu: head.cpu,
        time_ns: head.time_ns,
        line: stats.lines,
        event,
    };
    true
}

/// Comments, and what the kernel says about itself.
fn comment(line: &[u8], stats: &mut Stats) -> bool {
    if let Some(events) = lost(line.trim_ascii_end()) {
        stats.lost_lines += 1;
        stats.lost_events = stats.lost_events.saturating_add(events);
        return true;
    }
    if stats.header.is_none() {
        stats.header = header(line);
    }
    line.first() == Some(&b'#')
}

/// `# entries-in-buffer/entries-written: 4865/4865   #P:4`
fn header(line: &[u8]) -> Option<Header> {
    let mut s = Scan(line);
    s.lit(b"# entries-in-buffer/entries-written: ")?;
    let in_buffer = s.dec()?;
    s.lit(b"/")?;
    let written = s.dec()?;
    s.until_text(b"#P:")?;
    Some(Header { in_buffer, written, cpus: u32::try_from(s.dec()?).ok()? })
}

/// Reads `name: text`, `sys_x(args)` or `sys_x -> value`; `None` if a known event has another form.
#[inline]
fn event(kinds: &Kinds, text: &[u8], stats: &mut Stats) -> Option<Event> {
    let end = text.iter().position(|b| matches!(b, b':' | b'(' | b' '))?;
    let (name, rest) = text.split_at_checked(end)?;
    let mut s = Scan(rest);
    let Some((number, kind)) = kinds.find(name) else {
        return other(name, rest, stats);
    };
    let mut returned = false;
    let event = match kind.text {
        Parse::Event(parse) => {
            // A marker may be empty, and its line then ends in the colon.
            s.lit(b": ").or_else(|| s.lit(b":"))?;
            parse(&mut s)?
        }
        Parse::Probe(parse) => {
            s.lit(b": (")?;
            s.until(b')')?;
            match parse(&mut s) {
                Some(probe) if s.at_end() => Event::Probe(probe),
                // An argument behind an address that was not mapped.
                _ if memchr::memmem::find(rest, b"=(fault)").is_some() => {
                    Event::KprobeOther { name: Name::new(name) }
                }
                _ => return None,
            }
        }
        Parse::Sys(call) => {
            if s.lit(b" -> ").is_some() {
                returned = true;
                Event::SysExit { call, ret: parse_sys::exit(s.0)? }
            } else {
                s.lit(b"(")?;
                Event::SysEnter(parse_sys::enter(call, s.0)?)
            }
        }
    };
    if returned {
        stats.count_exit(number);
    } else {
        stats.count_known(number);
    }
    Some(event)
}

/// An event without a kind: a system call, a kernel probe, or unknown.
fn other(name: &[u8], rest: &[u8], stats: &mut Stats) -> Option<Event> {
    if let Some(call) = name.strip_prefix(b"sys_").filter(|c| !c.is_empty()) {
        if let Some(value) = rest.strip_prefix(b" -> ") {
            return Some(Event::SysOther { name: Name::new(call), ret: Some(parse_sys::exit(value)?) });
        }
        if rest.starts_with(b"(") {
            stats.count_other(name);
            return Some(Event::SysOther { name: Name::new(call), ret: None });
        }
    }
    let text = rest.strip_prefix(b":")?;
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if name.is_empty() || !name.iter().all(is_name) {
        return None;
    }
    stats.count_other(name);
    let is_probe = text.strip_prefix(b" ").is_some_and(is_probe);
    Some(if is_probe { Event::KprobeOther { name: Name::new(name) } } else { Event::Unknown })
}

/// Whether a text begins as that of a kernel probe: `(symbol+0x1c/0x20)`, `(caller+0x1c/0x20 <- symbol)` or with addresses.
pub(super) fn is_probe(text: &[u8]) -> bool {
    let place = text.strip_prefix(b"(").and_then(|t| Scan(t).until(b')'));
    place.is_some_and(|place| {
        let mut number = Scan(place);
        let is_address =
            number.hex_number().is_some() && (number.0.is_empty() || number.0.starts_with(b" <- "));
        is_address || memchr::memmem::find(place, b"+0x").is_some() || place.starts_with(b"0x")
    })
}
