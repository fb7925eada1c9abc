//! Recorded accesses: what valgrind counted, and a file of version 1 of the format.

use std::path::{Path, PathBuf};

use daxsim_traces::access::{
    self, AccessBatch, AccessCounts, AccessOp, AccessRecord, Fetches, Range, Reading, Touched,
};
use daxsim_types::VirtAddr;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn read(name: &str) -> (Vec<AccessRecord>, Reading) {
    let mut reader = access::open(&data(name), Fetches::Count).unwrap();
    let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
    while reader.next_batch(&mut batch).unwrap() {
        all.append(&mut batch.records);
    }
    (all, reader.reading().clone())
}

#[test]
fn a_recorded_program_did_what_its_source_says() {
    let (records, reading) = read("mapped.lackey.xz");
    const AT: u64 = 0x100_0000_0000;
    let of = |op| records.iter().filter(move |r| r.op == op).map(|r| r.va);
    let loads = (0..64 * 8).map(|n| VirtAddr(AT + n / 8 * 4096 + n % 8 * 64));
    assert!(of(AccessOp::Load).eq(loads));
    assert!(of(AccessOp::Store).eq((0..32).map(|n| VirtAddr(AT + n * 8192))));
    assert!(of(AccessOp::Modify).eq((0..16).map(|n| VirtAddr(AT + n * 16384 + 64))));
    assert!(records.iter().all(|r| r.size == 8));
    let instructions: u64 = records.iter().map(|r| u64::from(r.gap)).sum();
    // `guest instrs: 3,120`
    assert_eq!(instructions + reading.trailing_instructions, 3120);
    assert_eq!((reading.other_lines, reading.damaged), (1, 0));
}

#[test]
fn files_of_version_1_stay_readable() {
    let (records, reading) = read("sqlite_mmap.dxt");
    assert_eq!(reading, Reading::default());
    let mut counts = AccessCounts::default();
    counts.add(&records);
    // Lines of the recording by their letters.
    assert_eq!((counts.loads, counts.stores, counts.modifies), (2_951_738, 1_305_619, 90_949));
    // FNV-1a of all that a record has; computed from the text, by another program.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for r in &records {
        for word in [r.va.0, u64::from(r.gap), u64::from(r.size), r.op as u64, u64::from(r.dependent)] {
            hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
        }
    }
    assert_eq!(hash, 0xb082_4bd6_6c7d_3e13);
    let mut touched = Touched::default();
    touched.add(&records);
    assert_eq!(touched.pages(), 1557);
    assert_eq!(touched.ranges(64).first(), Some(&Range { start: 0x10_8000, end: 0x15_4000, pages: 17 }));
}
