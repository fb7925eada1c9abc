//! A guest that is ready to be started.

use std::path::Path;

use crate::initramfs::Contents;
use crate::{Guest, Plan, VmError, gather};

/// A guest with its files, which are removed with this value.
#[derive(Debug)]
pub struct Prepared {
    /// The guest.
    pub guest: Guest,
    /// What `uname -r` says in it.
    pub release: String,
    _folder: tempfile::TempDir,
}

impl Prepared {
    /// Where the results of a job are, while or after the guest runs.
    #[must_use]
    pub fn results(&self, job: usize) -> std::path::PathBuf {
        self.guest.share().join(job.to_string())
    }
}

/// Finds all that a plan needs, and builds the guest. Nothing is started. `said` gets what goes on.
///
/// # Errors
///
/// [`VmError`]: what is missing, or what cannot be read or written.
pub fn prepare(plan: &Plan, said: &mut dyn FnMut(&str)) -> Result<Prepared, VmError> {
    let (qemu, files) = gather::gather(plan)?;
    let kernel = plan.kernel.get()?;
    said(&format!("kernel {}", kernel.release));
    let temporary = std::env::temp_dir();
    let folder = folder(&temporary)?;
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
        watch: plan.watch,
        mkfs: plan.mkfs.as_deref(),
        buffer_kib: plan.buffer_kib,
        job_seconds: plan.limits.work.as_secs(),
    };
    contents.write(&guest.initramfs)?;
    Ok(Prepared { guest, release: kernel.release, _folder: folder })
}

fn folder(temporary: &Path) -> Result<tempfile::TempDir, VmError> {
    let folder = tempfile::Builder::new().prefix("daxsim-vm-").tempdir_in(temporary);
    folder.map_err(VmError::file("made", temporary))
}
