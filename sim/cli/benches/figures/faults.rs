//! Page faults of DAX files and shootdowns.

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::kernel::{MapRequest, MmId, NewFile};
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

use crate::clock::best_cpu;
use crate::table::{Line, millions};

/// One page off a 2 MiB boundary: with file page 0 there, no huge page can map the file.
const START: u64 = 0x7000_0000_1000;
const PAGE: u64 = 4096;
/// Pages of the faulting file: 512 MiB.
const FAULTS: u64 = 131_072;
/// Shootdowns for one figure.
const SHOOTDOWNS: u64 = 20_000;
const TARGETS: u16 = 8;

/// A machine with `pages` of a written file mapped in one mm, which CPUs `0..cpus` run.
fn mapped(kernel: &str, fs: FileSystem, pages: u64, cpus: u16) -> (Simulation, MmId) {
    let machine = load_machine("skylake-sp-optane", &[]).expect("builtin");
    let kernel = load_kernel(kernel, &[]).expect("builtin");
    let mut sim = Simulation::new(machine, kernel, fs, false);
    let file = sim.new_file(fs, pages * PAGE, &NewFile::Filled).expect("it fits");
    let mm = sim.with(|m| m.new_mm());
    for cpu in 0..cpus {
        sim.place(CpuId(cpu), mm).expect("the CPU is there");
    }
    let request = MapRequest {
        file,
        start: START,
        len: pages * PAGE,
        pgoff: 0,
        read: true,
        write: true,
        shared: true,
        sync: false,
        populate: false,
    };
    step(&mut sim, mm, Action::Map(request));
    (sim, mm)
}

fn step(sim: &mut Simulation, mm: MmId, action: Action) {
    let outcome = sim.step(Step { line: 1, thread: 0, cpu: CpuId(0), mm: Some(mm), action });
    assert_eq!(outcome.expect("runs").error, None);
}

fn stores(sim: &mut Simulation, mm: MmId, start: u64, pages: u64) {
    let accesses =
        Accesses::Stride { start: VirtAddr(start), count: pages, stride: PAGE, kind: AccessKind::Write };
    step(sim, mm, Action::Access(accesses));
}

/// First stores to every page of a large file.
pub fn dax() -> Vec<Line> {
    let mut lines = Vec::new();
    for (what, kernel, fs) in [
        ("DAX faults, linux-6.12 ext4", "linux-6.12", FileSystem::Ext4),
        ("DAX faults, linux-6.12 xfs", "linux-6.12", FileSystem::Xfs),
        ("DAX faults, linux-7.2 ext4", "linux-7.2", FileSystem::Ext4),
        ("DAX faults, linux-7.2 xfs", "linux-7.2", FileSystem::Xfs),
    ] {
        let (seconds, sim) = best_cpu(
            || mapped(kernel, fs, FAULTS, 1),
            |(mut sim, mm)| {
                stores(&mut sim, mm, START, FAULTS);
                sim
            },
        );
        assert_eq!(sim.finish().measurements.faults.total, FAULTS);
        lines.push(Line::new(
            what,
            millions(FAULTS, seconds),
            ">= 1 M/s",
            "first store to each 4 KiB of 512 MiB",
        ));
    }
    lines
}

/// Flushes of one page that eight other CPUs have to answer.
pub fn shootdowns() -> Vec<Line> {
    let measure = |prepare: fn(&mut Simulation, MmId), pages: u64, once: fn(&mut Simulation, MmId, u64)| {
        let (seconds, sim) = best_cpu(
            || {
                let (mut sim, mm) = mapped("linux-7.2", FileSystem::Xfs, pages, TARGETS + 1);
                prepare(&mut sim, mm);
                (sim, mm)
            },
            |(mut sim, mm)| {
                for n in 0..SHOOTDOWNS {
                    once(&mut sim, mm, n);
                }
                sim
            },
        );
        // Now and then a page table goes as well, with a shootdown of its own.
        let shootdowns = sim.finish().measurements.shootdowns.ipis_received / u64::from(TARGETS);
        assert!((SHOOTDOWNS..SHOOTDOWNS / 100 * 101).contains(&shootdowns));
        millions(shootdowns, seconds)
    };
    let unmap = measure(
        |sim, mm| stores(sim, mm, START, SHOOTDOWNS),
        SHOOTDOWNS,
        |sim, mm, n| step(sim, mm, Action::Unmap { start: START + n * PAGE, len: PAGE }),
    );
    let msync = measure(
        |_, _| {},
        1,
        |sim, mm, _| {
            stores(sim, mm, START, 1);
            step(sim, mm, Action::Msync { start: START, len: PAGE });
        },
    );
    vec![
        Line::new("shootdowns, munmap", unmap, ">= 0.2 M/s", "munmap of one page that 9 CPUs run, 8 answer"),
        Line::new("shootdowns, store + msync", msync, "", "with a fault and 64 CLWBs each"),
    ]
}
