//! Programs of the host, and what they need to run in the guest.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::VmError;
use crate::elf;

/// Where programs are that not every PATH has.
const MORE_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// Where Debian's loader looks for libraries, in this order.
const LIBRARIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// The file of a program, as execvp(3) finds it, and in the folders of the administrator's.
#[must_use]
pub fn find(name: &OsStr) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(std::env::split_paths(MORE_PATH));
    folders.map(|folder| folder.join(path)).find(|file| file.is_file())
}

/// Files for the guest: their paths there, and where they are now.
pub type Files = BTreeMap<String, PathBuf>;

/// Adds a program under a path of the guest, with its interpreter and its libraries.
///
/// # Errors
///
/// [`VmError`] if a file cannot be read, or a library is not found.
pub fn add(files: &mut Files, guest_path: &str, program: &Path) -> Result<(), VmError> {
    files.insert(guest_path.to_owned(), program.to_owned());
    let data = fs::read(program).map_err(VmError::file("read", program))?;
    if let Some(interpreter) = script_interpreter(&data) {
        let host = find(OsStr::new(&interpreter));
        let host = host.ok_or_else(|| {
            VmError::form(program, format!("the interpreter {interpreter}"), "one that there is")
        })?;
        return add(files, &interpreter, &host);
    }
    if !elf::is_elf(&data) {
        return Err(VmError::form(program, "neither an ELF file nor a script with #!", "a program"));
    }
    let linkage =
        elf::linkage(&data).map_err(|why| VmError::form(program, why, "an ELF file of this machine"))?;
    if let Some(loader) = &linkage.interpreter {
        files.insert(loader.clone(), PathBuf::from(loader));
    }
    for name in &linkage.libraries {
        let library = library(name, &linkage.folders, program)?;
        let guest_path = library.display().to_string();
        if !files.contains_key(&guest_path) {
            add(files, &guest_path, &library)?;
        }
    }
    Ok(())
}

/// Where a library is.
fn library(name: &str, folders: &[String], of: &Path) -> Result<PathBuf, VmError> {
    let origin = of.parent().unwrap_or(Path::new("/")).display().to_string();
    let own = folders.iter().map(|folder| PathBuf::from(folder.replace("$ORIGIN", &origin)));
    let mut all = own.chain(LIBRARIES.iter().map(PathBuf::from));
    let found = all.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    found.ok_or_else(|| VmError::form(of, format!("the library {name} named in it"), "one that is installed"))
}

/// The program in the first line of a script.
fn script_interpreter(data: &[u8]) -> Option<String> {
    let line = data.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_ascii_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let mut files = Files::new();
        let own = std::env::current_exe().unwrap();
        add(&mut files, "/usr/bin/it", &own).unwrap();
        assert_eq!(files["/usr/bin/it"], own);
        assert!(files.keys().any(|path| path.contains("libc.so")), "{files:?}");
        assert!(files.keys().any(|path| path.contains("/ld-")), "{files:?}");
        assert!(files.values().all(|file| file.is_file()));
    }

    #[test]
    fn a_script_comes_with_its_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("s");
        fs::write(&script, "#!/bin/sh -e\necho\n").unwrap();
        let mut files = Files::new();
        add(&mut files, "/s", &script).unwrap();
        assert!(files.contains_key("/bin/sh"), "{files:?}");
        fs::write(&script, "no program").unwrap();
        assert!(add(&mut files, "/s", &script).unwrap_err().to_string().contains("expected a program"));
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(find("sh".as_ref()).is_some());
        assert!(find("/bin/sh".as_ref()).is_some());
        assert!(find("no-such-program-at-all".as_ref()).is_none());
    }
}
