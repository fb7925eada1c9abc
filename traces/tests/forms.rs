//! Every form of a file of trace-cmd or perf gives the same events: versions, orders of bytes, compressions, file or pipe.

mod make;

use std::path::{Path, PathBuf};

use daxsim_traces::access::{self, AccessBatch, AccessOp, Fetches};
use daxsim_traces::ftrace::{self, EventReader, Reader, Record};
use daxsim_traces::{InputKind, open};

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn all(reader: &mut dyn EventReader) -> Vec<Record> {
    let (mut record, mut records) = (Record::default(), Vec::new());
    while reader.next_record(&mut record).unwrap() {
        records.push(Record { line: 0, ..record.clone() });
    }
    records
}

/// The events as text has them.
fn expected() -> Vec<Record> {
    let mut reader = Reader::new(make::TEXT.as_bytes(), "t");
    let records = all(&mut reader);
    assert_eq!((records.len(), reader.stats().unparsable), (6, 0));
    records
}

#[test]
fn every_form_of_a_trace_dat_gives_the_events_of_the_text() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in make::trace_dats() {
        let path = written(dir.path(), &name, &bytes);
        assert_eq!(open(&path).unwrap().sniff().unwrap(), InputKind::TraceDat, "{name}");
        let mut reader = ftrace::open(&path).unwrap();
        let mut found = all(reader.as_mut());
        for record in &mut found {
            record.time_ns = (record.time_ns + 500) / 1000 * 1000;
        }
        assert_eq!(found, expected(), "{name}");
        let stats = reader.stats();
        assert_eq!((stats.lost_events, stats.unknown, stats.unparsable), (make::LOST + 1, 1, 0), "{name}");
    }
}

#[test]
fn every_form_of_a_perf_data_gives_the_events_of_the_text() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in make::perf_datas() {
        let path = written(dir.path(), &name, &bytes);
        assert_eq!(open(&path).unwrap().sniff().unwrap(), InputKind::PerfData, "{name}");
        let mut reader = ftrace::open(&path).unwrap();
        let mut found = all(reader.as_mut());
        let mut expected = expected();
        for record in &mut found {
            record.time_ns = (record.time_ns + 500) / 1000 * 1000;
        }
        for record in &mut expected {
            // What perf calls tasks whose name was not recorded.
            record.task = match record.pid {
                0 => ftrace::Comm::new(b"swapper"),
                99 => ftrace::Comm::new(b":99"),
                _ => record.task,
            };
        }
        assert_eq!(found, expected, "{name}");
        let stats = reader.stats();
        assert_eq!((stats.lost_events, stats.unknown, stats.unparsable), (make::LOST, 1, 0), "{name}");
    }
}

#[test]
fn sampled_accesses_are_those_of_programs() {
    let dir = tempfile::tempdir().unwrap();
    for big in [false, true] {
        let path = written(dir.path(), "mem", &make::perf_mem(big));
        assert_eq!(open(&path).unwrap().sniff().unwrap(), InputKind::PerfMem);
        let mut reader = access::open(&path, Fetches::Count).unwrap();
        let (mut batch, mut found) = (AccessBatch::default(), Vec::new());
        while reader.next_batch(&mut batch).unwrap() {
            assert_eq!(batch.extras.weights, vec![300; batch.records.len()]);
            found.extend(batch.records.iter().map(|r| (u64::from(batch.thread), r.va.0, r.op)));
        }
        let op = |op| match op {
            2 => AccessOp::Load,
            4 => AccessOp::Store,
            _ => AccessOp::Modify,
        };
        let users = make::ACCESSES.into_iter().filter(|(_, address, _)| address >> 63 == 0);
        let expected: Vec<_> = users.map(|(tid, address, what)| (tid, address, op(what))).collect();
        assert_eq!(found, expected);
        assert_eq!(reader.reading().other_lines, 1);
        assert_eq!(reader.reading().extras.mean_weight(), Some(300.0));
    }
}

#[test]
fn damage_behind_some_events_leaves_them() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, most) in [("v6", make::version_6(false), 6), ("perf", make::perf_pipe(false), 6)] {
        // The last event is cut off.
        let path = written(dir.path(), name, &bytes[..bytes.len() - make::PAGE.min(bytes.len() / 20)]);
        let mut reader = ftrace::open(&path).unwrap();
        let (mut record, mut count) = (Record::default(), 0);
        let end = loop {
            match reader.next_record(&mut record) {
                Ok(true) => count += 1,
                end => break end,
            }
        };
        assert!((1..most).contains(&count), "{name}: {count}");
        assert!(end.unwrap_err().is_damage(), "{name}");
    }
}

/// The corpus of the fuzz targets holds these files. `DAXSIM_UPDATE_CORPUS=1` writes them.
#[test]
fn the_corpus_has_every_form() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mem =
        [false, true].map(|big| (format!("mem-{}", if big { "big" } else { "little" }), make::perf_mem(big)));
    let perf = make::perf_datas().into_iter().chain(mem).map(|(name, bytes)| ("perf_data", name, bytes));
    let dats = make::trace_dats().into_iter().map(|(name, bytes)| ("trace_dat", name, bytes));
    for (folder, name, bytes) in dats.chain(perf) {
        let path = corpus.join(folder).join(&name);
        if std::env::var_os("DAXSIM_UPDATE_CORPUS").is_some() {
            std::fs::create_dir_all(corpus.join(folder)).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        // Compressors may change: what is in the file must be one of this form, not these bytes.
        assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() > 200), "{}", path.display());
    }
}
