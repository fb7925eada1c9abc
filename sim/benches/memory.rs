//! Host time of the memory system, per access: the fast path, each level, each device.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use daxsim_configs::load_machine;
use daxsim_configs::machine::{DramTiming, MachineSpec};
use daxsim_sim::memory::{Access, Memory};
use daxsim_types::{CacheLine, Time};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Accesses per iteration.
const BATCH: usize = 4096;
/// First line of persistent memory.
const PMEM: u64 = (64 << 30) / 64;

/// A Skylake-SP with six Optane DIMMs, with room for streams that overflow everything.
fn machine(cores: u16) -> MachineSpec {
    let mut spec = load_machine("skylake-sp-optane", &[]).expect("a builtin");
    spec.cpu.count = cores;
    spec.dram.capacity = 64 << 30;
    spec.pmem.base = 64 << 30;
    spec.pmem.capacity = 512 << 30;
    spec
}

/// `count` random lines of the `span` that starts at `base`.
fn random(base: u64, span: u64, count: usize) -> Vec<CacheLine> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    (0..count).map(|_| CacheLine(base + rng.next_u64() % span)).collect()
}

/// Walks endlessly over lines, `BATCH` at a time, while simulated time goes by.
struct Stream {
    lines: Vec<CacheLine>,
    next: usize,
    now: Time,
}

impl Stream {
    fn new(lines: Vec<CacheLine>) -> Self {
        Self { lines, next: 0, now: Time::ZERO }
    }

    fn run(&mut self, mut access: impl FnMut(CacheLine, Time) -> Time) {
        for _ in 0..BATCH {
            self.now += access(self.lines[self.next], self.now);
            self.next = if self.next + 1 == self.lines.len() { 0 } else { self.next + 1 };
        }
    }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory");
    group.throughput(Throughput::Elements(BATCH as u64));

    for (name, span, write) in [("one line", 1, false), ("16 KiB", 256, false), ("16 KiB written", 256, true)]
    {
        let mut m = Memory::new(&machine(1));
        let mut s = Stream::new(random(0, span, BATCH));
        let fast = |m: &mut Memory, line, now| {
            if m.try_l1(0, line, write) { Time(2_000) } else { m.access(0, line, Access::Write, now).latency }
        };
        s.run(|line, now| fast(&mut m, line, now));
        group.bench_function(format!("try_l1 {name}"), |b| {
            b.iter(|| s.run(|line, now| black_box(fast(&mut m, line, now))));
        });
    }

    for cores in [1, 8] {
        let spans = [
            ("L2, 512 KiB", 0, 8 << 10),
            ("L3, 16 MiB", 0, 256 << 10),
            ("DRAM, 4 GiB", 0, 64 << 20),
            ("pmem, 4 GiB", PMEM, 64 << 20),
        ];
        for (name, base, span) in spans {
            for access in [Access::Read, Access::Write] {
                let mut m = Memory::new(&machine(cores));
                let mut s = Stream::new(random(base, span, 1 << 20));
                for _ in 0..(1 << 20) / BATCH {
                    s.run(|line, now| m.access(0, line, access, now).latency);
                }
                group.bench_function(format!("{access:?} {name}, {cores} cores"), |b| {
                    b.iter(|| s.run(|line, now| black_box(m.access(0, line, access, now).latency)));
                });
            }
        }
    }

    for (name, random_lines) in [("row hits", false), ("random", true)] {
        for timing in [DramTiming::Flat, DramTiming::Banks] {
            let mut spec = machine(1);
            spec.dram_banks.timing = timing;
            let span = 64 << 20;
            let lines =
                if random_lines { random(0, span, 1 << 20) } else { (0..1 << 20).map(CacheLine).collect() };
            for access in [Access::Read, Access::Write] {
                let mut m = Memory::new(&spec);
                let mut s = Stream::new(lines.clone());
                for _ in 0..(1 << 20) / BATCH {
                    s.run(|line, now| m.access(0, line, access, now).latency);
                }
                group.bench_function(format!("{access:?} DRAM, {name}, {timing:?}"), |b| {
                    b.iter(|| s.run(|line, now| black_box(m.access(0, line, access, now).latency)));
                });
            }
        }
    }

    let mut m = Memory::new(&machine(8));
    let mut s = Stream::new(random(0, 64, BATCH));
    let mut core = 0;
    group.bench_function("Rmw by 8 cores in turn on 64 lines", |b| {
        b.iter(|| {
            s.run(|line, now| {
                core = (core + 1) % 8;
                black_box(m.access(core, line, Access::Rmw, now).latency)
            });
        });
    });

    let mut m = Memory::new(&machine(1));
    let mut s = Stream::new((0..1 << 20).map(|n| CacheLine(PMEM + n)).collect());
    group.bench_function("nt_store sequential", |b| {
        b.iter(|| s.run(|line, now| black_box(m.nt_store(0, line, now))));
    });
    let mut s = Stream::new(random(PMEM, 64 << 20, 1 << 20));
    group.bench_function("nt_store random", |b| {
        b.iter(|| s.run(|line, now| black_box(m.nt_store(0, line, now))));
    });
    let mut s = Stream::new(random(PMEM, 256, BATCH));
    group.bench_function("write and clwb, 16 KiB", |b| {
        b.iter(|| {
            s.run(|line, now| {
                let written = m.access(0, line, Access::Write, now).latency;
                black_box(written + m.clwb(0, line, now + written))
            });
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
