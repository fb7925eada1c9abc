//! What a co-simulation found: on the terminal and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use daxsim_reports::sheet::{self, Sheet};
use daxsim_reports::units::count;
use daxsim_sim::bare::{Bare, Counts, Mode, kind};
use daxsim_sim::memory::{DeviceStats, Level};
use daxsim_types::Time;
use serde::Serialize;

use super::by_line::{self, LineWay, Played};
use super::feed::{Feed, Roots};
use super::runs::{Executed, Way};

/// Name and version of the form.
const SCHEMA: &str = "daxsim-cosim-3";

/// The whole.
#[derive(Debug, Serialize)]
pub struct Cosim {
    schema: &'static str,
    machine: String,
    /// Whether the guest ended as it should.
    complete: bool,
    accesses: u64,
    devices_left_out: u64,
    unknown_left_out: u64,
    sides: Vec<Side>,
    structures: Vec<Structure>,
    memory: Vec<Device>,
    mapping: Mapping,
    /// TLB maintenance, by CPU.
    maintained: Vec<Maintenance>,
    /// Interrupts, which are not in the ways below.
    interrupts: Interrupted,
    /// Kinds of faults.
    pub faults: Vec<Faulted>,
    /// Ways of the kernel by line of the scripts that were played.
    pub lines: Vec<LineWay>,
}

/// What a CPU did in a mode.
#[derive(Debug, Serialize)]
struct Side {
    cpu: u16,
    side: &'static str,
    instructions: u64,
    loads: u64,
    stores: u64,
    /// Atomic instructions, each a load and a store.
    atomics: u64,
    first_level_hits: u64,
    second_level_hits: u64,
    walks: u64,
    walk_reads: u64,
    l1: u64,
    l2: u64,
    l3: u64,
    transfers: u64,
    dram: u64,
    pmem: u64,
    compute_cycles: u64,
    walk_cycles: u64,
    memory_cycles: u64,
}

/// A TLB or paging-structure cache of a CPU.
#[derive(Debug, Serialize)]
struct Structure {
    cpu: u16,
    name: &'static str,
    lookups: u64,
    hits: u64,
    misses: u64,
}

/// A kind of memory.
#[derive(Debug, Serialize)]
struct Device {
    name: &'static str,
    reads: u64,
    writes: u64,
    media_bytes_read: u64,
    media_bytes_written: u64,
}

/// What interrupts took: medians.
#[derive(Debug, Serialize)]
struct Interrupted {
    count: u64,
    instructions: u64,
    loads: u64,
    stores: u64,
}

impl Interrupted {
    fn of(ended: &[Executed]) -> Self {
        let of = |field: fn(&Executed) -> u64| median(ended.iter().map(field).collect());
        Self {
            count: ended.len() as u64,
            instructions: of(|one| one.instructions),
            loads: of(|one| one.loads),
            stores: of(|one| one.stores),
        }
    }
}

/// What a CPU did to its translations.
#[derive(Debug, Serialize)]
struct Maintenance {
    cpu: u16,
    cr3_writes: u64,
    invlpg: u64,
    full_flushes: u64,
}

fn maintenance(machine: &Bare, cpu: u16) -> Maintenance {
    let done = machine.cpu_counts(cpu).maintained;
    Maintenance { cpu, cr3_writes: done.cr3_writes, invlpg: done.invlpg, full_flushes: done.full_flushes }
}

/// How page tables came about.
#[derive(Debug, Serialize)]
struct Mapping {
    /// What is known of address spaces.
    roots: Roots,
    /// Entries read from the guest's own tables, and walks of these that found no page.
    guest_reads: u64,
    guest_absent: u64,
    pages_4k: u64,
    pages_2m: u64,
    pages_1g: u64,
    inferred_remaps: u64,
    stale: u64,
    incongruent: u64,
    collisions: u64,
}

/// One way through the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Path {
    pub instructions: u64,
    pub loads: u64,
    pub stores: u64,
    /// Atomic instructions, each a load and a store; of the model they are not told apart.
    pub atomics: u64,
    pub lines: Option<u64>,
    pub cycles: u64,
}

impl Path {
    /// Instructions, loads and stores, where an atomic instruction is a store alone.
    pub fn executed(&self) -> [u64; 3] {
        [self.instructions, self.loads - self.atomics.min(self.loads), self.stores]
    }
}

/// Faults of a kind.
#[derive(Debug, Serialize)]
pub struct Faulted {
    pub kind: String,
    count: u64,
    /// Medians of the real kernel, on the simulated machine.
    kernel: Path,
    /// What the micro-operations of the model say.
    pub model: Option<Path>,
}

