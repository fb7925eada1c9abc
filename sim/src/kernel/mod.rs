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
mod lines;
mod lru;
pub mod mm;
mod mmu_hook;
mod mprotect;
mod mremap;
pub mod page;
mod page_tree;
mod pti;
pub mod refcount;
mod reflink;
pub(crate) mod sleep;
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
pub use lines::{KernelLines, LineName, LineUse, LineUses};
pub use lru::PageLists;
pub use mm::MmId;
pub use mremap::RemapRequest;
pub use syscall::{Advice, DEFAULT_MAP_WINDOW, MapRequest, SyscallError};
pub(crate) use syscall::{
    clear_young, clone, copy_user, exit, fallocate, fork, fsync, ftruncate, madvise, mmap, mmap_anonymous,
    mprotect, mremap, msync, munmap, pin, pread, pwrite, sync_file_range, unpin,
};
pub(crate) use vmf::FaultTrail;
pub(crate) use writeback::background_writeback;

use daxsim_types::{CacheLine, Pfn};

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
