//! How far CPUs look ahead, and in how many threads of the host, reaches no result.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::{all_recorded, has_script, name, text_of};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::engine::Lookahead;
use daxsim_sim::program::script as driver;
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Every CPU in turn, access by access.
const NONE: Lookahead = Lookahead { hits: 0, threads: 1 };
/// Few hits and many, by one thread and by several.
const OTHERS: [Lookahead; 5] = [
    Lookahead { hits: 1024, threads: 1 },
    Lookahead { hits: 3, threads: 1 },
    Lookahead { hits: 1024, threads: 2 },
    Lookahead { hits: 1024, threads: 3 },
    Lookahead { hits: 1024, threads: 8 },
];

fn machine(name: &str, set: &[&str]) -> MachineSpec {
    let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
    load_machine(name, &set).unwrap()
}

fn kernel(name: &str, set: &[&str]) -> KernelSpec {
    let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
    load_kernel(name, &set).unwrap()
}

/// All that a run of a script finds.
fn found(text: &[u8], on: (&MachineSpec, &KernelSpec), fs: FileSystem, lookahead: Lookahead) -> String {
    found_and_recalled(text, on, fs, lookahead).0
}

/// The same, and how many foreseen hits were given up because TLBs changed by another CPU's doing.
fn found_and_recalled(
    text: &[u8],
    (machine, kernel): (&MachineSpec, &KernelSpec),
    fs: FileSystem,
    lookahead: Lookahead,
) -> (String, u64) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(lookahead.threads).build().unwrap();
    pool.install(|| {
        let script = Script::read(text, "script".as_ref()).unwrap();
        let mut sim = Simulation::new(machine.clone(), kernel.clone(), fs, true);
        sim.set_lookahead(lookahead);
        sim.set_seed(7);
        let outcome = driver::run(&mut sim, &script, fs, &BTreeMap::new());
        let outcome = outcome.map(|outcome| outcome.lines.into_values().collect::<Vec<_>>());
        let recalled = sim.with(|m| m.recalled_hits());
        (format!("{outcome:?} {:?}", sim.finish()), recalled)
    })
}

#[track_caller]
fn assert_same(
    what: &str,
    text: &[u8],
    on: (&MachineSpec, &KernelSpec),
    fs: FileSystem,
    others: &[Lookahead],
) {
    let expected = found(text, on, fs, NONE);
    for other in others {
        let got = found(text, on, fs, *other);
        let differ = expected.bytes().zip(got.bytes()).position(|(a, b)| a != b);
        let at = differ.unwrap_or(expected.len().min(got.len()));
        let near = |text: &str| text.chars().skip(at.saturating_sub(200)).take(300).collect::<String>();
        assert!(expected == got, "{what} with {other:?}:\n{}\n--- not ---\n{}", near(&got), near(&expected));
    }
}

#[test]
fn every_recorded_scenario_is_the_same_however_far_and_in_however_many_threads_cpus_look_ahead() {
    let machine = machine("skylake-sp-optane", &[]);
    let kernels = BTreeMap::from(["6.12", "7.2"].map(|v| (v, kernel(&format!("linux-{v}"), &[]))));
    for folder in all_recorded().iter().filter(|folder| has_script(folder)) {
        let part = |up: usize| name(folder.ancestors().nth(up).unwrap());
        let kernel = &kernels[part(2).strip_prefix("kernel-").unwrap()];
        let fs = part(1).parse().unwrap();
        let text = text_of(&folder.join("script.txt"));
        assert_same(name(folder), &text, (&machine, kernel), fs, &OTHERS[2..]);
        // The same threads without an order between them.
        let free = String::from_utf8(text).unwrap().replace("@seq", "@par");
        let shared = free.lines().next().is_some_and(|line| line.split(' ').nth(1) == Some("1"));
        if !shared {
            assert_same(
                &format!("{} freely", name(folder)),
                free.as_bytes(),
                (&machine, kernel),
                fs,
                &OTHERS,
            );
        }
    }
}

