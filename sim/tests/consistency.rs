//! Random programs whose threads race: whichever way they interleave, the machine ends in order, and each fault went a way that
//! the kernel has.

mod common;

use common::{BASE, Bench, FSDAX, HUGE, KERNELS, PAGE, shared_map, step, touch};
use daxsim_sim::Simulation;
use daxsim_sim::consistency::Inconsistency;
use daxsim_sim::kernel::{Advice, CloneRequest, FallocMode, FileId, MapRequest, NewFile};
use daxsim_sim::measure::PathStep;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::{AccessKind, FileSystem, Pfn, VirtAddr};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Pages of the one file: a bit more than two huge pages.
const PAGES: u64 = 1100;
/// Where the private mapping of it begins.
const PRIVATE: u64 = BASE + 8 * HUGE;
/// Where the file begins that comes to share blocks with it, if the file system can do that.
const COPY: u64 = BASE + 16 * HUGE;
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
    Clone { page: u64, to: u64, count: u64, back: bool },
    TouchCopy { page: u64, count: u64, write: bool },
    TruncateCopy { pages: u64 },
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
        1 => place.clone().prop_map(|(page, count, _)| Deed::Write { page, count: count.min(8) }),
        2 => (place.clone(), prop_oneof![Just(None), (0..PAGES).prop_map(Some)]).prop_map(
            |((page, count, back), to)| Deed::Clone { page, to: to.unwrap_or(page), count, back }
        ),
        4 => (place, any::<bool>())
            .prop_map(|((page, count, _), write)| Deed::TouchCopy { page, count: count.min(40), write }),
        1 => prop_oneof![Just(PAGES), Just(0_u64), 500..PAGES].prop_map(|pages| Deed::TruncateCopy { pages }),
        1 => Just(Deed::Fork),
    ]
}

fn start_of(private: bool, page: u64) -> u64 {
    page * PAGE + if private { PRIVATE } else { BASE }
}

fn action(deed: Deed, (file, copy): (FileId, FileId), sim: &Simulation) -> Action {
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
        Deed::Clone { page, to, count, back } => {
            let (from, to_file) = if back { (copy, file) } else { (file, copy) };
            let (from_start, to_start, len) = (page * PAGE, to * PAGE, count * PAGE);
            Action::Clone(CloneRequest { from, from_start, to: to_file, to_start, len })
        }
        Deed::TouchCopy { page, count, write } => {
            touch(COPY + page * PAGE, count, if write { AccessKind::Write } else { AccessKind::Read })
        }
        Deed::TruncateCopy { pages } => Action::Truncate { file: copy, size: pages * PAGE },
        Deed::Fork => Action::Fork(sim.with(|m| m.new_mm())),
    }
}

