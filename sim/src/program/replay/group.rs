//! Groups the records of a trace into what a task did.

use std::collections::{BTreeMap, BTreeSet};

use super::life::{Lives, shares_mm};
use daxsim_traces::ftrace::{Event, Marker, Probe, Record, SysCall, SysEnter};
use daxsim_types::{CpuId, ErrorCode, Pfn, VirtAddr, VmFault};

/// The DAX handler's view of a fault, from the fs_dax events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaxView {
    /// Device as (major, minor).
    pub dev: (u32, u32),
    /// Inode.
    pub ino: u64,
    /// VM_SHARED.
    pub shared: bool,
    /// File page of the fault.
    pub pgoff: u64,
    /// VMA borders, if a PMD event showed them.
    pub vma: Option<(u64, u64)>,
    /// Pages of the file, if a PMD event showed them.
    pub file_pages: Option<u64>,
    /// Whether a PMD attempt fell back.
    pub pmd_fallback: bool,
    /// Whether the fault was served by a PMD.
    pub pmd_served: bool,
    /// Whether the zero page was mapped.
    pub hole: bool,
    /// Whether the fault had to sync before it could map: MAP_SYNC.
    pub synchronous: bool,
}

/// What `iomap_begin` answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IomapView {
    /// Device byte, meaningless for a hole.
    pub addr: u64,
    /// File byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Written, unwritten, or (false, false) for a hole.
    pub mapped: bool,
    /// Unwritten.
    pub unwritten: bool,
    /// Newly allocated.
    pub new: bool,
}

/// One recorded page fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFault {
    /// Line of the trace, from 1.
    pub line: u64,
    /// Time in ns.
    pub time_ns: u64,
    /// Task.
    pub pid: u32,
    /// CPU.
    pub cpu: CpuId,
    /// CR2.
    pub address: VirtAddr,
    /// Error code.
    pub error_code: ErrorCode,
    /// Taken in kernel mode.
    pub kernel: bool,
    /// fs_dax events, if there were any.
    pub dax: Option<DaxView>,
    /// iomap events, in order.
    pub iomaps: Vec<IomapView>,
    /// Entry before, if a probe showed it.
    pub old: Option<u64>,
    /// Entry after, if a probe showed it.
    pub new: Option<u64>,
    /// Frame, if a probe showed it.
    pub pfn: Option<Pfn>,
    /// Whether a pass of `handle_mm_fault` asked for another.
    pub retried: bool,
    /// Whether `finish_fault` mapped a page that a handler found.
    pub finished: bool,
    /// Whether the page was copied and its old entry flushed.
    pub copied: bool,
    /// Last result: of `handle_mm_fault` if probed, otherwise of the DAX handler.
    pub ret: Option<VmFault>,
}

/// One recorded system call that succeeded, or writeback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    /// Line of the trace.
    pub line: u64,
    /// Time in ns.
    pub time_ns: u64,
    /// Task.
    pub pid: u32,
    /// CPU.
    pub cpu: CpuId,
    /// What it did.
    pub action: Action,
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// mmap of a file at an address.
    Mapped {
        /// Address that it returned.
        start: u64,
        /// Bytes.
        len: u64,
        /// PROT bits.
        prot: u32,
        /// MAP bits.
        flags: u32,
        /// File descriptor; negative for anonymous memory.
        fd: i32,
        /// File offset in bytes.
        offset: u64,
    },
    /// munmap.
    Unmapped {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// mremap.
    Remapped {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// Address that it returned.
        to: u64,
        /// Bytes afterwards.
        new_len: u64,
        /// MREMAP_DONTUNMAP.
        dont_unmap: bool,
    },
    /// Writeback of an inode's pages, both ends included.
    Writeback {
        /// Device.
        dev: (u32, u32),
        /// Inode.
        ino: u64,
        /// First page.
        first: u64,
        /// Last page.
        last: u64,
    },
    /// msync, fsync or fdatasync begins.
    SyncBegins(Synced),
    /// It has returned, with success or not.
    SyncEnds {
        /// The call.
        name: &'static str,
        /// Whether it succeeded.
        success: bool,
    },
    /// ftruncate, fallocate or pwrite.
    Changed {
        /// File descriptor.
        fd: i32,
        /// What was done to the file.
        change: FileChange,
    },
    /// mprotect.
    Protected {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// PROT bits.
        prot: u32,
    },
    /// A child process.
    Forked {
        /// Its pid.
        child: u32,
        /// Whether it shares the address space.
        shares_mm: bool,
    },
    /// A new program: the address space is another one.
    Executed,
    /// The end of the task.
    Exited,
    /// madvise.
    Advised {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// `MADV_*`.
        behavior: u32,
    },
    /// A call that changes mappings or blocks in a way that is not simulated.
    NotSimulated(SysCall),
}

