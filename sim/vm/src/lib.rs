//! Recordings of real kernels in a virtual machine with emulated NVDIMMs.
//!
//! [`record`] takes a kernel and jobs, builds the guest's first file system of programs of the host, boots it in QEMU, and lays out what
//! the kernel recorded. [`prepare`] builds the same guest for whoever looks at it from outside. [`Guest`] boots a guest of any kind.

mod apt;
mod cpio;
mod deb;
mod elf;
mod error;
mod gather;
mod initramfs;
mod job;
mod kernel;
mod layout;
mod modules;
mod needs;
mod prepare;
mod programs;
mod qemu;

use std::ffi::OsString;
use std::path::PathBuf;

pub use cpio::Archive;
pub use error::VmError;
pub use job::{Job, Work};
pub use kernel::{Kernel, Source};
pub use layout::{Recorded, kernel_folder};
pub use modules::{Module, Modules};
pub use needs::{Programs, look};
pub use prepare::{Prepared, prepare};
pub use programs::{Files, add as add_program, find as find_program};
pub use qemu::{ATTEMPTS, Accel, Failure, Guest, Limits};

/// How a guest does its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The kernel traces itself, with all events and probes.
    Traced,
    /// Nothing is on in the kernel; the player marks the lines of scripts by stores. Whoever looks on from outside sees the
    /// kernel's own way.
    Marked {
        /// How often each job is done on its file system.
        passes: u32,
    },
}

/// What is to be done, and on what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How.
    pub watch: Watch,
    /// The kernel.
    pub kernel: Source,
    /// The player of scripts; `None` if there is no script among the jobs.
    pub player: Option<PathBuf>,
    /// What is recorded, one after another in one guest.
    pub jobs: Vec<Job>,
    /// More files for the guest: their paths there, and where they are.
    pub files: Vec<(String, PathBuf)>,
    /// Options of the program that makes the file system, in place of ours.
    pub mkfs: Option<String>,
    /// CPUs.
    pub cpus: u16,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Size of the trace's buffer for each CPU.
    pub buffer_kib: u64,
    /// What executes the guest.
    pub accel: Accel,
    /// More arguments of QEMU.
    pub qemu_args: Vec<OsString>,
    /// How long it may take.
    pub limits: Limits,
    /// Where the recordings go.
    pub out: PathBuf,
}

/// Records. `said` gets what goes on; `stop` is asked all the time whether to end early. Nothing runs any more afterwards, and no
/// temporary file is left, however it ends.
///
/// # Errors
///
/// [`VmError`]: what is missing, before anything is started; or what went wrong.
pub fn record(
    plan: &Plan,
    said: &mut dyn FnMut(&str),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Recorded>, VmError> {
    let Prepared { guest, release, .. } = &prepare(plan, said)?;
    guest.run(plan.limits, said, stop)?;
    let share = guest.share();
    let guests =
        layout::Guests { share: &share, out: &plan.out, release, accel: plan.accel, cpus: plan.cpus };
    guests.kernel()?;
    plan.jobs.iter().enumerate().map(|(number, job)| guests.run(number, job)).collect()
}
