//! The first file system of a guest: programs, modules, and what is to be done.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use daxsim_traces::recording;
use daxsim_types::FileSystem;

use crate::cpio::Archive;
use crate::job::{Job, Work};
use crate::kernel::Kernel;
use crate::modules::Modules;
use crate::programs::Files;
use crate::{VmError, Watch};

/// The first process.
const INIT: &str = include_str!("guest/init.sh");
/// Modules that every guest needs: the share with the host, the NVDIMMs.
const MODULES: [&str; 7] = ["virtio_pci", "9pnet_virtio", "9p", "nfit", "nd_pmem", "dax_pmem", "device_dax"];
/// Modules that not every kernel has: checksums that file systems ask for by name.
const OPTIONAL_MODULES: [&str; 3] = ["crc32c_generic", "crc32c_intel", "nd_btt"];

/// Options of mkfs.ext4: blocks in pieces of 2 MiB, so that they can be mapped by such.
const MKFS_EXT4: &str = "-b 4096 -E stride=512,stripe_width=512,lazy_itable_init=0,lazy_journal_init=0";
/// Those of mkfs.xfs; by extszinherit, files are allocated in such pieces.
const MKFS_XFS: &str = "-d su=2m,sw=1,extszinherit=512";

/// What a guest does besides its jobs.
pub struct Contents<'a> {
    /// Programs with their libraries.
    pub files: &'a Files,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// What is recorded.
    pub jobs: &'a [Job],
    /// How they are done.
    pub watch: Watch,
    /// Options of the program that makes the file system, in place of ours.
    pub mkfs: Option<&'a str>,
    /// Size of the trace's buffer for each CPU.
    pub buffer_kib: u64,
    /// Longest time of a job.
    pub job_seconds: u64,
}

impl Contents<'_> {
    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// [`VmError`] if a program or module cannot be read, or the archive not be written.
    pub fn write(&self, to: &Path) -> Result<(), VmError> {
        let modules = self.modules()?;
        let file = fs::File::create(to).map_err(VmError::file("made", to))?;
        let mut archive = Archive::new(io::BufWriter::new(file));
        self.add_programs(&mut archive, to)?;
        let mut order = String::new();
        let written = modules.iter().try_for_each(|module| {
            order.push_str(&format!("{}.ko\n", module.name));
            archive.file(&format!("/daxsim/modules/{}.ko", module.name), &module.content, false)
        });
        let written = written.and_then(|()| self.add_orders(&mut archive, &order));
        written.and_then(|()| archive.finish().map(|_| ())).map_err(VmError::file("written", to))
    }

    fn modules(&self) -> Result<Vec<crate::modules::Module>, VmError> {
        let mut names = MODULES.to_vec();
        for job in self.jobs {
            match job.fs {
                FileSystem::Ext4 => names.push("ext4"),
                FileSystem::Xfs => names.push("xfs"),
                FileSystem::Devdax => {}
            }
        }
        Modules::find(&self.kernel.modules)?.take(&names, &OPTIONAL_MODULES)
    }

    fn add_programs<W: Write>(&self, archive: &mut Archive<W>, to: &Path) -> Result<(), VmError> {
        for (path, host) in self.files {
            let content = fs::read(host).map_err(VmError::file("read", host))?;
            archive.file(path, &content, true).map_err(VmError::file("written", to))?;
        }
        Ok(())
    }

    /// What the first process reads.
    fn add_orders<W: Write>(&self, archive: &mut Archive<W>, modules: &str) -> io::Result<()> {
        archive.file("/init", INIT.as_bytes(), true)?;
        for folder in ["/proc", "/sys", "/dev", "/run", "/out", "/mnt/pmem", "/etc"] {
            archive.folder(folder)?;
        }
        let events = recording::needed().into_iter().chain(recording::wanted());
        let events: String = events.map(|(system, event)| format!("{system}/{event}\n")).collect();
        let jobs: String = self.jobs.iter().enumerate().map(|(n, job)| job.order(n)).collect();
        let orders = [
            ("modules.order", modules.to_owned()),
            ("library-path", self.library_path()),
            ("namespaces", namespaces(self.jobs)),
            ("probes", recording::probes(&self.kernel.release).map(|probe| format!("{probe}\n")).collect()),
            ("events", events),
            ("passes", self.passes()),
            ("mkfs-ext4", format!("{}\n", self.mkfs.unwrap_or(MKFS_EXT4))),
            ("mkfs-xfs", format!("{}\n", self.mkfs.unwrap_or(MKFS_XFS))),
            ("buffer-kib", format!("{}\n", self.buffer_kib)),
            ("job-seconds", format!("{}\n", self.job_seconds)),
            ("jobs", jobs),
        ];
        for (name, text) in orders {
            archive.file(&format!("/daxsim/{name}"), text.as_bytes(), false)?;
        }
        for (n, job) in self.jobs.iter().enumerate() {
            match &job.work {
                Work::Script(text) => archive.file(&format!("/daxsim/{n}/script.txt"), text, false)?,
                Work::Command(words) => {
                    let line = crate::job::shell_line(words);
                    archive.file(&format!("/daxsim/{n}/command"), &line, false)?;
                }
            }
        }
        archive.file("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", false)?;
        archive.file("/etc/mtab", b"", false)
    }

    /// How often each job is done; 0 if the kernel traces it.
    fn passes(&self) -> String {
        match self.watch {
            Watch::Traced => "0\n".into(),
            Watch::Marked { passes } => format!("{passes}\n"),
        }
    }

    /// The folders of all libraries.
    fn library_path(&self) -> String {
        let is_library = |path: &&String| path.contains(".so");
        let folders = self.files.keys().filter(is_library).filter_map(|path| Path::new(path).parent());
        let folders: BTreeSet<String> = folders.map(|folder| folder.display().to_string()).collect();
        folders.into_iter().collect::<Vec<_>>().join(":")
    }
}

/// Which DIMM becomes what: the first is for ext4, the second for xfs, the third a device.
fn namespaces(jobs: &[Job]) -> String {
    let of = |fs| jobs.iter().any(|job| job.fs == fs);
    let mut text = String::new();
    for (fs, line) in [
        (FileSystem::Ext4, "0 --mode=fsdax --map=mem\n"),
        (FileSystem::Xfs, "1 --mode=fsdax --map=mem\n"),
        (FileSystem::Devdax, "2 --mode=devdax\n"),
    ] {
        if of(fs) {
            text.push_str(line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dimms_of_the_jobs_are_set_up() {
        let job = |fs| Job { fs, name: "x".into(), work: Work::Command(Vec::new()) };
        assert_eq!(namespaces(&[job(FileSystem::Xfs), job(FileSystem::Xfs)]), "1 --mode=fsdax --map=mem\n");
        assert_eq!(
            namespaces(&[job(FileSystem::Devdax), job(FileSystem::Ext4)]),
            "0 --mode=fsdax --map=mem\n2 --mode=devdax\n"
        );
    }
}
