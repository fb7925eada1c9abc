//! The command line of `vm`.

use clap::{Args, Subcommand};

use super::trace::{TRACE_EXAMPLES, VmTraceArgs};

/// `daxsim vm`
#[derive(Debug, Args)]
pub struct VmArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VmCommand,
}

/// The `vm` commands.
#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Run QEMU and store the memory accesses of its guest
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(VmTraceArgs),
}
