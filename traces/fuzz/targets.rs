//! What has to hold of any bytes: no reader panics, none reads on for ever, none holds more than its bounds, and how the bytes
//! come makes no difference. The fuzz targets call these, and `traces/tests/corpus.rs` with the bytes found so far.

#![allow(dead_code)] // each target uses one

use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use daxsim_traces::access::{
    self, AccessBatch, AccessReader, AccessRecord, ChampSim, Fetches, Lackey, Touched,
};
use daxsim_traces::drmemtrace::DrMemTrace;
use daxsim_traces::dxt::{BLOCK_RECORDS, BlockReader, File, Reader, TextReader};
use daxsim_traces::ftrace::{self, EventReader};
use daxsim_traces::script::Script;
use daxsim_traces::{InputKind, fault_table, layout, oplog, perf, tracedat};

/// All records of a reader, and why it ended.
fn all(reader: &mut dyn AccessReader) -> (Vec<AccessRecord>, Option<String>) {
    let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
    loop {
        match reader.next_batch(&mut batch) {
            Ok(true) => {
                assert!((1..=BLOCK_RECORDS).contains(&batch.records.len()));
                all.append(&mut batch.records);
            }
            Ok(false) => return (all, None),
            Err(error) => return (all, Some(error.to_string())),
        }
    }
}

/// Lines of valgrind's lackey. However the bytes come, the records are the same.
pub fn lackey(bytes: &[u8]) {
    let read = |piece: usize| {
        let mut reader = Lackey::new(BufReader::with_capacity(piece, bytes), "t", Fetches::Keep);
        (all(&mut reader), reader.reading().clone())
    };
    let whole = read(1 << 16);
    assert_eq!(read(7), whole);
    let mut touched = Touched::default();
    touched.add(&whole.0.0);
    assert_eq!(touched.ranges(4).iter().map(|range| range.pages).sum::<u64>(), touched.pages());
}

/// Gives one byte at a time.
struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let some = buf.len().min(1);
        self.0.read(&mut buf[..some])
    }
}

/// Records of ChampSim.
pub fn champsim(bytes: &[u8]) {
    let whole = all(&mut ChampSim::new(bytes, "t", Fetches::Keep));
    assert_eq!(all(&mut ChampSim::new(OneByOne(bytes), "t", Fetches::Keep)), whole);
}

fn dxt_of(bytes: &[u8]) -> Option<(Vec<AccessRecord>, u64)> {
    let file = Arc::new(File::find(&mut Cursor::new(bytes), Path::new("t")).ok()?);
    let told: usize = file.blocks().iter().map(|block| block.records as usize).sum();
    let blocks = BlockReader::of(Cursor::new(bytes)).ok()?;
    let mut reader = Reader::with(Arc::clone(&file), blocks, None).with_extras();
    let (records, error) = all(&mut reader);
    assert_eq!(error, None, "what is damaged is left out");
    let mut text = Vec::new();
    let lines = file.lines().iter().map(|block| block.instructions).sum::<u64>();
    let again = File::find(&mut Cursor::new(bytes), Path::new("t")).ok()?;
    let damaged = again.damaged();
    let end = TextReader::new(again, BlockReader::of(Cursor::new(bytes)).ok()?).read_to_end(&mut text);
    assert!(end.is_err() || (text.len() as u64 == lines && damaged == 0));
    assert!(records.len() == told || reader.reading().damaged > 0);
    Some((records, reader.reading().damaged))
}

/// A whole file.
pub fn dxt(bytes: &[u8]) {
    dxt_of(bytes);
}

/// The checksum of the format, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A block whose checksums hold, whatever is in it: so the columns are reached. The first bytes are its numbers.
pub fn dxt_block(bytes: &[u8]) {
    let Some((numbers, payload)) = bytes.split_at_checked(12) else { return };
    let mut file = b"\x89DXT\r\n\x1a\n\x01\0".to_vec();
    file.resize(28, 0);
    file.extend(crc32(&file).to_le_bytes());
    let mut header = b"DXTB".to_vec();
    // Kind and columns; stored bytes; decompressed bytes; records.
    header.extend([numbers[0] & 7, 0, numbers[1] & 31, 0]);
    header.extend((payload.len() as u32).to_le_bytes());
    header.extend(&numbers[4..8]);
    header.extend(&numbers[8..12]);
    header.resize(32, 0);
    // Of lines, the bytes of their text.
    header.extend([numbers[2], numbers[3], 0, 0, 0, 0, 0, 0]);
    header.extend(crc32(payload).to_le_bytes());
    header.extend(crc32(&header).to_le_bytes());
    file.extend(header);
    file.extend(payload);
    dxt_of(&file);
}