impl Cosim {
    /// Of all that went in.
    pub fn new(feed: &Feed, complete: bool, scripts: &[Played]) -> Self {
        let machine = &feed.machine;
        let cycles = |time: Time| machine.cycles(time).round() as u64;
        let cpus = 0..machine.cpus() as u16;
        let modes = [(Mode::User, "user"), (Mode::Kernel, "kernel")];
        let both = cpus.clone().flat_map(|cpu| modes.map(|(mode, side)| (cpu, mode, side)));
        let counts = |(cpu, mode, side)| (cpu, side, machine.counts(cpu, mode));
        let sides: Vec<Side> = both.map(counts).map(|(cpu, name, c)| side(cpu, name, &c, &cycles)).collect();
        let structures = cpus.flat_map(|cpu| {
            let all = machine.translation(cpu).into_iter().filter(|(_, stats)| stats.lookups > 0);
            all.map(move |(name, s)| Structure {
                cpu,
                name,
                lookups: s.lookups,
                hits: s.hits,
                misses: s.misses,
            })
        });
        let (memory, made) = (machine.memory(), machine.mapping());
        let paths = feed.faults.by_kind().into_iter().map(|(kind, found)| Faulted {
            kind,
            count: found.len() as u64,
            kernel: medians(found.iter().map(|one| &one.way), &cycles),
            model: None,
        });
        Self {
            schema: SCHEMA,
            machine: machine.spec().name.clone(),
            complete,
            accesses: sides.iter().map(|side| side.loads + side.stores).sum(),
            devices_left_out: feed.left_out.devices,
            unknown_left_out: feed.left_out.unknown,
            structures: structures.collect(),
            memory: vec![device("dram", &memory.dram), device("pmem", &memory.pmem)],
            mapping: Mapping {
                roots: feed.roots,
                guest_reads: made.guest_reads,
                guest_absent: made.guest_absent,
                pages_4k: made.pages[0],
                pages_2m: made.pages[1],
                pages_1g: made.pages[2],
                inferred_remaps: made.inferred_remaps,
                stale: made.stale,
                incongruent: made.incongruent,
                collisions: made.collisions,
            },
            interrupts: Interrupted::of(&feed.interrupts.ended),
            faults: paths.collect(),
            lines: by_line::all(feed, scripts, &cycles),
            maintained: (0..machine.cpus() as u16).map(|cpu| maintenance(machine, cpu)).collect(),
            sides,
        }
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// What the serializer says.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title());
        for sheet in self.sheets() {
            let _ = write!(text, "\n{}", table(&sheet.rows));
        }
        self.say_interrupts(&mut text);
        self.say_mapping(&mut text);
        let _ = writeln!(
            text,
            "left out: {} of devices, {} without a physical address",
            count(self.devices_left_out),
            count(self.unknown_left_out)
        );
        text
    }

    /// As a page for a browser.
    pub fn page(&self) -> String {
        let mut notes = String::new();
        self.say_interrupts(&mut notes);
        self.say_mapping(&mut notes);
        let notes: Vec<&str> = notes.lines().filter(|line| !line.is_empty()).collect();
        sheet::page("Co-simulation with a real kernel", &self.title(), &notes, &self.sheets())
    }

    fn title(&self) -> String {
        format!("{}: {} accesses", self.machine, count(self.accesses))
    }

    /// All tables that have rows.
    fn sheets(&self) -> Vec<Sheet<'static>> {
        let executed = self.of_sides(
            ["CPU", "side", "instructions", "loads", "stores", "TLB misses", "walks", "reads"],
            |side| {
                let misses = side.second_level_hits + side.walks;
                vec![side.instructions, side.loads, side.stores, misses, side.walks, side.walk_reads]
            },
        );
        let lines =
            self.of_sides(["CPU", "side", "L2", "L3", "other core", "DRAM", "pmem", "cycles"], |side| {
                let cycles = side.compute_cycles + side.walk_cycles + side.memory_cycles;
                vec![side.l2, side.l3, side.transfers, side.dram, side.pmem, cycles]
            });
        let sheet = |id, heading, caption, rows| Sheet { id, heading, caption, rows };
        let mut sheets = vec![
            sheet(
                "executed",
                "What was executed",
                "Instructions, accesses and translations by CPU and side",
                executed,
            ),
            sheet(
                "lines",
                "Where lines came from",
                "Lines beyond the first level, and cycles, by CPU and side",
                lines,
            ),
        ];
        if !self.faults.is_empty() {
            let caption =
                "The kernel's ways through faults: medians of the real kernel, and what the model says";
            sheets.push(sheet("faults", "Faults, real and modelled", caption, self.fault_rows()));
        }
        if !self.lines.is_empty() {
            let caption = "The kernel's way by line of the scripts: medians of faults, and calls";
            sheets.push(sheet("script", "By line of the script", caption, by_line::rows(&self.lines)));
        }
        sheets
    }

    /// A row for each side that did anything.
    fn of_sides(&self, head: [&str; 8], numbers: impl Fn(&Side) -> Vec<u64>) -> Vec<Vec<String>> {
        let busy = self.sides.iter().filter(|side| side.loads + side.stores > 0);
        let rows = busy.map(|side| cells([side.cpu.to_string(), side.side.into()], &numbers(side)));
        std::iter::once(row(head)).chain(rows).collect()
    }

    fn fault_rows(&self) -> Vec<Vec<String>> {
        let mut rows =
            vec![row(["fault", "kernel", "count", "instructions", "loads", "stores", "lines", "cycles"])];
        for path in &self.faults {
            rows.push(path_row([path.kind.clone(), "real".into()], Some(path.count), &path.kernel));
            rows.extend(path.model.map(|model| path_row([path.kind.clone(), "model".into()], None, &model)));
        }
        rows
    }

    fn say_interrupts(&self, text: &mut String) {
        let Interrupted { count: interrupts, instructions, loads, stores } = self.interrupts;
        if interrupts > 0 {
            let _ = writeln!(
                text,
                "\n{} interrupts, of {} instructions, {} loads and {} stores (medians), are not in the kernel's ways",
                count(interrupts),
                count(instructions),
                count(loads),
                count(stores)
            );
        }
    }

    /// Where translations came from.
    fn say_mapping(&self, text: &mut String) {
        let Mapping { pages_4k, pages_2m, pages_1g, inferred_remaps, stale, .. } = self.mapping;
        let of = |field: fn(&Maintenance) -> u64| count(self.maintained.iter().map(field).sum());
        if self.mapping.roots != Roots::None {
            let _ = writeln!(
                text,
                "\n{} CR3 writes, {} INVLPG, {} invalidations of everything by the guest",
                of(|one| one.cr3_writes),
                of(|one| one.invlpg),
                of(|one| one.full_flushes)
            );
        }
        if self.mapping.roots == Roots::Read {
            let _ = writeln!(
                text,
                "{} entries of page tables read from the guest, {} not found there any more",
                count(self.mapping.guest_reads),
                count(self.mapping.guest_absent)
            );
        }
        let _ = writeln!(
            text,
            "\npages made of addresses: {} + {} of 2 MiB + {} of 1 GiB; {} remapped, {} translations dropped that the guest contradicts",
            count(pages_4k),
            count(pages_2m),
            count(pages_1g),
            count(inferred_remaps),
            count(stale)
        );
    }
}

