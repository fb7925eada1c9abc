//! Standard output and error, with broken pipes as an ordinary end.

use std::io::{self, ErrorKind, Write};
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
    fn no_cause_is_said_twice() {
        let inner: anyhow::Result<()> = Err(io::Error::other("gone")).context("a: cannot read: gone");
        let error = inner.context("while replaying").unwrap_err();
        assert_eq!(describe(&error), "while replaying: a: cannot read: gone");
    }
}
