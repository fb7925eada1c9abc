//! INVLPGB: global ASIDs, their assignment and their end, and that nothing but the way of the flush differs from interrupts.

mod common;

use common::{BASE, Bench, HUGE, NEW, OLD, PAGE, access, step, touch};
use daxsim_sim::kernel::{MmId, NewFile};
use daxsim_sim::measure::{FaultKind, FlushReason};
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, Time, VirtAddr};
use proptest::prelude::*;

const CPUS: [u16; 4] = [0, 1, 2, 3];

fn bench(kernel: &str, machine: &[&str], of_kernel: &[&str]) -> Bench {
    let machine: Vec<&str> = ["cpu.count=6"].iter().chain(machine).copied().collect();
    Bench::with("skylake-sp-optane", kernel, FileSystem::Ext4, &machine, of_kernel)
}

/// `pages` pages mapped and touched by four CPUs, and flushed until no CPU straggles.
fn assigned(pages: u64, machine: &[&str], of_kernel: &[&str]) -> Bench {
    let mut bench = bench(NEW, machine, of_kernel);
    bench.mapped(pages);
    for _ in 0..3 {
        for cpu in CPUS {
            bench.touch(cpu, BASE, pages, AccessKind::Write);
        }
        bench.msync(BASE, 1);
    }
    bench
}

fn invlpgbs(bench: &Bench) -> (u64, u64) {
    bench.measured(|m| (m.shootdowns.invlpgb, m.shootdowns.tlbsync))
}

