//! Measurements that hardware was put to, made of the simulated machine: the same protocol, so that the numbers can be
//! compared.

mod ad_update;
mod cacheline_ping;
mod chase;
mod fault;
mod memory;
mod shootdown;
mod tlbdr;
mod walks;
mod workbench;

use daxsim_types::PageSize;
use thiserror::Error;

use crate::SimError;
use crate::kernel::SyscallError;

pub use ad_update::{AdUpdate, BitUpdate};
pub use cacheline_ping::{CachelinePing, PingTime};
pub use chase::{Chase, ChasePoint, LineOffset};
pub use fault::{FaultCause, FaultCost, FaultPoint};
pub use shootdown::{FlushCause, FlushStorm, Shootdown, ShootdownPoint, Spread, StormPoint};
pub use tlbdr::{Finding, tlbdr};
pub use walks::{Walks, WalksPoint};

/// A probe cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// Fewer than two loads.
    #[error(
        "a footprint of {footprint} bytes with a load every {stride} bytes has {loads} loads: expected at least 2"
    )]
    TooSmall {
        /// Bytes.
        footprint: u64,
        /// Bytes between two loads.
        stride: u64,
        /// Loads in the footprint.
        loads: u64,
    },
    /// More loads than their order has room for.
    #[error(
        "a footprint of {footprint} bytes with a load every {stride} bytes has {loads} loads: expected fewer than 2^32"
    )]
    TooMany {
        /// Bytes.
        footprint: u64,
        /// Bytes between two loads.
        stride: u64,
        /// Loads in the footprint.
        loads: u64,
    },
    /// A stride of zero.
    #[error("a stride of 0 bytes: expected 1 or more")]
    NoStride,
    /// The machine has too little memory.
    #[error(
        "{bytes} bytes in pages of {page} do not fit the {room} bytes that the machine has for programs: raise dram.capacity"
    )]
    NoMemory {
        /// Bytes to be mapped, whole pages.
        bytes: u64,
        /// Size of the pages.
        page: PageSize,
        /// Bytes of user memory.
        room: u64,
    },
    /// The machine leaves to software what the probe measures.
    #[error("the machine does not set {bit} itself ({key}): there is nothing to measure")]
    NotHardware {
        /// A or D.
        bit: char,
        /// The key that says so.
        key: &'static str,
    },
    /// Not two cores of the machine.
    #[error("cores {first} and {second} of {count}: expected two different ones, counted from 0")]
    Cores {
        /// The core that begins.
        first: u16,
        /// The core that answers.
        second: u16,
        /// Cores of the machine.
        count: u16,
    },
    /// Not as many threads as CPUs, or fewer.
    #[error("{threads} threads on {count} CPUs (cpu.count): expected 1 or more, each on a CPU of its own")]
    Threads {
        /// Threads asked for.
        threads: u16,
        /// CPUs of the machine.
        count: u16,
    },
    /// A system call of the probe failed.
    #[error("a system call of the probe failed: {0}")]
    Call(SyscallError),
    /// The simulation stopped.
    #[error(transparent)]
    Simulation(#[from] SimError),
}
