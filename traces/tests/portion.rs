//! Part of a long input tells about what all of it would.

use std::io::Read;
use std::path::{Path, PathBuf};

use daxsim_traces::access::Reading;
use daxsim_traces::dxt::Writer;
use daxsim_traces::ftrace::{self, EventReader, Portion, Record};

/// What events said: how many, first and last time.
type Seen = (u64, u64, u64);

fn read(reader: &mut dyn EventReader) -> Seen {
    let (mut record, mut count, mut first, mut last) = (Record::default(), 0, u64::MAX, 0);
    while reader.next_record(&mut record).unwrap() {
        count += 1;
        first = first.min(record.time_ns);
        last = last.max(record.time_ns);
    }
    (count, first, last)
}

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name)
}

fn plain(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    daxsim_traces::open(recorded(name)).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn whole(path: &Path) -> Seen {
    read(ftrace::open(path).unwrap().as_mut())
}

/// Reads a part, and compares the estimate with the truth.
fn part(path: &Path, most: u64, within: f64) -> (Seen, Portion) {
    let truth = whole(path);
    let mut reader = ftrace::open_portion(path, most).unwrap();
    let found = read(reader.as_mut());
    let portion = reader.portion().unwrap();
    let name = path.display();
    assert!(found.0 < truth.0 * 3 / 4, "{name}: {} of {} are read", found.0, truth.0);
    assert!(portion.read < portion.of, "{name}: {portion:?}");
    let off = (portion.events as f64 / truth.0 as f64 - 1.0).abs();
    assert!(off < within, "{name}: {} events estimated of {}", portion.events, truth.0);
    if portion.has_ends {
        assert_eq!((found.1, found.2), (truth.1, truth.2), "{name}");
    }
    (truth, portion)
}

#[test]
fn a_portion_of_every_form_tells_how_many_events_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let text = plain("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz");
    let many = text.len() as u64 / 3;
    let path = dir.path().join("trace.txt");
    std::fs::write(&path, &text).unwrap();
    assert!(part(&path, many, 0.1).1.has_ends);
    // Compressed text can only be read from its begin.
    let path = dir.path().join("trace.txt.zst");
    std::fs::write(&path, zstd::bulk::compress(&text, 3).unwrap()).unwrap();
    assert!(!part(&path, many, 0.5).1.has_ends);
    // Enough text for some blocks.
    let path = dir.path().join("trace.dxt");
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap()).unwrap();
    let times = (8 << 20) / text.len() + 1;
    for _ in 0..times {
        writer.push_text(&text).unwrap();
    }
    writer.finish("ftrace", "t", &Reading::default()).unwrap();
    assert!(part(&path, 2 << 20, 0.2).1.has_ends);
    // The pages of each CPU.
    let dat = "kernel-7.2/ext4/s21_unmap_4threads/trace.dat.xz";
    assert!(part(&recorded(dat), 256 << 10, 0.25).1.has_ends);
    // perf says itself when the first and last sample were.
    let perf = plain("kernel-6.12/ext4/s10_msync_loop/perf.data.xz");
    let path = dir.path().join("perf.data");
    std::fs::write(&path, &perf).unwrap();
    let (truth, portion) = part(&path, perf.len() as u64 / 4, 0.3);
    assert_eq!(portion.span, Some((truth.1, truth.2)));
    let text = plain("kernel-6.12/ext4/s16_map_sync/perf.script.txt.xz");
    let path = dir.path().join("perf.script.txt");
    std::fs::write(&path, &text).unwrap();
    assert!(part(&path, text.len() as u64 / 3, 0.3).1.has_ends);
}

#[test]
fn what_is_not_long_is_read_as_a_whole() {
    for name in [
        "kernel-7.2/ext4/s21_unmap_4threads/trace.dat.xz",
        "kernel-7.2/ext4/s21_unmap_4threads/trace.dat.txt.xz",
        "kernel-6.12/ext4/s16_map_sync/perf.data.xz",
        "kernel-6.12/ext4/s16_map_sync/perf.script.txt.xz",
    ] {
        let mut reader = ftrace::open_portion(&recorded(name), 1 << 30).unwrap();
        assert_eq!(read(reader.as_mut()), whole(&recorded(name)), "{name}");
        assert_eq!(reader.portion(), None, "{name}");
    }
}
