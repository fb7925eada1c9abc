//! What an input is, and what its surroundings and contents say of kernel and file system.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use daxsim_reports::model;
use daxsim_traces::ftrace::{self, Event, Probe, Record};
use daxsim_traces::script::{Script, Section, SectionKind};
use daxsim_traces::{InputKind, drmemtrace};
use daxsim_types::FileSystem;
use sha2::{Digest, Sha256};

/// Records looked at to tell kernel and file system of a trace.
const LOOK_AHEAD: usize = 200_000;

/// Kernel and file system as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the builtin kernel.
    pub kernel: Option<String>,
    /// File system.
    pub fs: Option<FileSystem>,
}

/// What kind of input a file is.
pub fn kind(path: &Path) -> Result<InputKind> {
    // An input is read more than once: for what it is, for its origin, for its events and for its hash.
    if let Ok(file) = std::fs::metadata(path)
        && !file.is_file()
        && !file.is_dir()
    {
        bail!(
            "{}: a pipe or device: expected a file, plain or compressed; save the input to one",
            path.display()
        );
    }
    if path.is_dir() {
        // Only the traces of threads come in folders; whether they are there is looked at.
        drmemtrace::files(path)?;
        return Ok(InputKind::DrMemTrace);
    }
    Ok(daxsim_traces::open(path)?.sniff()?)
}

/// Whether an input is a script whose threads run freely somewhere.
pub fn races(path: &Path) -> Result<bool> {
    if kind(path)? != InputKind::Script {
        return Ok(false);
    }
    let script = Script::open(path)?;
    let races = |section: &Section| {
        let first = section.lines.first().map(|line| line.thread);
        section.kind == SectionKind::Par && section.lines.iter().any(|line| Some(line.thread) != first)
    };
    Ok(script.sections.iter().any(races))
}

/// Kernel and file system from a folder laid out as `kernel-<version>/<fs>/<scenario>/file`.
pub fn origin_by_path(path: &Path) -> Origin {
    let folder = |n: usize| path.ancestors().nth(n).and_then(Path::file_name).and_then(|n| n.to_str());
    let (Some(fs), Some(version)) = (folder(2), folder(3).and_then(|k| k.strip_prefix("kernel-"))) else {
        return Origin::default();
    };
    Origin { kernel: Some(format!("linux-{version}")), fs: fs.parse().ok() }
}

/// Kernel and file system as far as the contents of an input tell them: of a script or of accesses, nothing.
pub fn origin(path: &Path, kind: InputKind) -> Result<Origin> {
    if kind.is_events() { origin_by_content(path) } else { Ok(Origin::default()) }
}

/// Kernel and file system from the functions that the trace's probes name.
fn origin_by_content(path: &Path) -> Result<Origin> {
    let mut reader = ftrace::open(path)?;
    let mut record = Record::default();
    let mut origin = Origin::default();
    for _ in 0..LOOK_AHEAD {
        match reader.next_record(&mut record) {
            Ok(true) => {}
            // Damage shows again, and is reported, when the trace is replayed.
            Ok(false) => break,
            Err(error) if error.is_damage() => break,
            Err(error) => return Err(error.into()),
        }
        origin.note(&record.event);
        if origin.kernel.is_some() && origin.fs.is_some() {
            break;
        }
    }
    origin.note_release(reader.release())?;
    Ok(origin)
}

impl Origin {
    /// Learns from an event.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Probe(probe) if self.kernel.is_none() => {
                self.kernel = kernel_of(probe).map(str::to_owned);
            }
            Event::KprobeOther { name } if self.fs.is_none() => {
                let name = name.to_string();
                let fs = [
                    ("ext4_", FileSystem::Ext4),
                    ("xfs_", FileSystem::Xfs),
                    ("dev_dax_", FileSystem::Devdax),
                ];
                self.fs = fs.iter().find(|(p, _)| name.starts_with(p)).map(|(_, fs)| *fs);
            }
            _ => {}
        }
    }

    /// Learns from the release that a file names, if no event told.
    pub fn note_release(&mut self, release: Option<&str>) -> Result<()> {
        if let (None, Some(release)) = (&self.kernel, release) {
            self.kernel = kernel_of_release(release)?;
        }
        Ok(())
    }
}

/// The builtin kernel of a release such as `7.2.12+deb13-amd64`.
fn kernel_of_release(release: &str) -> Result<Option<String>> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Ok(None) };
    let name = format!("linux-{major}.{minor}");
    let is_builtin = daxsim_configs::builtin_kernels()?.iter().any(|kernel| kernel.name == name);
    Ok(is_builtin.then_some(name))
}

/// The insert helpers have other names before and after the series.
fn kernel_of(probe: &Probe) -> Option<&'static str> {
    match probe {
        Probe::InsertPfnRet { .. } | Probe::VmfInsertMixedRet { .. } | Probe::VmfInsertPfnPmd { .. } => {
            Some("linux-6.12")
        }
        Probe::InsertPageIntoPteLocked { .. }
        | Probe::VmfInsertPageMkwriteRet { .. }
        | Probe::VmfInsertFolioPmd { .. } => Some("linux-7.2"),
        _ => None,
    }
}

/// Provenance of a file, or of the files of a folder: name as typed, size and hash of the bytes on disk.
pub fn provenance(path: &Path, kind: &str) -> Result<model::Input> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    for file in drmemtrace::files(path)? {
        let context = || format!("{}: cannot be read", file.display());
        let mut file = File::open(&file).with_context(context)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer).with_context(context)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            hash.update(&buffer[..read]);
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.display().to_string();
    Ok(model::Input { name, kind: kind.to_owned(), sha256, bytes, lines: None, events: None })
}

/// A name for the input's results: its last folders and its stem.
pub fn result_name(path: &Path) -> String {
    let parts: Vec<String> = path
        .components()
        .filter_map(|c| match c {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    let mut name: Vec<String> = parts.iter().rev().take(4).rev().cloned().collect();
    if let Some(last) = name.last_mut() {
        *last = last.split('.').find(|part| !part.is_empty()).unwrap_or("input").to_owned();
    }
    name.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_kernel_and_file_system() {
        let origin = origin_by_path(Path::new("recorded/kernel-6.12/xfs/s01/script.txt"));
        assert_eq!(origin, Origin { kernel: Some("linux-6.12".into()), fs: Some(FileSystem::Xfs) });
        assert_eq!(origin_by_path(Path::new("script.txt")), Origin::default());
    }

    #[test]
    fn a_release_tells_the_kernel_that_it_is_of() {
        assert_eq!(kernel_of_release("7.2.12+deb13-amd64").unwrap().as_deref(), Some("linux-7.2"));
        for other in ["5.4.0-99-generic", "", "next"] {
            assert_eq!(kernel_of_release(other).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn results_are_named_after_the_last_folders() {
        assert_eq!(
            result_name(Path::new("/a/kernel-7.2/ext4/s01/trace.txt.xz")),
            "kernel-7.2.ext4.s01.trace"
        );
        assert_eq!(result_name(Path::new("trace.txt")), "trace");
        assert_eq!(result_name(Path::new("a/.trace.txt")), "a.trace");
    }
}
