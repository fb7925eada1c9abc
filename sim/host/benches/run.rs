//! Accesses per second that a host can feed to the machine.
//!
//! `cargo bench -p daxsim-host`; criterion's `elem/s` are accesses.

#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use daxsim_host::{Access, Config, Machine, machine};
use daxsim_traces::generate::SplitMix;

const ACCESSES: u64 = 1 << 20;
const VA: u64 = 0x7f00_0000_0000;
const PA: u64 = 0x10_0000;

/// A warm machine with a list of accesses.
struct Case {
    machine: Machine,
    accesses: Vec<Access>,
}

/// Accesses to `pages` pages, `run` after each other in one of them, by CPUs that take turns of 1,000.
fn case(pages: u64, run: u64, cpus: u16) -> Case {
    let mut machine = machine(&Config::named("skylake-sp-optane").set(format!("cpu.count={cpus}"))).unwrap();
    let mut random = SplitMix::new(1);
    let mut page = 0;
    let accesses: Vec<Access> = (0..ACCESSES)
        .map(|at| {
            if at % run == 0 {
                page = random.below(pages);
            }
            let offset = page * 4096 + random.below(8) * 64;
            let cpu = (at / 1000 % u64::from(cpus)) as u16;
            let load = Access::load(cpu, VA + offset, PA + offset).after(3);
            if at % 4 == 0 { load.of_kind(daxsim_host::kind::STORE) } else { load }
        })
        .collect();
    machine.run(&accesses, |_, _| {}).unwrap();
    Case { machine, accesses }
}

fn runs(c: &mut Criterion) {
    let mut group = c.benchmark_group("host");
    group.throughput(Throughput::Elements(ACCESSES)).sample_size(10);
    let cases = [
        ("hits_of_48_pages", case(48, 1, 1)),
        ("runs_of_100_in_4096_pages", case(4096, 100, 1)),
        ("second_level_of_1024_pages", case(1024, 1, 1)),
        ("all_miss_1Mi_pages", case(1 << 20, 1, 1)),
        ("two_cpus_48_pages", case(48, 1, 2)),
    ];
    for (name, mut case) in cases {
        group.bench_function(name, |b| {
            b.iter_batched(
                || (),
                |()| case.machine.run(&case.accesses, |_, _| {}).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, runs);
criterion_main!(benches);
