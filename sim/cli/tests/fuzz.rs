//! Garbled traces and scripts: whatever the text says, readers and simulator end without a panic, in bounded time, and
//! every CPU's parts sum to the run's length.

mod common;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use common::{recorded, text_of};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::program::replay::{Outcome, Replayer};
use daxsim_sim::program::script::{self as driver, ScriptError};
use daxsim_sim::{SimError, Simulation};
use daxsim_traces::ftrace::{Reader, Record};
use daxsim_traces::script::{Op, Script};
use daxsim_types::FileSystem;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Most accesses that a garbled script may ask for in a test.
const MOST_ACCESSES: u64 = 1 << 17;

static MACHINE: LazyLock<MachineSpec> = LazyLock::new(|| load_machine("qemu-tcg", &[]).unwrap());
static KERNELS: LazyLock<[KernelSpec; 2]> =
    LazyLock::new(|| ["linux-6.12", "linux-7.2"].map(|k| load_kernel(k, &[]).unwrap()));

/// First lines of traces with much variety.
static TRACES: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let of = |name: &str| {
        let text = text_of(&recorded(name).join("trace.txt.xz"));
        text.split_inclusive(|b| *b == b'\n').take(1500).map(<[u8]>::to_vec).collect()
    };
    [
        "kernel-6.12/ext4/s05_pmd_hole",
        "kernel-7.2/xfs/s04_pmd_aligned",
        "kernel-7.2/ext4/s12_msync_ranges",
        "kernel-6.12/xfs/s23_mprotect",
        "kernel-7.2/ext4/s17_fork_shared",
        "kernel-7.2/ext4/s27_write_syscall_into_hole",
    ]
    .map(of)
    .into()
});

static SCRIPTS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let of = |name: &str| {
        let text = text_of(&recorded(name).join("script.txt"));
        text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
    };
    [
        "kernel-7.2/ext4/s04_pmd_aligned",
        "kernel-7.2/ext4/s12_msync_ranges",
        "kernel-7.2/ext4/s16_map_sync",
        "kernel-7.2/ext4/s23_mprotect",
        "kernel-7.2/ext4/s17_fork_shared",
        "kernel-7.2/ext4/s25_dontneed",
        "kernel-7.2/ext4/s27_write_syscall_into_hole",
        "kernel-7.2/ext4/s30_mixed_random_a",
    ]
    .map(of)
    .into()
});

