//! A guest in QEMU: started, watched by its console, and ended however that comes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::VmError;

/// How often the console is looked at.
const EACH: Duration = Duration::from_millis(50);
/// How long a guest that says it is done may take to switch itself off.
const GRACE: Duration = Duration::from_secs(20);
/// How often a guest is started that does not come up. Kernels of 7.x panic now and then while they prepare live patching under TCG.
pub const ATTEMPTS: u32 = 3;
/// NVDIMMs, and the size of each in bytes.
const DIMMS: usize = 3;
const DIMM_BYTES: u64 = 1 << 30;
/// Lines of the console that an error shows.
const TAIL: usize = 15;

/// The kernel's command line. Addresses as linked, no work-arounds for processors, one clock that all CPUs share (TCG's time stamp
/// counter is one, which the kernel would take long to find out), and nothing in the background that can be left out.
const COMMAND_LINE: &str = "console=ttyS0,115200 nokaslr mitigations=off tsc=reliable clocksource=tsc tsc_early_khz=2300000 panic=-1 \
                            nowatchdog audit=0 transparent_hugepage=always rcupdate.rcu_expedited=1 loglevel=6 init_on_alloc=0 apparmor=0";

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's translator: works anywhere.
    Tcg,
    /// The host's virtualisation.
    Kvm,
}

/// How long a guest may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until it is up.
    pub boot: Duration,
    /// From then to its end.
    pub work: Duration,
}

/// A guest that can be started.
#[derive(Clone, Debug)]
pub struct Guest {
    /// QEMU.
    pub qemu: PathBuf,
    /// The kernel.
    pub image: PathBuf,
    /// Its first file system.
    pub initramfs: PathBuf,
    /// Where the NVDIMMs' contents, the console's text and the share are.
    pub folder: PathBuf,
    /// CPUs.
    pub cpus: u16,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// What executes it.
    pub accel: Accel,
    /// More for the kernel's command line.
    pub append: String,
    /// More arguments of QEMU, such as `-plugin`.
    pub qemu_args: Vec<OsString>,
}

/// How an attempt went wrong.
#[derive(Debug)]
pub enum Failure {
    /// Before it was up: another attempt may do.
    Early(String),
    /// For good.
    Final(VmError),
}

