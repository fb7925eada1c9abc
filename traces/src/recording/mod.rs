//! What is recorded of a kernel: the events that a replay reads, and the probes that a comparison reads besides.

use crate::ftrace::SysCall;

/// The probes of all kernels.
const PROBES: &str = include_str!("probes.txt");

/// An event: its system, its name.
pub type Name = (&'static str, String);

/// Without these a replay says nothing.
const NEEDED: [(&str, &[&str]); 2] = [
    ("exceptions", &["page_fault_user"]),
    (
        "fs_dax",
        &[
            "dax_pte_fault",
            "dax_pte_fault_done",
            "dax_load_hole",
            "dax_insert_pfn_mkwrite",
            "dax_insert_pfn_mkwrite_no_entry",
            "dax_pmd_fault",
            "dax_pmd_fault_done",
            "dax_pmd_load_hole",
            "dax_pmd_load_hole_fallback",
            "dax_writeback_range",
            "dax_writeback_range_done",
            "dax_writeback_one",
        ],
    ),
];

/// Begin and end of the interrupts by which CPUs ask one another for something.
pub(crate) const INTERRUPTS: [&str; 6] = [
    "call_function_entry",
    "call_function_exit",
    "call_function_single_entry",
    "call_function_single_exit",
    "reschedule_entry",
    "reschedule_exit",
];

/// These make it more exact: what is not there is inferred, and counted.
const WANTED: [(&str, &[&str]); 6] = [
    ("exceptions", &["page_fault_kernel"]),
    ("tlb", &["tlb_flush"]),
    ("iomap", &["iomap_iter_dstmap"]),
    ("sched", &["sched_switch", "sched_migrate_task"]),
    ("irq_vectors", &INTERRUPTS),
    ("ipi", &["ipi_send_cpu", "ipi_send_cpumask"]),
];

fn names(of: &[(&'static str, &[&'static str])]) -> Vec<Name> {
    of.iter().flat_map(|(system, names)| names.iter().map(|name| (*system, (*name).to_owned()))).collect()
}

/// Those without which nothing is recorded.
#[must_use]
pub fn needed() -> Vec<Name> {
    names(&NEEDED)
}

/// Those that are recorded if they are there.
#[must_use]
pub fn wanted() -> Vec<Name> {
    let calls = SysCall::ALL.iter().filter_map(|call| call.event_name().strip_prefix("sys_"));
    let calls = calls.flat_map(|call| [format!("sys_enter_{call}"), format!("sys_exit_{call}")]);
    names(&WANTED).into_iter().chain(calls.map(|name| ("syscalls", name))).collect()
}

/// The probes of a kernel's release (`uname -r`), each as a line for `kprobe_events`. Not every kernel has every function.
pub fn probes(release: &str) -> impl Iterator<Item = &'static str> {
    let release = version(release);
    let lines = PROBES.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| match line.strip_prefix("from ").and_then(|rest| rest.split_once(' ')) {
        None => Some(line),
        Some((from, probe)) => Some(probe).filter(|_| release >= version(from)),
    })
}

/// The first two numbers of a release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_of_the_recorded_kernels_are_among_those_of_their_releases() {
        for (folder, release) in
            [("kernel-6.12", "6.12.117+deb12-amd64"), ("kernel-7.2", "7.2.12+deb13-amd64")]
        {
            let recorded = format!("{}/recorded/{folder}/probes.ok", env!("CARGO_MANIFEST_DIR"));
            let recorded = std::fs::read_to_string(recorded).unwrap();
            let ours: Vec<&str> = probes(release).collect();
            for probe in recorded.lines() {
                assert!(ours.contains(&probe), "{folder}: {probe}");
            }
        }
        assert!(!probes("6.12.1").any(|probe| probe.contains("insert_page_into")));
        assert!(probes("6.15-rc1").any(|probe| probe.contains("insert_page_into")));
        assert_eq!(version("next"), (0, 0));
    }

    #[test]
    fn every_event_is_named_once() {
        let mut all: Vec<Name> = needed().into_iter().chain(wanted()).collect();
        assert!(all.contains(&("syscalls", "sys_enter_mmap".into())));
        assert!(all.contains(&("syscalls", "sys_exit_pwrite64".into())));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
