//! tracefs, and an instance of it: events and a buffer of their own (Documentation/trace/ftrace.rst, "Instances").

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::output;

/// What the names of instances begin with.
const PREFIX: &str = "daxsim-";
/// How long to wait before the kernel is asked again.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the kernel is asked whether it has made, or lets go of, an instance. It does so at once, unless a reader is about to
/// close it: this is five seconds.
const TRIES: u32 = 1000;
/// `O_NONBLOCK` of Linux on x86 and arm64.
const NONBLOCK: i32 = 0o4000;

/// A mounted tracefs.
pub struct TraceFs {
    root: PathBuf,
    proc: PathBuf,
}

impl TraceFs {
    /// That of a file system tree, if it is mounted.
    pub fn find(root: &Path) -> Option<Self> {
        let places = ["sys/kernel/tracing", "sys/kernel/debug/tracing"].map(|place| root.join(place));
        let found = places.into_iter().find(|place| place.join("instances").is_dir())?;
        Some(Self { root: found, proc: root.join("proc") })
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the kernel has an event.
    pub fn has(&self, system: &str, event: &str) -> bool {
        self.root.join("events").join(system).join(event).is_dir()
    }

    /// Makes an instance that nobody else has.
    pub fn instance(&self) -> io::Result<Instance> {
        let dir = self.root.join("instances").join(own_name()?);
        fs::create_dir(&dir)?;
        let instance = Instance { dir, removed: false };
        wait_for(|| instance.dir.join("tracing_on").exists())
            .then_some(instance)
            .ok_or_else(|| io::Error::other("the kernel made no files in a new instance"))
    }

    /// Removes the instances of recordings that do not run any more; their names.
    pub fn clean(&self) -> io::Result<Vec<String>> {
        let mut cleaned = Vec::new();
        for entry in fs::read_dir(self.root.join("instances"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some((pid, started)) = name.strip_prefix(PREFIX).and_then(|id| id.split_once('-')) else {
                continue;
            };
            if start_time(&self.proc.join(pid)).is_ok_and(|time| time == started) {
                continue;
            }
            Instance { dir: self.root.join("instances").join(&name), removed: false }.remove()?;
            cleaned.push(name);
        }
        Ok(cleaned)
    }
}

/// A name that no other recording, now or before, has: process and when it began.
fn own_name() -> io::Result<String> {
    Ok(format!("{PREFIX}{}-{}", std::process::id(), start_time(Path::new("/proc/self"))?))
}

/// When a process began, in ticks since the machine did (proc_pid_stat(5), field 22).
fn start_time(process: &Path) -> io::Result<String> {
    let stat = fs::read_to_string(process.join("stat"))?;
    // The name, in parentheses, may have any character.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let time = after.split_whitespace().nth(19).map(str::to_owned);
    time.ok_or_else(|| io::Error::other("/proc/PID/stat has no start time"))
}

/// Waits until something holds; whether it came to that.
fn wait_for(holds: impl Fn() -> bool) -> bool {
    (0..TRIES).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(PAUSE);
        }
        held
    })
}

/// An instance. It is switched off and removed when it goes, however that comes.
pub struct Instance {
    dir: PathBuf,
    removed: bool,
}

impl Instance {
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes to one of its control files, which has to be there.
    pub fn set(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        let written = OpenOptions::new().write(true).truncate(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
        written
            .map_err(|e| io::Error::new(e.kind(), format!("{}: cannot write `{text}`: {e}", path.display())))
    }

    /// Switches an event on.
    pub fn enable(&self, system: &str, event: &str) -> io::Result<()> {
        self.set(&format!("events/{system}/{event}/enable"), "1")
    }

    /// The events as text, each once; reading does not wait for more.
    pub fn pipe(&self) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(NONBLOCK).open(self.dir.join("trace_pipe"))
    }

    /// Events that the buffers of all CPUs had no room for.
    pub fn lost(&self) -> io::Result<u64> {
        let mut lost = 0;
        for cpu in fs::read_dir(self.dir.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            for line in stats.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                if matches!(key.trim(), "overrun" | "commit overrun" | "dropped events") {
                    lost += value.trim().parse::<u64>().unwrap_or(0);
                }
            }
        }
        Ok(lost)
    }

    /// Stops recording.
    pub fn stop(&self) -> io::Result<()> {
        self.set("tracing_on", "0")
    }

    /// Stops recording and removes it.
    pub fn remove(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.removed, true) || !self.dir.exists() {
            return Ok(());
        }
        // Whether that works or not, removing it ends all.
        let _ = self.stop();
        remove_dir(&self.dir).map_err(|error| {
            let text = format!("{}: {error}; {}", self.dir.display(), by_hand(&self.dir));
            io::Error::new(error.kind(), text)
        })
    }
}

/// Removes an instance, of which a reader may be about to go.
fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => last = Err(error),
        }
        std::thread::sleep(PAUSE);
    }
    last
}

/// What a person can do about an instance that is still there.
pub fn by_hand(dir: &Path) -> String {
    format!("to remove it by hand: echo 0 > {0}/tracing_on; rmdir {0}", dir.display())
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            output::note(&format!("daxsim: warning: {error}"));
        }
    }
}
