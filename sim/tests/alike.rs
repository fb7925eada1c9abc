//! What a run says of configurations that follow it, against runs of their own.

use std::collections::BTreeMap;
use std::path::Path;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_sim::alike::Other;
use daxsim_sim::program::script;
use daxsim_sim::{Results, Simulation};
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;

/// Settings of machine and kernel: some decide something, some do not.
const SETTINGS: [(&[&str], &[&str]); 20] = [
    (&[], &[]),
    (&["tlb.stlb.entries=3072"], &[]),
    (&["tlb.stlb.entries=16", "tlb.stlb.ways=2"], &[]),
    (&["tlb.stlb.replacement=lru", "tlb.stlb.index=linear"], &[]),
    (&["tlb.stlb.entries=4", "tlb.stlb.ways=4", "tlb.stlb.replacement=fifo"], &[]),
    (&["psc.pde=64", "psc.pde_ways=4"], &[]),
    (&["psc.pde=0", "psc.pdpte=0"], &[]),
    (&["psc.pml4e=1"], &[]),
    (&["mmu.walkers=1"], &[]),
    (&["mmu.walkers=4"], &[]),
    (&["mmu.walkers=3"], &[]),
    (&["tlb.stlb.entries=3072", "psc.pml4e=4", "mmu.walkers=8"], &["tree.flush_ceiling_pages=40"]),
    (&[], &["tree.flush_ceiling_pages=1"]),
    (&[], &["tree.flush_ceiling_pages=34"]),
    (&[], &["dax.hook_on_fresh_4k=true"]),
    (&[], &["dax.busy_test=ref_above_one"]),
    (&[], &["dax.upgrade_sets_d_4k=true"]),
    (&[], &["dax.hole_2m_busy=fallback"]),
    (&[], &["tlb_flush.mechanism=ideal"]),
    (&["tlb.stlb.hit_penalty=3 cycles"], &[]),
];

fn configuration(at: usize) -> (MachineSpec, KernelSpec) {
    let (machine, kernel) = SETTINGS[at];
    let parse = |list: &[&str]| list.iter().map(|o| Override::parse(o).unwrap()).collect::<Vec<_>>();
    let machine = load_machine("skylake-sp-optane", &parse(machine)).unwrap();
    (machine, load_kernel("linux-7.2", &parse(kernel)).unwrap())
}

fn run(name: &str, (machine, kernel): (MachineSpec, KernelSpec), others: Vec<Other>) -> Results {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../traces/recorded/kernel-7.2/ext4/{name}/script.txt"));
    let script = Script::open(&path).unwrap();
    let mut sim = Simulation::followed(machine, kernel, FileSystem::Ext4, true, others);
    sim.set_seed(7);
    script::run(&mut sim, &script, FileSystem::Ext4, &BTreeMap::new()).unwrap();
    sim.finish()
}

fn text(results: &Results) -> String {
    format!("{results:?}")
}

#[test]
fn a_follower_that_is_alike_would_have_found_the_same_to_the_last_number() {
    for name in ["s10_msync_loop", "s23_mprotect", "s39_unmap_part_4threads"] {
        let all: Vec<_> = (0..SETTINGS.len()).map(configuration).collect();
        let alone: Vec<String> = all.iter().map(|one| text(&run(name, one.clone(), Vec::new()))).collect();
        let (mut alike, mut other) = (0, 0);
        for (leader, one) in all.iter().enumerate().step_by(3) {
            let others = all
                .iter()
                .map(|(machine, kernel)| Other { machine: machine.clone(), kernel: kernel.clone() });
            let mut results = run(name, one.clone(), others.collect());
            let found = std::mem::take(&mut results.followers);
            assert_eq!(text(&results), alone[leader], "{name}: followers change {leader}");
            assert!(found[leader].is_some(), "{name}: {leader} is not like itself");
            for (follower, found) in found.into_iter().enumerate() {
                if let Some(found) = found {
                    results.become_those_of(found);
                    assert_eq!(text(&results), alone[follower], "{name}: {follower} behind {leader}");
                    alike += 1;
                } else {
                    assert_ne!(follower, leader);
                    other += 1;
                }
            }
        }
        assert!(alike > 20 && other > 40, "{name}: {alike} alike, {other} not");
    }
}

#[test]
fn what_is_never_asked_makes_no_difference_and_what_decides_makes_one() {
    let follows = |name: &str, leader: usize, follower: usize| {
        let (machine, kernel) = configuration(follower);
        let results = run(name, configuration(leader), vec![Other { machine, kernel }]);
        results.followers[0].is_some()
    };
    // A larger array, more walkers than ever walk, a knob of pages that the program does not have.
    assert!(follows("s10_msync_loop", 0, 1) && follows("s10_msync_loop", 0, 17));
    assert!(follows("s10_msync_loop", 0, 13) && !follows("s23_mprotect", 0, 12));
    assert!(!follows("s10_msync_loop", 0, 18), "another mechanism of flushes");
    assert!(!follows("s10_msync_loop", 0, 19), "another latency");
    assert!(!follows("s10_msync_loop", 0, 16), "the entry has another bit");
}
