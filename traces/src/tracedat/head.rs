//! The parts that both versions have: how pages and events look, symbols, names of tasks.

use std::collections::HashMap;
use std::io::Read;

use super::compression::Method;
use super::damage::Damage;
use super::source::Source;
use crate::TraceError;
use crate::ftrace::{Comm, Format, Symbols};

/// Most names of tasks that are kept. The kernel saves 128 unless told otherwise.
const MOST_TASKS: usize = 1 << 20;
/// Most descriptions of events. A kernel has some 3000.
const MOST_EVENTS: u64 = 1 << 16;
/// Most CPUs of a file.
pub(super) const MOST_CPUS: u64 = 8192;

/// Where a CPU's pages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuData {
    pub cpu: u16,
    pub offset: u64,
    pub size: u64,
    /// Bytes of a page of the ring buffer.
    pub page: usize,
    /// How its chunks are compressed; without compression there are pages only.
    pub method: Method,
}

/// How a page of the ring buffer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHead {
    /// Offset of the word with the length of the data.
    pub commit: usize,
    /// Bytes of that word: those of a `long` of the kernel.
    pub long: usize,
    /// Offset of the first event.
    pub data: usize,
}

/// From cycles of the time stamp counter to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cycles {
    pub multiplier: u64,
    pub shift: u32,
    pub offset: u64,
}

/// What the head of a file says.
#[derive(Debug)]
pub(crate) struct Head {
    pub page: PageHead,
    pub formats: Vec<Format>,
    pub symbols: Symbols,
    pub tasks: HashMap<u32, Comm>,
    pub cpus: Vec<CpuData>,
    /// CPUs of the machine.
    pub machine_cpus: u32,
    /// Text of the statistics of each CPU's buffer, in the order of the CPUs.
    pub cpu_stats: Vec<Vec<u8>>,
    /// The clock of the time stamps.
    pub clock: String,
    pub cycles: Option<Cycles>,
    /// Release of the kernel.
    pub release: Option<String>,
    /// What is added to every time stamp.
    pub time_offset: i64,
    /// Data that is not read: what it is.
    pub left_out: Vec<String>,
    /// What is wrong with the file so far.
    pub damage: Damage,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            page: PageHead { commit: 8, long: 8, data: 16 },
            formats: Vec::new(),
            symbols: Symbols::default(),
            tasks: HashMap::new(),
            cpus: Vec::new(),
            machine_cpus: 0,
            cpu_stats: Vec::new(),
            clock: String::new(),
            cycles: None,
            release: None,
            time_offset: 0,
            left_out: Vec::new(),
            damage: Damage::default(),
        }
    }
}

impl Head {
    /// `header_page` and `header_event`.
    pub fn read_header_info<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), TraceError> {
        source.exact(b"header_page\0", "the mark of the page's description")?;
        let text = source.text(8, "the page's description")?;
        let fields = Format::header(&text);
        let commit = fields.place_of(b"commit");
        let data = fields.place_of(b"data");
        if let (Some((commit, long @ (4 | 8))), Some((data, _))) = (commit, data) {
            self.page = PageHead { commit, long, data };
        }
        source.exact(b"header_event\0", "the mark of the event's description")?;
        source.text(8, "the event's description").map(drop)
    }

    /// Descriptions of the tracer's own events.
    pub fn read_ftrace_formats<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), TraceError> {
        let count = source.number(4, "the number of the tracer's events")?;
        self.read_formats(source, count)
    }

    /// Descriptions of events, by system.
    pub fn read_event_formats<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), TraceError> {
        let systems = source.number(4, "the number of event systems")?;
        for _ in 0..systems {
            source.string("the name of an event system")?;
            let count = source.number(4, "the number of events of a system")?;
            self.read_formats(source, count)?;
        }
        Ok(())
    }

    fn read_formats<R: Read>(&mut self, source: &mut Source<R>, count: u64) -> Result<(), TraceError> {
        for _ in 0..count {
            let text = source.text(8, "an event's description")?;
            if self.formats.len() as u64 >= MOST_EVENTS {
                let expected = format!("at most {MOST_EVENTS}");
                return Err(source.malformed("more descriptions of events".into(), expected));
            }
            self.formats.extend(Format::parse(&text));
        }
        Ok(())
    }

    pub fn read_symbols<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), TraceError> {
        self.symbols = Symbols::parse(&source.text(4, "kallsyms")?);
        Ok(())
    }

    pub fn read_printk<R: Read>(source: &mut Source<R>) -> Result<(), TraceError> {
        source.text(4, "printk formats").map(drop)
    }

    /// `pid name` lines.
    pub fn read_tasks<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), TraceError> {
        let text = source.text(8, "names of tasks")?;
        for line in text.split(|&b| b == b'\n') {
            let Some(blank) = memchr::memchr(b' ', line) else { continue };
            let (pid, name) = line.split_at(blank);
            let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid
                && self.tasks.len() < MOST_TASKS
            {
                self.tasks.insert(pid, Comm::new(name.get(1..).unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// An option that both versions have, by its number.
    pub fn read_option(&mut self, number: u64, data: &[u8], layout: crate::ftrace::Layout) {
        let text = || {
            let end = memchr::memchr(0, data).unwrap_or(data.len());
            String::from_utf8_lossy(data.get(..end).unwrap_or_default()).trim().to_owned()
        };
        let word = |at: usize, bytes: usize| layout.number(data.get(at..at + bytes)?);
        match number {
            2 if self.cpu_stats.len() < MOST_CPUS as usize => self.cpu_stats.push(data.to_vec()),
            4 => self.clock = clock_of(&text()),
            // `Linux host release machine`
            5 => self.release = text().split(' ').nth(2).map(str::to_owned),
            7 => self.time_offset = text().parse().unwrap_or(0),
            8 => self.machine_cpus = word(0, 4).unwrap_or_default() as u32,
            14 => {
                if let (Some(multiplier), Some(shift @ 0..64), Some(offset)) =
                    (word(0, 4), word(4, 4), word(8, 8))
                {
                    self.cycles = Some(Cycles { multiplier, shift: shift as u32, offset });
                }
            }
            _ => {}
        }
    }
}

/// The chosen one of `[local] global counter`.
fn clock_of(text: &str) -> String {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(clock, _)| clock);
    chosen.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_one_in_brackets() {
        assert_eq!(clock_of("local [global] mono"), "global");
        assert_eq!(clock_of("mono"), "mono");
    }
}
