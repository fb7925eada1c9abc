//! The shared memory, mapped. All `unsafe` for it is here.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;

use crate::Geometry;
use crate::layout::FileHeader;
use crate::protocol::Ring;
use crate::record::Raw;
use crate::sync::Shared;

/// A mapping of a file with rings.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    geometry: Geometry,
}

// SAFETY: the mapping is memory without an owner among threads. What lies in it is atomic, but for the slots, whose functions say who
// may call them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A file without a name, in memory.
pub(crate) fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a string with its end; the result is looked at.
    let fd = unsafe { libc::memfd_create(c"daxsim-ring".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Maps a file that has room for a checked geometry.
pub(crate) fn map(file: &File, geometry: Geometry) -> io::Result<Mapping> {
    let bytes = geometry.bytes();
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("a mapping at address 0"))?;
    Ok(Mapping { base, bytes, geometry })
}

impl Mapping {
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn header(&self) -> &FileHeader {
        // SAFETY: every mapping has at least the bytes of a header, begins at a page, and lives as long as `self`. A header is made of
        // atomics, for which any bytes are a value.
        unsafe { self.base.cast().as_ref() }
    }

    /// A number that this mapping has room for; others are not asked for, but must do no harm.
    fn within(&self, ring: u32) -> u32 {
        ring.min(self.geometry.rings - 1)
    }

    pub(crate) fn ring(&self, ring: u32) -> &Ring<Shared> {
        let at = self.geometry.ring_at(self.within(ring));
        // SAFETY: the ring lies within the mapping, at a multiple of its alignment (`Geometry::ring_at`), and is made of atomics.
        unsafe { self.base.byte_add(at).cast().as_ref() }
    }

    /// The slots of a ring.
    pub(crate) fn slots(&self, ring: u32) -> Slots {
        let at = self.geometry.slots_at(self.within(ring));
        // SAFETY: the slots of the ring lie within the mapping (`Geometry::slots_at`).
        let first = unsafe { self.base.byte_add(at) };
        Slots { first: first.cast(), mask: u64::from(self.geometry.slots) - 1 }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and references into it cannot outlive it; `Slots` are kept beside it.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.bytes);
        }
    }
}

/// The slots of a ring, by their number since the begin. Whoever keeps this also keeps the [`Mapping`].
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    first: NonNull<Raw>,
    mask: u64,
}

// SAFETY: a pointer; those who use it say why they may.
unsafe impl Send for Slots {}

impl Slots {
    /// Fills a slot.
    ///
    /// # Safety
    ///
    /// The mapping lives. The slot is not one between tail and head, and the caller is the only writer of the ring.
    #[inline]
    pub(crate) unsafe fn write(self, slot: u64, raw: Raw) {
        // SAFETY: the masked number is below the number of slots; the rest is the caller's promise.
        unsafe { self.first.add((slot & self.mask) as usize).write(raw) }
    }

    /// Appends slots to `to`.
    ///
    /// # Safety
    ///
    /// The mapping lives. The slots lie between tail and head, and the caller is the only reader of the ring.
    pub(crate) unsafe fn read(self, slot: u64, count: usize, to: &mut Vec<Raw>) {
        let at = (slot & self.mask) as usize;
        let until_end = count.min(self.mask as usize + 1 - at);
        // SAFETY: both parts lie within the slots, as there are no more than `mask + 1` between tail and head. Nobody writes them until
        // the tail moves, which is the caller's doing.
        unsafe {
            to.extend_from_slice(std::slice::from_raw_parts(self.first.add(at).as_ptr(), until_end));
            to.extend_from_slice(std::slice::from_raw_parts(self.first.as_ptr(), count - until_end));
        }
    }
}
