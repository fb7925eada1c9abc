//! The window of a core on a whole machine: what overlaps, what waits, and what that leaves alone.

mod common;

use common::{BASE, Bench, NEW, PAGE, step, touch};
use daxsim_sim::measure::{Part, Parts};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::{Access, Accesses, Action};
use daxsim_types::{AccessKind, CpuId, FileSystem, Time, VirtAddr};

/// A load that misses every cache, on `skylake-sp-optane` with memory of one latency: 35.035 ns to the L3's miss and 46.365 ns of
/// DRAM.
const MISS_PS: u64 = 81_400;
const CYCLE_PS: u64 = 455;
/// One page in each line of page-table entries, so that no walk finds its entry by another one's.
const STRIDE: u64 = 8 * PAGE;

fn bench(overrides: &[&str]) -> Bench {
    let mut all = vec!["cpu.count=4", "dram.timing=flat"];
    all.extend(overrides);
    let bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &all, &[]);
    bench.sim.with(|m| m.map_anonymous(bench.mm, BASE, 4096));
    bench
}

fn parts(bench: &Bench) -> Parts {
    bench.sim.with(|m| m.cpu_parts(CpuId(0)))
}

/// What a run takes on CPU 0, by part.
fn taken(bench: &mut Bench, accesses: Accesses) -> Parts {
    let before = parts(bench);
    bench.run(0, bench.mm, Action::Access(accesses));
    parts(bench).since(&before)
}

fn run(accesses: Vec<Access>) -> Accesses {
    Accesses::Stream(Box::new(accesses.into_iter()))
}

/// A line of its own in every page, so that caches hold all of them.
fn line(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE + page % 64 * 64)
}

fn other_line(page: u64) -> VirtAddr {
    VirtAddr(line(page).0 ^ (64 * 17))
}

/// Loads of lines that nobody loaded yet, of pages that the TLBs know.
fn cold_lines(bench: &mut Bench, pages: u64) -> Vec<VirtAddr> {
    let warm = (0..pages).map(|page| Access::new(line(page), AccessKind::Read)).collect::<Vec<_>>();
    bench.run(0, bench.mm, Action::Access(run(warm.clone())));
    bench.run(0, bench.mm, Action::Access(run(warm)));
    (0..pages).map(other_line).collect()
}

const WINDOW: &[&str] = &["cpu.window=224", "cpu.fill_buffers=10"];
/// A core that stalls on every access.
const STALLING: &[&str] = &["cpu.window=1"];

#[test]
fn a_chase_costs_the_same_with_a_window_as_without() {
    let chase = |overrides: &[&str]| {
        let mut bench = bench(overrides);
        let lines = cold_lines(&mut bench, 32);
        taken(&mut bench, Accesses::chase(lines.into_iter())).total().0
    };
    let stalling = chase(STALLING);
    assert_eq!(stalling, 32 * MISS_PS);
    assert_eq!(chase(WINDOW), stalling);
}

#[test]
fn independent_misses_overlap_as_far_as_the_fill_buffers_go() {
    for buffers in [1, 4, 10] {
        let mut bench = bench(&["cpu.window=224", &format!("cpu.fill_buffers={buffers}")]);
        let lines = cold_lines(&mut bench, 40);
        let loads = lines.into_iter().map(|va| Access::new(va, AccessKind::Read)).collect();
        let taken = taken(&mut bench, run(loads)).total().0;
        let rounds = 40u64.div_ceil(buffers) * MISS_PS;
        // Six channels, 3 ns a line: what a round waits for them.
        assert!((rounds..rounds + rounds / 5).contains(&taken), "{buffers} buffers: {taken} ps, {rounds} ps");
    }
}

#[test]
fn hits_take_their_share_of_the_load_ports_and_not_their_latency() {
    let hits = |overrides: &[&str]| {
        let mut bench = bench(overrides);
        bench.run(0, bench.mm, touch(BASE, 1, AccessKind::Read));
        let accesses =
            Accesses::Stride { start: VirtAddr(BASE), count: 1000, stride: 0, kind: AccessKind::Read };
        taken(&mut bench, accesses)
    };
    let stalling = hits(STALLING);
    assert_eq!(stalling.total().0, 1000 * 4 * CYCLE_PS);
    let window = hits(&["cpu.load_interval=1 cycle"]);
    assert_eq!(window.total().0, 999 * CYCLE_PS + 4 * CYCLE_PS);
    assert_eq!(window[Part::User], window.total());
}

