//! Host time of the probes of memory: what a validation of persistent memory spends, by line.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::probe::{
    Bandwidth, Medium, Operation, Order, Overwrite, PersistLatency, Places, Store, WriteChase,
};
use daxsim_types::Time;

/// Writes of an overwrite, with a quarter before that does not count.
const WRITES: u64 = 16_384;
/// Lines of a write chase: two phases, and what settles between them.
const CHASE_LINES: u64 = 2 * 65_536 + 12_288;

fn spec() -> (MachineSpec, KernelSpec) {
    let machine = load_machine("cascadelake-optane-1dimm", &[]).expect("a builtin");
    (machine, load_kernel("linux-7.2", &[]).expect("a builtin"))
}

fn chases(c: &mut Criterion) {
    let (machine, kernel) = spec();
    let mut group = c.benchmark_group("write-chase");
    group.sample_size(10).throughput(Throughput::Elements(CHASE_LINES));
    for (name, block, region) in
        [("64 B of 16 KiB", 64, 16 << 10), ("64 B of 1 GiB", 64, 1 << 30), ("4 KiB of 1 GiB", 4096, 1 << 30)]
    {
        let chase = WriteChase { block, store: Store::NonTemporal, medium: Medium::Pmem, seed: 42 };
        group.bench_function(name, |b| b.iter(|| black_box(chase.run(&machine, &kernel, region))));
    }
    group.finish();
}

fn overwrites(c: &mut Criterion) {
    let (machine, kernel) = spec();
    let mut group = c.benchmark_group("overwrite");
    group.sample_size(10).throughput(Throughput::Elements((WRITES + WRITES / 4) * 4));
    for region in [256_u64, 128 << 10] {
        let overwrite = Overwrite {
            block: 256,
            order: Order::Sequential,
            store: Store::NonTemporal,
            medium: Medium::Pmem,
            writes: WRITES,
            long: Time(30_000_000),
            short: Time(4_000_000),
        };
        let id = BenchmarkId::from_parameter(format!("{region} B"));
        group.bench_function(id, |b| b.iter(|| black_box(overwrite.run(&machine, &kernel, region))));
    }
    group.finish();
}

fn bandwidths(c: &mut Criterion) {
    let (machine, kernel) = spec();
    let mut group = c.benchmark_group("bandwidth");
    group.sample_size(10);
    let operations = [
        ("load", Operation::Load),
        ("nt", Operation::Store(Store::NonTemporal)),
        ("clwb", Operation::Store(Store::Clwb)),
    ];
    for (name, operation) in operations {
        for threads in [1, 24] {
            let bandwidth = Bandwidth {
                threads,
                operation,
                access: 256,
                places: Places::Sequential,
                medium: Medium::Pmem,
                remote: false,
                time: Time(40_000_000),
                seed: 42,
            };
            let lines = bandwidth.run(&machine, &kernel).map_or(1, |point| point.lines);
            group.throughput(Throughput::Elements(lines * 5 / 4));
            let id = BenchmarkId::new(name, format!("{threads} threads"));
            group.bench_function(id, |b| b.iter(|| black_box(bandwidth.run(&machine, &kernel))));
        }
    }
    group.finish();
}

fn latencies(c: &mut Criterion) {
    let (machine, kernel) = spec();
    let mut group = c.benchmark_group("persist-latency");
    group.sample_size(10).throughput(Throughput::Elements(5 * 1024));
    for (name, store) in [("load", None), ("clwb", Some(Store::Clwb))] {
        let latency =
            PersistLatency { store, places: Places::Random, medium: Medium::Pmem, lines: 4096, seed: 42 };
        group.bench_function(name, |b| b.iter(|| black_box(latency.run(&machine, &kernel))));
    }
    group.finish();
}

criterion_group!(benches, chases, overwrites, bandwidths, latencies);
criterion_main!(benches);
