//! Host time of the memory system, per access: the fast path, each level, each device.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use daxsim_configs::machine::{
    AccessedBit, CacheSpec, CachesSpec, CostSpec, CpuSpec, DirtyBit, DramSpec, IpiSpec, MachineSpec, MmuSpec,
    PmemSpec, PscSpec, Replacement, SetIndex, TlbSpec, TlbsSpec,
};
use daxsim_sim::memory::{Access, Memory};
use daxsim_types::{CacheLine, CpuClock, PageSize, Time};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Accesses per iteration.
const BATCH: usize = 4096;
/// First line of persistent memory.
const PMEM: u64 = (64 << 30) / 64;

/// A Skylake-SP 8160 with six Optane DIMMs (`reference/hardware.md` B.1, D.2).
fn machine(cores: u16) -> MachineSpec {
    let clock = CpuClock::from_hertz(2_100_000_000).expect("a clock");
    let cache = |size, ways, cycles| CacheSpec { size, ways, latency: clock.cycles(cycles) };
    let tlb = TlbSpec {
        entries: 64,
        ways: 4,
        replacement: Replacement::Lru,
        index: SetIndex::Linear,
        page_sizes: vec![PageSize::Size4K],
        hit_penalty: Time::ZERO,
    };
    let zero = Time::ZERO;
    MachineSpec {
        name: "bench".into(),
        description: String::new(),
        cpu: CpuSpec { count: cores, clock, milli_cpi: 500, fill_buffers: 10 },
        mmu: MmuSpec {
            pcid: true,
            rewalk_before_fault: false,
            accessed: AccessedBit::Hardware,
            dirty: DirtyBit::Hardware,
            accessed_assist: zero,
            dirty_assist: zero,
            invlpgb_pages: 0,
        },
        tlb: TlbsSpec { dtlb_4k: tlb.clone(), dtlb_2m: None, dtlb_1g: None, stlb: tlb },
        psc: PscSpec { pml4e: 0, pdpte: 0, pde: 0, latency: zero },
        cache: CachesSpec {
            l1d: cache(32 << 10, 8, 4),
            l2: cache(1 << 20, 16, 14),
            l3: cache(33 << 20, 11, 76),
            transfer: Time(48_000),
        },
        cost: CostSpec {
            exception_entry: zero,
            iret: zero,
            syscall_entry: zero,
            syscall_exit: zero,
            invlpg: zero,
            cr3_write: zero,
            invlpgb: zero,
            tlbsync: zero,
            clwb_issue: zero,
            tlb_write: zero,
            locked_rmw: zero,
            invpcid: zero,
            string_line: zero,
        },
        ipi: IpiSpec { icr_write: zero, delivery: zero, handler_entry: zero, handler_exit: zero },
        dram: DramSpec {
            capacity: 64 << 30,
            channels: 6,
            read_latency: Time(60_000),
            line_occupancy: Time(3_000),
        },
        pmem: PmemSpec {
            write_cache: true,
            base: 64 << 30,
            capacity: 512 << 30,
            devdax_alignment: PageSize::Size2M,
            dimms: 6,
            interleave: 4096,
            media_line: 256,
            buffer_lines: 64,
            read_latency_buffered: Time(120_000),
            read_latency_media: Time(270_000),
            write_latency: Time(62_300),
            wpq_lines: 8,
            media_read_occupancy: Time(39_000),
            media_write_occupancy: Time(116_000),
            eadr: false,
        },
        trust: None,
    }
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
