//! System calls, with their results as the log has them: a number, or an error's number.

use std::io;

/// What a call returned, or its `errno`.
pub type Result = std::result::Result<i64, i32>;

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The result of a call that returns -1 for an error.
pub fn result(returned: impl Into<i64>) -> Result {
    let returned = returned.into();
    if returned < 0 { Err(errno()) } else { Ok(returned) }
}

/// CLOCK_MONOTONIC in nanoseconds: the clock of the trace.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives longer than the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The CPU that runs this.
pub fn cpu() -> i32 {
    // SAFETY: it takes no arguments.
    unsafe { libc::sched_getcpu() }
}

/// The kernel's thread id.
pub fn thread_id() -> i32 {
    // SAFETY: it takes no arguments.
    unsafe { libc::gettid() }
}

/// Runs this thread on one CPU only.
pub fn pin(cpu: u16) -> Result {
    // SAFETY: an all-zero `cpu_set_t` is an empty set; the set lives longer than the call.
    let returned = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if usize::from(cpu) >= libc::CPU_SETSIZE as usize {
            return Err(libc::EINVAL);
        }
        libc::CPU_SET(cpu.into(), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    result(returned)
}

/// mmap(2) at an address.
pub fn map(addr: u64, len: u64, prot: u32, flags: i32, fd: i32, off: u64) -> Result {
    let (prot, off) = (prot as i32, off as libc::off_t);
    // SAFETY: the script says where; no memory of this program is there, for it is either refused (MAP_FIXED_NOREPLACE) or, with
    // MAP_SYNC, which the kernel takes without that flag only, the script's own to answer for.
    let at = unsafe { libc::mmap(addr as *mut libc::c_void, len as usize, prot, flags, fd, off) };
    if at == libc::MAP_FAILED { Err(errno()) } else { Ok(at as i64) }
}

/// munmap(2).
pub fn unmap(addr: u64, len: u64) -> Result {
    // SAFETY: a range of a script's map, in which no value of this program lives.
    result(unsafe { libc::munmap(addr as *mut libc::c_void, len as usize) })
}

/// mremap(2) with flags, to an address if they say so.
pub fn remap(addr: u64, len: u64, new_len: u64, flags: i32, to: u64) -> Result {
    // SAFETY: a script's map, in which no value of this program lives.
    let at = unsafe {
        libc::mremap(
            addr as *mut libc::c_void,
            len as usize,
            new_len as usize,
            flags,
            to as *mut libc::c_void,
        )
    };
    if at == libc::MAP_FAILED { Err(errno()) } else { Ok(at as i64) }
}

/// mprotect(2).
pub fn protect(addr: u64, len: u64, prot: u32) -> Result {
    // SAFETY: a range of a script's map, in which no value of this program lives.
    result(unsafe { libc::mprotect(addr as *mut libc::c_void, len as usize, prot as i32) })
}

/// madvise(2).
pub fn advise(addr: u64, len: u64, advice: u32) -> Result {
    // SAFETY: a range of a script's map, in which no value of this program lives.
    result(unsafe { libc::madvise(addr as *mut libc::c_void, len as usize, advice as i32) })
}

/// msync(2).
pub fn sync_range(addr: u64, len: u64, asynchronous: bool) -> Result {
    let flags = if asynchronous { libc::MS_ASYNC } else { libc::MS_SYNC };
    // SAFETY: it changes no memory.
    result(unsafe { libc::msync(addr as *mut libc::c_void, len as usize, flags) })
}

/// fallocate(2).
pub fn allocate(fd: i32, mode: u32, off: u64, len: u64) -> Result {
    // SAFETY: it changes no memory of this program.
    result(unsafe { libc::fallocate(fd, mode as i32, off as libc::off_t, len as libc::off_t) })
}

/// ftruncate(2).
pub fn truncate(fd: i32, size: u64) -> Result {
    // SAFETY: it changes no memory of this program.
    result(unsafe { libc::ftruncate(fd, size as libc::off_t) })
}

/// fsync(2), or fdatasync(2).
pub fn sync(fd: i32, only_data: bool) -> Result {
    // SAFETY: they change no memory.
    result(unsafe { if only_data { libc::fdatasync(fd) } else { libc::fsync(fd) } })
}

/// pread(2).
pub fn read_at(fd: i32, buffer: &mut [u8], off: u64) -> Result {
    // SAFETY: the buffer is as long as is said.
    result(unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), off as libc::off_t) } as i64)
}

/// pwrite(2).
pub fn write_at(fd: i32, buffer: &[u8], off: u64) -> Result {
    // SAFETY: the buffer is as long as is said.
    result(unsafe { libc::pwrite(fd, buffer.as_ptr().cast(), buffer.len(), off as libc::off_t) } as i64)
}

/// read(2) into a script's map: the kernel stores there.
pub fn read_into(fd: i32, addr: u64, len: u64) -> Result {
    // SAFETY: a range of a script's map, in which no value of this program lives.
    result(unsafe { libc::read(fd, addr as *mut libc::c_void, len as usize) } as i64)
}

/// write(2) from a script's map: the kernel loads there.
pub fn write_from(fd: i32, addr: u64, len: u64) -> Result {
    // SAFETY: the kernel itself checks what can be read there.
    result(unsafe { libc::write(fd, addr as *const libc::c_void, len as usize) } as i64)
}

/// FICLONE, or FICLONERANGE with a length.
pub fn clone_range(to: i32, from: i32, to_off: u64, from_off: u64, len: u64) -> Result {
    /// `_IOW(0x94, 13, struct file_clone_range)` (include/uapi/linux/fs.h).
    const FICLONERANGE: libc::c_ulong = 0x4020_940d;
    #[repr(C)]
    struct Range {
        from: i64,
        from_off: u64,
        len: u64,
        to_off: u64,
    }
    let range = Range { from: from.into(), from_off, len, to_off };
    // SAFETY: the structure has the form of `struct file_clone_range` and lives longer than the call.
    result(unsafe { libc::ioctl(to, FICLONERANGE as _, &raw const range) })
}

/// Sleeps.
pub fn sleep(micros: u64) -> Result {
    let time = libc::timespec {
        tv_sec: (micros / 1_000_000) as libc::time_t,
        tv_nsec: (micros % 1_000_000 * 1000) as _,
    };
    // SAFETY: the time lives longer than the call.
    result(unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) })
}

/// fork(2): 0 in the child.
pub fn fork() -> Result {
    // SAFETY: the child goes on with the lines of its own: system calls, accesses, memory that it has a copy of. Of what the threads
    // left behind in the parent might hold (locks of the standard library) it takes nothing.
    result(unsafe { libc::fork() })
}

/// waitpid(2): the process and its status.
pub fn wait(pid: i32) -> (Result, i32) {
    let mut status = 0;
    // SAFETY: the status lives longer than the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    (result(waited), status)
}

/// Ends a child without what the parent would do at its end.
pub fn exit_child() -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(0) }
}

/// Locks all memory that there is now.
pub fn lock_memory() -> Result {
    // SAFETY: it changes no memory, it only brings it in.
    result(unsafe { libc::mlockall(libc::MCL_CURRENT) })
}
