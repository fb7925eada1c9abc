//! Recordings of real kernels in a virtual machine with emulated NVDIMMs.
//!
//! [`record`] takes a kernel and jobs, builds the guest's first file system of programs of the host, boots it in QEMU, and lays out what
//! the kernel recorded. [`Guest`] boots a guest of any kind.

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
pub use programs::{Files, add as add_program, find as find_program};
pub use qemu::{Accel, Guest, Limits};

use initramfs::Contents;

/// What is to be recorded, and on what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kernel.
    pub kernel: Source,
    /// The player of scripts; `None` if there is no script among the jobs.
    pub player: Option<PathBuf>,
    /// What is recorded, one after another in one guest.
    pub jobs: Vec<Job>,
    /// More files for the guest: their paths there, and where they are.
    pub files: Vec<(String, PathBuf)>,
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
    let (qemu, files) = gather::gather(plan)?;
    let kernel = plan.kernel.get()?;
    said(&format!("kernel {}", kernel.release));
    let temporary = std::env::temp_dir();
    let folder = tempfile::Builder::new().prefix("daxsim-vm-").tempdir();
    let folder = folder.map_err(VmError::file("made", &temporary))?;
    let guest = Guest {
        qemu,
        image: kernel.image.clone(),
        initramfs: folder.path().join("initramfs.cpio"),
        folder: folder.path().to_owned(),
        cpus: plan.cpus,
        memory_mib: plan.memory_mib,
        accel: plan.accel,
        append: String::new(),
        qemu_args: plan.qemu_args.clone(),
    };
    let contents = Contents {
        files: &files,
        kernel: &kernel,
        jobs: &plan.jobs,
        buffer_kib: plan.buffer_kib,
        job_seconds: plan.limits.work.as_secs(),
    };
    contents.write(&guest.initramfs)?;
    let mut failed = Vec::new();
    let mut watch = |text: &str| {
        if let Some(why) = text.strip_prefix("failed job ") {
            failed.push(why.to_owned());
        }
        said(text);
    };
    guest.run(plan.limits, &mut watch, stop)?;
    if !failed.is_empty() {
        return Err(VmError::Guest(format!("run {}", failed.join("; run "))));
    }
    let share = guest.share();
    let guests = layout::Guests {
        share: &share,
        out: &plan.out,
        release: &kernel.release,
        accel: plan.accel,
        cpus: plan.cpus,
    };
    guests.kernel()?;
    plan.jobs.iter().enumerate().map(|(number, job)| guests.run(number, job)).collect()
}
