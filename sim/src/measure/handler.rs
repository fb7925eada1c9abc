//! Calls of a file's fault handlers, as the core makes them.

use std::fmt;
use std::ops::BitOr;

use daxsim_types::{PageSize, VmFault};

/// `enum fault_flag` (Linux `include/linux/mm_types.h`), in the words of the fs_dax tracepoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultFlags(pub u32);

impl FaultFlags {
    /// The access is a write.
    pub const WRITE: Self = Self(0x1);
    /// An existing read-only entry is to be made writable.
    pub const MKWRITE: Self = Self(0x2);
    /// The locks may be dropped, once.
    pub const ALLOW_RETRY: Self = Self(0x4);
    /// A fatal signal ends the wait.
    pub const KILLABLE: Self = Self(0x10);
    /// A second attempt.
    pub const TRIED: Self = Self(0x20);
    /// Raised in user mode.
    pub const USER: Self = Self(0x40);
    /// Any signal ends the wait.
    pub const INTERRUPTIBLE: Self = Self(0x200);
    /// `orig_pte` was read; the tracepoints print 0x800.
    pub const ORIG_PTE_VALID: Self = Self(0x800);
    /// Under the lock of the VMA, not of the address space.
    pub const VMA_LOCK: Self = Self(0x1000);
    /// `FAULT_FLAG_DEFAULT`.
    pub const DEFAULT: Self = Self(Self::ALLOW_RETRY.0 | Self::KILLABLE.0 | Self::INTERRUPTIBLE.0);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags, with `flags` too if `condition`.
    #[must_use]
    pub fn with(self, flags: Self, condition: bool) -> Self {
        if condition { self | flags } else { self }
    }
}

impl BitOr for FaultFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for FaultFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(FaultFlags, &str); 9] = [
            (FaultFlags::WRITE, "WRITE"),
            (FaultFlags::MKWRITE, "MKWRITE"),
            (FaultFlags::ALLOW_RETRY, "ALLOW_RETRY"),
            (FaultFlags::KILLABLE, "KILLABLE"),
            (FaultFlags::TRIED, "TRIED"),
            (FaultFlags::USER, "USER"),
            (FaultFlags::INTERRUPTIBLE, "INTERRUPTIBLE"),
            (FaultFlags::VMA_LOCK, "VMA_LOCK"),
            (FaultFlags::ORIG_PTE_VALID, "0x800"),
        ];
        let words: Vec<&str> =
            NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| *name).collect();
        f.write_str(&words.join("|"))
    }
}

/// Which operation of the VMA was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// `->fault`
    Fault,
    /// `->huge_fault`
    HugeFault,
    /// `->page_mkwrite`
    PageMkwrite,
    /// `->pfn_mkwrite`
    PfnMkwrite,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerCall {
    /// The operation.
    pub callback: Callback,
    /// The size asked for.
    pub size: PageSize,
    /// `vmf->flags`.
    pub flags: FaultFlags,
    /// What it returned.
    pub ret: VmFault,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_as_the_fs_dax_tracepoints_print_them() {
        let flags = FaultFlags::DEFAULT.with(FaultFlags::USER, true).with(FaultFlags::WRITE, true);
        assert_eq!(flags.to_string(), "WRITE|ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE");
        let upgrade = flags | FaultFlags::MKWRITE | FaultFlags::VMA_LOCK | FaultFlags::ORIG_PTE_VALID;
        let text = "WRITE|MKWRITE|ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE|VMA_LOCK|0x800";
        assert_eq!(upgrade.to_string(), text);
        assert!(
            !flags.contains(FaultFlags::MKWRITE)
                && !flags.with(FaultFlags::TRIED, false).contains(FaultFlags::TRIED)
        );
    }
}
