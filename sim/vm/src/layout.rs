//! The folder of a recording, laid out as those of `traces/recorded`: `kernel-<version>/<fs>/<scenario>/`.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use daxsim_traces::derive::{self, Of, Tables};
use daxsim_traces::script::Script;
use daxsim_traces::{fault_table, ops_table};

use crate::VmError;
use crate::job::{Job, Work};
use crate::qemu::Accel;

/// Tables above this many bytes are compressed.
const PLAIN: usize = 16 << 10;
/// What the guest says of itself.
const OF_KERNEL: [&str; 8] =
    ["cmdline", "cpuinfo", "iomem", "kver", "ndctl.json", "probes.ok", "probes.fail", "events_enabled.txt"];
/// What it says of a run, as it stands.
const OF_RUN: [&str; 4] = ["oplog.txt", "filefrag_after.txt", "app.out", "play.log"];

/// A recording that is there.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its folder.
    pub folder: PathBuf,
    /// The trace in it.
    pub trace: PathBuf,
    /// The folder of the trace's kernel.
    pub kernel: String,
    /// Events in the trace.
    pub events: u64,
    /// Events that the kernel lost.
    pub lost: u64,
    /// Probes that the kernel missed, as `name count`.
    pub missed: Vec<String>,
    /// Faults: of the script's maps, or of the whole command.
    pub faults: usize,
    /// The exit status of the player or command.
    pub status: i32,
    /// What the player or command said, if it failed.
    pub complaint: String,
}

/// What all recordings of a guest share.
pub(crate) struct Guests<'a> {
    pub share: &'a Path,
    pub out: &'a Path,
    pub release: &'a str,
    pub accel: Accel,
    pub cpus: u16,
}

/// The name of a kernel's folder: `kernel-6.12` for `6.12.117+deb12-amd64`.
#[must_use]
pub fn kernel_folder(release: &str) -> String {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("kernel-{major}.{minor}")
}

