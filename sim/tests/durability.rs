//! What is durable at the end of a run or at a crash, what was promised, and which dirty pages have no mark.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, everywhere, per_kernel, step};
use daxsim_sim::Results;
use daxsim_sim::durability::Durability;
use daxsim_sim::kernel::{FallocMode, FileId, NewFile};
use daxsim_sim::program::{Accesses, Action};
use daxsim_types::{AccessKind, CpuId, FileSystem, Time, VirtAddr};

/// Pages that were promised and are lost, as (file page, lines).
fn lost(d: &Durability) -> Vec<(u64, u64)> {
    d.lost.iter().map(|page| (page.page, page.lines)).collect()
}

/// Dirty pages without a mark.
fn unmarked(d: &Durability) -> Vec<u64> {
    d.unmarked.iter().map(|page| page.page).collect()
}

/// A store to every line of a page.
fn fill_page(start: u64) -> Action {
    Action::Access(Accesses::Stride {
        start: VirtAddr(start),
        count: 64,
        stride: 64,
        kind: AccessKind::Write,
    })
}

fn fsync(bench: &mut Bench, file: FileId) {
    bench.run(0, bench.mm, Action::Fsync(file));
}

#[test]
fn what_msync_wrote_back_is_durable() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.touch(0, BASE, 8, AccessKind::Write);
        bench.msync(BASE, 8);
        let d = bench.finish().durability;
        assert_eq!((lost(&d), unmarked(&d), d.promises), (vec![], vec![], 1), "{kernel} {fs}");
        assert_eq!((d.dirty_pages, d.in_flight_lines), (0, 0), "msync waited for the last line");
    });
}

#[test]
fn without_a_sync_pages_are_dirty_and_marked_and_nothing_is_promised() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.touch(0, BASE, 3, AccessKind::Write);
        bench.run(0, bench.mm, fill_page(BASE));
        let d = bench.finish().durability;
        assert_eq!((lost(&d), unmarked(&d), d.promises), (vec![], vec![], 0), "{kernel} {fs}");
        assert_eq!((d.dirty_pages, d.dirty_lines), (3, 66));
    });
}

#[test]
fn a_store_after_the_sync_is_not_covered_by_it() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.store(BASE);
        fsync(&mut bench, file);
        bench.store(BASE);
        let d = bench.finish().durability;
        assert_eq!((lost(&d), d.dirty_pages, d.promises), (vec![], 1, 1), "{kernel} {fs}");
    });
}

/// Spec 4.8: breaking the layout deletes all entries of the file in 7.2, and their marks with them. The sync that follows
/// finds nothing to write back and returns with success.
#[test]
fn a_hole_punched_elsewhere_lets_the_next_sync_promise_what_it_does_not_write_back() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        bench.store(BASE + 64);
        bench.run(
            0,
            bench.mm,
            Action::Fallocate { file, mode: FallocMode::Punch, start: 8 * PAGE, len: PAGE },
        );
        bench.msync(BASE, 1);
        let frame = bench.block(file, 0);
        let d = bench.finish().durability;
        let one = vec![(0, 0b10)];
        assert_eq!(lost(&d), per_kernel(kernel, vec![], vec![], one), "{kernel} {fs}");
        assert_eq!(unmarked(&d), per_kernel(kernel, vec![], vec![], vec![0]));
        if kernel == NEW {
            let page = &d.lost[0];
            assert_eq!((page.promise.name, page.frame, page.in_flight), ("msync", frame, false));
            assert_eq!(page.unmarked_by.map(|call| call.name), Some("fallocate"));
            assert!(!d.unmarked[0].has_entry);
        }
    });
}

#[test]
fn truncation_of_the_end_loses_the_marks_of_the_beginning_where_entries_are_deleted() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        let file = bench.mapped(16);
        bench.store(BASE);
        bench.store(BASE + 15 * PAGE);
        bench.run(0, bench.mm, Action::Truncate { file, size: 15 * PAGE });
        let d = bench.finish().durability;
        assert_eq!(unmarked(&d), per_kernel(kernel, vec![], vec![], vec![0]), "{kernel}");
        assert_eq!((d.dirty_pages, d.unowned_lines), (1, 1), "the page cut off is no file page");
        assert_eq!(d.promises, 0);
    }
}

#[test]
fn a_page_stored_to_again_gets_its_mark_back_and_the_next_sync_keeps_the_promise() {
    let mut bench = Bench::new(NEW, FileSystem::Xfs);
    let file = bench.mapped(16);
    bench.store(BASE);
    bench.run(0, bench.mm, Action::Fallocate { file, mode: FallocMode::Punch, start: 8 * PAGE, len: PAGE });
    fsync(&mut bench, file);
    bench.store(BASE + 64);
    fsync(&mut bench, file);
    let d = bench.finish().durability;
    assert_eq!((lost(&d), unmarked(&d), d.promises), (vec![], vec![], 2));
}

