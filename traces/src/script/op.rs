//! What a line does.

use std::fmt;

use daxsim_types::AccessKind;

/// Access rights of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prot {
    /// `PROT_READ`.
    pub read: bool,
    /// `PROT_WRITE`.
    pub write: bool,
}

impl Prot {
    /// No access (`none`).
    pub const NONE: Self = Self { read: false, write: false };
    /// Loads only (`r`).
    pub const R: Self = Self { read: true, write: false };
    /// Loads and stores (`rw`).
    pub const RW: Self = Self { read: true, write: true };

    /// The `PROT_*` bits of mmap(2).
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.read as u32 | (self.write as u32) << 1
    }
}

impl fmt::Display for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.read, self.write) {
            (false, false) => "none",
            (true, false) => "r",
            (false, true) => "w",
            (true, true) => "rw",
        })
    }
}

/// How a mapping shares the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapShare {
    /// `MAP_SHARED`.
    Shared,
    /// `MAP_PRIVATE`.
    Private,
    /// `MAP_SHARED_VALIDATE | MAP_SYNC`.
    Sync,
}

/// How `file` makes its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileMake {
    /// Truncated, allocated, written whole with the byte 0x5a in pieces of 1 MiB, then fsync.
    Fill,
    /// Allocated and unwritten (fallocate), then fsync.
    Falloc,
    /// Only its size is set (ftruncate), then fsync.
    Sparse,
    /// An existing device is opened; the name is its path.
    Dev,
}

/// What `falloc` does to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallocMode {
    /// Allocates unwritten blocks.
    Alloc,
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
    Punch,
    /// `FALLOC_FL_ZERO_RANGE`.
    Zero,
    /// `FALLOC_FL_COLLAPSE_RANGE`.
    Collapse,
}

impl FallocMode {
    /// The mode bits of fallocate(2).
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Alloc => 0,
            Self::Punch => 3,
            Self::Zero => 0x10,
            Self::Collapse => 8,
        }
    }
}

/// The advice of `madv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// `MADV_DONTNEED`.
    DontNeed,
    /// `MADV_WILLNEED`.
    WillNeed,
    /// `MADV_POPULATE_READ`.
    PopulateRead,
    /// `MADV_POPULATE_WRITE`.
    PopulateWrite,
    /// `MADV_HUGEPAGE`.
    HugePage,
    /// `MADV_NOHUGEPAGE`.
    NoHugePage,
}

impl Advice {
    /// The number of madvise(2).
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::DontNeed => 4,
            Self::WillNeed => 3,
            Self::PopulateRead => 22,
            Self::PopulateWrite => 23,
            Self::HugePage => 14,
            Self::NoHugePage => 15,
        }
    }
}

/// How a line leaves the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineFlush {
    /// CLWB: written back if it is modified; copies stay.
    Clwb,
    /// CLFLUSHOPT: written back if it is modified; copies go.
    ClflushOpt,
    /// CLFLUSH: the same, in order with stores and with each other.
    Clflush,
}

/// A fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// SFENCE.
    Store,
    /// MFENCE.
    Full,
}

/// Where `mremap` moves a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemapTo {
    /// The address, page aligned, in the lower half (`MREMAP_FIXED`).
    pub addr: u64,
    /// Whether the old place stays mapped, with no pages (`MREMAP_DONTUNMAP`).
    pub dont_unmap: bool,
}

/// An access of `acc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedAccess {
    /// Load or store.
    pub kind: AccessKind,
    /// The byte of the map.
    pub off: u64,
    /// Its address comes from the load before it (`dr`, `dw`): it cannot begin before that has its data.
    pub dependent: bool,
}

