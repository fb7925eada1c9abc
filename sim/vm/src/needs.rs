//! What a recording needs of the host.

use std::path::PathBuf;

use daxsim_types::FileSystem;

use crate::programs;

/// A program of the host.
struct Need {
    program: &'static str,
    package: &'static str,
}

/// QEMU, which runs on the host.
const QEMU: Need = Need { program: "qemu-system-x86_64", package: "qemu-system-x86" };
/// What every guest gets.
const ALWAYS: [Need; 2] =
    [Need { program: "busybox", package: "busybox-static" }, Need { program: "ndctl", package: "ndctl" }];

/// The program that makes a file system.
fn maker(fs: FileSystem) -> Option<Need> {
    match fs {
        FileSystem::Ext4 => Some(Need { program: "mkfs.ext4", package: "e2fsprogs" }),
        FileSystem::Xfs => Some(Need { program: "mkfs.xfs", package: "xfsprogs" }),
        FileSystem::Devdax => None,
    }
}

/// The programs found.
#[derive(Clone, Debug)]
pub struct Programs {
    /// QEMU.
    pub qemu: PathBuf,
    /// Those for the guest: their paths there and here.
    pub guest: Vec<(String, PathBuf)>,
}

/// Looks for all programs that guests with these file systems need.
///
/// # Errors
///
/// A line for each program that is missing, with the package that has it.
pub fn look(file_systems: &[FileSystem]) -> Result<Programs, Vec<String>> {
    let mut missing = Vec::new();
    let mut find = |need: &Need| {
        let found = programs::find(need.program.as_ref());
        if found.is_none() {
            missing.push(format!("no {}: apt-get install {}", need.program, need.package));
        }
        found
    };
    let qemu = find(&QEMU);
    let mut guest = Vec::new();
    let needs = ALWAYS.into_iter().chain(file_systems.iter().filter_map(|&fs| maker(fs)));
    for need in needs {
        let folder = if need.program == "busybox" { "/bin" } else { "/usr/sbin" };
        guest.extend(find(&need).map(|file| (format!("{folder}/{}", need.program), file)));
    }
    // It only adds where the blocks of files are.
    guest.extend(programs::find("filefrag".as_ref()).map(|file| ("/usr/sbin/filefrag".to_owned(), file)));
    match qemu {
        Some(qemu) if missing.is_empty() => Ok(Programs { qemu, guest }),
        _ => Err(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_its_package_and_each_once() {
        match look(&[FileSystem::Xfs, FileSystem::Ext4]) {
            Ok(found) => {
                assert!(found.qemu.is_file());
                for program in
                    ["/bin/busybox", "/usr/sbin/ndctl", "/usr/sbin/mkfs.xfs", "/usr/sbin/mkfs.ext4"]
                {
                    assert!(
                        found.guest.iter().any(|(path, file)| path == program && file.is_file()),
                        "{program}"
                    );
                }
            }
            Err(missing) => {
                assert!(missing.iter().all(|line| line.contains("apt-get install ")), "{missing:?}")
            }
        }
        assert!(maker(FileSystem::Devdax).is_none());
    }
}
