//! The vocabulary of a page fault: what was tried, what the CPU reported, what the kernel returned.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An access of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

impl AccessKind {
    /// Whether this is a store.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write)
    }
}

/// The error code that the CPU pushes on a #PF (Intel SDM vol. 3, 4.7; Linux `arch/x86/include/asm/trap_pf.h`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// A protection violation, not a missing translation.
    pub const PROT: u32 = 1;
    /// A write.
    pub const WRITE: u32 = 2;
    /// The access came from user mode.
    pub const USER: u32 = 4;
    /// A reserved bit was set.
    pub const RSVD: u32 = 8;
    /// An instruction fetch.
    pub const INSTR: u32 = 16;

    /// The error code of an access that a walk refused.
    #[must_use]
    pub const fn new(kind: AccessKind, user: bool, present: bool) -> Self {
        let mut bits = 0;
        if present {
            bits |= Self::PROT;
        }
        if kind.is_write() {
            bits |= Self::WRITE;
        }
        if user {
            bits |= Self::USER;
        }
        if matches!(kind, AccessKind::Fetch) {
            bits |= Self::INSTR;
        }
        Self(bits)
    }

    /// Whether a translation was present.
    #[must_use]
    pub const fn is_protection(self) -> bool {
        self.0 & Self::PROT != 0
    }

    /// Whether the access was a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// Whether the access came from user mode.
    #[must_use]
    pub const fn is_user(self) -> bool {
        self.0 & Self::USER != 0
    }

    /// Whether the access was an instruction fetch.
    #[must_use]
    pub const fn is_fetch(self) -> bool {
        self.0 & Self::INSTR != 0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({:#x})", self.0)
    }
}

/// The kernel's `vm_fault_t` (Linux `include/linux/mm_types.h`, the same in 6.12 and 7.2).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmFault(pub u32);

impl VmFault {
    /// Out of memory.
    pub const OOM: Self = Self(0x1);
    /// The access gets SIGBUS.
    pub const SIGBUS: Self = Self(0x2);
    /// A major fault: a block was allocated or read.
    pub const MAJOR: Self = Self(0x4);
    /// The access gets SIGSEGV.
    pub const SIGSEGV: Self = Self(0x40);
    /// The handler installed the entry; there is no page to finish with.
    pub const NOPAGE: Self = Self(0x100);
    /// The page comes back locked, and is mapped.
    pub const LOCKED: Self = Self(0x200);
    /// The lock was dropped; do the fault again.
    pub const RETRY: Self = Self(0x400);
    /// The huge handler declined; try the smaller size.
    pub const FALLBACK: Self = Self(0x800);
    /// A private copy was made.
    pub const DONE_COW: Self = Self(0x1000);
    /// A MAP_SYNC fault needs an fsync before it may map.
    pub const NEEDDSYNC: Self = Self(0x2000);
    /// Done, and the lock was dropped on the way.
    pub const COMPLETED: Self = Self(0x4000);

    /// Whether every bit of `flags` is set (and `flags` is not empty).
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        flags.0 != 0 && self.0 & flags.0 == flags.0
    }

    /// `VM_FAULT_ERROR`: OOM, SIGBUS, SIGSEGV, HWPOISON, HWPOISON_LARGE or FALLBACK.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & (0x1 | 0x2 | 0x10 | 0x20 | 0x40 | 0x800) != 0
    }
}

impl std::ops::BitOr for VmFault {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl fmt::Display for VmFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for VmFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmFault({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_of_the_dax_faults() {
        assert_eq!(ErrorCode::new(AccessKind::Read, true, false), ErrorCode(0x4));
        assert_eq!(ErrorCode::new(AccessKind::Write, true, false), ErrorCode(0x6));
        assert_eq!(ErrorCode::new(AccessKind::Write, true, true), ErrorCode(0x7));
        assert_eq!(ErrorCode::new(AccessKind::Write, false, true), ErrorCode(0x3));
    }

    #[test]
    fn fallback_is_an_error_and_nopage_is_not() {
        assert!(VmFault::FALLBACK.is_error());
        assert!(!(VmFault::MAJOR | VmFault::NOPAGE).is_error());
        assert!((VmFault::MAJOR | VmFault::NOPAGE).contains(VmFault::MAJOR));
    }
}
