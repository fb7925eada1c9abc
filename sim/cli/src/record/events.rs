//! The events that a replay reads.

use daxsim_traces::ftrace::SysCall;

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

/// These make it more exact: what is not there is inferred, and counted.
const WANTED: [(&str, &[&str]); 6] = [
    ("exceptions", &["page_fault_kernel"]),
    ("tlb", &["tlb_flush"]),
    ("iomap", &["iomap_iter_dstmap"]),
    ("sched", &["sched_switch", "sched_migrate_task"]),
    (
        "irq_vectors",
        &[
            "call_function_entry",
            "call_function_exit",
            "call_function_single_entry",
            "call_function_single_exit",
            "reschedule_entry",
            "reschedule_exit",
        ],
    ),
    ("ipi", &["ipi_send_cpu", "ipi_send_cpumask"]),
];

fn names(of: &[(&'static str, &[&'static str])]) -> Vec<Name> {
    of.iter().flat_map(|(system, names)| names.iter().map(|name| (*system, (*name).to_owned()))).collect()
}

/// Those without which nothing is recorded.
pub fn needed() -> Vec<Name> {
    names(&NEEDED)
}

/// Those that are recorded if they are there.
pub fn wanted() -> Vec<Name> {
    let calls = SysCall::ALL.iter().filter_map(|call| call.event_name().strip_prefix("sys_"));
    let calls = calls.flat_map(|call| [format!("sys_enter_{call}"), format!("sys_exit_{call}")]);
    names(&WANTED).into_iter().chain(calls.map(|name| ("syscalls", name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
