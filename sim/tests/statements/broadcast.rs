//! Statement 92: INVLPGB.

use daxsim_sim::measure::FlushReason;
use daxsim_types::FileSystem;

use super::common::{BASE, Bench, NEW};

const REASONS: [FlushReason; 5] = [
    FlushReason::RemoteShootdown,
    FlushReason::LocalShootdown,
    FlushReason::LocalMmShootdown,
    FlushReason::RemoteSendIpi,
    FlushReason::RemoteWrongCpu,
];

/// The sampled flush is the first: address space 0 is looked at in the first tick.
#[test]
fn statement_92_an_address_space_on_four_cpus_gets_a_global_asid_and_needs_no_more_ipis() {
    for fs in super::common::FSDAX {
        let machine = ["cpu.count=5", "mmu.invlpgb_pages=8"];
        let mut bench = Bench::with("skylake-sp-optane", NEW, fs, &machine, &[]);
        bench.mapped(8);
        for cpu in [1, 2, 3] {
            bench.load_on(cpu, BASE);
        }
        let dirty_and_sync = |bench: &mut Bench| {
            bench.store(BASE);
            bench.msync(BASE, 8);
        };
        dirty_and_sync(&mut bench);
        assert_eq!(bench.measured(|m| m.shootdowns.ipis_sent), 3, "the flush that is looked at");
        assert_eq!(bench.sim.with(|m| m.global_asid(bench.mm)), Some((6, true)));
        // The next finds stragglers and interrupts them, the one after it finds none.
        dirty_and_sync(&mut bench);
        dirty_and_sync(&mut bench);
        assert_eq!(bench.sim.with(|m| m.global_asid(bench.mm)), Some((6, false)));
        let so_far = |b: &Bench| (b.measured(|m| m.shootdowns.ipis_sent), REASONS.map(|r| b.flush_events(r)));
        let (before, requests) = (so_far(&bench), bench.flush_requests());
        for _ in 0..10 {
            dirty_and_sync(&mut bench);
        }
        assert_eq!(bench.flush_requests() - requests, 10);
        assert_eq!(so_far(&bench), before, "{fs}: neither interrupts nor events");
    }
}

#[test]
fn three_cpus_are_too_few() {
    let machine = ["cpu.count=5", "mmu.invlpgb_pages=8"];
    let mut bench = Bench::with("skylake-sp-optane", NEW, FileSystem::Ext4, &machine, &[]);
    bench.mapped(8);
    for cpu in [1, 2, 3] {
        bench.load_on(cpu, BASE);
    }
    // CPU 3 is lazy: in the mask, but not active.
    bench.sim.sleep(daxsim_types::CpuId(3));
    bench.store(BASE);
    bench.msync(BASE, 8);
    assert_eq!(bench.sim.with(|m| m.global_asid(bench.mm)), None);
    assert_eq!(bench.measured(|m| m.shootdowns.invlpgb), 0);
}
