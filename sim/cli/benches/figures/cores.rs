//! One simulation of several CPUs.

use daxsim_sim::engine::{Lookahead, useful_threads, with_threads_standing_by};
use daxsim_sim::program::{Accesses, Action, Step};
use daxsim_types::{AccessKind, CpuId, VirtAddr};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::accesses::{PAGE, START, machine};
use crate::clock::best_wall_of;
use crate::table::{Line, millions};

const CPUS: u64 = 16;
/// Pages of each CPU, and lines that it uses of each.
const PAGES: u64 = 24;
const LINES: u64 = 16;
/// Pages of which it also uses some, where it misses.
const FAR: u64 = 1024;
const ACCESSES: u64 = 1_500_000;

/// Random accesses of a CPU to pages of its own; one of so many to a random line far away.
fn stream(cpu: u64, far: u64, count: u64) -> impl Iterator<Item = (VirtAddr, AccessKind)> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(cpu);
    let base = START + cpu * FAR * PAGE;
    (0..count).map(move |at| {
        let drawn = rng.next_u64() >> 8;
        let kind = if drawn.is_multiple_of(4) { AccessKind::Write } else { AccessKind::Read };
        // The lines of each of its pages begin where those of the page before end.
        let (page, line) = if far > 0 && at.is_multiple_of(far) {
            ((drawn >> 2) % FAR, (drawn >> 40) % 64)
        } else {
            let page = (drawn >> 2) % PAGES;
            (page, (page * LINES + (drawn >> 40) % LINES) % 64)
        };
        (VirtAddr(base + page * PAGE + line * 64), kind)
    })
}

/// Wall seconds of a simulation of all CPUs with so many threads.
fn seconds(far: u64, threads: usize) -> f64 {
    let threads = useful_threads(threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let prepare = || {
        let mut sim = machine();
        sim.set_lookahead(Lookahead::in_threads(threads));
        let mm = sim.with(|m| {
            let mm = m.new_mm();
            m.map_anonymous(mm, START, CPUS * FAR);
            mm
        });
        let step = |cpu: u64, accesses| {
            let action = Action::Access(accesses);
            Step { line: 1, thread: cpu as u16, cpu: CpuId(cpu as u16), mm: Some(mm), action }
        };
        (0..CPUS).for_each(|cpu| sim.place(CpuId(cpu as u16), mm).expect("the CPU is there"));
        for cpu in 0..CPUS {
            let start = VirtAddr(START + cpu * FAR * PAGE);
            let pages = Accesses::Stride { start, count: FAR, stride: PAGE, kind: AccessKind::Write };
            sim.step(step(cpu, pages)).expect("anonymous memory");
        }
        let warm = |cpu| vec![step(cpu, Accesses::Stream(Box::new(stream(cpu, 0, 10_000))))];
        sim.parallel((0..CPUS).map(warm).collect()).expect("anonymous memory");
        let work = |cpu| vec![step(cpu, Accesses::Stream(Box::new(stream(cpu, far, ACCESSES))))];
        (sim, (0..CPUS).map(work).collect::<Vec<_>>())
    };
    pool.install(|| {
        with_threads_standing_by(|| {
            best_wall_of(prepare, |(mut sim, steps)| {
                sim.parallel(steps).expect("anonymous memory");
            })
        })
    })
}

/// Hits, and hits with misses among them.
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    let cases = [
        (0, "16 CPUs, hits", "one simulation, 2 threads", ">= 1.5x"),
        (100, "16 CPUs, 1 % misses", "the same, 2 threads", ""),
    ];
    for (far, alone, both, goal) in cases {
        let (one, two, eight) = (seconds(far, 1), seconds(far, 2), seconds(far, 8));
        let how = "each in 384 lines of its own, 1/4 stores; one thread, wall time";
        lines.push(Line::new(alone, millions(CPUS * ACCESSES, one), "", how));
        let how = format!("as above, against one thread; with 8 threads {:.2}x", one / eight);
        lines.push(Line::new(both, format!("{:.2}x", one / two), goal, how));
    }
    lines
}
