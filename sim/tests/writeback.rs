//! msync, fsync and munmap of written pages: what becomes clean, and how many flushes that takes.

mod common;

use common::{
    BASE, Bench, FSDAX, KERNELS, NEW, OLD, PAGE, access, everywhere, op_counts, per_kernel, recorded, step,
};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::FlushReason;
use daxsim_sim::program::{Accesses, Action};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

#[test]
fn fsync_takes_the_whole_file_and_msync_its_range() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.mapped(16);
        bench.touch(0, BASE, 16, AccessKind::Write);
        bench.msync(BASE + 4 * PAGE, 3);
        assert_eq!(bench.measured(|m| m.writeback_entries), 3, "{kernel} {fs}");
        bench.run(0, bench.mm, Action::Fsync(file));
        assert_eq!(bench.measured(|m| m.writeback_entries), 16);
    });
}

#[test]
fn msync_over_a_gap_syncs_what_is_there_and_says_enomem() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        let file = bench.file(4, NewFile::Filled);
        for start in [BASE, BASE + 8 * PAGE] {
            bench.map(file, start, if start == BASE { 0 } else { 2 }, 2);
            bench.touch(0, start, 2, AccessKind::Write);
        }
        let ended = bench.msync(BASE, 10);
        assert!(ended.error.is_some(), "{kernel} {fs}");
        assert_eq!(bench.measured(|m| m.writeback_entries), 4, "{kernel} {fs}: both mappings");
    });
}

#[test]
fn every_line_of_a_written_page_reaches_the_persistence_domain() {
    let mut bench = Bench::new(NEW, FileSystem::Ext4);
    bench.mapped(16);
    let lines: Vec<(VirtAddr, AccessKind)> =
        (0..4 * 64).map(|line| (VirtAddr(BASE + line * 64), AccessKind::Write)).collect();
    bench.run(0, bench.mm, Action::Access(Accesses::List(lines)));
    let before = bench.sim.with(|m| m.cpu_time(CpuId(0)));
    bench.msync(BASE, 16);
    assert!(bench.sim.with(|m| m.cpu_time(CpuId(0))) > before);
    let written = bench.finish().memory.pmem.writes;
    assert_eq!(written, 4 * 64);
}

/// Two threads sync the same page and a third stores to it. The second sync waits for the entry of the first, finds nothing
/// left to do, and must wake the store that queues behind it.
#[test]
fn a_sync_that_finds_nothing_left_wakes_the_next_in_the_queue() {
    everywhere(|kernel, fs| {
        // Slow interrupts: the first sync holds the entry while CPU 1 is told to flush, and CPU 2 finds no PTE meanwhile.
        let slow = ["cpu.count=4", "ipi.delivery=20 us"];
        // The second sync begins at all stages of the first.
        for later in (0..1000).step_by(50) {
            let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &slow, &[]);
            bench.mapped(4);
            for cpu in 0..2 {
                bench.store_on(cpu, BASE);
            }
            let loads = |cpu, count| {
                let (start, kind) = (VirtAddr(BASE + PAGE), AccessKind::Read);
                step(cpu, bench.mm, Action::Access(Accesses::Stride { start, count, stride: 0, kind }))
            };
            let sync = |cpu| step(cpu, bench.mm, Action::Msync { start: BASE, len: PAGE });
            let threads = vec![
                vec![sync(0)],
                vec![loads(1, later), sync(1)],
                vec![loads(2, 5000), step(2, bench.mm, access(BASE, AccessKind::Write))],
            ];
            bench.sim.parallel(threads).unwrap();
        }
    });
}

/// Flushes that munmap of `pages` pages of a rw mapping takes, after `kind` accesses to all of them.
fn flushes_of_unmap(kernel: &str, pages: u64, kind: AccessKind, part: Option<(u64, u64)>) -> u64 {
    let mut bench = Bench::tcg(kernel, FileSystem::Ext4);
    let file = bench.file(pages, NewFile::Filled);
    // Off by a page from the file's colour: 4 KiB entries throughout.
    bench.map(file, BASE + PAGE, 0, pages);
    bench.touch(0, BASE + PAGE, pages, kind);
    let before = bench.flush_requests();
    let (first, count) = part.unwrap_or((0, pages));
    bench.unmap(BASE + (1 + first) * PAGE, count);
    bench.flush_requests() - before
}

#[test]
fn unmapping_dirty_pages_with_their_tables_flushes_once_more_for_each_table_where_pages_are_counted() {
    for kernel in KERNELS {
        let whole = |pages, kind| flushes_of_unmap(kernel, pages, kind, None);
        assert_eq!(whole(4, AccessKind::Write), per_kernel(kernel, 1, 2, 2), "{kernel}");
        // 600 pages from page 1 of a table lie in two tables.
        assert_eq!(whole(600, AccessKind::Write), per_kernel(kernel, 1, 3, 3), "{kernel}");
        assert_eq!(whole(600, AccessKind::Read), 1, "{kernel}: clean pages");
        let part = |kind| flushes_of_unmap(kernel, 64, kind, Some((8, 16)));
        assert_eq!(part(AccessKind::Write), 1, "{kernel}: the table stays");
        assert_eq!(part(AccessKind::Read), 1, "{kernel}");
    }
}

#[test]
fn unmapping_several_mappings_at_once_is_one_gather() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Xfs);
        let file = bench.file(64, NewFile::Filled);
        for n in 0..4 {
            bench.map(file, BASE + n * 16 * PAGE, 16 * n, 16);
        }
        bench.touch(0, BASE, 64, AccessKind::Read);
        bench.unmap(BASE, 64);
        assert_eq!(bench.flush_requests(), 1, "{kernel}");
    }
}

/// s19: munmap of 1 to 513 written pages by a single thread.
#[test]
fn local_flushes_of_each_recorded_unmap_line_are_reproduced() {
    for kernel in [OLD, NEW] {
        for fs in FSDAX {
            let ops = op_counts(&recorded(kernel, fs, "s19_unmap_1thread"));
            let mut bench = Bench::tcg(kernel, fs);
            let file = bench.file(1024, NewFile::Filled);
            let mut compared = 0;
            for (line, op) in ops.iter().enumerate() {
                let words: Vec<&str> = op.text.split(' ').collect();
                let number = |n: usize| words[n].parse::<u64>().unwrap();
                let start = |map: u64| BASE + (map << 36) + PAGE;
                let before = bench.flush_events(FlushReason::LocalMmShootdown).0;
                match words[1] {
                    "map" => bench.map(file, start(number(2)), number(4) / PAGE, number(5) / PAGE),
                    "str" => {
                        bench.touch(0, start(number(2)), number(4) / PAGE, AccessKind::Write);
                    }
                    "unmap" => {
                        bench.unmap(start(number(2)), number(4) / PAGE);
                        let flushes = bench.flush_events(FlushReason::LocalMmShootdown).0 - before;
                        assert_eq!(flushes, op.get("tlb3"), "{kernel} {fs} line {line}: {}", op.text);
                        compared += 1;
                    }
                    _ => {}
                }
            }
            assert_eq!(compared, 15);
        }
    }
}
