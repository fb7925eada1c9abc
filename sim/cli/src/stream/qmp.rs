//! QEMU's monitor, by its machine protocol: commands and answers, a line of JSON each.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// A connection, ready for commands.
pub struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects, and leaves the state in which only capabilities may be asked for.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let mut monitor = Self { lines: BufReader::new(UnixStream::connect(socket)?) };
        let greeting = monitor.line()?;
        if greeting.get("QMP").is_none() {
            return Err(wrong(&greeting, "a greeting"));
        }
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// The process at the other end.
    pub fn peer(&self) -> io::Result<u32> {
        let credentials = rustix::net::sockopt::socket_peercred(self.lines.get_ref())?;
        Ok(credentials.pid.as_raw_nonzero().get() as u32)
    }

    /// Lets the guest go on. It may end QEMU before that can answer.
    pub fn go_on(&mut self) -> io::Result<()> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match self.execute("cont", &json!({})) {
            Err(error) if !matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe) => Err(error),
            _ => Ok(()),
        }
    }

    /// What a command of the monitor for people prints.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": command }))?;
        answer.as_str().map(str::to_owned).ok_or_else(|| wrong(&answer, "text"))
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.lines.get_mut(), "{request}")?;
        loop {
            let mut answer = self.line()?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            // Events come at any time.
            if answer.get("event").is_none() {
                return Err(wrong(&answer, &format!("an answer to {command}")));
            }
        }
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(|_| wrong(&Value::String(line), "a line of JSON"))
    }
}

fn wrong(found: &Value, expected: &str) -> io::Error {
    io::Error::other(format!("found {found} from the monitor of QEMU: expected {expected}"))
}
