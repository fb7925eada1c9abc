//! The events of all CPUs, in the order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;

use daxsim_types::CpuId;

use super::compression::Method;
use super::cpu::Cpu;
use super::damage::Damage;
use super::file;
use super::head::{Cycles, Head};
use super::page::Found;
use crate::TraceError;
use crate::ftrace::{Comm, Decoder, Event, EventReader, Portion, Record, Stats};
use crate::store::Store;

/// The name of the idle tasks, which the kernel does not save.
const IDLE: &[u8] = b"<idle>";
/// What the kernel prints for a task whose name it did not save.
const NAMELESS: &[u8] = b"<...>";

/// Streaming reader of a `trace.dat`: the same records as the tracefs text of the same events gives, but for their times, which
/// have all digits here, and their numbers, which count events.
///
/// Pages and chunks that are damaged are left out; what they were is the error at the end, with how much was skipped in all.
pub struct Reader {
    store: Store,
    decoder: Decoder,
    tasks: HashMap<u32, Comm>,
    cpus: Vec<Cpu>,
    /// Next event of each CPU, earliest first; of the same time that of the first CPU.
    next: BinaryHeap<Reverse<(u64, usize, Place)>>,
    /// The CPU whose event was handed out last.
    current: Option<usize>,
    cycles: Option<Cycles>,
    time_offset: i64,
    /// Events overwritten or dropped of each CPU, as its statistics say.
    overrun: Vec<u64>,
    stats: Stats,
    damage: Damage,
    clock: String,
    release: Option<String>,
    left_out: Vec<String>,
    ended: bool,
    /// Of so many pages or chunks one is read.
    stride: u64,
}

/// How much of the rings is read.
enum Read {
    All,
    /// About so many bytes.
    Some(u64),
}

/// Place of an event in its page.
type Place = (usize, usize);

impl Reader {
    /// Opens a file, compressed or not.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be read or its head is damaged.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        Self::of(Store::open(path.as_ref())?, Read::All)
    }

    /// Opens a file to read about `most` bytes of the rings, the first and last page of each CPU among them.
    pub(crate) fn open_portion(path: &Path, most: u64) -> Result<Self, TraceError> {
        Self::of(Store::open(path)?, Read::Some(most))
    }

    /// Reads a file's bytes, which are not compressed; `file` is the name for messages.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if the head is damaged.
    pub fn of_bytes(bytes: Vec<u8>, file: &Path) -> Result<Self, TraceError> {
        Self::of(Store::of_bytes(bytes, file), Read::All)
    }

    fn of(store: Store, read: Read) -> Result<Self, TraceError> {
        let (mut store, head, layout) = file::open(store)?;
        let Head {
            page,
            formats,
            symbols,
            tasks,
            cpus,
            cpu_stats,
            clock,
            cycles,
            time_offset,
            left_out,
            release,
            mut damage,
            ..
        } = head;
        let forms = (page, layout);
        let stride = match read {
            Read::All => 1,
            Read::Some(most) => {
                let of = cpus.iter().fold(0_u64, |sum, cpu| sum.saturating_add(cpu.size));
                // Pages take a quarter of their room when compressed, about.
                let packed = cpus.iter().any(|cpu| cpu.method != Method::None);
                let most = if packed { most / 4 } else { most };
                of.div_ceil(most.max(1))
            }
        };
        let cpus = cpus.into_iter().map(|data| Cpu::new(data, forms, stride, &mut store, &mut damage));
        let cpus = cpus.collect();
        let cycles = cycles.filter(|_| clock.contains("tsc"));
        let overrun = cpu_stats.iter().map(|text| overrun(text)).collect();
        let mut reader = Self {
            store,
            decoder: Decoder::new(formats, symbols, layout),
            tasks,
            cpus,
            next: BinaryHeap::new(),
            current: None,
            cycles,
            time_offset,
            overrun,
            stats: Stats::default(),
            damage,
            clock,
            release,
            left_out,
            ended: false,
            stride,
        };
        for cpu in 0..reader.cpus.len() {
            reader.advance(cpu);
        }
        Ok(reader)
    }

    /// The clock of the times.
    #[must_use]
    pub fn clock(&self) -> &str {
        &self.clock
    }

    /// What the file has beside the events that are read.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Finds the next event of a CPU.
    fn advance(&mut self, number: usize) {
        let Some(cpu) = self.cpus.get_mut(number) else { return };
        if let Some(found) = cpu.next(&mut self.store, &mut self.damage) {
            self.next.push(Reverse((found.time, number, (found.start, found.end))));
        }
    }

    fn time_ns(&self, stamp: u64) -> u64 {
        let ns = match self.cycles {
            Some(Cycles { multiplier, shift, offset }) => {
                let ns = u128::from(stamp).wrapping_mul(u128::from(multiplier)) >> shift;
                (ns as u64).wrapping_add(offset)
            }
            None => stamp,
        };
        ns.saturating_add_signed(self.time_offset)
    }

    fn task(&self, pid: u32) -> Comm {
        match self.tasks.get(&pid) {
            Some(&comm) => comm,
            None if pid == 0 => Comm::new(IDLE),
            None => Comm::new(NAMELESS),
        }
    }

    /// What is known only at the end: losses, and damage.
    fn end(&mut self) -> Result<bool, TraceError> {
        if !self.ended {
            self.ended = true;
            for (number, cpu) in self.cpus.iter().enumerate() {
                let said = self.overrun.get(number).copied().unwrap_or_default();
                let lost = cpu.lost.max(said);
                self.stats.lost_events = self.stats.lost_events.saturating_add(lost);
                self.stats.lost_lines += u64::from(lost > 0).max(cpu.gaps);
            }
        }
        match self.store.take_damage().or_else(|| self.damage.take()) {
            Some(damage) => Err(damage),
            None => Ok(false),
        }
    }
}

