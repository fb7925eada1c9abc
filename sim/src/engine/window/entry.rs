//! One access in the window.

use daxsim_types::{CacheLine, Time};

use crate::mmu::Refusal;
use crate::program::Access;

/// How far an access has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the data of the access before it.
    Operand,
    /// Waits for a walker.
    Queued,
    /// Waits for the end of the walk of another access.
    Merged,
    /// Its walk is under way.
    Walking,
    /// A store whose translation is there, until no older access can fault. It has got its event then.
    Held { released: bool },
    /// Waits for a fill buffer.
    Starved,
    /// Its data are on their way, or there.
    Flight,
    /// Its walk sets A or D, which takes so long and waits until it is the oldest.
    Assist(Time),
    /// It will be refused.
    Refused(Refusal),
    /// It must be made alone.
    Alone,
}

/// Number that no entry has.
pub(super) const NOBODY: u64 = u64::MAX;

/// An access in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Place in program order.
    pub seq: u64,
    /// Loads that entered before it.
    pub loads: u64,
    pub access: Access,
    pub phase: Phase,
    /// Its line, once translated.
    pub line: CacheLine,
    /// When its translation is there.
    pub translated: Time,
    /// When it is complete; [`Time::MAX`] as long as nobody knows.
    pub complete: Time,
    /// The next of those that wait for the same walk, or [`NOBODY`].
    pub follower: u64,
}

impl Entry {
    pub fn new(seq: u64, loads: u64, access: Access) -> Self {
        Self {
            seq,
            loads,
            access,
            phase: Phase::Operand,
            line: CacheLine(0),
            translated: Time::ZERO,
            complete: Time::MAX,
            follower: NOBODY,
        }
    }

    /// Whether it is known that it will not be refused.
    pub const fn is_safe(&self) -> bool {
        matches!(self.phase, Phase::Walking | Phase::Starved | Phase::Flight | Phase::Assist(_))
    }
}
