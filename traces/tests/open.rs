//! Opening files: compression by content, kinds, and damage.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

use daxsim_traces::ftrace::{Reader, Record};
use daxsim_traces::{Compression, InputKind, TraceError, open};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => data.to_vec(),
        Compression::Xz => {
            let mut out = Vec::new();
            liblzma::read::XzEncoder::new(data, 6).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Zstd => zstd::encode_all(data, 3).unwrap(),
        Compression::Dxt => {
            let mut out = Vec::new();
            let mut writer = daxsim_traces::dxt::Writer::new(&mut out).unwrap();
            writer.push_text(data).unwrap();
            writer.finish("test", "open", &daxsim_traces::access::Reading::default()).unwrap();
            out
        }
        Compression::Zip => zipped(data),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// A .zip with a member for each half.
fn zipped(data: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    for part in data.chunks(data.len().div_ceil(2).max(1)) {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(part).unwrap();
        let packed = encoder.finish().unwrap();
        to.extend(b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0");
        to.extend(crc32fast::hash(part).to_le_bytes());
        to.extend((packed.len() as u32).to_le_bytes());
        to.extend((part.len() as u32).to_le_bytes());
        to.extend([0; 4]);
        to.extend(packed);
    }
    to.extend(b"PK\x01\x02");
    to
}

/// Those that may be cut or damaged.
const PACKED: [Compression; 4] = [Compression::Xz, Compression::Zstd, Compression::Gzip, Compression::Zip];
/// Those that may follow one another in a file.
const COMPRESSED: [Compression; 3] = [Compression::Xz, Compression::Zstd, Compression::Gzip];

/// A trace of `n` events that does not compress to nothing.
fn trace(n: u64) -> Vec<u8> {
    let mut text = String::from("# tracer: nop\n#\n");
    for i in 0..n {
        let address = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        text.push_str(&format!(
            "  daxplay-34  [001] d....  12.{:06}: page_fault_user: address={address:#x} ip=0x2 error_code=0x4\n",
            i % 1_000_000
        ));
    }
    text.into_bytes()
}

#[test]
fn the_name_does_not_matter() {
    let dir = Dir::new();
    let text = trace(10);
    for c in [
        Compression::None,
        Compression::Xz,
        Compression::Zstd,
        Compression::Gzip,
        Compression::Zip,
        Compression::Dxt,
    ] {
        let path = dir.write("trace.bz2", &compress(c, &text));
        let mut input = open(&path).unwrap();
        assert_eq!(input.compression(), c);
        assert_eq!(input.sniff().unwrap(), InputKind::Ftrace);
        let mut back = Vec::new();
        input.read_to_end(&mut back).unwrap();
        assert_eq!(back, text);
    }
}

#[test]
fn parts_put_together_are_one_input() {
    let dir = Dir::new();
    for c in COMPRESSED {
        let mut bytes = compress(c, b"0 nop\n");
        bytes.extend(compress(c, b"0 exit\n"));
        let mut input = open(dir.write("s", &bytes)).unwrap();
        assert_eq!(input.sniff().unwrap(), InputKind::Script);
        let lines: Vec<_> = input.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["0 nop", "0 exit"]);
    }
}

#[test]
fn a_cut_file_gives_the_lines_before_the_cut() {
    let dir = Dir::new();
    let n = 40_000;
    let text = trace(n);
    for c in PACKED {
        let bytes = compress(c, &text);
        for percent in [30, 60, 90] {
            let path = dir.write("cut", &bytes[..bytes.len() * percent / 100]);
            let mut reader = Reader::open(&path).unwrap();
            let mut record = Record::default();
            let error = loop {
                match reader.next_record(&mut record) {
                    Ok(true) => {}
                    Ok(false) => panic!("{c}: the cut was not noticed"),
                    Err(e) => break e,
                }
            };
            let TraceError::Truncated { file, compression, offset, decoded } = error else {
                panic!("{c}: {error}")
            };
            assert_eq!((file, compression), (path.clone(), c));
            assert_eq!(offset, (bytes.len() * percent / 100) as u64);
            let good = reader.stats();
            let expected = n * percent as u64 / 100;
            assert!(good.records * 100 > expected * 80, "{c}: {} of {expected}", good.records);
            assert!(good.unparsable == 0 && decoded >= good.bytes && decoded <= text.len() as u64);
            // It stays an error.
            assert!(matches!(reader.next_record(&mut record), Err(TraceError::Truncated { .. })));
        }
    }
}

#[test]
fn a_damaged_file_says_so() {
    let dir = Dir::new();
    let text = trace(20_000);
    for c in PACKED {
        let mut bytes = compress(c, &text);
        let middle = bytes.len() / 2;
        for b in &mut bytes[middle..middle + 64] {
            *b ^= 0xff;
        }
        let mut reader = Reader::open(dir.write("bad", &bytes)).unwrap();
        let error = reader.records().find_map(Result::err).unwrap();
        assert!(matches!(&error, TraceError::Corrupt { .. }), "{c}: {error}");
        assert!(error.to_string().contains("is damaged before compressed byte"), "{error}");
        assert!(reader.stats().records > 1000, "{c}: {}", reader.stats().records);
    }
}

#[test]
fn a_file_cut_in_its_first_bytes_is_cut() {
    let dir = Dir::new();
    for c in PACKED {
        let path = dir.write("cut", &compress(c, &trace(1000))[..12]);
        let error = open(&path).unwrap().sniff().unwrap_err();
        assert!(matches!(error, TraceError::Truncated { .. }), "{c}: {error}");
    }
}

#[test]
fn what_is_neither_is_refused() {
    let dir = Dir::new();
    let sniff = |bytes: &[u8]| open(dir.write("x", bytes)).unwrap().sniff().unwrap_err();
    assert!(matches!(sniff(b""), TraceError::Empty { .. }));
    assert!(matches!(sniff(&compress(Compression::Xz, b"")), TraceError::Empty { .. }));
    assert!(matches!(sniff(b"\x00\x01\x02"), TraceError::Unrecognised { offset: 0, .. }));
    assert!(matches!(sniff(b"hello world\n"), TraceError::Unrecognised { offset: 0, .. }));
    assert!(matches!(open(dir.0.path().join("none")), Err(TraceError::Io { .. })));
    assert!(matches!(open(dir.0.path()), Err(TraceError::Io { .. })));
    let script = dir.write("s", b"0 nop\n");
    assert!(matches!(Reader::open(script), Err(TraceError::Unrecognised { .. })));
}
