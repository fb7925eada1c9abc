//! The `daxsim` command: parses arguments, calls the other crates, prints.

mod args;
mod assemble;
mod config;
mod conform;
mod durability;
mod inputs;
mod output;
mod replay;
mod semantics;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// How a command that ran came out.
pub(crate) enum Status {
    /// Done, and every check held.
    Done,
    /// Done, and a check did not hold.
    CheckFailed,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let result = match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Semantics(args) => semantics::run(&args),
        Command::Config(args) => config::run(&args),
    };
    match result {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::CheckFailed) => ExitCode::from(1),
        Err(error) => output::failure(&error),
    }
}
