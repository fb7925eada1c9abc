//! The counts that ChampSim itself gave for the published streams, and those of a model of its page walker, on the machine
//! `champsim`.
//!
//! ChampSim runs serial streams here, each access after the one before; the program's one page of code is walked for first, and
//! takes a way of the STLB from then on. With stores (`mixed` as it is) its out-of-order core merges misses of one page in
//! flight and starts some walks in another order, so that its reads of entries differ by 1 in 3,000; `mixed-ro`, the
//! same stream with loads only, has the exact count.

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::tlb::TlbStats;
use daxsim_sim::program::{Access, Accesses, Action, Step};
use daxsim_traces::generate::{BASE, Generator, Pattern};
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, VirtAddr};
use serde_json::Value;

/// ChampSim's programs have their code there.
const CODE: VirtAddr = VirtAddr(0x40_0000);

/// What ChampSim counts, too.
struct Counts {
    dtlb: TlbStats,
    stlb: TlbStats,
    itlb: TlbStats,
    /// Entries read, by level from the page tables up.
    entries: [u64; 5],
}

/// Runs the first `n` accesses of a stream, stores among them or not.
fn run(pattern: Pattern, n: usize, stores: bool) -> Counts {
    let machine = load_machine("champsim", &[]).unwrap();
    let kernel = load_kernel("linux-7.2", &[]).unwrap();
    let mut sim = Simulation::new(machine, kernel, FileSystem::Ext4, false);
    let bytes = if pattern == Pattern::Zipf { 4 << 30 } else { 1 << 30 };
    let mm = sim.with(|m| {
        let mm = m.new_mm();
        m.map_populated(mm, VirtAddr(BASE), bytes, PageSize::Size4K).unwrap();
        m.map_populated(mm, CODE, PageSize::Size4K.bytes(), PageSize::Size4K).unwrap();
        let code = m.entry(mm, CODE, 0);
        assert!(m.inject_entry(mm, CODE, 0, Entry(code.0 & !Entry::NX)));
        mm
    });
    sim.place(CpuId(0), mm).unwrap();
    let kind = move |write| if write && stores { AccessKind::Write } else { AccessKind::Read };
    let stream = Generator::new(pattern, 42, BASE).take(n);
    let stream =
        stream.map(move |one| Access { va: one.va, kind: kind(one.write), dependent: true, work: 0 });
    for accesses in [Accesses::List(vec![(CODE, AccessKind::Fetch)]), Accesses::Stream(Box::new(stream))] {
        let action = Action::Access(accesses);
        sim.step(Step { line: 1, thread: 0, cpu: CpuId(0), mm: Some(mm), action }).unwrap();
    }
    let results = sim.finish();
    assert_eq!(results.measurements.faults.total, 0);
    let stats = |name| results.translation.iter().find(|(found, _)| *found == name).unwrap().1;
    let entries = results.measurements.walk_counts.entries;
    Counts { dtlb: stats("dtlb"), stlb: stats("stlb"), itlb: stats("itlb"), entries }
}

fn golden() -> Value {
    serde_json::from_str(include_str!("data/tlb-golden.json")).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn pattern(name: &str) -> Pattern {
    match name {
        "chase" => Pattern::Chase,
        "zipf" => Pattern::Zipf,
        "seq" => Pattern::Seq,
        "mixed" | "mixed-ro" => Pattern::Mixed,
        other => panic!("no stream {other}"),
    }
}

/// The model of ChampSim's walker.
fn check_model(name: &str, n: usize) {
    let want = &golden()["champsim_psc_model"][n.to_string()][name];
    let got = run(pattern(name), n, true);
    assert_eq!(got.dtlb.misses, number(&want["dtlb_miss"]), "{name}: DTLB");
    assert_eq!(got.stlb.lookups, number(&want["stlb_access"]), "{name}: STLB lookups");
    assert_eq!(got.stlb.misses, number(&want["stlb_miss"]), "{name}: STLB misses");
    assert_eq!(got.entries.iter().sum::<u64>(), number(&want["pte_reads"]), "{name}: entries read");
    // A walk from a level reads an entry of it and of every level below.
    let [l4, l3, l2, l1] = [0, 1, 2, 3].map(|at| number(&want["walks_from_level_4_3_2_1"][at]));
    assert_eq!(got.entries[1..], [l4 + l3 + l2 + l1, l4 + l3 + l2, l4 + l3, l4], "{name}: by level");
}

/// What ChampSim printed.
fn check_measured(name: &str) {
    let want = &golden()["champsim_measured_500k"]["stats"][name];
    let n = 500_000;
    let got = run(pattern(name), n, name == "mixed");
    let misses = number(&want["DTLB"]["LOAD"]["miss"]) - number(&want["DTLB"]["LOAD"]["mshr_merge"]);
    assert_eq!(got.dtlb.misses, misses, "{name}: DTLB");
    let stlb = &want["STLB"]["LOAD"];
    assert_eq!([got.stlb.hits, got.stlb.misses], [&stlb["hit"], &stlb["miss"]].map(number), "{name}: STLB");
    let itlb = &want["ITLB"]["LOAD"];
    assert_eq!(got.itlb.misses, number(&itlb["miss"]) - number(&itlb["mshr_merge"]), "{name}: ITLB");
    let reads = &want["L1D"]["TRANSLATION"];
    let reads = number(&reads["hit"]) + number(&reads["miss"]);
    let ours: u64 = got.entries.iter().sum();
    if name == "mixed" {
        assert!(ours.abs_diff(reads) * 2000 < reads, "{ours} and {reads} entries read");
    } else {
        assert_eq!(ours, reads, "{name}: entries read");
    }
}

#[test]
fn the_model_of_its_walker_after_100_000_accesses() {
    for name in ["chase", "zipf", "seq", "mixed"] {
        check_model(name, 100_000);
    }
}

#[test]
fn the_model_of_its_walker_after_500_000_accesses() {
    for name in ["chase", "zipf", "seq", "mixed"] {
        check_model(name, 500_000);
    }
}

#[test]
fn what_champsim_counted_in_500_000_accesses() {
    for name in ["chase", "zipf", "seq", "mixed-ro", "mixed"] {
        check_measured(name);
    }
}
