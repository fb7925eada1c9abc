//! The Linux side: address spaces, the fault path, `fs/dax.c`, file systems, writeback, zap and TLB flushes.
//!
//! Functions carry the names of the kernel functions they model. They are `async`: wherever another CPU could see or
//! change what they touch, they give way in simulated time. "Spec" is the behavioural specification of the
//! DAX fault path in `docs/linux-dax-fault-path.md`; kernel sources are named with their version.

mod access_flags;
mod anon;
pub mod broadcast;
pub(crate) mod call_function;
mod clone;
mod cow;
pub mod dax_entry;
mod dax_fault;
pub mod extent;
mod fault;
pub mod file;
mod file_ops;
pub mod filemap;
pub mod flush;
mod fork;
mod fs;
pub mod gup;
mod insert;
mod layout;
pub(crate) mod lazy_flush;
mod line_names;
pub mod mm;
mod mmu_hook;
mod mprotect;
mod mremap;
pub mod page;
mod page_tree;
mod pti;
pub mod refcount;
mod reflink;
mod syscall;
pub mod tlbstate;
pub mod vma;
mod vmas;
mod vmf;
mod writeback;
mod young;
mod zap;

pub use clone::CloneRequest;
pub use fault::Signal;
pub(crate) use fault::{Origin, general_protection, page_fault};
pub use file::{FileId, NewFile};
pub use file_ops::FallocMode;
pub use gup::PinKind;
pub use mm::MmId;
pub use mremap::RemapRequest;
pub use syscall::{Advice, DEFAULT_MAP_WINDOW, MapRequest, SyscallError};
pub(crate) use syscall::{
    clear_young, clone, copy_user, exit, fallocate, fork, fsync, ftruncate, madvise, mmap, mprotect, mremap,
    msync, munmap, pin, pread, pwrite, sync_file_range, unpin,
};
pub(crate) use vmf::FaultTrail;
pub(crate) use writeback::background_writeback;

use daxsim_types::{CacheLine, Pfn, PhysAddr};

/// Hands out lines of simulated DRAM for kernel objects, so that each lock and counter has an address of its own.
#[derive(Debug)]
pub struct KernelLines {
    next: u64,
    end: u64,
    start: u64,
}

impl KernelLines {
    /// Lines of the DRAM range `start..end` (bytes).
    #[must_use]
    pub fn new(start: u64, end: u64) -> Self {
        Self { next: start, start, end: end.max(start + 64) }
    }

    /// As many lines in a row, from the end of the range; at most half of it: where that is less, they are shared. The first and how
    /// many there are.
    pub fn reserve(&mut self, count: u64) -> (CacheLine, u64) {
        let bytes = daxsim_types::LINE_BYTES;
        let count = count.min((self.end - self.start) / bytes / 2).max(1);
        self.end = (self.end - count * bytes).max(self.start + bytes);
        (PhysAddr(self.end).line(), count)
    }

    /// A line that no other object uses (until the range is exhausted, after which lines are shared).
    pub fn fresh(&mut self) -> CacheLine {
        let line = PhysAddr(self.next).line();
        self.next += daxsim_types::LINE_BYTES;
        if self.next >= self.end {
            self.next = self.start;
        }
        line
    }
}

/// Global kernel state that every address space shares.
#[derive(Debug)]
pub struct Globals {
    /// 4 KiB zero page.
    pub zero_page: Pfn,
    /// 2 MiB huge zero page.
    pub huge_zero_page: Pfn,
    /// `memtype_lock` (spec 7.1: Lmt).
    pub memtype_lock: crate::engine::LockId,
    /// `resource_lock` reader count (Lres).
    pub resource_line: CacheLine,
    /// jbd2 `j_state_lock` word (Ljs).
    pub journal_state_line: CacheLine,
    /// Counters of the running transaction (Ljt).
    pub transaction_line: CacheLine,
    /// Each CPU's part of the device's reference count (`dev_pagemap.ref`), made when first used.
    pub pgmap_ref_lines: Vec<CacheLine>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_distinct_until_the_range_is_used_up() {
        let mut lines = KernelLines::new(0x1000, 0x1000 + 3 * 64);
        let got: Vec<u64> = (0..4).map(|_| lines.fresh().0).collect();
        assert_eq!(got, [64, 65, 66, 64]);
    }

    #[test]
    fn reserved_lines_are_nobody_elses() {
        let mut lines = KernelLines::new(0x1000, 0x1000 + 8 * 64);
        assert_eq!(lines.reserve(3), (CacheLine(69), 3));
        let got: Vec<u64> = (0..6).map(|_| lines.fresh().0).collect();
        assert_eq!(got, [64, 65, 66, 67, 68, 64]);
        assert_eq!(lines.reserve(100), (CacheLine(67), 2), "half of what there is");
    }
}
