//! Random programs on one to four CPUs: time is attributed to the last picosecond, nothing is lost, the same program gives the
//! same result, and whatever the interleaving, page tables, TLBs, mapping entries and counts agree in the end.

mod common;

use std::collections::BTreeMap;

use common::{BASE, Bench, HUGE, KERNELS, PAGE, shared_map, step, touch};
use daxsim_sim::kernel::dax_entry::EntryKind;
use daxsim_sim::kernel::extent::BlockState;
use daxsim_sim::kernel::{FileId, MmId, NewFile};
use daxsim_sim::measure::{FaultKind, FaultRecord};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::{Action, Step};
use daxsim_sim::{Machine, Results};
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Time, VirtAddr};
use proptest::prelude::*;

const FILE_PAGES: u64 = 1040;
/// The file is mapped twice in each address space: aligned for huge pages, and not.
const MAPS: [u64; 2] = [BASE, BASE + 8 * HUGE + PAGE];

#[derive(Clone, Copy, Debug)]
enum Op {
    Load { map: usize, page: u64, pages: u64 },
    Store { map: usize, page: u64, pages: u64 },
    Msync { map: usize, page: u64, pages: u64 },
    Unmap { map: usize, page: u64, pages: u64 },
    Remap { map: usize },
    Fsync,
    Sleep,
}

#[derive(Clone, Debug)]
struct Program {
    kernel: &'static str,
    fs: FileSystem,
    new: NewFile,
    machine: &'static str,
    threads: u16,
    /// Sections: in each, the threads' operations, in parallel or one after another.
    sections: Vec<(bool, Vec<(u16, Op)>)>,
}

/// Pages in the file's first small part, its first huge page and its tail; few, so that threads meet.
fn page() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![3 => 0..6u64, 1 => 510..516u64, 2 => 1024..FILE_PAGES]
}

fn op() -> impl Strategy<Value = Op> {
    let place = (0..2usize, page(), 1..5u64);
    prop_oneof![
        6 => place.clone().prop_map(|(map, page, pages)| Op::Load { map, page, pages }),
        8 => place.clone().prop_map(|(map, page, pages)| Op::Store { map, page, pages }),
        3 => place.clone().prop_map(|(map, page, pages)| Op::Msync { map, page, pages }),
        1 => place.prop_map(|(map, page, pages)| Op::Unmap { map, page, pages }),
        1 => (0..2usize).prop_map(|map| Op::Remap { map }),
        1 => Just(Op::Fsync),
        1 => Just(Op::Sleep),
    ]
}

fn program(threads: std::ops::RangeInclusive<u16>) -> impl Strategy<Value = Program> {
    let section = (any::<bool>(), prop::collection::vec((0..4u16, op()), 1..24));
    let new = prop_oneof![Just(NewFile::Filled), Just(NewFile::Sparse), Just(NewFile::Preallocated)];
    let fs = prop_oneof![Just(FileSystem::Ext4), Just(FileSystem::Xfs)];
    let machine = prop_oneof![3 => Just("skylake-sp-optane"), 1 => Just("qemu-tcg")];
    let kernel = prop::sample::select(KERNELS.to_vec());
    (kernel, fs, new, machine, threads, prop::collection::vec(section, 1..4)).prop_map(
        |(kernel, fs, new, machine, threads, sections)| Program {
            kernel,
            fs,
            new,
            machine,
            threads,
            sections,
        },
    )
}

struct Ran {
    bench: Bench,
    file: FileId,
    /// The last thread of three or more has an address space of its own.
    mms: Vec<MmId>,
    accesses: u64,
    signals: u64,
}

fn map_request(file: FileId, map: usize) -> Action {
    Action::Map(shared_map(file, MAPS[map], 0, FILE_PAGES))
}

