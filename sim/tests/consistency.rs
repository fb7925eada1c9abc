//! Random programs whose threads race: whichever way they interleave, the machine ends in order, and each fault went a way that
//! the kernel has.

mod common;

use common::{BASE, Bench, FSDAX, HUGE, KERNELS, PAGE, shared_map, step};
use daxsim_sim::Simulation;
use daxsim_sim::kernel::{Advice, FallocMode, FileId, MapRequest, NewFile};
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::{AccessKind, VirtAddr};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Pages of the one file: a bit more than two huge pages.
const PAGES: u64 = 1100;
/// Where the private mapping of it begins.
const PRIVATE: u64 = BASE + 8 * HUGE;
const THREADS: u16 = 3;

/// One thing that a thread does; numbers are reduced to what there is.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Touch { page: u64, count: u64, write: bool, private: bool },
    Msync { page: u64, count: u64 },
    Fsync,
    Remap { private: bool },
    Unmap { page: u64, count: u64, private: bool },
    DontNeed { page: u64, count: u64, private: bool },
    Protect { page: u64, count: u64, read: bool, write: bool, private: bool },
    Truncate { pages: u64 },
    Change { mode: u8, page: u64, count: u64 },
    Write { page: u64, count: u64 },
    Fork,
}

fn deed() -> impl Strategy<Value = Deed> + Clone {
    let (page, count) = (0..PAGES, prop_oneof![4 => 1..6_u64, 1 => Just(512_u64)]);
    let place = (prop_oneof![3 => 0..4_u64, 2 => 510..516_u64, 1 => page], count, any::<bool>());
    prop_oneof![
        12 => (place.clone(), any::<bool>())
            .prop_map(|((page, count, private), write)| Deed::Touch { page, count: count.min(40), write, private }),
        3 => place.clone().prop_map(|(page, count, _)| Deed::Msync { page, count }),
        1 => Just(Deed::Fsync),
        2 => any::<bool>().prop_map(|private| Deed::Remap { private }),
        1 => place.clone().prop_map(|(page, count, private)| Deed::Unmap { page, count, private }),
        2 => place.clone().prop_map(|(page, count, private)| Deed::DontNeed { page, count, private }),
        2 => (place.clone(), any::<bool>(), any::<bool>()).prop_map(
            |((page, count, private), read, write)| Deed::Protect { page, count, read, write, private }
        ),
        1 => prop_oneof![Just(PAGES), Just(3_u64), 500..PAGES].prop_map(|pages| Deed::Truncate { pages }),
        2 => (place.clone(), 0..4_u8).prop_map(|((page, count, _), mode)| Deed::Change { mode, page, count }),
        1 => place.prop_map(|(page, count, _)| Deed::Write { page, count: count.min(8) }),
        1 => Just(Deed::Fork),
    ]
}

fn start_of(private: bool, page: u64) -> u64 {
    page * PAGE + if private { PRIVATE } else { BASE }
}

fn action(deed: Deed, file: FileId, sim: &Simulation) -> Action {
    match deed {
        Deed::Touch { page, count, write, private } => Action::Access(Accesses::Stride {
            start: VirtAddr(start_of(private, page)),
            count,
            stride: PAGE,
            kind: if write { AccessKind::Write } else { AccessKind::Read },
        }),
        Deed::Msync { page, count } => Action::Msync { start: start_of(false, page), len: count * PAGE },
        Deed::Fsync => Action::Fsync(file),
        Deed::Remap { private } => {
            let request = shared_map(file, start_of(private, 0), 0, PAGES);
            Action::Map(MapRequest { shared: !private, ..request })
        }
        Deed::Unmap { page, count, private } => {
            Action::Unmap { start: start_of(private, page), len: count * PAGE }
        }
        Deed::DontNeed { page, count, private } => {
            let (start, len) = (start_of(private, page), count * PAGE);
            Action::Advise { start, len, advice: Advice::DontNeed }
        }
        Deed::Protect { page, count, read, write, private } => {
            Action::Protect { start: start_of(private, page), len: count * PAGE, read, write }
        }
        Deed::Truncate { pages } => Action::Truncate { file, size: pages * PAGE },
        Deed::Change { mode, page, count } => {
            let modes = [FallocMode::Allocate, FallocMode::Punch, FallocMode::Zero, FallocMode::Collapse];
            let mode = modes[usize::from(mode)];
            Action::Fallocate { file, mode, start: page * PAGE, len: count * PAGE }
        }
        Deed::Write { page, count } => Action::Write { file, start: page * PAGE, len: count * PAGE },
        Deed::Fork => Action::Fork(sim.with(|m| m.new_mm())),
    }
}

/// Runs a program with the delays and stalls of a seed and looks at what is left.
fn explore(mut bench: Bench, new: NewFile, program: &[Vec<Deed>], seed: u64) -> Result<(), TestCaseError> {
    bench.sim.explore(seed);
    let file = bench.mapped_as(PAGES, new);
    bench.map_private(file, PRIVATE, PAGES);
    let mm = bench.mm;
    let steps = |cpu: u16, deeds: &Vec<Deed>| -> Vec<Step> {
        deeds.iter().map(|deed| step(cpu, mm, action(*deed, file, &bench.sim))).collect()
    };
    let threads: Vec<Vec<Step>> = (0..).zip(program).map(|(cpu, deeds)| steps(cpu, deeds)).collect();
    bench.race(threads);
    check(&bench)
}

fn check(bench: &Bench) -> Result<(), TestCaseError> {
    let found = bench.sim.with(|m| m.check_consistency());
    prop_assert!(found.is_ok(), "{}", found.unwrap_err());
    for fault in bench.faults() {
        prop_assert_eq!(fault.illegal_step(), None, "{:?}: {:?}", common::path(&fault), fault);
    }
    Ok(())
}

#[test]
fn racing_programs_leave_every_machine_in_order() {
    let programs = prop::collection::vec(prop::collection::vec(deed(), 1..8), usize::from(THREADS));
    let files = prop_oneof![Just(NewFile::Filled), Just(NewFile::Sparse), Just(NewFile::Preallocated)];
    let machines = prop_oneof![Just("qemu-tcg"), Just("skylake-sp-optane"), Just("zen3-milan")];
    let cases = std::env::var("CONSISTENCY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    for kernel in KERNELS {
        for fs in FSDAX {
            let mut runner = TestRunner::new_with_rng(
                Config { cases, failure_persistence: None, ..Config::default() },
                proptest::test_runner::TestRng::deterministic_rng(
                    proptest::test_runner::RngAlgorithm::ChaCha,
                ),
            );
            runner
                .run(
                    &(programs.clone(), files.clone(), machines.clone(), any::<u64>()),
                    |(program, new, machine, seed)| {
                        let bench = Bench::with(machine, kernel, fs, &["cpu.count=4"], &[]);
                        explore(bench, new, &program, seed)
                    },
                )
                .unwrap_or_else(|failed| panic!("{kernel} {fs}: {failed}"));
        }
    }
}