impl Guest {
    /// The folder that the guest shares.
    #[must_use]
    pub fn share(&self) -> PathBuf {
        self.folder.join("share")
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    fn messages(&self) -> PathBuf {
        self.folder.join("qemu.log")
    }

    /// Starts it, and waits until it has switched itself off. `said` gets what it says behind `daxsim: `; `stop` is asked all the time
    /// whether to end early.
    ///
    /// # Errors
    ///
    /// [`VmError`] if QEMU cannot be started, the guest does not come up, fails, takes too long, or is stopped. It does not run any
    /// more then.
    pub fn run(
        &self,
        limits: Limits,
        said: &mut dyn FnMut(&str),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), VmError> {
        let mut attempt = 1;
        loop {
            match self.attempt(limits, said, stop) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Early(why)) if attempt >= ATTEMPTS => return Err(self.does_not_boot(&why)),
                Err(Failure::Early(why)) => said(&format!("note {why}: another attempt")),
            }
            attempt += 1;
        }
    }

    /// One attempt of [`Self::run`].
    ///
    /// # Errors
    ///
    /// [`Failure`]
    pub fn attempt(
        &self,
        limits: Limits,
        said: &mut dyn FnMut(&str),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        let mut running = self.start().map_err(Failure::Final)?;
        let mut console = Console::open(&self.console()).map_err(Failure::Final)?;
        let begun = now();
        let (mut up, mut done): (Option<Instant>, Option<Instant>) = (None, None);
        let mut failed = Vec::new();
        loop {
            let ended =
                running.status().map_err(VmError::file("waited for", &self.qemu)).map_err(Failure::Final)?;
            for line in console.lines().map_err(Failure::Final)? {
                if line.contains("Kernel panic") && up.is_none() {
                    return Err(Failure::Early("the kernel panicked before it was up".into()));
                }
                if line.contains("Kernel panic") {
                    let tail = self.tail();
                    return Err(Failure::Final(VmError::Guest(format!("the kernel panicked:\n{tail}"))));
                }
                let Some(text) = line.strip_prefix("daxsim: ") else { continue };
                if let Some(why) = text.strip_prefix("failed ").filter(|why| !why.starts_with("job ")) {
                    return Err(Failure::Final(VmError::Guest(why.to_owned())));
                }
                match text {
                    "done" => done = Some(now()),
                    text => {
                        if text.starts_with("up ") {
                            up = Some(now());
                        }
                        failed.extend(text.strip_prefix("failed job ").map(str::to_owned));
                        said(text);
                    }
                }
            }
            if done.is_some() && !failed.is_empty() {
                let why = format!("run {}", failed.join("; run "));
                return Err(Failure::Final(VmError::Guest(why)));
            }
            match (ended, done) {
                (Some(_), Some(_)) => return Ok(()),
                (Some(status), None) => return Err(self.ended_early(status, up.is_some())),
                (None, Some(since)) if since.elapsed() > GRACE => return Ok(()),
                _ => {}
            }
            if self.accel == Accel::Kvm && up.is_none() && self.complaint().contains("KVM internal error") {
                let why = "KVM cannot run this kernel on this host: TCG can".to_owned();
                return Err(Failure::Final(VmError::Boot { why, console: self.tail() }));
            }
            if stop() {
                return Err(Failure::Final(VmError::Stopped));
            }
            match up {
                None if begun.elapsed() > limits.boot => {
                    let limit = limits.boot.as_secs();
                    return Err(Failure::Early(format!(
                        "it was not up after {limit} seconds{}",
                        self.complaint()
                    )));
                }
                Some(since) if since.elapsed() > limits.work => {
                    let (limit, tail) = (limits.work.as_secs(), self.tail());
                    let why =
                        format!("not done {limit} seconds after it was up; the end of its console:\n{tail}");
                    return Err(Failure::Final(VmError::Guest(why)));
                }
                _ => {}
            }
            std::thread::sleep(EACH);
        }
    }

    /// What the last attempt's early end means.
    #[must_use]
    pub fn does_not_boot(&self, why: &str) -> VmError {
        let why = format!("{why} (the last of {ATTEMPTS} attempts)");
        VmError::Boot { why, console: self.tail() }
    }

    /// QEMU is gone, and the guest was not done.
    fn ended_early(&self, status: ExitStatus, was_up: bool) -> Failure {
        let why = format!("QEMU ended ({status}){}", self.complaint());
        if was_up {
            Failure::Final(VmError::Guest(format!("{why}; the end of its console:\n{}", self.tail())))
        } else {
            Failure::Early(why)
        }
    }

    /// Starts QEMU with empty NVDIMMs and an empty share.
    fn start(&self) -> Result<Running, VmError> {
        let share = self.share();
        if share.exists() {
            fs::remove_dir_all(&share).map_err(VmError::file("removed", &share))?;
        }
        fs::create_dir_all(&share).map_err(VmError::file("made", &share))?;
        for dimm in 0..DIMMS {
            let path = self.dimm(dimm);
            let made = File::create(&path).and_then(|file| file.set_len(DIMM_BYTES));
            made.map_err(VmError::file("made", &path))?;
        }
        let console = self.console();
        File::create(&console).map_err(VmError::file("made", &console))?;
        let messages = self.messages();
        let stderr = File::create(&messages).map_err(VmError::file("made", &messages))?;
        let stdout = stderr.try_clone().map_err(VmError::file("made", &messages))?;
        let mut command = Command::new(&self.qemu);
        command.args(self.arguments()).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // A group of its own: a Ctrl-C at the terminal comes to us, and we end it in order.
        command.process_group(0);
        // SAFETY: between fork and exec the closure makes one system call, and allocates nothing.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let child = command.spawn().map_err(VmError::file("started", &self.qemu))?;
        Ok(Running { child })
    }

    fn dimm(&self, number: usize) -> PathBuf {
        self.folder.join(format!("dimm{number}"))
    }

    /// QEMU's arguments.
    fn arguments(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        match self.accel {
            // Four levels of page tables, as the models and all recordings have.
            Accel::Tcg => add(&["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"]),
            Accel::Kvm => add(&["-accel", "kvm", "-cpu", "host,la57=off"]),
        }
        let memory =
            format!("{}M,slots={},maxmem={}M", self.memory_mib, DIMMS + 1, self.memory_mib + 12 * 1024);
        add(&["-smp", &self.cpus.to_string(), "-machine", "pc,nvdimm=on", "-m", &memory]);
        for n in 0..DIMMS {
            let path = escaped(&self.dimm(n));
            let backend = format!("memory-backend-file,id=m{n},share=on,mem-path={path},size={DIMM_BYTES}");
            add(&["-object", &backend, "-device", &format!("nvdimm,id=nv{n},memdev=m{n}")]);
        }
        add(&["-net", "none", "-display", "none", "-no-reboot", "-monitor", "none"]);
        add(&["-serial", &format!("file:{}", escaped(&self.console()))]);
        let share = format!("local,path={},mount_tag=daxsim,security_model=none", escaped(&self.share()));
        add(&["-virtfs", &share]);
        args.extend(self.qemu_args.iter().cloned());
        args.extend(["-kernel".into(), self.image.clone().into()]);
        args.extend(["-initrd".into(), self.initramfs.clone().into()]);
        args.extend(["-append".into(), format!("{COMMAND_LINE} {}", self.append).trim_end().into()]);
        args
    }

    /// What QEMU itself said last, in parentheses.
    fn complaint(&self) -> String {
        let text = fs::read(self.messages()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let errors = text.lines().find(|line| line.contains("internal error"));
        match errors.or_else(|| text.lines().rfind(|line| !line.trim().is_empty())) {
            Some(line) => format!(" (QEMU says: {line})"),
            None => String::new(),
        }
    }

    /// The end of the console.
    fn tail(&self) -> String {
        let text = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        tail.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

/// A guest runs in the host's time.
#[expect(
    clippy::disallowed_methods,
    reason = "it limits how long QEMU may run; no simulated time comes of it"
)]
fn now() -> Instant {
    Instant::now()
}

