use daxsim_configs::{load_kernel, load_machine};
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;

use super::*;
use crate::program::script;
use crate::{Results, Simulation};

const SCRIPT: &str = "\
@threads 2 0 1
@seq
0 file 0 f0 64k fill
0 map 0 0 0 64k rw shared 0x100000000000
0 ldr 0 0 64k 4096
1 ldr 0 0 64k 4096
0 str 0 0 64k 4096
0 msync 0 0 64k
@par
0 str 0 0 64k 4096
1 str 0 0 64k 4096
";

fn run(watch: Option<Watch>) -> (Seen, Results) {
    let (machine, kernel) = (load_machine("skylake-sp-optane", &[]), load_kernel("linux-7.2", &[]));
    let mut sim = Simulation::new(machine.unwrap(), kernel.unwrap(), FileSystem::Ext4, false);
    if let Some(watch) = watch {
        sim.watch(watch);
    }
    let text = Script::parse(SCRIPT, std::path::Path::new("observed")).unwrap();
    script::run(&mut sim, &text, FileSystem::Ext4, &Default::default()).unwrap();
    let mut results = sim.finish();
    (results.seen.take().unwrap_or_default(), results)
}

#[test]
fn the_micro_operations_of_the_faults_sum_to_their_latencies() {
    let (seen, results) = run(Some(Watch::all(usize::MAX)));
    let latencies = &results.measurements.latencies;
    assert!(latencies.count(FaultKind::Mkwrite) >= 32, "the stores after msync fault again");
    for (kind, latency) in latencies.iter() {
        let of_kind: Vec<&Fault> = seen.faults.iter().filter(|fault| fault.kind == kind).collect();
        assert_eq!(of_kind.len() as u64, latency.histogram.len(), "{}", kind.name());
        assert_eq!(of_kind.iter().map(|fault| fault.took()).sum::<Time>(), latency.sum, "{}", kind.name());
        let mut parts = Parts::default();
        let mut executed = Executed::default();
        for operation in of_kind.iter().flat_map(|fault| &fault.operations) {
            operation.parts.iter().for_each(|(part, time)| parts[*part] += *time);
            executed += operation.executed;
        }
        assert_eq!((parts, executed), (latency.parts, latency.executed), "{}", kind.name());
    }
}

#[test]
fn operations_follow_one_another_without_gaps_and_have_names() {
    let (seen, _) = run(Some(Watch::all(usize::MAX)));
    for fault in &seen.faults {
        assert_eq!(fault.operations[0].begin, fault.begin);
        for pair in fault.operations.windows(2) {
            assert_eq!(pair[0].begin + pair[0].took(), pair[1].begin, "{:?}", pair[0]);
        }
    }
    let fault = seen.faults.iter().find(|fault| fault.kind == FaultKind::Mkwrite).unwrap();
    let functions: Vec<&str> =
        fault.operations.iter().filter_map(|o| site(o.at)).map(|site| site.function).collect();
    for name in ["do_user_addr_fault", "do_wp_page", "grab_mapping_entry"] {
        assert!(functions.contains(&name), "{name} in {functions:?}");
    }
    let ops = |op| fault.operations.iter().any(|o| o.op == op);
    assert!(ops(MicroOp::Load(LineName::PageTableEntries)) && ops(MicroOp::Again) && ops(MicroOp::Return));
}

#[test]
fn interrupts_go_from_who_asked_to_who_answered_within_the_flush() {
    let (seen, results) = run(Some(Watch::all(usize::MAX)));
    let counts = &results.measurements.shootdowns;
    assert_eq!(seen.interrupts.len() as u64, counts.ipis_sent);
    assert_eq!(seen.shootdowns.len() as u64, counts.requests);
    assert!(!seen.interrupts.is_empty());
    for interrupt in &seen.interrupts {
        let begin = interrupt.begin.unwrap();
        assert!(interrupt.sent < interrupt.arrived && interrupt.arrived <= begin && begin < interrupt.end);
        let flush = seen.shootdowns.iter().find(|flush| {
            flush.cpu == interrupt.from && flush.begin <= interrupt.sent && interrupt.sent <= flush.end
        });
        assert!(flush.is_some() && interrupt.from != interrupt.to, "{interrupt:?}");
    }
}

#[test]
fn looking_on_changes_nothing() {
    let (_, watched) = run(Some(Watch::all(usize::MAX)));
    let (seen, alone) = run(None);
    assert!(seen.faults.is_empty());
    assert_eq!(
        (watched.end, watched.cpus, watched.instructions),
        (alone.end, alone.cpus, alone.instructions)
    );
}

#[test]
fn a_window_a_sample_and_a_bound_keep_a_part() {
    let (all, _) = run(Some(Watch::all(usize::MAX)));
    let middle = all.faults[10].begin..all.faults[20].begin;
    let (some, _) = run(Some(Watch { window: middle.clone(), every: 1, most: usize::MAX }));
    let inside = all.faults.iter().filter(|fault| middle.contains(&fault.begin)).count();
    assert_eq!((some.faults.len(), some.not_kept), (inside, 0));
    let (sampled, _) = run(Some(Watch { every: 4, ..Watch::all(usize::MAX) }));
    assert_eq!(sampled.faults.len(), all.faults.len().div_ceil(4));
    let (few, _) = run(Some(Watch::all(100)));
    assert!(few.faults.len() < all.faults.len() && few.not_kept > 0);
}
