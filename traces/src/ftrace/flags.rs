//! Flag words of the events.

use std::fmt;

/// Device number of a block device, `major:minor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dev {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// `enum fault_flag` (Linux `include/linux/mm_types.h`, the same in 6.12 and 7.2).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FaultFlags(pub u32);

impl FaultFlags {
    /// A write.
    pub const WRITE: Self = Self(0x1);
    /// A page_mkwrite call: a store to a present, read-only entry.
    pub const MKWRITE: Self = Self(0x2);
    /// The fault may be retried.
    pub const ALLOW_RETRY: Self = Self(0x4);
    /// Do not wait when retrying.
    pub const RETRY_NOWAIT: Self = Self(0x8);
    /// The task may be killed while it waits.
    pub const KILLABLE: Self = Self(0x10);
    /// This is a second try.
    pub const TRIED: Self = Self(0x20);
    /// The fault came from user mode.
    pub const USER: Self = Self(0x40);
    /// The fault is for another process's memory.
    pub const REMOTE: Self = Self(0x80);
    /// An instruction fetch.
    pub const INSTRUCTION: Self = Self(0x100);
    /// The task may be interrupted while it waits.
    pub const INTERRUPTIBLE: Self = Self(0x200);
    /// The fault must break sharing.
    pub const UNSHARE: Self = Self(0x400);
    /// `orig_pte` is valid: a page table existed.
    pub const ORIG_PTE_VALID: Self = Self(0x800);
    /// The fault runs under the lock of the VMA, not of the address space.
    pub const VMA_LOCK: Self = Self(0x1000);

    /// The names the events print, in their order.
    pub(crate) const NAMES: [(&'static [u8], u32); 11] = [
        (b"WRITE", 0x1),
        (b"MKWRITE", 0x2),
        (b"ALLOW_RETRY", 0x4),
        (b"RETRY_NOWAIT", 0x8),
        (b"KILLABLE", 0x10),
        (b"TRIED", 0x20),
        (b"USER", 0x40),
        (b"REMOTE", 0x80),
        (b"INSTRUCTION", 0x100),
        (b"INTERRUPTIBLE", 0x200),
        (b"VMA_LOCK", 0x1000),
    ];

    /// Whether every bit of `flags` is set (and `flags` is not empty).
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        flags.0 != 0 && self.0 & flags.0 == flags.0
    }
}

impl fmt::Debug for FaultFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultFlags({:#x})", self.0)
    }
}

/// The names of `vm_fault_t` bits as the fs_dax events print them.
pub(crate) const RESULT_NAMES: [(&[u8], u32); 13] = [
    (b"OOM", 0x1),
    (b"SIGBUS", 0x2),
    (b"MAJOR", 0x4),
    (b"HWPOISON", 0x10),
    (b"HWPOISON_LARGE", 0x20),
    (b"SIGSEGV", 0x40),
    (b"NOPAGE", 0x100),
    (b"LOCKED", 0x200),
    (b"RETRY", 0x400),
    (b"FALLBACK", 0x800),
    (b"DONE_COW", 0x1000),
    (b"NEEDDSYNC", 0x2000),
    (b"COMPLETED", 0x4000),
];

/// What an iomap extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IomapType {
    /// No blocks.
    Hole,
    /// Reserved, not yet placed.
    Delalloc,
    /// Blocks with data.
    Mapped,
    /// Blocks allocated, not written: they read as zero.
    Unwritten,
    /// Data in the inode.
    Inline,
    /// A type this crate does not know.
    Other,
}

impl IomapType {
    /// By its number (Linux `include/linux/iomap.h`).
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Hole,
            1 => Self::Delalloc,
            2 => Self::Mapped,
            3 => Self::Unwritten,
            4 => Self::Inline,
            _ => Self::Other,
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Self {
        match name {
            b"HOLE" => Self::Hole,
            b"DELALLOC" => Self::Delalloc,
            b"MAPPED" => Self::Mapped,
            b"UNWRITTEN" => Self::Unwritten,
            b"INLINE" => Self::Inline,
            _ => Self::Other,
        }
    }
}

/// `IOMAP_F_*` of an extent (Linux `include/linux/iomap.h`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct IomapFlags(pub u32);

impl IomapFlags {
    /// The blocks were allocated by this call.
    pub const NEW: Self = Self(0x1);
    /// The inode has metadata that an fsync must write before the data is safe.
    pub const DIRTY: Self = Self(0x2);
    /// The blocks are shared by several files.
    pub const SHARED: Self = Self(0x4);

    pub(crate) const NAMES: [(&'static [u8], u32); 7] = [
        (b"NEW", 0x1),
        (b"DIRTY", 0x2),
        (b"SHARED", 0x4),
        (b"MERGED", 0x8),
        (b"BH", 0x10),
        (b"SIZE_CHANGED", 0x100),
        (b"STALE", 0x200),
    ];

    /// Whether every bit of `flags` is set (and `flags` is not empty).
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        flags.0 != 0 && self.0 & flags.0 == flags.0
    }
}

impl fmt::Debug for IomapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IomapFlags({:#x})", self.0)
    }
}

/// A set of CPUs as an event prints it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CpuMask {
    /// CPUs 0 to 63, one bit each.
    pub low: u64,
    /// Whether the set has a CPU above 63.
    pub beyond: bool,
}

impl CpuMask {
    /// Number of CPUs among the first 64.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.low.count_ones()
    }

    /// Whether the set has the CPU (only CPUs 0 to 63 are known).
    #[must_use]
    pub const fn contains(self, cpu: daxsim_types::CpuId) -> bool {
        cpu.0 < 64 && self.low >> cpu.0 & 1 != 0
    }
}

impl fmt::Debug for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuMask({:#x}{})", self.low, if self.beyond { "+" } else { "" })
    }
}
