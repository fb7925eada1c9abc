//! What a guest is given to do, as typed, and the plan that becomes of it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;
use daxsim_vm::{Accel, Job, Limits, Plan, Source, Watch, Work};

use super::args::{GuestArgs, With};
use crate::{inputs, output};

/// Scripts or a command.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Workload scripts, each run on a fresh file system, all in one guest
    #[arg(required_unless_present = "command", conflicts_with = "command", value_name = "SCRIPT")]
    pub scripts: Vec<PathBuf>,
    /// The guest.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// File system: ext4, xfs or devdax [default: what a script's folder says, KERNEL/FS/NAME/script.txt, else ext4]
    #[arg(long, value_name = "FS")]
    pub fs: Option<FileSystem>,
    /// Options of mkfs.ext4 or mkfs.xfs in place of ours, which keep blocks in pieces of 2 MiB
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub mkfs: Option<String>,
    /// Name of a command's recording [default: the command's]
    #[arg(long, value_name = "NAME", requires = "command")]
    pub name: Option<String>,
    /// Another file for the guest, there under its path here or, with `=`, another one; programs come with their libraries (repeatable)
    #[arg(long = "file", value_name = "[GUEST=]FILE")]
    pub files: Vec<OsString>,
    /// The player of scripts [default: daxplay beside this program]
    #[arg(long, value_name = "FILE")]
    pub player: Option<PathBuf>,
    /// A command and its arguments, run in the root of the file system
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl WorkArgs {
    /// What is to be done. `buffer_kib` is the size of the trace's buffers, `out` where recordings go.
    pub fn plan(&self, watch: Watch, buffer_kib: u64, out: &Path) -> Result<Plan> {
        let jobs = self.jobs()?;
        let has_script = jobs.iter().any(|job| matches!(job.work, Work::Script(_)));
        let guest = &self.guest;
        Ok(Plan {
            watch,
            mkfs: self.mkfs.clone(),
            kernel: source(guest)?,
            player: if has_script { Some(self.player()?) } else { None },
            jobs,
            files: self.files.iter().map(|file| guest_file(file)).collect::<Result<_>>()?,
            cpus: guest.cpus,
            memory_mib: guest.memory,
            buffer_kib,
            accel: match guest.accel {
                With::Tcg => Accel::Tcg,
                With::Kvm => Accel::Kvm,
            },
            qemu_args: guest.qemu_args.clone(),
            limits: Limits {
                boot: Duration::from_secs(guest.boot_timeout),
                work: Duration::from_secs(guest.timeout),
            },
            out: out.to_owned(),
        })
    }

    /// Says which files the guest will not have.
    pub fn say_forgotten(&self) {
        for path in self.forgotten() {
            let path = path.display();
            output::note(&format!("daxsim: note {path} is a file here, and not in the guest: --file {path}"));
        }
    }

    /// Arguments of the command that are files here, and that the guest is not given: most likely they were forgotten.
    fn forgotten(&self) -> Vec<&Path> {
        let given: Vec<PathBuf> = self
            .files
            .iter()
            .filter_map(|file| guest_file(file).ok())
            .map(|(guest, _)| guest.into())
            .collect();
        let words = self.command.iter().skip(1).map(Path::new);
        words.filter(|path| path.is_file() && !given.iter().any(|there| there == path)).collect()
    }

    fn jobs(&self) -> Result<Vec<Job>> {
        if let Some(command) = self.command.first() {
            let default = Path::new(command).file_name().unwrap_or(command).to_string_lossy().into_owned();
            let name = self.name.clone().unwrap_or(default);
            let fs = self.fs.unwrap_or(FileSystem::Ext4);
            return Ok(vec![Job { fs, name, work: Work::Command(self.command.clone()) }]);
        }
        let jobs: Vec<Job> = self.scripts.iter().map(|path| self.script_job(path)).collect::<Result<_>>()?;
        for (n, job) in jobs.iter().enumerate() {
            if jobs.iter().take(n).any(|other| (other.fs, &other.name) == (job.fs, &job.name)) {
                bail!(
                    "two scripts are called {} on {}: their recordings would have one folder",
                    job.name,
                    job.fs
                );
            }
        }
        Ok(jobs)
    }

    /// A script as a job: it is read, and its CPUs are there.
    fn script_job(&self, path: &Path) -> Result<Job> {
        let script = Script::open(path)?;
        let cpus = self.guest.cpus;
        if let Some(thread) = script.threads.iter().find(|thread| thread.cpu >= cpus) {
            bail!(
                "{}: a thread runs on CPU {}, and the guest has {cpus}: say --cpus",
                path.display(),
                thread.cpu
            );
        }
        let absolute =
            path.canonicalize().with_context(|| format!("{}: cannot be opened", path.display()))?;
        let fs = self.fs.or(inputs::origin_by_path(&absolute).fs).unwrap_or(FileSystem::Ext4);
        let text = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Ok(Job { fs, name: scenario_name(&absolute), work: Work::Script(text) })
    }

    /// The player: where it was said to be, or beside this program.
    fn player(&self) -> Result<PathBuf> {
        if let Some(player) = &self.player {
            return Ok(player.clone());
        }
        let own = std::env::current_exe().context("the folder of this program cannot be told")?;
        Ok(own.with_file_name("daxplay"))
    }
}

