//! A guest that is ready to be started.

use std::fs;
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

/// How the folders of guests begin; the number of the process that made one follows.
const PREFIX: &str = "daxsim-vm-";

/// A folder for a guest. Those that processes left behind that were killed are removed.
fn folder(temporary: &Path) -> Result<tempfile::TempDir, VmError> {
    remove_stale(temporary);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(temporary);
    folder.map_err(VmError::file("made", temporary))
}

fn remove_stale(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        let Some(maker) = maker.and_then(|(number, _)| number.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(maker.to_string()).exists() {
            // What cannot be removed is another user's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        // No process has the highest number.
        let stale = temporary.path().join(format!("{PREFIX}{}-x", u32::MAX));
        let others = ["daxsim-vm-x", "daxsim-vm-", "mine"].map(|name| temporary.path().join(name));
        for folder in others.iter().chain([&stale]) {
            fs::create_dir(folder).unwrap();
        }
        let first = folder(temporary.path()).unwrap();
        let second = folder(temporary.path()).unwrap();
        assert!(!stale.exists());
        assert!(
            others.iter().chain([&first.path().to_owned(), &second.path().to_owned()]).all(|f| f.exists())
        );
    }
}