/// A change of a text.
#[derive(Clone, Debug)]
enum Edit {
    /// Another byte somewhere.
    Byte(Index, u8),
    /// Another number in the place of one.
    Number(Index, &'static str),
    Delete(Index),
    Duplicate(Index, Index),
    Swap(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = select(b"0123456789abcdefx-+=:()[]<>|,. \t\n\0k#@".to_vec());
    let numbers = select(vec![
        "0",
        "1",
        "0x1000",
        "0x1ff000",
        "2m",
        "0x100000000000",
        "0x7fffffffffff",
        "0xffff888104913490",
        "0xffffffffffffffff",
        "18446744073709551615",
        "9223372036854775807",
        "-1",
    ]);
    prop_oneof![
        3 => (any::<Index>(), bytes).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        4 => (any::<Index>(), numbers).prop_map(|(at, number)| Edit::Number(at, number)),
        2 => any::<Index>().prop_map(Edit::Delete),
        2 => any::<(Index, Index)>().prop_map(|(from, to)| Edit::Duplicate(from, to)),
        2 => any::<(Index, Index)>().prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

/// Words that begin with a digit, as ranges of a line.
fn numbers_of(line: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in line.split(|b| !b.is_ascii_alphanumeric()) {
        if word.first().is_some_and(u8::is_ascii_digit) {
            found.push(at..at + word.len());
        }
        at += word.len() + 1;
    }
    found
}

fn edited(lines: &[Vec<u8>], edits: &[Edit]) -> Vec<u8> {
    let mut lines = lines.to_vec();
    for edit in edits {
        let count = lines.len();
        match edit {
            Edit::Byte(at, byte) => {
                let line = &mut lines[at.index(count)];
                let column = at.index(line.len());
                line[column] = *byte;
            }
            Edit::Number(at, number) => {
                let line = &mut lines[at.index(count)];
                let places = numbers_of(line);
                if !places.is_empty() {
                    let place = places[at.index(places.len())].clone();
                    line.splice(place, number.bytes());
                }
            }
            Edit::Delete(at) if count > 1 => drop(lines.remove(at.index(count))),
            Edit::Delete(_) => {}
            Edit::Duplicate(from, to) => {
                let line = lines[from.index(count)].clone();
                lines.insert(to.index(count), line);
            }
            Edit::Swap(a, b) => lines.swap(a.index(count), b.index(count)),
        }
    }
    lines.concat()
}

/// A refusal is fine; a model that is stuck is not.
fn assert_not_stuck(error: &SimError) {
    assert!(!matches!(error, SimError::Deadlock(_) | SimError::Livelock { .. }), "{error}");
}

fn assert_adds_up(sim: Simulation) {
    let results = sim.finish();
    for parts in &results.cpus {
        assert_eq!(parts.total(), results.end);
    }
}

fn replay(text: &[u8], fs: FileSystem, kernel: &KernelSpec) -> Option<Outcome> {
    let mut sim = Simulation::new(MACHINE.clone(), kernel.clone(), fs, true);
    let mut reader = Reader::new(text, "garbled");
    let mut replayer = Replayer::new(fs, MACHINE.cpu.count);
    let mut record = Record::default();
    let pushed = (|| {
        while reader.next_record(&mut record).unwrap() {
            replayer.push(&mut sim, &record)?;
        }
        replayer.finish(&mut sim)
    })();
    assert_adds_up(sim);
    match pushed {
        Ok(outcome) => Some(outcome),
        Err(SimError::NoSpace { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn predict(text: &[u8], fs: FileSystem, kernel: &KernelSpec) -> Option<u64> {
    let script = Script::read(text, "garbled".as_ref()).ok()?;
    let accesses: u64 = script
        .lines()
        .map(|line| match &line.op {
            Op::LoadRange { len, stride, .. } | Op::StoreRange { len, stride, .. } => len.div_ceil(*stride),
            Op::KernelWrite { len, .. } | Op::Advise { len, .. } => len >> 12,
            Op::Map { len, populate: true, .. } => len >> 12,
            _ => 1,
        })
        .sum();
    if accesses > MOST_ACCESSES {
        return None;
    }
    let mut sim = Simulation::new(MACHINE.clone(), kernel.clone(), fs, true);
    match driver::run(&mut sim, &script, fs, &BTreeMap::new()) {
        Err(ScriptError::Sim(error)) => assert_not_stuck(&error),
        // A script that is refused half-way stops its CPUs where they are.
        Err(_) => return None,
        Ok(_) => {}
    }
    let faults = sim.with(|m| m.measurements().faults.total);
    assert_adds_up(sim);
    Some(faults)
}

/// 64 cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 64 };
    ProptestConfig { cases, ..default }
}

fn any_fs() -> impl Strategy<Value = FileSystem> {
    select(vec![FileSystem::Ext4, FileSystem::Xfs, FileSystem::Devdax])
}

#[test]
fn the_texts_are_whole_before_they_are_garbled() {
    for text in &*TRACES {
        let outcome = replay(&text.concat(), FileSystem::Ext4, &KERNELS[1]).unwrap();
        assert!(outcome.dax.recorded >= 20, "{outcome:?}");
    }
    for text in &*SCRIPTS {
        assert!(predict(&text.concat(), FileSystem::Ext4, &KERNELS[1]).unwrap() >= 20);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_garbled_trace_is_replayed_as_far_as_it_makes_sense(
        which in 0..6_usize, kernel in 0..2_usize, fs in any_fs(), edits in vec(edit(), 1..120),
    ) {
        let text = edited(&TRACES[which], &edits);
        if let Some(outcome) = replay(&text, fs, &KERNELS[kernel]) {
            let all = outcome.all();
            prop_assert_eq!(all.recorded, all.reproduced + all.diverged);
        }
    }

    #[test]
    fn a_shuffled_trace_is_replayed(
        which in 0..6_usize, fs in any_fs(), order in any::<u64>(),
    ) {
        let mut lines = TRACES[which].clone();
        lines.sort_by_key(|line| line.iter().fold(order, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)));
        if let Some(outcome) = replay(&lines.concat(), fs, &KERNELS[0]) {
            let all = outcome.all();
            prop_assert_eq!(all.recorded, all.reproduced + all.diverged);
        }
    }

    #[test]
    fn a_garbled_script_is_run_or_refused(
        which in 0..8_usize, kernel in 0..2_usize, fs in any_fs(), edits in vec(edit(), 1..6),
    ) {
        predict(&edited(&SCRIPTS[which], &edits), fs, &KERNELS[kernel]);
    }
}
