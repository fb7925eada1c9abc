//! What the threads and the forked children of a run share: how many lines are done, and the log.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use daxsim_traces::script::WaitMode;

use crate::text::Text;

/// Most bytes of one entry of the log.
const ENTRY: usize = 1024;

/// The first bytes of the shared memory.
#[repr(C)]
struct Counters {
    /// Lines done.
    done: AtomicU32,
    /// Bytes of the log, also of those that had no room.
    logged: AtomicU64,
}

/// Memory that forked children share with their parent.
pub struct Shared {
    base: *mut u8,
    room: usize,
    sleepers: bool,
}

// SAFETY: the counters are atomic; of the log, each writer has the bytes that it reserved by adding to `logged`.
unsafe impl Sync for Shared {}

impl Shared {
    /// With room for so many entries; `sleepers` says whether anybody waits asleep.
    pub fn new(entries: usize, sleepers: bool) -> io::Result<Self> {
        let room = entries * ENTRY;
        let len = size_of::<Counters>() + room;
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, wherever the kernel has room; it stays until the process ends.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { base: base.cast(), room, sleepers })
    }

    fn counters(&self) -> &Counters {
        // SAFETY: the memory begins with them (a mapping is aligned to a page, and zero is their first value) and stays mapped.
        unsafe { &*self.base.cast::<Counters>() }
    }

    /// Waits until so many lines are done.
    pub fn wait_for(&self, lines: u32, how: WaitMode) {
        let done = &self.counters().done;
        loop {
            let now = done.load(Ordering::SeqCst);
            if now >= lines {
                return;
            }
            match how {
                WaitMode::Spin => std::hint::spin_loop(),
                // SAFETY: the counter lives; FUTEX_WAIT returns at once if it has changed.
                WaitMode::Sleep => unsafe {
                    let no_limit: *const libc::timespec = std::ptr::null();
                    libc::syscall(libc::SYS_futex, done.as_ptr(), libc::FUTEX_WAIT, now, no_limit);
                },
            }
        }
    }

    /// One line more is done.
    pub fn add_done(&self) {
        let done = &self.counters().done;
        done.fetch_add(1, Ordering::SeqCst);
        if self.sleepers {
            // SAFETY: the counter lives.
            unsafe { libc::syscall(libc::SYS_futex, done.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
        }
    }

    /// Adds a line to the log.
    pub fn log(&self, arguments: fmt::Arguments<'_>) {
        let entry = Text::<ENTRY>::of(arguments);
        let bytes = entry.bytes();
        let at = self.counters().logged.fetch_add(bytes.len() as u64, Ordering::SeqCst) as usize;
        if at + bytes.len() <= self.room {
            // SAFETY: these bytes of the log were reserved by the addition, and are inside of it.
            unsafe {
                let to = self.base.add(size_of::<Counters>() + at);
                to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
        }
    }

    /// Writes the log down. All threads and children have ended.
    pub fn write_log(&self, mut to: impl Write) -> io::Result<()> {
        let logged = self.counters().logged.load(Ordering::SeqCst) as usize;
        // SAFETY: the log is inside the mapping, and nobody writes to it any more.
        let log = unsafe {
            std::slice::from_raw_parts(self.base.add(size_of::<Counters>()), logged.min(self.room))
        };
        writeln!(
            to,
            "# daxplay: line thread pid cpu t0 t1 (ns, CLOCK_MONOTONIC) rc errno acc sig sum | line"
        )?;
        to.write_all(log)?;
        if logged > self.room {
            return Err(io::Error::other(format!("the log had no room for {} bytes", logged - self.room)));
        }
        Ok(())
    }
}
