//! What a recording needs of the machine.

use std::fs;
use std::path::Path;

use daxsim_traces::recording;

use super::tracefs::TraceFs;

/// Whether the machine has DAX: a file system mounted with it, or a device.
pub fn has_dax(root: &Path) -> bool {
    let mounts = fs::read_to_string(root.join("proc/mounts")).unwrap_or_default();
    mounts.lines().any(is_dax_mount) || has_device(&root.join("dev"))
}

/// Whether a line of /proc/mounts is of a file system with DAX.
fn is_dax_mount(line: &str) -> bool {
    let options = line.split_whitespace().nth(3).unwrap_or_default();
    options.split(',').any(|option| matches!(option, "dax" | "dax=always" | "dax=inode"))
}

/// Whether there is a device such as /dev/dax0.0.
fn has_device(dev: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dev) else { return false };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.into_iter().any(|name| {
        name.strip_prefix("dax").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The needed events that the kernel lacks, in words; the wanted ones that it lacks.
pub fn missing_events(tracefs: &TraceFs) -> (Option<String>, Vec<String>) {
    let lacks = |names: Vec<recording::Name>| -> Vec<String> {
        let lacking = names.into_iter().filter(|(system, event)| !tracefs.has(system, event));
        lacking.map(|(system, event)| format!("{system}:{event}")).collect()
    };
    let needed = lacks(recording::needed());
    let words = (!needed.is_empty()).then(|| {
        let hint = if needed.iter().any(|name| name.starts_with("fs_dax")) {
            "; is this kernel built with CONFIG_FS_DAX?"
        } else {
            ""
        };
        format!("no event {}: the kernel does not have it{hint}", needed.join(", "))
    });
    (words, lacks(recording::wanted()))
}

/// The file of a command, as execvp(3) finds it.
pub fn find_command(name: &std::ffi::OsStr) -> bool {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return path.is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_tell_of_dax() {
        for (options, dax) in [
            ("rw,relatime,dax=always", true),
            ("rw,dax", true),
            ("rw,dax=inode,x", true),
            ("rw,dax=never", false),
            ("rw,relatime", false),
            ("rw,nodax", false),
        ] {
            assert_eq!(is_dax_mount(&format!("/dev/pmem0 /mnt/pmem ext4 {options} 0 0")), dax, "{options}");
        }
        assert!(!is_dax_mount(""));
    }

    #[test]
    fn commands_are_found_as_the_shell_finds_them() {
        assert!(find_command("sh".as_ref()));
        assert!(find_command("/bin/sh".as_ref()));
        assert!(!find_command("no-such-command-at-all".as_ref()));
        assert!(!find_command("/bin".as_ref()));
    }
}
