//! One page fault as the simulation saw it, in the terms of the recorded fault tables.

use std::fmt;

use daxsim_types::{CpuId, ErrorCode, Pfn, Time, VirtAddr, VmFault};
use smallvec::SmallVec;

use super::HandlerCall;
use crate::mmu::entry::Entry;

/// What a fault turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A read that inserted a 4 KiB PTE.
    Read,
    /// A write that inserted a 4 KiB PTE.
    Write,
    /// A write that upgraded a read-only 4 KiB PTE.
    Mkwrite,
    /// Nothing had to change: a stale TLB entry, or a lost race.
    Spurious,
    /// Software had to set A or D in an entry that allows the access, on a machine whose walker does not.
    AccessFlags,
    /// A private copy.
    Cow,
    /// A read that inserted a 2 MiB PMD.
    PmdRead,
    /// A write that inserted a 2 MiB PMD.
    PmdWrite,
    /// A write that upgraded a read-only 2 MiB PMD.
    PmdMkwrite,
    /// A read that inserted a 1 GiB PUD.
    PudRead,
    /// A write that inserted a 1 GiB PUD.
    PudWrite,
    /// A load of anonymous memory that mapped the zero page.
    AnonRead,
    /// A store to anonymous memory that mapped a new page.
    AnonWrite,
    /// A load or store of anonymous memory that mapped a huge page.
    AnonHuge,
    /// A store outside DAX that copied a page which others map too, or the zero page.
    AnonCow,
    /// A store outside DAX to a page that nobody else maps any more, made writable.
    AnonReuse,
    /// A load of a file in the page cache.
    FileRead,
    /// A store to a shared file in the page cache.
    FileWrite,
    /// A store to a private page of a file in the page cache that was not mapped: a copy at once.
    FileCow,
    /// The access got SIGBUS.
    Sigbus,
    /// The access got SIGSEGV.
    Sigsegv,
    /// No memory: the access is tried again. Reports count it as `other`.
    Oom,
}

impl FaultKind {
    /// Every kind, in report order.
    pub const ALL: [Self; 22] = [
        Self::Read,
        Self::Write,
        Self::Mkwrite,
        Self::Spurious,
        Self::AccessFlags,
        Self::Cow,
        Self::PmdRead,
        Self::PmdWrite,
        Self::PmdMkwrite,
        Self::PudRead,
        Self::PudWrite,
        Self::AnonRead,
        Self::AnonWrite,
        Self::AnonHuge,
        Self::AnonCow,
        Self::AnonReuse,
        Self::FileRead,
        Self::FileWrite,
        Self::FileCow,
        Self::Sigbus,
        Self::Sigsegv,
        Self::Oom,
    ];

    /// The key of this kind in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Mkwrite => "mkwrite",
            Self::Spurious => "spurious",
            Self::AccessFlags => "access_flags",
            Self::Cow => "cow",
            Self::PmdRead => "pmd_read",
            Self::PmdWrite => "pmd_write",
            Self::PmdMkwrite => "pmd_mkwrite",
            Self::PudRead => "pud_read",
            Self::PudWrite => "pud_write",
            Self::AnonRead => "anon_read",
            Self::AnonWrite => "anon_write",
            Self::AnonHuge => "anon_huge",
            Self::AnonCow => "anon_cow",
            Self::AnonReuse => "anon_reuse",
            Self::FileRead => "file_read",
            Self::FileWrite => "file_write",
            Self::FileCow => "file_cow",
            Self::Sigbus => "sigbus",
            Self::Sigsegv => "sigsegv",
            Self::Oom => "other",
        }
    }
}

/// What an iomap lookup says of an extent beside its type, as the flags of `iomap_iter_dstmap` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentFlags {
    /// Nothing.
    Plain,
    /// Newly allocated (`IOMAP_F_NEW`), and so with metadata to commit.
    New,
    /// Other files use its blocks (`IOMAP_F_SHARED` of a read).
    Shared,
    /// In the copy-on-write fork (`IOMAP_F_SHARED` of a write), newly allocated there.
    Cow,
}

impl ExtentFlags {
    /// The flags in words.
    const fn words(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::New => "+NEW|DIRTY",
            Self::Shared => "+SHARED",
            Self::Cow => "+DIRTY|SHARED",
        }
    }
}

