//! Whole files, and what is left of damaged ones.

use std::path::{Path, PathBuf};

use daxsim_types::VirtAddr;
use proptest::prelude::*;

use super::layout::{BLOCK_HEADER, FILE_HEADER, TRAILER};
use super::*;
use crate::TraceError;
use crate::access::{
    AccessBatch, AccessCounts, AccessOp, AccessReader, AccessRecord, Extras, OrderRun, Reading,
};

/// Some accesses of a thread, all different.
fn accesses(thread: u32, count: usize) -> Vec<AccessRecord> {
    let of = |n: usize| AccessRecord {
        va: VirtAddr((u64::from(thread) << 40) + (n as u64 * 7919) % (1 << 30)),
        gap: (n % 5) as u32,
        size: 8,
        op: if n.is_multiple_of(3) { AccessOp::Store } else { AccessOp::Load },
        dependent: n.is_multiple_of(11),
    };
    (0..count).map(of).collect()
}

/// A file of several blocks: thread 0 has two full ones and a part of one, thread 9 a part of one.
fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    let of_0 = accesses(0, 2 * BLOCK_RECORDS + 100);
    let of_9 = accesses(9, 500);
    for (part, other) in of_0.chunks(10_000).zip(of_9.chunks(40).chain(std::iter::repeat(&[][..]))) {
        writer.push(0, part).unwrap();
        writer.push(9, other).unwrap();
    }
    let mut counts = AccessCounts::default();
    counts.add(&of_0);
    counts.add(&of_9);
    let (description, len) = writer.finish("test", "sample", &Reading::default()).unwrap();
    assert_eq!(description.counts, counts);
    assert_eq!(len, bytes.len() as u64);
    bytes
}

struct Opened {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file_of(bytes: &[u8]) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.dxt");
    std::fs::write(&path, bytes).unwrap();
    Opened { _dir: dir, path }
}

/// All accesses of each thread that can be read, and what was met.
fn read(path: &Path) -> Result<(Vec<(u32, AccessRecord)>, Reading), TraceError> {
    let mut reader = Reader::open(path)?;
    let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
    while reader.next_batch(&mut batch)? {
        all.extend(batch.records.iter().map(|record| (batch.thread, *record)));
    }
    Ok((all, reader.reading().clone()))
}

fn of_thread(all: &[(u32, AccessRecord)], thread: u32) -> Vec<AccessRecord> {
    all.iter().filter(|(t, _)| *t == thread).map(|(_, record)| *record).collect()
}

#[test]
fn what_is_written_is_read() {
    let file = file_of(&sample());
    let (all, reading) = read(&file.path).unwrap();
    assert_eq!(of_thread(&all, 0), accesses(0, 2 * BLOCK_RECORDS + 100));
    assert_eq!(of_thread(&all, 9), accesses(9, 500));
    assert_eq!(reading, Reading::default());
    let opened = File::open(&file.path).unwrap();
    assert_eq!(opened.threads(), [0, 9]);
    assert_eq!(opened.blocks().len(), 4);
    assert_eq!(opened.description().unwrap().counts.records(), 2 * BLOCK_RECORDS as u64 + 600);
    let instructions: u64 = opened.blocks().iter().map(|b| b.instructions).sum();
    assert_eq!(instructions, opened.description().unwrap().counts.instructions);
}

#[test]
fn blocks_are_read_in_any_order_and_by_thread() {
    let file = file_of(&sample());
    let opened = File::open(&file.path).unwrap();
    let mut blocks = BlockReader::new(&opened).unwrap();
    let mut batch = AccessBatch::default();
    blocks.read(&opened, &opened.blocks()[1], &mut batch).unwrap();
    assert_eq!(batch.records, accesses(0, 2 * BLOCK_RECORDS)[BLOCK_RECORDS..]);
    blocks.read(&opened, &opened.blocks()[0], &mut batch).unwrap();
    assert_eq!(batch.records, accesses(0, BLOCK_RECORDS));
    let mut reader = Reader::of(opened.into(), Some(9)).unwrap();
    assert!(reader.next_batch(&mut batch).unwrap());
    assert_eq!((batch.thread, batch.records.len()), (9, 500));
    assert!(!reader.next_batch(&mut batch).unwrap());
}