/// What a sync call covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// What is mapped at a range of addresses.
    Range {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// A whole file.
    File {
        /// Its descriptor.
        fd: i32,
    },
}

/// A change of a file by a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// ftruncate to a size in bytes.
    Truncated(u64),
    /// fallocate.
    Allocated {
        /// Mode bits.
        mode: u32,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// pwrite.
    Written {
        /// First byte.
        start: u64,
        /// Bytes, as the call returned.
        len: u64,
    },
}

/// What the grouper found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A fault with all that belongs to it.
    Fault(RecordedFault),
    /// A call.
    Call(RecordedCall),
}

/// Groups records by task. Holds at most one open fault and one open call for each task that is inside one.
#[derive(Debug, Default)]
pub struct Grouper {
    faults: BTreeMap<u32, RecordedFault>,
    calls: BTreeMap<u32, SysEnter>,
    /// Tasks whose open synchronous fault has synced.
    synced: BTreeSet<u32>,
    lives: Lives,
}

impl Grouper {
    /// Takes the next record; appends what it completes to `out`, in order.
    pub fn push(&mut self, record: &Record, out: &mut Vec<Item>) {
        let pid = record.pid;
        if let Some((task, action)) =
            self.lives.watch(record, self.faults.contains_key(&pid), self.calls.iter())
        {
            self.close(task, out);
            self.call(&Record { pid: task, ..record.clone() }, action, out);
        }
        match &record.event {
            Event::PageFault { kernel, address, error_code, .. } => {
                self.close(pid, out);
                let fault = RecordedFault {
                    line: record.line,
                    time_ns: record.time_ns,
                    pid,
                    cpu: record.cpu,
                    address: *address,
                    error_code: *error_code,
                    kernel: *kernel,
                    dax: None,
                    iomaps: Vec::new(),
                    old: None,
                    new: None,
                    pfn: None,
                    retried: false,
                    finished: false,
                    copied: false,
                    ret: None,
                };
                self.faults.insert(pid, fault);
            }
            Event::SysEnter(enter) => {
                self.close(pid, out);
                if let Some((_, synced)) = synced(enter) {
                    note(record, Action::SyncBegins(synced), out);
                }
                self.calls.insert(pid, *enter);
            }
            Event::SysExit { call, ret } => {
                self.close(pid, out);
                let Some(enter) = self.calls.remove(&pid) else { return };
                if let Some((name, _)) = synced(&enter) {
                    let success = enter.call() == *call && *ret == 0;
                    note(record, Action::SyncEnds { name, success }, out);
                } else if enter.call() == *call
                    && let Some(action) = completed(&enter, *ret)
                    && !self.lives.is_announced(&action)
                {
                    self.call(record, action, out);
                }
            }
            Event::Marker(Marker::Begin { .. } | Marker::End { .. }) => self.close(pid, out),
            Event::DaxWritebackRange(_) if self.is_sync_of_fault(pid) => {}
            Event::DaxWritebackRange(range) => {
                self.close(pid, out);
                let dev = (range.dev.major, range.dev.minor);
                let action = Action::Writeback { dev, ino: range.ino, first: range.start, last: range.end };
                self.call(record, action, out);
            }
            event => {
                if let Some(fault) = self.faults.get_mut(&pid)
                    && add_to_fault(fault, event)
                {
                    self.close(pid, out);
                }
            }
        }
    }

    /// Ends the trace: what is still open is complete as far as it goes.
    pub fn finish(&mut self, out: &mut Vec<Item>) {
        let mut open: Vec<RecordedFault> = std::mem::take(&mut self.faults).into_values().collect();
        open.sort_by_key(|f| f.line);
        out.extend(open.into_iter().map(Item::Fault));
    }

    fn call(&mut self, record: &Record, action: Action, out: &mut Vec<Item>) {
        self.close_finished(out);
        note(record, action, out);
    }

