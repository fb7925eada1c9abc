//! The threads of a drmemtrace folder, in the order of the times in it, zipped or not.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use daxsim_traces::access::{AccessBatch, AccessReader, Fetches};
use daxsim_traces::drmemtrace::{Merged, files, threads};

const LOAD: u16 = 0;
const STORE: u16 = 1;
const THREAD: u16 = 22;
const PID: u16 = 24;
const HEADER: u16 = 25;
const FOOTER: u16 = 26;
const MARKER: u16 = 28;
const TIMESTAMP: u16 = 2;

/// A thread's file: stretches of a time and addresses.
fn trace(thread: u64, stretches: &[(u64, &[u64])]) -> Vec<u8> {
    let mut entries = vec![(HEADER, 0, 4), (MARKER, 12, 4), (THREAD, 0, thread), (PID, 0, 7)];
    for (time, addresses) in stretches {
        entries.push((MARKER, TIMESTAMP, *time));
        entries.push((MARKER, 3, 0));
        for address in *addresses {
            entries.extend([(10, 4, 0x40_1000), (if address % 2 == 0 { LOAD } else { STORE }, 8, *address)]);
        }
    }
    entries.push((FOOTER, 0, 0));
    let bytes = |(kind, size, value): &(u16, u16, u64)| {
        [&kind.to_le_bytes()[..], &size.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    entries.iter().flat_map(bytes).collect()
}

/// The same as DynamoRIO zips it: in members, with an entry cut between two.
fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    for part in bytes.chunks(100) {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(part).unwrap();
        let data = encoder.finish().unwrap();
        to.extend(b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0");
        to.extend(crc32fast::hash(part).to_le_bytes());
        to.extend((data.len() as u32).to_le_bytes());
        to.extend((part.len() as u32).to_le_bytes());
        to.extend([5, 0, 0, 0]);
        to.extend(b"chunk");
        to.extend(data);
    }
    to.extend(b"PK\x01\x02");
    to
}

/// Three threads: the second begins first; two have the same time once.
fn folder(zip: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let traces = [
        trace(11, &[(20, &[0x10, 0x12]), (40, &[0x14])]),
        trace(12, &[(10, &[0x20]), (20, &[0x22, 0x23]), (50, &[0x24])]),
        trace(13, &[(30, &[0x30, 0x32, 0x34])]),
    ];
    for (number, bytes) in traces.iter().enumerate() {
        let (name, bytes) = if zip { ("trace.zip", zipped(bytes)) } else { ("trace", bytes.clone()) };
        std::fs::write(dir.path().join(format!("drmemtrace.app.{number}.{name}")), bytes).unwrap();
    }
    std::fs::write(dir.path().join("cpu_schedule.bin.zip"), b"x").unwrap();
    dir
}

/// Thread and address of each access, in the order that the batches say.
fn order(reader: &mut dyn AccessReader, to: &mut BTreeMap<u64, (u32, u64)>) {
    let mut batch = AccessBatch::default();
    while reader.next_batch(&mut batch).unwrap() {
        let places = batch.order.iter().flat_map(|run| run.first..run.first + run.count);
        let before = to.len();
        let records = batch.records.iter().map(|record| (batch.thread, record.va.0));
        to.extend(places.zip(records));
        assert_eq!(to.len(), before + batch.records.len());
    }
}

const EXPECTED: [(u32, u64); 10] = [
    (12, 0x20),
    (11, 0x10),
    (11, 0x12),
    (12, 0x22),
    (12, 0x23),
    (13, 0x30),
    (13, 0x32),
    (13, 0x34),
    (11, 0x14),
    (12, 0x24),
];

#[test]
fn threads_are_merged_by_time_and_then_by_name() {
    for zip in [false, true] {
        let dir = folder(zip);
        let files = files(dir.path()).unwrap();
        assert_eq!(files.len(), 3);
        let mut merged = BTreeMap::new();
        order(&mut Merged::open(&files, Fetches::Count).unwrap(), &mut merged);
        assert_eq!(merged.into_values().collect::<Vec<_>>(), EXPECTED);
        // The same by a reader for each thread.
        let (mut each, mut readers) = (BTreeMap::new(), threads(&files, Fetches::Count).unwrap());
        assert_eq!(readers.len(), 3);
        for reader in &mut readers {
            order(reader.as_mut(), &mut each);
        }
        assert_eq!(each.into_values().collect::<Vec<_>>(), EXPECTED);
    }
}

#[test]
fn threads_of_one_file_are_kept_apart_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.trace");
    let mut both = trace(1, &[(5, &[0x10, 0x12])]);
    both.truncate(both.len() - 12);
    both.extend(&trace(2, &[(4, &[0x20])])[2 * 12..]);
    std::fs::write(&path, both).unwrap();
    let mut readers = threads(&files(&path).unwrap(), Fetches::Count).unwrap();
    let mut each = BTreeMap::new();
    readers.iter_mut().for_each(|reader| order(reader.as_mut(), &mut each));
    assert_eq!(
        (readers.len(), each.into_values().collect::<Vec<_>>()),
        (2, vec![(1, 0x10), (1, 0x12), (2, 0x20)])
    );
}

#[test]
fn a_cut_file_leaves_the_others_and_is_told() {
    let dir = folder(false);
    let files = files(dir.path()).unwrap();
    let bytes = std::fs::read(&files[1]).unwrap();
    std::fs::write(&files[1], &bytes[..bytes.len() - 2 * 12 - 5]).unwrap();
    let mut merged = Merged::open(&files, Fetches::Count).unwrap();
    let mut found = BTreeMap::new();
    order(&mut merged, &mut found);
    assert_eq!(found.into_values().collect::<Vec<_>>(), EXPECTED[..9]);
    assert_eq!(merged.reading().damaged, 1);
    assert!(merged.reading().damage[0].contains("the end of the file"), "{:?}", merged.reading());
}

#[test]
fn a_folder_without_traces_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("trace")).unwrap();
    let error = files(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a folder with 0 files of drmemtrace"), "{error}");
    std::fs::write(dir.path().join("trace/a.trace.gz"), b"x").unwrap();
    assert_eq!(files(dir.path()).unwrap(), [dir.path().join("trace/a.trace.gz")]);
    assert!(Merged::open(&files(Path::new(dir.path())).unwrap(), Fetches::Count).is_err());
}
