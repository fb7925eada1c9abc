//! Packages by name, through apt: nothing is installed, and nothing of the host's own lists is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::VmError;

/// Where Debian's packages are, if a suite is asked for that the host's lists do not have.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Most lines of a program's output that an error shows.
const TAIL: usize = 12;

/// Gets a package into a folder, if it is not there yet; its file.
///
/// # Errors
///
/// [`VmError::Program`] if apt cannot: no such package, no network, no apt.
pub fn download(name: &str, suite: Option<&str>, folder: &Path, cache: &Path) -> Result<PathBuf, VmError> {
    fs::create_dir_all(folder).map_err(VmError::file("made", folder))?;
    if let Some(file) = package_file(folder, name) {
        return Ok(file);
    }
    let options = match suite {
        Some(suite) => own_lists(suite, cache)?,
        None => Vec::new(),
    };
    run(Command::new("apt-get").args(&options).arg("download").arg(name).current_dir(folder))?;
    package_file(folder, name)
        .ok_or_else(|| VmError::form(folder, format!("no file {name}_*.deb after the download"), "it"))
}

/// Lists of packages of a suite alone, under the cache; the options that make apt use them.
fn own_lists(suite: &str, cache: &Path) -> Result<Vec<String>, VmError> {
    let state = cache.join("apt").join(suite);
    for folder in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(state.join(folder)).map_err(VmError::file("made", &state))?;
    }
    let sources = state.join("sources.list");
    fs::write(&sources, format!("deb {MIRROR} {suite} main\n"))
        .map_err(VmError::file("written", &sources))?;
    let status = state.join("status");
    fs::write(&status, "").map_err(VmError::file("written", &status))?;
    let of = |name: &str, path: PathBuf| format!("-o{name}={}", path.display());
    let options = vec![
        of("Dir::State", state.clone()),
        of("Dir::State::status", status),
        of("Dir::State::lists", state.join("lists")),
        of("Dir::Cache", state.clone()),
        of("Dir::Etc::sourcelist", sources),
        "-oDir::Etc::sourceparts=-".to_owned(),
        "-oDebug::NoLocking=1".to_owned(),
    ];
    run(Command::new("apt-get").args(&options).arg("update"))?;
    Ok(options)
}

/// The newest file of a package in a folder.
fn package_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let prefix = format!("{name}_");
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file.starts_with(&prefix) && file.ends_with(".deb")
    };
    files.filter(is_it).max()
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), VmError> {
    let program = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let program = program();
    let output = command.env("LC_ALL", "C").output();
    let output = output.map_err(|source| VmError::File { what: "run", path: "apt-get".into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
    Err(VmError::Program { program, status: output.status.to_string(), output: tail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_there_is_not_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "linux-image-6.12_1_amd64.deb",
            "linux-image-6.12_2_amd64.deb",
            "linux-image-6.12-dbg_3_amd64.deb",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = download("linux-image-6.12", None, dir.path(), dir.path()).unwrap();
        assert_eq!(found, dir.path().join("linux-image-6.12_2_amd64.deb"));
    }

    #[test]
    fn a_program_that_fails_shows_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("why") && error.contains("3"), "{error}");
    }
}
