//! A guest whose hypervisor maps its memory at the first touch.

mod common;

use common::{BASE, Bench, NEW, PAGE, step, touch};
use daxsim_sim::durability::Call;
use daxsim_sim::kernel::{FallocMode, NewFile};
use daxsim_sim::measure::{Part, Parts};
use daxsim_sim::program::Action;
use daxsim_types::AccessKind::{Read, Write};
use daxsim_types::{CpuId, FileSystem};

/// What an exit takes here.
const EXIT_PS: u64 = 3_000_000;

fn guest(of_machine: &[&str]) -> Bench {
    let mut machine = vec!["nested.exit=3 us"];
    machine.extend(of_machine);
    Bench::with("emr-guest", NEW, FileSystem::Xfs, &machine, &[])
}

fn exits(bench: &Bench) -> (u64, u64) {
    bench.measured(|m| (m.exits.count, m.exits.time.0))
}

fn parts(bench: &Bench, cpu: u16) -> Parts {
    bench.sim.with(|m| m.cpu_parts(CpuId(cpu)))
}

#[test]
fn each_host_page_exits_once_whatever_the_guest_maps_later() {
    let mut bench = guest(&[]);
    let file = bench.mapped(16);
    bench.touch(0, BASE, 16, Read);
    assert_eq!(exits(&bench), (16, 16 * EXIT_PS));
    assert_eq!(parts(&bench, 0)[Part::Exit].0, 16 * EXIT_PS);
    // Unmapped, mapped again, stored to: the guest faults, the host does not.
    bench.unmap(BASE, 16);
    bench.map(file, BASE, 0, 16);
    bench.touch(0, BASE, 16, Write);
    bench.touch(1, BASE, 16, Read);
    assert_eq!(exits(&bench).0, 16);
    assert_eq!(bench.faults().len(), 32, "an exit is no fault of the guest");
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
}

#[test]
fn a_hypervisor_that_has_mapped_everything_never_exits() {
    let run = |exit: &str| {
        let mut bench = Bench::with("emr-guest", NEW, FileSystem::Xfs, &[exit], &[]);
        bench.mapped(16);
        bench.touch(0, BASE, 16, Write);
        let faults: Vec<_> = bench.faults().iter().map(|f| (f.address, f.error_code, f.ret)).collect();
        (faults, bench.measured(|m| m.exits), parts(&bench, 0)[Part::Exit].0)
    };
    let (without, with) = (run("nested.exit=0 ns"), run("nested.exit=3 us"));
    assert_eq!(without.0, with.0, "the guest sees the same faults");
    assert_eq!((without.1.count, without.2), (0, 0));
    assert_eq!((with.1.count, with.2), (16, 16 * EXIT_PS));
}

#[test]
fn a_larger_host_page_exits_for_all_pages_in_it() {
    for (size, expected) in [("4K", 1024), ("2M", 2)] {
        let mut bench = guest(&[&format!("nested.page_size={size}")]);
        bench.mapped(1024);
        bench.touch(0, BASE, 1024, Read);
        assert_eq!(exits(&bench).0, expected, "{size}");
    }
}

#[test]
fn the_kernels_own_touches_exit_too() {
    // The pages of a hole are zeroed by the kernel before the program sees them.
    let mut bench = guest(&[]);
    bench.mapped_as(8, NewFile::Sparse);
    bench.touch(0, BASE, 8, Write);
    assert_eq!(exits(&bench).0, 8);
    let in_faults = bench.measured(|m| {
        let of = |(_, l): (_, &daxsim_sim::measure::KindLatency)| l.parts[Part::Exit].0;
        m.latencies.iter().map(of).sum::<u64>()
    });
    assert_eq!(in_faults, 8 * EXIT_PS, "they are part of what the faults cost");
}

#[test]
fn a_window_drains_for_an_exit_and_makes_every_access_once() {
    let run = |window: &str| {
        let mut bench = guest(&[window]);
        bench.mapped(64);
        bench.touch(0, BASE, 64, Read);
        bench.sim.with(|m| assert_eq!(m.measurements().reads, 64));
        assert_eq!(bench.faults().len(), 64);
        let results = bench.finish();
        for cpu in &results.cpus {
            assert_eq!(cpu.total(), results.end);
        }
        results.measurements.exits
    };
    assert_eq!(run("cpu.window=1"), run("cpu.window=64"));
}

#[test]
fn cpus_that_touch_a_page_together_all_exit() {
    let mut bench = guest(&[]);
    bench.mapped(1);
    let mm = bench.mm;
    bench.race((0..2).map(|cpu| vec![step(cpu, mm, touch(BASE, 1, Read))]).collect());
    let (count, _) = exits(&bench);
    assert_eq!(count, 2, "the second comes while the hypervisor is at work for the first");
    bench.touch(1, BASE, 1, Read);
    bench.touch(0, BASE + PAGE - 64, 1, Read);
    assert_eq!(exits(&bench).0, 2);
}

/// After a punched hole and a sync: pages that are lost, and unmarked, with their frames and who took the mark; dirty pages,
/// promises, and the lines that a cache holds of one page.
type Judged = (Vec<(u64, u64, &'static str)>, Vec<(u64, u64, &'static str)>, u64, u64, u32);

fn judged(frames: &str) -> Judged {
    let frames = format!("nested.pmem_frames={frames}");
    let mut bench = Bench::with("emr-guest", NEW, FileSystem::Ext4, &[&frames, "nested.seed=3"], &[]);
    let file = bench.mapped(64);
    bench.touch(0, BASE, 40, Write);
    let hole = Action::Fallocate { file, mode: FallocMode::Punch, start: 36 * PAGE, len: PAGE };
    bench.run(0, bench.mm, hole);
    bench.msync(BASE, 30);
    bench.touch(0, BASE + 10 * PAGE, 5, Write);
    let first = bench.block(file, 10);
    let lines = bench.sim.with(|m| m.modified_lines(first).count_ones());
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
    let d = bench.finish().durability;
    let by = |call: Option<Call>| call.map_or("", |call| call.name);
    let lost = d.lost.iter().map(|page| (page.page, page.frame.0, by(page.unmarked_by))).collect();
    let unmarked = d.unmarked.iter().map(|page| (page.page, page.frame.0, by(page.unmarked_by))).collect();
    (lost, unmarked, d.dirty_pages, d.promises, lines)
}

#[test]
fn what_is_durable_is_the_same_wherever_the_host_has_the_blocks() {
    let sequential = judged("sequential");
    assert_eq!(sequential, judged("random"));
    let (lost, unmarked, dirty, promises, lines) = sequential;
    assert!(lost.len() >= 25 && unmarked.len() > lost.len(), "{lost:?} {unmarked:?}");
    assert!(unmarked.iter().all(|page| page.2 == "fallocate"));
    assert!(dirty >= 5 && promises == 1 && lines == 1);
}

#[test]
fn blocks_in_random_order_take_the_interleaving_of_the_device_apart() {
    // Two pages that a DIMM has in one media line each never follow each other now.
    let stalls = |frames: &str| {
        let frames = format!("nested.pmem_frames={frames}");
        let mut bench = Bench::with("emr-guest", NEW, FileSystem::Xfs, &[&frames], &[]);
        bench.mapped(4096);
        bench.touch(0, BASE, 4096, Read);
        bench.touch(0, BASE + 64, 4095, Read);
        bench.finish().end
    };
    assert_ne!(stalls("sequential"), stalls("random"));
}
