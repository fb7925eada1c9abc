//! Whether the other side lives: each holds a lock of a byte of the file, which the kernel takes back however its process ends.
//!
//! The locks belong to an open file (`F_OFD_SETLK`), not to a process: so they survive a `close` elsewhere in the process, and both
//! sides may be of one process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Who holds a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Reader = 0,
    Writer = 1,
}

fn lock_of(side: Side) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: side as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

/// Takes the lock of `side` for as long as the file is open; `false` if another one has it.
pub(crate) fn take(file: &File, side: Side) -> io::Result<bool> {
    let lock = lock_of(side);
    // SAFETY: the descriptor is open, the lock a valid one that the kernel only reads.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Whether somebody other than `file` holds the lock of `side`. What cannot be asked counts as alive: a wrong answer would end a stream.
pub(crate) fn is_alive(file: &File, side: Side) -> bool {
    let mut lock = lock_of(side);
    // SAFETY: the descriptor is open, the lock a valid one, which the kernel writes.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    result != 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}