/// Where the kernel comes from.
fn source(guest: &GuestArgs) -> Result<Source> {
    let cache = match (&guest.cache, std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _, _) => cache.clone(),
        (None, Some(base), _) if !base.is_empty() => Path::new(&base).join("daxsim"),
        (None, _, Some(home)) => Path::new(&home).join(".cache/daxsim"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: say --cache DIR"),
    };
    let (names, modules, suite) = (guest.kernel.clone(), guest.modules.clone(), guest.suite.clone());
    Ok(Source { names, modules, suite, cache })
}

/// `s01` for `s01/script.txt` and for `s01.txt`.
fn scenario_name(path: &Path) -> String {
    let text = |name: Option<&OsStr>| name.unwrap_or(OsStr::new("script")).to_string_lossy().into_owned();
    match path.file_name() {
        Some(name) if name == "script.txt" => text(path.parent().and_then(Path::file_name)),
        _ => text(path.file_stem()),
    }
}

/// `FILE`, or `GUEST=FILE`.
fn guest_file(text: &OsStr) -> Result<(String, PathBuf)> {
    let text = text.to_string_lossy();
    let (guest, here) = text.split_once('=').unwrap_or((&text, &text));
    let here = PathBuf::from(here);
    let guest = if guest.starts_with('/') {
        guest.to_owned()
    } else {
        let absolute =
            here.canonicalize().with_context(|| format!("{}: cannot be opened", here.display()))?;
        absolute.display().to_string()
    };
    Ok((guest, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_named_by_folder_or_file() {
        assert_eq!(scenario_name(Path::new("/a/s01/script.txt")), "s01");
        assert_eq!(scenario_name(Path::new("/a/my.txt")), "my");
    }

    #[test]
    fn arguments_that_are_files_here_and_not_there_are_told() {
        use clap::Parser;

        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            work: WorkArgs,
        }
        let forgotten = |words: &str| {
            let line = Line::parse_from(format!("x --kernel k {words}").split(' '));
            line.work.forgotten().into_iter().map(Path::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(forgotten("-- cat /etc/passwd new.db"), [Path::new("/etc/passwd")]);
        assert!(forgotten("--file /etc/passwd -- cat /etc/passwd").is_empty());
        assert!(forgotten("--file /etc/passwd=/etc/group -- cat /etc/passwd").is_empty());
    }

    #[test]
    fn files_have_a_path_in_the_guest() {
        let pair = guest_file("/etc/x=/etc/passwd".as_ref()).unwrap();
        assert_eq!(pair, ("/etc/x".into(), "/etc/passwd".into()));
        assert_eq!(guest_file("/etc/passwd".as_ref()).unwrap().0, "/etc/passwd");
        assert!(guest_file("no-such-file".as_ref()).is_err());
    }
}