    /// Whether a task's writeback is part of its open fault: the one that a synchronous fault does before it maps. Without
    /// probes nothing ends a fault but what its task does next, so any other writeback comes after it.
    fn is_sync_of_fault(&mut self, pid: u32) -> bool {
        let fault = self.faults.get(&pid).and_then(|f| f.dax.as_ref());
        fault.is_some_and(|dax| dax.synchronous) && self.synced.insert(pid)
    }

    fn close(&mut self, pid: u32, out: &mut Vec<Item>) {
        self.synced.remove(&pid);
        if let Some(fault) = self.faults.remove(&pid) {
            out.push(Item::Fault(fault));
        }
    }

    /// Closes the faults of all tasks whose result is known: what follows must come after them.
    fn close_finished(&mut self, out: &mut Vec<Item>) {
        let mut done: Vec<(u64, u32)> = self
            .faults
            .values()
            .filter(|f| f.ret.is_some_and(|r| r != VmFault::RETRY))
            .map(|f| (f.line, f.pid))
            .collect();
        done.sort_unstable();
        for (_, pid) in done {
            self.close(pid, out);
        }
    }
}

fn note(record: &Record, action: Action, out: &mut Vec<Item>) {
    let (line, time_ns, pid, cpu) = (record.line, record.time_ns, record.pid, record.cpu);
    out.push(Item::Call(RecordedCall { line, time_ns, pid, cpu, action }));
}

/// What a sync call covers, and its name. MS_ASYNC syncs nothing.
fn synced(enter: &SysEnter) -> Option<(&'static str, Synced)> {
    /// `MS_SYNC` (include/uapi/asm-generic/mman-common.h).
    const MS_SYNC: u32 = 4;
    match *enter {
        SysEnter::Msync { start, len, flags } if flags & MS_SYNC != 0 => {
            Some(("msync", Synced::Range { start, len }))
        }
        SysEnter::Fsync { fd } => Some(("fsync", Synced::File { fd })),
        SysEnter::Fdatasync { fd } => Some(("fdatasync", Synced::File { fd })),
        _ => None,
    }
}

/// What a successful call did.
fn completed(enter: &SysEnter, ret: i64) -> Option<Action> {
    // Addresses come back as positive numbers; errors are -4095..=-1.
    if (-4095..0).contains(&ret) {
        return None;
    }
    let child = |shares_mm| {
        u32::try_from(ret).ok().filter(|c| *c != 0).map(|child| Action::Forked { child, shares_mm })
    };
    match *enter {
        SysEnter::Mmap { len, prot, flags, fd, off, .. } => {
            Some(Action::Mapped { start: ret as u64, len, prot, flags, fd, offset: off })
        }
        SysEnter::Munmap { addr, len } => Some(Action::Unmapped { start: addr, len }),
        SysEnter::Mremap { addr, old_len, new_len, flags, .. } => {
            /// `MREMAP_DONTUNMAP` (include/uapi/linux/mman.h).
            const MREMAP_DONTUNMAP: u64 = 4;
            let dont_unmap = flags & MREMAP_DONTUNMAP != 0;
            Some(Action::Remapped { start: addr, len: old_len, to: ret as u64, new_len, dont_unmap })
        }
        // Their writeback has events of its own.
        SysEnter::Msync { .. } | SysEnter::Fsync { .. } | SysEnter::Fdatasync { .. } => None,
        // Reading changes neither tables nor blocks.
        SysEnter::Pread64 { .. } => None,
        SysEnter::Pwrite64 { fd, pos, .. } => {
            Some(Action::Changed { fd, change: FileChange::Written { start: pos, len: ret as u64 } })
        }
        SysEnter::Fallocate { fd, mode, offset, len } => {
            Some(Action::Changed { fd, change: FileChange::Allocated { mode, start: offset, len } })
        }
        SysEnter::Mprotect { start, len, prot } => Some(Action::Protected { start, len, prot }),
        SysEnter::Madvise { start, len, behavior } => Some(Action::Advised { start, len, behavior }),
        SysEnter::Ftruncate { fd, length } => {
            Some(Action::Changed { fd, change: FileChange::Truncated(length) })
        }
        SysEnter::Clone { .. } | SysEnter::Clone3 | SysEnter::Fork | SysEnter::Vfork => {
            child(shares_mm(enter) == Some(true))
        }
        other => Some(Action::NotSimulated(other.call())),
    }
}

