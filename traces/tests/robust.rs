//! No bytes make a reader panic.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use daxsim_traces::ftrace::{Reader, Record, Stats};
use daxsim_traces::script::Script;
use daxsim_traces::{fault_table, layout, open, oplog};
use proptest::collection::vec;
use proptest::prelude::*;

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name);
    let mut text = Vec::new();
    open(path).unwrap().read_to_end(&mut text).unwrap();
    text
}

static TRACES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    ["kernel-6.12/ext4/s05_pmd_hole/trace.txt.xz", "kernel-7.2/ext4/s05_pmd_hole/trace.txt.xz"].map(recorded)
});
static SCRIPT: LazyLock<Vec<u8>> = LazyLock::new(|| recorded("kernel-7.2/ext4/s16_map_sync/script.txt"));
static OPLOG: LazyLock<Vec<u8>> = LazyLock::new(|| recorded("kernel-7.2/ext4/s02_write_first/oplog.txt"));
static LAYOUT: LazyLock<Vec<u8>> =
    LazyLock::new(|| recorded("kernel-7.2/ext4/s16_map_sync/filefrag_after.txt"));
static FAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| recorded("kernel-7.2/ext4/s05_pmd_hole/faults.tsv"));

fn read_trace(text: &[u8]) -> Stats {
    let mut reader = Reader::new(text, "t");
    let mut record = Record::default();
    while reader.next_record(&mut record).unwrap() {}
    reader.stats().clone()
}

fn read_all(text: &[u8]) {
    let file = Path::new("x");
    read_trace(text);
    let _ = Script::read(text, file);
    let _ = fault_table::read(text, file);
    let _ = layout::read(text, file);
    let _ = oplog::read(text, file);
}

/// `text` with some bytes replaced, and perhaps cut.
fn mutate(text: &[u8], changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut text = text.to_vec();
    for (at, byte) in changes {
        let at = at.index(text.len());
        text[at] = *byte;
    }
    if let Some(cut) = cut {
        text.truncate(cut.index(text.len()));
    }
    text
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"0123456789abcdefx-+=:()[]<>|,. \t\r\n\0k#@".to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(text in vec(byte(), 0..4000)) {
        read_all(&text);
    }

    #[test]
    fn a_changed_trace(
        which in 0..2_usize,
        start in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), byte()), 0..200),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let text = &TRACES[which];
        let start = start.index(text.len());
        let part = &text[start..text.len().min(start + 20_000)];
        let text = mutate(part, &changes, cut);
        let stats = read_trace(&text);
        let lines = memchr::memchr_iter(b'\n', &text).count() + usize::from(stats.cut_last_line.is_some());
        prop_assert_eq!(stats.lines, lines as u64);
        prop_assert_eq!(stats.bytes, text.len() as u64);
    }

    #[test]
    fn a_changed_script_log_or_table(
        which in 0..4_usize,
        changes in vec((any::<prop::sample::Index>(), byte()), 0..20),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let text = [&SCRIPT, &OPLOG, &LAYOUT, &FAULTS][which];
        read_all(&mutate(text, &changes, cut));
    }

    #[test]
    fn a_cut_trace_loses_only_its_last_line(cut in any::<prop::sample::Index>()) {
        let text = &TRACES[1];
        let cut = cut.index(text.len());
        let stats = read_trace(&text[..cut]);
        prop_assert_eq!(stats.unparsable, 0);
        let whole = cut == 0 || text[cut - 1] == b'\n';
        prop_assert_eq!(stats.cut_last_line.is_none(), whole);
    }

    #[test]
    fn changed_compressed_bytes(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded/kernel-7.2/devdax/d01_devdax/trace.txt.xz");
        let dir = tempfile::tempdir().unwrap();
        let changed = dir.path().join("t");
        std::fs::write(&changed, mutate(&std::fs::read(path).unwrap(), &changes, cut)).unwrap();
        if let Ok(mut input) = open(&changed) {
            let _ = input.sniff();
            let mut reader = Reader::new(input, changed);
            let _ = reader.records().filter(Result::is_err).count();
        }
    }
}
