//! Inputs made to do harm: each is read in bounded memory, and told of.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use daxsim_traces::access::{self, AccessBatch, AccessReader, AccessRecord, ChampSim, Fetches, Reading};
use daxsim_traces::dxt::{self, Writer};
use daxsim_traces::ftrace::{Reader, Record};
use daxsim_traces::script::Script;
use daxsim_traces::{InputKind, TraceError, open};

/// Bytes that a bomb becomes when it is decompressed.
const BOMB: u64 = 128 << 20;
/// Memory that reading it may take.
const MOST: u64 = 64 << 20;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// A head, and then so many bytes of one kind, compressed as they come.
fn bomb(compression: &str, head: &str, byte: u8) -> Vec<u8> {
    fn fill(out: &mut dyn Write, head: &str, byte: u8) {
        out.write_all(head.as_bytes()).unwrap();
        let chunk = vec![byte; 1 << 20];
        (0..BOMB >> 20).for_each(|_| out.write_all(&chunk).unwrap());
    }
    match compression {
        "gz" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            fill(&mut out, head, byte);
            out.finish().unwrap()
        }
        "xz" => {
            let mut out = liblzma::write::XzEncoder::new(Vec::new(), 0);
            fill(&mut out, head, byte);
            out.finish().unwrap()
        }
        _ => {
            let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            fill(&mut out, head, byte);
            out.finish().unwrap()
        }
    }
}

