//! What a simulation runs: steps of programs, from a workload script or a recorded trace.

mod access;
mod ahead;
mod persist;
pub mod replay;
mod runner;
pub mod script;
mod source;
pub mod trace;

pub(crate) use access::run_accesses;
pub(crate) use ahead::Ahead;
pub use persist::LineWrite;
pub(crate) use persist::{fence, write_lines};
pub(crate) use runner::Runner;
pub(crate) use source::Cursor;
pub use source::{Access, Accesses, Source};

use daxsim_types::CpuId;

use crate::kernel::{
    Advice, CloneRequest, FallocMode, FileId, MapRequest, MmId, PinKind, RemapRequest, SyscallError,
};

/// One step of a thread.
pub struct Step {
    /// Number of the script line, or of the recorded event.
    pub line: u64,
    /// Thread of the program.
    pub thread: u16,
    /// CPU that it runs on.
    pub cpu: CpuId,
    /// Its address space; `None` for a kernel thread, which borrows whatever the CPU has loaded.
    pub mm: Option<MmId>,
    /// What it does.
    pub action: Action,
}

/// What a step does.
pub enum Action {
    /// User loads and stores.
    Access(Accesses),
    /// The kernel's loads from or stores to user memory in a system call; it stops at the first bad address.
    KernelAccess(Accesses),
    /// One instruction for each line of a range: non-temporal stores, CLWB, CLFLUSHOPT, CLFLUSH.
    WriteLines {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// The instruction.
        what: LineWrite,
    },
    /// SFENCE or MFENCE. The loads of earlier steps are complete, so that both are the same.
    Fence,
    /// mmap at a fixed address.
    Map(MapRequest),
    /// mmap of private anonymous memory at a fixed address where nothing is.
    MapAnonymous {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// munmap.
    Unmap {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// mremap.
    Remap(RemapRequest),
    /// madvise.
    Advise {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// The advice.
        advice: Advice,
    },
    /// msync(MS_SYNC).
    Msync {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// fsync or fdatasync.
    Fsync(FileId),
    /// The writeback that a recorded sync call did: file pages, both ends included.
    SyncRange {
        /// File.
        file: FileId,
        /// First page.
        first: u64,
        /// Last page.
        last: u64,
    },
    /// What the flusher threads do every few seconds (WB_SYNC_NONE).
    BackgroundWriteback(FileId),
    /// ftruncate.
    Truncate {
        /// File.
        file: FileId,
        /// New size in bytes.
        size: u64,
    },
    /// mprotect.
    Protect {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// PROT_READ.
        read: bool,
        /// PROT_WRITE.
        write: bool,
    },
    /// fallocate.
    Fallocate {
        /// File.
        file: FileId,
        /// What to do.
        mode: FallocMode,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// FICLONE or FICLONERANGE.
    Clone(CloneRequest),
    /// pwrite.
    Write {
        /// File.
        file: FileId,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// pread.
    Read {
        /// File.
        file: FileId,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// The pages of a range of user memory are held by I/O (direct I/O, RDMA), faulted in if need be.
    Pin {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// Whether the I/O writes to the memory.
        write: bool,
        /// How they are held.
        kind: PinKind,
    },
    /// The I/O is done: one hold of each page goes.
    Unpin {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// Idle-page tracking or reclaim clears the accessed bits of a range. A kernel thread does so.
    ClearYoung {
        /// Whose entries.
        mm: MmId,
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// fork: the child's address space, empty so far.
    Fork(MmId),
    /// The process ends.
    Exit,
    /// The thread sleeps.
    Sleep {
        /// Nanoseconds.
        nanoseconds: u64,
    },
}

impl Action {
    /// The name of the call, or what else it is.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Access(_) => "access",
            Self::KernelAccess(_) => "access in a call",
            Self::WriteLines { what, .. } => what.name(),
            Self::Fence => "fence",
            Self::Map(_) | Self::MapAnonymous { .. } => "mmap",
            Self::Unmap { .. } => "munmap",
            Self::Advise { .. } => "madvise",
            Self::Msync { .. } => "msync",
            Self::Fsync(_) => "fsync",
            Self::SyncRange { .. } => "writeback",
            Self::Truncate { .. } => "ftruncate",
            Self::Protect { .. } => "mprotect",
            Self::Fallocate { .. } => "fallocate",
            Self::Clone(_) => "clone",
            Self::Write { .. } => "pwrite",
            Self::Read { .. } => "pread",
            Self::Fork(_) => "fork",
            Self::Exit => "exit",
            Self::Sleep { .. } => "sleep",
            Self::Remap(_) => "mremap",
            Self::BackgroundWriteback(_) => "background writeback",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::ClearYoung { .. } => "sweep of accessed bits",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Accesses made, those that got a signal included.
    pub accesses: u64,
    /// Accesses that got SIGBUS or SIGSEGV.
    pub signals: u64,
    /// `tlb:tlb_flush` events during the step on all CPUs, by reason (index 0 to 5). Filled in for steps that run alone.
    pub flushes: [u64; 6],
    /// Shootdowns during the step that interrupted at least one CPU. Filled in for steps that run alone.
    pub broadcasts: u64,
    /// The system call's error.
    pub error: Option<SyscallError>,
    /// An access that faulted over and over without getting on: a defect of the model or an impossible configuration.
    pub livelock: bool,
}
