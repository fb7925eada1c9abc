//! `daxsim vm`: real kernels in virtual machines.

mod args;
mod cosim;
mod record;
mod trace;
mod work;

use anyhow::Result;

pub use self::args::VmArgs;
use self::args::VmCommand;
use crate::Status;

/// Runs `daxsim vm`.
pub fn run(args: &VmArgs) -> Result<Status> {
    match &args.command {
        VmCommand::Record(args) => record::run(args),
        VmCommand::Cosim(args) => cosim::run(args),
        VmCommand::Trace(args) => trace::run(args),
    }
}