impl Guests<'_> {
    /// What the guest says of itself.
    pub fn kernel(&self) -> Result<(), VmError> {
        let folder = self.out.join(kernel_folder(self.release));
        fs::create_dir_all(&folder).map_err(VmError::file("made", &folder))?;
        for name in OF_KERNEL {
            copy_if_any(&self.share.join(name), &folder.join(name))?;
        }
        Ok(())
    }

    /// One run.
    pub fn run(&self, number: usize, job: &Job) -> Result<Recorded, VmError> {
        let from = self.share.join(number.to_string());
        let kernel = kernel_folder(self.release);
        let parent = self.out.join(&kernel).join(job.fs.to_string());
        fs::create_dir_all(&parent).map_err(VmError::file("made", &parent))?;
        let new = tempfile::Builder::new().prefix(".new-").tempdir_in(&parent);
        let new = new.map_err(VmError::file("made", &parent))?;
        let recorded = self.write(&from, new.path(), job)?;
        let folder = parent.join(&job.name);
        replace(&folder, new)?;
        let trace = folder.join("trace.txt.xz");
        Ok(Recorded { folder, trace, kernel, ..recorded })
    }

    fn write(&self, from: &Path, to: &Path, job: &Job) -> Result<Recorded, VmError> {
        let text = from.join("trace.txt");
        let of = match &job.work {
            Work::Script(script) => {
                write(&to.join("script.txt"), script)?;
                Of::script(&Script::read(&script[..], Path::new(&job.name))?)
            }
            Work::Command(_) => Of::All,
        };
        let tables = derive::derive(daxsim_traces::open(&text)?, &of, &text)?;
        compress(&text, &to.join("trace.txt.xz"))?;
        let mut faults = Vec::new();
        let table = |result: io::Result<()>| result.map_err(VmError::file("written", to));
        table(fault_table::write(&mut faults, &tables.faults))?;
        write_table(&to.join("faults.tsv"), &faults)?;
        if matches!(job.work, Work::Script(_)) {
            let mut lines = Vec::new();
            table(ops_table::write(&mut lines, &tables.lines))?;
            write_table(&to.join("ops.tsv"), &lines)?;
        }
        for name in OF_RUN {
            copy_if_any(&from.join(name), &to.join(name))?;
        }
        let recorded = self.outcome(from, &tables)?;
        let meta = self.meta(from, job, &tables, &recorded);
        let mut meta = serde_json::to_vec_pretty(&meta).unwrap_or_default();
        meta.push(b'\n');
        write(&to.join("meta.json"), &meta)?;
        Ok(recorded)
    }

    fn outcome(&self, from: &Path, tables: &Tables) -> Result<Recorded, VmError> {
        let read = |name: &str| text(&from.join(name));
        let status = read("status").trim().parse().unwrap_or(-1);
        let complaint = if status == 0 { String::new() } else { read("play.log") + &read("app.out") };
        Ok(Recorded {
            folder: PathBuf::new(),
            trace: PathBuf::new(),
            kernel: String::new(),
            events: tables.stats.records,
            lost: lost(&read("stats")).iter().map(|(_, count)| count).sum(),
            missed: read("kprobe_misses").lines().map(str::to_owned).collect(),
            faults: tables.faults.len(),
            status,
            complaint,
        })
    }

    fn meta(&self, from: &Path, job: &Job, tables: &Tables, recorded: &Recorded) -> serde_json::Value {
        let read = |name: &str| text(&from.join(name)).trim().to_owned();
        let of_kernel = |name: &str| text(&self.share.join(name)).trim().to_owned();
        let lost: serde_json::Map<String, serde_json::Value> =
            lost(&read("stats")).into_iter().map(|(name, count)| (name, count.into())).collect();
        let command = match &job.work {
            Work::Script(_) => None,
            Work::Command(words) => {
                Some(words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
            }
        };
        let command: Option<Vec<String>> = command;
        serde_json::json!({
            "scenario": job.name,
            "kernel": of_kernel("kver"),
            "fs": job.fs.to_string(),
            "mount": read("mount"),
            "command": command,
            "cpus": self.cpus,
            "accel": match self.accel { Accel::Tcg => "qemu tcg,thread=multi", Accel::Kvm => "qemu kvm" },
            "clock": "mono (of the guest: order is evidence, durations are not)",
            "cmdline": of_kernel("cmdline"),
            "guest_uptime_at_start": read("uptime"),
            "recorded_by": concat!("daxsim vm record ", env!("CARGO_PKG_VERSION")),
            "events_recorded": tables.stats.records,
            "lost_events": lost,
            "lost_total": recorded.lost,
            "kprobe_misses": recorded.missed,
            "status": recorded.status,
            "dmesg": read("dmesg").lines().collect::<Vec<_>>(),
            "counts_per_event": tables.stats.by_event(),
        })
    }
}

/// What the kernel says of lost events, by CPU and kind.
fn lost(stats: &str) -> Vec<(String, u64)> {
    let entry = |line: &str| {
        let (name, count) = line.rsplit_once(": ")?;
        let kind = name.split_once(' ').map_or(name, |(_, kind)| kind);
        let counts = matches!(kind, "overrun" | "commit overrun" | "dropped events");
        Some((name.to_owned(), count.trim().parse().ok()?)).filter(|_| counts)
    };
    stats.lines().filter_map(entry).collect()
}

/// The text of a file, empty if there is none.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn write(path: &Path, content: &[u8]) -> Result<(), VmError> {
    fs::write(path, content).map_err(VmError::file("written", path))
}

/// A small table plain, a large one compressed.
fn write_table(path: &Path, content: &[u8]) -> Result<(), VmError> {
    if content.len() <= PLAIN {
        return write(path, content);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".xz");
    compress_from(content, Path::new(&name))
}

fn compress(from: &Path, to: &Path) -> Result<(), VmError> {
    let file = File::open(from).map_err(VmError::file("opened", from))?;
    compress_from(BufReader::new(file), to)
}

fn compress_from(mut from: impl io::Read, to: &Path) -> Result<(), VmError> {
    let mut write = || -> io::Result<()> {
        let mut encoder = liblzma::write::XzEncoder::new(File::create(to)?, 6);
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?.flush()
    };
    write().map_err(VmError::file("written", to))
}

