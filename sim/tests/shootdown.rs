//! TLB shootdowns: who is interrupted, how much is flushed, and how long the initiator waits.

mod common;

use common::{BASE, Bench, NEW, OLD, PAGE, V1, everywhere, op_counts, per_kernel, recorded, step, touch};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::{FlushReason, Part};
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, CpuId, FileSystem, Time};

/// Unmaps `pages` pages out of the middle of a mapping whose tables stay: a flush of exactly that range.
fn flush_of(kernel: &str, pages: u64, of_kernel: &[&str]) -> (u64, u64) {
    let mut bench = Bench::with("skylake-sp-optane", kernel, FileSystem::Ext4, &[], of_kernel);
    bench.mapped(128);
    bench.touch(0, BASE, 128, AccessKind::Read);
    bench.unmap(BASE + 4 * PAGE, pages);
    bench.flush_events(FlushReason::LocalMmShootdown)
}

#[test]
fn the_ceiling_is_a_knob() {
    assert_eq!(flush_of(OLD, 3, &["tree.flush_ceiling_pages=2"]), (1, 1));
    assert_eq!(flush_of(OLD, 2, &["tree.flush_ceiling_pages=2"]), (1, 0));
    assert_eq!(flush_of(OLD, 64, &["tree.flush_ceiling_pages=64"]), (1, 0));
    assert_eq!(flush_of(OLD, 1, &["tree.flush_ceiling_pages=0"]), (1, 1));
}

/// CPU 1 flushes everything, CPU 2 turned to another address space and has nothing to do: it answers first though it is
/// asked last.
#[test]
fn the_initiator_waits_for_the_slowest_target() {
    let slow = ["cpu.count=4", "ipi.delivery=50 us", "cost.cr3_write=100 us"];
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &slow, &[]);
    bench.mapped(40);
    for cpu in [1, 2] {
        bench.load_on(cpu, BASE);
    }
    let other = bench.sim.with(|m| m.new_mm());
    bench.sim.place(CpuId(2), other).unwrap();
    bench.touch(0, BASE, 40, AccessKind::Read);
    let before = bench.sim.with(|m| m.cpu_parts(CpuId(0)));
    // Freeing the tables makes it a flush of everyone in the mask.
    bench.unmap(BASE, 40);
    let parts = bench.sim.with(|m| m.cpu_parts(CpuId(0))).since(&before);
    assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 2);
    assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1));
    // Its own full flush takes as long as that of CPU 1, which began 50 us later.
    assert!(parts[Part::IpiWait] >= Time::from_ns(50_000), "{:?}", parts[Part::IpiWait]);
}

#[test]
fn a_sleeping_thread_holds_no_flush_up() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.touch(0, BASE, 8, AccessKind::Write);
        let long = 50_000_000;
        let sleeper = vec![step(1, bench.mm, Action::Sleep { nanoseconds: long })];
        let syncer = vec![
            step(0, bench.mm, Action::Msync { start: BASE, len: 8 * PAGE }),
            step(0, bench.mm, Action::Unmap { start: BASE, len: 8 * PAGE }),
        ];
        bench.sim.parallel(vec![syncer, sleeper]).unwrap();
        let waited = bench.sim.with(|m| m.cpu_parts(CpuId(0)))[Part::IpiWait];
        assert!(waited < Time::from_ns(long / 10), "{kernel} {fs}: {waited:?}");
        // Idle, it is lazy: only the freed tables interrupt it.
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_received), 1);
        let asleep = bench.sim.with(|m| m.cpu_parts(CpuId(1)))[Part::Idle];
        assert!(asleep >= Time::from_ns(long * 9 / 10));
    });
}

/// s10: two threads store, one msyncs; four CPUs spin in the address space.
#[test]
fn shootdowns_of_each_recorded_msync_line_are_reproduced() {
    for kernel in [OLD, NEW] {
        let fs = FileSystem::Ext4;
        let ops = op_counts(&recorded(kernel, fs, "s10_msync_loop"));
        let mut bench = Bench::tcg(kernel, fs);
        let file = bench.file(64, NewFile::Filled);
        for cpu in 0..4 {
            bench.sim.place(CpuId(cpu), bench.mm).unwrap();
        }
        let (mut seen, mut predicted) = (0, 0);
        for (line, op) in ops.iter().enumerate() {
            let words: Vec<&str> = op.text.split(' ').collect();
            let cpu: u16 = words[0].parse().unwrap();
            let bytes = |word: &str| match (word.strip_prefix("0x"), word.strip_suffix('k')) {
                (Some(hex), _) => u64::from_str_radix(hex, 16).unwrap(),
                (None, Some(k)) => k.parse::<u64>().unwrap() * 1024,
                (None, None) => word.parse().unwrap(),
            };
            let events = |b: &Bench, reason| b.flush_events(reason).0;
            let reasons =
                [FlushReason::RemoteShootdown, FlushReason::LocalMmShootdown, FlushReason::RemoteSendIpi];
            let before = reasons.map(|r| events(&bench, r));
            match words[1] {
                "map" => bench.map(file, BASE, 0, 64),
                "ldr" | "str" => {
                    let kind = if words[1] == "ldr" { AccessKind::Read } else { AccessKind::Write };
                    let stride = bytes(words[5]);
                    for at in (0..bytes(words[4])).step_by(stride as usize) {
                        bench.run(cpu, bench.mm, touch(BASE + at, 1, kind));
                    }
                }
                "msync" => {
                    bench.msync(BASE, 64);
                }
                "unmap" => {
                    bench.unmap(BASE, 64);
                }
                _ => {}
            }
            let [remote, local, sent]: [u64; 3] =
                std::array::from_fn(|n| events(&bench, reasons[n]) - before[n]);
            let name = format!("{kernel} line {line}: {}", op.text);
            assert_eq!(local, op.get("tlb3"), "{name}");
            assert_eq!(sent, op.get("tlb4"), "{name}");
            assert_eq!(sent, op.get("ipi_tx"), "{name}: one broadcast each");
            // Now and then a recorded target was idle and so was left out, or had gone over to another task (tlb5).
            assert!(remote >= op.get("tlb1") + op.get("tlb5"), "{name}");
            seen += op.get("tlb1") + op.get("tlb5");
            predicted += remote;
        }
        assert!(predicted > 1000 && predicted - seen <= predicted / 50, "{kernel}: {seen} of {predicted}");
    }
}

