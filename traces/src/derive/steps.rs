//! The steps of a fault's path, as the fault table names them.

use crate::ftrace::{Event, Record};
use crate::recording::INTERRUPTS;

/// Lines of text as bytes.
type Split<'a> = std::slice::Split<'a, u8, fn(&u8) -> bool>;

/// The lines of a trace, in step with the records that a reader makes of them. The reader has no type for every probe; their names and
/// results are in the text.
pub(super) struct Printed<'a> {
    lines: std::iter::Enumerate<Split<'a>>,
}

/// An event as it is printed: its name, and what is behind it.
pub(super) struct Shown<'a> {
    pub name: &'a str,
    pub rest: &'a str,
}

impl<'a> Printed<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        fn is_end(byte: &u8) -> bool {
            *byte == b'\n'
        }
        Self { lines: text.split(is_end as fn(&u8) -> bool).enumerate() }
    }

    /// The line of a record, which is behind those of the records before it.
    pub fn of(&mut self, record: &Record) -> Shown<'a> {
        let line =
            self.lines.find(|(at, _)| *at as u64 + 1 >= record.line).map_or(&b""[..], |(_, line)| line);
        let line = std::str::from_utf8(line).unwrap_or_default();
        // `task-pid [cpu] flags time: name: rest`; a task's name may have anything, but flags and time have no `: `.
        let event = line.split_once("] ").map_or("", |(_, rest)| rest);
        let event = event.split_once(": ").map_or("", |(_, event)| event);
        let end = event.find([':', '(']).unwrap_or(event.len());
        let (name, rest) = event.split_at(end);
        Shown { name, rest }
    }
}

impl<'a> Shown<'a> {
    /// The value of `key=` as printed.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        let at = self.rest.find(key)?;
        self.rest.get(at + key.len()..)?.split_ascii_whitespace().next()
    }
}

/// The events of `daxplay`'s own notes, which belong to no fault.
const NOTE: &str = "tracing_mark_write";

/// Events that are no step: what they tell is in the step of another event.
const SILENT: [&str; 29] = [
    "arch_tlbbatch_flush",
    "dax_disassociate_entry",
    "dax_insert_entry",
    "dax_insert_entry_ret",
    "dax_iomap_pmd_fault_ret",
    "dax_iomap_pte_fault_ret",
    "dax_layout_busy_page_range_ret",
    "ext4_dax_huge_fault_ret",
    "flush_tlb_func",
    "flush_tlb_one_user",
    "insert_page_into_pte_locked",
    "insert_page_ret",
    "ipi_send_cpu",
    "ipi_send_cpumask",
    "lock_vma_under_rcu_ret",
    "native_flush_tlb_multi",
    "page_fault_kernel",
    "page_fault_user",
    "pmdp_set_access_flags",
    "ptep_set_access_flags",
    "sched_migrate_task",
    "sched_switch",
    "vmf_insert_folio_pmd",
    "vmf_insert_pfn_pmd",
    "xfs_filemap_fault_ret",
    "xfs_filemap_huge_fault_ret",
    "xfs_filemap_page_mkwrite_ret",
    "xfs_filemap_pfn_mkwrite_ret",
    "",
];

/// Whether an event interrupts a task, or belongs to no fault.
pub(super) fn is_apart(shown: &Shown<'_>) -> bool {
    shown.name == NOTE || INTERRUPTS.contains(&shown.name)
}

/// The step of an event, if it is one.
pub(super) fn step(record: &Record, shown: &Shown<'_>) -> Option<String> {
    let name = shown.name;
    if SILENT.contains(&name) {
        return None;
    }
    match &record.event {
        // Another CPU asked for it: this task was only interrupted.
        Event::TlbFlush { reason: 1, .. } => return None,
        Event::TlbFlush { pages, reason } => return Some(format!("tlb{reason}:{pages}")),
        Event::DaxPteFault(fault) => return Some(side(name, fault.flags)),
        Event::DaxPmdFault(fault) => return Some(side(name, fault.fault.flags)),
        Event::DaxPteFaultDone(_) | Event::DaxPmdFaultDone(_) => {
            return Some(format!("{name}={}", shown.rest.split_ascii_whitespace().next_back()?));
        }
        Event::IomapIterDstmap { .. } => return Some(extent(shown)),
        _ => {}
    }
    let Some(function) = name.strip_suffix("_ret") else { return Some(name.to_owned()) };
    Some(match function {
        "ptep_clear_flush" => function.to_owned(),
        "ptep_set_access_flags" | "pmdp_set_access_flags" => {
            format!("{function}={}", shown.value("changed=")?)
        }
        _ => format!("{function}={}", shown.value(" ret=").unwrap_or("?")),
    })
}

/// Whether the handler was asked for a write.
fn side(name: &str, flags: crate::ftrace::FaultFlags) -> String {
    let write = flags.contains(crate::ftrace::FaultFlags::WRITE);
    format!("{name}:{}", if write { 'W' } else { 'R' })
}

/// What the file system answered: `iomap:MAPPED+NEW|DIRTY`.
fn extent(shown: &Shown<'_>) -> String {
    let kind = shown.value("type ").unwrap_or("?");
    let flags = shown.rest.split_once("flags ").map_or("", |(_, flags)| flags);
    let named: Vec<&str> = flags.split_ascii_whitespace().filter(|word| !word.starts_with("(0x")).collect();
    match named.join(" ") {
        flags if flags.is_empty() => format!("iomap:{kind}"),
        flags => format!("iomap:{kind}+{flags}"),
    }
}