/// What loads of 64 pages that no TLB knows take, and how long their walkers are busy for it.
fn walking(overrides: &[&str]) -> (Parts, u64) {
    let mut bench = bench(overrides);
    bench.load(BASE + 4000 * PAGE);
    let before = bench.measured(|m| (m.walks, m.walk_time.0));
    let accesses =
        Accesses::Stride { start: VirtAddr(BASE), count: 64, stride: STRIDE, kind: AccessKind::Read };
    let taken = taken(&mut bench, accesses);
    let after = bench.measured(|m| (m.walks, m.walk_time.0));
    assert_eq!(after.0 - before.0, 64);
    (taken, after.1 - before.1)
}

#[test]
fn more_walkers_wait_less() {
    let mut last = u64::MAX;
    for walkers in [1, 2, 4] {
        let of = format!("mmu.walkers={walkers}");
        let (taken, busy) = walking(&["cpu.window=224", "cpu.fill_buffers=64", &of]);
        let (taken, least) = (taken.total().0, busy / walkers);
        // The walkers are the only limit: they are busy to the end, and then come the last data.
        assert!(taken >= least && taken < least + 2 * MISS_PS, "{walkers} walkers: {taken} ps, {least} ps");
        assert!(taken < last);
        last = taken;
    }
}

#[test]
fn accesses_to_a_page_under_way_share_its_walk() {
    let mut bench = bench(WINDOW);
    let loads = (0..32).map(|line| Access::new(VirtAddr(BASE + 64 * line), AccessKind::Read)).collect();
    taken(&mut bench, run(loads));
    assert_eq!(bench.measured(|m| (m.walks, m.walk_queue.merged)), (1, 31));
}

#[test]
fn walks_are_counted_by_walker_and_so_is_what_they_waited_for_one() {
    let queue = |walkers: u64| {
        let of = format!("mmu.walkers={walkers}");
        let mut bench = bench(&["cpu.window=224", "cpu.fill_buffers=64", &of]);
        let accesses =
            Accesses::Stride { start: VirtAddr(BASE), count: 64, stride: STRIDE, kind: AccessKind::Read };
        taken(&mut bench, accesses);
        bench.measured(|m| (m.walks, m.walk_queue.clone()))
    };
    let (walks, one) = queue(1);
    assert_eq!((walks, one.walks_by_walker(walks)), (64, vec![64]));
    assert_eq!(one.queued, 63, "all but the first find the walker busy");
    let (walks, four) = queue(4);
    let by_walker = four.walks_by_walker(walks);
    assert_eq!((by_walker.len(), by_walker.iter().sum::<u64>()), (4, 64));
    assert!(by_walker.iter().all(|n| *n > 0));
    // All come at once: the last of n waits for n / walkers walks.
    assert!(
        four.queued >= 56 && four.time.0 < one.time.0 / 2 && four.time.0 > one.time.0 / 8,
        "{four:?} {one:?}"
    );
    let (walks, many) = queue(64);
    assert_eq!((walks, many.queued, many.time), (64, 0, Time::ZERO));
}

#[test]
fn a_core_that_stalls_has_one_walker_at_work() {
    let mut bench = bench(&["cpu.window=1", "mmu.walkers=4"]);
    taken(
        &mut bench,
        Accesses::Stride { start: VirtAddr(BASE), count: 9, stride: STRIDE, kind: AccessKind::Read },
    );
    let (walks, queue) = bench.measured(|m| (m.walks, m.walk_queue.clone()));
    assert_eq!((queue.walks_by_walker(walks), queue.queued), (vec![9], 0));
}

#[test]
fn a_window_of_one_stalls_on_everything() {
    let (stalling, busy) = walking(STALLING);
    assert_eq!(walking(&["cpu.window=1", "mmu.walkers=7", "cpu.store_buffer=1"]), (stalling, busy));
    assert_eq!(stalling[Part::Walk].0, busy);
    assert_eq!(stalling[Part::User].0, 64 * 4 * CYCLE_PS);
}

#[test]
fn faults_are_the_same_with_a_window_and_the_parts_sum() {
    let faults = |overrides: &[&str]| {
        let mut all = vec!["cpu.count=4"];
        all.extend(overrides);
        let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &all, &[]);
        bench.mapped(64);
        let accesses = (0..200u64).map(|n| {
            let kind = if n % 3 == 0 { AccessKind::Write } else { AccessKind::Read };
            let va = VirtAddr(BASE + n * 7 % 64 * PAGE + n % 64 * 64);
            Access { va, kind, dependent: n % 5 == 4, work: 0 }
        });
        bench.run(0, bench.mm, Action::Access(run(accesses.collect())));
        let made = bench.measured(|m| m.reads + m.writes);
        let faults: Vec<_> = bench.faults().iter().map(|f| (f.address, f.error_code, f.ret)).collect();
        let results = bench.finish();
        for cpu in &results.cpus {
            assert_eq!(cpu.total(), results.end);
        }
        (faults, made)
    };
    let stalling = faults(STALLING);
    assert_eq!(stalling.1, 200);
    assert_eq!(faults(WINDOW), stalling);
    assert_eq!(faults(&["cpu.window=3", "cpu.store_buffer=1", "mmu.walkers=1"]), stalling);
}