/// INVLPGBs and TLBSYNCs of one unmapping that leaves the tables.
fn of_unmapping(bench: &mut Bench, start: u64, pages: u64) -> (u64, u64) {
    let before = invlpgbs(bench);
    bench.unmap(start, pages);
    let after = invlpgbs(bench);
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn a_range_goes_in_as_many_instructions_as_its_pages_need() {
    for (machine, pages, expected) in [
        ("mmu.invlpgb_pages=8", 1, 1),
        ("mmu.invlpgb_pages=8", 8, 1),
        ("mmu.invlpgb_pages=8", 9, 2),
        ("mmu.invlpgb_pages=8", 33, 5),
        ("mmu.invlpgb_pages=1", 33, 33),
        // Above the ceiling all of the PCID goes.
        ("mmu.invlpgb_pages=1", 34, 1),
    ] {
        let mut bench = assigned(128, &[machine], &["dax.zap_forces_flush_if_dirty=false"]);
        assert_eq!(of_unmapping(&mut bench, BASE + 4 * PAGE, pages), (expected, 1), "{machine} {pages}");
        let mut pti = assigned(128, &[machine], &["dax.zap_forces_flush_if_dirty=false", "tree.pti=true"]);
        assert_eq!(of_unmapping(&mut pti, BASE + 4 * PAGE, pages), (2 * expected, 1), "{machine} {pages}");
    }
}

#[test]
fn huge_pages_are_counted_at_their_own_stride() {
    let mut bench = assigned(8 * 512, &["mmu.invlpgb_pages=8"], &[]);
    for cpu in CPUS {
        bench.load_on(cpu, BASE);
        bench.load_on(cpu, BASE + HUGE);
    }
    assert!(bench.pmd(BASE).is_leaf_at(1));
    assert_eq!(of_unmapping(&mut bench, BASE + HUGE, 3 * 512), (1, 1));
    for cpu in CPUS {
        assert_eq!(
            bench.sim.with(|m| m.cached_translation(CpuId(cpu), bench.mm, VirtAddr(BASE + HUGE))),
            None
        );
        assert!(bench.sim.with(|m| m.cached_translation(CpuId(cpu), bench.mm, VirtAddr(BASE))).is_some());
    }
}

#[test]
fn every_cpu_runs_the_address_space_under_the_same_pcid() {
    let mut bench = assigned(8, &["mmu.invlpgb_pages=8"], &[]);
    assert_eq!(CPUS.map(|cpu| bench.sim.with(|m| m.pcid(CpuId(cpu)))), [7; 4]);
    assert_ne!(bench.sim.with(|m| m.pcid(CpuId(5))), 7);
    // A CPU that comes later takes it without a flush, and so does one that was away while others flushed.
    let events = bench.flush_events(FlushReason::TaskSwitch);
    bench.load_on(4, BASE);
    let other = bench.sim.with(|m| m.new_mm());
    bench.sim.place(CpuId(4), other).unwrap();
    bench.store(BASE);
    bench.msync(BASE, 8);
    bench.sim.place(CpuId(4), bench.mm).unwrap();
    assert_eq!(bench.sim.with(|m| m.pcid(CpuId(4))), 7);
    let (count, full) = bench.flush_events(FlushReason::TaskSwitch);
    assert_eq!((count - events.0, full - events.1), (3, 1), "one flush: into the ASID of the other");
    assert_eq!(
        bench.sim.with(|m| m.cached_translation(CpuId(4), bench.mm, VirtAddr(BASE))),
        None,
        "what was flushed meanwhile is gone all the same"
    );
}

#[test]
fn while_cpus_straggle_they_are_interrupted_and_come_over_without_a_flush() {
    let mut bench = bench(NEW, &["mmu.invlpgb_pages=8"], &[]);
    bench.mapped(8);
    for cpu in CPUS {
        bench.touch(cpu, BASE, 8, AccessKind::Write);
    }
    bench.msync(BASE, 1);
    assert_eq!(bench.sim.with(|m| m.global_asid(bench.mm)), Some((6, true)));
    assert_eq!(invlpgbs(&bench), (1, 1), "the flush before the first number is used");
    let (ipis, switches) =
        (bench.measured(|m| m.shootdowns.ipis_received), bench.flush_events(FlushReason::TaskSwitch));
    bench.msync(BASE + PAGE, 1);
    assert_eq!(bench.measured(|m| m.shootdowns.ipis_received) - ipis, 3);
    assert_eq!(invlpgbs(&bench), (2, 2));
    let after = bench.flush_events(FlushReason::TaskSwitch);
    assert_eq!((after.0 - switches.0, after.1 - switches.1), (4, 0), "all four reload CR3");
    assert_eq!(CPUS.map(|cpu| bench.sim.with(|m| m.pcid(CpuId(cpu)))), [7; 4]);
}

/// Pid and time are compared in their low five bits: address space 1 is looked at in the second tick of 32.
#[test]
fn flushes_are_sampled_by_time_and_task() {
    let mut bench = bench(NEW, &["mmu.invlpgb_pages=8"], &[]);
    let mm = bench.sim.with(|m| m.new_mm());
    assert_eq!(mm, MmId(1));
    bench.mm = mm;
    bench.mapped(8);
    let flush = |bench: &mut Bench| {
        for cpu in CPUS {
            bench.store_on(cpu, BASE);
        }
        bench.msync(BASE, 8);
        bench.sim.with(|m| m.global_asid(mm)).is_some()
    };
    assert!(!flush(&mut bench), "tick 0");
    bench.run(0, mm, Action::Sleep { nanoseconds: 8_000_000 });
    assert!(!flush(&mut bench), "tick 2");
    bench.run(0, mm, Action::Sleep { nanoseconds: 31 * 4_000_000 });
    assert!(flush(&mut bench), "tick 33");
}

#[test]
fn without_the_instruction_or_without_the_knob_nothing_changes() {
    let run = |kernel: &str, machine: &[&str], of_kernel: &[&str]| {
        let mut bench = bench(kernel, machine, of_kernel);
        bench.mapped(8);
        for _ in 0..4 {
            for cpu in CPUS {
                bench.store_on(cpu, BASE);
            }
            bench.msync(BASE, 8);
        }
        (bench.measured(|m| (m.shootdowns, m.flushes.clone())), bench.sim.with(|m| m.cpu_time(CpuId(0))))
    };
    let with = "mmu.invlpgb_pages=8";
    assert_eq!(run(NEW, &[], &[]), run(NEW, &[], &["tree.invlpgb=false"]));
    assert_eq!(run(NEW, &[], &[]), run(NEW, &[with], &["tree.invlpgb=false"]));
    assert_eq!(run(OLD, &[], &[]), run(OLD, &[with], &[]), "6.12 does not know it");
    let no_pcid = "mmu.pcid=false";
    assert_eq!(run(NEW, &[no_pcid], &[]), run(NEW, &[no_pcid, with], &[]), "it needs PCIDs");
    assert_ne!(run(NEW, &[], &[]), run(NEW, &[with], &[]));
}

#[test]
fn the_initiator_waits_less_than_for_interrupts() {
    let cost = |machine: &[&str]| {
        let mut bench = assigned(8, machine, &[]);
        bench.msync(BASE, 8);
        let before = bench.measured(|m| m.shootdowns);
        for _ in 0..20 {
            for cpu in CPUS {
                bench.store_on(cpu, BASE);
            }
            bench.msync(BASE, 8);
        }
        let after = bench.measured(|m| m.shootdowns);
        assert_eq!(after.requests - before.requests, 20);
        (after.initiator_time - before.initiator_time, after.responder_time - before.responder_time)
    };
    let (ipi, broadcast) = (cost(&[]), cost(&["mmu.invlpgb_pages=8"]));
    assert!(broadcast.0 < ipi.0, "{broadcast:?} {ipi:?}");
    assert_eq!(broadcast.1, Time::ZERO, "nobody is interrupted");
    // The latency of TLBSYNC is the machine's.
    let slow = cost(&["mmu.invlpgb_pages=8", "cost.tlbsync=100 us"]);
    assert!(slow.0 >= broadcast.0 + Time::from_ns(20 * 99_000), "{slow:?} {broadcast:?}");
}

#[test]
fn a_number_is_used_again_after_everything_was_flushed() {
    // ASIDs 6 to 9, of which one stays unused.
    let mut bench = bench(NEW, &["mmu.invlpgb_pages=8"], &["tree.asids=10", "tree.hz=1"]);
    let file = bench.file(8, NewFile::Filled);
    let mut taken = Vec::new();
    for round in 0..8 {
        // Only every 32nd address space is looked at in the first tick.
        let mm = std::iter::repeat_with(|| bench.sim.with(|m| m.new_mm())).find(|mm| mm.0 % 32 == 0).unwrap();
        bench.mm = mm;
        bench.map(file, BASE, 0, 8);
        for cpu in CPUS {
            bench.touch(cpu, BASE, 8, AccessKind::Write);
        }
        bench.msync(BASE, 8);
        let (asid, _) = bench.sim.with(|m| m.global_asid(mm)).unwrap();
        taken.push(asid);
        bench.faults();
        for cpu in CPUS {
            bench.load_on(cpu, BASE);
        }
        assert!(bench.codes().is_empty(), "round {round}: the entries are there");
        bench.run(0, mm, Action::Exit);
        assert_eq!(bench.sim.with(|m| m.global_asid(mm)), None);
    }
    assert_eq!(taken[..4], [6, 7, 8, 9]);
    assert!(taken.iter().all(|asid| (6..10).contains(asid)), "{taken:?}");
    let resets = taken.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(resets >= 1, "{taken:?}");
}

/// One operation of a random program.
#[derive(Clone, Debug)]
enum Op {
    Touch(u16, u64, AccessKind),
    Msync(u64, u64),
    Unmap(u64, u64),
    Protect(u64, u64, bool),
    DontNeed(u64, u64),
    Sleep(u16),
    Leave(u16),
}

const PAGES: u64 = 64;

fn op() -> impl Strategy<Value = Op> {
    let range = || (0..PAGES, 1..50_u64).prop_map(|(at, len)| (at, len.min(PAGES - at)));
    let kind = prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write)];
    prop_oneof![
        12 => (0..5_u16, 0..PAGES, kind).prop_map(|(cpu, page, kind)| Op::Touch(cpu, page, kind)),
        3 => range().prop_map(|(at, len)| Op::Msync(at, len)),
        1 => range().prop_map(|(at, len)| Op::Unmap(at, len)),
        2 => (range(), any::<bool>()).prop_map(|((at, len), write)| Op::Protect(at, len, write)),
        2 => range().prop_map(|(at, len)| Op::DontNeed(at, len)),
        1 => (0..5_u16).prop_map(Op::Sleep),
        1 => (0..5_u16).prop_map(Op::Leave),
    ]
}

