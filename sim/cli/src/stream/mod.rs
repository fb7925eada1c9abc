//! QEMU with our plugin: started, told where its memory is, read, and ended whatever happens.

mod args;
mod guest;
mod map;
mod qmp;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_ring::{Batch, Ending, Geometry, Place, Reader, Received};
use rustix::process::{Pid, Signal, kill_process};

pub use self::args::{FilterArgs, StreamArgs};
pub use self::guest::SharedMemory;
pub use self::map::Memory;
use self::qmp::Monitor;

/// Name of the plugin's library.
const PLUGIN: &str = "libdaxsim_qemu_plugin.so";
/// How often QEMU is looked after while its monitor is not there, and how long.
const EACH: Duration = Duration::from_millis(10);
const LOOKS: u32 = 3000;
/// How long is waited for accesses before QEMU is looked after.
const PATIENCE: Duration = Duration::from_millis(100);

/// What our plugin in a QEMU shows, whoever starts that.
pub struct Tap {
    reader: Reader,
    plugin: PathBuf,
    options: String,
    /// The socket of the monitor, the table of memory.
    folder: tempfile::TempDir,
}

/// How a QEMU ended that is followed; nothing while it runs.
pub type Ended<'a> = dyn FnMut() -> Result<Option<String>> + 'a;

impl Tap {
    /// For a QEMU to come.
    ///
    /// # Errors
    ///
    /// If there is no plugin, or the files for it cannot be made.
    pub fn new(named: Option<&Path>, options: String) -> Result<Self> {
        let plugin = plugin(named)?;
        let folder = tempfile::Builder::new().prefix("daxsim-").tempdir().context("cannot make a folder")?;
        let reader = Reader::create(&Place::Memory, Geometry::default())?;
        Ok(Self { reader, plugin, options, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("memory")
    }

    /// What QEMU must be started with.
    pub fn arguments(&self) -> Vec<OsString> {
        let monitor = format!("unix:{},server=on,wait=off", quoted(&self.socket()));
        let plugin = format!(
            "{},ring={},map={},reader-gone=quit{}",
            quoted(&self.plugin),
            quoted(self.reader.path()),
            quoted(&self.table()),
            self.options
        );
        ["-S", "-qmp", &monitor, "-plugin", &plugin].map(OsString::from).to_vec()
    }

    /// Waits for QEMU, tells the plugin where memory is, and lets the guest go.
    ///
    /// # Errors
    ///
    /// What QEMU did instead.
    pub fn connect(&mut self, ended: &mut Ended<'_>) -> Result<(Memory, u32)> {
        let (mut monitor, pid) = self.monitor(ended)?;
        let memory = Memory::ask(&mut monitor).context("cannot ask QEMU for its memory")?;
        let table = self.table();
        fs::write(&table, memory.table()).with_context(|| format!("{}: cannot write", table.display()))?;
        monitor.go_on().context("cannot let the guest go")?;
        Ok((memory, pid))
    }

    /// The monitor, as soon as QEMU has it, and who QEMU is.
    fn monitor(&mut self, ended: &mut Ended<'_>) -> Result<(Monitor, u32)> {
        let socket = self.socket();
        for _ in 0..LOOKS {
            if let Some(how) = ended()? {
                bail!("QEMU ended before the guest began: {how}");
            }
            if socket.exists()
                && let Ok(monitor) = Monitor::connect(&socket)
            {
                let pid = monitor.peer().context("cannot tell who has the monitor")?;
                return Ok((monitor, pid));
            }
            std::thread::sleep(EACH);
        }
        bail!("QEMU has no monitor after {} s", LOOKS * EACH.as_millis() as u32 / 1000)
    }

    /// The next accesses, how the stream ended, or nothing in some time.
    ///
    /// # Errors
    ///
    /// If what came is no batch, or QEMU ended without having streamed at all.
    pub fn next(&mut self, batch: &mut Batch, ended: &mut Ended<'_>) -> Result<Received> {
        let received = self.reader.next_batch(batch, PATIENCE)?;
        if received == Received::Nothing
            && !self.reader.has_writer()
            && let Some(how) = ended()?
        {
            bail!("QEMU ended without the plugin: {how}");
        }
        Ok(received)
    }
}

/// QEMU with our plugin. It ends with this value.
pub struct Stream {
    tap: Tap,
    child: Owned,
    /// A signal came that asks for the end.
    asked: Arc<AtomicBool>,
    told: bool,
    /// The guest's memory.
    pub memory: Memory,
    /// QEMU's process.
    pub pid: u32,
}

impl Stream {
    /// Starts QEMU, and lets the guest go when all is ready. `more` are options of the plugin, each behind a comma.
    ///
    /// # Errors
    ///
    /// What is missing, or what QEMU did instead.
    pub fn start(args: &StreamArgs, more: &str) -> Result<Self> {
        let mut tap = Tap::new(args.plugin.as_deref(), args.filter.options() + more)?;
        let Some((program, arguments)) = args.qemu.split_first() else {
            bail!("expected QEMU and its arguments")
        };
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            signal_hook::flag::register(signal.as_raw(), Arc::clone(&asked))
                .context("cannot listen to signals")?;
        }
        let child = Command::new(program).args(arguments).args(tap.arguments()).spawn();
        let child = child.with_context(|| format!("cannot start {}", Path::new(program).display()))?;
        let mut child = Owned(child);
        let (memory, pid) = tap.connect(&mut || ended(&mut child.0))?;
        Ok(Self { tap, child, asked, told: false, memory, pid })
    }

    /// The next accesses, or how the stream ended. A signal asks QEMU to end; what it streamed until then comes before.
    ///
    /// # Errors
    ///
    /// If what came is no batch, or QEMU ended without having streamed at all.
    pub fn next(&mut self, batch: &mut Batch) -> Result<Option<Ending>> {
        loop {
            if self.asked.swap(false, Ordering::Relaxed) {
                self.signal(if self.told { Signal::KILL } else { Signal::TERM });
                self.told = true;
            }
            let child = &mut self.child.0;
            match self.tap.next(batch, &mut || ended(child))? {
                Received::Batch => return Ok(None),
                Received::End(ending) => return Ok(Some(ending)),
                Received::Nothing => {}
            }
        }
    }

    /// Waits for QEMU's end. Whether it was asked for by a signal.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self) -> Result<(ExitStatus, bool)> {
        Ok((self.child.0.wait().context("cannot wait for QEMU")?, self.told))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.0.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

fn ended(child: &mut Child) -> Result<Option<String>> {
    Ok(child.try_wait()?.map(|status| status.to_string()))
}

/// A process that ends with this value.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The plugin: the one named, or the one beside this program.
fn plugin(named: Option<&Path>) -> Result<PathBuf> {
    let found = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().context("cannot find this program")?.with_file_name(PLUGIN),
    };
    if !found.exists() {
        bail!(
            "{}: there is no plugin: expected what `cargo build --release -p daxsim-qemu-plugin` makes, or --plugin FILE",
            found.display()
        );
    }
    found.canonicalize().with_context(|| format!("{}: cannot be looked at", found.display()))
}

/// A path as a value of QEMU, where a comma ends one.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
