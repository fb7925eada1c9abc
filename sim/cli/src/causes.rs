//! Causes as files of points and studies name them, in the terms of the simulator and of people.

use daxsim_configs::validation as config;
use daxsim_sim::probe::{FaultCause, FlushCause};

/// Why translations go.
pub const fn flush(cause: config::FlushCause) -> FlushCause {
    match cause {
        config::FlushCause::Munmap => FlushCause::Munmap,
        config::FlushCause::Mprotect => FlushCause::Mprotect,
        config::FlushCause::DontNeed => FlushCause::DontNeed,
        config::FlushCause::DontNeedTouch => FlushCause::DontNeedTouch,
        config::FlushCause::DontNeedRead => FlushCause::DontNeedRead,
    }
}

/// The same for people.
pub const fn flush_name(cause: config::FlushCause) -> &'static str {
    match cause {
        config::FlushCause::Munmap => "munmap",
        config::FlushCause::Mprotect => "mprotect",
        config::FlushCause::DontNeed => "MADV_DONTNEED",
        config::FlushCause::DontNeedTouch => "MADV_DONTNEED and stores",
        config::FlushCause::DontNeedRead => "MADV_DONTNEED and loads",
    }
}

/// Which page fault.
pub const fn fault(cause: config::FaultCause) -> FaultCause {
    match cause {
        config::FaultCause::ZeroPage => FaultCause::ZeroPage,
        config::FaultCause::Anonymous => FaultCause::Anonymous,
        config::FaultCause::DaxRead => FaultCause::DaxRead,
        config::FaultCause::DaxWrite => FaultCause::DaxWrite,
        config::FaultCause::DaxMkwrite => FaultCause::DaxMkwrite,
        config::FaultCause::DaxHole => FaultCause::DaxHole,
    }
}

/// The same for people.
pub const fn fault_name(cause: config::FaultCause) -> &'static str {
    match cause {
        config::FaultCause::ZeroPage => "zero page",
        config::FaultCause::Anonymous => "anonymous page",
        config::FaultCause::DaxRead => "loads of blocks",
        config::FaultCause::DaxWrite => "stores to blocks",
        config::FaultCause::DaxMkwrite => "stores after loads",
        config::FaultCause::DaxHole => "loads of holes",
    }
}