/// A path in an option of QEMU, where a comma ends a value.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// QEMU under way. It is killed when this goes.
struct Running {
    child: Child,
}

impl Running {
    fn status(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The text that the console grows by.
struct Console {
    path: PathBuf,
    file: File,
    at: u64,
    partial: String,
}

impl Console {
    fn open(path: &Path) -> Result<Self, VmError> {
        let file = File::open(path).map_err(VmError::file("opened", path))?;
        Ok(Self { path: path.to_owned(), file, at: 0, partial: String::new() })
    }

    /// The lines that have ended since the last call.
    fn lines(&mut self) -> Result<Vec<String>, VmError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(self.at)).and_then(|_| self.file.read_to_end(&mut bytes));
        self.at += read.map_err(VmError::file("read", &self.path))? as u64;
        self.partial.push_str(&String::from_utf8_lossy(&bytes).replace('\r', ""));
        let Some(end) = self.partial.rfind('\n') else { return Ok(Vec::new()) };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        Ok(lines.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A guest whose QEMU is a shell script; `$console` is the file of the console.
    fn guest(dir: &Path, script: &str) -> Guest {
        let qemu = dir.join("qemu");
        let console = dir.join("console.log");
        fs::write(&qemu, format!("#!/bin/sh\nconsole={}\n{script}\n", console.display())).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        Guest {
            qemu,
            image: "vmlinuz".into(),
            initramfs: "initramfs".into(),
            folder: dir.to_owned(),
            cpus: 4,
            memory_mib: 4096,
            accel: Accel::Tcg,
            append: String::new(),
            qemu_args: Vec::new(),
        }
    }

    fn limits(boot: u64, work: u64) -> Limits {
        Limits { boot: Duration::from_secs(boot), work: Duration::from_secs(work) }
    }

    fn run(guest: &Guest, limits: Limits) -> (Result<(), VmError>, Vec<String>) {
        let mut said = Vec::new();
        let result = guest.run(limits, &mut |text| said.push(text.to_owned()), &|| false);
        (result, said)
    }

    #[test]
    fn a_guest_that_is_done_has_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let guest =
            guest(dir.path(), "printf 'x\\ndaxsim: up 6\\r\\ndaxsim: job 0\\ndaxsim: done\\n' > $console");
        let (result, said) = run(&guest, limits(20, 20));
        result.unwrap();
        assert_eq!(said, ["up 6", "job 0"]);
    }

    #[test]
    fn an_early_panic_is_tried_again_and_a_late_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let early = guest(
            dir.path(),
            "cd $(dirname $console); echo x >> count; case $(wc -l < count) in 1) echo 'Kernel panic - x' > $console; sleep 60;; \
             *) printf 'daxsim: up\\ndaxsim: done\\n' > $console;; esac",
        );
        let (result, said) = run(&early, limits(20, 20));
        result.unwrap();
        assert!(said[0].contains("another attempt"), "{said:?}");
        let late = guest(dir.path(), "printf 'daxsim: up \\nKernel panic - y\\n' > $console; sleep 60");
        let why = run(&late, limits(20, 20)).0.unwrap_err().to_string();
        assert!(why.contains("panicked") && why.contains("panic - y"), "{why}");
    }

