//! Replay of whole recordings: which CPUs run a process, and what few events are enough.

use std::path::Path;

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::measure::{FlushReason, Measurements};
use daxsim_sim::program::replay::{Outcome, Replayer};
use daxsim_sim::{Results, Simulation};
use daxsim_traces::ftrace::{Event, Reader, Record};
use daxsim_types::FileSystem;

/// A recorded run of the scenario as far as `keep` takes it, and how often the kernel flushed for another CPU in it.
fn replay(scenario: &str, keep: fn(&Event) -> bool) -> (Outcome, Measurements, u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/recorded/kernel-7.2/ext4");
    let machine = load_machine("qemu-tcg", &[]).unwrap();
    let kernel = load_kernel("linux-7.2", &[]).unwrap();
    let mut replayer = Replayer::new(FileSystem::Ext4, machine.cpu.count);
    let mut sim = Simulation::new(machine, kernel, FileSystem::Ext4, true);
    let mut reader = Reader::open(folder.join(scenario).join("trace.txt.xz")).unwrap();
    let mut record = Record::default();
    let mut remote = 0;
    while reader.next_record(&mut record).unwrap() {
        remote += u64::from(matches!(record.event, Event::TlbFlush { reason: 1, .. }));
        if keep(&record.event) {
            replayer.push(&mut sim, &record).unwrap();
        }
    }
    let outcome = replayer.finish(&mut sim).unwrap();
    let Results { measurements, .. } = sim.finish();
    (outcome, measurements, remote)
}

#[test]
fn threads_that_never_fault_are_interrupted_too() {
    // Four threads on four CPUs; only two of them take faults, and all four are told of each write-protection.
    let (outcome, measured, recorded) = replay("s10_msync_loop", |_| true);
    assert_eq!((outcome.dax.recorded, outcome.dax.reproduced), (628, 628));
    let simulated = measured.flushes[&FlushReason::RemoteShootdown].count;
    // Not to the last one: an msync is one step, so switches between its flushes are not replayed.
    assert!(simulated.abs_diff(recorded) * 10 <= recorded, "{simulated} simulated, {recorded} recorded");
    assert_eq!(measured.shootdowns.ipis_sent, measured.shootdowns.ipis_received);
}

#[test]
fn a_process_on_one_cpu_interrupts_nobody() {
    let (outcome, measured, recorded) = replay("s19_unmap_1thread", |_| true);
    assert_eq!((outcome.dax.recorded, outcome.dax.reproduced), (1923, 1923));
    let simulated = measured.flushes.get(&FlushReason::RemoteShootdown).map_or(0, |f| f.count);
    assert_eq!((simulated, measured.shootdowns.ipis_sent), (0, 0), "{recorded} recorded");
}

#[test]
fn page_faults_and_fs_dax_events_are_enough_to_reproduce_the_faults() {
    let keep = |event: &Event| {
        matches!(
            event,
            Event::PageFault { .. }
                | Event::DaxPteFault(_)
                | Event::DaxPteFaultDone(_)
                | Event::DaxPmdFault(_)
                | Event::DaxPmdFaultDone(_)
                | Event::DaxWritebackRange(_)
        )
    };
    let (outcome, measured, _) = replay("s10_msync_loop", keep);
    assert_eq!((outcome.dax.recorded, outcome.dax.reproduced), (628, 628));
    assert_eq!(measured.shootdowns.requests, 564);
    let (outcome, ..) = replay("s16_map_sync", keep);
    assert_eq!((outcome.dax.recorded, outcome.dax.reproduced), (179, 179));
}
