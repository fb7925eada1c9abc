//! `update_mmu_cache`: where each variant calls it, and what each policy makes of it.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, access, everywhere, per_kernel, shared_map};
use daxsim_sim::kernel::{Advice, MapRequest, NewFile};
use daxsim_sim::program::{Action, StepOutcome};
use daxsim_types::{AccessKind, FileSystem, Time};

const POLICIES: [&str; 4] = ["noop", "preload", "preload-l2", "local-invalidate"];

fn bench(kernel: &str, fs: FileSystem, policy: &str, of_kernel: &[&str]) -> Bench {
    let policy = format!("arch.update_mmu_cache={policy}");
    let machine = "skylake-sp-optane";
    Bench::with(machine, kernel, fs, &["cpu.count=4"], &[&[policy.as_str()], of_kernel].concat())
}

fn calls(bench: &Bench) -> u64 {
    bench.measured(|m| m.update_mmu_cache_calls)
}

fn preloads(bench: &Bench) -> u64 {
    bench.measured(|m| m.tlb_preloads)
}

fn walks(bench: &Bench) -> u64 {
    bench.measured(|m| m.walks)
}

/// What `act` adds to a count.
fn added(bench: &mut Bench, count: fn(&Bench) -> u64, act: impl FnOnce(&mut Bench) -> StepOutcome) -> u64 {
    let before = count(bench);
    act(bench);
    count(bench) - before
}

/// A store to an address mapped read-only on the same CPU.
fn upgrade(bench: &mut Bench, va: u64) -> u64 {
    bench.load(va);
    added(bench, calls, |b| b.store(va))
}

fn private(file: daxsim_sim::kernel::FileId, start: u64) -> MapRequest {
    MapRequest { shared: false, ..shared_map(file, start, 0, 4) }
}

#[test]
fn the_hook_is_called_where_each_variant_calls_it() {
    everywhere(|kernel, fs| {
        let of = |old, v1, new| per_kernel(kernel, old, v1, new);
        let mut small = Bench::new(kernel, fs);
        small.mapped(8);
        assert_eq!(added(&mut small, calls, |b| b.load(BASE)), of(1, 0, 0), "{kernel} {fs}: fresh read");
        // The first posting needs a second fault, an upgrade.
        assert_eq!(added(&mut small, calls, |b| b.store(BASE + PAGE)), of(1, 1, 0), "fresh write");
        assert_eq!(upgrade(&mut small, BASE + 2 * PAGE), 1, "{kernel} {fs}: upgrade");
        let mut hole = Bench::new(kernel, fs);
        hole.mapped_as(8, NewFile::Sparse);
        assert_eq!(added(&mut hole, calls, |b| b.load(BASE)), of(1, 0, 0), "{kernel} {fs}: zero page");
        let mut huge = Bench::new(kernel, fs);
        huge.mapped(1024);
        assert_eq!(added(&mut huge, calls, |b| b.load(BASE)), 1, "{kernel} {fs}: fresh PMD");
        assert_eq!(upgrade(&mut huge, BASE), 1, "{kernel} {fs}: upgrade of a PMD");
        let mut hole = Bench::new(kernel, fs);
        hole.mapped_as(512, NewFile::Sparse);
        assert_eq!(added(&mut hole, calls, |b| b.load(BASE)), of(0, 0, 1), "{kernel} {fs}: huge hole");
    });
}

#[test]
fn every_variant_calls_it_for_flags_reuse_and_copies() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        bench.run(0, bench.mm, Action::Map(private(file, BASE)));
        assert_eq!(added(&mut bench, calls, |b| b.store(BASE)), 1, "{kernel} {fs}: finish_fault");
        bench.load(BASE + PAGE);
        assert_eq!(added(&mut bench, calls, |b| b.store(BASE + PAGE)), 1, "{kernel} {fs}: wp_page_copy");
        let child = bench.sim.with(|m| m.new_mm());
        bench.run(0, bench.mm, Action::Fork(child));
        bench.run(0, child, Action::Exit);
        assert_eq!(added(&mut bench, calls, |b| b.store(BASE)), 1, "{kernel} {fs}: wp_page_reuse");
    });
    let machine = "skylake-sp-optane";
    for kernel in KERNELS {
        let mut bench = Bench::with(machine, kernel, FileSystem::Ext4, &["mmu.dirty=software"], &[]);
        bench.mapped(4);
        // The upgrade, and in the counted variants the change of flags after it.
        assert_eq!(upgrade(&mut bench, BASE), per_kernel(kernel, 1, 2, 2), "{kernel}");
    }
}