#[test]
fn text_comes_out_as_it_went_in_but_for_damaged_blocks() {
    use std::io::Read;
    let line = |n: usize| {
        format!(
            "task-{} [{:03}] {}.{:06}: event: at={:#x}\n",
            n % 9,
            n % 4,
            n / 1000,
            n * 7 % 1_000_000,
            n << 12
        )
    };
    let text: String = (0..40_000).map(line).collect();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    for part in text.as_bytes().chunks(100_000) {
        writer.push_text(part).unwrap();
    }
    writer.finish("test", "text", &Reading::default()).unwrap();
    let read = |bytes: &[u8]| {
        let file = file_of(bytes);
        let mut input = crate::open(&file.path).unwrap();
        let mut text = Vec::new();
        let end = input.read_to_end(&mut text).map_err(|e| TraceError::from_io(e, &file.path).to_string());
        (text, end.err())
    };
    assert!(read(&bytes) == (text.clone().into_bytes(), None));
    assert!(bytes.len() * 10 < text.len(), "{}", bytes.len());
    let blocks = File::open(&file_of(&bytes).path).unwrap().lines().to_vec();
    assert!(blocks.len() > 1);
    bytes[blocks[0].offset as usize + BLOCK_HEADER + 9] ^= 4;
    let (left, error) = read(&bytes);
    assert!(left == text.as_bytes()[blocks[0].instructions as usize..]);
    let error = error.unwrap();
    assert!(error.contains(&format!("left out: a block of {} lines", blocks[0].records)), "{error}");
    assert!(error.contains("found bytes with checksum"), "{error}");
}

#[test]
fn an_empty_trace_is_a_file_too() {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).unwrap().finish("test", "none", &Reading::default()).unwrap();
    let (all, reading) = read(&file_of(&bytes).path).unwrap();
    assert_eq!((all, reading), (Vec::new(), Reading::default()));
}

#[test]
fn a_cut_file_yields_all_whole_blocks() {
    let bytes = sample();
    let file = file_of(&bytes);
    let blocks = File::open(&file.path).unwrap().blocks().to_vec();
    let ends: Vec<usize> =
        blocks.iter().map(|b| b.offset as usize + BLOCK_HEADER + b.stored as usize).collect();
    let cuts = [FILE_HEADER, FILE_HEADER + 5, ends[0] - 1, ends[0], ends[1] + 20, ends[2], bytes.len() - 1];
    for cut in cuts {
        let file = file_of(&bytes[..cut]);
        let (all, reading) = read(&file.path).unwrap();
        let whole: u32 =
            blocks.iter().zip(&ends).filter(|(_, end)| **end <= cut).map(|(b, _)| b.records).sum();
        assert_eq!(all.len(), whole as usize, "{cut}");
        assert!(reading.damaged > 0, "{cut}");
        assert!(
            reading.damage[0].contains("DXTEND") || reading.damage[0].contains("end of the file"),
            "{:?}",
            reading.damage
        );
    }
    assert!(matches!(read(&file_of(&bytes[..10]).path), Ok((all, _)) if all.is_empty()));
}

