//! Standard output and error, with broken pipes as an ordinary end.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

/// Exit status of bad usage or bad input.
const BAD_INPUT: u8 = 2;

/// Prints results to standard output. If nobody reads them any more, the work goes on all the same: its files and its exit
/// status still count.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints what a person reads: in colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn show(text: &str) -> io::Result<()> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let plain = set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb");
    if plain || !io::stdout().is_terminal() { print(text) } else { print(&painted(text)) }
}

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Text with the titles of tables bold, warnings yellow, and what failed red.
fn painted(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(text.len() + 64);
    for (at, line) in lines.iter().enumerate() {
        let is_title = !line.starts_with(' ') && lines.get(at + 1).is_some_and(|next| next.starts_with("  "));
        let paint = match line {
            line if line.contains("FAILS") || line.starts_with("daxsim: ") => Some(RED),
            line if line.starts_with("WARNING") || line.starts_with("note:") => Some(YELLOW),
            line if !line.is_empty() && is_title => Some(BOLD),
            _ => None,
        };
        match paint {
            Some(paint) => out.extend([paint, line, RESET]),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Prints a line of progress or warning to standard error; that it cannot be printed is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints help, version or a usage error.
pub fn usage(error: &clap::Error) -> ExitCode {
    // If the terminal is gone there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(BAD_INPUT) } else { ExitCode::SUCCESS }
}

/// Prints an error with its causes.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    note(&format!("daxsim: {}", describe(error)));
    ExitCode::from(BAD_INPUT)
}

/// An error and its causes on one line; a cause that the message before it ends with already is not said twice.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn titles_warnings_and_failures_are_painted_and_nothing_else() {
        let text = "one\n\nTable\n  a  1\nWARNING: w\n  x FAILS\n";
        let want =
            "one\n\n\x1b[1mTable\x1b[0m\n  a  1\n\x1b[33mWARNING: w\x1b[0m\n\x1b[1;31m  x FAILS\x1b[0m\n";
        assert_eq!(painted(text), want);
    }

    #[test]
    fn no_cause_is_said_twice() {
        let inner: anyhow::Result<()> = Err(io::Error::other("gone")).context("a: cannot read: gone");
        let error = inner.context("while replaying").unwrap_err();
        assert_eq!(describe(&error), "while replaying: a: cannot read: gone");
    }
}