#[test]
fn a_preload_spares_the_walk_after_an_insert_where_the_variant_calls_the_hook() {
    everywhere(|kernel, fs| {
        let counts = |policy: &str| {
            let mut bench = bench(kernel, fs, policy, &[]);
            bench.mapped(8);
            bench.load(BASE);
            assert_eq!(bench.codes(), [0x4]);
            (walks(&bench), preloads(&bench))
        };
        // One walk finds nothing and one the new entry.
        assert_eq!(counts("noop"), (2, 0), "{kernel} {fs}");
        assert_eq!(counts("preload"), per_kernel(kernel, (1, 1), (2, 0), (2, 0)), "{kernel} {fs}");
        assert_eq!(counts("preload-l2"), per_kernel(kernel, (1, 1), (2, 0), (2, 0)), "{kernel} {fs}");
    });
}

#[test]
fn a_huge_entry_is_preloaded_in_every_variant_and_serves_all_its_pages() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, "preload", &[]);
        bench.mapped(512);
        bench.load(BASE + 5 * PAGE);
        assert_eq!((walks(&bench), preloads(&bench)), (1, 1), "{kernel} {fs}");
        bench.load(BASE + 300 * PAGE);
        assert_eq!(walks(&bench), 1, "{kernel} {fs}: the same entry");
        // Every variant makes the upgraded PMD dirty, so not even the store walks.
        bench.store(BASE);
        assert_eq!((walks(&bench), preloads(&bench)), (1, 2), "{kernel} {fs}");
        assert_eq!(bench.codes(), [0x4, 0x7]);
    });
}

#[test]
fn a_preload_takes_the_dirty_bit_from_the_entry() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, "preload", &[]);
        bench.mapped(8);
        bench.load(BASE);
        let more = added(&mut bench, walks, |b| b.store(BASE));
        // The store is refused by the TLB. Where the upgrade left D clear, the next try walks to set it.
        assert_eq!(more, per_kernel(kernel, 0, 1, 1), "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.dirty_assists), per_kernel(kernel, 0, 1, 1));
        assert!(bench.pte(BASE).hw_dirty());
    });
}

#[test]
fn an_entry_without_a_is_not_preloaded() {
    let no_a = ["arch.prot_accessed=false"];
    for policy in ["preload", "preload-l2"] {
        let mut bench = bench(OLD, FileSystem::Ext4, policy, &no_a);
        bench.mapped(8);
        bench.load(BASE);
        assert_eq!((calls(&bench), preloads(&bench), walks(&bench)), (1, 0, 2), "{policy}");
        assert_eq!(bench.measured(|m| m.accessed_assists), 1, "{policy}: the walk sets A");
        bench.store(BASE + PAGE);
        assert_eq!(preloads(&bench), 1, "{policy}: made young by the insert");
    }
}

