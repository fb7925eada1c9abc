//! Traces of accesses: what the program did is known but for its mappings. Those of DAX files are declared; all other memory is
//! anonymous, and faulted in as it is touched.

use std::collections::BTreeMap;

use daxsim_traces::access::{AccessOp, AccessRecord};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};
use thiserror::Error;

use super::{Access, Accesses, Action, Source, Step, StepOutcome};
use crate::kernel::vma::{Backing, Vma};
use crate::kernel::{MapRequest, MmId, NewFile, SyscallError};
use crate::simulation::{SimError, Simulation};

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Bytes of a cache line.
const LINE: u64 = 64;
/// The lowest address that a program may map (`vm.mmap_min_addr` of distributions).
const LOWEST: u64 = 0x1_0000;

/// A part of a DAX file, mapped shared for loads and stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaxMap {
    /// Name of the file. Maps of the same name share it.
    pub file: String,
    /// Where in the file it begins: whole pages.
    pub offset: u64,
    /// First address: that of a page.
    pub start: u64,
    /// Bytes: whole pages.
    pub len: u64,
}

/// A trace of accesses cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Not whole pages.
    #[error("map of {file}: {what} {value:#x}: expected a multiple of 4096{}", if *value == 0 { " above 0" } else { "" })]
    Unaligned {
        /// The file.
        file: String,
        /// Which number.
        what: &'static str,
        /// It.
        value: u64,
    },
    /// Outside the memory of a program.
    #[error(
        "map of {file}: {start:#x} and {len:#x} bytes: expected a range within {LOWEST:#x} and {limit:#x}"
    )]
    Outside {
        /// The file.
        file: String,
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// Where the memory of programs ends.
        limit: u64,
    },
    /// Two maps at one address.
    #[error("maps of {first} and of {second} overlap at {at:#x}: expected ranges apart from each other")]
    Overlap {
        /// The file of the lower map.
        first: String,
        /// That of the other.
        second: String,
        /// Where the other begins.
        at: u64,
    },
    /// The kernel refuses a map.
    #[error("map of {file}: {why}")]
    Refused {
        /// The file.
        file: String,
        /// Why.
        why: SyscallError,
    },
    /// More threads than CPUs.
    #[error("{threads} threads on {cpus} CPUs: one for each is simulated; use --set cpu.count={threads}")]
    TooManyThreads {
        /// Threads of the trace.
        threads: usize,
        /// CPUs of the machine.
        cpus: usize,
    },
    /// A file cannot be made.
    #[error("file {file}: {why}")]
    File {
        /// Its name.
        file: String,
        /// What the simulation said.
        why: SimError,
    },
    /// The simulation stopped.
    #[error(transparent)]
    Sim(#[from] SimError),
}

/// Runs the threads of a trace, each on a CPU of its own from CPU 0 on, all at the same time. Files have their blocks written
/// beforehand.
///
/// # Errors
///
/// [`TraceError`]
pub fn run(
    sim: &mut Simulation,
    fs: FileSystem,
    maps: &[DaxMap],
    threads: Vec<Box<dyn Source>>,
) -> Result<Vec<StepOutcome>, TraceError> {
    let (cpus, limit) = sim.with(|m| (m.cpus.len(), m.user_end()));
    if threads.len() > cpus {
        return Err(TraceError::TooManyThreads { threads: threads.len(), cpus });
    }
    let maps = check(maps, limit)?;
    let mm = sim.with(|m| m.new_mm());
    for cpu in 0..threads.len() {
        sim.place(CpuId(cpu as u16), mm)?;
    }
    map_anonymous(sim, mm, &maps, limit);
    map_files(sim, fs, mm, &maps)?;
    let step = |(cpu, source): (u16, Box<dyn Source>)| {
        let action = Action::Access(Accesses::Stream(source));
        vec![Step { line: 0, thread: cpu, cpu: CpuId(cpu), mm: Some(mm), action }]
    };
    let outcomes = sim.parallel((0..).zip(threads).map(step).collect())?;
    Ok(outcomes.into_iter().flatten().collect())
}

/// The maps by address, if every one can be made.
fn check(maps: &[DaxMap], limit: u64) -> Result<Vec<DaxMap>, TraceError> {
    let mut maps = maps.to_vec();
    maps.sort_by_key(|map| map.start);
    for map in &maps {
        let file = map.file.clone();
        for (what, value) in [("address", map.start), ("length", map.len), ("offset", map.offset)] {
            if !value.is_multiple_of(PAGE) || (what == "length" && value == 0) {
                return Err(TraceError::Unaligned { file, what, value });
            }
        }
        let end = map.start.checked_add(map.len).filter(|end| *end <= limit);
        if map.start < LOWEST || end.is_none() || map.offset.checked_add(map.len).is_none() {
            return Err(TraceError::Outside { file, start: map.start, len: map.len, limit });
        }
    }
    for pair in maps.windows(2) {
        if let [first, second] = pair
            && second.start - first.start < first.len
        {
            let at = second.start;
            return Err(TraceError::Overlap { first: first.file.clone(), second: second.file.clone(), at });
        }
    }
    Ok(maps)
}