/// The most memory that this process had so far, in bytes (`VmHWM`).
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn all(reader: &mut dyn AccessReader) -> (u64, Option<TraceError>, Reading) {
    let mut batch = AccessBatch::default();
    let mut count = 0;
    let error = loop {
        match reader.next_batch(&mut batch) {
            Ok(true) => count += batch.records.len() as u64,
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    (count, error, reader.reading().clone())
}

#[test]
fn bombs_take_no_memory() {
    // One line of an eighth of a gibibyte, in each of the languages.
    for compression in ["gz", "xz", "zst"] {
        let bytes = bomb(compression, " L 1000,8\n", b'x');
        assert!(bytes.len() < 4 << 20, "{compression}");
        let (_dir, path) = file("lackey", &bytes);
        drop(bytes);
        let before = peak();
        let (count, error, reading) = all(access::open(&path, Fetches::Count).unwrap().as_mut());
        assert!(count == 1 && error.is_none(), "{error:?}");
        assert_eq!(reading.damaged, 1, "the line has no end");
        assert!(peak() - before < MOST, "{compression}: {}", peak() - before);
    }
    let before = peak();
    let (_dir, path) = file("script", &bomb("zst", "0 nop\n", b' '));
    let error = Script::open(&path).unwrap_err().to_string();
    assert!(error.contains("a line of more than 1048576 bytes"), "{error}");
    let trace =
        "# tracer: nop\n x-1 [000] ..... 1.000001: page_fault_user: address=0x0 ip=0x0 error_code=0x4\n";
    let (_dir, path) = file("ftrace", &bomb("xz", trace, b'y'));
    let mut reader = Reader::open(&path).unwrap();
    let mut record = Record::default();
    while reader.next_record(&mut record).unwrap_or(false) {}
    assert_eq!(reader.stats().records, 1);
    // Zeros are records of ChampSim in which nothing happens.
    let first = [[1_u8; 8].as_slice(), &[0; 56]].concat();
    let (_dir, path) = file("champsim", &bomb("gz", std::str::from_utf8(&first).unwrap(), 0));
    let (count, error, reading) = all(access::open(&path, Fetches::Count).unwrap().as_mut());
    assert!(count == 0 && error.is_none());
    assert_eq!(reading.trailing_instructions, BOMB / 64 + 1);
    assert!(peak() - before < MOST, "{}", peak() - before);
}

#[test]
fn what_is_compressed_twice_is_not_decompressed_twice() {
    let once = bomb("zst", " L 1000,8\n", b'x');
    let mut twice = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    twice.write_all(&once).unwrap();
    let (_dir, path) = file("nested", &twice.finish().unwrap());
    let error = open(&path).unwrap().sniff().unwrap_err().to_string();
    assert!(error.contains("nested"), "{error}");
    // A .dxt is compressed by itself.
    let mut dxt = Vec::new();
    Writer::new(&mut dxt).unwrap().finish("test", "t", &Reading::default()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&dxt).unwrap();
    let (_dir, path) = file("packed", &packed.finish().unwrap());
    let refused = access::open(&path, Fetches::Count).map(drop).unwrap_err().to_string();
    assert!(refused.contains("compressed already"), "{refused}");
}

#[test]
fn numbers_of_the_other_endianness_are_told() {
    let mut dxt = Vec::new();
    let mut writer = Writer::new(&mut dxt).unwrap();
    writer.push(0, &[AccessRecord::default(); 10]).unwrap();
    writer.finish("test", "t", &Reading::default()).unwrap();
    // The version, as a machine of the other kind would write it, with the checksum over that.
    dxt.swap(8, 9);
    let (_dir, path) = file("t.dxt", &dxt);
    let told = match dxt::File::open(&path) {
        Ok(file) => file.damage().first().map(ToString::to_string),
        Err(error) => Some(error.to_string()),
    };
    assert!(
        told.as_deref().is_some_and(|told| told.contains("checksum") || told.contains("version")),
        "{told:?}"
    );
    // Instructions of ChampSim whose flags are no bytes of 0 and 1.
    let mut record = [0_u8; 64];
    record[..8].copy_from_slice(&0x40_0000_u64.to_be_bytes());
    record[32..40].copy_from_slice(&0x7f00_0000_1000_u64.to_be_bytes());
    let (count, error, _) = all(&mut ChampSim::new(&record[..], "t", Fetches::Count));
    // Its addresses are read as they stand, and are none that a program has: a replay counts their signals.
    assert!(count == 1 && error.is_none());
    let mut batch = AccessBatch::default();
    ChampSim::new(&record[..], "t", Fetches::Count).next_batch(&mut batch).unwrap();
    assert!(batch.records[0].va.0 >> 47 != 0);
}

#[test]
fn two_files_put_together_are_read_one_after_the_other() {
    let twice = |bytes: &[u8]| [bytes, bytes].concat();
    let lackey = twice(b"==1== Lackey\nI  0400,3\n L 1000,8\n S 2000,4\n==1== end\n");
    let (_dir, path) = file("lackey", &lackey);
    let (count, error, reading) = all(access::open(&path, Fetches::Count).unwrap().as_mut());
    assert_eq!((count, error.is_none(), reading.tool_lines, reading.damaged), (4, true, 4, 0));
    let mut dxt = Vec::new();
    let mut writer = Writer::new(&mut dxt).unwrap();
    writer.push(0, &[AccessRecord::default(); 10]).unwrap();
    writer.finish("test", "t", &Reading::default()).unwrap();
    let (_dir, path) = file("t.dxt", &twice(&dxt));
    let (count, error, reading) = all(access::open(&path, Fetches::Count).unwrap().as_mut());
    assert!(error.is_none() && reading.damaged > 0);
    assert_eq!(count, 20);
    let (_dir, path) = file("script", &twice(b"@threads 1 0\n0 nop\n"));
    let error = Script::open(&path).unwrap_err().to_string();
    assert!(error.contains(":3:1: ") && error.contains("before the first line of work"), "{error}");
}

#[test]
fn absurd_counts_are_refused_with_their_bounds() {
    for (line, bound) in [
        ("@threads 99999999999 0", "1024"),
        ("0 file 0 f 0xffffffffffffffff fill", ""),
        ("0 map 0 0 0 0xfffffffffffff000 rw shared 0x1000", ""),
    ] {
        let text = format!("{line}\n0 nop\n");
        match Script::parse(&text, Path::new("t")) {
            Ok(script) => assert!(script.threads.len() <= 1024),
            Err(error) => assert!(error.to_string().contains(bound), "{error}"),
        }
    }
    // A size that no field has, an address of seventeen digits: lines that are no accesses.
    let lackey = b" L 1000,8\n L 1000,99999999999\n L 12345678901234567,8\n";
    let (_dir, path) = file("t", lackey);
    let (count, _, reading) = all(access::open(&path, Fetches::Count).unwrap().as_mut());
    assert_eq!((count, reading.other_lines), (1, 2));
    assert_eq!(open(&path).unwrap().sniff().unwrap(), InputKind::Lackey);
    let mut text = String::new();
    open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), lackey.len());
}
