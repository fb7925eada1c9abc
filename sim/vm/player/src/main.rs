//! `daxplay`: runs a workload script on real files, with real loads and stores.
//!
//! A script (`daxsim_traces::script`) is played line by line by the threads that it names. Each access is one instruction on one
//! byte. What each line returned goes to a log (`daxsim_traces::oplog`), and, if the kernel is traced, a marker before and behind each
//! line goes to the trace. Whatever the program itself does to memory (its code, libraries, stacks, buffers) is done before tracing
//! begins: they are locked in memory by then.

#[cfg(target_arch = "x86_64")]
mod access;
#[cfg(target_arch = "x86_64")]
mod args;
#[cfg(target_arch = "x86_64")]
mod exec;
#[cfg(target_arch = "x86_64")]
mod fiemap;
#[cfg(target_arch = "x86_64")]
mod files;
#[cfg(target_arch = "x86_64")]
mod marks;
#[cfg(target_arch = "x86_64")]
mod play;
#[cfg(target_arch = "x86_64")]
mod shared;
#[cfg(target_arch = "x86_64")]
mod sys;
#[cfg(target_arch = "x86_64")]
mod text;
#[cfg(target_arch = "x86_64")]
mod tracing;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a command")]
fn main() -> ExitCode {
    let args = match args::Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(args::Stop::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(args::Stop::Wrong(why)) => {
            eprint!("daxplay: {why}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    match play::play(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("daxplay: {why}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[expect(clippy::print_stderr, reason = "it is a command")]
fn main() -> ExitCode {
    eprintln!("daxplay: its accesses are instructions of x86-64, and this is another processor");
    ExitCode::from(2)
}
