//! The command that is recorded: held back until tracing is on, followed until it ends.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often the command is looked after.
const EACH: Duration = Duration::from_millis(10);
/// How often it is looked after, once a signal was handed on, before it is killed: five seconds.
const GRACE: u32 = 500;
/// How often the shell is looked after before it has to have stopped: ten seconds.
const PATIENCE: u32 = 1000;

/// Signals to this process that have come.
pub struct Asked {
    signals: [(Signal, Arc<AtomicBool>); 3],
}

impl Asked {
    /// From now on signals do not end this process, but are noted.
    pub fn listen() -> io::Result<Self> {
        let note = |signal: Signal| {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal.as_raw(), Arc::clone(&flag)).map(|_| (signal, flag))
        };
        Ok(Self { signals: [note(Signal::INT)?, note(Signal::TERM)?, note(Signal::HUP)?] })
    }

    /// The signal that has come, if one has since the last call.
    pub fn take(&self) -> Option<Signal> {
        self.signals.iter().find(|(_, flag)| flag.swap(false, Ordering::Relaxed)).map(|(signal, _)| *signal)
    }
}

/// A command that stands still before its first instruction. It is killed if it goes before it has ended.
pub struct Held {
    child: Child,
}

impl Held {
    /// Starts a shell that stops itself, and then becomes the command.
    pub fn start(command: &[OsString]) -> io::Result<Self> {
        let child =
            Command::new("/bin/sh").args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(command).spawn()?;
        let mut held = Self { child };
        for _ in 0..PATIENCE {
            if held.is_stopped() {
                return Ok(held);
            }
            if held.child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(EACH);
        }
        Err(io::Error::other("the shell that starts the command did not stop"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The letter behind the name in /proc/PID/stat.
    fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// Lets it go on, and waits for its end. A signal to this process is handed on; whether one came.
    pub fn run(mut self, asked: &Asked) -> io::Result<(ExitStatus, bool)> {
        self.signal(Signal::CONT);
        let mut since: Option<u32> = None;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, since.is_some()));
            }
            if let Some(signal) = asked.take() {
                // The second time, or if it does not listen, it has no choice.
                self.signal(if since.is_some() { Signal::KILL } else { signal });
                since.get_or_insert(0);
            }
            since = since.map(|looks| looks + 1);
            if since.is_some_and(|looks| looks > GRACE) {
                self.signal(Signal::KILL);
            }
            std::thread::sleep(EACH);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