/// Runs a program with the delays and stalls of a seed and looks at what is left.
fn explore(mut bench: Bench, new: NewFile, program: &[Vec<Deed>], seed: u64) -> Result<(), TestCaseError> {
    bench.sim.explore(seed);
    let file = bench.mapped_as(PAGES, new);
    bench.map_private(file, PRIVATE, PAGES);
    let copy = bench.file(PAGES, NewFile::Sparse);
    bench.map(copy, COPY, 0, PAGES);
    let mm = bench.mm;
    // pwrite to shared blocks leaves a gap for faults, as Linux does (reflink.rs has the test of it).
    let shares =
        bench.fs == FileSystem::Xfs && program.iter().flatten().any(|d| matches!(d, Deed::Clone { .. }));
    let steps = |cpu: u16, deeds: &Vec<Deed>| -> Vec<Step> {
        let deeds = deeds.iter().filter(|deed| !shares || !matches!(deed, Deed::Write { .. }));
        deeds.map(|deed| step(cpu, mm, action(*deed, (file, copy), &bench.sim))).collect()
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
    for kernel in KERNELS {
        for fs in FSDAX {
            let mut runner = TestRunner::new_with_rng(
                Config { failure_persistence: None, ..Config::default() },
                proptest::test_runner::TestRng::deterministic_rng(
                    proptest::test_runner::RngAlgorithm::ChaCha,
                ),
            );
            runner
                .run(
                    &(programs.clone(), files.clone(), machines.clone(), any::<bool>(), any::<u64>()),
                    |(program, new, machine, pti, seed)| {
                        let pti = format!("tree.pti={pti}");
                        let bench = Bench::with(machine, kernel, fs, &["cpu.count=4"], &[&pti]);
                        explore(bench, new, &program, seed)
                    },
                )
                .unwrap_or_else(|failed| panic!("{kernel} {fs}: {failed}"));
        }
    }
}

/// What is found after the entry of a page that was stored to is changed behind the kernel's back.
fn after(change: impl Fn(Entry) -> Entry) -> Inconsistency {
    let mut bench = Bench::new(common::NEW, FSDAX[0]);
    bench.mapped(8);
    bench.store(BASE);
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
    bench.inject(BASE, 0, change(bench.pte(BASE)));
    bench.sim.with(|m| m.check_consistency()).unwrap_err()
}

#[test]
fn a_leaf_of_another_frame_is_found() {
    let found = after(|pte| Entry::leaf(Pfn(pte.pfn().0 + 1), pte.without_frame()));
    assert!(matches!(found, Inconsistency::Frame { leaf, .. } if leaf.va.0 == BASE), "{found}");
}

#[test]
fn a_shadow_stack_entry_and_strange_software_bits_are_found() {
    let found = after(|pte| Entry(pte.0 & !Entry::RW));
    assert!(matches!(found, Inconsistency::Rights { .. }), "{found}");
    let found = after(Entry::mkspecial);
    assert!(matches!(found, Inconsistency::SoftwareBits { expected: 0, .. }), "{found}");
}

#[test]
fn a_mapping_that_is_not_counted_any_more_and_a_skipped_flush_are_found() {
    let found = after(|_| Entry::NONE);
    assert!(matches!(found, Inconsistency::Counts { .. }), "{found}");
    let found = after(|pte| pte.wrprotect());
    assert!(matches!(found, Inconsistency::StaleTlb { cached, .. } if cached.writable), "{found}");
}

#[test]
fn a_store_that_no_writeback_would_find_is_found() {
    common::everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load(BASE);
        bench.inject(BASE, 0, bench.pte(BASE).mkwrite().mkdirty());
        let found = bench.sim.with(|m| m.check_consistency()).unwrap_err();
        assert!(matches!(found, Inconsistency::NoMark { page: 0, .. }), "{found}");
    });
}

#[test]
fn a_path_with_a_step_too_many_or_too_few_is_illegal() {
    common::everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.store(BASE);
        let fault = bench.faults().remove(0);
        assert_eq!(fault.illegal_step(), None);
        for step in 0..fault.path.len() {
            let mut shorter = fault.clone();
            shorter.path.remove(step);
            assert!(shorter.illegal_step().is_some(), "{kernel} {fs}: {:?}", shorter.path);
            let mut longer = fault.clone();
            longer.path.insert(step, PathStep::Event("dax_load_hole"));
            assert!(longer.illegal_step().is_some(), "{kernel} {fs}: {:?}", longer.path);
        }
    });
}

#[test]
fn private_copies_that_lost_all_rights_are_unmapped_as_copies() {
    common::everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(8, NewFile::Filled);
        bench.map_private(file, BASE, 8);
        bench.store(BASE);
        let (start, len) = (BASE, 8 * PAGE);
        bench.run(0, bench.mm, Action::Protect { start, len, read: false, write: false });
        assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
        bench.unmap(BASE, 8);
        assert_eq!(bench.sim.with(|m| (m.rss_anon(bench.mm), m.rss_file(bench.mm))), (0, 0));
        assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
    });
}

#[test]
fn msync_cleans_pages_that_lost_all_rights() {
    common::everywhere(|kernel, fs| {
        for pages in [8, 512] {
            let mut bench = Bench::new(kernel, fs);
            let file = bench.mapped(pages);
            bench.store(BASE);
            let (start, len) = (BASE, pages * PAGE);
            bench.run(0, bench.mm, Action::Protect { start, len, read: false, write: false });
            bench.msync(BASE, pages);
            assert!(!bench.dax_entry(file, 0).1.dirty);
            assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
            bench.run(0, bench.mm, Action::Protect { start, len, read: true, write: true });
            bench.store(BASE);
            assert!(bench.dax_entry(file, 0).1.dirty, "{kernel} {fs}: the store faulted and left a mark");
        }
    });
}