#[test]
fn a_preload_into_the_second_level_misses_the_first_once() {
    let lookups = |policy: &str| {
        let mut bench = bench(OLD, FileSystem::Xfs, policy, &[]);
        bench.mapped(8);
        bench.load(BASE);
        bench.load(BASE + 8);
        let of = |name: &str, all: &[(&'static str, daxsim_sim::mmu::tlb::TlbStats)]| {
            let (_, stats) = all.iter().find(|(n, _)| *n == name).unwrap();
            (stats.hits, stats.misses)
        };
        let translation = bench.finish().translation;
        (of("dtlb", &translation), of("stlb", &translation))
    };
    // The first access misses both levels and faults; its second try is what differs.
    assert_eq!(lookups("noop"), ((1, 2), (0, 2)));
    assert_eq!(lookups("preload"), ((2, 1), (0, 1)));
    assert_eq!(lookups("preload-l2"), ((1, 2), (1, 1)));
}

/// A page that the CPU has cached read-only and MADV_POPULATE_WRITE upgrades, which is no #PF and so drops nothing.
fn populated_for_writing(kernel: &str, policy: &str) -> Bench {
    let mut bench = bench(kernel, FileSystem::Ext4, policy, &[]);
    bench.mapped(4);
    bench.load(BASE);
    let advice = Advice::Populate { write: true };
    bench.run(0, bench.mm, Action::Advise { start: BASE, len: PAGE, advice });
    bench.faults();
    bench
}

#[test]
fn a_local_invalidation_adds_a_walk_and_spares_a_spurious_fault() {
    for kernel in KERNELS {
        let mut quiet = populated_for_writing(kernel, "noop");
        assert_eq!(added(&mut quiet, walks, |b| b.load(BASE)), 0, "{kernel}: the stale copy serves a load");
        quiet.store(BASE);
        assert_eq!(quiet.codes(), [0x7], "{kernel}: and refuses a store");

        let mut thorough = populated_for_writing(kernel, "local-invalidate");
        let invalidations = per_kernel(kernel, 2, 1, 1);
        assert_eq!(thorough.measured(|m| m.local_invalidations), invalidations, "{kernel}");
        assert_eq!(added(&mut thorough, walks, |b| b.load(BASE)), 1, "{kernel}");
        thorough.store(BASE);
        assert!(thorough.codes().is_empty(), "{kernel}");
        assert_eq!(thorough.flush_requests(), 0, "{kernel}: nobody else is asked");
    }
}

#[test]
fn a_preload_replaces_a_stale_copy() {
    for policy in ["preload", "preload-l2"] {
        let mut bench = populated_for_writing(OLD, policy);
        let more = added(&mut bench, walks, |b| b.store(BASE));
        assert_eq!((more, bench.codes()), (0, vec![]), "{policy}: writable and dirty at once");
    }
}

#[test]
fn only_the_executing_cpu_is_preloaded() {
    let mut bench = bench(OLD, FileSystem::Ext4, "preload", &[]);
    bench.mapped(4);
    bench.load_on(1, BASE + PAGE);
    bench.load_on(0, BASE);
    let before = walks(&bench);
    bench.load_on(0, BASE);
    assert_eq!(walks(&bench), before);
    bench.load_on(1, BASE);
    assert_eq!(walks(&bench), before + 1);
    assert_eq!(bench.codes(), [0x4, 0x4]);
}

#[test]
fn a_preload_and_an_invalidation_cost_what_the_machine_says() {
    let end = |policy: &str, cost: &str| {
        let hook = format!("arch.update_mmu_cache={policy}");
        let mut bench = Bench::with("skylake-sp-optane", OLD, FileSystem::Ext4, &[cost], &[&hook]);
        bench.mapped(4);
        bench.load(BASE);
        bench.finish().end
    };
    for (policy, cost) in [("preload", "cost.tlb_write"), ("local-invalidate", "cost.invlpg")] {
        let (cheap, dear) = (end(policy, &format!("{cost}=0 ns")), end(policy, &format!("{cost}=1 us")));
        assert_eq!(dear - cheap, Time(1_000_000), "{policy}: one in all");
    }
}

#[test]
fn an_invalidation_is_time_of_flushing() {
    let flushing = |policy: &str| {
        let mut bench = bench(OLD, FileSystem::Ext4, policy, &[]);
        bench.mapped(4);
        bench.load(BASE);
        bench.finish().cpus[0][daxsim_sim::measure::Part::Flush]
    };
    let invlpg = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().cost.invlpg;
    assert_eq!(POLICIES.map(flushing), [Time::ZERO, Time::ZERO, Time::ZERO, invlpg]);
}

#[test]
fn no_policy_changes_what_faults_or_what_the_tables_hold() {
    for kernel in KERNELS {
        let run = |policy: &str| {
            let mut bench = bench(kernel, FileSystem::Xfs, policy, &[]);
            bench.mapped(1024);
            bench.run(1, bench.mm, access(BASE, AccessKind::Read));
            for va in [BASE, BASE + HUGE, BASE + PAGE] {
                bench.load(va);
                bench.store(va);
            }
            bench.msync(BASE, 512);
            bench.store(BASE);
            (bench.codes(), bench.pmd(BASE), bench.pmd(BASE + HUGE))
        };
        let [noop, others @ ..] = POLICIES.map(run);
        for other in others {
            assert_eq!(other, noop, "{kernel}");
        }
    }
}

#[test]
fn a_preload_policy_loses_its_benefit_for_a_fresh_write_with_the_merge() {
    everywhere(|kernel, fs| {
        let fresh = |policy: &str| {
            let mut bench = bench(kernel, fs, policy, &[]);
            bench.mapped(4);
            bench.store(BASE);
            let walking = bench.measured(|m| m.walk_time);
            (walking, bench.finish().end)
        };
        let (noop, preload) = (fresh("noop"), fresh("preload"));
        // The first posting calls the hook too, but for the upgrade of its second fault, whose D is still to be set.
        match kernel {
            OLD => assert!(preload.0 < noop.0, "{fs}: no second walk"),
            NEW => assert_eq!(preload, noop, "{fs}: the hook is gone"),
            _ => assert_eq!(preload.0, noop.0, "{fs}: the walk that sets D remains"),
        }
    });
}
