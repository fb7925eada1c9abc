//! No bytes make a reader of a binary file panic, or take memory for what a length only says.

#[path = "../fuzz/targets.rs"]
mod targets;

mod make;

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name);
    let mut bytes = Vec::new();
    daxsim_traces::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

static DATS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| make::trace_dats().into_iter().map(|(_, bytes)| bytes).collect());
static PERFS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut all: Vec<_> = make::perf_datas().into_iter().map(|(_, bytes)| bytes).collect();
    all.extend([make::perf_mem(false), make::perf_mem(true)]);
    all.push(recorded("kernel-6.12/ext4/s16_map_sync/perf.data.xz"));
    all
});
static SCRIPT: LazyLock<Vec<u8>> =
    LazyLock::new(|| recorded("kernel-6.12/ext4/s16_map_sync/perf.script.txt.xz"));

/// A change of some bytes at a place: flipped bits, or a length that is hostile.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Length(Index, u64, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let lengths = prop::sample::select(vec![
        0,
        1,
        7,
        0xffff,
        0x7fff_ffff,
        0xffff_ffff,
        1 << 40,
        u64::MAX / 2,
        u64::MAX,
    ]);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), lengths, prop::sample::select(vec![2, 4, 8]))
            .prop_map(|(at, length, bytes)| Change::Length(at, length, bytes)),
    ]
}

/// Places among the first bytes of a file are the head's.
fn mutate(bytes: &[u8], changes: &[Change], head: bool, cut: Option<Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = if head { bytes.len().min(2000) } else { bytes.len() };
    for change in changes {
        match change {
            Change::Byte(at, byte) => bytes[at.index(len)] ^= byte,
            Change::Length(at, length, size) => {
                let at = at.index(len);
                let end = bytes.len().min(at + size);
                bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
            }
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_trace_dat(
        which in any::<Index>(),
        changes in vec(change(), 0..8),
        head in any::<bool>(),
        cut in any::<Option<Index>>(),
    ) {
        targets::trace_dat(&mutate(&DATS[which.index(DATS.len())], &changes, head, cut));
    }

    #[test]
    fn a_changed_perf_data(
        which in any::<Index>(),
        changes in vec(change(), 0..8),
        head in any::<bool>(),
        cut in any::<Option<Index>>(),
    ) {
        targets::perf_data(&mutate(&PERFS[which.index(PERFS.len())], &changes, head, cut));
    }

    #[test]
    fn a_changed_text_of_perf_script(
        start in any::<Index>(),
        changes in vec(change(), 0..50),
        cut in any::<Option<Index>>(),
    ) {
        let start = start.index(SCRIPT.len());
        let part = &SCRIPT[start..SCRIPT.len().min(start + 10_000)];
        targets::perf_script(&mutate(part, &changes, false, cut));
    }

    #[test]
    fn random_entries_of_drmemtrace(entries in vec((0_u16..60, any::<u16>(), any::<u64>()), 0..200), cut in 0..12_usize) {
        let bytes = |(kind, size, value): &(u16, u16, u64)| {
            [&kind.to_le_bytes()[..], &size.to_le_bytes(), &value.to_le_bytes()].concat()
        };
        let mut bytes: Vec<u8> = entries.iter().flat_map(bytes).collect();
        bytes.truncate(bytes.len().saturating_sub(cut));
        targets::drmemtrace(&bytes);
    }
}

/// Two files one after another: what the first says is read, the rest is not taken for data of it.
#[test]
fn two_files_in_one_are_survived() {
    for all in [&*DATS, &*PERFS] {
        for bytes in all {
            let two = [&bytes[..], bytes].concat();
            targets::trace_dat(&two);
            targets::perf_data(&two);
        }
    }
}
