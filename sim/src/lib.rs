//! The simulated machine: cores with TLBs and page walkers, caches, interrupts and memory
//! controllers, and the Linux DAX fault path that runs on them.
//!
//! Nothing here reads a file, prints, or looks at a clock. A [`Simulation`] is built from validated
//! configs, is fed [`program::Step`]s, and yields [`measure::Measurements`]; the same steps give the same
//! measurements, to the bit, on any host.
//!
//! * [`mmu`] does what the Intel SDM says of paging; [`memory`] holds caches and devices; [`apic`] delivers interrupts.
//! * [`kernel`] decides what to ask of the hardware. A kernel variant is a table of knobs
//!   ([`daxsim_configs::kernel::KernelSpec`]), never a version test.
//! * [`engine`] interleaves the CPUs by simulated time: kernel code is written as `async` functions that read top to
//!   bottom and give way wherever another CPU is behind in time.

pub mod apic;
pub mod bare;
pub mod consistency;
mod cpu;
pub mod durability;
pub mod engine;
mod frames;
mod host;
pub mod inject;
mod inspect;
pub mod kernel;
mod machine;
pub mod measure;
pub mod memory;
pub mod mmu;
pub mod observe;
pub mod probe;
pub mod program;
mod simulation;

pub use machine::Machine;
pub use simulation::{Crash, Results, SimError, Simulation};