#[test]
fn hits_that_an_invlpgb_takes_the_page_of_are_foreseen_and_given_up() {
    let mut text = "@threads 6 0 1 2 3 4 5\n@seq\n0 file 0 f0 64k fill\n".to_owned();
    text += "0 map 0 0 0 64k rw shared 0x100000000000\n";
    // Until the process has a global ASID, and every CPU uses it.
    for _ in 0..3 {
        (0..6).for_each(|cpu| writeln!(text, "{cpu} str 0 0 64k 4096").unwrap());
        text += "0 msync 0 0 4096\n";
    }
    text += "@par\n";
    for _ in 0..20 {
        // The line is nobody else's: what ends the others' hits is the flush.
        text += "0 str 0 4032 8 8\n0 msync 0 0 4096\n";
    }
    (1..6).for_each(|cpu| (0..40).for_each(|_| writeln!(text, "{cpu} ldr 0 0 2k 1").unwrap()));
    let (machine, kernel) = (machine("zen3-milan", &[]), kernel("linux-7.2", &[]));
    let run =
        |lookahead| found_and_recalled(text.as_bytes(), (&machine, &kernel), FileSystem::Xfs, lookahead);
    let (expected, none) = run(NONE);
    assert_eq!(none, 0, "nothing was foreseen");
    for other in OTHERS {
        let (got, recalled) = run(other);
        assert!(got == expected, "{other:?}");
        assert!(recalled > 0, "{other:?}: no broadcast met a foreseen hit");
    }
}

/// One line of a thread.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Accesses from a page on, so many bytes, so far apart.
    Access { store: bool, page: u32, len: u32, stride: u32 },
    /// Many accesses to two pages, most of which hit.
    Hits { store: bool, page: u32 },
    /// Accesses to anywhere, given by seed and number.
    Scattered { seed: u64, count: u64 },
    /// Makes a page read-only until the next store.
    Msync { page: u32 },
    /// Takes pages away and interrupts the others.
    Forget { page: u32 },
}

const PAGES: u32 = 6;

fn line() -> impl Strategy<Value = Line> {
    let access = (any::<bool>(), 0..PAGES, 1..20_000_u32, select(vec![8_u32, 24, 64, 72, 256, 4096]));
    prop_oneof![
        6 => (any::<bool>(), 0..PAGES - 1).prop_map(|(store, page)| Line::Hits { store, page }),
        4 => access.prop_map(|(store, page, len, stride)| {
            Line::Access { store, page, len: len.min((PAGES - page) * 4096), stride }
        }),
        4 => (any::<u64>(), 10..200_u64).prop_map(|(seed, count)| Line::Scattered { seed, count }),
        2 => (0..PAGES).prop_map(|page| Line::Msync { page }),
        2 => (0..PAGES).prop_map(|page| Line::Forget { page }),
    ]
}

/// Threads that share a map of a file.
fn script(threads: &[Vec<Line>]) -> String {
    let mut text = format!("@threads {}", threads.len());
    (0..threads.len()).for_each(|cpu| write!(text, " {cpu}").unwrap());
    text +=
        "\n@seq\n0 file 0 f0 24k fill\n0 map 0 0 0 24k rw shared 0x100000000000\n0 str 0 0 24k 4096\n@par\n";
    for (thread, lines) in threads.iter().enumerate() {
        for line in lines {
            match line {
                Line::Access { store, page, len, stride } => {
                    let what = if *store { "str" } else { "ldr" };
                    writeln!(text, "{thread} {what} 0 {} {len} {stride}", page * 4096)
                }
                Line::Hits { store, page } => {
                    let what = if *store { "str" } else { "ldr" };
                    writeln!(text, "{thread} {what} 0 {} 8k 2", page * 4096)
                }
                Line::Scattered { seed, count } => {
                    write!(text, "{thread} acc 0").unwrap();
                    for n in 0..*count {
                        let drawn = (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                        let what = if drawn % 4 == 0 { "w" } else { "r" };
                        write!(text, " {what}{:#x}", drawn / 4 % u64::from(PAGES * 64) * 64).unwrap();
                    }
                    writeln!(text)
                }
                Line::Msync { page } => writeln!(text, "{thread} msync 0 {} 4096", page * 4096),
                Line::Forget { page } => writeln!(text, "{thread} madv 0 {} 4096 dontneed", page * 4096),
            }
            .unwrap();
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_program_is_the_same_however_far_and_in_however_many_threads_cpus_look_ahead(
        threads in vec(vec(line(), 2..10), 3..7),
        which in 0..5_usize,
    ) {
        let small = ["cache.l1d.size=4 KiB", "cache.l2.size=32 KiB"];
        let (machine, kernel) = match which {
            0 => (machine("skylake-sp-optane", &[]), kernel("linux-7.2", &[])),
            1 => (machine("skylake-sp-optane", &["cpu.window=1"]), kernel("linux-6.12", &[])),
            2 => (machine("skylake-sp-optane", &small), kernel("linux-7.2", &[])),
            3 => (machine("zen3-milan", &[]), kernel("linux-7.2", &["tree.invlpgb=true"])),
            _ => (machine("skylake-sp-optane", &[]), kernel("linux-7.2", &["tlb_flush.mechanism=ideal"])),
        };
        assert_same("a program", script(&threads).as_bytes(), (&machine, &kernel), FileSystem::Ext4, &OTHERS);
    }
}
