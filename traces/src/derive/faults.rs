//! Faults, each with the steps of its path.

use std::collections::BTreeMap;

use daxsim_types::Pfn;

use super::steps::{Shown, is_apart, step};
use super::{Of, Running};
use crate::fault_table::FaultRow;
use crate::ftrace::{Event, Probe, Record};

/// Where the kernel's array of `struct page` begins with `nokaslr` (arch/x86/include/asm/pgtable_64_types.h: `__VMEMMAP_BASE_L4`), and
/// the size of one.
const PAGES: u64 = 0xffff_ea00_0000_0000;
const PAGE_STRUCT: u64 = 64;
/// Bits of a frame number: 6.12 has flags above.
const FRAME: u64 = 0xff_ffff_ffff;

/// Faults that are open, and those that have ended.
#[derive(Debug, Default)]
pub(super) struct Faults {
    open: BTreeMap<u32, (FaultRow, Vec<String>)>,
    ended: Vec<FaultRow>,
}

impl Faults {
    /// The fault of a task ends, if it has one.
    pub fn close(&mut self, task: u32) {
        if let Some((mut fault, steps)) = self.open.remove(&task) {
            fault.path = steps.join(" ");
            self.ended.push(fault);
        }
    }

    /// All that have ended; those that are open end with the trace.
    pub fn finish(mut self) -> Vec<FaultRow> {
        let open: Vec<u32> = self.open.keys().copied().collect();
        for task in open {
            self.close(task);
        }
        self.ended
    }

    /// Takes an event that is no marker of a script line.
    pub fn take(&mut self, record: &Record, shown: &Shown<'_>, running: &Running, of: &Of) {
        let task = record.pid;
        match &record.event {
            Event::PageFault { kernel, address, error_code, .. } => {
                self.close(task);
                if of.has(address.0) {
                    let fault = FaultRow {
                        op: running.own(task),
                        thread: running.thread_of_task.get(&task).copied(),
                        pid: Some(task),
                        cpu: Some(record.cpu),
                        time_ns: Some(record.time_ns),
                        addr: Some(*address),
                        error_code: Some(*error_code),
                        kernel: *kernel,
                        ..FaultRow::default()
                    };
                    self.open.insert(task, (fault, Vec::new()));
                }
            }
            Event::SysEnter(_) | Event::SysExit { .. } | Event::SysOther { .. } => self.close(task),
            event => {
                let Some((fault, steps)) = self.open.get_mut(&task) else { return };
                if !is_apart(shown) {
                    steps.extend(step(record, shown));
                    if let Event::Probe(probe) = event {
                        note(fault, probe);
                    }
                }
            }
        }
    }
}

/// What a probe shows of entries, frame and result.
fn note(fault: &mut FaultRow, probe: &Probe) {
    match *probe {
        Probe::HandleMmFaultRet { ret, .. } => fault.ret = Some(ret),
        Probe::PtepSetAccessFlags { old, new, .. } | Probe::PmdpSetAccessFlags { old, new, .. } => {
            (fault.old_pte, fault.new_pte) = (Some(old), Some(new));
        }
        Probe::InsertPfnRet { pfn, .. } => fault.pfn = Some(Pfn(pfn.0 & FRAME)),
        Probe::InsertPageIntoPteLocked { old, page, .. } => {
            fault.old_pte = Some(old);
            fault.pfn = page.checked_sub(PAGES).map(|bytes| Pfn(bytes / PAGE_STRUCT));
        }
        Probe::InsertPageIntoPteLockedRet { new, .. }
        | Probe::VmfInsertPfnPmdRet { new, .. }
        | Probe::VmfInsertFolioPmdRet { new, .. } => fault.new_pte = Some(new),
        Probe::VmfInsertPfnPmd { old, .. } | Probe::VmfInsertFolioPmd { old, .. } => {
            fault.old_pte = Some(old)
        }
        _ => {}
    }
}