/// Adds an event to an open fault; `true` if it ends it.
fn add_to_fault(fault: &mut RecordedFault, event: &Event) -> bool {
    match event {
        Event::DaxPteFault(pte) => {
            view(fault, (pte.dev.major, pte.dev.minor), pte.ino, pte.shared, pte.pgoff);
        }
        Event::DaxPteFaultDone(pte) => {
            fault.ret = Some(pte.result);
            note_sync(fault, pte.result);
        }
        Event::DaxLoadHole(pte) => {
            view(fault, (pte.dev.major, pte.dev.minor), pte.ino, pte.shared, pte.pgoff).hole = true;
        }
        Event::DaxPmdFault(pmd) => {
            let pte = &pmd.fault;
            let view = view(fault, (pte.dev.major, pte.dev.minor), pte.ino, pte.shared, pte.pgoff);
            view.vma = Some((pmd.vm_start.0, pmd.vm_end.0));
            view.file_pages = Some(pmd.max_pgoff);
        }
        Event::DaxPmdFaultDone(pmd) => {
            let pte = &pmd.fault;
            let view = view(fault, (pte.dev.major, pte.dev.minor), pte.ino, pte.shared, pte.pgoff);
            view.pmd_fallback |= pte.result == VmFault::FALLBACK;
            view.pmd_served |= pte.result.contains(VmFault::NOPAGE);
            if pte.result != VmFault::FALLBACK {
                fault.ret = Some(pte.result);
            }
            note_sync(fault, pte.result);
        }
        Event::DaxPmdLoadHole(_) => {
            if let Some(dax) = &mut fault.dax {
                dax.hole = true;
            }
        }
        Event::IomapIterDstmap { addr, offset, length, kind, flags, .. } => {
            use daxsim_traces::ftrace::{IomapFlags, IomapType};
            fault.iomaps.push(IomapView {
                addr: *addr,
                offset: *offset,
                length: *length,
                mapped: *kind == IomapType::Mapped,
                unwritten: *kind == IomapType::Unwritten,
                new: flags.contains(IomapFlags::NEW),
            });
        }
        Event::Probe(probe) => return add_probe(fault, probe),
        _ => {}
    }
    false
}

/// A result of NEEDDSYNC tells a MAP_SYNC mapping; without probes it is not the fault's result, for the sync comes after it.
fn note_sync(fault: &mut RecordedFault, result: VmFault) {
    if result.contains(VmFault::NEEDDSYNC) {
        fault.ret = Some(VmFault::NOPAGE);
        if let Some(dax) = &mut fault.dax {
            dax.synchronous = true;
        }
    }
}

fn add_probe(fault: &mut RecordedFault, probe: &Probe) -> bool {
    match *probe {
        Probe::HandleMmFaultRet { ret, .. } => {
            fault.ret = Some(ret);
            fault.retried |= ret.contains(VmFault::RETRY);
            return !ret.contains(VmFault::RETRY);
        }
        Probe::PtepSetAccessFlags { old, new, .. } | Probe::PmdpSetAccessFlags { old, new, .. } => {
            (fault.old, fault.new) = (Some(old), Some(new));
        }
        Probe::FinishFaultRet { .. } => fault.finished = true,
        Probe::PtepClearFlushRet { .. } => fault.copied = true,
        Probe::InsertPfnRet { pfn, .. } => fault.pfn = Some(pfn),
        Probe::InsertPageIntoPteLocked { old, .. } => fault.old = Some(old),
        Probe::InsertPageIntoPteLockedRet { new, .. } => fault.new = Some(new),
        Probe::VmfInsertPfnPmd { old, .. } | Probe::VmfInsertFolioPmd { old, .. } => fault.old = Some(old),
        Probe::VmfInsertPfnPmdRet { new, .. } | Probe::VmfInsertFolioPmdRet { new, .. } => {
            fault.new = Some(new)
        }
        _ => {}
    }
    false
}

fn view(fault: &mut RecordedFault, dev: (u32, u32), ino: u64, shared: bool, pgoff: u64) -> &mut DaxView {
    fault.dax.get_or_insert(DaxView {
        dev,
        ino,
        shared,
        pgoff,
        vma: None,
        file_pages: None,
        pmd_fallback: false,
        pmd_served: false,
        hole: false,
        synchronous: false,
    })
}
