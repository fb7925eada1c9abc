//! The command line of `vm`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::cosim::{COSIM_EXAMPLES, VmCosimArgs};
use super::trace::{TRACE_EXAMPLES, VmTraceArgs};
use super::work::WorkArgs;

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
    /// Record what a real kernel does for workload scripts or a command, on emulated NVDIMMs
    #[command(after_help = RECORD_EXAMPLES)]
    Record(VmRecordArgs),
    /// Run workload scripts or a command on a real kernel whose accesses, all of them, the simulated machine makes
    #[command(after_help = COSIM_EXAMPLES)]
    Cosim(Box<VmCosimArgs>),
    /// Run QEMU and store the memory accesses of its guest
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(VmTraceArgs),
}

/// What executes the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// QEMU's translator: works anywhere, and is what the machine qemu-tcg models
    #[default]
    Tcg,
    /// The host's virtualisation; where it does not work the guest does not come up, which is said
    Kvm,
}

/// The guest, as every command under `vm` takes it.
#[derive(Debug, Args)]
pub struct GuestArgs {
    /// Kernel: a package's name, a .deb (repeat it for the parts of a split package), or a vmlinuz with --modules
    #[arg(long = "kernel", required = true, value_name = "NAME|FILE")]
    pub kernel: Vec<String>,
    /// The modules of a vmlinuz: /lib/modules/RELEASE
    #[arg(long, value_name = "DIR")]
    pub modules: Option<PathBuf>,
    /// Suite of Debian that a package is looked for in, such as trixie-backports [default: what apt-get knows]
    #[arg(long, value_name = "SUITE", conflicts_with = "modules")]
    pub suite: Option<String>,
    /// Where packages and what is unpacked of them are kept [default: daxsim in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// CPUs
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: u16,
    /// Memory in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1024..=65536))]
    pub memory: u64,
    /// What executes it
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub accel: With,
    /// Another argument for QEMU (repeatable)
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_args: Vec<OsString>,
    /// Longest time until it is up, in seconds; there are three attempts
    #[arg(long, default_value_t = 300, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub boot_timeout: u64,
    /// Longest time from then to its end, in seconds
    #[arg(long, default_value_t = 900, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
}

/// `daxsim vm record`
#[derive(Debug, Args)]
pub struct VmRecordArgs {
    /// What is done where.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Folder for the recordings: DIR/kernel-VERSION/FS/NAME
    #[arg(long, default_value = "recording", value_name = "DIR")]
    pub out: PathBuf,
    /// Size of the trace's buffer for each CPU, in KiB
    #[arg(long, default_value_t = 65_536, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1024..=1_048_576))]
    pub buffer: u64,
}

/// Help of `vm record`.
const RECORD_EXAMPLES: &str = "\
What is missing on this machine is said before anything starts: QEMU, busybox, ndctl, the program that makes the file system, the player,
the kernel. It takes no rights but those to install packages. Ctrl-C and every error end the guest and remove its temporary files.

Examples:
  daxsim vm record script.txt --kernel linux-image-6.12.117+deb12-amd64
  daxsim vm record traces/recorded/kernel-6.12/*/s01_read_then_write/script.txt --kernel linux-image-6.12.117+deb12-amd64_6.12.117-1_amd64.deb
  daxsim vm record script.txt --fs xfs --kernel linux-image-7.2.12+deb13-amd64 --suite trixie-backports
  daxsim vm record --kernel linux-image-6.12.117+deb12-amd64 -- sqlite3 t.db 'create table t(a); insert into t values(1);'
  daxsim vm record script.txt --kernel arch/x86/boot/bzImage --modules /lib/modules/6.15.0
  daxsim conform recording/kernel-6.12/ext4/s01_read_then_write

Exit status: 0 recorded, 1 events were lost or what ran failed, 2 bad usage, something is missing, or the guest failed.";