fn action(file: FileId, op: Op) -> Action {
    let va = |map: usize, page: u64| MAPS[map] + page * PAGE;
    match op {
        Op::Load { map, page, pages } => touch(va(map, page), pages, AccessKind::Read),
        Op::Store { map, page, pages } => touch(va(map, page), pages, AccessKind::Write),
        Op::Msync { map, page, pages } => Action::Msync { start: va(map, page), len: pages * PAGE },
        Op::Unmap { map, page, pages } => Action::Unmap { start: va(map, page), len: pages * PAGE },
        Op::Remap { map } => map_request(file, map),
        Op::Fsync => Action::Fsync(file),
        Op::Sleep => Action::Sleep { nanoseconds: 20_000 },
    }
}

fn run(program: &Program) -> Ran {
    let bench = Bench::with(program.machine, program.kernel, program.fs, &["cpu.count=4"], &[]);
    let file = bench.file(FILE_PAGES, program.new.clone());
    let mut mms = vec![bench.mm; usize::from(program.threads)];
    if program.threads >= 3 {
        *mms.last_mut().unwrap() = bench.sim.with(|m| m.new_mm());
    }
    let mut ran = Ran { bench, file, mms, accesses: 0, signals: 0 };
    for cpu in [0, program.threads - 1] {
        for map in 0..MAPS.len() {
            let mm = ran.mms[usize::from(cpu)];
            ran.bench.run(cpu, mm, map_request(file, map));
        }
    }
    for (parallel, ops) in &program.sections {
        let mut threads: Vec<Vec<Step>> = (0..program.threads).map(|_| Vec::new()).collect();
        for (thread, op) in ops {
            let cpu = thread % program.threads;
            let step = step(cpu, ran.mms[usize::from(cpu)], action(file, *op));
            if *parallel {
                threads[usize::from(cpu)].push(step);
            } else {
                run_threads(&mut ran, vec![vec![step]]);
            }
        }
        run_threads(&mut ran, threads);
    }
    ran
}

fn run_threads(ran: &mut Ran, threads: Vec<Vec<Step>>) {
    for outcome in ran.bench.sim.parallel(threads).unwrap().into_iter().flatten() {
        ran.accesses += outcome.accesses;
        ran.signals += outcome.signals;
    }
}

/// One entry of one mapping.
struct Mapped {
    va: VirtAddr,
    page: u64,
    entry: Entry,
    huge: bool,
}

fn mapped(m: &Machine, mm: MmId) -> Vec<Mapped> {
    let mut all = Vec::new();
    for start in MAPS {
        for page in 0..FILE_PAGES {
            let va = VirtAddr(start + page * PAGE);
            let pmd = m.entry(mm, va, 1);
            if pmd.is_leaf_at(1) && !pmd.is_none() {
                if va.0.is_multiple_of(HUGE) {
                    all.push(Mapped { va, page, entry: pmd, huge: true });
                }
            } else {
                let entry = m.entry(mm, va, 0);
                if !entry.is_none() {
                    all.push(Mapped { va, page, entry, huge: false });
                }
            }
        }
    }
    all
}

/// Entries, mapping entries, extents and TLBs agree.
fn check_entries(ran: &Ran, mm: MmId) {
    ran.bench.sim.with(|m| {
        for Mapped { va, page, entry, huge } in mapped(m, mm) {
            let name = format!("{va} page {page}: {entry}");
            assert!(entry.is_present(), "{name}");
            assert!(entry.is_writable() || !entry.hw_dirty(), "{name}: a shadow-stack entry");
            let (_, dax) = m.dax_entry(ran.file, page).unwrap_or_else(|| panic!("{name}: no mapping entry"));
            assert!(!dax.locked, "{name}: left locked");
            if entry.is_writable() || entry.pte_dirty() {
                assert!(
                    dax.kind == EntryKind::Block && dax.dirty,
                    "{name}: {dax:?} would not be written back"
                );
            }
            let block = m.extent(ran.file, page).block;
            let size = if huge { PageSize::Size2M } else { PageSize::Size4K };
            if entry.pfn() == m.zero_page(size) {
                assert!(!matches!(block, Some((_, BlockState::Written))), "{name}: hides a written block");
            } else {
                assert_eq!(block, Some((entry.pfn(), BlockState::Written)), "{name}");
            }
        }
        for start in MAPS {
            for page in 0..FILE_PAGES {
                let va = VirtAddr(start + page * PAGE);
                for cpu in 0..4 {
                    let Some(cached) = m.cached_translation(CpuId(cpu), mm, va) else { continue };
                    let huge = cached.size == PageSize::Size2M;
                    let entry = m.entry(mm, va, u32::from(huge));
                    let name = format!("cpu {cpu} {va}: {entry} cached as {cached:?}");
                    assert!(entry.is_present() && entry.pfn() == cached.pfn, "{name}");
                    assert!(entry.is_writable() || !cached.writable, "{name}");
                    assert!(entry.hw_dirty() || !cached.dirty, "{name}: a store would be lost");
                }
            }
        }
    });
}