impl EventReader for Reader {
    fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        loop {
            if let Some(cpu) = self.current.take() {
                self.advance(cpu);
            }
            let Some(Reverse((stamp, number, (start, end)))) = self.next.pop() else { return self.end() };
            self.current = Some(number);
            let Some(cpu) = self.cpus.get_mut(number) else { continue };
            cpu.events += 1;
            let bytes = cpu.event(Found { time: stamp, start, end });
            self.stats.bytes += bytes.len() as u64;
            let order = self.stats.records + self.stats.unparsable + 1;
            let decoded = self.decoder.decode(bytes, &mut self.stats).zip(self.decoder.pid(bytes));
            let Some((event, pid)) = decoded else {
                let what = format!("a record of {} bytes of CPU {}", bytes.len(), cpu.data.cpu);
                self.stats.unparsable_record(order, what.as_bytes());
                continue;
            };
            if event == Event::Unknown {
                self.stats.unknown_record(order, self.decoder.name(bytes));
            }
            let cpu = CpuId(cpu.data.cpu);
            self.stats.records += 1;
            *record =
                Record { task: self.task(pid), pid, cpu, time_ns: self.time_ns(stamp), line: order, event };
            return Ok(true);
        }
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    fn portion(&self) -> Option<Portion> {
        if self.stride == 1 {
            return None;
        }
        let mut all = Portion { has_ends: true, ..Portion::default() };
        for cpu in &self.cpus {
            let size = cpu.data.size;
            all.read = all.read.saturating_add(cpu.read);
            all.of = all.of.saturating_add(size);
            all.events = all.events.saturating_add(Portion::of_records(cpu.events, cpu.read, size).events);
        }
        Some(all)
    }
}

/// Events that a CPU's buffer lost, of the text of its statistics.
fn overrun(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let value = |line: &str| {
        ["overrun: ", "dropped events: "]
            .iter()
            .find_map(|key| line.strip_prefix(key)?.trim().parse::<u64>().ok())
    };
    text.lines().filter_map(value).fold(0, u64::saturating_add)
}