#[test]
fn a_damaged_block_is_left_out_and_told() {
    let mut bytes = sample();
    let blocks = File::open(&file_of(&bytes).path).unwrap().blocks().to_vec();
    bytes[blocks[1].offset as usize + BLOCK_HEADER + 100] ^= 0x10;
    let (all, reading) = read(&file_of(&bytes).path).unwrap();
    let expected = accesses(0, 2 * BLOCK_RECORDS + 100);
    let of_0 = of_thread(&all, 0);
    assert_eq!(of_0[..BLOCK_RECORDS], expected[..BLOCK_RECORDS]);
    assert_eq!(of_0[BLOCK_RECORDS..], expected[2 * BLOCK_RECORDS..]);
    assert_eq!(reading.damaged, 1);
    let place = format!("t.dxt: at byte {}: found bytes with checksum", blocks[1].offset);
    assert!(reading.damage[0].contains(&place), "{:?}", reading.damage);
    assert!(reading.damage[0].ends_with("block 1 with 65536 accesses is left out"), "{:?}", reading.damage);
}

#[test]
fn missing_bytes_cost_one_block() {
    let mut bytes = sample();
    let blocks = File::open(&file_of(&bytes).path).unwrap().blocks().to_vec();
    assert!(blocks[1].stored > 200);
    let at = blocks[1].offset as usize + BLOCK_HEADER + 100;
    bytes.drain(at..at + 60);
    let (all, reading) = read(&file_of(&bytes).path).unwrap();
    assert_eq!(of_thread(&all, 0).len(), BLOCK_RECORDS + 100);
    assert_eq!(of_thread(&all, 9), accesses(9, 500));
    assert!(reading.damaged >= 2, "the index, and the block: {:?}", reading.damage);
}

#[test]
fn two_files_in_one_are_read_and_told() {
    let bytes = [sample(), sample()].concat();
    let (all, reading) = read(&file_of(&bytes).path).unwrap();
    assert_eq!(all.len(), 2 * (2 * BLOCK_RECORDS + 600));
    let told = reading.damage.iter().any(|text| text.contains("found the header of another .dxt file"));
    assert!(told, "{:?}", reading.damage);
}

#[test]
fn what_is_no_such_file_is_refused() {
    assert!(matches!(File::open(&file_of(b"").path), Err(TraceError::Empty { .. })));
    let error = File::open(&file_of(&[7; 100]).path).unwrap_err().to_string();
    assert!(error.ends_with("at byte 0: found other bytes: expected the mark of a .dxt file"), "{error}");
}