/// References, mapcounts and RSS are those of the entries that are there.
fn check_counts(ran: &Ran) {
    let mut mms = ran.mms.clone();
    mms.dedup();
    ran.bench.sim.with(|m| {
        let counted = m.kernel_spec().dax.refcount_per_map > 0;
        let zero_counted = m.kernel_spec().dax.zero_page_refcounted_4k;
        let mut expected: BTreeMap<u64, i64> = BTreeMap::new();
        for page in 0..FILE_PAGES {
            if let Some((pfn, _)) = m.extent(ran.file, page).block {
                expected.insert(pfn.0, 0);
            }
        }
        for &mm in &mms {
            let mut rss = 0;
            for Mapped { entry, huge, .. } in mapped(m, mm) {
                let zero = [PageSize::Size4K, PageSize::Size2M].map(|s| m.zero_page(s));
                let pfn = entry.pfn();
                if counted && pfn != zero[1] && (pfn != zero[0] || zero_counted) {
                    *expected.entry(pfn.0).or_default() += 1;
                    rss += if huge { 512 } else { 1 };
                }
            }
            assert_eq!(m.rss_file(mm), rss);
        }
        for (pfn, maps) in expected {
            let counts = m.page_counts(daxsim_types::Pfn(pfn));
            assert_eq!((counts.refs, counts.maps), (maps, maps), "frame {pfn:#x}");
        }
    });
}

/// Every picosecond of every CPU and of every fault has a part, and every access an end.
fn check_sums(results: &Results, accesses: u64, signals: u64) {
    for parts in &results.cpus {
        assert_eq!(parts.total(), results.end);
    }
    let measured = &results.measurements;
    let mut faults = 0;
    for (_, latency) in measured.latencies.iter() {
        assert_eq!(latency.parts.total(), latency.sum);
        faults += latency.histogram.len();
    }
    assert_eq!(faults, measured.faults.total);
    assert_eq!(measured.reads + measured.writes + signals, accesses);
    assert_eq!(measured.faults.sigbus + measured.faults.sigsegv, signals);
    assert_eq!(measured.shootdowns.ipis_sent, measured.shootdowns.ipis_received);
    for kind in FaultKind::ALL {
        let logged = measured.fault_log.iter().filter(|f| f.kind == kind).count() as u64;
        assert_eq!(logged, measured.latencies.count(kind), "{}", kind.name());
    }
}

fn check(program: &Program) -> (Vec<FaultRecord>, Time) {
    let ran = run(program);
    let mut mms = ran.mms.clone();
    mms.dedup();
    for mm in mms {
        check_entries(&ran, mm);
    }
    check_counts(&ran);
    let (accesses, signals) = (ran.accesses, ran.signals);
    let results = ran.bench.finish();
    check_sums(&results, accesses, signals);
    (results.measurements.fault_log, results.end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_program_leaves_a_consistent_machine(program in program(1..=4)) {
        check(&program);
    }

    #[test]
    fn threads_that_race_never_deadlock(mut program in program(4..=4)) {
        for section in &mut program.sections {
            section.0 = true;
        }
        check(&program);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_program_gives_the_same_faults_at_the_same_times(program in program(1..=4)) {
        let (first, second) = (check(&program), check(&program));
        prop_assert!(first == second);
    }
}
