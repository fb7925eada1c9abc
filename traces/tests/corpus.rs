//! The bytes that fuzzing found interesting, each through the reader that it is for.

use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

/// A target: its name and what it does with bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 11] = [
    ("lackey", targets::lackey),
    ("champsim", targets::champsim),
    ("dxt", targets::dxt),
    ("dxt_block", targets::dxt_block),
    ("ftrace", targets::ftrace),
    ("trace_dat", targets::trace_dat),
    ("perf_data", targets::perf_data),
    ("perf_script", targets::perf_script),
    ("drmemtrace", targets::drmemtrace),
    ("script", targets::script),
    ("input", targets::input),
];

#[test]
fn the_corpus_is_survived() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let done = std::panic::catch_unwind(|| target(&bytes));
            assert!(done.is_ok(), "{}", file.display());
        }
    }
}