/// Text of tracefs.
pub fn ftrace(bytes: &[u8]) {
    let read = |piece: usize| {
        let mut reader = ftrace::Reader::new(BufReader::with_capacity(piece, bytes), "t");
        let mut record = ftrace::Record::default();
        while reader.next_record(&mut record).unwrap_or(false) {}
        reader.stats().clone()
    };
    assert_eq!(read(1 << 16), read(11));
}

/// Reads events to the end, and says how many there were and why it ended.
fn events(reader: &mut dyn EventReader) -> (u64, Option<String>) {
    let mut record = ftrace::Record::default();
    for number in 0.. {
        match reader.next_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return (number, None),
            Err(error) => return (number, Some(error.to_string())),
        }
    }
    (0, None)
}

/// Files of trace-cmd. Reading twice gives the same.
pub fn trace_dat(bytes: &[u8]) {
    let read = || {
        let mut reader = match tracedat::Reader::of_bytes(bytes.to_vec(), Path::new("t")) {
            Ok(reader) => reader,
            Err(error) => return (ftrace::Stats::default(), (0, Some(error.to_string()))),
        };
        let end = events(&mut reader);
        (EventReader::stats(&reader).clone(), end)
    };
    assert_eq!(read(), read());
}

/// Files of perf, with their events and their accesses.
pub fn perf_data(bytes: &[u8]) {
    if let Ok(mut reader) = perf::Reader::of_bytes(bytes.to_vec(), Path::new("t")) {
        let (count, _) = events(&mut reader);
        assert_eq!(reader.stats().records, count);
    }
    if let Ok(mut reader) = perf::MemReader::of_bytes(bytes.to_vec(), Path::new("t")) {
        all(&mut reader);
    }
}

/// Text of `perf script`. However the bytes come, the records are the same.
pub fn perf_script(bytes: &[u8]) {
    let read = |piece: usize| {
        let mut reader = perf::ScriptReader::new(BufReader::with_capacity(piece, bytes), "t");
        (events(&mut reader), reader.stats().clone())
    };
    assert_eq!(read(1 << 16), read(11));
}

/// Entries of drmemtrace.
pub fn drmemtrace(bytes: &[u8]) {
    let whole = all(&mut DrMemTrace::new(bytes, "t", Fetches::Keep));
    assert_eq!(all(&mut DrMemTrace::new(OneByOne(bytes), "t", Fetches::Keep)), whole);
}

/// Scripts, tables and logs.
pub fn script(bytes: &[u8]) {
    let file = Path::new("t");
    let _ = Script::read(bytes, file);
    let _ = fault_table::read(bytes, file);
    let _ = layout::read(bytes, file);
    let _ = oplog::read(bytes, file);
}

/// A file of any kind, compressed or not.
pub fn input(bytes: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("t");
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    let Ok(mut input) = daxsim_traces::open(&path) else { return };
    let Ok(kind) = input.sniff() else { return };
    match kind {
        kind if kind.is_events() => {
            let Ok(mut reader) = ftrace::open(&path) else { return };
            let mut record = ftrace::Record::default();
            for _ in 0..1 << 16 {
                if !reader.next_record(&mut record).unwrap_or(false) {
                    break;
                }
            }
        }
        InputKind::Script => {
            let mut text = Vec::new();
            let _ = input.take(1 << 24).read_to_end(&mut text);
        }
        kind => {
            let Ok(mut reader) = access::reader_of(input, kind, Fetches::Keep) else { return };
            let mut batch = AccessBatch::default();
            for _ in 0..64 {
                if !reader.next_batch(&mut batch).unwrap_or(false) {
                    break;
                }
            }
        }
    }
}