/// The recorded XFS of 6.12 writes the punched range back before it goes; 7.2 has deleted the entries by then.
#[test]
fn xfs_writes_a_punched_range_back_as_far_as_it_has_entries() {
    let written = |kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        bench.touch(0, BASE, 16, AccessKind::Write);
        let (start, len) = (4 * PAGE, 8 * PAGE);
        bench.run(0, bench.mm, Action::Fallocate { file, mode: FallocMode::Punch, start, len });
        bench.measured(|m| m.writeback_entries)
    };
    assert_eq!(written(OLD, FileSystem::Xfs), 8);
    assert_eq!(written(NEW, FileSystem::Xfs), 0);
    assert_eq!([OLD, NEW].map(|kernel| written(kernel, FileSystem::Ext4)), [0, 0]);
}

#[test]
fn a_huge_page_is_promised_and_written_back_whole() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(1024);
        bench.touch(0, BASE, 512, AccessKind::Write);
        bench.store(BASE + HUGE);
        bench.msync(BASE + 100 * PAGE, 1);
        let d = bench.finish().durability;
        assert_eq!((d.dirty_pages, lost(&d), unmarked(&d)), (1, vec![], vec![]), "{kernel} {fs}");
    });
}

#[test]
fn writes_by_system_call_are_durable_when_the_call_returns_but_promised_by_the_sync() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(4);
        bench.run(0, bench.mm, Action::Write { file, start: 0, len: 2 * PAGE });
        let d = bench.finish().durability;
        assert_eq!((d.dirty_pages, d.in_flight_lines, d.promises), (0, 0, 0), "{kernel} {fs}");
    });
}

#[test]
fn a_line_evicted_from_all_caches_is_durable_without_any_sync() {
    let small = ["cpu.count=1", "cache.l1d.size=4 KiB", "cache.l2.size=16 KiB", "cache.l3.size=44 KiB"];
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &small, &[]);
    let file = bench.mapped(256);
    bench.store(BASE);
    let frame = bench.block(file, 0);
    assert_eq!(bench.sim.with(|m| m.modified_lines(frame)), 1);
    for page in 1..256 {
        let start = VirtAddr(BASE + page * PAGE);
        let loads = Accesses::Stride { start, count: 64, stride: 64, kind: AccessKind::Read };
        bench.run(0, bench.mm, Action::Access(loads));
    }
    assert_eq!(bench.sim.with(|m| m.modified_lines(frame)), 0);
    let d = bench.finish().durability;
    assert_eq!((d.dirty_pages, d.promises), (0, 0));
}

#[test]
fn persistent_caches_lose_nothing_and_the_kernel_flushes_nothing() {
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &["pmem.eadr=true"], &[]);
    let file = bench.mapped(16);
    bench.store(BASE);
    bench.run(0, bench.mm, Action::Fallocate { file, mode: FallocMode::Punch, start: 8 * PAGE, len: PAGE });
    bench.store(BASE + PAGE);
    fsync(&mut bench, file);
    let results = bench.finish();
    let d = &results.durability;
    assert_eq!((d.eadr, lost(d), unmarked(d), d.dirty_pages), (true, vec![], vec![], 0));
    assert_eq!((d.promises, results.memory.clwb_writebacks), (1, 0));
}

#[test]
fn pages_of_device_dax_are_the_applications_business() {
    let mut bench = Bench::new(NEW, FileSystem::Devdax);
    let file = bench.file(1024, NewFile::Device);
    bench.map(file, BASE, 0, 1024);
    bench.store(BASE);
    bench.msync(BASE, 1024);
    fsync(&mut bench, file);
    let d = bench.finish().durability;
    assert_eq!((d.device_pages, d.dirty_pages, d.promises), (1, 0, 0));
    assert_eq!((lost(&d), unmarked(&d)), (vec![], vec![]));
}

/// 4 pages of 64 modified lines each, then msync; the crash comes at a time between `from` and the end of the call.
fn crashed_in_msync(kernel: &str, fs: FileSystem, at: Option<Time>) -> (Results, Time, Time) {
    let mut bench = Bench::new(kernel, fs);
    if let Some(at) = at {
        bench.sim.crash_at(at);
    }
    bench.mapped(4);
    for page in 0..4 {
        bench.run(0, bench.mm, fill_page(BASE + page * PAGE));
    }
    let begun = bench.sim.with(|m| m.cpu_time(CpuId(0)));
    bench.msync(BASE, 4);
    let ended = bench.sim.with(|m| m.cpu_time(CpuId(0)));
    (bench.finish(), begun, ended)
}