/// The faults that changed something or failed, and the entries at the end. Spurious faults may differ: a full flush takes
/// stale read-only copies along that INVLPGB leaves.
fn outcome(machine: &[&str], ops: &[Op]) -> (Vec<String>, Vec<u64>, u64) {
    let mut bench = bench(NEW, machine, &["tree.flush_ceiling_pages=8"]);
    bench.mapped(PAGES);
    for cpu in CPUS {
        bench.touch(cpu, BASE, PAGES, AccessKind::Write);
    }
    bench.msync(BASE, 1);
    let other = bench.sim.with(|m| m.new_mm());
    for (line, op) in ops.iter().enumerate() {
        let range = |at: &u64, len: &u64| (BASE + at * PAGE, len * PAGE);
        let (cpu, action) = match op {
            Op::Touch(cpu, page, kind) => (*cpu, access(BASE + page * PAGE, *kind)),
            Op::Msync(at, len) => {
                let (start, len) = range(at, len);
                (0, Action::Msync { start, len })
            }
            Op::Unmap(at, len) => {
                let (start, len) = range(at, len);
                (1, Action::Unmap { start, len })
            }
            Op::Protect(at, len, write) => {
                let (start, len) = range(at, len);
                (2, Action::Protect { start, len, read: true, write: *write })
            }
            Op::DontNeed(at, len) => {
                let (start, len) = range(at, len);
                (3, Action::Advise { start, len, advice: daxsim_sim::kernel::Advice::DontNeed })
            }
            Op::Sleep(cpu) => {
                bench.sim.sleep(CpuId(*cpu));
                continue;
            }
            Op::Leave(cpu) => {
                bench.sim.place(CpuId(*cpu), other).unwrap();
                continue;
            }
        };
        let mut step = step(cpu, bench.mm, action);
        step.line = line as u64;
        bench.sim.step(step).unwrap();
    }
    let faults = bench.faults().into_iter().filter(|f| f.kind != FaultKind::Spurious);
    let faults =
        faults.map(|f| format!("{} {:?} {} {:?} {:?}", f.line, f.address, f.error_code.0, f.kind, f.new));
    let entries: Vec<u64> = (0..PAGES).map(|page| bench.pte(BASE + page * PAGE).0).collect();
    for cpu in 0..5 {
        for page in 0..PAGES {
            let va = VirtAddr(BASE + page * PAGE);
            if let Some(cached) = bench.sim.with(|m| m.cached_translation(CpuId(cpu), bench.mm, va)) {
                let entry = bench.pte(va.0);
                assert!(entry.is_present() && entry.pfn() == cached.pfn, "a stale copy of {va:?}: {ops:?}");
                assert!(entry.is_writable() || !cached.writable, "a copy of {va:?} that writes: {ops:?}");
                assert!(entry.hw_dirty() || !cached.dirty, "a dirty copy of {va:?}: {ops:?}");
            }
        }
    }
    (faults.collect(), entries, bench.measured(|m| m.shootdowns.invlpgb))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_find_the_same_entries_and_faults_as_with_interrupts(ops in prop::collection::vec(op(), 1..60)) {
        let (ipi, broadcast) = (outcome(&[], &ops), outcome(&["mmu.invlpgb_pages=8"], &ops));
        prop_assert_eq!(ipi.0, broadcast.0);
        prop_assert_eq!(ipi.1, broadcast.1);
        prop_assert!(ipi.2 == 0 && broadcast.2 > 0);
    }
}

