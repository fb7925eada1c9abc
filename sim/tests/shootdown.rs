//! TLB shootdowns: who is interrupted, how much is flushed, and how long the initiator waits.

mod common;

use common::{
    BASE, Bench, HUGE, NEW, OLD, PAGE, V1, everywhere, op_counts, per_kernel, recorded, step, touch,
};
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
fn up_to_33_pages_are_flushed_one_by_one() {
    for kernel in common::KERNELS {
        assert_eq!(flush_of(kernel, 33, &[]), (1, 0), "{kernel}");
        assert_eq!(flush_of(kernel, 34, &[]), (1, 1), "{kernel}");
    }
}

#[test]
fn the_ceiling_is_a_knob() {
    assert_eq!(flush_of(OLD, 3, &["tree.flush_ceiling_pages=2"]), (1, 1));
    assert_eq!(flush_of(OLD, 2, &["tree.flush_ceiling_pages=2"]), (1, 0));
    assert_eq!(flush_of(OLD, 64, &["tree.flush_ceiling_pages=64"]), (1, 0));
    assert_eq!(flush_of(OLD, 1, &["tree.flush_ceiling_pages=0"]), (1, 1));
}

#[test]
fn an_address_space_on_one_cpu_interrupts_nobody() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        let other = bench.sim.with(|m| m.new_mm());
        bench.sim.place(CpuId(1), other).unwrap();
        bench.touch(0, BASE, 8, AccessKind::Write);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi).0, 0);
        assert_eq!(bench.sim.with(|m| m.cpu_parts(CpuId(1)))[Part::IpiHandler], Time::ZERO);
    });
}

#[test]
fn every_cpu_that_runs_the_address_space_is_interrupted_and_waited_for() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        for cpu in [1, 2] {
            bench.load_on(cpu, BASE);
        }
        bench.store(BASE);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| (m.shootdowns.ipis_sent, m.shootdowns.ipis_received)), (2, 2));
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (1, 0), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (2, 0));
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (1, 0));
        // The others' copies are gone: their next loads walk, and find the clean entry.
        bench.faults();
        let walks = bench.measured(|m| m.walks);
        bench.load_on(1, BASE);
        assert_eq!(bench.measured(|m| m.walks), walks + 1);
        assert!(bench.codes().is_empty());
    });
}

#[test]
fn a_lazy_cpu_is_left_alone_and_catches_up_when_it_comes_back() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.store(BASE);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi).0, 1, "traced before anyone is looked at");
        let switches = bench.flush_events(FlushReason::TaskSwitch);
        bench.load_on(1, BASE);
        let after = bench.flush_events(FlushReason::TaskSwitch);
        assert_eq!((after.0 - switches.0, after.1 - switches.1), (1, 1), "a full flush on the way back");
        bench.sim.sleep(CpuId(1));
        bench.load_on(1, BASE);
        assert_eq!(bench.flush_events(FlushReason::TaskSwitch), after, "nothing was flushed meanwhile");
    });
}

#[test]
fn freed_page_tables_interrupt_lazy_cpus_too_and_send_them_off_the_address_space() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(8);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.load(BASE);
        bench.unmap(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 1, "{kernel} {fs}");
        assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm)), [CpuId(0)]);
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown).0, 0, "it left before it came to flush");
    });
}

#[test]
fn cleaning_a_huge_page_is_a_full_flush_of_all_cpus_lazy_or_not() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(512);
        bench.load_on(1, BASE);
        bench.sim.sleep(CpuId(1));
        bench.load_on(2, BASE);
        bench.store(BASE);
        bench.msync(BASE, 512);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 2, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (1, 1));
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1));
    });
}

#[test]
fn unmapping_one_huge_page_invalidates_one_entry() {
    for kernel in [OLD, NEW] {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        // The neighbour keeps the tables alive.
        bench.mapped(1024);
        bench.load(BASE);
        bench.load(BASE + HUGE);
        bench.unmap(BASE, 512);
        let (events, pages) = bench
            .measured(|m| m.flushes.get(&FlushReason::LocalMmShootdown).map(|f| (f.count, f.pages)))
            .unwrap();
        assert_eq!((events, pages), (1, 1), "{kernel}");
    }
}

/// A task that moved on to another address space: 6.12 took its CPU out of the old mask at the switch, 7.2 does it when an
/// interrupt finds the CPU elsewhere.
#[test]
fn a_cpu_that_switched_away_is_interrupted_once_at_most() {
    for kernel in [OLD, V1, NEW] {
        let mut bench = Bench::new(kernel, FileSystem::Ext4);
        bench.mapped(8);
        bench.load_on(1, BASE);
        let other = bench.sim.with(|m| m.new_mm());
        bench.sim.place(CpuId(1), other).unwrap();
        let stays = per_kernel(kernel, false, false, true);
        assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm).contains(&CpuId(1))), stays, "{kernel}");
        bench.store(BASE);
        bench.msync(BASE, 8);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 0, "{kernel}: no tables are freed");
        bench.unmap(BASE, 8);
        let wrong = bench.flush_events(FlushReason::RemoteWrongCpu).0;
        assert_eq!(wrong, per_kernel(kernel, 0, 0, 1), "{kernel}");
        assert_eq!(bench.sim.with(|m| m.cpumask(bench.mm)), [CpuId(0)]);
    }
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

/// Two address-space-wide generations are requested before either interrupt arrives: the first to arrive flushes up to the
/// second, which then finds nothing to do and is not traced.
#[test]
fn of_two_flushes_in_flight_the_first_does_the_work_of_both() {
    everywhere(|kernel, fs| {
        let machine = ["cpu.count=4", "ipi.delivery=50 us"];
        let mut bench = Bench::with("skylake-sp-optane", kernel, fs, &machine, &[]);
        let (one, two) = (bench.file(8, NewFile::Filled), bench.file(8, NewFile::Filled));
        bench.map(one, BASE, 0, 8);
        bench.map(two, BASE + HUGE, 0, 8);
        for (cpu, va) in [(0, BASE), (1, BASE + HUGE), (2, BASE)] {
            bench.store_on(cpu, va);
        }
        let msync = |cpu, start| vec![step(cpu, bench.mm, Action::Msync { start, len: PAGE })];
        bench.sim.parallel(vec![msync(0, BASE), msync(1, BASE + HUGE)]).unwrap();
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_received), 4, "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteSendIpi), (2, 0), "both asked for one page");
        assert_eq!(bench.flush_events(FlushReason::LocalMmShootdown), (2, 2), "{kernel} {fs}");
        assert_eq!(bench.flush_events(FlushReason::RemoteShootdown), (1, 1), "CPU 2, once");
    });
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
