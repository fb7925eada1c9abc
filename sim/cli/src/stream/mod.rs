//! QEMU with our plugin: started, told where its memory is, read, and ended whatever happens.

mod args;
mod map;
mod qmp;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_ring::{Batch, Ending, Geometry, Place, Reader, Received};
use rustix::process::{Pid, Signal, kill_process};

pub use self::args::StreamArgs;
use self::qmp::Monitor;

/// Name of the plugin's library.
const PLUGIN: &str = "libdaxsim_qemu_plugin.so";
/// How often QEMU is looked after while its monitor is not there, and how long.
const EACH: Duration = Duration::from_millis(10);
const LOOKS: u32 = 3000;
/// How long is waited for accesses before QEMU is looked after.
const PATIENCE: Duration = Duration::from_millis(100);

/// QEMU with our plugin. It ends with this value.
pub struct Stream {
    reader: Reader,
    child: Child,
    /// A signal came that asks for the end.
    asked: Arc<AtomicBool>,
    told: bool,
    /// Its files: the socket of the monitor, the table of memory.
    _folder: tempfile::TempDir,
}

impl Stream {
    /// Starts QEMU, and lets the guest go when all is ready.
    ///
    /// # Errors
    ///
    /// What is missing, or what QEMU did instead.
    pub fn start(args: &StreamArgs) -> Result<Self> {
        let plugin = plugin(args.plugin.as_deref())?;
        let Some((program, arguments)) = args.qemu.split_first() else {
            bail!("expected QEMU and its arguments")
        };
        let folder = tempfile::Builder::new().prefix("daxsim-").tempdir().context("cannot make a folder")?;
        let (socket, table) = (folder.path().join("monitor"), folder.path().join("memory"));
        let reader = Reader::create(&Place::Memory, Geometry::default())?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            signal_hook::flag::register(signal.as_raw(), Arc::clone(&asked))
                .context("cannot listen to signals")?;
        }
        let child = Command::new(program)
            .args(arguments)
            .args(["-S", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", quoted(&socket)))
            .arg("-plugin")
            .arg(format!(
                "{},ring={},map={},reader-gone=quit{}",
                quoted(&plugin),
                quoted(reader.path()),
                quoted(&table),
                args.options()
            ))
            .spawn()
            .with_context(|| format!("cannot start {}", Path::new(program).display()))?;
        let mut stream = Self { reader, child, asked, told: false, _folder: folder };
        let mut monitor = stream.monitor(&socket)?;
        let text = map::table(&mut monitor).context("cannot ask QEMU for its memory")?;
        fs::write(&table, text).with_context(|| format!("{}: cannot write", table.display()))?;
        monitor.go_on().context("cannot let the guest go")?;
        Ok(stream)
    }

    /// The monitor, as soon as QEMU has it.
    fn monitor(&mut self, socket: &Path) -> Result<Monitor> {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended before the guest began: {status}");
            }
            if socket.exists()
                && let Ok(monitor) = Monitor::connect(socket)
            {
                return Ok(monitor);
            }
            std::thread::sleep(EACH);
        }
        bail!("QEMU has no monitor after {} s", LOOKS * EACH.as_millis() as u32 / 1000)
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
            match self.reader.next_batch(batch, PATIENCE)? {
                Received::Batch => return Ok(None),
                Received::End(ending) => return Ok(Some(ending)),
                Received::Nothing => {}
            }
            if !self.reader.has_writer()
                && let Some(status) = self.child.try_wait()?
            {
                bail!("QEMU ended without the plugin: {status}");
            }
        }
    }

    /// Waits for QEMU's end. Whether it was asked for by a signal.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self) -> Result<(ExitStatus, bool)> {
        Ok((self.child.wait().context("cannot wait for QEMU")?, self.told))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
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