#[test]
fn a_crash_in_the_middle_of_msync_leaves_some_lines_flushed_and_promises_none() {
    everywhere(|kernel, fs| {
        let (whole, begun, ended) = crashed_in_msync(kernel, fs, None);
        assert_eq!(whole.crash, None);
        let mut left = Vec::new();
        for part in 0..=20 {
            let at = Time(begun.0 + (ended.0 - begun.0) * part / 20);
            let (results, ..) = crashed_in_msync(kernel, fs, Some(at));
            let d = &results.durability;
            let lines = d.dirty_lines + d.in_flight_lines;
            left.push(lines);
            assert_eq!((lost(d), unmarked(d), d.promises), (vec![], vec![], 0), "{kernel} {fs} {part}/20");
            let crash = results.crash.as_ref().unwrap();
            assert_eq!((crash.at, results.end), (at, at), "the run ends at the crash");
            for parts in &results.cpus {
                assert_eq!(parts.total(), at, "every CPU's time is accounted for");
            }
            if part == 0 {
                assert_eq!(lines, 256);
            } else {
                assert_eq!(crash.running[0].name, "msync");
            }
        }
        assert!(left.is_sorted_by(|a, b| a >= b), "{left:?}");
        assert!(left.iter().any(|n| (1..256).contains(n)) && left[20] == 0, "{left:?}");
    });
}

#[test]
fn lines_on_their_way_at_the_crash_are_not_durable() {
    let (_, begun, ended) = crashed_in_msync(NEW, FileSystem::Ext4, None);
    let flying = (0..200).any(|part| {
        let at = Time(begun.0 + (ended.0 - begun.0) * part / 200);
        crashed_in_msync(NEW, FileSystem::Ext4, Some(at)).0.durability.in_flight_lines > 0
    });
    assert!(flying);
}

#[test]
fn a_crash_at_zero_lets_nothing_happen() {
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    bench.sim.crash_at(Time::ZERO);
    bench.mapped(4);
    bench.store(BASE);
    let results = bench.finish();
    assert_eq!(results.end, Time::ZERO);
    assert_eq!(results.crash.unwrap().next_line, Some(0));
    assert_eq!((results.measurements.writes, results.durability.dirty_pages), (0, 0));
}

#[test]
fn a_crash_after_the_end_changes_nothing() {
    let (whole, ..) = crashed_in_msync(NEW, FileSystem::Xfs, None);
    let (late, ..) = crashed_in_msync(NEW, FileSystem::Xfs, Some(Time(whole.end.0 + 1)));
    assert_eq!(late.crash, None);
    assert_eq!((late.end, late.durability, late.cpus), (whole.end, whole.durability, whole.cpus));
}

/// Threads store and sync at once; the crash may come anywhere. A sync leaves a page to another one that has taken its TOWRITE
/// mark (`dax_writeback_one` clears it before it flushes), and so may return before that has arrived: until then, and no
/// longer, its promise is broken.
#[test]
fn a_sync_may_return_while_another_still_writes_back_what_both_cover() {
    let run = |at: Option<Time>| {
        let mut bench = Bench::new(OLD, FileSystem::Ext4);
        if let Some(at) = at {
            bench.sim.crash_at(at);
        }
        bench.mapped(4);
        let store = |cpu, line: u64| step(cpu, bench.mm, common::access(BASE + line * 64, AccessKind::Write));
        let sync = |cpu| step(cpu, bench.mm, Action::Msync { start: BASE, len: 2 * PAGE });
        let thread =
            |cpu: u16| (0..6).flat_map(|n| [store(cpu, u64::from(cpu) * 20 + n), sync(cpu)]).collect();
        bench.sim.parallel((0..4).map(thread).collect()).unwrap();
        bench.finish()
    };
    let end = run(None).end;
    let mut broken = 0;
    for part in 1..60 {
        let results = run(Some(Time(end.0 * part / 60)));
        let d = &results.durability;
        let running = results.crash.map(|crash| crash.running).unwrap_or_default();
        for page in &d.lost {
            broken += 1;
            let other = running.iter().any(|call| call.name == "msync" && call.cpu != page.promise.cpu);
            assert!(page.in_flight || other, "{part}: {page:?}, {running:?}");
        }
        assert!(d.unmarked.is_empty(), "{part}: {:?}", d.unmarked);
    }
    assert!(broken > 0);
    assert_eq!(lost(&run(None).durability), []);
}
