//! Binary files give the same events as their text: `trace.dat` as tracefs text, `perf.data` as the text of `perf script`.

use std::path::{Path, PathBuf};

use daxsim_traces::ftrace::{EventReader, Reader, Record};
use daxsim_traces::{InputKind, ftrace, open, perf, tracedat};

/// The runs that have a file of this name. `DAXSIM_RECORDED` names another tree of runs.
fn runs(name: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("DAXSIM_RECORDED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded"), PathBuf::from);
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(dir) = open.pop() {
        if dir.join(name).exists() {
            found.push(dir.clone());
        }
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

fn all(reader: &mut dyn EventReader) -> Vec<Record> {
    let (mut record, mut records) = (Record::default(), Vec::new());
    while reader.next_record(&mut record).unwrap() {
        records.push(record.clone());
    }
    records
}

/// A record of the binary file as the text has it: whole microseconds, rounded, and no number.
fn as_text(record: &Record) -> Record {
    Record { time_ns: (record.time_ns + 500) / 1000 * 1000, line: 0, ..record.clone() }
}

#[test]
fn a_binary_file_gives_the_events_of_its_text() {
    let runs = runs("trace.dat.xz");
    assert!(runs.len() >= 2);
    for run in runs {
        let name = run.display();
        let mut text = Reader::open(run.join("trace.dat.txt.xz")).unwrap();
        let mut binary = tracedat::Reader::open(run.join("trace.dat.xz")).unwrap();
        let (expected, found) = (all(&mut text), all(&mut binary));
        assert!(expected.len() > 500, "{name}");
        for (expected, found) in expected.iter().zip(&found) {
            let place = format!("{name}: line {}", expected.line);
            assert_eq!(as_text(found), Record { line: 0, ..expected.clone() }, "{place}");
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        assert_eq!(EventReader::stats(&binary).by_event(), text.stats().by_event(), "{name}");
        assert_eq!((EventReader::stats(&binary).lost_events, binary.left_out().len()), (0, 0), "{name}");
    }
}

#[test]
fn perf_data_gives_the_events_of_its_text() {
    let runs = runs("perf.data.xz");
    assert!(runs.len() >= 6);
    for run in runs {
        let name = run.display();
        let mut text = perf::ScriptReader::open(run.join("perf.script.txt.xz")).unwrap();
        let mut binary = perf::Reader::open(run.join("perf.data.xz")).unwrap();
        let (expected, found) = (all(&mut text), all(&mut binary));
        assert!(expected.len() > 900, "{name}");
        for (expected, found) in expected.iter().zip(&found) {
            let place = format!("{name}: line {}", expected.line);
            // perf prints whole microseconds, cut off.
            let found = Record { time_ns: found.time_ns / 1000 * 1000, line: 0, ..found.clone() };
            assert_eq!(found, Record { line: 0, ..expected.clone() }, "{place}");
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        assert_eq!(binary.stats().by_event(), text.stats().by_event(), "{name}");
        let stats = [binary.stats(), text.stats()].map(|s| (s.unparsable, s.unknown, s.lost_events));
        assert_eq!(stats, [(0, 0, 0); 2], "{name}");
    }
}

#[test]
fn each_is_known_by_its_content() {
    let cases = [
        ("trace.dat.xz", InputKind::TraceDat),
        ("trace.dat.txt.xz", InputKind::Ftrace),
        ("perf.data.xz", InputKind::PerfData),
        ("perf.script.txt.xz", InputKind::PerfScript),
    ];
    for (name, kind) in cases {
        for run in runs(name) {
            let path = run.join(name);
            assert_eq!(open(&path).unwrap().sniff().unwrap(), kind, "{}", path.display());
            let mut record = Record::default();
            assert!(ftrace::open(&path).unwrap().next_record(&mut record).unwrap());
        }
    }
}
