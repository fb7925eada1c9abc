//! The command lines of the probes that measure the kernel: shootdowns and page faults.

use clap::{Args, ValueEnum};
use daxsim_sim::probe::{FaultCause, FlushCause};
use daxsim_types::FileSystem;

use crate::probe_args::OnArgs;

pub const SHOOTDOWN_EXAMPLES: &str = "\
One thread writes private anonymous pages, the others of its process run on CPUs of their own, and
read them with --shared; then the first takes the pages or its rights away. The call is timed as
its caller sees it; of it, the wait is what is left after its own flush until all have answered. The
disruption is what an interrupt takes of a CPU that has to answer.

Examples:
  daxsim probe shootdown
  daxsim probe shootdown --cause mprotect --cpus 1 --pages 1,2,4,8,16,32,33,34,64 --machine emr-guest
  daxsim probe shootdown --cpus 24 --set tlb_flush.early_ack=true
  daxsim probe shootdown --cpus 128 --machine zen2-rome --json

Exit status: 0 done, 2 bad usage or bad input.";

pub const STORM_EXAMPLES: &str = "\
Every thread stores to a page of its own, gives it up (MADV_DONTNEED) and loads from it, page after
page, as tlb_flush2_threads of will-it-scale does.

Examples:
  daxsim probe flush-storm --cpus 1,8,24
  daxsim probe flush-storm --cpus 36 --machine zen3-milan --set tree.invlpgb=false

Exit status: 0 done, 2 bad usage or bad input.";

pub const FAULT_EXAMPLES: &str = "\
One fault for each page of a mapping, in order, in pages of 4 KiB: cycles from the access to its
completion, with the parts that they went into. The delivery is the #PF and the IRET: what is left
over a machine where both are free; the parts hold it as entry.

Examples:
  daxsim probe fault
  daxsim probe fault --cause dax-write,dax-mkwrite --fs xfs --kernel linux-6.12
  daxsim probe fault --cause anonymous --set tree.pti=true --json

Exit status: 0 done, 2 bad usage or bad input.";

pub const SCALING_EXAMPLES: &str = "\
Every thread faults on pages of its own part of one DAX file, one after another, all at the same time;
no two share a page table. What is waited for is the lock that another CPU holds (wait for NAME), or a
line that another core has, by the name of what lies on it; nanoseconds for each page.

Examples:
  daxsim probe fault-scaling
  daxsim probe fault-scaling --fs xfs --kernel linux-6.12 --processes --own-files
  daxsim probe fault-scaling --cause dax-hole --set semantics=patch-v1 --json

Exit status: 0 done, 2 bad usage or bad input.";

/// Why translations go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CauseArg {
    /// munmap of pages out of the middle of a mapping
    Munmap,
    /// mprotect to read-only
    Mprotect,
    /// madvise(MADV_DONTNEED)
    Dontneed,
    /// The same, and a store to each page after it
    DontneedTouch,
    /// The same, and a load of each page after it
    DontneedRead,
}

impl CauseArg {
    /// As the simulator has it, with its name.
    pub const fn of(self) -> (FlushCause, &'static str) {
        match self {
            Self::Munmap => (FlushCause::Munmap, "munmap"),
            Self::Mprotect => (FlushCause::Mprotect, "mprotect"),
            Self::Dontneed => (FlushCause::DontNeed, "dontneed"),
            Self::DontneedTouch => (FlushCause::DontNeedTouch, "dontneed-touch"),
            Self::DontneedRead => (FlushCause::DontNeedRead, "dontneed-read"),
        }
    }
}

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FaultArg {
    /// A load of anonymous memory
    ZeroPage,
    /// A store to anonymous memory
    Anonymous,
    /// A load of a DAX file
    DaxRead,
    /// A store to a DAX file
    DaxWrite,
    /// A store to a page of a DAX file that was loaded before
    DaxMkwrite,
    /// A load of a DAX file without blocks
    DaxHole,
}

impl FaultArg {
    /// As the simulator has it, with its name.
    pub const fn of(self) -> (FaultCause, &'static str) {
        match self {
            Self::ZeroPage => (FaultCause::ZeroPage, "zero-page"),
            Self::Anonymous => (FaultCause::Anonymous, "anonymous"),
            Self::DaxRead => (FaultCause::DaxRead, "dax-read"),
            Self::DaxWrite => (FaultCause::DaxWrite, "dax-write"),
            Self::DaxMkwrite => (FaultCause::DaxMkwrite, "dax-mkwrite"),
            Self::DaxHole => (FaultCause::DaxHole, "dax-hole"),
        }
    }
}

/// A file system of DAX files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FsArg {
    /// ext4
    Ext4,
    /// XFS
    Xfs,
}

impl FsArg {
    /// As the simulator has it, with its name.
    pub const fn of(self) -> (FileSystem, &'static str) {
        match self {
            Self::Ext4 => (FileSystem::Ext4, "ext4"),
            Self::Xfs => (FileSystem::Xfs, "xfs"),
        }
    }
}

/// `daxsim probe shootdown`
#[derive(Debug, Args)]
pub struct ShootdownArgs {
    /// Why translations go, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "munmap,mprotect,dontneed", value_name = "CAUSE,..")]
    pub cause: Vec<CauseArg>,
    /// CPUs that run the process, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub cpus: Vec<u16>,
    /// Pages, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub pages: Vec<u64>,
    /// Times that each is made
    #[arg(long, default_value_t = 20, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: u32,
    /// Let the other threads read the pages each time
    #[arg(long)]
    pub shared: bool,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe flush-storm`
#[derive(Debug, Args)]
pub struct StormArgs {
    /// Threads, each on a CPU of its own, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub cpus: Vec<u16>,
    /// Pages that each goes through
    #[arg(long, default_value_t = 20, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: u32,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe fault`
#[derive(Debug, Args)]
pub struct FaultArgs {
    /// Which faults, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "zero-page,anonymous,dax-read,dax-write,dax-mkwrite",
        value_name = "CAUSE,.."
    )]
    pub cause: Vec<FaultArg>,
    /// The file system of DAX files
    #[arg(long, default_value = "ext4", value_name = "FS")]
    pub fs: FsArg,
    /// Faults of each
    #[arg(long, default_value_t = 4096, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub pages: u64,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `daxsim probe fault-scaling`
#[derive(Debug, Args)]
pub struct ScalingArgs {
    /// Which fault: one of a DAX file
    #[arg(long, default_value = "dax-write", value_name = "CAUSE")]
    pub cause: FaultArg,
    /// The file system
    #[arg(long, default_value = "ext4", value_name = "FS")]
    pub fs: FsArg,
    /// Threads, each on a CPU of its own, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16", value_name = "N,..", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub cpus: Vec<u16>,
    /// Pages of each thread
    #[arg(long, default_value_t = 511, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub pages: u64,
    /// Make each thread a process of its own
    #[arg(long)]
    pub processes: bool,
    /// Give each of these processes a file of its own
    #[arg(long, requires = "processes")]
    pub own_files: bool,
    /// What it runs on.
    #[command(flatten)]
    pub on: OnArgs,
}
