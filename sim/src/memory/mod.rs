//! The memory system: private L1D and L2 per core, an L3 per core complex, the coherence directory,
//! DRAM channels and persistent-memory DIMMs.
//!
//! One call, one access: [`Memory::access`] changes all state and returns how long the access
//! took and which level supplied the line. Nothing is queued as an event; contention appears as
//! the `busy_until` times of channels, media and write queues, and of lines between caches (`under_way`), which later calls wait for. Calls
//! from different cores may come slightly out of order in time: a request that arrives before a
//! device's `busy_until` waits for it, and no difference of times can underflow.
//!
//! The L2 includes the L1D. The L3 of a core complex takes the L2s' victims, clean or modified (Skylake-SP, Zen), includes
//! the L2s, or is filled with them. Main memory has one latency, or banks with rows, refresh and write queues (`dram`). What is
//! not modelled: instruction fetch and its cache, and limits on outstanding misses: the caller decides how many accesses overlap. The prefetcher is a
//! simple one (`prefetch`), and off by default.

mod balance;
mod cache;
mod coherence;
mod devices;
mod directory;
mod dram;
mod hierarchy;
mod home;
mod interleave;
mod l3;
mod persist;
mod pmem;
mod prefetch;
mod profile;
mod refetch;
mod replacement;
mod stats;
mod streamer;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod topology;
mod under_way;
mod watch;

pub use balance::Imbalance;
pub(crate) use cache::{HitAt, Lane};
pub use coherence::Mesi;
pub use hierarchy::Memory;
pub use pmem::{PageLines, Tag, Unaccepted};
pub use profile::{DeviceProfile, Stretch, Timeline, Waits};
pub use stats::{CacheStats, DeviceStats, DramStats, MemoryStats};

use daxsim_types::Time;

/// What an access needs of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A load: any valid copy will do.
    Read,
    /// A store: the core must own the line.
    Write,
    /// A store to the whole line, as a string operation makes it: the core must own the line, but needs no data of it. A line
    /// that no cache has is not read from its device.
    WriteLine,
    /// A locked read-modify-write. To the caches a [`Self::Write`]; the price of the lock itself
    /// (`cost.locked_rmw`) is the caller's.
    Rmw,
}

impl Access {
    /// Whether the core must own the line.
    #[must_use]
    pub const fn is_write(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// Where the line, or the right to write it, came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The core's own L1D.
    L1,
    /// The core's own L2.
    L2,
    /// The L3 of the core's complex, or its directory (a write to a line that only this core still shares, or to the whole of a
    /// line that no cache has).
    L3,
    /// Another core's cache, or a write that had to take the line from others.
    Transfer,
    /// Main memory.
    Dram,
    /// Persistent memory.
    Pmem,
}

/// How an access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From issue to data (or ownership), picoseconds, waiting included.
    pub latency: Time,
    /// Where the line came from.
    pub level: Level,
    /// What of the latency the line was still under way to another core.
    pub waited: Time,
}

impl Outcome {
    /// Without a wait for another core.
    pub(crate) const fn of(latency: Time, level: Level) -> Self {
        Self { latency, level, waited: Time::ZERO }
    }
}
