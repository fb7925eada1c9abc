//! Types that every daxsim crate shares: addresses, page sizes, simulated time,
//! byte counts, and the small closed vocabularies (access kind, file system,
//! page-fault error code) that cross crate borders.
//!
//! Nothing here knows of a machine, a kernel or a file.

mod addr;
mod fault;
mod fs;
mod time;

pub use addr::{CacheLine, LINE_BYTES, PageSize, Pfn, PhysAddr, VirtAddr, Vpn};
pub use fault::{AccessKind, ErrorCode, VmFault};
pub use fs::{FileSystem, ParseFileSystemError};
pub use time::{CpuClock, CpuId, Time};