/// Once a second a flush also interrupts the CPUs that left the address space, which leave its mask then.
#[test]
fn the_mask_is_trimmed_once_a_second() {
    for kernel in [OLD, V1, NEW] {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        bench.mapped(8);
        let other = bench.sim.with(|m| m.new_mm());
        let leave_and_flush = |bench: &mut Bench| {
            let before = bench.measured(|m| m.shootdowns.ipis_sent);
            bench.load_on(1, BASE);
            bench.sim.place(CpuId(1), other).unwrap();
            bench.store(BASE);
            bench.msync(BASE, 8);
            bench.measured(|m| m.shootdowns.ipis_sent) - before
        };
        let wait = |bench: &mut Bench, milliseconds: u64| {
            bench.run(0, bench.mm, Action::Sleep { nanoseconds: milliseconds * 1_000_000 });
        };
        assert_eq!(leave_and_flush(&mut bench), 0, "{kernel}: in the first second");
        wait(&mut bench, 1010);
        assert_eq!(leave_and_flush(&mut bench), per_kernel(kernel, 0, 0, 1), "{kernel}");
        assert_eq!(
            bench.flush_events(FlushReason::RemoteWrongCpu).0,
            per_kernel(kernel, 0, 0, 1),
            "{kernel}"
        );
        assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm)), [CpuId(0)], "{kernel}");
        wait(&mut bench, 500);
        assert_eq!(leave_and_flush(&mut bench), 0, "{kernel}: not again in the same second");
        wait(&mut bench, 600);
        assert_eq!(leave_and_flush(&mut bench), per_kernel(kernel, 0, 0, 1), "{kernel}");
        // A lazy CPU is left alone even then.
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        wait(&mut bench, 1100);
        bench.store(BASE);
        let before = bench.measured(|m| m.shootdowns.ipis_sent);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), before, "{kernel}");
    }
}

/// `pages` pages mapped one by one, those from `dirty` on stored to.
fn zapped(kernel: &str, pages: u64, dirty: std::ops::Range<u64>) -> (u64, i64) {
    let mut bench = Bench::new(kernel, FileSystem::Ext4);
    bench.mapped(pages);
    let len = pages * PAGE;
    let no_huge = daxsim_sim::kernel::Advice::HugePage { allowed: false };
    bench.run(0, bench.mm, Action::Advise { start: BASE, len, advice: no_huge });
    bench.touch(0, BASE, pages, AccessKind::Read);
    bench.touch(0, BASE + dirty.start * PAGE, dirty.end - dirty.start, AccessKind::Write);
    let before = bench.flush_requests();
    let advice = daxsim_sim::kernel::Advice::DontNeed;
    bench.run(0, bench.mm, Action::Advise { start: BASE, len, advice });
    assert!((0..pages).all(|page| bench.pte(BASE + page * PAGE).is_none()), "{kernel}");
    (bench.flush_requests() - before, bench.rss())
}

#[test]
fn a_gather_that_is_full_of_pages_flushes_and_goes_on() {
    for kernel in [OLD, V1, NEW] {
        // Where mappings are not counted no page waits to be freed.
        assert_eq!(zapped(kernel, 9678, 0..0), (1, 0), "{kernel}");
        assert_eq!(zapped(kernel, 9679, 0..0), (per_kernel(kernel, 1, 2, 2), 0), "{kernel}");
        // A dirty page in the second table: its reverse mapping waits, and the batch in use is the last.
        assert_eq!(zapped(kernel, 1024, 512..513), (per_kernel(kernel, 1, 2, 2), 0), "{kernel}");
        // In a table of its own it fits.
        assert_eq!(zapped(kernel, 512, 0..512), (1, 0), "{kernel}");
    }
}