#[test]
fn racing_threads_give_the_same_every_time() {
    let race = || {
        let mut bench = bench(WINDOW);
        let thread = |cpu: u16| {
            let accesses = (0..2000u64).map(move |n| {
                let kind = if n % 4 == 0 { AccessKind::Write } else { AccessKind::Read };
                let va = VirtAddr(BASE + (n * 37 + u64::from(cpu) * 11) % 4096 * PAGE + n % 64 * 64);
                Access { va, kind, dependent: n % 7 == 0, work: 0 }
            });
            vec![step(cpu, bench.mm, Action::Access(run(accesses.collect())))]
        };
        let threads = (0..4).map(thread).collect();
        bench.race(threads);
        let results = bench.finish();
        (results.cpus.iter().map(Parts::total).collect::<Vec<_>>(), results.cpus, results.end)
    };
    let (totals, parts, end) = race();
    assert!(totals.iter().all(|total| *total == end));
    let again = race();
    assert_eq!((again.1, again.2), (parts, end));
}

#[test]
fn a_script_says_which_loads_need_the_one_before() {
    use std::collections::BTreeMap;

    let time = |line: &str| {
        let head = "0 file 0 f0 1m fill\n0 map 0 0 0 1m r shared 0x100000000000\n";
        let warm = "0 ldr 0 0 256k 4096\n0 ldr 0 0 256k 4096\n";
        let script = format!("{head}{warm}{line}\n");
        let script = daxsim_traces::script::Script::parse(&script, "w.script".as_ref()).unwrap();
        let machine = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = daxsim_configs::load_kernel(NEW, &[]).unwrap();
        let mut sim = daxsim_sim::Simulation::new(machine, kernel, FileSystem::Ext4, false);
        daxsim_sim::program::script::run(&mut sim, &script, FileSystem::Ext4, &BTreeMap::new()).unwrap();
        sim.finish().end.0
    };
    let nothing = time("0 nop");
    let [alone, chase, list] = [
        "0 ldr 0 64 256k 4096",
        "0 ldr 0 64 256k 4096 chase",
        &format!("0 acc 0 r64{}", (1..64).map(|n| format!(" dr{}", n * 4096 + 64)).collect::<String>()),
    ]
    .map(|line| time(line) - nothing);
    assert_eq!(chase, list);
    // 64 lines from the buffers of the DIMMs, of pages that the TLBs know: one after another, or as many at once as there are fill
    // buffers.
    let all = 64 * 127_000;
    assert!((all..=all + all / 20).contains(&chase), "{chase} ps");
    assert!((all / 12..all / 12 * 3 / 2).contains(&alone), "{alone} ps, one after another {chase} ps");
}

#[test]
fn walks_ahead_of_a_fault_set_a_and_leave_d_to_the_store() {
    let counts = |run_ahead: &str| {
        let overrides = ["cpu.count=4", "cpu.window=224", "mmu.walkers=4", run_ahead];
        let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &overrides, &[]);
        bench.sim.with(|m| m.map_anonymous(bench.mm, BASE, 4));
        bench.store(BASE);
        for page in 1..4 {
            let old = bench.pte(BASE + page * PAGE).mkold();
            bench.inject(BASE + page * PAGE, 0, Entry(old.0 & !Entry::D));
        }
        // A miss of the caches, a page that nobody mapped, stores to pages that nobody used.
        let before = bench.measured(|m| (m.accessed_assists, m.dirty_assists));
        let stores = (1..4).map(|page| Access::new(VirtAddr(BASE + page * PAGE), AccessKind::Write));
        let missing = Access::new(VirtAddr(BASE + (1 << 30)), AccessKind::Read);
        let first = Access::new(VirtAddr(BASE + 0x940), AccessKind::Read);
        taken(&mut bench, run([first, missing].into_iter().chain(stores).collect()));
        let after = bench.measured(|m| (m.accessed_assists, m.dirty_assists, m.walk_counts.speculative));
        assert!((1..4).all(|page| bench.pte(BASE + page * PAGE).hw_dirty()));
        assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
        (after.0 - before.0, after.1 - before.1, after.2)
    };
    // The walk of a store sets both bits at once, and counts as setting D.
    assert_eq!(counts("cpu.run_ahead=false"), (0, 3, 0));
    assert_eq!(counts("cpu.run_ahead=true"), (3, 3, 3));
}
