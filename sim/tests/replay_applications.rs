//! Replay of recorded applications: their faults in DAX mappings, and all the others.

use std::path::Path;

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::program::replay::{Outcome, Replayer};
use daxsim_traces::ftrace::{Reader, Record};
use daxsim_types::FileSystem;

fn replay(kernel: &str, application: &str) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../traces/recorded/kernel-{kernel}/ext4/{application}/trace.txt.xz"));
    let machine = load_machine("qemu-tcg", &[]).unwrap();
    let spec = load_kernel(&format!("linux-{kernel}"), &[]).unwrap();
    let mut replayer = Replayer::new(FileSystem::Ext4, machine.cpu.count);
    let mut sim = Simulation::new(machine, spec, FileSystem::Ext4, true);
    let mut reader = Reader::open(folder).unwrap();
    let mut record = Record::default();
    while reader.next_record(&mut record).unwrap() {
        replayer.push(&mut sim, &record).unwrap();
    }
    replayer.finish(&mut sim).unwrap()
}

/// Numbers of recorded faults are those of the recording; the shares are what is asked of a replay.
fn check(kernel: &str, application: &str, dax: u64, other: u64) {
    let outcome = replay(kernel, application);
    assert_eq!(outcome.dax.recorded, dax);
    assert!(outcome.other.recorded >= other, "{:?}: {:?}", outcome.other, outcome.ignored);
    assert!(outcome.dax.reproduced * 100 >= dax * 99, "{:?}", outcome.divergences);
    let all = outcome.all();
    assert!(all.reproduced * 100 >= all.recorded * 95, "{:?}", outcome.divergences);
    assert_eq!(outcome.causes.values().sum::<u64>(), all.diverged);
}

#[test]
fn fio_is_reproduced_with_its_libraries_and_shared_memory() {
    check("6.12", "a01_fio_randwrite_fsync32", 254, 2600);
}

#[test]
fn lmdb_is_reproduced() {
    check("7.2", "a03_lmdb_writemap", 1108, 105);
}

#[test]
fn sqlite_is_reproduced_with_its_heap() {
    check("6.12", "a04_sqlite_wal_mmap", 518, 480);
}

#[test]
fn pmemlog_is_reproduced() {
    check("7.2", "a06_pmemlog_append", 303, 290);
}
