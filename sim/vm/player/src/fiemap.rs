//! Where the blocks of a file are: the ioctl FS_IOC_FIEMAP (include/uapi/linux/fiemap.h).

use std::fmt;

use crate::exec::MOST_EXTENTS;
use crate::sys;

/// `_IOWR('f', 11, struct fiemap)`, whose head alone counts.
const FS_IOC_FIEMAP: libc::c_ulong = 0xc020_660b;

/// `struct fiemap_extent`: an extent in bytes.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Extent {
    logical: u64,
    physical: u64,
    len: u64,
    reserved: [u64; 2],
    flags: u32,
    more_reserved: [u32; 3],
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { logical, physical, len, flags, .. } = self;
        write!(f, "logical={logical:#x} physical={physical:#x} len={len:#x} flags={flags:#x}")
    }
}

/// `struct fiemap`, with room for extents.
#[repr(C)]
struct Request {
    start: u64,
    len: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; MOST_EXTENTS],
}

/// The first extents of a file.
pub fn extents(fd: i32) -> Result<Vec<Extent>, i32> {
    let mut request = Box::new(Request {
        start: 0,
        len: u64::MAX,
        flags: 0,
        mapped: 0,
        room: MOST_EXTENTS as u32,
        reserved: 0,
        extents: [Extent::default(); MOST_EXTENTS],
    });
    // SAFETY: the structure has the form of `struct fiemap` with as much room behind it as it says, and lives longer than the call.
    sys::result(unsafe { libc::ioctl(fd, FS_IOC_FIEMAP as _, &raw mut *request) })?;
    let mapped = (request.mapped as usize).min(MOST_EXTENTS);
    Ok(request.extents.get(..mapped).unwrap_or_default().to_vec())
}