/// Nothing that is read takes more than the bounds say, and nothing panics.
fn survives(bytes: &[u8]) -> usize {
    match read(&file_of(bytes).path) {
        Ok((all, _)) => all.len(),
        Err(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_flipped_bytes_are_taken_for_accesses(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4)
    ) {
        let mut bytes = sample();
        let all = survives(&bytes);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let dir = file_of(&bytes);
        if let Ok((read, reading)) = read(&dir.path) {
            // All is there, or it is said what is not.
            prop_assert!(read.len() == all || reading.damaged > 0);
            let expected = (accesses(0, 2 * BLOCK_RECORDS + 100), accesses(9, 500));
            let known = |(thread, record): &(u32, AccessRecord)| {
                if *thread == 0 { expected.0.contains(record) } else { expected.1.contains(record) }
            };
            prop_assert!(read.iter().step_by(997).all(known));
        }
    }

    #[test]
    fn any_tail_is_survived(tail in prop::collection::vec(any::<u8>(), 0..300), keep in 0_usize..3000) {
        let mut bytes = sample();
        bytes.truncate(keep);
        bytes.extend(tail);
        survives(&bytes);
    }
}

#[test]
fn the_order_of_threads_is_kept_where_it_is_known() {
    let pushed = [(0, 3_u64), (9, 70_000), (0, 70_000), (9, 5), (9, 2)];
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    let mut first = 0;
    for (thread, count) in pushed {
        let records = accesses(thread, count as usize);
        let order = vec![OrderRun { first, count }];
        writer.push_batch(&AccessBatch { thread, records, order, ..AccessBatch::default() }).unwrap();
        first += count;
    }
    writer.finish("test", "order", &Reading::default()).unwrap();
    let file = file_of(&bytes);
    assert!(File::open(&file.path).unwrap().is_ordered());
    let mut reader = Reader::open(&file.path).unwrap();
    let (mut batch, mut of_0, mut of_9) = (AccessBatch::default(), Vec::new(), Vec::new());
    while reader.next_batch(&mut batch).unwrap() {
        assert_eq!(batch.order.iter().map(|run| run.count).sum::<u64>(), batch.records.len() as u64);
        let of = if batch.thread == 0 { &mut of_0 } else { &mut of_9 };
        batch.order.iter().for_each(|run| order::append(of, *run));
    }
    let run = |first, count| OrderRun { first, count };
    assert_eq!(of_0, [run(0, 3), run(70_003, 70_000)]);
    assert_eq!(of_9, [run(3, 70_000), run(140_003, 7)]);
    assert!(!File::open(&file_of(&sample()).path).unwrap().is_ordered());
}

#[test]
fn what_else_is_known_of_accesses_is_there_for_who_asks() {
    let records = accesses(5, 70_000);
    let of = |number: usize| Extras {
        weights: (0..number).map(|n| n as u32 % 900).collect(),
        physical: records.iter().take(number).map(|r| (r.va.0 & 0xfff) | 0x7000).collect(),
        kernel: (0..number).map(|n| n % 1000 > 600).collect(),
    };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    let batch =
        AccessBatch { thread: 5, records: records.clone(), extras: of(70_000), ..AccessBatch::default() };
    writer.push_batch(&batch).unwrap();
    // Thread 6 has none, and thread 7 not for all.
    writer.push(6, &records[..10]).unwrap();
    let few =
        AccessBatch { thread: 7, records: records[..10].to_vec(), extras: of(10), ..AccessBatch::default() };
    writer.push_batch(&few).unwrap();
    writer.push(7, &records[..10]).unwrap();
    let (description, _) = writer.finish("test", "extras", &Reading::default()).unwrap();
    assert_eq!((description.extras.weighed, description.extras.physical), (70_010, 70_010));
    let file = file_of(&bytes);
    let read = |extras: bool| {
        let reader = Reader::open(&file.path).unwrap();
        let mut reader = if extras { reader.with_extras() } else { reader };
        let (mut batch, mut all, mut with) = (AccessBatch::default(), Vec::new(), Extras::default());
        while reader.next_batch(&mut batch).unwrap() {
            all.push((batch.thread, batch.records.clone()));
            if batch.thread == 5 {
                with.append(with.weights.len(), &batch.extras, 0, batch.records.len());
            } else {
                assert_eq!(batch.extras, Extras::default());
            }
        }
        assert_eq!(reader.reading().extras, description.extras);
        (all, with)
    };
    let (plain, none) = read(false);
    let (asked, all) = read(true);
    assert_eq!(plain, asked);
    assert_eq!(none, Extras::default());
    assert!(all == of(70_000), "the columns differ");
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    // A block that says it has 4 MiB more than a block may.
    let payload = zstd::bulk::compress(&vec![0_u8; 2 * BLOCK_BYTES], 3).unwrap();
    let mut table = vec![1, 1, 0, 0];
    table.extend((2 * BLOCK_BYTES as u32).to_le_bytes());
    table.extend((payload.len() as u32).to_le_bytes());
    table.extend(&payload);
    for raw in [2 * BLOCK_BYTES as u32, BLOCK_BYTES as u32] {
        let header = layout::BlockHeader {
            flags: 0,
            kind: 1,
            columns: 1,
            stored: table.len() as u32,
            raw,
            records: 10,
            thread: 0,
            first: 0,
            instructions: 0,
            sum: crc32fast::hash(&table),
        };
        let mut bytes = layout::file_header().to_vec();
        bytes.extend(header.to_bytes());
        bytes.extend(&table);
        let (all, reading) = read(&file_of(&bytes).path).unwrap();
        assert!(all.is_empty());
        assert!(reading.damaged > 0);
        assert!(bytes.len() > TRAILER);
    }
}
