//! The `daxsim` command: parses arguments, calls the other crates, prints.

mod accesses;
mod args;
mod assemble;
mod causes;
mod compare;
mod config;
mod conform;
mod constants;
mod cosim;
mod durability;
mod explain;
mod r#gen;
mod gen_args;
mod import;
mod import_args;
mod in_order;
mod info;
mod inputs;
mod output;
mod probe;
mod probe_args;
mod probe_kernel;
mod probe_kernel_args;
mod probe_memory;
mod probe_memory_args;
mod record;
mod recording;
mod replay;
mod report;
mod semantics;
mod shell;
mod size;
mod stream;
mod study;
mod sweep;
mod tables;
mod timeline;
mod validate;
mod vm;

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
        Command::Compare(args) => compare::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Semantics(args) => semantics::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Study(args) => study::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Gen(args) => r#gen::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Cosim(args) => cosim::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    match result {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::CheckFailed) => ExitCode::from(1),
        Err(error) => output::failure(&error),
    }
}
