//! `daxsim vm record`: scripts or a command on a real kernel in a virtual machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_reports::units::{count, counted};
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;
use daxsim_vm::{Accel, Job, Limits, Plan, Recorded, Source, Work};

use super::args::{GuestArgs, VmRecordArgs, With};
use crate::import_args::ImportArgs;
use crate::record::Asked;
use crate::{Status, import, inputs, output};

/// Runs `daxsim vm record`.
pub fn run(args: &VmRecordArgs) -> Result<Status> {
    let plan = plan(args)?;
    let asked = Asked::listen().context("signals cannot be waited for")?;
    let mut said = |text: &str| output::note(&format!("daxsim: {text}"));
    let recorded = daxsim_vm::record(&plan, &mut said, &|| asked.take().is_some())?;
    let mut status = Status::Done;
    for run in &recorded {
        keep_as_dxt(run)?;
        output::print(&summary(run))?;
        if run.lost > 0 || run.status != 0 {
            status = Status::CheckFailed;
        }
    }
    Ok(status)
}

/// What is to be done.
fn plan(args: &VmRecordArgs) -> Result<Plan> {
    let jobs = jobs(args)?;
    let has_script = jobs.iter().any(|job| matches!(job.work, Work::Script(_)));
    let guest = &args.guest;
    Ok(Plan {
        kernel: source(guest)?,
        player: if has_script { Some(player(args)?) } else { None },
        jobs,
        files: args.files.iter().map(|file| guest_file(file)).collect::<Result<_>>()?,
        cpus: guest.cpus,
        memory_mib: guest.memory,
        buffer_kib: args.buffer,
        accel: match guest.accel {
            With::Tcg => Accel::Tcg,
            With::Kvm => Accel::Kvm,
        },
        qemu_args: guest.qemu_args.clone(),
        limits: Limits {
            boot: Duration::from_secs(guest.boot_timeout),
            work: Duration::from_secs(guest.timeout),
        },
        out: args.out.clone(),
    })
}

/// Where the kernel comes from.
pub(super) fn source(guest: &GuestArgs) -> Result<Source> {
    let cache = match (&guest.cache, std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _, _) => cache.clone(),
        (None, Some(base), _) if !base.is_empty() => Path::new(&base).join("daxsim"),
        (None, _, Some(home)) => Path::new(&home).join(".cache/daxsim"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: say --cache DIR"),
    };
    let (names, modules, suite) = (guest.kernel.clone(), guest.modules.clone(), guest.suite.clone());
    Ok(Source { names, modules, suite, cache })
}

fn jobs(args: &VmRecordArgs) -> Result<Vec<Job>> {
    if let Some(command) = args.command.first() {
        let default = Path::new(command).file_name().unwrap_or(command).to_string_lossy().into_owned();
        let name = args.name.clone().unwrap_or(default);
        let fs = args.fs.unwrap_or(FileSystem::Ext4);
        return Ok(vec![Job { fs, name, work: Work::Command(args.command.clone()) }]);
    }
    let jobs: Vec<Job> = args.scripts.iter().map(|path| script_job(args, path)).collect::<Result<_>>()?;
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
fn script_job(args: &VmRecordArgs, path: &Path) -> Result<Job> {
    let script = Script::open(path)?;
    let cpus = args.guest.cpus;
    if let Some(thread) = script.threads.iter().find(|thread| thread.cpu >= cpus) {
        bail!(
            "{}: a thread runs on CPU {}, and the guest has {cpus}: say --cpus",
            path.display(),
            thread.cpu
        );
    }
    let absolute = path.canonicalize().with_context(|| format!("{}: cannot be opened", path.display()))?;
    let fs = args.fs.or(inputs::origin_by_path(&absolute).fs).unwrap_or(FileSystem::Ext4);
    let text = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(Job { fs, name: scenario_name(&absolute), work: Work::Script(text) })
}

/// `s01` for `s01/script.txt` and for `s01.txt`.
fn scenario_name(path: &Path) -> String {
    let text = |name: Option<&OsStr>| name.unwrap_or(OsStr::new("script")).to_string_lossy().into_owned();
    match path.file_name() {
        Some(name) if name == "script.txt" => text(path.parent().and_then(Path::file_name)),
        _ => text(path.file_stem()),
    }
}

/// The player: where it was said to be, or beside this program.
fn player(args: &VmRecordArgs) -> Result<PathBuf> {
    if let Some(player) = &args.player {
        return Ok(player.clone());
    }
    let own = std::env::current_exe().context("the folder of this program cannot be told")?;
    let beside = own.with_file_name("daxplay");
    if !beside.is_file() {
        bail!(
            "nothing is started, for what is missing:\n  no {}, the player of scripts: cargo build --release -p daxsim-player; \
             or say --player FILE",
            beside.display()
        );
    }
    Ok(beside)
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

/// Makes the .dxt beside the trace.
fn keep_as_dxt(run: &Recorded) -> Result<()> {
    let output = run.folder.join("trace.dxt");
    import::run(&ImportArgs { input: run.trace.clone(), output, fetches: false, quiet: true })?;
    Ok(())
}

fn summary(run: &Recorded) -> String {
    let mut text = format!(
        "{}: {} events, {}, {}\n",
        run.folder.display(),
        count(run.events),
        counted(run.faults as u64, "fault", "faults"),
        if run.lost == 0 {
            "none lost".to_owned()
        } else {
            format!("{} LOST: enlarge --buffer", count(run.lost))
        },
    );
    for missed in &run.missed {
        text.push_str(&format!("  hits that a probe missed: {missed}\n"));
    }
    if run.status != 0 {
        text.push_str(&format!("  failed with status {}:\n", run.status));
        for line in run.complaint.lines().take(10) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
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
    fn files_have_a_path_in_the_guest() {
        let pair = guest_file("/etc/x=/etc/passwd".as_ref()).unwrap();
        assert_eq!(pair, ("/etc/x".into(), "/etc/passwd".into()));
        assert_eq!(guest_file("/etc/passwd".as_ref()).unwrap().0, "/etc/passwd");
        assert!(guest_file("no-such-file".as_ref()).is_err());
    }
}
