//! All files that a guest needs of the host, or all that is missing.

use std::path::{Path, PathBuf};

use crate::programs::{self, Files};
use crate::{Accel, Plan, VmError, Work, elf, needs};

/// The host's virtualisation.
const KVM: &str = "/dev/kvm";

/// What was found, and what was not.
#[derive(Default)]
struct Found {
    files: Files,
    missing: Vec<String>,
}

impl Found {
    /// A program, with its libraries.
    fn program(&mut self, path: &str, program: &Path) {
        if let Err(error) = programs::add(&mut self.files, path, program) {
            self.missing.push(error.to_string());
        }
    }

    /// The program of a command. One without a path is found in the guest as it is here.
    fn command(&mut self, name: &str) {
        let Some(program) = programs::find(name.as_ref()) else {
            self.missing.push(format!("no command {name}: there is no such file"));
            return;
        };
        let path = if name.starts_with('/') { name.to_owned() } else { format!("/usr/local/bin/{name}") };
        if name.contains('/') && !name.starts_with('/') {
            self.missing.push(format!("{name}: the guest has other folders: say the command's whole path"));
        } else {
            self.program(&path, &program);
        }
    }

    /// Any file; one that is a program comes with its libraries.
    fn file(&mut self, path: &str, file: &Path) {
        match std::fs::read(file) {
            Ok(data) if elf::is_elf(&data) => self.program(path, file),
            Ok(_) => _ = self.files.insert(path.to_owned(), file.to_owned()),
            Err(error) => self.missing.push(format!("{}: cannot be read: {error}", file.display())),
        }
    }
}

/// Looks for all that a plan needs: QEMU, and the guest's files. Nothing is started.
///
/// # Errors
///
/// [`VmError::Missing`] with all that is missing.
pub fn gather(plan: &Plan) -> Result<(PathBuf, Files), VmError> {
    let mut found = Found::default();
    let file_systems: Vec<_> = plan.jobs.iter().map(|job| job.fs).collect();
    let qemu = match needs::look(&file_systems) {
        Ok(programs) => {
            programs.guest.iter().for_each(|(path, program)| found.program(path, program));
            programs.qemu
        }
        Err(lines) => {
            found.missing.extend(lines);
            PathBuf::new()
        }
    };
    match &plan.player {
        Some(player) if player.is_file() => found.program("/usr/bin/daxplay", player),
        Some(player) => found.missing.push(format!(
            "no {}, the player of scripts: cargo build --release -p daxsim-player makes it",
            player.display()
        )),
        None => {}
    }
    if plan.accel == Accel::Kvm && !Path::new(KVM).exists() {
        found.missing.push(format!(
            "no {KVM}: this host does not virtualise, or its module is not loaded: without --accel kvm any host does"
        ));
    }
    found.missing.extend(plan.kernel.missing());
    for job in &plan.jobs {
        if let Work::Command(words) = &job.work
            && let Some(name) = words.first()
        {
            found.command(&name.to_string_lossy());
        }
    }
    for (path, file) in &plan.files {
        found.file(path, file);
    }
    found.missing.sort();
    found.missing.dedup();
    if found.missing.is_empty() { Ok((qemu, found.files)) } else { Err(VmError::Missing(found.missing)) }
}
