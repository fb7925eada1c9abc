//! Stores that mark lines, for whoever sees all stores of this program.

use daxsim_traces::script::marks;

use crate::sys;

/// The memory that is stored to, or nothing.
pub struct Marks {
    on: bool,
}

impl Marks {
    /// Maps the memory, if lines are to be marked.
    pub fn new(on: bool, lines: usize) -> std::io::Result<Self> {
        if on {
            let flags =
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE;
            let prot = (libc::PROT_READ | libc::PROT_WRITE) as u32;
            sys::map(marks::BASE, marks::bytes(lines), prot, flags, -1, 0)
                .map_err(std::io::Error::from_raw_os_error)?;
        }
        Ok(Self { on })
    }

    /// A line begins.
    pub fn begin(&self, line: u32) {
        self.store(marks::begin(line));
    }

    /// It has ended.
    pub fn end(&self, line: u32) {
        self.store(marks::end(line));
    }

    fn store(&self, at: u64) {
        if self.on {
            // SAFETY: `new` mapped a place for each line's marks, which nothing else is in.
            unsafe { (at as *mut u64).write_volatile(1) };
        }
    }
}
