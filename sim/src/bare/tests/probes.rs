//! The same accesses cost and count the same as when the engine makes them for a program.

use daxsim_traces::generate::SplitMix;
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

use super::*;
use crate::Simulation;
use crate::measure::Part;
use crate::program::{self, Accesses, Action, Step};

/// What both ways count: misses of both levels of TLBs, entries read, misses of the caches, reads of main memory.
type Seen = ([u64; 7], Time);

fn stream(pages: u64, seed: u64) -> Vec<(u64, bool)> {
    let first = (0..pages).map(|page| (VA + page * PAGE, false));
    let mut random = SplitMix::new(seed);
    let rest = (0..60_000).map(move |_| {
        let drawn = random.draw();
        (VA + drawn % pages * PAGE + (drawn >> 32) % 64 * 64, drawn >> 60 == 0)
    });
    first.chain(rest).collect()
}

fn seen(machine: &Machine) -> Seen {
    let (memory, stats) = (machine.memory.stats(), machine.cpus[0].tlbs.stats());
    let misses = |name| stats.iter().filter(|(of, _)| *of == name).map(|(_, stats)| stats.misses).sum();
    let counts = [
        misses("dtlb"),
        misses("stlb"),
        machine.measure.walk_references,
        memory.l1d.misses,
        memory.l2.misses,
        memory.l3.misses,
        memory.dram.reads,
    ];
    (counts, machine.cpus[0].parts[Part::Memory])
}

/// Before and after the engine makes the accesses of a program; with the frames that its pages have.
fn by_engine(set: &[&str], pages: u64, stream: &[(u64, bool)]) -> ([Seen; 2], Vec<Pfn>) {
    let Bare { machine, .. } = bare(set);
    let (spec, kernel) = (machine.spec, machine.kernel);
    let mut sim = Simulation::new(spec, kernel, FileSystem::Ext4, false);
    let mm = sim.with(|m| {
        let mm = m.new_mm();
        m.map_populated(mm, VirtAddr(VA), pages * PAGE, PageSize::Size4K).map(|()| mm).unwrap()
    });
    let frame = |page| sim.with(|m| m.entry(mm, VirtAddr(VA + page * PAGE), 0).pfn());
    let frames = (0..pages).map(frame).collect();
    sim.place(CpuId(0), mm).unwrap();
    let accesses: Vec<program::Access> = stream
        .iter()
        .map(|(va, write)| program::Access {
            va: VirtAddr(*va),
            kind: if *write { AccessKind::Write } else { AccessKind::Read },
            dependent: true,
            work: 0,
        })
        .collect();
    let before = sim.with(|m| seen(m));
    let action = Action::Access(Accesses::Stream(Box::new(accesses.into_iter())));
    sim.step(Step { line: 1, thread: 0, cpu: CpuId(0), mm: Some(mm), action }).unwrap();
    ([before, sim.with(|m| seen(m))], frames)
}

fn since(after: Seen, before: Seen) -> Seen {
    let counts = std::array::from_fn(|at| after.0[at] - before.0[at]);
    (counts, after.1 - before.1)
}

#[test]
fn a_program_counts_the_same_in_the_engine() {
    for (pages, set) in [(40, &["cpu.window=1"][..]), (3000, &["cpu.window=1"]), (30_000, &["cpu.window=1"])]
    {
        let stream = stream(pages, pages);
        let ([before, after], frames) = by_engine(set, pages, &stream);
        let mut bare = bare_with(set, Options { charge: Charge::Latency, ..Options::default() });
        bare.mov_cr3(0, 1, 1, false).unwrap();
        let accesses: Vec<Access> = stream
            .iter()
            .map(|(va, write)| {
                let pa = frames[((va - VA) / PAGE) as usize].addr().0 + va % PAGE;
                if *write { Access::store(0, *va, pa) } else { Access::load(0, *va, pa) }
            })
            .collect();
        bare.run(&accesses, |_, _| {}).unwrap();
        let here = seen(&bare.machine);
        assert_eq!(here, since(after, before), "{pages} pages");
        let counts = bare.counts(0, Mode::User);
        assert_eq!((counts.walks, counts.walk_reads), (here.0[1], here.0[2]));
        assert_eq!(counts.memory, here.1);
        check(&bare);
    }
}
