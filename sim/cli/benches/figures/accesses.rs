//! Streams of user accesses to anonymous memory: hits, some walks, nothing but misses.

use std::hint::black_box;

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::clock::best_cpu;
use crate::table::{Line, millions};

pub const START: u64 = 0x1000_0000_0000;
pub const PAGE: u64 = 4096;
/// Lines of each hot page: 24 pages of them are 24 KiB, within the L1D.
const HOT_LINES: u64 = 16;

/// An access.
type One = (VirtAddr, AccessKind);

/// One CPU's accesses.
struct Stream {
    /// Pages mapped.
    pages: u64,
    count: u64,
    next: fn(&mut Xoshiro256PlusPlus, u64) -> One,
}

/// A quarter of the accesses are stores.
fn kind(random: u64) -> AccessKind {
    if random.is_multiple_of(4) { AccessKind::Write } else { AccessKind::Read }
}

/// A line of a page that is the same at every visit; those of all pages spread over all sets of a cache.
fn fixed_line(page: u64) -> u64 {
    START + page * PAGE + page % 64 * 64
}

fn hot(random: u64, pages: u64) -> VirtAddr {
    let page = (random >> 8) % pages;
    // Each page's lines begin where those of the page before end.
    let line = (page * HOT_LINES + (random >> 32) % HOT_LINES) % 64;
    VirtAddr(START + page * PAGE + line * 64)
}

/// Anywhere in the 24 pages.
fn scattered(rng: &mut Xoshiro256PlusPlus, _: u64) -> One {
    let random = rng.next_u64();
    (hot(random, 24), kind(random))
}

/// 64 accesses to one of the 24 pages, then to another.
fn in_runs(rng: &mut Xoshiro256PlusPlus, at: u64) -> One {
    let random = rng.next_u64();
    let page = at / 64 % 24;
    let line = (page * HOT_LINES + (random >> 32) % HOT_LINES) % 64;
    (VirtAddr(START + page * PAGE + line * 64), kind(random))
}

/// One in ten anywhere in 64 MiB, ten times the reach of the STLB; the others in the 24 pages.
fn tenth_walks(rng: &mut Xoshiro256PlusPlus, at: u64) -> One {
    let random = rng.next_u64();
    let va = if at.is_multiple_of(10) {
        VirtAddr(fixed_line(24 + (random >> 8) % (16_384 - 24)))
    } else {
        hot(random, 24)
    };
    (va, kind(random))
}

/// Any line of 4 GiB.
fn anywhere(rng: &mut Xoshiro256PlusPlus, _: u64) -> One {
    let random = rng.next_u64();
    (VirtAddr(START + (random >> 8) % (4 << 30)), kind(random))
}

impl Stream {
    fn iter(&self) -> impl Iterator<Item = One> + use<> {
        let (next, mut rng) = (self.next, Xoshiro256PlusPlus::seed_from_u64(1));
        (0..self.count).map(move |at| next(&mut rng, at))
    }

    /// Seconds to simulate it, seconds to do nothing but generate it, and the walks that it took.
    fn measure(&self) -> (f64, f64, u64) {
        let prepare = || {
            let mut sim = machine();
            let mm = sim.with(|m| {
                let mm = m.new_mm();
                m.map_anonymous(mm, START, self.pages);
                mm
            });
            sim.place(CpuId(0), mm).expect("the CPU is there");
            let mut step = |accesses| {
                let action = Action::Access(accesses);
                sim.step(Step { line: 1, thread: 0, cpu: CpuId(0), mm: Some(mm), action })
                    .expect("anonymous memory");
            };
            // Warm the caches up: every page once, then some of the stream.
            let start = VirtAddr(START);
            step(Accesses::Stride { start, count: self.pages, stride: PAGE, kind: AccessKind::Write });
            step(Accesses::Stream(Box::new(self.iter().take(10_000))));
            let before = sim.with(|m| m.measurements().walks);
            (sim, mm, before)
        };
        let (simulated, walks) = best_cpu(prepare, |(mut sim, mm, before)| {
            let action = Action::Access(Accesses::Stream(Box::new(self.iter())));
            let outcome = sim
                .step(Step { line: 2, thread: 0, cpu: CpuId(0), mm: Some(mm), action })
                .expect("anonymous memory");
            assert_eq!(outcome.accesses, self.count);
            sim.with(|m| m.measurements().walks) - before
        });
        let stream = || Box::new(self.iter()) as Box<dyn Iterator<Item = One>>;
        let (generated, _) = best_cpu(stream, |stream| {
            for one in stream {
                black_box(one);
            }
        });
        (simulated, generated, walks)
    }

    fn line(&self, what: &'static str, goal: &'static str, how: &str) -> Line {
        let (simulated, generated, walks) = self.measure();
        let walks = 100.0 * walks as f64 / self.count as f64;
        let how = format!("{how}; {walks:.1} % walk, {:.0}x a bare generator", simulated / generated);
        Line::new(what, millions(self.count, simulated), goal, how)
    }
}

/// The machine that is simulated.
pub fn machine() -> Simulation {
    let machine = load_machine("skylake-sp-optane", &[]).expect("builtin");
    let kernel = load_kernel("linux-7.2", &[]).expect("builtin");
    Simulation::new(machine, kernel, FileSystem::Ext4, false)
}

/// Nothing but hits.
pub fn hits() -> Vec<Line> {
    let (pages, count) = (24, 20_000_000);
    let how = "random over 24 pages, 384 lines, 1/4 stores";
    vec![
        Stream { pages, count, next: scattered }.line("hit stream", ">= 50 M/s", how),
        Stream { pages, count, next: in_runs }.line(
            "hit stream, runs",
            "",
            "as above, 64 accesses a page in turn",
        ),
    ]
}

/// One access in ten walks.
pub fn walks() -> Vec<Line> {
    let how = "1 access in 10 to a random page of 64 MiB, the others as hits";
    vec![Stream { pages: 16_384, count: 5_000_000, next: tenth_walks }.line("10 % walks", ">= 15 M/s", how)]
}

/// Every access misses everything.
pub fn misses() -> Vec<Line> {
    let how = "random over 4 GiB of DRAM";
    vec![Stream { pages: 1 << 20, count: 1_500_000, next: anywhere }.line("all miss", ">= 3 M/s", how)]
}
