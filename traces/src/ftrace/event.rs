//! The typed events of a trace.

use daxsim_types::{CpuId, ErrorCode, Pfn, VirtAddr, VmFault};

use super::flags::{CpuMask, Dev, FaultFlags, IomapFlags, IomapType};
use super::probe::Probe;
use super::syscall::{SysCall, SysEnter};
use super::text::{Comm, Name};

/// One event of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The task's name.
    pub task: Comm,
    /// The thread id (`0` is an idle task).
    pub pid: u32,
    /// The CPU the event happened on.
    pub cpu: CpuId,
    /// Trace clock in nanoseconds. Text has whole microseconds.
    pub time_ns: u64,
    /// Line in the file, or number of the event in a binary one, from 1.
    pub line: u64,
    /// What happened.
    pub event: Event,
}

/// Fields of the fs_dax events of the PTE class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaxPte {
    /// Device of the file system.
    pub dev: Dev,
    /// Inode.
    pub ino: u64,
    /// Whether the mapping is shared.
    pub shared: bool,
    /// Flags of the fault.
    pub flags: FaultFlags,
    /// The faulting address, page aligned.
    pub address: VirtAddr,
    /// Page of the file.
    pub pgoff: u64,
    /// The handler's result so far.
    pub result: VmFault,
}

/// Fields of the fs_dax events of the PMD class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaxPmd {
    /// What the PTE class has too.
    pub fault: DaxPte,
    /// First address of the mapping.
    pub vm_start: VirtAddr,
    /// First address behind the mapping.
    pub vm_end: VirtAddr,
    /// First page behind the end of the file.
    pub max_pgoff: u64,
}

/// Fields of `dax_pmd_load_hole` and `dax_pmd_load_hole_fallback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaxPmdHole {
    /// Device of the file system.
    pub dev: Dev,
    /// Inode.
    pub ino: u64,
    /// Whether the mapping is shared.
    pub shared: bool,
    /// The faulting address.
    pub address: VirtAddr,
    /// The entry of the page cache, as printed.
    pub radix_entry: u64,
}

/// Fields of `dax_writeback_range` and `dax_writeback_range_done`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaxWritebackRange {
    /// Device of the file system.
    pub dev: Dev,
    /// Inode.
    pub ino: u64,
    /// First page.
    pub start: u64,
    /// Last page. Less than `start` in a `done` event that ran to the end.
    pub end: u64,
}

/// Where an IPI goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpiTarget {
    /// To one CPU.
    Cpu(CpuId),
    /// To a set of CPUs.
    Mask(CpuMask),
}

