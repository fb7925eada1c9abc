//! Measurements that hardware was put to, made of the simulated machine: the same protocol, so that the numbers can be
//! compared.

mod ad_update;
mod bandwidth;
mod cacheline_ping;
mod chase;
mod device;
mod fault;
mod memory;
mod overwrite;
mod persist_latency;
mod shootdown;
mod tlbdr;
mod walks;
mod workbench;
mod write_chase;

use daxsim_types::PageSize;
use thiserror::Error;

use crate::SimError;
use crate::kernel::SyscallError;

pub use ad_update::{AdUpdate, BitUpdate};
pub use bandwidth::{Bandwidth, BandwidthPoint, Operation, Places};
pub use cacheline_ping::{CachelinePing, PingTime};
pub use chase::{Chase, ChasePoint, LineOffset};
pub use device::{Medium, Store};
pub use fault::{FaultCause, FaultCost, FaultPoint};
pub use overwrite::{Order, Overwrite, OverwritePoint, Stalls};
pub use persist_latency::{PersistLatency, PersistLatencyPoint};
pub use shootdown::{Contention, FlushCause, FlushStorm, Shootdown, ShootdownPoint, Spread, StormPoint};
pub use tlbdr::{Finding, tlbdr};
pub use walks::{Walks, WalksPoint};
pub use write_chase::{WriteChase, WriteChasePoint};

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
    /// A system call of the probe failed.
    #[error("a system call of the probe failed: {0}")]
    Call(SyscallError),
    /// No whole lines or blocks.
    #[error("a {what} of {bytes} bytes: expected a multiple of {unit}, and not 0")]
    NotWhole {
        /// What is of the wrong size.
        what: &'static str,
        /// Bytes.
        bytes: u64,
        /// What it has to be a multiple of.
        unit: u64,
    },
    /// The memory under test is too small.
    #[error(
        "{bytes} bytes do not fit the {room} bytes of the memory under test: raise pmem.capacity or dram.capacity"
    )]
    NoRoom {
        /// Bytes that are needed.
        bytes: u64,
        /// Bytes that there are, on one socket.
        room: u64,
    },
    /// More threads than cores, or none.
    #[error("{threads} threads on {count} cores: expected 1 to {count}")]
    Threads {
        /// Threads.
        threads: u16,
        /// Cores that may have one.
        count: u16,
    },
    /// There is no other socket.
    #[error("memory of another socket was asked for, and the machine has one: raise topology.sockets")]
    OneSocket,
    /// The simulation stopped.
    #[error(transparent)]
    Simulation(#[from] SimError),
}
