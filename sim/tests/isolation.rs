//! Kernel page-table isolation: what user mode and the kernel cache, and what a flush drops of either.

mod common;

use common::{BASE, Bench, NEW, PAGE, access, step, touch};
use daxsim_sim::kernel::{Advice, NewFile};
use daxsim_sim::measure::Part;
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::AccessKind::{Read, Write};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

/// A process with `pages` pages that were stored to; `pti` or not.
fn bench(pti: bool, machine: &[&str]) -> Bench {
    let machine: Vec<&str> = ["cpu.count=4"].into_iter().chain(machine.iter().copied()).collect();
    let pti = format!("tree.pti={pti}");
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Xfs, &machine, &[&pti]);
    bench.mapped(64);
    bench.touch(0, BASE, 64, Write);
    bench
}

fn copy(pages: u64, kind: AccessKind) -> Action {
    Action::KernelAccess(Accesses::Stride { start: VirtAddr(BASE), count: pages, stride: PAGE, kind })
}

/// Walks that an action takes on CPU 0.
fn walks(bench: &mut Bench, action: Action) -> u64 {
    let before = bench.measured(|m| m.walks);
    bench.run(0, bench.mm, action);
    bench.measured(|m| m.walks) - before
}

fn dont_need(pages: u64) -> Action {
    Action::Advise { start: BASE, len: pages * PAGE, advice: Advice::DontNeed }
}

#[test]
fn the_kernel_and_user_mode_have_entries_of_their_own_under_their_pcids() {
    for pti in [false, true] {
        let mut bench = bench(pti, &[]);
        assert_eq!(walks(&mut bench, touch(BASE, 8, Read)), 0);
        let first = if pti { 8 } else { 0 };
        assert_eq!(walks(&mut bench, copy(8, Read)), first, "the kernel's first copy, pti {pti}");
        assert_eq!(walks(&mut bench, copy(8, Read)), 0);
        assert_eq!(walks(&mut bench, touch(BASE, 8, Read)), 0, "nothing was lost");
    }
}

#[test]
fn a_few_pages_are_dropped_in_both_halves_one_by_one() {
    let mut bench = bench(true, &[]);
    bench.run(0, bench.mm, copy(8, Read));
    bench.run(0, bench.mm, Action::Msync { start: BASE, len: 2 * PAGE });
    assert!(bench.cached(0, BASE).is_none() && bench.cached(0, BASE + PAGE).is_none());
    assert!(bench.cached(0, BASE + 2 * PAGE).is_some());
    assert_eq!(walks(&mut bench, touch(BASE, 8, Read)), 2);
    assert_eq!(walks(&mut bench, copy(8, Read)), 2);
    assert_eq!(bench.measured(|m| m.shootdowns.full_flushes), 0);
}

#[test]
fn a_full_flush_empties_the_user_half_on_the_way_back() {
    let mut bench = bench(true, &[]);
    bench.run(0, bench.mm, copy(64, Read));
    let other = bench.sim.with(|m| m.new_mm());
    bench.run(0, bench.mm, dont_need(40));
    assert_eq!(bench.measured(|m| m.shootdowns.full_flushes), 1);
    // 24 pages are left: all of them are walked for again, once in each half, and then known.
    let rest = BASE + 40 * PAGE;
    assert_eq!(walks(&mut bench, touch(rest, 24, Read)), 24);
    assert_eq!(walks(&mut bench, touch(rest, 24, Read)), 0);
    // To another address space and back: the mark is gone, nothing is flushed again.
    bench.run(0, other, Action::Sleep { nanoseconds: 1 });
    assert_eq!(walks(&mut bench, touch(rest, 24, Read)), 0);
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
}

#[test]
fn an_interrupted_cpu_drops_the_page_that_user_mode_holds() {
    for pages in [1, 40] {
        let mut bench = bench(true, &[]);
        bench.touch(1, BASE, 64, Read);
        assert!(bench.cached(1, BASE).is_some());
        bench.run(0, bench.mm, dont_need(pages));
        assert!(bench.cached(1, BASE).is_none(), "{pages} pages");
        assert_eq!(bench.cached(1, BASE + 50 * PAGE).is_some(), pages == 1);
        assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
    }
}

#[test]
fn only_a_crossing_from_user_mode_writes_cr3() {
    // A system call that copies from pages without an entry: its faults come from the kernel.
    let entry = |pti: bool| {
        let mut bench = bench(pti, &[]);
        bench.run(0, bench.mm, dont_need(8));
        let before = bench.sim.with(|m| m.cpu_parts(CpuId(0)));
        bench.run(0, bench.mm, copy(8, Read));
        let after = bench.sim.with(|m| m.cpu_parts(CpuId(0)));
        assert_eq!(bench.faults().len(), 64 + 8);
        after.since(&before)[Part::Entry].0
    };
    let cr3 = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().cost.cr3_write.0;
    assert_eq!(entry(true) - entry(false), 2 * cr3, "one way in, one way out");
}

#[test]
fn a_kernel_thread_flushes_what_user_mode_of_its_cpu_holds() {
    let mut bench = bench(true, &[]);
    let file = bench.file(8, NewFile::Filled);
    bench.map(file, BASE + (1 << 30), 0, 8);
    bench.touch(0, BASE + (1 << 30), 8, Write);
    let sync = Action::Fsync(file);
    bench.sim.step(Step { mm: None, ..step(0, bench.mm, sync) }).unwrap();
    assert_eq!(bench.run(0, bench.mm, access(BASE + (1 << 30), Write)).error, None);
    let last = bench.faults().pop().unwrap();
    assert_eq!(last.address, VirtAddr(BASE + (1 << 30)), "write-protected again, and no stale entry used");
    assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
}