#[test]
fn flushing_the_same_pages_leaves_the_same_copies_as_interrupts_do() {
    let copies = |machine: &[&str]| {
        let mut bench = assigned(32, machine, &[]);
        for cpu in CPUS {
            bench.touch(cpu, BASE, 32, AccessKind::Write);
        }
        bench.run(0, bench.mm, Action::Msync { start: BASE + 3 * PAGE, len: 5 * PAGE });
        let mm = bench.mm;
        let cached = |cpu, page: u64| {
            let found =
                bench.sim.with(|m| m.cached_translation(CpuId(cpu), mm, VirtAddr(BASE + page * PAGE)));
            found.map(|e| (e.pfn, e.writable, e.dirty))
        };
        CPUS.map(|cpu| (0..32).map(|page| cached(cpu, page)).collect::<Vec<_>>())
    };
    let ipi = copies(&[]);
    assert!(ipi[1][3].is_none() && ipi[1][8].is_some());
    assert_eq!(ipi, copies(&["mmu.invlpgb_pages=8"]));
}

#[test]
fn threads_that_race_end_with_no_stale_copy() {
    for seed in 0..12 {
        let mut bench = bench(NEW, &["mmu.invlpgb_pages=8", "cost.tlbsync=20 us"], &[]);
        bench.mapped(16);
        bench.sim.set_seed(seed);
        let mm = bench.mm;
        let storer =
            |cpu| (0..20).map(move |n| step(cpu, mm, touch(BASE + n % 8 * PAGE, 8, AccessKind::Write)));
        let mut threads: Vec<Vec<_>> = CPUS.iter().map(|cpu| storer(*cpu).collect()).collect();
        threads[0] = (0..20).map(|_| step(0, mm, Action::Msync { start: BASE, len: 16 * PAGE })).collect();
        bench.sim.parallel(threads).unwrap();
        for (cpu, page) in CPUS.into_iter().flat_map(|cpu| (0..16).map(move |page| (cpu, page))) {
            let va = VirtAddr(BASE + page * PAGE);
            if let Some(cached) = bench.sim.with(|m| m.cached_translation(CpuId(cpu), bench.mm, va)) {
                assert!(bench.pte(va.0).is_writable() || !cached.writable, "seed {seed}, CPU {cpu}, {va:?}");
            }
        }
    }
}

#[test]
fn the_machine_that_has_it_needs_no_setting() {
    for (kernel, uses) in [(NEW, true), (OLD, false)] {
        let mut bench = Bench::with("zen3-milan", kernel, FileSystem::Xfs, &[], &[]);
        bench.mapped(8);
        for _ in 0..3 {
            for cpu in CPUS {
                bench.store_on(cpu, BASE);
            }
            bench.msync(BASE, 8);
        }
        assert_eq!(invlpgbs(&bench).0 > 0, uses, "{kernel}");
    }
}