/// A step on the way of a fault, in the vocabulary of the recorded `path` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// `dax_pmd_fault`, for a write or not.
    PmdFault(bool),
    /// `dax_pmd_fault_done` with its result.
    PmdFaultDone(VmFault),
    /// `dax_pte_fault`, for a write or not.
    PteFault(bool),
    /// `dax_pte_fault_done` with its result.
    PteFaultDone(VmFault),
    /// A named call with its hexadecimal result.
    Returned(&'static str, VmFault),
    /// A named call with a decimal result.
    Value(&'static str, i32),
    /// A named event.
    Event(&'static str),
    /// `iomap` with the extent's type, and what else is to be said of it.
    Iomap(&'static str, ExtentFlags),
    /// `tlb_flush` by the faulting CPU: reason and pages (-1 for all).
    TlbFlush(u8, i64),
}

impl fmt::Display for PathStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rw = |write: bool| if write { 'W' } else { 'R' };
        match *self {
            Self::PmdFault(write) => write!(f, "dax_pmd_fault:{}", rw(write)),
            Self::PmdFaultDone(ret) => write!(f, "dax_pmd_fault_done={}", result_words(ret)),
            Self::PteFault(write) => write!(f, "dax_pte_fault:{}", rw(write)),
            Self::PteFaultDone(ret) => write!(f, "dax_pte_fault_done={}", result_words(ret)),
            Self::Returned(name, ret) => write!(f, "{name}={ret}"),
            Self::Value(name, value) => write!(f, "{name}={value}"),
            Self::Event(name) => f.write_str(name),
            Self::Iomap(kind, extent) => write!(f, "iomap:{kind}{}", extent.words()),
            Self::TlbFlush(reason, pages) => write!(f, "tlb{reason}:{pages}"),
        }
    }
}

/// A `vm_fault_t` in the words of the fs_dax tracepoints (`VM_FAULT_RESULT_TRACE`).
fn result_words(ret: VmFault) -> String {
    const NAMES: [(u32, &str); 8] = [
        (0x1, "OOM"),
        (0x2, "SIGBUS"),
        (0x4, "MAJOR"),
        (0x40, "SIGSEGV"),
        (0x100, "NOPAGE"),
        (0x400, "RETRY"),
        (0x800, "FALLBACK"),
        (0x1000, "DONE_COW"),
    ];
    let mut words: Vec<&str> =
        NAMES.iter().filter(|(bit, _)| ret.0 & bit != 0).map(|(_, name)| *name).collect();
    if ret.contains(VmFault::NEEDDSYNC) {
        words.push("NEEDDSYNC");
    }
    words.join("|")
}

/// One page fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRecord {
    /// Program line (script line, or ordinal of the recorded event) that the access belongs to.
    pub line: u64,
    /// Thread of the program.
    pub thread: u16,
    /// CPU that took it.
    pub cpu: CpuId,
    /// When it was raised.
    pub time: Time,
    /// Faulting address as CR2 has it.
    pub address: VirtAddr,
    /// Error code.
    pub error_code: ErrorCode,
    /// Entry before the insert or upgrade, where one was tried.
    pub old: Option<Entry>,
    /// Entry after it.
    pub new: Option<Entry>,
    /// Frame inserted.
    pub pfn: Option<Pfn>,
    /// References of the frame when the insert looked at the slot, less the idle value of the variant: mappings, pins, and
    /// the reference that the handler holds meanwhile, where it does.
    pub refs_at_insert: Option<i64>,
    /// Calls of the file's handlers, in order.
    pub handlers: SmallVec<[HandlerCall; 3]>,
    /// What the last `handle_mm_fault` returned; absent if it was not reached.
    pub ret: Option<VmFault>,
    /// What it turned out to be.
    pub kind: FaultKind,
    /// The way it took.
    pub path: SmallVec<[PathStep; 12]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_print_as_the_recorded_path_column_does() {
        let steps = [
            (PathStep::PmdFault(true), "dax_pmd_fault:W"),
            (PathStep::PmdFaultDone(VmFault::FALLBACK), "dax_pmd_fault_done=FALLBACK"),
            (PathStep::PteFaultDone(VmFault::MAJOR | VmFault::NOPAGE), "dax_pte_fault_done=MAJOR|NOPAGE"),
            (PathStep::Returned("insert_pfn", VmFault::NOPAGE), "insert_pfn=0x100"),
            (PathStep::Value("insert_page_into_pte_locked", -16), "insert_page_into_pte_locked=-16"),
            (PathStep::Iomap("MAPPED", ExtentFlags::New), "iomap:MAPPED+NEW|DIRTY"),
            (PathStep::Iomap("MAPPED", ExtentFlags::Shared), "iomap:MAPPED+SHARED"),
            (PathStep::Iomap("MAPPED", ExtentFlags::Cow), "iomap:MAPPED+DIRTY|SHARED"),
            (PathStep::TlbFlush(3, -1), "tlb3:-1"),
        ];
        for (step, text) in steps {
            assert_eq!(step.to_string(), text);
        }
    }
}
