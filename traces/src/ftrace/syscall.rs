//! System calls of the traces.

/// A system call with a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SysCall {
    /// mmap(2).
    Mmap,
    /// munmap(2).
    Munmap,
    /// mremap(2).
    Mremap,
    /// mprotect(2).
    Mprotect,
    /// msync(2).
    Msync,
    /// fsync(2).
    Fsync,
    /// fdatasync(2).
    Fdatasync,
    /// ftruncate(2).
    Ftruncate,
    /// fallocate(2).
    Fallocate,
    /// madvise(2).
    Madvise,
    /// clone(2).
    Clone,
    /// clone3(2).
    Clone3,
    /// fork(2).
    Fork,
    /// vfork(2).
    Vfork,
    /// pread64(2).
    Pread64,
    /// pwrite64(2).
    Pwrite64,
}

/// The arguments of a system call at its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SysEnter {
    /// mmap(2).
    Mmap {
        /// The wished or fixed address.
        addr: u64,
        /// Bytes.
        len: u64,
        /// `PROT_*`.
        prot: u32,
        /// `MAP_*`.
        flags: u32,
        /// The file descriptor, -1 for none.
        fd: i32,
        /// File offset.
        off: u64,
    },
    /// munmap(2).
    Munmap {
        /// First address.
        addr: u64,
        /// Bytes.
        len: u64,
    },
    /// mremap(2).
    Mremap {
        /// First byte.
        addr: u64,
        /// Length of the old place.
        old_len: u64,
        /// Length of the new place.
        new_len: u64,
        /// `MREMAP_*`.
        flags: u64,
        /// Where to, if `MREMAP_FIXED` is set.
        new_addr: u64,
    },
    /// mprotect(2).
    Mprotect {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// `PROT_*`.
        prot: u32,
    },
    /// msync(2).
    Msync {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// `MS_*`.
        flags: u32,
    },
    /// fsync(2).
    Fsync {
        /// The file descriptor.
        fd: i32,
    },
    /// fdatasync(2).
    Fdatasync {
        /// The file descriptor.
        fd: i32,
    },
    /// ftruncate(2).
    Ftruncate {
        /// The file descriptor.
        fd: i32,
        /// The new size.
        length: u64,
    },
    /// fallocate(2).
    Fallocate {
        /// The file descriptor.
        fd: i32,
        /// `FALLOC_FL_*`.
        mode: u32,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// madvise(2).
    Madvise {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// `MADV_*`.
        behavior: u32,
    },
    /// clone(2).
    Clone {
        /// `CLONE_*` and the exit signal.
        flags: u64,
    },
    /// clone3(2).
    Clone3,
    /// fork(2).
    Fork,
    /// vfork(2).
    Vfork,
    /// pread64(2).
    Pread64 {
        /// The file descriptor.
        fd: i32,
        /// The buffer's address.
        buf: u64,
        /// Bytes.
        count: u64,
        /// File offset.
        pos: u64,
    },
    /// pwrite64(2).
    Pwrite64 {
        /// The file descriptor.
        fd: i32,
        /// The buffer's address.
        buf: u64,
        /// Bytes.
        count: u64,
        /// File offset.
        pos: u64,
    },
}

impl SysCall {
    /// Every system call with a type.
    pub const ALL: [Self; 16] = [
        Self::Mmap,
        Self::Munmap,
        Self::Mremap,
        Self::Mprotect,
        Self::Msync,
        Self::Fsync,
        Self::Fdatasync,
        Self::Ftruncate,
        Self::Fallocate,
        Self::Madvise,
        Self::Clone,
        Self::Clone3,
        Self::Fork,
        Self::Vfork,
        Self::Pread64,
        Self::Pwrite64,
    ];

    /// The name in the trace, `sys_..`.
    #[must_use]
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Mmap => "sys_mmap",
            Self::Munmap => "sys_munmap",
            Self::Mremap => "sys_mremap",
            Self::Mprotect => "sys_mprotect",
            Self::Msync => "sys_msync",
            Self::Fsync => "sys_fsync",
            Self::Fdatasync => "sys_fdatasync",
            Self::Ftruncate => "sys_ftruncate",
            Self::Fallocate => "sys_fallocate",
            Self::Madvise => "sys_madvise",
            Self::Clone => "sys_clone",
            Self::Clone3 => "sys_clone3",
            Self::Fork => "sys_fork",
            Self::Vfork => "sys_vfork",
            Self::Pread64 => "sys_pread64",
            Self::Pwrite64 => "sys_pwrite64",
        }
    }
}

impl SysEnter {
    /// Which call this is.
    #[must_use]
    pub const fn call(&self) -> SysCall {
        match self {
            Self::Mmap { .. } => SysCall::Mmap,
            Self::Munmap { .. } => SysCall::Munmap,
            Self::Mremap { .. } => SysCall::Mremap,
            Self::Mprotect { .. } => SysCall::Mprotect,
            Self::Msync { .. } => SysCall::Msync,
            Self::Fsync { .. } => SysCall::Fsync,
            Self::Fdatasync { .. } => SysCall::Fdatasync,
            Self::Ftruncate { .. } => SysCall::Ftruncate,
            Self::Fallocate { .. } => SysCall::Fallocate,
            Self::Madvise { .. } => SysCall::Madvise,
            Self::Clone { .. } => SysCall::Clone,
            Self::Clone3 => SysCall::Clone3,
            Self::Fork => SysCall::Fork,
            Self::Vfork => SysCall::Vfork,
            Self::Pread64 { .. } => SysCall::Pread64,
            Self::Pwrite64 { .. } => SysCall::Pwrite64,
        }
    }
}
