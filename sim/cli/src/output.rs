//! Standard output and error, with broken pipes as an ordinary end.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Exit status of bad usage or bad input.
const BAD_INPUT: u8 = 2;

/// Prints results to standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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

/// Prints an error with its causes. Output that nobody reads any more is not an error.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe));
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    note(&format!("daxsim: {error:#}"));
    ExitCode::from(BAD_INPUT)
}
