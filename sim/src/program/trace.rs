//! Traces of accesses: what the program did is known but for its mappings. Those of DAX files are declared; all other memory is
//! anonymous, and faulted in as it is touched.

mod expand;
mod maps;

use daxsim_types::{CpuId, FileSystem, PageSize};
use thiserror::Error;

pub use self::expand::Expander;
pub use self::maps::{FileMap, Medium};
use super::{Accesses, Action, Source, Step, StepOutcome};
use crate::kernel::SyscallError;
use crate::simulation::{SimError, Simulation};

/// Bytes of a page.
const PAGE: u64 = 4096;

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
        "map of {file}: {start:#x} and {len:#x} bytes: expected a range within {lowest:#x} and {limit:#x}"
    )]
    Outside {
        /// The file.
        file: String,
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// Where the memory of programs begins.
        lowest: u64,
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
    /// Pages that a map cannot have.
    #[error("map of {file}: pages of {} KiB: {why}", page.bytes() >> 10)]
    NoSuchPage {
        /// The file.
        file: String,
        /// The pages asked for.
        page: PageSize,
        /// Why not.
        why: &'static str,
    },
    /// Maps of one file that say different things of it.
    #[error("maps of {file}: expected the same file system and medium in all of them")]
    TwoKinds {
        /// The file.
        file: String,
    },
    /// A device and a file, both on persistent memory.
    #[error(
        "maps of {device} (devdax) and {file}: a device takes all of persistent memory; expected no file beside it"
    )]
    DeviceAndFile {
        /// The device.
        device: String,
        /// The file.
        file: String,
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

/// Accesses of each thread up to a place in the trace: no thread goes beyond it before all are there.
pub type Stretch = Vec<Box<dyn Source>>;

/// Runs the threads of a trace, each on a CPU of its own from CPU 0 on: all at the same time within a stretch, and one stretch after
/// another. A trace that does not order its threads is a single stretch. Files have their blocks written beforehand. Returns
/// what became of each thread.
///
/// # Errors
///
/// [`TraceError`]
pub fn run(
    sim: &mut Simulation,
    fs: FileSystem,
    maps: &[FileMap],
    threads: usize,
    stretches: impl IntoIterator<Item = Stretch>,
) -> Result<Vec<StepOutcome>, TraceError> {
    let (cpus, limit) = sim.with(|m| (m.cpus.len(), m.user_end()));
    if threads > cpus {
        return Err(TraceError::TooManyThreads { threads, cpus });
    }
    let alignment = sim.with(|m| m.spec.pmem.devdax_alignment);
    let maps = maps::check(maps, fs, alignment, limit)?;
    let mm = sim.with(|m| m.new_mm());
    for cpu in 0..threads {
        sim.place(CpuId(cpu as u16), mm)?;
    }
    maps::map_anonymous(sim, mm, &maps, limit);
    maps::map_files(sim, fs, mm, &maps)?;
    let step = |(cpu, source): (u16, Box<dyn Source>)| {
        let action = Action::Access(Accesses::Stream(source));
        vec![Step { line: 0, thread: cpu, cpu: CpuId(cpu), mm: Some(mm), action }]
    };
    let mut sums = vec![StepOutcome::default(); threads];
    for stretch in stretches {
        let outcomes = sim.parallel((0..).zip(stretch).map(step).collect())?;
        for (sum, outcome) in sums.iter_mut().zip(outcomes.iter().flatten()) {
            sum.accesses += outcome.accesses;
            sum.signals += outcome.signals;
        }
        if sim.crash().is_some() {
            break;
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};
    use daxsim_traces::access::{AccessOp, AccessRecord};
    use daxsim_types::VirtAddr;

    use super::*;
    use crate::Results;

    const FILE: u64 = 0x1000_0000_0000;

    fn simulate(
        fs: FileSystem,
        maps: &[FileMap],
        threads: &[&[(u64, AccessOp)]],
    ) -> Result<(Results, Vec<StepOutcome>), TraceError> {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let spec = machine.clone();
        let mut sim = Simulation::new(machine, kernel, fs, false);
        let source = |accesses: &&[(u64, AccessOp)]| {
            let (mut all, mut expander) = (Vec::new(), Expander::new(&spec));
            for (va, op) in *accesses {
                let record = AccessRecord { va: VirtAddr(*va), op: *op, size: 8, ..AccessRecord::default() };
                expander.push(&record, &mut all);
            }
            all.extend(expander.finish(0));
            Box::new(all.into_iter()) as Box<dyn Source>
        };
        let outcomes = run(&mut sim, fs, maps, threads.len(), [threads.iter().map(source).collect()])?;
        Ok((sim.finish(), outcomes))
    }

    fn map(file: &str, offset: u64, start: u64, len: u64) -> FileMap {
        FileMap { file: file.into(), offset, start, len, ..FileMap::default() }
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
    fn each_map_has_its_pages_its_file_system_and_its_medium() {
        use AccessOp::Store;
        const HUGE: u64 = 2 << 20;
        let of = |number: u64, page, medium| FileMap {
            page,
            medium,
            fs: (number == 1).then_some(FileSystem::Xfs),
            ..map(["a", "b", "c", "d"][number as usize], 0, FILE + number * 4 * HUGE, HUGE)
        };
        let maps = [
            of(0, None, Medium::Pmem),
            of(1, Some(PageSize::Size2M), Medium::Pmem),
            of(2, Some(PageSize::Size4K), Medium::Pmem),
            of(3, None, Medium::Dram),
        ];
        // Four pages of each.
        let stores: Vec<_> = (0..16).map(|n| (FILE + n / 4 * 4 * HUGE + n % 4 * PAGE, Store)).collect();
        let (results, outcomes) = simulate(FileSystem::Ext4, &maps, &[&stores]).unwrap();
        assert_eq!((outcomes[0].accesses, outcomes[0].signals), (16, 0));
        use crate::measure::FaultKind;
        let kinds = FaultKind::ALL.into_iter().map(|kind| (kind, results.measurements.latencies.count(kind)));
        let seen: Vec<_> = kinds.filter(|(_, count)| *count > 0).collect();
        let expected = [(FaultKind::Write, 4), (FaultKind::PmdWrite, 2), (FaultKind::FileWrite, 4)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn maps_that_cannot_be_made_are_refused() {
        let refusal = |maps: &[FileMap]| match simulate(FileSystem::Ext4, maps, &[]) {
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
        let huge = |start, len| FileMap { page: Some(PageSize::Size2M), ..map("f", 0, start, len) };
        assert_eq!(
            refusal(&[huge(FILE + PAGE, 4 << 20)]),
            "map of f: pages of 2048 KiB: address and offset leave no room for an aligned one"
        );
        assert!(refusal(&[huge(FILE, PAGE)]).contains("leave no room"));
        let small = FileMap {
            fs: Some(FileSystem::Devdax),
            page: Some(PageSize::Size4K),
            ..map("d", 0, FILE, 2 << 20)
        };
        assert!(refusal(std::slice::from_ref(&small)).contains("pages of its alignment"));
        let device = FileMap { page: None, ..small };
        assert!(refusal(&[device.clone(), map("f", 0, 2 * FILE, PAGE)]).contains("a device takes all"));
        let cached = FileMap { medium: Medium::Dram, ..map("f", 0, 2 * FILE, PAGE) };
        assert!(refusal(&[map("f", 0, FILE, PAGE), cached]).contains("the same file system and medium"));
        assert!(refusal(&[map("f", 0, FILE, 1 << 45)]).starts_with("file f: no space"));
    }
}
