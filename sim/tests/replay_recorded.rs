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

/// A recorded run whose mapping is moved after `faults` faults by a mremap made up for that, and accessed at the new place from then on.
fn replay_moved(scenario: &str, faults: usize) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/recorded/kernel-7.2/ext4");
    let mut text = String::new();
    let mut recorded = daxsim_traces::open::open(folder.join(scenario).join("trace.txt.xz")).unwrap();
    std::io::Read::read_to_string(&mut recorded, &mut text).unwrap();
    let (mut seen, mut moved, mut changed) = (None, false, String::new());
    for line in text.lines() {
        let begins = line.contains("page_fault_user: address=0x1000000");
        let (head, _) = line.split_once(": ").unwrap_or((line, ""));
        if !moved && begins && seen == Some(faults) {
            let call = "addr: 0x100000000000, old_len: 0x40000, new_len: 0x40000, flags: 0x3, new_addr: 0x300000000000";
            changed += &format!("{head}: sys_mremap({call})\n{head}: sys_mremap -> 0x300000000000\n");
            moved = true;
        }
        seen = match seen {
            None if line.contains("sys_mmap -> 0x100000000000") => Some(0),
            Some(n) if begins => Some(n + 1),
            other => other,
        };
        changed += &if moved { line.replace("0x1000000", "0x3000000") } else { line.to_owned() };
        changed.push('\n');
    }
    assert!(moved, "a fault behind the one at which the mapping moves");
    let machine = load_machine("qemu-tcg", &[]).unwrap();
    let kernel = load_kernel("linux-7.2", &[]).unwrap();
    let mut replayer = Replayer::new(FileSystem::Ext4, machine.cpu.count);
    let mut sim = Simulation::new(machine, kernel, FileSystem::Ext4, true);
    let mut reader = Reader::new(changed.as_bytes(), "moved");
    let mut record = Record::default();
    while reader.next_record(&mut record).unwrap() {
        replayer.push(&mut sim, &record).unwrap();
    }
    let outcome = replayer.finish(&mut sim).unwrap();
    assert!(sim.with(|m| m.check_consistency()).is_ok());
    outcome
}

#[test]
fn a_recorded_mremap_takes_the_entries_along() {
    // Before the first fault, when the file is not known; between the reads; between the stores, which find what the reads left.
    for faults in [0, 1, 40, 100] {
        let outcome = replay_moved("s01_read_then_write", faults);
        // A page that moved is soft-dirty at its new place. The recorded one never moved, and tells so when it is upgraded.
        let upgraded_later = faults.min(128 - faults) as u64;
        assert_eq!(outcome.dax.reproduced, 128 - upgraded_later, "after {faults}: {:?}", outcome.divergences);
        for divergence in &outcome.divergences {
            let soft_dirty = divergence.recorded.replace("025 ->", "825 ->").replace("027,", "827,");
            assert_eq!((divergence.why, &divergence.simulated), ("old entry", &soft_dirty));
        }
        assert_eq!(outcome.dax.recorded, 128);
        assert!(!outcome.ignored.keys().any(|what| what.contains("mremap")), "{:?}", outcome.ignored);
    }
}