/// Copies a file that is there and not empty.
fn copy_if_any(from: &Path, to: &Path) -> Result<(), VmError> {
    if fs::metadata(from).is_ok_and(|file| file.len() > 0) {
        fs::copy(from, to).map_err(VmError::file("written", to))?;
    }
    Ok(())
}

/// Puts a new recording where there may be an older one. Another folder is left alone.
fn replace(folder: &Path, new: tempfile::TempDir) -> Result<(), VmError> {
    if folder.exists() {
        if !folder.join("meta.json").exists() {
            return Err(VmError::form(
                folder,
                "a folder without meta.json",
                "no folder, or an older recording",
            ));
        }
        fs::remove_dir_all(folder).map_err(VmError::file("removed", folder))?;
    }
    let kept = new.keep();
    fs::rename(&kept, folder).map_err(VmError::file("made", folder))?;
    // A temporary folder is its owner's alone; a recording is like other files.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder, readable).map_err(VmError::file("made", folder))
}

#[cfg(test)]
mod tests {
    use daxsim_types::FileSystem;

    use super::*;

    #[test]
    fn kernels_are_named_by_two_numbers() {
        assert_eq!(kernel_folder("6.12.117+deb12-amd64"), "kernel-6.12");
        assert_eq!(kernel_folder("7.2-rc1"), "kernel-7.2");
    }

    #[test]
    fn lost_events_are_counted_by_cpu_and_kind() {
        let stats = "cpu0 entries: 5\ncpu0 overrun: 2\ncpu0 commit overrun: 0\ncpu0 oldest event ts:  1.0\ncpu1 dropped events: 1\n";
        let lost = lost(stats);
        assert_eq!(
            lost,
            [
                ("cpu0 overrun".into(), 2),
                ("cpu0 commit overrun".into(), 0),
                ("cpu1 dropped events".into(), 1)
            ]
        );
    }

    #[test]
    fn a_run_is_laid_out_as_recordings_are() {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../traces/recorded/kernel-6.12/ext4/s01_read_then_write");
        let dir = tempfile::tempdir().unwrap();
        let share = dir.path().join("share");
        fs::create_dir_all(share.join("0")).unwrap();
        let mut trace = Vec::new();
        io::copy(&mut daxsim_traces::open(recorded.join("trace.txt.xz")).unwrap(), &mut trace).unwrap();
        fs::write(share.join("0/trace.txt"), trace).unwrap();
        fs::write(share.join("0/status"), "0\n").unwrap();
        fs::write(share.join("0/stats"), "cpu0 overrun: 0\n").unwrap();
        fs::write(share.join("0/oplog.txt"), "# x\n").unwrap();
        fs::write(share.join("probes.ok"), "p:kp/x x\n").unwrap();
        let script = fs::read(recorded.join("script.txt")).unwrap();
        let job = Job { fs: FileSystem::Ext4, name: "s01".into(), work: Work::Script(script) };
        let out = dir.path().join("out");
        let of = Guests { share: &share, out: &out, release: "6.12.1", accel: Accel::Tcg, cpus: 4 };
        of.kernel().unwrap();
        let run = of.run(0, &job).unwrap();
        assert_eq!((run.faults, run.lost, run.status), (128, 0, 0));
        assert_eq!(run.folder, out.join("kernel-6.12/ext4/s01"));
        assert!(out.join("kernel-6.12/probes.ok").exists());
        for name in ["script.txt", "oplog.txt", "trace.txt.xz", "faults.tsv.xz", "ops.tsv", "meta.json"] {
            assert!(run.folder.join(name).exists(), "{name}");
        }
        let table = |folder: &Path| fault_table::open(folder.join("faults.tsv.xz")).unwrap();
        assert_eq!(table(&run.folder), table(&recorded));
        let meta: serde_json::Value = serde_json::from_str(&text(&run.folder.join("meta.json"))).unwrap();
        assert_eq!(meta["counts_per_event"]["page_fault_user"], 128);
        // Again: the older one is replaced; a folder of something else is not.
        of.run(0, &job).unwrap();
        fs::remove_file(run.folder.join("meta.json")).unwrap();
        assert!(of.run(0, &job).is_err());
        let left = fs::read_dir(out.join("kernel-6.12/ext4")).unwrap().count();
        assert_eq!(left, 1, "only the recording is there");
    }
}