/// A marker that daxplay wrote around a script line, or other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `B <line> t<thread> <text>`: the line begins.
    Begin {
        /// Index of the line in the script.
        line: u32,
        /// The thread that runs it.
        thread: u16,
        /// The line's text.
        text: Box<str>,
    },
    /// `E <line> t<thread> rc=.. errno=.. acc=.. sig=..`: the line is done.
    End {
        /// Index of the line in the script.
        line: u32,
        /// The thread that ran it.
        thread: u16,
        /// What the system call returned.
        rc: i64,
        /// Its error number, 0 if none.
        errno: i32,
        /// Accesses made.
        acc: u32,
        /// Accesses that got SIGBUS or SIGSEGV.
        sig: u32,
    },
    /// Other text.
    Text(Box<str>),
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An event this crate has no type for; [`super::Stats`] counts it.
    #[default]
    Unknown,
    /// A page fault, at its entry (`page_fault_user`, `page_fault_kernel`).
    PageFault {
        /// Whether the access was made in kernel mode (`page_fault_kernel`).
        kernel: bool,
        /// The faulting address, to the byte.
        address: VirtAddr,
        /// The instruction, if it was printed as a number (kernel ones are symbols).
        ip: Option<u64>,
        /// What the CPU pushed.
        error_code: ErrorCode,
    },
    /// perf's software event of a page fault: it has neither error code nor result.
    SoftwareFault {
        /// The faulting address; 0 where addresses were not recorded (`perf record -d`).
        address: VirtAddr,
        /// The instruction.
        ip: u64,
    },
    /// `dax_pte_fault`: the PTE handler begins.
    DaxPteFault(DaxPte),
    /// `dax_pte_fault_done`: it is done.
    DaxPteFaultDone(DaxPte),
    /// `dax_load_hole`: the zero page was mapped.
    DaxLoadHole(DaxPte),
    /// `dax_insert_pfn_mkwrite`: a synchronous fault inserted its entry.
    DaxInsertPfnMkwrite(DaxPte),
    /// `dax_insert_pfn_mkwrite_no_entry`: a synchronous fault lost its entry to another.
    DaxInsertPfnMkwriteNoEntry(DaxPte),
    /// `dax_pmd_fault`: the PMD handler begins.
    DaxPmdFault(DaxPmd),
    /// `dax_pmd_fault_done`: it is done.
    DaxPmdFaultDone(DaxPmd),
    /// `dax_pmd_load_hole`: the huge zero page was mapped.
    DaxPmdLoadHole(DaxPmdHole),
    /// `dax_pmd_load_hole_fallback`: the huge zero page could not be mapped.
    DaxPmdLoadHoleFallback(DaxPmdHole),
    /// `dax_writeback_range`: writeback of a file range begins.
    DaxWritebackRange(DaxWritebackRange),
    /// `dax_writeback_range_done`: it is done.
    DaxWritebackRangeDone(DaxWritebackRange),
    /// `dax_writeback_one`: one entry is written back.
    DaxWritebackOne {
        /// Device of the file system.
        dev: Dev,
        /// Inode.
        ino: u64,
        /// First page.
        pgoff: u64,
        /// Pages.
        pglen: u64,
    },
    /// `tlb_flush`.
    TlbFlush {
        /// Pages or strides flushed, -1 for all.
        pages: i64,
        /// The reason's number: 0 task switch, 1 remote shootdown, 2 local, 3 local mm, 4 IPI send, 5 wrong CPU.
        reason: u8,
    },
    /// `iomap_iter_dstmap`: the extent the file system gave.
    IomapIterDstmap {
        /// Device of the file system.
        dev: Dev,
        /// Inode.
        ino: u64,
        /// Device the blocks are on (0:0 for DAX in some calls).
        bdev: Dev,
        /// Byte address on the device; all ones if there is none.
        addr: u64,
        /// First byte in the file.
        offset: u64,
        /// Bytes.
        length: u64,
        /// What it is.
        kind: IomapType,
        /// Its flags.
        flags: IomapFlags,
    },
    /// Entry of a system call.
    SysEnter(SysEnter),
    /// Return of a system call.
    SysExit {
        /// The call.
        call: SysCall,
        /// The value, negative for an error.
        ret: i64,
    },
    /// A system call without a type.
    SysOther {
        /// Its name without `sys_`.
        name: Name,
        /// The value if this is the return, `None` at entry.
        ret: Option<i64>,
    },
    /// `sched_switch`.
    SchedSwitch {
        /// Name of the task that stops running.
        prev_comm: Comm,
        /// Its thread id.
        prev_pid: u32,
        /// Its state (`R`, `S`, `D`, ..).
        prev_state: u8,
        /// Whether it was preempted (`R+`).
        preempted: bool,
        /// Name of the task that runs next.
        next_comm: Comm,
        /// Its thread id.
        next_pid: u32,
    },
    /// `sched_migrate_task`.
    SchedMigrateTask {
        /// Name of the task.
        comm: Comm,
        /// Its thread id.
        pid: u32,
        /// From this CPU.
        orig_cpu: CpuId,
        /// To this one.
        dest_cpu: CpuId,
    },
    /// `call_function_entry`, `call_function_exit` (vector 252).
    CallFunction {
        /// Whether this is the exit.
        exit: bool,
        /// The vector.
        vector: u8,
    },
    /// `call_function_single_entry`, `call_function_single_exit` (vector 251).
    CallFunctionSingle {
        /// Whether this is the exit.
        exit: bool,
        /// The vector.
        vector: u8,
    },
    /// `reschedule_entry`, `reschedule_exit` (vector 253).
    Reschedule {
        /// Whether this is the exit.
        exit: bool,
        /// The vector.
        vector: u8,
    },
    /// `ipi_send_cpu`, `ipi_send_cpumask`.
    IpiSend {
        /// Where to.
        target: IpiTarget,
        /// Who sends it, as `symbol+offset/size`.
        callsite: Name,
        /// Whether it is a TLB shootdown (sent from `on_each_cpu_cond_mask`).
        is_shootdown: bool,
    },
    /// `tracing_mark_write`: text that user mode wrote into the trace.
    Marker(Marker),
    /// A kernel probe with a type.
    Probe(Probe),
    /// A kernel probe without a type.
    KprobeOther {
        /// Its name.
        name: Name,
    },
}

/// The frame number in a `pfn_t` or a plain frame number: 6.12 has flags in the top bits.
pub(crate) fn plain_pfn(raw: u64) -> Pfn {
    Pfn(raw & 0x000f_ffff_ffff_ffff)
}