/// All memory outside the maps, in 4 KiB pages: where the program had its mappings, so that huge pages could lie there, is not
/// known.
fn map_anonymous(sim: &Simulation, mm: MmId, maps: &[DaxMap], limit: u64) {
    let mut start = LOWEST;
    let ends = maps.iter().map(|map| (map.start, map.start + map.len)).chain([(limit, limit)]);
    for (end, next) in ends {
        if start < end {
            sim.with(|m| {
                let lock = m.new_vma_lock();
                let vma = Vma {
                    start,
                    end,
                    backing: Backing::Anonymous,
                    read: true,
                    write: true,
                    exec: true,
                    grows_down: false,
                    shared: false,
                    sync: false,
                    no_huge: true,
                    has_copies: false,
                    lock,
                };
                m.insert_vma(mm, vma);
            });
        }
        start = next;
    }
}

/// Makes the files, and maps them by the calls that a program makes.
fn map_files(sim: &mut Simulation, fs: FileSystem, mm: MmId, maps: &[DaxMap]) -> Result<(), TraceError> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for map in maps {
        let size = sizes.entry(&map.file).or_default();
        *size = (*size).max(map.offset + map.len);
    }
    let mut files = BTreeMap::new();
    for (name, size) in sizes {
        let refused = |why| TraceError::File { file: name.to_owned(), why };
        let (size, new) = match fs {
            FileSystem::Devdax => (sim.with(|m| m.device_size()), NewFile::Device),
            FileSystem::Ext4 | FileSystem::Xfs => (size, NewFile::Filled),
        };
        let id = sim.new_file(fs, size, &new).map_err(refused)?;
        sim.with(|m| m.file_mut(id).name = name.to_owned());
        files.insert(name, id);
    }
    for map in maps {
        let Some(file) = files.get(map.file.as_str()).copied() else { continue };
        let (start, len, pgoff) = (map.start, map.len, map.offset / PAGE);
        let (read, write, shared) = (true, true, true);
        let request =
            MapRequest { file, start, len, pgoff, read, write, shared, sync: false, populate: false };
        let action = Action::Map(request);
        let outcome = sim.step(Step { line: 0, thread: 0, cpu: CpuId(0), mm: Some(mm), action })?;
        if let Some(why) = outcome.error {
            return Err(TraceError::Refused { file: map.file.clone(), why });
        }
    }
    Ok(())
}

