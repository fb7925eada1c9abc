//! Every recorded run parses whole, and agrees with its own counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daxsim_traces::ftrace::{Event, Marker, Reader, Record};
use daxsim_traces::script::Script;
use daxsim_traces::{InputKind, fault_table, layout, open, oplog};

/// The runs: every directory with a `meta.json`. `DAXSIM_RECORDED` names another tree of runs.
fn runs() -> Vec<PathBuf> {
    let root = std::env::var_os("DAXSIM_RECORDED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded"), PathBuf::from);
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(dir) = open.pop() {
        if dir.join("meta.json").exists() {
            found.push(dir);
            continue;
        }
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 48, "{} runs", found.len());
    found
}

fn meta_counts(run: &Path) -> BTreeMap<String, u64> {
    let meta: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("meta.json")).unwrap()).unwrap();
    serde_json::from_value(meta["counts_per_event"].clone()).unwrap()
}

/// `name` or `name.xz`, if there is one.
fn find(run: &Path, name: &str) -> Option<PathBuf> {
    [run.join(name), run.join(format!("{name}.xz"))].into_iter().find(|p| p.exists())
}

#[test]
fn every_trace_parses_whole_with_the_counts_of_its_record() {
    for run in runs() {
        let mut reader = Reader::open(run.join("trace.txt.xz")).unwrap();
        let mut record = Record::default();
        let (mut time, mut probes, mut faults) = (0, 0_u64, 0_u64);
        while reader.next_record(&mut record).unwrap() {
            // CPUs are merged by time.
            assert!(record.time_ns >= time, "{}:{}", run.display(), record.line);
            time = record.time_ns;
            probes += u64::from(matches!(record.event, Event::Probe(_)));
            faults += u64::from(matches!(record.event, Event::PageFault { .. }));
        }
        let stats = reader.stats();
        let name = run.display();
        assert_eq!((stats.unparsable, stats.unknown), (0, 0), "{name}: {:?}", stats.unparsable_examples);
        assert!(stats.is_complete(), "{name}");
        let header = stats.header.unwrap();
        assert_eq!((header.in_buffer, header.cpus), (stats.records, 4), "{name}");
        let counts: BTreeMap<_, _> = stats.by_event().into_iter().map(|(n, c)| (n.to_owned(), c)).collect();
        assert_eq!(counts, meta_counts(&run), "{name}");
        assert!(probes > 0 && faults > 0, "{name}");
    }
}

#[test]
fn every_script_parses_and_its_markers_are_its_lines() {
    for run in runs() {
        let Some(path) = find(&run, "script.txt") else { continue };
        assert_eq!(open(&path).unwrap().sniff().unwrap(), InputKind::Script);
        let script = Script::open(&path).unwrap();
        let log = oplog::open(find(&run, "oplog.txt").unwrap()).unwrap();
        assert_eq!(log.entries.len(), script.line_count(), "{}", run.display());
        for entry in &log.entries {
            let line = script.line(entry.line).unwrap();
            assert_eq!(line.thread, entry.thread, "{}", run.display());
            assert!(same_text(&line.text, &entry.text), "{} | {}", line.text, entry.text);
        }
        let mut begun = 0;
        let mut ended = 0;
        for record in Reader::open(run.join("trace.txt.xz")).unwrap().records() {
            match record.unwrap().event {
                Event::Marker(Marker::Begin { line, thread, text }) => {
                    let of = script.line(line).unwrap();
                    assert!(of.thread == thread && same_text(&of.text, &text), "{} | {text}", of.text);
                    begun += 1;
                }
                Event::Marker(Marker::End { line, rc, errno, acc, sig, .. }) => {
                    let of = log.entry(line).unwrap();
                    assert_eq!((rc, errno, acc, sig), (of.rc, of.errno, of.acc, of.sig), "{}", run.display());
                    ended += 1;
                }
                _ => {}
            }
        }
        let marked = script.lines().filter(|l| l.op.name() != "nop").count();
        assert_eq!((begun, ended), (marked, marked), "{}", run.display());
    }
}

/// The recorder cuts long lines to 197 bytes and `...`.
fn same_text(whole: &str, recorded: &str) -> bool {
    match recorded.strip_suffix("...") {
        Some(begin) => whole.starts_with(begin),
        None => whole == recorded,
    }
}

#[test]
fn every_fault_table_survives_reading_and_writing() {
    for run in runs() {
        let path = find(&run, "faults.tsv").unwrap();
        let rows = fault_table::open(&path).unwrap();
        assert!(!rows.is_empty(), "{}", run.display());
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut open(&path).unwrap(), &mut text).unwrap();
        let mut written = Vec::new();
        fault_table::write(&mut written, &rows).unwrap();
        assert!(text == written, "{}", run.display());
    }
}

#[test]
fn every_layout_parses_and_agrees_with_fiemap() {
    let (mut compared, mut equal) = (0, 0);
    for run in runs() {
        let layouts = layout::open(run.join("filefrag_after.txt")).unwrap();
        for file in &layouts {
            let is_last = |e: &layout::Extent| e.flags.is_last();
            assert!(file.extents.last().is_none_or(is_last), "{}: {}", run.display(), file.path);
        }
        let Some(log) = find(&run, "oplog.txt") else { continue };
        let log = oplog::open(log).unwrap();
        for extent in &log.fiemaps {
            let name = format!("f{}", extent.file);
            let Some(file) = layouts.iter().find(|l| l.name() == name) else { continue };
            let Some((block, _)) = file.find(extent.logical / file.block_size) else { continue };
            compared += 1;
            equal += u32::from(block * file.block_size == extent.physical);
        }
    }
    // A block may be freed and placed anew between the two looks, but few are.
    assert!(compared >= 20 && equal * 10 >= compared * 9, "{equal} of {compared}");
}