/// An operation. Sizes, lengths and offsets are in bytes; `off` of a map counts from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `file F name size fill|falloc|sparse|dev`.
    File {
        /// The number the script gives the file.
        file: u32,
        /// Name in the test directory; for [`FileMake::Dev`] the device's path.
        name: String,
        /// Size in bytes.
        size: u64,
        /// How it is made.
        make: FileMake,
    },
    /// `map M F off len prot shared|private|sync[,populate] addr`.
    Map {
        /// The number the script gives the map.
        map: u32,
        /// The file.
        file: u32,
        /// File offset of the first byte, page aligned.
        offset: u64,
        /// Length, page aligned, not 0.
        len: u64,
        /// Rights.
        prot: Prot,
        /// How it shares the file.
        share: MapShare,
        /// Whether `MAP_POPULATE` is set.
        populate: bool,
        /// The fixed address, page aligned, in the lower half of five levels of paging.
        addr: u64,
    },
    /// `unmap M off len`: munmap(2) of a part.
    Unmap {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `mremap M newlen [fixed|dontunmap addr]`: mremap(2) of the whole map. Without an address it grows or shrinks where it is, with
    /// one the map's number means the new place from this line on.
    Remap {
        /// The map.
        map: u32,
        /// Its length so far: as it was mapped or remapped last.
        len: u64,
        /// Its length afterwards, page aligned, not 0.
        new_len: u64,
        /// Where it goes, if it does.
        to: Option<RemapTo>,
    },
    /// `prot M off len r|rw|none`: mprotect(2) of a part.
    Protect {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
        /// The new rights.
        prot: Prot,
    },
    /// `madv M off len advice`.
    Advise {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
        /// The advice.
        advice: Advice,
    },
    /// `ld M off`: a load of one byte.
    Load {
        /// The map.
        map: u32,
        /// The byte.
        off: u64,
    },
    /// `st M off`: a store of one byte.
    Store {
        /// The map.
        map: u32,
        /// The byte.
        off: u64,
    },
    /// `ldr M off len stride [chase]`: a load of one byte at each stride.
    LoadRange {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length of the range.
        len: u64,
        /// Distance of two accesses, not 0.
        stride: u64,
        /// Whether each load but the first takes its address from the one before it, as in a chase of pointers.
        chase: bool,
    },
    /// `str M off len stride`: a store of one byte at each stride.
    StoreRange {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length of the range.
        len: u64,
        /// Distance of two accesses, not 0.
        stride: u64,
    },
    /// `ntst M off len`: non-temporal stores to all lines of a range.
    NtStore {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `clwb M off len`, `clflushopt M off len`, `clflush M off len`: one for each line of a range.
    Flush {
        /// How.
        how: LineFlush,
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `sfence`, `mfence`.
    Fence(Fence),
    /// `acc M r0x0 w0x1000 dr0x2000 ..`: a list of one-byte loads and stores.
    Acc {
        /// The map.
        map: u32,
        /// The accesses, in order. Not empty.
        accesses: Vec<ListedAccess>,
    },
    /// `msync M off len [async]`.
    Msync {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
        /// `MS_ASYNC`, else `MS_SYNC`.
        asynchronous: bool,
    },
    /// `fsync F`.
    Fsync {
        /// The file.
        file: u32,
    },
    /// `fdatasync F`.
    Fdatasync {
        /// The file.
        file: u32,
    },
    /// `trunc F size`: ftruncate(2).
    Truncate {
        /// The file.
        file: u32,
        /// The new size.
        size: u64,
    },
    /// `falloc F alloc|punch|zero|collapse off len`.
    Fallocate {
        /// The file.
        file: u32,
        /// What to do.
        mode: FallocMode,
        /// File offset.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `clone F G [off goff len]`: FICLONE, or FICLONERANGE with a range; F comes to share blocks of G.
    Clone {
        /// The file that gets the blocks (F).
        to: u32,
        /// The file whose blocks they are (G).
        from: u32,
        /// File offset in F.
        to_off: u64,
        /// File offset in G.
        from_off: u64,
        /// Length; 0 up to the end of G.
        len: u64,
    },
    /// `pread F off len`.
    Pread {
        /// The file.
        file: u32,
        /// File offset.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `pwrite F off len`.
    Pwrite {
        /// The file.
        file: u32,
        /// File offset.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `kread M off len`: the kernel loads from the map (write(2) of it to a pipe).
    KernelRead {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `kwrite M off len`: the kernel stores to the map (read(2) of zeroes into it).
    KernelWrite {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `pin M off len [w]`: I/O takes the pages of a buffer and holds them, as a direct read(2) or write(2) of it does meanwhile.
    Pin {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
        /// Whether the I/O writes to the buffer.
        write: bool,
    },
    /// `unpin M off len`: that I/O is done.
    Unpin {
        /// The map.
        map: u32,
        /// First byte.
        off: u64,
        /// Length.
        len: u64,
    },
    /// `fork K`: a child process takes over the lines of thread id K.
    Fork {
        /// K.
        child: u16,
    },
    /// `exit`: the thread or child ends.
    Exit,
    /// `wait K`: waitpid(2) for a child.
    Wait {
        /// K.
        child: u16,
    },
    /// `cpu C`: moves the thread to a CPU.
    Cpu {
        /// C.
        cpu: u16,
    },
    /// `usleep n`: sleeps n microseconds.
    Usleep {
        /// n.
        micros: u64,
    },
    /// `fiemap F`: logs the file's extents.
    Fiemap {
        /// The file.
        file: u32,
    },
    /// `nop`: nothing, and no markers.
    Nop,
}

impl Op {
    /// Every operation name of the language.
    pub const NAMES: [&'static str; 36] = [
        "file",
        "map",
        "unmap",
        "mremap",
        "prot",
        "madv",
        "ld",
        "st",
        "ldr",
        "str",
        "acc",
        "ntst",
        "clwb",
        "clflushopt",
        "clflush",
        "sfence",
        "mfence",
        "msync",
        "fsync",
        "fdatasync",
        "trunc",
        "falloc",
        "clone",
        "pread",
        "pwrite",
        "kread",
        "kwrite",
        "pin",
        "unpin",
        "fork",
        "exit",
        "wait",
        "cpu",
        "usleep",
        "fiemap",
        "nop",
    ];

    /// The operation's name in the language.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Map { .. } => "map",
            Self::Unmap { .. } => "unmap",
            Self::Remap { .. } => "mremap",
            Self::Protect { .. } => "prot",
            Self::Advise { .. } => "madv",
            Self::Load { .. } => "ld",
            Self::Store { .. } => "st",
            Self::LoadRange { .. } => "ldr",
            Self::StoreRange { .. } => "str",
            Self::Acc { .. } => "acc",
            Self::NtStore { .. } => "ntst",
            Self::Flush { how: LineFlush::Clwb, .. } => "clwb",
            Self::Flush { how: LineFlush::ClflushOpt, .. } => "clflushopt",
            Self::Flush { how: LineFlush::Clflush, .. } => "clflush",
            Self::Fence(Fence::Store) => "sfence",
            Self::Fence(Fence::Full) => "mfence",
            Self::Msync { .. } => "msync",
            Self::Fsync { .. } => "fsync",
            Self::Fdatasync { .. } => "fdatasync",
            Self::Truncate { .. } => "trunc",
            Self::Fallocate { .. } => "falloc",
            Self::Clone { .. } => "clone",
            Self::Pread { .. } => "pread",
            Self::Pwrite { .. } => "pwrite",
            Self::KernelRead { .. } => "kread",
            Self::KernelWrite { .. } => "kwrite",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::Fork { .. } => "fork",
            Self::Exit => "exit",
            Self::Wait { .. } => "wait",
            Self::Cpu { .. } => "cpu",
            Self::Usleep { .. } => "usleep",
            Self::Fiemap { .. } => "fiemap",
            Self::Nop => "nop",
        }
    }
}