fn side(cpu: u16, side: &'static str, counts: &Counts, cycles: &impl Fn(Time) -> u64) -> Side {
    let line = |level: Level| counts.levels[level as usize];
    Side {
        cpu,
        side,
        instructions: counts.instructions,
        loads: counts.accesses[usize::from(kind::LOAD)] + counts.accesses[usize::from(kind::LOCKED)],
        stores: counts.accesses[usize::from(kind::STORE)] + counts.accesses[usize::from(kind::LOCKED)],
        atomics: counts.accesses[usize::from(kind::LOCKED)],
        first_level_hits: counts.first_level_hits,
        second_level_hits: counts.second_level_hits,
        walks: counts.walks,
        walk_reads: counts.walk_reads,
        l1: line(Level::L1),
        l2: line(Level::L2),
        l3: line(Level::L3),
        transfers: line(Level::Transfer),
        dram: line(Level::Dram),
        pmem: line(Level::Pmem),
        compute_cycles: cycles(counts.compute),
        walk_cycles: cycles(counts.walk + counts.assist),
        memory_cycles: cycles(counts.memory),
    }
}

fn device(name: &'static str, stats: &DeviceStats) -> Device {
    Device {
        name,
        reads: stats.reads,
        writes: stats.writes,
        media_bytes_read: stats.media_bytes_read,
        media_bytes_written: stats.media_bytes_written,
    }
}

/// The median of each count by itself.
pub fn medians<'a>(ways: impl Iterator<Item = &'a Way> + Clone, cycles: &impl Fn(Time) -> u64) -> Path {
    let median = |of: &dyn Fn(&Way) -> u64| median(ways.clone().map(of).collect());
    // A way without them had more than a fault has.
    let with_lines: Vec<u64> = ways.clone().filter_map(|one| one.lines).collect();
    Path {
        instructions: median(&|one| one.executed.instructions),
        loads: median(&|one| one.executed.loads),
        stores: median(&|one| one.executed.stores),
        atomics: median(&|one| one.executed.atomics),
        lines: (!with_lines.is_empty()).then(|| self::median(with_lines)),
        cycles: median(&|one| cycles(one.took)),
    }
}

/// The one in the middle, the higher of two; 0 of none.
pub fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

pub fn row<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn cells(names: [String; 2], numbers: &[u64]) -> Vec<String> {
    names.into_iter().chain(numbers.iter().map(|number| count(*number))).collect()
}

fn path_row(names: [String; 2], faults: Option<u64>, path: &Path) -> Vec<String> {
    let Path { instructions, loads, stores, lines, cycles, .. } = *path;
    let numbers = [faults, Some(instructions), Some(loads), Some(stores), lines, Some(cycles)];
    let shown = numbers.map(|number| number.map_or_else(|| "-".into(), count));
    names.into_iter().chain(shown).collect()
}

/// Columns to the right, but the first two.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: String = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(at, (cell, width))| {
                    if at < 2 { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") }
                },
            )
            .collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