    #[test]
    fn a_guest_that_does_not_come_up_says_what_qemu_said() {
        let dir = tempfile::tempdir().unwrap();
        let guest = guest(dir.path(), "echo 'no such machine' >&2; exit 1");
        let (result, said) = run(&guest, limits(20, 20));
        let why = result.unwrap_err().to_string();
        assert!(why.contains("no such machine") && why.contains("3 attempts"), "{why}");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn limits_and_signals_end_the_guest() {
        let dir = tempfile::tempdir().unwrap();
        let pid = "echo $$ > $(dirname $console)/pid; ";
        let slow = guest(dir.path(), &format!("{pid}echo 'daxsim: up ' > $console; exec sleep 60"));
        let why = run(&slow, limits(20, 1)).0.unwrap_err().to_string();
        assert!(why.contains("not done 1 seconds"), "{why}");
        let gone = |dir: &Path| {
            let pid = fs::read_to_string(dir.join("pid")).unwrap();
            !Path::new("/proc").join(pid.trim()).exists()
        };
        assert!(gone(dir.path()), "it still runs");
        fs::remove_file(dir.path().join("pid")).unwrap();
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            dir.path().join("pid").exists() && asked.get() > 2
        };
        let stopped = slow.run(limits(20, 20), &mut |_| {}, &stop);
        assert!(matches!(stopped, Err(VmError::Stopped)), "{stopped:?}");
        assert!(gone(dir.path()), "it still runs");
    }

    #[test]
    fn paths_with_commas_are_paths() {
        let mut guest = Guest { folder: "/a,b".into(), ..guest(tempfile::tempdir().unwrap().path(), "") };
        guest.qemu_args = vec!["-plugin".into(), "x.so".into()];
        let args: Vec<String> =
            guest.arguments().into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert!(args.iter().any(|arg| arg.contains("mem-path=/a,,b/dimm0,size=1073741824")), "{args:?}");
        assert!(args.windows(2).any(|pair| pair == ["-plugin", "x.so"]));
    }
}