/// Appends what the machine does for a record: an access for each line that it touches, for a `Modify` loads and then stores.
pub fn expand(record: &AccessRecord, accesses: &mut Vec<Access>) {
    let last = record.va.0.saturating_add(u64::from(record.size.max(1)) - 1);
    let kinds: &[AccessKind] = match record.op {
        AccessOp::Load => &[AccessKind::Read],
        AccessOp::Store => &[AccessKind::Write],
        AccessOp::Modify => &[AccessKind::Read, AccessKind::Write],
        AccessOp::Fetch => &[AccessKind::Fetch],
    };
    let mut dependent = record.dependent;
    for kind in kinds {
        let mut va = record.va.0;
        loop {
            accesses.push(Access { va: VirtAddr(va), kind: *kind, dependent });
            // Only the first waits for the record before: the others' address is known with it.
            dependent = false;
            match (va | (LINE - 1)).checked_add(1) {
                Some(next) if next <= last => va = next,
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};

    use super::*;
    use crate::Results;

    const FILE: u64 = 0x1000_0000_0000;

    fn simulate(
        fs: FileSystem,
        maps: &[DaxMap],
        threads: &[&[(u64, AccessOp)]],
    ) -> Result<(Results, Vec<StepOutcome>), TraceError> {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let mut sim = Simulation::new(machine, kernel, fs, false);
        let source = |accesses: &&[(u64, AccessOp)]| {
            let mut all = Vec::new();
            for (va, op) in *accesses {
                let record = AccessRecord { va: VirtAddr(*va), op: *op, size: 8, ..AccessRecord::default() };
                expand(&record, &mut all);
            }
            Box::new(all.into_iter()) as Box<dyn Source>
        };
        let outcomes = run(&mut sim, fs, maps, threads.iter().map(source).collect())?;
        Ok((sim.finish(), outcomes))
    }

    fn map(file: &str, offset: u64, start: u64, len: u64) -> DaxMap {
        DaxMap { file: file.into(), offset, start, len }
    }

    #[test]
    fn an_access_touches_each_of_its_lines() {
        let expanded = |va, size, op| {
            let mut accesses = Vec::new();
            let record = AccessRecord { va: VirtAddr(va), gap: 0, size, op, dependent: true };
            expand(&record, &mut accesses);
            accesses.into_iter().map(|a| (a.va.0, a.kind, a.dependent)).collect::<Vec<_>>()
        };
        use AccessKind::{Fetch, Read, Write};
        assert_eq!(expanded(0x1000, 8, AccessOp::Load), [(0x1000, Read, true)]);
        assert_eq!(expanded(0x1000, 0, AccessOp::Fetch), [(0x1000, Fetch, true)]);
        assert_eq!(expanded(0x103c, 4, AccessOp::Store), [(0x103c, Write, true)]);
        assert_eq!(expanded(0x103c, 5, AccessOp::Store), [(0x103c, Write, true), (0x1040, Write, false)]);
        let both = [(0x10, Read, true), (0x40, Read, false), (0x80, Read, false)];
        assert_eq!(expanded(0x10, 128, AccessOp::Load), both);
        assert_eq!(expanded(0x10, 8, AccessOp::Modify), [(0x10, Read, true), (0x10, Write, false)]);
        assert_eq!(expanded(u64::MAX, 9, AccessOp::Load), [(u64::MAX, Read, true)]);
    }

    #[test]
    fn declared_ranges_fault_as_dax_and_all_else_as_anonymous_memory() {
        use AccessOp::{Load, Store};
        let accesses = [
            (FILE, Load),
            (FILE, Store),
            (FILE + PAGE, Store),
            (FILE - 8, Store),
            (FILE + 2 * PAGE, Load),
            (0x2_0000, Store),
        ];
        let maps = [map("f", 0, FILE, 2 * PAGE)];
        let (results, outcomes) = simulate(FileSystem::Ext4, &maps, &[&accesses]).unwrap();
        assert_eq!((outcomes[0].accesses, outcomes[0].signals), (6, 0));
        use crate::measure::FaultKind;
        let count = |kind| results.measurements.latencies.count(kind);
        let kinds = [
            FaultKind::Read,
            FaultKind::Mkwrite,
            FaultKind::Write,
            FaultKind::AnonWrite,
            FaultKind::AnonRead,
        ];
        assert_eq!(kinds.map(count), [1, 1, 1, 2, 1]);
    }

    #[test]
    fn maps_of_one_name_share_the_file() {
        use AccessOp::Store;
        let maps = [map("f", 0, FILE, PAGE), map("f", 0, 2 * FILE, PAGE), map("g", PAGE, 3 * FILE, PAGE)];
        let accesses = [(FILE, Store), (2 * FILE, Store), (3 * FILE, Store)];
        let (results, _) = simulate(FileSystem::Xfs, &maps, &[&accesses]).unwrap();
        assert_eq!(results.durability.dirty_pages, 2);
    }

    #[test]
    fn threads_run_on_cpus_of_their_own() {
        use AccessOp::Store;
        let one = [(FILE, Store), (FILE + PAGE, Store)];
        let maps = [map("f", 0, FILE, 2 * PAGE)];
        let (results, outcomes) = simulate(FileSystem::Ext4, &maps, &[&one, &one]).unwrap();
        assert_eq!(outcomes.iter().map(|o| o.accesses).collect::<Vec<_>>(), [2, 2]);
        use crate::measure::Part;
        let busy = results.cpus.iter().filter(|parts| parts.total() > parts[Part::Idle]).count();
        assert_eq!(busy, 2);
    }

    #[test]
    fn addresses_that_no_program_has_get_signals() {
        use AccessOp::Load;
        let accesses = [(0, Load), (0xffff_8000_0000_0000, Load), (0x8000_0000_0000, Load), (FILE, Load)];
        let (_, outcomes) = simulate(FileSystem::Ext4, &[], &[&accesses]).unwrap();
        assert_eq!((outcomes[0].accesses, outcomes[0].signals), (4, 3));
    }

    #[test]
    fn maps_that_cannot_be_made_are_refused() {
        let refusal = |maps: &[DaxMap]| match simulate(FileSystem::Ext4, maps, &[]) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert_eq!(
            refusal(&[map("f", 0, FILE + 1, PAGE)]),
            "map of f: address 0x100000000001: expected a multiple of 4096"
        );
        assert_eq!(
            refusal(&[map("f", 0, FILE, 0)]),
            "map of f: length 0x0: expected a multiple of 4096 above 0"
        );
        assert!(
            refusal(&[map("f", 0, 0x1000, PAGE)])
                .contains("expected a range within 0x10000 and 0x7ffffffff000")
        );
        assert!(refusal(&[map("f", 0, 0x7fff_ffff_f000, PAGE)]).contains("expected a range within"));
        assert_eq!(
            refusal(&[map("g", 0, FILE + PAGE, PAGE), map("f", 0, FILE, 2 * PAGE)]),
            "maps of f and of g overlap at 0x100000001000: expected ranges apart from each other"
        );
        assert!(refusal(&[map("f", 0, FILE, 1 << 45)]).starts_with("file f: no space"));
    }
}
